"""What must hold before labels become visible."""

from __future__ import annotations

import polars as pl

from dataset_pipeline.expectations.common import (
    MIN_SAMPLE,
    Audit,
    common_gauges,
    common_rows,
    common_suite,
    counted,
    per_day,
    with_gauge,
)  # fmt: skip
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.records import Step

SUITE: tuple[Expectation, ...] = (
    *common_suite(Step.LABEL, worst_rule=0.5, worst_source=0.8),
    Expectation("labels_allowed", "A kept record carries a label that the spec does not have.",
                "between", "gauges", ("foreign_labels",), maximum=0),
    Expectation("label_share", "One label has nearly everything: a wrong column or a broken export.",
                "between", "gauges", ("largest_label_share",), maximum=0.95, min_sample=MIN_SAMPLE, sample="kept"),
    Expectation("records_per_label", "A label of the spec has too few records so far.",
                "between", "gauges", ("smallest_label_records",), "warning", minimum=10),
    Expectation("contradictions", "Equal prompts with different answers: the annotators disagree, the label is unclear, or variety is wanted.",
                "between", "gauges", ("contradiction_share",), "warning", maximum=0.02, min_sample=MIN_SAMPLE, sample="kept"),
)  # fmt: skip


def rows(audit: Audit) -> pl.DataFrame:
    return common_rows(audit)


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: labels (label: the spec's; empty for tasks without), history (day, label of earlier kept rows)."""
    labels, history = audit.extras["labels"], audit.extras["history"]
    kept = audit.staged.filter("kept")
    result = with_gauge(common_gauges(audit), per_day(kept, pl.len().cast(pl.Int64), "kept"), 0)
    contradiction = per_day(kept, pl.col("is_contradiction").mean(), "contradiction_share")
    result = with_gauge(result, contradiction, 0.0)
    if labels.height == 0:
        # Nothing to judge without labels: the gauges say so by their neutral values.
        return result.with_columns(
            foreign_labels=pl.lit(0, pl.Int64),
            largest_label_share=pl.lit(0.0),
            smallest_label_records=pl.lit(10, pl.Int64),
        )
    foreign = kept.filter(~pl.col("label").is_in(labels["label"].implode()).fill_null(False))
    result = with_gauge(result, counted(foreign, "foreign_labels"), 0)
    shares = (
        kept.group_by("day", "label")
        .len()
        .group_by(pl.col("day").alias("date"))
        .agg((pl.col("len").max() / pl.col("len").sum()).alias("largest_label_share"))
    )
    result = with_gauge(result, shares, 0.0)
    return result.join(_smallest(audit, labels, history, kept), on="date", how="left")


def _smallest(audit: Audit, labels: pl.DataFrame, history: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Per day: the smallest number of kept records of any label of the spec up to that day, and which."""
    days = pl.DataFrame({"date": list(audit.days)}, schema={"date": pl.Date}).sort("date")
    seen = pl.concat([history.select("day", "label"), kept.select("day", "label")])
    summed = (
        seen.drop_nulls("label")
        .group_by("day", "label")
        .len()
        .sort("day", "label")
        .with_columns(count=pl.col("len").cum_sum().over("label").cast(pl.Int64))
    )
    counted = (
        days.join(labels, how="cross")
        .sort("date")
        .join_asof(
            summed.select("label", "count", date="day").sort("date"),
            on="date",
            by="label",
            check_sortedness=False,
        )
        .with_columns(pl.col("count").fill_null(0))
        .sort("date", "count", "label")
    )
    return (
        counted.group_by("date", maintain_order=True)
        .first()
        .select(
            "date",
            pl.col("count").alias("smallest_label_records"),
            pl.col("label").alias("smallest_label_records_culprit"),
        )
    )
