"""What must hold for the protected items and for the report."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.expectations.text_audit import left_entities

PROTECTED_SUITE: tuple[Expectation, ...] = (
    Expectation("items_unique", "Two items of one evaluation set share an id.", "unique", "rows", ("record_id",)),
    Expectation("items_have_text", "An evaluation item is empty: it protects nothing.", "between", "gauges", ("empty_items",), maximum=0),
    Expectation("sets_not_empty", "An evaluation set holds no item.", "between", "gauges", ("empty_sets",), maximum=0),
    Expectation("items_readable", "A row of an evaluation set could not be read: it would not be protected.",
                "between", "gauges", ("unreadable_items",), maximum=0),
    Expectation("examples_enough", "Fewer than five handwritten examples: the behaviour is hardly specified.",
                "between", "gauges", ("examples",), "warning", minimum=5),
)  # fmt: skip

REPORT_SUITE: tuple[Expectation, ...] = (
    Expectation("queue_complete", "A waiting record is not in the review queue, or one is twice.",
                "between", "gauges", ("records_missing",), minimum=0, maximum=0),
    Expectation("personal_data_replaced", "The review queue or the report page would show checksummed personal data.",
                "between", "gauges", ("personal_data_left",), maximum=0),
    Expectation("queue_short", "More records wait than people will read.", "between", "gauges", ("n",), "warning", maximum=1000),
)  # fmt: skip


def report_frames(
    queue: pl.DataFrame, waiting: int, page: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """rows and gauges for REPORT_SUITE.

    queue: rows of the review queue, one a waiting record; waiting: how many there are; page: the texts that the report
    page shows.
    """
    texts = pl.concat([queue[name].drop_nulls() for name in ("prompt", "answer", "rejected")])
    gauges = pl.DataFrame(
        {
            "day": ["all"], "n": [queue.height], "records_missing": [waiting - queue["record"].n_unique()],
            "personal_data_left": [sum(1 for text in [*texts, *page] if left_entities(text))],
        }
    )  # fmt: skip
    return queue.select(record_id="record", day=pl.lit("all")), gauges


def protected_frames(
    protected: pl.DataFrame, set_names: list[str], unreadable: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """rows and gauges for PROTECTED_SUITE; the only `day` is the word `all`.

    unreadable: place and reason of each row that could not be read, as file:line reason.
    """
    rows = protected.select(
        pl.concat_str("eval_set", pl.lit(":"), "eval_item").alias("record_id"), pl.lit("all").alias("day")
    )
    blank = protected.filter(pl.col("text").is_null() | (pl.col("text").str.strip_chars() == ""))
    filled = set(protected["eval_set"].unique().to_list())
    empty_sets = [name for name in set_names if name not in filled]
    gauges = pl.DataFrame(
        {
            "day": ["all"], "n": [protected.height], "empty_items": [blank.height], "empty_sets": [len(empty_sets)],
            "empty_sets_culprit": [", ".join(empty_sets) or None], "unreadable_items": [len(unreadable)],
            "unreadable_items_culprit": [", ".join(unreadable[:5]) or None],
            "examples": [protected.filter(pl.col("eval_set") == "examples").height],
        },
        schema_overrides={"empty_sets_culprit": pl.String, "unreadable_items_culprit": pl.String},
    )  # fmt: skip
    return rows, gauges
