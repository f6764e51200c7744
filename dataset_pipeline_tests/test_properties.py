"""What holds of every run: nothing is lost, order and machine do not matter, the way there does not either.

Lives here: properties of whole runs of the small project, without Dagster. Keep out: crashes
(`test_faults`), properties of pure functions (`test_properties_of_steps`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset_pipeline.assets.engine import run_step
from dataset_pipeline.assets.plan import State
from dataset_pipeline.assets.protecting import run_protected
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.records import DAILY_STEPS, REASONS, Step
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.small_project import DAYS, MARKER

REPOSITORY = Path(__file__).parent.parent
HERE = ("uri", "line", "byte_offset")


@dataclass(frozen=True)
class Whole:
    """One judged run of the small project, and what it left."""

    root: Path
    tables: dict[str, pl.DataFrame]
    published: dict[tuple[str, str], tuple[str, str, int, int]]
    release: dict[str, str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    root = small.make_project(tmp_path_factory.mktemp("whole"))
    small.run_all(root)
    yield Whole(root, small.tables(root), small.published(root), small.release_hashes(root))
    release_run_lock(root / "warehouse.duckdb")


@pytest.fixture
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    small.switch_gates_off(monkeypatch)


def assert_same(root: Path, whole: Whole) -> None:
    """Equal tables down to reasons and twins, equal publications, equal release bytes."""
    assert small.differences(small.tables(root), whole.tables) == []
    assert small.published(root) == whole.published
    assert small.release_hashes(root) == whole.release


# --- nothing is lost ----------------------------------------------------------------------


def test_small_project_meets_every_step(whole: Whole) -> None:
    reasons = {step: set(whole.tables[step]["reason"].drop_nulls()) for step in DAILY_STEPS}
    assert reasons == {
        Step.INGEST: set(),
        Step.DEDUP: {"exact", "near"},
        Step.FILTER: {"too_short", "automatic_reply"},
        Step.NORMALIZE: {"language"},
        Step.DECONTAMINATE: {"contaminated", "in_review"},
        Step.LABEL: {"unlabelled", "unknown_label"},
        Step.SPLIT: set(REASONS[Step.SPLIT]),
    }
    dropped = pl.read_parquet(small.release_folder(whole.root) / "dropped.parquet")
    assert dropped.filter(pl.col("reason") == "contradiction").height == 3
    assert whole.tables["rejects"].height == 1
    assert whole.tables[Step.NORMALIZE]["pii_counts"].list.len().sum() > 0


def test_rows_every_step_and_day_are_conserved(whole: Whole) -> None:
    before = (
        whole.tables["batches"]
        .group_by("day")
        .agg(n=pl.col("rows_read").sum() - pl.col("rows_rejected").sum())
    )
    for step in DAILY_STEPS:
        table = whole.tables[step]
        assert dict(table.group_by("day").len().iter_rows()) == dict(
            before.filter(pl.col("n") > 0).iter_rows()
        ), step
        assert table["record_id"].n_unique() == table.height
        assert set(table["reason"].drop_nulls()) <= REASONS[step]
        assert table.filter(pl.col("kept") != pl.col("reason").is_null()).height == 0
        before = table.filter("kept").group_by("day").agg(n=pl.len())
        for day in DAYS:
            rows = table.filter(pl.col("day") == dt.date.fromisoformat(day))
            assert whole.published[(step, day)][2:] == (rows.height, rows.filter("kept").height)


def test_release_provenance_and_dropped_are_all_that_was_collected(whole: Whole) -> None:
    folder = small.release_folder(whole.root)
    released, dropped = (
        set(pl.read_parquet(folder / f"{n}.parquet")["record_id"]) for n in ("provenance", "dropped")
    )
    assert not released & dropped
    assert released | dropped == set(whole.tables[Step.INGEST]["record_id"])
    rejects = pl.read_parquet(folder / "rejects.parquet")
    assert rejects.equals(whole.tables["rejects"])


_COPY = {"rule", "similarity", "threshold", "twin"}
_LIMIT = {"rule", "side", "threshold", "value"}
DETAILS = {
    (Step.DEDUP, "exact"): _COPY,
    (Step.DEDUP, "near"): _COPY,
    (Step.FILTER, "too_short"): _LIMIT,
    (Step.FILTER, "automatic_reply"): _LIMIT,
    (Step.NORMALIZE, "language"): _LIMIT | {"language"},
    (Step.DECONTAMINATE, "contaminated"): {"item", "rule", "set", "span", "text", "threshold", "value"},
    (Step.DECONTAMINATE, "in_review"): {"item", "rule", "set", "span", "text", "threshold", "value"},
    (Step.LABEL, "unlabelled"): {"rule"},
    (Step.LABEL, "unknown_label"): {"rule", "value"},
    (Step.SPLIT, "no_evaluate_right"): {"rule", "split"},
    (Step.SPLIT, "same_after_cleaning"): _COPY,
    (Step.SPLIT, "near_other_split"): _COPY,
}
"""What the detail of each reason says, no more and no less."""


def test_every_dropped_record_names_its_rule_value_threshold_or_twin(whole: Whole) -> None:
    for step in DAILY_STEPS:
        table = whole.tables[step]
        kept = set(table.filter("kept")["record_id"])
        for record, reason, text in (
            table.filter(~pl.col("kept")).select("record_id", "reason", "detail").iter_rows()
        ):
            detail = json.loads(text)
            assert set(detail) == DETAILS[(step, reason)], (step, reason)
            assert text == json.dumps(detail, sort_keys=True, separators=(",", ":"))
            assert "value" not in detail or detail["value"] is not None
            if "twin" in detail:
                assert detail["twin"] in kept and detail["twin"] != record
                assert detail["similarity"] >= detail["threshold"]


def test_text_of_records_stands_in_no_other_place(whole: Whole) -> None:
    allowed = {("ingest", "messages"), ("normalize", "messages"), ("protected", "text")}
    context = small.open_project(whole.root)
    names = context.warehouse.query(
        "SELECT schema_name AS s, table_name AS t, column_name AS c FROM duckdb_columns() WHERE NOT internal"
    )
    views = {
        r[0]
        for r in context.warehouse.query(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).iter_rows()
    }
    holding = {
        (table, column)
        for schema, table, column in names.iter_rows()
        if table not in views
        and context.warehouse.query(
            f'SELECT 1 FROM "{schema}"."{table}" WHERE "{column}"::VARCHAR ILIKE ? LIMIT 1', [f"%{MARKER}%"]
        ).height
    }
    assert holding == allowed
    folder = small.release_folder(whole.root)
    for path in ("manifest.json", "README.md"):
        assert MARKER not in (folder / path).read_text(encoding="utf-8").lower()
    for name in ("dropped", "provenance", "rejects"):
        assert MARKER not in pl.read_parquet(folder / f"{name}.parquet").write_ndjson().lower()
    assert MARKER in (folder / "chat" / "train.jsonl").read_text(encoding="utf-8")


# --- order, threads and seeds do not matter -------------------------------------------------


def test_rows_in_another_order_give_the_same_records_verdicts_and_splits(
    whole: Whole, ungated: None, tmp_path: Path
) -> None:
    root = small.make_project(tmp_path)
    shuffled = random.Random(5)
    for path in sorted(root.glob("sources/**/*.*")):
        head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if path.suffix == ".jsonl":
            head, rows = "", [head, *rows]
        shuffled.shuffle(rows)
        path.write_text(head + "".join(rows), encoding="utf-8")
    small.run_all(root)
    tables = small.tables(root)
    assert small.differences(tables, whole.tables) == ["ingest", "rejects", "batches"]
    assert tables["ingest"].drop(HERE).equals(whole.tables["ingest"].drop(HERE))
    release = small.release_hashes(root)
    moved = {name for name in release if release[name] != whole.release[name]}
    assert moved == {"", "manifest.json", "provenance.parquet", "dropped.parquet", "rejects.parquet"}


def test_processes_with_other_seeds_and_threads_write_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    def run(number: int) -> Path:
        root = small.make_project(tmp_path / str(number))
        other = {
            "PYTHONHASHSEED": str(number * 1000),
            "POLARS_MAX_THREADS": str((1, 2, 3, 5, 8)[number]),
            "TZ": ("UTC", "Asia/Tokyo", "America/Lima", "UTC", "Pacific/Apia")[number],
            "LC_ALL": "C" if number % 2 else "C.UTF-8",
        }
        done = subprocess.run(
            [sys.executable, "-m", "dataset_pipeline_tests.small_project", str(root)],
            cwd=REPOSITORY, env=os.environ | other, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return root

    with ThreadPoolExecutor(2) as pool:
        roots = list(pool.map(run, range(5)))
    for root in roots:
        assert_same(root, whole)


# --- the way there does not matter ----------------------------------------------------------


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


class _AsIs(random.Random):
    """Shuffles nothing: days in their order."""

    def shuffle(self, x: object) -> None:
        return None


class _Backwards(random.Random):
    """The last day first."""

    def shuffle(self, x: list[object]) -> None:  # type: ignore[override]
        x.reverse()


@settings(max_examples=3, deadline=None, derandomize=True, database=None)
@given(
    cuts=st.lists(st.booleans(), min_size=4, max_size=4),
    order=st.randoms(use_true_random=False),
    left_out=st.integers(0, 4),
)
@example(cuts=[True] * 4, order=_AsIs(), left_out=4)
@example(cuts=[True] * 4, order=_Backwards(), left_out=4)
def test_stretches_in_any_order_leave_what_one_range_leaves(
    whole: Whole, cuts: list[bool], order: random.Random, left_out: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        small.switch_gates_off(patch)
        root = small.make_project(Path(folder))
        context = small.open_project(root)
        run_protected(context, "protected")
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
    first.write_bytes(b"".join(line for line in original.splitlines(keepends=True) if b'"T4"' not in line))
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


def test_day_whose_first_gate_closed_does_not_hold_up_the_release(whole: Whole, tmp_path: Path) -> None:
    root = small.make_project(tmp_path)
    context = small.open_project(root)
    run_protected(context, "run")
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
