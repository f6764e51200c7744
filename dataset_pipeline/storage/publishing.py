"""Inside the warehouse's transactions: what a publication is, who may publish, how rows are replaced.

Lives here: the records of `publications`, `claims` and `checks`, and functions on an open connection.
Keep out: opening connections (`warehouse`), what is appended (`appending`). No DDL and no index in here: either breaks replay of
the write-ahead log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from dataset_pipeline.errors import StalePublish
from dataset_pipeline.records import INPUTS, TABLES, UNDATED_TABLES, empty

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


def refuse_without_claim(connection: duckdb.DuckDBPyConnection, claim: Claim) -> None:
    """Raise StalePublish unless the claim still stands for all its days."""
    holders = connection.execute(
        "SELECT day, token, run_id FROM claims WHERE step = ? AND list_contains(?, coalesce(day, DATE '0001-01-01'))",
        [claim.step, keys(claim.days)],
    ).fetchall()
    for day, token, run_id in holders:
        if token != claim.token:
            raise StalePublish(
                f"{claim.step}: run {run_id} has claimed {day or 'it'} since; this run's rows are refused and the newer ones stand."
            )
    if {row[0] for row in holders} != set(claim.days):
        raise StalePublish(f"{claim.step}: the claim on its days is gone; run again.")


def refuse_if_superseded(
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
    where = "" if claim.step in INPUTS else "AND list_contains(?, day)"
    parameters: list[Any] = [claim.token] if claim.step in INPUTS else [claim.token, list(moved)]
    staged = connection.execute(
        f'SELECT count(*) FROM staging."{claim.step}" WHERE token = ? {where}', parameters
    ).fetchone()
    if moved and staged is not None and staged[0] != wanted:
        raise StalePublish(f"{claim.step}: {staged[0]} staged rows where {wanted} were judged; run again.")


def keys(days: Sequence[Day]) -> list[dt.date]:
    """Days as SQL values that can be compared; None becomes the first of all days."""
    return [day or dt.date(1, 1, 1) for day in days]


def replace_days(connection: duckdb.DuckDBPyConnection, table: str, token: int, days: Sequence[Day]) -> None:
    if not days:
        return
    columns = ", ".join(f'"{name}"' for name in TABLES[table])
    if table in UNDATED_TABLES:
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


def staged_count(connection: duckdb.DuckDBPyConnection, claim: Claim) -> int:
    """Rows of the claim's own table that wait to be published."""
    found = connection.execute(
        f'SELECT count(*) FROM staging."{claim.step}" WHERE token = ?', [claim.token]
    ).fetchone()
    return int(found[0]) if found is not None else 0


def word(day: Day) -> str:
    """A day as checks name it; what has no days is `all`."""
    return "all" if day is None else day.isoformat()


def insert(connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> None:
    if frame.height == 0:
        return
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    connection.register("incoming", frame.to_arrow())
    try:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT {columns} FROM incoming")
    finally:
        connection.unregister("incoming")


Parameters = Sequence[Any] | Mapping[str, Any]
"""Values of a query: by position, or by name."""


def fetch(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters = ()) -> pl.DataFrame:
    given = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
    relation = connection.sql(sql, params=given) if parameters else connection.sql(sql)
    frame = pl.from_arrow(relation.to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def typed(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """`frame` as read from DuckDB, with the exact types and column order of `table`."""
    if frame.height == 0:
        return empty(table)
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in TABLES[table].items())
    return frame.sort(ORDER[table], maintain_order=True)


ORDER: dict[str, list[str]] = {
    table: (
        ["record_id"]
        if "record_id" in columns
        else [n for n, t in columns.items() if not (isinstance(t, pl.DataType) and t.is_nested())]
    )
    for table, columns in TABLES.items()
}
