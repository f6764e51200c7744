"""The records of a finished release, from its own files, in bounded stretches.

Lives here: opening a manifest whose hashes are those of its version, comparing the files that are read with it, rows back to
records. Keep out: what a row may have been made of (`transforms.rebuilding`), what is looked for in them (`rescanning`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl
from pydantic import ValidationError

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.models import Task
from dataset_pipeline.storage import release_checks, release_files
from dataset_pipeline.storage.release_checks import MANIFEST, Manifest
from dataset_pipeline.transforms.formats import data_files_of
from dataset_pipeline.transforms.rebuilding import EASIEST_FIRST, candidates

RESCAN = "rescan"
ROWS_AT_ONCE, CHARS_AT_ONCE = 200_000, 80_000_000
"""Records, and characters of them, that are held at a time. What finds the protected items is made anew for each
stretch, which takes seconds where there are many: so these are large. They change no result."""
_PROVENANCE = "provenance.parquet"
_RECORDS = {"record_id": pl.String, "day": pl.Date, "split": pl.String, "messages": MESSAGES,
            "prompt_turns": pl.Int32, "rejected": MESSAGES}  # fmt: skip


class Unfit(PipelineError):
    """A release that cannot be scanned: its files are not those of its manifest, or this version cannot read them."""


def manifest_of_version(folder: Path) -> Manifest:
    """The manifest of a release, whose hashes of files give the version that the folder is called by.

    Raises Unfit, and FileNotFoundError where there is none (any more).
    """
    data = (folder / MANIFEST).read_bytes()
    manifest = release_checks.manifest_of(data)
    if manifest is None or manifest.version != folder.name:
        raise _unfit(folder, f"{MANIFEST} is none, or one of another release")
    if release_checks.version_of(manifest.files.values()) != manifest.version:
        raise _unfit(folder, f"{MANIFEST} names other files than those of this version")
    return manifest


def _unfit(folder: Path, what: str) -> Unfit:
    return Unfit(
        f"{folder}: {what}: it was not checked. `dataset-pipeline verify {folder.name}` says all that is wrong with it; restore "
        "the folder from a copy, or delete it."
    )


def task_of(folder: Path, manifest: Manifest) -> Task:
    """The task a release was made for. Raises Unfit."""
    try:
        return Task.model_validate_json(json.dumps(manifest.said["spec"]["task"]))
    except (ValidationError, KeyError, TypeError, ValueError, RecursionError):
        raise _unfit(
            folder, f"the task in {MANIFEST} is none that this version of the program knows"
        ) from None


def records_of(folder: Path, manifest: Manifest, task: Task) -> Iterator[pl.DataFrame]:
    """The records of a release, stretch by stretch: record_id, day, split, messages, prompt_turns, rejected, collected_rejected
    (the same again: a release has no other text); without the task's system prompt.

    Read are the files of one format, the one that says most. Each is compared with the manifest's hash before. Raises Unfit.
    """
    listed = data_files_of(manifest.files)
    name = next((name for name in EASIEST_FIRST if name in listed), None)
    provenance = _provenance(folder, manifest)
    if name is None:
        if provenance.height:
            raise _unfit(folder, "it has no data files of a format that this version of the program reads")
        return
    waiting: list[tuple[Any, ...]] = []
    chars = done = 0
    rows = _named_rows(folder, manifest, listed[name], provenance, name, task)
    for done, record in enumerate(rows, 1):
        waiting.append(record)
        chars += sum(len(turn["content"]) for turn in (*record[3], *(record[5] or ())))
        if len(waiting) == ROWS_AT_ONCE or chars > CHARS_AT_ONCE:
            REPORTER.get().phase(RESCAN, f"{folder.name}: {done:,} of {provenance.height:,} records")
            yield _frame(waiting)
            waiting, chars = [], 0
    if done != provenance.height:
        raise _unfit(folder, f"{_PROVENANCE} names splits that are none")
    if waiting:
        yield _frame(waiting)


def _frame(records: list[tuple[Any, ...]]) -> pl.DataFrame:
    frame = pl.DataFrame(records, schema=cast(Any, _RECORDS), orient="row")
    return frame.with_columns(collected_rejected="rejected")


def _provenance(folder: Path, manifest: Manifest) -> pl.DataFrame:
    _check_hash(folder, manifest, _PROVENANCE)
    try:
        return pl.read_parquet(
            folder / _PROVENANCE, columns=["record_id", "day", "split", "row"], glob=False
        ).cast({"record_id": pl.String, "day": pl.Date, "split": pl.String, "row": pl.Int64})
    except (OSError, pl.exceptions.PolarsError):
        raise _unfit(folder, f"{_PROVENANCE} lacks what this version of the program reads") from None


def _check_hash(folder: Path, manifest: Manifest, path: str) -> None:
    said = manifest.files.get(path)
    if said is None or not release_checks.is_plain(folder, path):
        raise _unfit(folder, f"{path} is missing, or lies behind a link")
    REPORTER.get().phase(RESCAN, f"{folder.name}: hash of {path}")
    if release_files.sha256_of(folder / path) != said.sha256:
        raise _unfit(folder, f"{path} was changed: its hash is not the manifest's")


def _rows(folder: Path, manifest: Manifest, paths: Sequence[str]) -> Iterator[Any]:
    """The rows of the files of one split, in order."""
    for path in paths:
        _check_hash(folder, manifest, path)
        rows = (
            _parquet_rows(folder / path)
            if path.endswith(".parquet")
            else release_files.read_lines(folder / path)
        )
        try:
            yield from rows
        except ValueError:
            raise _unfit(folder, f"{path} cannot be read") from None


def _parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(batch_size=1_000):
            yield from batch.to_pylist()


def _named_rows(
    folder: Path, manifest: Manifest, paths: Mapping[str, Sequence[str]], provenance: pl.DataFrame, name: str, task: Task
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """_RECORDS of every row, as provenance names it. Raises Unfit where there are more rows, or fewer."""
    for split in Split:
        rows = _rows(folder, manifest, paths.get(split.value, []))
        own = provenance.filter(pl.col("split") == split.value).sort("row").select("record_id", "day")
        for number, (record_id, day) in enumerate(own.iter_rows(), 1):
            # The first is the likeliest; what else a row may have been differs in whose the system prompt was.
            record = next(iter(candidates(name, next(rows, None), task)), None)
            if record is None:
                raise _unfit(
                    folder, f"row {number} of {split} in {name} is missing, or no row of that format"
                )
            yield record_id, day, split.value, *record
        if next(rows, None) is not None:
            raise _unfit(folder, f"the {name} files of {split} hold more rows than provenance names")
