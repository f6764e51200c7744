"""Which releases stay: the newest `release.keep`, and each that something names.

Lives here: choosing, and removing the others. Keep out: the folder of one release (`storage.release_removal`), tags
(`storage.release_tags`), what a run says of it all (`housekeeping`).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from dataset_pipeline import clock
from dataset_pipeline.assets.context import Context
from dataset_pipeline.records import RELEASE
from dataset_pipeline.storage import release_removal, release_tags
from dataset_pipeline.storage.releases import latest_version

_NAMED = 20
"""Releases, or foreign files, that are named one by one, at most."""
_VERSION = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Removal:
    """What was done: versions whose folders are gone now, and all there is to say, as lines to print."""

    versions: tuple[str, ...]
    words: tuple[str, ...]


def due(context: Context) -> list[str]:
    """The versions whose folders are there and do not stay, the oldest first.

    Counted is by when they were last made, as the warehouse knows it. A folder that it knows nothing of is nobody's to
    remove here. Beyond the newest `release.keep` stay: what `latest` names, what a rollback stands on, what a tag names.
    Nothing is due while a tag says nothing that can be read: it may name any of them.
    """
    keep, releases = context.project.spec.release.keep, context.project.releases_path
    if keep is None:
        return []
    publications = context.warehouse.query(
        "SELECT content, run_id FROM publications WHERE step = ? ORDER BY seq DESC", [RELEASE]
    )
    rows = list(publications.iter_rows())
    made = dict.fromkeys(str(version) for version, run_id in rows if run_id != release_removal.ROLLBACK)
    there = [version for version in made if _is_there(releases, version)]
    older = there[keep:]
    if not older:
        return []
    tags = release_tags.tags_of(releases)
    if any(tag.version is None for tag in tags):
        return []
    stay = {latest_version(releases), rows[0][0], *(tag.version for tag in tags)}
    return [version for version in reversed(older) if version not in stay]


def _is_there(releases: Path, version: str) -> bool:
    folder = releases / version
    return _VERSION.fullmatch(version) is not None and folder.is_dir() and not folder.is_symlink()


def keep_newest(context: Context, since: dt.datetime | None = None) -> Removal:
    """Remove the releases that do not stay, and what a killed removal has left. The run lock is held by the caller.

    since: those that were removed from then on are told, too: a run that ends says what it has done in its midst. What
    cannot be removed is said in words and tried again the next time: a release that stays too long is no reason to fail.
    """
    releases, warehouse = context.project.releases_path, context.warehouse
    if not releases.is_dir():
        return Removal((), ())
    words = []
    before = release_removal.removed(warehouse) if since is not None else {}
    told = [version for version, moment in before.items() if since is not None and moment >= since]
    try:
        for version in due(context):
            words += _set_aside(releases, version)
        words += _unreadable_tags(context)
    except OSError as error:
        words.append(_failed(f"{error.filename or releases}", error))
    gone = []
    for left_over in release_removal.left_overs(releases):
        version = release_removal.version_in(left_over)
        try:
            release_removal.finish(left_over, warehouse, clock.now())
        except OSError as error:
            words.append(_failed(f"{left_over}: what is left of release {version}", error))
            continue
        gone.append(version)
    told += [version for version in gone if version not in told]
    shown = [f"release {version} removed: {_kept_words(context)}" for version in told[:_NAMED]]
    if len(told) > _NAMED:
        shown.append(f"and {len(told) - _NAMED} more releases")
    return Removal(tuple(gone), (*shown, *words))


def _set_aside(releases: Path, version: str) -> list[str]:
    folder = releases / version
    try:
        foreign = release_removal.foreign_in(folder)
        if foreign is None:
            return [
                f"release {version} stays: its manifest cannot be read. Look into {folder}, then delete it."
            ]
        if foreign:
            named = ", ".join(foreign[:_NAMED]) + (", …" if len(foreign) > _NAMED else "")
            return [
                f"release {version} stays: {folder} holds what is none of its files: {named}. Move it away."
            ]
        refused = release_removal.set_aside(
            folder, lambda: version in {tag.version for tag in release_tags.tags_of(releases)}
        )
    except OSError as error:
        return [_failed(f"{folder}: release {version}", error)]
    if refused is release_removal.Refusal.READ:
        return [f"release {version} stays until the next run: it {refused.value}"]
    return []


def _kept_words(context: Context) -> str:
    keep = context.project.spec.release.keep
    if keep is None:
        return "release.keep asked for that"  # it was set when its removal began
    return f"{keep} newer {'one is' if keep == 1 else 'ones are'} kept (release.keep)"


def _unreadable_tags(context: Context) -> list[str]:
    if context.project.spec.release.keep is None:
        return []
    releases = context.project.releases_path
    return [
        f"{releases / release_tags.TAGS / tag.name}: names no release, and may have named any: none is removed until it is "
        "deleted or made again (`dataset-pipeline tag`)"
        for tag in release_tags.tags_of(releases)
        if tag.version is None
    ]


def _failed(what: str, error: OSError) -> str:
    return f"{what} could not be removed: {error.strerror or type(error).__name__}. Check the rights of the folder and the disk; the next run tries again."
