"""The plan in words: what is published, stale, missing or behind a closed gate, why, and what making it would take.

Lives here: lines and tables of a `Status`. Keep out: comparing recipes (`assets.plan`), counting (`assets.estimating`).
"""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from dataset_pipeline.assets.estimating import Effort
from dataset_pipeline.assets.plan import DayStatus, State, Status, ranges
from dataset_pipeline.cli import show
from dataset_pipeline.records import DAILY_STEPS, INPUTS

STYLES = {State.PUBLISHED: "green", State.STALE: "yellow", State.MISSING: "red", State.CLOSED: "bold red"}
NO_ESTIMATE = "no estimate yet"
_HEAD = ("step", "state", "days", "rows", "kept", "why")
_SHOWN_REASONS, _SHOWN_RANGES, _SHOWN_LINES = 3, 3, 6
_BEHIND = "is not up to date"
_MIN_WHY = 24
"""Columns of a terminal below which the reason gets lines of its own."""


# --- reasons of several days --------------------------------------------------------------

_OF_FILES = re.compile(r"^file of \S+ (changed|is new|is gone)")
_OF_VERDICTS = re.compile(r"^\d+ verdicts? on records of this day (?:is|are) new")
_OF_GATE = re.compile(r"^gate closed: (\S+)")
_PLURAL = {"is new": "are new", "is gone": "are gone", "changed": "changed"}


def general(reason: str) -> str:
    """A reason without what differs from day to day."""
    if found := _OF_FILES.match(reason):
        return f"files {_PLURAL[found[1]]}"
    if _OF_VERDICTS.match(reason):
        return "verdicts on records of these days are new"
    if found := _OF_GATE.match(reason):
        return f"gate closed: {found[1]}"
    return reason


def _merged(entries: Sequence[DayStatus]) -> list[str]:
    """The reasons of several days, each once; as they stand where all that say so say the same."""
    said: dict[str, dict[str, None]] = {}
    for entry in entries:
        for reason in entry.reasons:
            said.setdefault(general(reason), {})[reason] = None
    return [next(iter(exact)) if len(exact) == 1 else words for words, exact in said.items()]


def _told(reasons: Iterable[str]) -> list[str]:
    """Reasons without those that follow from another; those alone where there is no other."""
    given = list(reasons)
    own = [r for r in given if not r.endswith(_BEHIND)]
    return own or given


def _joined(reasons: Sequence[str]) -> str:
    more = len(reasons) - _SHOWN_REASONS
    return "; ".join(reasons[:_SHOWN_REASONS]) + (f"; and {more} more" if more > 0 else "")


# --- the plan of a run --------------------------------------------------------------------


def plan_lines(status: Status) -> list[tuple[str, str]]:
    """What is not published: steps in the same state for the same reason on the same days share a line."""
    by_step: dict[tuple[str, State], list[DayStatus]] = {}
    for entry in status.of(State.MISSING, State.STALE):
        by_step.setdefault((entry.step, entry.shown), []).append(entry)
    lines: dict[str, list[str]] = {}
    for (step, state), entries in by_step.items():
        days = [entry.day for entry in entries if entry.day is not None]
        on = f", {ranges_in_words(days)}" if days else ""
        reasons = [r for r in _merged(entries) if not r.endswith(_BEHIND)]
        why = _joined(reasons) or "what it reads is not up to date"
        lines.setdefault(f"{state.value}{on}: {why}", []).append(step)
    return [(", ".join(steps), words) for words, steps in lines.items()]


def ranges_in_words(days: Sequence[dt.date]) -> str:
    words = [show.day_range(a, b) for a, b in ranges(days)]
    return (
        f"{len(days)} days ({', '.join(words[:4])}{', …' if len(words) > 4 else ''})"
        if len(days) > 1
        else words[0]
    )


def effort_words(found: Effort) -> str:
    """Counts and time of a plan: `3 days, 4 files, about 1,400 records; about 4 min (normalize 3 min)`."""
    parts = [_counted(found.days, "day"), _counted(found.files, "file")] if found.days else []
    if found.days and found.records is not None:
        parts.append(f"about {_counted(found.records, 'record')}")
    slowest = sorted(found.seconds.items(), key=lambda item: -item[1])[:3]
    most = ", ".join(f"{step} {duration(seconds)}" for step, seconds in slowest if seconds >= 1)
    time = (
        NO_ESTIMATE
        if found.total is None
        else f"about {duration(found.total)}" + (f" ({most})" if most else "")
    )
    return f"{', '.join(parts)}; {time}" if parts else time


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as one reads them: 8 s, 45 s, 4 min, 2 h 10 min."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, left = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {left} min" if left else f"{hours} h"


# --- the table of status ------------------------------------------------------------------

Line = tuple[str, State | None, str, str, str, str]
"""step, state (None: there is nothing to make), days, rows, kept, why."""


def table_lines(status: Status, shown_ranges: int = _SHOWN_RANGES) -> list[Line]:
    """A line for each step, state and reason, with its days as ranges."""
    by_step: dict[str, list[DayStatus]] = {}
    for entry in status.entries:
        by_step.setdefault(entry.step, []).append(entry)
    lines: list[Line] = []
    for step in (*INPUTS, *DAILY_STEPS):
        groups: dict[tuple[State, tuple[str, ...]], list[DayStatus]] = {}
        for entry in by_step.get(step, ()):
            key = tuple(dict.fromkeys(general(r) for r in _told(entry.reasons)))
            groups.setdefault((entry.shown, key), []).append(entry)
        if not groups:
            lines.append((str(step), None, "", "0", "0", ""))
        # In the order of the states, then of the days; what is told of few days each ends in one line.
        for state in State:
            of_state = [entries for (shown, _), entries in groups.items() if shown is state]
            for entries in of_state[: _SHOWN_LINES - 1] if len(of_state) > _SHOWN_LINES else of_state:
                lines.append(_line(str(step), state, entries, shown_ranges))
            if len(of_state) > _SHOWN_LINES:
                rest = [entry for entries in of_state[_SHOWN_LINES - 1 :] for entry in entries]
                lines.append(_line(str(step), state, rest, shown_ranges))
    return lines


def _line(step: str, state: State, entries: Sequence[DayStatus], shown_ranges: int) -> Line:
    days = [entry.day for entry in entries if entry.day is not None]
    rows, kept = sum(e.rows for e in entries), sum(e.kept for e in entries)
    return step, state, compressed(days, shown_ranges), str(rows), str(kept), _joined(_told(_merged(entries)))


def compressed(days: Sequence[dt.date], shown_ranges: int = _SHOWN_RANGES) -> str:
    """Days as ranges, and how many they are: `2026-10-19 … 2026-10-30 (12)`."""
    if not days:
        return ""
    words = [show.day_range(a, b) for a, b in ranges(days)]
    more = ", …" if len(words) > shown_ranges else ""
    return f"{', '.join(words[:shown_ranges])}{more} ({len(days)})"


def print_table(out: Console, status: Status) -> None:
    """The table, in columns. Piped, a line each; on a terminal fewer ranges where they do not fit, and a reason that does
    not goes below its line."""
    lines = table_lines(status)
    if out.is_terminal and _indent(lines) > out.width:
        lines = table_lines(status, 1)
    indent = _indent(lines)
    room = out.width - indent
    is_narrow = out.is_terminal and room < _MIN_WHY
    widths = _widths(lines)
    out.print(_padded(_HEAD[:-1] if is_narrow else _HEAD, widths))
    for line in lines:
        head, state, why = _padded(_cells(line)[:-1], widths), line[1], line[-1]
        if not out.is_terminal or len(why) <= room:
            parts = [f"{head}  {why}".rstrip()]
        elif is_narrow:
            parts = [head, *(f"    {words}" for words in textwrap.wrap(why, max(out.width - 4, _MIN_WHY)))]
        else:
            first, *rest = textwrap.wrap(why, room)
            parts = [f"{head}  {first}", *(" " * indent + words for words in rest)]
        text = Text(parts[0])
        if state is not None:
            text.stylize(STYLES[state], widths[0] + 2, widths[0] + 2 + len(state.value))
        out.print(text)
        for part in parts[1:]:
            out.print(part)


def _cells(line: Line) -> tuple[str, ...]:
    step, state, *rest = line
    return (step, "none" if state is None else state.value, *rest)


def _widths(lines: Sequence[Line]) -> list[int]:
    rows = [_HEAD, *map(_cells, lines)]
    return [max(len(row[n]) for row in rows) for n in range(len(_HEAD) - 1)]


def _indent(lines: Sequence[Line]) -> int:
    """Where the reason begins."""
    return sum(_widths(lines)) + 2 * (len(_HEAD) - 1)


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side, numbers to the right; what is past the widths as it is."""
    cells = [
        cell.rjust(width) if _HEAD[n] in ("rows", "kept") else cell.ljust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join([*cells, *row[len(widths) :]])
