"""What layouts owe to any JSON value: records or refusals, never an exception, never text of a row in a detail.

Lives here: shapes to read a row by, values built from bytes, the properties. Keep out: bytes of files (`fuzz_readers`).
"""

from __future__ import annotations

import datetime as dt
import json
from functools import cache
from typing import Any

import msgspec

from dataset_pipeline.records import TABLES, Step, conform
from dataset_pipeline.spec.models import Rights
from dataset_pipeline.spec.params import IngestParams, SourceParams
from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.storage.readers.rows import RawRow
from dataset_pipeline.transforms import ingest
from dataset_pipeline.transforms.layouts import MAPPING_REASONS, Conversation, Refusal, RowMapper, eval_items
from dataset_pipeline.transforms.mapping import MAX_UNPACKED_CHARS
from dataset_pipeline_tests.fuzzing.fuzz_readers import MARKER, Broken

SHAPES: tuple[tuple[Shape, str], ...] = (
    (Shape(layout="chat"), "chat"),
    (Shape(layout="sharegpt"), "chat"),
    (Shape(layout="alpaca"), "instruction"),
    (Shape(layout="completion"), "completion"),
    (Shape(layout="preference"), "preference"),
    (Shape(layout="transcript"), "chat"),
    (Shape(layout="tree", fields=Fields(id="id", group="group")), "chat"),
    (Shape(layout="tree", replies="all"), "chat"),
    (Shape(fields=Fields(id="id", input="text", output="label", group="meta.group", person_names=("name", "meta.names.0"))), "classification"),
    (Shape(fields=Fields(input=("title", "text"), output="answers.0.text", created_at="at", system="system")), "instruction"),
    (Shape(fields=Fields(id="id", input="text", output="items.text"), explode="items"), "instruction"),
    (Shape(layout="chat", explode="items"), "chat"),
    (Shape(layout="tree", explode="items"), "chat"),
)  # fmt: skip

_KEYS = (
    "messages", "conversations", "role", "content", "from", "value", "instruction", "input", "output", "prompt", "completion", "chosen",
    "rejected", "text", "replies", "message_id", "message_tree_id", "rank", "id", "label", "meta", "group", "names", "items", "answers",
    "system", "tool_calls", "tools", "title", "at", "name", "type",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    "user", "assistant", "system", "human", "gpt", "prompter", "tool", "zebra", "", " ", "zebra\n\nHuman: x\n\nAssistant: y", "bug", "text",
    0, 1, -1, 1.5, 10**30, True, False, None, "\u2028", "\u200b", "image_url", 1e300, "Human: zebra", "a" * 300,
)  # fmt: skip
_MAX_NODES, _MAX_LEVELS = 400, 240


def value_of(data: bytes) -> Any:
    """A JSON value: the bytes read as JSON, or as steps that build one from the words that layouts know."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _built(data)


def _built(data: bytes) -> Any:
    root: dict[str, Any] = {}
    stack: list[Any] = [root]
    steps = iter(data[:_MAX_NODES])
    for step in steps:
        top, kind = stack[-1], step % 4
        if kind == 3:
            if len(stack) > 1:
                stack.pop()
            continue
        value: Any = ({}, [], None)[kind] if kind < 2 else _VALUES[next(steps, 0) % len(_VALUES)]
        if isinstance(top, dict):
            top[_KEYS[next(steps, 0) % len(_KEYS)]] = value
        else:
            top.append(value)
        if kind < 2 and len(stack) < _MAX_LEVELS:
            stack.append(value)
    return root


def check_layouts(data: bytes) -> None:
    """Raises Broken, or whatever a layout raises."""
    payload = value_of(data)
    if not isinstance(payload, dict):
        return
    for number, (shape, _) in enumerate(SHAPES):
        found = _mapper(number).records(payload)
        if not found or found != _mapper(number).records(payload):
            raise Broken(f"{shape.layout}: no outcome, or another one the second time")
        chars = 0
        for one in found:
            _check(one, payload)
            if isinstance(one, Conversation):
                chars += sum(len(turn["content"]) for turn in one.messages)
        if chars > 2 * MAX_UNPACKED_CHARS:
            raise Broken(f"{shape.layout}: {chars} characters from one row")
        _check_ingest(number, payload, len(found))
        for item in eval_items(payload, shape, "a.json"):
            if isinstance(item, Refusal):
                _check(item, payload)
            elif not isinstance(item[1], str):
                raise Broken(f"{shape.layout}: an item without text")


def _check(one: Conversation | Refusal, payload: dict[str, Any]) -> None:
    if isinstance(one, Refusal):
        if one.reason not in MAPPING_REASONS or len(one.detail) > 200:
            raise Broken(f"reason {one.reason!r} with {len(one.detail)} characters")
        if MARKER in one.detail and not any(MARKER in str(key) for key in payload):
            raise Broken(f"a detail repeats text of the row: {one.detail!r}")
        return
    if not one.messages:
        raise Broken("a record without messages")
    for turn in (*one.messages, *(one.rejected or ())):
        if set(turn) != {"role", "content"} or turn["role"] not in ("system", "user", "assistant"):
            raise Broken(f"a turn with {sorted(turn)}")
        if not isinstance(turn["content"], str):
            raise Broken("a turn whose content is no text")
    if one.group is not None and not one.group.strip():
        raise Broken("a blank group")
    if any(not name.strip() for name in one.person_names):
        raise Broken("a blank name")
    ingest.canonical(one.payload)


def _check_ingest(number: int, payload: dict[str, Any], count: int) -> None:
    """The same row through ingest: as many records and rejects, in a table of the right types."""
    source, params = _source(number)
    try:
        batch = ingest.ingest([RawRow(1, 0, payload)], source, params, dt.date(2026, 1, 2), "a.json")
    except ingest.MissingColumn:
        return
    conform(batch.records, Step.INGEST)
    if batch.records.height + batch.rejects.height != batch.rows_read or batch.rows_read != count:
        raise Broken(
            f"{batch.rows_read} rows read: {batch.records.height} records, {batch.rejects.height} rejects"
        )
    if batch.rejects.columns != list(TABLES["rejects"]):
        raise Broken("rejects in another shape")


@cache
def _mapper(number: int) -> RowMapper:
    shape, task_type = SHAPES[number]
    return RowMapper(shape, task_type, task_type == "classification", "a.json")


@cache
def _source(number: int) -> tuple[SourceParams, IngestParams]:
    return source_of(*SHAPES[number])


def source_of(shape: Shape, task_type: str) -> tuple[SourceParams, IngestParams]:
    """What ingest needs to know to read rows of a shape."""
    source = SourceParams(
        name="fuzz",
        kind="first_party",
        rank=1,
        path="a.json",
        collected_at="2026-01-02",
        access=None,
        shape=Shape(layout=shape.layout, fields=shape.mapped(), explode=shape.explode, replies=shape.replies),
        rights=Rights(license="MIT", holder="h", basis="b", uses=("train",)),
        generator=None,
        expected_daily=False,
    )
    return source, IngestParams(
        task_type=task_type, answers_are_labels=task_type == "classification", start=None, sources=(source,)
    )


def seeds() -> list[bytes]:
    """Rows of each layout as JSON, and steps."""
    turns = [{"role": "user", "content": "zebra"}, {"role": "assistant", "content": "bug"}]
    tree = {
        "message_id": "m",
        "role": "prompter",
        "text": "zebra",
        "replies": [{"role": "assistant", "text": "b", "rank": 0, "replies": []}],
    }
    rows = [
        {"messages": turns, "items": [{"messages": turns}]},
        {"conversations": [{"from": "human", "value": "zebra"}, {"from": "gpt", "value": "b"}]},
        {"instruction": "zebra", "input": "", "output": "x", "prompt": "zebra", "completion": "y"},
        {"prompt": "zebra", "chosen": turns, "rejected": [turns[0], {"role": "assistant", "content": "c"}]},
        {"text": "\n\nHuman: zebra\n\nAssistant: yes"},
        {"message_tree_id": "t", "prompt": tree, "items": [tree, tree]},
        tree,
        {"id": 1, "text": "zebra", "label": "bug", "title": "t", "meta": {"group": "g", "names": ["n"]}, "answers": [{"text": "a"}], "items": [{"text": "a"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "zebra"}, {"type": "image_url"}]}, *turns]},
    ]  # fmt: skip
    return [json.dumps(row).encode() for row in rows] + [
        bytes(range(60)),
        bytes([1, 0, 0, 2, 2, 0, 2, 3, 7]) * 5,
    ]
