"""Records of a CSV or TSV stream, one at a time: exact, and read so that one stray quote loses one line.

Lives here: telling where a record ends, and recovery. Keep out: the dialect (`dialect`), the header
(`delimited`), reading many records at once (`csv_blocks`), types and meaning of values, which stay strings.

A line that opens a quote and does not close it is looked at together with the lines after it. What
a line does when it is entered inside quotes (stays open, closes, breaks) does not depend on where
the quote was opened, so it is found once per line and kept: reading stays linear even where every
line holds a stray quote.
"""

from __future__ import annotations

import csv
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from dataset_pipeline.storage.readers.dialect import Dialect, Lines
from dataset_pipeline.storage.readers.rows import RawRow, Reject
from dataset_pipeline.storage.readers.streams import Codec, End, Line, reject_of_unfit

MAX_RECORD_LINES = 10_000
"""A record of more physical lines counts as one whose quote never closes."""

CARRIAGE_RETURN = "a carriage return outside quotes"
"""Detail of the reject of a line that holds one before its end."""


class _Fate(Enum):
    """What becomes of a line, entered outside or inside quotes."""

    OPEN = 1
    CLOSED = 2
    TEXT_AFTER_QUOTE = 3
    CARRIAGE_RETURN = 4
    UNFIT = 5
    """Too long or broken off: its bytes are not there."""


class _Parse(NamedTuple):
    """number: fields that end on this line. fields: their values where the record ends with it."""

    fate: _Fate
    number: int = 0
    fields: list[str] | None = None


@dataclass(slots=True)
class _Text:
    """A physical line as text. completed: running count of fields completed by open lines up to it."""

    line: Line
    text: str
    end_offset: int
    fault: tuple[str, str] | None
    completed: int = 0


class _Stop(NamedTuple):
    """A line that, entered inside quotes, does not stay open."""

    entry: _Text
    parse: _Parse
    completed_before: int


class Place(NamedTuple):
    """Where a record may begin: 1-based physical line, offset of its first byte."""

    line: int
    byte_offset: int


class Record(NamedTuple):
    """A record whose shape is sound."""

    line: int
    byte_offset: int
    fields: list[str]


def _parse(text: str, delimiter: str) -> _Parse:
    """One line, entered outside quotes. A closing quote on a line of its own tells whether it stays open."""
    reader = csv.reader((text, '"'), delimiter=delimiter, strict=True)
    try:
        fields = next(reader)
    except csv.Error as error:
        is_return = str(error).startswith("new-line")
        return _Parse(_Fate.CARRIAGE_RETURN if is_return else _Fate.TEXT_AFTER_QUOTE)
    if reader.line_num > 1:
        return _Parse(_Fate.OPEN, len(fields) - 1)
    return _Parse(_Fate.CLOSED, len(fields), fields)


class Records:
    """Records and rejects of a file, one `read` at a time; holds at most one record of lines ahead."""

    def __init__(self, lines: Lines, codec: Codec, dialect: Dialect, max_record_bytes: int):
        # Process-wide, so only ever raised: the default of 131,072 characters is below our own limit.
        csv.field_size_limit(max(csv.field_size_limit(), max_record_bytes + 1))
        self._lines = lines
        self._codec = codec
        self._delimiter, self._quoted = dialect
        self._max_record_bytes = max_record_bytes
        self._ahead: deque[_Text] = deque()
        self._stops: deque[_Stop] = deque()
        self._completed = 0

    def read(self, expected: int | None) -> Record | Reject | None:
        """The next record with `expected` fields (None: any number), the next reject, or None at the end."""
        while (entry := self._ahead.popleft() if self._ahead else self._next_text()) is not None:
            while self._stops and self._stops[0].entry.line.number <= entry.line.number:
                self._stops.popleft()
            if not self._is_blank(entry, expected):
                return self._record(entry, expected)
        return None

    def place(self) -> Place | None:
        """Line and byte offset of what is read next, where nothing was read ahead; what is read from
        there does not depend on what was read before. None at the end, before a break, and otherwise."""
        line = None if self._ahead else self._lines.peek()
        return None if line is None or line.end is End.BROKEN else Place(line.number, line.byte_offset)

    def _next_text(self) -> _Text | None:
        line = self._lines.take()
        if line is None:
            return None
        fault = None
        try:
            text = self._codec.decode(line.data)
        except UnicodeError:
            # Decoded all the same, to see where the record ends; it becomes a reject as a whole.
            text = line.data.decode(self._codec.name, "replace")
            fault = ("invalid_encoding", self._codec.fault)
        if "\0" in text and fault is None:
            fault = ("nul_byte", "the record holds a NUL byte")
        return _Text(line, text, line.byte_offset + len(line.data), fault, self._completed)

    def _is_blank(self, entry: _Text, expected: int | None) -> bool:
        """Nothing on the line; spaces count as nothing unless they can be the value of an only column."""
        if entry.line.end in (End.TOO_LONG, End.BROKEN):
            return False
        if expected == 1:
            return not entry.text.rstrip("\r")
        return not entry.text.strip() and self._delimiter not in entry.text

    def _record(self, entry: _Text, expected: int | None) -> Record | Reject:
        line = entry.line
        if line.end in (End.TOO_LONG, End.BROKEN):
            return reject_of_unfit(line, self._max_record_bytes)
        bare = entry.text.rstrip("\r")
        if self._quoted and ('"' in bare or "\r" in bare):
            parse = _parse(bare, self._delimiter)
        elif "\r" in bare:
            parse = _Parse(_Fate.CARRIAGE_RETURN)
        else:
            fields = bare.split(self._delimiter)
            parse = _Parse(_Fate.CLOSED, len(fields), fields)
        if parse.fate is _Fate.OPEN:
            return self._spanning(entry, parse.number, expected)
        if entry.fault is not None:
            return Reject(line.number, line.byte_offset, *entry.fault)
        if parse.fields is None:
            where = "text after a closing quote"
            if parse.fate is _Fate.CARRIAGE_RETURN:
                where = CARRIAGE_RETURN
            return Reject(line.number, line.byte_offset, "invalid_csv", where)
        if expected is not None and parse.number != expected:
            return _wrong_count(line, expected, parse.number)
        return Record(line.number, line.byte_offset, parse.fields)

    def _spanning(self, first: _Text, completed: int, expected: int | None) -> Record | Reject:
        """The record that `first` leaves open: with the lines that close it, or its first line rejected."""
        line = first.line
        stop = self._stop_after(first)
        if stop is not None and stop.entry.line.end is End.BROKEN:
            # Whether the quote would have closed is unknown: the open record is part of what was cut off.
            self._ahead.clear()
            return Reject(line.number, line.byte_offset, "truncated_file", stop.entry.line.note)
        if first.fault is not None and (stop is None or stop.parse.fate is not _Fate.CLOSED):
            return Reject(line.number, line.byte_offset, *first.fault)
        if stop is None:
            return Reject(line.number, line.byte_offset, "unclosed_quote", "a quote opened here never closes")
        if stop.parse.fate is not _Fate.CLOSED:
            detail = (
                f"a quote opened here does not close, and line {stop.entry.line.number} cannot be inside it"
            )
            return Reject(line.number, line.byte_offset, "unclosed_quote", detail)
        count = completed + stop.completed_before - first.completed + stop.parse.number
        if expected is not None and count != expected:
            return _wrong_count(line, expected, count)
        return self._accepted(first, stop)

    def _stop_after(self, first: _Text) -> _Stop | None:
        """The line that ends the open record of `first`; None where there is none within the limits."""
        while not self._stops:
            if self._ahead and not self._is_within(first, self._ahead[-1]):
                return None
            entry = self._next_text()
            if entry is None:
                return None
            self._ahead.append(entry)
            self._enter(entry)
        return self._stops[0] if self._is_within(first, self._stops[0].entry) else None

    def _is_within(self, first: _Text, last: _Text) -> bool:
        lines = last.line.number - first.line.number + 1
        size = last.end_offset - first.line.byte_offset
        return lines <= MAX_RECORD_LINES and size <= self._max_record_bytes

    def _enter(self, entry: _Text) -> None:
        """What `entry` does when entered inside quotes; noted, so that no later look parses it again."""
        if entry.line.end in (End.TOO_LONG, End.BROKEN):
            parse = _Parse(_Fate.UNFIT)
        elif '"' in entry.text:
            parse = _parse('"' + entry.text.rstrip("\r"), self._delimiter)
        else:
            parse = _Parse(_Fate.OPEN)
        if parse.fate is _Fate.OPEN:
            self._completed += parse.number
        else:
            self._stops.append(_Stop(entry, parse, self._completed))
        entry.completed = self._completed

    def _accepted(self, first: _Text, stop: _Stop) -> Record | Reject:
        entries = [first]
        while entries[-1] is not stop.entry:
            entries.append(self._ahead.popleft())
        fault = next((entry.fault for entry in entries if entry.fault is not None), None)
        if fault is not None:
            return Reject(first.line.number, first.line.byte_offset, *fault)
        texts = [f"{entry.text}\n" for entry in entries[:-1]] + [stop.entry.text.rstrip("\r")]
        fields = next(csv.reader(texts, delimiter=self._delimiter, strict=True))
        return Record(first.line.number, first.line.byte_offset, fields)


def _wrong_count(line: Line, expected: int, found: int) -> Reject:
    return Reject(
        line.number, line.byte_offset, "wrong_field_count", f"expected {expected} fields, found {found}"
    )


class Table(NamedTuple):
    """names: of the columns. header: the fields of the header line as they stand there, if there is one."""

    names: list[str]
    header: list[str] | None

    def item(self, found: Record | Reject) -> RawRow | Reject:
        """A record as a row."""
        if isinstance(found, Reject):
            return found
        if found.fields == self.header:
            return Reject(found.line, found.byte_offset, "repeated_header", "the row equals the header")
        return RawRow(found.line, found.byte_offset, dict(zip(self.names, found.fields, strict=True)))
