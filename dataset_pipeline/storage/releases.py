"""Release folders: written beside, fsynced, renamed; `latest` moves last.

Lives here: writing the files of a release and moving `latest`. Keep out: reading a manifest and verifying
(`release_checks`), bytes of one file, packed, cut and read back (`release_files`), removing (`release_removal`), what the
rows are (`transforms.formats`), what the card says (`transforms.card`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from dataset_pipeline.storage import release_files
from dataset_pipeline.storage.files import replace_file, sync
from dataset_pipeline.storage.release_checks import MANIFEST, ReleaseFile, verify, version_of
from dataset_pipeline.storage.release_files import Compression, count_rows, read_lines, sha256_of

__all__ = [
    "LATEST",
    "MANIFEST",
    "REFUSED",
    "Writer",
    "count_rows",
    "latest_version",
    "point_latest",
    "read_lines",
]

LATEST = "latest"
REFUSED = ".refused"
"""Files of a release whose gate closed: its provenance.parquet names every record with what was measured."""
_PART_PREFIX = ".writing-"


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
