"""Copying a release into a local folder: written beside, fsynced, read back, renamed; `latest` moves last.

Lives here: the copy and its switch. Keep out: other storage (`shipping`), making a release (`releases`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset_pipeline.errors import PipelineError, Problem, SpecError
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.files import sync
from dataset_pipeline.storage.releases import LATEST, MANIFEST, ReleaseFile
from dataset_pipeline.storage.shelf import BLOCK_BYTES, manifest_of
from dataset_pipeline.storage.shipping import FOREIGN_REMEDY, STEP, Shipped, foreign, is_foreign

_PART_PREFIX = ".publishing-"
WAIT_SECONDS = 10.0
"""For another publish into the same folder, before it is named as busy."""


class NotWhole(PipelineError):
    """A file did not come out as it went in: the source or the disk changed under the copy."""


def shelve(release: Path, target: Path) -> Shipped:
    """Copy a whole release to `<target>/<version>/` and point `<target>/latest` at it.

    release: verified by the caller. Raises SpecError where something foreign is in the way, NotWhole; then, and on
    Ctrl-C, the target is as it was.
    """
    manifest = manifest_of((release / MANIFEST).read_bytes())
    assert manifest is not None, "a verified release has a manifest"
    folder = target / manifest.version
    if folder.resolve() == release.resolve():
        raise SpecError([Problem(str(target), "is where the release is already.", "Name another TARGET.")])
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SpecError([Problem(str(target), "is no folder.", "Name a folder.")]) from None
    _refuse_foreign(target, folder, manifest.version, manifest.files)
    with _alone(target):
        for left_over in [*target.glob(f"{_PART_PREFIX}*"), *target.glob(f".{LATEST}-*")]:
            _remove(left_over)
        was_there = folder.is_dir() and releases.verify(folder).is_whole
        if not was_there:
            _copy(release, target, folder, manifest.files)
        releases.point_latest(target, folder.name)
    total = sum(file.bytes for file in manifest.files.values())
    return Shipped(
        str(folder), was_there, 0 if was_there else len(manifest.files), 0, 0 if was_there else total
    )


def _refuse_foreign(target: Path, folder: Path, version: str, files: Mapping[str, ReleaseFile]) -> None:
    link = target / LATEST
    if link.exists() and not link.is_symlink():
        raise SpecError(
            [Problem(str(link), "is there and is no link: it could not be moved.", "Move it away.")]
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SpecError([Problem(str(folder), "is there and is no folder.", FOREIGN_REMEDY)])
    if folder.is_dir():
        there = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()]
        said = folder / MANIFEST
        theirs = manifest_of(said.read_bytes()) if said.is_file() else None
        if is_foreign(version, files, there, theirs):
            raise SpecError([Problem(str(target), foreign(folder.name), FOREIGN_REMEDY)])


def _copy(release: Path, target: Path, folder: Path, files: Mapping[str, ReleaseFile]) -> None:
    part = Path(tempfile.mkdtemp(prefix=_PART_PREFIX, dir=target))
    aside = part.with_name(f"{part.name}-old")
    try:
        part.chmod(0o755)
        names = [*files, MANIFEST]
        for number, path in enumerate(names, 1):
            REPORTER.get().phase(STEP, f"{number} of {len(names)} files")
            _copy_file(release / path, part / path, files.get(path))
        for inner in sorted({p.parent for p in part.rglob("*")} | {part}):
            sync(inner)
        if folder.exists():
            folder.rename(aside)
        try:
            part.rename(folder)
        except BaseException:
            if aside.exists():
                aside.rename(folder)
            raise
        sync(target)
    finally:
        for left_over in (part, aside):
            if left_over.exists():
                _remove(left_over)


def _copy_file(source: Path, copy: Path, said: ReleaseFile | None) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, copy.open("xb") as writer:
        while block := reader.read(BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    with copy.open("rb") as reader:
        came_out = hashlib.file_digest(reader, "sha256").hexdigest()
    if came_out != digest.hexdigest() or (said is not None and came_out != said.sha256):
        raise NotWhole(f"{source}: other bytes came out than went in. Nothing was published: run again.")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One publish at a time into a folder: a lock on the folder itself, let go when the process ends.

    Where a file system knows no locks there is none: two publishes of one version write the same bytes.
    """
    descriptor = os.open(target, os.O_RDONLY)
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise NotWhole(
                        f"{target}: another publish writes here; waited {WAIT_SECONDS:g} s. Run again when it has ended."
                    ) from None
                time.sleep(0.1)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)
