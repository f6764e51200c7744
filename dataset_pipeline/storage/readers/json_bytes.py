"""The bytes of a JSON document as UTF-8, whatever they were, and where in the file each of them was.

Lives here: declared encodings, block by block. Keep out: opening files (`streams`), what the bytes say (`json_scan`).
"""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from dataset_pipeline.storage.readers.packing import BrokenStream
from dataset_pipeline.storage.readers.rows import UnreadableFile
from dataset_pipeline.storage.readers.streams import Codec

_PIECE_BYTES = 4096
"""What is decoded at once; offsets are looked for within it."""
_MARK = "dataset_pipeline.undecodable"


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """A lone surrogate for bytes that cannot be decoded: as UTF-8 it is invalid again."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udc80", error.end


codecs.register_error(_MARK, _mark_undecodable)


class _Piece(NamedTuple):
    """A stretch of the stream and the text it became. state: of the decoder before it."""

    raw_start: int
    raw: bytes
    state: Any
    text: str


def _even(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one size, so that what a broken character costs does not depend on the blocks."""
    rest = b""
    try:
        for block in blocks:
            data = rest + block
            whole = len(data) - len(data) % _PIECE_BYTES
            if whole:
                yield data[:whole]
            rest = data[whole:]
    except BrokenStream:
        if rest:
            yield rest
        raise
    if rest:
        yield rest


class Utf8Blocks:
    """A stream as blocks of UTF-8 without its byte order mark.

    Bytes that the declared encoding does not hold become bytes that UTF-8 does not hold, so that a value
    around them is found like any other, and is then invalid.
    broken: why the stream broke off, else empty. raw_bytes: read so far, the mark among them.
    """

    def __init__(self, blocks: Iterator[bytes], codec: Codec, place: object):
        self.broken = ""
        self.raw_bytes = 0
        self.codec = codec
        self._place = place
        self._blocks = self._without_mark(blocks if codec.is_utf8 else _even(blocks))
        self._decoder: Any = None if codec.is_utf8 else self._new_decoder()
        self._starts: list[int] = []
        self._pieces: list[_Piece] = []
        self._out_bytes = 0

    def _without_mark(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for block in blocks:
                to_skip = self.codec.bom_bytes - self.raw_bytes
                if to_skip > 0:
                    self.raw_bytes += min(to_skip, len(block))
                    yield block[to_skip:]
                else:
                    yield block
        except BrokenStream as broken:
            self.broken = str(broken)

    def _new_decoder(self) -> Any:
        return codecs.getincrementaldecoder(self.codec.name)(_MARK)

    def next(self, keep_from: int) -> bytes | None:
        """The next block, None at the end. keep_from: offsets before this byte will not be asked for."""
        block = next(self._blocks, None)
        if self._decoder is None:
            self.raw_bytes += len(block or b"")
            return block
        outdated = bisect_right(self._starts, keep_from) - 1
        if outdated > 0:
            del self._starts[:outdated], self._pieces[:outdated]
        try:
            if block is None:
                return None if self.broken else self._decoded(b"", final=True) or None
            cuts = range(0, len(block), _PIECE_BYTES)
            return b"".join([self._decoded(block[cut : cut + _PIECE_BYTES]) for cut in cuts])
        except UnicodeError:
            raise UnreadableFile(
                f"{self._place}: {self.codec.name} cannot be read piece by piece. Convert the file to utf-8."
            ) from None

    def _decoded(self, raw: bytes, final: bool = False) -> bytes:
        state = self._decoder.getstate()
        text: str = self._decoder.decode(raw, final)
        if final:
            self._decoder = self._new_decoder()
        data = text.encode("utf-8", "surrogatepass")
        self._starts.append(self._out_bytes)
        self._pieces.append(_Piece(self.raw_bytes, raw, state, text))
        self._out_bytes += len(data)
        self.raw_bytes += len(raw)
        return data

    def offset(self, position: int) -> int:
        """Where in the stream the byte at `position` of the UTF-8 was."""
        if self._decoder is None:
            return self.codec.bom_bytes + position
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return self.codec.bom_bytes
        piece = self._pieces[index]
        head = piece.text.encode("utf-8", "surrogatepass")[: position - self._starts[index]]
        chars = len(head.decode("utf-8", "surrogatepass"))
        pending: bytes = piece.state[0]
        if chars == 0:
            return piece.raw_start - len(pending)
        if len(piece.raw) == len(piece.text) and not pending:
            return piece.raw_start + chars
        # The fewest bytes that give all characters before it: true of any encoding, stateful ones too.
        low, high = 0, len(piece.raw)
        while low < high:
            middle = (low + high) // 2
            if self._chars_of(piece, middle) >= chars:
                high = middle
            else:
                low = middle + 1
        # A byte that ends a broken character may be one of its own: it brings two characters at once.
        return piece.raw_start + low - (self._chars_of(piece, low) - chars)

    def _chars_of(self, piece: _Piece, raw_bytes: int) -> int:
        """Characters that the first bytes of a piece give."""
        decoder = self._new_decoder()
        decoder.setstate(piece.state)
        return len(decoder.decode(piece.raw[:raw_bytes]))
