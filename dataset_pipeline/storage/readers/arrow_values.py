"""The values of Arrow arrays, as JSON would have them.

Lives here: what each Arrow type becomes. Keep out: what is wrong with values (`arrow_faults`), files, row
numbers, rejects (`parquet`).

| type | value |
|---|---|
| text, dictionary of text, UUID, JSON text | text |
| integers, booleans; durations as the number stored | the same |
| floats of any width | a double |
| dates, times, timestamps | ISO 8601; fractions of 3, 6 or 9 digits where there are any; with a zone: in UTC, `+00:00` |
| dates, times and timestamps outside the years 1 to 9999 or the day | the number stored |
| decimals | text, with all digits of their scale |
| bytes | `{"binary": "12 bytes"}`: never guessed to be text; a mapped one is refused as no text |
| lists, structs, maps | lists, objects, objects whose keys are text |
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, overload

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_SECONDS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""0001-01-01T00:00:00 and 9999-12-31T23:59:59, the years ISO 8601 has without agreement."""


class NestedColumn(Sequence[Any]):
    """Lists and objects of an Arrow array; made when first asked for, since making them costs more than reading."""

    def __init__(self, array: Any):
        self._array = array
        self._values: list[Any] | None = None

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._made()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._made())

    def _made(self) -> list[Any]:
        if self._values is None:
            self._values = _python(self._array)
        return self._values


def unfit_part(arrow_type: Any, place: str) -> str | None:
    """Where a type holds what has no value here: two fields of one name, or an unknown type. Else None."""
    arrow_type = _storage_type(arrow_type)
    if pa.types.is_dictionary(arrow_type):
        return unfit_part(arrow_type.value_type, place)
    if pa.types.is_struct(arrow_type):
        fields = [arrow_type.field(number) for number in range(arrow_type.num_fields)]
        if len({field.name for field in fields}) < len(fields):
            return f"{place} has two fields of the same name"
        return next((part for f in fields if (part := unfit_part(f.type, f"{place}.{f.name}"))), None)
    if pa.types.is_map(arrow_type):
        return unfit_part(arrow_type.key_type, place) or unfit_part(arrow_type.item_type, place)
    if is_list(arrow_type):
        return unfit_part(arrow_type.value_type, place)
    return None if _is_leaf(arrow_type) else f"{place} has the type {arrow_type}"


def is_nested(arrow_type: Any) -> bool:
    return bool(pa.types.is_nested(_storage_type(arrow_type)))


def holds_dictionary(arrow_type: Any) -> bool:
    """Whether a dictionary lies inside a nested type, so that its bytes say nothing of the values'."""
    arrow_type = _storage_type(arrow_type)
    inner = [arrow_type.field(number).type for number in range(arrow_type.num_fields)]
    return any(pa.types.is_dictionary(part) or holds_dictionary(part) for part in inner)


def flat(array: Any) -> Any:
    """The array without dictionary, views and extension at its top, as every function here takes it."""
    if isinstance(array, pa.ExtensionArray) and not _is_uuid(array.type):
        return flat(array.storage)
    if pa.types.is_dictionary(array.type):
        return flat(array.dictionary_decode())
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(array.type):
        return array.cast(pa.large_binary())
    return array


def values(array: Any) -> Sequence[Any] | pl.Series:
    """The values of a flat array: a Series where they are text, numbers or booleans, else Python objects."""
    return NestedColumn(array) if is_nested(array.type) else _leaf(array)


def is_text(arrow_type: Any) -> bool:
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))


def is_list(arrow_type: Any) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_list(arrow_type)
        or kinds.is_large_list(arrow_type)
        or kinds.is_fixed_size_list(arrow_type)
        or kinds.is_map(arrow_type)
    )


def _is_bytes(arrow_type: Any) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_binary(arrow_type)
        or kinds.is_large_binary(arrow_type)
        or kinds.is_fixed_size_binary(arrow_type)
        or kinds.is_binary_view(arrow_type)
    )


def _is_uuid(arrow_type: Any) -> bool:
    return getattr(arrow_type, "extension_name", "") == "arrow.uuid"


def _storage_type(arrow_type: Any) -> Any:
    while isinstance(arrow_type, pa.BaseExtensionType) and not _is_uuid(arrow_type):
        arrow_type = arrow_type.storage_type
    return arrow_type


def _is_leaf(arrow_type: Any) -> bool:
    kinds = pa.types
    known = (
        kinds.is_null,
        kinds.is_boolean,
        kinds.is_integer,
        kinds.is_floating,
        is_text,
        kinds.is_string_view,
    )
    dated = (kinds.is_date, kinds.is_time, kinds.is_timestamp, kinds.is_duration, kinds.is_decimal)
    return any(is_kind(arrow_type) for is_kind in (*known, *dated, _is_bytes, _is_uuid))


def as_list(array: Any) -> Any:
    """A map as the list of pairs that it is; other lists as they are."""
    if not pa.types.is_map(array.type):
        return array
    kind = array.type
    return array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))


def _python(array: Any) -> list[Any]:
    """The values of any array as Python objects."""
    array = flat(array)
    if pa.types.is_struct(array.type):
        names = [array.type.field(number).name for number in range(array.type.num_fields)]
        fields = [_python(child) for child in array.flatten()]
        rows = zip(*fields, strict=True) if fields else ((),) * len(array)
        objects: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
        return objects if not array.null_count else _with_nulls(objects, array)
    if pa.types.is_map(array.type):
        array = as_list(array)
        keys, items = (_python(child) for child in array.flatten().flatten())
        pairs = [(_key(key), item) for key, item in zip(keys, items, strict=True)]
        return [part if part is None else dict(part) for part in _cut(pairs, array)]
    if is_list(array.type):
        return _cut(_python(array.flatten()), array)
    leaf = _leaf(array)
    return leaf.to_list() if isinstance(leaf, pl.Series) else list(leaf)


def _with_nulls(objects: list[Any], array: Any) -> list[Any]:
    return [
        value if is_valid else None
        for value, is_valid in zip(objects, array.is_valid().to_pylist(), strict=True)
    ]


def _cut(parts: list[Any], array: Any) -> list[Any]:
    """The flattened `parts` of a list array, list by list."""
    lists: list[Any] = []
    start = 0
    for length in pc.list_value_length(array).to_pylist():
        if length is None:
            lists.append(None)
        else:
            lists.append(parts[start : start + length])
            start += length
    return lists


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def _leaf(array: Any) -> Sequence[Any] | pl.Series:
    """Values of an array that is not nested."""
    kind, kinds = array.type, pa.types
    if kinds.is_null(kind):
        return [None] * len(array)
    if _is_uuid(kind):
        raw = array.storage.to_pylist()
        return pl.Series([None if v is None else str(uuid.UUID(bytes=v)) for v in raw], dtype=pl.String)
    if _is_bytes(kind):
        return [None if v is None else {"binary": f"{len(v)} bytes"} for v in array.to_pylist()]
    if kinds.is_decimal(kind):
        return pl.Series([None if v is None else format(v, "f") for v in array.to_pylist()], dtype=pl.String)
    if kinds.is_floating(kind):
        array = array.cast(pa.float64())
    elif kinds.is_duration(kind):
        array = array.view(pa.int64())
    elif kinds.is_date(kind) or kinds.is_timestamp(kind) or kinds.is_time(kind):
        return _dated(array)
    return pl.Series(pl.from_arrow(array))


def _dated(array: Any) -> Sequence[Any] | pl.Series:
    """Dates, times and timestamps as ISO 8601, or as stored where one is out of range."""
    kind, kinds = array.type, pa.types
    numbers = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    if kinds.is_date32(kind):
        low, high, form = _FIRST_SECOND // _DAY, _LAST_SECOND // _DAY, "%Y-%m-%d"
    elif kinds.is_date64(kind):
        low, high, form = _FIRST_SECOND * 1000, _LAST_SECOND * 1000, "%Y-%m-%d"
    elif kinds.is_time(kind):
        low, high, form = 0, _DAY * _SECONDS[kind.unit] - 1, "%H:%M:%S%.f"
    else:
        per_second = _SECONDS[kind.unit]
        form = "%Y-%m-%dT%H:%M:%S%.f" + ("+00:00" if kind.tz is not None else "")
        low, high = _FIRST_SECOND * per_second, (_LAST_SECOND + 1) * per_second - 1
        array = array.view(pa.timestamp(kind.unit))
    raw = pl.Series(pl.from_arrow(numbers)).cast(pl.Int64)
    fits = raw.is_between(max(low, -(2**63)), min(high, 2**63 - 1))
    if fits.all():
        return pl.Series(pl.from_arrow(array)).dt.strftime(form)
    kept = array.filter(pa.array(fits.fill_null(True).to_numpy()))
    texts = iter(pl.Series(pl.from_arrow(kept)).dt.strftime(form).to_list())
    return [number if fit is False else next(texts) for fit, number in zip(fits, raw, strict=True)]
