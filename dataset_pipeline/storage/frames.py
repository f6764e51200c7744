"""Working frames and history, rebuilt from the warehouse by joins.

Lives here: the SELECTs that give a step what it reads. Keep out: connections and transactions
(`warehouse`), what a step does with the frames.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import polars as pl

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, RECORDS, TABLES, Step
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.text import EMPTY_KEY

Days = Sequence[dt.date]

_LABELLED = """CASE WHEN label_t.label IS NULL THEN normalize_t.messages
    ELSE list_append(list_slice(normalize_t.messages, 1, len(normalize_t.messages)
            - CASE WHEN normalize_t.messages[-1].role = 'assistant' THEN 1 ELSE 0 END),
        {'role': 'assistant', 'content': label_t.label}) END"""
"""The answer of a classification record is the spec's label, not the source's word for it."""


def records_after(
    warehouse: Warehouse, step: Step, days: Days, ids: pl.Series | None = None, with_collected: bool = True
) -> pl.DataFrame:
    """RECORDS of the rows that `step` kept on `days`, in (day, record_id) order; ids: of these records only.

    From normalize on, `messages` are the cleaned ones, `content_sha` covers them, and
    `collected_messages` and `collected_rejected` are added (unless with_collected is false); from label on, `label` is the spec's, and so is the answer.
    """
    position = DAILY_STEPS.index(step)
    is_clean = position >= DAILY_STEPS.index(Step.NORMALIZE)
    is_labelled = position >= DAILY_STEPS.index(Step.LABEL)
    adds = is_clean and with_collected
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
        i.prompt_turns, {"normalize_t" if is_clean else "i"}.rejected AS rejected,
        {"label_t" if is_labelled else "i"}.label AS label,
        i."group", i.person_names, i.may_evaluate,
        {"normalize_t.clean_sha" if is_clean else "i.content_sha"} AS content_sha
        {", i.messages AS collected_messages, i.rejected AS collected_rejected" if adds else ""}
        FROM main."ingest" i {joins}
        WHERE {f"{step}_t" if step != Step.INGEST else "i"}.kept AND list_contains(?, i.day)
        {_AMONG.format("i.record_id") if ids is not None else ""}
        ORDER BY i.day, i.record_id"""
    schema = RECORDS | ({"collected_messages": MESSAGES, "collected_rejected": MESSAGES} if adds else {})
    return _cast(warehouse.query(sql, [list(days), *([ids.to_list()] if ids is not None else [])]), schema)


def records_in_parts(warehouse: Warehouse, step: Step, days: Days, rows: int) -> Iterator[pl.DataFrame]:
    """`records_after`, without what was collected, of about `rows` records at a time; one day is never cut.

    To order texts DuckDB holds them a second time: in parts that is little.
    """
    part: list[dt.date] = []
    held = 0
    for day, count in sorted(kept_counts(warehouse, step, days).items()):
        if part and held + count > rows:
            yield records_after(warehouse, step, part, with_collected=False)
            part, held = [], 0
        part.append(day)
        held += count
    yield records_after(warehouse, step, part, with_collected=False)


_AMONG = "AND {} IN (SELECT unnest(?::VARCHAR[]))"
"""Among given ids: a semi join. `list_contains` would look through the whole list for every row."""

LIGHT = ("record_id", "day", "source", "source_rank", "prompt_turns", "label", "may_evaluate", "content_sha")
"""Of RECORDS what is no text."""


def light_records(warehouse: Warehouse, step: Step, days: Days) -> pl.DataFrame:
    """LIGHT of the rows that `step` kept on `days`, in (day, record_id) order.

    content_sha and label: as in `records_after`, of the cleaned record from normalize on, and the spec's from label on.
    """
    is_clean = DAILY_STEPS.index(step) >= DAILY_STEPS.index(Step.NORMALIZE)
    needed = dict.fromkeys([step, *([Step.NORMALIZE] if is_clean else [])])
    joins = " ".join(
        f'JOIN main."{name}" AS {name}_t ON {name}_t.record_id = i.record_id AND {name}_t.day = i.day'
        for name in needed
    )
    labels = "label_t" if step == Step.LABEL else "i"
    columns = ", ".join(
        f'{labels if name == "label" else "i"}."{name}"' for name in LIGHT if name != "content_sha"
    )
    frame = warehouse.query(
        f"""SELECT {columns}, {"normalize_t.clean_sha" if is_clean else "i.content_sha"} AS content_sha
        FROM main."{Step.INGEST}" i {joins if step != Step.INGEST else ""}
        WHERE {f"{step}_t" if step != Step.INGEST else "i"}.kept AND list_contains(?, i.day) ORDER BY i.day, i.record_id""",
        [list(days)],
    )
    return _cast(frame, {name: RECORDS[name] for name in LIGHT})


def unreviewed(warehouse: Warehouse, step: Step, days: Days) -> pl.DataFrame:
    """record_id and day of the published rows of `step` on `days` that no person's verdict has changed."""
    where = "AND review IS NULL" if "review" in TABLES[step] else ""
    frame = warehouse.query(
        f'SELECT record_id, day FROM main."{step}" WHERE list_contains(?, day) {where} ORDER BY day, record_id',
        [list(days)],
    )
    return _cast(frame, {"record_id": pl.String, "day": pl.Date})


def published_rows(warehouse: Warehouse, step: Step, days: Days, ids: pl.Series) -> pl.DataFrame:
    """The published rows of `step` of the records `ids` on `days`: TABLES[step], by record_id."""
    frame = warehouse.query(
        f'''SELECT * FROM main."{step}" WHERE list_contains(?, day) {_AMONG.format("record_id")} ORDER BY record_id''',
        [list(days), ids.to_list()],
    )
    return _cast(frame, TABLES[step])


def columns_of(
    warehouse: Warehouse, step: Step, columns: Sequence[str], days: Days, ids: pl.Series
) -> pl.DataFrame:
    """Some columns of the published rows of `step` of the records `ids` on `days`, by record_id."""
    named = ", ".join(f'"{name}"' for name in columns)
    frame = warehouse.query(
        f'''SELECT {named} FROM main."{step}" WHERE list_contains(?, day) {_AMONG.format("record_id")} ORDER BY record_id''',
        [list(days), ids.to_list()],
    ) if len(ids) else pl.DataFrame()  # fmt: skip
    return _cast(frame, {name: TABLES[step][name] for name in columns})


TEXTS = frozenset({"messages", "rejected", "tools", "person_names", "bands"})
"""Columns of daily tables that are most of their bytes: texts, and band keys."""


def verdicts(warehouse: Warehouse, step: Step, days: Days) -> pl.DataFrame:
    """The published rows of `step` on `days` without TEXTS: TABLES[step] but for these, by record_id."""
    schema = {name: dtype for name, dtype in TABLES[step].items() if name not in TEXTS}
    named = ", ".join(f'"{name}"' for name in schema)
    frame = warehouse.query(
        f'SELECT {named} FROM main."{step}" WHERE list_contains(?, day) ORDER BY record_id', [list(days)]
    )
    return _cast(frame, schema)


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


def tested_groups(warehouse: Warehouse) -> pl.DataFrame:
    """group_key of the groups that are published as test."""
    frame = warehouse.query(
        f"""SELECT DISTINCT group_key FROM main."{Step.SPLIT}" WHERE kept AND split = 'test' ORDER BY group_key"""
    )
    return _cast(frame, {"group_key": pl.String})


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
    """record_id, messages, prompt_turns and rejected of the named records, as collected or as cleaned.

    As collected also shingle_hashes: dedup's shingles of a record whose text retention has taken out, else null.
    """
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "record_id": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES,
    }  # fmt: skip
    if clean:
        columns, join = "n.messages, i.prompt_turns, n.rejected", 'main."normalize" n'
    else:
        columns = "i.messages, i.prompt_turns, i.rejected, CASE WHEN i.messages IS NULL THEN n.shingles END AS shingle_hashes"
        join = "texts_removed n"
        schema["shingle_hashes"] = pl.List(pl.UInt64)
    frame = warehouse.query(
        f"""SELECT i.record_id, {columns} FROM main."ingest" i
        {"" if clean else "LEFT"} JOIN {join} ON n.record_id = i.record_id AND n.day = i.day
        WHERE i.record_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY i.record_id""",
        [list(ids)],
    ) if ids else pl.DataFrame()  # fmt: skip
    return _cast(frame, schema)


def _cast(frame: pl.DataFrame, schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """DuckDB's result with exact types; an empty result carries no reliable ones."""
    if frame.height == 0:
        return pl.DataFrame(schema=schema)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def collected(warehouse: Warehouse, ids: Sequence[str]) -> pl.DataFrame:
    """RECORDS of the named records as collected, whatever became of them, by record_id; none for unknown ids."""
    columns = ", ".join(f'"{name}"' for name in RECORDS)
    frame = warehouse.query(
        f'SELECT {columns} FROM main."{Step.INGEST}" WHERE record_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY record_id', [list(ids)]
    ) if ids else pl.DataFrame()  # fmt: skip
    return _cast(frame, RECORDS)


def waiting(warehouse: Warehouse) -> pl.DataFrame:
    """Records that a step has set aside for a person: record_id, source, source_id, day, content, step, reason, detail.

    Reasons: `in_review` of any step, `unlabelled` and `unknown_label` of label; by step, day and record_id.
    """
    union = " UNION ALL ".join(
        f"SELECT {n} AS position, '{step}' AS step, record_id, day, reason, detail FROM main.\"{step}\" WHERE NOT kept"
        for n, step in enumerate(DAILY_STEPS)
    )
    frame = warehouse.query(
        f"""SELECT i.record_id, i.source, i.source_id, i.day, md5(d.comparison_key || '/' || d.answer_key) AS content,
            w.step, w.reason, w.detail
        FROM ({union}) w JOIN main."{Step.INGEST}" i ON i.record_id = w.record_id AND i.day = w.day AND i.kept
        JOIN main."{Step.DEDUP}" d ON d.record_id = w.record_id AND d.day = w.day
        WHERE w.reason IN ('in_review', 'unlabelled', 'unknown_label')
        ORDER BY w.position, i.day, i.record_id"""
    )
    return _cast(frame, WAITING)


def labelled(warehouse: Warehouse) -> pl.DataFrame:
    """The records that label keeps and no earlier step has dropped since: record_id, source, source_id, day, content."""
    joins = " ".join(
        f'JOIN main."{step}" AS t{n} ON t{n}.record_id = i.record_id AND t{n}.day = i.day AND t{n}.kept'
        for n, step in enumerate(DAILY_STEPS[1 : DAILY_STEPS.index(Step.LABEL) + 1])
    )
    frame = warehouse.query(
        f"""SELECT i.record_id, i.source, i.source_id, i.day, md5(t0.comparison_key || '/' || t0.answer_key) AS content
        FROM main."{Step.INGEST}" i {joins} WHERE i.kept ORDER BY i.record_id"""
    )
    return _cast(
        frame, {name: WAITING[name] for name in ("record_id", "source", "source_id", "day", "content")}
    )


WAITING: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "source": pl.String,
    "source_id": pl.String,
    "day": pl.Date,
    "content": pl.String,
    "step": pl.String,
    "reason": pl.String,
    "detail": pl.String,
}


def known_records(warehouse: Warehouse) -> pl.DataFrame:
    """The ids of every collected record, erased ones too: what reviews, annotations and erasures name.

    record_id, day, source, source_id, group; content (a hash of what dedup compares; null for records that did
    not reach it), text_key (dedup's comparison key; of an erased record as its verdict kept it), is_generated;
    of erased records because and place, the line of the review.
    """
    frame = warehouse.query(
        f"""SELECT i.record_id, i.day, i.source, i.source_id, i."group",
            md5(d.comparison_key || '/' || d.answer_key) AS content,
            coalesce(nullif(d.comparison_key, ?), CASE WHEN i.reason = 'erased' THEN i.detail->>'$.text_key' END) AS text_key,
            coalesce(b.is_generated, false) AS is_generated,
            CASE WHEN i.reason = 'erased' THEN i.detail->>'$.because' END AS because,
            CASE WHEN i.reason = 'erased' THEN i.detail->>'$.threshold' END AS place
        FROM main."{Step.INGEST}" i
        LEFT JOIN main."{Step.DEDUP}" d ON d.record_id = i.record_id AND d.day = i.day
        LEFT JOIN (SELECT source, bool_or(kind = 'synthetic' OR generator IS NOT NULL) AS is_generated
            FROM batches GROUP BY source) b ON b.source = i.source
        ORDER BY i.record_id""",
        [EMPTY_KEY],
    )
    return _cast(
        frame,
        {"record_id": pl.String, "day": pl.Date, "source": pl.String, "source_id": pl.String, "group": pl.String,
         "content": pl.String, "text_key": pl.String, "is_generated": pl.Boolean, "because": pl.String,
         "place": pl.String},
    )  # fmt: skip


def dedup_twins(warehouse: Warehouse) -> pl.DataFrame:
    """record_id, twin and reason of every record that dedup dropped."""
    frame = warehouse.query(
        f'SELECT record_id, twin, reason FROM main."{Step.DEDUP}" WHERE NOT kept ORDER BY record_id'
    )
    return _cast(frame, {"record_id": pl.String, "twin": pl.String, "reason": pl.String})
