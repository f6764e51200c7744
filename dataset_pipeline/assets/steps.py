"""What each daily step reads, computes and shows its gate: the glue between warehouse and transforms.

Lives here: one `Work` per step, made of storage reads, one pure transform and an `Audit`. Keep
out: claims, staging, publishing and Dagster (`engine`, `graph`); anything that decides about a
record (`transforms`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import cast

import polars as pl

from dataset_pipeline.assets.context import Context, Days, Stage, Work
from dataset_pipeline.assets.intake import ingest_work
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.errors import StalePublish
from dataset_pipeline.expectations import split as split_suite
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, Split, Step
from dataset_pipeline.spec.params import (
    DecontaminateParams,
    DedupParams,
    FilterParams,
    LabelParams,
    NormalizeParams,
    SplitParams,
)
from dataset_pipeline.storage import frames, split_lock
from dataset_pipeline.text import rejected_side, with_sides
from dataset_pipeline.transforms import assignment, dedup, split
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.filter import examples_dropped, filter_records
from dataset_pipeline.transforms.label import label_records
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.reviews import apply_reviews
from dataset_pipeline.transforms.selection import contested


def work(context: Context, undated: Undated, step: Step, days: Days, stage: Stage) -> Work:
    """Compute `step` for `days` from what is published. Raises BadDay for days without a usable input.

    stage: for rows that are too many to be held at once.
    """
    if step is Step.INGEST:
        return ingest_work(context, days, stage)
    return _WORK[step](context, undated, days)


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


def _reviewed(table: pl.DataFrame, undated: Undated, step: Step, days: Days) -> pl.DataFrame:
    """The step's table with what people said about its records."""
    named = undated.named(step, days)
    return table if named is None else apply_reviews(table, step, named)


def _dedup(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(DedupParams, context.params[Step.DEDUP])
    records = _input(context, Step.DEDUP, days)
    REPORTER.get().phase(Step.DEDUP, "fingerprints")
    fingerprints = dedup.fingerprint(
        records,
        params,
        context.memo(Step.DEDUP),
        undated.consensus(days) if params.answers_are_labels else None,
    )
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
        context,
        Step.DEDUP,
        days,
        records,
        table,
        _carried(table, records, "answer_key"),
        {"history": history},
        notes,
    )


def _filter(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(FilterParams, context.params[Step.FILTER])
    records = _input(context, Step.FILTER, days)
    REPORTER.get().phase(Step.FILTER, "measuring")
    table = filter_records(records, params, context.memo(Step.FILTER))
    table = _reviewed(table, undated, Step.FILTER, days)
    examples = examples_dropped(params)
    return _simple(
        context, Step.FILTER, days, records, table, _carried(table, records), {"examples": examples}
    )


def _normalize(context: Context, _: Undated, days: Days) -> Work:
    params = cast(NormalizeParams, context.params[Step.NORMALIZE])
    records = _input(context, Step.NORMALIZE, days)
    REPORTER.get().phase(Step.NORMALIZE, "cleaning, languages, personal data")
    table = normalize(records, params, context.memo(Step.NORMALIZE))
    wanted = params.pii.entities if params.pii.action == "replace" else ()
    entities = pl.DataFrame({"entity": list(wanted)}, schema={"entity": pl.String})
    carried = table.filter("kept").select("record_id", "day", "clean_sha")
    return _simple(context, Step.NORMALIZE, days, records, table, carried, {"entities": entities})


def _decontaminate(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(DecontaminateParams, context.params[Step.DECONTAMINATE])
    records = _input(context, Step.DECONTAMINATE, days)
    protected = context.warehouse.table(PROTECTED)
    REPORTER.get().phase(Step.DECONTAMINATE, "searching for protected items")
    table = decontaminate(records, protected, params)
    table = _reviewed(table, undated, Step.DECONTAMINATE, days)
    extras = {"protected": protected, "ngram": pl.DataFrame({"ngram": [params.ngram]})}
    return _simple(context, Step.DECONTAMINATE, days, records, table, _carried(table, records), extras)


def _label(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(LabelParams, context.params[Step.LABEL])
    records = _input(context, Step.LABEL, days)
    history = frames.label_history(context.warehouse, min(days))
    known = None
    if params.answers_are_labels or params.has_pairs:
        known = contested(frames.dedup_answers(context.warehouse, max(days)))
    table = label_records(
        records,
        history,
        params,
        _known_by_day(known),
        undated.consensus(days),
        undated.named(Step.LABEL, days),
    )
    labels = pl.DataFrame({"label": list(params.labels)}, schema={"label": pl.String})
    carried = _carried(table, records, "label", "prompt_key", "answer_key")
    return _simple(context, Step.LABEL, days, records, table, carried, {"labels": labels, "history": history})


def _known_by_day(known: pl.DataFrame | None) -> pl.Series | None:
    """Contested records as their own day sees them: what a later day adds is measured at the release."""
    return None if known is None else known.filter(pl.col("since") <= pl.col("day"))["record_id"]


def _split(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(SplitParams, context.params[Step.SPLIT])
    records = _input(context, Step.SPLIT, days)
    REPORTER.get().phase(Step.SPLIT, "fingerprints")
    records = records.with_columns(group_key=split.group_key(records))
    groups = records.select("day", "label", "group_key")
    splits, added = assignment.assigned(groups, params, undated.lock)
    fingerprints = split.fingerprint(records, params, context.memo(Step.SPLIT), splits)
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
    tested = frames.tested_groups(context.warehouse)
    given = [(s, *w) for s, w in (("validation", params.validation), ("test", params.test)) if w]
    windows = pl.DataFrame(
        given, schema={"split": pl.String, "first": pl.Date, "last": pl.Date}, orient="row"
    )

    def audit(staged: pl.DataFrame, _: dict[str, pl.DataFrame]) -> Audit:
        pairs = split_suite.crossing_candidates(staged, history)
        named = pairs["record_id"].append(pairs["other_id"]).unique().to_list()
        messages = frames.messages_of(context.warehouse, named, clean=True)
        extras = {
            "history": history,
            "texts": _compared(messages, params.answers_are_labels),
            "ratios": ratios,
            "lock": pl.concat([undated.lock, added]),
            "strategy": pl.DataFrame({"strategy": [params.strategy]}),
            "windows": windows,
            "tested": tested,
            "ngram": pl.DataFrame({"ngram": [params.ngram]}),
            "threshold": pl.DataFrame({"threshold": [params.near.threshold]}),
        }
        return Audit(Step.SPLIT, days, staged, _rows_in(context, Step.SPLIT, days), records, extras)

    carried = _carried(table, records.select("record_id", "content_sha", "label"), "split", "group_key")
    labelled = carried.join(records.select("record_id", "label"), on="record_id", how="left")

    held = undated.lock

    def commit() -> None:
        if not assignment.uses_lock(params):
            return
        if not split_lock.read(context.project.lock_path).equals(held):
            raise StalePublish(f"{split_lock.NAME} changed while split was computing; run again.")
        if added.height:
            split_lock.extend(context.project.lock_path, added)

    return Work({Step.SPLIT: table}, labelled, audit, commit=commit, lock=pl.concat([held, added]))


def _compared(messages: pl.DataFrame, answers_are_labels: bool) -> pl.DataFrame:
    """record_id and the text that split compares, built here for the gate from the messages alone."""
    sided = with_sides(messages).with_columns(rejected_side(messages))
    parts = (
        pl.col("prompt")
        if answers_are_labels
        else pl.concat_str("prompt", "answer", "rejected_side", separator="\n\n", ignore_nulls=True)
    )
    return sided.select("record_id", parts.fill_null("").alias("text"))


_WORK: dict[Step, Callable[[Context, Undated, Days], Work]] = {
    Step.DEDUP: _dedup,
    Step.FILTER: _filter,
    Step.NORMALIZE: _normalize,
    Step.DECONTAMINATE: _decontaminate,
    Step.LABEL: _label,
    Step.SPLIT: _split,
}
