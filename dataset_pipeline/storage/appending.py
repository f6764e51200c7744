"""What is appended inside the warehouse's transactions: publications, judgements, refusals, settings, timings.

Lives here: one function a table, on an open connection; many rows go in one statement (row by row 730 days take 0.3 s, so
0.05 s, measured). Keep out: replacing rows and who may (`publishing`), reading (`history`, `judgements`). No DDL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import duckdb
import polars as pl

from dataset_pipeline.storage.publishing import CheckRow, Claim, Day, NewPublication, insert, word


def append_claims(connection: duckdb.DuckDBPyConnection, claim: Claim, moment: dt.datetime) -> None:
    rows = pl.DataFrame({"day": list(claim.days)}, schema={"day": pl.Date}).with_columns(
        token=pl.lit(claim.token, pl.Int64),
        step=pl.lit(str(claim.step)),
        run_id=pl.lit(claim.run_id),
        claimed_at=pl.lit(moment),
    )
    insert(connection, "claims", rows)


def append_publications(
    connection: duckdb.DuckDBPyConnection,
    step: str,
    publications: Sequence[NewPublication],
    unchanged: set[Day],
    run_id: str,
    moment: dt.datetime,
) -> None:
    # In the order given: the newest of a day is the one with the highest number.
    rows = pl.DataFrame(
        {
            "step": pl.repeat(str(step), len(publications), eager=True, dtype=pl.String),
            **{
                name: pl.Series([getattr(p, name) for p in publications], dtype=dtype)
                for name, dtype in _PUBLISHED.items()
            },
            "is_unchanged": pl.Series([p.day in unchanged for p in publications], dtype=pl.Boolean),
            "run_id": pl.repeat(run_id, len(publications), eager=True, dtype=pl.String),
            "published_at": pl.repeat(moment, len(publications), eager=True, dtype=pl.Datetime("us")),
        }
    )
    first = connection.execute(
        "SELECT nextval('publication_seq') FROM range(?)", [len(publications)]
    ).fetchall()
    insert(
        connection, "publications", rows.with_columns(seq=pl.Series([n for (n,) in first], dtype=pl.Int64))
    )


_PUBLISHED: dict[str, type[pl.DataType]] = {
    "day": pl.Date,
    "recipe": pl.String,
    "content": pl.String,
    "handover": pl.String,
    "params_hash": pl.String,
    "inputs": pl.String,
    "row_count": pl.Int64,
    "kept_count": pl.Int64,
}


def append_checks(
    connection: duckdb.DuckDBPyConnection,
    checks: Sequence[CheckRow],
    judged_days: Sequence[Day],
    is_published: bool,
    run_id: str,
    moment: dt.datetime,
) -> None:
    """Keep a judgement of `judged_days`: of rows that became visible, or of rows that were refused."""
    if not checks:
        return
    days = [word(day) for day in judged_days]
    names = ("step", "name", "severity", "frame", "passed", "is_warning", "observed")
    # Plain lists: one that holds as many of them as there are checks is not a list of days for Polars.
    rows = pl.DataFrame(
        {name: [getattr(check, name) for check in checks] for name in names}
        | {"days": [list(check.days) for check in checks], "judged_days": [days] * len(checks)},
        schema_overrides={"days": pl.List(pl.String), "judged_days": pl.List(pl.String)},
    ).with_columns(is_published=pl.lit(is_published), run_id=pl.lit(run_id), judged_at=pl.lit(moment))
    insert(connection, "checks", rows)


def append_refusals(
    connection: duckdb.DuckDBPyConnection,
    step: str,
    days: Sequence[Day],
    attempts: Mapping[Day, str],
    run_id: str,
    moment: dt.datetime,
) -> None:
    """Keep that rows of `days` were refused, beside what was the newest publication then."""
    rows = pl.DataFrame(
        {"day": list(days), "attempt": [attempts.get(day) for day in days]},
        schema={"day": pl.Date, "attempt": pl.String},
    )
    connection.register("incoming", rows.to_arrow())
    try:
        connection.execute(
            """INSERT INTO refusals
            SELECT $step, i.day, max(p.seq), i.attempt, $run_id, $moment FROM incoming i
            LEFT JOIN publications p ON p.step = $step AND p.day IS NOT DISTINCT FROM i.day GROUP BY i.day, i.attempt""",
            {"step": str(step), "run_id": run_id, "moment": moment},
        )
    finally:
        connection.unregister("incoming")


def append_settings(connection: duckdb.DuckDBPyConnection, step: str, settings: Mapping[str, str]) -> None:
    """Keep what stands behind the hashes that are not known yet. settings: params_hash to JSON."""
    for params_hash, text in settings.items():
        connection.execute(
            """INSERT INTO settings SELECT $hash, $step, $text
            WHERE NOT EXISTS (SELECT 1 FROM settings WHERE params_hash = $hash AND step = $step)""",
            {"hash": params_hash, "step": str(step), "text": text},
        )


def append_timing(
    connection: duckdb.DuckDBPyConnection,
    step: str,
    counts: tuple[int, int],
    seconds: float | None,
    is_cold: bool,
    run_id: str,
    moment: dt.datetime,
) -> None:
    """Keep how long a step took for its rows; nothing where that is not told. counts: days and rows."""
    if seconds is not None:
        connection.execute(
            "INSERT INTO timings VALUES (?, ?, ?, ?, ?, ?, ?)",
            [str(step), *counts, seconds, is_cold, run_id, moment],
        )
