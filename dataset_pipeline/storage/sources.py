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
from dataset_pipeline.spec.models import EvalSet, Source
from dataset_pipeline.spec.reading import Reading

_SHOWN_CHARS = 200
"""Of a path in a message."""
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
    matched, problems, _ = _matching(root, _as_glob(eval_set.path), place)
    if not matched and not problems:
        problems.append(
            Problem(place, f"no file matches {eval_set.path!r}.", "Mend the path, or put the file there.")
        )
    return matched, problems


def listed_files(root: Path, pattern: str, place: str) -> tuple[list[Path], list[Problem]]:
    """The files that `pattern` (globs allowed) names below `root`, sorted, and what is wrong with them.

    A glob may match nothing yet; a file that is named must be there.
    """
    matched, problems, _ = _matching(root, _as_glob(pattern), place)
    if not matched and not problems and not any(c in pattern for c in "*?["):
        problems.append(Problem(place, f"there is no file {pattern!r}.", "Mend the path, or remove it."))
    return matched, problems


def is_nightly(project: Project) -> bool:
    """Whether a source is expected to send a file every day: then a day without one is a day of the calendar."""
    return any("{date}" in source.local_path and source.expected_daily for source in project.spec.sources)


def calendar(project: Project, found: Found) -> list[dt.date]:
    """Every day from the spec's start (or the earliest found) to the last found; files before start are left out."""
    days = found.days()
    if not days:
        return []
    first = project.spec.start or days[0]
    last = days[-1]
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def _files_of(root: Path, source: Source, place: str) -> tuple[list[SourceFile], list[Problem], list[str]]:
    matched, problems, notes = _matching(root, _as_glob(source.local_path), place)
    notes = [f"{source.name}: {note}" for note in notes]
    if source.collected_at is not None:
        files = [SourceFile(source.name, source.collected_at, p, _uri(root, p)) for p in matched]
        return files, problems, notes
    pattern = _date_pattern(plain(source.local_path))
    files = []
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


def _as_glob(path: str) -> str:
    """`path` with a star for {date}. Stars that follow each other within a name are one."""
    return "/".join(
        part if part == "**" else re.sub(r"\*+", "*", part.replace("{date}", "*"))
        for part in plain(path).split("/")
    )


def _matching(root: Path, pattern: str, place: str) -> tuple[list[Path], list[Problem], list[str]]:
    """Regular files below `root` that match, sorted; what is wrong; what a glob met that is no file."""
    if reason := path_problem(pattern):
        return [], [Problem(place, reason, PATH_REMEDY)], []
    inside = root.resolve()
    files: list[Path] = []
    problems: list[Problem] = []
    notes: list[str] = []
    try:
        # A file that is called exactly so is meant, even where its name could be read as a glob.
        has_glob = any(c in pattern for c in "*?[") and not (root / pattern).is_file()
        candidates = sorted(root.glob(pattern)) if has_glob else [root / pattern]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        what = f"{pattern[:_SHOWN_CHARS]!r} cannot be looked for ({why})."
        return [], [Problem(place, what, "Mend the path.")], []
    for path in candidates:
        shown, fault = _shown(_uri(root, path))
        if fault:
            problems.append(Problem(place, f"{shown} is a file whose name {fault}.", "Rename it."))
            continue
        try:
            if not path.exists() and not path.is_symlink():
                continue
            target = path.resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, up to Python 3.12
            why = getattr(error, "strerror", None) or "a link that leads to itself"
            problems.append(
                Problem(place, f"{shown} cannot be followed ({why}).", "Remove it, or mend the path.")
            )
            continue
        if inside not in target.parents:
            problems.append(
                Problem(
                    place,
                    f"{shown} is a link that leads outside the project.",
                    "Copy the file into the project.",
                )
            )
        elif target.is_file():
            files.append(path)
        elif has_glob:
            notes.append(f"{shown} is not a file: it is not read.")
        else:
            remedy = "Name a file, or use a glob such as folder/*.jsonl."
            problems.append(Problem(place, f"{shown} is not a file.", remedy))
    return files, problems, notes


def _shown(uri: str) -> tuple[str, str]:
    """A file's name as it may be printed, and what is wrong with it: such a name fits no table and no log."""
    shown = uri[:_SHOWN_CHARS]
    if any("\ud800" <= c <= "\udfff" for c in uri):
        return shown.encode("utf-8", "backslashreplace").decode(), "is not valid UTF-8"
    if any(ord(c) < 32 or ord(c) == 127 for c in uri):
        return repr(shown), "holds control characters"
    return shown, ""


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
    return re.compile(_glob_pattern(before) + r"(?P<date>\d{4}-\d{2}-\d{2})" + _glob_pattern(after))


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
