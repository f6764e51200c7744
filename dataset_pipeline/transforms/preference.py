"""Preference pairs: a prompt, the better answer and the worse one, in the forms that are in use.

Lives here: telling the forms apart, and where two conversations part. Keep out: reading turns (`turns`),
the row around the pair (`layouts`).

The forms, told apart row by row:
- prompt, chosen and rejected are texts, or lists of messages, or one of each: the sides are what follows;
- the sides are whole conversations, lists that begin with the system prompt, with the prompt's own first turn
  or with the user where no turn of the user can follow, or transcripts beside a prompt that is none: what they
  share at the beginning is the prompt, and a prompt column beside them is not read. A text that quotes a dialogue
  beside one that does not is an answer;
- the prompt is a transcript and the sides are the text that goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dataset_pipeline.spec.reading import Fields
from dataset_pipeline.transforms.lookup import Payload, as_text, joined, value_of
from dataset_pipeline.transforms.mapping import Misfit
from dataset_pipeline.transforms.turns import (
    Message,
    chat_turns,
    check_order,
    is_answered,
    is_transcript,
    transcript_turns,
)

Prompt = str | list[Message] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """messages: the chosen conversation. rejected: what stands in place of messages[prompt_turns:] on the other
    side. Both are None where only the chosen side was asked for."""

    messages: list[Message]
    rejected: list[Message] | None = None
    prompt_turns: int | None = None


def pair_reader(fields: Fields, both: bool) -> Callable[[Payload], Pair]:
    """A reader of one row's pair, or of its chosen side alone.

    Raises Misfit: missing_value, wrong_type, no_answer, no_shared_prompt, same_answers, and what `turns` raises.
    """
    chosen, rejected = fields.chosen or "chosen", fields.rejected or "rejected"
    prompt_of = _prompt_reader(fields)
    chosen_of, rejected_of = value_of(chosen), value_of(rejected)

    def read(payload: Payload) -> Pair:
        prompt, side, other_side = prompt_of(payload), chosen_of(payload), rejected_of(payload)
        are_whole = _are_whole(prompt, side, other_side)
        messages = _conversation(None if are_whole else prompt, side, chosen)
        if not both:
            return Pair(messages)
        is_whole = are_whole and isinstance(other_side, str)
        other = _conversation(None if is_whole else prompt, other_side, rejected)
        shared = _shared_turns(messages, other)
        if shared == 0:
            raise Misfit("no_shared_prompt", f"{chosen} and {rejected} have no first user turn in common")
        if messages[shared:] == other[shared:]:
            raise Misfit("same_answers", f"{chosen} and {rejected} are equal: such a pair prefers nothing")
        return Pair(messages, other[shared:], shared)

    return read


def _prompt_reader(fields: Fields) -> Callable[[Payload], Prompt]:
    columns = fields.input
    if columns is None:
        return lambda payload: None
    one = columns if isinstance(columns, str) else columns[0] if len(columns) == 1 else None
    if one is None:
        return joined(columns, refuse_numbers=True)
    find = value_of(one)

    def read(payload: Payload) -> Prompt:
        value = find(payload)
        if isinstance(value, list):
            return chat_turns(value, one) if value else None
        return as_text(value, one, refuse_numbers=True)

    return read


def _are_whole(prompt: Prompt, chosen: Any, rejected: Any) -> bool:
    """Whether the texts among the sides are transcripts, beside a prompt that is none.

    Both have to be, and one has to hold an answer; a rejected side that is no text does not count: a chat task
    may go without one.
    """
    if (
        not prompt
        or not isinstance(chosen, str)
        or (isinstance(prompt, str) and is_transcript(prompt.strip()))
    ):
        return False
    texts = [chosen, rejected] if isinstance(rejected, str) and rejected.strip() else [chosen]
    return all(map(is_transcript, texts)) and any(map(is_answered, texts))


def _conversation(prompt: Prompt, side: Any, column: str) -> list[Message]:
    """Prompt and side as one conversation that ends with an answer."""
    if side is None:
        raise Misfit("missing_value", f"{column} is missing or null")
    if isinstance(side, dict):
        side = [side]
    if isinstance(side, list):
        messages = _after(prompt, chat_turns(side, column))
    else:
        messages = _after_text(prompt, as_text(side, column) or "", column)
    if not any(message["role"] == "assistant" for message in messages):
        raise Misfit("no_answer", f"{column} has no assistant turn")
    check_order(messages, column)
    return messages


def _after(prompt: Prompt, turns: list[Message]) -> list[Message]:
    """A list of turns after the prompt, or alone where it is a whole conversation itself."""
    before = _prompt_turns(prompt)
    if not before or turns[0]["role"] == "system":
        return turns
    opening = next((turn for turn in before if turn["role"] != "system"), None)
    goes_on = turns[0]["role"] != before[-1]["role"] and turns[0] != opening
    return [*before, *turns] if goes_on else turns


def _prompt_turns(prompt: Prompt) -> list[Message]:
    if not isinstance(prompt, str):
        return prompt or []
    if not prompt.strip():
        return []
    return transcript_turns(prompt, "the prompt") if is_transcript(prompt) else [_message("user", prompt)]


def _after_text(prompt: Prompt, text: str, column: str) -> list[Message]:
    """A text after the prompt: an answer, or the rest of a transcript, or a transcript of its own."""
    if prompt is None or (isinstance(prompt, str) and not prompt.strip()):
        return transcript_turns(text, column)
    if not text.strip():
        raise Misfit("empty_message", f"{column} holds no word")
    if isinstance(prompt, str):
        start = prompt.strip()
        if is_transcript(start):
            return transcript_turns(_continued(start, text), column)
        return [_message("user", prompt), _message("assistant", text)]
    return [*prompt, _message("assistant", text)]


def _continued(start: str, text: str) -> str:
    """A transcript that goes on with `text`, which repeats it, says who speaks, or is what the assistant says."""
    bare = text.lstrip()
    if bare.startswith(start) and is_transcript(bare):
        return bare
    if start.rsplit("\n", 1)[-1] in ("Assistant:", "AI:"):
        return f"{start} {bare}"
    speaks = bare.startswith(("Assistant:", "AI:"))
    return f"{start}\n\n{bare}" if speaks else f"{start}\n\nAssistant: {bare}"


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _shared_turns(one: list[Message], other: list[Message]) -> int:
    """Length of the longest run of turns that both begin with and that ends with a user turn; 0 for none."""
    shared = 0
    for number, (left, right) in enumerate(zip(one, other, strict=False), 1):
        if left != right:
            break
        if left["role"] == "user":
            shared = number
    return shared
