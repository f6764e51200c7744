"""The words of causes: the closed list, and how a changed leaf or a verdict of a person is named.

Lives here: names and short texts. Keep out: finding a cause (`causes`), counting (`tallies`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from dataset_pipeline.transforms.diff.comparing import Leaf

SPEC, FILE, REVIEW, ANNOTATION, EVAL_SET = "spec", "file", "review", "annotation", "eval_set"
TWIN, LOCK, GATE, VERSION, UNKNOWN = "twin", "lock", "gate", "version", "unknown"

MEANINGS: dict[str, str] = {
    SPEC: "the spec was changed",
    FILE: "a file was added, changed or removed",
    REVIEW: "a person's verdict came or went",
    ANNOTATION: "annotators' answers came or went",
    EVAL_SET: "an evaluation set was changed",
    TWIN: "another record, which it repeats or contradicts, came or went",
    LOCK: "the split lock",
    GATE: "a day could not be made",
    VERSION: "another version of this package or a library",
    UNKNOWN: "nothing known tells",
}
"""The closed list of causes, in words."""

Cause = tuple[str, str]
"""One of MEANINGS, and the words for it."""

SHOWN_LEAVES, SHOWN_CHARS = 3, 40


def facts_of(detail: str | None) -> dict[str, Any]:
    try:
        facts = orjson.loads(detail) if detail else {}
    except orjson.JSONDecodeError:
        facts = {}
    return facts if isinstance(facts, dict) else {}


def review_words(said: str | None) -> Cause:
    facts = facts_of(said)
    return REVIEW, f"{facts.get('verdict') or 'a verdict'} in {facts.get('file') or 'a review'}"


def leaves_words(leaves: Sequence[Leaf]) -> str:
    shown = [_leaf_words(leaf) for leaf in leaves[:SHOWN_LEAVES]]
    more = len(leaves) - SHOWN_LEAVES
    return "; ".join(shown) + (f" and {more} more" if more > 0 else "")


def _leaf_words(leaf: Leaf) -> str:
    # A handwritten example is a text, not a setting.
    if leaf.path.startswith("task.examples"):
        return f"{leaf.path} was changed"
    return f"{leaf.path} {value_words(leaf.before)} → {value_words(leaf.after)}"


def value_words(value: Any, limit: int = SHOWN_CHARS) -> str:
    """A value of the spec in one short line; `none` for null."""
    if value is None:
        return "none"
    line = " ".join(
        (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)).split()
    )
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


SHOWN_DAYS = 10


def days_words(days: Sequence[str]) -> str:
    """Days in one short line; `none` for none."""
    more = f" and {len(days) - SHOWN_DAYS} more" if len(days) > SHOWN_DAYS else ""
    return ", ".join(days[:SHOWN_DAYS]) + more if days else "none"
