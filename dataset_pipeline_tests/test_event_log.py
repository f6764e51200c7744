"""Dagster's event log in batches: the rows of Dagster's own log, in fewer transactions."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from dataset_pipeline.automation.event_log import BATCH_VARIABLE, KEPT_FILES, BatchedEventLog, _placed

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-06")
RANGE = {
    "dagster/asset_partition_range_start": "2026-01-01",
    "dagster/asset_partition_range_end": "2026-01-05",
}


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("whole", asset="daily")],
)
def daily(context):  # type: ignore[no-untyped-def]
    for n, key in enumerate(context.partition_keys):
        context.add_asset_metadata({"rows": n}, partition_key=key)
    yield dg.AssetCheckResult(check_name="whole", passed=True)
    yield dg.MaterializeResult()


@dg.asset(deps=[daily])
def after() -> None: ...


def instance(home: Path, is_batched: bool, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    home.mkdir()
    config: dict[str, Any] = {"telemetry": {"enabled": False}}
    if is_batched:
        config["event_log_storage"] = {
            "module": "dataset_pipeline.automation.event_log", "class": "BatchedEventLog",
            "config": {"base_dir": str(home / "history" / "runs")},
        }  # fmt: skip
    monkeypatch.delenv(BATCH_VARIABLE, raising=False)
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return dg.DagsterInstance.from_config(str(home))


def run(of: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(assets=[daily, after]).resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(instance=of, tags=RANGE, run_config=quiet)


def rows(home: Path, sql: str) -> list[Any]:
    with sqlite3.connect(home / "history" / "runs" / "index.db") as connection:
        return connection.execute(sql).fetchall()


def test_batched_log_stores_what_dagsters_own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = "SELECT dagster_event_type, asset_key, partition FROM event_logs ORDER BY 1, 2, 3"
    keys = "SELECT asset_key, last_run_id IS NOT NULL, last_materialization_timestamp IS NOT NULL FROM asset_keys ORDER BY 1"
    kept = []
    for name, is_batched in (("own", False), ("batched", True)):
        with instance(tmp_path / name, is_batched, monkeypatch) as of:
            assert isinstance(of.event_log_storage, BatchedEventLog) is is_batched
            result = run(of)
            assert result.success
            newest = of.get_latest_materialization_event(dg.AssetKey("daily"))
            assert newest is not None and newest.asset_materialization is not None
            of_run = [
                (e.dagster_event.event_type_value, e.dagster_event.step_key)
                for e in of.all_logs(result.run_id)
                if e.dagster_event is not None
            ]
            facts = {
                key: value.value
                for key, value in newest.asset_materialization.metadata.items()
                if key != "dagster/partition_row_count"
            }
            kept.append((
                of.get_materialized_partitions(dg.AssetKey("daily")),
                newest.asset_materialization.partition, facts, sorted(of_run, key=str),
                rows(tmp_path / name, events), rows(tmp_path / name, keys),
            ))  # fmt: skip
    assert kept[0] == kept[1]
    assert len(kept[0][0]) == 5


def test_batched_log_keeps_one_row_a_check_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance(tmp_path / "home", True, monkeypatch) as of:
        run(of)
    found = rows(
        tmp_path / "home", "SELECT check_name, partition, execution_status FROM asset_check_executions"
    )
    assert found == [("whole", None, "SUCCEEDED")]


def test_batched_log_commits_by_batch_and_not_by_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    store = BatchedEventLog.store_event_batch

    def noted(self: BatchedEventLog, events: Any) -> None:
        sizes.append(len(events))
        store(self, events)

    monkeypatch.setattr(BatchedEventLog, "store_event_batch", noted)
    with instance(tmp_path / "home", True, monkeypatch) as of:
        run(of)
    assert sizes == [11, 5]  # planned: the days of both assets, a check; made: the days of one


def test_batched_log_that_fails_halfway_leaves_nothing_of_the_batch_and_stores_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = BatchedEventLog.store_event
    calls: list[str] = []

    def failing(self: BatchedEventLog, event: Any) -> None:
        store(self, event)
        if event.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            calls.append(event.run_id)
            if len(calls) == 3:
                raise OSError("disk full")

    monkeypatch.setattr(BatchedEventLog, "store_event", failing)
    with instance(tmp_path / "home", True, monkeypatch) as of:
        assert run(of).success
        assert len(of.get_materialized_partitions(dg.AssetKey("daily"))) == 5
    made = rows(
        tmp_path / "home",
        "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND partition IS NOT NULL",
    )
    assert made == [(5,)]
    assert "one" in capsys.readouterr().err or calls


def test_batched_log_keeps_a_connection_a_file_and_lets_go_of_them_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    connect = sqlite3.connect

    def noted(path: str, **given: Any) -> sqlite3.Connection:
        opened.append(Path(path).stem)
        return connect(path, **given)

    with instance(tmp_path / "home", True, monkeypatch) as of:
        run(of)
        monkeypatch.setattr(sqlite3.dbapi2, "connect", noted)
        run_id = run(of).run_id
        # A file that is new is made over two connections; 40 events come after.
        assert opened.count("index") == 0 and 1 <= opened.count(run_id) <= 2
        assert list((tmp_path / "home").rglob("index.db-wal"))
    assert not list((tmp_path / "home" / "history" / "runs").glob("*-wal"))


def test_batched_log_keeps_few_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance(tmp_path / "home", True, monkeypatch) as of:
        ids = [run(of).run_id for _ in range(KEPT_FILES + 2)]
        log = of.event_log_storage
        assert isinstance(log, BatchedEventLog)
        assert len(log._engines[os.getpid()]) == KEPT_FILES
        assert all(len(of.all_logs(run_id)) == len(of.all_logs(ids[0])) > 20 for run_id in ids)


def test_batched_log_that_was_wiped_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance(tmp_path / "home", True, monkeypatch) as of:
        before = run(of).run_id
        of.event_log_storage.wipe()
        assert not of.all_logs(before)
        assert of.all_logs(run(of).run_id)


def test_batched_log_of_a_forked_process_uses_no_connection_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(tmp_path / "home", True, monkeypatch) as of:
        run_id = run(of).run_id
        log = of.event_log_storage
        assert isinstance(log, BatchedEventLog)
        ours = dict(log._engines[os.getpid()])
        monkeypatch.setattr(os, "getpid", lambda: 1)
        count = len(of.all_logs(run_id))
        assert not set(log._engines[1].values()) & set(ours.values())
        log.dispose()
        monkeypatch.undo()
        assert log._engines == {os.getpid(): ours}
        assert len(of.all_logs(run_id)) == count


def test_batched_log_new_file_is_the_one_that_dagster_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas = []
    for name, is_batched in (("own", False), ("batched", True)):
        with instance(tmp_path / name, is_batched, monkeypatch) as of:
            ids = [run(of).run_id, run(of).run_id]
        folder = tmp_path / name / "history" / "runs"
        assert {path.stem for path in folder.iterdir()} == {"index", *ids}
        found = []
        for stem in (ids[1], "index"):
            with sqlite3.connect(folder / f"{stem}.db") as connection:
                found.append((
                    connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall(),
                    connection.execute("SELECT * FROM alembic_version").fetchall(),
                    connection.execute("PRAGMA journal_mode").fetchall(),
                    connection.execute("SELECT name FROM secondary_indexes ORDER BY 1").fetchall(),
                ))  # fmt: skip
        schemas.append(found)
    assert schemas[0] == schemas[1]


def test_batched_log_file_that_another_process_makes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    path.write_bytes(b"theirs")
    assert not _placed(path, b"ours")
    assert path.read_bytes() == b"theirs" and [p.name for p in tmp_path.iterdir()] == ["one.db"]
    assert not _placed(tmp_path / "missing" / "one.db", b"ours")
