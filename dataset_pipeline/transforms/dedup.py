"""Exact and near duplicates: which records repeat an earlier kept one.

Lives here: what of a record is compared, fingerprints, and the verdict, for a range of days that
looks back at the kept records of the days before. Keep out: MinHash and Jaccard (`near`), the
order of verdicts within a range (`first_kept`), fetching texts of earlier days (the caller).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.records import TABLES, Step, conform, sha256_text
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms import near, near_history, shingles
from dataset_pipeline.transforms.first_kept import Members, first_kept_near

ORDER = ("day", "source_rank", "record_id")
"""The order in which records are taken: the preferred source first within a day, older days before it."""
SAME = ("comparison_key", "answer_key")

FINGERPRINT: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "day": pl.Date,
    "source_rank": pl.Int32,
    "comparison_key": pl.String,
    "answer_key": pl.String,
    "shingles": pl.Int32,
    "bands": pl.List(pl.UInt64),
}
"""Columns of `fingerprint`; also what history is handed in as."""


@dataclass(frozen=True)
class Candidates:
    """What `dedup` needs of earlier days: pairs to verify, and what the bucket cap costs.

    pairs: record_id (of the range), other_id (an earlier kept record whose text is needed).
    capped_buckets, left_out: buckets over the cap and comparisons they do without, records of the
    range among themselves included; counted before any verdict, so at most that many.
    """

    pairs: pl.DataFrame
    capped_buckets: int
    left_out: int


def compared_texts(records: pl.DataFrame, answers_are_labels: bool) -> pl.Series:
    """What of each record is compared: the prompt side where answers are labels, else prompt and answer.

    Of a preference pair (column `rejected`, null otherwise) prompt, chosen and rejected side, in that order.
    """
    sided = text.with_sides(text.turns(records))
    compared = pl.col("prompt") if answers_are_labels else text.whole(pl.col("prompt"), pl.col("answer"))
    if has_pairs(records):
        sided = sided.with_columns(text.rejected_side(records))
        compared = text.whole(compared, pl.col("rejected_side"))
    return sided.select(compared.fill_null("").alias("text")).to_series()


def has_pairs(records: pl.DataFrame) -> bool:
    """Whether any record is a preference pair: it has another side, in the column `rejected`."""
    return "rejected" in records.columns and records["rejected"].null_count() < records.height


def _pair_keys(records: pl.DataFrame) -> pl.DataFrame:
    """comparison_key and answer_key of preference pairs.

    comparison_key: of the prompt and of both answers in sorted order, so that the pair and its reverse have
    the same one. answer_key: of the chosen side. Two pairs that prefer another answer, be it the reverse or
    a word more, are therefore never duplicates: which of them is right is not for dedup to say.
    """
    sided = text.with_sides(text.turns(records)).with_columns(text.rejected_side(records))
    prompt, chosen, rejected = (
        text.comparison_key(sided[side].fill_null("")) for side in ("prompt", "answer", "rejected_side")
    )
    sides = zip(prompt, chosen, rejected, strict=True)
    keys = [sha256_text(asked, *sorted((better, worse)))[:32] for asked, better, worse in sides]
    return pl.DataFrame({"comparison_key": pl.Series(keys, dtype=pl.String), "answer_key": chosen})


def _answer_keys(records: pl.DataFrame, params: DedupParams) -> pl.Series:
    """The label that an answer names, else its folded text; '' without one or where answers are free."""
    if not params.answers_are_labels:
        return pl.repeat("", records.height, dtype=pl.String, eager=True)
    answers = text.with_sides(text.turns(records))["answer"]
    distinct = answers.drop_nulls().unique().sort()
    folded = distinct.to_frame("answer").select(text.folded(pl.col("answer").str.strip_chars())).to_series()
    keys = [
        params.label_names.get(answer.strip().casefold(), fold)
        for answer, fold in zip(distinct, folded, strict=True)
    ]
    known = pl.DataFrame({"answer": distinct, "key": pl.Series(keys, dtype=pl.String)})
    found = answers.to_frame("answer").join(known, on="answer", how="left", maintain_order="left")
    return found["key"].fill_null("")


DIVIDED = "(divided)"
"""The answer of a record about which its annotators are divided: no copy of one that has an answer."""


def fingerprint(
    records: pl.DataFrame, params: DedupParams, memo: Memo = direct, consensus: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Row-local measurements: one row per record, in the order of `records`.

    consensus: record_id and label (null: divided) of records that people annotated; their answer goes before the
    source's own here too, or a copy would settle what annotators said otherwise of its twin.

    records: RECORDS. Returns FINGERPRINT: comparison_key (equal where the compared texts are),
    answer_key (equal where the answers are; '' for tasks without labels), both of preference pairs as
    `_pair_keys` says, shingles (number of distinct word n-grams), bands (MinHash band keys; null for a
    text of fewer words than `ngram`, which is compared for equality only).
    """
    texts = compared_texts(records, params.answers_are_labels)
    frame = records.select("record_id", "day", "source_rank")
    if has_pairs(records):
        frame = pl.concat([frame, _pair_keys(records)], how="horizontal")
    else:
        frame = frame.with_columns(
            comparison_key=text.comparison_key(texts), answer_key=_answer_keys(records, params)
        )
        if consensus is not None:
            decided = consensus.select("record_id", said=pl.col("label").fill_null(DIVIDED))
            frame = frame.join(decided, on="record_id", how="left", maintain_order="left").with_columns(
                answer_key=pl.coalesce("said", "answer_key")
            )
    measured = near.fingerprints(texts, params.near, params.ngram, memo)
    return pl.concat([frame, measured], how="horizontal").select(
        pl.col(name).cast(dtype) for name, dtype in FINGERPRINT.items()
    )


@dataclass(frozen=True)
class _Range:
    """A range in its order, beside its history.

    new: FINGERPRINT, position, head (position of the first with the same keys) and twin (the
    historical record with the same keys, or null). history: FINGERPRINT and position.
    """

    new: pl.DataFrame
    history: pl.DataFrame

    def heads(self) -> pl.DataFrame:
        """Records that are no copies, as `near` takes them."""
        first = self.new.filter(pl.col("twin").is_null() & (pl.col("head") == pl.col("position")))
        return first.rename({"answer_key": "group"})


def _arrange(new: pl.DataFrame, history: pl.DataFrame) -> _Range:
    def positioned(frame: pl.DataFrame) -> pl.DataFrame:
        ordered = frame.select(*FINGERPRINT).sort(ORDER)
        return ordered.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64))

    new, history = positioned(new), positioned(met(new, history))
    earliest = history.unique(SAME, keep="first", maintain_order=True).select(*SAME, twin="record_id")
    new = new.join(earliest, on=SAME, how="left", maintain_order="left")
    return _Range(new.with_columns(head=pl.col("position").min().over(SAME)), history)


def met(new: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """The rows of `history` that a record of `new` equals or shares a band with: all that `candidates` and `dedup` look at.

    Handed to them in place of the history, it spares the second look at each of its keys.
    """
    return near_history.met(history, new, SAME)


def candidates(new: pl.DataFrame, history: pl.DataFrame, params: DedupParams) -> Candidates:
    """The pairs of a record of the range and an earlier kept one that `dedup` must verify.

    new, history: FINGERPRINT; history holds kept records of earlier days only. Pairs share a band
    and the answer_key, and their sizes allow the threshold. Copies of an earlier record are no
    candidates: their keys tell. Pairs within the range are found by `dedup`, since there only kept
    records count towards the bucket cap and nothing needs to be fetched.
    """
    arranged = _arrange(new, history)
    earlier = arranged.history.rename({"answer_key": "group"})
    heads = arranged.heads()
    found = near.candidate_pairs(heads, earlier, params.near.bucket_cap)
    pairs = (
        found.pairs.join(heads.select("position", "record_id", "shingles"), on="position")
        .join(earlier.select(other="position", other_id="record_id", other_shingles="shingles"), on="other")
        .filter(
            pl.min_horizontal("shingles", "other_shingles") / pl.max_horizontal("shingles", "other_shingles")
            >= params.near.threshold
        )
        .sort("position", "other")
        .select("record_id", "other_id")
    )
    return Candidates(pairs, found.capped_buckets, found.left_out)


def compared_ids(fingerprints: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
    """The records of a range whose texts `dedup` may have to compare: candidates of earlier records, and those that share
    a band and the answer_key with another one of the range. Sorted; most records are none of them."""
    members = near.memberships(fingerprints.with_row_index("position").rename({"answer_key": "group"}))
    shared = members.group_by("bucket", "group").agg(size=pl.len()).filter(pl.col("size") > 1)
    met = members.join(shared, on=["bucket", "group"], how="semi")["position"].unique()
    return pl.concat([fingerprints["record_id"].gather(met), pairs["record_id"]]).unique().sort()


def comparison_keys(records: pl.DataFrame, params: DedupParams) -> pl.Series:
    """The comparison_key of each record alone, as `fingerprint` gives it."""
    if has_pairs(records):
        return _pair_keys(records)["comparison_key"]
    return text.comparison_key(compared_texts(records, params.answers_are_labels))


def shingle_hashes(records: pl.DataFrame, params: DedupParams) -> pl.Series:
    """The set of shingles of each record, List(UInt64): what verification needs once the text is gone."""
    sets = shingles.shingle_sets(compared_texts(records, params.answers_are_labels), params.ngram)
    held = pl.DataFrame({"row": sets.owners(), "hash": sets.values}).group_by("row", maintain_order=True)
    rows = pl.DataFrame({"row": pl.int_range(len(sets), eager=True)})
    joined = rows.join(held.agg("hash"), on="row", how="left", maintain_order="left")
    empty = pl.lit([], dtype=pl.List(pl.UInt64))
    return joined.select(shingle_hashes=pl.col("hash").fill_null(empty)).to_series()


def _sets_of(ids: pl.Series, records: pl.DataFrame, what: str, params: DedupParams) -> shingles.Ragged:
    """The shingle sets of `ids`, in their order: remembered ones (column shingle_hashes), else of the texts."""
    remembered = [name for name in ("shingle_hashes",) if name in records.columns]
    sided = pl.concat([records.select("record_id", *remembered), text.turns(records)], how="horizontal")
    found = ids.to_frame("record_id").join(sided, on="record_id", how="left", maintain_order="left")
    missing = ids.filter(~ids.is_in(records["record_id"].implode()))
    if len(missing):
        raise ValueError(
            f"dedup: {what} lacks {len(missing)} records, such as {missing[0]}: hand in every record named."
        )
    sets = shingles.shingle_sets(compared_texts(found, params.answers_are_labels), params.ngram)
    if not remembered or found["shingle_hashes"].null_count() == found.height:
        return sets
    hashes = found["shingle_hashes"]
    lengths = hashes.list.len().fill_null(0).to_numpy().astype(np.int64)
    # Those of an earlier version have all their bits.
    values = hashes.explode().drop_nulls().to_numpy().astype(np.uint64) & shingles.KEPT_BITS
    both = shingles.concat([sets, shingles.Ragged(values, shingles.offsets_of(lengths))])
    places = np.arange(found.height, dtype=np.int64)
    return both.take(np.where(hashes.is_not_null().to_numpy(), places + found.height, places))


def _near_history(
    heads: pl.DataFrame, records: pl.DataFrame, arranged: _Range, pairs: pl.DataFrame,
    history_records: pl.DataFrame, params: DedupParams,
) -> pl.DataFrame:  # fmt: skip
    """position, near_twin, near_similarity of the heads that are near an earlier day's kept record."""
    pairs = (
        pairs.select("record_id", "other_id")
        .join(heads.select("record_id", "position"), on="record_id")
        .join(arranged.history.select(other_id="record_id", other="position"), on="other_id")
        .sort("position", "other")
    )
    ids, others = pairs["record_id"].unique().sort(), pairs["other_id"].unique().sort()
    sets = shingles.concat(
        [
            _sets_of(ids, records, "records", params),
            _sets_of(others, history_records, "history_records", params),
        ]
    )
    left = ids.search_sorted(pairs["record_id"]).to_numpy().astype(np.int64)
    right = others.search_sorted(pairs["other_id"]).to_numpy().astype(np.int64) + len(ids)
    similarity = near.jaccard(sets, left, right, params.near.threshold)
    return (
        pairs.with_columns(near_similarity=pl.Series(similarity, dtype=pl.Float64))
        .filter(pl.col("near_similarity") >= params.near.threshold)
        .unique("position", keep="first", maintain_order=True)
        .select("position", "near_similarity", near_twin="other_id")
    )


def _near_each_other(
    heads: pl.DataFrame, records: pl.DataFrame, arranged: _Range, params: DedupParams
) -> pl.DataFrame:
    """position, near_twin, near_similarity of the heads that are near an earlier kept one of the range."""
    bucket = ["bucket", "group"]
    members = near.memberships(heads)
    # A bucket of one has nobody to compare: most records leave here.
    shared = members.group_by(bucket).agg(size=pl.len()).filter(pl.col("size") > 1).select(bucket)
    held = (
        near.memberships(arranged.history.rename({"answer_key": "group"}))
        .join(shared, on=bucket, how="semi")
        .group_by(bucket)
        .agg(held=pl.len().cast(pl.Int64))
    )
    shared = shared.join(held, on=bucket, how="left").sort(bucket).with_row_index("number")
    members = members.join(shared, on=bucket).sort("position", "number")
    items = heads.join(members.select("position").unique(), on="position", how="semi").sort("position")
    place = items["position"].search_sorted(members["position"]).to_numpy().astype(np.int64)
    buckets = Members(place, members["number"].to_numpy().astype(np.int64))
    room = (params.near.bucket_cap - shared["held"].fill_null(0)).clip(0).to_numpy()
    sets = _sets_of(items["record_id"], records, "records", params)
    found = first_kept_near(sets, buckets, buckets, room, params.near.threshold)
    dropped = np.flatnonzero(found.twin >= 0)
    ids = items["record_id"]
    return pl.DataFrame(
        {
            "position": items["position"].gather(dropped),
            "near_similarity": pl.Series(found.similarity[dropped], dtype=pl.Float64),
            "near_twin": ids.gather(found.twin[dropped]),
        }
    )


def dedup(
    records: pl.DataFrame,
    fingerprints: pl.DataFrame,
    history: pl.DataFrame,
    pairs: pl.DataFrame,
    history_records: pl.DataFrame,
    params: DedupParams,
) -> pl.DataFrame:
    """Marks every record that repeats an earlier kept one. Returns TABLES["dedup"], by record_id.

    records: RECORDS of the range; fingerprints: theirs; history: FINGERPRINT of the kept records of
    all earlier days; pairs: of `candidates`; history_records: record_id, messages and, of preference
    pairs, prompt_turns and rejected of at least every `other_id`. Where its text is gone, shingle_hashes (List(UInt64), null where it
    is there) stands for it.
    Records are taken in (day, source_rank, record_id) order. reason `exact`: comparison_key and
    answer_key of an earlier kept record; `near`: Jaccard similarity of the shingle sets of at least
    `near.threshold` with an earlier kept record of the same answer_key. `twin` is the earliest such
    record, `similarity` 1.0 for exact. A record that is dropped drops nobody; a copy of one that is
    near is near too, with the same twin. Day by day or one range: equal tables.
    Raises ValueError where a record that a pair names is not handed in.
    """
    arranged = _arrange(fingerprints, history)
    heads = arranged.heads()
    back = _near_history(heads, records, arranged, pairs, history_records, params)
    heads = heads.join(back, on="position", how="anti")
    found = pl.concat(
        [
            back.select("position", "near_similarity", "near_twin"),
            _near_each_other(heads, records, arranged, params),
        ]
    )
    new = arranged.new.rename({"twin": "copied"}).join(
        found.rename({"position": "head"}), on="head", how="left", maintain_order="left"
    )
    first = new.select(head="position", head_id="record_id")
    new = new.join(first, on="head", how="left", maintain_order="left")
    exact = pl.col("copied").is_not_null() | (
        (pl.col("head") != pl.col("position")) & pl.col("near_twin").is_null()
    )
    near_twin = pl.col("near_twin").is_not_null()
    judged = new.with_columns(
        reason=pl.when(exact).then(pl.lit("exact")).when(near_twin).then(pl.lit("near")),
        twin=pl.when(exact).then(pl.coalesce("copied", "head_id")).otherwise("near_twin"),
        similarity=pl.when(exact).then(1.0).otherwise("near_similarity"),
    ).with_columns(kept=pl.col("reason").is_null())
    detail = pl.struct(
        rule="reason",
        similarity=pl.col("similarity").round(6),
        threshold=pl.when(exact).then(1.0).otherwise(params.near.threshold),
        twin="twin",
    ).struct.json_encode()
    judged = judged.with_columns(detail=pl.when(~pl.col("kept")).then(detail))
    return conform(judged.sort("record_id").select(*TABLES[Step.DEDUP]), Step.DEDUP)


def dedup_all(records: pl.DataFrame, params: DedupParams) -> pl.DataFrame:
    """`dedup` of one range without earlier days."""
    nothing = pl.DataFrame(schema=FINGERPRINT)
    pairs = pl.DataFrame(schema={"record_id": pl.String, "other_id": pl.String})
    return dedup(records, fingerprint(records, params), nothing, pairs, records.clear(), params)
