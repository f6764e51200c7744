"""Rows that hold one conversation: mapped columns, lists of turns, transcripts, pairs.

Lives here: what each of these layouts does with a row. Keep out: reading turns (`turns`) and pairs
(`preference`), trees (`trees`), rows of many records (`explode`), ids and other columns beside (`layouts`).

A layout is resolved once, into a function that runs once per row and raises Misfit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import orjson

from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.transforms.lookup import (
    Payload,
    Text,
    is_preference,
    joined,
    named,
    scalar_of,
    value_of,
)
from dataset_pipeline.transforms.mapping import Misfit
from dataset_pipeline.transforms.preference import pair_reader
from dataset_pipeline.transforms.turns import (
    Message,
    chat_turns,
    check_order,
    sharegpt_turns,
    transcript_turns,
    with_system,
)

Said = tuple[list[Message], list[Message] | None, str | None, str | None, int | None]
"""messages, rejected, label, tools, prompt_turns: the fields of `mapping.Conversation` of these names."""


def said_reader(
    shape: Shape, fields: Fields, task_type: str, answers_are_labels: bool
) -> Callable[[Payload], Said]:
    if is_preference(shape):
        return _preference(fields, task_type == "preference")
    if shape.layout in ("transcript", "sharegpt") or fields.messages is not None:
        return _conversation(shape, fields)
    return _mapped(fields, answers_are_labels)


def _mapped(fields: Fields, answers_are_labels: bool) -> Callable[[Payload], Said]:
    """Mapped fields: user, then assistant; a blank system prompt is none, an answer that is a label may lack."""
    prompt_of = _prompt_of(fields)
    answer_of = joined(fields.output) if fields.output is not None else scalar_of(None)
    system_of = scalar_of(fields.system) if fields.system is not None else None
    no_answer = "no output column is mapped" if fields.output is None else f"{named(fields.output)} is empty"

    def read(payload: Payload) -> Said:
        answer = answer_of(payload)
        messages = [{"role": "user", "content": prompt_of(payload)}]
        if system_of is not None and (system := system_of(payload)):
            messages.insert(0, {"role": "system", "content": system})
        if answers_are_labels:
            if answer is None or not answer or answer.isspace():
                return messages, None, None, None, None
            messages.append({"role": "assistant", "content": answer})
            return messages, None, answer, None, None
        if answer is None:
            raise Misfit("missing_value", no_answer)
        messages.append({"role": "assistant", "content": answer})
        return messages, None, None, None, None

    return read


def _prompt_of(fields: Fields) -> Callable[[Payload], str]:
    columns = fields.input or ()
    text_of, name = joined(columns, refuse_numbers=True), named(columns)

    def read(payload: Payload) -> str:
        text = text_of(payload)
        if text is None:
            raise Misfit("missing_value", f"{name} is missing or null")
        return text

    return read


def _turns_of(shape: Shape, fields: Fields) -> Callable[[Payload], list[Message]]:
    """The turns of a row, their order not yet looked at, the system prompt put before them."""
    column = fields.messages or {"transcript": "text", "sharegpt": "conversations"}.get(
        shape.layout or "", "messages"
    )
    system_of = _system_of(shape, fields)
    if shape.layout == "transcript":
        text_of = scalar_of(column, refuse_numbers=True)

        def read_text(payload: Payload) -> list[Message]:
            text = text_of(payload)
            if text is None:
                raise Misfit("missing_value", f"{column} is missing or null")
            return with_system(transcript_turns(text, column), system_of(payload))

        return read_text
    find, turns = value_of(column), sharegpt_turns if shape.layout == "sharegpt" else chat_turns

    def read_turns(payload: Payload) -> list[Message]:
        messages, system = turns(find(payload), column), system_of(payload)
        return with_system(messages, system) if system else messages

    return read_turns


def _system_of(shape: Shape, fields: Fields) -> Text:
    """The system prompt beside the turns: the mapped column; else in chat and sharegpt a text under `system`."""
    if fields.system is not None or shape.layout not in ("chat", "sharegpt"):
        return scalar_of(fields.system)

    def read(payload: Payload) -> str | None:
        value = payload.get("system")
        return value if isinstance(value, str) else None

    return read


def _conversation(shape: Shape, fields: Fields) -> Callable[[Payload], Said]:
    turns_of = _turns_of(shape, fields)
    place = fields.messages or "the conversation"
    may_have_tools = shape.layout != "transcript"

    def read(payload: Payload) -> Said:
        messages = turns_of(payload)
        check_order(messages, place)
        has_tools = may_have_tools and ("tools" in payload or "functions" in payload)
        return messages, None, None, _tools(payload) if has_tools else None, None

    return read


def _tools(payload: Payload) -> str | None:
    """The row's `tools`, else its `functions`, as compact JSON with sorted keys; None where they are null or empty.

    JSON inside a string is read as what it says.
    """
    tools = payload.get("tools") or payload.get("functions")
    if not tools:
        return None
    if isinstance(tools, str):
        with contextlib.suppress(ValueError, RecursionError):  # what is no JSON stays the string it is
            tools = msgspec.json.decode(tools)
    try:
        return orjson.dumps(tools, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # whole numbers above 64 bit
        pass
    try:
        return msgspec.json.encode(tools, order="sorted").decode()
    except (TypeError, ValueError, RecursionError):
        raise Misfit("wrong_type", "tools cannot be written as JSON") from None


def _preference(fields: Fields, both: bool) -> Callable[[Payload], Said]:
    pair_of, system_of = pair_reader(fields, both), scalar_of(fields.system)

    def read(payload: Payload) -> Said:
        pair = pair_of(payload)
        messages = with_system(pair.messages, system_of(payload))
        shared = pair.prompt_turns
        if shared is not None:
            shared += len(messages) - len(pair.messages)
        return messages, pair.rejected, None, None, shared

    return read


def text_reader(shape: Shape, fields: Fields) -> Callable[[Payload], str]:
    if is_preference(shape):
        pair_of = pair_reader(fields, both=False)
        return lambda payload: spoken(pair_of(payload).messages)
    if shape.layout in ("transcript", "sharegpt") or fields.messages is not None:
        turns_of = _turns_of(shape, fields)
        return lambda payload: spoken(turns_of(payload))
    return _prompt_of(fields)


def spoken(messages: list[Message]) -> str:
    return "\n\n".join(turn["content"] for turn in messages if turn["role"] != "system")
