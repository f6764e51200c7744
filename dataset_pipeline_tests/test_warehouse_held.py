"""The warehouse file: another process has it open, another program or version wrote it.

Lives here: waiting, and refusing with a remedy. Keep out: what a publish does (`test_warehouse`).
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataset_pipeline.errors import WarehouseBusy, WarehouseVersion
from dataset_pipeline.records import Step
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests.test_warehouse import MONDAY, NEW, OLD, publish


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.duckdb", wait_seconds=0.3)
    made.initialize()
    return made


@contextmanager
def held(path: Path, read_only: bool) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the file open until its standard input ends."""
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(path)!r}, read_only={read_only}); "
        "print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_warehouse_that_was_read_can_be_read_in_a_forked_process(warehouse: Warehouse) -> None:
    publish(warehouse, OLD)
    assert warehouse.table(Step.LABEL).height == OLD.height
    child = multiprocessing.get_context("fork").Process(target=_counted, args=(warehouse, OLD.height))
    child.start()
    child.join(30)
    assert child.exitcode == 0


def _counted(warehouse: Warehouse, height: int) -> None:
    count = warehouse.query(f'SELECT count(*) AS n FROM main."{Step.LABEL}"')["n"].item()
    os._exit(0 if count == height else 1)


@pytest.mark.parametrize("read_only", [False, True], ids=["writing", "reading"])
def test_warehouse_held_by_another_process_is_busy_after_a_bounded_wait(
    warehouse: Warehouse, read_only: bool
) -> None:
    publish(warehouse, OLD)
    with held(warehouse.path, read_only) as process:
        started = time.monotonic()
        with pytest.raises(WarehouseBusy) as caught:
            warehouse.claim(Step.LABEL, [MONDAY], "run")
        assert 0.25 < time.monotonic() - started < 5
        assert str(warehouse.path) in str(caught.value) and f"process {process.pid}" in str(caught.value)
        assert caught.value.exit_code == 3
        if read_only:
            assert warehouse.table(Step.LABEL).equals(OLD)
    publish(warehouse, NEW, "r2")
    assert warehouse.table(Step.LABEL).equals(NEW)


def test_warehouse_let_go_within_the_wait_is_waited_for(warehouse: Warehouse) -> None:
    patient = Warehouse(warehouse.path, wait_seconds=30)
    with held(warehouse.path, False) as process:
        threading.Timer(0.4, process.kill).start()
        publish(patient, OLD)
    assert warehouse.table(Step.LABEL).equals(OLD)


def test_initialize_by_several_processes_at_once_makes_one_warehouse(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    code = (
        "import sys; from pathlib import Path; from dataset_pipeline.storage.warehouse import Warehouse\n"
        f"sys.stdin.readline(); w = Warehouse(Path({str(path)!r})); w.initialize(); w.claim('protected', [None], 'run')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [(p.communicate(timeout=60)[1], p.returncode) for p in running] == [("", 0)] * 3
    assert [p.name for p in tmp_path.iterdir()] == ["warehouse.duckdb"]


def _corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 + 16 : 4096 + 80] = b"\xff" * 64
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_text("id,text\n1,hello\n" * 500), "cannot be opened as a warehouse"),
        (lambda path: path.write_bytes(b""), "cannot be opened as a warehouse"),
        (_corrupt, "cannot be opened as a warehouse"),
    ],
    ids=["another format", "no byte", "flipped bytes"],
)
def test_initialize_file_that_is_no_database_is_refused_with_the_remedy(
    warehouse: Warehouse, spoil: Any, said: str
) -> None:
    spoil(warehouse.path)
    content = warehouse.path.read_bytes()
    with pytest.raises(WarehouseVersion, match=said) as caught:
        warehouse.initialize()
    assert "Move the file away" in str(caught.value) and str(warehouse.path) in str(caught.value)
    assert warehouse.path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE meta SET value = '0'", "schema version 0"),
        ("DELETE FROM meta", "schema version unknown"),
        ("DROP TABLE meta", "tables that are not ours"),
    ],
)
def test_initialize_another_version_is_refused_with_the_remedy(
    warehouse: Warehouse, statement: str, said: str
) -> None:
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute(statement)
    with pytest.raises(WarehouseVersion, match=said) as caught:
        warehouse.initialize()
    assert "Move the file away" in str(caught.value) and caught.value.exit_code == 2
