"""Dagster's event log of a project, which writes the events of many days in one transaction.

Lives here: the storage class that `.dagster/dagster.yaml` names. Keep out: which events there are (`assets.graph`), the rest
of Dagster's configuration (`automation.instance`).

Dagster's own log in SQLite opens four connections and commits twice for every event, so a backfill of two years of days spends
most of its time there: 5,110 events that say what is planned, and as many that say what was made. The files, their tables and
the rows in them are the same: without this class Dagster goes on where it left off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from dagster import EventLogEntry
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection

BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster hands events over in batches where this is set in the environment; it reads it at every event."""
BATCH_SIZE = 1_000
"""Events held back at most: what a run shows of its last step is late by as many."""


class BatchedEventLog(SqliteEventLogStorage):
    """Dagster's SQLite log, where `store_event_batch` is one transaction instead of one for every event."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._held: dict[str, Connection] = {}
        self._holder: int | None = None
        self._last: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> BatchedEventLog:
        # Every process that opens the log passes here: the command line, the web server, the daemon, a run it began.
        os.environ.setdefault(BATCH_VARIABLE, str(BATCH_SIZE))
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all of them or none. On an error Dagster stores them one by one."""
        runs = {event.run_id for event in events}
        if len(runs) != 1:
            super().store_event_batch(events)
            return
        run_id = runs.pop()
        for shard in (run_id, INDEX_SHARD_NAME):
            with self._connect(shard):
                pass  # makes the file where there is none yet: not to be done inside of a transaction
        with self._db_lock, ExitStack() as stack:
            try:
                self._held = {
                    shard: stack.enter_context(self._opened(shard)) for shard in (run_id, INDEX_SHARD_NAME)
                }
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

    @contextmanager
    def _opened(self, shard: str) -> Iterator[Connection]:
        from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=NullPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        with engine.connect() as connection, connection.begin():
            yield connection
        engine.dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if self._holder == threading.get_ident() and shard in self._held:
            yield self._held[shard]
            return
        with super()._connect(shard) as connection:
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
