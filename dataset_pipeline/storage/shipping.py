"""Publishing a release to storage that has no rename: file by file, the manifest last; and verifying one there.

Lives here: what is uploaded, kept, read back, removed, and in which order. Keep out: local folders (`shelving`), the files of
a folder over there (`shelf`), whether a release deserves it (`cli.publishing`).

A folder without a manifest is no release: while files come in there is none, so a reader sees a whole one or nothing.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.storage.fetching import Secrets
from dataset_pipeline.storage.release_checks import (
    MANIFEST,
    NO_MANIFEST,
    Manifest,
    ReleaseFile,
    Verification,
    manifest_of,
    strange,
    unlike,
    version_of,
)
from dataset_pipeline.storage.releases import LATEST
from dataset_pipeline.storage.shelf import Destination, Say, Shelf, megabytes

LATEST_FILE = "LATEST"
"""Names the newest version where there are no links; written after the manifest."""
STEP = "publish"


@dataclass(frozen=True)
class Shipped:
    """What publishing did. where: for people, without login."""

    where: str
    was_there: bool
    copied: int = 0
    kept: int = 0
    bytes: int = 0


def foreign(where: str, names: Sequence[str]) -> str:
    """That a folder called like a release holds what is none of its files, in words: publishing deletes nothing of others.

    It is ours to complete or replace where it holds files of the release only: an upload that died, or a broken copy.
    """
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{where} is there and holds what is no part of the release: {shown}. Nothing was changed."


FOREIGN_REMEDY = "Move or delete that, or publish to another TARGET."


def inside(where: str) -> str:
    return f"is a release, or lies in one ({where} is there): nothing is added to a release."


INSIDE_REMEDY = "Name the folder that is to hold the releases, or another one."


# --- publishing ---------------------------------------------------------------------------


def ship(release: Path, data: bytes, target: Destination, secrets: Secrets, say: Say) -> Shipped:
    """Copy a whole release to `<target>/<version>/`, check every hash there, then name it in `<target>/LATEST`.

    release: verified by the caller; data: the manifest it was verified by. say: told what could not be removed. What an
    upload that died left is completed. Raises SpecError, UnreadableFile and Changed in words; then, and on Ctrl-C, what
    this call had uploaded is removed.
    """
    manifest = manifest_of(data)
    assert manifest is not None, "a verified release has a manifest"
    top = Shelf(target, secrets)
    top.check()
    if (around := top.around(MANIFEST)) is not None:
        raise secrets.problem(f"{top.where} {inside(around)}", INSIDE_REMEDY)
    shelf = top.below(manifest.version)
    REPORTER.get().phase(STEP, f"looking at {shelf.where}")
    there = shelf.listed()
    theirs = manifest_of(shelf.read(MANIFEST)) if MANIFEST in there else None
    if names := strange(there, manifest.files):
        raise secrets.problem(foreign(shelf.where, names), FOREIGN_REMEDY)
    was_there = theirs is not None and verify_shelf(shelf).is_whole
    shipped = Shipped(shelf.where, True) if was_there else _upload(release, manifest, data, shelf, there, say)
    version = manifest.version.encode() + b"\n"
    if top.read(LATEST_FILE) != version:
        top.write(LATEST_FILE, lambda: io.BytesIO(version))
    return shipped


def _upload(
    release: Path, manifest: Manifest, data: bytes, shelf: Shelf, there: Mapping[str, int], say: Say
) -> Shipped:
    uploaded: list[str] = []
    kept = sent = 0
    try:
        # First of all the manifest: from here on nobody takes what is being replaced for a release.
        if MANIFEST in there:
            shelf.remove(MANIFEST)
        for number, file in enumerate(manifest.files.values(), 1):
            note = _noting(number, len(manifest.files), file)
            if there.get(file.path) == file.bytes and _is_same(shelf, file, note):
                kept += 1
                continue
            uploaded.append(file.path)
            shelf.write(file.path, partial(_opened, release / file.path), note, file.sha256)
            sent += file.bytes
        uploaded.append(MANIFEST)
        shelf.write(MANIFEST, lambda: io.BytesIO(data))
    except BaseException:
        _take_back(shelf, uploaded, say)
        raise
    return Shipped(shelf.where, False, len(uploaded) - 1, kept, sent)


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _noting(number: int, total: int, file: ReleaseFile) -> Say:
    size = megabytes(file.bytes)
    return lambda done: REPORTER.get().phase(STEP, f"{number} of {total} files, {done} of {size}")


def _is_same(shelf: Shelf, file: ReleaseFile, note: Say) -> bool:
    sealed = shelf.seal(file.path, note)
    return sealed is not None and sealed[0] == file.sha256


def _take_back(shelf: Shelf, uploaded: list[str], say: Say) -> None:
    """Remove what was uploaded, the manifest first; tell what could not be."""
    left = []
    for path in reversed(uploaded):
        try:
            shelf.remove(path)
        except (PipelineError, OSError):
            left.append(path)
    if shelf.has_folders:
        folders = {path.rpartition("/")[0] for path in uploaded} | {""}
        for folder in sorted(folders, key=len, reverse=True):
            with suppress(Exception):
                shelf.system.rmdir(shelf.address(folder))
    if left:
        shown = ", ".join(sorted(left)[:5]) + (", …" if len(left) > 5 else "")
        say(
            f"{len(left)} files could not be removed from {shelf.where}: {shown}. Without a manifest they are no release; "
            "the next publish completes them, or delete the folder by hand."
        )


# --- verifying ----------------------------------------------------------------------------


def find_shelf(target: Destination, secrets: Secrets) -> Shelf:
    """The folder of a published release: the URL itself, or the version that LATEST names in it or beside it."""
    shelf = Shelf(target, secrets)
    shelf.check()
    above, _, name = target.path.rpartition("/")
    if name != LATEST_FILE and shelf.read(MANIFEST) is not None:
        return shelf
    folder = (
        Shelf(Destination(above, target.storage), secrets) if name.lower() == LATEST_FILE.lower() else shelf
    )
    named = (folder.read(LATEST_FILE) or b"").decode("utf-8", "replace").strip()
    return folder.below(named) if named.isalnum() else shelf


def verify_shelf(shelf: Shelf) -> Verification:
    """Check every hash, every size, rows of plain JSONL, the version, and that no file is missing or extra."""
    manifest = manifest_of(shelf.read(MANIFEST))
    name = shelf.where.rpartition("/")[2]
    if manifest is None:
        return Verification(name, 0, 0, (f"{shelf.where}/{MANIFEST}: {NO_MANIFEST}",))
    problems, found, rows = [], [], 0
    for number, said in enumerate(manifest.files.values(), 1):
        sealed = shelf.seal(said.path, _noting(number, len(manifest.files), said))
        if sealed is None:
            problems.append(f"{said.path}: is missing")
            continue
        sha256, size, lines = sealed
        file = ReleaseFile(said.path, sha256, size, said.rows)
        found.append(file)
        rows += said.rows or 0
        problems += unlike(file, said)
        if sha256 == said.sha256 and said.path.endswith(".jsonl") and lines != said.rows:
            problems.append(f"{said.path}: holds {lines} rows, the manifest says {said.rows}")
    extra = strange(shelf.listed(), manifest.files) if shelf.can_list else []
    problems += [f"{path}: does not belong to the release" for path in extra]
    if not problems and version_of(found) != manifest.version:
        problems.append(
            f"the version of its files is {version_of(found)}, the manifest says {manifest.version}"
        )
    if name not in (manifest.version, LATEST):  # a web server may follow a folder's link
        problems.append(f"the folder is called {name}, the manifest says {manifest.version}")
    return Verification(manifest.version, len(manifest.files), rows, tuple(problems))
