"""What is missing or stale, day by day, and why: the truth that `status`, `run` and the release read.

Lives here: comparing published recipes with what they would be now. Keep out: doing anything about it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.differences import Telling, attempt_of
from dataset_pipeline.assets.inputs import idle_inputs, input_recipes
from dataset_pipeline.assets.ledger import file_map
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.records import DAILY_STEPS, INPUTS, PROTECTED, Step
from dataset_pipeline.storage.judgements import Refusal, refusals
from dataset_pipeline.storage.publishing import Day
from dataset_pipeline.storage.sources import calendar, is_nightly


class State(StrEnum):
    """CLOSED is a word to show and to ask by: of a closed gate what is published of the day says whether it is MISSING
    or STALE, and so it is treated."""

    PUBLISHED = "published"
    STALE = "stale"
    MISSING = "missing"
    CLOSED = "closed gate"


@dataclass(frozen=True)
class DayStatus:
    """One step and day: its state, and why it is not simply published."""

    step: str
    day: Day
    state: State
    """PUBLISHED, STALE or MISSING."""
    reasons: tuple[str, ...]
    rows: int
    kept: int
    is_closed: bool = False
    """The newest attempt at what it would be made of now was refused by its gate."""

    @property
    def shown(self) -> State:
        """The state in a word: CLOSED where a gate is closed."""
        return State.CLOSED if self.is_closed else self.state


@dataclass(frozen=True)
class Status:
    """Every step and day of the calendar, plus published days that no file stands behind any more."""

    days: tuple[dt.date, ...]
    entries: tuple[DayStatus, ...]

    def of(self, *states: State) -> list[DayStatus]:
        """The entries in one of the states; those whose gate is closed are also STALE or MISSING."""
        return [
            entry
            for entry in self.entries
            if entry.state in states or (entry.is_closed and State.CLOSED in states)
        ]

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
        days = tuple(sorted({*calendar(context.project, context.found), *published_days, *_until(context)}))
        if context.project.spec.start is not None:
            days = tuple(day for day in days if day >= context.project.spec.start)
        now, idle = input_recipes(context), idle_inputs(context, latest)
        past = recipes.Past(latest)
        told = _Told(Telling(context, latest, undated), refusals(context.warehouse))
        entries = [told.status(name, None, latest, now[name]) for name in INPUTS if name not in idle]
        is_protected_current = all(e.state is State.PUBLISHED for e in entries if e.step == PROTECTED)
        for day in days:
            behind: str | None = None
            for step in DAILY_STEPS:
                recipe = recipes.day_recipe(
                    context.params, step, day, latest, files, undated.reads(step, day), past
                )
                older = [f"{behind} of this day is not up to date"] if behind is not None else []
                if step == Step.DECONTAMINATE and not is_protected_current:
                    older.append("the protected items are not up to date")
                entry = told.status(step, day, latest, recipe, older)
                entries.append(entry)
                if behind is None and entry.state is not State.PUBLISHED:
                    behind = step
        return Status(days, tuple(entries))


def _until(context: Context) -> list[dt.date]:
    """The days that a night adds after the last day with a file: a gap in the calendar is a day, too."""
    files = [file.day for file in context.found.files]
    if context.until is None or not files or not is_nightly(context.project):
        return []
    return [max(files) + dt.timedelta(days=n) for n in range(1, (context.until - max(files)).days + 1)]


class _Told:
    """The state of a step and day, with everything that is to be said of it."""

    def __init__(self, telling: Telling, refused: Mapping[tuple[str, Day], Refusal]):
        self._telling, self._refused = telling, refused

    def status(
        self,
        step: str,
        day: Day,
        latest: recipes.Latest,
        now: recipes.Recipe | None,
        older: Sequence[str] = (),
    ) -> DayStatus:
        """now: None while an input is missing. older: what it reads that is not up to date."""
        published = latest.get((step, day))
        rows, kept = (published.row_count, published.kept_count) if published else (0, 0)
        if published is None:
            closed, reasons = self._closed(step, day, now), ["never published"]
        elif now is None or now.hash == published.recipe:
            closed, reasons = (), [*older]
        else:
            closed, reasons = (
                self._closed(step, day, now),
                [*self._telling.reasons(step, day, published, now), *older],
            )
        state = State.MISSING if published is None else State.STALE if reasons else State.PUBLISHED
        return DayStatus(step, day, state, (*closed, *reasons), rows, kept, bool(closed))

    def _closed(self, step: str, day: Day, now: recipes.Recipe | None) -> tuple[str, ...]:
        refusal = self._refused.get((step, day))
        if refusal is None or now is None or refusal.attempt not in (None, attempt_of(step, day, now)):
            return ()
        return tuple(f"gate closed: {reason}" for reason in refusal.reasons)


def missing_days(status: Status) -> list[dt.date]:
    """Days of the calendar of which nothing reaches the release."""
    return sorted({e.day for e in status.of(State.MISSING) if e.step == Step.SPLIT and e.day is not None})


def stale_days(status: Status) -> list[dt.date]:
    """Days that are released with rows of an older recipe."""
    gone = set(missing_days(status))
    return sorted({e.day for e in status.of(State.STALE, State.MISSING) if e.day is not None} - gone)
