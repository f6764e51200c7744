"""Dagster in this process: its instance beside the spec, and runs over ranges of days.

Lives here: everything `run` needs of Dagster. Keep out: planning (`running`), the assets themselves.
"""

from __future__ import annotations

import datetime as dt
import os

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.launcher import WorkerStatus

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import Outcome
from dataset_pipeline.assets.execution import RESULTS
from dataset_pipeline.automation.instance import ensure_home
from dataset_pipeline.automation.launcher import GONE_WORDS, PID_TAG
from dataset_pipeline.definitions import assets_alone
from dataset_pipeline.errors import PipelineError, StepFailed
from dataset_pipeline.storage.sources import is_nightly

_NO_RETRY = {"dagster/max_retries": "0"}
"""A command is run again by whoever ran it; Dagster could not."""
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class Orchestrator:
    """Materializes assets in this process and remembers it in the project's Dagster instance."""

    def __init__(self, context: Context):
        ensure_home(context.project.dagster_home, context.project.spec.schedule)
        self.context = context
        self.instance = dg.DagsterInstance.from_config(str(context.project.dagster_home))
        published = [day for _, day in context.warehouse.latest() if day is not None]
        published += [context.until] if context.until is not None and is_nightly(context.project) else []
        self.job = assets_alone(context.project, published).resolve_implicit_global_asset_job_def()

    def __enter__(self) -> Orchestrator:
        self._end_dead_runs()
        self._report_unknown()
        return self

    def __exit__(self, *exc: object) -> None:
        self.instance.dispose()

    def materialize(
        self, steps: list[str], days: tuple[dt.date, dt.date] | None = None
    ) -> list[Outcome | PipelineError]:
        """Materialize assets, for a range of days where they have days. Returns what each did, or its error."""
        if not steps:
            return []
        tags = {PID_TAG: str(os.getpid()), **_NO_RETRY}
        if days is not None:
            tags |= {_RANGE_START: days[0].isoformat(), _RANGE_END: days[1].isoformat()}
        result = self.job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(step) for step in steps],
            tags=tags,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        found = RESULTS.pop(result.run_id, [])
        if _was_interrupted(result):
            raise KeyboardInterrupt
        if not result.success and not any(isinstance(r, PipelineError) for r in found):
            found.append(StepFailed(_failure_words(result)))
        return found

    def _end_dead_runs(self) -> None:
        """A run of a process that is gone did not end by itself: tell Dagster, or it shows as running for ever.

        The run lock is ours, so every unfinished run of a command is one whose process is gone. Its
        process id says nothing: in a container the next process has the same one. A run that Dagster began may wait
        for our lock, or be the night that we are part of: whether it lives, the launcher knows.
        """
        unfinished = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED]
        for run in self.instance.get_runs(dg.RunsFilter(statuses=unfinished)):
            if PID_TAG in run.tags or self._is_gone(run):
                self.instance.report_run_failed(run, GONE_WORDS)
        self._free_slots()

    def _is_gone(self, run: dg.DagsterRun) -> bool:
        launcher = self.instance.run_launcher
        if run.status != DagsterRunStatus.STARTED or not launcher.supports_check_run_worker_health:
            return False
        return launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND

    def _free_slots(self) -> None:
        """What ended runs still hold is free at once: Dagster's daemon, if one runs, would wait a while."""
        events = self.instance.event_log_storage
        if not events.supports_global_concurrency_limits or not (holders := events.get_concurrency_run_ids()):
            return
        known = {run.run_id: run for run in self.instance.get_runs(dg.RunsFilter(run_ids=list(holders)))}
        for run_id in holders:
            if run_id not in known or known[run_id].is_finished:
                events.free_concurrency_slots_for_run(run_id)

    def _report_unknown(self) -> None:
        """Publications of a run that died between our commit and Dagster's event are reported now."""
        by_run: dict[str, set[tuple[str, str | None]]] = {}
        for (step, day), publication in self.context.warehouse.latest().items():
            partition = day.isoformat() if day is not None else None
            by_run.setdefault(publication.run_id, set()).add((step, partition))
        for run_id, published in by_run.items():
            run = self.instance.get_run_by_id(run_id)
            if run is None or run.status == DagsterRunStatus.SUCCESS:
                continue
            known = {
                (event.asset_key.to_user_string(), event.partition)
                for event in (
                    entry.dagster_event
                    for entry in self.instance.all_logs(
                        run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
                    )
                )
                if event is not None and event.asset_key is not None
            }
            for name, on in sorted(published - known, key=str):
                if self._is_reported(name, on, run_id):
                    continue
                self.instance.report_runless_asset_event(
                    dg.AssetMaterialization(
                        name, partition=on, description="Published by a run that ended before it could say so.",
                        metadata={"run": run_id},
                    )
                )  # fmt: skip

    def _is_reported(self, step: str, partition: str | None, run_id: str) -> bool:
        """Whether an earlier command has told Dagster already: a dead run stays the newest until rows change."""
        asked = dg.AssetRecordsFilter(dg.AssetKey(step), asset_partitions=[partition] if partition else None)
        told = self.instance.fetch_materializations(asked, limit=20).records
        return any(
            record.asset_materialization is not None
            and (said := record.asset_materialization.metadata.get("run")) is not None
            and said.value == run_id
            for record in told
        )


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether the user stopped the run: Dagster reports Ctrl-C as a failure of the step it met."""
    for event in result.all_events:
        error = event.step_failure_data.error if event.event_type == DagsterEventType.STEP_FAILURE else None
        while error is not None:
            if error.cls_name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError"):
                return True
            error = error.cause
    return False


def _failure_words(result: dg.ExecuteInProcessResult) -> str:
    """What a failed run says of itself. Only words of ours: the message of any other error may quote a record."""
    for event in result.all_events:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            kind = error.cls_name if error is not None else "no error that is known"
            return f"{event.step_key}: failed with a fault of its own: {kind}; see the run in `dataset-pipeline ui`."
    return "The run failed before a step began; see the run in `dataset-pipeline ui`."
