"""Fetching the rows of a query: one gzip file of JSON lines for each day, the same bytes for the same rows.

Lives here: which days are asked for, and which files they become. Keep out: connections and drivers (`connections`),
values and bytes (`json_lines`), secrets and the record (`fetching`).

Days before the last fetched one less `refresh_days` are settled: they stay as they were fetched, so that history
does not change under a dataset, until they are asked for again. A day that was asked for again and has no rows any
more gets a file without rows, and a note: its absence is a fact, and its rows must not stay.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import sha256_text
from dataset_pipeline.spec.places import WHOLE, Database, Place
from dataset_pipeline.storage.fetching import Fetched, Record, Secrets, folder_for, of_another, timestamp
from dataset_pipeline.storage.json_lines import line_maker, write_sorted
from dataset_pipeline.storage.readers import file_sha256

if TYPE_CHECKING:
    from dataset_pipeline.storage.connections import Reader

_DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.jsonl\.gz", re.ASCII)
_ROWS_BETWEEN_REPORTS = 20_000


@dataclass(frozen=True)
class Span:
    """Days asked for in one query, both ends included; None is open."""

    first: dt.date | None = None
    last: dt.date | None = None

    def holds(self, day: dt.date) -> bool:
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


def fetch_rows(
    root: Path, source: Place, secrets: Secrets, *, refetch: bool, days: Collection[dt.date]
) -> Fetched:
    """What `fetching.fetch` does for a query. Nothing is replaced before the whole answer is there."""
    from dataset_pipeline.storage.connections import connected

    database, record = source.database, Record.read(root, source.name)
    assert database is not None
    stamp = str(source.collected_at) if database.day is None else ""
    if not all(name == WHOLE if database.day is None else _DAY_FILE.fullmatch(name) for name in record.files):
        raise of_another(
            secrets, source.name, "files that were fetched in another way, or with another key `day`"
        )
    made_by = sha256_text(database.query, database.day or "", stamp)
    with folder_for(root, source.name, secrets) as (folder, part):
        anew = refetch or record.made_by != made_by
        spans = [Span()] if anew else _spans(database, record, folder, set(days))
        if not spans:
            return Fetched()
        notes: list[str] = []
        with connected(database, secrets, root) as reader:
            staged, dayless = _staged(reader, database, spans, part, source.name, secrets)
        # Later only rows of late days and rows without any value are asked for: the count of the whole answer stands.
        record.dayless = dayless if spans == [Span()] else max(record.dayless, dayless)
        if record.dayless:
            notes.append(
                f"{source.name}: {record.dayless} rows without a day in {database.day!r} are not fetched. "
                "Give them one in the query, or leave them out of it."
            )
        notes += _lost(record, database, spans, staged, part, source.name)
        return _replaced(record, made_by, staged, folder, part, notes)


def _spans(database: Database, record: Record, folder: Path, again: set[dt.date]) -> list[Span]:
    """What to ask for: from the first unsettled day on, and settled days whose file is gone or that are wanted again."""
    if database.day is None:
        return [] if record.has(folder, WHOLE) else [Span()]
    fetched = {_day_of(name): name for name in record.files}
    if not fetched:
        return [Span()]
    # A row dated in the future by mistake must not settle the days before it.
    asked = max(dt.date.fromisoformat(facts["fetched_at"][:10]) for facts in record.files.values())
    since = _shifted(min(max(fetched), asked), -database.refresh_days)
    again |= {day for day, name in fetched.items() if not record.has(folder, name)}
    return [*_stretches(day for day in again if day < since), Span(since)]


def _stretches(days: Iterable[dt.date]) -> list[Span]:
    groups = groupby(enumerate(sorted(days)), key=lambda pair: pair[1].toordinal() - pair[0])
    found = [[day for _, day in group] for _, group in groups]
    return [Span(stretch[0], stretch[-1]) for stretch in found]


def _shifted(day: dt.date, days: int) -> dt.date:
    return dt.date.fromordinal(min(max(day.toordinal() + days, 1), dt.date.max.toordinal()))


def _day_of(name: str) -> dt.date:
    return dt.date.fromisoformat(name[:10])


# --- asking -------------------------------------------------------------------------------


def _staged(
    reader: Reader,
    database: Database,
    spans: list[Span],
    part: Path,
    source: str,
    secrets: Secrets,
) -> tuple[dict[str, int], int]:
    """Write the answer below `part`: name of the file to its rows; and how many rows had no day."""
    line_of = line_maker(reader.columns)
    if database.day is None:
        lines = (line_of(row) for row in _counted(reader.rows(None, None), source))
        return {WHOLE: write_sorted(part, WHOLE, lines)}, 0
    column = reader.columns.index(database.day)
    staged: dict[str, int] = {}
    dated = _Dated(column)
    for span in spans:
        days_and_rows = dated.within(span, _counted(reader.rows(span.first, span.last), source))
        for day, group in groupby(days_and_rows, key=lambda pair: pair[0]):
            name = f"{day}.jsonl.gz"
            if name in staged:
                raise secrets.problem(
                    f"the order of {database.day!r} is not that of its days: {day} comes twice.",
                    "Cast it to a date or timestamp in the query.",
                )
            staged[name] = write_sorted(part, name, (line_of(row) for _, row in group))
    dayless = dated.dayless
    if dayless and not staged and spans == [Span()]:
        raise secrets.problem(
            f"no row has a day in {database.day!r}: it holds neither dates nor ISO texts.",
            "Name a column of dates, or cast it in the query.",
        )
    return staged, dayless


def _counted(rows: Iterable[Any], source: str) -> Iterator[Any]:
    for number, row in enumerate(rows):
        if number % _ROWS_BETWEEN_REPORTS == 0:
            REPORTER.get().phase(f"fetching {source}", f"{number} rows")
        yield row


@dataclass
class _Dated:
    """Rows with their day in UTC; counts those that have none."""

    column: int
    dayless: int = 0

    def within(self, span: Span, rows: Iterable[Any]) -> Iterator[tuple[dt.date, Any]]:
        """Rows of the span's days; those of others were asked for as a margin for time zones."""
        for row in rows:
            day = day_in_utc(row[self.column])
            if day is None:
                self.dayless += 1
            elif span.holds(day):
                yield day, row


def day_in_utc(value: Any) -> dt.date | None:
    """The date of a value in UTC; what has no time zone is taken as UTC. None where it is no date or ISO text."""
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value.strip())
        if isinstance(value, dt.datetime):
            return (value.astimezone(dt.UTC) if value.tzinfo else value).date()
    except (ValueError, OverflowError):
        return None
    return value if isinstance(value, dt.date) else None


# --- files --------------------------------------------------------------------------------


def _lost(
    record: Record, database: Database, spans: list[Span], staged: dict[str, int], part: Path, source: str
) -> list[str]:
    """Give days that were asked for and have no rows any more a file without rows. Returns a note of each."""
    if database.day is None:
        return []
    notes = []
    for name in sorted(set(record.files) - set(staged)):
        if any(span.holds(_day_of(name)) for span in spans):
            had = record.files[name].get("rows", 0)
            staged[name] = write_sorted(part, name, ())
            if had:
                notes.append(
                    f"{source}: {name[:10]} had {had} rows and has none any more; its file is empty now."
                )
    return notes


def _replaced(
    record: Record, made_by: str, staged: dict[str, int], folder: Path, part: Path, notes: list[str]
) -> Fetched:
    """Put the files that differ in their place and keep the record. A crash on the way asks for them again."""
    folder.mkdir(exist_ok=True)
    written = 0
    total = 0
    for name, rows in sorted(staged.items()):
        sha256, size = file_sha256(part / name)
        if record.has(folder, name) and record.files[name]["sha256"] == sha256:
            continue
        (part / name).replace(folder / name)
        record.files[name] = {"sha256": sha256, "bytes": size, "rows": rows, "fetched_at": timestamp()}
        written, total = written + 1, total + size
    record.made_by = made_by
    record.write()
    return Fetched(tuple(notes), written, total)
