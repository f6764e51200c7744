"""CSV and TSV: records that may span physical lines, read so that one stray quote loses one line.

Lives here: telling where a record ends, recovery, the header. Keep out: opening files (`readers`),
cutting lines (`jsonl`), types and meaning of the values, which stay strings.

A line that opens a quote and does not close it is looked at together with the lines after it. What
a line does when it is entered inside quotes (stays open, closes, breaks) does not depend on where
the quote was opened, so it is found once per line and kept: reading stays linear even where every
line holds a stray quote.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from dataset_pipeline.storage.jsonl import Codec, End, Line, RawRow, Reject, UnreadableFile, reject_of_unfit

MAX_RECORD_LINES = 10_000
"""A record of more physical lines counts as one whose quote never closes."""


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


class _Record(NamedTuple):
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


class _Records:
    """Records and rejects of a file, one `read` at a time; holds at most one record of lines ahead."""

    def __init__(self, lines: Iterator[Line], codec: Codec, delimiter: str, max_record_bytes: int):
        self._lines = lines
        self._codec = codec
        self._delimiter = delimiter
        self._max_record_bytes = max_record_bytes
        self._ahead: deque[_Text] = deque()
        self._stops: deque[_Stop] = deque()
        self._completed = 0

    def read(self, expected: int | None) -> _Record | Reject | None:
        """The next record with `expected` fields (None: any number), the next reject, or None at the end."""
        while (entry := self._ahead.popleft() if self._ahead else self._next_text()) is not None:
            while self._stops and self._stops[0].entry.line.number <= entry.line.number:
                self._stops.popleft()
            if not self._is_blank(entry, expected):
                return self._record(entry, expected)
        return None

    def _next_text(self) -> _Text | None:
        line = next(self._lines, None)
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

    def _record(self, entry: _Text, expected: int | None) -> _Record | Reject:
        line = entry.line
        if line.end in (End.TOO_LONG, End.BROKEN):
            return reject_of_unfit(line, self._max_record_bytes)
        bare = entry.text.rstrip("\r")
        if '"' in bare or "\r" in bare:
            parse = _parse(bare, self._delimiter)
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
                where = "a carriage return outside quotes"
            return Reject(line.number, line.byte_offset, "invalid_csv", where)
        if expected is not None and parse.number != expected:
            return _wrong_count(line, expected, parse.number)
        return _Record(line.number, line.byte_offset, parse.fields)

    def _spanning(self, first: _Text, completed: int, expected: int | None) -> _Record | Reject:
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

    def _accepted(self, first: _Text, stop: _Stop) -> _Record | Reject:
        entries = [first]
        while entries[-1] is not stop.entry:
            entries.append(self._ahead.popleft())
        fault = next((entry.fault for entry in entries if entry.fault is not None), None)
        if fault is not None:
            return Reject(first.line.number, first.line.byte_offset, *fault)
        texts = [f"{entry.text}\n" for entry in entries[:-1]] + [stop.entry.text.rstrip("\r")]
        fields = next(csv.reader(texts, delimiter=self._delimiter, strict=True))
        return _Record(first.line.number, first.line.byte_offset, fields)


def _wrong_count(line: Line, expected: int, found: int) -> Reject:
    return Reject(
        line.number, line.byte_offset, "wrong_field_count", f"expected {expected} fields, found {found}"
    )


def _columns(header: list[str], place: object) -> list[str]:
    """Names of the columns; an empty one is named by its place. Raises UnreadableFile on duplicates.

    Columns are told by number: in a file without a header these "names" are the text of a row.
    """
    names = [name if name.strip() else f"column_{number}" for number, name in enumerate(header, 1)]
    first_place: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in first_place:
            raise UnreadableFile(
                f"{place}: header columns {first_place[name]} and {number} have the same name. Rename one."
            )
        first_place[name] = number
    return names


class DelimitedFile:
    """A CSV or TSV stream whose header has been read.

    columns: names from the header. Raises UnreadableFile on creation where there is no usable one.
    """

    def __init__(
        self, lines: Iterator[Line], codec: Codec, delimiter: str, max_record_bytes: int, place: object
    ):
        # Process-wide, so only ever raised: the default of 131,072 characters is below our own limit.
        csv.field_size_limit(max(csv.field_size_limit(), max_record_bytes + 1))
        self._records = _Records(lines, codec, delimiter, max_record_bytes)
        header = self._records.read(None)
        if header is None:
            raise UnreadableFile(f"{place}: empty file: a CSV needs a header line")
        if isinstance(header, Reject):
            raise UnreadableFile(
                f"{place}: the header on line {header.line} cannot be read "
                f"({header.reason}: {header.detail}). Mend that line or send the file again."
            )
        self._header = header.fields
        self.columns = _columns(header.fields, place)

    def rows(self) -> Iterator[RawRow | Reject]:
        """Every record after the header, in order."""
        columns, expected = self.columns, len(self.columns)
        while (found := self._records.read(expected)) is not None:
            if isinstance(found, Reject):
                yield found
            elif found.fields == self._header:
                yield Reject(found.line, found.byte_offset, "repeated_header", "the row equals the header")
            else:
                yield RawRow(found.line, found.byte_offset, dict(zip(columns, found.fields, strict=True)))
