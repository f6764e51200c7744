"""What `run --night` makes: the day that is over, what was missed before it, and all again where a night was killed.

Lives here: nights of the small project in this process. Keep out: the schedule and the job (`test_night`), whole daemons
(`test_night_daemon`). Failure tests 4 and 19 of the project's list.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import io
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.config import PoolGranularity
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from dataset_pipeline import clock
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.automation.instance import ensure_home
from dataset_pipeline.automation.launcher import PID_TAG, lock_holder
from dataset_pipeline.cli import running
from dataset_pipeline.cli.gaps import gap_lines
from dataset_pipeline.cli.orchestrator import Orchestrator
from dataset_pipeline.cli.running import Choice
from dataset_pipeline.records import DAILY_STEPS
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import lock_path, release_run_lock
from dataset_pipeline_tests import small_project as small

LAST = dt.date(2026, 3, 16)
"""Ten days after the first day that was missed, of which the first has files and the others none."""
WRITER_POOL = "warehouse"


def run(root: Path, night: dt.date | None = None) -> tuple[int, str]:
    """`dataset-pipeline run` or `run --night` in this process: exit code and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = running.run(root / "dataset.yaml", False, Choice(night=night))
    release_run_lock(root / "warehouse.duckdb")
    return code, out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """No gates, which are not the subject; the clock stands in the night after LAST."""
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        patch.setattr(clock, "now", lambda: dt.datetime(2026, 3, 17, 2, 0))
        yield


@dataclass(frozen=True)
class Nights:
    """root: four days were made, then nobody ran it for ten days. missed: what the next night printed. whole: as if never down."""

    root: Path
    missed: str
    whole: Path


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    root = small.make_project(tmp_path_factory.mktemp("missed"))
    whole = tmp_path_factory.mktemp("whole") / "whole"
    shutil.copytree(root, whole)
    later = [path for path in root.rglob("sources/*/*") if path.stem > small.DAYS[3]]
    for path in later:
        path.rename(path.with_suffix(".later"))
    small.run_all(root)
    release_run_lock(root / "warehouse.duckdb")
    for path in later:
        path.with_suffix(".later").rename(path)
    code, missed = run(root, LAST)
    assert code == 0, missed
    make_whole(whole)
    return Nights(root, missed, whole)


def make_whole(root: Path) -> None:
    """What a night makes of a project that was never made before, step by step and without Dagster."""
    context = context_of(load_project(root), LAST)
    run_inputs(context, "whole")
    small.run_days(context, status_of(context).days)
    run_release(context, status_of(context), "whole")
    run_report(context, "whole")
    release_run_lock(root / "warehouse.duckdb")


@pytest.fixture
def copied(nights: Nights, tmp_path: Path) -> Path:
    root = tmp_path / "copied"
    shutil.copytree(nights.root, root, symlinks=True)
    return root


# --- an outage ------------------------------------------------------------------------------


def test_scheduler_down_ten_days_the_gap_is_listed(nights: Nights) -> None:
    assert "gap: 2026-03-06 … 2026-03-15 (10 days), made now in order" in nights.missed


def test_scheduler_down_ten_days_each_day_is_published_once_in_order(nights: Nights) -> None:
    made = small.open_project(nights.root).warehouse.query(
        "SELECT step, day, seq FROM publications WHERE day IS NOT NULL ORDER BY seq"
    )
    days = [dt.date(2026, 3, 2) + dt.timedelta(days=n) for n in range(15)]
    for step in DAILY_STEPS:
        assert made.filter(step=str(step))["day"].to_list() == days


def test_scheduler_down_ten_days_the_end_is_as_if_it_never_was(nights: Nights) -> None:
    assert small.differences(small.tables(nights.root), small.tables(nights.whole)) == []
    assert small.release_hashes(nights.root) == small.release_hashes(nights.whole)


def test_first_night_of_a_project_has_no_gap(tmp_path: Path) -> None:
    context = context_of(load_project(small.make_project(tmp_path)), LAST)
    assert gap_lines(status_of(context), []) == []


def test_second_night_of_the_same_day_publishes_nothing(copied: Path) -> None:
    count = "SELECT count(*) FROM publications"
    before = small.open_project(copied).warehouse.query(count).item()
    code, output = run(copied, LAST)
    assert (code, "Nothing to do" in output) == (0, True)
    assert small.open_project(copied).warehouse.query(count).item() == before


@pytest.mark.faults
def test_night_without_a_file_publishes_its_day_and_makes_no_new_release(copied: Path) -> None:
    """Else a month of quiet nights would push every release out of those that are kept."""
    before = [path.name for path in sorted((copied / "releases").iterdir())]
    code, output = run(copied, LAST + dt.timedelta(days=1))
    assert code == 0, output
    latest = small.open_project(copied).warehouse.latest()
    assert all((str(step), LAST + dt.timedelta(days=1)) in latest for step in DAILY_STEPS)
    assert [path.name for path in sorted((copied / "releases").iterdir())] == before


def test_run_without_a_night_leaves_the_days_of_the_nights_alone(copied: Path) -> None:
    before = small.release_hashes(copied)
    code, output = run(copied)
    assert (code, "Nothing to do" in output) == (0, True)
    assert small.release_hashes(copied) == before


# --- a bad day ------------------------------------------------------------------------------


@pytest.mark.faults
def test_bad_day_is_set_aside_named_and_filled_by_the_night_after_it_is_mended(
    nights: Nights, tmp_path: Path
) -> None:
    root = small.make_project(tmp_path / "bad")
    file = root / "sources/inbox/2026-03-05.jsonl"
    good = file.read_text(encoding="utf-8")
    file.write_text('{"id": "T1", "text": "the columns have other names"}\n', encoding="utf-8")
    code, output = run(root, LAST)
    assert code == 1
    assert "bad day 2026-03-05: " in output
    assert "small: the night of 2026-03-16 did not go well" in output
    manifest = json.loads((small.release_folder(root) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["missing_days"] == ["2026-03-05"]

    file.write_text(good, encoding="utf-8")
    code, output = run(root, LAST)
    assert code == 0, output
    assert "gap: 2026-03-05 (1 day), made now in order" in output
    assert small.differences(small.tables(root), small.tables(nights.whole)) == []
    assert small.release_hashes(root) == small.release_hashes(nights.whole)


# --- a run that was killed ------------------------------------------------------------------


def started(orchestrator: Orchestrator, tags: dict[str, str]) -> dg.DagsterRun:
    """A run that shows as running and that no process stands behind."""
    run = orchestrator.instance.create_run_for_job(orchestrator.job, tags=tags)
    for event in ("PIPELINE_STARTING", "PIPELINE_START"):
        orchestrator.instance.handle_new_event(
            dg.EventLogEntry(
                error_info=None, level="debug", user_message="", run_id=run.run_id, timestamp=time.time(), job_name=run.job_name,
                dagster_event=dg.DagsterEvent(event, run.job_name),
            )
        )  # fmt: skip
    return run


def status(orchestrator: Orchestrator, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = orchestrator.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def grpc_tag(folder: Path) -> dict[str, str]:
    return {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": str(folder / "gone.sock")})}


def test_run_killed_while_it_holds_a_slot_the_next_night_frees_it_and_succeeds(
    copied: Path, tmp_path: Path
) -> None:
    orchestrator = Orchestrator(small.open_project(copied))
    events = orchestrator.instance.event_log_storage
    events.set_concurrency_slots(WRITER_POOL, 1)
    dead = [started(orchestrator, {PID_TAG: "1"}), started(orchestrator, grpc_tag(tmp_path))]
    assert events.claim_concurrency_slot(WRITER_POOL, dead[0].run_id, "ingest").is_claimed
    assert events.get_concurrency_info(WRITER_POOL).active_slot_count == 1
    file = copied / "sources/inbox/2026-03-06.jsonl"
    file.write_text(
        file.read_text(encoding="utf-8") + file.read_text(encoding="utf-8").splitlines()[0] + "\n",
        encoding="utf-8",
    )

    code, output = run(copied, LAST)

    assert code == 0, output
    assert "make 2026-03-06 … 2026-03-16" in output
    assert {status(orchestrator, one) for one in dead} == {dg.DagsterRunStatus.FAILURE}
    assert events.get_concurrency_info(WRITER_POOL).active_slot_count == 0
    assert events.get_concurrency_run_ids() == set()


def test_run_of_dagster_that_may_live_is_left_alone(copied: Path) -> None:
    orchestrator = Orchestrator(small.open_project(copied))
    waiting = started(orchestrator, {})
    with orchestrator:
        assert status(orchestrator, waiting) == dg.DagsterRunStatus.STARTED


def test_launcher_knows_a_run_of_a_command_by_the_lock_it_holds(copied: Path) -> None:
    orchestrator = Orchestrator(small.open_project(copied))
    launcher = orchestrator.instance.run_launcher
    run = started(orchestrator, {PID_TAG: "1"})
    warehouse = copied / "warehouse.duckdb"
    with lock_path(warehouse).open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert lock_holder(warehouse) is not None
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert lock_holder(warehouse) is None
    assert launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


def test_launcher_knows_that_a_run_is_gone_with_its_server(copied: Path, tmp_path: Path) -> None:
    orchestrator = Orchestrator(small.open_project(copied))
    run = started(orchestrator, grpc_tag(tmp_path))
    began = time.monotonic()
    health = orchestrator.instance.run_launcher.check_run_worker_health(run)
    assert health.status is WorkerStatus.NOT_FOUND
    assert time.monotonic() - began < 10


def test_instance_retries_crashes_only_ends_long_runs_and_begins_one_writer_at_a_time(tmp_path: Path) -> None:
    root = small.make_project(tmp_path, {"schedule": {"max_runtime_minutes": 90}})
    project = load_project(root)
    ensure_home(project.dagster_home, project.spec.schedule)
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 5400
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] <= 60
        assert instance.run_launcher.supports_check_run_worker_health
        pools = instance.get_concurrency_config().pool_config
        assert (pools.pool_granularity, pools.default_pool_limit) == (PoolGranularity.RUN, 1)


def test_instance_configuration_follows_the_spec_and_is_written_only_where_it_changes(tmp_path: Path) -> None:
    root = small.make_project(tmp_path)
    project = load_project(root)
    config = project.dagster_home / "dagster.yaml"
    ensure_home(project.dagster_home, project.spec.schedule)
    before = config.stat().st_mtime_ns
    ensure_home(project.dagster_home, project.spec.schedule)
    assert config.stat().st_mtime_ns == before
    small.write_spec(root, {"schedule": {"max_runtime_minutes": 1}})
    ensure_home(project.dagster_home, load_project(root).spec.schedule)
    assert "max_runtime_seconds: 60\n" in config.read_text(encoding="utf-8")
