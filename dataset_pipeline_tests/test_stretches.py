"""The way to a dataset does not matter: days in any order, again, changed and changed back, with gates between.

Lives here: runs in parts, against one undisturbed run of the same files, without Dagster. Keep out: killed
processes (`test_faults`).
"""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset_pipeline.assets import releasing
from dataset_pipeline.assets.engine import run_step
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import State
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.records import Step
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.small_project import DAYS
from dataset_pipeline_tests.test_properties import Whole, assert_same, made_whole


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return made_whole(tmp_path_factory.getbasetemp())


@pytest.fixture
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    small.switch_gates_off(monkeypatch)


def _stretches(cuts: list[bool], order: random.Random) -> list[list[dt.date]]:
    days = [dt.date.fromisoformat(day) for day in DAYS]
    parts = [[days[0]]]
    for day, cut in zip(days[1:], cuts, strict=True):
        if cut:
            parts.append([day])
        else:
            parts[-1].append(day)
    order.shuffle(parts)
    return parts


class _Backwards(random.Random):
    """The last day first."""

    def shuffle(self, x: list[object]) -> None:  # type: ignore[override]
        x.reverse()


@pytest.mark.faults
@settings(max_examples=2, deadline=None, derandomize=True, database=None)
@given(
    cuts=st.lists(st.booleans(), min_size=4, max_size=4),
    order=st.randoms(use_true_random=False),
    left_out=st.integers(0, 4),
)
@example(cuts=[True] * 4, order=_Backwards(), left_out=4)
def test_stretches_in_any_order_leave_what_one_range_leaves(
    whole: Whole, cuts: list[bool], order: random.Random, left_out: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        small.switch_gates_off(patch)
        root = small.make_project(Path(folder))
        context = small.open_project(root)
        run_inputs(context, "protected")
        for number, days in enumerate(_stretches(cuts, order)):
            if number != left_out:
                small.run_days(context, days, f"stretch {number}")
        if order.random() < 0.5 and any(s == Step.SPLIT for s, _ in context.warehouse.latest()):
            run_release(context, small.status(context), "early")
        for first, last in small.status(context).stretches():
            days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
            small.run_days(context, days, "filling")
        assert small.status(context).of(State.MISSING, State.STALE) == []
        run_release(context, small.status(context), "release")
        run_report(context, "release")
        assert_same(root, whole)
        release_run_lock(context.warehouse.path)


def test_second_run_publishes_nothing(whole: Whole) -> None:
    warehouse = small.open_project(whole.root).warehouse
    count = "SELECT (SELECT count(*) FROM publications) AS p, (SELECT count(*) FROM checks) AS c"
    before = warehouse.query(count).row(0)
    files = {p: p.stat().st_mtime_ns for p in (whole.root / "releases").rglob("*")}
    outcomes = small.run_all(whole.root, "again")
    assert all(outcome.is_noop for outcome in outcomes)
    assert all("up to date" in outcome.notes[0] for outcome in outcomes)
    assert warehouse.query(count).row(0) == before
    assert {p: p.stat().st_mtime_ns for p in (whole.root / "releases").rglob("*")} == files
    assert_same(whole.root, whole)


@pytest.mark.faults
def test_day_that_changes_and_changes_back_leaves_what_an_undisturbed_run_leaves(
    whole: Whole, ungated: None, tmp_path: Path
) -> None:
    root = tmp_path / "project"
    shutil.copytree(whole.root, root, symlinks=True)
    path = root / "sources" / "inbox" / f"{DAYS[0]}.jsonl"
    original = path.read_bytes()
    path.write_bytes(b"".join(original.splitlines(keepends=True)[3:]))
    small.run_all(root, "shorter")
    assert small.published(root) != whole.published
    path.write_bytes(original)
    small.run_all(root, "restored")
    assert_same(root, whole)


@pytest.mark.faults
def test_day_between_two_closed_gates_is_released_as_it_stands_and_leaves_no_trace_once_mended(
    whole: Whole, ungated: None, tmp_path: Path
) -> None:
    """ingest has moved on, dedup has not: days made meanwhile look back at rows that are no longer whole."""
    root = small.make_project(tmp_path)
    first, last = (root / "sources" / "inbox" / f"{DAYS[n]}.jsonl" for n in (0, 4))
    original, late = first.read_bytes(), last.read_bytes()
    last.write_bytes(b"".join(late.splitlines(keepends=True)[:1]))
    small.run_all(root, "before")
    # The second row of the first day is the twin of a row of the last day; it vanishes and comes back.
    # Another row is collected anew under another id.
    lines = [line for line in original.splitlines(keepends=True) if b'"T4"' not in line]
    first.write_bytes(b"".join(lines).replace(b'"T12"', b'"T12 again"'))
    last.write_bytes(late)
    context = small.open_project(root)
    day, end = (dt.date.fromisoformat(DAYS[n]) for n in (0, 4))
    run_step(context, Step.INGEST, [day], "gate of dedup closed")
    small.run_days(context, [end], "meanwhile")
    run_release(context, small.status(context), "meanwhile")
    folder = small.release_folder(root)
    accounted = [
        pl.read_parquet(folder / f"{name}.parquet")["record_id"] for name in ("provenance", "dropped")
    ]
    assert sorted(pl.concat(accounted)) == sorted(small.tables(root)["ingest"]["record_id"])
    first.write_bytes(original)
    small.run_all(root, "mended")
    assert_same(root, whole)


def test_day_whose_first_gate_closed_does_not_hold_up_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = releasing._judge
    small.switch_gates_off(monkeypatch)
    monkeypatch.setattr(releasing, "_judge", gate)
    root = small.make_project(tmp_path)
    context = small.open_project(root)
    run_inputs(context, "run")
    days = [dt.date.fromisoformat(day) for day in DAYS]
    small.run_days(context, days[:4], "run")
    run_step(context, Step.INGEST, days[4:], "run")
    run_step(context, Step.DEDUP, days[4:], "gate of filter closed")
    outcome = run_release(context, small.status(context), "run")
    assert [j.expectation.name for j in outcome.judgements if not j.passed] == []
    dropped = pl.read_parquet(small.release_folder(root) / "dropped.parquet").filter(day=days[4])
    dedup = small.tables(root)["dedup"].filter(pl.col("kept"), day=days[4])
    unmade = dropped.filter(reason="not_made")
    assert sorted(unmade["record_id"]) == sorted(dedup["record_id"])
    assert set(unmade["detail"]) == {'{"rule":"not_made","step":"filter"}'}
    manifest = json.loads((small.release_folder(root) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["missing_days"] == [DAYS[4]] and manifest["counts"]["not_made"] == dedup.height
