"""`tag`: names for releases, which then stay whatever `release.keep` says.

Lives here: setting, moving, deleting and listing, in words. Keep out: the links themselves (`storage.release_tags`), which
releases stay (`assets.keeping`).
"""

from __future__ import annotations

from pathlib import Path

from dataset_pipeline.cli import show
from dataset_pipeline.cli.finding import find_release, tag_problem
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.storage import release_tags
from dataset_pipeline.storage.release_checks import MANIFEST
from dataset_pipeline.storage.release_removal import reading
from dataset_pipeline.storage.releases import LATEST, latest_version


def tag(name: str | None, release: str | None, spec: Path, delete: bool, force: bool) -> int:
    """Name a release, take a name away, or list the names. Returns 0.

    name: None lists. release: None is `latest`. force: a name that stands for another release is moved. Raises SpecError
    for a name that cannot be one, a tag or a release that is not there, and for a move without force.
    """
    project = load_project(spec)
    if name is None:
        if delete or force:
            raise SpecError([Problem("NAME", "is missing.", "Name the tag; `tag` alone lists them.")])
        _list(project)
    elif delete:
        if release is not None:
            raise SpecError([Problem("--delete", "takes a tag away: it needs no RELEASE.", "Leave it out.")])
        _delete(project, name)
    elif (fault := release_tags.name_fault(name)) is not None:
        raise SpecError([Problem(f"tag {name}", fault, "Choose another name, such as v1 or 2026-spring.")])
    else:
        _set(project, name, find_release(release or LATEST, spec), force)
    return 0


def _set(project: Project, name: str, folder: Path, force: bool) -> None:
    out = show.console()
    if folder.parent != project.releases_path.resolve():
        where = f"A tag names one of {project.releases_path}."
        raise SpecError([Problem(str(folder), f"is no release of {project.path}.", where)])
    before = _find(project, name)
    if before is not None and not before.is_link:
        raise SpecError([tag_problem(project.releases_path, before) or Problem(name, "is no link.")])
    if before is not None and before.version == folder.name:
        out.print(f"tag {name} names {folder.name} already: nothing to do.")
        return
    if before is not None and not force:
        what = f"names {before.version} already."
        raise SpecError([Problem(f"tag {name}", what, "--force moves it; or choose another name.")])
    with reading(folder):
        # While we wait for nobody: a run that removes it does so before, or sees the tag.
        if not (folder / MANIFEST).is_file():
            raise SpecError([Problem(str(folder), "is no release (any more).", "`dataset-pipeline verify` says why.")])  # fmt: skip
        release_tags.set_tag(project.releases_path, name, folder.name)
    was = f", before {before.version}" if before is not None else ""
    out.print(f"tag {name} names {folder.name} now{was}: {project.releases_path / release_tags.TAGS / name}")


def _delete(project: Project, name: str) -> None:
    out = show.console()
    found = _find(project, name)
    if found is None:
        names = ", ".join(tag.name for tag in release_tags.tags_of(project.releases_path))
        raise SpecError([Problem(f"tag {name}", "there is no such tag.", f"There are: {names or 'none'}.")])
    path = project.releases_path / release_tags.TAGS / name
    if path.is_dir() and not path.is_symlink():
        what = (
            "is a folder, as a copy that follows links leaves it: its files are not this command's to delete."
        )
        raise SpecError([Problem(str(path), what, "Delete it by hand.")])
    release_tags.delete_tag(project.releases_path, name)
    keep = project.spec.release.keep
    stays = f"; whether it stays is for release.keep to say ({keep})" if keep is not None else ""
    out.print(f"tag {name} is deleted; it named {found.version or 'no release'}{stays}.")


def _find(project: Project, name: str) -> release_tags.Tag | None:
    return next((tag for tag in release_tags.tags_of(project.releases_path) if tag.name == name), None)


def _list(project: Project) -> None:
    out = show.console()
    tags = release_tags.tags_of(project.releases_path)
    latest = latest_version(project.releases_path)
    if not tags:
        out.print(
            "There is no tag. `dataset-pipeline tag NAME` gives one to the release that `latest` names."
        )
    width = max((len(tag.name) for tag in tags), default=0)
    for tag in tags:
        problem = tag_problem(project.releases_path, tag)
        if problem is not None:
            out.print(f"{tag.name:{width}}  {problem.message} {problem.remedy}")
        else:
            out.print(f"{tag.name:{width}}  {tag.version}{'  (latest)' if tag.version == latest else ''}")
