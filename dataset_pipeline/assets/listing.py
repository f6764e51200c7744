"""Rows of the small files that people keep: reviews and annotations.

Lives here: which files a spec names, their hashes, their rows. Keep out: what a row means (`transforms`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.sources import listed_files

Row = tuple[str, int, dict[str, Any]]
"""uri, line, and what the columns hold."""


@dataclass(frozen=True)
class Listed:
    """Rows in the order of files and lines; what is no row at all, as `uri:line reason`."""

    rows: list[Row]
    broken: list[tuple[str, int, str]]


def files_of(project: Project, pattern: str, place: str) -> list[tuple[str, Path]]:
    """uri and path of the files that a pattern of the spec names, by uri. Raises SpecError."""
    root = project.root
    found, problems = listed_files(root, pattern, f"{project.path.name}: {place}")
    if problems:
        raise SpecError(problems)
    return [(path.relative_to(root).as_posix(), path) for path in found]


def hashes_of(project: Project, patterns: Iterable[tuple[str, str]]) -> dict[str, str]:
    """`file <uri>` to sha256 of every file that the patterns (pattern, place) name."""
    hashes = {}
    for pattern, place in patterns:
        for uri, path in files_of(project, pattern, place):
            try:
                hashes[f"file {uri}"] = readers.file_sha256(path)[0]
            except (readers.UnreadableFile, OSError) as error:
                raise SpecError([Problem(uri, _words(path, uri, error))]) from None
    return dict(sorted(hashes.items()))


def rows_of(
    files: Iterable[tuple[str, Path]], reading: Reading, missing: Callable[[list[str]], list[str]]
) -> Listed:
    """The rows of files. Raises SpecError for one that cannot be read, or that lacks a column.

    missing: of the columns that a file has, those that it needs and lacks.
    """
    listed = Listed([], [])
    for uri, path in files:
        try:
            declared = readers.columns_of(path, reading)
            seen = dict.fromkeys(declared or ())
            if declared:
                _refuse(uri, missing(declared), declared)
            for item in readers.read_rows(path, reading):
                if isinstance(item, readers.Reject):
                    listed.broken.append((uri, item.line, item.reason))
                else:
                    listed.rows.append((uri, item.line, item.payload))
                    seen.update(dict.fromkeys(item.payload))
            if seen and declared is None:
                _refuse(uri, missing(list(seen)), list(seen))
        except (readers.UnreadableFile, OSError) as error:
            raise SpecError([Problem(uri, _words(path, uri, error))]) from None
    return listed


def _refuse(uri: str, lacking: list[str], columns: list[str]) -> None:
    if lacking:
        from dataset_pipeline.text import shown_name

        there = ", ".join(map(shown_name, columns[:30]))
        raise SpecError(
            [
                Problem(
                    uri,
                    f"has no column {', '.join(map(repr, lacking))}; it has {there}.",
                    "Name its columns as the documentation says, or map them in the spec.",
                )
            ]
        )


def _words(path: Path, uri: str, error: Exception) -> str:
    text = (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
    return text.replace(str(path), uri).removeprefix(f"{uri}: ")
