"""What `init --from` was given: a file or a folder, as files below `sources/` and a path for the spec.

Lives here: names of files and the days in them. Keep out: what is in the files (`sniffing`, `first_rows`).
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dataset_pipeline.cli.init.sniffing import packing_name
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.reading import FORMAT_BY_SUFFIX, Format, format_of

_DAY = re.compile(r"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?!\d)")
_LOOSE_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)")
_ODD = re.compile(r"[\[\]*?\\]|\{(?=date\})")
"""Characters of names that mean something else in a path of the spec; a ? there stands for any one."""


@dataclass(frozen=True)
class File:
    """path: where it lies. name: where its copy lies below `sources/`, with forward slashes."""

    path: Path
    name: str


@dataclass(frozen=True)
class Given:
    """files: those the spec's path matches. others: readable ones beside them, which are copied too.

    path: for the spec. day: the collection day that the name tells; None where it tells none or `path` has {date}.
    format: of all `files`, where their names tell it. folders: whether files lie in folders that may tell them apart.
    notes: what a person should know.
    """

    files: tuple[File, ...]
    others: tuple[File, ...]
    path: str
    day: dt.date | None
    format: Format | None
    folders: bool = False
    notes: tuple[str, ...] = ()


def given(source: Path, target: Path) -> Given:
    """What `source` is. target: the new project, whose own files are none. Raises SpecError, UnreadableFile."""
    try:
        str(source).encode()
    except UnicodeEncodeError:
        raise SpecError([Problem(ascii(str(source)), "has a name that is no text.", "Rename it.")]) from None
    inside = _below(source, target / "sources")
    if source.is_dir():
        return _folder(source, target, source.resolve().name or "files" if inside is None else inside)
    if not source.is_file():
        what = "is no file." if source.exists() else "there is no such file."
        raise SpecError([Problem(str(source), what, "Name a file of rows or a folder of such files.")])
    name = packing_name(source)
    notes = []
    if inside is not None:
        name = inside  # it lies in the project already, and is not copied
    elif name != source.name:
        notes.append(f"{source.name} is not packed as its name says; the copy is called {name}.")
    path = f"sources/{_ODD.sub('?', name) if '{date}' in name or chr(92) in name else name}"
    return Given((File(source, name),), (), path, day_of(name), format_of(name), notes=tuple(notes))


def _below(source: Path, folder: Path) -> str | None:
    """Where `source` lies in `folder`, with forward slashes; None where it lies elsewhere."""
    inside = folder.resolve()
    found = source.resolve()
    return found.relative_to(inside).as_posix() if found == inside or inside in found.parents else None


def day_of(name: str) -> dt.date | None:
    """The one day that a name tells, as 2026-11-01, 2026_11_01 or 20261101; None for none or several."""
    days = {day for m in _LOOSE_DAY.finditer(name) if (day := _day(m[1], m[3], m[4]))}
    return days.pop() if len(days) == 1 else None


def _day(*parts: str) -> dt.date | None:
    try:
        return dt.date(*map(int, parts))
    except ValueError:
        return None


# --- folders ------------------------------------------------------------------------------


def _folder(source: Path, target: Path, base: str) -> Given:
    """base: where the folder's copy lies below `sources/`."""
    found, links, odd = _listed(source, target)
    if odd:
        raise SpecError([Problem(str(source), f"holds {odd} files whose names are no text.", "Rename them.")])
    readable = [name for name in found if format_of(name) is not None]
    if not readable:
        known = ", ".join(FORMAT_BY_SUFFIX)
        raise SpecError([Problem(str(source), "holds no file that can be read.", f"Readable are {known}.")])
    chosen = _largest_kind(readable)
    dated = _dated(chosen)
    day = None
    if dated is not None:
        pattern, names = dated
    else:
        pattern, names = _pattern(chosen), chosen
        day = day_of(base.rsplit("/", 1)[-1])
    before = "" if base == "." else f"{base}/"
    path = f"sources/{_ODD.sub('?', before)}{pattern}"
    kind = format_of(names[0])
    if kind == "text" and dated is None:
        kind = "files"
    others = sorted(set(readable) - set(names))
    notes = []
    if links:
        notes.append(f"{links} symbolic links in the folder are left out.")
    if len(found) > len(readable):
        notes.append(f"{len(found) - len(readable)} files of no readable format are left out.")
    if others:
        shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
        notes.append(f"{len(others)} other files are copied, but no source of the spec reads them: {shown}.")
    folders = {name.rsplit("/", 1)[0] for name in names if "/" in name}
    return Given(
        tuple(File(source / name, before + name) for name in sorted(names)),
        tuple(File(source / name, before + name) for name in others),
        path,
        day,
        kind,
        dated is None and len(folders) > 1 and all("/" in name for name in names),
        tuple(notes),
    )


def _listed(source: Path, target: Path) -> tuple[list[str], int, int]:
    """Names of regular files below a folder, hidden ones left out; how many links; how many odd names."""
    names: list[str] = []
    links = odd = 0
    own = target.resolve()

    def refuse(error: OSError) -> None:
        raise SpecError(
            [Problem(str(error.filename), f"cannot be read ({error.strerror}).", "Check its rights.")]
        )

    for folder, folders, files in os.walk(source, onerror=refuse):
        here = Path(folder)
        links += sum(1 for name in folders if (here / name).is_symlink())
        folders[:] = sorted(
            name for name in folders
            if not name.startswith((".", "__")) and not (here / name).is_symlink() and (here / name).resolve() != own
        )  # fmt: skip
        for name in sorted(files):
            path = here / name
            if path.is_symlink():
                links += 1
            elif not name.startswith(".") and path.is_file():
                relative = path.relative_to(source).as_posix()
                odd += any("\ud800" <= c <= "\udfff" for c in relative)
                names.append(relative)
    return names, links, odd


def _suffix(name: str) -> str:
    """The suffix that tells the format, the packing included, in the case it is written in."""
    bare = name.rsplit("/", 1)[-1]
    low = bare.lower()
    inner = low.removesuffix(".gz").removesuffix(".zst")
    known = next(suffix for suffix in FORMAT_BY_SUFFIX if inner.endswith(suffix))
    return bare[len(inner) - len(known) :]


def _largest_kind(names: list[str]) -> list[str]:
    """The files with the suffix that most of them have; of equally many the first by name."""
    counts = Counter(map(_suffix, names))
    most = min(counts, key=lambda suffix: (-counts[suffix], suffix))
    return [name for name in names if _suffix(name) == most]


def _dated(names: list[str]) -> tuple[str, list[str]] | None:
    """The pattern with {date} that most names have, and these names; None where most have no day."""
    groups: dict[str, list[str]] = {}
    exact: dict[str, set[str]] = {}
    for name in names:
        days = [m for m in _DAY.finditer(name) if _day(*m.groups())]
        if len(days) != 1:
            continue
        start, end = days[0].span()
        before, after = _ODD.sub("?", name[:start]), _ODD.sub("?", name[end:])
        general = re.sub(r"\d+", "*", before) + "{date}" + re.sub(r"\d+", "*", after)
        groups.setdefault(general, []).append(name)
        exact.setdefault(general, set()).add(f"{before}{{date}}{after}")
    if sum(map(len, groups.values())) * 2 <= len(names):
        return None
    pattern = min(groups, key=lambda p: (-len(groups[p]), p))
    return (exact[pattern].pop() if len(exact[pattern]) == 1 else pattern), groups[pattern]


def _pattern(names: list[str]) -> str:
    depths = {name.count("/") for name in names}
    before = "*/" * depths.pop() if len(depths) == 1 else "**/"
    return f"{before}*{_suffix(names[0])}"
