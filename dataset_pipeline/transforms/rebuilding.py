"""Back from the rows of a release to records: what a row may have been made of, and which record that is.

Lives here: the inverse of `formats`, proved by the seal of provenance (`comparing.text_sha`), and the comparison of
formats with each other. Keep out: reading files (`assets.rebuilding`), the shapes of rows (`formats`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms.diff.comparing import text_sha
from dataset_pipeline.transforms.formats import (
    JSONL_FORMATS,
    PREFERENCE,
    SHAREGPT_SPEAKERS,
    Messages,
    Record,
    Row,
    system_prompt_of,
    with_system_prompt,
)

PARQUET = "parquet"
EASIEST_FIRST = (PARQUET, PREFERENCE, "chat", "sharegpt", "alpaca", "completion")
"""Formats in the order in which they are asked what a record was: those that hold it whole first."""
MAX_BOUNDARIES = 64
"""Blank lines of a `completion` prompt at which a system prompt of the record's own may have ended."""
_ROLES = {speaker: role for role, speaker in SHAREGPT_SPEAKERS.items()}


@dataclass(frozen=True)
class Named:
    """What provenance says of a released record. day: ISO text."""

    record_id: str
    label: str | None
    text_sha: str
    source: str
    day: str


# --- what a row may have been -------------------------------------------------------------


def candidates(name: str, row: Any, task: Task) -> list[Record]:
    """The records that give this row of the format `name`, likeliest first; none for what is no row of it.

    More than one where a row does not say whether a system prompt was the record's own or the task's, and none that is
    missing: only `completion` may have more (see `is_exact`).
    """
    try:
        return list(_INVERSES[name](row, task))
    except (KeyError, TypeError, IndexError, AttributeError):
        return []


def is_exact(name: str, row: Any) -> bool:
    """Whether `candidates` of this row hold every record that it can have been made of."""
    return name != "completion" or _text(row.get("prompt")).count("\n\n") <= MAX_BOUNDARIES


def _of_chat(row: Any, task: Task) -> list[Record]:
    return [Record(turns) for turns in _without_system(_turns(row["messages"]), task)]


def _of_parquet(row: Any, task: Task) -> list[Record]:
    return _of_preference(row, task) if task.type == PREFERENCE else _of_chat(row, task)


def _of_sharegpt(row: Any, task: Task) -> list[Record]:
    said = [{"role": _ROLES[t["from"]], "content": _text(t["value"])} for t in row["conversations"]]
    return [Record(turns) for turns in _without_system(said, task)]


def _of_preference(row: Any, task: Task) -> list[Record]:
    chosen, rejected = _turns(row["chosen"]), _turns(row["rejected"])
    prompts = _without_system(_turns(row["prompt"]), task)
    return [Record([*prompt, *chosen], len(prompt), rejected) for prompt in prompts]


def _of_alpaca(row: Any, task: Task) -> list[Record]:
    instruction, text, answer = (_text(row[key]) for key in ("instruction", "input", "output"))
    if task.answers_are_labels:
        system, prompt = instruction, text
        tasks_own = system_prompt_of(task) or task.behavior
    else:
        system, prompt = _text(row.get("system", "")), instruction
        tasks_own = system_prompt_of(task) or ""
    # An empty system turn of the record's own lets the task's stand in its place.
    systems = [None, system, ""] if system == tasks_own else [system]
    return [Record(_exchange(own, said, answer)) for own in systems for said in _prompts(prompt)]


def _of_completion(row: Any, task: Task) -> list[Record]:
    whole, answer = _text(row["prompt"]), _text(row["completion"])
    tasks_own = system_prompt_of(task)
    found: list[tuple[str | None, str]] = []
    if tasks_own is None:
        found += [(None, whole), ("", whole)]
    elif whole.startswith(f"{tasks_own}\n\n"):
        found += [(own, whole[len(tasks_own) + 2 :]) for own in (None, "")]
    parts = whole.split("\n\n", MAX_BOUNDARIES)
    for n in range(1, len(parts)):
        found.append(("\n\n".join(parts[:n]), "\n\n".join(parts[n:])))
    return [Record(_exchange(own, said, answer)) for own, prompt in found for said in _prompts(prompt)]


_INVERSES: Mapping[str, Callable[[Any, Task], list[Record]]] = {
    "chat": _of_chat,
    "sharegpt": _of_sharegpt,
    "alpaca": _of_alpaca,
    "completion": _of_completion,
    PREFERENCE: _of_preference,
    PARQUET: _of_parquet,
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _turns(value: Any) -> Messages:
    return [{"role": _text(turn["role"]), "content": _text(turn["content"])} for turn in value]


def _without_system(turns: Messages, task: Task) -> list[Messages]:
    prompt = system_prompt_of(task)
    is_tasks = prompt is not None and turns[:1] == [{"role": "system", "content": prompt}]
    return [turns[1:], turns] if is_tasks else [turns]


def _prompts(prompt: str) -> list[str | None]:
    """An empty prompt may be an empty turn, or none."""
    return [prompt] if prompt else [prompt, None]


def _exchange(system: str | None, prompt: str | None, answer: str) -> Messages:
    spoken = [("system", system), ("user", prompt), ("assistant", answer)]
    return [{"role": role, "content": text} for role, text in spoken if text is not None]


# --- forwards -----------------------------------------------------------------------------


def made(name: str, record: Record, named: Named, task: Task) -> Row:
    """The row that a record gives in the format `name`, as `formats` writes it."""
    if name != PARQUET:
        return JSONL_FORMATS[name](record, task)
    if task.type == PREFERENCE:
        sides = JSONL_FORMATS[PREFERENCE](record, task)
    else:
        messages = with_system_prompt(record.messages, task.system_prompt)
        sides = {"messages": messages, "label": named.label}
    return {"record_id": named.record_id, **sides, "source": named.source, "day": named.day}


# --- the records of a stretch of rows -----------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A row that is not what provenance names. index: place in the stretch; owner: the record that it is, if known."""

    index: int
    name: str
    kind: str
    """another_record, other_label, other_text, no_row, or not_checked"""
    owner: str | None = None


def compare(
    rows: Mapping[str, Sequence[Any]], named: Sequence[Named], task: Task, owners: Mapping[str, str]
) -> list[Fault]:
    """What is wrong with a stretch of rows, in order. rows: format to a row, or None, for each of `named`.

    A record is the first row that gives the text_sha of provenance; then every format has to be what that record gives.
    owners: text_sha to record_id of the whole release.
    """
    records: list[Record | None] = [None] * len(named)
    for name in sorted(rows, key=EASIEST_FIRST.index):
        todo = [n for n, row in enumerate(rows[name]) if records[n] is None and row is not None]
        offers = {n: candidates(name, rows[name][n], task) for n in todo}
        level = 0
        while todo := [n for n in todo if records[n] is None and level < len(offers[n])]:
            shas = _seals([offers[n][level] for n in todo], [named[n].label for n in todo])
            for n, sha in zip(todo, shas, strict=True):
                if sha == named[n].text_sha:
                    records[n] = offers[n][level]
            level += 1
    found = []
    for n, record in enumerate(records):
        for name, column in rows.items():
            if column[n] is None or (
                record is not None and _is_same(column[n], made(name, record, named[n], task))
            ):
                continue
            found.append(_fault(n, name, column[n], record, named[n], task, owners))
    return found


def _is_same(row: Any, expected: Row) -> bool:
    """Whether two rows are alike, in the order of their keys too: == of dicts does not look at it."""
    return bool(row == expected) and orjson.dumps(row) == orjson.dumps(expected)


def _fault(
    n: int, name: str, row: Any, record: Record | None, named: Named, task: Task, owners: Mapping[str, str]
) -> Fault:
    offers = candidates(name, row, task)
    if not offers:
        return Fault(n, name, "no_row")
    told = {named.label, None} | {r.messages[-1]["content"] for r in offers if r.messages}
    shas = {sha for label in told for sha in _seals(offers, [label] * len(offers))}
    if record is None and named.text_sha in shas:
        return Fault(n, name, "other_label")
    owner = next((owners[sha] for sha in sorted(shas) if sha in owners), None)
    if owner is not None and owner != named.record_id and named.text_sha not in shas:
        return Fault(n, name, "another_record", owner)
    if name == PARQUET and row.get("record_id") != named.record_id:
        return Fault(n, name, "another_record", str(row.get("record_id")))
    if record is None and not is_exact(name, row):
        return Fault(n, name, "not_checked")
    if name == PARQUET and record is not None and row.get("label") != named.label and "label" in row:
        return Fault(n, name, "other_label")
    return Fault(n, name, "other_text")


def _seals(records: Iterable[Record], labels: Sequence[str | None]) -> list[str]:
    """`text_sha` of records with these labels."""
    listed = list(records)
    frame = pl.DataFrame(
        {
            "messages": [r.messages for r in listed], "prompt_turns": [r.prompt_turns for r in listed],
            "rejected": [r.rejected for r in listed], "label": labels,
        },
        schema={"messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES, "label": pl.String},
    )  # fmt: skip
    return text_sha(frame).to_list()
