"""What holds of every layout, whatever a row holds: it becomes records or refusals, never an error, never nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.spec.reading import Shape
from dataset_pipeline.transforms.layouts import Conversation, Refusal, RowMapper, eval_items
from dataset_pipeline.transforms.mapping import MAPPING_REASONS
from dataset_pipeline_tests.test_layouts import shape

TASKS = ("classification", "instruction", "chat", "preference")
SHAPES: dict[str, Shape] = {
    "mapped": shape(id="id", input=("text", "meta.0.text"), output="label", group="id", person_names=("name",), created_at="at"),
    "file": shape(id="file.stem", input="text", output="file.folder", system="system"),
    "exploded": shape(explode="replies", id="id", input=("text", "replies.text"), output="replies.content"),
    "exploded inside": shape("chat", explode="meta.replies", messages="meta.replies.messages", id="meta.replies.id"),
    "alpaca": shape("alpaca"),
    "completion": shape("completion", system="system"),
    "chat": shape("chat", id="id", person_names=("name",)),
    "sharegpt": shape("sharegpt", system="system"),
    "transcript": shape("transcript", group="id"),
    "preference": shape("preference", id="id"),
    "pairs without a layout": shape(input=("prompt", "text"), chosen="chosen", rejected="rejected"),
    "tree, best": shape("tree"),
    "tree, all": shape("tree", replies="all", id="id", messages="messages"),
    "trees exploded": shape("tree", explode="replies", replies="all"),
}  # fmt: skip

KEYS = ("id", "text", "label", "name", "at", "meta", "system", "tools", "messages", "conversations", "role", "content", "from", "value", "prompt", "chosen", "rejected", "replies", "rank", "deleted", "message_id", "message_tree_id", "instruction", "output", "type", "0", "é")  # fmt: skip
WORDS = ("user", "assistant", "system", "prompter", "human", "gpt", "tool", "text", "", " ", "Human: Q\n\nAssistant: A", "\n\nHuman: Q\n\nAssistant:", "User: Q", "Assistant: B", "words")  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=2**64), st.floats(), st.sampled_from(WORDS), st.text(max_size=5)
)  # fmt: skip


def _turns(roles: str, said: str) -> st.SearchStrategy[Any]:
    turn = st.fixed_dictionaries(
        {roles: st.sampled_from(("user", "assistant", "system", "human", "gpt")), said: st.one_of(st.just("words"), SCALARS)},
        optional={"tool_calls": SCALARS},
    )  # fmt: skip
    return st.lists(turn, max_size=5)


_NODE = {"role": st.sampled_from(("prompter", "assistant")), "text": st.sampled_from(("p", "q", ""))}
TREES = st.recursive(
    st.fixed_dictionaries(_NODE, optional={"rank": SCALARS, "deleted": st.booleans()}),
    lambda inner: st.fixed_dictionaries(
        _NODE | {"replies": st.lists(st.one_of(inner, SCALARS), max_size=3)}, optional={"message_id": SCALARS}
    ),
    max_leaves=12,
)
VALUES = st.recursive(
    st.one_of(SCALARS, _turns("role", "content"), _turns("from", "value"), TREES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
ROWS = st.one_of(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8), TREES)


def _is_sound(found: Any, task: str) -> bool:
    if isinstance(found, Refusal):
        return found.reason in MAPPING_REASONS and len(found.detail) <= 200
    assert isinstance(found, Conversation)
    turns = [*found.messages, *(found.rejected or [])]
    if found.rejected is not None:
        shared = found.prompt_turns
        assert task == "preference" and shared and found.messages[shared - 1]["role"] == "user"
        assert found.rejected[-1]["role"] == "assistant" and found.rejected != found.messages[shared:]
    assert found.group is None or found.group.strip()
    return all(
        set(t) == {"role", "content"} and t["role"] in ("system", "user", "assistant") and type(t["content"]) is str
        for t in turns
    ) and any(t["role"] == "user" for t in turns)  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=100, deadline=None)
@given(row=ROWS, task=st.sampled_from(TASKS))
def test_any_row_becomes_records_or_refusals_and_is_left_as_it_was(
    name: str, row: dict[str, Any], task: str
) -> None:
    before = copy.deepcopy(row)
    mapper = RowMapper(SHAPES[name], task, task == "classification", "sources/bug/a.jsonl")
    found = mapper.records(row)
    assert found and all(_is_sound(item, task) for item in found)
    assert repr(row) == repr(before)
    assert repr(mapper.records(row)) == repr(found)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=40, deadline=None)
@given(row=ROWS)
def test_any_row_becomes_items_or_refusals(name: str, row: dict[str, Any]) -> None:
    found = eval_items(row, SHAPES[name], "eval/bug/a.jsonl")
    assert found
    for item in found:
        assert isinstance(item, Refusal) or isinstance(item[1], str)


SECRET = "mxqzsecret"


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=40, deadline=None)
@given(row=st.dictionaries(st.sampled_from(KEYS), st.one_of(st.just(SECRET), st.lists(st.just(SECRET)), _turns("role", "content").map(lambda t: [*t, {"role": SECRET, "content": SECRET}]), st.dictionaries(st.just(SECRET), st.just(SECRET))), max_size=8))  # fmt: skip
def test_a_refusal_never_repeats_a_piece_of_the_row(name: str, row: dict[str, Any]) -> None:
    for task in TASKS:
        for item in RowMapper(SHAPES[name], task, False, "a.jsonl").records(row):
            assert not isinstance(item, Refusal) or SECRET not in item.detail
