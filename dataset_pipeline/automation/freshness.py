"""Whether a source's nightly file came: the newest day it has against the day that was due.

Lives here: the rule, shared by the check `fresh` (`health`) and by the sensor (`arrivals`); which night was due last; file
names as they may leave the machine. Keep out: Dagster's events, hashes of files.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.spec.models import Source
from dataset_pipeline.storage.sources import SourceFile
from dataset_pipeline.transforms.redaction import shown

_DATA_LIKE = re.compile(r"@|\d{6}|(\S+\s+){4}")
_SHOWN_CHARS = 80


@dataclass(frozen=True)
class Freshness:
    """One source: its newest file's day, the day expected, and how many files it has.

    expected: None for a source of which no file is expected every day; then why says so.
    """

    source: str
    newest: dt.date | None
    expected: dt.date | None
    files: int
    why: str = ""

    @property
    def is_fresh(self) -> bool:
        return self.expected is None or (self.newest is not None and self.newest >= self.expected)

    @property
    def words(self) -> str:
        """One sentence for a person."""
        if self.expected is None:
            return f"{self.source}: {self.why}"
        last = f"its newest file is of {self.newest}" if self.newest is not None else "it has no file"
        if self.is_fresh:
            return f"{self.source}: {last}, {self.expected} or later was expected."
        return f"{self.source}: the file of {self.expected} did not come; {last}."


def due_day(cron: str, now: dt.datetime) -> dt.date:
    """The day that the last night made or should have made: its hour (UTC) minus one day.

    now: UTC without a time zone, as `clock.now` gives it. Before the night's hour that is the day before yesterday.
    """
    from dagster._utils.schedules import get_latest_completed_cron_tick

    tick = get_latest_completed_cron_tick(cron, now.replace(tzinfo=dt.UTC), "UTC")
    return tick.date() - dt.timedelta(days=1)


def read_again(project: Project) -> Project:
    """The project as its spec says now; as it was loaded where the spec is broken now."""
    try:
        return Project(load_project(project.path).spec, project.path, project.state)
    except (PipelineError, OSError):
        return project


def freshness(project: Project, files: Iterable[SourceFile], due: dt.date) -> list[Freshness]:
    """Each source of the spec, in its order. due: the day of the last night (`due_day`).

    `max_age_days` counts from the morning of that night: 1 expects the file of the day that was due, 3 lets
    a source be silent for a weekend. A source without {date}, or with `expected_daily: false`, is always fresh.
    """
    days: dict[str, list[dt.date]] = {source.name: [] for source in project.spec.sources}
    for file in files:
        days[file.source].append(file.day)
    return [_of(source, days[source.name], due) for source in project.spec.sources]


def _of(source: Source, days: list[dt.date], due: dt.date) -> Freshness:
    newest = max(days, default=None)
    if "{date}" not in source.local_path:
        return Freshness(source.name, newest, None, len(days), "its path has no {date}: no file is due.")
    if not source.expected_daily:
        return Freshness(source.name, newest, None, len(days), "it is not expected daily: no file is due.")
    expected = due + dt.timedelta(days=1 - source.max_age_days)
    return Freshness(source.name, newest, expected, len(days))


def shown_file(uri: str) -> str:
    """A file's name as it may be sent to others: personal data replaced, and a part that looks like data told by its length alone."""
    return "/".join(
        part
        if len(part) <= _SHOWN_CHARS and not _DATA_LIKE.search(part)
        else f"(a name of {len(part)} characters)"
        for part in shown(uri).split("/")
    )
