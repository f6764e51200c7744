"""The release: everything published so far as an immutable folder, judged before it becomes visible.

Lives here: `run_release` and the numbers the card and the manifest show. Keep out: shapes of rows
(`transforms.release`), files (`storage.releases`), the card's words (`transforms.card`).
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

import dataset_pipeline
from dataset_pipeline import clock
from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.assets.plan import State, Status
from dataset_pipeline.assets.steps import Context
from dataset_pipeline.errors import BadDay, StalePublish
from dataset_pipeline.expectations.gate import Judgement, adjusted, judge
from dataset_pipeline.expectations.ingest import role_fault
from dataset_pipeline.expectations.undated import RELEASE_SUITE
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, RELEASE, Split, Step, sha256_text
from dataset_pipeline.spec.params import (
    DedupParams,
    FilterParams,
    NormalizeParams,
    ReleaseParams,
    SplitParams,
)
from dataset_pipeline.storage import frames, releases
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.warehouse import Day, NewPublication
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.card import CardFacts, SourceFacts, card


@dataclass(frozen=True)
class _Content:
    """All that one release is made of."""

    tables: dict[str, pl.DataFrame]
    batches: pl.DataFrame
    rejects: pl.DataFrame
    protected: pl.DataFrame
    selection: shapes.Selection
    released: pl.DataFrame
    not_made: pl.DataFrame
    """record_id, reason, detail of collected records that a step has not judged (its gate is closed)."""


def release_recipe(context: Context, latest: recipes.Latest, status: Status) -> recipes.Recipe:
    """What a release would be made of now: every published day of every step, and what is missing."""
    reads = {
        f"{step} {day}": p.content for (step, day), p in sorted(latest.items(), key=str) if step != RELEASE
    }
    # The card shows every threshold, also one that changed no row.
    reads["settings"] = sha256_text(*(context.params[step].hash() for step in DAILY_STEPS))
    reads["missing days"] = ",".join(map(str, missing_days(status)))
    reads["stale days"] = ",".join(map(str, stale_days(status)))
    return recipes.recipe(RELEASE, context.params[RELEASE].hash(), reads)


def missing_days(status: Status) -> list[dt.date]:
    """Days of the calendar of which nothing reaches the release."""
    return sorted({e.day for e in status.of(State.MISSING) if e.step == Step.SPLIT and e.day is not None})


def stale_days(status: Status) -> list[dt.date]:
    """Days that are released with rows of an older recipe."""
    gone = set(missing_days(status))
    return sorted({e.day for e in status.of(State.STALE, State.MISSING) if e.day is not None} - gone)


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
    days = sorted(day for (step, day) in latest if step == Step.SPLIT and day is not None)
    if not days:
        raise BadDay(RELEASE, {"all": ["no day has been published through split yet: run the whole graph"]})
    REPORTER.get().step_started(RELEASE, len(days))
    content = _content(context, days)
    writer = releases.Writer(context.project.releases_path)
    try:
        REPORTER.get().phase(RELEASE, "writing files")
        _write(writer, content, params)
        judgements = _judge(writer, content, params, context)
        checks = check_rows(RELEASE, judgements)
        if any(j.blocks for j in judgements):
            context.warehouse.record_checks(checks, run_id)
            raise GateClosed(RELEASE, ["all"], judgements)  # type: ignore[list-item]
        facts = _facts(context, content, params, status, days)
        writer.text("README.md", card(facts))
        manifest = _manifest(context, writer, content, params, status, run_id, now)
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
            content.released.height + held, content.released.height, {"contradiction": held} if held else {}
        )
    }
    return Outcome(
        RELEASE, (None,), (None,), counts, tuple(judgements), seconds, (folder.name,), {None: now.hash}
    )


def _content(context: Context, days: list[dt.date]) -> _Content:
    REPORTER.get().phase(RELEASE, "reading tables")
    warehouse = context.warehouse
    tables = {str(step): warehouse.table(step) for step in DAILY_STEPS}
    kept = frames.records_after(warehouse, Step.SPLIT, days)
    tables, not_made = _followed(tables)
    splits = tables[Step.SPLIT].filter("kept").select("record_id", "split")
    records = kept.select("record_id", "day", "source", "messages", "label").join(
        splits, on="record_id", how="inner"
    )
    params = cast(ReleaseParams, context.params[RELEASE])
    selection = shapes.select(records, tables[Step.LABEL], params.task.answers_are_labels)
    return _Content(
        tables, warehouse.table("batches"), warehouse.table("rejects"), warehouse.table(PROTECTED), selection,
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


def _write(writer: releases.Writer, content: _Content, params: ReleaseParams) -> None:
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
    writer: releases.Writer, content: _Content, params: ReleaseParams, context: Context
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
        role_fault() | (pl.col("messages").list.last().struct.field("role") != "assistant")
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
        if step != RELEASE
        and (before := read.get((step, day))) != p
        and (before is None or before.seq != p.seq)
    ]
    if moved:
        raise StalePublish(
            f"release: {moved[0]} was published again while the release was written; run again."
        )


# --- numbers ------------------------------------------------------------------------------


def funnel(
    tables: dict[str, pl.DataFrame], withheld: int, released: int
) -> list[tuple[str, int, int, dict[str, int]]]:
    """step, records in, kept, dropped by reason, for every step and the release."""
    rows = []
    for step in DAILY_STEPS:
        verdicts = tables[step].select("kept", "reason")
        counted = verdicts.filter(~pl.col("kept")).group_by("reason").len().sort("reason")
        rows.append((str(step), verdicts.height, verdicts.filter("kept").height, dict(counted.iter_rows())))
    rows.append((RELEASE, released + withheld, released, {"contradiction": withheld} if withheld else {}))
    return rows


def _facts(
    context: Context, content: _Content, params: ReleaseParams, status: Status, days: list[dt.date]
) -> CardFacts:
    released = content.released
    clean = content.tables[Step.NORMALIZE].join(released.select("record_id"), on="record_id", how="semi")
    normalize = cast(NormalizeParams, context.params[Step.NORMALIZE])
    sets = content.protected.group_by("eval_set").len().sort("eval_set")
    languages = (
        clean["prompt_language"]
        .drop_nulls()
        .value_counts()
        .sort("count", "prompt_language", descending=[True, False])
    )
    pii = (
        clean.select(pl.col("pii_counts").explode())
        .unnest("pii_counts")
        .drop_nulls()
        .group_by("name")
        .agg(pl.col("count").sum())
        .sort("name")
    )
    by_split = dict(released.group_by("split").len().iter_rows())
    withheld = content.selection.withheld.height
    return CardFacts(
        name=params.name,
        task=params.task,
        license=params.license,
        formats=params.formats,
        days=(str(days[0]), str(days[-1])),
        sources=_source_facts(content),
        splits={s.value: int(by_split.get(s.value, 0)) for s in Split},
        labels=_label_counts(released) if params.task.answers_are_labels else {},
        funnel=funnel(content.tables, withheld, released.height),
        rejected=content.rejects.height,
        languages={str(code): int(n) for code, n in languages.iter_rows()},
        pii={str(name): int(n) for name, n in pii.iter_rows()},
        pii_action=normalize.pii.action,
        eval_sets={str(name): int(n) for name, n in sets.iter_rows()},
        decisions=params.decisions,
        missing_days=[str(day) for day in missing_days(status)],
        stale_days=[str(day) for day in stale_days(status)],
        settings=_settings(context),
        versions={"dataset_pipeline": dataset_pipeline.__version__} | recipes.libraries(RELEASE),
    )


def _source_facts(content: _Content) -> list[SourceFacts]:
    collected = dict(content.tables[Step.INGEST].group_by("source").len().iter_rows())
    released = dict(content.released.group_by("source").len().iter_rows())
    facts = []
    for source, part in sorted(content.batches.partition_by("source", as_dict=True).items()):
        name = str(source[0])
        last = part.sort("day", "uri").row(-1, named=True)
        generator = json.loads(last["generator"]) if last["generator"] else None
        words = (
            f"{generator['model']} of {generator['provider']} (terms reviewed {generator['terms_reviewed']})"
            if generator
            else None
        )
        facts.append(
            SourceFacts(
                name, last["kind"], " and ".join(sorted(set(part["license"]))), last["holder"], ", ".join(last["uses"]),
                int(collected.get(name, 0)), int(released.get(name, 0)), words,
            )
        )  # fmt: skip
    return facts


def _label_counts(released: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for label, split, n in released.group_by("label", "split").len().sort("label", "split").iter_rows():
        counts.setdefault(str(label), {})[str(split)] = int(n)
    return counts


def _settings(context: Context) -> list[tuple[str, str]]:
    """The thresholds of the steps, as `section.key` and value."""
    spec = context.project.spec
    filtering = cast(FilterParams, context.params[Step.FILTER])
    near = {"ngram": cast(DedupParams, context.params[Step.DEDUP]).ngram}
    shown = {
        "dedup": {"near": spec.dedup.near.model_dump(mode="json") | near},
        "filter": {
            "input": filtering.prompt.model_dump(mode="json"), "output": filtering.answer.model_dump(mode="json"),
            "max_tokens": filtering.max_tokens, "profanity.max_words": filtering.max_profane_words,
            "automatic_replies": "drop" if filtering.drop_automatic_replies else "keep",
        },
        "normalize": spec.normalize.model_dump(mode="json"),
        "decontaminate": spec.decontaminate.model_dump(mode="json", exclude={"sets"}),
        "split": spec.split.model_dump(mode="json"),
    }  # fmt: skip
    return [(key, value) for section, values in shown.items() for key, value in _flat(section, values)]


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}", inner)]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)) or "none")]
    return [(prefix, "off" if value is None else str(value))]


def _manifest(
    context: Context, writer: releases.Writer, content: _Content, params: ReleaseParams, status: Status, run_id: str,
    now: recipes.Recipe,
) -> dict[str, Any]:  # fmt: skip
    inputs = content.batches.select(
        "source", "day", "uri", "sha256", "bytes", "rows_read", "rows_ingested", "rows_rejected", "license"
    )
    withheld = content.selection.withheld.height
    return {
        "name": params.name,
        "version": writer.version(),
        "created_at": clock.now().isoformat(timespec="seconds") + "Z",
        "run_id": run_id,
        "recipe": now.hash,
        "files": {
            f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in writer.files.values()
        },
        "counts": {
            "ingested": content.tables[Step.INGEST].height,
            "rejected": content.rejects.height,
            "released": content.released.height,
            "withheld": withheld,
            "not_made": content.not_made.height,
            "splits": {s.value: content.released.filter(pl.col("split") == s.value).height for s in Split},
            "funnel": [
                {"step": s, "in": i, "kept": k, "dropped": d}
                for s, i, k, d in funnel(content.tables, withheld, content.released.height)
            ],
        },
        "inputs": [row | {"day": row["day"].isoformat()} for row in inputs.iter_rows(named=True)],
        "missing_days": [str(day) for day in missing_days(status)],
        "stale_days": [str(day) for day in stale_days(status)],
        "spec": context.project.spec.model_dump(mode="json"),
        "versions": {"python": platform.python_version(), "dataset_pipeline": dataset_pipeline.__version__}
        | recipes.libraries(RELEASE),
    }


def release_folder(context: Context) -> Path | None:
    """The folder `releases/latest` points at, or None."""
    version = releases.latest_version(context.project.releases_path)
    return context.project.releases_path / version if version else None
