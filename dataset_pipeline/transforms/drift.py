"""What changed between the columns of a source's last day and those of today.

Lives here: comparing two descriptions of columns, and the words for it. Keep out: where descriptions are kept.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_NAMED = 5
"""Columns that a message names; the rest is counted."""

Columns = Mapping[str, frozenset[str]]
"""Name of a column to the kinds of its values: text, number, boolean, list, object; none where all were null."""


@dataclass(frozen=True)
class Known:
    """What the columns of a source were on an earlier day."""

    day: dt.date
    columns: Columns


@dataclass(frozen=True)
class Drift:
    """retyped: mapped columns of which no value is of a kind it had. notes: every other change, in words."""

    retyped: tuple[str, ...]
    notes: tuple[str, ...]


def drift(source: str, day: dt.date, now: Columns, known: Known | None, mapped: Iterable[str]) -> Drift:
    """What changed since `known`, the last day of the source before `day`; nothing where there is none.

    A mapped column that is gone is no matter of this function: the file is then no batch.
    """
    if known is None or not now or not known.columns:
        return Drift((), ())
    watched = set(mapped)
    retyped, notes = [], []
    for name in sorted(now.keys() & known.columns.keys() & watched):
        before, after = known.columns[name], now[name]
        if not before or not after or before == after:
            continue
        change = f"column {name!r} held {words(before)} until {known.day} and holds {words(after)} on {day}"
        if before & after:
            notes.append(f"{source}: {change}")
        else:
            retyped.append(f"{source}: {change}")
    new, gone = sorted(now.keys() - known.columns.keys()), sorted(known.columns.keys() - now.keys())
    if new:
        notes.append(f"{source}: new since {known.day}: {named(new)} (on {day})")
    if gone:
        notes.append(f"{source}: gone since {known.day}: {named(gone)} (on {day})")
    return Drift(tuple(retyped), tuple(notes))


def since(missing: Iterable[str], present: Iterable[str], known: Known | None) -> str:
    """Since when mapped columns are missing, and what came in their place; nothing where that is not known."""
    if known is None:
        return ""
    lost = [name for name in missing if name in known.columns]
    if not lost:
        return ""
    new = sorted(set(present) - known.columns.keys())
    came = f"; new since then: {named(new)}" if new else ""
    return f" On {known.day} it still had {named(lost)}{came}."


def words(kinds: Iterable[str]) -> str:
    """text and number."""
    return " and ".join(sorted(kinds))


def named(columns: list[str]) -> str:
    """The first names, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in columns[:MAX_NAMED])
    return shown + (f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else "")
