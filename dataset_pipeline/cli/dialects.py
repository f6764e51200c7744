"""How a table is cut where its reader does not tell: delimiter, quotes, and whether there is a header.

Lives here: trying readings of one file. Keep out: the strict rules of the readers themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataset_pipeline.cli.attempts import Settled, good_rows, tried
from dataset_pipeline.spec.models import Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.readers import UnreadableFile

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
            if refused is None and good and len(good[0]) > 1:
                ways.append(
                    (-len(good) / len(some) * (1 if values.get("header", True) else 0.99), number, way)
                )
        if ways and min(ways)[0] < -0.5:
            return headed(path, min(ways)[2])
        if error is not None:
            single, _ = tried(path, found.saying(header=False).reading)
            if not good_rows(single):
                raise error
    return headed(path, found)


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
    if columns and not _has_no_header(columns, good_rows(rows)):
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


def _has_no_header(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> bool:
    cells = [name for name in names if name.strip() and not re.fullmatch(r"column_\d+", name)]
    if not cells:
        return False
    if all(not _is_name(cell) for cell in cells):
        return True
    for name in cells:
        again = sum(1 for row in rows if row.get(name) == name)
        if again >= 2 and len(names) > 1:
            return True
    return False


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
