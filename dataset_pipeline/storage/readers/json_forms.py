"""What rows of JSON look like, and parsers made for that: what the fast ways of `jsonl` and `json_items` share.

Lives here: the form of rows, parsing many rows at once, how deep they may be nested. Keep out: where rows begin
and end, and what is wrong with one (`json_values`).

A form is the names of rows that are alike and which of their values are scalars. A parser made for it builds no
dictionaries: flat rows take half of the time of rows one by one (measured). It is strict: a row with another
key, another type or a fault raises, and the rows around it are read in another way. Typing what is nested was
tried, as lists of objects of texts: it gains nothing once the collector rests (measured), so nested values are of any type.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, Union

import msgspec
import numpy as np

from dataset_pipeline.storage.readers.json_values import MAX_NESTING

MAX_MISSES = 8
"""Stretches in a row that the fast way did not read: from then on it is not tried."""
_MAX_COLUMNS = 500
"""Wider rows have no form: their keys are data, not columns."""
_UNFIT_NAME = re.compile(r'[\x00-\x1f"\\]')
"""What msgspec takes in no field name."""
_SCALARS: dict[type, Any] = {str: str, int: int | float, float: int | float, bool: bool, type(None): None}
"""A type to what a parser may accept for it and give back as it stands: 1 stays 1, and 1.0 stays 1.0."""

T = TypeVar("T")


class Form(NamedTuple):
    """What rows look like.

    row, rows: parsers of one row and of a list of rows. What they give is for `columns`. is_nested: a value may
    hold further values.
    """

    row: msgspec.json.Decoder[Any]
    rows: msgspec.json.Decoder[list[Any]]
    names: tuple[str, ...]
    getters: tuple[Callable[[Any], Any], ...]
    is_nested: bool

    def columns(self, rows: list[Any]) -> dict[str, list[Any]]:
        return {name: list(map(getter, rows)) for name, getter in zip(self.names, self.getters, strict=True)}


def form_of(rows: list[Any]) -> Form | None:
    """The form of sound rows: objects that all have the same keys, or arrays of one length; else None.

    The values of an array are called "0", "1", …
    """
    if not rows or not rows[0]:
        return None
    are_arrays = type(rows[0]) is list
    if are_arrays:
        names = tuple(map(str, range(len(rows[0]))))
        if set(map(len, rows)) != {len(names)}:
            return None
    else:
        names = tuple(rows[0])
        if any(row.keys() != rows[0].keys() for row in rows):
            return None
    if len(names) > _MAX_COLUMNS or any(map(_UNFIT_NAME.search, names)):
        return None
    keys = range(len(names)) if are_arrays else names
    types = [_type_of([row[key] for row in rows]) for key in keys]
    fields = [f"c{number}" for number in range(len(names))]
    struct = msgspec.defstruct(
        "Row",
        list(zip(fields, types, strict=True)),
        rename=None if are_arrays else dict(zip(fields, names, strict=True)),
        array_like=are_arrays,
        forbid_unknown_fields=True,
        gc=False,
    )
    row, many = msgspec.json.Decoder(struct), msgspec.json.Decoder(list[struct])  # type: ignore[valid-type]
    return Form(row, many, names, tuple(map(attrgetter, fields)), Any in types)


def _type_of(values: list[Any]) -> Any:
    kinds = sorted(set(map(type, values)), key=str)
    if all(kind in _SCALARS for kind in kinds):
        return Union[tuple(_SCALARS[kind] for kind in kinds)]  # noqa: UP007
    return Any


def at_once(parse: Callable[..., T], *data: bytes) -> T:
    """`parse(*data)` while the garbage collector rests.

    What JSON becomes refers to nothing back, so there is nothing to collect; looking for it again and again takes
    more than half of the time of nested rows (measured).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return parse(*data)
    finally:
        if was_enabled:
            gc.enable()


def may_be_deep(text: bytes, starts: np.ndarray[Any, np.dtype[np.int64]]) -> bool:
    """Whether a row may be nested deeper than MAX_NESTING, seen from the number of its brackets.

    starts: where in `text` the rows begin; the last one goes on to the end.
    """
    array = np.frombuffer(text, np.uint8)
    # { and [ are one bit apart, which no other two bytes share with them.
    brackets = np.flatnonzero((array & 0xDF) == ord("["))
    before = np.searchsorted(brackets, starts)
    return bool(np.diff(before, append=len(brackets)).max() > MAX_NESTING)
