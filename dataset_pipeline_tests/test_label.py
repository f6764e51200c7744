"""Whose word a label is: the source's, the annotators' or a person's; and what contradicts what.

Lives here: `transforms.label`. Keep out: what is withheld of a contradiction (`test_release_rows`), matching of
verdicts and records (`test_reviews`).
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl

from dataset_pipeline.records import COUNT, RECORDS, TABLES, Step
from dataset_pipeline.spec.params import LabelParams
from dataset_pipeline.transforms.label import label_records
from dataset_pipeline.transforms.reviews import NAMED

NAMES = {"bug": "bug", "fault": "bug", "wish": "wish"}
LABELS = LabelParams(answers_are_labels=True, labels=("bug", "wish"), label_names=NAMES)
PAIRS = LabelParams(answers_are_labels=False, has_pairs=True, labels=(), label_names={})
NO_HISTORY = pl.DataFrame(schema={"prompt_key": pl.String, "answer_key": pl.String})


def day(number: int) -> dt.date:
    return dt.date(2026, 11, number)


def record(name: str, prompt: str, label: str | None, on: int = 1) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}] + (
        [{"role": "assistant", "content": label}] if label else []
    )
    return {"record_id": name, "day": day(on), "source": "s", "messages": messages, "label": label}


def pair(name: str, prompt: str, chosen: str, rejected: str, on: int = 1) -> dict[str, Any]:
    return record(name, prompt, chosen, on) | {
        "label": None, "prompt_turns": 1, "rejected": [{"role": "assistant", "content": rejected}],
    }  # fmt: skip


def said(*verdicts: tuple[str, str, str | None]) -> pl.DataFrame:
    """What `naming` returns, of (record_id, verdict, value)."""
    rows = [
        (r, day(1), v, value, "Jo", day(20), "reviews/a.csv", n)
        for n, (r, v, value) in enumerate(verdicts, 2)
    ]
    return pl.DataFrame(rows, schema=NAMED, orient="row")


def agreed(*items: tuple[str, str | None, dict[str, int]]) -> pl.DataFrame:
    """The consensus of (record_id, label, votes)."""
    rows = [
        {"record_id": r, "label": label, "answers": sum(votes.values()), "agreement": max(votes.values()) / sum(votes.values()),
         "votes": [{"name": name, "count": n} for name, n in votes.items()]}
        for r, label, votes in items
    ]  # fmt: skip
    schema: dict[str, Any] = {"record_id": pl.String, "label": pl.String, "answers": pl.Int32, "agreement": pl.Float64, "votes": pl.List(COUNT)}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def labelled(*rows: dict[str, Any], params: LabelParams = LABELS, **more: Any) -> pl.DataFrame:
    table = label_records(
        pl.DataFrame(list(rows), schema=RECORDS), more.pop("history", NO_HISTORY), params, **more
    )
    assert table.schema == TABLES[Step.LABEL]
    return table


def of(table: pl.DataFrame, *columns: str) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in table.select("record_id", *columns).iter_rows()}


def test_label_of_the_source_is_the_specs_or_a_reason() -> None:
    table = labelled(record("a", "p", " Fault "), record("b", "q", None), record("c", "r", "bugg"))
    assert of(table, "label", "label_origin", "kept", "reason") == {
        "a": ("bug", "source", True, None),
        "b": (None, None, False, "unlabelled"),
        "c": (None, None, False, "unknown_label"),
    }
    assert table["review"].null_count() == table["answers"].null_count() == 3


def test_label_of_the_annotators_goes_before_the_sources() -> None:
    consensus = agreed(("a", "wish", {"wish": 2, "bug": 1}), ("b", "bug", {"bug": 3}))
    table = labelled(
        record("a", "p", "bug"), record("b", "q", None), record("c", "r", "wish"), consensus=consensus
    )
    assert of(table, "label", "label_origin", "kept", "answers") == {
        "a": ("wish", "annotations", True, 3), "b": ("bug", "annotations", True, 3), "c": ("wish", "source", True, None),
    }  # fmt: skip
    assert of(table, "agreement")["b"] == (1.0,)


def test_label_of_tied_annotators_waits_and_counts_their_votes() -> None:
    tie = agreed(("a", None, {"wish": 2, "bug": 2}))
    table = labelled(record("a", "p", "bug"), consensus=tie)
    assert of(table, "label", "label_origin", "kept", "reason", "answers")["a"] == (
        None,
        None,
        False,
        "in_review",
        4,
    )
    assert table["detail"][0] == '{"rule":"tie","threshold":"one label ahead","value":{"bug":2,"wish":2}}'


def test_label_of_a_review_goes_before_all_others() -> None:
    consensus = agreed(("a", "bug", {"bug": 3}), ("t", None, {"bug": 1, "wish": 1}))
    rows = (record("a", "p", "bug"), record("b", "q", None), record("c", "r", "junk"), record("t", "u", None))
    table = labelled(
        *rows, consensus=consensus, named=said(*((r["record_id"], "relabel", "wish") for r in rows))
    )
    assert set(of(table, "label", "label_origin", "kept", "reason", "detail").values()) == {
        ("wish", "review", True, None, None)
    }
    assert table["answers"].to_list() == [3, None, None, 2]
    reviews = [json.loads(text) for text in table["review"]]
    assert [(r["overrides"], r["was"]) for r in reviews] == [
        (None, "bug"), ("unlabelled", None), ("unknown_label", None), ("in_review", None),
    ]  # fmt: skip
    assert list(reviews[0]) == ["date", "file", "overrides", "reviewer", "verdict", "was"]


def test_label_drop_is_reviewed_and_has_no_label() -> None:
    table = labelled(record("a", "p", "bug"), named=said(("a", "drop", None)))
    assert of(table, "label", "kept", "reason", "detail")["a"] == (
        None, False, "reviewed", '{"rule":"review","threshold":"reviews/a.csv:2","value":"drop"}',
    )  # fmt: skip


def test_label_keep_gives_no_label_and_is_noted_all_the_same() -> None:
    table = labelled(
        record("a", "p", None), record("b", "q", "bug"), named=said(("a", "keep", None), ("b", "keep", None))
    )
    assert of(table, "label", "kept", "reason") == {
        "a": (None, False, "unlabelled"),
        "b": ("bug", True, None),
    }
    assert [json.loads(text) for text in table["review"]] == [
        {"date": "2026-11-20", "file": f"reviews/a.csv:{n}", "overrides": None, "reviewer": "Jo", "verdict": "keep"} for n in (2, 3)
    ]  # fmt: skip


def test_label_keep_of_a_tie_takes_the_label_of_the_source() -> None:
    tie = agreed(("a", None, {"wish": 2, "bug": 2}), ("b", None, {"wish": 1, "bug": 1}))
    keep = said(("a", "keep", None), ("b", "keep", None))
    table = labelled(record("a", "p", "bug"), record("b", "q", None), consensus=tie, named=keep)
    assert of(table, "label", "label_origin", "kept", "reason") == {
        "a": ("bug", "source", True, None), "b": (None, None, False, "in_review"),
    }  # fmt: skip


def test_label_contradictions_are_measured_on_the_labels_that_people_gave() -> None:
    rows = (record("a", "Same!", "bug"), record("b", "same", "wish"))
    assert of(labelled(*rows), "is_contradiction") == {"a": (True,), "b": (True,)}
    relabelled = labelled(*rows, named=said(("b", "relabel", "bug")))
    assert of(relabelled, "is_contradiction", "answer_key") == {"a": (False, "bug"), "b": (False, "bug")}
    annotated = labelled(*rows, consensus=agreed(("b", "bug", {"bug": 3})))
    assert of(annotated, "is_contradiction") == {"a": (False,), "b": (False,)}
    dropped = labelled(*rows, named=said(("b", "drop", None)))
    assert of(dropped, "is_contradiction") == {"a": (False,), "b": (False,)}


def test_label_keep_settles_its_own_side_only() -> None:
    rows = (record("a", "Same!", "bug"), record("b", "same", "wish"))
    assert of(labelled(*rows, named=said(("a", "keep", None))), "is_contradiction") == {
        "a": (False,),
        "b": (True,),
    }


def test_label_later_days_change_nothing_of_an_earlier_one() -> None:
    early, late = record("a", "Same!", "bug", 1), record("b", "same", "wish", 2)
    table = labelled(early, late, named=said(("b", "relabel", "wish")))
    assert of(table, "is_contradiction")["a"] == (False,)
    assert labelled(early).equals(table.filter(pl.col("record_id") == "a"))
    history = labelled(early).select("prompt_key", "answer_key")
    assert labelled(late, history=history)["is_contradiction"].to_list() == [True]


def test_label_a_pair_and_its_reverse_contradict_each_other() -> None:
    table = labelled(
        pair("a", "Why?", "So.", "Because."), pair("b", "why", "because", "so"), pair("c", "Why?", "So.", "Hm."),
        pair("d", "Who?", "So.", "Because."), pair("e", "why", "SO", "because"), params=PAIRS,
    )  # fmt: skip
    assert of(table, "is_contradiction") == {
        "a": (True,), "b": (True,), "c": (False,), "d": (False,), "e": (True,),
    }  # fmt: skip
    keys = of(table, "prompt_key", "answer_key")
    assert keys["a"][0] == keys["b"][0] and keys["a"][1] != keys["b"][1] and keys["a"] == keys["e"]
    assert set(table["label"]) == {None} and table["kept"].all()


def test_label_free_answers_can_be_dropped_and_kept_by_a_person() -> None:
    params = LabelParams(answers_are_labels=False, labels=(), label_names={})
    named = said(("a", "drop", None), ("b", "keep", None))
    table = labelled(record("a", "p", "x"), record("b", "p", "y"), params=params, named=named)
    assert of(table, "kept", "reason", "label") == {"a": (False, "reviewed", None), "b": (True, None, None)}
