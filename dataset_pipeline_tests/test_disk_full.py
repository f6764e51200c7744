"""No room left on the disk, at every place where something is written (failure test 16).

What fills up is a process of its own that may write no file beyond a size: DuckDB, Polars and SQLite meet it in their own
code, as they meet a full disk.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dataset_pipeline.errors import disk_full
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.release_checks import verify
from dataset_pipeline.storage.releases import latest_version
from dataset_pipeline.storage.sources import calendar
from dataset_pipeline_tests import small_project as small

CHILD = """
import sys
from pathlib import Path
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.errors import disk_full
from dataset_pipeline.storage.sources import calendar
from dataset_pipeline_tests import small_project as small

context = small.open_project(Path(sys.argv[1]))
try:
    if sys.argv[2] == "days":
        small.run_days(context, calendar(context.project, context.found), "full")
    run_release(context, small.status(context), "full")
except Exception as error:
    print(disk_full(error) or f"not told: {error!r}")
    sys.exit(1)
"""
OTHER = {"dedup": {"near": {"threshold": 0.9}}}
"""A change that makes every step from dedup on write anew."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = small.make_project(tmp_path_factory.mktemp("built"))
    small.run_all(root)
    release_run_lock(root / "warehouse.duckdb")
    return root


def limited(arguments: list[str], file_bytes: int) -> subprocess.CompletedProcess[str]:
    """A process that may write no file beyond `file_bytes`."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return subprocess.run(
        [sys.executable, *arguments], preexec_fn=limit, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def whole(root: Path) -> tuple[dict[str, pl.DataFrame], str | None]:
    """What is published, and the release that `latest` names, which is whole."""
    version = latest_version(root / "releases")
    assert version is not None and verify(root / "releases" / version).is_whole
    return small.tables(root), version


@pytest.mark.faults
@pytest.mark.parametrize("place", ["stage", "release"])
def test_disk_full_where_it_is_told_and_nothing_published_changes(
    built: Path, tmp_path: Path, place: str
) -> None:
    root = tmp_path / "project"
    shutil.copytree(built, root, symlinks=True)
    small.write_spec(root, OTHER)
    if place == "release":
        context = small.open_project(root)
        small.run_days(context, calendar(context.project, context.found), "days")
        release_run_lock(root / "warehouse.duckdb")
    before = whole(root)
    # The log of the warehouse outgrows the first; the days fit below the second, the release's Parquet does not.
    ended = limited(["-c", CHILD, str(root), "days" if place == "stage" else "release"], 8_000)
    assert ended.returncode == 1, ended.stderr[-2000:]
    assert "There is no room to write" in ended.stdout
    after = whole(root)
    assert small.differences(before[0], after[0]) == [] and before[1] == after[1]
    small.run_all(root)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(built, undisturbed, symlinks=True)
    small.write_spec(undisturbed, OTHER)
    release_run_lock(root / "warehouse.duckdb")
    small.run_all(undisturbed)
    assert whole(root)[1] == whole(undisturbed)[1] != before[1]


@pytest.mark.faults
@pytest.mark.parametrize(
    "file_bytes", [20_000, 200_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000]
)
def test_disk_full_in_a_run_ends_in_words_and_the_next_run_repairs(
    built: Path, tmp_path: Path, file_bytes: int
) -> None:
    root = tmp_path / "project"
    shutil.copytree(built, root, symlinks=True)
    small.write_spec(root, OTHER)
    old = whole(root)[1]
    command = ["-m", "dataset_pipeline.cli.main", "run", "--spec", str(root / "dataset.yaml")]
    ended = limited(command, file_bytes)
    assert ended.returncode in (0, 1)
    assert "Traceback" not in ended.stderr + ended.stdout
    if ended.returncode == 1:
        assert "There is no room to write" in ended.stderr + ended.stdout
        assert whole(root)[1] == old
    again = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(built, undisturbed, symlinks=True)
    small.write_spec(undisturbed, OTHER)
    small.run_all(undisturbed)
    release_run_lock(undisturbed / "warehouse.duckdb")
    assert whole(root)[1] == whole(undisturbed)[1]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "warehouse.duckdb"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        duckdb.IOException("IO Error: Could not write file: No space left on device"),
        pl.exceptions.ComputeError("No space left on device (os error 28)"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_disk_full_is_known_in_the_words_of_each_library(error: Exception) -> None:
    outer = RuntimeError("the step failed with secret words")
    outer.__cause__ = error
    told = disk_full(outer)
    assert told is not None and told.exit_code == 1 and "secret" not in str(told)


def test_disk_full_is_not_seen_in_other_errors() -> None:
    assert disk_full(ValueError("a disk of cheese")) is None
    assert disk_full(PermissionError(errno.EACCES, "Permission denied", "x")) is None
