"""Text streams: declared encodings, physical lines in bounded memory.

Lives here: what lies below every text format. Keep out: opening and unpacking (`packing`), what a line means
(`jsonl`, `delimited`, `plain`).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dataset_pipeline.storage.readers.packing import BrokenStream, unpacked_blocks
from dataset_pipeline.storage.readers.rows import Reject, UnreadableFile

T = TypeVar("T")

_NEWLINE = 10
_LONGEST_MARK = 4
"""Bytes of the longest byte order mark."""


@dataclass(frozen=True)
class Codec:
    """How bytes become text. width: bytes of a code unit; bom_bytes: to skip at the start; fault: the
    detail of a reject whose bytes cannot be decoded."""

    name: str
    newline: bytes
    width: int
    bom_bytes: int
    fault: str

    @property
    def is_utf8(self) -> bool:
        return self.name == "utf-8"

    def decode(self, data: bytes) -> str:
        """Strict. Raises UnicodeError, also for lone surrogates, which utf-7 would let through."""
        text = data.decode(self.name)
        if not self.is_utf8 and not text.isascii():
            text.encode("utf-8")
        return text


_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 before UTF-16: its little-endian mark begins with the other's."""


def codec_for(encoding: str, head: bytes, place: object) -> Codec:
    """The codec of a stream that begins with `head` (four bytes or more, if there are) and is declared so.

    Raises UnreadableFile where no text encoding has that name, where a utf-8 byte order mark
    contradicts it, and where utf-16 or utf-32 come without one.
    """
    try:
        name = codecs.lookup(encoding).name
        b"a\n".decode(name, "replace")
    except (LookupError, UnicodeError):
        raise UnreadableFile(
            f"{place}: no text encoding is called {encoding!r}. Use a name Python knows, such as cp1252."
        ) from None
    name = "utf-8" if name == "utf-8-sig" else name
    mark, marked = next((pair for pair in _BOMS if head.startswith(pair[0])), (b"", ""))
    if name in ("utf-16", "utf-32"):
        if not marked.startswith(name):
            remedy = f"Declare encoding {name}-le or {name}-be."
            raise UnreadableFile(f"{place}: {name} without a byte order mark. {remedy}")
        name = marked
    elif marked == "utf-8" != name:
        raise UnreadableFile(f"{place}: begins with the byte order mark of {marked}. Declare that encoding.")
    newline = "\n".encode(name)
    width = {"utf-16": 2, "utf-32": 4}.get(name[:6], 1)
    if len(newline) != width:
        raise UnreadableFile(f"{place}: encoding {name} cannot hold lines. Convert the file to utf-8.")
    # A mark of UTF-16 says nothing sure about the whole file: it is letters in most 8-bit encodings.
    hint = f"; the file begins with the byte order mark of {marked}" if marked not in ("", name) else ""
    return Codec(name, newline, width, len(mark) if marked == name else 0, f"not valid {name}{hint}")


class End(Enum):
    """What a physical line ends with."""

    NEWLINE = 1
    FILE = 2
    TOO_LONG = 3
    """Above the limit: its bytes were skipped, not kept."""
    BROKEN = 4
    """The stream broke off in or right before this line."""


class Line(NamedTuple):
    """One physical line: 1-based number, offset of its first byte, its bytes without the newline."""

    number: int
    byte_offset: int
    data: bytes
    end: End
    note: str = ""


def _aligned(blocks: Iterable[bytes], width: int) -> Iterator[bytes]:
    """The same bytes in blocks that end between code units (but for the last)."""
    rest = b""
    for block in blocks:
        joined = rest + block
        whole = len(joined) - len(joined) % width
        rest = joined[whole:]
        yield joined[:whole]
    if rest:
        yield rest


def _cut(block: bytes, codec: Codec) -> list[bytes]:
    """`block` cut at newlines; the last piece is what follows the last one."""
    if codec.width == 1:
        return block.split(codec.newline)
    pieces, start, found = [], 0, block.find(codec.newline)
    while found >= 0:
        if found % codec.width == 0:
            pieces.append(block[start:found])
            start = found + codec.width
            found = block.find(codec.newline, start)
        else:
            found = block.find(codec.newline, found + 1)
    pieces.append(block[start:])
    return pieces


def physical_lines(
    blocks: Iterable[bytes],
    codec: Codec,
    max_record_bytes: int,
    number: int = 1,
    byte_offset: int | None = None,
) -> Iterator[Line]:
    """The lines of a stream of blocks, in order; holds one block and one line at a time.

    A line above `max_record_bytes` comes without its bytes (TOO_LONG). Where the stream breaks off,
    the last item is BROKEN and starts where its partial line does. The byte order mark is skipped.
    number, byte_offset: where the blocks begin, when that is not the beginning of the file.
    """
    is_beginning = byte_offset is None
    offset = codec.bom_bytes if byte_offset is None else byte_offset
    held: list[bytes] = []  # pieces of the line under way, joined once: appending to bytes is quadratic
    held_bytes, to_skip, newline_bytes = 0, codec.bom_bytes if is_beginning else 0, len(codec.newline)

    def line(end: End) -> Line:
        too_long = held_bytes > max_record_bytes
        return Line(number, offset, b"" if too_long else b"".join(held), End.TOO_LONG if too_long else end)

    try:
        for block in blocks if codec.width == 1 else _aligned(blocks, codec.width):
            pieces = _cut(block[to_skip:] if to_skip else block, codec)
            to_skip = 0
            tail = pieces.pop()
            for piece in pieces:
                held.append(piece)
                held_bytes += len(piece)
                yield line(End.NEWLINE)
                number, offset = number + 1, offset + held_bytes + newline_bytes
                held, held_bytes = [], 0
            held_bytes += len(tail)
            if held_bytes > max_record_bytes:
                held.clear()
            else:
                held.append(tail)
    except BrokenStream as broken:
        yield Line(number, offset, b"", End.BROKEN, str(broken))
        return
    if held_bytes:
        yield line(End.FILE)


class LineChunk(NamedTuple):
    """Whole physical lines: the number and byte offset of the first, their bytes, the last newline included,
    and where in them the newlines are (int64)."""

    number: int
    byte_offset: int
    data: bytes
    ends: np.ndarray[Any, np.dtype[np.int64]]


def line_chunks(blocks: Iterable[bytes], codec: Codec, max_record_bytes: int) -> Iterator[LineChunk | Line]:
    """The same lines as `physical_lines`, of a codec with one-byte newlines, many at a time where they are whole.

    A line comes alone where it is the last and has no newline, runs over more than a block and is TOO_LONG,
    or is BROKEN. A line inside a chunk may be longer than `max_record_bytes`.
    """
    number, offset, to_skip = 1, codec.bom_bytes, codec.bom_bytes
    held: list[bytes] = []
    held_bytes = 0
    try:
        for block in blocks:
            if to_skip:
                block, to_skip = block[to_skip:], 0
            cut = block.rfind(b"\n") + 1
            if cut and held_bytes > max_record_bytes:
                first = block.find(b"\n") + 1
                yield Line(number, offset, b"", End.TOO_LONG)
                number, offset = number + 1, offset + held_bytes + first
                block, cut, held_bytes = block[first:], cut - first, 0
            if cut:
                # A view, so that joining is the only copy.
                data = b"".join((*held, memoryview(block)[:cut]))
                ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
                yield LineChunk(number, offset, data, ends)
                number, offset = number + len(ends), offset + len(data)
                held, held_bytes = [], 0
            rest = block[cut:]
            held_bytes += len(rest)
            if held_bytes > max_record_bytes:
                held = []
            elif rest:
                held.append(rest)
    except BrokenStream as broken:
        yield Line(number, offset, b"", End.BROKEN, str(broken))
        return
    if held_bytes:
        too_long = held_bytes > max_record_bytes
        yield Line(
            number, offset, b"" if too_long else b"".join(held), End.TOO_LONG if too_long else End.FILE
        )


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next one is made in another thread while the last one is looked at.

    Worth it where making one waits for the disk or works outside the interpreter's lock, as NumPy does.
    """
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Any] = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


def reject_of_unfit(line: Line, max_record_bytes: int) -> Reject:
    """The reject of a TOO_LONG or BROKEN line."""
    if line.end is End.BROKEN:
        return Reject(line.number, line.byte_offset, "truncated_file", line.note)
    return Reject(line.number, line.byte_offset, "too_long", f"line longer than {max_record_bytes} bytes")


@contextmanager
def open_stream(path: Path, encoding: str) -> Iterator[tuple[Iterator[bytes], Codec]]:
    """The unpacked blocks of a file, byte order mark included, and the codec that they settle. Raises UnreadableFile."""
    with closing(unpacked_blocks(path)) as blocks:
        head = b""
        rest: Iterator[bytes] = blocks
        try:
            while len(head) < _LONGEST_MARK and (block := next(rest, b"")):
                head += block
        except BrokenStream as broken:
            # Said again when the reader gets there: it becomes a reject, or a missing header.
            rest = _breaking(broken)
        yield chain((head,), rest), codec_for(encoding, head, path)


def _breaking(broken: BrokenStream) -> Iterator[bytes]:
    raise broken
    yield b""
