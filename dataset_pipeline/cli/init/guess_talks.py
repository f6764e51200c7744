"""Whether rows are conversations: lists of turns, preference pairs, trees of replies, transcripts.

Lives here: columns in, a `Guess` or None out; pure. Keep out: prompts and answers in columns (`guessing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataset_pipeline.cli.init.columns import Column, Payload
from dataset_pipeline.cli.init.guessed import Guess, share
from dataset_pipeline.spec.reading import Fields, Layout
from dataset_pipeline.transforms.turns import is_transcript


def _is_turn(turn: Any, keys: tuple[str, str]) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get(keys[0]), str) and keys[1] in turn


def _is_turns(value: Any, keys: tuple[str, str]) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_turn(turn, keys) for turn in value[:4])


def turns(columns: Sequence[Column]) -> Guess | None:
    """Layouts chat and sharegpt: a column of lists of turns."""
    forms: tuple[tuple[Layout, tuple[str, str], str], ...] = (
        ("chat", ("role", "content"), "messages"),
        ("sharegpt", ("from", "value"), "conversations"),
    )
    if {"chosen", "rejected"} <= {c.name for c in columns}:
        return None
    for layout, keys, usual in forms:
        fits = [c for c in columns if share(c.values, lambda v, k=keys: _is_turns(v, k)) >= 0.5]  # type: ignore[misc]
        if fits:
            column = next((c for c in fits if c.name == usual), fits[0])
            fields: dict[str, Any] = {} if column.name == usual else {"messages": column.name}
            prompt = next((c.name for c in columns if c.key == "system_prompt" and c.is_text), None)
            if prompt is not None:
                fields["system"] = prompt
            return Guess("chat", layout, Fields(**fields))
    return None


def preference(columns: Sequence[Column]) -> Guess | None:
    """Layout preference: chosen and rejected, with or without a prompt."""
    by_key = {c.key: c for c in reversed(columns)}
    sides = [by_key.get("chosen"), by_key.get("rejected")]
    chosen, rejected = sides
    if chosen is None or rejected is None:
        return None
    if any(share(c.values, lambda v: isinstance(v, str | list | dict)) < 0.9 for c in (chosen, rejected)):
        return None
    fields: dict[str, Any] = {}
    if (chosen.name, rejected.name) != ("chosen", "rejected"):
        fields = {"chosen": chosen.name, "rejected": rejected.name}
    prompt = next(
        (by_key[k] for k in ("prompt", "instruction", "question", "query", "input") if k in by_key), None
    )
    if prompt is not None and prompt.name != "prompt":
        fields["input"] = prompt.name
    if (system := by_key.get("system") or by_key.get("system_prompt")) and system.is_text:
        fields["system"] = system.name
    note = "The rows are preference pairs. With type: chat and formats: [chat, parquet] the chosen side alone is used."
    return Guess("preference", "preference", Fields(**fields), notes=(note,))


TREE_COLUMNS = frozenset({"prompt", "message_tree_id", "message_id", "replies", "text", "role", "rank"})


def tree(rows: Sequence[Payload]) -> Guess | None:
    """Layout tree: a message with replies, or one under `prompt`."""

    def is_root(row: Any) -> bool:
        return (
            isinstance(row, dict)
            and isinstance(row.get("text"), str)
            and isinstance(row.get("role"), str)
            and isinstance(row.get("replies"), list)
        )

    fits = [row for row in rows if is_root(row) or is_root(row.get("prompt"))]
    return Guess("chat", "tree") if len(fits) * 2 >= len(rows) else None


def transcript(columns: Sequence[Column]) -> Guess | None:
    """Layout transcript: texts that say who speaks."""
    for column in columns:
        if column.is_text and share(column.texts[:200], is_transcript) >= 0.8:
            fields = Fields() if column.name == "text" else Fields(messages=column.name)
            return Guess("chat", "transcript", fields)
    return None
