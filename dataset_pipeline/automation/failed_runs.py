"""The sensor `alarm`: tells of failed runs that nobody else tells of.

Lives here: from a failed run of Dagster's to an alarm. Keep out: what an alarm says and how it is sent (`alarm`, `webhook`).
"""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` as a type.

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dataset_pipeline.automation.alarm import MEND, TOLD_TAG, Alarm, compose, send
from dataset_pipeline.automation.freshness import read_again
from dataset_pipeline.automation.launcher import PID_TAG
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.publishing import CheckRow

_RETRY_TAG = "dagster/will_retry"
"""Dagster's, on a failed run that it tries again: the last try is told."""
GO_ON = (
    "See whether the machine ran out of memory, was restarted, or the run took longer than schedule.max_runtime_minutes, then "
    "run `dataset-pipeline run`: it goes on where this run ended. What was published stays."
)
REPORT_IT = (
    "This is a fault of the program, not of your files: look at the run in `dataset-pipeline ui`, run `dataset-pipeline run` once more, and report "
    "it where it stays. What was published before stays as it was."
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_FAULT = "failed with a fault of its own"


def build_alarm(project: Project) -> dg.SensorDefinition:
    """The sensor that tells of failed runs: of the UI, of backfills, and of a night whose process died.

    Runs of commands and runs of which somebody was told are left alone.
    """

    @dg.run_failure_sensor(
        name="alarm",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the log, and the spec's webhook where it names one, what failed on which day and what to do.",
    )
    def alarm(context: dg.RunFailureSensorContext) -> Any:
        run = context.dagster_run
        if TOLD_TAG in run.tags:
            return dg.SkipReason(f"Run {run.run_id} has told by itself.")
        if PID_TAG in run.tags:
            return dg.SkipReason(f"Run {run.run_id} is one of a command, which tells whoever started it.")
        if run.tags.get(_RETRY_TAG) == "true":
            return dg.SkipReason(f"Run {run.run_id} is tried again; it is told where that fails too.")
        found = read_again(project)
        send(found, _of_run(found, context), context.log.error)
        return None

    return alarm


def _of_run(project: Project, context: dg.RunFailureSensorContext) -> Alarm:
    run = context.dagster_run
    failures = [_step_words(event) for event in context.get_step_failure_events()]
    title, days = f"a run of the job {run.job_name} failed", _days(run.tags)
    if not failures:
        said = (context.failure_event.message or "").strip().splitlines()
        words = f"{run.job_name}: The process of the run is gone, or the run was ended from outside."
        gone = [f"{words} Dagster says: {said[0]}" if said else words]
        return compose(project, title=title, failures=gone, days=days, remedy=GO_ON, run_id=run.run_id)
    of_checks = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    judged = [
        _check_row(entry.dagster_event.event_specific_data)
        for entry in context.instance.all_logs(run.run_id, of_type=of_checks)
        if entry.dagster_event is not None
    ]
    remedy = REPORT_IT if all(_FAULT in text for text in failures) else MEND
    return compose(
        project, title=title, failures=failures, judged=judged, days=days, remedy=remedy, run_id=run.run_id
    )


def _step_words(event: dg.DagsterEvent) -> str:
    """What a failed step says. Only words of ours are repeated: any other error may quote a record."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        said = data.user_failure_data.description
        is_ours = said.startswith(("The gate of", f"{event.step_key}: ", f"{event.step_key}."))
        return said if is_ours else f"{event.step_key}: {said}"
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    kind = error.cls_name if error is not None else None
    return f"{event.step_key}: {_FAULT} ({kind or 'unknown'}); its message may hold text of a record."


def _days(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The days a run was asked for, by the tags of a range or of one day."""
    one = tags.get("dagster/partition")
    first = tags.get("dagster/asset_partition_range_start", one)
    last = tags.get("dagster/asset_partition_range_end", one)
    if first is None or last is None:
        return ()
    try:
        start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    except ValueError:
        return (first, last)
    return tuple(str(start + dt.timedelta(days=n)) for n in range((end - start).days + 1))


def _check_row(evaluation: Any) -> CheckRow:
    """A check of Dagster's event log as the row it was made from (`assets.execution`, which lists days and culprits as text)."""
    facts = {name: value.value for name, value in evaluation.metadata.items()}
    is_warning = evaluation.severity == dg.AssetCheckSeverity.WARN
    culprits = [facts["culprits"]] if facts.get("culprits") else []
    observed = {name: str(facts.get(name, "")) for name in ("observed", "limit")} | {"culprits": culprits}
    days = tuple(_DAY.findall(str(facts.get("days", ""))))
    step = evaluation.asset_key.to_user_string()
    return CheckRow(
        step, evaluation.check_name, "", "", evaluation.passed, is_warning, json.dumps(observed), days
    )
