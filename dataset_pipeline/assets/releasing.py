"""The release: everything published so far as an immutable folder, judged before it becomes visible.

Lives here: `run_release`, its recipe and its gate. Keep out: numbers (`release_facts`), shapes of rows
(`transforms.release`), files (`storage.releases`), the words of the card (`transforms.card`).
"""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.assets.plan import Status, missing_days, stale_days
from dataset_pipeline.assets.release_facts import Content, card_facts, manifest_of
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.errors import BadDay, StalePublish
from dataset_pipeline.expectations.gate import Judgement, adjusted, judge
from dataset_pipeline.expectations.ingest import pair_fault, role_fault
from dataset_pipeline.expectations.release import RELEASE_SUITE
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, RELEASE, REPORT, Split, Step, sha256_text
from dataset_pipeline.spec.params import (
    ReleaseParams,
    SplitParams,
)
from dataset_pipeline.storage import frames, releases
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import Day, NewPublication
from dataset_pipeline.text import SIDED
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.card import card
from dataset_pipeline.transforms.selection import Selection, erased_rows, select, withheld_counts


def release_recipe(context: Context, latest: recipes.Latest, status: Status) -> recipes.Recipe:
    """What a release would be made of now: every published day of every step, and what is missing."""
    reads = {
        f"{step} {day}": p.content
        for (step, day), p in sorted(latest.items(), key=str)
        if step not in (RELEASE, REPORT)
    }
    # The card shows every threshold, also one that changed no row.
    reads["settings"] = sha256_text(*(context.params[step].hash() for step in DAILY_STEPS))
    reads["missing days"] = ",".join(map(str, missing_days(status)))
    reads["stale days"] = ",".join(map(str, stale_days(status)))
    return recipes.recipe(RELEASE, context.params[RELEASE].hash(), reads)


def is_released(context: Context, latest: recipes.Latest, now: recipes.Recipe) -> bool:
    """Whether the newest release has this recipe and `latest` still points at its folder."""
    published = latest.get((RELEASE, None))
    if published is None or published.recipe != now.hash:
        return False
    return releases.latest_version(context.project.releases_path) == published.content


def run_release(context: Context, status: Status, run_id: str) -> Outcome:
    """Write a release of all published days. A no-op where the newest one has the same recipe.

    Raises GateClosed (nothing is written, `latest` stays), BadDay where nothing is published yet.
    """
    started = time.monotonic()
    hold_run_lock(context.warehouse.path)
    params = cast(ReleaseParams, context.params[RELEASE])
    latest = context.warehouse.latest()
    now = release_recipe(context, latest, status)
    if is_released(context, latest, now):
        version = latest[(RELEASE, None)].content
        REPORTER.get().step_finished(RELEASE, time.monotonic() - started, 0, 0, "up to date")
        return Outcome(
            RELEASE, (None,), (), {}, (), time.monotonic() - started, (f"up to date: release {version}",)
        )
    # Days before the spec's start are none of the calendar, though rows of them are still there.
    wanted = set(status.days)
    days = sorted(day for (step, day) in latest if step == Step.SPLIT and day in wanted and day is not None)
    if not days:
        raise BadDay(RELEASE, {"all": ["no day has been published through split yet: run the whole graph"]})
    REPORTER.get().step_started(RELEASE, len(days))
    content = _content(context, days, sorted(wanted), Undated(context, latest).erased)
    writer = releases.Writer(context.project.releases_path)
    try:
        REPORTER.get().phase(RELEASE, "writing files")
        _write(writer, content, params)
        judgements = _judge(writer, content, params, context)
        checks = check_rows(RELEASE, judgements)
        if any(j.blocks for j in judgements):
            context.warehouse.record_checks(checks, [None], run_id)
            raise GateClosed(RELEASE, ["all"], judgements)  # type: ignore[list-item]
        facts = card_facts(context, content, params, status, days)
        writer.text("README.md", card(facts))
        manifest = manifest_of(context, writer, content, params, status, run_id, now)
        _refuse_if_moved(context, latest)
        folder = writer.finish(manifest)
    except BaseException:
        writer.abandon()
        raise
    new = NewPublication(
        None, now.hash, folder.name, folder.name, now.params_hash, now.inputs, content.released.height + content.selection.withheld.height,
        content.released.height,
    )  # fmt: skip
    context.warehouse.record_release(new, checks, run_id)
    seconds = time.monotonic() - started
    held = content.selection.withheld.height
    REPORTER.get().step_finished(
        RELEASE, seconds, content.released.height + held, content.released.height, folder.name
    )
    counts: dict[Day, DayCounts] = {
        None: DayCounts(
            content.released.height + held, content.released.height, withheld_counts(content.selection)
        )
    }
    return Outcome(
        RELEASE, (None,), (None,), counts, tuple(judgements), seconds, (folder.name,), {None: now.hash}
    )


def _content(context: Context, days: list[dt.date], calendar: list[dt.date], erased: pl.DataFrame) -> Content:
    """erased: record_id and place of records that are to be erased; their day may not have been made again yet."""
    REPORTER.get().phase(RELEASE, "reading tables")
    warehouse = context.warehouse
    with warehouse.reading():
        tables = {str(step): warehouse.table(step, calendar) for step in DAILY_STEPS}
        kept = frames.records_after(warehouse, Step.SPLIT, days)
        batches, rejects = (warehouse.table(name, calendar) for name in ("batches", "rejects"))
        protected = warehouse.table(PROTECTED)
    tables, not_made = _followed(tables)
    splits = tables[Step.SPLIT].filter("kept").select("record_id", "split")
    records = kept.select("record_id", "day", "source", *SIDED, "label").join(
        splits, on="record_id", how="inner"
    )
    params = cast(ReleaseParams, context.params[RELEASE])
    gone = records.join(erased, on="record_id", how="semi")
    records = records.join(gone, on="record_id", how="anti")
    selection = select(
        records, tables[Step.LABEL], params.task.answers_are_labels, tables[Step.DEDUP],
        has_pairs=params.task.type == "preference",
    )  # fmt: skip
    selection = Selection(selection.released, pl.concat([selection.withheld, erased_rows(gone, erased)]))
    return Content(
        tables, batches, rejects, protected, selection,
        shapes.with_row_numbers(selection.released), not_made,
    )  # fmt: skip


def _followed(tables: dict[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """The rows of records that reached their step as it is published now, and the records that got no verdict.

    They differ from the tables only where the gate of a step was closed after the steps before it
    had published anew: rows of records that are not collected any more, or were dropped since, are left out.
    """
    reached = tables[Step.INGEST].select("record_id")
    followed, waiting = {}, []
    for step in DAILY_STEPS:
        followed[str(step)] = tables[step].join(reached, on="record_id", how="semi", maintain_order="left")
        unjudged = reached.join(tables[step], on="record_id", how="anti")
        detail = json.dumps({"rule": "not_made", "step": str(step)}, separators=(",", ":"))
        waiting.append(
            unjudged.select("record_id", pl.lit("not_made").alias("reason"), pl.lit(detail).alias("detail"))
        )
        reached = followed[str(step)].filter("kept").select("record_id")
    return followed, pl.concat(waiting).sort("record_id")


def _write(writer: releases.Writer, content: Content, params: ReleaseParams) -> None:
    for name in params.formats:
        for split in Split:
            if name == "parquet":
                writer.parquet(
                    f"parquet/{split}.parquet", shapes.parquet_rows(content.released, split, params.task)
                )
            else:
                writer.lines(
                    f"{name}/{split}.jsonl", shapes.jsonl_rows(content.released, split, name, params.task)
                )
    writer.parquet("provenance.parquet", shapes.provenance(content.released, content.tables, content.batches))
    writer.parquet(
        "dropped.parquet",
        shapes.dropped(content.tables, pl.concat([content.selection.withheld, content.not_made])),
    )
    writer.parquet("rejects.parquet", content.rejects)


def _judge(
    writer: releases.Writer, content: Content, params: ReleaseParams, context: Context
) -> list[Judgement]:
    """Judge the written files, read back, against the tables."""
    released, withheld = content.released, content.selection.withheld
    kept = content.tables[Step.SPLIT].filter("kept").height
    provenance, dropped = (
        pl.read_parquet(writer.folder / f"{name}.parquet", columns=["record_id"])
        for name in ("provenance", "dropped")
    )
    collected = content.tables[Step.INGEST].select("record_id")
    accounted = pl.concat([provenance, dropped])
    lost = collected.join(accounted, on="record_id", how="anti").height
    known = accounted.join(collected, on="record_id", how="semi").unique().height
    unaccounted = lost + accounted.height - known  # never collected, or listed twice
    differences = sum(
        1
        for file in writer.files.values()
        if file.rows is not None and releases.count_rows(writer.folder / file.path) != file.rows
    )
    ratios = cast(SplitParams, context.params[Step.SPLIT]).ratios
    empty = [
        s.value for s in Split if ratios.of(s) > 0 and not released.filter(pl.col("split") == s.value).height
    ]
    faulty = released.filter(
        role_fault() | pair_fault() | (pl.col("messages").list.last().struct.field("role") != "assistant")
    )
    gauges = pl.DataFrame(
        {
            "day": ["all"], "n": [released.height], "records_lost": [kept - released.height - withheld.height],
            "records_unaccounted": [unaccounted], "file_row_differences": [differences],
            "role_faults": [faulty.height], "empty_splits": [len(empty)], "empty_splits_culprit": [", ".join(empty) or None],
        },
        schema_overrides={"empty_splits_culprit": pl.String},
    )  # fmt: skip
    rows = provenance.with_columns(day=pl.lit("all"))
    return judge(adjusted(RELEASE_SUITE, params.gates), rows, gauges)


def _refuse_if_moved(context: Context, read: recipes.Latest) -> None:
    """The release is made of what was read; a publication since then makes it wrong before it is seen."""
    newest = context.warehouse.latest()
    moved = [
        step
        for (step, day), p in newest.items()
        if step not in (RELEASE, REPORT)
        and (before := read.get((step, day))) != p
        and (before is None or before.seq != p.seq)
    ]
    if moved:
        raise StalePublish(
            f"release: {moved[0]} was published again while the release was written; run again."
        )
