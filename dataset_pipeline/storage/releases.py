"""Release folders: written beside, fsynced, renamed; `latest` moves last.

Lives here: files of a release, their hashes, the version, the manifest, and verifying. Keep out: bytes of one file,
packed, cut and read back (`release_files`), what the rows are (`transforms.formats`), what the card says
(`transforms.card`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import polars as pl

from dataset_pipeline.storage import release_files
from dataset_pipeline.storage.files import replace_file, sync
from dataset_pipeline.storage.release_files import Compression, count_rows, read_lines, sha256_of

__all__ = [
    "LATEST",
    "MANIFEST",
    "Manifest",
    "ReleaseFile",
    "Verification",
    "Writer",
    "count_rows",
    "entries",
    "is_plain",
    "latest_version",
    "manifest_of",
    "point_latest",
    "read_lines",
    "strange",
    "unlike",
    "verify",
    "version_of",
]

MANIFEST = "manifest.json"
LATEST = "latest"
REFUSED = ".refused"
"""Files of a release whose gate closed: its provenance.parquet names every record with what was measured."""
_PART_PREFIX = ".writing-"


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release: path inside it, hash, size, and rows where it has rows."""

    path: str
    sha256: str
    bytes: int
    rows: int | None


class Writer:
    """Writes a release into a folder that no reader looks at, until `finish`."""

    def __init__(self, releases: Path):
        releases.mkdir(parents=True, exist_ok=True)
        for left_over in [
            *releases.glob(f"{_PART_PREFIX}*"), *releases.glob(f".{LATEST}-*"), *releases.glob(REFUSED)
        ]:  # fmt: skip
            # A run that died while writing: nobody else writes, the run lock is ours.
            if left_over.is_symlink():
                left_over.unlink()
            else:
                shutil.rmtree(left_over, ignore_errors=True)
        self.releases = releases
        self.folder = Path(tempfile.mkdtemp(prefix=_PART_PREFIX, dir=releases))
        self.folder.chmod(0o755)
        self.files: dict[str, ReleaseFile] = {}

    def jsonl(
        self, folder: str, split: str, lines: Iterable[bytes], compression: Compression, max_shard_bytes: int
    ) -> list[str]:
        """Write the lines of a split, each with its newline, and return the paths of the files inside the release.

        One file, `chat/train.jsonl`; above max_shard_bytes (before packing) shards of whole lines, in order,
        `chat/train-00000-of-00003.jsonl`; a line that is longer than that is a shard by itself. gzip and zstd
        add `.gz` and `.zst`. No lines, no file: `datasets` cannot load an empty one.
        """
        suffix = f".jsonl{release_files.PACKED[compression]}"
        parts = []
        # How many there will be is known at the end: until then they have names of their own.
        for number, shard in enumerate(release_files.shards(lines, max_shard_bytes)):
            parts.append(f"{folder}/{split}-part-{number:05d}{suffix}")
            self.lines(parts[-1], shard, compression)
        return self._renamed(parts, release_files.shard_names(folder, split, len(parts), suffix))

    def parquet_shards(self, folder: str, split: str, frame: pl.DataFrame, max_shard_bytes: int) -> list[str]:
        """Write the rows of a split likewise: `parquet/train.parquet`, or shards; all have one schema."""
        parts = release_files.slices(frame, max_shard_bytes)
        paths = release_files.shard_names(folder, split, len(parts), ".parquet")
        for path, part in zip(paths, parts, strict=True):
            self.parquet(path, part)
        return paths

    def lines(self, path: str, lines: Iterable[bytes], compression: Compression = "none") -> None:
        """Write lines (each with its newline) to one file and count them as rows."""
        rows = 0
        with self._open(path) as handle, release_files.packed(handle, compression) as packer:
            for line in lines:
                packer.write(line)
                rows += 1
        self._list(path, rows)

    def parquet(self, path: str, frame: pl.DataFrame) -> None:
        """Write one Parquet file in the plain types of Arrow (`release_files.write_parquet`)."""
        with self._open(path) as handle:
            release_files.write_parquet(handle, frame)
        self._list(path, frame.height)

    def text(self, path: str, text: str) -> None:
        with self._open(path) as handle:
            handle.write(text.encode())
        self._list(path, None)

    @contextmanager
    def _open(self, path: str) -> Iterator[BinaryIO]:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as handle:
            yield handle
        sync(target)

    def _list(self, path: str, rows: int | None) -> None:
        target = self.folder / path
        self.files[path] = ReleaseFile(path, sha256_of(target), target.stat().st_size, rows)

    def _renamed(self, old: Sequence[str], new: list[str]) -> list[str]:
        for before, after in zip(old, new, strict=True):
            (self.folder / before).rename(self.folder / after)
            self.files[after] = replace(self.files.pop(before), path=after)
        return new

    def version(self) -> str:
        return version_of(self.files.values())

    def abandon(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def refuse(self) -> Path:
        """Leave what was written for inspection, without a manifest, until the next release is written."""
        return self.folder.rename(self.releases / REFUSED)

    def finish(self, manifest: Mapping[str, Any]) -> Path:
        """Add the manifest, sync, rename to `releases/<version>`, point `latest` at it.

        A folder of the same version holds the same rows: its files stay as they are. Its manifest is replaced where it
        says anything else than when, and by which run, it was made.
        """
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        self.text(MANIFEST, text)
        target = self.releases / str(manifest["version"])
        for folder in sorted({p.parent for p in self.folder.rglob("*")} | {self.folder}):
            sync(folder)
        if target.exists() and (there := verify(target)).is_whole:
            self.abandon()
            if _lasting(json.loads(there.manifest)) != _lasting(json.loads(text)):
                replace_file(target / MANIFEST, text.encode())
        else:
            shutil.rmtree(target, ignore_errors=True)
            self.folder.rename(target)
            sync(self.releases)
        point_latest(self.releases, target.name)
        return target


_OF_THE_RUN = frozenset({"created_at", "run_id"})
"""What a manifest says of the run that wrote it, and not of the release."""


def _lasting(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said for key, said in manifest.items() if key not in _OF_THE_RUN}


def point_latest(releases: Path, version: str) -> None:
    """Move `releases/latest` in one step: readers see the old release or the new one."""
    link = releases / f".{LATEST}-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(version, target_is_directory=True)
    link.replace(releases / LATEST)
    sync(releases)


def latest_version(releases: Path) -> str | None:
    """The version `latest` points at, if that folder is there."""
    link = releases / LATEST
    return link.resolve().name if link.is_symlink() and link.exists() else None


def version_of(files: Iterable[ReleaseFile]) -> str:
    """16 hex digits over path and hash of every file but the manifest."""
    listed = sorted((f.path, f.sha256) for f in files if f.path != MANIFEST)
    return hashlib.sha256("".join(f"{path}\x1f{sha}\n" for path, sha in listed).encode()).hexdigest()[:16]


# --- reading and verifying -------------------------------------------------------------------


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
