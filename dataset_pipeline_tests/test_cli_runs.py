"""Commands that make something or wait for it: init, choices of run, interruption, busy projects."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.assets import steps
from dataset_pipeline.assets.engine import run_step
from dataset_pipeline.records import Step
from dataset_pipeline.storage.locks import RUN_WAIT_VARIABLE, lock_path, release_run_lock
from dataset_pipeline.storage.sources import calendar
from dataset_pipeline.storage.warehouse import WAIT_VARIABLE
from dataset_pipeline_tests.conftest import run_whole, sample_context
from dataset_pipeline_tests.scenario import (
    call,
    csv_bytes,
    jsonl,
    last_json,
    make_project,
    released,
    rows,
    spec,
    text,
)
from dataset_pipeline_tests.test_cli import publications


@pytest.fixture(autouse=True)
def _no_lock_left(tmp_path: Path) -> Iterator[None]:
    yield
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


# --- init ---------------------------------------------------------------------------------

TALKS = [{"id": f"t{n}", "messages": [{"role": "user", "content": text(n)}, {"role": "assistant", "content": text(n + 90)}]} for n in range(30)]  # fmt: skip
LAYOUTS: dict[str, tuple[str, bytes, str, str]] = {
    "chat": ("talks.jsonl", jsonl(TALKS), "chat", "layout: chat"),
    "alpaca": ("tasks.jsonl", jsonl([{"instruction": text(n), "output": text(n + 90)} for n in range(30)]), "instruction", "layout: alpaca"),
    "completion": ("stories.jsonl", jsonl([{"prompt": text(n), "completion": text(n + 90)} for n in range(30)]), "completion", "layout: completion"),
    "classification": ("my messages.csv", csv_bytes(rows(0, 30)), "classification", '"output": "label"'),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cli_init_from_a_file_writes_a_spec_that_reads_it(tmp_path: Path, layout: str) -> None:
    name, data, task, expected = LAYOUTS[layout]
    (tmp_path / name).write_bytes(data)
    made = call("init", None, str(tmp_path / "project"), "--from", str(tmp_path / name))
    assert made.exit_code == 0, made.output
    path = tmp_path / "project" / "dataset.yaml"
    assert f"type: {task} " in path.read_text() and expected in path.read_text()
    assert call("check", path).exit_code == 0
    context = sample_context(path.parent)
    run_step(context, Step.INGEST, calendar(context.project, context.found), "test")
    assert context.warehouse.table(Step.INGEST).height == 30
    assert context.warehouse.table("rejects").height == 0


@pytest.mark.faults
def test_cli_init_from_a_file_runs_to_its_release(tmp_path: Path) -> None:
    name, data, _, _ = LAYOUTS["chat"]
    (tmp_path / name).write_bytes(data)
    call("init", None, str(tmp_path / "project"), "--from", str(tmp_path / name))
    run_whole(tmp_path / "project")
    manifest = json.loads((tmp_path / "project/releases/latest/manifest.json").read_text())
    assert sum(manifest["counts"]["splits"].values()) == 30


def test_cli_init_without_a_file_writes_a_spec_that_lacks_only_data(tmp_path: Path) -> None:
    assert call("init", None, str(tmp_path / "1 été")).exit_code == 0
    result = call("check", tmp_path / "1 été", "--json")
    problems = last_json(result)["problems"]
    assert [p["message"].split(" ")[:3] for p in problems] == [["no", "file", "matches"]]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.xlsx", b"x", "is not an .xlsx workbook"),
        ("a.csv", b"", "a.csv: empty file: a CSV needs a header line"),
        ("a.csv", b"text,label\n", "holds no row that can be read"),
        ("absent.csv", None, "there is no such file"),
    ],
)
def test_cli_init_from_a_file_that_is_none_ends_with_2(
    tmp_path: Path, name: str, data: bytes | None, expected: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    result = call("init", None, str(tmp_path / "project"), "--from", str(tmp_path / name))
    assert result.exit_code == 2 and expected in result.stderr
    assert not (tmp_path / "project").exists()


def test_cli_init_overwrites_nothing(tmp_path: Path) -> None:
    path = make_project(tmp_path / "project")
    (tmp_path / "2026-03-01.jsonl").write_bytes(jsonl(rows(0)))
    before = path.read_text()
    again = call("init", None, str(path.parent))
    assert again.exit_code == 2 and "is there already." in again.stderr and path.read_text() == before
    path.unlink()
    other = call("init", None, str(path.parent), "--from", str(tmp_path / "2026-03-01.jsonl"))
    assert other.exit_code == 2 and "sources/2026-03-01.jsonl: is there already." in other.stderr
    own = call("init", None, str(path.parent), "--from", str(path.parent / "sources/2026-03-01.jsonl"))
    assert own.exit_code == 0 and (path.parent / "sources/2026-03-01.jsonl").read_bytes() == jsonl(rows(0))
    in_a_file = call("init", None, str(tmp_path / "2026-03-01.jsonl"))
    assert in_a_file.exit_code == 2 and "is no folder" in in_a_file.stderr


# --- parts of a run -----------------------------------------------------------------------


@pytest.mark.faults
def test_cli_run_for_days_and_steps_makes_these_alone(tmp_path: Path) -> None:
    path = make_project(tmp_path / "project")
    one = call("run", path, "--json", "--from", "2026-03-02", "--to", "2026-03-02")
    assert one.exit_code == 0 and last_json(one)["missing_days"] == ["2026-03-01", "2026-03-03"]
    assert {day for _, _, day, *_ in publications(path)} == {None, dt.date(2026, 3, 2)}
    asked_again = call("run", path, "--from", "2026-03-02", "--to", "2026-03-02")
    assert "Nothing to do: what was asked for is up to date" in asked_again.stdout
    assert "missing days: 2026-03-01, 2026-03-03" in asked_again.stdout

    whole = call("run", path, "--json")
    assert whole.exit_code == 0 and last_json(whole)["missing_days"] == []
    before = publications(path)
    make_project(path.parent, spec(split={"seed": 8}), {})
    part = call("run", path, "--select", "split", "--json")
    assert part.exit_code == 0 and set(last_json(part)["seconds"]) == {"split", "release", "report"}
    assert {row[1] for row in publications(path)[len(before) :]} == {"split", "release", "report"}


def test_cli_run_select_without_the_steps_before_says_what_is_missing(tmp_path: Path) -> None:
    path = make_project(tmp_path / "project")
    result = call("run", path, "--select", "filter")
    assert result.exit_code == 1
    assert "the step before has not published this day yet; run the whole graph for it" in result.stdout
    assert released(path) == []


@pytest.mark.faults
def test_cli_run_interrupted_says_so_and_goes_on_when_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_project(tmp_path / "project")

    def interrupted(*_: Any) -> Any:
        signal.raise_signal(signal.SIGINT)  # what Ctrl-C sends
        time.sleep(10)

    with monkeypatch.context() as patch:
        patch.setitem(steps._WORK, Step.FILTER, interrupted)
        result = call("run", path)
    assert result.exit_code == 130
    assert "Stopped. What was published stays; run again to go on." in result.stderr
    assert {row[1] for row in publications(path)} == {
        "protected",
        "ingest",
        "dedup",
    }
    assert released(path) == []
    again = call("run", path, "--json")
    assert again.exit_code == 0 and set(last_json(again)["seconds"]) >= {"filter", "release"}
    assert sum(last_json(again)["released"].values()) == 60


# --- a busy project: exit 3 -----------------------------------------------------------------

_HOLD_WAREHOUSE = (
    "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
)
_HOLD_RUN = (
    "import sys, pathlib; from dataset_pipeline.storage.locks import hold_run_lock; "
    "hold_run_lock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def held_by_another(code: str, warehouse: Path) -> Iterator[int]:
    """The process id of another process that holds what `code` takes."""
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(warehouse)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.communicate("")


@pytest.mark.parametrize("command", ["run", "status"])
def test_cli_warehouse_held_by_another_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    path = make_project(tmp_path / "project")
    monkeypatch.setenv(WAIT_VARIABLE, "0.5")
    warehouse = path.parent / "warehouse.duckdb"
    with held_by_another(_HOLD_WAREHOUSE, warehouse) as pid:
        result = call(command, path)
    assert result.exit_code == 3
    assert f"{warehouse}: process {pid} (python" in result.stderr and "holds the warehouse" in result.stderr


def test_cli_run_while_another_runs_ends_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_project(tmp_path / "project")
    monkeypatch.setenv(RUN_WAIT_VARIABLE, "0.5")
    warehouse = path.parent / "warehouse.duckdb"
    with held_by_another(_HOLD_RUN, warehouse) as pid:
        result = call("run", path)
        assert call("status", path).exit_code == 0, "looking is free while another runs"
    assert result.exit_code == 3
    assert f"{lock_path(warehouse)}: process {pid} is running this project" in result.stderr
    assert released(path) == []


def test_cli_warehouse_that_is_none_says_how_to_go_on(tmp_path: Path) -> None:
    path = make_project(tmp_path / "project")
    (path.parent / "warehouse.duckdb").write_bytes(json.dumps({"not": "a database"}).encode() * 400)
    result = call("run", path)
    assert result.exit_code == 2
    assert (
        "warehouse.duckdb: cannot be opened as a warehouse" in result.stderr
        and "Move the file away" in result.stderr
    )
