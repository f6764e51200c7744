"""The Dagster assets: sources, daily steps, protected items and the release, made from a spec.

Lives here: everything that knows Dagster's types. An asset claims nothing and computes nothing: it
calls the engine and tells Dagster what came of it. Keep out: the order of stage, judge and publish
(`engine`), assembling definitions (`dataset_pipeline.definitions`).
"""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` as a type.

import datetime as dt
import json
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._utils.warnings import BetaWarning

from dataset_pipeline.assets import metadata, words
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, Outcome, check_rows, context_of, run_step
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.inputs import run_input
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.assets.undated import UNDATED_OF
from dataset_pipeline.errors import PipelineError, StepFailed, disk_full
from dataset_pipeline.expectations.gate import Judgement
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import (
    ANNOTATIONS,
    DAILY_STEPS,
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
from dataset_pipeline.storage.judgements import judgements
from dataset_pipeline.storage.publishing import CheckRow, Day
from dataset_pipeline.storage.warehouse import Warehouse

# `backfill_policy` is marked as beta; the lock file pins the version it was tried with.
warnings.filterwarnings("ignore", category=BetaWarning, module="dagster")

RESULTS: dict[str, list[Outcome | PipelineError]] = {}
"""What the steps of a run in this process did, by run id: the command line's funnel reads it."""


def build_assets(project: Project, days: Sequence[dt.date]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """All assets of a project whose calendar is `days` (at least one)."""
    calendar = dg.DailyPartitionsDefinition(
        start_date=days[0].isoformat(), end_date=(days[-1] + dt.timedelta(days=1)).isoformat(), timezone="UTC"
    )
    return [
        *(_source_spec(source) for source in project.spec.sources),
        *(_input_asset(project, name) for name in INPUTS),
        *(_daily_asset(project, step, calendar) for step in DAILY_STEPS),
        _release_asset(project),
        _report_asset(project),
    ]


def _source_spec(source: Source) -> dg.AssetSpec:
    rights = source.rights
    metadata: dict[str, Any] = {
        "path": source.local_path,
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
    suffix = source.local_path.removesuffix(".gz").rsplit(".", 1)[-1]
    return dg.AssetSpec(
        ["source", source.name],
        description=f"{source.kind.replace('_', ' ').capitalize()} source. {source.access or ''}".strip(),
        group_name="sources",
        kinds={suffix},
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
        }
    return {
        "name": str(step),  # Dagster serializes plain strings only, not enums
        "description": words.STEPS[step],
        "group_name": words.GROUPS[step],
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
    def daily(context: dg.AssetExecutionContext) -> Iterator[Any]:
        days = [dt.date.fromisoformat(key) for key in context.partition_keys]
        ran = Run(context, step, project)
        yield from ran.checks(lambda work: run_step(work, step, days, context.run_id))
        with ran.work.warehouse.reading():
            by_day, whole = metadata.of_days(ran, days), metadata.of_step(ran, days)
        for day, facts in by_day.items():
            context.add_asset_metadata(facts, partition_key=day.isoformat())
        yield dg.MaterializeResult(metadata=whole)

    return daily


def _input_asset(project: Project, name: str) -> dg.AssetsDefinition:
    @dg.asset(**_common(project, name), kinds={"polars", "duckdb"}, tags={"step": name})
    def undated(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = Run(context, name, project)
        yield from ran.checks(lambda work: run_input(work, name, context.run_id))
        counts = ran.work.warehouse.query(_INPUT_COUNTS[name])
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(counts["n"].sum() or 0),
                "rows": dg.MetadataValue.json({str(word): int(n) for word, n in counts.iter_rows()}),
                "notes": "; ".join(ran.outcome.notes) or "none",
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
    def report(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = Run(context, REPORT, project)
        yield from ran.checks(lambda work: run_report(work, context.run_id))
        counts = ran.outcome.counts[None]
        # Here too, and not at the end of a command alone: a run of the UI must leave no text behind.
        housekept = housekeeping(ran.work)
        for line in housekept.words:
            context.log.info(line)
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": counts.rows,
                "housekeeping": "; ".join(housekept.words) or "nothing to do",
                "waiting": dg.MetadataValue.json(dict(counts.dropped)),
                "file": dg.MetadataValue.path(project.queue_path.name),
                "page": dg.MetadataValue.path(project.report_path.name),
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
    def release(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = Run(context, RELEASE, project)
        yield from ran.checks(lambda work: run_release(work, status_of(work), context.run_id))
        published = ran.work.warehouse.latest()[(RELEASE, None)]
        folder = project.releases_path / published.content
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": published.kept_count,
                "version": published.content,
                "folder": dg.MetadataValue.path(f"releases/{published.content}"),
                "withheld": manifest["counts"]["withheld"],
                "missing_days": dg.MetadataValue.json(manifest["missing_days"]),
                "stale_days": dg.MetadataValue.json(manifest["stale_days"]),
                "funnel": dg.MetadataValue.md(metadata.funnel_table(manifest["counts"]["funnel"])),
                **metadata.provenance(ran),
            }
        )

    return release


class Run:
    """One execution of a step under Dagster: its work context, its outcome, and its checks as events."""

    def __init__(self, context: dg.AssetExecutionContext, step: str, project: Project):
        self.context, self.step = context, step
        self.project = project
        self.work: Context
        self.outcome: Outcome

    def checks(self, do: Any) -> Iterator[dg.AssetCheckResult]:
        """Run the step and yield its checks; a closed gate yields them too, then fails the step.

        Checks come before the result: a blocking check on a returned output would not stop Dagster
        from recording the materialization.
        """
        results = RESULTS.setdefault(self.context.run_id, [])
        failure = ""
        judged: Sequence[Judgement] = ()
        try:
            self.work = context_of(self.project)
            self.outcome = do(self.work)
        except GateClosed as closed:
            results.append(closed)
            failure, judged = (
                f"The gate of {self.step} is closed; nothing was published.\n{closed}",
                closed.judgements,
            )
        except PipelineError as error:
            results.append(error)
            failure = str(error)
        except Exception as error:
            full = disk_full(error)
            failure = str(full) if full else _fault(self.step, error)
            results.append(full or StepFailed(failure))
        if failure:
            # Raised out here: an exception keeps the one it was raised from, and a fault of ours could
            # carry text of a record into Dagster's event log.
            yield from map(_check_result, check_rows(self.step, judged))
            raise dg.Failure(failure, allow_retries=False)
        results.append(self.outcome)
        for note in self.outcome.notes:
            self.context.log.info(note)
        rows = check_rows(self.step, self.outcome.judgements) or stored_checks(
            self.work.warehouse, self.step, self.outcome.days
        )
        yield from map(_check_result, rows)


def _fault(step: str, error: Exception) -> str:
    """A fault of ours in words without its message, which may quote a record: kind and place."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{step}: failed with a fault of its own: {type(error).__name__} "
        f"at {Path(place.filename).name}:{place.lineno}. Its message is not shown: it may hold text of a record."
    )


def stored_checks(warehouse: Warehouse, step: str, days: Sequence[Day]) -> list[CheckRow]:
    """What was judged of the published rows of `days`, for a step that was up to date.

    An expectation that was never judged on these rows is not passed: it says so, as a warning.
    """
    known = {row.name: row for row in judgements(warehouse, step, days)}
    unjudged = json.dumps(
        {"observed": "not judged yet on these rows", "limit": "", "culprits": [], "record_ids": []}
    )
    return [
        known.get(e.name) or CheckRow(step, e.name, e.severity, e.frame, False, True, unjudged, ())
        for e in EXPECTATIONS[step]
    ]


def _check_result(row: CheckRow) -> dg.AssetCheckResult:
    observed = json.loads(row.observed)
    critical = row.severity == "critical" and not row.is_warning
    metadata: dict[str, Any] = {"observed": observed["observed"], "severity": row.severity}
    if observed["limit"]:
        metadata["limit"] = observed["limit"]
    for name in ("culprits", "record_ids"):
        if observed.get(name):
            metadata[name] = dg.MetadataValue.json(observed[name])
    if row.days:
        metadata["days"] = dg.MetadataValue.json(list(row.days))
    return dg.AssetCheckResult(
        check_name=row.name,
        asset_key=str(row.step),
        passed=row.passed,
        severity=dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )
