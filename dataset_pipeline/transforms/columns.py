"""columns: what every column of a release's Parquet files means.

Lives here: meanings, units, types in words. Keep out: the page made of them (`column_page`), making the frames (`release`,
`formats`), measuring (`signals` and the steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import polars as pl

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, RELEASE, TABLES, Step
from dataset_pipeline.transforms.tokens import TOKENS

Dtypes = Mapping[str, pl.DataType | type[pl.DataType]]

PROVENANCE, DROPPED, REJECTS, DATA = "provenance", "dropped", "rejects", "data"
"""The files with columns; DATA stands for the Parquet files of records."""


class Column(NamedTuple):
    """One column in words. unit: of its numbers; empty where it has none."""

    name: str
    type: str
    unit: str
    meaning: str


SHARE, PROBABILITY = "0 to 1", "probability, 0 to 1"

_ORIGIN: dict[str, tuple[str, str]] = {
    "record_id": ("", "Id of the record: source, day, payload and occurrence decide it."),
    "source": ("", "Name of the source in the spec."),
    "source_id": ("", "The source's own id, personal data in it replaced; null where it has none."),
    "day": ("UTC", "Collection day: not when somebody wrote the text."),
    "uri": (
        "",
        "File it was read from, relative to the spec's folder, personal data in its name replaced; of a database or URL its address.",
    ),
    "line": ("from 1", "Line of that file; of a table its row."),
}

_SIGNALS: dict[str, tuple[str, str]] = {
    "words": ("words", "Words; each letter of a script without spaces is one."),
    "lines": ("lines", "Lines, blank ends cut off."),
    "chars": ("characters", "All characters, white space too."),
    "tokens": ("tokens", "Estimated tokens: characters by `filter.chars_per_token`."),
    "alpha_share": (SHARE, "Letters among visible characters."),
    "symbol_share": (
        SHARE,
        "Signs that are neither letter, digit nor sentence punctuation, among visible characters.",
    ),
    "digit_share": (SHARE, "Digits among visible characters."),
    "repetition_share": (SHARE, "Runs of three words that repeat an earlier one."),
    "distinct_share": (SHARE, "Distinct words among words."),
    "compression_ratio": ("compressed bytes by bytes", "How little repeats; null below 200 bytes."),
    "markup_share": (SHARE, "Characters inside tags and entities."),
    "profane_words": ("words", "Words on the profanity list."),
}

_LENGTHS = {name: _SIGNALS[name] for name in ("words", "chars", "tokens")}

_SIDES = {
    "prompt": "Prompt as collected",
    "answer": "Answer as collected (of a pair the chosen one)",
    "rejected": "Worse answer of a pair as collected; null otherwise",
}

_LANGUAGES: dict[str, tuple[str, str]] = {
    "language": ("ISO 639-1", "Language; null where it cannot be told."),
    "language_probability": (PROBABILITY, "How sure that language is."),
    "spec_probability": (PROBABILITY, "All languages of the spec together; null where it names none."),
}

_CLEAN_SIDES = {
    "prompt": "Prompt, cleaned",
    "answer": "Answer, cleaned (of a pair the chosen one)",
    "rejected": "Worse answer of a pair, cleaned; null otherwise",
}

_REVIEW = ("", "JSON: what a person decided about the record here, who and when; null where nobody did.")

_MEASURED: dict[str, dict[str, tuple[str, str]]] = {
    Step.DEDUP: {"shingles": ("shingles", "Distinct runs of words by which the record was compared, as collected.")},
    Step.FILTER: {
        "is_automatic_reply": ("", "Whether the prompt is an out-of-office note or the like."),
        "sides_similarity": (SHARE, "Words that both answers of a pair have in common; null otherwise."),
        "review": _REVIEW,
    },
    Step.NORMALIZE: {
        "changes": ("times", "What cleaning changed, by kind; empty where nothing."),
        "pii_counts": ("times", "Personal data found, by type."),
        "pii_spans": (
            "characters, from 0",
            "Where personal data stood: `message` (of a pair the worse answer's turns count on), `start` to `end` in the "
            "cleaned text before it was replaced, `score` 0 to 1. Never the text.",
        ),
    },
    Step.DECONTAMINATE: {
        "match": ("", "`equal`, `coverage`, `contained` or `paraphrase`; null below the threshold, as of every released record nobody reviewed."),
        "eval_set": ("", "Protected set of the closest item; null where nothing is shared."),
        "eval_item": ("", "Id of the closest item, where nothing names it its file and line."),
        "overlap_fraction": (SHARE, "Share of that item's words that were found in the record; of a paraphrase how sure the score is, 0 to 1."),
        "span_start": ("words, from 0", "First word of the record that matches."),
        "span_end": ("words, from 0", "Word after the last that matches."),
        "review": _REVIEW,
    },
    Step.LABEL: {
        "label_origin": ("", "Who gave the label: `source`, `annotations` or `review`."),
        "answers": ("people", "Annotators who answered; null without annotations."),
        "agreement": (SHARE, "Share of their answers that say the label."),
        "is_contradiction": ("", "Whether an equal prompt has another answer and no person has settled it; such a record is withheld."),
        "review": _REVIEW,
    },
    Step.SPLIT: {
        "group_key": ("", "Hash of the name of its group: equal within a group, and a group never stands in two splits."),
        "shingles": ("shingles", "Distinct runs of words by which splits were compared, after cleaning."),
    },
}  # fmt: skip

_TOKENS: dict[str, tuple[str, str]] = {
    "tokens": ("tokens", "The whole record as a trainer reads it, with the template's own."),
    "prompt_tokens": ("tokens", "What stands before the answer."),
    "answer_tokens": ("tokens", "The answer, which is learned."),
    "rejected_tokens": ("tokens", "The worse answer of a pair; null otherwise."),
    "cut_tokens": ("tokens", "How many lie beyond `training.max_length`; null without one."),
    "supervised_tokens": ("tokens", "Tokens of the answer that are not cut."),
    "has_end": ("", "Whether an end token follows the answer; null without a tokenizer."),
}

_VERDICT_COLUMNS = {
    "step": ("", "The step that dropped it; `release` where it was withheld, or not judged yet."),
    "reason": ("", "One word of that step's list: see missing.md."),
    "detail": ("", "JSON: rule, measured value and threshold, or twin, or item. Never text of the record."),
}

_TURNS = "Turns of role and content,"

MEANINGS: dict[str, dict[str, tuple[str, str]]] = {
    PROVENANCE: {
        "record_id": _ORIGIN["record_id"],
        "split": ("", "`train`, `validation` or `test`."),
        "row": (
            "rows, from 0",
            "Which line of its split it is, in every format; of a sharded split rows count on.",
        ),
        **{name: said for name, said in _ORIGIN.items() if name != "record_id"},
        "license": ("", "SPDX expression of the source's rights."),
        "holder": ("", "Who owns the text."),
        "uses": ("", "What the rights allow, joined by commas."),
        "label": ("", "The label that is released; null where answers are no labels."),
        "text_sha": ("", "SHA-256 of the released text; a label that is the answer left out."),
        "collected_label": ("", "The source's own word for the label."),
        "created_at": ("as the source says it", "When the text was written; null where unknown."),
        "content_sha": ("", "SHA-256 of all that was read of the record when it was collected."),
        **{
            f"{Step.FILTER}_{side}_{name}": (unit, f"{who}: {said}")
            for side, who in _SIDES.items()
            for name, (unit, said) in (_LENGTHS if side == "rejected" else _SIGNALS).items()
        },
        **{
            f"{Step.NORMALIZE}_{side}_{name}": (unit, f"{who}: {said}")
            for side, who in _CLEAN_SIDES.items()
            for name, (unit, said) in _LANGUAGES.items()
        },
        **{f"{step}_{name}": said for step, columns in _MEASURED.items() for name, said in columns.items()},
        **{f"{RELEASE}_{name}": said for name, said in _TOKENS.items()},
    },
    DROPPED: {**_ORIGIN, **_VERDICT_COLUMNS},
    REJECTS: {
        "day": ("UTC", "Collection day of the file."),
        "source": _ORIGIN["source"],
        "uri": _ORIGIN["uri"],
        "line": ("from 1", "Line at which the row starts."),
        "byte_offset": ("bytes, from 0", "Where the row starts, after unpacking."),
        "reason": ("", "Why the row is no record: see missing.md."),
        "detail": ("", "What was found, in words. Never text of the row."),
    },
    DATA: {
        "record_id": _ORIGIN["record_id"],
        "messages": ("", f"{_TURNS} the system prompt first; the last is the answer."),
        "prompt": ("", f"Of a preference pair: {_TURNS.lower()} that both answers follow."),
        "chosen": ("", f"Of a preference pair: {_TURNS.lower()} the better answer."),
        "rejected": ("", f"Of a preference pair: {_TURNS.lower()} the worse answer."),
        "label": ("", "The label; null where answers are no labels."),
        "source": _ORIGIN["source"],
        "day": ("UTC, ISO 8601", _ORIGIN["day"][1]),
    },
}
"""File to column to (unit, meaning). A new column of a step's table belongs into `_MEASURED`."""


def described(file: str, columns: Dtypes) -> list[Column]:
    """Every column in words, in the order given. file: `provenance`, `dropped`, `rejects` or `data`.

    Raises ValueError naming the columns that nobody has described.
    """
    meanings = MEANINGS[file]
    unknown = [name for name in columns if name not in meanings]
    if unknown:
        raise ValueError(f"{file}: {unknown} have no meaning. Describe them in transforms/columns.py.")
    return [Column(name, type_words(dtype), *meanings[name]) for name, dtype in columns.items()]


_WORDS: list[tuple[pl.DataType | type[pl.DataType], str]] = [
    (pl.String, "text"),
    (pl.Boolean, "true or false"),
    (pl.Date, "date"),
]


def type_words(dtype: pl.DataType | type[pl.DataType]) -> str:
    """A type in words a person without Python understands: `text`, `list of {role, content}`."""
    made = dtype() if isinstance(dtype, type) else dtype
    if isinstance(made, pl.List):
        return f"list of {type_words(cast(pl.DataType, made.inner))}"
    if isinstance(made, pl.Struct):
        return "{" + ", ".join(field.name for field in made.fields) + "}"
    if made.is_integer():
        return "whole number"
    if made.is_float():
        return "number"
    return next((word for known, word in _WORDS if made == known), str(made).lower())


def schemas() -> dict[str, dict[str, pl.DataType | type[pl.DataType]]]:
    """File to column to type of every column there is, in the order of the files."""
    ingest = TABLES[Step.INGEST] | TABLES["batches"]
    own = {
        "split": pl.String,
        "row": pl.Int64,
        "uses": pl.String,
        "text_sha": pl.String,
        "collected_label": pl.String,
    }
    measured = {
        f"{step}_{name}": dtype
        for step in DAILY_STEPS[1:]
        for name, dtype in TABLES[step].items()
        if f"{step}_{name}" in MEANINGS[PROVENANCE]
    }
    tokens = {f"{RELEASE}_{name}": dtype for name, dtype in TOKENS.items() if name != "record_id"}
    first = {
        name: own.get(name, ingest.get(name, pl.String))
        for name in MEANINGS[PROVENANCE]
        if name not in measured and name not in tokens
    }
    return {
        PROVENANCE: {**first, **measured, **tokens},
        DROPPED: {name: ingest.get(name, pl.String) for name in MEANINGS[DROPPED]},
        REJECTS: dict(TABLES["rejects"]),
        DATA: {
            name: MESSAGES if name in ("messages", "prompt", "chosen", "rejected") else pl.String
            for name in MEANINGS[DATA]
        },
    }
