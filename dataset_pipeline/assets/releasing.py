"""The release: everything published so far as an immutable folder, judged before it becomes visible.

Lives here: `run_release`, its recipe and its gate. Keep out: numbers (`release_facts`), shapes of rows
(`transforms.release`), files (`storage.releases`), the words of the card (`transforms.card`).
"""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from typing import cast

import polars as pl

import dataset_pipeline
from dataset_pipeline.assets import preflighting, recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.differences import attempt_of, settings_of
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.assets.ledger import content_of_day
from dataset_pipeline.assets.plan import Status, missing_days, stale_days
from dataset_pipeline.assets.redacting import FOUND_BY, found_by, redacted
from dataset_pipeline.assets.release_content import content_of
from dataset_pipeline.assets.release_facts import (
    Content,
    card_facts,
    croissant_facts,
    granted,
    loaded_back,
    manifest_of,
    told_by_manifest,
)
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.errors import BadDay, StalePublish
from dataset_pipeline.expectations.gate import Judgement, adjusted, judge
from dataset_pipeline.expectations.ingest import pair_fault, role_fault
from dataset_pipeline.expectations.release import RELEASE_SUITE
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import EXTRA_TABLES, RELEASE, REPORT, Split, Step, empty, sha256_text
from dataset_pipeline.spec.params import ReleaseParams, SplitParams
from dataset_pipeline.storage import releases, tokenizers
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import Day, NewPublication
from dataset_pipeline.transforms import formats, rights
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms import tokens as lengths
from dataset_pipeline.transforms.card.attribution import attribution
from dataset_pipeline.transforms.card.facts import CardFacts
from dataset_pipeline.transforms.card.whole import card
from dataset_pipeline.transforms.croissant import CROISSANT, croissant
from dataset_pipeline.transforms.formats import DataFiles
from dataset_pipeline.transforms.sealing import seal_of
from dataset_pipeline.transforms.selection import withheld_counts
from dataset_pipeline.transforms.trainers import DATASET_INFO, dataset_info


def release_recipe(context: Context, latest: recipes.Latest, status: Status) -> recipes.Recipe:
    """What a release would be made of now: every published day of every step, and what is missing.

    Days of which nothing came are left out: a night without a file makes no new release.
    """
    quiet = {day for (step, day), p in latest.items() if step == Step.INGEST and p.content == _NOTHING_CAME}
    reads = {
        f"{step} {day}": p.content
        for (step, day), p in sorted(latest.items(), key=str)
        if step not in (RELEASE, REPORT) and (day is None or day not in quiet)
    }
    # The card shows every threshold and gate, also one that changed no row, and the manifest holds the spec.
    reads["spec"] = sha256_text(json.dumps(context.project.spec.as_released()))
    reads[FOUND_BY] = found_by()
    reads["package"] = dataset_pipeline.__version__
    params = cast(ReleaseParams, context.params[RELEASE])
    if params.compression == "gzip":
        reads["zlib"] = zlib.ZLIB_RUNTIME_VERSION
    training = params.training
    if training.tokenizer is not None:
        reads["tokenizer"] = tokenizers.fingerprint(context.project.root, training)
        reads["tokenizer libraries"] = json.dumps(tokenizers.libraries(training), sort_keys=True)
    reads["missing days"] = ",".join(map(str, missing_days(status)))
    reads["stale days"] = ",".join(map(str, stale_days(status)))
    return recipes.recipe(RELEASE, context.params[RELEASE].hash(), reads)


_NOTHING_CAME = content_of_day({name: empty(name) for name in (Step.INGEST, *EXTRA_TABLES[Step.INGEST])})
"""The content of a day of ingest without a file: no record, no reject, no batch."""


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
    content = redacted(context, content_of(context, days, sorted(wanted), Undated(context, latest).erased))
    writer = releases.Writer(context.project.releases_path)
    try:
        REPORTER.get().phase(RELEASE, "writing files")
        data_files = _data_files(writer, content, params)
        counted = lengths.counted_by(params.training, params.chars_per_token)
        token_facts = lengths.facts(content.tokens, content.released, params.training, counted)
        facts = card_facts(context, content, params, status, days, data_files, token_facts)
        told = told_by_manifest(context, content, params, status, facts)
        _write(writer, content, params, dataclasses.replace(facts, seal=seal_of(told)))
        loaded = preflighting.run(writer.folder, data_files, content.released, params)
        REPORTER.get().phase(RELEASE, "gate")
        judgements = _judge(writer, content, params, context, loaded)
        checks = check_rows(RELEASE, judgements)
        if any(j.blocks for j in judgements):
            context.warehouse.record_checks(
                checks, [None], run_id, attempts={None: attempt_of(RELEASE, None, now)}
            )
            kept = writer.refuse()
            note = (
                f"What was written lies in {kept.parent.name}/{kept.name} until the next try; its provenance.parquet "
                "names every record with what was measured."
            )
            raise GateClosed(RELEASE, ["all"], judgements, note)  # type: ignore[list-item]
        manifest = manifest_of(writer, told, run_id, now, loaded_back(loaded, data_files))
        _refuse_if_moved(context, latest)
        folder = writer.finish(manifest)
    except BaseException:
        writer.abandon()
        raise
    new = NewPublication(
        None, now.hash, folder.name, folder.name, now.params_hash, now.inputs, content.released.height + content.selection.withheld.height,
        content.released.height,
    )  # fmt: skip
    context.warehouse.record_release(
        new, checks, run_id, settings=settings_of(context, RELEASE), seconds=time.monotonic() - started
    )
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


def _data_files(writer: releases.Writer, content: Content, params: ReleaseParams) -> DataFiles:
    """Write every format and split; format to split to paths. A split without records has no file."""
    limit = params.max_shard_mb * 1_000_000
    found: dict[str, dict[str, list[str]]] = {}
    for name in params.formats:
        for split in Split:
            if name == "parquet":
                rows = formats.parquet_rows(content.released, split, params.task)
                paths = writer.parquet_shards(name, split, rows, limit)
            else:
                lines = formats.jsonl_lines(content.released, split, name, params.task)
                paths = writer.jsonl(name, split, lines, params.compression, limit)
            if paths:
                found.setdefault(name, {})[split.value] = paths
    return found


def _write(writer: releases.Writer, content: Content, params: ReleaseParams, facts: CardFacts) -> None:
    """Everything beside the data files but the manifest; croissant.json last, as it names all others."""
    tables = {
        "provenance": shapes.provenance(content.released, content.tables, content.batches, content.tokens),
        "dropped": shapes.dropped(content.tables, pl.concat([content.selection.withheld, content.not_made])),
        "rejects": content.rejects,
    }
    for name, frame in tables.items():
        writer.parquet(f"{name}.parquet", frame)
    words = {
        DATASET_INFO: dataset_info(facts.data_files, params.task),
        "ATTRIBUTION.md": attribution(facts),
        "README.md": card(facts),
    }
    for name, text in words.items():
        if text is not None:
            writer.text(name, text)
    schemas = {name: dict(frame.schema) for name, frame in tables.items()}
    if "parquet" in facts.data_files:
        data = formats.parquet_rows(content.released.clear(), Split.TRAIN, params.task)
        schemas["parquet"] = dict(data.schema)
    files = {f.path: (f.sha256, f.bytes) for f in writer.files.values()}
    writer.text(CROISSANT, croissant(croissant_facts(facts, schemas, files)))


def _judge(
    writer: releases.Writer,
    content: Content,
    params: ReleaseParams,
    context: Context,
    loaded: preflighting.Preflight,
) -> list[Judgement]:
    """Judge the written files, read back, against the tables."""
    released, withheld = content.released, content.selection.withheld
    kept = content.tables[Step.SPLIT].filter("kept").height
    provenance, dropped = (
        pl.read_parquet(writer.folder / f"{name}.parquet", columns=["record_id"], glob=False)
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
    grants = granted(content)
    lacking, blamed = rights.uses_missing(grants, params.uses)
    laxer, laxer_blamed = rights.license_laxer(grants, params.license, params.uses)
    gauges = pl.DataFrame(
        {
            "day": ["all"], "n": [released.height], "records_lost": [kept - released.height - withheld.height],
            "records_unaccounted": [unaccounted], "file_row_differences": [differences],
            "role_faults": [faulty.height], "empty_splits": [len(empty)], "empty_splits_culprit": [", ".join(empty) or None],
            "uses_missing": [lacking], "uses_missing_culprit": [blamed],
            "license_laxer": [laxer], "license_laxer_culprit": [laxer_blamed],
        },
        schema_overrides=dict.fromkeys(
            ("empty_splits_culprit", "uses_missing_culprit", "license_laxer_culprit"), pl.String
        ),
    )  # fmt: skip
    trained = preflighting.gauges(loaded, content.tokens, released, params)
    gauges = pl.concat([gauges, trained], how="horizontal")
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
