"""The checks `up_to_date` and `fresh`: what they say of a project before and after a change, and where Dagster keeps it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dataset_pipeline.automation.health import (
    FRESH,
    UP_TO_DATE,
    build_checks,
    build_health_job,
    evaluate,
    health_of,
)
from dataset_pipeline.records import DAILY_STEPS, INPUTS, RELEASE, REPORT
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.small_project import (
    DAYS,
    make_project,
    open_project,
    run_all,
    switch_gates_off,
    write_spec,
)

ASSETS = [*INPUTS, *map(str, DAILY_STEPS), RELEASE, REPORT]
LAST = dt.date.fromisoformat(DAYS[-1])
CHANGED = {"split": {"ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}, "seed": 99}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is up to date."""
    root = make_project(tmp_path_factory.mktemp("health") / "project")
    run_without_gates(root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    yield tmp_path / "project"
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def run_without_gates(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        switch_gates_off(patch)
        run_all(root)
    release_run_lock(root / "warehouse.duckdb")


def kept(root: Path, asset: str | list[str], check: str) -> Any:
    """The newest evaluation of a check that the project's Dagster instance holds."""
    with dg.DagsterInstance.from_config(str(root / ".dagster")) as instance:
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.event is not None
        return record.event.dagster_event.event_specific_data  # type: ignore[union-attr]


def test_health_changed_spec_fails_what_follows_names_the_reason_and_passes_after_a_run(root: Path) -> None:
    assert evaluate(load_project(root), LAST) == []
    assert all(kept(root, asset, UP_TO_DATE).passed for asset in ASSETS)
    write_spec(root, CHANGED)
    lines = evaluate(load_project(root), LAST)
    assert [line.split(":")[0] for line in lines] == ["split", "release"]
    split = kept(root, "split", UP_TO_DATE)
    facts = {name: value.value for name, value in split.metadata.items()}
    assert (split.passed, split.severity, split.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert facts["stale"] == 5
    assert facts["days"] == f"{DAYS[0]} to {DAYS[-1]}"
    assert facts["reasons"]
    assert facts["remedy"] == "dataset-pipeline run"
    assert kept(root, "label", UP_TO_DATE).passed
    run_without_gates(root)
    assert evaluate(load_project(root), LAST) == []
    assert kept(root, "split", UP_TO_DATE).passed


def test_health_night_without_a_file_is_missing_and_its_source_is_not_fresh(root: Path) -> None:
    lines = evaluate(load_project(root), dt.date(2026, 3, 8))
    ingest = kept(root, "ingest", UP_TO_DATE)
    facts = {name: value.value for name, value in ingest.metadata.items()}
    assert (facts["published"], facts["missing"], facts["days"]) == (5, 2, "2026-03-07 to 2026-03-08")
    inbox = kept(root, ["source", "inbox"], FRESH)
    facts = {name: value.value for name, value in inbox.metadata.items()}
    assert (inbox.passed, facts["last_day"], facts["expected_day"], facts["files"]) == (
        False,
        DAYS[-1],
        "2026-03-08",
        4,
    )
    assert kept(root, ["source", "store"], FRESH).passed
    for asset in ASSETS:
        found = kept(root, asset, UP_TO_DATE)
        said = json.dumps([found.description, {k: v.value for k, v in found.metadata.items()}], default=str)
        assert len(said) < 4_000
    assert lines[-1] == "inbox: the file of 2026-03-08 did not come; its newest file is of 2026-03-06."


def test_health_release_that_is_gone_is_told(root: Path) -> None:
    (root / "releases" / "latest").unlink()
    [release] = [one for one in health_of(open_project(root)) if not one.is_good]
    assert release.words.startswith("release: 1 stale: ")


def test_health_job_runs_the_checks_alone_and_a_chosen_check_by_itself(root: Path) -> None:
    project = load_project(root)
    checks = build_checks(project, LAST)
    definitions = dg.Definitions(asset_checks=checks, jobs=[build_health_job(checks)])
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("health")
        found = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        names = {(one.asset_key.to_user_string(), one.check_name) for one in found}
        assert names == {(name, UP_TO_DATE) for name in ASSETS} | {
            (f"source/{source.name}", FRESH) for source in project.spec.sources
        }
        one = dg.AssetCheckKey(dg.AssetKey("label"), UP_TO_DATE)
        subset = job.get_subset(asset_check_selection={one})
        [only] = subset.execute_in_process(instance=instance).get_asset_check_evaluations()
        assert (only.asset_check_key, only.passed) == (one, True)


def test_health_files_that_cannot_be_read_fail_the_job_in_words(root: Path) -> None:
    checks = build_checks(load_project(root))
    shutil.rmtree(root / "sources" / "inbox")
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(asset_checks=checks, jobs=[build_health_job(checks)]).resolve_job_def("health")
        done = job.execute_in_process(instance=instance, raise_on_error=False)
    [failure] = done.filter_events(lambda event: event.is_step_failure)
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert "no file matches 'sources/inbox/{date}.jsonl'" in (said.description or "")
