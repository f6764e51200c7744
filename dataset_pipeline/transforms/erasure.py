"""erase: which records a verdict `erase` takes with it, and what stays of them.

Lives here: from verdicts to the keys of erased records, from keys to records, and the row that is left without
its text. Keep out: reading reviews and files, the warehouse (`storage.rewriting`), what a copy is (`dedup`).

A record is erased because it is `named`, because it is a `copy` (dedup compares it as equal, whatever its answer),
`near` (dedup found it near the named one, or both near the same record), or a `child` (generated text of the
named record's group, or whose group is the named record's own id).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dataset_pipeline import text
from dataset_pipeline.records import TABLES, Step, conform
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms import dedup, shingles

ERASURES = "erasures"
TEXT_COLUMNS = ("messages", "rejected", "tools", "person_names", "label")
"""Columns of ingest that may hold words of a person."""
_PLACE = ("uri", "line", "date")
"""The row of a review: where a verdict stands."""
_RECORD = ("record", "source", "source_id")


def erasures(
    named: pl.DataFrame, known: pl.DataFrame, twins: pl.DataFrame, before: pl.DataFrame
) -> pl.DataFrame:
    """The keys of all that the verdicts erase. Returns TABLES['erasures'], in (uri, line, because, ids) order.

    named: TABLES['reviews'], the verdicts `erase`. known: record_id, source, source_id, group, text_key of all
    collected records (null where there is no text to compare; of erased rows from their detail), optionally content, and
    `because` and `place` of rows that ingest erased. twins: record_id, twin, reason of what dedup dropped.
    before: the erasures published earlier; what they found is kept while a verdict still names the same
    record, since dedup does not see an erased one again.
    because `named`: one row a record, with its text_key and its group as child_group; a row whose record is null stands for
    every record of that source and source_id, also those yet to come. because `near`: one row a record, with its text_key.
    """
    if named.height == 0:
        return pl.DataFrame(schema=TABLES[ERASURES])
    verdicts = named.drop("verdict").sort("uri", "line").with_row_index("verdict")
    found = _found(verdicts, known)
    rows = [
        _rows(found.rename({"record_id": "record", "group": "child_group"}), "named"),
        _rows(_near(found, known, twins), "near"),
        _rows(_seen_near(verdicts, known), "near"),
        _rows(_unfound(verdicts, found), "named"),
    ]
    now = pl.concat(rows)
    carried = _carried(verdicts, found, before)
    keys = ["verdict", "because", *_RECORD]
    merged = (
        pl.concat([now, carried])
        .group_by(keys, maintain_order=True)
        .agg(pl.col("text_key").drop_nulls().first(), pl.col("child_group").drop_nulls().first())
    )
    is_named = merged.filter(pl.col("because") == "named")
    # A name alone says nothing where the record behind it is known.
    bare = pl.col("record").is_not_null() & pl.col("source").is_null()
    known_names = is_named.filter(~bare & pl.col("record").is_not_null()).select("record").unique()
    superfluous = pl.concat(
        [
            merged.filter(bare & (pl.col("because") == "named")).join(known_names, on="record", how="semi"),
            merged.filter(pl.col("because") == "near").join(known_names, on="record", how="semi"),
        ]
    ).select(keys)
    kept = merged.join(superfluous, on=keys, how="anti", nulls_equal=True)
    placed = kept.join(verdicts.select("verdict", *_PLACE), on="verdict")
    order = ["uri", "line", "because", *_RECORD]
    return conform(placed.select(*TABLES[ERASURES]).sort(order, nulls_last=True), ERASURES)


def _found(verdicts: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """verdict, record_id, source, source_id, group, text_key of the collected records that verdicts name."""
    columns = ["record_id", "source", "source_id", "group", "text_key"]
    by_record = verdicts.select("verdict", record_id="record").drop_nulls()
    by_source = verdicts.select("verdict", "source", "source_id").drop_nulls()
    ways = [
        by_record.join(known.select(columns), on="record_id"),
        by_source.join(known.select(columns), on=["source", "source_id"]),
    ]
    if "content" in known.columns:
        by_content = verdicts.select("verdict", "content").drop_nulls()
        ways.append(by_content.join(known.select(*columns, "content"), on="content"))
    return pl.concat([way.select("verdict", *columns) for way in ways]).unique(maintain_order=True)


def _unfound(verdicts: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Names that stand for themselves: a source's own id always, a record id that is not collected."""
    by_source = verdicts.filter(pl.col("source_id").is_not_null()).select("verdict", "source", "source_id")
    by_record = (
        verdicts.filter(pl.col("record").is_not_null())
        .select("verdict", "record")
        .join(found.select("verdict", record="record_id"), on=["verdict", "record"], how="anti")
    )
    return pl.concat([by_source, by_record], how="diagonal")


def _near(found: pl.DataFrame, known: pl.DataFrame, twins: pl.DataFrame) -> pl.DataFrame:
    """verdict and keys of the records that stand with a named one around the same twin, the twin included."""
    # A twin is a record that dedup kept, so every chain has one link.
    dropped = twins.select("record_id", root="twin")
    kept = twins.select(record_id="twin", root="twin").unique()
    around = pl.concat([dropped, kept])
    roots = (
        found.select("verdict", "record_id").join(around, on="record_id").select("verdict", "root").unique()
    )
    members = roots.join(around, on="root").select("verdict", record="record_id").unique(maintain_order=True)
    keys = known.select("source", "source_id", "text_key", record="record_id")
    others = members.join(found.select("verdict", record="record_id"), on=["verdict", "record"], how="anti")
    return others.join(keys, on="record")


def _seen_near(verdicts: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """verdict and keys of the records that ingest has erased as near, under a verdict that still stands there."""
    if "place" not in known.columns:
        return verdicts.clear().select("verdict")
    places = verdicts.select("verdict", place=pl.format("{}:{}", "uri", "line"))
    seen = known.filter(pl.col("because") == "near")
    return seen.join(places, on="place").select(
        "verdict", "source", "source_id", "text_key", record="record_id"
    )


def _carried(verdicts: pl.DataFrame, found: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """What earlier erasures found under verdicts that still name the same record, wherever they stand now."""
    was_named = before.filter(pl.col("because") == "named")
    record = pl.concat(
        [verdicts.select("verdict", "record"), found.select("verdict", record="record_id")]
    ).drop_nulls()
    source = verdicts.select("verdict", "source", "source_id").drop_nulls()
    standing = pl.concat(
        [
            was_named.join(record.unique(), on="record").select("uri", "line", "verdict"),
            was_named.join(source, on=["source", "source_id"]).select("uri", "line", "verdict"),
        ]
    ).unique(maintain_order=True)
    carried = before.join(standing, on=["uri", "line"])
    return pl.concat([_rows(carried.filter(pl.col("because") == word), word) for word in ("named", "near")])


def _rows(frame: pl.DataFrame, because: str) -> pl.DataFrame:
    """verdict, because, the record's names and keys; what `frame` lacks is null."""
    names = (*_RECORD, "text_key", "child_group")
    return frame.select(
        pl.col("verdict").cast(pl.UInt32),
        pl.lit(because).alias("because"),
        *(pl.col(n) if n in frame.columns else pl.lit(None, pl.String).alias(n) for n in names),
    )


def erased(records: pl.DataFrame, erasures: pl.DataFrame, near: pl.DataFrame | None = None) -> pl.DataFrame:
    """The records that `erasures` take. Returns record_id, because, uri, line, date, by record_id.

    records: record_id, source, source_id, text_key, group, is_generated. near: record_id, uri, line, date of
    records found near by their text. The first of named, copy, near, child counts; of several verdicts that in
    the first file and line. A null never matches: records without a text are no copies of each other.
    """
    named, alike = (erasures.filter(pl.col("because") == word) for word in ("named", "near"))
    of_source = named.filter(pl.col("record").is_null())
    generated = records.filter(pl.col("is_generated"))
    found = [
        _met(records, named, {"record": "record_id"}, "named"),
        _met(records, of_source, {"source": "source", "source_id": "source_id"}, "named"),
        _met(records, named, {"text_key": "text_key"}, "copy"),
        _met(records, alike, {"record": "record_id"}, "near"),
        _met(records, alike, {"text_key": "text_key"}, "near"),
        _met(generated, named, {"child_group": "group"}, "child"),
        _met(generated, named, {"source_id": "group"}, "child"),
    ]
    if near is not None and near.height:
        met = near.join(records.select("record_id"), on="record_id", how="semi")
        found.append(met.select("record_id", pl.lit("near").alias("because"), *_PLACE))
    turn = pl.col("because").replace_strict(
        {"named": 0, "copy": 1, "near": 2, "child": 3}, return_dtype=pl.Int8
    )
    return (
        pl.concat(found)
        .sort(turn, "uri", "line")
        .unique("record_id", keep="first", maintain_order=True)
        .sort("record_id")
    )


def _met(records: pl.DataFrame, keys: pl.DataFrame, on: dict[str, str], because: str) -> pl.DataFrame:
    """Records that meet a row of `keys`; on: column of `keys` to column of `records`."""
    columns = list(on.values())
    wanted = keys.select(*(pl.col(own).alias(other) for own, other in on.items()), *_PLACE).drop_nulls(
        columns
    )
    first = wanted.sort("uri", "line").unique(columns, keep="first", maintain_order=True)
    met = records.select(*dict.fromkeys(["record_id", *columns])).join(first, on=columns)
    return met.select("record_id", pl.lit(because).alias("because"), *_PLACE)


# --- in ingest --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """What ingest looks for: TABLES['erasures'], completed from the named texts; their shingles, to find near ones.

    shingles: hash, needle. needles: needle, size, uri, line, date.
    """

    erasures: pl.DataFrame
    shingles: pl.DataFrame
    needles: pl.DataFrame


def text_keys(records: pl.DataFrame, params: DedupParams) -> pl.Series:
    """dedup's comparison key of each record; null where there is nothing to compare, so that it never matches."""
    texts = dedup.compared_texts(records, params.answers_are_labels)
    is_empty = texts.to_frame("text").select(text.comparison_text(pl.col("text")) == "").to_series()
    keys = dedup.comparison_keys(records, params)
    return pl.select(pl.when(~is_empty).then(keys)).to_series().alias("text_key")


def named_among(
    records: pl.DataFrame, erasures: pl.DataFrame, generated: Sequence[str], params: DedupParams
) -> pl.DataFrame:
    """The rows of `records` (TABLES['ingest']) that are named themselves."""
    by_name = erasures.filter(pl.col("because") == "named").with_columns(
        pl.lit(None, pl.String).alias(key) for key in ("text_key", "child_group")
    )
    named = erased(_facts(records, generated, params), by_name).filter(pl.col("because") == "named")
    return records.join(named.select("record_id"), on="record_id", how="semi")


def search(
    erasures: pl.DataFrame, texts: pl.DataFrame, generated: Sequence[str], params: DedupParams
) -> Search:
    """What to look for, given the texts of named records as they are still in the raw files.

    texts: TABLES['ingest']; rows that nobody named are passed over. generated: sources of generated text.
    """
    facts = _facts(texts, generated, params)
    named = erased(facts, erasures).filter(pl.col("because") == "named").sort("uri", "line", "record_id")
    named = named.with_row_index("needle")
    keyed = named.join(facts, on="record_id", maintain_order="left").rename(
        {"record_id": "record", "group": "child_group"}
    )
    completed = pl.concat([erasures, keyed.select(*TABLES[ERASURES])])
    ordered = named.select("record_id").join(texts, on="record_id", how="left", maintain_order="left")
    sets = shingles.shingle_sets(dedup.compared_texts(ordered, params.answers_are_labels), params.ngram)
    held = pl.DataFrame({"hash": sets.values, "needle": pl.Series(sets.owners(), dtype=pl.UInt32)})
    sized = named.select("needle", *_PLACE).with_columns(size=pl.Series(sets.lengths, dtype=pl.Int64))
    return Search(completed, held, sized)


def withheld(
    records: pl.DataFrame, search: Search, generated: Sequence[str], params: DedupParams
) -> pl.DataFrame:
    """`records` (TABLES['ingest']) with the erased ones dropped: reason `erased`, no text.

    Their ids, place in the file, group and `content_sha` stay, and the detail keeps the text_key: without it a
    rebuild from nothing would not know their copies.
    """
    facts = _facts(records, generated, params)
    found = erased(facts, search.erasures, _near_texts(records, search, params))
    if found.height == 0:
        return records
    joined = records.join(found, on="record_id", how="left", maintain_order="left").with_columns(
        facts["text_key"]
    )
    detail = pl.struct(
        because="because",
        rule=pl.lit("erase"),
        text_key="text_key",
        threshold=pl.format("{}:{}", "uri_right", "line_right"),
        value=pl.lit("erase"),
    ).struct.json_encode()
    gone = pl.col("because").is_not_null()
    schema = TABLES[Step.INGEST]
    return joined.with_columns(
        *(pl.when(~gone).then(pl.col(name)).alias(name) for name in TEXT_COLUMNS),
        kept=pl.col("kept") & ~gone,
        reason=pl.when(gone).then(pl.lit("erased")).otherwise("reason"),
        detail=pl.when(gone).then(detail).otherwise("detail"),
    ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _facts(records: pl.DataFrame, generated: Sequence[str], params: DedupParams) -> pl.DataFrame:
    return records.select(
        "record_id", "source", "source_id", "group", is_generated=pl.col("source").is_in(list(generated))
    ).with_columns(text_keys(records, params))


def _near_texts(records: pl.DataFrame, search: Search, params: DedupParams) -> pl.DataFrame:
    """record_id, uri, line, date of records near a named text, by exact Jaccard as in dedup."""
    if search.shingles.height == 0:
        return pl.DataFrame(schema={"record_id": pl.String} | {n: TABLES[ERASURES][n] for n in _PLACE})
    sets = shingles.shingle_sets(dedup.compared_texts(records, params.answers_are_labels), params.ngram)
    own = pl.DataFrame({"row": sets.owners(), "hash": sets.values})
    shared = (
        own.join(search.shingles, on="hash").group_by("row", "needle").agg(shared=pl.len().cast(pl.Int64))
    )
    sizes = pl.DataFrame({"row": pl.int_range(len(sets), eager=True), "record_id": records["record_id"],
                          "own_size": pl.Series(sets.lengths, dtype=pl.Int64)})  # fmt: skip
    similarity = pl.col("shared") / (pl.col("own_size") + pl.col("size") - pl.col("shared"))
    return (
        shared.join(sizes, on="row")
        .join(search.needles, on="needle")
        .filter(similarity >= params.near.threshold)
        .select("record_id", *_PLACE)
        .sort("record_id", "uri", "line")
    )
