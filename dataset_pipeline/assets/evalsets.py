"""Reading evaluation sets and handwritten examples into the `protected` table.

Lives here: files of the spec's evaluation sets to TABLES['protected'], and how a file is read whose columns the spec
does not name. Keep out: which layouts are known (`transforms.eval_layouts`), comparing records with the items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import PROTECTED, TABLES
from dataset_pipeline.spec.models import EvalSet
from dataset_pipeline.spec.params import ProtectedParams
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.readers import documents
from dataset_pipeline.storage.sources import eval_files
from dataset_pipeline.transforms.eval_layouts import (
    SAMPLED_ROWS,
    EvalReader,
    common_columns,
    known_layouts,
    layout_of,
)
from dataset_pipeline.transforms.layouts import Item, Refusal, eval_items
from dataset_pipeline.transforms.lookup import Payload

EXAMPLES = "examples"
_SHOWN, _SHOWN_CHARS = 20, 40
"""Columns, or lists, that an error names, and characters of each: a table without a header has data for names."""


@dataclass(frozen=True)
class Protected:
    """The protected items, and the rows that could not be read (place and reason)."""

    items: pl.DataFrame
    unreadable: tuple[str, ...]


def set_hashes(root: Path, params: ProtectedParams) -> dict[str, str]:
    """uri of every file of every evaluation set to its sha256."""
    hashes = {}
    for eval_set in params.sets:
        files, _ = eval_files(root, eval_set, eval_set.name)
        for path in files:
            hashes[path.relative_to(root).as_posix()] = readers.file_sha256(path)[0]
    return hashes


def read_protected(root: Path, params: ProtectedParams) -> Protected:
    """Examples and evaluation sets as TABLES['protected']; ids are the sets' own, else file:line.

    Raises SpecError for a file that is no batch at all, or whose columns nothing explains.
    """
    rows: list[tuple[str, str, str, str | None]] = [
        (EXAMPLES, f"example-{n}", e.input, e.output) for n, e in enumerate(params.examples, 1)
    ]
    unreadable: list[str] = []
    for eval_set in params.sets:
        files, problems = eval_files(root, eval_set, eval_set.name)
        if problems:
            raise SpecError(problems)
        for path in files:
            uri = path.relative_to(root).as_posix()
            try:
                reading, items_of = way_of(path, eval_set, uri)
                for row in readers.read_rows(path, reading):
                    if isinstance(row, readers.Reject):
                        unreadable.append(f"{uri}:{row.line} {row.reason}")
                        continue
                    for found in items_of(row.payload):
                        if isinstance(found, Refusal):
                            unreadable.append(f"{uri}:{row.line} {found.reason}: {found.detail}")
                            continue
                        item, text, answer = found
                        rows.append((eval_set.name, item or f"{path.name}:{row.line}", text, answer))
            except readers.UnreadableFile as error:
                raise SpecError([Problem(f"decontaminate.sets ({eval_set.name})", str(error))]) from None
    frame = pl.DataFrame(rows, schema=TABLES[PROTECTED], orient="row")
    return Protected(frame.sort("eval_set", "eval_item", "text"), tuple(unreadable))


# --- files whose columns the spec does not name -------------------------------------------

ItemsOf = Callable[[Payload], list[Item | Refusal]]


def way_of(path: Path, eval_set: EvalSet, uri: str) -> tuple[Reading, ItemsOf]:
    """How a file of an evaluation set is read, and what gives the items of each of its rows.

    Where the spec names the columns it is as the spec says. Else all rows of the file have the layout that the columns of
    its first SAMPLED_ROWS rows tell, and of a JSON document with one list of rows these are the rows. Raises UnreadableFile
    where no known layout fits, with the columns there are and what to write.
    """
    if eval_set.is_mapped:
        shape = eval_set.shape()
        return eval_set.reading(), lambda payload: eval_items(payload, shape, uri)
    reading = _reading_of(path, eval_set)
    sample = _first(path, reading, SAMPLED_ROWS)
    rows = [row.payload for row in sample if isinstance(row, readers.RawRow)]
    columns = common_columns(rows)
    layout = layout_of(columns)
    if layout is None:
        if not rows:
            # No row tells anything; what is wrong with each is told where they are read.
            return reading, lambda payload: [Refusal("missing_value", "no first row tells the layout")]
        raise readers.UnreadableFile(
            f"{path}: its columns ({_shown(columns) if columns else 'none that all rows have'}) are no usual layout of an "
            "evaluation set. Write which column holds what is asked, as `fields: {input: COLUMN}`. Known without that: "
            f"{known_layouts()}."
        )
    every = [*columns, *dict.fromkeys(name for row in rows for name in row if name not in columns)]
    return reading, EvalReader(layout, every, eval_set.fields).items


def _first(path: Path, reading: Reading, count: int) -> list[readers.RawRow | readers.Reject]:
    return list(islice(readers.read_rows(path, reading), count))


def _reading_of(path: Path, eval_set: EvalSet) -> Reading:
    """How the file becomes rows: of a JSON document that is one object, the one list in it that holds rows.

    Raises UnreadableFile where there are several such lists.
    """
    reading = eval_set.reading()
    if reading.format != "json" or reading.records is not None:
        return reading
    fault: readers.UnreadableFile | None = None
    try:
        first = _first(path, reading, 2)
        if len(first) != 1 or not isinstance(first[0], readers.RawRow) or layout_of(first[0].payload):
            return reading
    except readers.UnreadableFile as error:
        fault = error
    named = [(key, reading.model_copy(update={"records": key})) for key in documents.lists(path, reading)]
    found = [(key, one) for key, one in named if _holds_rows(path, one)]
    if len(found) == 1:
        return found[0][1]
    if found:
        raise readers.UnreadableFile(
            f"{path}: rows lie in several lists: {_shown([key for key, _ in found])}. Name one, for example "
            f"`records: {found[0][0][:_SHOWN_CHARS]}`; a set for each where all are wanted."
        )
    if fault is not None:
        raise fault
    return reading


def _holds_rows(path: Path, reading: Reading) -> bool:
    return any(isinstance(row, readers.RawRow) for row in _first(path, reading, 1))


def _shown(names: list[str]) -> str:
    shown = ", ".join(name[:_SHOWN_CHARS] for name in names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
