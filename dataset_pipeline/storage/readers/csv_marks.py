"""Where delimiters, quotes and newlines stand in a window of bytes, and which of them are structure.

Lives here: marks, and what is known before a window is looked at. Keep out: whether that reading is
right (`csv_scan` proves it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset_pipeline.storage.readers.csv_views import Ints

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

QUOTE, NEWLINE, RETURN = 0x22, 0x0A, 0x0D


@dataclass(frozen=True)
class Layout:
    """What is known before a window is looked at.

    delimiter: one ASCII byte. header: encoded names, where a row that equals them is a reject.
    ascii_only: text above ASCII is not in UTF-8, so that its records are left out.
    min_run: fewer proven records in a row are left out too: a block of its own costs more.
    """

    delimiter: int
    quoted: bool
    names: tuple[str, ...]
    header: tuple[bytes, ...] | None
    ascii_only: bool
    max_record_bytes: int
    max_record_lines: int
    min_run: int


class Marks(NamedTuple):
    """places: of delimiters, quotes, newlines, returns. kinds: which. outside: indexes of the structure
    among them, returns not counted. escapes: indexes of quotes that the quote right before closes."""

    places: Ints
    kinds: Bytes
    outside: Ints
    escapes: Ints
    is_quote: Bools | None
    has_returns: bool


def marks_of(window: bytes, data: Bytes, layout: Layout) -> Marks:
    """The marks of a window, quotes read as opening and closing in turn unless none of them can open anything."""
    quoted = layout.quoted and b'"' in window
    has_returns = b"\r" in window
    found = data == layout.delimiter
    found |= data == NEWLINE
    if quoted:
        found |= data == QUOTE
    if has_returns:
        found |= data == RETURN
    places = np.flatnonzero(found)
    kinds = data[places]
    is_quote = None
    none = places[:0]
    if quoted:
        is_quote = kinds == QUOTE
        quotes = np.flatnonzero(is_quote)
        at = places[quotes]
        if not _opens(data, at, layout.delimiter):
            places, kinds = places[~is_quote], kinds[~is_quote]
            is_quote = None
    if is_quote is None:
        outside = np.arange(len(places))
        escapes = none
    else:
        outside = np.flatnonzero(~(np.logical_xor.accumulate(is_quote) | is_quote))
        escapes = quotes[2::2][at[2::2] - at[1 : len(at) - 1 : 2] == 1]
    if has_returns:
        outside = outside[kinds[outside] != RETURN]
    return Marks(places, kinds, outside, escapes, is_quote, has_returns)


def _opens(data: Bytes, quotes: Ints, delimiter: int) -> bool:
    """Whether any quote stands where a field may begin: else none of them opens anything."""
    if quotes[0] == 0:
        return True
    before = data[quotes - 1]
    return bool(((before == delimiter) | (before == NEWLINE)).any())
