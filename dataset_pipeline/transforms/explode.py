"""Rows that hold many records: the list to explode, and `file.…` columns put into a row.

Lives here: parting a row into rows. Keep out: what a row then means (`conversations`, `trees`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.transforms.lookup import (
    FILE_COLUMNS,
    Payload,
    file_columns,
    mapped_columns,
    splits,
    step_into,
    weight,
)
from dataset_pipeline.transforms.mapping import MAX_UNPACKED_CHARS, RECORD_CHARS, Misfit

_WEIGHED_ITEMS = 100
"""Shorter lists are exploded without weighing the row: a hundred copies of the longest row are bearable."""


class Unpacking:
    """Puts `file.…` columns into rows where they are mapped, and parts rows at the list to explode."""

    __slots__ = ("_explode", "_ids_are_own", "file", "is_plain")

    def __init__(self, shape: Shape, fields: Fields, uri: str):
        wanted = {*mapped_columns(fields)} & set(FILE_COLUMNS)
        self.file: Payload = {n: v for n, v in file_columns(uri).items() if n in wanted} if wanted else {}
        self._explode = shape.explode
        # An id from inside the item tells the items apart; it says nothing of the row they are from.
        inside = fields.id is not None and f"{fields.id}.".startswith(f"{shape.explode}.")
        self._ids_are_own = inside
        self.is_plain = self._explode is None and not self.file

    def pieces(self, payload: Payload) -> Iterator[tuple[Payload, str, str]]:
        """(row, number, place): each item as a row of its own, `#n` from 0, and where it is, for messages.

        Number and place are empty where there is one item only. Raises Misfit: not_a_list, missing_value,
        too_many_records.
        """
        if self.file:
            payload = self.file | payload
        name = self._explode
        if name is None:
            yield payload, "", ""
            return
        column, path = next(((c, p) for c, p in splits(name) if c in payload), (name, ()))
        items = payload.get(column)
        for part in path:
            items = step_into(items, part)
        if not isinstance(items, list):
            raise Misfit("not_a_list", f"{name} holds no list: there is nothing to explode")
        if not items:
            raise Misfit("missing_value", f"{name} is an empty list")
        if len(items) > _WEIGHED_ITEMS:
            _check_weight(payload, items, name)
        several = len(items) > 1
        for number, item in enumerate(items):
            one = _replaced(payload, (column, *path), item)
            mark = f"#{number}" if several and not self._ids_are_own else ""
            yield one, mark, f"{name}[{number}]: " if several else ""


def _check_weight(payload: Payload, items: list[Any], name: str) -> None:
    """Raises too_many_records where each item's copy of the rest of the row would add up beyond all measure."""
    rest = weight(payload, 2**62) - weight(items, 2**62)
    if len(items) * (rest + RECORD_CHARS) > MAX_UNPACKED_CHARS:
        raise Misfit(
            "too_many_records",
            f"{name} holds {len(items)} items: with the rest of the row repeated in each, more than "
            f"{MAX_UNPACKED_CHARS} characters",
        )


def _replaced(value: Any, path: tuple[str, ...], item: Any) -> Any:
    """A copy of `value` with `item` where the path leads; what is not on the path is shared."""
    if not path:
        return item
    if isinstance(value, dict):
        return value | {path[0]: _replaced(value[path[0]], path[1:], item)}
    number = int(path[0])
    return [*value[:number], _replaced(value[number], path[1:], item), *value[number + 1 :]]
