"""Which column holds the text, and which one labels.

Lives here: columns in, a `Guess` out; pure. Keep out: reading all rows for their labels (`beginning`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dataset_pipeline.cli.init.columns import Column
from dataset_pipeline.cli.init.guessed import Guess, Labels
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.transforms.pii import find_pii

MAX_LABELS = 200
"""More distinct values than this are answers, not labels."""
MAX_LABEL_CHARS = 80
FEW_LABELS, REPEATED = 20, 5
"""An answer column holds labels where it has few values, each of them often."""
SMALL = 20
"""So few rows need not repeat a label."""
TEXTS = (
    "text", "message", "body", "content", "prompt", "question", "query", "input", "instruction", "review",
    "comment", "utterance", "tweet", "post", "description", "sentence", "document", "full_text",
)  # fmt: skip
LABELS = (
    "label_text", "label_name", "label", "gold_label", "label_gold", "gold", "category", "category_name", "class",
    "class_name", "intent", "sentiment", "topic", "emotion", "tag",
)  # fmt: skip
MAYBE_LABELS = ("output", "target", "answer", "response", "completion")
PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text", "hypothesis"),
    ("question1", "question2"), ("text_a", "text_b"), ("text1", "text2"),
)  # fmt: skip
"""Two texts that are judged together."""
NO_LABELS = (
    "lang", "language", "locale", "source", "split", "country", "status", "channel", "model", "version", "url",
    "date", "author", "sender", "name", "user", "agent", "assignee", "site", "file", "license", "format",
)  # fmt: skip
"""Columns of few values that say something about a row, but not what its text means."""
ANSWERS = (
    "output", "response", "answer", "completion", "reply", "solution", "canonical_solution", "target", "summary",
    "translation", "assistant", "generation",
)  # fmt: skip


def text_guess(columns: Sequence[Column], labels_of: Labels, by_position: bool) -> Guess:
    """A text, and the labels or answers beside it if there are any."""
    texts = _input_of(columns, by_position)
    taken = set(texts)
    rest = [c for c in columns if c.name not in taken and c.is_scalar]
    by_key = {c.key: c for c in reversed(rest)}
    named = [] if by_position else [by_key[k] for k in (*LABELS, *MAYBE_LABELS) if k in by_key]
    one: Any = texts if len(texts) > 1 else texts[0]
    for column in named:
        found = labelled(Fields(input=one, output=column.name), column, labels_of)
        if found is not None:
            return found
    answer = None if by_position else next((by_key[k] for k in ANSWERS if k in by_key), None)
    if answer is not None and answer.counts:
        return Guess("instruction", None, Fields(input=one, output=answer.name))
    maybe = [c for c in rest if _may_be_label(c, by_position)]
    if len(maybe) == 1 and (found := labelled(Fields(input=one, output=maybe[0].name), maybe[0], labels_of)):
        return replace(found, notes=(*found.notes, "The label column is guessed by its values."))
    notes = [
        "No column was found that holds answers or labels: name it as fields.output, and the labels above."
    ]
    if maybe:
        notes.append(f"It may be one of: {', '.join(c.name for c in maybe[:10])}.")
    return Guess("classification", None, Fields(input=one), notes=tuple(notes))


def _input_of(columns: Sequence[Column], by_position: bool) -> tuple[str, ...]:
    """The column of the text, or two that belong together."""
    best = max(columns, key=lambda c: c.textness)  # a name counts for nothing where most rows lack the column
    if by_position:
        return (best.name,)
    by_key = {c.key: c for c in reversed(columns)}
    for pair in PAIRS:
        if all(k in by_key and by_key[k].is_text for k in pair):
            return tuple(by_key[k].name for k in pair)
    enough = 0.3 * best.textness
    full = [c for c in columns if len(c.values) >= 0.9 * len(best.values) and c.textness >= enough]
    named = [by_key[k] for k in TEXTS if k in by_key and by_key[k] in full]
    tokens = [c for c in full if {*c.key.split("_")} & {*TEXTS}]
    found = next(iter((*named, *sorted(tokens, key=lambda c: -c.textness))), best)
    return (found.name,)


def _may_be_label(column: Column, by_position: bool) -> bool:
    """Whether a column that no name speaks for holds few short values, each of them often."""
    total, values = sum(column.counts.values()), list(column.counts)
    if not 2 <= len(values) <= (MAX_LABELS if by_position else 50) or total < 0.9 * column.rows:
        return False
    if {*column.key.split("_")} & {*NO_LABELS} or column.key.endswith("_id"):
        return False
    if any(len(v) > 40 or len(v.split()) > 4 for v in values):
        return False
    if column.numbers > 0.5:
        return by_position and len(values) <= FEW_LABELS and len(values) * REPEATED <= total
    return len(values) * (2 if by_position else REPEATED) <= total


def labelled(fields: Fields, column: Column, labels_of: Labels) -> Guess | None:
    """A classification guess where all values of the column may be labels."""
    counts, by_name = column.counts, column.key in LABELS
    total = sum(counts.values())
    if not total or len(counts) > MAX_LABELS or any(len(v) > MAX_LABEL_CHARS or "\n" in v for v in counts):
        return None
    if column.key in ("output", "target"):
        is_repeated = len(counts) * 2 <= total
    elif column.key in MAYBE_LABELS:
        is_repeated = len(counts) <= FEW_LABELS and len(counts) * REPEATED <= total
    else:
        is_repeated = len(counts) * 2 <= total or (by_name and total < SMALL)
    if not is_repeated:
        return None
    found = labels_of(Shape(fields=fields))
    labels = None if found is None else labels_from(found)
    return None if labels is None else Guess("classification", None, fields, labels=labels)


def labels_from(counts: Counter[str]) -> tuple[str, ...] | None:
    """The labels, sorted; of spellings that differ in case and spaces only the most frequent one.

    None where they are fewer than two or more than MAX_LABELS, too long, or hold personal data.
    """
    spellings: dict[str, tuple[int, str]] = {}
    for value, count in counts.items():
        label = value.strip()
        folded = label.casefold()
        if folded:
            spellings[folded] = max(spellings.get(folded, (0, "")), (count, label))
    labels = sorted(label for _, label in spellings.values())
    if not 2 <= len(labels) <= MAX_LABELS or any(len(v) > MAX_LABEL_CHARS or "\n" in v for v in labels):
        return None
    return None if any(find_pii(labels, Pii())) else tuple(labels)
