"""reviews: what people decided about single records, read, matched to records, and applied.

Lives here: what a row of a review file means, which verdict acts where several name one record, and what keep
and drop do to the tables of filter and decontaminate. Keep out: reading files, labels (`label`), what erase
does to texts and copies, the list of what waits (`queue`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import polars as pl

from dataset_pipeline.records import REVIEWED, REVIEWS, TABLES, Step, conform
from dataset_pipeline.spec.params import ReviewsParams
from dataset_pipeline.transforms.review_naming import ACTS, CONFLICT, OVERRULED, matches, settled

KEEP, DROP, RELABEL, ERASE = "keep", "drop", "relabel", "erase"
_JUDGED = (Step.FILTER, Step.DECONTAMINATE, Step.LABEL)
STEPS_OF: dict[str, tuple[Step, ...]] = {
    KEEP: _JUDGED,
    DROP: _JUDGED,
    RELABEL: (Step.LABEL,),
    ERASE: (Step.INGEST,),
}
"""Which steps a verdict may name. Where there is one only, it need not be named."""

UNKNOWN = "unknown_record"
"""State of a verdict that means nothing collected. The others: ACTS, OVERRULED, CONFLICT of `review_naming`."""

UNUSABLE_REASONS: frozenset[str] = frozenset(
    {"unnamed_record", "missing_verdict", "unknown_verdict", "missing_step", "wrong_step", "missing_value",
     "value_without_relabel", "unknown_label", "no_labels", "missing_reviewer", "bad_reviewer", "bad_date"}
)  # fmt: skip
"""Why a row with an answer is no verdict. The words of storage/readers for rows that cannot be read come beside."""

MAX_REVIEWER_CHARS = 100
"""A longer name, or one of several lines, is a text in the wrong column; it would be shown to people."""

_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_HEX_ID = re.compile(r"[0-9a-fA-F]{32}")
RUNNABLE = r"[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]"
"""What a cell begins with that a spreadsheet would run; the last four are the full-width forms of = + - @."""
_GUARDED = re.compile(f"'+{RUNNABLE}")
"""Such a cell with the apostrophe that `queue` puts before it, or with several."""

NAMED: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String, "day": pl.Date, "verdict": pl.String, "value": pl.String,
    "reviewer": pl.String, "date": pl.Date, "uri": pl.String, "line": pl.Int64,
}  # fmt: skip
"""Columns of what `naming` returns."""


class Unusable(NamedTuple):
    """A row that answers something and cannot be used: its place and a word of UNUSABLE_REASONS."""

    uri: str
    line: int
    reason: str


def missing_columns(columns: Sequence[str]) -> list[str]:
    """What a review file lacks: `verdict`, `reviewer`, and `record` or both `source` and `id`.

    Names count without regard to case and spaces around them. `step`, `value`, `date`, `content` may be absent.
    """
    present = {name.strip().casefold() for name in columns}
    missing = [name for name in ("verdict", "reviewer") if name not in present]
    return missing + (
        [] if "record" in present or {"source", "id"} <= present else ["record (or source and id)"]
    )


def verdicts(
    rows: Iterable[tuple[str, int, Mapping[str, Any]]], params: ReviewsParams
) -> tuple[pl.DataFrame, list[Unusable]]:
    """TABLES['reviews'] (by uri and line; `state` is '') and the rows that cannot be used.

    rows: uri of the file, 1-based line, column to cell. A row without `verdict` and without `value` is not
    answered yet: it is in neither result, so their number is the rows given less both. relabel means step
    label and erase means step ingest where no step is named. A reviewer is needed: somebody has to answer for
    a verdict. The date may be absent: such a verdict is earlier than any dated one.
    """
    made: list[tuple[Any, ...]] = []
    unusable: list[Unusable] = []
    for uri, line, cells in rows:
        row = _cells(cells)
        if not row["verdict"] and not row["value"]:
            continue
        fault = _fault(row, params)
        if fault is not None:
            unusable.append(Unusable(uri, line, fault))
            continue
        verdict, content = row["verdict"].casefold(), row["content"]
        record = row["record"].lower() if _HEX_ID.fullmatch(row["record"]) else row["record"]
        named = (row["source"], row["id"]) if row["source"] and row["id"] else (None, None)
        made.append(
            (
                record or None, *named, content.lower() if _HEX_ID.fullmatch(content) else None,
                row["step"].casefold() or str(STEPS_OF[verdict][0]), verdict,
                params.label_names[row["value"].casefold()] if verdict == RELABEL else None,
                row["reviewer"], dt.date.fromisoformat(row["date"]) if row["date"] else None, uri, line, "",
            )
        )  # fmt: skip
    frame = pl.DataFrame(made, schema=TABLES[REVIEWS], orient="row")
    return frame.sort("uri", "line"), sorted(unusable)


_COLUMNS = ("record", "source", "id", "content", "step", "verdict", "value", "reviewer", "date")


@lru_cache(maxsize=16)
def _own_names(columns: tuple[str, ...]) -> dict[str, str]:
    """Our column to the file's; of two that differ in case only, the one that is written as ours."""
    named = {name.strip().casefold(): name for name in reversed(columns)}
    return {ours: ours if ours in columns else named.get(ours, ours) for ours in _COLUMNS}


def _cells(cells: Mapping[str, Any]) -> dict[str, str]:
    """The cells of our columns, stripped; '' where there is none. The mark against formulas is taken off again."""
    row = {}
    for ours, theirs in _own_names(tuple(cells)).items():
        cell = cells.get(theirs)
        text = "" if cell is None else str(cell)
        row[ours] = (text[1:] if _GUARDED.match(text) else text).strip()
    return row


def _fault(row: Mapping[str, str], params: ReviewsParams) -> str | None:
    """The first thing that is wrong with an answered row."""
    verdict, step, value = row["verdict"].casefold(), row["step"].casefold(), row["value"]
    if not verdict:
        return "missing_verdict"
    if verdict not in STEPS_OF:
        return "unknown_verdict"
    if not row["record"] and not (row["source"] and row["id"]):
        return "unnamed_record"
    if not step and len(STEPS_OF[verdict]) > 1:
        return "missing_step"
    if step and step not in STEPS_OF[verdict]:
        return "wrong_step"
    if verdict != RELABEL and value:
        return "value_without_relabel"
    if verdict == RELABEL:
        if not params.labels:
            return "no_labels"
        if not value:
            return "missing_value"
        if value.casefold() not in params.label_names:
            return "unknown_label"
    if not row["reviewer"]:
        return "missing_reviewer"
    if len(row["reviewer"]) > MAX_REVIEWER_CHARS or not row["reviewer"].isprintable():
        return "bad_reviewer"
    return None if not row["date"] or _is_day(row["date"]) else "bad_date"


def _is_day(text: str) -> bool:
    if not _ISO_DAY.fullmatch(text):
        return False
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def resolved(verdicts: pl.DataFrame, known: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """TABLES['reviews'] with source, source_id, content and state filled, by uri and line.

    known: record_id, source, source_id, content (null where not known) and, where there is one, day, of every
    collected record. before: TABLES['reviews'] as published last: whom a record id named is carried on where
    the record is no longer collected. state: `acts`; `unknown_record` (nothing collected is meant);
    `overruled` (another verdict goes before it on every record it means); `conflict` (on the same last date
    different reviewers said different things: none of it acts). An erase that means a record always acts.
    """
    rows = _identified(verdicts, known, before).with_row_index("row")
    found = matches(rows, known)
    judged = settled(found.best, ["target", "step"])
    acting, disputed = (
        judged.filter(pl.col("state") == s)["row"].unique().implode() for s in (ACTS, CONFLICT)
    )
    state = (
        pl.when(~pl.col("row").is_in(found.rows.implode()))
        .then(pl.lit(UNKNOWN))
        .when((pl.col("verdict") == ERASE) | pl.col("row").is_in(acting))
        .then(pl.lit(ACTS))
        .when(pl.col("row").is_in(disputed))
        .then(pl.lit(CONFLICT))
        .otherwise(pl.lit(OVERRULED))
    )
    return conform(rows.with_columns(state=state).drop("row").sort("uri", "line"), REVIEWS)


def _identified(verdicts: pl.DataFrame, known: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The verdicts with what their record id tells: by the collected records, else by the table before."""
    whose = ["source", "source_id", "content"]
    named = verdicts.select("record").drop_nulls().unique()
    now = known.select("record_id", *whose).join(named, left_on="record_id", right_on="record", how="semi")
    once = (
        before.select(pl.col("record").alias("record_id"), *whose, "uri", "line")
        .filter(pl.col("record_id").is_not_null() & pl.col("source").is_not_null())
        .sort("record_id", "uri", "line")
        .drop("uri", "line")
        .join(now, on="record_id", how="anti")
    )
    told = pl.concat([now, once]).unique("record_id", keep="first", maintain_order=True)
    told = told.rename({name: f"told_{name}" for name in whose})
    return (
        verdicts.join(told, left_on="record", right_on="record_id", how="left", maintain_order="left")
        .with_columns(
            # Source and id go together: half of what the file says and half of what is known names nobody.
            *(pl.when(pl.col("told_source").is_not_null()).then(f"told_{n}").otherwise(n).alias(n) for n in whose[:2]),
            content=pl.coalesce("told_content", "content"),
        )
        .drop(pl.selectors.starts_with("told_"))
    )  # fmt: skip


def naming(reviews: pl.DataFrame, known: pl.DataFrame, step: Step) -> pl.DataFrame:
    """The verdict of `step` that acts on each record of `known`: NAMED, at most one row a record.

    reviews: TABLES['reviews'] as `resolved` returns it. known: record_id, day, source, source_id, content of
    every collected record, or of those in question and those that verdicts name. A record is meant by its own
    id, or by a row that gives its source and id alone; else by a verdict on an earlier record of the same source
    and id (it was collected again); else, where it has no id of its source, by content and source. The nearer
    naming goes first, then the later verdict. Where a source uses one id for several records of a day, a
    verdict on one of them reaches another only where the content is equal too. A verdict on a record that is
    collected does not reach earlier days: what comes later would else change them.
    `state` is not read, and who is meant is looked up again: both depend on what was collected when the table
    was made, and the verdict on a day must not.
    """
    rows = reviews.filter(pl.col("step") == str(step))
    if rows.height == 0 or known.height == 0:
        return pl.DataFrame(schema=NAMED)
    rows = _identified(rows, known, reviews.clear()).with_row_index("row")
    acting = settled(matches(rows, known).best, ["target"]).filter(pl.col("state") == ACTS)
    return acting.rename({"target": "record_id"}).select(*NAMED).sort("day", "record_id")


def with_verdicts(table: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """`table`, in its order, with `said` (verdict), `said_value`, `said_by`, `said_on`, `said_in` (file:line)."""
    told = named.select(
        "record_id",
        said="verdict",
        said_value="value",
        said_by="reviewer",
        said_on=pl.col("date").dt.to_string("%Y-%m-%d"),
        said_in=pl.concat_str("uri", pl.lit(":"), pl.col("line").cast(pl.String)),
    )
    return table.join(told, on="record_id", how="left", maintain_order="left")


def review_json(overrides: pl.Expr, **more: pl.Expr) -> pl.Expr:
    """The column `review` of a frame with `said…`: compact JSON with sorted keys, null without a verdict.

    overrides: the reason that the record had without the verdict. more: further keys.
    """
    facts = {"date": pl.col("said_on"), "file": pl.col("said_in"), "overrides": overrides,
             "reviewer": pl.col("said_by"), "verdict": pl.col("said"), **more}  # fmt: skip
    sorted_facts = pl.struct([facts[name].alias(name) for name in sorted(facts)])
    return pl.when(pl.col("said").is_not_null()).then(sorted_facts.struct.json_encode())


def dropped_detail() -> pl.Expr:
    """`detail` of a record that a person dropped, of a frame with `said…`."""
    return pl.struct(rule=pl.lit("review"), threshold="said_in", value="said").struct.json_encode()


def apply_reviews(table: pl.DataFrame, step: Step, named: pl.DataFrame) -> pl.DataFrame:
    """TABLES['filter'] or TABLES['decontaminate'] with people's verdicts in place of the rules'.

    named: as `naming` returns it for `step`. keep: kept, no reason. drop: reason `reviewed`. Both say in
    `review` who, when, where, and what the rules had said (`overrides`). Other rows stay as they are; so do
    order and measurements.
    """
    if named.height == 0:
        return table
    said = with_verdicts(table, named)
    is_kept, is_dropped = pl.col("said") == KEEP, pl.col("said") == DROP
    decided = said.with_columns(
        review=pl.when(pl.col("said").is_null()).then("review").otherwise(review_json(pl.col("reason"))),
        kept=pl.when(is_kept).then(True).when(is_dropped).then(False).otherwise("kept"),
        reason=pl.when(is_kept).then(None).when(is_dropped).then(pl.lit(REVIEWED)).otherwise("reason"),
        detail=pl.when(is_kept).then(None).when(is_dropped).then(dropped_detail()).otherwise("detail"),
    )
    return conform(decided.select(*TABLES[step]), step)
