"""The DuckDB file: short connections, claims, staging, and the one transaction that publishes.

Lives here: everything that opens `warehouse.duckdb`. Keep out: what a row means, what a gate
thinks, Dagster. DuckDB has one writer and it locks out readers of other processes too, so a
connection is opened for one query or one transaction and closed again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from dataset_pipeline import clock
from dataset_pipeline.errors import StalePublish, WarehouseBusy, WarehouseVersion
from dataset_pipeline.records import EXTRA_TABLES, PROTECTED, RELEASE, TABLES, conform, empty
from dataset_pipeline.storage.schema import SCHEMA_VERSION, ddl

WAIT_VARIABLE = "DATASET_PIPELINE_WAIT_SECONDS"
DEFAULT_WAIT_SECONDS = 20.0
_RETRY_SECONDS = 0.05
_ONE_CHECKPOINT = "CHECKPOINT"

Day = dt.date | None
"""A collection day; None for what has no days (protected, release)."""


@dataclass(frozen=True)
class Publication:
    """The newest publication of one step and day."""

    seq: int
    step: str
    day: Day
    recipe: str
    content: str
    handover: str
    params_hash: str
    inputs: str
    row_count: int
    kept_count: int
    run_id: str


@dataclass(frozen=True)
class Claim:
    """The right to publish these days of a step, until a later run claims them."""

    step: str
    days: tuple[Day, ...]
    token: int
    run_id: str


@dataclass(frozen=True)
class NewPublication:
    """What a publish appends for one day."""

    day: Day
    recipe: str
    content: str
    handover: str
    params_hash: str
    inputs: str
    row_count: int
    kept_count: int


@dataclass(frozen=True)
class CheckRow:
    """One judged expectation, as kept in the `checks` table."""

    step: str
    name: str
    severity: str
    frame: str
    passed: bool
    is_warning: bool
    observed: str
    days: tuple[str, ...]


class Warehouse:
    """The warehouse file at `path`. Every method opens, acts and closes."""

    def __init__(self, path: Path, wait_seconds: float | None = None):
        self.path = path
        self.wait_seconds = (
            wait_seconds
            if wait_seconds is not None
            else float(os.environ.get(WAIT_VARIABLE, DEFAULT_WAIT_SECONDS))
        )

    def exists(self) -> bool:
        return self.path.exists()

    # --- connections ----------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short connection, after a bounded wait for whoever holds the file.

        Raises WarehouseBusy naming the process, WarehouseVersion for a file of another making.
        """
        deadline = time.monotonic() + self.wait_seconds
        while True:
            try:
                connection = duckdb.connect(str(self.path), read_only=read_only)
                break
            except duckdb.Error as error:
                text = str(error)
                # Not any "lock": a corrupt file is told by its "block", and a path may hold the word.
                if "could not set lock" not in text.lower():
                    raise WarehouseVersion(self._unreadable(text)) from None
                if time.monotonic() >= deadline:
                    raise WarehouseBusy(self._busy(text)) from None
                time.sleep(_RETRY_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    def _busy(self, text: str) -> str:
        found = re.search(r"held in (.+?) \(PID (\d+)\)", text)
        holder = f"process {found[2]} ({Path(found[1]).name})" if found else "another process"
        return (
            f"{self.path}: {holder} holds the warehouse; waited {self.wait_seconds:g} s. "
            f"Wait for it or close it, then run the same command again ({WAIT_VARIABLE} sets the wait)."
        )

    def _unreadable(self, text: str) -> str:
        return (
            f"{self.path}: cannot be opened as a warehouse ({text.splitlines()[0][:200]}). "
            "Move the file away and run `dataset-pipeline run`: it is rebuilt from the sources."
        )

    def initialize(self) -> None:
        """Make the warehouse where there is none; refuse one of another version or another making."""
        if not self.exists():
            self._create()
        with self._connection(read_only=True) as connection:
            tables = {
                row[0]
                for row in connection.execute(
                    "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'"
                ).fetchall()
            }
            if "meta" not in tables:
                found = f"tables that are not ours: {sorted(tables)[:5]}" if tables else "no table of ours"
                raise WarehouseVersion(
                    f"{self.path}: holds {found}. Move the file away and run `dataset-pipeline run`: it is built from the sources."
                )
            version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
        if version is None or version[0] != str(SCHEMA_VERSION):
            raise WarehouseVersion(
                f"{self.path}: was written by schema version {version[0] if version else 'unknown'}, this is {SCHEMA_VERSION}. "
                "Move the file away and run `dataset-pipeline run`: it is rebuilt from the sources; releases stay as they are."
            )

    def _create(self) -> None:
        """Make an empty warehouse beside its place, then link it there: whole or not at all, and the first wins."""
        part = Warehouse(self.path.with_name(f"{self.path.name}.new-{os.getpid()}"), self.wait_seconds)
        remains = [part.path, part.path.with_name(part.path.name + ".wal")]
        for path in remains:
            path.unlink(missing_ok=True)
        try:
            with part._connection() as connection:
                connection.execute("BEGIN")
                for statement in ddl():
                    connection.execute(statement)
                connection.execute("COMMIT")
                connection.execute(_ONE_CHECKPOINT)
            try:
                os.link(part.path, self.path)
            except FileExistsError:
                pass  # another process was first
            except OSError:
                # A file system without hard links.
                part.path.rename(self.path)
        finally:
            for path in remains:
                path.unlink(missing_ok=True)

    # --- reading --------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The result of one read-only query. A result is fetched whole: an open one blocks the next."""
        with self._connection(read_only=True) as connection:
            return _fetch(connection, sql, parameters)

    def table(self, table: str, days: Sequence[dt.date] | None = None) -> pl.DataFrame:
        """Published rows of `table` with the types of records.TABLES, sorted for a stable order."""
        where, parameters = ("", []) if days is None else ("WHERE list_contains(?, day)", [list(days)])
        frame = self.query(f'SELECT * FROM main."{table}" {where}', parameters)
        return typed(frame, table)

    def staged(self, table: str, token: int) -> pl.DataFrame:
        """Staged rows of one claim, as DuckDB gives them: only an empty result is typed by us."""
        frame = self.query(f'SELECT * EXCLUDE (token) FROM staging."{table}" WHERE token = ?', [token])
        return typed(frame, table) if frame.height == 0 else frame.sort(_ORDER[table], maintain_order=True)

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
                [step, _keys(days)],
            )
            moment = clock.now()
            connection.executemany(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?)",
                [[token, step, day, run_id, moment] for day in days],
            )
            connection.execute("COMMIT")
        return Claim(step=step, days=tuple(days), token=token, run_id=run_id)

    def stage(self, claim: Claim, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write a step's rows beside the published ones, where the gate can look at them.

        `frames` holds the step's table and the tables published with it. Columns are matched
        by name and type; a wrong one raises ValueError before anything is written. Raises
        StalePublish for a claim that a later run has ended: its rows would push out the newer ones.
        """
        expected = {claim.step, *EXTRA_TABLES.get(claim.step, ())}
        if set(frames) != expected:
            raise ValueError(f"step {claim.step} stages {sorted(expected)}, got {sorted(frames)}")
        shaped = {table: conform(frame, table) for table, frame in frames.items()}
        with self._connection() as connection:
            connection.execute("BEGIN")
            _refuse_without_claim(connection, claim)
            for table, frame in shaped.items():
                if table == PROTECTED:
                    connection.execute(f'DELETE FROM staging."{table}"')
                else:
                    connection.execute(
                        f'DELETE FROM staging."{table}" WHERE list_contains(?, day)', [list(claim.days)]
                    )
                _insert(
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
    ) -> None:
        """One transaction: compare, replace the days' rows with the staged ones, append publications.

        reads: (step, day) to the sequence number of the publication that was read (None: none).
        Raises StalePublish when one of them is no longer the newest, when another run has
        claimed a day since, or when the staged rows are not this claim's: nothing is changed then.
        Days in `unchanged_days` keep their rows (same content under a new recipe).
        """
        tables = [claim.step, *EXTRA_TABLES.get(claim.step, ())]
        moved = [p.day for p in publications if p.day not in set(unchanged_days)]
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                _refuse_without_claim(connection, claim)
                _refuse_if_superseded(connection, claim, reads, publications, moved)
                for table in tables:
                    _replace_days(connection, table, claim.token, moved)
                moment = clock.now()
                _append_publications(
                    connection, claim.step, publications, set(unchanged_days), claim.run_id, moment
                )
                _append_checks(connection, checks, claim.run_id, moment)
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

    def record_release(self, new: NewPublication, checks: Sequence[CheckRow], run_id: str) -> None:
        """Append the publication of a release; its rows are the folder's files."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            moment = clock.now()
            _append_publications(connection, RELEASE, [new], set(), run_id, moment)
            _append_checks(connection, checks, run_id, moment)
            connection.execute("COMMIT")
            connection.execute(_ONE_CHECKPOINT)

    def record_checks(self, checks: Sequence[CheckRow], run_id: str) -> None:
        """Keep the judgement of a step that was not published."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            _append_checks(connection, checks, run_id, clock.now())
            connection.execute("COMMIT")


def _refuse_without_claim(connection: duckdb.DuckDBPyConnection, claim: Claim) -> None:
    """Raise StalePublish unless the claim still stands for all its days."""
    holders = connection.execute(
        "SELECT day, token, run_id FROM claims WHERE step = ? AND list_contains(?, coalesce(day, DATE '0001-01-01'))",
        [claim.step, _keys(claim.days)],
    ).fetchall()
    for day, token, run_id in holders:
        if token != claim.token:
            raise StalePublish(
                f"{claim.step}: run {run_id} has claimed {day or 'it'} since; this run's rows are refused and the newer ones stand."
            )
    if {row[0] for row in holders} != set(claim.days):
        raise StalePublish(f"{claim.step}: the claim on its days is gone; run again.")


def _refuse_if_superseded(
    connection: duckdb.DuckDBPyConnection,
    claim: Claim,
    reads: Mapping[tuple[str, Day], int | None],
    publications: Sequence[NewPublication],
    moved: Sequence[Day],
) -> None:
    steps = sorted({step for step, _ in reads})
    newest = {
        (step, day): seq
        for step, day, seq in connection.execute(
            "SELECT step, day, max(seq) FROM publications WHERE list_contains(?, step) GROUP BY ALL",
            [steps],
        ).fetchall()
    }
    for (step, day), seq in sorted(reads.items(), key=str):
        if newest.get((step, day)) != seq:
            raise StalePublish(
                f"{claim.step}: {step} {day or ''} was published again while this step was computing; run again."
            )
    wanted = sum(p.row_count for p in publications if p.day in set(moved))
    where = "" if claim.step == PROTECTED else "AND list_contains(?, day)"
    parameters: list[Any] = [claim.token] if claim.step == PROTECTED else [claim.token, list(moved)]
    staged = connection.execute(
        f'SELECT count(*) FROM staging."{claim.step}" WHERE token = ? {where}', parameters
    ).fetchone()
    if moved and staged is not None and staged[0] != wanted:
        raise StalePublish(f"{claim.step}: {staged[0]} staged rows where {wanted} were judged; run again.")


def _keys(days: Sequence[Day]) -> list[dt.date]:
    """Days as SQL values that can be compared; None becomes the first of all days."""
    return [day or dt.date(1, 1, 1) for day in days]


def _replace_days(connection: duckdb.DuckDBPyConnection, table: str, token: int, days: Sequence[Day]) -> None:
    if not days:
        return
    columns = ", ".join(f'"{name}"' for name in TABLES[table])
    if table == PROTECTED:
        connection.execute(f'DELETE FROM main."{table}"')
        connection.execute(
            f'INSERT INTO main."{table}" BY NAME SELECT {columns} FROM staging."{table}" WHERE token = ?',
            [token],
        )
        return
    connection.execute(f'DELETE FROM main."{table}" WHERE list_contains(?, day)', [list(days)])
    connection.execute(
        f'INSERT INTO main."{table}" BY NAME SELECT {columns} FROM staging."{table}" WHERE token = ? AND list_contains(?, day)',
        [token, list(days)],
    )


def _append_publications(
    connection: duckdb.DuckDBPyConnection,
    step: str,
    publications: Sequence[NewPublication],
    unchanged: set[Day],
    run_id: str,
    moment: dt.datetime,
) -> None:
    rows = [
        [step, p.day, p.recipe, p.content, p.handover, p.params_hash, p.inputs, p.row_count, p.kept_count,
         p.day in unchanged, run_id, moment]
        for p in publications
    ]  # fmt: skip
    connection.executemany(
        "INSERT INTO publications VALUES (nextval('publication_seq'), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _append_checks(
    connection: duckdb.DuckDBPyConnection, checks: Sequence[CheckRow], run_id: str, moment: dt.datetime
) -> None:
    if checks:
        connection.executemany(
            "INSERT INTO checks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                [
                    c.step,
                    c.name,
                    c.severity,
                    c.frame,
                    c.passed,
                    c.is_warning,
                    c.observed,
                    json.dumps(c.days),
                    run_id,
                    moment,
                ]
                for c in checks
            ],
        )


def _insert(connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> None:
    if frame.height == 0:
        return
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    connection.register("incoming", frame.to_arrow())
    try:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT {columns} FROM incoming")
    finally:
        connection.unregister("incoming")


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
    relation = connection.sql(sql, params=list(parameters)) if parameters else connection.sql(sql)
    frame = pl.from_arrow(relation.to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def typed(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """`frame` as read from DuckDB, with the exact types and column order of `table`."""
    if frame.height == 0:
        return empty(table)
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in TABLES[table].items())
    return frame.sort(_ORDER[table], maintain_order=True)


_ORDER: dict[str, list[str]] = {
    table: (
        ["record_id"]
        if "record_id" in columns
        else [n for n, t in columns.items() if not (isinstance(t, pl.DataType) and t.is_nested())]
    )
    for table, columns in TABLES.items()
}
