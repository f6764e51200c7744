"""What the glue of several steps shares: what arrived, rows staged a bounded number at a time, what is handed over.

Lives here: reading and staging around a pure transform. Keep out: single steps (`row_local`, `looking_back`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from dataset_pipeline.assets.context import Context, Days, Stage, Work
from dataset_pipeline.assets.standing import standing_rows
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, MESSAGES, Step, empty
from dataset_pipeline.storage import frames

AT_ONCE = 50_000
"""Records whose texts are held at a time: bounds memory, changes no result."""


def carried(table: pl.DataFrame, records: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """record_id, day, content_sha of the kept rows, and the step's own columns that later steps read."""
    kept = table.filter("kept").select("record_id", "day", *columns)
    return kept.join(records.select("record_id", "content_sha"), on="record_id", how="left")


def rows_in(context: Context, step: Step, days: Days) -> dict[dt.date, int]:
    """Counted in the warehouse, not from the frame the step worked on."""
    return frames.kept_counts(context.warehouse, DAILY_STEPS[DAILY_STEPS.index(step) - 1], days)


def simple(
    context: Context, step: Step, days: Days, records: pl.DataFrame, table: pl.DataFrame,
    carried: pl.DataFrame, extras: dict[str, pl.DataFrame], notes: tuple[str, ...] = (),
) -> Work:  # fmt: skip
    def audit(staged: pl.DataFrame, _: dict[str, pl.DataFrame]) -> Audit:
        return Audit(step, days, staged, rows_in(context, step, days), records, extras)

    return Work({step: table}, carried, audit, notes)


@dataclass(frozen=True)
class Arrived:
    """The records that reached a row-local step, without their texts: those whose published rows stand, and the others.

    Both are of frames.LIGHT, in (day, record_id) order.
    """

    every: pl.DataFrame
    standing: pl.DataFrame
    fresh: pl.DataFrame


def arrived(
    context: Context,
    undated: Undated,
    step: Step,
    days: Days,
    same_settings: Callable[[str], bool] | None = None,
) -> Arrived:
    REPORTER.get().phase(step, "reading records")
    every = frames.light_records(context.warehouse, DAILY_STEPS[DAILY_STEPS.index(step) - 1], days)
    stands = standing_rows(context, step, days, undated.latest, same_settings)
    named = undated.named(step, days)
    if named is not None:
        # What a person says of it now is applied to what the step itself says.
        stands = stands.join(named.select("record_id"), on="record_id", how="anti")
    keys = ["record_id", "day"]
    return Arrived(every, every.join(stands, on=keys, how="semi"), every.join(stands, on=keys, how="anti"))


def computed(
    context: Context, step: Step, fresh: pl.DataFrame, compute: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame | None:
    """`compute` of the RECORDS that `fresh` names, a bounded number at a time; None where it names none."""
    made = []
    before = DAILY_STEPS[DAILY_STEPS.index(step) - 1]
    for number, part in enumerate(fresh.iter_slices(AT_ONCE)):
        days = part["day"].unique().to_list()
        made.append(compute(frames.records_after(context.warehouse, before, days, part["record_id"])))
        told_progress(step, number, fresh.height)
    return pl.concat(made) if made else None


def told_progress(step: Step, number: int, records: int) -> None:
    if records > AT_ONCE:
        REPORTER.get().phase(step, f"{min((number + 1) * AT_ONCE, records)} of {records} records")


def in_parts(
    context: Context,
    step: Step,
    days: Days,
    arrived: Arrived,
    stage: Stage,
    compute: Callable[[pl.DataFrame], pl.DataFrame],
    stand: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> pl.DataFrame:
    """Stage TABLES[step] of all records, a bounded number at a time; returns its rows without texts.

    compute: RECORDS to the step's table. stand: published rows to what they are now.
    """
    before, light = DAILY_STEPS[DAILY_STEPS.index(step) - 1], []

    def put(table: pl.DataFrame, number: int, records: int) -> None:
        stage({step: table})
        light.append(table.drop(cs.by_dtype(MESSAGES)))
        told_progress(step, number, records)

    for number, part in enumerate(arrived.fresh.iter_slices(AT_ONCE)):
        records = frames.records_after(
            context.warehouse, before, part["day"].unique().to_list(), part["record_id"]
        )
        put(compute(records), number, arrived.fresh.height)
    for number, part in enumerate(arrived.standing.iter_slices(AT_ONCE)):
        days_of = part["day"].unique().to_list()
        rows = frames.published_rows(context.warehouse, step, days_of, part["record_id"])
        put(stand(rows), number, arrived.standing.height)
    return pl.concat(light) if light else empty(step).drop(cs.by_dtype(MESSAGES))
