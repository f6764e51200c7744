"""`rollback`: point `latest` back at an earlier release, and say so until something changes.

Lives here: the move, its entry in the warehouse, and whether one holds now. Keep out: release folders themselves
(`storage.releases`), what makes a release out of date (`assets.releasing`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.plan import State, Status, status_of
from dataset_pipeline.assets.releasing import release_recipe
from dataset_pipeline.cli import show
from dataset_pipeline.cli.finding import broken, find_release, read_manifest, read_rows
from dataset_pipeline.errors import PipelineError, Problem, SpecError, WarehouseVersion
from dataset_pipeline.records import RELEASE, Step
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.storage import release_checks, releases
from dataset_pipeline.storage.locks import hold_run_lock, release_run_lock
from dataset_pipeline.storage.publishing import NewPublication
from dataset_pipeline.storage.release_removal import ROLLBACK, reading
from dataset_pipeline.transforms import rights

ERASED = "erased"


@dataclass(frozen=True)
class Rollback:
    """A rollback that holds: the release that `latest` was pointed at, when, and the newest one."""

    version: str
    at: dt.datetime
    newer: str


def rolled_back(context: Context) -> Rollback | None:
    """The rollback that holds now; None where `latest` points at the newest release."""
    frame = context.warehouse.query(
        "SELECT content, run_id, published_at FROM publications WHERE step = ? ORDER BY seq DESC", [RELEASE]
    )
    made = frame.filter(frame["run_id"] != ROLLBACK)["content"].to_list()
    if not frame.height or frame["run_id"][0] != ROLLBACK or not made:
        return None
    version, _, at = frame.row(0)
    is_there = releases.latest_version(context.project.releases_path) == version
    return Rollback(version, at, made[0]) if is_there and version != made[0] else None


def release_words(context: Context, version: str | None) -> str:
    """A release as `status` and `run` name it: with the rollback that led to it, if one did."""
    found = rolled_back(context)
    if found is None or found.version != version:
        return version or "none yet"
    return f"{version} (rolled back {found.at:%Y-%m-%d %H:%M} UTC; {found.newer} is newer)"


class UsesRefused(PipelineError):
    """A release whose records do not allow what the spec says a release is for."""

    def __init__(self, folder: Path, spec: Path, blamed: str):
        super().__init__(
            f"{folder}: `latest` stays: its records do not allow every use of release.uses in {spec}: {blamed}. "
            "Take these uses out of release.uses, or go back to another release."
        )


def rollback(release: str, spec: Path) -> int:
    """Point `latest` at a release that is whole, and whose records allow `release.uses` of the spec as it is now.

    Returns 0. It holds until data or spec change: the warehouse says that this release stands for all that is published
    now. Raises BrokenRelease for one that is not whole, UsesRefused, SpecError for one that is not there, WarehouseBusy.
    """
    out = show.console()
    project = load_project(spec)
    folder = find_release(release, spec)
    if folder.parent != project.releases_path.resolve():
        raise SpecError(
            [Problem(str(folder), f"is no release of {project.path}.", f"`latest` points into {project.releases_path}.")]
        )  # fmt: skip
    link = project.releases_path / releases.LATEST
    if link.exists() and not link.is_symlink():
        raise SpecError(
            [Problem(str(link), "is no link, as a copy that follows links leaves it.", "Delete it, then roll back again.")]
        )  # fmt: skip
    # While it waits for a run, that run could remove it.
    with reading(folder):
        found = release_checks.verify(folder)
        if not found.is_whole:
            raise broken(folder, "; ".join(found.problems[:5]))
        hold_run_lock(project.warehouse_path, on_wait=out.print)
        try:
            return _point(project, folder, out)
        finally:
            release_run_lock(project.warehouse_path)


def _point(project: Project, folder: Path, out: Console) -> int:
    before = releases.latest_version(project.releases_path)
    if before == folder.name:
        out.print(f"`latest` points at {folder.name} already: nothing to do.")
        return 0
    _refuse_uses(project, folder)
    context, why = _context(project)
    status = status_of(context) if context is not None else None
    releases.point_latest(project.releases_path, folder.name)
    was = f", before at {before}" if before else ""
    out.print(f"`latest` points at {folder.name} now{was}.")
    if context is None or status is None:
        out.print(f"note: it is not noted in the warehouse ({why}): the next run may release anew.")
        return 0
    _record(context, status, folder)
    erased = _erased(context, folder)
    if erased:
        out.print(
            f"note: records in it that were erased since: {erased}; whoever reads `latest` reads them again."
        )
    if status.of(State.STALE, State.MISSING):
        out.print("note: something is stale or missing: the next run makes it, then releases anew.")
    else:
        out.print("It stays so until the data or the spec change: the next run then makes a new release.")
    return 0


def _refuse_uses(project: Project, folder: Path) -> None:
    """Whoever reads `latest` may do with it what the spec says: a release of before may have been for less.

    The rights are those its records had then: what a source allows since holds for releases that are made since.
    """
    provenance = read_rows(folder / "provenance.parquet", rights.RELEASED_RIGHTS)
    _, blamed = rights.uses_missing(rights.granted_again(provenance), project.spec.release.uses)
    if blamed is not None:
        raise UsesRefused(folder, project.path, blamed)


def _context(project: Project) -> tuple[Context | None, str]:
    """What the present recipe is computed from; None, and why, where there is nothing to compute it from.

    Going back must not depend on that: a file that is gone today, or a warehouse, is no reason to leave a bad release.
    """
    if not project.warehouse_path.exists():
        return None, "there is none"
    try:
        return context_of(project), ""
    except WarehouseVersion:
        return None, "it is none of ours, or of another version"
    except SpecError as error:
        return None, f"the project cannot be read: {error.problems[0]}"


def _erased(context: Context, folder: Path) -> int:
    """How many records of a release have been erased since it was made."""
    erased = context.warehouse.query(
        f'SELECT record_id FROM main."{Step.INGEST}" WHERE reason = ? ORDER BY record_id', [ERASED]
    )
    ids = erased["record_id"].to_list()
    return read_rows(folder / "provenance.parquet", ["record_id"], ids).height if ids else 0


def _record(context: Context, status: Status, folder: Path) -> None:
    """The publication that lets `run` take this release for all that is published now."""
    now = release_recipe(context, context.warehouse.latest(), status)
    counts = read_manifest(folder)["counts"]
    released = sum(int(n) for n in counts["splits"].values())
    rows = released + int(counts["withheld"])
    new = NewPublication(
        None, now.hash, folder.name, folder.name, now.params_hash, now.inputs, rows, released
    )
    context.warehouse.record_release(new, [], ROLLBACK)
