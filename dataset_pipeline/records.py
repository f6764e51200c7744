"""The data model: steps, tables and their schemas, record ids and content hashes.

Lives here: names and types that every layer shares, and the two hash functions behind
`record_id` and `content`. Keep out: reading files, DuckDB, Dagster, anything that decides.
"""

from __future__ import annotations

import hashlib
import io
from enum import StrEnum

import polars as pl


class Step(StrEnum):
    """The daily steps, in the order in which a record meets them."""

    INGEST = "ingest"
    DEDUP = "dedup"
    FILTER = "filter"
    NORMALIZE = "normalize"
    DECONTAMINATE = "decontaminate"
    LABEL = "label"
    SPLIT = "split"


DAILY_STEPS: tuple[Step, ...] = tuple(Step)
LOOK_BACK_STEPS: frozenset[Step] = frozenset({Step.DEDUP, Step.LABEL, Step.SPLIT})
"""Steps whose verdicts for a day depend on the published days before it."""

PROTECTED = "protected"
REVIEWS = "reviews"
ANNOTATIONS = "annotations"
RELEASE = "release"
REPORT = "report"

INPUTS: tuple[str, ...] = (REVIEWS, ANNOTATIONS, PROTECTED)
"""What has no days and is read from files before the daily steps, in the order in which it is made."""


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


IN_REVIEW = "in_review"
"""Waits for a person: neither released nor lost."""
WAITING = frozenset({IN_REVIEW, "unlabelled", "unknown_label"})
"""Reasons of records that the review queue lists."""
REVIEWED = "reviewed"
"""A person said `drop`."""

ERASED = "erased"
"""A person asked for the text to be gone."""

REASONS: dict[Step, frozenset[str]] = {
    Step.INGEST: frozenset({ERASED}),
    Step.DEDUP: frozenset({"exact", "near", "semantic"}),
    Step.FILTER: frozenset(
        {
            "too_short",
            "too_long",
            "too_many_tokens",
            "low_alpha",
            "symbols",
            "digits",
            "repetition",
            "markup",
            "automatic_reply",
            "profanity",
            "label_form",
            "empty_answer",
            "sides_alike",
            REVIEWED,
            IN_REVIEW,
        }
    ),
    Step.NORMALIZE: frozenset({"language", "empty_after_cleaning", "sides_alike"}),
    Step.DECONTAMINATE: frozenset({"contaminated", "suspect", REVIEWED, IN_REVIEW}),
    Step.LABEL: frozenset({"unlabelled", "unknown_label", REVIEWED, IN_REVIEW}),
    Step.SPLIT: frozenset({"no_evaluate_right", "same_after_cleaning", "near_other_split"}),
}
"""The closed list of words a step may give for not keeping a record."""

MESSAGE = pl.Struct({"role": pl.String, "content": pl.String})
MESSAGES = pl.List(MESSAGE)

_KEY = {"record_id": pl.String, "day": pl.Date}
_VERDICT = {"kept": pl.Boolean, "reason": pl.String, "detail": pl.String}

COUNT = pl.Struct({"name": pl.String, "count": pl.Int32})
SPAN = pl.Struct(
    {"message": pl.Int32, "start": pl.Int32, "end": pl.Int32, "entity": pl.String, "score": pl.Float64}
)

COLUMN = pl.Struct({"name": pl.String, "kinds": pl.String})
"""A column of a file, and the kinds of its values: text, number, boolean, list, object, joined by commas."""

SIDE_SIGNALS: dict[str, pl.DataType | type[pl.DataType]] = {
    "words": pl.Int32,
    "lines": pl.Int32,
    "chars": pl.Int32,
    "tokens": pl.Int32,
    "alpha_share": pl.Float64,
    "symbol_share": pl.Float64,
    "digit_share": pl.Float64,
    "repetition_share": pl.Float64,
    "distinct_share": pl.Float64,
    "compression_ratio": pl.Float64,
    "markup_share": pl.Float64,
    "profane_words": pl.Int32,
}
"""What filter measures of each side (`prompt_…`, `answer_…`); documented in transforms/filter.py."""

TABLES: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    Step.INGEST: {
        **_KEY,
        "source": pl.String,
        "source_rank": pl.Int32,
        "source_id": pl.String,
        "uri": pl.String,
        "line": pl.Int64,
        "byte_offset": pl.Int64,
        "messages": MESSAGES,
        "prompt_turns": pl.Int32,
        "rejected": MESSAGES,
        "tools": pl.String,
        "label": pl.String,
        "group": pl.String,
        "created_at": pl.String,
        "person_names": pl.List(pl.String),
        "may_evaluate": pl.Boolean,
        "content_sha": pl.String,
        **_VERDICT,
    },
    Step.DEDUP: {
        **_KEY,
        "comparison_key": pl.String,
        "answer_key": pl.String,
        "shingles": pl.Int32,
        "bands": pl.List(pl.UInt64),
        "twin": pl.String,
        "similarity": pl.Float64,
        **_VERDICT,
    },
    Step.FILTER: {
        **_KEY,
        **{f"prompt_{name}": dtype for name, dtype in SIDE_SIGNALS.items()},
        **{f"answer_{name}": dtype for name, dtype in SIDE_SIGNALS.items()},
        "is_automatic_reply": pl.Boolean,
        "rejected_words": pl.Int32,
        "rejected_chars": pl.Int32,
        "rejected_tokens": pl.Int32,
        "sides_similarity": pl.Float64,
        "review": pl.String,
        **_VERDICT,
    },
    Step.NORMALIZE: {
        **_KEY,
        "messages": MESSAGES,
        "rejected": MESSAGES,
        "prompt_language": pl.String,
        "prompt_language_probability": pl.Float64,
        "prompt_spec_probability": pl.Float64,
        "answer_language": pl.String,
        "answer_language_probability": pl.Float64,
        "answer_spec_probability": pl.Float64,
        "rejected_language": pl.String,
        "rejected_language_probability": pl.Float64,
        "rejected_spec_probability": pl.Float64,
        "changes": pl.List(COUNT),
        "pii_counts": pl.List(COUNT),
        "pii_spans": pl.List(SPAN),
        "clean_sha": pl.String,
        **_VERDICT,
    },
    Step.DECONTAMINATE: {
        **_KEY,
        "match": pl.String,
        "eval_set": pl.String,
        "eval_item": pl.String,
        "overlap_fraction": pl.Float64,
        "span_start": pl.Int32,
        "span_end": pl.Int32,
        "review": pl.String,
        **_VERDICT,
    },
    Step.LABEL: {
        **_KEY,
        "label": pl.String,
        "label_origin": pl.String,
        "answers": pl.Int32,
        "agreement": pl.Float64,
        "prompt_key": pl.String,
        "answer_key": pl.String,
        "is_contradiction": pl.Boolean,
        "review": pl.String,
        **_VERDICT,
    },
    Step.SPLIT: {
        **_KEY,
        "group_key": pl.String,
        "split": pl.String,
        "comparison_key": pl.String,
        "shingles": pl.Int32,
        "bands": pl.List(pl.UInt64),
        "twin": pl.String,
        "similarity": pl.Float64,
        **_VERDICT,
    },
    "rejects": {
        "day": pl.Date,
        "source": pl.String,
        "uri": pl.String,
        "line": pl.Int64,
        "byte_offset": pl.Int64,
        "reason": pl.String,
        "detail": pl.String,
    },
    "batches": {
        "day": pl.Date,
        "source": pl.String,
        "kind": pl.String,
        "uri": pl.String,
        "sha256": pl.String,
        "bytes": pl.Int64,
        "rows_read": pl.Int64,
        "rows_ingested": pl.Int64,
        "rows_rejected": pl.Int64,
        "collected_at": pl.Date,
        "license": pl.String,
        "holder": pl.String,
        "basis": pl.String,
        "uses": pl.List(pl.String),
        "generator": pl.String,
        "columns": pl.List(COLUMN),
    },
    PROTECTED: {
        "eval_set": pl.String,
        "eval_item": pl.String,
        "text": pl.String,
        "label": pl.String,
    },
    REVIEWS: {
        "record": pl.String,
        "source": pl.String,
        "source_id": pl.String,
        "content": pl.String,
        "step": pl.String,
        "verdict": pl.String,
        "value": pl.String,
        "reviewer": pl.String,
        "date": pl.Date,
        "uri": pl.String,
        "line": pl.Int64,
        "state": pl.String,
    },
    "erasures": {
        "record": pl.String,
        "source": pl.String,
        "source_id": pl.String,
        "text_key": pl.String,
        "child_group": pl.String,
        "because": pl.String,
        "uri": pl.String,
        "line": pl.Int64,
        "date": pl.Date,
    },
    ANNOTATIONS: {
        "record": pl.String,
        "source": pl.String,
        "source_id": pl.String,
        "annotator": pl.String,
        "label": pl.String,
        "given": pl.String,
        "confidence": pl.Float64,
        "secondary": pl.String,
        "notes": pl.String,
        "uri": pl.String,
        "line": pl.Int64,
        "state": pl.String,
    },
    "consensus": {
        "record": pl.String,
        "source": pl.String,
        "source_id": pl.String,
        "label": pl.String,
        "answers": pl.Int32,
        "agreement": pl.Float64,
        "probability": pl.Float64,
        "votes": pl.List(COUNT),
    },
    "agreement": {
        "measure": pl.String,
        "name": pl.String,
        "other": pl.String,
        "value": pl.Float64,
        "n": pl.Int64,
    },
}
"""Column name to Polars type of every published table, in column order."""

EXTRA_TABLES: dict[str, tuple[str, ...]] = {
    Step.INGEST: ("rejects", "batches"),
    REVIEWS: ("erasures",),
    ANNOTATIONS: ("consensus", "agreement"),
}
"""Tables that are published together with a step's own."""

UNDATED_TABLES: frozenset[str] = frozenset(
    table for name in INPUTS for table in (name, *EXTRA_TABLES.get(name, ()))
)
"""Tables without a day: they are replaced whole."""

RECORDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "day": pl.Date,
    "source": pl.String,
    "source_rank": pl.Int32,
    "messages": MESSAGES,
    "prompt_turns": pl.Int32,
    "rejected": MESSAGES,
    "label": pl.String,
    "group": pl.String,
    "person_names": pl.List(pl.String),
    "may_evaluate": pl.Boolean,
    "content_sha": pl.String,
}
"""The working frame that dedup and filter receive: kept records, as collected.

Of a preference pair `messages` is the chosen conversation, `prompt_turns` how many of its turns both sides
share, `rejected` what stands in place of the others; both are null otherwise."""


def empty(table: str) -> pl.DataFrame:
    """An empty frame with the columns and types of `table`."""
    return pl.DataFrame(schema=TABLES[table])


def conform(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """`frame` with exactly the columns of `table`, in its order.

    Raises ValueError naming the columns that are missing, extra or of another type:
    values are matched by name and never cast in silence.
    """
    schema = TABLES[table]
    missing = [name for name in schema if name not in frame.columns]
    extra = [name for name in frame.columns if name not in schema]
    retyped = [
        f"{name} is {frame.schema[name]}, not {dtype}"
        for name, dtype in schema.items()
        if name in frame.columns and frame.schema[name] != dtype and frame.schema[name] != pl.Null
    ]
    if missing or extra or retyped:
        problems = "; ".join(
            part
            for part in (
                f"missing {missing}" if missing else "",
                f"not in the table: {extra}" if extra else "",
                *retyped,
            )
            if part
        )
        raise ValueError(f"table {table}: {problems}. Make the step return the columns of records.TABLES.")
    return frame.select(
        pl.col(name).cast(dtype) if frame.schema[name] == pl.Null else pl.col(name)
        for name, dtype in schema.items()
    )


def sha256_text(*parts: str) -> str:
    """Hex SHA-256 over the parts, each ended by a unit separator so that joins cannot collide."""
    return hashlib.sha256(
        "".join(f"{part}\x1f" for part in parts).encode("utf-8", "surrogatepass")
    ).hexdigest()


def record_id(source: str, day: str, payload: bytes, occurrence: int) -> str:
    """The id of a record: 32 hex digits of SHA-256 over source, day, canonical payload, occurrence.

    `payload` is the row as collected, as JSON with sorted keys; `occurrence` counts identical
    payloads of the same batch from 0, so that the set of ids does not depend on row order.
    """
    head = f"{source}\x1f{day}\x1f{occurrence}\x1f".encode("utf-8", "surrogatepass")
    return hashlib.sha256(head + payload).hexdigest()[:32]


_HASHED_ROWS = 65_536
"""Rows that are written out at once for hashing."""


def content_hash(frame: pl.DataFrame) -> str:
    """Hash of a frame's rows, whatever their order: columns in schema order, rows sorted by all ids.

    NDJSON is the canonical form: it is stable across chunking and says every value in full.
    """
    if frame.height == 0:
        return sha256_text("empty", *frame.columns)
    sortable = [name for name, dtype in frame.schema.items() if not dtype.is_nested()]
    keys = ["record_id"] if "record_id" in frame.columns else sortable
    digest = hashlib.sha256()
    for part in frame.sort(keys, maintain_order=True).iter_slices(_HASHED_ROWS):
        buffer = io.BytesIO()
        part.write_ndjson(buffer)
        digest.update(buffer.getbuffer())
    return digest.hexdigest()
