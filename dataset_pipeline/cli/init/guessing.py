"""Which layout, task, columns and labels some rows have: what `init` writes for a person to mend.

Lives here: rows in, a `Guess` out; pure: the way from one guess to the next, and prompts with answers. Keep out:
reading files (`first_rows`), profiles of columns (`columns`), conversations (`guess_talks`), texts and labels
(`guess_labels`), the text of the spec (`spec_text`). What is not sure is a comment, not a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from dataset_pipeline.cli.init.columns import Beside, Column, Payload, beside, columns_of_rows
from dataset_pipeline.cli.init.guess_labels import ANSWERS, LABELS, labelled, text_guess
from dataset_pipeline.cli.init.guess_talks import TREE_COLUMNS, preference, transcript, tree, turns
from dataset_pipeline.cli.init.guessed import Guess, Labels, share
from dataset_pipeline.spec.reading import Fields

PROMPTS = ("instruction", "question", "prompt", "query", "input", "problem", "user")
CONTEXTS = ("context", "passage", "input", "inputs", "background", "document", "article", "premise", "body")


def guess(
    rows: Sequence[Payload], present: Iterable[str], labels_of: Labels, by_position: bool = False
) -> Guess | None:
    """What rows are, told by the names and the values of their columns.

    rows: the first of the files, one or more. present: columns that every file has; others are not mapped.
    by_position: columns are numbers, so names say nothing. None where no column holds anything.
    """
    have = set(present)
    columns = [c for c in columns_of_rows(rows) if c.name in have or c.name.split(".")[0] in have]
    if not any(c.values for c in columns):
        return None
    found = (
        turns(columns)
        or preference(columns)
        or tree(rows)
        or transcript(columns)
        or (None if by_position else _answered(columns, labels_of))
        or _exploded(rows, columns)
        or text_guess(columns, labels_of, by_position)
    )
    return _with_columns_beside(found, columns)


def _with_columns_beside(found: Guess, columns: Sequence[Column]) -> Guess:
    mapped = found.shape.mapped()
    taken = {str(c) for value in (mapped.input, mapped.output, mapped.messages, mapped.chosen, mapped.rejected,
                                  mapped.system) for c in (value if isinstance(value, tuple) else (value,))}  # fmt: skip
    near = (
        beside([c for c in columns if c.name != found.explode], taken) if found.layout != "tree" else Beside()
    )
    given = {k: getattr(found.fields, k) for k in found.fields.model_fields_set}
    given |= {
        k: v
        for k in ("id", "group", "created_at", "person_names")
        if (v := getattr(near, k)) and k not in given
    }
    used = taken | {near.id, near.group, near.created_at, found.explode, *near.person_names}
    if found.layout == "tree":
        used |= {c.name for c in columns if c.name.split(".")[0] in TREE_COLUMNS}
    if found.layout in ("chat", "sharegpt"):
        used |= {"system", "tools", "functions"}
    unused = tuple(dict.fromkeys(c.name for c in columns if c.name not in used))
    return replace(found, fields=Fields(**given), unused=unused)


def _answered(columns: Sequence[Column], labels_of: Labels, inside: str = "") -> Guess | None:
    """A prompt and an answer by their names; labels where the answers are few values."""
    by_key = {c.key: c for c in reversed(columns)}
    prompt = next((c for k in PROMPTS if (c := by_key.get(k)) and c.is_text), None)
    answer = next((c for k in ANSWERS if (c := by_key.get(k)) and c.is_scalar and c is not prompt), None)
    answer_name = answer.name if answer else _nested_answer(columns)
    if prompt is None or answer_name is None:
        return None
    names = {c.name for c in columns}
    context = next(
        (c for k in CONTEXTS if (c := by_key.get(k)) and c.is_text and c not in (prompt, answer)), None
    )
    ordered: tuple[str, ...]
    if context is not None and prompt.key == "instruction":
        ordered = (prompt.name, context.name)
    elif context is not None and not _holds(prompt, context):
        ordered = (context.name, prompt.name)
    else:
        ordered = (prompt.name,)
    system = next(
        (by_key[k].name for k in ("system", "system_prompt") if k in by_key and by_key[k].is_text), None
    )
    more: dict[str, Any] = {"system": system} if system else {}
    if (
        not inside
        and prompt.name == "instruction"
        and answer_name == "output"
        and ordered[1:] in ((), ("input",))
    ):
        return Guess("instruction", "alpaca", Fields(**more))
    if (prompt.name, answer_name) == ("prompt", "completion") and len(ordered) == 1:
        return Guess("completion", "completion", Fields(**more))
    fields = Fields(input=ordered if len(ordered) > 1 else ordered[0], output=answer_name, **more)
    is_completion = (
        prompt.key == "prompt" and answer is not None and answer.key in ("completion", "canonical_solution")
    )
    found = Guess("completion" if is_completion else "instruction", None, fields)
    if inside or answer is None or prompt.key == "instruction" or is_completion:
        return found
    strong = next((c for k in LABELS if (c := by_key.get(k)) and c.name in names and c.is_scalar), None)
    if strong is not None and answer.numbers == 1.0:
        return None  # answers that are numbers beside a label column: votes, most likely
    return labelled(fields, answer, labels_of) or found


def _nested_answer(columns: Sequence[Column]) -> str | None:
    """The first of several answers, as question sets have them."""
    for column in columns:
        if column.key in ("answers", "answers_text", "outputs", "responses") and column.values:
            first = next((v[0] for v in column.values if isinstance(v, list) and v), None)
            if isinstance(first, str):
                return f"{column.name}.0"
            if isinstance(first, dict) and isinstance(first.get("text"), str):
                return f"{column.name}.0.text"
    return None


def _holds(prompt: Column, context: Column) -> bool:
    """Whether prompts already contain their context."""
    pairs = list(zip(prompt.texts, context.texts, strict=False))[:200]
    return share(pairs, lambda pair: pair[1].strip()[:200] in pair[0]) >= 0.5


def _exploded(rows: Sequence[Payload], columns: Sequence[Column]) -> Guess | None:
    """A list of objects that hold answers, such as the instances of a task."""
    for column in columns:
        name = column.name
        if (
            "." in name
            or share(column.values, lambda v: isinstance(v, list) and all(isinstance(i, dict) for i in v))
            < 0.9
        ):
            continue
        items = [
            row | {name: item} for row in rows for item in (row.get(name) or ())[:3] if isinstance(item, dict)
        ]
        inner = columns_of_rows(items, name)
        # What lies inside goes before a column of the same name beside the list.
        inner.sort(key=lambda c: not c.name.startswith(f"{name}."))
        found = _answered(inner, lambda shape: None, name)
        if (
            found is not None
            and isinstance(found.fields.output, str)
            and found.fields.output.startswith(f"{name}.")
        ):
            return replace(found, explode=name)
    return None
