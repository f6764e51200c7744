"""`init`: a new project folder with a commented spec, guessed from a file or folder where one is given.

Lives here: the order of things: look, guess, show, copy, write. Keep out: how each is done (`given`, `first_rows`,
`guessing`, `glimpse`, `spec_text`). Nothing is written before all that is given has been read.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from dataset_pipeline.cli.init.first_rows import Place, Sample, sample_of
from dataset_pipeline.cli.init.given import Given, given
from dataset_pipeline.cli.init.glimpse import glimpse, scrubbed, shown_names
from dataset_pipeline.cli.init.guess_labels import MAX_LABELS, labels_from
from dataset_pipeline.cli.init.guessed import Guess
from dataset_pipeline.cli.init.guessing import guess
from dataset_pipeline.cli.init.spec_text import spec_text
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.reading import Fields, Reading, Shape, format_of
from dataset_pipeline.storage import readers
from dataset_pipeline.transforms import redaction
from dataset_pipeline.transforms.layouts import Conversation, RowMapper

MAX_LABEL_ROWS = 1_000_000
"""Rows in which labels are looked for: a file is often sorted by label. A million take some seconds."""

_BLANK = Guess("classification", None, Fields(input="text", output="label"))


def init(folder: Path, source: Path | None) -> None:
    """Make `folder` with a commented spec; with a file or folder, copy it in and guess what it holds.

    Raises SpecError where something is there already, and where nothing can be read; then nothing is made.
    """
    target = folder / "dataset.yaml"
    if target.exists():
        raise SpecError([Problem(str(target), "is there already.", "Choose another folder, or remove it.")])
    if source is None:
        _make(folder)
        text = spec_text(folder.resolve().name, "sources/messages.jsonl", None, Reading(), _BLANK, {})
        _write(target, text)
    else:
        _init_from(folder, target, source)
    named = shlex.quote(str(target))
    _say(
        f"next: edit the spec, then `dataset-pipeline check --spec {named}` and `dataset-pipeline run --spec {named}`"
    )


def _init_from(folder: Path, target: Path, source: Path) -> None:
    with _errors_of(source, {}):
        what = given(source, folder)
    copies = _copies(folder, what)
    with _views(what) as places, _errors_of(source, {str(p.path): p.uri for p in places}):
        sample = sample_of(places, what.format, format_of(what.path))
        if not sample.payloads:
            raise SpecError([_no_row(source, sample)])
        by_position = all(name.isdecimal() for name in sample.columns) and bool(sample.columns)
        found = _guess(what, sample, places, by_position)
        if found is None:
            raise SpecError(
                [Problem(str(source), "has no column that holds anything.", "Give rows with a text.")]
            )
        shown = glimpse(sample.rows, found.shape, found.task)
    notes = [scrubbed(note, (), 2000) for note in (*what.notes, *sample.notes)]
    found = replace(found, notes=tuple(scrubbed(note, (), 2000) for note in found.notes))
    text = spec_text(
        folder.resolve().name, what.path, what.day, sample.reading, found, sample.guessed, notes, by_position
    )
    _make(folder)
    _copy(copies)
    _write(target, text)
    _say_guess(sample, found, notes, shown)


def _no_row(source: Path, sample: Sample) -> Problem:
    reject = next((row for _, row in sample.rows if isinstance(row, readers.Reject)), None)
    why = f" Line {reject.line}: {reject.reason} ({reject.detail})." if reject is not None else ""
    return Problem(str(source), f"holds no row that can be read.{why}", "Give a file with at least one row.")


def _say_guess(sample: Sample, found: Guess, notes: list[str], shown: list[str]) -> None:
    kind = sample.rows[0][0]
    file_format = sample.reading.format or format_of(kind.uri)
    _say(f"guessed: format {file_format}, layout {found.words}, task {found.task}")
    for key, reason in sample.guessed.items():
        value = getattr(sample.reading, key)
        _say(f"guessed: {key} {str(value).lower()}: {reason}; check the three rows below")
    for line in (*notes, *found.notes, *(scrubbed(why, (), 500) for why in sample.unread)):
        _say(f"note: {line}")
    if found.unused:
        _say(f"columns not used: {shown_names(found.unused)}")
    for line in shown:
        _say(line)


# --- the guess ----------------------------------------------------------------------------


def _guess(what: Given, sample: Sample, places: list[Place], by_position: bool) -> Guess | None:
    reading = sample.reading.model_copy(update={"format": sample.reading.format or format_of(places[0].uri)})
    found = guess(sample.payloads, sample.columns, lambda shape: _labels(places, reading, shape), by_position)
    if found is None:
        return None
    given_fields = {k: getattr(found.fields, k) for k in found.fields.model_fields_set}
    is_single = reading.format in ("files", "html")
    names = [place.uri.rsplit("/", 1)[-1] for place in places]
    if is_single and len(set(names)) == len(names):
        given_fields["id"] = "file.name"
    if found.task == "classification" and not found.labels and what.folders:
        counts = Counter(place.uri.split("/")[-2] for place in places)
        labels = labels_from(counts) if min(counts.values()) > 1 else None
        if labels and not any(label[0].isdigit() for label in labels):
            given_fields["output"] = "file.folder"
            note = "The labels are guessed: they are the names of the folders."
            found = replace(found, labels=labels, notes=(note,))
    return replace(found, fields=Fields(**given_fields))


def _labels(places: list[Place], reading: Reading, shape: Shape) -> Counter[str] | None:
    """How often each label occurs in the first rows of all files; None where there are more than MAX_LABELS."""
    counts: Counter[str] = Counter()
    rows = 0
    for place in places:
        mapper = RowMapper(shape, "classification", True, place.uri)
        try:
            for row in readers.read_rows(place.path, reading):
                rows += 1
                if isinstance(row, readers.RawRow):
                    for record in mapper.records(row.payload):
                        if isinstance(record, Conversation) and record.label is not None:
                            counts[record.label.strip()] += 1
                    if len(counts) > 2 * MAX_LABELS:
                        return None
                if rows >= MAX_LABEL_ROWS:
                    return counts
        except readers.UnreadableFile:
            continue
    return counts


# --- files --------------------------------------------------------------------------------


@contextmanager
def _views(what: Given) -> Iterator[list[Place]]:
    """Where to read each file: at its place, or under a name that says how it is packed."""
    with tempfile.TemporaryDirectory() as temporary:
        places = []
        for file in what.files:
            path = file.path
            name = file.name.rsplit("/", 1)[-1]
            if name != path.name:
                path = Path(temporary) / name
                path.symlink_to(file.path.resolve())
            places.append(Place(path, f"sources/{file.name}"))
        yield places


@contextmanager
def _errors_of(source: Path, names: dict[str, str]) -> Iterator[None]:
    """Errors of readers as errors of the call, which name the file as it was given."""
    try:
        yield
    except readers.UnreadableFile as error:
        message = str(error).removeprefix(f"{source}: ")
        for path, uri in names.items():
            shown = source if source.is_file() else source / Path(uri).name
            if message.startswith(f"{path}: "):
                message = message.removeprefix(f"{path}: ")
                raise SpecError([Problem(str(shown), message)]) from None
        raise SpecError([Problem(str(source), message)]) from None


def _copies(folder: Path, what: Given) -> list[tuple[Path, Path]]:
    """What is to be copied where. Raises SpecError where another file lies there."""
    copies = []
    for file in (*what.files, *what.others):
        copy = folder / "sources" / file.name
        if copy.exists() and copy.samefile(file.path):
            continue
        if copy.exists() or copy.is_symlink():
            raise SpecError(
                [Problem(str(copy), "is there already.", "Choose another folder, or rename your file.")]
            )
        copies.append((file.path, copy))
    return copies


def _make(folder: Path) -> None:
    try:
        (folder / "sources").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SpecError([Problem(str(folder), "is no folder.", "Name a new folder.")]) from None


def _copy(copies: list[tuple[Path, Path]]) -> None:
    """Copies whole files only: what is interrupted leaves a file that no path of the spec matches."""
    total = 0
    for path, copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_name(f".{copy.name}.part")
        shutil.copy2(path, part)
        os.replace(part, copy)  # noqa: PTH105
        total += copy.stat().st_size
    if copies:
        files = "1 file" if len(copies) == 1 else f"{len(copies)} files"
        _say(f"copied {files} ({_size(total)}) to {copies[0][1].parent}")


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def _write(target: Path, text: str) -> None:
    target.write_text(text, encoding="utf-8")
    _say(f"wrote {target}")


def _say(line: str) -> None:
    """A line on standard output, whatever characters it can show."""
    line = redaction.shown(line)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(line.encode(encoding, "backslashreplace").decode(encoding))
