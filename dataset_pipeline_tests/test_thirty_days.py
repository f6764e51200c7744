"""Thirty days with one bad: 29 are published and one is to run again; any order of days ends the same (failure test 20).

Lives here: one small file a day, runs day by day and of all days. Keep out: stretches and gates between steps
(`test_stretches`), what makes a day bad (`test_bad_input`).
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import State
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.records import DAILY_STEPS
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.scenario import call, jsonl, last_json, make_project, row, rows, spec

FIRST = dt.date(2026, 11, 1)
BAD = dt.date(2026, 11, 17)


def days_of(count: int) -> list[dt.date]:
    return [FIRST + dt.timedelta(days=n) for n in range(count)]


def files_of(days: list[dt.date]) -> dict[str, bytes]:
    """Ten new rows a day, and a row of the first day once more on every second: days look back."""
    return {
        f"sources/{day}.jsonl": jsonl(
            [*rows(10 * n, 10), *([row(n % 7, id=f"copy {n}", text=f"  {row(n % 7)['text']} ")] if n % 2 else [])]
        )
        for n, day in enumerate(days)
    }  # fmt: skip


def bad_file() -> bytes:
    """Good rows without the column that the spec maps."""
    return jsonl([{"id": f"b{n}", "words": "not where they were", "label": "bug"} for n in range(10)])


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for folder in tmp_path.iterdir():
        release_run_lock(folder / "warehouse.duckdb")


def ended(root: Path) -> tuple[dict[str, str], dict[tuple[str, str], tuple[str, str, int, int]]]:
    return small.release_hashes(root), small.published(root)


def made(root: Path, days: list[dt.date], orders: list[list[dt.date]]) -> None:
    """Each list of days by itself, without Dagster; then what is not up to date, and a release."""
    make_project(root, spec(dedup={"near": {"threshold": 0.8}}), files_of(days))
    context = small.open_project(root)
    run_inputs(context, "inputs")
    for number, chosen in enumerate(orders):
        small.run_days(context, chosen, f"part {number}")
    for first, last in small.status(context).stretches():
        small.run_days(context, [d for d in days if first <= d <= last], "rest")
    assert small.status(context).of(State.STALE, State.MISSING) == []
    run_release(context, small.status(context), "release")


def assert_orders_end_the_same(projects: Path, count: int, seeds: range) -> None:
    days = days_of(count)
    made(projects / "whole", days, [days])
    tables, whole = small.tables(projects / "whole"), ended(projects / "whole")
    assert tables["dedup"].filter(reason="exact").height == len(days) // 2
    for seed in seeds:
        order = list(days)
        random.Random(seed).shuffle(order)
        root = projects / f"order {seed}"
        made(root, days, [[day] for day in order])
        assert small.differences(small.tables(root), tables) == [] and ended(root) == whole, order


@pytest.mark.faults
def test_days_in_any_order_end_the_same(projects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.switch_gates_off(monkeypatch)
    assert_orders_end_the_same(projects, 3, range(2, 3))


@pytest.mark.faults
def test_thirty_days_in_any_order_end_the_same(projects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.switch_gates_off(monkeypatch)
    assert_orders_end_the_same(projects, 30, range(1))


@pytest.mark.faults
def test_run_of_single_days_in_any_order_ends_the_same(projects: Path) -> None:
    days, order = days_of(5), days_of(5)
    random.Random(7).shuffle(order)
    whole = make_project(projects / "whole", None, files_of(days))
    assert call("run", whole).exit_code == 0
    path = make_project(projects / "parts", None, files_of(days))
    for day in order:
        assert call("run", path, "--from", str(day), "--to", str(day)).exit_code == 0
    assert call("run", path).exit_code == 0
    assert small.differences(small.tables(path.parent), small.tables(whole.parent)) == []
    assert ended(path.parent) == ended(whole.parent)


@pytest.mark.faults
def test_thirty_days_with_one_bad_publish_29_and_the_bad_one_once_mended(projects: Path) -> None:
    days = days_of(30)
    files = files_of(days)
    name = f"sources/{BAD}.jsonl"
    path = make_project(projects / "bad", None, files | {name: bad_file()})
    result = call("run", path, "--json")
    assert result.exit_code == 1
    line = last_json(result)
    assert (line["missing_days"], line["stale_days"]) == ([str(BAD)], [])
    assert f"bad day {BAD}: ingest: inbox: {name}: has no column 'text'" in result.stderr
    manifest = json.loads((small.release_folder(path.parent) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["missing_days"] == [str(BAD)]
    told = last_json(call("status", path, "--json"))
    states = {(e["step"], e["day"]): e["state"] for e in told["steps"] if e["day"]}
    assert {day for (_, day), state in states.items() if state != "published"} == {str(BAD)}
    assert all(states[str(step), str(BAD)] == "missing" for step in DAILY_STEPS)
    assert sum(state == "published" for state in states.values()) == 29 * len(DAILY_STEPS)
    # Mended, it and the days that look back at it are made; the end is that of a run that nothing disturbed.
    (path.parent / name).write_bytes(files[name])
    assert call("run", path).exit_code == 0
    whole = make_project(projects / "whole", None, files)
    assert call("run", whole).exit_code == 0
    assert small.differences(small.tables(path.parent), small.tables(whole.parent)) == []
    assert ended(path.parent) == ended(whole.parent)
