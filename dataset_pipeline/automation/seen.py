"""What files were when the sensor last looked: their hash, for as long as size and times stay the same.

Lives here: the file `.dagster/arrivals.json` and hashing within a bounded time. Keep out: what a change means (`arrivals`).

A file and no cursor: Dagster stores a sensor's cursor again with every tick, and a thousand files are 100 kB.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from dataset_pipeline.storage.files import replace_file
from dataset_pipeline.storage.readers import UnreadableFile, file_sha256
from dataset_pipeline.storage.sources import SourceFile

VERSION = 2
HASH_SECONDS = 15.0
"""A sensor may take 60 s in all. What is left is hashed at the next tick."""


@dataclass(frozen=True)
class Seen:
    """A file as it lies there. since: seconds of the epoch at which it was last written or put there.

    sha256: None where nobody asked for it, or where it could not be read yet.
    """

    source: str
    day: str
    uri: str
    mark: str
    since: float
    sha256: str | None


@dataclass(frozen=True)
class Look:
    """The files, and how many of those whose hash was asked for are left for another time."""

    files: tuple[Seen, ...]
    left: int


def look(memory: Path, files: Iterable[SourceFile], wanted: Collection[str]) -> Look:
    """Each file with its hash where its uri is in `wanted`; only what is new or changed since the last look is read.

    memory: the file that remembers; it is replaced where something changed.
    """
    known = _read(memory)
    now: dict[str, list[object]] = {}
    seen: list[Seen] = []
    deadline, left, hashed = time.monotonic() + HASH_SECONDS, 0, 0
    for file in files:
        try:
            facts = file.path.stat()
        except OSError:
            continue  # gone between listing and looking: it is told as vanished
        # The time of the last change of the file's entry too: a file that was moved here keeps its old time of writing.
        mark = f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"
        key = _key(file.uri)
        before = now.get(key) or known.get(key)
        sha: str | None = str(before[1]) if before is not None and before[0] == mark else None
        if sha is None and file.uri in wanted:
            if hashed and time.monotonic() > deadline:
                left += 1
            else:
                try:
                    sha, hashed = file_sha256(file.path)[0], hashed + 1
                except (UnreadableFile, OSError):
                    left += 1
        if sha is not None:
            now[key] = [mark, sha]
        seen.append(
            Seen(file.source, file.day.isoformat(), file.uri, mark, max(facts.st_mtime, facts.st_ctime), sha)
        )
    if now != known:
        memory.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"version": VERSION, "files": now}, separators=(",", ":"), sort_keys=True)
        replace_file(memory, text.encode())
    return Look(tuple(seen), left)


def _key(uri: str) -> str:
    """What a file is remembered by: its name may hold whose it is."""
    return hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(memory: Path) -> dict[str, list[object]]:
    """What is remembered; nothing where the file is not there or is none of ours: then every file is hashed again."""
    try:
        data = json.loads(memory.read_bytes())
        if data["version"] != VERSION:
            return {}
        return {str(key): [str(mark), str(sha)] for key, (mark, sha) in data["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
