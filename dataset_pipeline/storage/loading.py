"""Loading a release as its users do: with Hugging Face's `datasets`, offline, leaving nothing behind.

Lives here: calling `datasets`, what it writes and says kept in check, its errors as one line. Keep out: comparing with
the tables (`transforms.preflight`), judging (`expectations.release`).

Traps, measured with datasets 5.2: an error quotes the text that it could not read; a log line names the file and the
text; `load_dataset` takes one file type for a whole folder, so Parquet beside JSONL is loaded from its own folder; a
JSON column whose every text is a date becomes timestamps, and text again, but other text, where the card gives types.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

MAX_ROWS, MAX_BYTES = 10_000, 64 * 2**20
"""Of a batch: rows, and bytes by the mean size of a row, so that records of a million characters fit too."""

_NOT_OURS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS}
)
"""What the machine lacks says nothing about the release."""


class NotLoadable(Exception):
    """`datasets` cannot load a format. `message` is one line, without text of a record and without our paths."""

    def __init__(self, format: str, message: str):
        self.format, self.message = format, message
        super().__init__(f"{format}: {message}")


@dataclass(frozen=True)
class Loaded:
    """A split as `datasets` gives it: rows, the types of its columns, and its rows in bounded frames."""

    rows: int
    schema: Mapping[str, pl.DataType]
    batches: Iterator[pl.DataFrame]


def load_back(
    folder: Path, name: str, data_files: Mapping[str, Sequence[str]], scratch: Path, *, by_card: bool
) -> dict[str, Loaded]:
    """Every split of format `name` as a user gets it, by split.

    folder: the release, with its card; it may be hidden. data_files: split to paths inside `folder`. scratch: an empty
    folder of the caller's, who removes it: all that `datasets` writes is in there, as much as the files unpacked.
    by_card: through the card's `configs`; otherwise the folder `name` alone, as Parquet beside JSONL must be.
    Raises NotLoadable; OSError where the machine is at fault (disk full).
    """
    with _told(folder, name) as told:
        try:
            with _quiet() as datasets:
                place = (str(folder), name) if by_card else (str(folder / name),)
                loaded = datasets.load_dataset(*place, cache_dir=str(scratch / "cache"), keep_in_memory=False)
        except Exception as error:
            told.where = _by_file(folder, name, data_files, scratch) if _has_read(error) else ""
            raise
    if set(loaded) != set(data_files):
        gives, files = (", ".join(sorted(map(str, splits))) for splits in (loaded, data_files))
        raise NotLoadable(name, f"the files are of the splits {files}, loading gives {gives}")
    with _told(folder, name):
        return {split: _loaded(loaded[split], folder, name, split) for split in data_files}


def _loaded(dataset: Any, folder: Path, name: str, split: str) -> Loaded:
    tables = dataset.with_format("arrow")
    mean = max(1, dataset.data.nbytes // max(1, dataset.num_rows))
    size = max(1, min(MAX_ROWS, MAX_BYTES // mean))

    def batches() -> Iterator[pl.DataFrame]:
        with _told(folder, name) as told:
            told.where = f" (in the split {split})"
            for table in tables.iter(batch_size=size):
                # Bytes that are not UTF-8 pass `datasets` unseen (measured); in Polars they are undefined behaviour.
                table.validate(full=True)
                yield _frame(table)

    return Loaded(dataset.num_rows, _frame(tables[:0]).schema, batches())


def _frame(table: Any) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


@dataclass
class _Told:
    where: str = ""
    """What is known of the place, in words that end the message."""


@contextlib.contextmanager
def _told(folder: Path, name: str) -> Iterator[_Told]:
    """Turns what goes wrong inside into NotLoadable, unless it is the machine's fault."""
    told = _Told()
    try:
        yield told
    except MemoryError:
        raise
    except Exception as error:
        _raise_if_not_ours(error)
        raise NotLoadable(name, _one_line(error, folder) + told.where) from None


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """`datasets`, offline, without telemetry, bars or log lines (which quote rows)."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    import datasets
    from datasets.utils import logging

    verbosity, bars = logging.get_verbosity(), datasets.are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL + 1)
    datasets.disable_progress_bars()
    try:
        yield datasets
    finally:
        logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it is from, the innermost last."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain


def _raise_if_not_ours(error: BaseException) -> None:
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _NOT_OURS:
            raise cause from None
        if isinstance(cause, OSError) and str(cause).startswith("Not enough disk space"):
            raise OSError(errno.ENOSPC, "No space left for loading the release back") from None


_QUOTED = re.compile(r"(?<![A-Za-z])[\"'`“].*", re.DOTALL)
"""From the first quotation mark that is no apostrophe: what an error quotes may be text of a record."""


def _has_read(error: BaseException) -> bool:
    """Whether rows were read when it went wrong: then its words may quote them."""
    from datasets.exceptions import DatasetGenerationError

    return isinstance(error, DatasetGenerationError) or type(error).__module__.startswith("pyarrow")


def _one_line(error: BaseException, folder: Path) -> str:
    """Kind and first line of what went wrong, without what it quotes once rows were read."""
    cause = (error.__cause__ or error) if _has_read(error) else error
    kind = type(cause).__name__
    if isinstance(cause, UnicodeError):
        return f"{kind}: a byte is not UTF-8"
    said = (str(cause).strip().splitlines() or [""])[0]
    if _has_read(error):
        said = _QUOTED.sub("", said)
    said = said.replace(f"{folder}{os.sep}", "").replace(str(folder), "the release").strip().rstrip(":")[:200]
    return f"{kind}: {said}" if said else kind


def _by_file(folder: Path, name: str, data_files: Mapping[str, Sequence[str]], scratch: Path) -> str:
    """Which file is at fault: the first that cannot be loaded by itself, or the two that do not fit together."""
    kind = "parquet" if name == "parquet" else "json"
    for number, path in enumerate(path for paths in data_files.values() for path in paths):
        try:
            with _quiet() as datasets:
                datasets.load_dataset(
                    kind,
                    data_files=str(folder / path),
                    cache_dir=str(scratch / f"file{number}"),
                    split="train",
                )
        except Exception as error:
            _raise_if_not_ours(error)
            return f" (in {path})"
    return (
        " (every file loads by itself: their columns differ)"
        if sum(map(len, data_files.values())) > 1
        else ""
    )
