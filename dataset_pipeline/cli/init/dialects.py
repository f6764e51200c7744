"""How a table is cut where its reader does not tell: delimiter, quotes, and whether there is a header.

Lives here: trying readings of one file. Keep out: the strict rules of the readers themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataset_pipeline.cli.init.attempts import Settled, good_rows, tried
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.readers import UnreadableFile

_DELIMITERS = ",;\t|"
_NAME = re.compile(r"[^\W\d][\w .:/()#&!?%+-]{0,59}")
_DATA = re.compile(r"[-+]?[\d.,:/ -]*\d[\d.,:/ %-]*|https?://\S+|\S+@\S+\.\w+")


def delimited(path: Path, found: Settled) -> Settled:
    """Delimiter, quotes and header of a table, as its reader tells them, else those that give most rows."""
    rows, error = tried(path, found.reading)
    if error is not None or len(good_rows(rows)) * 2 < len(rows):
        ways: list[tuple[float, int, Settled]] = []
        for number, values in enumerate(_ways()):
            way = found.saying(**values)
            some, refused = tried(path, way.reading, 200)
            good = good_rows(some)
            if refused is not None or not good or len(good[0]) < 2:
                continue
            if not way.reading.header and not _is_data(*_cells(good)):
                continue
            share = len(good) / len(some) * (1.0 if way.reading.header else 0.99)
            ways.append((-share, number, way))
        if ways and min(ways)[0] < -0.5:
            return headed(path, min(ways)[2])
        if error is not None:
            found = found.saying(header=False)
            good = good_rows(tried(path, found.reading)[0])
            if not good or not _is_data(*_cells(good)):
                raise error
    elif found.reading.delimiter is None:
        found = _cut_finer(path, found, good_rows(rows))
    return headed(path, found)


def _cut_finer(path: Path, found: Settled, rows: Sequence[dict[str, Any]]) -> Settled:
    """The delimiter that the names of the columns still hold, where all rows fit it and it makes more columns."""
    for delimiter in _DELIMITERS if rows else ():
        if any(delimiter in name for name in rows[0]):
            way = found.saying(delimiter=delimiter)
            some, error = tried(path, way.reading)
            good = good_rows(some)
            if error is None and len(good) == len(some) >= len(rows) and good and len(good[0]) > len(rows[0]):
                return way
    return found


def _ways() -> Iterator[dict[str, Any]]:
    for header in ({}, {"header": False}):
        for quotes in ({}, {"quotes": "none"}):
            for delimiter in _DELIMITERS:
                yield {"delimiter": delimiter, **quotes, **header}


def headed(path: Path, found: Settled) -> Settled:
    """Whether the first row is data: it looks like data, or its values come again in their columns."""
    if not found.reading.header:
        return _saying_no_header(found)
    columns: list[str] | None
    try:
        columns = readers.columns_of(path, found.reading)
    except UnreadableFile:
        columns = None
    rows, _ = tried(path, found.reading)
    bare = found.saying(header=False)
    if columns and not _is_data(columns, [list(row.values()) for row in good_rows(rows)]):
        return found
    delimiter = found.reading.delimiter or _delimiter_told(path, found.reading)
    if delimiter and found.reading.format != "excel":
        bare = bare.saying(delimiter=delimiter)
    some, error = tried(path, bare.reading)
    if error is not None or len(good_rows(some)) < max(1, len(good_rows(rows))):
        return found
    return _saying_no_header(bare)


def _saying_no_header(found: Settled) -> Settled:
    guessed = found.guessed | {"header": "the first row looks like data"}
    return replace(found, guessed=guessed)


def _cells(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """The first row as text, and the values of those after it."""
    first = ["" if value is None else str(value) for value in rows[0].values()]
    return first, [list(row.values()) for row in rows[1:]]


def _is_data(cells: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
    """Whether a first row is data: no cell of it may be a name, or one comes again in its column, twice or more."""
    filled = [n for n, cell in enumerate(cells) if cell.strip() and not re.fullmatch(r"column_\d+", cell)]
    if not filled:
        return False
    if not any(_is_name(cells[n]) for n in filled):
        return True
    again = (sum(1 for row in rows if n < len(row) and row[n] == cells[n]) for n in filled)
    return len(cells) > 1 and any(count >= 2 for count in again)


def _is_name(cell: str) -> bool:
    """Whether a cell may be the name of a column: a few words that are no sentence, number, date or address."""
    cell = cell.strip()
    if _DATA.fullmatch(cell) or len(cell.split()) > 6 or cell.endswith((".", "!")):
        return False
    return _NAME.fullmatch(cell) is not None or (len(cell) <= 40 and any(map(str.isalpha, cell)))


def _delimiter_told(path: Path, reading: Reading) -> str | None:
    """The delimiter that the header tells, where it is not the default; declared, a header is not needed."""
    if reading.format == "excel":
        return None
    default = "\t" if reading.format == "tsv" else ","
    told = readers.columns_of(path, reading) if tried(path, reading, 1)[1] is None else None
    for delimiter in _DELIMITERS:
        way = Reading(**{k: getattr(reading, k) for k in reading.model_fields_set} | {"delimiter": delimiter})
        if told and tried(path, way, 1)[1] is None and readers.columns_of(path, way) == told:
            return None if delimiter == default else delimiter
    return None
