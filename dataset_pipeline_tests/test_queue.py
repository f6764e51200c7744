"""The review queue: what stands in it, in which order, and that it comes back as a review file.

Lives here: `transforms.queue`, and a filled-in file through the reader. Keep out: which verdict acts (`test_reviews`).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES, REVIEWS, empty
from dataset_pipeline.spec.params import ReviewsParams
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.transforms.queue import MAX_TEXT_CHARS, QUEUE, queue, to_csv
from dataset_pipeline.transforms.reviews import resolved, verdicts

PARAMS = ReviewsParams(paths=(), labels=("bug", "wish"), label_names={"bug": "bug", "wish": "wish"})
DAY = dt.date(2026, 11, 2)
WAITING: dict[str, Any] = {
    "record_id": pl.String, "source": pl.String, "source_id": pl.String, "day": pl.Date, "content": pl.String,
    "step": pl.String, "reason": pl.String, "detail": pl.String, "label": pl.String, "messages": MESSAGES,
    "prompt_turns": pl.Int32, "rejected": MESSAGES,
}  # fmt: skip


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def waits(record: str, step: str, reason: str, detail: Any, **changes: Any) -> dict[str, Any]:
    messages = [turn("user", f"text of {record}"), turn("assistant", "bug")]
    return {
        "record_id": record, "source": "inbox", "source_id": f"id-{record}", "day": DAY, "content": None, "step": step,
        "reason": reason, "detail": json.dumps(detail), "label": "bug", "messages": messages, "prompt_turns": None,
        "rejected": None,
    } | changes  # fmt: skip


def queued(*rows: dict[str, Any], sides: dict[str, str] | None = None) -> pl.DataFrame:
    pairs = list((sides or {}).items())
    contradictions = pl.DataFrame(
        pairs, schema={"record_id": pl.String, "prompt_key": pl.String}, orient="row"
    )
    return queue(pl.DataFrame(list(rows), schema=WAITING), contradictions)


def contradicting(record: str, *others: str, **changes: Any) -> dict[str, Any]:
    detail = {"others": list(others), "rule": "contradiction", "threshold": 1, "value": len(others) + 1}
    return waits(record, "release", "contradiction", detail, **changes)


REPETITION = {"rule": "max_repetition_share", "side": "prompt", "threshold": 0.6, "value": 0.62}
MATCH = {"item": "q17", "rule": "match", "set": "holdout", "span": [0, 7], "text": "prompt", "threshold": 5, "value": 7}  # fmt: skip
TIE = {"rule": "tie", "threshold": "one label ahead", "value": {"wish": 3, "bug": 3}}


@pytest.mark.parametrize(
    ("reason", "detail", "why"),
    [
        ("in_review", REPETITION, "repetition share of the prompt 0.62, limit 0.6"),
        ("in_review", MATCH, "holds item q17 of holdout (7 words)"),
        ("contaminated", MATCH | {"threshold": 0.5, "value": 0.75}, "holds 75% of the words of item q17 of holdout"),
        ("contaminated", MATCH | {"threshold": 1.0, "value": 1.0}, "equals item q17 of holdout"),
        ("in_review", TIE, "3 annotators say bug, 3 say wish"),
        ("in_review", TIE | {"value": {"bug": 1, "wish": 1}}, "1 annotator says bug, 1 says wish"),
        ("unlabelled", {"rule": "unlabelled", "threshold": "a label", "value": "none"}, "no label"),
        ("unknown_label", {"rule": "unknown_label", "value": "bgu"}, "the label bgu is neither a label of the spec nor an alias"),
        ("in_review", {}, "in review"),
        ("in_review", None, "in review"),
        ("in_review", [1], "in review"),
    ],
)  # fmt: skip
def test_queue_says_why_in_a_sentence(reason: str, detail: Any, why: str) -> None:
    assert queued(waits("a", "label", reason, detail))["why"].to_list() == [why]


def test_queue_sides_of_a_contradiction_share_a_case_and_stand_together() -> None:
    later = dt.date(2026, 11, 3)
    found = queued(
        waits("a", "label", "in_review", TIE),
        waits("b", "filter", "in_review", REPETITION, day=later),
        contradicting("c", "f"),
        contradicting("d", "e", day=dt.date(2026, 11, 1)),
        contradicting("e", "d", day=later),
        contradicting("f", "c"),
        contradicting("g", "gone"),
        sides={"c": "p", "f": "p", "d": "q", "e": "q", "settled": "q"},
    )
    assert found.select("case", "record", "step", "why").rows() == [
        (1, "d", "label", "equal prompt, other label: see case 1"),
        (1, "e", "label", "equal prompt, other label: see case 1"),
        (2, "c", "label", "equal prompt, other label: see case 2"),
        (2, "f", "label", "equal prompt, other label: see case 2"),
        (3, "g", "label", "equal prompt, other label: record gone, not in this list"),
        (None, "b", "filter", "repetition share of the prompt 0.62, limit 0.6"),
        (None, "a", "label", "3 annotators say bug, 3 say wish"),
    ]
    assert found.schema == QUEUE


def test_queue_shows_both_sides_of_a_pair() -> None:
    pair = contradicting(
        "a", "b", messages=[turn("user", "Why?"), turn("assistant", "So.")], prompt_turns=1,
        rejected=[turn("assistant", "Because.")],
    )  # fmt: skip
    found = queued(pair)
    assert found.select("prompt", "answer", "rejected").rows() == [("Why?", "So.", "Because.")]
    assert found["why"].to_list() == [
        "equal prompt and answers, other preference: record b, not in this list"
    ]


def test_queue_cuts_long_texts_and_leaves_those_at_the_limit() -> None:
    def prompt(length: int) -> str:
        messages = [turn("user", "ä" * length)]
        return str(queued(waits("a", "label", "unlabelled", {}, messages=messages))["prompt"][0])

    assert prompt(MAX_TEXT_CHARS) == "ä" * MAX_TEXT_CHARS
    assert prompt(MAX_TEXT_CHARS + 1) == "ä" * (MAX_TEXT_CHARS - 1) + "…"


def test_queue_cells_that_a_spreadsheet_would_run_begin_with_an_apostrophe() -> None:
    starts = ["=1+1", "+49", "-5", "@x", "\tx", "\nx", "＝1", "'=1", "'tis", "a=1"]
    rows = [waits(str(n), "label", "unlabelled", {}, source_id=s) for n, s in enumerate(starts)]
    assert queued(*rows)["id"].to_list() == [
        "'=1+1", "'+49", "'-5", "'@x", "'\tx", "'\nx", "'＝1", "''=1", "'tis", "a=1",
    ]  # fmt: skip


def test_queue_of_nothing_has_a_header_only() -> None:
    assert to_csv(queued()) == b"\xef\xbb\xbf" + ",".join(f'"{name}"' for name in QUEUE).encode() + b"\r\n"


def _filled(data: bytes, delimiter: str, answers: dict[str, dict[str, str]]) -> bytes:
    """The file as a spreadsheet saves it after somebody answered: quotes only where needed."""
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(QUEUE), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows([row | answers.get(row["record"], {}) for row in rows])
    return out.getvalue().encode("utf-8-sig")


def _read_back(path: Path) -> tuple[pl.DataFrame, list[Any]]:
    rows = list(readers.read_rows(path, Reading()))
    assert not [row for row in rows if isinstance(row, readers.Reject)]
    return verdicts(
        ((path.name, row.line, row.payload) for row in rows if isinstance(row, readers.RawRow)), PARAMS
    )


A, B, C = ("a" * 32, "b" * 32, "c" * 32)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_queue_filled_in_and_saved_by_a_spreadsheet_comes_back(tmp_path: Path, delimiter: str) -> None:
    nasty = 'He said "no";\r\nthen, =SUM(A1)\r left\n\n1;2,3'
    shown = queued(
        waits(A, "filter", "in_review", REPETITION, messages=[turn("user", nasty)], source_id="=7"),
        waits(B, "label", "in_review", TIE, content="0" * 32),
        waits(C, "decontaminate", "in_review", MATCH),
    )
    jo = {"reviewer": "Jo", "date": "2026-11-20"}
    answers = {A: {"verdict": "keep", **jo}, B: {"verdict": "relabel", "value": "Wish", **jo}}
    path = tmp_path / "review_queue.csv"
    path.write_bytes(_filled(to_csv(shown), delimiter, answers))
    frame, unusable = _read_back(path)
    assert unusable == []
    assert frame.select(
        "record", "source", "source_id", "step", "verdict", "value", "content", "date"
    ).rows() == [
        (A, "inbox", "=7", "filter", "keep", None, None, dt.date(2026, 11, 20)),
        (B, "inbox", f"id-{B}", "label", "relabel", "wish", "0" * 32, dt.date(2026, 11, 20)),
    ]
    known = pl.DataFrame({"record_id": [A], "source": ["inbox"], "source_id": ["=7"], "content": [None]},
                         schema_overrides={"content": pl.String})  # fmt: skip
    assert resolved(frame, known, empty(REVIEWS))["state"].to_list() == ["acts", "unknown_record"]


def test_queue_as_written_is_read_as_no_answers(tmp_path: Path) -> None:
    path = tmp_path / "review_queue.csv"
    path.write_bytes(to_csv(queued(waits(A, "filter", "in_review", REPETITION), contradicting(B, C))))
    frame, unusable = _read_back(path)
    assert (frame.height, unusable) == (0, [])


def test_queue_with_a_date_of_another_form_is_told_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "review_queue.csv"
    answer = {A: {"verdict": "keep", "reviewer": "Jo", "date": "20.11.2026"}}
    path.write_bytes(_filled(to_csv(queued(waits(A, "filter", "in_review", REPETITION))), ",", answer))
    assert [(u.line, u.reason) for u in _read_back(path)[1]] == [(2, "bad_date")]
