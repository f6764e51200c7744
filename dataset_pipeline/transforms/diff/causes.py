"""Why a row of one release is not the same in another: what was changed that did it.

Lives here: from a difference (`comparing`) to the change of spec, file, review, annotation, evaluation set, library or
other record behind it, row by row. Keep out: finding differences, the order of causes (`missing`, `both`), counting by
cause (`tallies`). Where nothing that is known tells, it is said so: a cause is never guessed from a change that could
not have done it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from dataset_pipeline.transforms.diff.both import Both
from dataset_pipeline.transforms.diff.comparing import (
    COUNTED,
    OPTIONAL,
    TEXT_SHA,
    Comparison,
    Differences,
    Side,
)
from dataset_pipeline.transforms.diff.known import Known
from dataset_pipeline.transforms.diff.missing import Held, Missing
from dataset_pipeline.transforms.diff.words import Cause

_FACTS = tuple(name for name in OPTIONAL if name != TEXT_SHA)
_ORIGIN = ("day", "uri")
_TWIN = r'"twin": ?"([^"]*)"'


def with_causes(
    found: Comparison,
    sides: tuple[Side, Side],
    differences: Differences,
    libraries: Mapping[str, Sequence[str]],
) -> Comparison:
    """`found` with two more columns in each frame: cause (one of MEANINGS) and because (words, never text of a record).

    libraries: step to the libraries that decide its result.
    """
    before, after = sides
    known = Known(differences, libraries)
    relabelled = found.changed.filter(pl.col("label_before").ne_missing(pl.col("label_after")))
    ids = frozenset(relabelled["record_id"].to_list())
    both = Both(known, bool(found.rows_in.height or found.rows_out.height or differences.inputs))
    gone, came = (
        Missing(known, after_it, _held(side), ids).cause if rows.height else _never
        for after_it, side, rows in ((True, before, found.rows_out), (False, after, found.rows_in))
    )
    return replace(
        found,
        rows_out=_told(found.rows_out, before, gone),
        rows_in=_told(found.rows_in, after, came),
        changed=_told(found.changed, after, both.changed, older=before),
        moved=_told(found.moved, after, both.moved, older=before),
    )


def _never(row: dict[str, Any]) -> Cause:
    raise AssertionError("asked of no row")


def _told(
    rows: pl.DataFrame, holder: Side, judge: Callable[[dict[str, Any]], Cause], older: Side | None = None
) -> pl.DataFrame:
    more = [n for n in (*_FACTS, *_ORIGIN) if n in holder.provenance.columns and n not in rows.columns]
    facts = rows.join(
        holder.provenance.select("record_id", *more), on="record_id", how="left", maintain_order="left"
    )
    if older is not None:
        extra = [name for name in _FACTS if name in older.provenance.columns]
        renamed = older.provenance.select("record_id", *(pl.col(n).alias(f"{n}_before") for n in extra))
        facts = facts.join(renamed, on="record_id", how="left", maintain_order="left")
    facts = facts.rename({name: _short(name) for name in facts.columns if _short(name) != name})
    causes = [judge(_counted(row)) for row in facts.iter_rows(named=True)]
    return rows.with_columns(
        pl.Series("cause", [cause for cause, _ in causes], dtype=pl.String),
        pl.Series("because", [because for _, because in causes], dtype=pl.String),
    )


def _short(name: str) -> str:
    """normalize_pii_counts is `pii` to those who ask, normalize_changes `changes`."""
    for column, word in COUNTED.items():
        name = name.replace(column, word)
    return name


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    """Lists of (name, count) as mappings."""
    for word in COUNTED.values():
        for name in (word, f"{word}_before"):
            counts = row.get(name)
            if counts is not None:
                row[name] = {one["name"]: one["count"] for one in counts}
    return row


def _held(side: Side) -> Held:
    """The records of `side` by id, with the step, the reason and the twin of those that it dropped."""
    twin = pl.col("detail").str.extract(_TWIN, 1).fill_null("")
    dropped = side.dropped.select("record_id", pl.col("step", "reason").fill_null(""), twin.alias("twin"))
    known = {record: (step, reason, other) for record, step, reason, other in dropped.iter_rows()}
    return known | dict.fromkeys(side.provenance["record_id"].to_list(), ("", "", ""))
