"""Dedup where texts that say the same in other words count as duplicates too.

Lives here: exact, near and semantic in one order of records, and what the default encoder is fitted on. Keep out: exact and
near themselves (`dedup`), vectors and their search (`semantic`), reading texts (the caller).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.records import TABLES, Step, conform
from dataset_pipeline.spec.models import Semantic
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms import dedup, semantic, tfidf_svd

REPORTED = 20_000
"""Records that `would_drop` looks at: about five seconds."""
SHOWN = 5
"""Pairs that it names."""

_DROPPED = {"record_id": pl.String, "reason": pl.String, "twin": pl.String, "similarity": pl.Float64}


def dedup_semantic(
    fingerprints: pl.DataFrame,
    history: pl.DataFrame,
    texts: pl.DataFrame,
    params: DedupParams,
    named: semantic.Encoder | None,
    memo: Memo = direct,
) -> pl.DataFrame:
    """`dedup.dedup` with params.semantic: TABLES["dedup"] of the range, by record_id.

    fingerprints, history: as `dedup.dedup` takes them. texts: record_id and what `dedup.dedup` reads of records, of the
    whole range and of the whole history; a record without its text is like no other. named: the encoder that the spec
    names; None for the default one.

    In (day, source_rank, record_id) order a record is dropped as `exact` or `near`, else as `semantic` where an earlier
    kept one of the same answer_key, and of the same numbers unless `same_numbers` is off, has a cosine of at least
    `threshold`: `twin` is the earliest such, `similarity` the cosine. A record that is dropped drops nobody.

    The default encoder of a day is fitted on the first `fit_records` kept records of earlier days, and where these are
    fewer on records of the day itself that exact and near keep. Once there are enough it is the same for ever. Day by
    day or one range: equal tables.
    """
    settings = params.semantic
    assert settings is not None
    index = _Index(texts, params, settings)
    tables, kept = [TABLE], history.select(*dedup.FINGERPRINT).sort(dedup.ORDER)
    days = fingerprints["day"].unique().sort().to_list()
    while days:
        is_settled = named is not None or kept.height >= settings.fit_records
        stretch, days = (days, []) if is_settled else (days[:1], days[1:])
        new = fingerprints.select(*dedup.FINGERPRINT).filter(pl.col("day").is_in(stretch))
        encoder = named if named is not None else _fitted(new, kept, index, is_settled)
        # An encoder of a day that is not settled yet serves this one time: nothing of it is worth remembering.
        table = _Stretch(new, kept, index, encoder, memo if is_settled else direct).judged()
        tables.append(table)
        kept = pl.concat([kept, new.join(table.filter("kept"), on="record_id", how="semi")]).sort(dedup.ORDER)
    return conform(pl.concat(tables).sort("record_id"), Step.DEDUP)


TABLE = pl.DataFrame(schema=TABLES[Step.DEDUP])


@dataclass(frozen=True)
class _Index:
    """Texts by record_id, and what is encoded of them."""

    texts: pl.DataFrame
    params: DedupParams
    settings: Semantic

    def compared(self, ids: pl.Series) -> pl.Series:
        """What is encoded of each record; null where its text is gone or holds no word."""
        named = ids.to_frame("record_id").join(self.texts, on="record_id", how="left", maintain_order="left")
        said = dedup.compared_texts(named, self.params.answers_are_labels)
        return semantic.compared(said).to_frame("text").select(pl.col("text").replace("", None)).to_series()

    def plain(self) -> DedupParams:
        return self.params.model_copy(update={"semantic": None})


def _without_semantic(new: pl.DataFrame, history: pl.DataFrame, index: _Index) -> pl.DataFrame:
    plain = index.plain()
    pairs = dedup.candidates(new, history, plain).pairs
    return dedup.dedup(index.texts, new, history, pairs, index.texts, plain)


def _fitted(new: pl.DataFrame, kept: pl.DataFrame, index: _Index, is_settled: bool) -> tfidf_svd.TfidfSvd:
    rows = kept.head(index.settings.fit_records)
    if not is_settled:
        own = new.join(
            _without_semantic(new, kept, index).filter("kept"), on="record_id", how="semi"
        ).sort(dedup.ORDER)  # fmt: skip
        rows = pl.concat([rows, own]).head(index.settings.fit_records)
    return tfidf_svd.fit(index.compared(rows["record_id"]))


@dataclass
class _Stretch:
    """Days that are judged by one encoder."""

    new: pl.DataFrame
    history: pl.DataFrame
    index: _Index
    encoder: semantic.Encoder
    memo: Memo
    vectors: semantic.Vectors | None = None
    rows: dict[str, int] = field(default_factory=dict)
    numbers: list[pl.Series] = field(default_factory=list)

    def judged(self) -> pl.DataFrame:
        # Whether a record is near depends on who is kept, and who is kept on who says the same: both are asked in turns
        # until nothing changes. Each turn is right for at least one record more than the one before, in their order.
        dropped = pl.DataFrame(schema=_DROPPED)
        while True:
            rest = self.new.join(dropped, on="record_id", how="anti")
            table = _without_semantic(rest, self.history, self.index)
            found = self._semantic(table, dropped)
            if found.equals(dropped):
                break
            dropped = found
        return pl.concat([table, self._rows(self._near_after_all(dropped, table))])

    def _semantic(self, table: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
        """_DROPPED of the records that say the same as an earlier kept one, copies of them included, by record_id."""
        kept = table.filter("kept").select("record_id")
        asked = self.new.join(pl.concat([kept, dropped.select("record_id")]), on="record_id", how="semi")
        heads = asked.sort(dedup.ORDER).unique(dedup.SAME, keep="first", maintain_order=True)
        ids = self.history["record_id"].append(heads["record_id"])
        held, numbers = self._held(ids)
        answers = self.history["answer_key"].append(heads["answer_key"])
        groups = pl.DataFrame({"answer": answers, "numbers": numbers}).select(
            pl.struct("answer", "numbers").rank("dense")
        )
        nearest = semantic.first_kept(
            held, groups.to_series(), self.history.height, self.index.settings.threshold
        )
        found = pl.DataFrame({"record_id": ids, "at": nearest.twin, "similarity": nearest.similarity}).filter(
            pl.col("at") >= 0
        )
        found = found.with_columns(twin=ids.gather(found["at"]))
        keys = heads.select("record_id", *dedup.SAME).join(found, on="record_id").drop("record_id")
        copies = self.new.select("record_id", *dedup.SAME).join(keys, on=dedup.SAME)
        return copies.with_columns(reason=pl.lit("semantic")).select(*_DROPPED).sort("record_id")

    def _held(self, ids: pl.Series) -> tuple[semantic.Vectors, pl.Series]:
        """Vectors and numbers of records; each is encoded once."""
        missing = pl.Series("record_id", [i for i in ids.to_list() if i not in self.rows], dtype=pl.String)
        if len(missing) or self.vectors is None:
            said = self.index.compared(missing)
            made = semantic.vectors(said, self.encoder, self.memo)
            self.vectors = made if self.vectors is None else semantic.joined([self.vectors, made])
            start = len(self.rows)
            self.rows |= {record_id: start + n for n, record_id in enumerate(missing.to_list())}
            same = self.index.settings.same_numbers
            self.numbers.append(
                semantic.numbers(said).fill_null("")
                if same
                else pl.repeat("", len(said), dtype=pl.String, eager=True)
            )
        rows = pl.Series([self.rows[i] for i in ids.to_list()], dtype=pl.Int64)
        return self.vectors.take(rows.to_numpy()), pl.concat(self.numbers).gather(rows)

    def _near_after_all(self, dropped: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
        """`dropped`, in which a record that is also near an earlier kept one is near: word for word goes before meaning."""
        if dropped.height == 0:
            return dropped
        rows = self.new.join(dropped, on="record_id", how="semi").sort(dedup.ORDER)
        heads = rows.unique(dedup.SAME, keep="first", maintain_order=True)
        kept = self.new.join(table.filter("kept"), on="record_id", how="semi")
        every = pl.concat([self.history, kept]).sort(dedup.ORDER)
        asked = _without_semantic(heads, every, self.index).filter(pl.col("reason") == "near")
        near = heads.select("record_id", *dedup.SAME).join(
            asked.select("record_id", near_twin="twin", near="similarity"), on="record_id"
        )
        order = (
            pl.concat([self.history, self.new])
            .sort(dedup.ORDER)
            .select("record_id")
            .with_row_index("position")
        )
        place = rows.join(order, on="record_id").select("record_id", *dedup.SAME, "position")
        twins = order.rename({"record_id": "near_twin", "position": "twin_position"})
        # A twin must be a kept record, and stand before the one that names it.
        earlier = (
            place.join(near.drop("record_id"), on=dedup.SAME)
            .join(every.select(near_twin="record_id"), on="near_twin", how="semi")
            .join(twins, on="near_twin")
            .filter(pl.col("twin_position") < pl.col("position"))
        )
        named = dropped.join(earlier.select("record_id", "near_twin", "near"), on="record_id", how="left")
        is_near = pl.col("near_twin").is_not_null()
        return named.select(
            "record_id",
            reason=pl.when(is_near).then(pl.lit("near")).otherwise("reason"),
            twin=pl.coalesce("near_twin", "twin"),
            similarity=pl.coalesce("near", "similarity"),
        )

    def _rows(self, dropped: pl.DataFrame) -> pl.DataFrame:
        """TABLES["dedup"] of what is dropped here."""
        thresholds = {"near": self.index.params.near.threshold, "semantic": self.index.settings.threshold}
        detail = pl.struct(
            rule="reason",
            similarity=pl.col("similarity").round(6),
            threshold=pl.col("reason").replace_strict(thresholds, return_dtype=pl.Float64),
            twin="twin",
        ).struct.json_encode()
        judged = self.new.join(dropped, on="record_id").with_columns(kept=pl.lit(False), detail=detail)
        return judged.select(*TABLES[Step.DEDUP])


@dataclass(frozen=True)
class Alike:
    """What `dedup.semantic` would drop. pairs: record_id, twin, similarity of the first that are dropped."""

    looked_at: int
    records: int
    """Of them that say what an earlier one says."""
    clusters: int
    """Records that at least one other repeats."""
    threshold: float
    pairs: tuple[tuple[str, str, float], ...] = ()


def would_drop(records: pl.DataFrame, params: DedupParams, settings: Semantic | None = None) -> Alike:
    """What the default encoder would find among `records`, whatever the spec says of it.

    records: record_id, answer_key and the columns of a record that say its text, in the order of dedup, all of them kept
    by it; the first REPORTED are looked at. settings: threshold and the like; the defaults of the spec where there are none.
    """
    settings = settings or Semantic()
    first = records.head(REPORTED)
    said = _Index(first, params, settings).compared(first["record_id"])
    held = semantic.vectors(said, tfidf_svd.fit(said.head(settings.fit_records)))
    groups = pl.DataFrame({"answer": first["answer_key"], "numbers": semantic.numbers(said).fill_null("")})
    found = semantic.first_kept(
        held, groups.select(pl.struct("answer", "numbers").rank("dense")).to_series(), 0, settings.threshold
    )
    ids = first["record_id"].to_list()
    rows = [n for n, twin in enumerate(found.twin.tolist()) if twin >= 0]
    pairs = [(ids[n], ids[int(found.twin[n])], round(float(found.similarity[n]), 3)) for n in rows[:SHOWN]]
    twins = {int(found.twin[n]) for n in rows}
    return Alike(first.height, len(rows), len(twins), settings.threshold, tuple(pairs))
