"""What is wrong with the values of Arrow arrays, a whole array at a time.

Lives here: which rows hold something that no record may hold, and how many bytes rows take. Keep out: what
values become (`arrow_values`), rejects (`parquet`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dataset_pipeline.storage.readers.arrow_values import as_list, flat, is_list, is_text


class Fault(NamedTuple):
    """reason: a word of READ_REASONS. what: for a person. rows: indices in the array, ascending."""

    reason: str
    what: str
    rows: npt.NDArray[np.int64]


def faults(array: Any) -> Iterator[Fault]:
    """What no record may hold, anywhere in a flat array: U+0000, broken UTF-8, numbers that are not finite."""
    for leaf, rows in _leaves(array, None):
        if is_text(leaf.type):
            found: Iterator[tuple[str, str, Any]] = _text_faults(leaf)
        elif pa.types.is_floating(leaf.type):
            found = _number_faults(leaf)
        else:
            continue
        for reason, what, mask in found:
            # A null is no value, whatever bytes lie under it.
            hit = np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
            if len(hit):
                yield Fault(reason, what, hit if rows is None else np.unique(rows[hit]))


def row_bytes(array: Any) -> npt.NDArray[np.int64]:
    """Bytes of text and of binary values in each row of a flat array; 8 for each other value of a nested one."""
    total = np.zeros(len(array), np.int64)
    for leaf, rows in _leaves(array, None):
        if is_text(leaf.type) or pa.types.is_binary(leaf.type) or pa.types.is_large_binary(leaf.type):
            sizes = pc.fill_null(pc.binary_length(leaf), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        elif rows is None:
            continue
        else:
            sizes = np.full(len(leaf), 8, np.int64)
        total += sizes if rows is None else np.bincount(rows, sizes, len(array)).astype(np.int64)
    return total


def _leaves(
    array: Any, rows: npt.NDArray[np.int64] | None
) -> Iterator[tuple[Any, npt.NDArray[np.int64] | None]]:
    """Every array of plain values in `array`, and the row each value belongs to; None where that is its place."""
    if pa.types.is_struct(array.type):
        for child in array.flatten():
            yield from _leaves(flat(child), rows)
    elif is_list(array.type):
        array = as_list(array)
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        inner = np.repeat(np.arange(len(array), dtype=np.int64), lengths)
        yield from _leaves(flat(array.flatten()), inner if rows is None else rows[inner])
    else:
        yield array, rows


def _text_faults(array: Any) -> Iterator[tuple[str, str, Any]]:
    """Looks at the bytes of all texts at once; at each text only where they hint at a fault."""
    _, offset_buffer, data_buffer = array.buffers()
    if not len(array) or data_buffer is None:
        return
    offsets = np.frombuffer(offset_buffer, np.int64 if pa.types.is_large_string(array.type) else np.int32)
    data = np.frombuffer(data_buffer, np.uint8)[offsets[array.offset] : offsets[array.offset + len(array)]]
    if not len(data):
        return
    if data.min() == 0:
        yield "nul_byte", "holds the character U+0000", pc.match_substring(array, "\0")
    if data.max() >= 128:
        # Arrow reads without looking, and Polars takes text as valid: bad bytes must not get that far.
        raw = array.view(pa.large_binary() if pa.types.is_large_string(array.type) else pa.binary())
        try:
            pl.Series(pl.from_arrow(raw)).cast(pl.String)
        except pl.exceptions.PolarsError:
            invalid = pa.array([value is not None and not _is_utf8(value) for value in raw.to_pylist()])
            yield "invalid_encoding", "holds text that is not valid utf-8", invalid


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _number_faults(array: Any) -> Iterator[tuple[str, str, Any]]:
    finite = pc.is_finite(array.cast(pa.float64()))
    if pc.all(finite).as_py() is False:
        yield "non_finite_number", "holds a number that is not finite", pc.invert(finite)
