"""Raw rows from the files that sources send, whatever their format.

Lives here: which files are readable, and the one way in: `read_blocks`, `read_rows`, `columns_of`, `file_sha256`.
A format is a module, imported when a file asks for it: `jsonl`, `documents` (JSON), `delimited` (CSV, TSV),
`plain` (text, one record a line or a file), `pages` (HTML), `parquet`, `sheets` (Excel). Keep out: mapping
fields, DuckDB, Dagster, verdicts.

Memory is bounded by `max_record_bytes` and the block of rows under way, whatever a file unpacks to. Every
physical line that is not blank belongs to exactly one row or reject.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from dataset_pipeline.spec.reading import Reading, format_of
from dataset_pipeline.storage.readers.packing import BLOCK_BYTES, opened
from dataset_pipeline.storage.readers.rows import (
    MAX_RECORD_BYTES,
    READ_REASONS,
    Item,
    RawRow,
    Reject,
    RowBlock,
    UnreadableFile,
)

__all__ = [
    "MAX_RECORD_BYTES",
    "READ_REASONS",
    "Item",
    "RawRow",
    "Reject",
    "RowBlock",
    "UnreadableFile",
    "columns_of",
    "file_sha256",
    "read_blocks",
    "read_rows",
]

_MODULES = {
    "jsonl": "jsonl",
    "json": "documents",
    "csv": "delimited",
    "tsv": "delimited",
    "text": "plain",
    "files": "plain",
    "html": "pages",
    "parquet": "parquet",
    "excel": "sheets",
}
"""Format to the module of this package that reads it. Each has `read` and `columns`."""


def file_sha256(path: Path) -> tuple[str, int]:
    """Hex SHA-256 and size in bytes of the file as it lies there, packed or not. Raises UnreadableFile."""
    digest, size = hashlib.sha256(), 0
    with opened(path) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def columns_of(path: Path, reading: Reading | None = None) -> list[str] | None:
    """Column names where the file itself declares them (CSV, TSV, Parquet, a sheet), else None.

    Raises UnreadableFile.
    """
    reading = _settled(path, reading)
    columns: Callable[[Path, Reading], list[str] | None] = _reader(reading).columns
    return columns(path, reading)


def read_blocks(
    path: Path, reading: Reading | None = None, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Item]:
    """Blocks of rows, single rows and rejects of a file, in file order.

    reading: how; by default everything follows from the suffix. The declared encoding is never
    guessed; a leading byte order mark is dropped. A packed file that breaks off gives its rows up to there
    and one last reject `truncated_file`. Raises UnreadableFile, on the first item asked for, where the
    file as a whole is no batch.
    """
    reading = _settled(path, reading)
    read: Callable[[Path, Reading, int], Iterator[Item]] = _reader(reading).read
    return read(path, reading, max_record_bytes)


def read_rows(
    path: Path, reading: Reading | None = None, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[RawRow | Reject]:
    """What `read_blocks` gives, row by row."""
    for item in read_blocks(path, reading, max_record_bytes):
        if isinstance(item, RowBlock):
            yield from item.rows()
        else:
            yield item


def _settled(path: Path, reading: Reading | None) -> Reading:
    """`reading` with its format. Raises UnreadableFile where the suffix says none."""
    reading = reading or Reading()
    found = reading.format or format_of(path.name)
    if found is None:
        raise UnreadableFile(f"{path}: unknown suffix. Name the format, for example with `format: jsonl`.")
    return reading.model_copy(update={"format": found})


def _reader(reading: Reading) -> Any:
    return import_module(f"{__name__}.{_MODULES[str(reading.format)]}")
