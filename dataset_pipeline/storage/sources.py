"""Which files are there: sources and evaluation sets on disk, and the days of the calendar.

Lives here: matching paths of the spec to files, their days, and what is wrong with them as
files. Keep out: what is in them (`readers`), what their columns mean (`transforms.ingest`).
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath

from dataset_pipeline.errors import Problem
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.meaning import PATH_REMEDY, path_problem
from dataset_pipeline.spec.models import EvalSet, Reading, Source

MAX_CALENDAR_DAYS = 20_000
"""Some 55 years: a longer calendar is a mistyped date, not a history."""


@dataclass(frozen=True)
class SourceFile:
    """One file of one batch."""

    source: str
    day: dt.date
    path: Path
    uri: str
    """Relative to the spec's folder, with forward slashes."""


@dataclass(frozen=True)
class Found:
    """What discovery saw: the files in (day, source, uri) order, and every problem."""

    files: tuple[SourceFile, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def days(self) -> list[dt.date]:
        return sorted({file.day for file in self.files})


def discover(project: Project) -> Found:
    """The files of every source. A source without any file is a problem; an odd name is a note."""
    files: list[SourceFile] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for index, source in enumerate(project.spec.sources):
        place = f"{project.path.name}: sources[{index}] ({source.name}).path"
        found, source_problems, source_notes = _files_of(project.root, source, place)
        files += found
        problems += source_problems
        notes += source_notes
        if not found and not source_problems:
            problems.append(
                Problem(
                    place,
                    f"no file matches {source.local_path!r} below {project.root.name}/.",
                    "Mend the path, or put the file there.",
                )
            )
    readings = {source.name: source.reading() for source in project.spec.sources}
    problems += _shared_files(files, readings, project.path.name)
    files.sort(key=lambda f: (f.day, f.source, f.uri))
    for index, eval_set in enumerate(project.spec.decontaminate.sets):
        place = f"{project.path.name}: decontaminate.sets[{index}] ({eval_set.name}).path"
        matched, set_problems = eval_files(project.root, eval_set, place)
        problems += set_problems
        source_paths = {
            f.path.resolve() for f in files if not readings[f.source].may_share_file(eval_set.reading())
        }
        problems += [
            Problem(
                place,
                f"{path.name} is also a file of a source: protected items are never trained on.",
                "Remove one of the two.",
            )
            for path in matched
            if path.resolve() in source_paths
        ]
    return Found(tuple(files), tuple(problems), tuple(notes))


def eval_files(root: Path, eval_set: EvalSet, place: str) -> tuple[list[Path], list[Problem]]:
    """The files of an evaluation set, sorted, and what is wrong with them."""
    matched, problems = _matching(root, eval_set.path, place)
    if not matched and not problems:
        problems.append(
            Problem(place, f"no file matches {eval_set.path!r}.", "Mend the path, or put the file there.")
        )
    return matched, problems


def calendar(project: Project, found: Found) -> list[dt.date]:
    """Every day from the spec's start (or the earliest found) to the last found; files before start are left out."""
    days = found.days()
    if not days:
        return []
    first = project.spec.start or days[0]
    last = days[-1]
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def _files_of(root: Path, source: Source, place: str) -> tuple[list[SourceFile], list[Problem], list[str]]:
    matched, problems = _matching(root, plain(source.local_path).replace("{date}", "*"), place)
    if source.collected_at is not None:
        files = [SourceFile(source.name, source.collected_at, p, _uri(root, p)) for p in matched]
        return files, problems, []
    pattern = _date_pattern(plain(source.local_path))
    files, notes = [], []
    for path in matched:
        match = pattern.fullmatch(_uri(root, path))
        day = _as_day(match["date"]) if match else None
        if day is None:
            notes.append(
                f"{source.name}: {_uri(root, path)} is not read: its {{date}} is no day (YYYY-MM-DD)."
            )
        else:
            files.append(SourceFile(source.name, day, path, _uri(root, path)))
    days = [f.day for f in files]
    if days and (max(days) - min(days)).days > MAX_CALENDAR_DAYS:
        problems.append(
            Problem(
                place,
                f"its days run from {min(days)} to {max(days)}.",
                "Rename the file with the mistyped date.",
            )
        )
    return files, problems, notes


def plain(path: str) -> str:
    """`path` without `./` and doubled slashes, so that it compares with what the folder lists."""
    return PurePosixPath(path).as_posix()


def _matching(root: Path, pattern: str, place: str) -> tuple[list[Path], list[Problem]]:
    """Regular files below `root` that match, sorted; links that lead outside and non-files are problems."""
    if reason := path_problem(pattern):
        return [], [Problem(place, reason, PATH_REMEDY)]
    inside = root.resolve()
    files: list[Path] = []
    problems: list[Problem] = []
    # A file that is called exactly so is meant, even where its name could be read as a glob.
    has_glob = any(c in pattern for c in "*?[") and not (root / pattern).is_file()
    candidates = sorted(root.glob(pattern)) if has_glob else [root / pattern]
    for path in candidates:
        if not path.exists() and not path.is_symlink():
            continue
        target = path.resolve()
        if inside not in target.parents:
            problems.append(
                Problem(
                    place,
                    f"{_uri(root, path)} is a link that leads outside the project.",
                    "Copy the file into the project.",
                )
            )
        elif target.is_file():
            files.append(path)
        elif not has_glob:
            problems.append(
                Problem(
                    place,
                    f"{_uri(root, path)} is not a file.",
                    "Name a file, or use a glob such as folder/*.jsonl.",
                )
            )
    return files, problems


def _shared_files(files: list[SourceFile], readings: dict[str, Reading], where: str) -> list[Problem]:
    """Files of which two sources read the same rows."""
    owners: dict[Path, set[str]] = {}
    for file in files:
        owners.setdefault(file.path.resolve(), set()).add(file.source)
    return [
        Problem(
            f"{where}: sources",
            f"{path.name} belongs to {' and '.join(sorted(names))}.",
            "Let one source own a file, or give each its own `records` (JSON) or `sheet` (Excel).",
        )
        for path, names in sorted(owners.items())
        if any(not readings[a].may_share_file(readings[b]) for a, b in combinations(sorted(names), 2))
    ]


def _date_pattern(path: str) -> re.Pattern[str]:
    """The path as a regular expression with a group `date`."""
    before, after = path.split("{date}", 1)
    return re.compile(_glob_pattern(before) + r"(?P<date>[^/]*?)" + _glob_pattern(after))


def _glob_pattern(text: str) -> str:
    translated = fnmatch.translate(text)
    inner = translated.removeprefix("(?s:").removesuffix(r")\Z")
    return f"(?s:{inner})"


def _as_day(text: str) -> dt.date | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _uri(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
