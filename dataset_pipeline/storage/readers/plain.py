"""Text without structure: one record a line (`text`), or one record a file (`files`).

Lives here: which lines are rows, and a file taken whole, which `pages` uses too. Keep out: cutting lines (`streams`),
changing what was collected: line ends inside a record, odd spaces and the like are for normalize.

The fast way: Polars cuts a stretch of good UTF-8 lines at once, 17 times as fast as line by line (measured). Where a
stretch holds a fault, or the numbers do not add up, its lines are read one by one, which is the only way that decides.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.packing import BrokenStream
from dataset_pipeline.storage.readers.rows import Item, RawRow, Reject, RowBlock, UnreadableFile
from dataset_pipeline.storage.readers.streams import (
    Codec,
    End,
    Line,
    LineChunk,
    line_chunks,
    open_stream,
    physical_lines,
    reject_of_unfit,
)

STRETCH_BYTES = 2**20
"""Bytes of lines read at once. Four times as many cost a fifth more time (measured)."""

_SPACES = "".join(filter(str.isspace, map(chr, range(sys.maxunicode + 1))))
"""White space as `str.isspace` has it: four control characters more than Unicode's property."""
_SPACE_LEADS = np.zeros(256, dtype=bool)
_SPACE_LEADS[sorted({space.encode()[0] for space in _SPACES})] = True
"""Whether a line that begins with this byte may be blank. The newline is one: it begins an empty line."""

_Places = np.ndarray[tuple[int], np.dtype[np.int64]]

_NO_TEXT = (
    (b"%PDF-", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    (b"{\\rtf", "an RTF document"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
"""What lies beside texts and pages in a folder; `streams` knows the packed ones."""


def columns(path: Path, reading: Reading) -> list[str]:
    """Always `text`."""
    return ["text"]


def read(path: Path, reading: Reading, max_record_bytes: int) -> Iterator[Item]:
    """Format text: a row {"text": line} for each line that is not blank. Format files: one row for the file.

    A line ends with a newline, and with a carriage return before it if there is one; no other character ends a line.
    A file's text is kept as it is, its line ends included; a blank one is a reject `no_text`.
    """
    if reading.format == "files":
        whole = whole_file(path, reading, max_record_bytes)
        text = whole if isinstance(whole, Reject) else whole.text()
        yield text if isinstance(text, Reject) else RawRow(1, whole.byte_offset, {"text": text})
        return
    with open_stream(path, reading.encoding) as (blocks, codec):
        if not codec.is_utf8:
            yield from _one_by_one(physical_lines(blocks, codec, max_record_bytes), codec, max_record_bytes)
            return
        for part in _stretches(line_chunks(blocks, codec, max_record_bytes)):
            yield from _rows(part, codec, max_record_bytes)


@dataclass(frozen=True)
class WholeFile:
    """The bytes of a file without its byte order mark, and how they become text."""

    data: bytes
    codec: Codec

    @property
    def byte_offset(self) -> int:
        """Where the text begins: the bytes of the byte order mark."""
        return self.codec.bom_bytes

    def text(self) -> str | Reject:
        """The whole text, or why there is none."""
        try:
            text = self.codec.decode(self.data)
        except UnicodeError:
            return self.reject("invalid_encoding", self.codec.fault)
        if "\0" in text:
            return self.reject("nul_byte", "the file holds a NUL byte")
        if not text or text.isspace():
            return self.reject("no_text", "the file is blank" if text else "the file is empty")
        return text

    def reject(self, reason: str, detail: str) -> Reject:
        """The reject of the file as the one record it is."""
        return Reject(1, self.byte_offset, reason, detail)


def whole_file(path: Path, reading: Reading, max_record_bytes: int) -> WholeFile | Reject:
    """A file that is one record; a reject where it is too long or breaks off.

    Reads no more than `max_record_bytes` and a block. Raises UnreadableFile where the file is no text at all.
    """
    held: list[bytes] = []
    held_bytes, fault = 0, None
    with open_stream(path, reading.encoding) as (blocks, codec):
        try:
            for block in blocks:
                held.append(block)
                held_bytes += len(block)
                if held_bytes - codec.bom_bytes > max_record_bytes:
                    fault = ("too_long", f"file longer than {max_record_bytes} bytes")
                    break
        except BrokenStream as broken:
            fault = ("truncated_file", str(broken))
    data = b"".join(held)
    kind = next((kind for magic, kind in _NO_TEXT if data.startswith(magic)), None)
    if kind is not None:
        raise UnreadableFile(
            f"{path}: is {kind}, not text. Convert it to text, or take it out of the folder."
        )
    whole = WholeFile(data[codec.bom_bytes :], codec)
    return whole if fault is None else whole.reject(*fault)


class _Stretch(NamedTuple):
    """Whole lines, many blocks of them: the number and byte offset of the first, and a newline and their bytes.

    The newline goes before them because Polars takes a text that begins with "x^" for zlib data.
    """

    number: int
    byte_offset: int
    framed: bytes


def _stretches(parts: Iterable[LineChunk | Line]) -> Iterator[_Stretch | Line]:
    """The same lines, chunks that follow one another joined to STRETCH_BYTES or a little more."""
    held: list[LineChunk] = []
    held_bytes = 0
    for part in parts:
        if isinstance(part, LineChunk):
            held.append(part)
            held_bytes += len(part.data)
        if held and (isinstance(part, Line) or held_bytes >= STRETCH_BYTES):
            yield _stretch(held)
            held, held_bytes = [], 0
        if isinstance(part, Line):
            yield part
    if held:
        yield _stretch(held)


def _stretch(chunks: list[LineChunk]) -> _Stretch:
    framed = b"".join((b"\n", *(chunk.data for chunk in chunks)))
    return _Stretch(chunks[0].number, chunks[0].byte_offset, framed)


def _rows(part: _Stretch | Line, codec: Codec, max_record_bytes: int) -> Iterator[Item]:
    """The rows of some lines: at once if they are good, else one by one."""
    if isinstance(part, Line):
        yield from _one_by_one([part], codec, max_record_bytes)
        return
    block = _at_once(part, max_record_bytes)
    if block is None:
        lines = physical_lines([part.framed[1:]], codec, max_record_bytes, part.number, part.byte_offset)
        yield from _one_by_one(lines, codec, max_record_bytes)
    elif len(block):
        yield block


def _at_once(stretch: _Stretch, max_record_bytes: int) -> RowBlock | None:
    """The rows of whole lines of UTF-8, or None where the lines must be looked at one by one."""
    if b"\0" in stretch.framed:
        return None
    try:
        texts = pl.read_lines(stretch.framed, name="text").to_series()[1:]
    except (pl.exceptions.PolarsError, OSError):
        return None
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64) + 1
    raw = np.frombuffer(stretch.framed, dtype=np.uint8)[1:]
    if b"\r" in stretch.framed:
        newlines = np.flatnonzero(raw == ord("\n"))
        if len(newlines) != len(sizes):
            return None
        sizes += raw[newlines - 1] == ord("\r")
    ends = np.cumsum(sizes)
    if ends[-1] != len(raw) or int(sizes.max()) > max_record_bytes + 1:
        return None
    starts = ends - sizes
    numbers: range | memoryview = range(stretch.number, stretch.number + len(texts))
    blank = _blank(texts, np.flatnonzero(_SPACE_LEADS[raw[starts]]))
    if len(blank):
        kept = np.delete(np.arange(len(texts)), blank)
        texts, starts, numbers = texts.gather(kept), starts[kept], (kept + stretch.number).data
    return RowBlock(numbers, (starts + stretch.byte_offset).data, {"text": texts})


def _blank(texts: pl.Series, candidates: _Places) -> _Places:
    """Those of the candidates whose text is nothing but white space."""
    if not len(candidates):
        return candidates
    is_blank = texts.gather(candidates).str.strip_chars(_SPACES).str.len_bytes() == 0
    blank: _Places = candidates[is_blank.to_numpy()]
    return blank


def _one_by_one(lines: Iterable[Line], codec: Codec, max_record_bytes: int) -> Iterator[Item]:
    """The rows and rejects of lines: the way that decides. Rows between two rejects come as one block."""
    places: list[tuple[int, int]] = []
    texts: list[str] = []
    held_bytes = 0
    for line in lines:
        text = _text_of(line, codec, max_record_bytes)
        if isinstance(text, str):
            places.append((line.number, line.byte_offset))
            texts.append(text)
            held_bytes += len(line.data)
        if texts and (isinstance(text, Reject) or held_bytes >= STRETCH_BYTES):
            yield _block(places, texts)
            places, texts, held_bytes = [], [], 0
        if isinstance(text, Reject):
            yield text
    if texts:
        yield _block(places, texts)


def _block(places: list[tuple[int, int]], texts: list[str]) -> RowBlock:
    numbers, offsets = zip(*places, strict=True)
    return RowBlock(numbers, offsets, {"text": pl.Series("text", texts, dtype=pl.String)})


def _text_of(line: Line, codec: Codec, max_record_bytes: int) -> str | Reject | None:
    """A line's text, or why it has none; None where the line is blank."""
    if line.end in (End.TOO_LONG, End.BROKEN):
        return reject_of_unfit(line, max_record_bytes)
    try:
        text = codec.decode(line.data)
    except UnicodeError:
        return Reject(line.number, line.byte_offset, "invalid_encoding", codec.fault)
    if line.end is End.NEWLINE:
        text = text.removesuffix("\r")
    if not text or text.isspace():
        return None
    if "\0" in text:
        return Reject(line.number, line.byte_offset, "nul_byte", "the line holds a NUL byte")
    return text
