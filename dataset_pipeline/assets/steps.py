"""What each daily step reads, computes and shows its gate: the glue between warehouse and transforms.

Lives here: one `Work` per step, made of storage reads, one pure transform and an `Audit`. Keep
out: claims, staging, publishing and Dagster (`engine`, `daily`); anything that decides about a
record (`transforms`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl

from dataset_pipeline.assets.recipes import libraries
from dataset_pipeline.errors import BadDay
from dataset_pipeline.expectations import split as split_suite
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.memo import Memo
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, TABLES, Split, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import (
    DecontaminateParams,
    DedupParams,
    FilterParams,
    IngestParams,
    LabelParams,
    NormalizeParams,
    Params,
    SplitParams,
)
from dataset_pipeline.storage import frames, readers
from dataset_pipeline.storage.cache import Cache
from dataset_pipeline.storage.sources import Found, SourceFile
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.text import with_sides
from dataset_pipeline.transforms import dedup, ingest, split
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.filter import examples_dropped, filter_records
from dataset_pipeline.transforms.label import contested, label_records
from dataset_pipeline.transforms.normalize import normalize

Days = tuple[dt.date, ...]


@dataclass(frozen=True)
class Context:
    """What a step may use: the project, its params, its warehouse, and the files found."""

    project: Project
    params: Mapping[str, Params]
    warehouse: Warehouse
    found: Found
    hashes: Mapping[str, str]
    """uri to the sha256 it had when the run was planned."""

    def memo(self, step: Step) -> Memo:
        """Remembers costly per-text work of a step in the project's cache."""
        return Cache(self.project.cache_path, libraries(step))

    def files(self, day: dt.date) -> list[SourceFile]:
        return [f for f in self.found.files if f.day == day]


@dataclass(frozen=True)
class Work:
    """A step's result before its gate.

    tables: what is staged. carried: record_id, day and every column the next step reads, of the
    kept rows (its hash is the handover). audit: made from the rows as read back from staging.
    """

    tables: dict[str, pl.DataFrame]
    carried: pl.DataFrame
    audit: Callable[[pl.DataFrame, dict[str, pl.DataFrame]], Audit]
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def work(context: Context, step: Step, days: Days) -> Work:
    """Compute `step` for `days` from what is published. Raises BadDay for days without a usable input."""
    return _WORK[step](context, days)


# --- ingest -------------------------------------------------------------------------------


def _ingest(context: Context, days: Days) -> Work:
    params = cast(IngestParams, context.params[Step.INGEST])
    sources = {source.name: source for source in params.sources}
    records, rejects, batches = (
        [pl.DataFrame(schema=TABLES[Step.INGEST])],
        [pl.DataFrame(schema=TABLES["rejects"])],
        [],
    )
    bad: dict[str, list[str]] = {}
    for day in days:
        REPORTER.get().phase(Step.INGEST, f"reading {day}")
        occurrences: dict[str, dict[bytes, int]] = {}
        for file in context.files(day):
            source = sources[file.source]
            try:
                batch, size = _read_batch(
                    context, file, source, params, occurrences.setdefault(file.source, {})
                )
            except (ingest.MissingColumn, readers.UnreadableFile, OSError) as error:
                bad.setdefault(day.isoformat(), []).append(_file_problem(file, error))
                continue
            records.append(batch.records)
            rejects.append(batch.rejects)
            batches.append(_batch_row(file, source, context.hashes[file.uri], size, batch))
    if bad:
        raise BadDay(Step.INGEST, bad)
    tables: dict[str, pl.DataFrame] = {
        Step.INGEST: pl.concat(records).sort("record_id"),
        "rejects": pl.concat(rejects).sort("day", "uri", "line"),
        "batches": pl.DataFrame(batches, schema=TABLES["batches"], orient="row").sort("day", "source", "uri"),
    }

    def audit(staged: pl.DataFrame, extras: dict[str, pl.DataFrame]) -> Audit:
        counted = (
            extras["batches"]
            .group_by("day")
            .agg((pl.col("rows_read") - pl.col("rows_rejected")).sum().alias("n"))
        )
        rows_in = dict.fromkeys(days, 0) | dict(counted.iter_rows())
        return Audit(
            Step.INGEST, days, staged, rows_in, staged, extras | {"silent": _silent(context, params, days)}
        )

    empty_days = [day for day in days if not context.files(day)]
    notes = (f"no files on {_listed(empty_days)}: zero rows published",) if empty_days else ()
    return Work(tables, tables[Step.INGEST].select("record_id", "day", "content_sha"), audit, notes)


def _read_batch(
    context: Context, file: SourceFile, source: Any, params: IngestParams, occurrences: dict[bytes, int]
) -> tuple[ingest.Batch, int]:
    columns = readers.columns_of(file.path, source.encoding)
    if columns is not None:
        missing = ingest.missing_columns(source, columns)
        if missing:
            raise ingest.MissingColumn(ingest.missing_column_message(missing, columns))
    rows = readers.read_rows(file.path, source.encoding)
    batch = ingest.ingest(rows, source, params, file.day, file.uri, occurrences)
    sha256, size = readers.file_sha256(file.path)
    if sha256 != context.hashes[file.uri]:
        raise readers.UnreadableFile(
            f"changed while it was read (sha256 {context.hashes[file.uri][:12]} → {sha256[:12]}). Let the export finish, then run again."
        )
    return batch, size


def _file_problem(file: SourceFile, error: Exception) -> str:
    text = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
    text = text.replace(str(file.path), file.uri)
    return text if text.startswith(file.uri) else f"{file.uri}: {text}"


def _batch_row(file: SourceFile, source: Any, sha256: str, size: int, batch: ingest.Batch) -> tuple[Any, ...]:
    generator = source.generator.model_dump_json() if source.generator is not None else None
    rights = source.rights
    return (
        file.day, file.source, source.kind, file.uri, sha256, size, batch.rows_read, batch.records.height,
        batch.rejects.height, file.day, rights.license, rights.holder, rights.basis, list(rights.uses), generator,
    )  # fmt: skip


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


# --- the steps that read records --------------------------------------------------------


def _input(context: Context, step: Step, days: Days) -> pl.DataFrame:
    REPORTER.get().phase(step, "reading records")
    return frames.records_after(context.warehouse, DAILY_STEPS[DAILY_STEPS.index(step) - 1], days)


def _carried(table: pl.DataFrame, records: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """record_id, day, content_sha of the kept rows, and the step's own columns that later steps read."""
    kept = table.filter("kept").select("record_id", "day", *columns)
    return kept.join(records.select("record_id", "content_sha"), on="record_id", how="left")


def _rows_in(context: Context, step: Step, days: Days) -> dict[dt.date, int]:
    """Counted in the warehouse, not from the frame the step worked on."""
    return frames.kept_counts(context.warehouse, DAILY_STEPS[DAILY_STEPS.index(step) - 1], days)


def _simple(
    context: Context, step: Step, days: Days, records: pl.DataFrame, table: pl.DataFrame,
    carried: pl.DataFrame, extras: dict[str, pl.DataFrame], notes: tuple[str, ...] = (),
) -> Work:  # fmt: skip
    def audit(staged: pl.DataFrame, _: dict[str, pl.DataFrame]) -> Audit:
        return Audit(step, days, staged, _rows_in(context, step, days), records, extras)

    return Work({step: table}, carried, audit, notes)


def _dedup(context: Context, days: Days) -> Work:
    params = cast(DedupParams, context.params[Step.DEDUP])
    records = _input(context, Step.DEDUP, days)
    REPORTER.get().phase(Step.DEDUP, "fingerprints")
    fingerprints = dedup.fingerprint(records, params, context.memo(Step.DEDUP))
    history = frames.dedup_history(context.warehouse, min(days))
    REPORTER.get().phase(Step.DEDUP, "candidates")
    found = dedup.candidates(fingerprints, history, params)
    twins = frames.messages_of(context.warehouse, found.pairs["other_id"].unique().to_list(), clean=False)
    REPORTER.get().phase(Step.DEDUP, "verifying")
    table = dedup.dedup(records, fingerprints, history, found.pairs, twins, params)
    notes = (
        (
            f"{found.capped_buckets} buckets are filled by a shared template: up to {found.left_out} comparisons were left out",
        )
        if found.capped_buckets
        else ()
    )
    return _simple(
        context, Step.DEDUP, days, records, table, _carried(table, records), {"history": history}, notes
    )


def _filter(context: Context, days: Days) -> Work:
    params = cast(FilterParams, context.params[Step.FILTER])
    records = _input(context, Step.FILTER, days)
    REPORTER.get().phase(Step.FILTER, "measuring")
    table = filter_records(records, params, context.memo(Step.FILTER))
    examples = examples_dropped(params)
    return _simple(
        context, Step.FILTER, days, records, table, _carried(table, records), {"examples": examples}
    )


def _normalize(context: Context, days: Days) -> Work:
    params = cast(NormalizeParams, context.params[Step.NORMALIZE])
    records = _input(context, Step.NORMALIZE, days)
    REPORTER.get().phase(Step.NORMALIZE, "cleaning, languages, personal data")
    table = normalize(records, params, context.memo(Step.NORMALIZE))
    wanted = params.pii.entities if params.pii.action == "replace" else ()
    entities = pl.DataFrame({"entity": list(wanted)}, schema={"entity": pl.String})
    carried = table.filter("kept").select("record_id", "day", "clean_sha")
    return _simple(context, Step.NORMALIZE, days, records, table, carried, {"entities": entities})


def _decontaminate(context: Context, days: Days) -> Work:
    params = cast(DecontaminateParams, context.params[Step.DECONTAMINATE])
    records = _input(context, Step.DECONTAMINATE, days)
    protected = context.warehouse.table(PROTECTED)
    REPORTER.get().phase(Step.DECONTAMINATE, "searching for protected items")
    table = decontaminate(records, protected, params)
    extras = {"protected": protected, "ngram": pl.DataFrame({"ngram": [params.ngram]})}
    return _simple(context, Step.DECONTAMINATE, days, records, table, _carried(table, records), extras)


def _label(context: Context, days: Days) -> Work:
    params = cast(LabelParams, context.params[Step.LABEL])
    records = _input(context, Step.LABEL, days)
    history = frames.label_history(context.warehouse, min(days))
    known = None
    if params.answers_are_labels:
        known = contested(frames.dedup_answers(context.warehouse, max(days)))
    table = label_records(records, history, params, _known_by_day(known))
    labels = pl.DataFrame({"label": list(params.labels)}, schema={"label": pl.String})
    carried = _carried(table, records, "label", "prompt_key", "answer_key")
    return _simple(context, Step.LABEL, days, records, table, carried, {"labels": labels, "history": history})


def _known_by_day(known: pl.DataFrame | None) -> pl.Series | None:
    """Contested records as their own day sees them: what a later day adds is measured at the release."""
    return None if known is None else known.filter(pl.col("since") <= pl.col("day"))["record_id"]


def _split(context: Context, days: Days) -> Work:
    params = cast(SplitParams, context.params[Step.SPLIT])
    records = _input(context, Step.SPLIT, days)
    REPORTER.get().phase(Step.SPLIT, "fingerprints")
    fingerprints = split.fingerprint(records, params, context.memo(Step.SPLIT))
    history = frames.split_history(context.warehouse, min(days))
    if not params.answers_are_labels:
        history = history.with_columns(answer_key=pl.lit(""))
    pairs = split.candidates(fingerprints, history, params)
    twins = frames.messages_of(context.warehouse, pairs["other_id"].unique().to_list(), clean=True)
    REPORTER.get().phase(Step.SPLIT, "verifying")
    table = split.split_records(records, fingerprints, history, pairs, twins, params)
    ratios = pl.DataFrame(
        {"split": [s.value for s in Split], "ratio": [params.ratios.of(s) for s in Split]},
        schema={"split": pl.String, "ratio": pl.Float64},
    )

    def audit(staged: pl.DataFrame, _: dict[str, pl.DataFrame]) -> Audit:
        pairs = split_suite.crossing_candidates(staged, history)
        named = pairs["record_id"].append(pairs["other_id"]).unique().to_list()
        messages = frames.messages_of(context.warehouse, named, clean=True)
        extras = {
            "history": history,
            "texts": _compared(messages, params.answers_are_labels),
            "ratios": ratios,
            "ngram": pl.DataFrame({"ngram": [params.ngram]}),
            "threshold": pl.DataFrame({"threshold": [params.near.threshold]}),
        }
        return Audit(Step.SPLIT, days, staged, _rows_in(context, Step.SPLIT, days), records, extras)

    carried = _carried(table, records.select("record_id", "content_sha", "label"), "split", "group_key")
    labelled = carried.join(records.select("record_id", "label"), on="record_id", how="left")
    return Work({Step.SPLIT: table}, labelled, audit)


def _compared(messages: pl.DataFrame, answers_are_labels: bool) -> pl.DataFrame:
    """record_id and the text that split compares, built here for the gate from the messages alone."""
    sided = with_sides(messages)
    parts = (
        pl.col("prompt")
        if answers_are_labels
        else pl.concat_str("prompt", "answer", separator="\n\n", ignore_nulls=True)
    )
    return sided.select("record_id", parts.fill_null("").alias("text"))


def _listed(days: list[dt.date]) -> str:
    shown = ", ".join(day.isoformat() for day in days[:10])
    return shown + (f" and {len(days) - 10} more days" if len(days) > 10 else "")


_WORK: dict[Step, Callable[[Context, Days], Work]] = {
    Step.INGEST: _ingest,
    Step.DEDUP: _dedup,
    Step.FILTER: _filter,
    Step.NORMALIZE: _normalize,
    Step.DECONTAMINATE: _decontaminate,
    Step.LABEL: _label,
    Step.SPLIT: _split,
}
