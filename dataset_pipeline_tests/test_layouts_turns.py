"""Lists of turns and transcripts as messages: chat, sharegpt, transcript."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dataset_pipeline.transforms.mapping import Misfit
from dataset_pipeline.transforms.turns import chat_turns
from dataset_pipeline_tests.test_layouts import one, refusals, said, shape

CHAT, SHAREGPT, TRANSCRIPT = shape("chat"), shape("sharegpt"), shape("transcript")


def turn(role: Any, content: Any = "words", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | more


QA = [turn("user", "Q"), turn("assistant", "A")]


# --- chat ---------------------------------------------------------------------------------


def test_chat_keeps_every_turn_and_ignores_what_is_beside_it() -> None:
    turns = [turn("developer", "S"), turn("user", " Q "), turn("assistant", "A", weight=0, tool_calls=[]), turn("user", "R", name="x"), turn("assistant", "B", tool_calls=None)]  # fmt: skip
    found = one(CHAT, {"messages": turns}, "chat")
    assert said(found.messages) == [("system", "S"), ("user", " Q "), ("assistant", "A"), ("user", "R"), ("assistant", "B")]  # fmt: skip
    assert all(set(message) == {"role", "content"} for message in found.messages)
    assert (found.label, found.rejected, found.tools) == (None, None, None)


def test_chat_text_parts_become_lines() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert said(one(CHAT, {"messages": [turn("user", parts), QA[1]]}).messages)[0] == ("user", "Hel\nlo")


@pytest.mark.parametrize(
    ("turns", "reason", "detail"),
    [
        (None, "missing_value", "messages is missing or null"),
        ("user: hi", "bad_messages", "messages is not a list of messages"),
        ([], "bad_messages", "messages is not a list of messages"),
        (["hi"], "bad_messages", "messages[0] is no object with a role and content"),
        ([{"role": "user"}, QA[1]], "bad_messages", "messages[0] has no text as its content"),
        ([turn("user", 5), QA[1]], "bad_messages", "messages[0] has no text as its content"),
        ([turn("user", None), QA[1]], "empty_message", "messages[0] holds no word"),
        ([QA[0], turn("assistant", " \n")], "empty_message", "messages[1] holds no word"),
        ([turn("user", []), QA[1]], "empty_message", "messages[0] holds no word"),
        ([turn("system", "")], "empty_message", "messages[0] holds no word"),
        ([turn("user", [{"type": "image_url", "image_url": {}}]), QA[1]], "not_text", "messages[0] holds a part that is no text: only text turns are read"),
        ([turn("user", ["a", 3]), QA[1]], "not_text", "messages[0] holds a part that is no text: only text turns are read"),
        ([QA[0], turn("bot")], "unknown_role", "messages[1]: the role is none of user, assistant, system, developer"),
        ([{"content": "x"}], "unknown_role", "messages[0]: the role is none of user, assistant, system, developer"),
        ([turn(["user"]), QA[1]], "unknown_role", "messages[0]: the role is none of user, assistant, system, developer"),
        ([*QA, turn("tool")], "tool_turn", "messages[2] calls a tool or answers a call: only text turns are read"),
        ([*QA, turn("function", None)], "tool_turn", "messages[2] calls a tool or answers a call: only text turns are read"),
        ([QA[0], turn("assistant", None, tool_calls=[{}, {}])], "tool_turn", "messages[1] calls a tool or answers a call: only text turns are read"),
        ([QA[0], turn("assistant", "x", function_call={"name": "f"})], "tool_turn", "messages[1] calls a tool or answers a call: only text turns are read"),
    ],
)  # fmt: skip
def test_chat_turn_that_is_no_text_is_refused(turns: Any, reason: str, detail: str) -> None:
    assert refusals(CHAT, {"messages": turns}, "chat") == [(reason, detail)]


@pytest.mark.parametrize(
    ("roles", "what"),
    [
        ("u", "ends with user; turns alternate user, assistant and end with assistant"),
        ("uau", "ends with user; turns alternate user, assistant and end with assistant"),
        ("s", "has no turn but the system's; turns alternate user, assistant and end with assistant"),
        ("au", "begins with assistant"),
        ("sau", "begins with assistant"),
        ("uua", "two user turns in a row at turn 2"),
        ("suaaua", "two assistant turns in a row at turn 4"),
        ("uasua", "a system turn in the middle, at turn 3"),
        ("ssua", "a system turn in the middle, at turn 2"),
    ],
)
def test_chat_roles_out_of_order_say_where(roles: str, what: str) -> None:
    names = {"u": "user", "a": "assistant", "s": "system"}
    turns = [turn(names[letter]) for letter in roles]
    assert refusals(CHAT, {"messages": turns}, "chat") == [("roles_out_of_order", f"messages: {what}")]


def test_chat_system_prompt_beside_the_turns_leads_where_they_have_none() -> None:
    mapped = shape("chat", system="rules")
    row = {"messages": QA, "rules": "S", "system": "T"}
    assert said(one(mapped, row).messages)[0] == ("system", "S")
    assert said(one(CHAT, row).messages)[0] == ("system", "T")
    assert said(one(shape(messages="messages"), row).messages) == [("user", "Q"), ("assistant", "A")]
    own = row | {"messages": [turn("system", "own"), *QA]}
    assert said(one(mapped, own).messages) == [("system", "own"), ("user", "Q"), ("assistant", "A")]
    blank = {"messages": [turn("system", None), *QA], "system": " "}
    assert said(one(CHAT, blank).messages) == [("user", "Q"), ("assistant", "A")]


@pytest.mark.parametrize(
    ("changes", "tools"),
    [
        ({"tools": [{"b": 1, "a": {"d": 2, "c": 10**25}}]}, '[{"a":{"c":10000000000000000000000000,"d":2},"b":1}]'),
        ({"functions": [{"name": "f"}]}, '[{"name":"f"}]'),
        ({"tools": [], "functions": [1]}, "[1]"),
        ({"tools": '[{"b": 1, "a": 2}]'}, '[{"a":2,"b":1}]'),
        ({"tools": "a hammer"}, '"a hammer"'),
        ({"tools": None}, None),
    ],
)  # fmt: skip
def test_chat_tools_are_kept_beside_the_messages(changes: dict[str, Any], tools: str | None) -> None:
    found = one(CHAT, {"messages": QA} | changes, "chat")
    assert (found.tools, len(found.messages)) == (tools, 2)


# --- sharegpt -----------------------------------------------------------------------------


def test_sharegpt_roles_and_keys_are_all_read() -> None:
    for asks, answers in (("human", "gpt"), ("user", "assistant"), ("human", "chatgpt"), ("human", "bot"), ("user", "model")):  # fmt: skip
        turns = [{"from": asks, "value": "Q"}, {"from": answers, "value": "A", "weight": 1}]
        assert said(one(SHAREGPT, {"conversations": turns}).messages) == [("user", "Q"), ("assistant", "A")]
    assert said(one(SHAREGPT, {"conversations": QA}).messages) == [("user", "Q"), ("assistant", "A")]
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    found = one(SHAREGPT, {"conversations": turns, "system": "S"})
    assert said(found.messages) == [("system", "S"), ("user", "Q"), ("assistant", "A")]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([{"from": "human", "value": "Q"}, {"from": "observation", "value": "A"}], "unknown_role"),
        ([{"from": "human", "value": "Q"}, {"from": "tool", "value": "A"}], "unknown_role"),
        ([{"from": "human", "value": "Q"}, {"from": "gpt", "value": ""}], "empty_message"),
        ([{"from": "human", "value": "Q"}, {"from": "gpt"}], "bad_messages"),
        ([{"from": "gpt", "value": "A"}, {"from": "human", "value": "Q"}], "roles_out_of_order"),
        ([], "bad_messages"),
    ],
)
def test_sharegpt_that_is_no_conversation_is_refused(turns: Any, reason: str) -> None:
    assert [found for found, _ in refusals(SHAREGPT, {"conversations": turns}, "chat")] == [reason]


# --- transcript ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\nHuman: Q\n\nAssistant: A", "uQ aA"),
        ("Human: Q\n\nAssistant: A\n\nHuman: R\n\nAssistant:B ", "uQ aA uR aB"),
        ("User: Q\n\nAI: A", "uQ aA"),
        ("System: S\n\nHuman: Q\n\nAssistant: A", "sS uQ aA"),
        ("Human: Q\r\n\r\nAssistant: A\r\n", "uQ aA"),
        ("Human: Q\n \t\nAssistant: A", "uQ aA"),
        ("Human: Q\nHuman: no marker\n\nAssistant: A\nAssistant: no marker", "uQ\nHuman: no marker aA\nAssistant: no marker"),
        ("Human: Q\n\nAssistant: A\n\nUser: quoted\n\nAI: quoted\n\nSystem: quoted", "uQ aA\n\nUser: quoted\n\nAI: quoted\n\nSystem: quoted"),
        ("Human: Q\n\nAssistant: A\n\n Human: indented\n\nHumans: many", "uQ aA\n\n Human: indented\n\nHumans: many"),
        ("Human: Q\n\n\n\nR\n\nAssistant: A\n\nB", "uQ\n\n\n\nR aA\n\nB"),
    ],
)  # fmt: skip
def test_transcript_parts_at_markers_that_begin_a_paragraph(text: str, expected: str) -> None:
    messages = one(TRANSCRIPT, {"text": text}, "chat").messages
    assert " ".join(m["role"][0] + m["content"] for m in messages) == expected


@pytest.mark.parametrize(
    ("said_in_turn", "turns"),
    [
        # Closed blocks: markers in them are text.
        ("A\n```\nx\n\nHuman: y\n\nAssistant: z\n```\nB", 2),
        ("```text\nx\n\nHuman: y\n```", 2),
        ("~~~\n```\n\nHuman: y\n~~~", 2),
        ("````\n```py\n\nHuman: y\n```\n````", 2),
        ("1. A\n\n   ```\n\nHuman: y\n   ```\r", 2),
        ("```\nHuman: y\n```\nB\n```\n\nHuman: y\n```", 2),
        # Not blocks, or blocks that end first: markers count.
        ("```x``` A\n\nHuman: R\n\nAssistant: ```x```", 4),
        ("```\nx\n```\n\nHuman: R\n\nAssistant: ```\ny\n```", 4),
        ("A ```\n\nHuman: R\n\nAssistant: B\n```\ny\n```", 4),
        # Blocks without an end swallow nothing.
        ("```\nx\n\nHuman: R\n\nAssistant: B", 4),
        ("```\nx\n\nHuman: R\n\nAssistant: B\n```\ny\n```", 4),
        ("```\nx\n\nHuman: R\n\nAssistant: B\n```py\ny\n```", 4),
        ("```\nx\n\nHuman: R\n\nAssistant: ```py\ny\n```", 4),
        ("````\nx\n```\n\nHuman: R\n\nAssistant: B", 4),
        ("```py\nx\n```js\ny\n```\n\nHuman: R\n\nAssistant: B", 4),
        ("```\nx\n~~~\n\nHuman: R\n\nAssistant: B\n~~~", 4),
    ],
)
def test_transcript_marker_in_a_closed_code_block_is_text(said_in_turn: str, turns: int) -> None:
    messages = one(TRANSCRIPT, {"text": f"Human: Q\n\nAssistant: {said_in_turn}"}, "chat").messages
    assert len(messages) == turns
    if turns == 2:
        assert said(messages)[1] == ("assistant", said_in_turn.strip())


def test_transcript_names_in_a_code_block_name_nobody() -> None:
    text = "User: Q\n\nAI: A\n```\n\nAssistant: y\n```"
    assert said(one(TRANSCRIPT, {"text": text}, "chat").messages)[1][0] == "assistant"


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (None, "missing_value", "text is missing or null"),
        (5, "wrong_type", "text is a number, not text"),
        ("", "bad_transcript", "text: no paragraph begins with Human: or Assistant:"),
        ("Q: x\n\nA: y", "bad_transcript", "text: no paragraph begins with Human: or Assistant:"),
        ("Intro.\n\nHuman: Q\n\nAssistant: A", "bad_transcript", "text: there is text before the first Human: or Assistant:"),
        ("Human: Q\n\nAssistant:  ", "empty_message", "text: turn 2 holds no word"),
        ("Human: Q\n\nHuman: R\n\nAssistant: A", "roles_out_of_order", "text: two user turns in a row at turn 2"),
        ("Human: Q\n\nAssistant: A\n\nAssistant: B", "roles_out_of_order", "text: two assistant turns in a row at turn 3"),
        ("Assistant: A", "roles_out_of_order", "text: begins with assistant"),
        ("Human: Q", "roles_out_of_order", "text: ends with user; turns alternate user, assistant and end with assistant"),
    ],
)  # fmt: skip
def test_transcript_that_is_none_is_refused(text: Any, reason: str, detail: str) -> None:
    assert refusals(shape("transcript", messages="text"), {"text": text}, "chat") == [(reason, detail)]


def test_transcript_system_prompt_and_column_are_mapped() -> None:
    of = shape("transcript", messages="talk", system="rules")
    found = one(of, {"talk": "Human: Q\n\nAssistant: A", "rules": "S"}, "chat")
    assert said(found.messages) == [("system", "S"), ("user", "Q"), ("assistant", "A")]


@pytest.mark.faults
def test_transcript_of_megabytes_is_read_in_linear_time() -> None:
    began = time.monotonic()
    for text in (
        "\n\nHuman: Q\n\nAssistant: A" * 60_000,
        "Human: Q" + "\nHuman:" * 300_000,
        "\n" * 3_000_000,
        "Human: ```\n\nAssistant: A\n\n" + "Human: Q\n```\n```\n\nAssistant: A\n\n" * 60_000,
        "Human: Q\n````\n\nAssistant: A\n```\n~~~\n\n" + "Human: Q\n~~~~\n```\n~~~\n\n" * 60_000,
        "Human: Q\n\nAssistant: A\n" + "`" * 3_000_000,
    ):
        one_or_none = refusals(TRANSCRIPT, {"text": text}, "chat")
        assert len(one_or_none) <= 1
    assert time.monotonic() - began < 20


def test_turns_last_one_of_weight_zero_is_no_answer() -> None:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "weight": 0}]
    with pytest.raises(Misfit, match="no_answer"):
        chat_turns(turns, "messages")
    turns += [{"role": "user", "content": "R"}, {"role": "assistant", "content": "B", "weight": 1}]
    assert [turn["content"] for turn in chat_turns(turns, "messages")] == ["Q", "A", "R", "B"]
