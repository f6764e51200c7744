"""Fixtures that many tests share: the sample project un-run, run, and one step's real rows before its gate.

Lives here: copies of `data/` and what a run makes of them. Keep out: named frames of one subject's tests.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of, run_step
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.records import DAILY_STEPS, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.sources import calendar
from dataset_pipeline_tests.test_expectations_common import Made, made_of

SAMPLE = Path(__file__).parent.parent / "data"
_STATE = shutil.ignore_patterns(
    "warehouse.duckdb*", "cache.duckdb*", "releases", ".dagster", "review_queue.csv", "report.html"
)


LONG_FILES = (
    "test_tutorial", "test_stretches", "test_faults", "test_properties", "test_erasure", "test_erasure_files", "test_people", "test_cli_runs",
    "test_upgrade", "test_rollback", "test_bad_input", "test_outputs", "test_hostile", "test_exit_codes", "test_release_odd_input",
    "test_restore_guide", "test_drift", "test_dagster", "test_retention", "test_explain", "test_disk_full", "test_releases", "test_page",
    "test_diff", "test_rebuild", "test_sample", "test_cli", "test_no_test_group_trains", "test_erasure_gaps", "test_expectations_common",
    "test_real_releases", "test_real_banking77", "test_night_runs", "test_health", "test_standing", "test_status", "test_thirty_days",
    "test_keeping", "test_preview_exact", "test_alarm", "test_arrivals", "test_leaks",
)  # fmt: skip
"""Files of few tests that run whole projects: they begin first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def sample_context(root: Path) -> Context:
    """The context of the project in `root`, as a command would make it."""
    return context_of(load_project(root / "dataset.yaml"))


def copy_sample(root: Path) -> None:
    """A fresh copy of the sample project at `root`, without state."""
    shutil.copytree(SAMPLE, root, ignore=_STATE)


def run_whole(root: Path, run_id: str = "whole") -> Context:
    """Run every step over the whole calendar and release it, as `dataset-pipeline run` does."""
    context = sample_context(root)
    days = calendar(context.project, context.found)
    run_inputs(context, run_id)
    for step in DAILY_STEPS:
        run_step(context, step, days, run_id)
    run_release(context, status_of(context), run_id)
    run_report(context, run_id)
    return context


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fully run copy of the sample project. Read-only by convention: many tests share it."""
    # The workers of pytest-xdist share one run: the first makes it, the others wait for it.
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp().parent if is_worker else tmp_path_factory.getbasetemp()
    root = base / "sample-run"
    with (base / "sample-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            part = base / "sample-run-unfinished"
            shutil.rmtree(part, ignore_errors=True)
            copy_sample(part)
            release_run_lock(run_whole(part).warehouse.path)
            part.rename(root)
    return root


@pytest.fixture
def sample_copy(tmp_path: Path) -> Iterator[Path]:
    """The folder of a fresh copy of the sample project, not run, the test's own."""
    root = tmp_path / "project"
    copy_sample(root)
    yield root
    release_run_lock(root / "warehouse.duckdb")


@pytest.fixture
def sample_run_copy(sample_root: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of a fully run copy of the sample project, the test's own."""
    root = tmp_path / "project"
    shutil.copytree(sample_root, root, symlinks=True)
    yield root
    release_run_lock(root / "warehouse.duckdb")


@pytest.fixture(scope="session")
def made(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Step], Made]:
    """Step to its real result for two days of the sample, staged and read back, not yet judged."""
    root = tmp_path_factory.mktemp("staged") / "project"
    shutil.copytree(sample_root, root, symlinks=True)
    context = sample_context(root)
    return cache(lambda step: made_of(context, step))
