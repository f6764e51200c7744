"""What must hold before people's verdicts become visible."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dataset_pipeline.expectations.gate import Expectation

MAX_NAMED = 20
"""Rows of review files that an expectation names, at most."""

REVIEWS_SUITE: tuple[Expectation, ...] = (
    Expectation("verdicts_readable", "A row of a review file answers something and cannot be used: a person's decision "
                "would be lost. Mend the row (docs/reviews.md has the words; dates are written 2026-11-20), or empty its verdict and value.",
                "between", "gauges", ("unusable_verdicts",), maximum=0),
    Expectation("records_known", "A verdict names nothing that was collected: a wrong id, or a record that is gone.",
                "between", "gauges", ("unknown_records",), "warning", maximum=0),
    Expectation("verdicts_agree", "On one day different reviewers said different things of one record: none of it acts "
                "until a later verdict settles it.", "between", "gauges", ("conflicting_verdicts",), "warning", maximum=0),
)  # fmt: skip


def review_frames(
    reviews: pl.DataFrame, unusable: Sequence[tuple[str, int, str]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """rows and gauges for REVIEWS_SUITE; the only `day` is the word `all`, and a row's id is file:line.

    reviews: TABLES['reviews']. unusable: uri, line and reason of each row that is no verdict. Culprits are
    file:line, with the reason where there is one; never a cell.
    """
    place = pl.concat_str("uri", pl.lit(":"), pl.col("line").cast(pl.String))
    ordered = reviews.sort("uri", "line")
    rows = ordered.select(place.alias("record_id"), pl.lit("all").alias("day"))
    unknown, conflicting = (
        ordered.filter(pl.col("state") == state).select(place).to_series().to_list()
        for state in ("unknown_record", "conflict")
    )
    lost = [f"{uri}:{line} {reason}" for uri, line, reason in sorted(unusable)]
    named = {"unusable_verdicts": lost, "unknown_records": unknown, "conflicting_verdicts": conflicting}
    columns: dict[str, list[object]] = {"day": ["all"], "n": [reviews.height]}
    for gauge, culprits in named.items():
        columns |= {gauge: [len(culprits)], f"{gauge}_culprit": [_listed(culprits)]}
    types = {f"{gauge}_culprit": pl.String for gauge in named}
    return rows, pl.DataFrame(columns, schema_overrides=types)


def _listed(culprits: Sequence[str]) -> str | None:
    more = f" and {len(culprits) - MAX_NAMED} more" if len(culprits) > MAX_NAMED else ""
    return ", ".join(culprits[:MAX_NAMED]) + more if culprits else None
