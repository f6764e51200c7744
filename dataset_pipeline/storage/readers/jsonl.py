"""JSON Lines: one JSON object a line; or one array of values, where the first row is an array.

Lives here: lines to rows, and the fast way for lines that are alike. Keep out: cutting lines (`streams`),
parsing a value (`json_values`), documents that hold many records (`documents`), the meaning of fields.

The fast way: what the first lines look like becomes a parser that reads many lines at once (`json_forms`). Lines
that are sound but not alike, of which some lack a key, are parsed at once as well, into a dictionary each. Lines
around a fault are read by the general way, one by one, which is the only one that decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.json_forms import MAX_MISSES, Form, at_once, form_of, may_be_deep
from dataset_pipeline.storage.readers.json_values import PARSE_ERRORS, JsonFault, parsed, row_of
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

_objects = msgspec.json.Decoder(dict[str, Any])

IntArray = np.ndarray[Any, np.dtype[np.int64]]


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


class _Reader:
    """Reads the lines of one file; remembers what its rows look like."""

    def __init__(self, codec: Codec, max_record_bytes: int, place: object):
        self._codec = codec
        self._max_record_bytes = max_record_bytes
        self._place = place
        self._are_arrays: bool | None = None
        self._form: Form | None = None
        self._misses = 0

    def rows(self, part: LineChunk | Line) -> Iterator[Item]:
        """The rows of a stretch of lines: at once where none has a fault, else one by one."""
        if isinstance(part, Line):
            yield from self.each([part])
            return
        if part.data.isspace():
            return
        # The first line decides whether rows are arrays, in the general way.
        is_fast = self._are_arrays is False and self._misses < MAX_MISSES
        found = self._at_once(part) if is_fast else None
        if found is not None:
            self._misses = 0
            yield from found
            return
        self._misses += is_fast
        lines = physical_lines(
            [part.data], self._codec, self._max_record_bytes, part.number, part.byte_offset
        )
        payloads: list[dict[str, Any]] = []
        for item in self.each(lines):
            if isinstance(item, RawRow) and self._misses < MAX_MISSES:
                payloads.append(item.payload)
            yield item
        self._form = form_of(payloads) if self._are_arrays is False else None

    def _at_once(self, part: LineChunk) -> Iterable[Item] | None:
        """The rows of lines that are all sound objects; None where one of them is not, or may not be."""
        data, ends = part.data, part.ends
        starts = np.concatenate(([0], ends[:-1] + 1))
        if int((ends - starts).max()) > self._max_record_bytes or _may_hold_nul(part):
            return None
        lines = None if _are_whole(part, starts) else data.split(b"\n")[:-1]
        numbers = range(part.number, part.number + len(ends))
        offsets = (part.byte_offset + starts).tolist()
        form = self._form
        if form is not None:
            try:
                rows = _parsed(form.row, data, lines)
            except PARSE_ERRORS:
                self._form = None
            else:
                if len(rows) != len(ends) or (form.is_nested and may_be_deep(data, starts)):
                    return None
                return (RowBlock(numbers, offsets, form.columns(rows)),)
        try:
            objects = _parsed(_objects, data, lines)
        except PARSE_ERRORS:
            return None
        if len(objects) != len(ends) or may_be_deep(data, starts):
            return None
        self._form = form_of(objects)
        return map(RawRow, numbers, offsets, objects)

    def each(self, lines: Iterable[Line]) -> Iterator[RawRow | Reject]:
        """One row or reject for each line that is not blank: the general way."""
        codec = self._codec
        for line in lines:
            if line.end in (End.TOO_LONG, End.BROKEN):
                yield reject_of_unfit(line, self._max_record_bytes)
                continue
            if codec.is_utf8 and (not line.data or line.data.isspace()):
                continue  # to parse it, and to word its fault, takes very much longer (measured)
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


def _parsed(decoder: msgspec.json.Decoder[Any], data: bytes, lines: list[bytes] | None) -> list[Any]:
    """One value a line. lines: the lines of `data` where not all of them are whole; each is parsed by itself then."""
    if lines is None:
        return at_once(decoder.decode_lines, data)
    return at_once(lambda: list(map(decoder.decode, lines)))


def _are_whole(part: LineChunk, starts: IntArray) -> bool:
    """Whether every line begins with { and ends with }, before a carriage return or not.

    No row can then run over a line end, since } and { without a comma stand in no value: as many rows as lines
    are one row a line.
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
