"""Workbooks: opening an .xlsx or .xlsm file that may be anything, and its sheets' cells, row by row.

Lives here: what a file is that is no workbook, limits on what it unpacks to, the way into openpyxl. Keep out:
headers, what cells become (`sheets`).

A workbook is a zip archive of XML. Before openpyxl sees it, every part is unpacked once in blocks: its real size
must be the declared one, all parts together at most MAX_UNPACKED_BYTES, what is held in memory at a time within
the limits below, and no part may declare entities, so that none can grow.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from openpyxl import load_workbook
from openpyxl.worksheet._reader import WorkSheetParser

from dataset_pipeline.storage.readers.packing import opened
from dataset_pipeline.storage.readers.rows import UnreadableFile

MAX_UNPACKED_BYTES = 2**30
"""A sheet with every row Excel has, 1,048,576, and a kilobyte of XML in each."""

MAX_SHARED_BYTES, MAX_SHARED_TAGS = 2**28, 2**24
"""The table of a workbook's distinct texts, which is held in memory; a text takes four tags or more."""

MAX_ROW_BYTES, MAX_ROW_TAGS = 2**26, 1_500_000
"""From the end of one row to the end of the next, and any other part: it is held as a tree. A tag takes about
300 bytes there (measured: five million empty cells in a row, 1.6 GB)."""

MAX_PARTS = 10_000

MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384
"""Of a sheet in Excel; a cell beyond is a sign of damage."""

_BLOCK_BYTES = 2**16
_OLE = b"\xd0\xcf\x11\xe0"
_ZIP = b"PK\x03\x04"
_LFS = b"version https://git-lfs"
_PROLOG = re.compile(r"\ufeff?(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_TOKEN = re.compile(rb"<(?:(!)|(/?)(?:[\w.-]+:)?row(?=[\s/>]))")
"""A comment or CDATA, the end of a row, or the start of one."""
_ROOT = re.compile(r"<\w")
_SHARED = re.compile(r"<(\w+:)?sst\b")
"""The root of the table of shared texts, whatever its part is called."""


@dataclass(frozen=True)
class Sheet:
    """A sheet to be read. date_styles, duration_styles: ids of cell styles that show a number as one.
    epoch: the day that the calendar of the workbook counts from."""

    workbook: Any
    worksheet: Any
    date_styles: frozenset[int]
    duration_styles: frozenset[int]
    epoch: dt.datetime

    def rows(self) -> Iterator[tuple[int, list[dict[str, Any]]] | None]:
        """Row number and cells (`column` from 1, `value`, `style_id`) of each row stored; last None where
        the rest is damaged.

        Not through the worksheet: that believes the sheet's own word on its size, loses rows that are out of order,
        and makes up the rows between two numbers, however far they are apart.
        """
        last = 0
        try:
            with self.worksheet._get_source() as source:
                # Dates are left as numbers: openpyxl makes an error of a number that is no date.
                parser = WorkSheetParser(
                    source, self.worksheet._shared_strings, data_only=True, epoch=self.epoch
                )
                for number, cells in parser.parse():
                    if not last < number <= MAX_ROWS or any(c["column"] > MAX_COLUMNS for c in cells):
                        break
                    last = number
                    yield number, cells
                else:
                    return
        except Exception:  # openpyxl raises whatever a wrong part leads it to
            pass
        yield None


@contextmanager
def open_sheet(path: Path, name: str | None) -> Iterator[Sheet]:
    """The sheet of that name; by default the first that is not hidden. Raises UnreadableFile."""
    with opened(path) as file:
        _check_kind(path, file)
        _check_parts(path, file)
        file.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        except Exception:  # openpyxl raises whatever a wrong part leads it to
            raise UnreadableFile(f"{path}: is a damaged workbook. Save it again in Excel as .xlsx.") from None
        try:
            yield _sheet(path, workbook, name)
        finally:
            workbook.close()


def _sheet(path: Path, workbook: Any, name: str | None) -> Sheet:
    worksheets = {sheet.title: sheet for sheet in workbook.worksheets}
    if not worksheets:
        raise UnreadableFile(f"{path}: the workbook has no sheet. Save it again with one.")
    if name is None:
        visible = (title for title, sheet in worksheets.items() if sheet.sheet_state == "visible")
        name = next(visible, next(iter(worksheets)))
    if name not in worksheets:
        there = ", ".join(repr(title) for title in worksheets)
        raise UnreadableFile(f"{path}: has no sheet {name!r}; it has {there}. Name one of them under sheet.")
    return Sheet(
        workbook,
        worksheets[name],
        frozenset(workbook._date_formats),
        frozenset(workbook._timedelta_formats),
        workbook.epoch,
    )


def _check_kind(path: Path, file: IO[bytes]) -> None:
    try:
        head = file.read(64)
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read ({error.strerror}). Send the file again.") from None
    if head.startswith(_ZIP):
        return
    if not head:
        raise UnreadableFile(f"{path}: is an empty file. Send it again.")
    if head.startswith(_LFS):
        raise UnreadableFile(
            f"{path}: is a Git LFS pointer, not the file. Fetch the file itself, for example with: git lfs pull."
        )
    if head.startswith(_OLE):
        raise UnreadableFile(
            f"{path}: is an old .xls workbook or one with a password. Save it as .xlsx without a password."
        )
    raise UnreadableFile(
        f"{path}: is not an .xlsx workbook (plain text?). Give it the suffix it should have."
    )


def _check_parts(path: Path, file: IO[bytes]) -> None:
    """Raises UnreadableFile where the archive is damaged, encrypted, no workbook, or too large unpacked."""
    try:
        archive = zipfile.ZipFile(file)
        parts = archive.infolist()
        names = {part.filename.lower() for part in parts}
        if "[content_types].xml" not in names or "xl/workbook.bin" in names:
            raise UnreadableFile(
                f"{path}: is a zip archive, but no .xlsx workbook. Save it in Excel as .xlsx."
            )
        if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
            raise UnreadableFile(
                f"{path}: unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB or {MAX_PARTS} parts. "
                "Split it, or send it as CSV or Parquet."
            )
        for part in parts:
            _check_part(path, archive, part)
    except UnreadableFile:
        raise
    except Exception:  # zipfile raises a dozen types on bytes that are no archive
        raise UnreadableFile(f"{path}: is a damaged or encrypted zip archive. Send the file again.") from None


def _check_part(path: Path, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Unpacks a part in blocks: it ends at its declared size, where zipfile compares the checksum."""
    with archive.open(part) as stream:
        head = block = stream.read(_BLOCK_BYTES)
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
        rest = text[_PROLOG.match(text).end() :]  # type: ignore[union-attr]
        if not rest.startswith("<"):
            while stream.read(_BLOCK_BYTES):
                pass
            return
        if not _ROOT.match(rest):
            raise UnreadableFile(
                f"{path}: declares XML entities, which no workbook needs. Save it again in Excel."
            )
        is_shared = _SHARED.match(rest) is not None
        held, rest_bytes = _Held(), b""
        block = head if b"\0" in head else rest.encode()
        while block:
            data = rest_bytes + block
            cut = data.rfind(b"<")
            # From its last tag on, a block is looked at together with the next one; a longer tag is cut.
            data, rest_bytes = (data[:cut], data[cut:]) if cut > 0 else (data, b"")
            held.add(data, ends_rows=not is_shared)
            held.check(path, is_shared)
            block = stream.read(_BLOCK_BYTES)
        held.add(rest_bytes, ends_rows=not is_shared)
        held.check(path, is_shared)


class _Held:
    """How much of a part is held as a tree at a time, counted from the end of one row to the end of the next.

    Only rows let go of what was read, so rows must be what they seem: one inside another is refused, and in a
    part with comments or CDATA, where a row's end may be mere text, nothing is let go of.
    """

    def __init__(self) -> None:
        self.size = self.tags = 0
        """The most of both that was held so far."""
        self._size = self._tags = 0
        self._has_rows = self._has_markup = self._is_nested = False
        self._tags_between = 0

    def add(self, data: bytes, ends_rows: bool) -> None:
        """More of the part; it holds whole tags."""
        at = 0
        for found in _TOKEN.finditer(data) if ends_rows else ():
            self._count(data, at, found.start())
            at = found.end()
            self._tags += 1
            if found[1]:
                self._has_markup = True
            elif self._has_markup:
                continue
            elif found[2]:
                self._size = self._tags = self._tags_between = 0
            else:
                # A row begins inside a row, or after something that follows rows.
                self._is_nested |= self._has_rows and self._tags_between > 0
                self._has_rows, self._tags_between = True, 0
        self._count(data, at, len(data))

    def _count(self, data: bytes, start: int, end: int) -> None:
        tags = data.count(b"<", start, end)
        self._size += end - start
        self._tags += tags
        self._tags_between += tags
        self.size, self.tags = max(self.size, self._size), max(self.tags, self._tags)

    def check(self, path: Path, is_shared: bool) -> None:
        """Raises UnreadableFile where it is too much."""
        if self._is_nested:
            raise UnreadableFile(f"{path}: has a sheet with rows inside rows. Save it again in Excel.")
        max_bytes = MAX_SHARED_BYTES if is_shared else MAX_ROW_BYTES
        max_tags = MAX_SHARED_TAGS if is_shared else MAX_ROW_TAGS
        if self.size > max_bytes or self.tags > max_tags:
            what = "the texts of its cells take" if is_shared else "one row or table of it takes"
            raise UnreadableFile(
                f"{path}: {what} more than {max_bytes // 2**20} MiB or {max_tags} tags. "
                "Split it, or send it as CSV or Parquet."
            )
