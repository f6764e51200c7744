"""What a preview reads of the warehouse: published rows of named records, counts, neighbours by band keys.

Lives here: SELECTs that are bounded by the records asked for. Keep out: deciding (`previewing_steps`), frames that the
steps themselves read (`storage.frames`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from dataset_pipeline.records import MESSAGES, RECORDS, TABLES, Step
from dataset_pipeline.storage.publishing import Day, Publication
from dataset_pipeline.storage.warehouse import Warehouse

Types = Mapping[str, "pl.DataType | type[pl.DataType]"]

VERDICT: Types = {"record_id": pl.String, "day": pl.Date, "kept": pl.Boolean, "reason": pl.String}
ROWS_AT_ONCE = 100_000
"""Rows of a table without text that are held at a time."""
TEXTS_AT_ONCE = 20_000
"""Records whose texts are held at a time."""
_NAMED = "record_id IN (SELECT unnest(?::VARCHAR[]))"
"""A hash join: a list that is searched row by row takes minutes with some thousand names."""


def typed(frame: pl.DataFrame, types: Types) -> pl.DataFrame:
    """DuckDB's result with exact types and exactly these columns."""
    if frame.height == 0:
        return pl.DataFrame(schema=dict(types))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in types.items())


def stretches(
    latest: Mapping[tuple[str, Day], Publication], step: Step, rows: int
) -> Iterator[list[dt.date]]:
    """The published days of a step, as many at a time as hold about `rows` rows."""
    days: list[dt.date] = []
    held = 0
    for day, count in sorted((d, p.row_count) for (s, d), p in latest.items() if s == step and d is not None):
        if days and held + count > rows:
            yield days
            days, held = [], 0
        days.append(day)
        held += count
    if days:
        yield days


def parts(ids: pl.Series, size: int = TEXTS_AT_ONCE) -> Iterator[list[str]]:
    """Ids in stretches of `size`."""
    for start in range(0, len(ids), size):
        yield ids.slice(start, size).to_list()


def verdicts(warehouse: Warehouse, step: Step, ids: pl.Series | None = None) -> pl.DataFrame:
    """VERDICT of the named records at a step (None: of all), by record_id; none for those that did not reach it."""
    if ids is None:
        return typed(
            warehouse.query(f'SELECT record_id, day, kept, reason FROM main."{step}" ORDER BY record_id'),
            VERDICT,
        )
    return rows_of(warehouse, step, ids, VERDICT)


def rows_of(warehouse: Warehouse, step: Step, ids: pl.Series, columns: Types) -> pl.DataFrame:
    """Columns of the step's published rows of the named records, by record_id."""
    if len(ids) == 0:
        return pl.DataFrame(schema=dict(columns))
    names = ", ".join(f'"{name}"' for name in columns)
    sql = f'SELECT {names} FROM main."{step}" WHERE {_NAMED} ORDER BY record_id'
    return typed(warehouse.query(sql, [ids.to_list()]), columns)


MEASUREMENTS: Types = {
    name: dtype for name, dtype in TABLES[Step.FILTER].items() if name not in ("detail", "review")
}


def measurements(warehouse: Warehouse, days: Sequence[dt.date]) -> pl.DataFrame:
    """What filter measured on `days`, and its verdicts; without the rows that a person decided."""
    names = ", ".join(f'"{name}"' for name in MEASUREMENTS)
    sql = f'SELECT {names} FROM main."{Step.FILTER}" WHERE list_contains(?, day) AND review IS NULL'
    return typed(warehouse.query(sql, [list(days)]), MEASUREMENTS)


def collected(warehouse: Warehouse, ids: pl.Series) -> pl.DataFrame:
    """RECORDS of the named records as collected, by (day, record_id)."""
    if len(ids) == 0:
        return pl.DataFrame(schema=RECORDS)
    names = ", ".join(f'"{name}"' for name in RECORDS)
    sql = f'SELECT {names} FROM main."{Step.INGEST}" WHERE {_NAMED} ORDER BY day, record_id'
    return typed(warehouse.query(sql, [ids.to_list()]), RECORDS)


CLEANED: Types = {
    "record_id": pl.String,
    "messages": MESSAGES,
    "rejected": MESSAGES,
    "clean_sha": pl.String,
}


def cleaned(warehouse: Warehouse, ids: pl.Series) -> pl.DataFrame:
    """CLEANED of the named records, by record_id; none for those that did not reach normalize."""
    return rows_of(warehouse, Step.NORMALIZE, ids, CLEANED)


def ids_on(warehouse: Warehouse, step: Step, days: Sequence[dt.date]) -> pl.Series:
    """Ids of the records that reached a step on `days`, sorted."""
    sql = f'SELECT record_id FROM main."{step}" WHERE list_contains(?, day) ORDER BY record_id'
    return typed(warehouse.query(sql, [list(days)]), {"record_id": pl.String})["record_id"]


# --- counts -------------------------------------------------------------------------------

COUNTED: Types = {"source": pl.String, "label": pl.String, "reason": pl.String, "records": pl.Int64}
RELEASED: Types = {"split": pl.String, "label": pl.String, "records": pl.Int64}
FACTS: Types = {"record_id": pl.String, "day": pl.Date, "source": pl.String, "label": pl.String}


def counted(warehouse: Warehouse, step: Step, days: Sequence[dt.date]) -> pl.DataFrame:
    """COUNTED: the records of `days` that reached a step by source, label as collected, and reason (null: kept)."""
    sql = f"""SELECT i.source, i.label, s.reason, count(*) AS records FROM main."{step}" s
        JOIN main."ingest" i ON i.record_id = s.record_id AND i.day = s.day WHERE list_contains(?, s.day) GROUP BY ALL"""
    if step == Step.INGEST:
        sql = """SELECT source, label, reason, count(*) AS records FROM main."ingest"
            WHERE list_contains(?, day) GROUP BY ALL"""
    return typed(warehouse.query(sql, [list(days)]), COUNTED)


def reasons(warehouse: Warehouse, step: Step, days: Sequence[dt.date]) -> dict[str | None, int]:
    """Reason (None: kept) to records of a step on `days`."""
    sql = f'SELECT reason, count(*) AS n FROM main."{step}" WHERE list_contains(?, day) GROUP BY reason'
    return dict(warehouse.query(sql, [list(days)]).iter_rows())


def kept_by_split(warehouse: Warehouse, days: Sequence[dt.date]) -> pl.DataFrame:
    """RELEASED of what split keeps of `days`: records by split and label."""
    sql = """SELECT s.split, l.label, count(*) AS records FROM main."split" s
        JOIN main."label" l ON l.record_id = s.record_id AND l.day = s.day
        WHERE s.kept AND list_contains(?, s.day) GROUP BY ALL"""
    return typed(warehouse.query(sql, [list(days)]), RELEASED)


def facts(warehouse: Warehouse, ids: pl.Series) -> pl.DataFrame:
    """FACTS of collected records: day, source and label as collected, by record_id."""
    return rows_of(warehouse, Step.INGEST, ids, FACTS)


PLACED: Types = {"record_id": pl.String, "split": pl.String, "label": pl.String}


def placed(warehouse: Warehouse, ids: pl.Series) -> pl.DataFrame:
    """PLACED of the named records that split keeps."""
    if len(ids) == 0:
        return pl.DataFrame(schema=dict(PLACED))
    sql = f"""SELECT s.record_id, s.split, l.label FROM main."split" s
        JOIN main."label" l ON l.record_id = s.record_id AND l.day = s.day
        WHERE s.kept AND s.{_NAMED} ORDER BY s.record_id"""
    return typed(warehouse.query(sql, [ids.to_list()]), PLACED)


# --- contradictions -----------------------------------------------------------------------

LABELLED: Types = {
    "record_id": pl.String,
    "prompt_key": pl.String,
    "answer_key": pl.String,
    "kept": pl.Boolean,
    "review": pl.String,
}
ANSWERED: Types = {
    "record_id": pl.String, "day": pl.Date, "comparison_key": pl.String, "answer_key": pl.String,
    "kept": pl.Boolean, "reason": pl.String,
}  # fmt: skip


def all_placed(warehouse: Warehouse, days: Sequence[dt.date]) -> pl.DataFrame:
    """PLACED of everything that split keeps of `days`."""
    sql = """SELECT s.record_id, s.split, l.label FROM main."split" s
        JOIN main."label" l ON l.record_id = s.record_id AND l.day = s.day
        WHERE s.kept AND list_contains(?, s.day) ORDER BY s.record_id"""
    return typed(warehouse.query(sql, [list(days)]), PLACED)


def all_labelled(warehouse: Warehouse, days: Sequence[dt.date]) -> pl.DataFrame:
    """LABELLED of the kept label rows of `days`."""
    sql = """SELECT record_id, prompt_key, answer_key, kept, review FROM main."label"
        WHERE kept AND list_contains(?, day) ORDER BY record_id"""
    return typed(warehouse.query(sql, [list(days)]), LABELLED)


def printed_texts(warehouse: Warehouse) -> pl.DataFrame:
    """record_id and a hash of the clean text of every record that normalize keeps: to be compared at once, not to be kept."""
    sql = f'SELECT record_id, hash(messages, rejected) AS text FROM main."{Step.NORMALIZE}" WHERE kept'
    return typed(warehouse.query(sql), {"record_id": pl.String, "text": pl.UInt64})


def disputed(warehouse: Warehouse, prompts: pl.Series, ids: pl.Series) -> pl.DataFrame:
    """LABELLED of the kept label rows of every prompt with several answers, of `prompts`, and of the records `ids`."""
    kept = """SELECT record_id, prompt_key, answer_key, kept, review FROM main."label" WHERE kept"""
    sql = f"""SELECT * FROM ({kept}) WHERE {_NAMED} OR prompt_key IN (SELECT unnest(?::VARCHAR[])) OR prompt_key IN
        (SELECT prompt_key FROM main."label" WHERE kept GROUP BY prompt_key HAVING min(answer_key) <> max(answer_key))
        ORDER BY record_id"""
    return typed(warehouse.query(sql, [ids.to_list(), prompts.to_list()]), LABELLED)


def near_copies(warehouse: Warehouse) -> pl.DataFrame:
    """ANSWERED of the dedup rows whose text a near duplicate that was dropped has, too."""
    sql = """SELECT record_id, day, comparison_key, answer_key, kept, reason FROM main."dedup" WHERE comparison_key IN
        (SELECT comparison_key FROM main."dedup" WHERE reason = 'near') ORDER BY record_id"""
    return typed(warehouse.query(sql), ANSWERED)


# --- neighbours ---------------------------------------------------------------------------

PRINTED: Types = {
    "record_id": pl.String, "day": pl.Date, "source_rank": pl.Int32, "group_key": pl.String, "split": pl.String,
    "comparison_key": pl.String, "answer_key": pl.String, "shingles": pl.Int32, "bands": pl.List(pl.UInt64),
    "may_evaluate": pl.Boolean, "kept": pl.Boolean, "reason": pl.String, "twin": pl.String,
}  # fmt: skip
_PRINTED = """SELECT s.record_id, s.day, i.source_rank, s.group_key, s.split, s.comparison_key, l.answer_key, s.shingles,
    s.bands, i.may_evaluate, s.kept, s.reason, s.twin FROM main."split" s
    JOIN main."ingest" i ON i.record_id = s.record_id AND i.day = s.day
    JOIN main."label" l ON l.record_id = s.record_id AND l.day = s.day"""


def split_prints(warehouse: Warehouse, ids: pl.Series | None = None) -> pl.DataFrame:
    """PRINTED of the named records (None: of all) that reached split."""
    if ids is None:
        return typed(warehouse.query(f"{_PRINTED} ORDER BY s.record_id"), PRINTED)
    if len(ids) == 0:
        return pl.DataFrame(schema=dict(PRINTED))
    return typed(
        warehouse.query(f"{_PRINTED} WHERE s.{_NAMED} ORDER BY s.record_id", [ids.to_list()]), PRINTED
    )


def labels_of(warehouse: Warehouse, ids: pl.Series) -> pl.DataFrame:
    """record_id and label of published label rows."""
    return rows_of(warehouse, Step.LABEL, ids, {"record_id": pl.String, "label": pl.String})


def split_neighbours(warehouse: Warehouse, prints: pl.DataFrame) -> pl.Series:
    """Ids of published split rows that have the text of one of `prints`, or a band of one of another split."""
    homes = (
        prints.filter(pl.col("bands").is_not_null())
        .select("split", bucket="bands")
        .explode("bucket")
        .unique(["split", "bucket"])
    )
    sql = f"""WITH wanted AS (SELECT unnest(?::UBIGINT[]) AS bucket, unnest(?::VARCHAR[]) AS split),
        homes AS (SELECT record_id, split, unnest(bands) AS bucket FROM main."{Step.SPLIT}")
        SELECT h.record_id FROM homes h JOIN wanted w ON w.bucket = h.bucket AND w.split <> h.split
        UNION SELECT record_id FROM main."{Step.SPLIT}" WHERE comparison_key IN (SELECT unnest(?::VARCHAR[]))
        ORDER BY 1"""
    given = [homes["bucket"].to_list(), homes["split"].to_list(), prints["comparison_key"].unique().to_list()]
    return typed(warehouse.query(sql, given), {"record_id": pl.String})["record_id"]


def split_followers(warehouse: Warehouse, ids: pl.Series) -> pl.Series:
    """Ids of the published split rows that were dropped for one of `ids`."""
    if len(ids) == 0:
        return pl.Series("record_id", [], dtype=pl.String)
    sql = f'SELECT record_id FROM main."{Step.SPLIT}" WHERE twin IN (SELECT unnest(?::VARCHAR[])) ORDER BY record_id'
    return typed(warehouse.query(sql, [ids.to_list()]), {"record_id": pl.String})["record_id"]


def split_askers(warehouse: Warehouse, ids: pl.Series, cap: int) -> pl.Series:
    """Ids of published rows that look into a bucket of a kept record of `ids` which holds more than `cap` of its split.

    One less there lets in another one that they were not compared with.
    """
    if len(ids) == 0:
        return pl.Series("record_id", [], dtype=pl.String)
    # Unnested bands are twenty rows a record: they are streamed past what is asked, and never held.
    sql = f"""WITH homes AS NOT MATERIALIZED (SELECT record_id, split, unnest(bands) AS bucket FROM main."{Step.SPLIT}" WHERE kept),
        asked AS MATERIALIZED (SELECT DISTINCT split, unnest(bands) AS bucket FROM main."{Step.SPLIT}" WHERE kept AND {_NAMED}),
        full_ones AS MATERIALIZED (SELECT split, bucket FROM homes JOIN asked USING (split, bucket)
            GROUP BY split, bucket HAVING count(*) > ?)
        SELECT DISTINCT h.record_id FROM full_ones f
        JOIN (SELECT record_id, split, unnest(bands) AS bucket FROM main."{Step.SPLIT}") h
            ON h.bucket = f.bucket AND h.split <> f.split ORDER BY 1"""
    return typed(warehouse.query(sql, [ids.to_list(), cap]), {"record_id": pl.String})["record_id"]
