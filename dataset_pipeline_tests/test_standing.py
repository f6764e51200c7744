"""Rows that stand: a day made again computes only what is new to it, and ends as if all had been computed.

Lives here: filter, normalize and decontaminate after a change, against the same project made at once. Keep out:
what makes a day stale (`test_stretches`, `test_warehouse`).
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from dataset_pipeline.assets import row_local
from dataset_pipeline.assets.plan import State
from dataset_pipeline.records import Step
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms import language, pii
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.small_project import DAYS
from dataset_pipeline_tests.test_properties import Whole, assert_same, made_whole

STRICT = {"filter": {"input": {"min_words": 14}}}
"""Drops some messages of every day and leaves most."""

Computed = dict[str, int]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return made_whole(tmp_path_factory.getbasetemp())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    """Function to the number of records it was asked about, counted from here on."""
    small.switch_gates_off(monkeypatch)
    counts: Computed = {"filter_records": 0, "normalize": 0, "decontaminate": 0}

    def counting(name: str) -> Callable[..., object]:
        real = getattr(row_local, name)

        def counted(records: object, *args: object) -> object:
            counts[name] += records.height  # type: ignore[attr-defined]
            return real(records, *args)

        return counted

    for name in counts:
        monkeypatch.setattr(row_local, name, counting(name))
    return counts


def _reset(computed: Computed) -> None:
    computed.update(dict.fromkeys(computed, 0))


@pytest.mark.faults
def test_threshold_changed_and_changed_back_measures_nothing_again_and_computes_only_what_comes_back(
    whole: Whole, computed: Computed, tmp_path: Path
) -> None:
    root = small.make_project(tmp_path, STRICT)
    small.run_all(root, "strict")
    strict = small.tables(root)
    _reset(computed)
    small.write_spec(root)
    small.run_all(root, "back")
    came_back = set(whole.tables[Step.FILTER].filter("kept")["record_id"]) - set(
        strict[Step.FILTER].filter("kept")["record_id"]
    )
    assert 0 < len(came_back) < whole.tables[Step.NORMALIZE].height
    assert computed == {
        "filter_records": 0,
        "normalize": len(came_back),
        "decontaminate": len(came_back & set(whole.tables[Step.DECONTAMINATE]["record_id"])),
    }
    assert_same(root, whole)
    _reset(computed)
    small.write_spec(root, STRICT)
    small.run_all(root, "strict again")
    assert computed == dict.fromkeys(computed, 0), "what only goes is not computed"
    assert small.differences(small.tables(root), strict) == []
    release_run_lock(root / "warehouse.duckdb")


@pytest.mark.faults
def test_setting_that_changes_what_is_measured_measures_every_record_again(
    whole: Whole, computed: Computed, tmp_path: Path
) -> None:
    root = small.make_project(tmp_path, {"filter": {"input": {"min_words": 3}, "chars_per_token": 2.0}})
    small.run_all(root, "other tokens")
    _reset(computed)
    small.write_spec(root)
    small.run_all(root, "back")
    assert computed["filter_records"] == whole.tables[Step.FILTER].height
    assert_same(root, whole)
    release_run_lock(root / "warehouse.duckdb")


@pytest.mark.faults
def test_file_that_changed_computes_its_day_anew_and_no_other(
    whole: Whole, computed: Computed, tmp_path: Path
) -> None:
    root = small.make_project(tmp_path)
    path = root / "sources" / "inbox" / f"{DAYS[0]}.jsonl"
    original = path.read_bytes()
    path.write_bytes(b"".join(original.splitlines(keepends=True)[3:]))
    small.run_all(root, "shorter")
    _reset(computed)
    path.write_bytes(original)
    small.run_all(root, "whole")
    first = dt.date.fromisoformat(DAYS[0])
    of_day = {
        step: whole.tables[step].filter(day=first).height for step in whole.tables if step == Step.NORMALIZE
    }
    others = 3  # what a twin of the first day lets come and go on later ones
    assert of_day[Step.NORMALIZE] <= computed["normalize"] <= of_day[Step.NORMALIZE] + others
    assert_same(root, whole)
    release_run_lock(root / "warehouse.duckdb")


@pytest.mark.faults
@pytest.mark.parametrize(
    "before",
    [
        pytest.param({"normalize": {"languages": []}}, id="languages"),
        pytest.param({"decontaminate": {"sets": []}}, id="sets"),
        pytest.param({"normalize": {"languages": ["en"], "pii": {"action": "keep"}}}, id="personal_data"),
    ],
)
def test_settings_of_a_later_step_that_changed_leave_what_an_undisturbed_run_leaves(
    whole: Whole, computed: Computed, tmp_path: Path, before: dict[str, object]
) -> None:
    root = small.make_project(tmp_path, before)
    small.run_all(root, "before")
    small.write_spec(root)
    small.run_all(root, "after")
    assert_same(root, whole)
    release_run_lock(root / "warehouse.duckdb")


def test_version_of_one_function_raised_computes_that_function_alone(
    whole: Whole, computed: Computed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    shutil.copytree(whole.root, root, symlinks=True)
    asked = dict.fromkeys(("pii", "language"), 0)

    def counting(module: ModuleType, function: str, name: str) -> None:
        real = getattr(module, function)

        def counted(*args: object) -> object:
            asked[name] += 1
            return real(*args)

        monkeypatch.setattr(module, function, counted)

    counting(pii, "_found", "pii")
    counting(language, "_found", "language")
    now = language.VERSION
    monkeypatch.setattr(language, "VERSION", now + 1)
    stale = small.status(small.open_project(root)).of(State.STALE)
    assert {entry.step for entry in stale if f"language {now} → {now + 1}" in entry.reasons} == {
        Step.NORMALIZE
    }
    outcomes = small.run_all(root, "raised")
    assert asked["pii"] == 0 and asked["language"] > 0
    assert computed["filter_records"] == computed["decontaminate"] == 0
    assert [o.step for o in outcomes if not o.is_noop] == [Step.NORMALIZE], "its rows are what they were"
    assert small.differences(small.tables(root), whole.tables) == []
    release_run_lock(root / "warehouse.duckdb")


def test_cache_deleted_between_two_runs_changes_no_result(
    whole: Whole, computed: Computed, tmp_path: Path
) -> None:
    root = small.make_project(tmp_path, STRICT)
    small.run_all(root, "strict")
    (root / "cache.duckdb").unlink()
    small.write_spec(root)
    small.run_all(root, "without its cache")
    assert_same(root, whole)
    release_run_lock(root / "warehouse.duckdb")
