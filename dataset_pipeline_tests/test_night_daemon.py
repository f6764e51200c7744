"""Nights and backfills by Dagster's own processes, started on 127.0.0.1: killed, begun again, launched as the UI launches them.

Lives here: what only whole daemons and the webserver show. Keep out: parts of a night (`test_night`, `test_night_runs`).
Failure test 4 of the project's list, the long form.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from dataset_pipeline.automation.launcher import PID_TAG
from dataset_pipeline.records import DAILY_STEPS, RELEASE, REPORT, Step
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.dagster_server import REPOSITORY, Server, wait_for

NEVER = "0 0 29 2 *"
WAIT_SECONDS = 400
"""Far more than it takes: a machine that does other things too is slow."""
DAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)


def recent_project(root: Path) -> Path:
    """The small project with its last day on DAY, and a night every minute."""
    small.make_project(root, {"schedule": {"cron": "* * * * *"}})
    text = (root / "dataset.yaml").read_text(encoding="utf-8")
    for back, day in enumerate(reversed(small.DAYS)):
        now = str(DAY - dt.timedelta(days=back))
        text = text.replace(day, now)
        for path in root.rglob(f"{day}.*"):
            path.rename(path.with_name(path.name.replace(day, now)))
    (root / "dataset.yaml").write_text(text, encoding="utf-8")
    return root


def command(root: Path, *arguments: str) -> None:
    """`dataset-pipeline run` in a process of its own."""
    given = [sys.executable, "-m", "dataset_pipeline.cli.main", "run", "--spec", str(root), *arguments]
    done = subprocess.run(
        given, cwd=REPOSITORY, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.faults
def test_night_killed_with_everything_in_mid_step_is_ended_and_made_by_itself(tmp_path: Path) -> None:
    root = recent_project(tmp_path / "killed")
    whole = tmp_path / "whole"
    shutil.copytree(root, whole)
    command(whole, "--night", str(DAY))

    first = Server(root)
    try:
        first.location()
        with small_instance(root) as instance:
            asked = partial(in_mid_step, instance)
            dead = wait_for("night in the middle of a step", WAIT_SECONDS, asked, every=0.05)
    finally:
        first.kill()
    with small_instance(root) as instance:
        assert statuses(instance, dead) == {dg.DagsterRunStatus.STARTED}

    with Server(root) as second:
        second.location()
        with small_instance(root) as instance:
            wait_for("night that ends well", WAIT_SECONDS, partial(night_that_succeeded, instance))
            assert statuses(instance, dead) == {dg.DagsterRunStatus.FAILURE}
    assert small.differences(small.tables(root), small.tables(whole)) == []
    assert small.release_hashes(root) == small.release_hashes(whole)


def small_instance(root: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(root / ".dagster"))


def statuses(instance: dg.DagsterInstance, run_ids: list[str]) -> set[dg.DagsterRunStatus]:
    return {run.status for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids))}


def in_mid_step(instance: dg.DagsterInstance) -> list[str] | None:
    """The night and the run of its command, while the command is past its first daily step."""
    running = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    commands = [run for run in running if PID_TAG in run.tags]
    nights = [run for run in running if run.job_name == "night"]
    if not commands or not nights:
        return None
    begun = instance.all_logs(commands[0].run_id, of_type=dg.DagsterEventType.STEP_START)
    is_far = str(Step.DEDUP) in {entry.step_key for entry in begun}
    return [commands[0].run_id, nights[0].run_id] if is_far else None


def night_that_succeeded(instance: dg.DagsterInstance) -> bool | None:
    asked = dg.RunsFilter(job_name="night", statuses=[dg.DagsterRunStatus.SUCCESS])
    return True if instance.get_runs(asked, limit=1) else None


# --- the webserver --------------------------------------------------------------------------

BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


@pytest.mark.servers
@pytest.mark.faults
def test_backfill_in_the_ui_over_chosen_days_leaves_the_bytes_of_the_command(tmp_path: Path) -> None:
    root = small.make_project(tmp_path / "ui", {"schedule": {"cron": NEVER}})
    command(root)
    before = small.release_hashes(root)
    spec = yaml.safe_load((root / "dataset.yaml").read_text(encoding="utf-8"))
    spec["filter"] = {**spec.get("filter", {}), "input": {"min_words": 3, "max_words": 25}}
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    by_command = tmp_path / "command"
    shutil.copytree(root, by_command, symlinks=True)
    days = small.DAYS[1:4]
    command(by_command, "--from", days[0], "--to", days[-1], "--select", "filter")

    steps = DAILY_STEPS[DAILY_STEPS.index(Step.FILTER) :]
    with Server(root) as server:
        backfill(server, [str(step) for step in steps], list(days))
        materialize(server, [RELEASE, REPORT])

    assert small.release_hashes(by_command) != before
    assert small.differences(small.tables(root), small.tables(by_command)) == []
    assert small.release_hashes(root) == small.release_hashes(by_command)
    with small_instance(root) as instance:
        assert sum("dagster/backfill" in run.tags for run in instance.get_runs()) == 1


def backfill(server: Server, steps: list[str], days: list[str]) -> None:
    """Launch a backfill of assets over days, as the UI does, and wait for it."""
    server.location()
    params = {"assetSelection": [{"path": [step]} for step in steps], "partitionNames": days}
    said = server.ask(BACKFILL, params=params)["launchPartitionBackfill"]
    assert said["__typename"] == "LaunchBackfillSuccess", said
    query = (
        "query ($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}}"
    )

    def ended() -> str | None:
        status = server.ask(query, id=said["backfillId"])["partitionBackfillOrError"]["status"]
        return None if status in ("REQUESTED", "CANCELING") else str(status)

    assert wait_for("end of the backfill", WAIT_SECONDS, ended) == "COMPLETED_SUCCESS"


def materialize(server: Server, assets: list[str]) -> None:
    """Launch a run of assets without days, as the UI does, and wait for it."""
    repository, location = server.location()
    selector: dict[str, Any] = {
        "repositoryName": repository,
        "repositoryLocationName": location,
        "jobName": "__ASSET_JOB",
        "assetSelection": [{"path": [name]} for name in assets],
    }
    said = server.ask(LAUNCH, params={"selector": selector, "mode": "default", "runConfigData": {}})
    launched = said["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    query = "query ($id: ID!) {runOrError(runId: $id) {... on Run {status}}}"

    def ended() -> str | None:
        status = server.ask(query, id=launched["run"]["runId"])["runOrError"]["status"]
        return str(status) if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    assert wait_for("end of the run", WAIT_SECONDS, ended) == "SUCCESS"
