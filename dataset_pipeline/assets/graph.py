"""The Dagster assets: sources, daily steps, protected items and the release, made from a spec.

Lives here: everything that knows Dagster's types. An asset claims nothing and computes nothing: it
calls the engine and tells Dagster what came of it (`execution`). Keep out: the order of stage, judge and publish
(`engine`), assembling definitions (`dataset_pipeline.definitions`).
"""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` as a type.

import datetime as dt
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._utils.warnings import BetaWarning

from dataset_pipeline import clock
from dataset_pipeline.assets import lineage, metadata, words
from dataset_pipeline.assets.engine import run_step
from dataset_pipeline.assets.execution import Run, guarded
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.inputs import run_input
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.assets.undated import UNDATED_OF
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import (
    ANNOTATIONS,
    DAILY_STEPS,
    EXTRA_TABLES,
    INPUTS,
    PROTECTED,
    RELEASE,
    REPORT,
    REVIEWS,
    TABLES,
    Step,
)
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.models import Source
from dataset_pipeline.storage.sources import is_nightly
from dataset_pipeline.transforms.redaction import shown

POOL = "warehouse"
"""Of every run that writes. Dagster starts one of them at a time (`automation.instance`): the file has one writer."""

# `backfill_policy` is marked as beta; the lock file pins the version it was tried with.
warnings.filterwarnings("ignore", category=BetaWarning, module="dagster")


def build_assets(project: Project, days: Sequence[dt.date]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """All assets of a project whose calendar is `days` (at least one)."""
    calendar = _calendar(project, days)
    return [
        *(_source_spec(project, source) for source in project.spec.sources),
        *(_input_asset(project, name) for name in INPUTS),
        *(_daily_asset(project, step, calendar) for step in DAILY_STEPS),
        _release_asset(project),
        _report_asset(project),
    ]


IDLE_DAYS = 7
"""Days without a new one after which nobody runs nights here: what came before is history, and its calendar has an end."""


def _calendar(project: Project, days: Sequence[dt.date]) -> dg.DailyPartitionsDefinition:
    """The days of the project. Where files come every day the calendar is open: the nights to come are in it, too.

    Nights that were missed for longer than IDLE_DAYS are not: an asset that is up to date would show as incomplete for
    ever. Once a night has made them they are published days, and so in the calendar.
    """
    # Dagster's own calendar ends with yesterday, the last whole day; a file of today is a day already. Not `end_date`: Dagster
    # pages through the newest partitions without looking at it, so that the plots of old days would show none of them.
    offset = (days[-1] - (clock.now().date() - dt.timedelta(days=1))).days
    if is_nightly(project) and offset >= -IDLE_DAYS:
        offset = max(0, offset)
    return dg.DailyPartitionsDefinition(days[0].isoformat(), timezone="UTC", end_offset=offset)


def _source_spec(project: Project, source: Source) -> dg.AssetSpec:
    rights = source.rights
    metadata: dict[str, Any] = {
        "path": shown(source.local_path),
        "rank": source.effective_rank,
        "licence": rights.license,
        "holder": rights.holder,
        "basis": rights.basis,
        "uses": ", ".join(rights.uses),
    }
    if source.access:
        metadata["access"] = source.access
    if source.generator:
        metadata["generator"] = f"{source.generator.model} ({source.generator.provider})"
    suffix = source.local_path.removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]
    return dg.AssetSpec(
        ["source", source.name],
        description=words.source(source),
        group_name="sources",
        kinds={suffix} if suffix.isalnum() else set(),
        owners=list(project.spec.owners),
        tags={"kind": source.kind, "rank": str(source.effective_rank)},
        metadata=metadata,
    )


def _check_specs(step: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            e.name,
            asset=str(step),
            description=f"{e.fault} ({e.severity})",
            blocking=e.severity == "critical",
        )
        for e in EXPECTATIONS[step]
    ]


def _common(project: Project, step: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if step in TABLES:
        columns = [
            dg.TableColumn(name, str(dtype), description=words.COLUMNS.get(name, ""))
            for name, dtype in TABLES[step].items()
        ]
        metadata = {
            "dagster/table_name": f"main.{step}",
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/column_lineage": lineage.column_lineage(step),
            "made_from": lineage.table_of(step),
            **{f"made_from: {extra}": lineage.table_of(extra) for extra in EXTRA_TABLES.get(step, ())},
        }
    return {
        "name": str(step),  # Dagster serializes plain strings only, not enums
        "description": words.STEPS[step],
        "group_name": words.GROUPS[step],
        "owners": list(project.spec.owners),
        "pool": POOL,
        "code_version": project.params[step].hash()[:16],
        "check_specs": _check_specs(step),
        "metadata": metadata,
    }


def _daily_asset(project: Project, step: Step, calendar: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    position = DAILY_STEPS.index(step)
    deps: list[Any] = (
        [["source", source.name] for source in project.spec.sources]
        if position == 0
        else [str(DAILY_STEPS[position - 1])]
    )
    deps += UNDATED_OF[step]

    @dg.asset(
        **_common(project, step),
        deps=deps,
        partitions_def=calendar,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "duckdb"},
        tags={"step": str(step)},
    )
    @guarded
    def daily(context: dg.AssetExecutionContext) -> Iterator[Any]:
        days = [dt.date.fromisoformat(key) for key in context.partition_keys]
        ran = Run(context, step, project)
        yield from ran.checks(lambda work: run_step(work, step, days, context.run_id))
        with ran.work.warehouse.reading():
            by_day = metadata.of_days(ran, days)
            seen = metadata.of_sources(ran, days) if step is Step.INGEST else {}
        for day, facts in by_day.items():
            context.add_asset_metadata(facts, partition_key=day.isoformat())
        for source, facts in seen.items():
            # Of an external asset Dagster shows this as its newest data; it was not made here.
            context.log_event(dg.AssetMaterialization(["source", source], metadata=facts))
        yield dg.MaterializeResult()

    return daily


def _input_asset(project: Project, name: str) -> dg.AssetsDefinition:
    @dg.asset(**_common(project, name), kinds={"polars", "duckdb"}, tags={"step": name})
    @guarded
    def undated(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = Run(context, name, project)
        yield from ran.checks(lambda work: run_input(work, name, context.run_id))
        counts = ran.work.warehouse.query(_INPUT_COUNTS[name])
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(counts["n"].sum() or 0),
                **metadata.counted(name, {shown(str(word)): int(n) for word, n in counts.iter_rows()}),
                "notes": metadata.clipped(
                    shown("; ".join(ran.outcome.notes)) or "none", metadata.MAX_NOTES_CHARS
                ),
                **(metadata.agreement(ran.work.warehouse) if name == ANNOTATIONS else {}),
                **metadata.provenance(ran),
            }
        )

    return undated


_INPUT_COUNTS: dict[str, str] = {
    PROTECTED: "SELECT eval_set, count(*) AS n FROM protected GROUP BY ALL ORDER BY ALL",
    REVIEWS: "SELECT step || ' ' || verdict || ': ' || state, count(*) AS n FROM reviews GROUP BY ALL ORDER BY ALL",
    ANNOTATIONS: "SELECT state, count(*) AS n FROM annotations GROUP BY ALL ORDER BY ALL",
}


def _report_asset(project: Project) -> dg.AssetsDefinition:
    @dg.asset(**_common(project, REPORT), deps=[RELEASE], kinds={"csv"}, tags={"step": REPORT})
    @guarded
    def report(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = Run(context, REPORT, project)
        yield from ran.checks(lambda work: run_report(work, context.run_id))
        counts = ran.outcome.counts[None]
        # Here too, and not at the end of a command alone: a run of the UI must leave no text behind.
        housekept = housekeeping(ran.work)
        for line in housekept.words:
            context.log.info(shown(line))
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": counts.rows,
                "housekeeping": shown("; ".join(housekept.words)) or "nothing to do",
                **metadata.counted("records waiting", dict(counts.dropped), "waiting"),
                "page": dg.MetadataValue.path(str(project.report_path)),
                "queue": dg.MetadataValue.path(str(project.queue_path)),
                **metadata.provenance(ran),
            }
        )

    return report


def _release_asset(project: Project) -> dg.AssetsDefinition:
    @dg.asset(
        **_common(project, RELEASE),
        deps=[str(Step.SPLIT), PROTECTED],
        kinds={"jsonl", "parquet"},
        tags={"step": RELEASE},
    )
    @guarded
    def release(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = Run(context, RELEASE, project)
        yield from ran.checks(lambda work: run_release(work, status_of(work), context.run_id))
        published = ran.work.warehouse.latest()[(RELEASE, None)]
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": published.kept_count,
                **metadata.of_release(ran, published.content),
                **metadata.provenance(ran),
            }
        )

    return release
