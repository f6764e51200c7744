"""Excel: the rows of one sheet of an .xlsx or .xlsm workbook.

Lives here: which sheet, its header, what a cell becomes, rejects. Keep out: what a workbook may not be
(`workbooks`), the meaning of a row's fields.

A row's line is its number in the sheet; byte_offset is 0. What cells become:

| cell | value |
|---|---|
| text, also rich text | text; a control character that Excel stores as `_x000D_` is that character |
| number | an integer where it is whole (Excel has no integers: 12 is stored as 12.0), else a float |
| true, false | boolean |
| date | `2026-11-01` at midnight, else `2026-11-01T09:30:00`; in both calendars, 1900 and 1904 |
| time; duration | `09:30:00`; `26:30:00` |
| number in a date format that is no date | the number |
| error | its text, such as `#N/A`: nothing is lost in silence, and a rule can see it |
| formula | the value that was saved with it; without one: missing |
| empty; all of a merged range but its first cell | missing (null) |
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from openpyxl.utils.datetime import from_excel

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.delimited import _names
from dataset_pipeline.storage.readers.rows import MAX_RECORD_BYTES, Item, RawRow, Reject, UnreadableFile
from dataset_pipeline.storage.readers.workbooks import Sheet, open_sheet

WIDTH_ROWS = 100
"""Without a header, a sheet is as wide as the widest of so many first rows: a last cell is often empty."""

_ESCAPED = re.compile(r"_x(00[01][0-9A-Fa-f]|005[Ff]|007[Ff])_")
_EXACT = 2**53
"""Whole numbers below are exact as floats."""


class _Row(NamedTuple):
    """number: in the sheet. values: from the first column to the last that is not empty."""

    number: int
    values: list[Any]


class _Damage(NamedTuple):
    """The sheet's XML makes no sense after row `number`."""

    number: int


def columns(path: Path, reading: Reading) -> list[str]:
    """Names from the header; numbers from 0 where the reading says there is none. Raises UnreadableFile."""
    with open_sheet(path, reading.sheet) as sheet:
        return _headed(_rows(sheet), reading, path)[0]


def read(path: Path, reading: Reading, max_record_bytes: int = MAX_RECORD_BYTES) -> Iterator[Item]:
    """Rows and rejects of the sheet, without its empty rows.

    A row is rejected where a cell beyond the columns holds something (`wrong_field_count`), where it equals
    the header (`repeated_header`), where its texts are together longer than `max_record_bytes` (`too_long`), for
    U+0000 (`nul_byte`) and numbers that are not finite (`non_finite_number`). Damage inside the sheet gives the
    rows before it and one last reject `truncated_file`.
    """
    with open_sheet(path, reading.sheet) as sheet:
        names, header, rows = _headed(_rows(sheet), reading, path)
        for row in rows:
            if isinstance(row, _Damage):
                detail = f"the sheet is damaged after row {row.number}"
                yield Reject(row.number + 1, 0, "truncated_file", detail)
            else:
                yield _item(row, names, header, max_record_bytes)


def _headed(
    rows: Iterator[_Row | _Damage], reading: Reading, path: Path
) -> tuple[list[str], list[str] | None, Iterable[_Row | _Damage]]:
    """Names of the columns, the texts of the header if there is one, and the rows of data."""
    first = next(rows, None)
    if first is None:
        raise UnreadableFile(f"{path}: the sheet is empty. Fill it, or name another one under sheet.")
    if isinstance(first, _Damage):
        raise UnreadableFile(f"{path}: the sheet is damaged. Save it again in Excel.")
    if reading.header:
        header = [_text(value) for value in first.values]
        return _names(header, path), header, rows
    ahead = [first, *islice(rows, WIDTH_ROWS - 1)]
    width = max(len(row.values) for row in ahead if isinstance(row, _Row))
    return [str(number) for number in range(width)], None, chain(ahead, rows)


def _item(row: _Row, names: list[str], header: list[str] | None, max_record_bytes: int) -> RawRow | Reject:
    number, values = row
    if len(values) > len(names):
        detail = f"expected {len(names)} columns, found a value in column {len(values)}"
        return Reject(number, 0, "wrong_field_count", detail)
    if header is not None and len(values) == len(header) and [_text(value) for value in values] == header:
        return Reject(number, 0, "repeated_header", "the row equals the header")
    texts = [value for value in values if isinstance(value, str)]
    if sum(len(text) if text.isascii() else len(text.encode()) for text in texts) > max_record_bytes:
        return Reject(number, 0, "too_long", f"the texts of the row are longer than {max_record_bytes} bytes")
    for place, value in enumerate(values):
        if isinstance(value, str) and "\0" in value:
            return Reject(number, 0, "nul_byte", f"column {place + 1} holds the character U+0000")
        if isinstance(value, float) and not math.isfinite(value):
            return Reject(
                number, 0, "non_finite_number", f"column {place + 1} holds a number that is not finite"
            )
    values = values + [None] * (len(names) - len(values))
    return RawRow(number, 0, dict(zip(names, values, strict=True)))


def _rows(sheet: Sheet) -> Iterator[_Row | _Damage]:
    """The rows that hold something; at the end a _Damage where reading breaks off."""
    number = 0
    for found in sheet.rows():
        if found is None:
            yield _Damage(number)
            return
        number, cells = found
        values: list[Any] = []
        for cell in cells:
            value = _value(cell, sheet)
            if value is None or value == "":
                continue
            values += [None] * (cell["column"] - len(values))
            values[cell["column"] - 1] = value
        if any(not isinstance(value, str) or value.strip() for value in values if value is not None):
            yield _Row(number, values)


def _value(cell: dict[str, Any], sheet: Sheet) -> Any:
    """What a cell becomes; see the table above."""
    value = cell["value"]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if "_x" in value else value
    if isinstance(value, int | float) and cell["style_id"] in sheet.date_styles:
        value = _date(value, cell["style_id"] in sheet.duration_styles, sheet.epoch)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, dt.timedelta):
        seconds = round(value.total_seconds())
        sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _date(number: float, is_duration: bool, epoch: dt.datetime) -> Any:
    """The date that a number stands for; the number itself where there is no such date."""
    try:
        return from_excel(number, epoch, timedelta=is_duration)
    except (OverflowError, ValueError):
        return number


def _number(value: float) -> int | float:
    if isinstance(value, int):
        # Above what a record can hold; the workbook's number is a double in any case.
        return value if abs(value) < 2**63 else _as_float(value)
    return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < _EXACT else value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text(value: Any) -> str:
    """A cell as the name of a column."""
    return value if isinstance(value, str) else "" if value is None else str(value)
