"""Finding the release that an argument names, and reading of it.

Lives here: versions, beginnings of them, tags and folders; the words for what is not there or not whole. Keep out:
changing anything, hashes (`storage.release_checks`), rows against provenance (`assets.rebuilding`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from dataset_pipeline.cli import completing
from dataset_pipeline.errors import PipelineError, Problem, SpecError
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.storage import release_removal, release_tags, releases
from dataset_pipeline.storage.warehouse import Warehouse


class BrokenRelease(PipelineError):
    """A release folder that is not whole: a file is gone, cannot be read, or says what it cannot say."""


def broken(folder: Path, what: str) -> BrokenRelease:
    return BrokenRelease(
        f"{folder}: {what}: this is no whole release. `dataset-pipeline verify` says all that is wrong with one. Restore the "
        "folder from a copy, or delete it and run `dataset-pipeline run`: the newest release is then written again."
    )


def find_release(release: str, spec: Path) -> Path:
    """The folder of a release: `latest`, a tag, a version, the beginning of one and no other, or a path.

    Raises SpecError with the releases there are. The folder is there; whether it is whole is another question.
    """
    given = Path(release)
    if release and (given / releases.LATEST / releases.MANIFEST).is_file():
        return (given / releases.LATEST).resolve()  # a folder of versions, as `publish` makes it
    if release and ((given / releases.MANIFEST).is_file() or (os.sep in release and given.is_dir())):
        return given.resolve()
    project = load_project(spec)
    folder = project.releases_path
    known = completing.versions(folder)
    if release == releases.LATEST and (folder / release).exists():
        return (folder / release).resolve()
    tags = {tag.name: tag for tag in release_tags.tags_of(folder)}
    if release in tags and release not in known:
        return _tagged(folder, tags[release], known)
    matching = [name for name in known if release and name.startswith(release)]
    if release in known or len(matching) == 1:
        return (folder / (release if release in known else matching[0])).resolve()
    what = "there is no such release."
    if matching:
        known, what = matching, f"{len(matching)} releases begin so: give more of the version."
    elif release == releases.LATEST and (folder / release).is_symlink():
        what = f"points at {(folder / release).readlink()}, which is gone."
    elif gone := _removed(project, release):
        what = f"there is no such release any more: {gone}"
    remedy = f"There are: {', '.join(known) or 'none'}."
    if tags and not matching:
        remedy += f" Tags: {', '.join(tags)}."
    raise SpecError([Problem(str(folder / release), what, remedy)])


def tag_problem(folder: Path, tag: release_tags.Tag) -> Problem | None:
    """What is wrong with a tag of a releases folder; None where it names a release that is there."""
    place = str(folder / release_tags.TAGS / tag.name)
    if not tag.is_link:
        what = "is no link, as a copy that follows links leaves it."
        return Problem(place, what, "Delete it, then tag again.")
    if tag.version is None or not (folder / tag.version).is_dir():
        remedy = f"`dataset-pipeline tag --delete {tag.name}`, or `tag --force {tag.name} RELEASE` moves it."
        return Problem(place, f"points at {tag.version or 'nothing'}, which is gone.", remedy)
    return None


def _tagged(folder: Path, tag: release_tags.Tag, known: list[str]) -> Path:
    """The folder that a tag names. Raises SpecError where it names none."""
    if (problem := tag_problem(folder, tag)) is not None:
        remedy = f"{problem.remedy} There are: {', '.join(known) or 'none'}."
        raise SpecError([Problem(problem.place, problem.message, remedy)])
    return (folder / str(tag.version)).resolve()


def _removed(project: Project, release: str) -> str:
    """When and why the release of which this is the beginning went, where the warehouse knows it; else nothing."""
    if not release or not project.warehouse_path.exists():
        return ""
    try:
        found = release_removal.removed(Warehouse(project.warehouse_path, wait_seconds=0))
    except (PipelineError, duckdb.Error, OSError):
        return ""
    gone = [(version, moment) for version, moment in found.items() if version.startswith(release)]
    if len(gone) != 1:
        return ""
    version, moment = gone[0]
    named = "" if version == release else f" ({version})"
    return f"release.keep removed it{named} on {moment:%Y-%m-%d}."


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a release. Raises BrokenRelease where it is none."""
    path = folder / releases.MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for part in ("files", "counts", "spec", "versions"):
            dict(manifest[part])
        str(manifest["version"]), dict(manifest["counts"]["splits"]), int(manifest["counts"]["withheld"])
        for entry in manifest["inputs"]:
            (
                str(entry["source"]),
                str(entry["day"]),
                str(entry["uri"]),
                str(entry["sha256"]),
                int(entry["rows_read"]),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise broken(path, "is missing or no manifest") from None
    return dict(manifest)


def read_rows(path: Path, columns: list[str], ids: list[str] | None = None) -> pl.DataFrame:
    """Some columns of a Parquet file of a release, of the records `ids` where given. Raises BrokenRelease."""
    try:
        rows = pl.scan_parquet(path, glob=False)
        rows = rows if ids is None else rows.filter(pl.col("record_id").is_in(ids))
        return rows.select(columns).collect()
    except (OSError, pl.exceptions.PolarsError):
        raise broken(path, "is missing or cannot be read") from None
