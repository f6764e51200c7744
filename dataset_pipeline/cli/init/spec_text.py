"""The text of a first spec, with comments.

Lives here: a guess in, YAML out. Keep out: guessing. Quoted values are JSON with everything odd escaped, which is
YAML too.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dataset_pipeline.cli.init.guessed import Guess
from dataset_pipeline.spec.reading import Fields, Reading

_BEHAVIOR = {
    "classification": "Read one message and answer with exactly one label.",
    "chat": "Answer the last message of the conversation.",
    "preference": "Answer the last message of the conversation.",
    "completion": "Continue the text.",
}


def quoted(value: Any) -> str:
    """A value as JSON on one line that every YAML reader takes: what is not printable is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def comment(text: str) -> str:
    """Text that may stand behind a #."""
    return "".join(c if c.isprintable() else " " for c in text)


def project_name(folder: str) -> str:
    """A folder's name as the spec may name a project."""
    name = (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in folder).strip("-_")
        or "dataset"
    )
    return (name if name[0].isalpha() else f"dataset-{name}")[:63]


def field_values(fields: Fields, by_position: bool) -> dict[str, Any]:
    """The fields that are set, as the spec writes them: numbers where columns are told by position."""

    def written(name: str) -> Any:
        return int(name) if by_position and name.isdecimal() else name

    values = {key: getattr(fields, key) for key in Fields.model_fields if key in fields.model_fields_set}
    return {
        key: [written(v) for v in value] if isinstance(value, tuple) else written(value)
        for key, value in values.items()
        if value
    }


def spec_text(
    name: str, path: str, day: dt.date | None, reading: Reading, guess: Guess,
    guessed: Mapping[str, str], notes: Sequence[str] = (), by_position: bool = False,
) -> str:  # fmt: skip
    """The whole spec. guessed: keys of `reading` that are guesses, with the reason; notes: comments on the source."""
    lines = [
        f"name: {project_name(name)}",
        "task:",
        "  # The wanted behaviour in a sentence: the first thing the card says.",
        f"  behavior: {quoted(_BEHAVIOR.get(guess.task, 'Answer the message.'))}",
    ]
    lines += [f"  # {comment(note)}" for note in guess.notes]
    lines.append(
        f"  type: {guess.task}        # classification | instruction | chat | completion | preference"
    )
    if guess.task == "classification":
        what = (
            "# label: its definition" if guess.labels else "# label: its definition; these are placeholders"
        )
        lines.append(f"  labels:                {what}")
        lines += [f'    {quoted(label)}: ""' for label in guess.labels or ("label_a", "label_b")]
    lines += [
        "  examples: []           # handwritten, at least five, better a dozen: {input: ..., output: ...}; never trained on",
        "sources:",
        "  - name: main",
        "    kind: first_party    # first_party | licensed | public_web | synthetic",
        f"    path: {quoted(path)}   # {{date}} stands for the collection day: sources/{{date}}.jsonl",
    ]
    if "{date}" not in path:
        why = (
            "the day in the name" if day else "the day of collection, where the path has no {date}: put yours"
        )
        lines.append(f"    collected_at: {day or '2026-01-01'}   # {why}")
    for key in Reading.model_fields:
        if key in reading.model_fields_set:
            value = getattr(reading, key)
            plain = (
                value
                if isinstance(value, str) and value.replace("-", "").replace("_", "").isalnum()
                else quoted(value)
            )
            is_plain = key in ("format", "encoding", "quotes")
            reason = f"   # guessed: {guessed[key]}; check a few rows" if key in guessed else ""
            lines.append(f"    {key}: {plain if is_plain else quoted(value)}{reason}")
    lines += [f"    # {comment(note)}" for note in notes]
    lines += [
        "    # No rights, no entry: put the licence (SPDX expression), who holds the rights, and why you may use it.",
        '    rights: {license: LicenseRef-first-party, holder: "to be filled in", basis: "to be filled in", uses: [train, evaluate]}',
    ]
    if guess.layout is not None:
        lines.append(f"    layout: {guess.layout}")
    if guess.explode is not None:
        lines.append(f"    explode: {quoted(guess.explode)}   # each item of this list is a record")
    fields = field_values(guess.fields, by_position)
    if fields:
        lines.append(f"    fields: {quoted(fields)}")
    lines += [
        "# Evaluation sets are kept out of the training data. Without them nothing is.",
        "# decontaminate:",
        "#   sets:",
        "#     - {name: holdout, path: eval/holdout.jsonl, fields: {input: text}}",
        "# normalize:",
        "#   languages: [en]      # records in other languages are dropped",
        "",
    ]
    return "\n".join(lines)
