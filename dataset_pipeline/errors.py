"""Errors a user can mend. Each names the file, the culprit and the remedy; none needs a traceback.

Lives here: the exceptions that cross layers, with the exit code they end a command with.
Keep out: messages of one layer's own making; those are built where the culprit is known.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


class PipelineError(Exception):
    """Something the user can mend. `exit_code` is what the command line ends with."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the spec or its files: where, what, and what to do."""

    place: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" {self.remedy}" if self.remedy else "")


class SpecError(PipelineError):
    """The spec, a file it names or the call is wrong. Holds every problem found."""

    exit_code = 2

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class WarehouseBusy(PipelineError):
    """Another process holds the warehouse; the bounded wait is over."""

    exit_code = 3


class WarehouseVersion(PipelineError):
    """The warehouse was written by another version of the project."""

    exit_code = 2


class StalePublish(PipelineError):
    """What a step read has been published anew since, or a newer run has claimed its days."""


class StepFailed(PipelineError):
    """A step ended with an error that is not the user's to mend: a fault of ours."""


@dataclass
class BadDay(PipelineError):
    """Days of a step that cannot be made: a closed gate, or a file that is no batch."""

    step: str
    days: dict[str, list[str]] = field(default_factory=dict)
    """ISO day to what is wrong with it."""

    def __str__(self) -> str:
        lines = [f"{self.step}: {day}: {text}" for day, texts in sorted(self.days.items()) for text in texts]
        return "\n".join(lines)


_FRAMES = 4


def fault_words(error: BaseException) -> str:
    """A fault of ours without its message, which may quote a record: its kind, where it was raised, and by way of which lines."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    place, way = (frames or ["no line"])[-1], frames[-1 - _FRAMES : -1]
    by = f" by way of {', '.join(reversed(way))}" if way else ""
    return (
        f"failed with a fault of its own: {type(error).__name__} at {place}{by}. "
        "Its message is not shown: it may hold text of a record."
    )


class DiskFull(PipelineError):
    """There was no room for what had to be written. Nothing that was published has changed."""


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_ROOM_WORDS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "database or disk is full",
    "disk I/O error",
)
"""How DuckDB, Polars and SQLite (of Dagster) say it; "disk I/O error" is what SQLite makes of a limit on the size of a file."""
_WRITERS = frozenset({"duckdb", "_duckdb", "polars", "sqlite3", "sqlalchemy"})
"""Packages whose errors are asked for these words: another's may quote what somebody wrote."""


def disk_full(error: BaseException) -> DiskFull | None:
    """`error` as DiskFull where it, or one that it comes from, says that there is no room; else None.

    Its own message is not repeated: it may quote what was to be written.
    """
    for one in _chain(error):
        said = None
        if type(one).__module__.partition(".")[0] in _WRITERS:
            said = next((words for words in _NO_ROOM_WORDS if words in str(one)), None)
        if isinstance(one, OSError) and one.errno in _NO_ROOM:
            said = f"{one.filename}: {one.strerror}" if one.filename else str(one.strerror)
        if said is not None:
            return DiskFull(
                f"There is no room to write ({said}). Rows and releases that were published are as they were. Free space where "
                "the spec lies and where temporary files go, or raise the quota, then run again."
            )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it comes from, each once."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
