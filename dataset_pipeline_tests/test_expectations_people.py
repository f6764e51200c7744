"""What reviews and the report are asked, each open and shut on a few rows made by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import polars as pl
import pytest

from dataset_pipeline.expectations.gate import Judgement, judge
from dataset_pipeline.expectations.reviews import REVIEWS_SUITE, review_frames
from dataset_pipeline.expectations.undated import REPORT_SUITE, report_frames
from dataset_pipeline.records import REPORT, REVIEWS, TABLES
from dataset_pipeline.transforms.queue import QUEUE

DAY = dt.date(2026, 3, 2)


def verdicts(*states: str) -> pl.DataFrame:
    rows = [
        {"source": "inbox", "source_id": f"T{n}", "step": "filter", "verdict": "keep", "reviewer": "jo",
         "date": DAY, "uri": "reviews/a.csv", "line": n, "state": state}
        for n, state in enumerate(states, 2)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES[REVIEWS])


def judged_reviews(
    reviews: pl.DataFrame, unusable: Sequence[tuple[str, int, str]] = ()
) -> dict[str, Judgement]:
    return {j.expectation.name: j for j in judge(REVIEWS_SUITE, *review_frames(reviews, unusable))}


def waiting(count: int, prompt: str = "Where is it?") -> pl.DataFrame:
    rows = [{"record": f"{n:032x}", "prompt": prompt, "step": "label"} for n in range(count)]
    return pl.DataFrame(rows, schema=QUEUE)


def judged_report(queue: pl.DataFrame, expected: int | None = None) -> dict[str, Judgement]:
    frames = report_frames(queue, queue.height if expected is None else expected)
    return {j.expectation.name: j for j in judge(REPORT_SUITE, *frames)}


_REVIEWS: dict[str, Callable[[], dict[str, Judgement]]] = {
    "verdicts_readable": lambda: judged_reviews(verdicts("acts"), [("reviews/a.csv", 3, "bad_date")]),
    "records_known": lambda: judged_reviews(verdicts("acts", "unknown_record")),
    "verdicts_agree": lambda: judged_reviews(verdicts("conflict", "conflict")),
}
_REPORT: dict[str, Callable[[], dict[str, Judgement]]] = {
    "queue_complete": lambda: judged_report(waiting(3), expected=4),
    "personal_data_replaced": lambda: judged_report(waiting(1, "Write to eve@example.com, please.")),
    "queue_short": lambda: judged_report(waiting(1001)),
}
MUTATIONS = {(REVIEWS, name): shut for name, shut in _REVIEWS.items()} | {
    (REPORT, name): shut for name, shut in _REPORT.items()
}


def failing(found: dict[str, Judgement]) -> set[str]:
    return {name for name, judgement in found.items() if not judgement.passed}


def test_expectations_of_people_hold_for_good_rows_and_for_none() -> None:
    for found in (
        judged_reviews(verdicts("acts", "overruled")),
        judged_reviews(verdicts()),
        judged_report(waiting(2)),
        judged_report(waiting(0)),
    ):
        assert failing(found) == set()


@pytest.mark.parametrize(("step", "name"), MUTATIONS)
def test_expectations_of_people_shut_exactly_one(step: str, name: str) -> None:
    found = MUTATIONS[step, name]()
    assert failing(found) == {name}
    warns = {"records_known", "verdicts_agree", "queue_short"}
    assert found[name].blocks is (name not in warns)


def test_expectations_of_reviews_name_file_and_line() -> None:
    assert _REVIEWS["verdicts_readable"]()["verdicts_readable"].culprits == ("reviews/a.csv:3 bad_date",)
    assert _REVIEWS["records_known"]()["records_known"].culprits == ("reviews/a.csv:3",)
