"""A warehouse file and its version: making an empty one, telling what another is, carrying an older one over.

Lives here: telling a DuckDB file from any other, copying the rows of an older schema into a new file. Keep out: opening
the warehouse and putting a new file in its place (`warehouse`).

A file is never altered in place: its rows are copied into a new one beside it, which takes its name when it is whole.
Whoever is killed meanwhile leaves the old file as it was. The old file is not kept: a copy that nobody knows of would
still hold texts that were erased since.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb

from dataset_pipeline import clock
from dataset_pipeline.errors import WarehouseVersion
from dataset_pipeline.records import DAILY_STEPS, EXTRA_TABLES, INPUTS, TABLES
from dataset_pipeline.storage.schema import SCHEMA_VERSION, ddl

UPGRADED: frozenset[str] = frozenset({"2", "3"})
"""Schema versions whose rows are carried over. Version 1 lacks columns that only reading the sources again can fill."""

RUN_ID = "upgrade"
"""The run that publications made by an upgrade name."""

_NEW = "upgraded"
"""The name under which the new file is attached."""
_COPIED = ("texts_removed", "publications", "checks", "refusals", "settings", "timings")
"""Copied as they are, beside the tables of records, where the old file has them. Not `claims`: a run of the older program that still goes on must not
publish its rows, which lack the new columns. Not what is staged: it is there to be looked at, and to be made again."""
_REBUILD = "Move the file away and run `dataset-pipeline run`: it is rebuilt from the sources."
_DAMAGE = ("corrupt", "could not read enough bytes", "not a valid duckdb", "database has been invalidated")


def foreign_file(path: Path) -> str | None:
    """What a file is instead of a DuckDB file, in words; None where it may be one.

    Asked before DuckDB is: it takes a SQLite file for a database it could read, and calls the network for the driver.
    """
    with path.open("rb") as handle:
        head = handle.read(16)
    if head[8:12] == b"DUCK":
        return None
    if head.startswith(b"SQLite format 3"):
        return "a SQLite file"
    return "a file of nothing but zeros" if head and not any(head) else "no DuckDB file"


def is_damage(error: duckdb.Error) -> bool:
    """Whether DuckDB says that the file itself is at fault: broken off, altered, of another storage version."""
    return any(word in str(error).lower() for word in _DAMAGE)


def version_of(connection: duckdb.DuckDBPyConnection, path: Path) -> str | None:
    """The schema version that the open file names, None where it names none.

    Raises WarehouseVersion for a file that breaks off or has no tables of ours.
    """
    if _is_cut_short(connection, path):
        raise WarehouseVersion(unreadable(path, "it breaks off: it is shorter than it says"))
    tables = {
        row[0]
        for row in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'main'"
        ).fetchall()
    }
    if "meta" not in tables:
        found = f"tables that are not ours: {sorted(tables)[:5]}" if tables else "no table of ours"
        raise WarehouseVersion(f"{path}: holds {found}. {_REBUILD}")
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    except duckdb.Error:
        raise WarehouseVersion(f"{path}: holds a table meta that is not ours. {_REBUILD}") from None
    return None if row is None else str(row[0])


def unreadable(path: Path, why: str) -> str:
    """What is said of a file that is no warehouse."""
    return f"{path}: cannot be opened as a warehouse ({why.splitlines()[0][:200]}). {_REBUILD}"


def refusal(path: Path, version: str | None) -> str:
    """What is said of a warehouse of another schema version."""
    is_later = version is not None and version.isdecimal() and int(version) > SCHEMA_VERSION
    either = "Use the version of the project that wrote it. Or: " if is_later else ""
    return (
        f"{path}: was written by schema version {version or 'unknown'}, this is {SCHEMA_VERSION}. "
        f"{either}{_REBUILD} Releases stay as they are."
    )


@contextlib.contextmanager
def empty_beside(path: Path) -> Iterator[Path]:
    """An empty warehouse of this version in a file beside `path`, removed in the end unless it has been moved.

    What a killed process has left so is removed too: it may hold texts.
    """
    for left in path.parent.glob(f"{path.name}.new-*"):
        if not _is_running(left.name.split(".new-", 1)[1].split(".")[0]):
            left.unlink(missing_ok=True)
    part = path.with_name(f"{path.name}.new-{os.getpid()}")
    remains = [part, part.with_name(part.name + ".wal")]
    for file in remains:
        file.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(part)) as connection:
            connection.execute("BEGIN")
            for statement in ddl():
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
        yield part
    finally:
        for file in remains:
            file.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    if not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True


def _is_cut_short(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether the file is shorter than the blocks in use: a copy that broke off. Free ones need not be there.

    DuckDB itself notices only when it comes to read a block that is not there. Blocks that are told by the write-ahead
    log alone need not be in the file yet, so with a log nothing is said.
    """
    if path.with_name(path.name + ".wal").exists():
        return False
    found = connection.execute("SELECT block_size, used_blocks FROM pragma_database_size()").fetchone()
    return found is not None and path.stat().st_size < found[0] * found[1]


def carry_over(connection: duckdb.DuckDBPyConnection, path: Path, new: Path, version: str) -> None:
    """Copy everything of the open warehouse at `path` into the empty one at `new`, by column; new columns are null.

    A step whose tables have gained columns is stale on all its days from then on: its newest publications are
    appended once more under a recipe that no run can have, naming the version, so that the next run makes the rows
    anew. Until then the old rows stand. Content and handovers stay, so what follows is stale only where it differs.
    Raises WarehouseVersion where it cannot be done; the old file is as it was.
    """
    try:
        _carry_over(connection, new, version)
    except duckdb.Error as error:
        if is_damage(error):
            raise
        raise WarehouseVersion(
            f"{path}: could not be carried over from schema version {version} to {SCHEMA_VERSION} "
            f"({str(error).splitlines()[0][:200]}); it is as it was. Where the disk is full, free as much as the file "
            f"takes and run again. Or: {_REBUILD}"
        ) from None


def _carry_over(connection: duckdb.DuckDBPyConnection, new: Path, version: str) -> None:
    # Nothing may be left in the log: it would be taken for one of the new file.
    connection.execute("CHECKPOINT")
    connection.execute(f"ATTACH '{str(new).replace(chr(39), chr(39) * 2)}' AS {_NEW}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET memory_limit = '1GB'")
    old = _columns(connection, "current_database()")
    now = _columns(connection, f"'{_NEW}'")
    connection.execute("BEGIN")
    for table in (*TABLES, *_COPIED):
        shared = ", ".join(f'"{name}"' for name in now[table] if name in old.get(table, ()))
        if shared:
            connection.execute(
                f'INSERT INTO {_NEW}.main."{table}" BY NAME SELECT {shared} FROM main."{table}"'
            )
    steps = [
        step
        for step in (*INPUTS, *DAILY_STEPS)
        if any(old.get(table) != now[table] for table in (step, *EXTRA_TABLES.get(step, ())))
    ]
    _make_stale(connection, steps, version)
    connection.execute("COMMIT")
    for sequence, table, column in (
        ("publication_seq", f"{_NEW}.main.publications", "seq"),
        ("claim_seq", "main.claims", "token"),
    ):
        highest = connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()
        assert highest is not None
        connection.execute(f"CREATE OR REPLACE SEQUENCE {_NEW}.main.{sequence} START {highest[0] + 1}")
    connection.execute(f"CHECKPOINT {_NEW}")
    connection.execute(f"DETACH {_NEW}")


def _columns(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, tuple[str, ...]]:
    """Table of the main schema to its columns, in order."""
    rows = connection.execute(
        f"""SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns()
        WHERE database_name = {database} AND schema_name = 'main' AND NOT internal GROUP BY table_name"""
    ).fetchall()
    return {table: tuple(columns) for table, columns in rows}


def _make_stale(connection: duckdb.DuckDBPyConnection, steps: list[str], version: str) -> None:
    newest = connection.execute(
        f"""SELECT step, day, recipe, content, handover, params_hash, inputs, row_count, kept_count
        FROM {_NEW}.main.publications WHERE list_contains(?, step)
        QUALIFY row_number() OVER (PARTITION BY step, day ORDER BY seq DESC) = 1 ORDER BY seq""",
        [[str(step) for step in steps]],
    ).fetchall()
    if not newest:
        return
    last = connection.execute(f"SELECT max(seq) FROM {_NEW}.main.publications").fetchone()
    assert last is not None
    moment = clock.now()
    rows = [
        [last[0] + n, step, day, f"{recipe} of schema version {version}", content, handover, params,
         _inputs_of(inputs, version), row_count, kept, True, RUN_ID, moment]
        for n, (step, day, recipe, content, handover, params, inputs, row_count, kept) in enumerate(newest, 1)
    ]  # fmt: skip
    connection.executemany(
        f"INSERT INTO {_NEW}.main.publications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
    )


def _inputs_of(inputs: str, version: str) -> str:
    """A recipe's parts, with one more that today's lacks: `status` names it as the reason."""
    parts = json.loads(inputs)
    parts.setdefault("reads", {})[f"a table of schema version {version} (now {SCHEMA_VERSION})"] = version
    return json.dumps(parts, sort_keys=True)
