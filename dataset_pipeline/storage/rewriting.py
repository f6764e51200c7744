"""Taking texts out of the warehouse, and the bytes of what was there out of its file.

Lives here: nulling text columns, copying the file anew. Keep out: who is erased (`transforms.erasure`), when this is done
(`assets.housekeeping`), releases that hold a record (`erased_releases`), publishing (`warehouse`).

DuckDB overwrites nothing: a deleted or updated row stays in free blocks of the file. Only a new file has no trace.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import polars as pl

from dataset_pipeline.errors import PipelineError, WarehouseBusy
from dataset_pipeline.records import ANNOTATIONS, DAILY_STEPS, Step
from dataset_pipeline.storage.files import sync
from dataset_pipeline.storage.publishing import insert
from dataset_pipeline.storage.warehouse import Warehouse

TEXTS: dict[str, tuple[str, ...]] = {
    Step.INGEST: ("messages", "rejected", "tools", "person_names", "label"),
    Step.NORMALIZE: ("messages", "rejected"),
}
"""The columns that hold words of a record, by table."""
WAITING = ("in_review", "unlabelled", "unknown_label")
"""Reasons with which a record waits for a person, who needs its text."""
ERASED_KEY = "erased"
"""meta: the hash of the erased records for which the file was last rewritten."""
_PENDING_KEY = "rewrite"
"""meta: there while texts have been taken out and the file still holds their bytes."""
_BY_SOURCE = "EXISTS (SELECT 1 FROM gone WHERE gone.source = t.source AND gone.source_id = t.source_id)"
_PART = ".rewriting"
_MEMORY = "512MB"
_RETRY_SECONDS = 0.05


class RewriteFailed(PipelineError):
    """The copy of the warehouse is not equal to it; the warehouse is as it was."""


# --- texts --------------------------------------------------------------------------------


def erased_records(warehouse: Warehouse) -> pl.DataFrame:
    """record_id, because, source, uri, line, source_id of the records that ingest has erased.

    They are also the places of the raw files that hold their texts: a row that is gone from its file is not collected.
    """
    frame = warehouse.query(
        """SELECT record_id, detail->>'$.because' AS because, source, uri, line, source_id FROM main."ingest"
        WHERE reason = 'erased' ORDER BY uri, line, record_id"""
    )
    schema: dict[str, type[pl.DataType]] = {
        "record_id": pl.String, "because": pl.String, "source": pl.String, "uri": pl.String, "line": pl.Int64,
        "source_id": pl.String,
    }  # fmt: skip
    return frame.cast(schema) if frame.height else pl.DataFrame(schema=schema)  # type: ignore[arg-type]


def texts_left(warehouse: Warehouse, erased: pl.DataFrame) -> int:
    """Rows of any table, staged ones too, that hold words of the erased records."""
    counts = []
    with warehouse._connection(read_only=True) as connection:
        for wanted, table, columns, where in _places(connection, erased):
            held = " OR ".join(f'"{column}" IS NOT NULL' for column in columns)
            query = f"SELECT count(*) FROM {table} t WHERE ({held}) AND {where}"
            connection.register("gone", wanted)
            counts.append(connection.execute(query).fetchall()[0][0])
            connection.unregister("gone")
    return sum(counts)


def remove_texts(
    warehouse: Warehouse, erased: pl.DataFrame, kept_shingles: pl.DataFrame | None = None
) -> None:
    """Null every word of these records, published and staged, in one transaction; ids and measurements stay.

    erased: record_id, source, source_id. kept_shingles: record_id, day, shingles (List(UInt64) or null), listed in
    texts_removed; None where nothing is to be remembered, and then notes of annotators go too. The file is to
    be rewritten afterwards: `is_rewrite_due` says so until then.
    """
    if erased.height == 0:
        return
    with warehouse._connection() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute("BEGIN")
        for wanted, table, columns, where in _places(connection, erased, kept_shingles is None):
            # Only rows with words in them: an update writes a row anew.
            changes = ", ".join(f'"{column}" = NULL' for column in columns)
            held = " OR ".join(f't."{column}" IS NOT NULL' for column in columns)
            connection.register("gone", wanted)
            connection.execute(f"UPDATE {table} t SET {changes} WHERE ({held}) AND {where}")
            connection.unregister("gone")
        connection.register("gone", erased.select("record_id").to_arrow())
        connection.execute("DELETE FROM texts_removed WHERE record_id IN (SELECT record_id FROM gone)")
        connection.unregister("gone")
        if kept_shingles is not None:
            insert(connection, "texts_removed", kept_shingles.select("record_id", "day", "shingles"))
        _set_meta(connection, _PENDING_KEY, "texts were removed")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")


def _places(
    connection: duckdb.DuckDBPyConnection, erased: pl.DataFrame, with_notes: bool = True
) -> Iterator[tuple[object, str, tuple[str, ...], str]]:
    """Ids, table, text columns and condition of every place where words of a record may stand."""
    ids = erased.select("record_id").to_arrow()
    own = erased.select("source", "source_id").drop_nulls().unique().to_arrow()
    # Only who is named by the source's id alone: an id may be shared by records that are not meant.
    by_id = erased.filter(pl.col("record_id").is_null()).select("source", "source_id").drop_nulls().unique()
    for schema in ("main", "staging"):
        if by_id.height:
            yield by_id.to_arrow(), f'{schema}."{Step.INGEST}"', TEXTS[Step.INGEST], _BY_SOURCE
        for table, columns in TEXTS.items():
            yield ids, f'{schema}."{table}"', columns, "t.record_id IN (SELECT record_id FROM gone)"
        if with_notes:
            notes = f'{schema}."{ANNOTATIONS}"'
            yield ids, notes, ("notes",), "t.record IN (SELECT record_id FROM gone)"
            yield own, notes, ("notes",), _BY_SOURCE


# --- retention ----------------------------------------------------------------------------


def texts_due(warehouse: Warehouse, before: dt.date) -> pl.DataFrame:
    """record_id, day, is_known of dropped records collected before a day whose text is still there.

    Dropped: some step did not keep it, and not for a reason that waits for a person. is_known: dedup kept it, so
    later records are compared with it.
    """
    union = " UNION ALL ".join(
        f'SELECT {n} AS position, record_id, day, kept, reason FROM main."{step}" WHERE day < $before'
        for n, step in enumerate(DAILY_STEPS)
    )
    normalized = " OR ".join(f'n."{column}" IS NOT NULL' for column in TEXTS[Step.NORMALIZE])
    collected = " OR ".join(f'i."{column}" IS NOT NULL' for column in TEXTS[Step.INGEST])
    frame = warehouse.query(
        f"""WITH first AS (
            SELECT record_id, day, min(position) AS position, arg_min(reason, position) AS reason
            FROM ({union}) WHERE NOT kept GROUP BY record_id, day)
        SELECT f.record_id, f.day, coalesce(d.kept, false) AS is_known
        FROM first f JOIN main."ingest" i USING (record_id, day)
        LEFT JOIN main."dedup" d USING (record_id, day) LEFT JOIN main."normalize" n USING (record_id, day)
        WHERE NOT list_contains($waiting, f.reason) AND f.reason <> 'erased' AND ({collected} OR {normalized})
        ORDER BY f.day, f.record_id""",
        {"before": before, "waiting": list(WAITING)},
    )
    schema = {"record_id": pl.String, "day": pl.Date, "is_known": pl.Boolean}
    return frame.cast(schema) if frame.height else pl.DataFrame(schema=schema)  # type: ignore[arg-type]


def days_without_texts(warehouse: Warehouse, days: Sequence[dt.date], step: Step) -> list[dt.date]:
    """The days on which `step` would have to read a text that retention has removed.

    Where such a day is to be made again, ingest (and normalize, for the steps after it) must be made first, even
    though their recipes are the published ones.
    """
    position = DAILY_STEPS.index(step)
    if position == 0 or not days:
        return []
    before = DAILY_STEPS[position - 1]
    is_clean = position > DAILY_STEPS.index(Step.NORMALIZE)
    join = 'LEFT JOIN main."normalize" n ON n.record_id = b.record_id AND n.day = b.day' if is_clean else ""
    frame = warehouse.query(
        f"""SELECT DISTINCT b.day FROM main."{before}" b
        JOIN main."ingest" i ON i.record_id = b.record_id AND i.day = b.day {join}
        WHERE b.kept AND list_contains(?, b.day) AND (i.messages IS NULL {"OR n.messages IS NULL" if is_clean else ""})
        ORDER BY b.day""",
        [list(days)],
    )
    return [row[0] for row in frame.iter_rows()]


# --- the file -----------------------------------------------------------------------------


def is_rewrite_due(warehouse: Warehouse) -> bool:
    """Whether texts were taken out since the file was rewritten last."""
    return meta(warehouse, _PENDING_KEY) is not None


def meta(warehouse: Warehouse, key: str) -> str | None:
    """A value that the warehouse remembers about itself."""
    found = warehouse.query("SELECT value FROM meta WHERE key = ?", [key])
    return str(found.item()) if found.height else None


def note_rewritten(warehouse: Warehouse, erased_hash: str | None) -> None:
    """Remember, after the rewrite, for which erased records it was (None: for none)."""
    with warehouse._connection() as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM meta WHERE key = ?", [_PENDING_KEY])
        _set_meta(connection, ERASED_KEY, erased_hash)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")


def _set_meta(connection: duckdb.DuckDBPyConnection, key: str, value: str | None) -> None:
    connection.execute("DELETE FROM meta WHERE key = ?", [key])
    if value is not None:
        connection.execute("INSERT INTO meta VALUES (?, ?)", [key, value])


def clear_remains(path: Path) -> None:
    """Remove what a rewrite or a query that died has left beside the warehouse."""
    for left in path.parent.glob(f"{path.name}{_PART}*"):
        left.unlink(missing_ok=True)
    for left in (*path.parent.glob(f"{path.name}.new-*"), path.with_name(f"{path.name}.tmp")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def rewrite(path: Path, wait_seconds: float | None = None) -> None:
    """Replace the DuckDB file by a copy that holds its tables, views and sequences, and nothing of what was deleted.

    A reader sees the old file or the new one. Killed at any moment it leaves a whole warehouse; what is left beside
    it goes at the next time. Raises WarehouseBusy as `Warehouse` does, RewriteFailed where a table lost rows.
    """
    clear_remains(path)
    warehouse = Warehouse(path, wait_seconds)
    part = path.with_name(path.name + _PART)
    wal = path.with_name(path.name + ".wal")
    deadline = time.monotonic() + warehouse.wait_seconds
    try:
        while True:
            # An old log beside a new file would be replayed into it: it is emptied before, and must stay so.
            with warehouse._connection() as connection:
                connection.execute("CHECKPOINT")
            with _copying(path, part) as connection:
                if connection is not None and not wal.exists():
                    connection.execute("COPY FROM DATABASE old TO new")
                    _verify(connection, path)
                    connection.execute("CHECKPOINT new")
                    connection.execute("DETACH new")
                    sync(part)
                    # The old file is still attached, so nobody writes to it between the copy and the exchange.
                    part.replace(path)
                    sync(path.parent)
                    return
            if time.monotonic() >= deadline:
                raise WarehouseBusy(
                    f"{path}: another process writes to the warehouse; waited {warehouse.wait_seconds:g} s. "
                    "Wait for it to end, then run the same command again."
                )
            time.sleep(_RETRY_SECONDS)
    finally:
        clear_remains(path)


@contextlib.contextmanager
def _copying(path: Path, part: Path) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """A connection with the warehouse as `old`, to be read only, and an empty file as `new`; None while it is held."""
    part.unlink(missing_ok=True)
    connection = duckdb.connect()
    try:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = {_quoted(path.with_name(path.name + '.tmp'))}")
        try:
            connection.execute(f"ATTACH {_quoted(path)} AS old (READ_ONLY)")
        except duckdb.IOException as error:
            if "could not set lock" not in str(error).lower():
                raise
            yield None
            return
        connection.execute(f"ATTACH {_quoted(part)} AS new")
        yield connection
    finally:
        connection.close()


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _verify(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise RewriteFailed unless the copy has the same tables with as many rows, views and sequences."""
    listed = {
        "tables": "SELECT schema_name, table_name, sql FROM duckdb_tables() WHERE database_name = ?",
        "views": "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = ? AND NOT internal",
        "sequences": "SELECT schema_name, sequence_name, coalesce(last_value, start_value - 1) FROM duckdb_sequences() WHERE database_name = ?",
    }  # fmt: skip
    for kind, query in listed.items():
        old, new = (sorted(connection.execute(query, [name]).fetchall()) for name in ("old", "new"))
        if old != new:
            raise RewriteFailed(f"{path}: the copy has other {kind}; the warehouse is as it was. Run again.")
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'old'"
    ).fetchall()
    for schema, table in tables:
        counts = [
            connection.execute(f'SELECT count(*) FROM {name}."{schema}"."{table}"').fetchall()[0][0]
            for name in ("old", "new")
        ]
        if counts[0] != counts[1]:
            raise RewriteFailed(
                f"{path}: the copy of {schema}.{table} has {counts[1]} of {counts[0]} rows; the warehouse is as it was. Run again."
            )


def discard(path: Path) -> None:
    """Delete a DuckDB file whose content is not missed, with its log and its spilled pages."""
    for file in (path, path.with_name(path.name + ".wal")):
        file.unlink(missing_ok=True)
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)


def vacuum_sqlite(folder: Path) -> list[Path]:
    """Write the SQLite files below a folder anew, so that freed pages go. Returns those that are in use: left alone."""
    busy = []
    for path in sorted(folder.rglob("*.db")):
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            busy.append(path)
    return busy
