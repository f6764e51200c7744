"""What a release folder says of itself, and whether that is true: its manifest, its hashes, its version.

Lives here: reading a manifest, verifying. Keep out: writing (`releases`), bytes of one file (`release_files`), whether
rows are those of provenance (`assets.rebuilding`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dataset_pipeline.storage import release_files
from dataset_pipeline.storage.release_files import count_rows, sha256_of

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release: path inside it, hash, size, and rows where it has rows."""

    path: str
    sha256: str
    bytes: int
    rows: int | None


def version_of(files: Iterable[ReleaseFile]) -> str:
    """16 hex digits over path and hash of every file but the manifest."""
    listed = sorted((f.path, f.sha256) for f in files if f.path != MANIFEST)
    return hashlib.sha256("".join(f"{path}\x1f{sha}\n" for path, sha in listed).encode()).hexdigest()[:16]


# --- the manifest -------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    """What a manifest says of its release: version, files by path, and all of it as it stands there."""

    version: str
    files: Mapping[str, ReleaseFile]
    said: Mapping[str, Any]


NO_MANIFEST = "is missing or no manifest, or names what cannot lie in its folder: this is no whole release"


def manifest_of(data: bytes | None) -> Manifest | None:
    """A manifest read; None for what is none, or names files outside its folder.

    Every reader of a release's files uses it: a path of `files` can be joined to a folder and stays in it.
    """
    try:
        said = json.loads(data or b"")
        files = {path: _file_of(path, facts) for path, facts in sorted(said["files"].items())}
        version = said["version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(version, str) or "/" in version or not all(map(_is_inside, [version, *files])):
        return None
    return Manifest(version, files, said)


def _is_inside(path: str) -> bool:
    """Whether a path goes down only, and can be shown: no control characters, no halves of UTF-16 pairs."""
    return path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(path.split("/"))


def _file_of(path: str, facts: Mapping[str, Any]) -> ReleaseFile:
    sha256, size, rows = facts["sha256"], facts["bytes"], facts["rows"]
    if type(sha256) is not str or type(size) is not int or type(rows) not in (int, type(None)):
        raise TypeError
    return ReleaseFile(path, sha256, size, rows)


def entries(folder: Path) -> dict[str, str]:
    """Path below a folder to `file`, `folder`, `link` or `device` of everything in it. No link is followed."""
    found: dict[str, str] = {}
    todo = [folder]
    while todo:
        with os.scandir(todo.pop()) as inside:
            for entry in inside:
                path = Path(entry.path)
                if entry.is_symlink():
                    kind = "link"
                elif entry.is_dir(follow_symlinks=False):
                    kind = "folder"
                    todo.append(path)
                else:
                    kind = "file" if entry.is_file(follow_symlinks=False) else "device"
                found[path.relative_to(folder).as_posix()] = kind
    return dict(sorted(found.items()))


def strange(there: Iterable[str], files: Iterable[str]) -> list[str]:
    """What of `there` is none of a release's files, its manifest, or a folder that they need; it may hold odd bytes."""
    own = {MANIFEST, *files}
    own |= {str(parent) for path in own for parent in PurePosixPath(path).parents}
    return [path.encode("utf-8", "backslashreplace").decode() for path in sorted(set(there) - own)]


def is_plain(folder: Path, path: str) -> bool:
    """Whether a path below a folder is a file, without a link on the way. Of anything else nothing should be read."""
    here = folder
    for part in path.split("/"):
        here = here / part
        if here.is_symlink():
            return False
    return here.is_file()


# --- verifying ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Verification:
    """What `verify` found: problems in words, none where the release is whole. manifest: its bytes, as they were read."""

    version: str
    files: int
    rows: int
    problems: tuple[str, ...]
    manifest: bytes = b""

    @property
    def is_whole(self) -> bool:
        return not self.problems


def verify(folder: Path) -> Verification:
    """Check every hash, size and row count, the version, and that nothing is missing, extra or a link.

    Nothing outside `folder` is read, and nothing but plain files.
    """
    try:
        data = (folder / MANIFEST).read_bytes() if is_plain(folder, MANIFEST) else b""
        there = entries(folder)
    except OSError:
        data = b""
    manifest = manifest_of(data)
    if manifest is None:
        return Verification(folder.name, 0, 0, (f"{folder / MANIFEST}: {NO_MANIFEST}",))
    problems: list[str] = []
    rows = 0
    files = []
    for path, said in manifest.files.items():
        target = folder / path
        if not is_plain(folder, path):
            is_there = target.is_symlink() or target.exists()
            problems.append(
                f"{path}: is no file, or lies behind a link" if is_there else f"{path}: is missing"
            )
            continue
        file = ReleaseFile(path, sha256_of(target), target.stat().st_size, said.rows)
        files.append(file)
        problems += unlike(file, said)
        if file.sha256 == said.sha256 and (said.rows is not None or release_files.has_rows(path)):
            try:
                counted = count_rows(target)
            except ValueError as error:
                problems.append(f"{path}: {error}")
                continue
            rows += counted
            if counted != said.rows:
                shown = "none" if said.rows is None else said.rows
                problems.append(f"{path}: holds {counted} rows, the manifest says {shown}")
    problems += [f"{path}: does not belong to the release" for path in strange(there, manifest.files)]
    if not problems and version_of(files) != manifest.version:
        problems.append(
            f"the version of its files is {version_of(files)}, the manifest says {manifest.version}"
        )
    if manifest.version != folder.name:
        problems.append(f"the folder is called {folder.name}, the manifest says {manifest.version}")
    return Verification(manifest.version, len(manifest.files), rows, tuple(problems), data)


def unlike(found: ReleaseFile, said: ReleaseFile) -> list[str]:
    """How the bytes of a file are not those that the manifest says, in words; one line at most."""
    if found.sha256 != said.sha256:
        return [
            f"{said.path}: was changed (sha256 {found.sha256[:12]}, the manifest says {said.sha256[:12]})"
        ]
    if found.bytes != said.bytes:
        return [f"{said.path}: holds {found.bytes} bytes, the manifest says {said.bytes}"]
    return []
