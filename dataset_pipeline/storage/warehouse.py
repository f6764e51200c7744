"""The DuckDB file: short connections, claims, staging, and the one transaction that publishes.

Lives here: everything that opens `warehouse.duckdb`. Keep out: what a row means, what a gate
thinks, Dagster. DuckDB has one writer and it locks out readers of other processes too, so a
connection is opened for one query or one transaction and closed again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl

from dataset_pipeline import clock
from dataset_pipeline.errors import WarehouseBusy, WarehouseVersion
from dataset_pipeline.records import EXTRA_TABLES, MESSAGES, RELEASE, TABLES, UNDATED_TABLES, conform
from dataset_pipeline.storage.appending import (
    append_checks,
    append_claims,
    append_publications,
    append_refusals,
    append_settings,
    append_timing,
)
from dataset_pipeline.storage.publishing import (
    ORDER,
    CheckRow,
    Claim,
    Day,
    NewPublication,
    Parameters,
    Publication,
    fetch,
    insert,
    keys,
    refuse_if_superseded,
    refuse_without_claim,
    replace_days,
    staged_count,
    typed,
)
from dataset_pipeline.storage.schema import SCHEMA_VERSION
from dataset_pipeline.storage.upgrading import (
    UPGRADED,
    carry_over,
    empty_beside,
    foreign_file,
    is_damage,
    refusal,
    unreadable,
    version_of,
)

WAIT_VARIABLE = "DATASET_PIPELINE_WAIT_SECONDS"
DEFAULT_WAIT_SECONDS = 20.0
_RETRY_SECONDS = 0.05
_ONE_CHECKPOINT = "CHECKPOINT"
_ATTACHED = "warehouse"
_BOUNDED = "SET memory_limit = '512MB'"
"""For moving rows, which needs no more: by default DuckDB takes what it can get, up to most of the machine."""


class Warehouse:
    """The warehouse file at `path`. Every method opens, acts and closes."""

    def __init__(self, path: Path, wait_seconds: float | None = None):
        self.path = path
        self.wait_seconds = (
            wait_seconds
            if wait_seconds is not None
            else float(os.environ.get(WAIT_VARIABLE, DEFAULT_WAIT_SECONDS))
        )
        self._reader: duckdb.DuckDBPyConnection | None = None
        self._idle: dict[int, list[duckdb.DuckDBPyConnection]] = {}
        """By process: in a forked one, an instance has lost its threads."""

    def exists(self) -> bool:
        return self.path.exists()

    # --- connections ----------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short connection, after a bounded wait for whoever holds the file.

        Raises WarehouseBusy naming the process, WarehouseVersion for a file of another making.
        """
        deadline = time.monotonic() + self.wait_seconds
        if self.exists() and (found := foreign_file(self.path)) is not None:
            raise WarehouseVersion(unreadable(self.path, found))
        while True:
            try:
                connection = self._attached() if read_only else duckdb.connect(str(self.path))
                break
            except duckdb.Error as error:
                text = str(error)
                if "different configuration" in text or "file handle conflict" in text:
                    raise AssertionError(
                        "the warehouse is read and written at once in this process"
                    ) from None
                if "permission denied" in text.lower():
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path)) from None
                # Not any "lock": a corrupt file is told by its "block", and a path may hold the word.
                if "could not set lock" not in text.lower():
                    raise WarehouseVersion(unreadable(self.path, text)) from None
                if time.monotonic() >= deadline:
                    raise WarehouseBusy(self._busy(text)) from None
                time.sleep(_RETRY_SECONDS)
        try:
            yield connection
        except duckdb.Error as error:
            if is_damage(error):
                raise WarehouseVersion(unreadable(self.path, str(error))) from None
            raise
        finally:
            if read_only:
                self._detach(connection)
            else:
                connection.close()

    def _attached(self) -> duckdb.DuckDBPyConnection:
        """The file in an instance of DuckDB that is kept: starting one takes 10 ms, opening the file 1.5 (measured)."""
        kept = self._idle.setdefault(os.getpid(), [])
        connection = kept.pop() if kept else duckdb.connect(config={"temp_directory": f"{self.path}.tmp"})
        place = str(self.path).replace("'", "''")
        try:
            connection.execute(f"ATTACH '{place}' AS {_ATTACHED} (READ_ONLY, TYPE duckdb)")
            connection.execute(f"USE {_ATTACHED}")
        except duckdb.Error:
            connection.close()
            raise
        return connection

    def _detach(self, connection: duckdb.DuckDBPyConnection) -> None:
        try:
            connection.execute("USE memory")
            connection.execute(f"DETACH {_ATTACHED}")
        except duckdb.Error:
            connection.close()
        else:
            self._idle.setdefault(os.getpid(), []).append(connection)

    def _busy(self, text: str) -> str:
        found = re.search(r"held in (.+?) \(PID (\d+)\)", text)
        holder = f"process {found[2]} ({Path(found[1]).name})" if found else "another process"
        return (
            f"{self.path}: {holder} holds the warehouse; waited {self.wait_seconds:g} s. "
            f"Wait for it or close it, then run the same command again ({WAIT_VARIABLE} sets the wait)."
        )

    def initialize(self) -> None:
        """Make the warehouse where there is none; carry one of an earlier version over; refuse one of another making.

        Raises WarehouseVersion with what to do: of a version that is not carried over, of a later one, of a file that
        DuckDB cannot read or that breaks off.
        """
        if not self.exists():
            self._create()
        version = self._version()
        if version in UPGRADED:
            self._upgrade()
            version = self._version()
        if version == str(SCHEMA_VERSION):
            return
        raise WarehouseVersion(refusal(self.path, version))

    def _version(self) -> str | None:
        with self._connection(read_only=True) as connection:
            return version_of(connection, self.path)

    def _create(self) -> None:
        """Make an empty warehouse beside its place, then link it there: whole or not at all, and the first wins."""
        with empty_beside(self.path) as part:
            try:
                os.link(part, self.path)
            except FileExistsError:
                pass  # another process was first
            except OSError:
                # A file system without hard links.
                part.rename(self.path)

    def _upgrade(self) -> None:
        """Copy the rows into a new file beside, which takes the old one's place: whole or not at all.

        The old file is held for writing all the while, so nobody reads or writes it; who waited finds the new one.
        """
        place = self.path.resolve()
        with empty_beside(place) as part, self._connection() as connection:
            version = version_of(connection, self.path)
            if version in UPGRADED:  # else another process was first
                carry_over(connection, self.path, part, version)
                part.replace(place)

    # --- reading --------------------------------------------------------------------------

    def query(self, sql: str, parameters: Parameters = ()) -> pl.DataFrame:
        """The result of one read-only query. A result is fetched whole: an open one blocks the next."""
        if self._reader is not None:
            return fetch(self._reader, sql, parameters)
        with self._connection(read_only=True) as connection:
            return fetch(connection, sql, parameters)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One connection for all queries inside, and one state of the file. Nothing may be written inside.

        For queries that follow each other at once: nobody else can write while it is open.
        """
        if self._reader is not None or not self.exists():
            yield
            return
        with self._connection(read_only=True) as connection:
            self._reader = connection
            try:
                yield
            finally:
                self._reader = None

    def table(self, table: str, days: Sequence[dt.date] | None = None) -> pl.DataFrame:
        """Published rows of `table` with the types of records.TABLES, sorted for a stable order."""
        where, parameters = ("", []) if days is None else ("WHERE list_contains(?, day)", [list(days)])
        frame = self.query(f'SELECT * FROM main."{table}" {where}', parameters)
        return typed(frame, table)

    def staged(self, table: str, token: int, with_text: bool = True) -> pl.DataFrame:
        """Staged rows of one claim, as DuckDB gives them: only an empty result is typed by us.

        with_text: false leaves what messages say in the file; their roles are there all the same.
        """
        emptied = ", ".join(
            f'list_transform("{name}", lambda m: {{role: m.role, content: \'\'}}) AS "{name}"'
            for name, dtype in TABLES[table].items()
            if dtype == MESSAGES and not with_text
        )
        columns = "* EXCLUDE (token)" + (f" REPLACE ({emptied})" if emptied else "")
        frame = self.query(f'SELECT {columns} FROM staging."{table}" WHERE token = ?', [token])
        return typed(frame, table) if frame.height == 0 else frame.sort(ORDER[table], maintain_order=True)

    def latest(self) -> dict[tuple[str, Day], Publication]:
        """The newest publication of every step and day."""
        if not self.exists():
            return {}
        frame = self.query(
            """SELECT seq, step, day, recipe, content, handover, params_hash, inputs, row_count, kept_count, run_id
            FROM latest_publications"""
        )
        return {(row["step"], row["day"]): Publication(**row) for row in frame.iter_rows(named=True)}

    # --- writing --------------------------------------------------------------------------

    def claim(self, step: str, days: Sequence[Day], run_id: str) -> Claim:
        """Claim `days` of `step` for a run. An earlier run's claim on them ends here."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            token = connection.execute("SELECT nextval('claim_seq')").fetchone()[0]
            connection.execute(
                "DELETE FROM claims WHERE step = ? AND list_contains(?, coalesce(day, DATE '0001-01-01'))",
                [step, keys(days)],
            )
            claim = Claim(step=step, days=tuple(days), token=token, run_id=run_id)
            append_claims(connection, claim, clock.now())
            connection.execute("COMMIT")
        return claim

    def stage(self, claim: Claim, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write a step's rows beside the published ones, where the gate can look at them.

        `frames` holds the step's table and the tables published with it. Columns are matched
        by name and type; a wrong one raises ValueError before anything is written. Raises
        StalePublish for a claim that a later run has ended: its rows would push out the newer ones.
        """
        expected = {claim.step, *EXTRA_TABLES.get(claim.step, ())}
        if set(frames) != expected:
            raise ValueError(f"step {claim.step} stages {sorted(expected)}, got {sorted(frames)}")
        self._stage(claim, frames, is_first=True)

    def stage_part(self, claim: Claim, frames: Mapping[str, pl.DataFrame], is_first: bool) -> None:
        """Like `stage`, for rows that come in parts of any of the step's tables; the first empties them all.

        Each part is a transaction of its own: nothing holds the file while the next part is read.
        """
        unknown = set(frames) - {claim.step, *EXTRA_TABLES.get(claim.step, ())}
        if unknown:
            raise ValueError(f"step {claim.step} does not stage {sorted(unknown)}")
        self._stage(claim, frames, is_first)

    def _stage(self, claim: Claim, frames: Mapping[str, pl.DataFrame], is_first: bool) -> None:
        shaped = {table: conform(frame, table) for table, frame in frames.items()}
        with self._connection() as connection:
            connection.execute(_BOUNDED)
            connection.execute("BEGIN")
            refuse_without_claim(connection, claim)
            if is_first:
                for table in (claim.step, *EXTRA_TABLES.get(claim.step, ())):
                    if table in UNDATED_TABLES:
                        connection.execute(f'DELETE FROM staging."{table}"')
                    else:
                        connection.execute(
                            f'DELETE FROM staging."{table}" WHERE list_contains(?, day)', [list(claim.days)]
                        )
            for table, frame in shaped.items():
                insert(
                    connection, f'staging."{table}"', frame.with_columns(token=pl.lit(claim.token, pl.Int64))
                )
            connection.execute("COMMIT")

    def publish(
        self,
        claim: Claim,
        publications: Sequence[NewPublication],
        reads: Mapping[tuple[str, Day], int | None],
        checks: Sequence[CheckRow],
        unchanged_days: Sequence[Day] = (),
        *,
        settings: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        """One transaction: compare, replace the days' rows with the staged ones, append publications.

        reads: (step, day) to the sequence number of the publication that was read (None: none).
        Raises StalePublish when one of them is no longer the newest, when another run has
        claimed a day since, or when the staged rows are not this claim's: nothing is changed then.
        Days in `unchanged_days` keep their rows (same content under a new recipe).
        settings: params_hash to JSON of what it is made of; kept once. seconds: how long the step took until here.
        """
        tables = [claim.step, *EXTRA_TABLES.get(claim.step, ())]
        moved = [p.day for p in publications if p.day not in set(unchanged_days)]
        with self._connection() as connection:
            connection.execute(_BOUNDED)
            connection.execute("BEGIN")
            try:
                refuse_without_claim(connection, claim)
                refuse_if_superseded(connection, claim, reads, publications, moved)
                for table in tables:
                    replace_days(connection, table, claim.token, moved)
                moment = clock.now()
                append_publications(
                    connection, claim.step, publications, set(unchanged_days), claim.run_id, moment
                )
                append_checks(connection, checks, claim.days, True, claim.run_id, moment)
                append_settings(connection, claim.step, settings or {})
                counts = (len(claim.days), staged_count(connection, claim) if seconds is not None else 0)
                is_cold = any(reads.get((claim.step, p.day)) is None for p in publications)
                append_timing(connection, claim.step, counts, seconds, is_cold, claim.run_id, moment)
                connection.execute("COMMIT")
            except BaseException:
                # A failed commit has ended the transaction already: its own error is the one to tell.
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                raise
            for table in tables:
                connection.execute(f'DELETE FROM staging."{table}" WHERE token = ?', [claim.token])
            # The write-ahead log loses commits in silence when it is truncated: empty it now.
            connection.execute(_ONE_CHECKPOINT)

    def record_release(
        self,
        new: NewPublication,
        checks: Sequence[CheckRow],
        run_id: str,
        step: str = RELEASE,
        *,
        settings: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Append the publication of a release, or of the report; their rows are files beside the warehouse.

        settings, seconds: as `publish` takes them.
        """
        with self._connection() as connection:
            connection.execute("BEGIN")
            moment = clock.now()
            append_publications(connection, step, [new], set(), run_id, moment)
            append_checks(connection, checks, [None], True, run_id, moment)
            append_settings(connection, step, settings or {})
            append_timing(connection, step, (1, new.row_count), seconds, False, run_id, moment)
            connection.execute("COMMIT")
            connection.execute(_ONE_CHECKPOINT)

    def record_checks(
        self,
        checks: Sequence[CheckRow],
        days: Sequence[Day],
        run_id: str,
        *,
        attempts: Mapping[Day, str] | None = None,
    ) -> None:
        """Keep the judgement of a step that was not published, and that it was refused.

        attempts: day to a hash of what was tried (`assets.differences.attempts`); a day that would be tried with
        something else is not told as refused any more.
        """
        with self._connection() as connection:
            connection.execute("BEGIN")
            moment = clock.now()
            append_checks(connection, checks, days, False, run_id, moment)
            for step in dict.fromkeys(check.step for check in checks):
                append_refusals(connection, step, days, attempts or {}, run_id, moment)
            connection.execute("COMMIT")
