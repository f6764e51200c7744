"""What must hold before noise is taken out."""

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
)
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.records import SIDE_SIGNALS, Step

_SHARES = (
    *(f"{side}_{name}" for side in ("prompt", "answer") for name in SIDE_SIGNALS if name.endswith("_share")),
    "sides_similarity",
)

SUITE: tuple[Expectation, ...] = (
    *common_suite(Step.FILTER, worst_rule=0.3, worst_source=0.5),
    Expectation("examples_pass", "A rule drops a handwritten example: it would drop what is wanted.",
                "between", "gauges", ("examples_dropped",), maximum=0),
    Expectation("shares_in_range", "A share was measured below 0 or above 1.", "between", "rows", _SHARES, minimum=0.0, maximum=1.0),
    Expectation("length_bias", "Of most preference pairs the chosen answer is the longer one, or the shorter one: a model would learn length.",
                "between", "gauges", ("chosen_longer",), "warning", minimum=0.3, maximum=0.7),
    Expectation("prompts_measured", "A prompt was not measured.", "between", "gauges", ("unmeasured_prompts",), maximum=0),
)  # fmt: skip


def rows(audit: Audit) -> pl.DataFrame:
    return common_rows(audit, _SHARES)


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: examples (record_id, reason of the handwritten examples that a rule drops)."""
    examples = audit.extras["examples"]
    unmeasured = audit.staged.filter(pl.col("prompt_words").is_null() | pl.col("prompt_chars").is_null())
    result = with_gauge(common_gauges(audit), counted(unmeasured, "unmeasured_prompts"), 0)
    result = with_gauge(result, _chosen_longer(audit.staged), _NO_BIAS)
    named = (
        examples.select(
            pl.concat_str("record_id", pl.lit(" by "), "reason").sort().head(5).str.join(", ")
        ).item()
        if examples.height
        else None
    )
    return result.with_columns(
        examples_dropped=pl.lit(examples.height, pl.Int64), examples_dropped_culprit=pl.lit(named, pl.String)
    )


_NO_BIAS = 0.5


def _chosen_longer(staged: pl.DataFrame) -> pl.DataFrame:
    """Per day the share of kept preference pairs whose chosen answer has more characters; a tie counts half.

    Days of fewer than MIN_SAMPLE pairs are left out: a few pairs say nothing, and are no reason to warn.
    """
    pairs = staged.filter(pl.col("kept") & pl.col("rejected_chars").is_not_null())
    many = pairs.filter(pl.len().over("day") >= MIN_SAMPLE)
    chosen, rejected = pl.col("answer_chars"), pl.col("rejected_chars")
    longer = (chosen > rejected).cast(pl.Float64) + (chosen == rejected).cast(pl.Float64) / 2
    return per_day(many, longer.mean(), "chosen_longer")
