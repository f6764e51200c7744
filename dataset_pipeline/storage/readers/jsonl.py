"""JSON Lines: one JSON object a line; or one array of values, where the first row is an array.

Lives here: lines to rows, and the fast way for lines that are alike. Keep out: cutting lines (`streams`),
parsing a value (`json_values`), documents that hold many records (`documents`), the meaning of fields.

The fast way: what the first lines look like (their keys, and which values are text) becomes a typed decoder,
which takes a third of the time of a general one (measured). It is strict: a line with another key, another type
or a fault raises, and the lines around it are read by the general way, which is the only one that decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Union

import msgspec
import numpy as np

from dataset_pipeline.spec.models import Reading
from dataset_pipeline.storage.readers.json_values import (
    MAX_NESTING,
    PARSE_ERRORS,
    JsonFault,
    parsed,
    row_of,
)
from dataset_pipeline.storage.readers.rows import Item, RawRow, Reject, RowBlock, UnreadableFile
from dataset_pipeline.storage.readers.streams import (
    Codec,
    End,
    Line,
    LineChunk,
    ahead,
    line_chunks,
    open_stream,
    physical_lines,
    reject_of_unfit,
)

_MAX_MISSES = 8
"""Chunks in a row that are not alike: from then on the general way reads the rest."""
_MAX_COLUMNS = 500
"""Wider rows are read the general way: they are data, not columns."""
_UNFIT_NAME = re.compile(r'[\x00-\x1f"\\]')
"""What msgspec takes in no field name."""


def columns(path: Path, reading: Reading) -> list[str] | None:
    """None: each line says its own."""
    return None


def read(path: Path, reading: Reading, max_record_bytes: int) -> Iterator[Item]:
    """Rows and rejects, one for each line that is not blank."""
    with open_stream(path, reading.encoding) as (blocks, codec):
        if not codec.is_utf8:
            yield from read_jsonl(
                physical_lines(blocks, codec, max_record_bytes), codec, max_record_bytes, path
            )
            return
        reader = _Reader(codec, max_record_bytes, path)
        for part in ahead(line_chunks(blocks, codec, max_record_bytes)):
            yield from reader.rows(part)


def read_jsonl(
    lines: Iterable[Line], codec: Codec, max_record_bytes: int, place: object = "the file"
) -> Iterator[RawRow | Reject]:
    """One row or reject for each line that is not blank."""
    return _Reader(codec, max_record_bytes, place).each(lines)


_SCALARS: dict[type, Any] = {str: str, int: int | float, float: int | float, bool: bool, type(None): None}
"""A type of values to what a decoder may accept for it and give back as it stands: 1 stays 1, and 1.0 stays 1.0."""


@dataclass(frozen=True)
class _Form:
    """What rows look like.

    decoder: of a row. names, getters: its keys, and how to get their values from a decoded row. is_nested: a
    value may hold further values. has_gaps: some rows lack a key.
    """

    decoder: msgspec.json.Decoder[Any]
    names: tuple[str, ...]
    getters: tuple[Callable[[Any], Any], ...]
    is_nested: bool
    has_gaps: bool


def _form_of(rows: list[dict[str, Any]]) -> _Form | None:
    """The form of rows that were read the general way, or None where they have none."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names or len(names) > _MAX_COLUMNS or any(_UNFIT_NAME.search(name) for name in names):
        return None
    fields: list[Any] = []
    is_nested, has_gaps = False, False
    for number, name in enumerate(names):
        values = [row[name] for row in rows if name in row]
        kinds = sorted(set(map(type, values)), key=str)
        wanted: Any = Any
        if all(kind in _SCALARS for kind in kinds):
            wanted = Union[tuple(_SCALARS[kind] for kind in kinds)]  # noqa: UP007
        else:
            is_nested = True
        has_gaps = has_gaps or len(values) < len(rows)
        field = (f"c{number}", wanted)
        # Fields without a default come first: msgspec asks for that.
        fields.append((field, name) if len(values) == len(rows) else ((*field, msgspec.UNSET), name))
    fields.sort(key=lambda pair: len(pair[0]))
    struct = msgspec.defstruct(
        "Row",
        [field for field, _ in fields],
        rename={field[0]: name for field, name in fields},
        forbid_unknown_fields=True,
        gc=False,
    )
    return _Form(
        msgspec.json.Decoder(struct),
        tuple(name for _, name in fields),
        tuple(attrgetter(field[0]) for field, _ in fields),
        is_nested,
        has_gaps,
    )


class _Reader:
    """Reads the lines of one file; remembers what its rows look like."""

    def __init__(self, codec: Codec, max_record_bytes: int, place: object):
        self._codec = codec
        self._max_record_bytes = max_record_bytes
        self._place = place
        self._are_arrays: bool | None = None
        self._form: _Form | None = None
        self._misses = 0

    def rows(self, part: LineChunk | Line) -> Iterator[Item]:
        """The rows of a stretch of lines: alike at once, else one by one."""
        if isinstance(part, Line):
            yield from self.each([part])
            return
        found = self._alike(part) if self._form is not None else None
        if found is not None:
            self._misses = 0
            yield from found
            return
        lines = physical_lines(
            [part.data], self._codec, self._max_record_bytes, part.number, part.byte_offset
        )
        payloads: list[dict[str, Any]] = []
        for item in self.each(lines):
            if isinstance(item, RawRow) and self._misses < _MAX_MISSES:
                payloads.append(item.payload)
            yield item
        self._misses += 1
        self._form = _form_of(payloads) if payloads and not self._are_arrays else None

    def _alike(self, part: LineChunk) -> Iterable[Item] | None:
        """The rows of lines that all have the known form; None where one of them has not."""
        form = self._form
        assert form is not None
        data, ends = part.data, part.ends
        starts = np.concatenate(([0], ends[:-1] + 1))
        if int((ends - starts).max()) > self._max_record_bytes:
            return None
        if _may_hold_nul(part):
            return None
        try:
            if form.is_nested or not _are_whole(part, starts):
                lines = data.split(b"\n")
                lines.pop()
                if form.is_nested and _is_deep(lines):
                    return None
                rows = list(map(form.decoder.decode, lines))
            else:
                rows = form.decoder.decode_lines(data)
        except PARSE_ERRORS:
            return None
        if len(rows) != len(ends):
            return None
        columns = {
            name: list(map(getter, rows)) for name, getter in zip(form.names, form.getters, strict=True)
        }
        numbers = range(part.number, part.number + len(rows))
        offsets = (part.byte_offset + starts).tolist()
        if form.has_gaps:
            return _with_gaps(columns, numbers, offsets)
        return (RowBlock(numbers, offsets, columns),)

    def each(self, lines: Iterable[Line]) -> Iterator[RawRow | Reject]:
        """One row or reject for each line that is not blank: the general way."""
        codec = self._codec
        for line in lines:
            if line.end in (End.TOO_LONG, End.BROKEN):
                yield reject_of_unfit(line, self._max_record_bytes)
                continue
            try:
                data = line.data if codec.is_utf8 else codec.decode(line.data).encode()
            except UnicodeError:
                yield Reject(line.number, line.byte_offset, "invalid_encoding", codec.fault)
                continue
            try:
                value = parsed(data, codec.fault)
                if self._are_arrays is None:
                    self._are_arrays = isinstance(value, list)
                payload = row_of(value, data, self._are_arrays)
            except JsonFault as fault:
                if fault.reason == "invalid_json" and not data.decode().strip():
                    continue
                self._refuse_a_document(data)
                yield Reject(line.number, line.byte_offset, fault.reason, fault.detail)
                continue
            yield RawRow(line.number, line.byte_offset, payload)

    def _refuse_a_document(self, data: bytes) -> None:
        """Raises UnreadableFile where the file begins as a JSON document over several lines."""
        if self._are_arrays is None and data.strip() in (b"[", b"{"):
            raise UnreadableFile(
                f"{self._place}: is one JSON document over several lines, not a record a line. Say `format: json`, or name it .json."
            )
        self._are_arrays = bool(self._are_arrays)


def _are_whole(part: LineChunk, starts: np.ndarray[Any, np.dtype[np.int64]]) -> bool:
    """Whether every line begins with { and ends with }, before a carriage return or not.

    Where rows hold no nested values no row can then run over a line end, since what is inside ends with
    no }: as many rows as lines are one row a line.
    """
    array = np.frombuffer(part.data, np.uint8)
    if len(part.data) < 2 or (array[starts] != ord("{")).any():
        return False
    last = array[part.ends - 1]
    before = array[np.maximum(part.ends - 2, 0)]
    return bool(((last == ord("}")) | ((last == ord("\r")) & (before == ord("}")))).all())


def _may_hold_nul(part: LineChunk) -> bool:
    """Whether an escaped U+0000 stands in the lines. Few backslashes are followed by a u: those are looked for first."""
    array = np.frombuffer(part.data, np.uint8)
    escapes = np.flatnonzero(array == ord("\\"))
    if not len(escapes) or not (array[np.minimum(escapes + 1, len(array) - 1)] == ord("u")).any():
        return False
    return b"\\u0000" in part.data


def _is_deep(lines: list[bytes]) -> bool:
    """Whether a line may be nested deeper than MAX_NESTING, seen from its brackets."""
    return any(line.count(b"{") + line.count(b"[") > MAX_NESTING for line in lines)


def _with_gaps(columns: dict[str, list[Any]], numbers: range, offsets: list[int]) -> Iterator[RawRow]:
    """Rows of which some lack a key."""
    names = list(columns)
    for number, offset, values in zip(numbers, offsets, zip(*columns.values(), strict=True), strict=True):
        pairs = zip(names, values, strict=True)
        yield RawRow(number, offset, {name: value for name, value in pairs if value is not msgspec.UNSET})
