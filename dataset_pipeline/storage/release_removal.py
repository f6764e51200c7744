"""Removing release folders: a reader sees one whole or not at all, and what a killed removal left is finished.

Lives here: the lock of readers, the rename, the deletion, and remembering what was removed when. Keep out: which ones go
(`assets.keeping`), writing releases (`releases`).

A folder goes by a rename to a name that no reader looks at; its files go after that.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from dataset_pipeline.records import RELEASE
from dataset_pipeline.storage import addenda
from dataset_pipeline.storage.files import sync
from dataset_pipeline.storage.release_checks import MANIFEST, entries, manifest_of, strange
from dataset_pipeline.storage.warehouse import Warehouse

_PREFIX = ".removing-"
_KEY = "removed "
"""meta: `removed VERSION` to the moment, in ISO."""
ROLLBACK = "rollback"
"""What stands in place of a run's id in a publication of a release that a rollback appends: it makes none."""


@contextmanager
def reading(*folders: Path) -> Iterator[None]:
    """While inside, `set_aside` leaves these folders alone, also in another process.

    Best effort: where a file system knows no locks there is none, and a folder that is not there is told by its reader.
    """
    descriptors = []
    try:
        for folder in folders:
            with suppress(OSError):
                descriptors.append(os.open(folder, os.O_RDONLY))
                fcntl.flock(descriptors[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


class Refusal(StrEnum):
    """Why a folder was not set aside."""

    READ = "is being read by another process"
    WANTED = "was tagged meanwhile"


def set_aside(folder: Path, is_wanted: Callable[[], bool]) -> Refusal | None:
    """Rename a release folder to the name under which `finish` deletes it. Returns why it was left where it was.

    is_wanted: asked when no reader can come any more: whoever tags a release does so while `reading` it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Refusal.READ
        except OSError:
            pass
        if is_wanted():
            return Refusal.WANTED
        folder.rename(folder.with_name(_PREFIX + folder.name))
        sync(folder.parent)
        return None
    finally:
        os.close(descriptor)


def foreign_in(folder: Path) -> list[str] | None:
    """What lies in a release folder and is none of its files; None where its manifest does not say what they are."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    manifest = manifest_of(data)
    return None if manifest is None else strange(entries(folder), manifest.files)


def left_overs(releases: Path) -> list[Path]:
    """The folders that are set aside and not deleted yet."""
    return sorted(releases.glob(f"{_PREFIX}*"))


def version_in(left_over: Path) -> str:
    """The version of a folder that is set aside."""
    return left_over.name.removeprefix(_PREFIX)


def finish(left_over: Path, warehouse: Warehouse, moment: dt.datetime) -> None:
    """Remember when a folder that is set aside was removed, then delete it and its addendum. Raises OSError naming what stays."""
    _note(warehouse, version_in(left_over), moment)
    addenda.remove(left_over.parent, version_in(left_over))
    shutil.rmtree(left_over)
    sync(left_over.parent)


def _note(warehouse: Warehouse, version: str, moment: dt.datetime) -> None:
    with warehouse._connection() as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM meta WHERE key = ?", [_KEY + version])
        connection.execute("INSERT INTO meta VALUES (?, ?)", [_KEY + version, moment.isoformat()])
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")


def removed(warehouse: Warehouse) -> dict[str, dt.datetime]:
    """Version to when it was removed, the first removed first; without those that were made again since."""
    found = warehouse.query(
        """SELECT key[len(?) + 1:] AS version, try_cast(value AS TIMESTAMP) AS moment FROM meta WHERE starts_with(key, ?)
        AND NOT EXISTS (SELECT 1 FROM publications p WHERE p.step = ? AND p.content = key[len(?) + 1:]
            AND p.run_id <> ? AND p.published_at > try_cast(value AS TIMESTAMP))
        ORDER BY moment, version""",
        [_KEY, _KEY, RELEASE, _KEY, ROLLBACK],
    )
    return dict(found.iter_rows())
