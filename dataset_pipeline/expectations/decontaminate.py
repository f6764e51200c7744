"""What must hold before test items are taken out."""

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
from dataset_pipeline.records import REVIEWED, Step
from dataset_pipeline.text import comparison_text, rejected_side, with_sides

SUITE: tuple[Expectation, ...] = (
    *common_suite(Step.DECONTAMINATE, worst_rule=0.3, worst_source=0.5),
    Expectation("no_eval_item_left", "A kept record equals a protected item, or holds a long one whole.",
                "between", "gauges", ("eval_items_left",), maximum=0),
    Expectation("protected_let_pass", "A person kept a record that holds a protected item: the evaluation is less honest by it.",
                "between", "gauges", ("eval_items_let_pass",), "warning", maximum=0),
    Expectation("items_named", "A record was taken out without naming the set and item.",
                "between", "gauges", ("unnamed_matches",), maximum=0),
    Expectation("overlap_in_range", "An overlap was measured below 0 or above 1.",
                "between", "rows", ("overlap_fraction",), minimum=0.0, maximum=1.0),
)  # fmt: skip


def rows(audit: Audit) -> pl.DataFrame:
    return common_rows(audit, ("overlap_fraction",))


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: holding (record_id, day: what `holding` finds among the records that were searched now)."""
    staged = audit.staged
    is_told = pl.col("kept") | (pl.col("reason") == REVIEWED)
    unnamed = staged.filter(~is_told & (pl.col("eval_set").is_null() | pl.col("eval_item").is_null()))
    result = with_gauge(common_gauges(audit), counted(unnamed, "unnamed_matches"), 0)
    kept = staged.filter("kept").select("record_id")
    left, told = (
        audit.extras["holding"].join(kept, on="record_id", how="semi"),
        staged.filter(pl.col("review").is_not_null()).select("record_id"),
    )
    let_pass = left.join(told, on="record_id", how="semi")
    result = with_gauge(result, counted(let_pass, "eval_items_let_pass"), 0)
    return with_gauge(result, counted(left.join(told, on="record_id", how="anti"), "eval_items_left"), 0)


def holding(records: pl.DataFrame, protected: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """record_id and day of the records that equal a protected item, or hold one of `ngram` words or more whole.

    records: RECORDS with cleaned messages. protected: eval_set, eval_item, text. Looks for whole items by substring
    search on comparison texts: another way than the n-grams of the step itself.
    """
    if protected.height == 0 or records.height == 0:
        return records.select("record_id", "day").clear()
    items = (
        protected.select(comparison_text(pl.col("text")).alias("item"))
        .unique()
        .sort("item")
        .filter(pl.col("item") != "")
    )
    long = items.filter(pl.col("item").str.split(" ").list.len() >= ngram)["item"]
    texts = with_sides(records).select("record_id", "day", text="prompt")
    if "rejected" in records.columns and records["rejected"].null_count() < records.height:
        # Of a preference pair the worse answer is trained on as well.
        texts = pl.concat([texts, records.select("record_id", "day", rejected_side(records).alias("text"))])
    texts = texts.with_columns(comparison_text(pl.col("text")))
    padded = pl.concat_str(pl.lit(" "), pl.col("text"), pl.lit(" "))
    holds = padded.str.contains_any((" " + long + " ").to_list()) if len(long) else pl.lit(False)
    found = texts.filter(pl.col("text").is_in(items["item"].implode()) | holds)
    return found.select("record_id", "day")
