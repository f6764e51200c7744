"""Reading evaluation sets and handwritten examples into the `protected` table.

Lives here: files of the spec's evaluation sets to TABLES['protected']. Keep out: comparing records
with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import PROTECTED, TABLES
from dataset_pipeline.spec.params import ProtectedParams
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.sources import eval_files
from dataset_pipeline.transforms.layouts import Refusal, eval_items

EXAMPLES = "examples"


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

    Raises SpecError for a file that is no batch at all.
    """
    rows: list[tuple[str, str, str, str | None]] = [
        (EXAMPLES, f"example-{n}", e.input, e.output) for n, e in enumerate(params.examples, 1)
    ]
    unreadable: list[str] = []
    for eval_set in params.sets:
        shape = eval_set.shape()
        files, problems = eval_files(root, eval_set, eval_set.name)
        if problems:
            raise SpecError(problems)
        for path in files:
            uri = path.relative_to(root).as_posix()
            try:
                for row in readers.read_rows(path, eval_set.reading()):
                    if isinstance(row, readers.Reject):
                        unreadable.append(f"{uri}:{row.line} {row.reason}")
                        continue
                    for found in eval_items(row.payload, shape, uri):
                        if isinstance(found, Refusal):
                            unreadable.append(f"{uri}:{row.line} {found.reason}: {found.detail}")
                            continue
                        item, text, answer = found
                        rows.append((eval_set.name, item or f"{path.name}:{row.line}", text, answer))
            except readers.UnreadableFile as error:
                raise SpecError([Problem(f"decontaminate.sets ({eval_set.name})", str(error))]) from None
    frame = pl.DataFrame(rows, schema=TABLES[PROTECTED], orient="row")
    return Protected(frame.sort("eval_set", "eval_item", "text"), tuple(unreadable))
