"""Days that were missed: the scheduler was down, a day was set aside.

Lives here: finding them, and their words. Keep out: making them, which `running` does as it makes any day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from dataset_pipeline.assets.plan import State, Status, ranges
from dataset_pipeline.cli import show
from dataset_pipeline.records import Step


def gaps(status: Status) -> list[dt.date]:
    """Days never published that lie between published ones, or between the last published one and the newest day.

    The newest day is no gap: it is what a night makes. Nor is anything before the first published day.
    """
    first = [e for e in status.entries if e.step == Step.INGEST and e.day is not None]
    published = [e.day for e in first if e.state is not State.MISSING and e.day is not None]
    if not published:
        return []
    missing = [e.day for e in status.entries if e.state is State.MISSING and e.day is not None]
    return sorted({day for day in missing if min(published) < day < max(status.days)})


def gap_lines(status: Status, made: Sequence[dt.date]) -> list[str]:
    """The gaps in words, a line a stretch. made: the days that this run makes."""
    chosen, lines = set(made), []
    for first, last in ranges(gaps(status)):
        days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
        end = "made now in order" if chosen.issuperset(days) else "not all of it is chosen"
        count = f"{len(days)} days" if len(days) > 1 else "1 day"
        lines.append(f"gap: {show.day_range(first, last)} ({count}), {end}")
    return lines
