"""The report: what waits for a person, written beside the spec as `review_queue.csv`.

Lives here: which records wait, their texts with personal data replaced, the file. Keep out: what a row of it looks
like (`transforms.queue`), taking the answers in (`reviewing`).
"""

from __future__ import annotations

import time
from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.expectations.gate import adjusted, judge
from dataset_pipeline.expectations.text_audit import left_entities
from dataset_pipeline.expectations.undated import REPORT_SUITE, report_frames
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, RELEASE, REPORT, REVIEWS, Step
from dataset_pipeline.spec.params import LabelParams, NormalizeParams, ReportParams
from dataset_pipeline.storage import files, frames, readers
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import Day, NewPublication
from dataset_pipeline.transforms import queue, selection
from dataset_pipeline.transforms.normalize import normalize


def waiting(context: Context) -> pl.DataFrame:
    """frames.WAITING of everything that waits for a person now: set aside by a step, or withheld by the release."""
    set_aside = frames.waiting(context.warehouse)
    params = cast(LabelParams, context.params[Step.LABEL])
    if not (params.answers_are_labels or params.has_pairs):
        return set_aside
    known = frames.labelled(context.warehouse)
    held = selection.select(
        known, context.warehouse.table(Step.LABEL), params.answers_are_labels,
        context.warehouse.table(Step.DEDUP), params.has_pairs,
    ).withheld  # fmt: skip
    withheld = held.join(known, on="record_id").with_columns(step=pl.lit(RELEASE))
    return pl.concat([set_aside, withheld.select(*frames.WAITING)])


def counts(waiting: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Step to reason to the number of records in `waiting`."""
    found: dict[str, dict[str, int]] = {}
    for step, reason, n in waiting.group_by("step", "reason").len().sort("step", "reason").iter_rows():
        found.setdefault(step, {})[reason] = n
    return found


def report_recipe(context: Context, latest: recipes.Latest) -> recipes.Recipe:
    """What the queue would be made of now: the verdicts of all steps that set records aside, and the erasures."""
    reads = {
        f"{step} {day}": p.content
        for (step, day), p in sorted(latest.items(), key=str)
        if step in (*DAILY_STEPS, REVIEWS)
    }
    return recipes.recipe(REPORT, context.params[REPORT].hash(), reads)


def is_reported(context: Context, latest: recipes.Latest) -> bool:
    """Whether the queue that lies there was made of what is published now."""
    published = latest.get((REPORT, None))
    now = report_recipe(context, latest)
    return published is not None and published.recipe == now.hash and published.content == _content(context)


def _content(context: Context) -> str:
    path = context.project.queue_path
    return readers.file_sha256(path)[0] if path.is_file() else "nothing waits"


def run_report(context: Context, run_id: str) -> Outcome:
    """Write the queue anew. Raises GateClosed where it would hold personal data, or lack a waiting record."""
    started = time.monotonic()
    hold_run_lock(context.warehouse.path)
    params = cast(ReportParams, context.params[REPORT])
    latest = context.warehouse.latest()
    if is_reported(context, latest):
        seconds = time.monotonic() - started
        REPORTER.get().step_finished(REPORT, seconds, 0, 0, "up to date")
        rows_waiting = latest[(REPORT, None)].row_count
        same: dict[Day, DayCounts] = {None: DayCounts(rows_waiting, 0, {})}
        return Outcome(REPORT, (None,), (), same, (), seconds, ("up to date: the same queue lies there",))
    now = report_recipe(context, latest)
    with context.warehouse.reading():
        listed = waiting(context)
        sides = selection.contradicting(context.warehouse.table(Step.LABEL))
    rows = queue.queue(_with_texts(context, listed, params), sides)
    judgements = judge(adjusted(REPORT_SUITE, params.gates), *report_frames(rows, listed.height))
    checks = check_rows(REPORT, judgements)
    if any(j.blocks for j in judgements):
        context.warehouse.record_checks(checks, [None], run_id)
        raise GateClosed(REPORT, ["all"], judgements)  # type: ignore[list-item]
    path = context.project.queue_path
    if rows.height:
        files.replace_file(path, queue.to_csv(rows))
    else:
        path.unlink(missing_ok=True)
    content = _content(context)
    new = NewPublication(
        None, now.hash, content, content, now.params_hash, now.inputs, rows.height, rows.height
    )
    context.warehouse.record_release(new, checks, run_id, REPORT)
    seconds = time.monotonic() - started
    note = f"{rows.height} records wait in {path.name}" if rows.height else "nothing waits for a review"
    REPORTER.get().step_finished(REPORT, seconds, 0, 0, note)
    reasons = {f"{step} {reason}": n for step, by in counts(listed).items() for reason, n in by.items()}
    counted: dict[Day, DayCounts] = {None: DayCounts(rows.height, 0, reasons)}
    published: dict[Day, str] = {None: now.hash}
    return Outcome(REPORT, (None,), (None,), counted, tuple(judgements), seconds, (note,), published)


NOT_SHOWN = "(not shown: personal data may be left in it)"


def _shown(turns: pl.Expr) -> pl.Expr:
    """Turns in which what the scrubber may have missed is not shown at all: a queue goes from hand to hand."""

    def safe(text: str) -> str:
        return NOT_SHOWN if left_entities(text) else text

    content = pl.element().struct.field("content").map_elements(safe, return_dtype=pl.String)
    return turns.list.eval(pl.struct(pl.element().struct.field("role"), content.alias("content")))


_TEXTS = ("record_id", "day", "messages", "prompt_turns", "rejected", "person_names", "content_sha")


def _with_texts(context: Context, rows: pl.DataFrame, params: ReportParams) -> pl.DataFrame:
    """`rows` with messages, prompt_turns and rejected as collected, cleaned, personal data replaced."""
    collected = frames.collected(context.warehouse, rows["record_id"].unique().to_list())
    cleaning = NormalizeParams(answers_are_labels=params.answers_are_labels, languages=(), pii=params.pii)
    clean = normalize(collected.select(_TEXTS), cleaning, context.memo(Step.NORMALIZE))
    texts = clean.select("record_id", "messages", "rejected").join(
        collected.select("record_id", "prompt_turns", "label"), on="record_id"
    )
    texts = texts.with_columns(_shown(pl.col(name)) for name in ("messages", "rejected"))
    return rows.join(texts, on="record_id", how="left", maintain_order="left")
