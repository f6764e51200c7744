"""Rows of a database as canonical JSON lines, sorted, in gzip files: the same rows give the same bytes.

Lives here: what a database's values become, and files of them in bounded memory. Keep out: asking (`connections`),
which days there are (`databases`).
"""

from __future__ import annotations

import datetime as dt
import gzip
import heapq
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

SORT_BYTES = 64 * 2**20
"""Lines of one file that are sorted in memory; what is above goes through files beside it."""
_LINES_AT_ONCE = 1_000
_OBJECT_BYTES = 42
"""What a line takes beside its characters: the object and its place in a list."""
_PLAIN = frozenset({str, bool, int, type(None)})


def line_maker(columns: list[str]) -> Callable[[Any], bytes]:
    """Row to its canonical JSON: keys sorted, no spaces, so that lines sort the same however the server orders."""

    def line_of(row: Any) -> bytes:
        payload = dict(zip(columns, row, strict=True))
        if _PLAIN.issuperset(map(type, row)):
            try:
                return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
            except TypeError:  # an integer beyond 64 bits, or a text that is none
                pass
        return _json({key: json_value(value) for key, value in payload.items()})

    return line_of


def json_value(value: Any) -> Any:
    """A database's value as what JSON can say.

    Moments are ISO text, in UTC where they have a time zone; numbers that binary floats or 64 bits cannot hold are
    text; bytes are {"binary": "<n bytes>"}; nested values stay nested. NaN and infinities stay floats.
    """
    if isinstance(value, str):
        return value if _is_text(value) else {"binary": f"<{len(value)} characters>"}
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, dt.datetime):
        return _moment(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return {"binary": f"<{len(bytes(value))} bytes>"}
    if isinstance(value, dict):
        return {str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(str(inner) for inner in value)
    return str(value)


def _moment(value: dt.datetime) -> str:
    try:
        return (value.astimezone(dt.UTC) if value.tzinfo else value).isoformat()
    except OverflowError:  # the first or last day of the calendar has no UTC
        return value.isoformat()


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json(payload: dict[str, Any]) -> bytes:
    """As orjson writes it, but with NaN and Infinity by name: no reader takes such a line for a row.

    orjson writes null for them (measured), and the row would enter as if the database had said nothing.
    """
    if _is_finite(payload):
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    return json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(inner) for inner in value.values())
    return all(_is_finite(inner) for inner in value) if isinstance(value, list) else True


@dataclass
class _Sorter:
    """Lines in, sorted lines out; what is above SORT_BYTES waits in files."""

    part: Path
    held: list[bytes] = field(default_factory=list)
    held_bytes: int = 0
    runs: list[Path] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        # A copy: orjson's bytes hold on to its whole buffer, 4 KB a line (measured: 1.3 GB for 300,000 lines).
        self.held.append(line + b"\n")
        self.held_bytes += len(line) + _OBJECT_BYTES
        if self.held_bytes > SORT_BYTES:
            run = self.part / f"sorted-{len(self.runs)}"
            with run.open("wb") as file:
                file.writelines(sorted(self.held))
            self.runs.append(run)
            self.held, self.held_bytes = [], 0

    def merged(self) -> Iterator[bytes]:
        self.held.sort()
        # JSON holds no newline, so a line of a run is a line.
        yield from heapq.merge(*map(_lines, self.runs), self.held) if self.runs else self.held
        for run in self.runs:
            run.unlink()


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def write_sorted(part: Path, name: str, lines: Iterable[bytes]) -> int:
    """Write `lines` sorted to `part / name`, as gzip without a time or a name in it. Returns how many."""
    sorter = _Sorter(part)
    for line in lines:
        sorter.add(line)
    count, ordered = 0, sorter.merged()
    with (part / name).open("wb") as file:
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
            while block := list(islice(ordered, _LINES_AT_ONCE)):
                packed.write(b"".join(block))
                count += len(block)
        file.flush()
        os.fsync(file.fileno())
    return count
