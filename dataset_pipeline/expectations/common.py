"""Expectations and gauges that every daily step shares.

Lives here: conservation, keys, days, reasons, drop rates. Keep out: what only one step can be
asked; that stands in the step's own module.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from dataset_pipeline.expectations.gate import MAX_NAMED, Expectation, Severity
from dataset_pipeline.records import ERASED, REASONS, REVIEWED, TABLES, Step

MIN_SAMPLE = 50
"""Below this many records a rate says little: it warns instead of closing the gate."""


@dataclass(frozen=True)
class Audit:
    """Everything a suite may look at for one step and its requested days.

    staged: the step's rows as read back from staging. rows_in: day to the number of rows that
    must have arrived. records: the step's input with its text, for gauges alone. extras: further
    frames by name (rejects, batches, history, protected, …).
    """

    step: str
    days: tuple[dt.date, ...]
    staged: pl.DataFrame
    rows_in: dict[dt.date, int]
    records: pl.DataFrame
    extras: dict[str, pl.DataFrame] = field(default_factory=dict)


def common_suite(
    step: Step, worst_rule: float, worst_source: float, severity: Severity = "critical"
) -> tuple[Expectation, ...]:
    """The shared expectations of `step`, with its limits on drop rates."""
    reasons = sorted(REASONS[step])
    shared = [
        Expectation("columns_exact", "A column was added, lost or retyped.", "between", "gauges", ("column_differences",), maximum=0),
        Expectation("rows_conserved", "Records vanished or appeared: rows of a step must equal the kept rows of the step before.",
                    "between", "gauges", ("rows_lost",), minimum=0, maximum=0,
                    is_fixed=True, why_fixed="a step that loses a row in silence does not happen"),
        Expectation("ids_unique", "Two rows carry one record id.", "unique", "rows", ("record_id",)),
        Expectation("keys_present", "A row has no id or no day.", "not_null", "rows", ("record_id", "day")),
        Expectation("days_requested", "A row belongs to a day that this run does not make.", "in_set", "rows", ("day_requested",), values=("yes",)),
        Expectation("records_arrived", "A row stands for a record that did not arrive on its day: another day's, or nobody's.",
                    "in_set", "rows", ("record_arrived",), values=("yes",)),
        Expectation("verdicts_complete", "A kept row has a reason, or a dropped row has none or no detail.",
                    "between", "gauges", ("incomplete_verdicts",), maximum=0),
    ]  # fmt: skip
    shared.append(
        Expectation(
            "reasons_allowed",
            "A reason is not in the step's closed list.",
            "in_set",
            "rows",
            ("reason",),
            values=tuple(reasons),
        )
    )
    if set(reasons) - {ERASED}:  # people erase; no rate is wrong for that
        shared += [
            Expectation("drop_rate_per_rule", "One rule drops more than it should: a wrong threshold, or a source that changed.",
                        "between", "gauges", ("rule_drop_rate",), severity, maximum=worst_rule, min_sample=MIN_SAMPLE),
            Expectation("drop_rate_per_source", "One source loses most of its records.",
                        "between", "gauges", ("source_drop_rate",), severity, maximum=worst_source, min_sample=MIN_SAMPLE, sample="source_n"),
        ]  # fmt: skip
    return tuple(shared)


def column_differences(frame: pl.DataFrame, table: str) -> int:
    """Columns that are missing, extra or of another type than records.TABLES says."""
    expected = TABLES[table]
    differing = {
        name for name in expected if name not in frame.columns or frame.schema[name] != expected[name]
    }
    return len(differing) + sum(1 for name in frame.columns if name not in expected)


def common_gauges(audit: Audit) -> pl.DataFrame:
    """One row per requested day: day (String), n, and the shared gauges."""
    frame = audit.staged
    days = pl.DataFrame({"date": list(audit.days)}, schema={"date": pl.Date})
    present = frame.group_by("day").agg(pl.len().alias("n"))
    arrived = pl.DataFrame(
        {"date": list(audit.rows_in), "arrived": list(audit.rows_in.values())},
        schema={"date": pl.Date, "arrived": pl.Int64},
    )
    return (
        days.join(present.rename({"day": "date"}), on="date", how="left")
        .join(arrived, on="date", how="left")
        .join(counted(frame.filter(_incomplete()), "incomplete_verdicts"), on="date", how="left")
        .join(_worst(audit, "reason", "rule"), on="date", how="left")
        .join(_worst(audit, "source", "source"), on="date", how="left")
        .with_columns(pl.col("n", "arrived", "incomplete_verdicts", "source_n").fill_null(0).cast(pl.Int64))
        .with_columns(pl.col("rule_drop_rate", "source_drop_rate").fill_null(0.0))
        .with_columns(
            rows_lost=pl.col("arrived") - pl.col("n"),
            column_differences=pl.lit(column_differences(frame, audit.step), pl.Int64),
            day=pl.col("date").dt.to_string("%Y-%m-%d"),
        )
        .sort("date")
    )


def _incomplete() -> pl.Expr:
    kept = pl.col("kept")
    return (
        kept.is_null()
        | (kept & pl.col("reason").is_not_null())
        | (~kept & (pl.col("reason").is_null() | pl.col("detail").is_null()))
    )


def _worst(audit: Audit, column: str, name: str) -> pl.DataFrame:
    """Per day the highest drop rate over the values of `column`, and whose it is."""
    frame = audit.staged
    if column == "source" and "source" not in frame.columns:
        frame = frame.join(audit.records.select("record_id", "source"), on="record_id", how="left")
    if column == "reason":
        totals = frame.group_by("day").agg(pl.len().alias("total"))
        parts = (
            # What people dropped says nothing about a rule.
            frame.filter(~pl.col("kept") & (pl.col("reason") != REVIEWED))
            .group_by("day", "reason")
            .agg(pl.len().alias("dropped"))
            .join(totals, on="day")
        )
    else:
        parts = frame.group_by("day", column).agg(
            pl.len().alias("total"), (~pl.col("kept")).sum().alias("dropped")
        )
    return (
        parts.with_columns(rate=pl.col("dropped") / pl.col("total"))
        .sort(
            "day",
            (pl.col("total") < MIN_SAMPLE),
            "rate",
            column,
            descending=[False, False, True, False],
            nulls_last=True,
        )
        .group_by("day", maintain_order=True)
        .first()
        .select(
            pl.col("day").alias("date"),
            pl.col("rate").alias(f"{name}_drop_rate"),
            pl.col(column).alias(f"{name}_drop_rate_culprit"),
            pl.col("total").cast(pl.Int64).alias(f"{name}_n"),
        )
    )


def common_rows(audit: Audit, extra: Sequence[str] = (), arrived: pl.DataFrame | None = None) -> pl.DataFrame:
    """record_id, day (String), reason, day_requested, record_arrived and the named columns; never text.

    arrived: what a row must match to have arrived (by default record_id and day of the step's
    input). A row without id or day is left to keys_present, one of a foreign day to days_requested.
    """
    arrived = audit.records.select("record_id", "day") if arrived is None else arrived
    marked = audit.staged.join(
        arrived.unique().with_columns(has_arrived=pl.lit(True)),
        on=arrived.columns,
        how="left",
        maintain_order="left",
    )
    is_requested = pl.col("day").is_in(list(audit.days)) | pl.col("day").is_null()
    is_judged = pl.col("record_id").is_not_null() & pl.col("day").is_not_null() & is_requested
    return marked.select(
        "record_id",
        pl.col("day").dt.to_string("%Y-%m-%d"),
        "reason",
        *extra,
        day_requested=_yes_no(is_requested),
        record_arrived=_yes_no(pl.col("has_arrived").fill_null(False) | ~is_judged),
    )


def _yes_no(condition: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(pl.lit("yes")).otherwise(pl.lit("no"))


def per_day(frame: pl.DataFrame, value: pl.Expr, name: str) -> pl.DataFrame:
    """`value` aggregated per day under `name`, keyed by `date`."""
    return frame.group_by(pl.col("day").alias("date")).agg(value.alias(name))


def counted(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows of `frame` per day under `name`, with the first of their ids under `<name>_record_ids`; keyed by `date`."""
    return frame.group_by(pl.col("day").alias("date")).agg(
        pl.len().cast(pl.Int64).alias(name),
        pl.col("record_id").drop_nulls().unique().sort().head(MAX_NAMED).alias(f"{name}_record_ids"),
    )


def with_gauge(gauges: pl.DataFrame, measured: pl.DataFrame, default: float | int) -> pl.DataFrame:
    """`gauges` joined with `measured` (keyed by date); days without rows get `default`."""
    names = [c for c in measured.columns if c != "date"]
    joined = gauges.join(measured, on="date", how="left")
    return joined.with_columns(
        pl.col(n).fill_null(default) for n in names if not n.endswith(("_culprit", "_record_ids"))
    )
