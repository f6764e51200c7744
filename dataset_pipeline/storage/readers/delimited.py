"""CSV and TSV: the way from a file to its columns and rows.

Lives here: the header, and which reading a file gets: in blocks where its encoding lets bytes be looked
at (`csv_blocks`), else record by record (`csv_records`). Keep out: the dialect (`dialect`), opening files
(`streams`), types and meaning of the values, which stay strings.

Lines end with \\n or \\r\\n, both in one file if need be. Carriage returns alone (old Mac) end no line:
such a file is refused, because read as lines it would be one record of any length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.csv_blocks import BlockReader, Stream
from dataset_pipeline.storage.readers.csv_records import CARRIAGE_RETURN, Record, Records, Table
from dataset_pipeline.storage.readers.dialect import Dialect, Lines, settled_dialect
from dataset_pipeline.storage.readers.rows import MAX_RECORD_BYTES, Item, Reject, UnreadableFile
from dataset_pipeline.storage.readers.streams import Codec, open_stream, physical_lines

_ASCII_FAMILIES = ("ascii", "iso8859-", "cp125", "koi8-")
"""Names of encodings of one byte a character, whose first half is ASCII: what is ASCII in them is UTF-8."""


def columns(path: Path, reading: Reading) -> list[str] | None:
    """Names from the header; numbers from "0" where there is none, None where there is no row either."""
    with open_stream(path, reading.encoding) as (blocks, codec):
        opened = _opened(Stream(blocks), codec, path, reading, MAX_RECORD_BYTES)
        return opened.table.names if opened else None


def read(path: Path, reading: Reading, max_record_bytes: int) -> Iterator[Item]:
    """Rows and rejects. A record that makes no sense rejects its first line only; reading goes on with the next.

    Raises UnreadableFile where there is no usable header, or no usable first row in its place.
    """
    with open_stream(path, reading.encoding) as (blocks, codec):
        stream = Stream(blocks)
        opened = _opened(stream, codec, path, reading, max_record_bytes)
        if opened is None:
            return
        if opened.first is not None:
            yield opened.table.item(opened.first)
        place = opened.records.place()
        if place is not None and _can_be_scanned(opened, codec):
            reader = BlockReader(stream, codec, opened.dialect, opened.table, max_record_bytes)
            yield from reader.read(place)
        else:
            stream.forget()
            width = len(opened.table.names)
            while (found := opened.records.read(width)) is not None:
                yield opened.table.item(found)


class _Opened(NamedTuple):
    """A stream whose columns are known. first: the row they are counted in, where there is no header."""

    records: Records
    dialect: Dialect
    table: Table
    first: Record | None


def _opened(
    stream: Stream, codec: Codec, path: Path, reading: Reading, max_record_bytes: int
) -> _Opened | None:
    """The stream after its header; None where it has no header and no row. Raises UnreadableFile."""
    lines = Lines(physical_lines(stream.reading_from(0), codec, max_record_bytes))
    dialect = settled_dialect(lines, codec, reading, path)
    records = Records(lines, codec, dialect, max_record_bytes)
    found = records.read(None)
    if found is None:
        if not reading.header:
            return None
        raise UnreadableFile(f"{path}: empty file: a CSV needs a header line")
    if isinstance(found, Reject):
        raise UnreadableFile(f"{path}: {_no_columns(found, reading.header)}")
    if reading.header:
        names = _names(found.fields, path)
        return _Opened(records, dialect, Table(names, found.fields), None)
    names = [str(number) for number in range(len(found.fields))]
    return _Opened(records, dialect, Table(names, None), found)


def _no_columns(reject: Reject, has_header: bool) -> str:
    """What is wrong with the line that should say what columns there are."""
    what = "header" if has_header else "first row"
    if reject.detail == CARRIAGE_RETURN:
        return (
            f"the {what} on line {reject.line} holds {CARRIAGE_RETURN}: lines that end with carriage returns "
            "alone (old Mac) are not read. Convert its line ends to \\n."
        )
    return (
        f"the {what} on line {reject.line} cannot be read ({reject.reason}: {reject.detail}). "
        "Mend that line or send the file again."
    )


def _names(header: list[str], place: object) -> list[str]:
    """Names of the columns; an empty one is named by its place. Raises UnreadableFile on duplicates.

    Columns are told by number: in a file without a header these "names" are the text of a row.
    """
    names = [name if name.strip() else f"column_{number}" for number, name in enumerate(header, 1)]
    first_place: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in first_place:
            raise UnreadableFile(
                f"{place}: header columns {first_place[name]} and {number} have the same name. Rename one."
            )
        first_place[name] = number
    return names


def _can_be_scanned(opened: _Opened, codec: Codec) -> bool:
    """Whether structure and values can be told by bytes, and a repeated header by its bytes as they stand."""
    dialect, header = opened.dialect, opened.table.header or []
    return (
        (codec.is_utf8 or codec.name.startswith(_ASCII_FAMILIES))
        and dialect.delimiter.isascii()
        and not (dialect.quoted and any('"' in name for name in header))
    )
