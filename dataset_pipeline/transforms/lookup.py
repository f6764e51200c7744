"""From the name of a column to its value in a row: names, dotted paths, `file.…`, and values as text.

Lives here: what a column's name means, which columns must be there, how a value becomes text. Keep out:
what the values mean together (`layouts`).

Each reader is made once per source and called once per row.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec
import orjson

from dataset_pipeline.spec.reading import FORMAT_BY_SUFFIX, Fields, Shape
from dataset_pipeline.transforms.mapping import Misfit

Payload = dict[str, Any]
Columns = str | tuple[str, ...]
Value = Callable[[Payload], Any]
Text = Callable[[Payload], str | None]

FILE_COLUMNS = ("file.name", "file.stem", "file.folder")
"""Columns that every row has: what the path of its file says. A column of that very name goes before."""

_PACKING = (".gz", ".zst")


def file_columns(uri: str) -> dict[str, str | None]:
    """FILE_COLUMNS of one file.

    stem: the name without .gz or .zst and without its suffix (`a.jsonl.gz` has the stem a); a suffix begins
    with a letter, so that `notes-2026.03` keeps its month. folder: the last folder, None where there is none.
    """
    path = PurePosixPath(uri)
    stem = path.name
    for packing in _PACKING:
        if stem.lower().endswith(packing) and len(stem) > len(packing):
            stem = stem[: -len(packing)]
    suffix = PurePosixPath(stem).suffix
    if suffix.lower() in FORMAT_BY_SUFFIX or (suffix[1:].isalnum() and suffix[1:2].isalpha()):
        stem = stem[: -len(suffix)]
    return {"file.name": path.name, "file.stem": stem, "file.folder": path.parent.name or None}


def splits(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """A column's name as (column, path inside it), the longest column first: `a.b` is ("a.b", ()), ("a", ("b",))."""
    parts = name.split(".")
    return [(".".join(parts[:n]), tuple(parts[n:])) for n in range(len(parts), 0, -1)]


def step_into(value: Any, part: str) -> Any:
    """One step of a path: a key of an object, or a number from 0 in a list; None where there is none."""
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10:
        return value[int(part)] if int(part) < len(value) else None
    return None


def value_of(name: str) -> Value:
    """What a row holds under a name: the column of that very name, else where the dotted path leads, else None."""
    if "." not in name:
        return lambda payload: payload.get(name)
    ways = splits(name)

    def walk(payload: Payload) -> Any:
        for column, path in ways:
            if column in payload:
                value = payload[column]
                for part in path:
                    value = step_into(value, part)
                return value
        return None

    return walk


def named(column: Columns | None) -> str:
    """Columns as messages name them."""
    return " + ".join(column) if isinstance(column, tuple) else str(column)


def scalar_of(name: str | None, refuse_numbers: bool = False) -> Text:
    """A column as text: text itself, and unless refused numbers, true, false and dates as JSON writes them."""
    if name is None:
        return lambda payload: None
    if "." in name:
        find = value_of(name)

        def read_path(payload: Payload) -> str | None:
            value = find(payload)
            return value if value is None or type(value) is str else as_text(value, name, refuse_numbers)

        return read_path

    def read(payload: Payload) -> str | None:
        value = payload.get(name)
        return value if value is None or type(value) is str else as_text(value, name, refuse_numbers)

    return read


def joined(columns: Columns, refuse_numbers: bool = False) -> Text:
    """Several columns as one text, the blank ones left out, joined by a blank line; None where all are null."""
    if isinstance(columns, str):
        return scalar_of(columns, refuse_numbers)
    readers = tuple(scalar_of(name, refuse_numbers) for name in columns)
    if len(readers) == 1:
        return readers[0]

    def read(payload: Payload) -> str | None:
        parts = [part for reader in readers if (part := reader(payload)) is not None]
        return "\n\n".join([part for part in parts if part.strip()]) if parts else None

    return read


def as_text(value: Any, name: str, refuse_numbers: bool = False) -> str | None:
    """A value that is no plain string as text. Raises Misfit for what is none."""
    if value is None or isinstance(value, str):
        return value
    text = None if refuse_numbers else _written(value)
    if text is None:
        raise Misfit("wrong_type", f"{name} is {kind_of(value)}, not text")
    return text


def _written(value: Any) -> str | None:
    """A scalar as JSON writes it, whole numbers of any length too; None for what JSON cannot say."""
    if isinstance(value, bool | int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return None
        try:
            return orjson.dumps(value).decode()
        except TypeError:
            pass
        try:
            return msgspec.json.encode(value).decode()
        except ValueError:  # Python refuses to write more than 4,300 digits
            return None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal) and value.is_finite() else None


def kind_of(value: Any) -> str:
    """A value's kind in the words of messages."""
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "no text")


def weight(value: Any, limit: int) -> int:
    """About how many characters a value holds, no exacter than needed to know whether it is more than `limit`."""
    total, waiting = 0, [value]
    while waiting and total <= limit:
        part = waiting.pop()
        total += 8
        if isinstance(part, str):
            total += len(part)
        elif isinstance(part, dict):
            total += sum(map(len, part))
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return total


def is_preference(shape: Shape) -> bool:
    """Whether rows are pairs: so the layout says, or the chosen side is mapped without any layout."""
    return shape.layout == "preference" or (shape.layout is None and shape.fields.chosen is not None)


def mapped_columns(fields: Fields) -> list[str]:
    """Every column the fields name, in a fixed order."""
    found: list[str] = []
    for value in (
        fields.messages,
        fields.system,
        fields.input,
        fields.chosen,
        fields.rejected,
        fields.output,
        fields.id,
        fields.created_at,
        fields.group,
    ):
        found += [value] if isinstance(value, str) else list(value or ())
    return list(dict.fromkeys([*found, *fields.person_names]))


def required_columns(shape: Shape, task_type: str | None = None) -> tuple[str, ...]:
    """The columns that a file must have, as the spec writes them; `missing_columns` says which are not there.

    task_type None is an evaluation set. Left out: what the layout lets be absent, `file.…`, and the rejected
    side where the task is not preference.
    """
    fields = shape.mapped()
    names = mapped_columns(fields)
    if shape.explode is not None:
        names.insert(0, shape.explode)
    spare = {*shape.optional_columns(), *FILE_COLUMNS}
    if is_preference(shape) and task_type != "preference" and fields.rejected is not None:
        spare.add(fields.rejected)
    return tuple(name for name in dict.fromkeys(names) if name not in spare)


def missing_columns(required: Sequence[str], present: Iterable[str]) -> list[str]:
    """Required columns that are not among `present`: neither the whole name nor the beginning of a dotted path."""
    have = set(present)
    return [name for name in required if not any(column in have for column, _ in splits(name))]
