"""What changed between the columns of a source's last day and those of today.

Lives here: comparing two descriptions of columns, and the words for it. Keep out: where descriptions are kept.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataset_pipeline.text import shown_name

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
    """retyped: mapped columns of which no value is of a kind it had, and mapped paths (`meta.lang`) that lead to
    nothing any more. notes: every other change, in words."""

    retyped: tuple[str, ...]
    notes: tuple[str, ...]


def known_of(history: Mapping[dt.date, Columns], day: dt.date) -> Known | None:
    """The last day before `day`; a column that held nothing then as it was when it last held something."""
    earlier = sorted((d for d in history if d < day), reverse=True)
    if not earlier:
        return None
    columns = dict(history[earlier[0]])
    empty = {name for name, kinds in columns.items() if not kinds}
    for past in earlier[1:]:
        if not empty:
            break
        found = {name for name in empty if history[past].get(name)}
        columns |= {name: history[past][name] for name in found}
        empty -= found
    return Known(earlier[0], columns)


def retyped(source: str, day: dt.date, now: Columns, known: Known | None, mapped: Iterable[str]) -> list[str]:
    """Mapped columns of one file that hold no kind of value that they held on the last day of its source."""
    if known is None or not now:
        return []
    found = []
    for name in sorted(set(mapped) & known.columns.keys()):
        before, after = known.columns[name], now.get(name)
        held = f"{source}: column {name!r} held {words(before)} until {known.day}"
        if before and after and not before & after:
            found.append(f"{held} and holds {words(after)} on {day}")
        elif before and after is None and "." in name:
            # A column of its own that is gone makes the file no batch; of a path only its beginning must be there.
            found.append(f"{held} and is in no record on {day}")
    return found


def drift(
    source: str, day: dt.date, files: Iterable[Columns], known: Known | None, mapped: Iterable[str]
) -> Drift:
    """What changed since `known`, the last day of the source before `day`; nothing where there is none.

    files: the columns of each file of the day. A mapped column that is gone is no matter of this function: the
    file is then no batch.
    """
    listed, watched = [file for file in files if file], set(mapped)
    if known is None or not known.columns or not listed:
        return Drift((), ())
    changed = [change for file in listed for change in retyped(source, day, file, known, watched)]
    now, notes = united(listed), []
    for name in sorted(now.keys() & known.columns.keys() & watched):
        before, after = known.columns[name], now[name]
        if before & after and after - before:
            notes.append(
                f"{source}: column {name!r} held {words(before)} until {known.day} and holds {words(after)} on {day}"
            )
    paths = {name for name in watched if "." in name}
    new = sorted(now.keys() - known.columns.keys() - paths)
    gone = sorted(known.columns.keys() - now.keys() - paths)
    if new:
        notes.append(f"{source}: new since {known.day}: {named(new)} (on {day})")
    if gone:
        notes.append(f"{source}: gone since {known.day}: {named(gone)} (on {day})")
    return Drift(tuple(dict.fromkeys(changed)), tuple(notes))


def united(files: Iterable[Columns]) -> dict[str, frozenset[str]]:
    """The columns of all files, with every kind that one of them had."""
    columns: dict[str, frozenset[str]] = {}
    for file in files:
        for name, kinds in file.items():
            columns[name] = columns.get(name, frozenset()) | kinds
    return columns


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
    shown = ", ".join(map(shown_name, columns[:MAX_NAMED]))
    return shown + (f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else "")
