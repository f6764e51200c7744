"""Three rows as they would be read, for a terminal: turns, label, id and group, personal data replaced.

Lives here: what of a row may be shown, and what the first rows are rejected for. Keep out: reading files
(`first_rows`). No text of a row leaves this module but through `Scrubber`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dataset_pipeline.cli.init.first_rows import Place
from dataset_pipeline.spec.models import Pii, TaskType
from dataset_pipeline.spec.reading import Shape
from dataset_pipeline.storage.readers import RawRow, Reject
from dataset_pipeline.transforms.cleaning import Profile, clean
from dataset_pipeline.transforms.layouts import Conversation, RowMapper
from dataset_pipeline.transforms.pii import find_persons, find_pii, replaced, resolved

SHOWN_RECORDS, COUNTED_ROWS = 3, 1000
SHOWN_CHARS, SHOWN_TURNS, SHOWN_NAMES = 200, 12, 30
_SEARCHED_CHARS = 4000
"""Of a text: what is shown lies far before the place where it is cut, so that nothing is cut in two there."""
_PARAMS = Pii()


def scrubbed(text: str, persons: Sequence[str] = (), most: int = SHOWN_CHARS) -> str:
    """One line of at most `most` characters: cleaned, personal data and the names given replaced."""
    cut = text[:_SEARCHED_CHARS]
    if len(text) > len(cut):
        cut = cut[:-200]  # a longer name or number may have lost its end
    text = clean(cut, Profile.MESSAGE)[0]
    text = replaced(text, resolved(text, [*find_pii([text], _PARAMS)[0], *find_persons(text, persons)]))
    line = "".join(c if c.isprintable() else "↵" if c == "\n" else " " for c in text)
    return line if len(line) <= most else f"{line[:most]}…"


def shown_names(names: Iterable[str]) -> str:
    """Names of columns, as a list. A file whose first row is data has data as names: they are scrubbed too."""
    listed = [scrubbed(name, (), 40) for name in names]
    more = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return ", ".join(listed[:SHOWN_NAMES]) + more


def glimpse(rows: Sequence[tuple[Place, RawRow | Reject]], shape: Shape, task: TaskType) -> list[str]:
    """Lines for a person: up to three records, then what of the first 1,000 rows is rejected, by reason."""
    lines: list[str] = []
    faults: dict[str, tuple[int, str]] = {}
    shown = 0
    mappers: dict[str, RowMapper] = {}
    for place, row in rows[:COUNTED_ROWS]:
        here = f"{place.uri}:{row.line}"
        if isinstance(row, Reject):
            _count(faults, row.reason, f"{here}, {row.detail}")
            continue
        mapper = mappers.get(place.uri)
        if mapper is None:
            mapper = mappers[place.uri] = RowMapper(shape, task, task == "classification", place.uri)
        for found in mapper.records(row.payload):
            if not isinstance(found, Conversation):
                _count(faults, found.reason, f"{here}, {found.detail}")
            elif shown < SHOWN_RECORDS:
                shown += 1
                lines += _record(found, here)
    if not shown:
        lines.append("no row becomes a record: map other columns under fields")
    counted = min(len(rows), COUNTED_ROWS)
    for reason, (count, first) in faults.items():
        lines.append(f"rejected of the first {counted} rows: {count} {reason} (first: {first})")
    return lines


def _count(faults: dict[str, tuple[int, str]], reason: str, first: str) -> None:
    count, earlier = faults.get(reason, (0, first))
    faults[reason] = (count + 1, earlier)


def _record(found: Conversation, here: str) -> Iterator[str]:
    persons = found.person_names
    yield here
    messages = found.messages if found.label is None else found.messages[:-1]
    for turn in messages[:SHOWN_TURNS]:
        yield f"  {turn['role']}: {scrubbed(turn['content'], persons)}"
    if len(messages) > SHOWN_TURNS:
        yield f"  … {len(messages) - SHOWN_TURNS} more turns"
    for turn in (found.rejected or ())[:SHOWN_TURNS]:
        yield f"  rejected {turn['role']}: {scrubbed(turn['content'], persons)}"
    beside = {
        "label": found.label,
        "id": found.source_id,
        "group": found.group,
        "created_at": found.created_at,
    }
    for name, value in beside.items():
        if value is not None:
            yield f"  {name}: {scrubbed(value, persons, 80)}"
