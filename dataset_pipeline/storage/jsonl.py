"""Physical lines of a byte stream, what is read from them (rows, rejects), and JSON Lines.

Lives here: the types that every reader hands out, cutting a stream into lines in bounded memory,
declared encodings, one JSON object a line. Keep out: opening and unpacking files (`readers`),
records that span lines (`delimited`), the meaning of a row's fields.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import orjson

from dataset_pipeline.errors import PipelineError

READ_REASONS: frozenset[str] = frozenset(
    {
        "invalid_json",
        "not_an_object",
        "invalid_csv",
        "unclosed_quote",
        "wrong_field_count",
        "repeated_header",
        "invalid_encoding",
        "nul_byte",
        "too_long",
        "truncated_file",
    }
)
"""The closed list of words a reader may give for rejecting lines."""

MAX_DETAIL_CHARS = 200
MAX_NESTING = 250
"""Levels of a row. orjson 3.13 reads 1,024 but writes 254 (measured): a row must be writable again."""


class UnreadableFile(PipelineError):
    """The file as a whole is no batch. Says what is wrong and the remedy; holds no text of the rows."""


class BrokenStream(Exception):
    """The stream of bytes ends before its time. The message becomes a reject's detail."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as collected.

    line: 1-based physical line on which it starts. byte_offset: of its first byte in the unpacked
    stream. payload: column or key to value; strings only where the file is CSV or TSV.
    """

    line: int
    byte_offset: int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """Lines that are no row: where they start, a word of READ_REASONS, and at most 200
    characters for a person, which never repeat a piece of the row."""

    line: int
    byte_offset: int
    reason: str
    detail: str

    def __post_init__(self) -> None:
        if self.reason not in READ_REASONS or len(self.detail) > MAX_DETAIL_CHARS:
            raise ValueError(f"reject reason {self.reason!r} with {len(self.detail)} characters of detail")


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


def physical_lines(blocks: Iterable[bytes], codec: Codec, max_record_bytes: int) -> Iterator[Line]:
    """The lines of a stream of blocks, in order; holds one block and one line at a time.

    A line above `max_record_bytes` comes without its bytes (TOO_LONG). Where the stream breaks off,
    the last item is BROKEN and starts where its partial line does. The byte order mark is skipped.
    """
    number, offset = 1, codec.bom_bytes
    held: list[bytes] = []  # pieces of the line under way, joined once: appending to bytes is quadratic
    held_bytes, to_skip, newline_bytes = 0, codec.bom_bytes, len(codec.newline)

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


def reject_of_unfit(line: Line, max_record_bytes: int) -> Reject:
    """The reject of a TOO_LONG or BROKEN line."""
    if line.end is End.BROKEN:
        return Reject(line.number, line.byte_offset, "truncated_file", line.note)
    return Reject(line.number, line.byte_offset, "too_long", f"line longer than {max_record_bytes} bytes")


_JSON_FAULTS = (
    "depth limit exceeded",
    "invalid escaped sequence in string",
    "invalid high surrogate in string",
    "invalid low surrogate in string",
    "no low surrogate in string",
    "number is infinity",
    "number with leading zero",
    "trailing comma",
    "unexpected character",
    "unexpected content after document",
    "unexpected control character in string",
    "unexpected end of data",
)
"""orjson's words that may be repeated: known to hold nothing of the line."""


def _nodes(payload: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Every key and value with its level; without recursion, which Python ends before orjson does."""
    waiting: list[tuple[int, Any]] = [(1, payload)]
    while waiting:
        level, value = waiting.pop()
        yield level, value
        if isinstance(value, dict):
            waiting.extend((level + 1, part) for pair in value.items() for part in pair)
        elif isinstance(value, list):
            waiting.extend((level + 1, part) for part in value)


def _object_fault(payload: Any, data: bytes) -> tuple[str, str] | None:
    """Reason and detail where parsed JSON is no row, else None. Walks the row only on a hint in its bytes."""
    if not isinstance(payload, dict):
        return "not_an_object", f"the line is a JSON {_json_type(payload)}, not an object"
    if b"\\u0000" in data and any("\0" in value for _, value in _nodes(payload) if isinstance(value, str)):
        return "nul_byte", "a string holds the character U+0000"
    deep = len(data) > MAX_NESTING and data.count(b"{") + data.count(b"[") > MAX_NESTING
    if deep and any(
        level > MAX_NESTING for level, value in _nodes(payload) if isinstance(value, dict | list)
    ):
        return "invalid_json", f"nested deeper than {MAX_NESTING} levels"
    return None


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean"}
    return names.get(type(value), "number")


def _parse_fault(line: Line, text: str, error: orjson.JSONDecodeError) -> Reject:
    if "\0" in text:
        return Reject(line.number, line.byte_offset, "nul_byte", "the line holds a NUL byte")
    fault = next((fault for fault in _JSON_FAULTS if error.msg.startswith(fault)), "not valid JSON")
    return Reject(line.number, line.byte_offset, "invalid_json", f"{fault} at character {error.pos + 1}")


def read_jsonl(lines: Iterable[Line], codec: Codec, max_record_bytes: int) -> Iterator[RawRow | Reject]:
    """One row or reject for each line that is not blank."""
    loads: Callable[[bytes], Any] = orjson.loads
    for line in lines:
        if line.end in (End.TOO_LONG, End.BROKEN):
            yield reject_of_unfit(line, max_record_bytes)
            continue
        try:
            data = line.data if codec.is_utf8 else codec.decode(line.data).encode()
            payload = loads(data)
        except orjson.JSONDecodeError as error:
            try:
                text = data.decode()
            except UnicodeError:
                yield Reject(line.number, line.byte_offset, "invalid_encoding", codec.fault)
                continue
            if text.strip():
                yield _parse_fault(line, text, error)
            continue
        except UnicodeError:
            yield Reject(line.number, line.byte_offset, "invalid_encoding", codec.fault)
            continue
        fault = _object_fault(payload, data)
        if fault is not None:
            yield Reject(line.number, line.byte_offset, *fault)
        else:
            yield RawRow(line.number, line.byte_offset, payload)
