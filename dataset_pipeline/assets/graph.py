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
import polars as pl
from dagster._utils.warnings import BetaWarning

from dataset_pipeline.assets import words
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, Outcome, check_rows, context_of, run_step
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.inputs import run_input
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.errors import PipelineError, StepFailed
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
    deps += _UNDATED_DEPS.get(step, ())

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
        ran = _Run(context, step, project)
        yield from ran.checks(lambda work: run_step(work, step, days, context.run_id))
        with ran.work.warehouse.reading():
            of_days, of_step = _day_metadata(ran, days), _step_metadata(ran, days)
        for day, metadata in of_days.items():
            context.add_asset_metadata(metadata, partition_key=day.isoformat())
        yield dg.MaterializeResult(metadata=of_step)

    return daily


_UNDATED_DEPS: dict[str, tuple[str, ...]] = {
    Step.INGEST: (REVIEWS,),
    Step.DEDUP: (ANNOTATIONS,),
    Step.FILTER: (REVIEWS,),
    Step.DECONTAMINATE: (PROTECTED, REVIEWS),
    Step.LABEL: (ANNOTATIONS, REVIEWS),
}
"""What the daily steps read that has no days."""


def _input_asset(project: Project, name: str) -> dg.AssetsDefinition:
    @dg.asset(**_common(project, name), kinds={"polars", "duckdb"}, tags={"step": name})
    def undated(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = _Run(context, name, project)
        yield from ran.checks(lambda work: run_input(work, name, context.run_id))
        counts = ran.work.warehouse.query(_INPUT_COUNTS[name])
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(counts["n"].sum() or 0),
                "rows": dg.MetadataValue.json({str(word): int(n) for word, n in counts.iter_rows()}),
                "notes": "; ".join(ran.outcome.notes) or "none",
                **(_agreement(ran.work.warehouse) if name == ANNOTATIONS else {}),
                **_provenance(ran),
            }
        )

    return undated


_INPUT_COUNTS: dict[str, str] = {
    PROTECTED: "SELECT eval_set, count(*) AS n FROM protected GROUP BY ALL ORDER BY ALL",
    REVIEWS: "SELECT step || ' ' || verdict || ': ' || state, count(*) AS n FROM reviews GROUP BY ALL ORDER BY ALL",
    ANNOTATIONS: "SELECT state, count(*) AS n FROM annotations GROUP BY ALL ORDER BY ALL",
}


def _agreement(warehouse: Warehouse) -> dict[str, Any]:
    """Krippendorff's alpha as a number that the UI plots, and the other measures as a table."""
    measured = warehouse.table("agreement").filter(pl.col("value").is_not_null())
    alpha = measured.filter(pl.col("measure") == "alpha")
    shown = measured.sort("measure", "value", "name", "other").head(200)
    found: dict[str, Any] = {"alpha": float(alpha["value"][0])} if alpha.height else {}
    if shown.height:
        rows = [dg.TableRecord(row) for row in shown.iter_rows(named=True)]
        found["agreement"] = dg.MetadataValue.table(
            rows, schema=dg.TableSchema([dg.TableColumn(name) for name in shown.columns])
        )
    return found


def _report_asset(project: Project) -> dg.AssetsDefinition:
    @dg.asset(**_common(project, REPORT), deps=[RELEASE], kinds={"csv"}, tags={"step": REPORT})
    def report(context: dg.AssetExecutionContext) -> Iterator[Any]:
        ran = _Run(context, REPORT, project)
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
                **_provenance(ran),
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
        ran = _Run(context, RELEASE, project)
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
                "funnel": dg.MetadataValue.md(_funnel_table(manifest["counts"]["funnel"])),
                **_provenance(ran),
            }
        )

    return release


class _Run:
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
            failure = _fault(self.step, error)
            results.append(StepFailed(failure))
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


def _provenance(ran: "_Run") -> dict[str, Any]:
    return {
        "run": ran.context.run_id,
        "is_unchanged": ran.outcome.is_noop,
        "seconds": round(ran.outcome.seconds, 3),
    }


def _step_metadata(ran: "_Run", days: list[dt.date]) -> dict[str, Any]:
    """Of the run as a whole: attached to every partition of a range."""
    total = ran.work.warehouse.query(f'SELECT count(*) AS n FROM main."{ran.step}"').item()
    return {
        "dagster/row_count": int(total),
        "dagster/table_name": f"main.{ran.step}",
        "days": f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0]),
        "notes": "; ".join(ran.outcome.notes) or "none",
        **_provenance(ran),
    }


def _day_metadata(ran: "_Run", days: list[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """Per day: rows in, kept, dropped by reason, recipe, and for ingest the files with their rights."""
    warehouse = ran.work.warehouse
    latest = warehouse.latest()
    counted = warehouse.query(
        f"""SELECT day, reason, count(*) AS n FROM main."{ran.step}" WHERE list_contains(?, day) AND NOT kept
        GROUP BY ALL ORDER BY ALL""",
        [days],
    )
    batches = warehouse.table("batches", days) if ran.step == Step.INGEST else None
    result = {}
    for day in days:
        published = latest.get((ran.step, day))
        dropped = {str(reason): int(n) for on, reason, n in counted.iter_rows() if on == day}
        rows, kept = (published.row_count, published.kept_count) if published else (0, 0)
        result[day] = {
            "dagster/partition_row_count": rows,
            "rows_in": rows,
            "kept": kept,
            "dropped": dg.MetadataValue.json(dropped),
            "recipe": published.recipe if published else "",
            # One number a reason: the UI plots numbers over partitions.
            **{f"dropped_{reason}": n for reason, n in dropped.items()},
            **(_file_metadata(batches.filter(pl.col("day") == day)) if batches is not None else {}),
        }
    return result


def _file_metadata(batches: pl.DataFrame) -> dict[str, Any]:
    shown = batches.with_columns(
        pl.col("day", "collected_at").dt.to_string("%Y-%m-%d"), pl.col("uses").list.join(", ")
    )
    columns = [
        "source",
        "uri",
        "sha256",
        "bytes",
        "rows_read",
        "rows_rejected",
        "collected_at",
        "license",
        "holder",
        "uses",
    ]
    files = dg.MetadataValue.table(
        [dg.TableRecord({k: row[k] for k in columns}) for row in shown.iter_rows(named=True)],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in columns]),
    )
    return {
        "rejected": int(batches["rows_rejected"].sum() or 0),
        "files": files if batches.height else dg.MetadataValue.text("no files on this day"),
    }


def _funnel_table(funnel: list[dict[str, Any]]) -> str:
    lines = ["| step | in | kept | dropped |", "|---|---:|---:|---|"]
    for row in funnel:
        dropped = ", ".join(f"{reason} {n}" for reason, n in row["dropped"].items()) or "none"
        lines.append(f"| {row['step']} | {row['in']} | {row['kept']} | {dropped} |")
    return "\n".join(lines)
