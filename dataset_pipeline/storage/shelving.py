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
from dataset_pipeline.storage import release_checks, releases
from dataset_pipeline.storage.files import replace_file, sync
from dataset_pipeline.storage.release_checks import MANIFEST, ReleaseFile, manifest_of, strange
from dataset_pipeline.storage.releases import LATEST
from dataset_pipeline.storage.shelf import BLOCK_BYTES
from dataset_pipeline.storage.shipping import FOREIGN_REMEDY, INSIDE_REMEDY, STEP, Shipped, foreign, inside

_PART_PREFIX = ".publishing-"
WAIT_SECONDS = 10.0
"""For another publish into the same folder, before it is named as busy."""


class NotWhole(PipelineError):
    """A file did not come out as it went in: the source or the disk changed under the copy."""


def shelve(release: Path, data: bytes, target: Path) -> Shipped:
    """Copy a whole release to `<target>/<version>/` and point `<target>/latest` at it.

    release: verified by the caller; data: the manifest it was verified by. Raises SpecError where something foreign is in the way, NotWhole; then, and on
    Ctrl-C, the target is as it was.
    """
    manifest = manifest_of(data)
    assert manifest is not None, "a verified release has a manifest"
    folder = target / manifest.version
    if folder.resolve() == release.resolve():
        raise SpecError([Problem(str(target), "is where the release is already.", "Name another TARGET.")])
    real = target.resolve()
    for above in (real, *real.parents):
        if (above / MANIFEST).is_file():
            raise SpecError([Problem(str(target), inside(str(above / MANIFEST)), INSIDE_REMEDY)])
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SpecError([Problem(str(target), "is no folder.", "Name a folder.")]) from None
    with _alone(target):
        _refuse_foreign(target, folder, manifest.files)
        for left_over in [*target.glob(f"{_PART_PREFIX}*"), *target.glob(f".{LATEST}-*")]:
            _remove(left_over)
        was_there = folder.is_dir() and release_checks.verify(folder).is_whole
        if not was_there:
            _copy(release, data, target, folder, manifest.files)
        releases.point_latest(target, folder.name)
    total = sum(file.bytes for file in manifest.files.values())
    return Shipped(
        str(folder), was_there, 0 if was_there else len(manifest.files), 0, 0 if was_there else total
    )


def _refuse_foreign(target: Path, folder: Path, files: Mapping[str, ReleaseFile]) -> None:
    link = target / LATEST
    if link.exists() and not link.is_symlink():
        raise SpecError(
            [Problem(str(link), "is there and is no link: it could not be moved.", "Move it away.")]
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SpecError([Problem(str(folder), "is there and is no folder.", FOREIGN_REMEDY)])
    there = release_checks.entries(folder) if folder.is_dir() else {}
    # A release has no links: one in the place of its file is somebody's too.
    links = {path for path, kind in there.items() if kind in ("link", "device")}
    if names := sorted({*strange(there, files), *strange(links, ())}):
        raise SpecError([Problem(str(target), foreign(folder.name, names), FOREIGN_REMEDY)])


def _copy(release: Path, data: bytes, target: Path, folder: Path, files: Mapping[str, ReleaseFile]) -> None:
    part = Path(tempfile.mkdtemp(prefix=_PART_PREFIX, dir=target))
    aside = part.with_name(f"{part.name}-old")
    try:
        part.chmod(0o755)
        for number, (path, said) in enumerate(files.items(), 1):
            REPORTER.get().phase(STEP, f"{number} of {len(files)} files")
            _copy_file(release / path, part / path, said.sha256)
        replace_file(part / MANIFEST, data)
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


def _copy_file(source: Path, copy: Path, sha256: str) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, copy.open("xb") as writer:
        while block := reader.read(BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
    sync(copy)
    with copy.open("rb") as reader:
        came_out = hashlib.file_digest(reader, "sha256").hexdigest()
    if digest.hexdigest() != sha256:
        raise NotWhole(
            f"{source}: was changed while it was published, after it had been verified. Nothing was published: leave the "
            "release alone; `verify` it, then publish again."
        )
    if came_out != sha256:
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
