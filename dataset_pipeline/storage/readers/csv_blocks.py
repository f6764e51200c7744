"""A CSV or TSV stream in blocks of rows: what a scan proves at once, the rest record by record.

Lives here: the stream's windows, the way between the fast reading (`csv_scan`) and the exact one
(`csv_records`), line numbers and offsets. Keep out: proofs, what a record is, the header.

What is read from a record's start on does not depend on what was read before. So both readings may
take turns, as long as each begins where the other saw a record begin. Windows are cut where counting
quotes says a record ends; that is a guess, and a wrong one costs time only: the scan proves nothing
that is not so, and where the exact reading ends elsewhere the windows are cut anew from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dataset_pipeline.storage.readers.csv_marks import Layout
from dataset_pipeline.storage.readers.csv_records import MAX_RECORD_LINES, Place, Records, Table
from dataset_pipeline.storage.readers.csv_scan import Run, Scanned, scan
from dataset_pipeline.storage.readers.csv_views import window_of
from dataset_pipeline.storage.readers.dialect import Dialect, Lines
from dataset_pipeline.storage.readers.packing import BrokenStream
from dataset_pipeline.storage.readers.rows import Item, RowBlock
from dataset_pipeline.storage.readers.streams import Codec, Line, physical_lines

_FIRST_PIECE_BYTES = 4096
"""The exact reading takes small pieces first: most stretches it is asked for are one record."""
_THREADED_BYTES = 2**19
"""Smaller windows are scanned where they are needed: handing them over costs more."""
_MAX_PATIENCE_BYTES = 2**24


class Sizes(NamedTuple):
    """window, first_window: bytes; windows grow from the first size, and again after a wrong cut.
    ahead: windows scanned while one is read. patience: bytes that the exact reading goes on for after a
    wrong cut, doubled as long as cuts are wrong. min_run: rows worth a block of their own."""

    window: int = 2**20
    first_window: int = 2**18
    ahead: int = 2
    patience: int = 2**14
    min_run: int = 12


class Stream:
    """Blocks of a stream, kept as long as they may be read again."""

    def __init__(self, blocks: Iterator[bytes]):
        self._blocks = blocks
        self._held: deque[tuple[int, bytes]] = deque()
        self._end = 0
        self._broken: BrokenStream | None = None
        self._is_over = False
        self._is_forgetful = False

    def pull(self) -> bool:
        """Hold one more block; False at the end."""
        if self._is_over:
            return False
        try:
            block = next(self._blocks, None)
        except BrokenStream as broken:
            self._broken, block = broken, None
        if block is None:
            self._is_over = True
            return False
        if self._is_forgetful:
            self._held.clear()
        self._held.append((self._end, block))
        self._end += len(block)
        return True

    def forget(self) -> None:
        """From now on only one block is held: nothing is read again."""
        self._is_forgetful = True

    def drop_before(self, offset: int) -> None:
        while self._held and self._held[0][0] + len(self._held[0][1]) <= offset:
            self._held.popleft()

    def reading_from(self, offset: int, first_piece: int = 2**62) -> Iterator[bytes]:
        """The bytes from `offset` on, in pieces that begin small. Raises BrokenStream where the stream does."""
        size = first_piece
        while True:
            found = next((held for held in self._held if held[0] <= offset < held[0] + len(held[1])), None)
            if found is not None:
                start = offset - found[0]
                piece = found[1][start : start + size]
                offset, size = offset + len(piece), size * 2
                yield piece
            elif not self.pull():
                if self._broken is not None:
                    raise self._broken
                return

    def pieces(self, offset: int, size: int) -> list[bytes | memoryview]:
        """What there is of `size` bytes from `offset` on; more, up to a block's end."""
        while self._end < offset + size and self.pull():
            pass
        found: list[bytes | memoryview] = []
        assert not self._held or self._held[0][0] <= offset, "bytes that were dropped are asked for"
        for start, block in self._held:
            if start + len(block) > offset and start < offset + size:
                found.append(memoryview(block)[offset - start :] if start < offset else block)
        return found


def cut(pieces: list[bytes | memoryview], dialect: Dialect) -> int:
    """Bytes up to the last newline that lies outside quotes as far as counting tells; 0 where none does."""
    size = sum(len(piece) for piece in pieces)
    blocks = [piece if isinstance(piece, bytes) else bytes(piece) for piece in pieces]
    is_inside = dialect.quoted and sum(block.count(b'"') for block in blocks) % 2 == 1
    # An odd number of quotes, none of which opens anything: inches, say, in a file without quoted text.
    quoted = _opens_quotes(blocks, dialect.delimiter) if is_inside else dialect.quoted
    is_inside = is_inside and quoted
    while blocks:
        block = blocks.pop()
        size -= len(block)
        end = len(block)
        while (found := block.rfind(b"\n", 0, end)) >= 0:
            if quoted:
                is_inside ^= block.count(b'"', found, end) % 2 == 1
            if not is_inside:
                return size + found + 1
            end = found
        if quoted:
            is_inside ^= block.count(b'"', 0, end) % 2 == 1
    return 0


def _opens_quotes(blocks: list[bytes], delimiter: str) -> bool:
    """Whether a quote stands where a field may begin."""
    after = (f'{delimiter}"'.encode(), b'\n"')
    return blocks[0].startswith(b'"') or any(opening in block for block in blocks for opening in after)


class _Window(NamedTuple):
    """A window under way: where it begins, its size, and what waits for what is found in it."""

    byte_offset: int
    size: int
    scanned: Callable[[], Scanned]
    cancel: Callable[[], object]


class BlockReader:
    """Rows of a stream from a record's start on, in blocks where they can be."""

    def __init__(
        self,
        stream: Stream,
        codec: Codec,
        dialect: Dialect,
        table: Table,
        max_record_bytes: int,
        sizes: Sizes | None = None,
    ):
        self._stream = stream
        self._codec = codec
        self._dialect = dialect
        self._table = table
        self._sizes = sizes or Sizes()
        self._max_record_bytes = max_record_bytes
        header = None if table.header is None else tuple(name.encode() for name in table.header)
        self._layout = Layout(
            delimiter=ord(dialect.delimiter),
            quoted=dialect.quoted,
            names=tuple(table.names),
            header=header,
            ascii_only=not codec.is_utf8,
            max_record_bytes=max_record_bytes,
            max_record_lines=MAX_RECORD_LINES,
            min_run=self._sizes.min_run,
        )
        self._windows: deque[_Window] = deque()
        self._cut_at = 0
        self._window_bytes = self._sizes.first_window
        self._patience = self._sizes.patience
        self._pool: ThreadPoolExecutor | None = None

    def read(self, start: Place) -> Iterator[Item]:
        """Every row and reject from `start` on."""
        place: Place | None = start
        self._cut_at = start.byte_offset
        try:
            while place is not None:
                if place.byte_offset > self._cut_at:
                    # The exact reading went on behind every cut: what lies before is no longer held.
                    self._cut_again(place.byte_offset)
                self._stream.drop_before(place.byte_offset)
                self._look_ahead()
                if self._windows:
                    place = yield from self._through(self._windows.popleft(), place)
                else:
                    # No record ends in a whole window, or only the last line is left.
                    grown = min(2 * self._window_bytes, self._sizes.window)
                    place = yield from self._anew(place, grown)
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def _look_ahead(self) -> None:
        """Cut windows and have them scanned."""
        while len(self._windows) < self._sizes.ahead:
            pieces = self._stream.pieces(self._cut_at, self._window_bytes)
            size = cut(pieces, self._dialect)
            if not size:
                return
            self._windows.append(self._window(_first_bytes(pieces, size), size))
            self._cut_at += size
            self._window_bytes = min(2 * self._window_bytes, self._sizes.window)

    def _window(self, pieces: list[bytes | memoryview], size: int) -> _Window:
        def work() -> Scanned:
            return scan(window_of(pieces), self._layout)

        if size < _THREADED_BYTES:
            return _Window(self._cut_at, size, work, int)
        # One worker beside the thread that reads and cuts; on two cores a second one was slower (measured).
        self._pool = self._pool or ThreadPoolExecutor(1)
        future = self._pool.submit(work)
        return _Window(self._cut_at, size, future.result, future.cancel)

    def _through(self, window: _Window, place: Place) -> Generator[Item, None, Place | None]:
        """Read a window to its end, or until it turns out to be cut wrong. The place reached; None at the end."""
        scanned, offset = window.scanned(), window.byte_offset
        reached: Place | None = place
        proven = 0
        for run in scanned.runs:
            start = offset + int(scanned.starts[run.first])
            if place.byte_offset < start:
                reached = yield from self._exact(place, start)
                if reached is None:
                    return None
                place = reached
            first = int(np.searchsorted(scanned.starts, place.byte_offset - offset))
            if first >= run.end:
                continue
            if offset + scanned.starts[first] != place.byte_offset:
                return (yield from self._anew(place, self._sizes.first_window))
            yield self._block(scanned, run, first, offset, place.line)
            lines = int(scanned.lines[run.end] - scanned.lines[first])
            end = offset + int(scanned.starts[run.end])
            proven += end - place.byte_offset
            place = Place(place.line + lines, end)
        if not scanned.runs:
            return (yield from self._anew(place, self._sizes.first_window))
        if 2 * proven > window.size:
            self._patience = self._sizes.patience
        if place.byte_offset < offset + window.size:
            return (yield from self._exact(place, offset + window.size))
        return place

    def _block(self, scanned: Scanned, run: Run, first: int, offset: int, line: int) -> RowBlock:
        lines = scanned.lines[first : run.end] - (scanned.lines[first] - line)
        offsets = scanned.starts[first : run.end] + offset
        row, rows = run.row + first - run.first, run.end - first
        columns = {column.name: column.slice(row, rows) for column in scanned.columns}
        # A memoryview is a sequence of Python's own integers, and an array for whoever wants one.
        return RowBlock(lines.data, offsets.data, columns)

    def _anew(self, place: Place, window_bytes: int) -> Generator[Item, None, Place | None]:
        """Read on record by record for a while, then cut windows from the place reached."""
        reached = yield from self._exact(place, place.byte_offset + self._patience)
        self._patience = min(2 * self._patience, _MAX_PATIENCE_BYTES)
        self._window_bytes = window_bytes
        self._cut_again(0 if reached is None else reached.byte_offset)
        return reached

    def _cut_again(self, offset: int) -> None:
        """Cut windows from `offset` on; those that wait are forgotten."""
        while self._windows:
            self._windows.pop().cancel()
        self._cut_at = offset

    def _exact(self, place: Place, until: int) -> Generator[Item, None, Place | None]:
        """Read record by record up to the first place at or after the offset `until`; None at the end."""
        lines = Lines(self._lines_from(place))
        records = Records(lines, self._codec, self._dialect, self._max_record_bytes)
        while (found := records.read(len(self._table.names))) is not None:
            self._stream.drop_before(found.byte_offset)
            yield self._table.item(found)
            if until - found.byte_offset > _FIRST_PIECE_BYTES:
                continue  # far from it: looking at every line's place would cost a fifth
            here = records.place()
            if here is not None and here.byte_offset >= until:
                return here
        return None

    def _lines_from(self, place: Place) -> Iterator[Line]:
        pieces = self._stream.reading_from(place.byte_offset, _FIRST_PIECE_BYTES)
        return physical_lines(pieces, self._codec, self._max_record_bytes, *place)


def _first_bytes(pieces: list[bytes | memoryview], size: int) -> list[bytes | memoryview]:
    """The first `size` bytes of the pieces."""
    found: list[bytes | memoryview] = []
    for piece in pieces:
        if size < len(piece):
            found.append(memoryview(piece)[:size])
            break
        found.append(piece)
        size -= len(piece)
    return [piece for piece in found if len(piece)]
