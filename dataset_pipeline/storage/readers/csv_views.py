"""Columns of text that point into the bytes they were read from, so that nothing is copied.

Lives here: Arrow's layout of such columns. Keep out: where in the bytes a text lies (`csv_scan`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]

BEFORE, AFTER = b" " * 4, b" " * 12
"""What stands around the bytes of a window, so that 16 bytes can be taken around any place in it."""

_INLINE = 12
"""Bytes of text that an Arrow view holds itself (Arrow columnar format, Variable-size Binary View Layout)."""
_KEPT = np.zeros((_INLINE + 2, 12), np.uint8)
for _size in range(_INLINE + 1):
    _KEPT[_size, :_size] = 0xFF
_KEPT[_INLINE + 1, :4] = 0xFF
_KEPT_WORDS = _KEPT.view(np.uint32)
"""By size of a text: which of the 12 bytes after a view's length are text. A long text keeps four."""


def window_of(pieces: list[bytes | memoryview]) -> bytes:
    """The bytes of a window in one, with what stands around them."""
    return b"".join([BEFORE, *pieces, AFTER])


def text_views(window: bytes, starts: Ints, sizes: Ints, buffer: int) -> NDArray[np.uint32]:
    """Arrow's view of each text: its length, then the text itself or four bytes, buffer and offset."""
    # Four bytes before a text and twelve of it are a view but for the length, which takes their place.
    around: NDArray[Any] = np.ndarray((len(window) - 15,), "V16", window, 0, (1,))
    views = around[starts].view(np.uint32).reshape(-1, 4)
    views[:, 0] = sizes
    views[:, 1:] &= _KEPT_WORDS[np.minimum(sizes, _INLINE + 1)]
    is_long = sizes > _INLINE
    views[:, 2] |= is_long * np.uint32(buffer)
    views[:, 3] |= (is_long * (starts + len(BEFORE))).astype(np.uint32)
    return views


def text_series(name: str, views: NDArray[np.uint32], buffers: list[pa.Buffer]) -> pl.Series:
    import pyarrow as pa

    own = pa.py_buffer(np.ascontiguousarray(views))
    return pl.Series(name, pa.Array.from_buffers(pa.string_view(), len(views), [None, own, *buffers]))
