"""erase: no byte of the text of an erased record stays.

Lives here: the warehouse's file, releases, housekeeping, and one project through the command line. Keep out: who is erased
(`test_erasure`), retention (`test_retention`).
"""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.errors import WarehouseBusy
from dataset_pipeline.records import TABLES, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import erased_releases, rewriting
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests import scenario
from dataset_pipeline_tests.erasing import DAY, LONG, NEEDLE, collected, project, row
from dataset_pipeline_tests.test_warehouse_held import held

# --- the file -----------------------------------------------------------------------------


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.duckdb", wait_seconds=0.3)
    made.initialize()
    return made


def put(warehouse: Warehouse, *records: dict[str, Any]) -> None:
    """Rows in ingest, normalize and, staged by a run that a gate stopped, both again; notes on the first."""
    frame = collected(*records)
    with warehouse._connection() as connection:
        connection.register("incoming", frame.to_arrow())
        for schema in ("main", "staging"):
            token = "" if schema == "main" else ", 1 AS token"
            connection.execute(f"INSERT INTO {schema}.ingest BY NAME SELECT *{token} FROM incoming")
            connection.execute(
                f"INSERT INTO {schema}.normalize BY NAME SELECT record_id, day, messages, messages AS rejected, true AS kept{token} FROM incoming"
            )
            connection.execute(
                f"INSERT INTO {schema}.annotations BY NAME SELECT source, source_id, '{NEEDLE} said' AS notes{token} FROM incoming LIMIT 1"
            )
        connection.unregister("incoming")
        connection.execute("SELECT nextval('claim_seq')").fetchall()
        connection.execute("CHECKPOINT")


def mark_erased(warehouse: Warehouse, *ids: str) -> None:
    """What ingest publishes for them when its days are made again."""
    with warehouse._connection() as connection:
        connection.execute(
            """UPDATE main.ingest SET kept = false, reason = 'erased', detail = '{"because":"named","threshold":"a.csv:2"}',
            messages = NULL, label = NULL, person_names = NULL WHERE list_contains(?, record_id)""",
            [list(ids)],
        )


def holding(root: Path) -> list[str]:
    """Files below a folder with the needle in their bytes, unpacked where they are gzip."""
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        if NEEDLE.encode() in data.lower():
            found.append(path.relative_to(root).as_posix())
    return found


def test_erasure_rewrite_leaves_tables_views_and_sequences(warehouse):
    put(warehouse, row("a", LONG), row("b", "harmless words"))
    tables = {name: warehouse.table(name) for name in TABLES}
    rewriting.rewrite(warehouse.path)
    assert all(warehouse.table(name).equals(frame) for name, frame in tables.items())
    assert warehouse.query("SELECT * FROM records_after_ingest").height == 2
    assert warehouse.claim(Step.LABEL, [DAY], "run").token == 2
    assert sorted(p.name for p in warehouse.path.parent.iterdir()) == ["warehouse.duckdb"]


def test_erasure_rewrite_drops_the_bytes_that_deletes_leave(warehouse):
    # Few rows: DuckDB packs many, and what is packed is not found by its bytes.
    put(warehouse, row("b", "harmless words"), row("a", LONG))
    with warehouse._connection() as connection:
        for schema in ("main", "staging"):
            connection.execute(f"DELETE FROM {schema}.ingest WHERE record_id = 'a'")
            connection.execute(f"DELETE FROM {schema}.normalize WHERE record_id = 'a'")
            connection.execute(f"UPDATE {schema}.annotations SET notes = NULL")
    assert holding(warehouse.path.parent) == ["warehouse.duckdb"]
    rewriting.rewrite(warehouse.path)
    assert holding(warehouse.path.parent) == []


def test_erasure_rewrite_of_a_held_file_is_busy_and_changes_nothing(warehouse):
    put(warehouse, row("a", LONG))
    before = warehouse.path.read_bytes()
    with held(warehouse.path, read_only=True), pytest.raises(WarehouseBusy, match="holds the warehouse"):
        rewriting.rewrite(warehouse.path, 0.2)
    assert warehouse.path.read_bytes() == before


def test_erasure_rewrite_that_died_is_cleared_and_done_again(warehouse, monkeypatch):
    put(warehouse, row("a", LONG))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("_verify", "sync"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(rewriting, name, die)
            rewriting.rewrite(warehouse.path)
        assert warehouse.table(Step.INGEST).height == 1
    (warehouse.path.with_name("warehouse.duckdb.rewriting")).write_text(NEEDLE)
    (warehouse.path.with_name("warehouse.duckdb.rewriting.wal")).write_text(NEEDLE)
    rewriting.rewrite(warehouse.path)
    assert [p.name for p in warehouse.path.parent.iterdir()] == ["warehouse.duckdb"]


def test_erasure_texts_are_removed_from_every_table(warehouse):
    put(warehouse, row("a", LONG), row("b", "harmless words"))
    mark_erased(warehouse, "a")
    gone = rewriting.erased_records(warehouse)
    assert rewriting.texts_left(warehouse, gone) == 5
    rewriting.remove_texts(warehouse, gone)
    assert rewriting.texts_left(warehouse, gone) == 0
    assert rewriting.is_rewrite_due(warehouse)
    kept = warehouse.table(Step.NORMALIZE).filter(pl.col("record_id") == "b")
    assert kept["messages"].null_count() == 0
    assert warehouse.table(Step.INGEST).filter("kept")["person_names"].to_list() == [["Somebody"]]


def test_erasure_sqlite_files_lose_freed_pages(tmp_path):
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(LONG,)] * 500)
        connection.commit()
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM t")
    connection.close()
    assert holding(tmp_path) == ["runs.db"]
    assert rewriting.vacuum_sqlite(tmp_path) == []
    assert holding(tmp_path) == []


def test_erasure_releases_that_hold_a_record_are_named(tmp_path):
    for version, ids in (("v1", ["a", "b"]), ("v2", ["b"]), ("v3", ["a", "c"])):
        (tmp_path / version).mkdir()
        pl.DataFrame({"record_id": ids}).write_parquet(tmp_path / version / "provenance.parquet")
    (tmp_path / "v4").mkdir()
    (tmp_path / "latest").symlink_to("v3")
    assert erased_releases.releases_with(tmp_path, ["a", "c"]) == {"v1": 1, "v3": 2, "v4": None}
    assert erased_releases.releases_with(tmp_path, []) == {}


@pytest.mark.parametrize(("ids", "stays"), [(["a"], False), (["z"], True), ([], True)])
def test_erasure_takes_a_refused_release_that_holds_the_record(
    tmp_path: Path, ids: list[str], stays: bool
) -> None:
    refused = tmp_path / ".refused"
    refused.mkdir()
    pl.DataFrame({"record_id": ["a", "b"]}).write_parquet(refused / "provenance.parquet")
    assert erased_releases.discard_refused(tmp_path, ids) is not stays
    assert refused.exists() is stays


def test_erasure_takes_a_refused_release_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".refused").mkdir()
    assert erased_releases.discard_refused(tmp_path, ["a"]) and not (tmp_path / ".refused").exists()


# --- housekeeping -------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path):
    made = context_of(load_project(project(tmp_path)))
    yield made
    release_run_lock(made.warehouse.path)


STATE = ("warehouse.duckdb", "cache.duckdb", ".dagster")


def state_holding(root: Path) -> list[str]:
    return [name for name in holding(root) if name.startswith(STATE)]


def test_erasure_housekeeping_leaves_no_byte_and_is_then_a_noop(context):
    root = context.project.root
    put(context.warehouse, row("a", LONG), row("b", "harmless words"))
    context.project.cache_path.write_bytes(NEEDLE.encode())
    assert housekeeping(context).words == ()
    assert state_holding(root) == ["cache.duckdb", "warehouse.duckdb"]
    mark_erased(context.warehouse, "a")
    done = housekeeping(context)
    assert (done.erased, done.is_rewritten) == (1, True)
    assert done.places.rows() == [("f.jsonl", 1, "a", "s")]
    assert state_holding(root) == []
    assert any("f.jsonl still holds erased text, line 1" in line for line in done.words)
    before = context.warehouse.path.stat().st_ino
    again = housekeeping(context)
    assert not again.is_rewritten
    assert context.warehouse.path.stat().st_ino == before
    assert not any(NEEDLE in line for line in done.words)


@pytest.mark.parametrize("point", ["remove_texts", "discard", "rewrite", "vacuum_sqlite", "note_rewritten"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_erasure_housekeeping_that_died_is_finished_by_the_next(context, monkeypatch, point, when):
    root = context.project.root
    (root / ".dagster").mkdir()
    put(context.warehouse, row("a", LONG), row("b", "harmless words"))
    context.project.cache_path.write_bytes(NEEDLE.encode())
    mark_erased(context.warehouse, "a")
    original = getattr(rewriting, point)

    def die(*given: Any, **named: Any) -> None:
        if when == "after":
            original(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rewriting, point, die)
        housekeeping(context)
    housekeeping(context)
    assert state_holding(root) == []
    assert not rewriting.is_rewrite_due(context.warehouse)
    assert not housekeeping(context).is_rewritten


def test_erasure_housekeeping_withdrawn_verdict_rewrites_nothing(context):
    put(context.warehouse, row("a", LONG))
    mark_erased(context.warehouse, "a")
    housekeeping(context)
    with context.warehouse._connection() as connection:
        connection.execute("UPDATE main.ingest SET kept = true, reason = NULL, detail = NULL")
    assert not housekeeping(context).is_rewritten
    assert rewriting.meta(context.warehouse, rewriting.ERASED_KEY) is None


# --- through the command line -------------------------------------------------------------


@pytest.mark.faults
def test_erasure_end_to_end_leaves_the_raw_files_and_the_old_release_only(tmp_path):
    spec = project(tmp_path)
    assert scenario.call("run", spec).exit_code == 0
    (old,) = scenario.released(spec)
    raw = ["made.jsonl", *(f"sources/{day}.jsonl" for day in scenario.DAYS)]
    before = holding(tmp_path)
    assert "warehouse.duckdb" in before
    with (tmp_path / "reviews/a.csv").open("a", encoding="utf-8") as handle:
        handle.write(",inbox,named,,erase,,Jo,2026-04-01\n")
    result = scenario.call("run", spec)
    assert result.exit_code == 0, result.output
    assert f"release {old} still holds" in result.output
    assert "sources/2026-03-02.jsonl still holds erased text" in result.output
    clean = [*raw, *(name for name in before if name.startswith(f"releases/{old}/"))]
    assert holding(tmp_path) == sorted(clean)
    (new,) = set(scenario.released(spec)) - {old}
    for again in range(2):
        # Nothing is left to do, and a rebuild from nothing comes to the same release.
        result = scenario.call("run", spec)
        assert result.exit_code == 0, result.output
        assert set(scenario.released(spec)) == {old, new}
        assert holding(tmp_path) == sorted(clean)
        if not again:
            for name in ("warehouse.duckdb", "cache.duckdb"):
                (tmp_path / name).unlink(missing_ok=True)
