"""The warehouse's SQL: tables, views and the version they belong to.

Lives here: DDL, run once when a warehouse is made. Keep out: anything that runs inside a
publish transaction; DDL or an index there breaks replay of the write-ahead log.
"""

from __future__ import annotations

import polars as pl
from polars._typing import PolarsDataType

from dataset_pipeline.records import DAILY_STEPS, TABLES, UNDATED_TABLES, Step

SCHEMA_VERSION = 4
"""Raised when a table changes; an older warehouse is carried over, or refused with what to do (`upgrading`)."""

_SQL_TYPES: dict[object, str] = {
    pl.String: "VARCHAR",
    pl.Date: "DATE",
    pl.Boolean: "BOOLEAN",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt64: "UBIGINT",
    pl.Float64: "DOUBLE",
}


def sql_type(dtype: PolarsDataType) -> str:
    """The DuckDB type of a Polars type. Raises KeyError for one that no table may hold."""
    if isinstance(dtype, pl.List):
        return f"{sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        return "STRUCT(" + ", ".join(f'"{f.name}" {sql_type(f.dtype)}' for f in dtype.fields) + ")"
    return _SQL_TYPES[dtype if isinstance(dtype, type) else type(dtype)]


def ddl() -> list[str]:
    """Statements that make an empty warehouse."""
    statements = ["CREATE SCHEMA staging", "CREATE SEQUENCE publication_seq", "CREATE SEQUENCE claim_seq"]
    for table, columns in TABLES.items():
        body = ", ".join(f'"{name}" {sql_type(dtype)}' for name, dtype in columns.items())
        statements.append(f'CREATE TABLE main."{table}" ({body})')
        statements.append(f'CREATE TABLE staging."{table}" ({body}, "token" BIGINT)')
    statements += [
        "CREATE TABLE meta (key VARCHAR, value VARCHAR)",
        # Records whose text is not kept any longer; their shingles stay, so that copies are still found.
        "CREATE TABLE texts_removed (record_id VARCHAR, day DATE, shingles UBIGINT[])",
        """CREATE TABLE publications (
            seq BIGINT, step VARCHAR, day DATE, recipe VARCHAR, content VARCHAR, handover VARCHAR,
            params_hash VARCHAR, inputs VARCHAR, row_count BIGINT, kept_count BIGINT, is_unchanged BOOLEAN,
            run_id VARCHAR, published_at TIMESTAMP)""",
        "CREATE TABLE claims (token BIGINT, step VARCHAR, day DATE, run_id VARCHAR, claimed_at TIMESTAMP)",
        """CREATE TABLE checks (
            step VARCHAR, name VARCHAR, severity VARCHAR, frame VARCHAR, passed BOOLEAN, is_warning BOOLEAN,
            observed VARCHAR, days VARCHAR[],
            judged_days VARCHAR[], is_published BOOLEAN, run_id VARCHAR, judged_at TIMESTAMP)""",
        # The newest publication at the time (null: none) tells whether anything was published since; attempt is a hash
        # of what was tried (null: not known), so that a day that would be tried with something else is told apart.
        """CREATE TABLE refusals (
            step VARCHAR, day DATE, seq BIGINT, attempt VARCHAR, run_id VARCHAR, refused_at TIMESTAMP)""",
        # What stands behind a params_hash, as JSON: `status` names the keys of the spec that changed.
        "CREATE TABLE settings (params_hash VARCHAR, step VARCHAR, settings VARCHAR)",
        # A run of a step that published. is_cold: a day of it was new, so nothing of its texts was in the cache.
        """CREATE TABLE timings (
            step VARCHAR, days BIGINT, row_count BIGINT, seconds DOUBLE, is_cold BOOLEAN, run_id VARCHAR,
            finished_at TIMESTAMP)""",
        """CREATE VIEW latest_publications AS
            SELECT * FROM publications
            QUALIFY row_number() OVER (PARTITION BY step, day ORDER BY seq DESC) = 1""",
    ]
    statements += _views()
    statements.append(f"INSERT INTO meta VALUES ('schema_version', '{SCHEMA_VERSION}')")
    return statements


def _views() -> list[str]:
    """Views for people: the records after each step, and every verdict of every record."""
    views = []
    for step in DAILY_STEPS:
        clean = DAILY_STEPS.index(step) >= DAILY_STEPS.index(Step.NORMALIZE)
        text = "n.messages" if clean else "i.messages"
        join = 'JOIN main."normalize" n ON n.record_id = i.record_id' if clean else ""
        views.append(
            f"""CREATE VIEW records_after_{step} AS
            SELECT i.record_id, i.day, i.source, i.source_id, i.uri, i.line, {text} AS messages, i.label, i."group"
            FROM main."ingest" i JOIN main."{step}" s ON s.record_id = i.record_id {join} WHERE s.kept"""
        )
    union = " UNION ALL ".join(
        f"SELECT {n} AS position, '{step}' AS step, record_id, day, kept, reason, detail FROM main.\"{step}\""
        for n, step in enumerate(DAILY_STEPS)
    )
    views.append(
        f"""CREATE VIEW record_history AS
        SELECT h.*, i.source, i.source_id, i.uri, i.line
        FROM ({union}) h JOIN main."ingest" i USING (record_id)"""
    )
    return views


DATED_TABLES: tuple[str, ...] = tuple(table for table in TABLES if table not in UNDATED_TABLES)
