"""Parquet: rows in blocks of typed columns, in memory that does not grow with the file.

Lives here: opening, how many rows are decoded at a time, damage, rejects. Keep out: what a value becomes
(`arrow_values`), what is wrong with it (`arrow_faults`), the meaning of a row's fields.

A row's line is its number, from 1; byte_offset is 0. Row groups are read one after the other, each in batches.
A file that is damaged in its data gives the rows before the damage and one last reject `truncated_file`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import arrow_faults, arrow_values
from dataset_pipeline.storage.readers.packing import opened
from dataset_pipeline.storage.readers.rows import Item, RawRow, Reject, RowBlock, UnreadableFile

MAX_BATCH_ROWS = 8192
"""Decoded at a time. More is slower (16,384: twice the time; measured), fewer than 4,096 too."""

BATCH_BYTES = 32 * 2**20
"""Unpacked size of a batch, as far as the file's own figures say it: wide rows come fewer at a time."""

WORST_BATCH_BYTES = 2**28
"""What a batch may take if all its rows held the longest text of the dictionary: a text stored once
can stand in every row, so that a file of a few hundred bytes unpacks to any size (measured)."""

_MAGIC = b"PAR1"
_MAGIC_ENCRYPTED = b"PARE"
_LFS = b"version https://git-lfs"
_KINDS = {
    b"\x1f\x8b": ("gzip data", "Unpack it: Parquet packs itself"),
    b"\x28\xb5\x2f\xfd": ("zstd data", "Unpack it: Parquet packs itself"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "Give it the suffix it should have"),
    b"ARROW1": ("an Arrow file", "Write it as Parquet"),
    b"ORC": ("an ORC file", "Write it as Parquet"),
}
_BUFFER_BYTES = 2**20
_NAME_CHARS = 60
"""Of a column's name in a reject."""
_DAMAGE = (pa.ArrowException, OSError, MemoryError, ValueError)
"""What Arrow raises on damaged data: its own errors, among them sizes that cannot be had, and names that are no text."""


def columns(path: Path, reading: Reading) -> list[str]:
    """Names from the file's schema. Raises UnreadableFile."""
    with _open(path) as file:
        return list(file.schema_arrow.names)


def read(path: Path, reading: Reading, max_record_bytes: int) -> Iterator[Item]:
    """Blocks of rows; single rows and rejects where a batch holds rows that are none.

    A row is rejected where a text holds U+0000 (`nul_byte`) or broken UTF-8 (`invalid_encoding`), where a
    number is not finite (`non_finite_number`), and where its texts and lists are together longer than
    `max_record_bytes` (`too_long`).
    """
    with _open(path) as file, _probe(path, file) as probe:
        batches, start = _batches(file, probe), 0
        while (batch := _next(batches, path, start)) is not None:
            if batch.num_rows:
                yield from _items(batch, start, max_record_bytes)
                start += batch.num_rows
        if start < (total := file.metadata.num_rows):
            detail = f"data are damaged after row {start}; the file claims {total} rows"
            yield Reject(start + 1, 0, "truncated_file", detail)


def _next(batches: Iterator[Any], path: Path, rows_given: int) -> Any | None:
    """The next batch; None at the end and where the data are damaged. Raises UnreadableFile where no row can be read."""
    try:
        return next(batches, None)
    except _DAMAGE as error:
        if rows_given == 0 and "crypt" in str(error):
            raise UnreadableFile(f"{path}: has encrypted columns. Send it decrypted.") from None
        if rows_given == 0 and isinstance(error, pa.ArrowNotImplementedError):
            remedy = "Write it anew, with snappy or zstd"
            raise UnreadableFile(f"{path}: is written in a way that cannot be read here. {remedy}.") from None
        return None


def _open(path: Path) -> Any:
    """The file, its schema checked. Raises UnreadableFile."""
    _check_ends(path)
    try:
        file = _parquet_file(path)
        names, types = list(file.schema_arrow.names), list(file.schema_arrow.types)
    except pa.ArrowNotImplementedError:
        raise UnreadableFile(
            f"{path}: has a column of a type that is not known here. Write it anew without it."
        ) from None
    except _DAMAGE as error:
        what = (
            "is encrypted. Send it decrypted"
            if "crypt" in str(error)
            else "has a damaged footer. Send it again"
        )
        raise UnreadableFile(f"{path}: {what}.") from None
    if not names:
        raise UnreadableFile(f"{path}: has no columns. Send a file that has some.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UnreadableFile(f"{path}: has two columns named {twice[0]!r}. Rename one.")
    for name, arrow_type in zip(names, types, strict=True):
        if part := arrow_values.unfit_part(arrow_type, repr(name)):
            raise UnreadableFile(f"{path}: {part}, which has no reading. Leave it out or write it as text.")
    return file


def _parquet_file(path: Path, dictionaries: list[str] | None = None) -> Any:
    # Without pre_buffer and with a buffer, a column chunk is streamed, not read whole. Checksums are
    # checked where the writer left some.
    return pq.ParquetFile(
        str(path),
        read_dictionary=dictionaries,
        pre_buffer=False,
        buffer_size=_BUFFER_BYTES,
        page_checksum_verification=True,
    )


def _check_ends(path: Path) -> None:
    """Raises UnreadableFile where the first or last bytes are not those of a Parquet file."""
    with opened(path) as file:
        try:
            head = file.read(64)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 4, 0))
            tail = file.read(4)
        except OSError as error:
            raise UnreadableFile(f"{path}: cannot be read ({error.strerror}). Send the file again.") from None
    if not head:
        raise UnreadableFile(f"{path}: is an empty file. Send it again.")
    if head.startswith(_LFS):
        raise UnreadableFile(
            f"{path}: is a Git LFS pointer, not the file. Fetch the file itself, for example with: git lfs pull."
        )
    if _MAGIC_ENCRYPTED in (head[:4], tail):
        raise UnreadableFile(f"{path}: is encrypted. Send it decrypted.")
    if not head.startswith(_MAGIC):
        kinds = (kind for magic, kind in _KINDS.items() if head.startswith(magic))
        kind, remedy = next(kinds, ("plain text?", "Give it the suffix it should have"))
        raise UnreadableFile(f"{path}: is not a Parquet file ({kind}). {remedy}.")
    if tail != _MAGIC:
        raise UnreadableFile(f"{path}: ends early, its footer is missing. Send the file again.")


def _texts(file: Any) -> dict[str, int]:
    """Path to number of the columns that are stored as texts or bytes."""
    columns = [file.schema.column(number) for number in range(file.metadata.num_columns)]
    return {column.path: n for n, column in enumerate(columns) if column.physical_type == "BYTE_ARRAY"}


def _probe(path: Path, file: Any) -> Any:
    """The same file, opened to read texts as dictionaries; its schema is known to be sound."""
    return _parquet_file(path, list(_texts(file)))


def _batches(file: Any, probe: Any) -> Iterator[Any]:
    """The rows as record batches of one row group each, few enough at a time for their size."""
    texts = _texts(file)
    # Arrow does not look whether a damaged dictionary has what its rows point at.
    is_packed = any(arrow_values.holds_dictionary(pa.struct([field])) for field in file.schema_arrow)
    for number in range(file.metadata.num_row_groups):
        rows = _batch_rows(file.metadata.row_group(number), number, probe, texts)
        for batch in file.iter_batches(rows, row_groups=[number]):
            if is_packed:
                batch.validate(full=True)
            yield batch


def _batch_rows(group: Any, number: int, probe: Any, texts: dict[str, int]) -> int:
    """How many rows of a row group to decode at a time.

    Asks the row group for its own figures alone: pyarrow 26 ends the process when asked for those of a
    column whose statistics are damaged (measured), unless reading that column has found them sound.
    """
    rows, size = max(int(group.num_rows), 1), max(int(group.total_byte_size), 1)
    batch_rows = max(1, min(MAX_BATCH_ROWS, rows, BATCH_BYTES * rows // size))
    if not texts or batch_rows * size <= WORST_BATCH_BYTES:
        return batch_rows
    # One row, its texts as dictionaries: that reads the dictionaries and no more.
    first = next(probe.iter_batches(1, row_groups=[number], columns=list(texts)), None)
    if first is None:
        return batch_rows
    values = max(int(group.column(place).num_values) for place in texts.values())
    longest = sum(_longest_text(array) for array in first.columns) * max(1, values // rows)
    return max(1, min(batch_rows, WORST_BATCH_BYTES // max(longest, 1)))


def _longest_text(array: Any) -> int:
    """Bytes of the longest text in the dictionaries of an array."""
    if pa.types.is_dictionary(array.type):
        lengths = pc.binary_length(array.dictionary)
        return int(pc.max(lengths).as_py() or 0)
    if pa.types.is_struct(array.type):
        return sum(_longest_text(child) for child in array.flatten())
    if pa.types.is_map(array.type):
        return _longest_text(array.keys) + _longest_text(array.items)
    return _longest_text(array.values) if arrow_values.is_nested(array.type) else 0


def _items(batch: Any, start: int, max_record_bytes: int) -> Iterator[Item]:
    """A batch as one block; as single rows and rejects, in order, where a row of it is none."""
    names, arrays = batch.schema.names, [arrow_values.flat(array) for array in batch.columns]
    rejects: dict[int, Reject] = {}
    for name, array in zip(names, arrays, strict=True):
        for fault in arrow_faults.faults(array):
            for row in fault.rows.tolist():
                where = f"row {start + row + 1}, column {name[:_NAME_CHARS]!r} {fault.what}"
                rejects.setdefault(row, Reject(start + row + 1, 0, fault.reason, where))
    for row in _too_long(arrays, max_record_bytes):
        where = f"the texts of row {start + row + 1} are together longer than {max_record_bytes} bytes"
        rejects.setdefault(row, Reject(start + row + 1, 0, "too_long", where))
    if rejects:
        fit = np.ones(batch.num_rows, bool)
        fit[list(rejects)] = False
        arrays = [array.filter(pa.array(fit)) for array in arrays]
        lines: Sequence[int] = (np.flatnonzero(fit) + start + 1).tolist()
    else:
        lines = range(start + 1, start + batch.num_rows + 1)
    columns = {name: arrow_values.values(array) for name, array in zip(names, arrays, strict=True)}
    block = RowBlock(lines, [0] * len(lines), columns)
    if not rejects:
        yield block
    else:
        yield from _in_order(block, rejects, start)


def _in_order(block: RowBlock, rejects: dict[int, Reject], start: int) -> Iterator[RawRow | Reject]:
    waiting = iter(sorted(rejects.items()))
    upcoming = next(waiting, None)
    for row in block.rows():
        while upcoming is not None and start + upcoming[0] + 1 < row.line:
            yield upcoming[1]
            upcoming = next(waiting, None)
        yield row
    if upcoming is not None:
        yield upcoming[1]
    yield from (reject for _, reject in waiting)


def _too_long(arrays: list[Any], max_record_bytes: int) -> list[int]:
    """Rows above the limit. Looks at single rows only where all of them together are above it."""
    whole = sum(int(array.nbytes) for array in arrays)
    if whole <= max_record_bytes and not any(arrow_values.holds_dictionary(array.type) for array in arrays):
        return []
    sizes = sum((arrow_faults.row_bytes(array) for array in arrays), np.zeros(len(arrays[0]), np.int64))
    return [int(row) for row in np.flatnonzero(sizes > max_record_bytes)]
