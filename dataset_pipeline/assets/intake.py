"""ingest as an asset runs it: files of some days to staged rows, in parts, and what changed in their columns.

Lives here: reading files through `transforms.ingest`, batches, schema drift, looking for erased records. Keep out: what a row means
(`transforms.layouts`), the other steps (`steps`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl

from dataset_pipeline.assets.context import Context, Days, Stage, Work
from dataset_pipeline.errors import BadDay
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import TABLES, Step
from dataset_pipeline.spec.params import DedupParams, IngestParams, SourceParams
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.sources import SourceFile
from dataset_pipeline.transforms import erasure, ingest
from dataset_pipeline.transforms.drift import Columns, Drift, Known, drift, known_of, since, united
from dataset_pipeline.transforms.occurrences import Occurrences

CHANGED = "changed while it was read"
"""What is said of a file that is no longer the one that was planned."""


def ingest_work(context: Context, days: Days, stage: Stage) -> Work:
    """Read the files of `days`; records and rejects go to staging part by part. Raises BadDay."""
    params = cast(IngestParams, context.params[Step.INGEST])
    intake = _Intake(context, params, stage, _history(context, days), _search(context, params, days))
    for day in days:
        REPORTER.get().phase(Step.INGEST, f"reading {day}")
        intake.day(day)
    intake.flush()
    if intake.bad:
        raise BadDay(Step.INGEST, intake.bad)
    batches = pl.DataFrame(intake.batches, schema=TABLES["batches"], orient="row")
    tables = {
        Step.INGEST: pl.DataFrame(schema=TABLES[Step.INGEST]),
        "rejects": pl.DataFrame(schema=TABLES["rejects"]),
        "batches": batches.sort("day", "source", "uri"),
    }

    def audit(staged: pl.DataFrame, extras: dict[str, pl.DataFrame]) -> Audit:
        counted = (
            extras["batches"]
            .group_by("day")
            .agg((pl.col("rows_read") - pl.col("rows_rejected")).sum().alias("n"))
        )
        rows_in = dict.fromkeys(days, 0) | dict(counted.iter_rows())
        looked_at = {"silent": _silent(context, params, days), "drift": _retyped(days, intake.drifts)}
        return Audit(Step.INGEST, days, staged, rows_in, staged, extras | looked_at)

    empty_days = [day for day in days if not context.files(day)]
    notes = [f"no files on {_listed(empty_days)}: zero rows published"] if empty_days else []
    notes += [note for found in intake.drifts.values() for change in found for note in change.notes]
    return Work(tables, None, audit, tuple(notes))


@dataclass
class _Intake:
    """The files of a run, day after day."""

    context: Context
    params: IngestParams
    stage: Stage
    history: dict[str, dict[dt.date, Columns]]
    """source to published day to its columns; days read by this run are added."""
    search: erasure.Search | None = None
    """What is erased; None where nothing is."""
    bad: dict[str, list[str]] = field(default_factory=dict)
    batches: list[tuple[Any, ...]] = field(default_factory=list)
    drifts: dict[dt.date, list[Drift]] = field(default_factory=dict)
    waiting: list[ingest.Batch] = field(default_factory=list)

    def day(self, day: dt.date) -> None:
        """Read every file of a day, and compare its columns with those of the last day of their source."""
        sources = {source.name: source for source in self.params.sources}
        occurrences: dict[str, Occurrences] = {}
        columns: dict[str, list[Columns]] = {}
        for file in self.context.files(day):
            source = sources[file.source]
            try:
                found = self._file(file, source, occurrences.setdefault(source.name, Occurrences()))
            except (ingest.MissingColumn, readers.UnreadableFile, OSError) as error:
                # What is wrong with a file that changed may be gone by now: the change is told first.
                changed = self._changed(file)
                told = changed or _file_problem(file, error)
                if isinstance(error, ingest.MissingColumn) and not changed:
                    told += since(error.names, error.present, self._known(source.name, day))
                self.bad.setdefault(day.isoformat(), []).append(told)
                continue
            columns.setdefault(source.name, []).append(found)
        for name, files in sorted(columns.items()):
            mapped = ingest.watched_columns(sources[name].shape, self.params.task_type)
            change = drift(name, day, files, self._known(name, day), mapped)
            self.drifts.setdefault(day, []).append(change)
            # A day that its gate will refuse is nothing that later days are compared with.
            if not change.retyped or self._is_accepted():
                self.history.setdefault(name, {})[day] = united(files)

    def _take(self, part: ingest.Batch) -> None:
        """Stage parts together: a transaction for each of a thousand small files would cost more than reading them."""
        self.waiting.append(part)
        rows = sum(waiting.records.height + waiting.rejects.height for waiting in self.waiting)
        is_large = sum(waiting.records.estimated_size() for waiting in self.waiting) > ingest.PART_BYTES
        if rows >= ingest.PART_ROWS or is_large:
            self.flush()

    def flush(self) -> None:
        """Stage what waits."""
        if self.waiting:
            records = pl.concat([part.records for part in self.waiting])
            if self.search is not None:
                # Before anything is staged: an erased text does not reach the warehouse's file again.
                compared = cast(DedupParams, self.context.params[Step.DEDUP])
                records = erasure.withheld(records, self.search, _generated(self.params), compared)
            self.stage({Step.INGEST: records, "rejects": pl.concat([part.rejects for part in self.waiting])})
            self.waiting.clear()

    def _is_accepted(self) -> bool:
        """Whether the spec lets changed columns through."""
        gate = self.params.gates.get("columns_keep_type")
        return gate is not None and (gate.severity == "warning" or bool(gate.max))

    def _changed(self, file: SourceFile) -> str:
        """What to say where a file is no longer the one that was planned; nothing where it is."""
        planned = self.context.hashes[file.uri]
        try:
            sha256, _ = readers.file_sha256(file.path)
        except (readers.UnreadableFile, OSError):
            return f"{file.source}: {file.uri}: {CHANGED}: it vanished (sha256 {planned[:12]} → none). Put it back, then run again."
        if sha256 == planned:
            return ""
        return (
            f"{file.source}: {file.uri}: {CHANGED} (sha256 {planned[:12]} → {sha256[:12]}). "
            "Let the export finish, then run again."
        )

    def _known(self, source: str, day: dt.date) -> Known | None:
        return known_of(self.history.get(source, {}), day)

    def _file(self, file: SourceFile, source: SourceParams, occurrences: Occurrences) -> Columns:
        """Stage the rows of one file. Raises MissingColumn, UnreadableFile."""
        declared = readers.columns_of(file.path, source.reading)
        missing = (
            ingest.missing_columns(source.shape, self.params.task_type, declared)
            if declared is not None
            else []
        )
        if missing:
            raise ingest.MissingColumn(missing, declared or ())
        items = readers.read_blocks(file.path, source.reading)
        read, kept, rejected = 0, 0, 0
        columns: Columns = {}
        for part in ingest.ingest_parts(items, source, self.params, file.day, file.uri, occurrences):
            self._take(part)
            read, kept, rejected = (
                read + part.rows_read,
                kept + part.records.height,
                rejected + part.rejects.height,
            )
            columns = part.columns
            if read > ingest.PART_ROWS:
                REPORTER.get().phase(Step.INGEST, f"reading {file.day}: {read:,} rows of {file.uri}")
        sha256, size = readers.file_sha256(file.path)
        if sha256 != self.context.hashes[file.uri]:
            raise readers.UnreadableFile(CHANGED)
        self.batches.append(_batch_row(file, source, sha256, size, (read, kept, rejected), columns))
        return columns


def _generated(params: IngestParams) -> list[str]:
    """The sources of generated text."""
    return [s.name for s in params.sources if s.kind == "synthetic" or s.generator is not None]


def _search(context: Context, params: IngestParams, days: Days) -> erasure.Search | None:
    """What the published erasures take, with the texts of the named records as the raw files still hold them.

    Their texts are not in the warehouse, so near copies that come later, or in a rebuild from nothing, are found
    by reading the named rows once more: in the files they are known to be in, else in those of this run and of days not made yet.
    """
    erasures, latest = context.warehouse.table("erasures"), context.warehouse.latest()
    if erasures.height == 0:
        return None
    named = erasures.filter(pl.col("because") == "named")
    frame = context.warehouse.query(
        """SELECT record_id AS record, source, source_id, uri FROM main."ingest"
        WHERE list_contains($records, record_id) OR list_contains($ids, source_id)""",
        {"records": named["record"].drop_nulls().to_list(), "ids": named["source_id"].drop_nulls().to_list()},
    )
    located = pl.DataFrame(
        frame.rows(), schema=dict.fromkeys(("record", "source", "source_id", "uri"), pl.String), orient="row"
    )
    by_id = named.join(located.select("record", place="uri"), on="record", how="left")
    by_source = named.filter(pl.col("record").is_null()).join(
        located.select("source", "source_id", place="uri"), on=["source", "source_id"], how="left"
    )
    sought = pl.concat([by_id.filter(pl.col("record").is_not_null()), by_source])
    uris = set(sought["place"].drop_nulls())
    lost = sought.filter(pl.col("place").is_null())
    anywhere = lost["source"].null_count() > 0
    sources = set(lost["source"].drop_nulls())
    texts = [pl.DataFrame(schema=TABLES[Step.INGEST])]
    compared = cast(DedupParams, context.params[Step.DEDUP])
    generated = _generated(params)
    of_source = {source.name: source for source in params.sources}
    for file in context.found.files:
        # Also of days that are not made yet: one made before the day of the named record must come to the same.
        is_new = file.day in days or (Step.INGEST, file.day) not in latest
        is_searched = is_new and (anywhere or file.source in sources)
        if file.uri not in uris and not is_searched:
            continue
        REPORTER.get().phase(Step.INGEST, f"looking for erased records in {file.uri}")
        try:
            items = readers.read_blocks(file.path, of_source[file.source].reading)
            for part in ingest.ingest_parts(items, of_source[file.source], params, file.day, file.uri):
                texts.append(erasure.named_among(part.records, erasures, generated, compared))
        except (ingest.MissingColumn, readers.UnreadableFile, OSError):
            # Told when the day of this file is made.
            continue
    return erasure.search(erasures, pl.concat(texts), generated, compared)


def _history(context: Context, days: Days) -> dict[str, dict[dt.date, Columns]]:
    """The columns of every source on the published days that this run does not make."""
    frame = context.warehouse.query(
        "SELECT source, day, columns FROM batches WHERE day < ? AND NOT list_contains(?, day) ORDER BY uri",
        [max(days), list(days)],
    )
    history: dict[str, dict[dt.date, Columns]] = {}
    for source, day, columns in frame.iter_rows():
        seen = dict(history.setdefault(source, {}).get(day, {}))
        for column in columns or ():
            kinds = frozenset(column["kinds"].split(",")) if column["kinds"] else frozenset()
            seen[column["name"]] = seen.get(column["name"], frozenset()) | kinds
        if seen:
            history[source][day] = seen
    return history


def _file_problem(file: SourceFile, error: Exception) -> str:
    """What is wrong with a file: `source: uri: what`. Several sources may read one file."""
    text = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
    text = text.replace(str(file.path), file.uri)
    return f"{file.source}: {text if text.startswith(f'{file.uri}:') else f'{file.uri}: {text}'}"


def _batch_row(
    file: SourceFile,
    source: SourceParams,
    sha256: str,
    size: int,
    rows: tuple[int, int, int],
    columns: Columns,
) -> tuple[Any, ...]:
    generator = source.generator.model_dump_json() if source.generator is not None else None
    rights = source.rights
    listed = [{"name": name, "kinds": ",".join(sorted(kinds))} for name, kinds in sorted(columns.items())]
    return (
        file.day, file.source, source.kind, file.uri, sha256, size, *rows, file.day, rights.license, rights.holder,
        rights.basis, list(rights.uses), generator, listed,
    )  # fmt: skip


def _retyped(days: Days, drifts: Mapping[dt.date, list[Drift]]) -> pl.DataFrame:
    """Per day: how many mapped columns changed their kind of value, and which."""
    rows = []
    for day in days:
        changes = [change for found in drifts.get(day, ()) for change in found.retyped]
        rows.append((day, len(changes), "; ".join(changes) or None))
    schema = {"date": pl.Date, "retyped_columns": pl.Int64, "retyped_columns_culprit": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _silent(context: Context, params: IngestParams, days: Days) -> pl.DataFrame:
    """Per day: how many sources that should come daily sent no file, between their first day and the last."""
    rows = []
    for day in days:
        silent = []
        for source in params.sources:
            if "{date}" not in source.path or not source.expected_daily:
                continue
            own = [f.day for f in context.found.files if f.source == source.name]
            if own and min(own) <= day and day not in own:
                silent.append(source.name)
        rows.append((day, len(silent), ", ".join(sorted(silent)) or None))
    schema = {"date": pl.Date, "silent_sources": pl.Int64, "silent_sources_culprit": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _listed(days: list[dt.date]) -> str:
    return f"{', '.join(map(str, days[:5]))}{', …' if len(days) > 5 else ''}"
