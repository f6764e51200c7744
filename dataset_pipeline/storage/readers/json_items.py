"""The items of a JSON list, as rows: a run of them at once where they are alike, else one by one.

Lives here: runs, and what is wrong with one item. Keep out: where an item ends (`json_scan`), which list (`documents`).

The fast way guesses where a run of items may end: where the text between the last two items stands again.
Brackets around the run make it a list, and a parser that reads that list proves the guess: had the run ended
within an item or a string, the list would not be one. The parser also hands out the bytes of each item, so that
lines and offsets are exact. Whatever it does not read is read one by one, which is the only way that decides.
What the items of a run look like becomes a parser for the next run (`json_forms`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from dataset_pipeline.storage.readers.json_forms import MAX_MISSES, Form, at_once, form_of, may_be_deep
from dataset_pipeline.storage.readers.json_scan import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    COMMA,
    END,
    OPEN_LIST,
    OPEN_OBJECT,
    Ended,
    Place,
    Scan,
    Value,
)
from dataset_pipeline.storage.readers.json_values import PARSE_ERRORS, JsonFault, parsed, row_of
from dataset_pipeline.storage.readers.rows import Item, RawRow, Reject, RowBlock

_RUN_BYTES = 2**20
"""Longest run that is parsed at once: what it becomes in memory is some ten times as large."""
_BETWEEN = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+")
_BLANK = re.compile(rb"[ \t\r\n]*+")
_FIRST_KEY = re.compile(rb'\{[ \t\r\n]*+"[^"\\]{0,64}+"|\[')

IntArray = np.ndarray[Any, np.dtype[np.int64]]

_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_values = msgspec.json.Decoder(list[Any]).decode


def row_or_reject(value: Value, max_record_bytes: int, encoding_fault: str) -> RawRow | Reject:
    """What one value becomes."""
    if value.data is None:
        return Reject(*value.place, "too_long", f"item longer than {max_record_bytes} bytes")
    try:
        payload = row_of(parsed(value.data, encoding_fault), value.data, are_arrays=True)
    except JsonFault as fault:
        return Reject(*value.place, fault.reason, fault.detail)
    return RawRow(*value.place, payload)


class Items:
    """The items of the list whose opening bracket is the next byte of `scan`."""

    def __init__(self, scan: Scan, max_record_bytes: int):
        self._scan = scan
        self._max_record_bytes = max_record_bytes
        self._fault = scan.source.codec.fault
        self._separator = b""
        self._slow_until = 0
        """Where the run ended that was none: up to there items are read one by one."""
        self._form: Form | None = None
        self._misses = 0

    def all(self) -> Iterator[Item]:
        """Every item; then the scan is behind the closing bracket. Raises Ended and BrokenStructure."""
        scan = self._scan
        start = scan.place()
        scan.at += 1
        if scan.next_byte() == CLOSE_LIST:
            scan.at += 1
            return
        while True:
            byte = scan.next_byte()
            if byte == END:
                # The list is open, and all that it held was handed out: what is missing is missing here.
                raise Ended(scan.place())
            found = self._run() if byte in (OPEN_OBJECT, OPEN_LIST) else None
            if found is not None:
                yield from found
                base, last = scan.base, scan.at - 1
            elif byte in (COMMA, CLOSE_LIST):
                yield Reject(*scan.place(), "invalid_json", "a comma without an item before or after it")
                base, last = -1, 0
            elif byte == CLOSE_OBJECT:
                raise scan.broken("an item was expected")
            else:
                yield row_or_reject(scan.value(self._max_record_bytes), self._max_record_bytes, self._fault)
                base, last = scan.base, scan.at - 1
            byte = scan.next_byte()
            if byte == END:
                raise Ended(scan.place())
            if scan.ends_container(CLOSE_LIST, start):
                return
            scan.next_byte()
            key = _FIRST_KEY.match(scan.data, scan.at)
            if key is not None and base == scan.base:
                self._separator = scan.data[last : key.end()]

    def _run(self) -> Iterator[Item] | None:
        """The items from here on, up to behind one that the separator follows; None where that fails."""
        scan, start = self._scan, self._scan.at
        if not self._separator or scan.base + start < self._slow_until:
            return None
        last = scan.data.rfind(self._separator, start, start + _RUN_BYTES)
        if last < 0:
            return None
        end = last + 1
        text = b"[%b]" % scan.data[start:end]
        try:
            raws = _raws(text)
        except PARSE_ERRORS:
            self._slow_until = scan.base + end
            return None
        sizes = np.fromiter(map(len, raws), np.int64, len(raws))
        starts = self._starts(text, sizes)
        lines, offsets = self._places(text, starts)
        are_short = int(sizes.max()) <= self._max_record_bytes
        found = self._at_once(text, starts) if are_short else None
        scan.at = end
        if isinstance(found, dict):
            return iter((RowBlock(lines, offsets, found),))
        if found is not None:
            return map(RawRow, lines, offsets, found)
        return self._each(raws, lines, offsets)

    def _starts(self, text: bytes, sizes: IntArray) -> IntArray:
        """Where in `text`, the list of a run, its items begin."""
        between = _BETWEEN.match(self._separator, 1)
        assert between is not None
        gap = between[0]
        starts = np.cumsum(sizes + len(gap)) - sizes - len(gap) + 1
        if int(starts[-1] + sizes[-1]) == len(text) - 1:
            # Each gap has at least these bytes, and together they have no more: all are like this one.
            first_bytes = (starts + sizes)[:-1, None] + np.arange(len(gap))
            if (np.frombuffer(text, np.uint8)[first_bytes] == np.frombuffer(gap, np.uint8)).all():
                return starts
        position = 1
        for number, size in enumerate(sizes.tolist()):
            found = _BLANK.match(text, position) if number == 0 else _BETWEEN.match(text, position)
            assert found is not None
            starts[number] = found.end()
            position = found.end() + size
        return starts

    def _places(self, text: bytes, starts: IntArray) -> tuple[list[int], list[int]]:
        """Lines and offsets of the items of a run that begins at the next byte of the scan."""
        scan = self._scan
        line, offset = scan.place()
        if b"\n" in text:
            newlines = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
            lines = (np.searchsorted(newlines, starts) + line).tolist()
        else:
            lines = [line] * len(starts)
        if scan.source.codec.is_utf8:
            return lines, (starts + (offset - 1)).tolist()
        first = scan.base + scan.at - 1
        return lines, [scan.source.offset(first + start) for start in starts.tolist()]

    def _at_once(self, text: bytes, starts: IntArray) -> dict[str, list[Any]] | list[dict[str, Any]] | None:
        """The values of a run by column where its items are all sound and alike, else the items where they are all
        sound objects, else None."""
        if b"\\u0000" in text:
            return None
        form = self._form
        if form is not None:
            try:
                rows = at_once(form.rows.decode, text)
            except PARSE_ERRORS:
                self._misses += 1
                self._form = None
            else:
                self._misses = 0
                if form.is_nested and may_be_deep(text, starts):
                    return None
                return form.columns(rows)
        try:
            items = at_once(_values, text)
        except PARSE_ERRORS:
            return None
        kinds = set(map(type, items))
        if kinds not in ({dict}, {list}) or may_be_deep(text, starts):
            return None
        if len(set(map(tuple if kinds == {dict} else len, items))) > 1 or not items[0]:
            return items if kinds == {dict} else None
        self._form = form_of(items) if self._misses < MAX_MISSES else None
        names = items[0] if kinds == {dict} else map(str, range(len(items[0])))
        values = zip(*(map(dict.values, items) if kinds == {dict} else items), strict=True)
        return dict(zip(names, map(list, values), strict=True))

    def _each(self, raws: list[msgspec.Raw], lines: list[int], offsets: list[int]) -> Iterator[Item]:
        for raw, line, offset in zip(raws, lines, offsets, strict=True):
            data = bytes(raw) if len(raw) <= self._max_record_bytes else None
            yield row_or_reject(Value(Place(line, offset), data), self._max_record_bytes, self._fault)
