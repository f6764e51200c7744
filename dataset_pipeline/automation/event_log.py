"""Dagster's event log of a project, which writes the events of many days in one transaction over connections that it keeps.

Lives here: the storage class that `.dagster/dagster.yaml` names. Keep out: which events there are (`assets.graph`), the rest
of Dagster's configuration (`automation.instance`).

Dagster's own log in SQLite opens four connections and commits twice for every event, so a backfill of two years of days spends
most of its time there: 5,110 events that say what is planned, and as many that say what was made. It also compiles each statement
anew, and at the end of each connection brings the log into the file: a quarter of the time of a small run. The files, their tables
and the rows in them are the same: without this class Dagster goes on where it left off.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dagster import EventLogEntry
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import ASSET_CHECK_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

from dataset_pipeline.storage.files import sync

BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster hands events over in batches where this is set in the environment; it reads it at every event."""
BATCH_SIZE = 1_000
"""Events held back at most: what a run shows of its last step is late by as many."""
KEPT_FILES = 8
"""Files whose connection is kept, at most: one a run, and the index. A web server reads those of many runs."""


class BatchedEventLog(SqliteEventLogStorage):
    """Dagster's SQLite log, where `store_event_batch` is one transaction instead of one for every event."""

    _made_empty: ClassVar[bytes | None] = None

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._held: dict[str, Connection] = {}
        self._holder: int | None = None
        self._last: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}
        self._engines: dict[int, dict[str, Engine]] = {}
        """By process, then by file: a connection is no good in a forked process, nor is it for that one to close."""
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> BatchedEventLog:
        # Every process that opens the log passes here: the command line, the web server, the daemon, a run it began.
        os.environ.setdefault(BATCH_VARIABLE, str(BATCH_SIZE))
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        """Store one; an event of a check, which Dagster writes in four transactions, in one of each file."""
        if self._holder != threading.get_ident() and event.dagster_event_type in ASSET_CHECK_EVENTS:
            self._store_together([event])
        else:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all of them or none. On an error Dagster stores them one by one."""
        if len({event.run_id for event in events}) == 1:
            self._store_together(events)
        else:
            super().store_event_batch(events)

    def _store_together(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run in one transaction of its file and one of the index."""
        shards = (events[0].run_id, INDEX_SHARD_NAME)
        for shard in shards:
            with self._connect(shard):
                pass  # makes the file where there is none yet: not to be done inside of a transaction
        with self._db_lock, ExitStack() as stack:
            try:
                self._held = {shard: stack.enter_context(self._opened(shard)) for shard in shards}
                self._holder = threading.get_ident()
                for event in events:
                    self.store_event(event)
                for event, event_id in self._last.values():
                    super()._store_asset_event(self._held[INDEX_SHARD_NAME], event, event_id)
            finally:
                # Before the transactions end: nobody may take a connection for open that is about to close.
                self._held, self._holder, self._last = {}, None, {}

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """One row a check and run, as it is evaluated: once for all days of the run.

        Dagster writes one a day, which nothing ever completes: 80,000 rows, 180 MB, for two years of days.
        """
        told = event.get_dagster_event()
        planned = told.event_specific_data
        assert isinstance(planned, AssetCheckEvaluationPlanned)
        whole = told._replace(
            event_specific_data=AssetCheckEvaluationPlanned(
                asset_key=planned.asset_key, check_name=planned.check_name
            )
        )
        super()._store_asset_check_evaluation_planned(event._replace(dagster_event=whole), event_id)

    def has_table(self, table_name: str) -> bool:
        # A table that is there stays. Dagster asks, over a connection of its own, at every event that has tags.
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        self._close()
        super().wipe()

    def dispose(self) -> None:
        self._close()
        super().dispose()

    def _close(self) -> None:
        """Let go of the connections that are kept; what is asked next opens them again."""
        with self._db_lock:
            for engine in self._engines.pop(os.getpid(), {}).values():
                engine.dispose()

    def _engine(self, shard: str) -> Engine:
        """The engine of a file, with its connection and the statements it has compiled."""
        kept = self._engines.setdefault(os.getpid(), {})
        engine = kept.pop(shard, None) or create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        kept[shard] = engine
        while len(kept) > KEPT_FILES:
            kept.pop(next(iter(kept))).dispose()
        return engine

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """A new file is a copy of an empty one: making its tables and reading all of Dagster's migrations takes 0.2 s a run."""
        path = Path(str(engine.url.database))
        if not path.exists() and _placed(path, self._empty()):
            return
        super()._initdb(engine, for_index_shard)

    def _empty(self) -> bytes:
        """What a new file of the log holds, as Dagster makes it."""
        if BatchedEventLog._made_empty is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "empty.db"
                engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
                super()._initdb(engine)
                engine.dispose()
                BatchedEventLog._made_empty = path.read_bytes()
        return BatchedEventLog._made_empty

    @contextmanager
    def _opened(self, shard: str) -> Iterator[Connection]:
        with self._engine(shard).connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if self._holder == threading.get_ident() and shard in self._held:
            yield self._held[shard]
            return
        with self._db_lock:
            if shard not in self._initialized_dbs:
                self._initdb(self._engine(shard))
                self._initialized_dbs.add(shard)
            with self._opened(shard) as connection:
                yield connection

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Keeps the last event of each kind and asset: the table holds one row an asset, which each would overwrite."""
        if self._holder != threading.get_ident():
            super()._store_asset_event(conn, event, event_id)
            return
        told = event.get_dagster_event()
        if told.asset_key is not None:
            key = (told.event_type_value, told.asset_key.to_string())
            self._last.pop(key, None)
            self._last[key] = (event, event_id)


def _placed(path: Path, data: bytes) -> bool:
    """Make `path`, whole or not at all; whether it was we who did: another process may make the same file."""
    part = path.with_name(f"{path.name}-{os.getpid()}.part")
    try:
        part.write_bytes(data)
        sync(part)
        os.link(part, path)
    except OSError:
        return False
    finally:
        part.unlink(missing_ok=True)
    return True
