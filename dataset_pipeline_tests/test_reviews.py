"""People's verdicts: read from rows, matched to records, applied to filter and decontaminate; the gate.

Lives here: `transforms.reviews` and `expectations.reviews`. Keep out: the queue that is filled in
(`test_queue`), labels (`test_label`), what is withheld (`test_release_rows`).
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.expectations.gate import judge
from dataset_pipeline.expectations.reviews import REVIEWS_SUITE, review_frames
from dataset_pipeline.records import REVIEWS, TABLES, Step, empty
from dataset_pipeline.spec.params import ReviewsParams
from dataset_pipeline.transforms.reviews import (
    UNUSABLE_REASONS,
    apply_reviews,
    missing_columns,
    naming,
    resolved,
    verdicts,
)

PARAMS = ReviewsParams(paths=("reviews/*.csv",), labels=("bug", "wish"), label_names={"bug": "bug", "fault": "bug", "wish": "wish"})  # fmt: skip
FILE = "reviews/a.csv"
DAY = dt.date(2026, 11, 2)
A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def read(*rows: dict[str, Any], params: ReviewsParams = PARAMS) -> tuple[pl.DataFrame, list[Any]]:
    """Rows of one file, the first on line 2; what a row does not say is a good keep at filter by Jo."""
    good = {"record": A, "step": "filter", "verdict": "keep", "reviewer": "Jo", "date": "2026-11-20"}
    return verdicts(((FILE, line, good | row) for line, row in enumerate(rows, 2)), params)


def collected(*rows: tuple[str, int, str, str | None, str | None]) -> pl.DataFrame:
    """record_id, day (of November), source, source_id, content."""
    schema = {"record_id": pl.String, "day": pl.Date, "source": pl.String, "source_id": pl.String, "content": pl.String}  # fmt: skip
    values = [(r, dt.date(2026, 11, d), s, i, c) for r, d, s, i, c in rows]
    return pl.DataFrame(values, schema=schema, orient="row")


KNOWN = collected((A, 2, "inbox", "7", "x"), (B, 2, "inbox", "8", "y"), (C, 3, "notes", None, "z"))


def told(
    *rows: dict[str, Any], known: pl.DataFrame = KNOWN, before: pl.DataFrame | None = None
) -> pl.DataFrame:
    frame, unusable = read(*rows)
    assert unusable == []
    return resolved(frame, known, empty(REVIEWS) if before is None else before)


def states(*rows: dict[str, Any], known: pl.DataFrame = KNOWN) -> list[str]:
    return told(*rows, known=known)["state"].to_list()


# --- rows of a file ---------------------------------------------------------------------------


def test_verdicts_a_good_row_is_read_with_its_place() -> None:
    frame, unusable = read({"record": A.upper(), "verdict": " Keep ", "step": "Filter", "content": "C" * 32})
    assert frame.schema == TABLES[REVIEWS] and unusable == []
    assert frame.row(0) == (
        A, None, None, "c" * 32, "filter", "keep", None, "Jo", dt.date(2026, 11, 20), FILE, 2, "",
    )  # fmt: skip


def test_verdicts_relabel_and_erase_need_no_step_and_aliases_are_labels() -> None:
    frame, _ = read(
        {"verdict": "relabel", "step": "", "value": "Fault"}, {"verdict": "erase", "step": "", "date": ""}
    )
    assert frame.select("step", "verdict", "value", "date").rows() == [
        ("label", "relabel", "bug", dt.date(2026, 11, 20)), ("ingest", "erase", None, None),
    ]  # fmt: skip


def test_verdicts_rows_without_an_answer_are_in_neither_result() -> None:
    frame, unusable = read({"verdict": ""}, {"verdict": None, "reviewer": ""}, {"verdict": "drop"})
    assert (frame.height, unusable) == (1, [])
    assert frame["line"].to_list() == [4]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"record": "", "source": "inbox"}, "unnamed_record"),
        ({"verdict": "", "value": "bug"}, "missing_verdict"),
        ({"verdict": "kep"}, "unknown_verdict"),
        ({"step": ""}, "missing_step"),
        ({"step": "dedup"}, "wrong_step"),
        ({"verdict": "relabel", "value": "bug"}, "wrong_step"),
        ({"verdict": "erase"}, "wrong_step"),
        ({"verdict": "relabel", "step": "label"}, "missing_value"),
        ({"value": "bug"}, "value_without_relabel"),
        ({"verdict": "relabel", "step": "label", "value": "buggy"}, "unknown_label"),
        ({"reviewer": " "}, "missing_reviewer"),
        ({"reviewer": "Hello,\nmy order"}, "bad_reviewer"),
        ({"date": "20.11.2026"}, "bad_date"),
        ({"date": "2026-02-30"}, "bad_date"),
        ({"date": "20261120"}, "bad_date"),
    ],
)
def test_verdicts_a_row_that_cannot_be_used_names_its_place_and_why(row: dict[str, Any], reason: str) -> None:
    frame, unusable = read({}, row)
    assert frame["line"].to_list() == [2]
    assert unusable == [(FILE, 3, reason)] and reason in UNUSABLE_REASONS


def test_verdicts_relabel_in_a_task_without_labels_cannot_be_used() -> None:
    params = ReviewsParams(paths=(), labels=(), label_names={})
    _, unusable = read({"verdict": "relabel", "step": "label", "value": "bug"}, params=params)
    assert [u.reason for u in unusable] == ["no_labels"]


def test_verdicts_columns_are_known_in_any_case_and_others_ignored() -> None:
    cells = {" Record": A, "STEP": "filter", "Verdict": "drop", "Reviewer": "Jo", "prompt": "x", "date": None}
    frame, unusable = verdicts([(FILE, 2, cells)], PARAMS)
    assert (frame["verdict"].to_list(), unusable) == (["drop"], [])


def test_verdicts_the_mark_against_formulas_is_taken_off() -> None:
    frame, _ = read(*({"record": "", "source": "inbox", "id": i} for i in ("'-12", "''=1", "'tis", "-12")))
    assert frame["source_id"].to_list() == ["-12", "'=1", "'tis", "-12"]


def test_missing_columns_names_what_a_file_lacks() -> None:
    assert missing_columns(["Source", "ID ", "verdict", "reviewer"]) == []
    assert missing_columns(["source", "reviewer"]) == ["verdict", "record (or source and id)"]


# --- which verdict stands -----------------------------------------------------------------------


def test_resolved_fills_who_is_meant_and_says_what_is_unknown() -> None:
    found = told({}, {"record": "nobody"}, {"record": "", "source": "inbox", "id": "8"})
    assert found.select("record", "source", "source_id", "content", "state").rows() == [
        (A, "inbox", "7", "x", "acts"),
        ("nobody", None, None, None, "unknown_record"),
        (None, "inbox", "8", None, "acts"),
    ]
    assert found.schema == TABLES[REVIEWS]


def test_resolved_the_later_verdict_overrules_whichever_way_the_record_is_named() -> None:
    by_id = {"record": "", "source": "inbox", "id": "7", "verdict": "drop"}
    assert states({"date": "2026-11-19"}, by_id) == ["overruled", "acts"]
    assert states({}, by_id | {"date": ""}) == ["acts", "overruled"]
    assert states({}, {"verdict": "drop"}) == ["overruled", "acts"]  # one reviewer, one day: the later line
    assert states({}, {"verdict": "drop", "step": "decontaminate"}) == ["acts", "acts"]


def test_resolved_two_reviewers_who_differ_on_one_day_are_a_conflict_until_a_later_day() -> None:
    ann = {"reviewer": "Ann", "verdict": "drop"}
    assert states({}, ann) == ["conflict", "conflict"]
    assert states({"date": "2026-11-01"}, {}, ann) == ["overruled", "conflict", "conflict"]
    assert states({}, ann, {"date": "2026-11-21"}) == ["overruled", "overruled", "acts"]
    assert states({}, ann | {"verdict": "keep"}) == ["overruled", "acts"]
    # Jo's last word of the day agrees with Ann.
    assert states({}, ann, {"verdict": "drop"}) == ["overruled", "overruled", "acts"]
    relabel = {"verdict": "relabel", "step": "label", "value": "bug"}
    assert states(relabel, relabel | {"value": "wish", "reviewer": "Ann"}) == ["conflict", "conflict"]


def test_resolved_erase_is_never_overruled() -> None:
    erase = {"verdict": "erase", "step": "ingest"}
    assert states(erase, erase | {"date": "2026-11-21"}, {"date": "2026-11-22"}) == ["acts"] * 3


def test_resolved_identity_is_carried_over_when_the_record_is_gone() -> None:
    once = told({})
    again = collected((B, 9, "inbox", "7", "x"))
    assert states({}, known=again) == ["unknown_record"]
    carried = told({}, known=again, before=once)
    assert carried.select("record", "source", "source_id", "content", "state").rows() == [
        (A, "inbox", "7", "x", "acts")
    ]


# --- whom a verdict names -------------------------------------------------------------------------


def named(reviews: pl.DataFrame, known: pl.DataFrame) -> list[tuple[str, str]]:
    return naming(reviews, known, Step.FILTER).select("record_id", "verdict").rows()


def test_naming_gives_place_and_person_of_the_verdict_of_its_step_alone() -> None:
    reviews = told({}, {"record": B, "step": "decontaminate"})
    assert naming(reviews, KNOWN, Step.FILTER).rows() == [
        (A, DAY, "keep", None, "Jo", dt.date(2026, 11, 20), FILE, 2)
    ]
    assert naming(reviews, KNOWN, Step.LABEL).height == 0
    assert naming(empty(REVIEWS), KNOWN, Step.LABEL).schema == naming(reviews, KNOWN, Step.FILTER).schema


def test_naming_a_record_collected_again_still_has_its_verdict() -> None:
    again = collected(("d" * 32, 9, "inbox", "7", "other"), ("e" * 32, 9, "notes", None, "z"), ("f" * 32, 9, "notes", "1", "z"))  # fmt: skip
    reviews = told({}, {"record": C, "verdict": "drop"})
    assert named(reviews, again) == [("d" * 32, "keep"), ("e" * 32, "drop")]
    elsewhere = collected(("e" * 32, 9, "mail", None, "z"))
    assert named(reviews, elsewhere) == []


def test_naming_the_own_verdict_goes_before_that_on_an_earlier_copy() -> None:
    both = collected((A, 2, "inbox", "7", "x"), (B, 3, "inbox", "7", "x2"), (C, 4, "inbox", "7", "x3"))
    reviews = told({"date": "2026-11-25"}, {"record": B, "verdict": "drop"}, known=both)
    assert reviews["state"].to_list() == ["acts", "acts"]
    assert named(reviews, both) == [(A, "keep"), (B, "drop"), (C, "keep")]


def test_naming_one_id_for_several_records_of_a_day_reaches_equal_texts_only() -> None:
    shared = collected((A, 2, "inbox", "7", "x"), (B, 2, "inbox", "7", "y"), (C, 2, "inbox", "7", "x"))
    assert named(told({}, known=shared), shared) == [(A, "keep"), (C, "keep")]
    by_id = told({"record": "", "source": "inbox", "id": "7"}, known=shared)
    assert [record for record, _ in named(by_id, shared)] == [A, B, C]


def test_naming_a_verdict_on_a_later_record_does_not_reach_back() -> None:
    days = collected((A, 2, "inbox", "7", "x"), (B, 3, "inbox", "7", "x"), (C, 4, "inbox", "7", "x"))
    reviews = told({"record": B}, known=days)
    assert named(reviews, days) == [(B, "keep"), (C, "keep")]
    both = told({"date": "2026-11-01"}, {"record": C, "verdict": "drop"}, known=days)
    assert named(both, days) == [(A, "keep"), (B, "keep"), (C, "drop")]
    # Day by day it is the same: the first two days do not know of the third.
    for last in (2, 3, 4):
        so_far = days.filter(pl.col("day").dt.day() <= last)
        seen = told({"date": "2026-11-01"}, {"record": C, "verdict": "drop"}, known=so_far)
        assert named(seen, so_far) == [(A, "keep"), (B, "keep"), (C, "drop")][: last - 1]


def test_naming_finds_copies_also_of_records_collected_after_the_table_was_made() -> None:
    days = collected((A, 2, "inbox", "7", "x"), (B, 3, "inbox", "7", "x"), (C, 3, "notes", None, "z"), ("d" * 32, 4, "notes", None, "z"))  # fmt: skip
    early = told({}, {"record": C, "verdict": "drop"}, known=days.clear())
    late = told({}, {"record": C, "verdict": "drop"}, known=days)
    assert named(early, days) == [(A, "keep"), (B, "keep"), (C, "drop"), ("d" * 32, "drop")]
    assert naming(early, days, Step.FILTER).equals(naming(late, days, Step.FILTER))


def test_naming_neither_side_of_a_conflict_acts() -> None:
    assert named(told({"date": "2026-11-01"}, {}, {"reviewer": "Ann", "verdict": "drop"}), KNOWN) == []


def test_naming_is_the_same_whatever_else_is_collected() -> None:
    rows = ({"date": "2026-11-19"}, {"record": "", "source": "inbox", "id": "7", "verdict": "drop"})
    nothing = told(*rows, known=KNOWN.clear())
    assert set(nothing["state"]) == {"unknown_record"}
    assert naming(nothing, KNOWN, Step.FILTER).equals(naming(told(*rows), KNOWN, Step.FILTER))


def test_naming_a_thousand_verdicts_on_one_id_of_many_records_stay_few_pairs() -> None:
    many = pl.DataFrame({"record_id": [f"{n:032x}" for n in range(50_000)]}).with_columns(
        day=pl.lit(DAY), source=pl.lit("inbox"), source_id=pl.lit("7"), content=pl.lit("x")
    )
    reviews = told(*({"record": f"{n:032x}"} for n in range(1000)), known=many)
    assert naming(reviews, many, Step.FILTER).height == 50_000


# --- filter and decontaminate ------------------------------------------------------------------------


def decided(step: Step = Step.FILTER) -> pl.DataFrame:
    rows = [
        {"record_id": A, "day": DAY, "kept": False, "reason": "in_review", "detail": '{"rule":"r"}'},
        {"record_id": C, "day": DAY, "kept": False, "reason": "in_review", "detail": '{"rule":"r"}'},
        {"record_id": B, "day": DAY, "kept": True, "reason": None, "detail": None},
    ]
    return pl.DataFrame(rows, schema=TABLES[step])


@pytest.mark.parametrize("step", [Step.FILTER, Step.DECONTAMINATE])
def test_apply_reviews_keep_and_drop_take_the_place_of_the_rules(step: Step) -> None:
    reviews = told({"step": str(step)}, {"step": str(step), "record": B, "verdict": "drop", "date": ""})
    done = apply_reviews(decided(step), step, naming(reviews, KNOWN, step))
    assert done.schema == TABLES[step]
    assert done.select("record_id", "kept", "reason", "detail", "review").rows() == [
        (A, True, None, None, '{"date":"2026-11-20","file":"reviews/a.csv:2","overrides":"in_review","reviewer":"Jo","verdict":"keep"}'),
        (C, False, "in_review", '{"rule":"r"}', None),
        (B, False, "reviewed", '{"rule":"review","threshold":"reviews/a.csv:3","value":"drop"}',
         '{"date":null,"file":"reviews/a.csv:3","overrides":null,"reviewer":"Jo","verdict":"drop"}'),
    ]  # fmt: skip


def test_apply_reviews_without_a_verdict_changes_nothing() -> None:
    table = decided()
    assert apply_reviews(table, Step.FILTER, naming(empty(REVIEWS), KNOWN, Step.FILTER)) is table


def test_apply_reviews_a_name_with_quotes_is_still_json() -> None:
    reviews = told({"reviewer": 'Jo "the pen" Ö'})
    done = apply_reviews(decided(), Step.FILTER, naming(reviews, KNOWN, Step.FILTER))
    assert json.loads(done["review"][0])["reviewer"] == 'Jo "the pen" Ö'


# --- the gate ------------------------------------------------------------------------------------------


def judged(reviews: pl.DataFrame, unusable: list[tuple[str, int, str]]) -> dict[str, Any]:
    found = judge(REVIEWS_SUITE, *review_frames(reviews, unusable))
    return {j.expectation.name: j for j in found}


def test_reviews_gate_is_open_for_nothing_and_for_good_verdicts() -> None:
    assert all(j.passed for j in judged(empty(REVIEWS), []).values())
    assert all(j.passed for j in judged(told({}), []).values())


def test_reviews_gate_is_shut_by_a_row_that_cannot_be_used() -> None:
    _, unusable = read({"verdict": "kep"}, {"date": "20.11.2026"})
    found = judged(empty(REVIEWS), unusable)
    assert [name for name, j in found.items() if j.blocks] == ["verdicts_readable"]
    message = found["verdicts_readable"].message("reviews")
    assert (
        "reviews/a.csv:2 unknown_verdict, reviews/a.csv:3 bad_date" in message
        and "kep" not in message.split()
    )


def test_reviews_gate_warns_of_unknown_records_and_conflicts() -> None:
    found = judged(told({"record": "nobody"}, {}, {"reviewer": "Ann", "verdict": "drop"}), [])
    assert not any(j.blocks for j in found.values())
    assert {n: j.culprits for n, j in found.items() if not j.passed} == {
        "records_known": ("reviews/a.csv:2",),
        "verdicts_agree": ("reviews/a.csv:3, reviews/a.csv:4",),
    }


def test_docs_name_every_reason_of_a_row_that_cannot_be_used() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reviews.md").read_text(encoding="utf-8")
    assert [reason for reason in sorted(UNUSABLE_REASONS) if f"`{reason}`" not in page] == []
