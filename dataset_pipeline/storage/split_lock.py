"""`splits.lock.csv`: which group was given to which split, beside the spec and under version control.

Lives here: reading the file with words for every fault of it, and adding rows so that it is whole at any moment.
Keep out: who is assigned where (`transforms.assignment`).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import Split
from dataset_pipeline.storage.files import replace_file

NAME = "splits.lock.csv"
"""Its name, in the folder of the spec."""

COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "group": pl.String,
    "split": pl.String,
    "label": pl.String,
    "day": pl.Date,
    "records": pl.Int64,
}
"""The header of the file; `transforms.assignment.LOCK` says what each column means."""

MAX_ROW_CHARS = 10_000
"""A row of ours has some hundred; what is longer is none, whatever limit the csv module was given."""
MAX_PROBLEMS = 20
"""So many faults of one file are told; the others are of the same kind."""

_GROUP = re.compile(r"[0-9a-f]{32}")
_COUNT = re.compile(r"[1-9][0-9]{0,17}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SPLITS = frozenset(split.value for split in Split)
_CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
"""What git puts at the beginning of a line; a group never begins so."""
_LINE_END = re.compile(r"\r\n|\n|\r")
_RESTORE = "Take the file back from version control; a group that moves may carry test records into train."


def read(path: Path) -> pl.DataFrame:
    """The rows of the lock at `path` by group, with the types of COLUMNS; none where there is no such file.

    Raises SpecError naming file, line and remedy: a merge conflict, another header, an unknown split, a group
    that is none or stands twice, a day that is none, a count that is none.
    """
    text = _text(path)
    if not text:
        if path.exists():
            raise SpecError([Problem(path.name, "is empty: it has lost what it remembered.", _RESTORE)])
        return pl.DataFrame(schema=COLUMNS)
    # Not str.splitlines: it knows line ends that may stand in a label.
    lines = _LINE_END.split(text)
    for number, line in enumerate(lines, start=1):
        if line.startswith(_CONFLICT):
            remedy = "Keep the rows of both sides without the marks; of a group on both sides keep the one that was released."
            raise SpecError([Problem(f"{path.name}:{number}", "holds a merge conflict of git.", remedy)])
    rows: dict[str, tuple[str, str, dt.date, int]] = {}
    problems: list[Problem] = []
    for number, cells in _rows(path, lines):
        fault = _fault(cells, rows)
        if fault is None:
            group, split, label, day, records = cells
            rows[group] = (split, label, dt.date.fromisoformat(day), int(records))
            continue
        problems.append(Problem(f"{path.name}:{number}", *fault))
        if len(problems) == MAX_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    listed = [(group, *rest) for group, rest in sorted(rows.items())]
    return pl.DataFrame(listed, schema=COLUMNS, orient="row")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        place = f"{path.name}: byte {error.start}"
        raise SpecError([Problem(place, "is not UTF-8.", "Save the file as UTF-8.")]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}."
        raise SpecError([Problem(path.name, message, "Check the file and its rights.")]) from None


def _rows(path: Path, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not blank, below the header."""
    header = _cells(lines[0])
    if header != list(COLUMNS):
        message = f"the header is not {','.join(COLUMNS)}."
        raise SpecError([Problem(f"{path.name}:1", message, _RESTORE)])
    # Line by line: no value of ours holds a line end, and a lost quote must not swallow what follows.
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            yield number, _cells(line)


def _cells(line: str) -> list[str]:
    """The values of a line; none where it is too long to be a row."""
    if len(line) > MAX_ROW_CHARS:
        return []
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _fault(cells: list[str], seen: dict[str, tuple[str, str, dt.date, int]]) -> tuple[str, str] | None:
    """What is wrong with a row, and what to do; None for a good one."""
    if len(cells) != len(COLUMNS):
        return f"has {len(cells)} values, not {len(COLUMNS)}.", _RESTORE
    group, split, _, day, records = cells
    if not _GROUP.fullmatch(group):
        return "the group is not 32 hex digits.", _RESTORE
    if group in seen:
        return f"the group {group} stands twice.", "Keep the row that was released, and remove the other."
    if split not in _SPLITS:
        shown = f" {split!r}" if len(split) <= 20 else ""
        return f"there is no split{shown}.", f"Splits: {', '.join(s.value for s in Split)}."
    if not _is_day(day):
        return "the day is none.", "Write it as YYYY-MM-DD."
    if not _COUNT.fullmatch(records):
        return "records is no count.", "Write a whole number from 1."
    return None


def _is_day(value: str) -> bool:
    if not _DAY.fullmatch(value):
        return False
    try:
        dt.date.fromisoformat(value)
    except ValueError:
        return False
    return True


def extend(path: Path, rows: pl.DataFrame) -> int:
    """Add to the lock at `path` the groups of `rows` (COLUMNS) that it does not hold; returns how many those are.

    A group that it holds stays as it is, so doing it again changes nothing. The file is written beside, synced and
    renamed: at any moment it is the old one or the new one. Raises SpecError as `read` does.
    """
    held = read(path)
    fresh = rows.select(
        pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()
    ).join(held, on="group", how="anti")  # fmt: skip
    if fresh.height == 0:
        return 0
    merged = pl.concat([held, fresh]).sort("group")
    # A link is followed: what it points to may be shared.
    replace_file(path.resolve(), _csv(merged))
    return fresh.height


def _csv(lock: pl.DataFrame) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(lock.with_columns(pl.col("day").dt.to_string("%Y-%m-%d")).iter_rows())
    return out.getvalue().encode()
