"""`publish`: copy a release to a folder or to other storage, whole or not at all.

Lives here: what may be published, where to, and the words. Keep out: copying (`storage.shelving`, `storage.shipping`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dataset_pipeline.cli import show
from dataset_pipeline.cli.finding import find_release
from dataset_pipeline.cli.verifying import destination, examined, local_path, with_progress
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.load import read_project
from dataset_pipeline.spec.places import is_remote
from dataset_pipeline.storage import releases, shelving, shipping
from dataset_pipeline.storage.fetching import Secrets, scrubbed_logs
from dataset_pipeline.storage.release_removal import reading
from dataset_pipeline.storage.remote_listing import is_http
from dataset_pipeline.storage.shelf import Destination
from dataset_pipeline.storage.shipping import Shipped


def publish(release: str, target: str, spec: Path, storage: Sequence[str]) -> int:
    """Copy a release to `<target>/<version>/`. Returns 1 where the release here is not whole: nothing is copied then.

    Raises SpecError and UnreadableFile for a target that cannot be used or reached; it then holds no part of it.
    """
    out = show.console()
    folder, elsewhere = _places(target, storage)
    if is_remote(release):
        raise SpecError([Problem("RELEASE", "is a URL.", "Publish from a folder; copy it here first.")])
    source = find_release(release, spec)
    if folder is not None:
        _refuse_own(folder, spec)
    with reading(source):
        return _publish(source, folder, elsewhere, out)


def _publish(source: Path, folder: Path | None, elsewhere: Destination | None, out: Console) -> int:
    found, rows = with_progress(out, lambda: examined(source))
    if found.problems or rows.problems:
        for problem in [*found.problems, *rows.problems]:
            out.print(f"{found.version}: {problem}")
        out.print(
            f"{found.version}: is not whole and was not published. Restore the folder from a copy, or delete {source} "
            "and run `dataset-pipeline run`."
        )
        return 1
    for line in rows.not_checked:
        out.print(f"{found.version}: not checked: {line}.")
    if folder is not None:
        shipped = with_progress(out, lambda: shelving.shelve(source, found.manifest, folder))
        latest = f"{folder / releases.LATEST} points at it."
    else:
        assert elsewhere is not None
        shipped = _ship(source, found.manifest, elsewhere, out)
        top = shipped.where.rpartition("/")[0]
        latest = f"{top}/{shipping.LATEST_FILE} names it (there are no links there)."
    _tell(shipped, found.version, latest, out)
    _advise(rows.uses, out)
    return 0


def _places(target: str, storage: Sequence[str]) -> tuple[Path | None, Destination | None]:
    """The folder, or the place elsewhere, that TARGET names. Raises SpecError."""
    if not target.strip():
        raise SpecError([Problem("TARGET", "is empty.", "Name a folder or a URL.")])
    if slip := re.match(r"([a-z][a-z0-9+.-]+):/(?!/)", target):
        remedy = f"Write {slip[1]}://…; a folder of that name is ./{target}."
        raise SpecError([Problem("TARGET", f"{target!r} is no URL: a slash is missing.", remedy)])
    folder = local_path(target) or (None if is_remote(target) else Path(target))
    if folder is not None:
        if storage:
            raise SpecError([Problem("--storage", "belongs to a TARGET that is a URL.", "Leave it out.")])
        return folder, None
    if is_http(target):
        raise SpecError([Problem("TARGET", "is a web address: it takes no files.", "Name storage, such as s3://….")])  # fmt: skip
    return None, destination(target, storage, "TARGET")


def _refuse_own(target: Path, spec: Path) -> None:
    """Raises SpecError for the folder in which this project keeps its releases: only `run` writes there."""
    try:
        own = read_project(spec).releases_path.resolve()
    except (SpecError, OSError):
        return  # a release by its path needs no spec: then there is no project whose folder it could be
    real = target.resolve()
    if real == own or own in real.parents:
        what = "is the project's own folder of releases, or lies in it: the release is there already."
        raise SpecError([Problem(str(target), what, "Name another TARGET.")])


def _ship(source: Path, manifest: bytes, target: Destination, out: Console) -> Shipped:
    secrets = Secrets("publish")

    def say(line: str) -> None:
        out.print(secrets.scrub(line))

    with scrubbed_logs(secrets):
        return with_progress(out, lambda: shipping.ship(source, manifest, target, secrets, say))


def _tell(shipped: Shipped, version: str, latest: str, out: Console) -> None:
    if shipped.was_there:
        out.print(f"{version}: is there already: {shipped.where}, every hash as in the manifest.")
    else:
        kept = f", {shipped.kept} were there" if shipped.kept else ""
        out.print(
            f"{version}: published: {shipped.where}. {shipped.copied} files copied ({shipped.bytes / 1e6:.1f} MB){kept}, "
            "each read back and its hash as in the manifest."
        )
    out.print(latest)


def _advise(uses: tuple[str, ...] | None, out: Console) -> None:
    """Publishing is not yet redistribution: where the records do not allow the latter, one line says so.

    uses: what all records of provenance allow; None where it does not say.
    """
    if uses is None or "redistribute" not in uses:
        said = "are not in its provenance" if uses is None else "do not hold `redistribute`"
        out.print(f"advice: the rights of this release {said}: publish it only where those read it who may.")
