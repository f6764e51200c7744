"""A release against its own provenance: every row of every format is the record that provenance names, and what the
manifest says of counts and rights is what the records say.

Lives here: reading a release folder in bounded slices, what of it could not be checked, and faults in words. Keep out: hashes and
row counts (`storage.release_checks.verify`), how a row becomes a record again (`transforms.rebuilding`), what records allow
together (`transforms.rights`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

import dataset_pipeline
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import Split
from dataset_pipeline.spec.licence_terms import OBLIGATION_WORDS
from dataset_pipeline.spec.models import Spec, Task
from dataset_pipeline.spec.params import release_formats
from dataset_pipeline.storage import release_checks, release_files
from dataset_pipeline.storage.release_checks import MANIFEST
from dataset_pipeline.transforms import rights
from dataset_pipeline.transforms.diff.comparing import TEXT_SHA
from dataset_pipeline.transforms.formats import data_files_of
from dataset_pipeline.transforms.rebuilding import EASIEST_FIRST, PARQUET, Fault, Named, compare
from dataset_pipeline.transforms.sealing import seal_in, seal_of

STEP = "verify"
MAX_SHOWN = 20
"""Faults that are named one by one, of rows and of rows that could not be checked."""
_ROWS_AT_ONCE, _CHARS_AT_ONCE = 1_000, 4_000_000
"""Rows, and characters of one format, that are Python values at one time."""
_WORDS = {
    "another_record": "is not record {record}, which provenance names here, but {owner}",
    "other_label": "holds record {record} with another label than provenance names",
    "other_text": "is not record {record} as provenance names it: text, order of keys or columns differ",
    "no_row": "is no row of {format}; provenance names record {record} here",
    "not_checked": "cannot be told to be record {record}: its prompt has too many paragraphs to find where a system prompt ends",
}  # fmt: skip


@dataclass
class RowCheck:
    """What was found.

    rows: of all formats that were compared; uses: those that the records of provenance allow together, None where it
    does not say; not_checked: in words, what could not be looked at.
    """

    rows: int = 0
    formats: tuple[str, ...] = ()
    uses: tuple[str, ...] | None = None
    problems: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)


class _NoTable(Exception):
    """A Parquet file cannot be read, or lacks columns that every version wrote."""


def check_rows(folder: Path) -> RowCheck:
    """Compare every row of every format of a release with provenance.parquet, and its counts and rights with the manifest's.

    Needs nothing but the folder. What a release of an earlier version lacks is named in `not_checked`.
    """
    check = RowCheck()
    path = folder / MANIFEST
    plain = release_checks.is_plain(folder, MANIFEST)
    manifest = release_checks.manifest_of(path.read_bytes()) if plain else None
    if manifest is None:
        check.not_checked.append("the rows: the manifest cannot be read")
        return check
    try:
        provenance = _table(folder, "provenance.parquet", _PROVENANCE)
        dropped = _table(folder, "dropped.parquet", _DROPPED)
    except _NoTable as error:
        check.problems.append(
            f"{error}: is missing or is none: nothing says what the rows of this release are"
        )
        return check
    said, listed = manifest.said, data_files_of(manifest.files)
    _check_seal(folder, said, check)
    _check_counts(manifest, provenance, dropped, check)
    try:
        spec = Spec.model_validate_json(json.dumps(said["spec"]))
    except (ValidationError, KeyError, RecursionError):
        spec = None
    _check_rights(said, provenance, spec, check)
    if TEXT_SHA not in provenance.columns:
        check.not_checked.append(
            "the rows: provenance holds no hashes of texts; the release is of an earlier version, and checked by file hashes only"
        )
        return check
    if spec is None:
        check.not_checked.append("the rows: the manifest's spec is not one of this version of the program")
        return check
    missing = [name for name in release_formats(spec) if name not in listed]
    if missing and provenance.height:
        check.problems.append(
            f"the spec of the manifest asks for {', '.join(missing)}, of which there is no file"
        )
    unknown = sorted(listed.keys() - set(EASIEST_FIRST))
    if unknown:
        check.not_checked.append(
            f"the rows of {', '.join(unknown)}: no format of this version of the program"
        )
    check.formats = tuple(name for name in EASIEST_FIRST if name in listed)
    _check_files(folder, {name: listed[name] for name in check.formats}, provenance, spec.task, check)
    return check


def _check_seal(folder: Path, said: Mapping[str, Any], check: RowCheck) -> None:
    """The card holds a hash over what the manifest says of spec, inputs, rights and counts."""
    try:
        seal = seal_in((folder / "README.md").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the card's own hash is compared elsewhere
    if seal is None:
        check.not_checked.append("the spec in the manifest: the card is of a version that sealed none")
    elif seal != seal_of(said):
        check.problems.append(
            f"{MANIFEST}: says other things of spec, rights, counts, tokens or versions than when the card was written"
        )


_Columns = dict[str, pl.DataType | type[pl.DataType]]
_PROVENANCE: _Columns = {
    "record_id": pl.String, "split": pl.String, "row": pl.Int64, "label": pl.String, "source": pl.String, "day": pl.Date,
}  # fmt: skip
_DROPPED: _Columns = {"record_id": pl.String}
_OPTIONAL: _Columns = {TEXT_SHA: pl.String, "license": pl.String, "uses": pl.String}
"""Those that releases of earlier versions need not have."""


def _table(folder: Path, path: str, needed: _Columns) -> pl.DataFrame:
    """The columns of a Parquet file that are looked at. Raises _NoTable."""
    if not release_checks.is_plain(folder, path):
        raise _NoTable(path)
    try:
        rows = pl.scan_parquet(folder / path, glob=False)
        known = rows.collect_schema().names()
        wanted = needed | {name: dtype for name, dtype in _OPTIONAL.items() if name in known}
        return rows.select(pl.col(name).cast(dtype) for name, dtype in wanted.items()).collect()
    except (OSError, pl.exceptions.PolarsError):
        raise _NoTable(path) from None


# --- what the manifest says of the records ------------------------------------------------


def _check_counts(
    manifest: release_checks.Manifest, provenance: pl.DataFrame, dropped: pl.DataFrame, check: RowCheck
) -> None:
    said = manifest.said.get("counts")
    if not isinstance(said, Mapping):
        check.problems.append(f"manifest.json: counts says {_shown(said)}, and is no counts")
        return
    found = {"released": provenance.height, "ingested": provenance.height + dropped.height}
    rejects = manifest.files.get("rejects.parquet")
    if rejects is not None and rejects.rows is not None:
        found["rejected"] = rejects.rows
    for name, records in found.items():
        _differ(f"counts.{name}", said.get(name), records, check)
    splits = said.get("splits")
    by_split = {str(split): n for split, n in provenance.group_by("split").len().iter_rows()}
    if isinstance(splits, Mapping):
        for split in sorted(splits.keys() | by_split.keys()):
            _differ(f"counts.splits.{split}", splits.get(split), by_split.get(split, 0), check)
    else:
        _differ("counts.splits", splits, by_split, check)
    both = provenance.join(dropped, on="record_id", how="semi")["record_id"].sort().to_list()
    twice = pl.concat([provenance.select("record_id"), dropped.select("record_id")]).filter(
        pl.col("record_id").is_duplicated() & ~pl.col("record_id").is_in(both)
    )
    for ids, what in ((both, "in provenance.parquet and in dropped.parquet"), (twice["record_id"].unique().sort().to_list(), "listed twice")):  # fmt: skip
        if ids:
            shown = ", ".join(map(str, ids[:MAX_SHOWN])) + (", …" if len(ids) > MAX_SHOWN else "")
            check.problems.append(f"{len(ids)} records are {what}: {shown}")


def _check_rights(
    manifest: Mapping[str, Any], provenance: pl.DataFrame, spec: Spec | None, check: RowCheck
) -> None:
    """What the records allow together, from the licence and the uses of each; spec: for what only it can say."""
    if not {"license", "uses"} <= set(provenance.columns):
        check.not_checked.append("the rights: provenance holds no licences and uses")
        return
    own = provenance.select(
        (pl.col(name) if name in ("record_id", "split", "source", "license", "uses") else pl.lit(None))
        .cast(dtype)
        .alias(name)
        for name, dtype in rights.GRANT.items()
    )
    told = rights.strictest(own, spec.release.license if spec else None, spec.release.uses if spec else ())
    check.uses = told.uses
    said = manifest.get("rights")
    if said is None:
        check.not_checked.append("the rights: the manifest says nothing of them")
        return
    if not isinstance(said, Mapping):
        check.problems.append(f"manifest.json: rights says {_shown(said)}, and is no rights")
        return
    found: dict[str, Any] = {
        "uses": list(told.uses),
        "licenses": [{"license": licence, "records": n} for licence, n in told.licenses],
    }
    if spec is not None:
        found["released_for"] = list(told.asked)
    versions = manifest.get("versions")
    version = versions.get("dataset_pipeline") if isinstance(versions, Mapping) else None
    if spec is not None and version == dataset_pipeline.__version__:
        found |= {
            "license": told.license,
            "obligations": [name for name in OBLIGATION_WORDS if getattr(told.obligations, name)],
            "terms_known": told.obligations.known,
        }
    else:
        check.not_checked.append(
            "what its licences ask for together: another version of the program wrote that, and may have known other terms"
        )
    for name, value in found.items():
        _differ(f"rights.{name}", said.get(name), value, check)


def _differ(what: str, said: Any, found: Any, check: RowCheck) -> None:
    if said != found or type(said) is not type(found):
        check.problems.append(f"manifest.json: {what} says {_shown(said)}, the records say {_shown(found)}")


def _shown(value: Any) -> str:
    """What a manifest may say, of any kind and length, on one line."""
    try:
        text = json.dumps(value)
    except RecursionError:
        return "something else"
    return "nothing" if value is None else text if len(text) <= 200 else f"{text[:197]}…"


# --- rows ---------------------------------------------------------------------------------


def _check_files(
    folder: Path,
    listed: Mapping[str, Mapping[str, list[str]]],
    provenance: pl.DataFrame,
    task: Task,
    check: RowCheck,
) -> None:
    owners = dict(zip(provenance[TEXT_SHA], provenance["record_id"], strict=True))
    faults: list[str] = []
    unsure: list[str] = []
    for split in Split:
        part = provenance.filter(pl.col("split") == split.value).sort("row")
        if part["row"].to_list() != list(range(part.height)):
            check.problems.append(f"provenance.parquet: the rows of {split} are not 0 to {part.height - 1}")
            continue
        readers = {name: _Rows(folder, files.get(split.value, [])) for name, files in listed.items()}
        for stretch, places, rows in _stretches(part, readers, split):
            check.rows += sum(row is not None for column in rows.values() for row in column)
            for fault in compare(rows, stretch, task, owners):
                words = _words(fault, stretch[fault.index], places)
                (unsure if fault.kind == "not_checked" else faults).append(words)
        for name, reader in readers.items():
            check.problems += reader.ends(f"{name} {split}", part.height)
    for found, target in ((faults, check.problems), (unsure, check.not_checked)):
        target += found[:MAX_SHOWN]
        if len(found) > MAX_SHOWN:
            target.append(f"and {len(found) - MAX_SHOWN} more rows")


def _words(fault: Fault, named: Named, places: Mapping[str, list[str]]) -> str:
    words = _WORDS[fault.kind].format(record=named.record_id, owner=fault.owner, format=fault.name)
    return f"{places[fault.name][fault.index]}: {words}"


def _stretches(
    part: pl.DataFrame, readers: Mapping[str, _Rows], split: Split
) -> Iterator[tuple[list[Named], dict[str, list[str]], dict[str, list[Any]]]]:
    """Rows of all formats side by side, some at a time: what provenance names, file:line, and the rows."""
    day = pl.col("day").cast(pl.Date).dt.to_string("%Y-%m-%d")
    said = part.with_columns(day=day).select("record_id", "label", TEXT_SHA, "source", "day")
    named: list[Named] = []
    places: dict[str, list[str]] = {name: [] for name in readers}
    rows: dict[str, list[Any]] = {name: [] for name in readers}
    chars = 0
    for number, values in enumerate(said.iter_rows(), 1):
        named.append(Named(*values))
        for name, reader in readers.items():
            place, row = reader.next()
            places[name].append(place)
            rows[name].append(row)
        chars += max((_chars(column[-1]) for column in rows.values()), default=0)
        if len(named) == _ROWS_AT_ONCE or chars > _CHARS_AT_ONCE or number == part.height:
            REPORTER.get().phase(STEP, f"{split}: {number} of {part.height} records")
            yield named, places, rows
            named, chars = [], 0
            places, rows = {name: [] for name in readers}, {name: [] for name in readers}


def _chars(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_chars, value.values()))
    return sum(map(_chars, value)) if isinstance(value, list) else 0


class _Rows:
    """The rows of the files of one split in one format, in order; None after the last, or after one that is broken."""

    def __init__(self, folder: Path, paths: list[str]):
        self.count = 0
        self.broken: str | None = None
        self._rows = self._read(folder, paths)

    def next(self) -> tuple[str, Any]:
        """`file:line` and the row; None for no row."""
        return next(self._rows, ("", None))

    def ends(self, what: str, expected: int) -> list[str]:
        """What is wrong with the number of rows, once all that are expected were taken."""
        self.count += sum(1 for _ in self._rows)
        if self.broken:
            return [self.broken]
        if self.count < expected or self.count > expected:
            return [f"{what}: {self.count} rows, provenance.parquet names {expected} records"]
        return []

    def _read(self, folder: Path, paths: list[str]) -> Iterator[tuple[str, Any]]:
        for path in paths:
            line = 0
            if not release_checks.is_plain(folder, path):
                self.broken = f"{path}: cannot be read"
                return
            rows = (
                _parquet_rows(folder / path)
                if path.endswith(f".{PARQUET}")
                else release_files.read_lines(folder / path)
            )
            while True:
                try:
                    row = next(rows, None)
                except Exception as error:
                    if not _is_broken(error):
                        raise
                    self.broken = f"{path}:{line + 1}: cannot be read from here on"
                    return
                if row is None:
                    break
                line += 1
                self.count += 1
                yield f"{path}:{line}", row


def _is_broken(error: Exception) -> bool:
    """Whether this is about the file: no JSON, no Parquet, packing that broke off, or no file."""
    return isinstance(error, OSError | ValueError | EOFError | zlib.error) or type(error).__name__ in ("ZstdError", "ArrowException")  # fmt: skip


def _parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(batch_size=256):
            yield from batch.to_pylist()
