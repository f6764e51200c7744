"""From raw rows to records or rejects: mapping, layouts, missing columns."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from dataset_pipeline.records import TABLES, Step
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import IngestParams, params_of
from dataset_pipeline.transforms.ingest import Batch, MissingColumn, ingest
from dataset_pipeline_tests.scenario import LABELS, source

DAY = dt.date(2026, 3, 1)


@dataclass(frozen=True)
class Row:
    """A row as a reader hands it out."""

    payload: dict[str, Any]
    line: int = 1
    byte_offset: int = 0


@dataclass(frozen=True)
class Unread:
    """A row that no reader could read."""

    line: int = 9
    byte_offset: int = 90
    reason: str = "bad_json"
    detail: str = "no JSON"
    extra: dict[str, Any] = field(default_factory=dict)


def made(rows: list[Any], task: str = "classification", occurrences: Any = None, **changes: Any) -> Batch:
    """`rows` (payloads, or rows of a reader) through ingest for one source."""
    labels = {"labels": list(LABELS)} if task == "classification" else {}
    content = {"name": "t", "task": {"behavior": "x", "type": task} | labels, "sources": [source(**changes)]}
    params = params_of(Spec.model_validate_json(json.dumps(content)))[Step.INGEST]
    assert isinstance(params, IngestParams)
    read = [Row(row, n) if isinstance(row, dict) else row for n, row in enumerate(rows, 1)]
    return ingest(read, params.sources[0], params, DAY, "sources/a.jsonl", occurrences)


def messages(batch: Batch) -> list[list[tuple[str, str]]]:
    return [[(m["role"], m["content"]) for m in turns] for turns in batch.records["messages"]]


def rejects(batch: Batch) -> list[tuple[int, str, str]]:
    return list(batch.rejects.select("line", "reason", "detail").iter_rows())


# --- mapping ------------------------------------------------------------------------------


def test_ingest_mapped_fields_become_a_record() -> None:
    fields = {"id": "no", "input": "t", "output": "l", "system": "s", "created_at": "at", "group": "who", "person_names": ["n", "m"]}  # fmt: skip
    row = {
        "no": 7,
        "t": " Hi. ",
        "l": "bug",
        "s": "Be brief.",
        "at": "2026",
        "who": "c1",
        "n": "Ann",
        "m": " ",
    }
    batch = made([row], fields=fields, rank=3)
    assert messages(batch) == [[("system", "Be brief."), ("user", " Hi. "), ("assistant", "bug")]]
    [record] = batch.records.rows(named=True)
    expected = {
        "day": DAY, "source": "inbox", "source_rank": 3, "source_id": "7", "uri": "sources/a.jsonl", "line": 1,
        "label": "bug", "group": "c1", "created_at": "2026", "person_names": ["Ann"], "may_evaluate": True, "kept": True,
        "reason": None,
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    assert batch.records.schema == TABLES[Step.INGEST] and batch.rejects.schema == TABLES["rejects"]


@pytest.mark.parametrize(
    ("title", "body", "expected"),
    [("A", "B", "A\n\nB"), ("A", None, "A"), (" ", "B", "B"), ("A", "", "A"), ("A\n", "B", "A\n\n\nB")],
)
def test_ingest_list_of_columns_is_joined_by_a_blank_line(
    title: str, body: str | None, expected: str
) -> None:
    batch = made(
        [{"title": title, "body": body, "l": "bug"}], fields={"input": ["title", "body"], "output": "l"}
    )
    assert messages(batch)[0][0] == ("user", expected)


def test_ingest_source_without_evaluate_marks_its_records() -> None:
    rights = source()["rights"] | {"uses": ["train"]}
    assert made([{"id": "1", "text": "x", "label": "bug"}], rights=rights).records[
        "may_evaluate"
    ].to_list() == [False]


def test_ingest_numbers_serve_as_labels_and_ids_and_not_as_text() -> None:
    good = {"id": 12, "text": "x", "label": 1}
    batch = made([good, good | {"label": 1.5}, good | {"label": True}, good | {"text": 5}])
    assert batch.records["label"].to_list() == ["1", "1.5", "true"]
    assert batch.records["source_id"].to_list() == ["12"] * 3
    assert rejects(batch) == [(4, "wrong_type", "text is a number, not text")]


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"text": None}, "missing_value", "text is missing or null"),
        ({"text": ["a"]}, "wrong_type", "text is a list, not text"),
        ({"text": {"a": 1}}, "wrong_type", "text is an object, not text"),
        ({"text": False}, "wrong_type", "text is true or false, not text"),
        ({"label": ["bug"]}, "wrong_type", "label is a list, not text"),
        ({"id": {}}, "wrong_type", "id is an object, not text"),
    ],
)
def test_ingest_value_that_is_no_text_rejects_its_row_alone(
    changes: dict[str, Any], reason: str, detail: str
) -> None:
    good = {"id": "1", "text": "x", "label": "bug"}
    batch = made([good, good | changes, good])
    assert rejects(batch) == [(2, reason, detail)]
    assert (batch.rows_read, batch.records.height) == (3, 2)


@pytest.mark.parametrize("label", [None, "", "  "])
def test_ingest_label_that_is_blank_leaves_the_record_unlabelled(label: str | None) -> None:
    batch = made([{"id": "1", "text": "x", "label": label}])
    assert batch.records["label"].to_list() == [None]
    assert messages(batch) == [[("user", "x")]]


def test_ingest_answer_missing_where_it_is_no_label_rejects_the_row() -> None:
    batch = made([{"id": "1", "text": "x", "label": None}], task="instruction")
    assert rejects(batch) == [(1, "missing_value", "label is empty")]


def test_ingest_row_no_reader_could_read_stays_a_reject_with_its_place() -> None:
    batch = made([{"id": "1", "text": "x", "label": "bug"}, Unread()])
    [row] = batch.rejects.rows(named=True)
    expected = {"line": 9, "byte_offset": 90, "reason": "bad_json", "detail": "no JSON", "uri": "sources/a.jsonl", "source": "inbox", "day": DAY}  # fmt: skip
    assert row == expected
    assert batch.rows_read == 2


# --- layouts ------------------------------------------------------------------------------


def test_ingest_alpaca_joins_instruction_and_input_which_may_be_absent() -> None:
    rows = [
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"instruction": "Hi", "input": "", "output": "Yo"},
    ]
    with_input = made(rows, task="instruction", layout="alpaca", fields=None)
    assert messages(with_input) == [
        [("user", "Add.\n\n1 2"), ("assistant", "3")],
        [("user", "Hi"), ("assistant", "Yo")],
    ]
    without = made([{"instruction": "Hi", "output": "Yo"}], task="instruction", layout="alpaca", fields=None)
    assert messages(without) == [[("user", "Hi"), ("assistant", "Yo")]]


def test_ingest_completion_maps_prompt_and_completion() -> None:
    batch = made(
        [{"prompt": "Once", "completion": " upon"}], task="completion", layout="completion", fields=None
    )
    assert messages(batch) == [[("user", "Once"), ("assistant", " upon")]]


def test_ingest_layout_with_fields_takes_both() -> None:
    row = {"prompt": "Once", "completion": "upon", "key": "k1"}
    batch = made([row], task="completion", layout="completion", fields={"id": "key"})
    assert batch.records["source_id"].to_list() == ["k1"]


def turn(role: str, content: Any = "words") -> dict[str, Any]:
    return {"role": role, "content": content}


def test_ingest_chat_keeps_every_turn() -> None:
    turns = [
        turn("system"),
        turn("user"),
        turn("assistant"),
        turn("user"),
        turn("assistant", "end") | {"name": "x"},
    ]
    batch = made([{"messages": turns}], task="chat", layout="chat", fields=None)
    assert [role for role, _ in messages(batch)[0]] == ["system", "user", "assistant", "user", "assistant"]
    assert batch.records["label"].to_list() == [None]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (None, "missing_value"),
        ("user: hi", "bad_messages"),
        ([], "bad_messages"),
        (["hi"], "bad_messages"),
        ([turn("user", None), turn("assistant")], "empty_message"),
        ([turn("user"), turn("bot")], "unknown_role"),
        ([turn("user"), turn("tool")], "tool_turn"),
        ([{"content": "x"}], "unknown_role"),
        ([turn("user")], "roles_out_of_order"),
        ([turn("system")], "roles_out_of_order"),
        ([turn("assistant"), turn("user")], "roles_out_of_order"),
        ([turn("user"), turn("user"), turn("assistant")], "roles_out_of_order"),
        ([turn("user"), turn("assistant"), turn("system"), turn("user"), turn("assistant")], "roles_out_of_order"),
    ],
)  # fmt: skip
def test_ingest_chat_that_is_no_conversation_is_rejected(turns: Any, reason: str) -> None:
    batch = made([{"messages": turns}], task="chat", layout="chat", fields=None)
    assert [r for _, r, _ in rejects(batch)] == [reason]
    assert batch.records.height == 0


# --- missing columns ----------------------------------------------------------------------


def test_ingest_column_in_no_row_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(MissingColumn) as caught:
        made([{"id": "1", "body": "x", "label": "bug"}, {"id": "2", "subject": "x"}])
    assert str(caught.value) == (
        "has no column 'text'; it has 'body', 'id', 'label', 'subject'. "
        "Mend the file, or map the right column under fields."
    )


def test_ingest_column_in_some_rows_rejects_the_others() -> None:
    batch = made([{"id": "1", "label": "bug"}, {"id": "2", "text": "x", "label": "bug"}])
    assert rejects(batch) == [(1, "missing_value", "text is missing or null")]


def test_ingest_file_without_rows_is_empty_and_no_error() -> None:
    batch = made([])
    assert (batch.rows_read, batch.records.height, batch.rejects.height) == (0, 0, 0)
