"""Where JSON values begin and end in a stream of bytes, in bounded memory and by brackets and quotes alone.

Lives here: following strings and brackets over block borders, line numbers, byte offsets.
Keep out: other encodings (`json_bytes`), what a value means and whether it is JSON at all (`documents`).

Scanning is by compiled patterns that run over whole strings and flat containers at once; every byte
is looked at a bounded number of times, whatever the size of a block or the depth of the nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from dataset_pipeline.storage.readers.json_bytes import Utf8Blocks

MAX_FOLLOWED = 1_000_000
"""Levels of brackets that are followed to find the end of an item; far above any row, and a bound on memory."""

END = -1
"""In place of a byte: there is no more."""

QUOTE, COMMA, COLON, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = b'",:[]{}'
_CLOSING = {OPEN_LIST: CLOSE_LIST, OPEN_OBJECT: CLOSE_OBJECT}

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
_SKIP = re.compile(
    rb'(?:[^"\[\]{}]++|' + _STRING + rb"|\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\])*+", re.DOTALL
)
"""Anything up to the next bracket of a container that is not flat, or a string that does not end here."""
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_BARE = re.compile(rb'[^ \t\r\n,\[\]{}"]*+')
_BLANK = re.compile(rb"[ \t\r\n]*+")
_BLANKS = b" \t\r\n"
_MAX_KEY_BYTES = 4096
"""A longer key of a container is not the one that was asked for."""


class Place(NamedTuple):
    """1-based physical line, and offset in the unpacked stream."""

    line: int
    byte_offset: int


class BrokenStructure(Exception):
    """What follows `place` cannot be cut into items. reason: a word of READ_REASONS; detail: no row text."""

    def __init__(self, place: Place, reason: str, detail: str):
        super().__init__(detail)
        self.place, self.reason, self.detail = place, reason, detail


class Ended(Exception):
    """The document ends within what began at `place`."""

    def __init__(self, place: Place):
        super().__init__("the document ends before its end")
        self.place = place


class Value(NamedTuple):
    """One value: where it begins, and its bytes, which are None where it is above the limit."""

    place: Place
    data: bytes | None


class Scan:
    """A place in a document, which only moves forward.

    data, at: the bytes at hand and the next one to read; `at` may be moved within `data` by the caller.
    """

    def __init__(self, source: Utf8Blocks):
        self.source = source
        self.data = b""
        self.at = 0
        self.base = 0
        self._line = 1
        self._counted = 0

    def more(self) -> bool:
        """Drops what was read and gets the next block behind the rest; False at the end."""
        block = self.source.next(self.base + self.at)
        if block is None:
            return False
        self._line += self.data.count(b"\n", self._counted, self.at)
        self.base += self.at
        self.data = self.data[self.at :] + block
        self.at = self._counted = 0
        return True

    def place(self) -> Place:
        """The line and offset of the next byte."""
        self._line += self.data.count(b"\n", self._counted, self.at)
        self._counted = self.at
        return Place(self._line, self.source.offset(self.base + self.at))

    def next_byte(self) -> int:
        """The next byte that is not blank, left to be read; END where there is none."""
        while True:
            found = _BLANK.match(self.data, self.at)
            assert found is not None
            self.at = found.end()
            if self.at < len(self.data):
                return self.data[self.at]
            if not self.more():
                return END

    def broken(self, detail: str) -> BrokenStructure:
        """To raise where the next byte is not what must stand here."""
        return BrokenStructure(self.place(), "invalid_json", detail)

    def line_ahead(self, limit_bytes: int) -> tuple[bytes, int] | None:
        """The rest of this line, and the first byte behind it that is not blank; nothing is read.

        None where there is no such byte, or where the line, or the blanks behind it, are more than `limit_bytes`.
        """
        pieces, held_bytes, line_end, follows = [self.data[self.at :]], 0, -1, -1
        while True:
            piece, start = pieces[-1], 0
            if line_end < 0 and (found := piece.find(b"\n")) >= 0:
                line_end, start = held_bytes + found, found
            if line_end >= 0 and (ahead := piece[start:].lstrip(_BLANKS)):
                follows = held_bytes + len(piece) - len(ahead)
            held_bytes += len(piece)
            if follows >= 0 or held_bytes > line_end + 1 + limit_bytes:
                break
            block = self.source.next(self.base + self.at)
            if block is None:
                break
            pieces.append(block)
        self.data = b"".join((self.data[: self.at], *pieces))
        if follows < 0 or line_end > limit_bytes or follows > line_end + 1 + limit_bytes:
            return None
        return self.data[self.at : self.at + line_end], self.data[self.at + follows]

    def value(self, limit_bytes: int) -> Value:
        """Reads one value; the next byte is its first. Above `limit_bytes` its bytes are not kept.

        Raises Ended, and BrokenStructure where brackets do not match or are too many.
        """
        place = self.place()
        pieces: list[bytes] = []
        held_bytes, start = 0, self.at

        def next_block() -> bool:
            nonlocal held_bytes, start
            held_bytes += self.at - start
            if held_bytes <= limit_bytes:
                pieces.append(self.data[start : self.at])
            else:
                pieces.clear()
            has_more = self.more()
            start = self.at
            return has_more

        first = self.data[self.at]
        if first in b'"[{':
            following = self._follow(place)
            while next(following, False):
                if not next_block():
                    raise Ended(place)
        else:
            while (found := _BARE.match(self.data, self.at)) is not None:
                self.at = found.end()
                if self.at < len(self.data) or not next_block():
                    break
        held_bytes += self.at - start
        if held_bytes > limit_bytes:
            return Value(place, None)
        return Value(place, b"".join((*pieces, self.data[start : self.at])))

    def _follow(self, place: Place) -> Iterator[bool]:
        """Moves behind the string or container that begins here; yields each time it needs another block."""
        stack = bytearray()
        in_string = False
        while True:
            found = (
                (_STRING_REST if in_string else _SKIP).match(self.data, self.at)
                if stack or in_string
                else None
            )
            if found is not None:
                self.at = found.end()
            if self.at == len(self.data) or (in_string and self.data[self.at] != QUOTE):
                yield True
                continue
            byte = self.data[self.at]
            self.at += 1
            if byte == QUOTE:
                in_string = not in_string
            elif byte in _CLOSING:
                stack.append(_CLOSING[byte])
                if len(stack) > MAX_FOLLOWED:
                    raise BrokenStructure(place, "too_deep", f"nested deeper than {MAX_FOLLOWED} levels")
            elif stack.pop() != byte:
                line = self.place().line
                raise BrokenStructure(place, "invalid_json", f"brackets do not match on line {line}")
            if not stack and not in_string:
                return

    def members(self) -> Iterator[str | None]:
        """The keys of the object that begins here, each with its value next to be read, by the caller.

        None stands for a key that is no valid string or longer than any one would name.
        """
        start = self.place()
        self.at += 1
        byte = self.next_byte()
        if byte == CLOSE_OBJECT:
            self.at += 1
            return
        while True:
            if byte == END:
                raise Ended(start)
            if byte != QUOTE:
                raise self.broken("a key was expected")
            key = self.value(_MAX_KEY_BYTES).data
            byte = self.next_byte()
            if byte != COLON:
                raise Ended(start) if byte == END else self.broken("a colon was expected")
            self.at += 1
            self.expect_value(start)
            yield _text(key)
            if self.ends_container(CLOSE_OBJECT, start):
                return
            byte = self.next_byte()

    def elements(self) -> Iterator[int]:
        """The indexes of the list that begins here, each with its value next to be read, by the caller."""
        start = self.place()
        self.at += 1
        if self.next_byte() == CLOSE_LIST:
            self.at += 1
            return
        index = 0
        while True:
            self.expect_value(start)
            yield index
            if self.ends_container(CLOSE_LIST, start):
                return
            index += 1

    def expect_value(self, start: Place) -> None:
        """Raises where no value begins at the next byte. start: of the container, for the case that it ends."""
        byte = self.next_byte()
        if byte == END:
            raise Ended(start)
        if byte in b",:]}":
            raise self.broken("a value was expected")

    def ends_container(self, closing: int, start: Place) -> bool:
        """Reads what follows a value: a comma (False) or the closing bracket (True), else raises."""
        byte = self.next_byte()
        if byte == END:
            raise Ended(start)
        if byte not in (COMMA, closing):
            raise self.broken("a comma or the closing bracket was expected")
        self.at += 1
        return byte == closing

    def drain(self) -> int:
        """Reads on to the end, whatever there is; the length of the stream in bytes."""
        while True:
            self.at = len(self.data)
            if not self.more():
                return self.source.raw_bytes


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else msgspec.json.decode(key, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None
