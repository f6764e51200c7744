"""Runs that are killed, meet each other, or find a gate closed: what was published stays, the next run ends the same.

Lives here: whole processes and Dagster's own runs on the small project. Keep out: storage alone
(`test_warehouse`, `test_releases`). Failure tests 1, 3, 6, 12 and 17 of the project's list.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.cli import running
from dataset_pipeline.cli.running import Choice
from dataset_pipeline.records import (
    DAILY_STEPS,
    EXTRA_TABLES,
    PROTECTED,
    RELEASE,
    REPORT,
    TABLES,
    Step,
    content_hash,
    sha256_text,
)
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.release_checks import verify
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.small_project import MARKER
from dataset_pipeline_tests.test_properties import Whole, assert_same, made_whole

REPOSITORY = Path(__file__).parent.parent
_STATE = ("warehouse.duckdb", "warehouse.duckdb.wal", "warehouse.duckdb.lock", "releases", ".dagster")


def run(root: Path) -> tuple[int, str]:
    """`dataset-pipeline run` in this process: exit code and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = running.run(root / "dataset.yaml", False, Choice())
    return code, out.getvalue()


def start(root: Path) -> subprocess.Popen[str]:
    """`dataset-pipeline run` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dataset_pipeline.cli.main", "run", "--spec", str(root / "dataset.yaml")],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return made_whole(tmp_path_factory.getbasetemp())


@dataclass(frozen=True)
class Judged:
    """A project after one run under Dagster, with all its gates, and what the run printed."""

    root: Path
    output: str


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    root = small.make_project(tmp_path_factory.mktemp("judged"))
    code, output = run(root)
    assert code == 0, output
    return Judged(root, output)


@pytest.fixture
def copied(judged: Judged, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "copied"
    shutil.copytree(judged.root, root, symlinks=True)
    yield root
    release_run_lock(root / "warehouse.duckdb")


def judged_form(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as their content hash is made of: of ingest without what messages say, which `content_sha` stands for."""
    if table != Step.INGEST:
        return rows
    emptied = pl.struct(pl.element().struct.field("role"), content=pl.lit(""))
    return rows.with_columns(pl.col("messages", "rejected").list.eval(emptied))


def assert_whole(root: Path) -> None:
    """Each day of each step is wholly what its newest publication says, and so is the release."""
    if not (root / "warehouse.duckdb").exists():
        return
    warehouse = small.open_project(root).warehouse
    tables, latest = {name: warehouse.table(name) for name in TABLES}, warehouse.latest()
    for step in DAILY_STEPS:
        days = {day for name, day in latest if name == step}
        assert set(tables[step]["day"]) <= days
        names = sorted((step, *EXTRA_TABLES.get(step, ())))
        for day in days:
            parts = [
                content_hash(judged_form(name, tables[name].filter(pl.col("day") == day))) for name in names
            ]
            assert latest[(step, day)].content == sha256_text(*parts), (step, day)
    if (PROTECTED, None) in latest:
        assert latest[(PROTECTED, None)].content == sha256_text(content_hash(tables[PROTECTED]))
    if (root / "releases" / "latest").is_symlink():
        assert verify(small.release_folder(root)).is_whole


# --- under Dagster, with its gates ----------------------------------------------------------------


def test_run_under_dagster_leaves_what_the_steps_alone_leave(whole: Whole, judged: Judged) -> None:
    assert_same(judged.root, whole)
    checks = small.open_project(judged.root).warehouse.query("SELECT DISTINCT step FROM checks")
    assert set(checks["step"]) == {PROTECTED, *DAILY_STEPS, RELEASE, REPORT}


# --- a gate -----------------------------------------------------------------------------------


def test_closed_gate_leaves_rows_and_release_and_opening_it_ends_the_same(
    whole: Whole, judged: Judged, copied: Path
) -> None:
    impossible = {"filter": {"examples_pass": {"max": -1, "reason": "a limit nothing meets"}}}
    small.write_spec(copied, {"gates": impossible})
    code, output = run(copied)
    assert code == 1
    assert "filter.examples_pass: 0 (limit at most -1)" in output
    assert f"stale days: {', '.join(small.DAYS)}" in output
    assert small.differences(small.tables(copied), whole.tables) == []
    assert {k: v for k, v in small.published(copied).items() if k[0] != RELEASE} == {
        k: v for k, v in whole.published.items() if k[0] != RELEASE
    }
    # Nothing new came of it, so the last release stays the newest, byte for byte.
    last = copied / "releases" / whole.release[""]
    assert (last / "manifest.json").read_bytes() == (
        judged.root / "releases" / last.name / "manifest.json"
    ).read_bytes()
    assert verify(last).is_whole
    assert small.release_hashes(copied) == whole.release
    assert MARKER not in output
    small.write_spec(copied)
    code, output = run(copied)
    assert code == 0, output
    assert_same(copied, whole)


# --- no text where none belongs -----------------------------------------------------------------


def test_run_leaves_no_text_of_records_with_dagster_or_on_the_terminal(judged: Judged) -> None:
    assert MARKER not in judged.output.lower()
    files = [path for path in (judged.root / ".dagster").rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    for path in files:
        assert MARKER.encode() not in path.read_bytes().lower(), path
        if path.suffix == ".db":
            # Long values are cut into pages: ask the database too.
            with contextlib.closing(sqlite3.connect(path)) as connection:
                tables = [
                    row[0]
                    for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                ]
                for table in tables:
                    assert all(
                        MARKER not in str(row).lower()
                        for row in connection.execute(f'SELECT * FROM "{table}"')
                    ), table


def test_run_reports_to_dagster_once_what_a_dead_run_published(copied: Path) -> None:
    import dagster as dg

    from dataset_pipeline.cli.orchestrator import Orchestrator

    context = small.open_project(copied)
    day = small.DAYS[1]

    def told() -> list[Any]:
        asked = dg.AssetRecordsFilter(dg.AssetKey("label"), asset_partitions=[day])
        with dg.DagsterInstance.from_config(str(context.project.dagster_home)) as instance:
            return list(instance.fetch_materializations(asked, limit=50).records)

    before = len(told())
    with Orchestrator(context) as orchestrator:
        # A run that published a day, never said so, and shows as running; its process id is ours again.
        dead = orchestrator.instance.create_run_for_job(
            orchestrator.job, tags={"dataset_pipeline/pid": str(os.getpid())}
        )
        orchestrator.instance.handle_new_event(
            dg.EventLogEntry(
                error_info=None, level="debug", user_message="", run_id=dead.run_id, timestamp=time.time(), job_name=dead.job_name,
                dagster_event=dg.DagsterEvent("PIPELINE_START", dead.job_name),
            )
        )  # fmt: skip
    with context.warehouse._connection() as connection:
        connection.execute(
            "INSERT INTO publications SELECT * REPLACE (seq + 1000 AS seq, ? AS run_id) FROM latest_publications WHERE step = 'label' AND day = ?",
            [dead.run_id, dt.date.fromisoformat(day)],
        )
    for _ in range(2):
        with Orchestrator(context) as orchestrator:
            run = orchestrator.instance.get_run_by_id(dead.run_id)
            assert run is not None and run.status == dg.DagsterRunStatus.FAILURE
        assert len(told()) == before + 1


# --- killed -------------------------------------------------------------------------------------

DEATHS = (
    "warehouse.claim=1", "run_inputs=1", "warehouse.stage_part=1", "run_step=1", "warehouse.publish=1", "run_step=3",
    "run_step=4", "run_step=5", "run_step=6", "run_step=7", "writer.finish=1",
)  # fmt: skip
"""Where each process of one project dies: within a step, after publishing, and after every step."""


@pytest.mark.faults
def test_killed_between_any_two_steps_the_next_run_ends_the_same(whole: Whole, tmp_path: Path) -> None:
    root = small.make_project(tmp_path / "dying")
    for point in (*DEATHS, ""):
        command = [
            sys.executable,
            "-m",
            "dataset_pipeline_tests.small_project",
            str(root),
            *([point] if point else []),
        ]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
        assert done.returncode == (-signal.SIGKILL if point else 0), (point, done.stderr)
        if point.startswith(("warehouse", "writer")):
            assert_whole(root)
    assert_same(root, whole)
    assert [p.name for p in (root / "releases").iterdir() if p.name.startswith(".")] == []


@pytest.mark.faults
def test_killed_while_running_the_next_run_ends_the_same(whole: Whole, tmp_path: Path) -> None:
    root = small.make_project(tmp_path / "killed")
    moments = random.Random(1)
    for line in ("starting Dagster", "  ingest", "  normalize"):
        process = start(root)
        assert process.stdout is not None
        for printed in process.stdout:
            if printed.startswith(line):
                time.sleep(moments.uniform(0, 0.4))
                break
        process.kill()
        process.communicate()
        assert_whole(root)
    code, output = run(root)
    release_run_lock(root / "warehouse.duckdb")
    assert code == 0, output
    assert_same(root, whole)


@pytest.mark.faults
def test_killed_at_40_random_moments_the_next_run_ends_the_same(whole: Whole, tmp_path: Path) -> None:
    root = small.make_project(tmp_path / "killed")
    began = time.monotonic()
    assert start(root).wait(300) == 0
    whole_run = time.monotonic() - began
    moments = random.Random(40)
    kills = 0
    while kills < 40:
        if kills % 5 == 0:
            for name in _STATE:
                path = root / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        process = start(root)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moments.uniform(0.2, whole_run))
        is_killed = process.poll() is None
        process.kill()
        process.communicate()
        kills += 1
        assert_whole(root)
        if kills % 5 == 0 or not is_killed:
            process = start(root)
            output = process.communicate(timeout=300)[0]
            assert process.returncode == 0, output
            assert_same(root, whole)


# --- two at once ----------------------------------------------------------------------------------


@pytest.mark.faults
def test_two_runs_at_once_both_end_well_and_leave_what_one_leaves(whole: Whole, tmp_path: Path) -> None:
    root = small.make_project(tmp_path / "two")
    processes = [start(root), start(root)]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert_same(root, whole)
    assert sum("Nothing to do" in output for output in outputs) == 1
    count = "SELECT count(*) AS n FROM publications WHERE step <> 'release' GROUP BY step, day"
    assert set(small.open_project(root).warehouse.query(count)["n"]) == {1}
