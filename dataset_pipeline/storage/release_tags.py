"""Tags: names for releases, as symbolic links `releases/tags/NAME -> ../VERSION`.

Lives here: reading, setting and deleting them. Keep out: which releases stay (`assets.keeping`), what is said of a tag
(`cli.tagging`), anything that loads Polars: a shell that completes a name waits for this module.

A link, as `latest` is one: whatever loads `releases/latest` loads `releases/tags/NAME`, and a copy that keeps links
keeps tags. What a copy that followed links has left of a tag is still known by its version, so that nothing it names is
removed.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from dataset_pipeline.storage.files import sync

TAGS = "tags"
_LATEST = "latest"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_VERSION_LIKE = re.compile(r"[0-9a-fA-F]+")
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Tag:
    """A name and the version it stands for; version None: that cannot be told. is_link: it is what `set_tag` makes."""

    name: str
    version: str | None
    is_link: bool


def name_fault(name: str) -> str | None:
    """Why a tag cannot be called so; None where it can."""
    if name == _LATEST:
        return "is the link that `run` and `rollback` move."
    if not _NAME.fullmatch(name):
        return "is no name of a tag: letters, digits, `.`, `_` and `-`, 100 at most, the first none of `.` and `-`."
    if _VERSION_LIKE.fullmatch(name):
        return "reads like the beginning of a version: digits and the letters a to f only."
    return None


def tags_of(releases: Path) -> list[Tag]:
    """Every tag, by name, wherever it points. Raises OSError where the folder of tags cannot be read."""
    try:
        paths = sorted((releases / TAGS).iterdir())
    except FileNotFoundError:
        return []
    return [Tag(path.name, _version(path), path.is_symlink()) for path in paths if path.name[0] != "."]


def _version(path: Path) -> str | None:
    """What a tag names: of a link its target's name, of what a copy has made of it what that says of itself."""
    try:
        if path.is_symlink():
            return path.resolve().name if path.exists() else PurePath(path.readlink()).name
        if path.is_file():
            text = path.read_text(encoding="utf-8").strip()
            return PurePath(text).name if len(text) < 200 and text.isprintable() and text else None
        said = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RuntimeError):
        return None
    return said if isinstance(said, str) else None


def set_tag(releases: Path, name: str, version: str) -> None:
    """Point a tag at a version, in one step. One that is there is moved; a folder in its place raises OSError."""
    folder = releases / TAGS
    folder.mkdir(exist_ok=True)
    link = folder / f".{name}-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..") / version, target_is_directory=True)
    try:
        link.replace(folder / name)
    except OSError:
        link.unlink(missing_ok=True)
        raise
    sync(folder)


def delete_tag(releases: Path, name: str) -> None:
    """Take a tag away; the release stays as it is. A folder in its place raises OSError."""
    (releases / TAGS / name).unlink()
    sync(releases / TAGS)
