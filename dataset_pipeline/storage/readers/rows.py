"""What every reader hands out: rows, blocks of rows, rejects, and the words for what is wrong.

Lives here: the types and the closed list of reasons. Keep out: opening files (`streams`), formats (a module each).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

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
        "no_text",
        "non_finite_number",
        "nul_byte",
        "too_deep",
        "too_long",
        "truncated_file",
    }
)
"""The closed list of words a reader may give for rejecting lines."""

MAX_DETAIL_CHARS = 200

MAX_RECORD_BYTES = 16 * 2**20
"""A longer record is a reject: no message is this long, and memory is bounded by it."""


class UnreadableFile(PipelineError):
    """The file as a whole is no batch. Says what is wrong and the remedy; holds no text of the rows."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as collected.

    line: 1-based physical line on which it starts; the row's number where the file has no lines (Parquet,
    a sheet). byte_offset: of its first byte in the unpacked stream; 0 where the file is no stream of text.
    payload: column or key to value; strings only where the file is CSV, TSV or text. A row that is an
    array of values has the keys "0", "1", …
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


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows that all have the same columns, column by column: what a reader hands out where it can.

    lines, byte_offsets: as in RawRow, one for each row. columns: name to as many values; a Series where
    the format has typed columns, else a list of what `RawRow.payload` would hold.
    """

    lines: Sequence[int]
    byte_offsets: Sequence[int]
    columns: Mapping[str, Sequence[Any] | pl.Series]

    def __len__(self) -> int:
        return len(self.lines)

    def rows(self) -> Iterator[RawRow]:
        """The same rows one by one."""
        names = list(self.columns)
        values = zip(*self.columns.values(), strict=True)
        for line, byte_offset, row in zip(self.lines, self.byte_offsets, values, strict=True):
            yield RawRow(line, byte_offset, dict(zip(names, row, strict=True)))


Item = RowBlock | RawRow | Reject
"""What a reader yields, in file order."""
