"""Many CSV records at once: where the records and fields of a window of bytes lie, proven or left out.

Lives here: numpy over the bytes of one window, and text columns that point into it. Keep out: the
stream, line numbers of the file, what is not proven (`csv_records` reads it, see `csv_blocks`).

A window begins where a record does. Every quote is taken to open or close quoted text in turn; this
decides which delimiters and newlines are structure. That reading is the exact one for a record as soon
as each of its fields is one of these, by induction from the window's first byte:

- it holds no quote;
- it begins and ends with a quote, and every quote between stands in a pair of neighbours;
- it does not begin with a quote and hides no delimiter, newline or carriage return between its quotes:
  there quotes are characters like others.

A record that has another field, another number of fields, a carriage return elsewhere than before its
newline, a NUL, invalid text, the header's values, or more bytes or lines than allowed, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from dataset_pipeline.storage.readers.csv_marks import (
    NEWLINE,
    QUOTE,
    RETURN,
    Bools,
    Bytes,
    Layout,
    Marks,
    marks_of,
)
from dataset_pipeline.storage.readers.csv_views import AFTER, BEFORE, Ints, text_series, text_views, window_of


class Run(NamedTuple):
    """Proven records that follow each other: first and end among the window's records, row of the columns."""

    first: int
    end: int
    row: int


@dataclass(frozen=True)
class Scanned:
    """starts, lines: of every record found, relative to the window, proven or not; with one more at the
    end, where the last of them ends. columns: of the records of the runs."""

    starts: Ints
    lines: Ints
    runs: list[Run]
    columns: list[pl.Series]


class _Fields(NamedTuple):
    """Bounds of every field, a row for each record; quoted: its quotes are not part of it."""

    starts: Ints
    ends: Ints
    quoted: Bools | None

    def of(self, kept: Bools) -> _Fields:
        """Those of some of the records."""
        quoted = None if self.quoted is None else self.quoted[kept]
        return _Fields(self.starts[kept], self.ends[kept], quoted)


def scan(window: bytes, layout: Layout) -> Scanned:
    """What is proven of a window."""
    size = len(window) - len(BEFORE) - len(AFTER)
    data = np.frombuffer(window, np.uint8, size, len(BEFORE))
    width = len(layout.names)
    marks = marks_of(window, data, layout)
    ends = marks.outside[marks.kinds[marks.outside] == NEWLINE]
    starts = np.zeros(len(ends) + 1, np.int64)
    starts[1:] = marks.places[ends] + 1
    lines = _lines(marks, ends)
    fields = _regular(window, data, marks, width, len(ends)) if len(ends) else None
    good = np.ones(len(ends), np.bool_)
    if fields is None:
        good, fields = _sound(window, data, marks, width, ends)
    bad = _unfit(window, data, fields, starts, lines, good, layout)
    if bad is not None:
        kept = ~bad[good]
        fields = fields.of(kept)
        good &= ~bad
    runs, in_runs = _runs(good, layout.min_run)
    if in_runs is not None:
        kept = in_runs[good]
        fields = fields.of(kept)
    return Scanned(starts, lines, runs, _columns(window, marks, fields, layout.names) if runs else [])


def _lines(marks: Marks, ends: Ints) -> Ints:
    """Newlines before each record, and before the end of the last."""
    if marks.is_quote is None:
        return np.arange(len(ends) + 1)
    newlines = marks.kinds == NEWLINE
    if np.count_nonzero(newlines) == len(ends):
        return np.arange(len(ends) + 1)
    lines = np.zeros(len(ends) + 1, np.int64)
    lines[1:] = np.cumsum(newlines)[ends]
    return lines


def _regular(window: bytes, data: Bytes, marks: Marks, width: int, records: int) -> _Fields | None:
    """All fields where the whole window is proven by counting alone, the usual case; else None."""
    if len(marks.outside) != records * width or marks.outside[-1] != len(marks.places) - 1:
        return None
    places = marks.places[marks.outside]
    # As many newlines as rows, each at a row's end: all the others are delimiters.
    if (data[places[width - 1 :: width]] != NEWLINE).any():
        return None
    starts = np.empty_like(places)
    starts[0] = 0
    starts[1:] = places[:-1]
    starts[1:] += 1
    ends, quoted = places, None
    if marks.has_returns:
        before = data[np.maximum(places[width - 1 :: width] - 1, 0)] == RETURN
        outside = np.count_nonzero(marks.kinds == RETURN) if marks.is_quote is None else _returns(marks)
        if outside != np.count_nonzero(before):
            return None
        ends = places.copy()
        ends[width - 1 :: width] -= before
    if marks.is_quote is not None:
        quoted = data[starts] == QUOTE
        # Of n quotes in one field, at most n / 2 - 1 close and open at once; where the sum over the
        # window reaches that, every field with a quote begins with one and all between are pairs.
        quotes = np.count_nonzero(marks.is_quote)
        if 2 * (np.count_nonzero(quoted) + len(marks.escapes)) != quotes:
            return None
        if ((data[ends - 1] != QUOTE) & quoted).any():
            return None
        starts += quoted
        ends = ends - quoted
        quoted = quoted.reshape(-1, width)
    return _Fields(starts.reshape(-1, width), ends.reshape(-1, width), quoted)


def _returns(marks: Marks) -> int:
    """How many carriage returns lie outside quotes."""
    assert marks.is_quote is not None
    is_inside = np.logical_xor.accumulate(marks.is_quote)
    return int(np.count_nonzero((marks.kinds == RETURN) & ~is_inside))


def _sound(window: bytes, data: Bytes, marks: Marks, width: int, ends: Ints) -> tuple[Bools, _Fields]:
    """Which records are proven field by field, and their fields."""
    at_end = np.flatnonzero(marks.kinds[marks.outside] == NEWLINE)
    good = np.diff(at_end, prepend=-1) == width
    index = at_end[good][:, None] + np.arange(1 - width, 1)
    places = marks.places[marks.outside]
    before = np.concatenate(([-1], marks.outside))
    starts = np.concatenate(([0], places + 1))[index]
    stops = places[index]
    between = np.diff(before)[index] - 1
    if marks.has_returns:
        last = stops[:, -1:]
        is_return = (last > starts[:, -1:]) & (data[np.maximum(last - 1, 0)] == RETURN)
        stops[:, -1:] -= is_return
        between[:, -1:] -= is_return
    quoted = None
    fine = between == 0
    if marks.is_quote is not None:
        quotes = _counted(np.flatnonzero(marks.is_quote), marks.outside, index)
        pairs = _counted(marks.escapes, marks.outside, index)
        quoted = data[starts] == QUOTE
        closed = (data[np.maximum(stops - 1, 0)] == QUOTE) & (quotes == 2 * pairs + 2)
        fine = np.where(quoted, closed, between == quotes)
        starts = starts + quoted
        stops = stops - quoted
    kept = fine.all(axis=1)
    good[good] = kept
    return good, _Fields(starts[kept], stops[kept], None if quoted is None else quoted[kept])


def _counted(marked: Ints, outside: Ints, index: Ints) -> Ints:
    """How many of some marks lie in each field."""
    upto = np.concatenate(([0], np.searchsorted(marked, outside)))
    return np.asarray(np.diff(upto)[index])


def _unfit(
    window: bytes,
    data: Bytes,
    fields: _Fields,
    starts: Ints,
    lines: Ints,
    good: Bools,
    layout: Layout,
) -> Bools | None:
    """Records that are left out for what they hold, not for their shape; None where there are none."""
    bad = np.zeros(len(good), np.bool_)
    sizes = np.diff(starts)
    if len(sizes) and sizes.max() > layout.max_record_bytes:
        bad |= sizes > layout.max_record_bytes
    if lines[-1] > len(good):
        bad |= np.diff(lines) > layout.max_record_lines
    if b"\0" in window:
        _mark(bad, starts, np.flatnonzero(data == 0))
    if not window.isascii():
        if layout.ascii_only:
            _mark(bad, starts, np.flatnonzero(data >= 0x80))
        elif not _is_utf8(window):
            _mark_undecodable(bad, window, starts, np.flatnonzero(data >= 0x80))
    sizes = fields.ends - fields.starts
    if len(layout.names) == 1:
        # The only value of a blank line; quoted it is a value.
        blank = sizes[:, 0] == 0
        bad[np.flatnonzero(good)[blank if fields.quoted is None else blank & ~fields.quoted[:, 0]]] = True
    if layout.header is not None:
        alike = np.flatnonzero((sizes == [len(name) for name in layout.header]).all(axis=1))
        for column, name in enumerate(layout.header):
            if name and len(alike):
                alike = alike[data[fields.starts[alike, column]] == name[0]]
        repeated = [row for row in alike.tolist() if _values(window, fields, row) == layout.header]
        bad[np.flatnonzero(good)[repeated]] = True
    return bad if bad.any() else None


def _values(window: bytes, fields: _Fields, row: int) -> tuple[bytes, ...]:
    bounds = zip(fields.starts[row].tolist(), fields.ends[row].tolist(), strict=True)
    return tuple(window[len(BEFORE) + start : len(BEFORE) + end] for start, end in bounds)


def _mark(bad: Bools, starts: Ints, places: Ints) -> None:
    """Mark the records in which the places lie."""
    records = np.searchsorted(starts, places, side="right") - 1
    bad[records[records < len(bad)]] = True


def _is_utf8(window: bytes) -> bool:
    import pyarrow as pa

    bounds = pa.py_buffer(np.array([0, len(window)], np.int64))
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, bounds, pa.py_buffer(window)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _mark_undecodable(bad: Bools, window: bytes, starts: Ints, above_ascii: Ints) -> None:
    records = np.unique(np.searchsorted(starts, above_ascii, side="right") - 1)
    bounds = starts + len(BEFORE)
    for record in records[records < len(bad)].tolist():
        try:
            window[bounds[record] : bounds[record + 1]].decode()
        except UnicodeError:
            bad[record] = True


def _runs(good: Bools, min_run: int) -> tuple[list[Run], Bools | None]:
    """Runs of proven records that are long enough; and which records are in one, None where all are."""
    if good.all():
        return ([Run(0, len(good), 0)] if len(good) >= min_run else []), None
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
    firsts, ends = edges[0::2], edges[1::2]
    long = ends - firsts >= min_run
    firsts, ends = firsts[long], ends[long]
    step = np.zeros(len(good) + 1, np.int8)
    step[firsts] = 1
    step[ends] -= 1
    rows = np.cumsum(ends - firsts) - (ends - firsts)
    runs = [Run(*run) for run in zip(firsts.tolist(), ends.tolist(), rows.tolist(), strict=True)]
    return runs, np.cumsum(step[:-1]).astype(np.bool_)


def _columns(window: bytes, marks: Marks, fields: _Fields, names: tuple[str, ...]) -> list[pl.Series]:
    """Text columns that point into the window; texts with doubled quotes into a copy without them."""
    import pyarrow as pa

    starts, ends = fields.starts.ravel(), fields.ends.ravel()
    views = text_views(window, starts, ends - starts, 0)
    buffers = [pa.py_buffer(window)]
    if len(marks.escapes) and fields.quoted is not None:
        escapes = marks.places[marks.escapes]
        of_field = np.searchsorted(starts, escapes, side="right") - 1
        inside = (of_field >= 0) & (escapes < ends[of_field]) & fields.quoted.ravel()[of_field]
        fields_of_pairs = of_field[inside]
        firsts = np.flatnonzero(np.diff(fields_of_pairs, prepend=-1))
        doubled, counts = fields_of_pairs[firsts], np.diff(firsts, append=len(fields_of_pairs))
        if len(doubled):
            bounds = zip((starts[doubled] + 4).tolist(), (ends[doubled] + 4).tolist(), strict=True)
            # Within a field quotes stand in pairs, so that pairs cannot form across two fields.
            copy = window_of([b"".join([window[a:b] for a, b in bounds]).replace(b'""', b'"')])
            sizes = ends[doubled] - starts[doubled] - counts
            views[doubled] = text_views(copy, np.cumsum(sizes) - sizes, sizes, 1)
            buffers.append(pa.py_buffer(copy))
    table = views.reshape(*fields.starts.shape, 4)
    return [text_series(name, table[:, number], buffers) for number, name in enumerate(names)]
