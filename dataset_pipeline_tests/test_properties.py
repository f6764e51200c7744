"""What holds of every run: nothing is lost, every verdict says why, text stays where it belongs, order and
machine do not matter.

Lives here: properties of whole runs of the small project, without Dagster. Keep out: runs in parts
(`test_stretches`), crashes (`test_faults`), properties of pure functions (`test_properties_of_steps`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.records import DAILY_STEPS, REASONS, Step
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.small_project import DAYS, MARKER

REPOSITORY = Path(__file__).parent.parent
HERE = ("uri", "line", "byte_offset")


@dataclass(frozen=True)
class Whole:
    """One undisturbed run of the small project, and what it left."""

    root: Path
    tables: dict[str, pl.DataFrame]
    published: dict[tuple[str, str], tuple[str, str, int, int]]
    release: dict[str, str]


@cache
def made_whole(base: Path) -> Whole:
    """Made once for all modules. `test_faults` shows that a judged run under Dagster leaves the same."""
    root = small.make_project(base / "whole")
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        small.run_all(root)
    release_run_lock(root / "warehouse.duckdb")
    return Whole(root, small.tables(root), small.published(root), small.release_hashes(root))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return made_whole(tmp_path_factory.getbasetemp())


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
    (Step.NORMALIZE, "language"): _LIMIT | {"language", "min_odds", "odds", "min_evidence", "evidence"},
    (Step.DECONTAMINATE, "contaminated"): {"item", "rule", "set", "span", "text", "threshold", "value"},
    (Step.DECONTAMINATE, "in_review"): {"item", "rule", "set", "span", "text", "threshold", "value"},
    (Step.LABEL, "unlabelled"): {"rule", "threshold", "value"},
    (Step.LABEL, "unknown_label"): {"rule", "threshold", "value"},
    (Step.SPLIT, "no_evaluate_right"): {"rule", "threshold", "value"},
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
    warehouse = small.open_project(whole.root).warehouse
    columns = warehouse.query(
        """SELECT c.schema_name, c.table_name, list(c.column_name) FROM duckdb_columns() c
        JOIN duckdb_tables() t USING (table_oid) WHERE NOT c.internal GROUP BY ALL"""
    )
    holding = set()
    for schema, table, names in columns.iter_rows():
        has = ", ".join(f'coalesce(bool_or("{name}"::VARCHAR ILIKE $1), false) AS "{name}"' for name in names)
        found = warehouse.query(f'SELECT {has} FROM "{schema}"."{table}"', [f"%{MARKER}%"]).row(0, named=True)
        holding |= {(table, name) for name in names if found[name]}
    assert holding == allowed
    folder = small.release_folder(whole.root)
    for path in ("manifest.json", "README.md"):
        assert MARKER not in (folder / path).read_text(encoding="utf-8").lower()
    for name in ("dropped", "provenance", "rejects"):
        assert MARKER not in pl.read_parquet(folder / f"{name}.parquet").write_ndjson().lower()
    assert MARKER in (folder / "chat" / "train.jsonl").read_text(encoding="utf-8")


def test_views_join_the_records_of_a_run(whole: Whole) -> None:
    warehouse = small.open_project(whole.root).warehouse
    for step in DAILY_STEPS:
        view = warehouse.query(f"SELECT record_id, messages FROM records_after_{step}")
        assert sorted(view["record_id"]) == sorted(whole.tables[step].filter("kept")["record_id"])
        is_clean = any("[EMAIL_ADDRESS]" in str(messages) for messages in view["messages"].to_list())
        assert is_clean == (DAILY_STEPS.index(step) >= DAILY_STEPS.index(Step.NORMALIZE))
    history = warehouse.query("SELECT step, record_id, kept, source, uri FROM record_history")
    assert history.height == sum(whole.tables[step].height for step in DAILY_STEPS)
    ends = history.filter(~pl.col("kept")).group_by("record_id").len()
    assert ends["len"].to_list() == [1] * ends.height


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
    tables_of = {"provenance.parquet", "dropped.parquet", "rejects.parquet"}
    assert moved == {"", "manifest.json", "croissant.json"} | tables_of  # it names their hashes


@pytest.mark.faults
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
