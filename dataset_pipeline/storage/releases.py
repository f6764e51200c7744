"""Release folders: written beside, fsynced, renamed; `latest` moves last.

Lives here: files of a release, their hashes, the version, the manifest, reading them back and
verifying. Keep out: what the rows are (`transforms.release`), what the card says (`transforms.card`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.storage.files import sync

MANIFEST = "manifest.json"
LATEST = "latest"
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
        for left_over in [*releases.glob(f"{_PART_PREFIX}*"), *releases.glob(f".{LATEST}-*")]:
            # A run that died while writing: nobody else writes, the run lock is ours.
            if left_over.is_symlink():
                left_over.unlink()
            else:
                shutil.rmtree(left_over, ignore_errors=True)
        self.releases = releases
        self.folder = Path(tempfile.mkdtemp(prefix=_PART_PREFIX, dir=releases))
        self.folder.chmod(0o755)
        self.files: dict[str, ReleaseFile] = {}

    def lines(self, path: str, lines: Iterable[bytes]) -> None:
        """Write lines (each with its newline) and count them as rows."""
        digest, size, rows = hashlib.sha256(), 0, 0
        with self._open(path) as handle:
            for line in lines:
                handle.write(line)
                digest.update(line)
                size += len(line)
                rows += 1
            _sync(handle)
        self.files[path] = ReleaseFile(path, digest.hexdigest(), size, rows)

    def parquet(self, path: str, frame: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.rechunk().write_parquet(buffer, compression="zstd", statistics=True)
        self._bytes(path, buffer.getvalue(), frame.height)

    def text(self, path: str, text: str) -> None:
        self._bytes(path, text.encode(), None)

    def _bytes(self, path: str, data: bytes, rows: int | None) -> None:
        with self._open(path) as handle:
            handle.write(data)
            _sync(handle)
        self.files[path] = ReleaseFile(path, hashlib.sha256(data).hexdigest(), len(data), rows)

    def _open(self, path: str) -> Any:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("wb")

    def version(self) -> str:
        return version_of(self.files.values())

    def abandon(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self, manifest: Mapping[str, Any]) -> Path:
        """Add the manifest, sync, rename to `releases/<version>`, point `latest` at it.

        A folder of the same version is the same content: it stays as it is.
        """
        self.text(MANIFEST, json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        target = self.releases / str(manifest["version"])
        for folder in sorted({p.parent for p in self.folder.rglob("*")} | {self.folder}):
            sync(folder)
        if target.exists() and verify(target).is_whole:
            self.abandon()
        else:
            shutil.rmtree(target, ignore_errors=True)
            self.folder.rename(target)
            sync(self.releases)
        point_latest(self.releases, target.name)
        return target


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


@dataclass(frozen=True)
class Verification:
    """What `verify` found: problems in words, none where the release is whole."""

    version: str
    files: int
    rows: int
    problems: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not self.problems


def verify(folder: Path) -> Verification:
    """Check every hash, every row count, the version, and that no file is missing or extra."""
    manifest_path = folder / MANIFEST
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        listed = {
            str(path): ReleaseFile(str(path), str(facts["sha256"]), int(facts["bytes"]), facts["rows"])
            for path, facts in sorted(manifest["files"].items())
        }
        version = str(manifest["version"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Verification(
            folder.name, 0, 0, (f"{manifest_path}: is missing or no manifest: this is no whole release",)
        )
    problems: list[str] = []
    rows = 0
    files = []
    for path, said in listed.items():
        target = folder / path
        if not target.is_file():
            problems.append(f"{path}: is missing")
            continue
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        files.append(ReleaseFile(path, digest, target.stat().st_size, said.rows))
        if digest != said.sha256:
            problems.append(
                f"{path}: was changed (sha256 {digest[:12]}, the manifest says {said.sha256[:12]})"
            )
        elif said.rows is not None:
            counted = count_rows(target)
            rows += counted
            if counted != said.rows:
                problems.append(f"{path}: holds {counted} rows, the manifest says {said.rows}")
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    problems += [
        f"{path}: does not belong to the release" for path in sorted(present - set(listed) - {MANIFEST})
    ]
    if not problems and version_of(files) != version:
        problems.append(f"the version of its files is {version_of(files)}, the manifest says {version}")
    if version != folder.name:
        problems.append(f"the folder is called {folder.name}, the manifest says {version}")
    return Verification(version, len(listed), rows, tuple(problems))


def count_rows(path: Path) -> int:
    """Rows of a release file, read as its reader would: every JSON line parsed, Parquet by its rows."""
    if path.suffix == ".parquet":
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    return sum(1 for _ in read_lines(path))


def read_lines(path: Path) -> Iterator[Any]:
    """The parsed lines of a JSONL file. Raises ValueError for a line that is not JSON."""
    with path.open("rb") as handle:
        for line in handle:
            yield orjson.loads(line)


def _sync(handle: Any) -> None:
    handle.flush()
    os.fsync(handle.fileno())
