"""Warehouses of other versions and of other making: carried over, or refused with what to do; never mixed.

Lives here: files as versions 2 and 3 of the schema left them, as another DuckDB or another program wrote them, and band
keys of another scheme. `schema_2.sql` and `schema_3.sql` hold the statements of these versions, as they were. Keep out:
waiting for a holder (`test_warehouse_held`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from dataset_pipeline.assets import schemes
from dataset_pipeline.assets.plan import State
from dataset_pipeline.errors import StalePublish, WarehouseBusy, WarehouseVersion
from dataset_pipeline.records import Step
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams, LabelParams
from dataset_pipeline.storage import history, upgrading
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.publishing import Claim, Publication
from dataset_pipeline.storage.schema import SCHEMA_VERSION
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests import small_project
from dataset_pipeline_tests.test_schema import KNOWN
from dataset_pipeline_tests.test_warehouse import MONDAY, NEW, OLD, TUESDAY, publications, publish
from dataset_pipeline_tests.test_warehouse_held import held

STATEMENTS = {n: (Path(__file__).parent / f"schema_{n}.sql").read_text(encoding="utf-8") for n in (2, 3)}


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(schema, table) to its columns with their types, in order."""
    ordered = connection.execute(
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() AND NOT internal ORDER BY 1, 2, column_index"
    ).fetchall()
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, column, dtype in ordered:
        found.setdefault((schema, table), []).append((column, dtype))
    return found


def columns_of(path: Path) -> dict[tuple[str, str], list[tuple[str, str]]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return _columns(connection)


def as_version(number: int, path: Path) -> None:
    """Make the file what that version would have left: its tables, the rows without what came later."""
    old = path.with_name("old.duckdb")
    with duckdb.connect(str(old)) as connection:
        for statement in STATEMENTS[number].splitlines():
            connection.execute(statement)
        tables = {
            t: [c for c, _ in columns] for (s, t), columns in _columns(connection).items() if s == "main"
        }
        views = {
            r[0]
            for r in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        }
        connection.execute(f"ATTACH '{path}' AS source (READ_ONLY)")
        for table, columns in tables.items():
            if table not in {"meta", *views}:
                shared = ", ".join(f'"{c}"' for c in columns)
                connection.execute(
                    f'INSERT INTO main."{table}" BY NAME SELECT {shared} FROM source.main."{table}"'
                )
        connection.execute("DETACH source")
        for sequence, table, column in (
            ("publication_seq", "publications", "seq"),
            ("claim_seq", "claims", "token"),
        ):
            highest = connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()
            assert highest is not None
            connection.execute(f"CREATE OR REPLACE SEQUENCE {sequence} START {highest[0] + 1}")
    old.replace(path)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse of version 2 with three rows of `label`, two of them on Monday, and one of its claims."""
    made = Warehouse(tmp_path / "warehouse.duckdb", wait_seconds=0.3)
    made.initialize()
    publish(made, OLD)
    as_version(2, made.path)
    return made


# --- carried over -------------------------------------------------------------------------


@pytest.mark.parametrize("number", STATEMENTS)
def test_statements_of_a_version_are_those_that_were_released(number: int) -> None:
    statements = "\n".join(line.removesuffix(";") for line in STATEMENTS[number].splitlines())
    assert hashlib.sha256(statements.encode()).hexdigest()[:16] == KNOWN[number]


def test_upgrade_leaves_the_rows_in_tables_of_today(warehouse: Warehouse, tmp_path: Path) -> None:
    fresh = Warehouse(tmp_path / "fresh.duckdb")
    fresh.initialize()
    assert columns_of(warehouse.path) != columns_of(fresh.path)
    warehouse.initialize()
    assert columns_of(warehouse.path) == columns_of(fresh.path)
    rows = warehouse.table(Step.LABEL)
    assert rows.drop("answers", "agreement", "review").equals(OLD.drop("answers", "agreement", "review"))
    assert rows.select("answers", "agreement", "review").null_count().row(0) == (3, 3, 3)
    assert warehouse.query("SELECT name, judged_days FROM checks").height == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fresh.duckdb", "warehouse.duckdb"]


def test_upgrade_makes_steps_with_new_columns_stale_and_says_why(warehouse: Warehouse) -> None:
    before = warehouse.latest()[("label", MONDAY)]
    warehouse.initialize()
    after = warehouse.latest()[("label", MONDAY)]
    assert after.recipe != before.recipe and (after.content, after.handover) == (
        before.content,
        before.handover,
    )
    told = json.loads(after.inputs)["reads"]
    assert told[f"a table of schema version 2 (now {SCHEMA_VERSION})"] == "2"
    appended = warehouse.query("SELECT seq, day, is_unchanged FROM publications ORDER BY seq").rows()
    assert appended == [(1, MONDAY, False), (2, TUESDAY, False), (3, MONDAY, True), (4, TUESDAY, True)]
    publish(warehouse, NEW, "r2")
    assert warehouse.latest()[("label", TUESDAY)].seq == 6


def test_upgrade_leaves_steps_whose_tables_are_the_same_up_to_date(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.initialize()
    rows = pl.DataFrame(schema=warehouse.table(Step.DEDUP).schema)
    claim = warehouse.claim(Step.DEDUP, [MONDAY], "run")
    warehouse.stage(claim, {Step.DEDUP: rows})
    warehouse.publish(claim, publications(rows, [MONDAY], "r1"), {}, [])
    as_version(2, warehouse.path)
    before = warehouse.latest()
    warehouse.initialize()
    assert warehouse.latest() == before


def test_upgrade_of_version_3_keeps_every_row_and_publication(tmp_path: Path) -> None:
    """It lacks only what earlier runs took, were set to and were refused: nothing is stale for that."""
    warehouse, fresh = Warehouse(tmp_path / "warehouse.duckdb"), Warehouse(tmp_path / "fresh.duckdb")
    warehouse.initialize()
    fresh.initialize()
    publish(warehouse, OLD)
    before, rows = warehouse.latest(), warehouse.table(Step.LABEL)
    as_version(3, warehouse.path)
    assert columns_of(warehouse.path) != columns_of(fresh.path)
    warehouse.initialize()
    assert columns_of(warehouse.path) == columns_of(fresh.path)
    assert warehouse.latest() == before and warehouse.table(Step.LABEL).equals(rows)
    assert warehouse.query("SELECT count(*) AS n FROM checks").item() == 1
    assert history.settings_of(warehouse, ["params"]) == {} and history.timings(warehouse) == []
    publish(warehouse, NEW, "r2")
    assert warehouse.latest()[("label", TUESDAY)].seq == 4


def test_upgrade_ends_the_claims_of_runs_that_go_on(warehouse: Warehouse) -> None:
    """An older program's rows lack the new columns: they would be laid beside the new ones."""
    token = warehouse.query("SELECT max(token) AS token FROM claims").item()
    older = Claim(Step.LABEL, (MONDAY, TUESDAY), token, "run r1")
    warehouse.initialize()
    with pytest.raises(StalePublish, match="claim on its days is gone"):
        warehouse.publish(older, publications(NEW, [MONDAY, TUESDAY], "r2"), {}, [])
    assert warehouse.claim(Step.LABEL, [MONDAY], "new").token > token


@pytest.mark.parametrize(
    "place", ["_make_stale", "_inputs_of"], ids=["after the rows", "within the publications"]
)
def test_upgrade_that_fails_leaves_the_old_file_as_it_was(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: Any) -> None:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    content = warehouse.path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(WarehouseVersion, match="No space left") as caught:
        patch.setattr(upgrading, place, full)
        warehouse.initialize()
    assert "run again" in str(caught.value) and caught.value.exit_code == 2
    assert warehouse.path.read_bytes() == content
    assert [p.name for p in warehouse.path.parent.iterdir()] == ["warehouse.duckdb"]
    warehouse.initialize()
    assert warehouse.table(Step.LABEL).height == 3


def test_upgrade_removes_what_a_killed_one_left(warehouse: Warehouse) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = warehouse.path.with_name(f"warehouse.duckdb.new-{ended.pid}")
    beside = warehouse.path.with_name(f"warehouse.duckdb.new-{os.getppid()}")
    left.write_text("texts")
    beside.write_text("of a process that still runs")
    warehouse.initialize()
    assert not left.exists() and beside.exists()


def test_upgrade_by_several_processes_at_once_carries_over_once(warehouse: Warehouse) -> None:
    code = (
        "import sys; from pathlib import Path; from dataset_pipeline.storage.warehouse import Warehouse\n"
        f"sys.stdin.readline(); w = Warehouse(Path({str(warehouse.path)!r}), 60); w.initialize(); w.claim('release', [None], 'run')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [(p.communicate(timeout=60)[1], p.returncode) for p in running] == [("", 0)] * 3
    assert warehouse.query("SELECT count(*) AS n FROM publications").item() == 4
    assert warehouse.query("SELECT count(*) AS n FROM claims").item() == 1, (
        "a claim made after one upgrade was lost"
    )
    assert [p.name for p in warehouse.path.parent.iterdir()] == ["warehouse.duckdb"]


def test_upgrade_of_a_file_that_somebody_reads_waits_and_is_busy(warehouse: Warehouse) -> None:
    with held(warehouse.path, True), pytest.raises(WarehouseBusy):
        warehouse.initialize()
    warehouse.initialize()
    assert warehouse.table(Step.LABEL).height == 3


def test_upgrade_takes_what_only_the_write_ahead_log_holds(warehouse: Warehouse) -> None:
    code = (
        f"import duckdb, os; c = duckdb.connect({str(warehouse.path)!r}); "
        "c.execute(\"UPDATE label SET label = 'later' WHERE record_id = 'a'\"); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert warehouse.path.with_name("warehouse.duckdb.wal").exists()
    warehouse.initialize()
    assert warehouse.table(Step.LABEL)["label"].to_list() == ["later", None, "wish"]
    assert not warehouse.path.with_name("warehouse.duckdb.wal").exists()


@pytest.mark.faults
def test_upgraded_project_makes_the_release_of_a_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hardest case: every recipe of the old file is today's, so the rows alone tell that they are old."""
    small_project.switch_gates_off(monkeypatch)
    fresh, upgraded = tmp_path / "fresh", tmp_path / "upgraded"
    small_project.make_project(fresh)
    small_project.run_all(fresh)
    release_run_lock(fresh / "warehouse.duckdb")
    shutil.copytree(fresh, upgraded, symlinks=True)
    for path in (upgraded / "releases", upgraded / "cache.duckdb"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    as_version(2, upgraded / "warehouse.duckdb")
    context = small_project.open_project(upgraded)
    stale = {
        (e.step, e.reasons[0]) for e in small_project.status(context).of(State.STALE) if e.step == Step.FILTER
    }
    assert stale == {(Step.FILTER, f"made by schema version 2 (now {SCHEMA_VERSION})")}
    small_project.run_all(upgraded)
    assert small_project.differences(small_project.tables(fresh), small_project.tables(upgraded)) == []
    assert small_project.release_hashes(upgraded) == small_project.release_hashes(fresh)
    assert all(outcome.is_noop for outcome in small_project.run_all(upgraded))
    release_run_lock(upgraded / "warehouse.duckdb")


# --- refused ------------------------------------------------------------------------------


def _with_schema(version: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with duckdb.connect(str(path)) as connection:
            connection.execute("UPDATE meta SET value = ?", [version])

    return spoil


def _of_another_duckdb(path: Path) -> None:
    """The file as a later DuckDB would write it: another storage version, under a checksum that is right."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, 12, 9999)
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", data[8:4096]):
        checksum ^= word * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    struct.pack_into("<Q", data, 0, checksum)
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200_000])


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _sqlite(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    connection.execute(f"INSERT INTO meta VALUES ('schema_version', '{SCHEMA_VERSION}')")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_with_schema("1"), "schema version 1, this is"),
        (_with_schema("99"), "Use the version of the project that wrote it"),
        (_of_another_duckdb, "version number 9999"),
        (_cut, "cannot be opened as a warehouse"),
        (_zeros, "nothing but zeros"),
        (_sqlite, "a SQLite file"),
    ],
    ids=["version 1", "a later version", "another DuckDB", "cut short", "zeros", "SQLite"],
)
def test_warehouse_of_another_making_is_refused_as_it_is_with_the_remedy(
    warehouse: Warehouse, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(warehouse.path)
    content = warehouse.path.read_bytes()
    with pytest.raises(WarehouseVersion, match=said) as caught:
        warehouse.initialize()
    assert "ove the file away and run `dataset-pipeline run`" in str(caught.value)
    assert str(warehouse.path) in str(caught.value) and caught.value.exit_code == 2
    assert warehouse.path.read_bytes() == content
    assert [p.name for p in warehouse.path.parent.iterdir()] == ["warehouse.duckdb"]


def test_warehouse_whose_rows_are_damaged_is_refused_when_they_are_read(warehouse: Warehouse) -> None:
    warehouse.initialize()
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute(
            "INSERT INTO texts_removed SELECT md5(n::VARCHAR), NULL, [n] FROM range(200000) t(n)"
        )
    data = bytearray(warehouse.path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(4096)
    warehouse.path.write_bytes(bytes(data))
    with pytest.raises(WarehouseVersion, match="Move the file away"):
        warehouse.initialize()
        warehouse.query("SELECT max(record_id), max(shingles) FROM texts_removed")


# --- band keys ----------------------------------------------------------------------------

LIBRARIES = {"datasketch": "2.0.0", "numpy": "2.3.0", "polars": "2.1.0"}
PARAMS = DedupParams(answers_are_labels=True, label_names={}, near=Near(), ngram=3)


def _published(step: str, day: dt.date, scheme: str | None, kept: int = 1) -> Publication:
    reads = {} if scheme is None else {schemes.SCHEME: scheme}
    inputs = json.dumps({"params": "p", "libraries": {}, "reads": reads})
    return Publication(1, step, day, "r", "c", "h", "p", inputs, 1, kept, "run")


@pytest.mark.parametrize(
    "changed",
    [
        {"params": PARAMS.model_copy(update={"ngram": 4})},
        {"params": PARAMS.model_copy(update={"near": Near(bands=18)})},
        {"params": PARAMS.model_copy(update={"near": Near(rows=7)})},
        {"params": PARAMS.model_copy(update={"near": Near(seed=2)})},
        {"params": PARAMS.model_copy(update={"version": 2})},
        {"libraries": LIBRARIES | {"datasketch": "2.1.0"}},
    ],
    ids=["words", "bands", "rows", "seed", "version of the step", "datasketch"],
)
def test_scheme_changes_with_what_band_keys_are_made_of(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"params": PARAMS, "libraries": LIBRARIES}
    assert schemes.scheme_of(**given | changed) != schemes.scheme_of(**given)


def test_scheme_is_the_same_for_another_threshold_and_other_libraries() -> None:
    looser = PARAMS.model_copy(update={"near": Near(threshold=0.7, bucket_cap=50)})
    assert schemes.scheme_of(looser, LIBRARIES | {"polars": "3.0"}) == schemes.scheme_of(PARAMS, LIBRARIES)


def test_scheme_of_a_step_without_bands_never_differs() -> None:
    params = LabelParams(answers_are_labels=True, labels=("bug",), label_names={})
    assert schemes.scheme_of(params, {"polars": "2.1.0"}) == schemes.NO_BANDS


def test_other_schemes_names_earlier_days_of_the_step_that_hold_other_keys() -> None:
    days = [dt.date(2026, 3, n) for n in range(1, 7)]
    entries = [
        _published("dedup", days[0], "now"),
        _published("dedup", days[1], "old"),
        _published("dedup", days[2], None),
        _published("dedup", days[3], "old", kept=0),  # nothing to look back at
        _published("split", days[0], "old"),
        _published("dedup", days[5], "old"),  # not earlier
    ]
    latest = {(p.step, p.day): p for p in entries}
    assert schemes.other_schemes(latest, "dedup", days[4], "now") == [days[1], days[2]]
    assert schemes.other_schemes(latest, "dedup", days[1], "now") == []
    assert "2026-03-02, 2026-03-03" in schemes.refusal("dedup", [days[1], days[2]])
