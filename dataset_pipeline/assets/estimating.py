"""How much a run would do, and about how long it would take: from what is published and how long earlier runs took.

Lives here: counting days, files and records of a plan, and the estimate. Keep out: what is to be made (`plan`), words
(`cli.plan_words`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.plan import DayStatus, State, Status, ranges
from dataset_pipeline.records import DAILY_STEPS, INPUTS, LOOK_BACK_STEPS, RELEASE, REPORT, Step
from dataset_pipeline.storage import history
from dataset_pipeline.storage.history import Timing

START_SECONDS = 6.0
"""Before the first step: loading Dagster and the check engine (measured 4 to 8 s on two cores)."""
_FIXED_SECONDS = 0.4
"""Of a step's run whatever its rows, where its runs were all of one size: judging and publishing (measured)."""
_APART = 4
"""How many times more rows the largest of a step's runs must have had for two of them to tell what is fixed."""


@dataclass(frozen=True)
class Effort:
    """What a run would do. Upper bounds: a step whose rows come out the same spares those after it."""

    days: int
    files: int
    """That ingest would read."""
    records: int | None
    """Of the step that has most of them to do; None where nothing tells."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of each step that would run and whose earlier runs are known."""
    total: float | None = None
    """None where a step that would run never ran before."""


def effort(
    context: Context,
    status: Status,
    days: Sequence[dt.date] | None = None,
    steps: Sequence[str] = DAILY_STEPS,
) -> Effort:
    """What making `days` (default: all that are unfinished) through `steps` and releasing would take."""
    is_run = days is not None
    if days is None:
        days = [
            first + dt.timedelta(days=n)
            for first, last in status.stretches()
            for n in range((last - first).days + 1)
        ]
    with context.warehouse.reading():
        timings, sizes = history.timings(context.warehouse), history.sizes(context.warehouse)
    wanted = set(days)
    entries = {(e.step, e.day): e for e in status.entries if e.day is not None and e.day in wanted}
    rows = _Rows(context, entries, sizes)
    todo = {str(step): _days_of(Step(step), days, entries) for step in steps}
    unknown = False
    seconds: dict[str, float] = {}
    records: list[int | None] = []
    for name in INPUTS:
        of_input = [e for e in status.of(State.STALE, State.MISSING) if e.step == name]
        took = _took(timings, name, of_input[0].rows, bool(of_input[0].rows == 0)) if of_input else None
        seconds |= {name: took} if took is not None else {}
    for step, of_step in todo.items():
        if not of_step:
            continue
        counts = [rows.of(step, day) for day in of_step]
        known = sum(n for n in counts if n is not None)
        records.append(None if None in counts else known)
        new = sum(
            n or 0
            for day, n in zip(of_step, counts, strict=True)
            if entries[step, day].state is State.MISSING
        )
        stretches = len(ranges(of_step))
        took = None if None in counts else _took(timings, step, known, new * 2 > known, stretches)
        unknown = unknown or took is None
        seconds |= {step: took} if took is not None else {}
    for name in (RELEASE, REPORT):
        took = _took(timings, name, 0, False)
        seconds |= {name: took} if took is not None and (is_run or days or seconds) else {}
    is_known = bool(seconds) and not unknown
    return Effort(
        days=len({day for of_step in todo.values() for day in of_step}),
        files=sum(len(rows.files.get(day, ())) for day in todo.get(Step.INGEST, ())),
        records=None if None in records else max((n for n in records if n is not None), default=0),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        total=round(START_SECONDS + sum(seconds.values()), 1) if is_known else None,
    )


def _days_of(
    step: Step, days: Sequence[dt.date], entries: Mapping[tuple[str, dt.date], DayStatus]
) -> list[dt.date]:
    """The days that a step would compute: its unfinished ones; where it looks back all from the first of them on."""
    unfinished = [
        d for d in days if (e := entries.get((step, d))) is not None and e.state is not State.PUBLISHED
    ]
    if step not in LOOK_BACK_STEPS or not unfinished:
        return unfinished
    return [day for day in days if day >= unfinished[0] and (step, day) in entries]


class _Rows:
    """About how many rows a step would meet on a day."""

    def __init__(
        self, context: Context, entries: Mapping[tuple[str, dt.date], DayStatus],
        sizes: Mapping[str, tuple[int, int]],
    ):  # fmt: skip
        self._entries = entries
        self.files: dict[dt.date, list[tuple[str, int]]] = {}
        for file in context.found.files:
            size = file.path.stat().st_size if file.path.exists() else 0
            self.files.setdefault(file.day, []).append((file.source, size))
        self._rates = {source: rows / size for source, (size, rows) in sizes.items() if size}
        total, rows = (sum(part) for part in zip(*sizes.values(), strict=True)) if sizes else (0, 0)
        self._rate = rows / total if total else None
        self._found: dict[tuple[str, dt.date], int | None] = {}

    def of(self, step: str, day: dt.date) -> int | None:
        if (step, day) not in self._found:
            self._found[step, day] = self._count(step, day)
        return self._found[step, day]

    def _count(self, step: str, day: dt.date) -> int | None:
        entry = self._entries.get((step, day))
        if step == Step.INGEST:
            if entry is not None and entry.state is State.PUBLISHED:
                return entry.rows
            rates = [(size, self._rates.get(source, self._rate)) for source, size in self.files.get(day, ())]
            return (
                None if any(rate is None for _, rate in rates) else round(sum(s * (r or 0) for s, r in rates))
            )
        before = DAILY_STEPS[DAILY_STEPS.index(Step(step)) - 1]
        handing = self._entries.get((before, day))
        if handing is not None and handing.state is State.PUBLISHED:
            return handing.kept
        return self.of(before, day)


def _took(timings: Sequence[Timing], step: str, rows: int, is_cold: bool, stretches: int = 1) -> float | None:
    """About how long a step takes for so many rows; None where it never ran.

    What it took for texts that were in no cache tells of such, where that is known.
    """
    of_step = [t for t in timings if t.step == step]
    alike = [t for t in of_step if t.is_cold == is_cold] or of_step
    if not alike:
        return None
    largest, smallest = max(alike, key=lambda t: t.rows), min(alike, key=lambda t: (t.rows, t.seconds))
    if largest.rows >= _APART * max(smallest.rows, 1):
        slope = max(0.0, largest.seconds - smallest.seconds) / (largest.rows - smallest.rows)
        fixed = max(0.0, smallest.seconds - slope * smallest.rows)
    else:
        fixed = min(_FIXED_SECONDS, largest.seconds)
        slope = (largest.seconds - fixed) / largest.rows if largest.rows else 0.0
    return fixed * stretches + slope * rows
