"""What must hold before duplicates are taken out."""

from __future__ import annotations

import polars as pl

from dataset_pipeline.expectations.common import (
    Audit,
    common_gauges,
    common_rows,
    common_suite,
    counted,
    with_gauge,
)
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.records import Step

SUITE: tuple[Expectation, ...] = (
    # A file that is sent twice is nothing but duplicates, and rightly so: high rates only warn.
    *common_suite(Step.DEDUP, worst_rule=0.9, worst_source=0.95, severity="warning"),
    Expectation("twins_named", "A duplicate names no twin, itself, or a similarity below 0 or above 1.",
                "between", "gauges", ("twins_missing",), maximum=0),
    Expectation("twins_kept", "A twin is not a kept record: a chain of duplicates.", "between", "gauges", ("twins_not_kept",), maximum=0),
    Expectation("answers_agree", "Two records with different answers were taken for duplicates.",
                "between", "gauges", ("twins_with_other_answer",), maximum=0),
    Expectation("kept_distinct", "Two kept records have equal text and answer.", "between", "gauges", ("equal_kept",), maximum=0),
)  # fmt: skip


def rows(audit: Audit) -> pl.DataFrame:
    return common_rows(audit)


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: history (record_id, comparison_key, answer_key of kept records of earlier days)."""
    staged, history = audit.staged, audit.extras["history"]
    dropped = staged.filter(~pl.col("kept"))
    kept = pl.concat(
        [
            history.select("record_id", "comparison_key", "answer_key"),
            staged.filter("kept").select("record_id", "comparison_key", "answer_key"),
        ]
    )
    unnamed = dropped.filter(
        pl.col("twin").is_null()
        | (pl.col("twin") == pl.col("record_id"))
        | ~pl.col("similarity").is_between(0.0, 1.0).fill_null(False)
    )
    twins = dropped.filter(pl.col("twin").is_not_null()).join(
        kept.rename({"record_id": "twin", "answer_key": "twin_answer"}).select("twin", "twin_answer"),
        on="twin",
        how="left",
    )
    chained = twins.filter(~pl.col("twin").is_in(kept["record_id"].implode()))
    disagreeing = twins.filter(
        pl.col("twin_answer").is_not_null() & (pl.col("twin_answer") != pl.col("answer_key"))
    )
    several = kept.group_by("comparison_key", "answer_key").len().filter(pl.col("len") > 1)
    equal = staged.filter("kept").join(several, on=["comparison_key", "answer_key"], how="semi")
    result = common_gauges(audit)
    for frame, name in (
        (unnamed, "twins_missing"),
        (chained, "twins_not_kept"),
        (disagreeing, "twins_with_other_answer"),
        (equal, "equal_kept"),
    ):
        result = with_gauge(result, counted(frame, name), 0)
    return result
