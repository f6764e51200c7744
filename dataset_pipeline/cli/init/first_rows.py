"""The first rows of the files given, and how they had to be read: encoding, delimiter, header, list of records, sheet.

Lives here: trying readings until one gives rows. Keep out: what a file is (`sniffing`), what rows mean (`guessing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_pipeline.cli.init.attempts import MAX_CHARS, Settled, good_rows, tried
from dataset_pipeline.cli.init.dialects import delimited, headed
from dataset_pipeline.cli.init.encodings import encoding_of
from dataset_pipeline.cli.init.record_lists import record_lists
from dataset_pipeline.cli.init.sniffing import format_in
from dataset_pipeline.spec.reading import Format, Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.readers import RawRow, Reject, UnreadableFile
from dataset_pipeline.storage.readers.packing import BrokenStream, unpacked_blocks
from dataset_pipeline.transforms.lookup import weight

MAX_ROWS = 5000
"""Of all files together: enough to see what columns hold."""
MAX_FILES, MAX_SINGLES = 20, 500
"""Files that are looked at, and those of one record each."""
_DELIMITERS = ",;\t|"
_SINGLES = ("files", "html")


@dataclass(frozen=True)
class Place:
    """A file as it is read and as it is called. path: where; uri: below the project."""

    path: Path
    uri: str


@dataclass(frozen=True)
class Sample:
    """reading: with the keys that the spec must say. rows: in file order, the place of each with it.

    columns: what every file has. guessed: keys of `reading` that are guesses, with the reason. notes: comments.
    unread: files that cannot be read, and why.
    """

    reading: Reading
    rows: tuple[tuple[Place, RawRow | Reject], ...]
    columns: tuple[str, ...]
    guessed: dict[str, str]
    notes: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [row.payload for _, row in self.rows if isinstance(row, RawRow)]


def sample_of(places: Sequence[Place], named: Format | None, told: Format | None) -> Sample:
    """The first rows of the files. named: their format, where names tell it; told: what the spec's path tells.

    Raises UnreadableFile where the first file cannot be read.
    """
    first = places[0]
    kind = format_in(first.path)
    single = named == "files" and kind == "text"
    found_format: Format = "files" if single else kind
    looked_at = _spread(places, MAX_SINGLES if found_format in _SINGLES else MAX_FILES)
    values: dict[str, Any] = {} if found_format == told else {"format": found_format}
    guessed: dict[str, str] = {}
    if found_format not in ("parquet", "excel"):
        encoding, is_guess = encoding_of(_bytes_of(looked_at))
        if encoding != "utf-8":
            values["encoding"] = encoding
        if is_guess:
            guessed["encoding"] = "the file is not UTF-8"
    settled = Settled(Reading(**{"format": found_format} | values), guessed, ())
    settled = _settled(first.path, settled)
    keys = {k for k in settled.reading.model_fields_set if k != "format" or "format" in values}
    rows, columns, unread = _read_all(looked_at, settled.reading)
    reading = Reading(**{k: getattr(settled.reading, k) for k in keys})
    return Sample(reading, tuple(rows), columns, settled.guessed, settled.notes, unread)


def _spread(places: Sequence[Place], most: int) -> list[Place]:
    """The first file, the last, and others between them in equal steps."""
    if len(places) <= most:
        return list(places)
    return [places[round(n * (len(places) - 1) / (most - 1))] for n in range(most)]


def _bytes_of(places: Sequence[Place]) -> Iterator[bytes]:
    for place in places:
        try:
            yield from unpacked_blocks(place.path)
            yield b"\n"
        except (BrokenStream, UnreadableFile):
            continue


def _settled(path: Path, found: Settled) -> Settled:
    """How the first file is read. Raises UnreadableFile, in the words of its reader."""
    match found.reading.format:
        case "csv" | "tsv":
            return delimited(path, found)
        case "json":
            return _document(path, found)
        case "excel":
            return _sheet(path, found)
    return found


def _document(path: Path, found: Settled) -> Settled:
    """The list of records of a JSON document, where its reader asks for it or takes the whole for one record."""
    rows, error = tried(path, found.reading)
    if error is None and (len(rows) != 1 or not good_rows(rows)):
        return found
    if error is None and _is_record(good_rows(rows)[0]):
        return found
    lists = record_lists(path, found.reading)
    if not lists:
        if error is not None:
            raise error
        return found
    longest = max(lists, key=lambda one: (one.items, [-ord(c) for c in one.path[:20]]))
    others = ", ".join(f"{one.path} ({one.items})" for one in lists if one is not longest)
    note = f"Other lists of the document: {others}." if others else ""
    return found.saying(note[:2000], records=longest.path)


def _is_record(payload: dict[str, Any]) -> bool:
    """Whether one object is a record itself: turns, replies, a pair, or a text beside its lists."""
    lists = [v for v in payload.values() if isinstance(v, list)]
    turns = any(isinstance(v[0], dict) and ({"role", "content"} <= v[0].keys() or {"from", "value"} <= v[0].keys())
                for v in lists if v)  # fmt: skip
    tree = "replies" in payload or (
        isinstance(payload.get("prompt"), dict) and "replies" in payload["prompt"]
    )
    says = any(
        isinstance(payload.get(k), str)
        for k in ("instruction", "text", "question", "prompt", "message", "body")
    )
    return turns or tree or says or not any(isinstance(v, list | dict) for v in payload.values())


def _sheet(path: Path, found: Settled) -> Settled:
    """The first sheet that is not hidden, else the first that holds rows; the others named."""
    from dataset_pipeline.storage.readers.workbooks import open_sheet

    rows, error = tried(path, found.reading)
    with_names = []
    try:
        with open_sheet(path, None) as sheet:
            with_names = [one.title for one in sheet.workbook.worksheets]
            first = sheet.worksheet.title
    except UnreadableFile:
        return headed(path, found)
    chosen, values = first, {}
    if error is not None or not good_rows(rows):
        usable = (
            name
            for name in with_names
            if name != first and good_rows(tried(path, found.saying(sheet=name).reading)[0])
        )
        chosen = next(usable, first)
        values = {} if chosen == first else {"sheet": chosen}
    others = ", ".join(name for name in with_names if name != chosen)
    note = f"Other sheets of the workbook: {others}." if others else ""
    return headed(path, found.saying(note, **values))


# --- all files ----------------------------------------------------------------------------


def _read_all(
    places: Sequence[Place], reading: Reading
) -> tuple[list[tuple[Place, RawRow | Reject]], tuple[str, ...], tuple[str, ...]]:
    """The rows of several files, the columns that all of them have, and files that cannot be read."""
    most = max(200, MAX_ROWS // len(places)) if len(places) > 1 else MAX_ROWS
    found: list[tuple[Place, RawRow | Reject]] = []
    common: list[str] | None = None
    unread: list[str] = []
    chars = 0
    for number, place in enumerate(places):
        rows, error = tried(place.path, reading, most)
        if error is not None:
            if number == 0:
                raise error
            unread.append(str(error).replace(str(place.path), place.uri))
            continue
        found += [(place, row) for row in rows]
        chars += sum(weight(payload, MAX_CHARS) for payload in good_rows(rows))
        declared = readers.columns_of(place.path, reading)
        seen = declared or list(dict.fromkeys(name for payload in good_rows(rows)[:200] for name in payload))
        if seen:
            common = seen if common is None else [name for name in common if name in set(seen)]
        if chars > MAX_CHARS:
            break
    return found, tuple(common or ()), tuple(unread)
