"""Working frames and history, rebuilt from the warehouse by joins.

Lives here: the SELECTs that give a step what it reads. Keep out: connections and transactions
(`warehouse`), what a step does with the frames.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, RECORDS, Step
from dataset_pipeline.storage.warehouse import Warehouse

Days = Sequence[dt.date]

_LABELLED = """CASE WHEN label_t.label IS NULL THEN normalize_t.messages
    ELSE list_append(list_slice(normalize_t.messages, 1, len(normalize_t.messages) - 1),
        {'role': 'assistant', 'content': label_t.label}) END"""
"""The answer of a classification record is the spec's label, not the source's word for it."""


def records_after(warehouse: Warehouse, step: Step, days: Days) -> pl.DataFrame:
    """RECORDS of the rows that `step` kept on `days`, in (day, record_id) order.

    From normalize on, `messages` are the cleaned ones, `content_sha` covers them, and
    `collected_messages` is added; from label on, `label` is the spec's, and so is the answer.
    """
    position = DAILY_STEPS.index(step)
    is_clean = position >= DAILY_STEPS.index(Step.NORMALIZE)
    is_labelled = position >= DAILY_STEPS.index(Step.LABEL)
    needed = [step]
    needed += [Step.NORMALIZE] if is_clean and step != Step.NORMALIZE else []
    needed += [Step.LABEL] if is_labelled and step != Step.LABEL else []
    joins = " ".join(
        f'JOIN main."{name}" AS {name}_t ON {name}_t.record_id = i.record_id AND {name}_t.day = i.day'
        for name in needed
        if name != Step.INGEST
    )
    sql = f"""SELECT i.record_id, i.day, i.source, i.source_rank,
        {_LABELLED if is_labelled else ("normalize_t" if is_clean else "i") + ".messages"} AS messages,
        {"label_t" if is_labelled else "i"}.label AS label,
        i."group", i.person_names, i.may_evaluate,
        {"normalize_t.clean_sha" if is_clean else "i.content_sha"} AS content_sha
        {", i.messages AS collected_messages" if is_clean else ""}
        FROM main."ingest" i {joins}
        WHERE {f"{step}_t" if step != Step.INGEST else "i"}.kept AND list_contains(?, i.day)
        ORDER BY i.day, i.record_id"""
    schema = RECORDS | ({"collected_messages": MESSAGES} if is_clean else {})
    return _cast(warehouse.query(sql, [list(days)]), schema)


def kept_counts(warehouse: Warehouse, step: Step, days: Days) -> dict[dt.date, int]:
    """Day to the number of rows that `step` kept; days without rows are 0."""
    found = warehouse.query(
        f'SELECT day, count(*) AS n FROM main."{step}" WHERE kept AND list_contains(?, day) GROUP BY day',
        [list(days)],
    )
    return dict.fromkeys(days, 0) | dict(found.iter_rows())


def dedup_history(warehouse: Warehouse, before: dt.date) -> pl.DataFrame:
    """Fingerprints of the records that dedup kept before a day (columns of `dedup.FINGERPRINT`)."""
    frame = warehouse.query(
        """SELECT d.record_id, d.day, i.source_rank, d.comparison_key, d.answer_key, d.shingles, d.bands
        FROM main."dedup" d JOIN main."ingest" i ON i.record_id = d.record_id AND i.day = d.day
        WHERE d.kept AND d.day < ? ORDER BY d.record_id""",
        [before],
    )
    return _cast(
        frame,
        {"record_id": pl.String, "day": pl.Date, "source_rank": pl.Int32, "comparison_key": pl.String,
         "answer_key": pl.String, "shingles": pl.Int32, "bands": pl.List(pl.UInt64)},
    )  # fmt: skip


def dedup_answers(warehouse: Warehouse, up_to: dt.date) -> pl.DataFrame:
    """record_id, day, comparison_key, answer_key, kept, reason of every dedup row up to a day."""
    frame = warehouse.query(
        """SELECT record_id, day, comparison_key, answer_key, kept, reason FROM main."dedup"
        WHERE day <= ? ORDER BY record_id""",
        [up_to],
    )
    return _cast(
        frame,
        {"record_id": pl.String, "day": pl.Date, "comparison_key": pl.String, "answer_key": pl.String,
         "kept": pl.Boolean, "reason": pl.String},
    )  # fmt: skip


def split_history(warehouse: Warehouse, before: dt.date) -> pl.DataFrame:
    """Kept split rows of days before `before`, with source_rank, label and answer_key."""
    frame = warehouse.query(
        """SELECT s.record_id, s.day, i.source_rank, s.group_key, s.split, s.comparison_key, s.shingles, s.bands,
            l.label, l.answer_key
        FROM main."split" s JOIN main."ingest" i ON i.record_id = s.record_id AND i.day = s.day
        JOIN main."label" l ON l.record_id = s.record_id AND l.day = s.day
        WHERE s.kept AND s.day < ? ORDER BY s.record_id""",
        [before],
    )
    return _cast(
        frame,
        {"record_id": pl.String, "day": pl.Date, "source_rank": pl.Int32, "group_key": pl.String, "split": pl.String,
         "comparison_key": pl.String, "shingles": pl.Int32, "bands": pl.List(pl.UInt64), "label": pl.String,
         "answer_key": pl.String},
    )  # fmt: skip


def label_history(warehouse: Warehouse, before: dt.date) -> pl.DataFrame:
    """day, label, prompt_key, answer_key of the label rows kept before a day."""
    frame = warehouse.query(
        'SELECT day, label, prompt_key, answer_key FROM main."label" WHERE kept AND day < ? ORDER BY record_id',
        [before],
    )
    return _cast(
        frame, {"day": pl.Date, "label": pl.String, "prompt_key": pl.String, "answer_key": pl.String}
    )


def messages_of(warehouse: Warehouse, ids: Sequence[str], clean: bool) -> pl.DataFrame:
    """record_id and messages of the named records, as collected or as cleaned."""
    table = "normalize" if clean else "ingest"
    frame = warehouse.query(
        f'SELECT record_id, messages FROM main."{table}" WHERE list_contains(?, record_id) ORDER BY record_id', [list(ids)]
    ) if ids else pl.DataFrame()  # fmt: skip
    return _cast(frame, {"record_id": pl.String, "messages": MESSAGES})


def _cast(frame: pl.DataFrame, schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """DuckDB's result with exact types; an empty result carries no reliable ones."""
    if frame.height == 0:
        return pl.DataFrame(schema=schema)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
