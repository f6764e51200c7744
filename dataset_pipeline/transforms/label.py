"""label: the source's own label against the spec's, and contradictions measured.

Lives here: which label a record has and whether an equal prompt says otherwise. Keep out:
settling a contradiction; `release` withholds every side of one until a person decides.
"""

from __future__ import annotations

import re

import orjson
import polars as pl

from dataset_pipeline.records import Step, conform
from dataset_pipeline.spec.params import LabelParams
from dataset_pipeline.text import comparison_key, with_sides

_SHOWN = re.compile(r"[^\W\d][\w-]{0,23}")
"""Labels that may stand in a detail: one short word. Anything else could be a record's text."""


def label_records(
    records: pl.DataFrame, history: pl.DataFrame, params: LabelParams, contested: pl.Series | None = None
) -> pl.DataFrame:
    """TABLES['label'] for `records` (RECORDS columns, cleaned messages, any number of days).

    history: prompt_key, answer_key of the kept label rows of earlier days. contested: ids of records
    whose prompt, as collected, a near duplicate that dedup dropped had with another answer (`contested`).
    label: the spec's label (null for tasks without labels and for dropped rows).
    label_origin: `source`, or null. prompt_key: comparison key of the cleaned prompt.
    is_contradiction: an equal prompt with another answer is known on the same or an earlier day.
    Reasons: `unlabelled` (no label given), `unknown_label` (given, neither a label nor an alias:
    never guessed).
    """
    sided = with_sides(records.sort("day", "record_id"))
    keyed = sided.with_columns(prompt_key=comparison_key(sided["prompt"]))
    if params.answers_are_labels:
        given = keyed["label"].str.strip_chars().to_list()
        known = [params.label_names.get(text.casefold()) if text else None for text in given]
        decided = keyed.select("record_id", "day", "prompt_key").with_columns(
            label=pl.Series(known, dtype=pl.String),
            answer_key=pl.Series(known, dtype=pl.String),
            label_origin=pl.Series(["source" if name else None for name in known], dtype=pl.String),
            reason=pl.Series(
                [_reason(text, name) for text, name in zip(given, known, strict=True)], dtype=pl.String
            ),
            detail=pl.Series(
                [_detail(text, name) for text, name in zip(given, known, strict=True)], dtype=pl.String
            ),
        )
    else:
        decided = keyed.select("record_id", "day", "prompt_key").with_columns(
            answer_key=comparison_key(keyed["answer"]),
            label=pl.lit(None, pl.String),
            label_origin=pl.lit(None, pl.String),
            reason=pl.lit(None, pl.String),
            detail=pl.lit(None, pl.String),
        )
    decided = decided.with_columns(kept=pl.col("reason").is_null())
    measured = _with_contradictions(decided, history)
    if contested is not None:
        also = pl.col("kept") & pl.col("record_id").is_in(contested.implode())
        measured = measured.with_columns(is_contradiction=pl.col("is_contradiction") | also)
    return conform(measured.sort("day", "record_id"), Step.LABEL)


def contested(deduplicated: pl.DataFrame) -> pl.DataFrame:
    """record_id, day, others (ids of the dropped) and since (the day from which it is known) of kept records
    whose prompt a dropped near duplicate had with another answer.

    deduplicated: TABLES['dedup'] of all days up to the ones in question. Dropping the near duplicate must
    not settle what its equal says otherwise. Exact duplicates need no look: their twin has the answer.
    """
    gone = deduplicated.filter(pl.col("reason") == "near").select(
        "comparison_key", other="answer_key", known="day", dropped="record_id"
    )
    return (
        deduplicated.filter("kept")
        .select("record_id", "day", "comparison_key", "answer_key")
        .join(gone, on="comparison_key")
        .filter(
            (pl.col("other") != pl.col("answer_key")) & (pl.col("answer_key") != "") & (pl.col("other") != "")
        )
        .with_columns(since=pl.max_horizontal("day", "known"))
        .group_by("record_id", "day")
        .agg(pl.col("since").min(), others=pl.col("dropped").unique().sort())
        .sort("record_id")
    )


def contradicting(labelled: pl.DataFrame) -> pl.DataFrame:
    """record_id and prompt_key of the kept rows whose prompt has more than one answer, over all days."""
    kept = labelled.filter("kept")
    several = (
        kept.group_by("prompt_key")
        .agg(pl.col("answer_key").n_unique().alias("answers"))
        .filter(pl.col("answers") > 1)
    )
    return (
        kept.join(several, on="prompt_key", how="semi")
        .select("record_id", "prompt_key")
        .sort("prompt_key", "record_id")
    )


def _with_contradictions(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """A row contradicts when, among kept rows of days up to its own, its prompt has another answer."""
    before = history.select(pl.lit(None, pl.Date).alias("since"), "prompt_key", "answer_key")
    now = rows.filter("kept").select(pl.col("day").alias("since"), "prompt_key", "answer_key")
    # Only prompts with several answers matter: few, so the join below stays small.
    answers = pl.concat([before, now], how="vertical_relaxed").unique()
    several = (
        answers.group_by("prompt_key").agg(pl.col("answer_key").n_unique().alias("n")).filter(pl.col("n") > 1)
    )
    others = answers.join(several, on="prompt_key", how="semi").rename({"answer_key": "other"})
    contradicted = (
        rows.filter("kept")
        .join(others, on="prompt_key")
        .filter(
            (pl.col("other") != pl.col("answer_key"))
            & (pl.col("since").is_null() | (pl.col("since") <= pl.col("day")))
        )
        .select("record_id")
        .unique()
    )
    return rows.with_columns(is_contradiction=pl.col("record_id").is_in(contradicted["record_id"].implode()))


def _reason(given: str | None, known: str | None) -> str | None:
    if known is not None:
        return None
    return "unknown_label" if given else "unlabelled"


def _detail(given: str | None, known: str | None) -> str | None:
    if known is not None:
        return None
    if not given:
        return orjson.dumps({"rule": "unlabelled", "threshold": "a label", "value": "none"}).decode()
    shown = given if _SHOWN.fullmatch(given) else "(not shown: more than one short word)"
    return orjson.dumps(
        {"rule": "unknown_label", "threshold": "a label or alias of the spec", "value": shown}
    ).decode()
