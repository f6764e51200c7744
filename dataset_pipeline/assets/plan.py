"""What is missing or stale, day by day, and why: the truth that `status`, `run` and the release read.

Lives here: comparing published recipes with what they would be now. Keep out: doing anything about it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.inputs import idle_inputs, input_recipes
from dataset_pipeline.assets.ledger import file_map
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.records import DAILY_STEPS, INPUTS, PROTECTED, Step
from dataset_pipeline.storage.publishing import Day
from dataset_pipeline.storage.sources import calendar


class State(StrEnum):
    PUBLISHED = "published"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class DayStatus:
    """One step and day: its state, and why it is not simply published."""

    step: str
    day: Day
    state: State
    reasons: tuple[str, ...]
    rows: int
    kept: int


@dataclass(frozen=True)
class Status:
    """Every step and day of the calendar, plus published days that no file stands behind any more."""

    days: tuple[dt.date, ...]
    entries: tuple[DayStatus, ...]

    def of(self, *states: State) -> list[DayStatus]:
        return [entry for entry in self.entries if entry.state in states]

    def inputs_of(self, *states: State) -> list[str]:
        """The inputs without days that are in one of the states."""
        return [entry.step for entry in self.of(*states) if entry.step in INPUTS]

    def days_of(self, *states: State) -> list[dt.date]:
        """Days of daily steps that have an entry in one of the states."""
        return sorted({entry.day for entry in self.of(*states) if entry.day is not None})

    def stretches(self, leave_out: Iterable[dt.date] = ()) -> list[tuple[dt.date, dt.date]]:
        """Ranges of days to make: from each first unfinished day on, without those left out.

        A day that looks back makes the days after it questionable, so a stretch runs to the last
        day of the calendar; what turns out to be up to date costs nothing.
        """
        skipped = set(leave_out)
        todo = [day for day in self.days_of(State.STALE, State.MISSING) if day not in skipped]
        if not todo:
            return []
        wanted = [day for day in self.days if day >= todo[0] and day not in skipped]
        return ranges(wanted)


def ranges(days: Iterable[dt.date]) -> list[tuple[dt.date, dt.date]]:
    """Consecutive days as (first, last) pairs."""
    found: list[tuple[dt.date, dt.date]] = []
    for day in sorted(days):
        if found and day - found[-1][1] == dt.timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def status_of(context: Context) -> Status:
    """Compare what is published with what it would be made of now.

    Raises SpecError for a file of reviews, annotations or evaluation sets that cannot be read.
    """
    with context.warehouse.reading():
        latest = context.warehouse.latest()
        undated = Undated(context, latest)
        files = file_map(context)
        published_days = {day for (step, day) in latest if day is not None and step in DAILY_STEPS}
        days = tuple(sorted({*calendar(context.project, context.found), *published_days}))
        if context.project.spec.start is not None:
            days = tuple(day for day in days if day >= context.project.spec.start)
        now, idle = input_recipes(context), idle_inputs(context, latest)
        entries = [_input_status(name, latest, now[name]) for name in INPUTS if name not in idle]
        is_protected_current = all(e.state is State.PUBLISHED for e in entries if e.step == PROTECTED)
        for day in days:
            behind: str | None = None
            for step in DAILY_STEPS:
                entry = _day_status(context, undated, step, day, latest, files, behind, is_protected_current)
                entries.append(entry)
                if behind is None and entry.state is not State.PUBLISHED:
                    behind = step
        return Status(days, tuple(entries))


def _input_status(name: str, latest: recipes.Latest, now: recipes.Recipe) -> DayStatus:
    published = latest.get((name, None))
    if published is None:
        return DayStatus(name, None, State.MISSING, ("never published",), 0, 0)
    if published.recipe != now.hash:
        return DayStatus(
            name, None, State.STALE, tuple(recipes.differences(published.inputs, now.inputs)),
            published.row_count, published.kept_count,
        )  # fmt: skip
    return DayStatus(name, None, State.PUBLISHED, (), published.row_count, published.kept_count)


def _day_status(
    context: Context,
    undated: Undated,
    step: Step,
    day: dt.date,
    latest: recipes.Latest,
    files: dict[dt.date, dict[str, tuple[str, str]]],
    behind: str | None,
    is_protected_current: bool,
) -> DayStatus:
    published = latest.get((step, day))
    now = recipes.day_recipe(context.params, step, day, latest, files, undated.reads(step, day))
    rows, kept = (published.row_count, published.kept_count) if published else (0, 0)
    if published is None:
        return DayStatus(step, day, State.MISSING, ("never published",), rows, kept)
    reasons: list[str] = []
    if now is not None and now.hash != published.recipe:
        reasons += recipes.differences(published.inputs, now.inputs)
    if behind is not None:
        reasons.append(f"{behind} of this day is not up to date")
    if step == Step.DECONTAMINATE and not is_protected_current:
        reasons.append("the protected items are not up to date")
    state = State.STALE if reasons else State.PUBLISHED
    return DayStatus(step, day, state, tuple(reasons), rows, kept)


def missing_days(status: Status) -> list[dt.date]:
    """Days of the calendar of which nothing reaches the release."""
    return sorted({e.day for e in status.of(State.MISSING) if e.step == Step.SPLIT and e.day is not None})


def stale_days(status: Status) -> list[dt.date]:
    """Days that are released with rows of an older recipe."""
    gone = set(missing_days(status))
    return sorted({e.day for e in status.of(State.STALE, State.MISSING) if e.day is not None} - gone)
