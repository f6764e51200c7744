"""label: which label a record has, by whose word, and contradictions measured.

Lives here: a review before the consensus of annotators before the source's own label, and whether an equal prompt
says otherwise. Keep out: how annotations become a consensus; settling a contradiction: `release` withholds every
side of one that no person has decided.
"""

from __future__ import annotations

import re

import orjson
import polars as pl

from dataset_pipeline.records import IN_REVIEW, REVIEWED, TABLES, Step, conform
from dataset_pipeline.spec.params import LabelParams
from dataset_pipeline.text import comparison_key, rejected_side, with_sides
from dataset_pipeline.transforms.reviews import (
    DROP,
    KEEP,
    NAMED,
    RELABEL,
    dropped_detail,
    review_json,
    with_verdicts,
)

_SHOWN = re.compile(r"[^\W\d][\w-]{0,23}")
"""Labels that may stand in a detail: one short word. Anything else could be a record's text."""

SOURCE, ANNOTATIONS, REVIEW = "source", "annotations", "review"
"""Whose word a label is."""


def label_records(
    records: pl.DataFrame,
    history: pl.DataFrame,
    params: LabelParams,
    contested: pl.Series | None = None,
    consensus: pl.DataFrame | None = None,
    named: pl.DataFrame | None = None,
    keys: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """TABLES['label'] for `records` (RECORDS columns, cleaned messages, any number of days).

    keys: `label_keys` of the records, where they are known: no text is looked at then.

    history: prompt_key, answer_key of the kept label rows of earlier days. contested: ids of records
    whose prompt, as collected, a near duplicate that dedup dropped had with another answer (`contested`).
    consensus: record_id, label (null: a tie), answers, agreement, votes (List(COUNT), by label) of annotated
    records, one row each. named: people's verdicts at this step, as `reviews.naming` returns them.
    label: the spec's label (null for tasks without labels and for dropped rows): of a relabel, else of the
    consensus, else of the source; `label_origin` says which: `review`, `annotations`, `source`, or null.
    prompt_key: comparison key of the cleaned prompt, answer_key: the label. Of a preference pair the key is
    of the prompt and both answers in sorted order, and the answer the chosen side: a pair and its reverse
    contradict each other. Otherwise the answer is its comparison key.
    is_contradiction: an equal prompt with another answer is known on the same or an earlier day, and no
    person has said keep or relabel of this record.
    Reasons: `unlabelled` (no label given), `unknown_label` (given, neither a label nor an alias: never
    guessed), `in_review` (the annotators are tied), `reviewed` (a person said drop). A keep takes a tied record
    as its source labelled it; it gives no label to one that has none, and says so in `review` all the same.
    """
    ordered = records.sort("day", "record_id")
    keys = label_keys(ordered, params) if keys is None else keys
    rows = ordered.select("record_id", "day").join(keys, on="record_id", how="left", maintain_order="left")
    free, rows = rows["answer_key"], rows.drop("answer_key")
    if params.answers_are_labels:
        rows = _agreed(rows.hstack(_given(ordered["label"], params)), consensus)
    else:
        nothing = ("label", "label_origin", "reason", "detail", "own_label")
        rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in nothing)
        rows = _agreed(rows, None).with_columns(answer_key=free)
    decided = _reviewed(rows, pl.DataFrame(schema=NAMED) if named is None else named)
    if params.answers_are_labels:
        decided = decided.with_columns(answer_key="label")
    measured = _with_contradictions(decided, history)
    if contested is not None:
        also = pl.col("kept") & pl.col("record_id").is_in(contested.implode())
        measured = measured.with_columns(is_contradiction=pl.col("is_contradiction") | also)
    is_settled = pl.col("said").is_in([KEEP, RELABEL]).fill_null(False)
    measured = measured.with_columns(is_contradiction=pl.col("is_contradiction") & ~is_settled)
    return conform(measured.select(*TABLES[Step.LABEL]).sort("day", "record_id"), Step.LABEL)


def label_keys(records: pl.DataFrame, params: LabelParams) -> pl.DataFrame:
    """record_id, prompt_key and answer_key of RECORDS with cleaned messages: what of their texts `label_records` compares.

    answer_key is null where answers are labels: there it is the label, whoever gives it.
    """
    sided = with_sides(records).with_columns(rejected_side(records))
    answers = pl.lit(None, pl.String) if params.answers_are_labels else comparison_key(sided["answer"])
    return records.select("record_id").with_columns(prompt_key=_prompt_key(sided, params), answer_key=answers)


def _prompt_key(sided: pl.DataFrame, params: LabelParams) -> pl.Series:
    """What two records share that must not have two answers."""
    asked = comparison_key(sided["prompt"])
    if not params.has_pairs:
        return asked
    sides = pl.DataFrame(
        {
            "asked": asked,
            "chosen": comparison_key(sided["answer"]),
            "rejected": comparison_key(sided["rejected_side"]),
        }
    ).fill_null("")
    # Which of the two was preferred is the answer: it must not be in the key.
    both = sides.select(
        pl.concat_str("asked", pl.min_horizontal("chosen", "rejected"), pl.max_horizontal("chosen", "rejected"),
                      separator=" ")
    )  # fmt: skip
    return comparison_key(both.to_series())


def _given(labels: pl.Series, params: LabelParams) -> pl.DataFrame:
    """What the source says: label, label_origin, reason, detail; own_label is the label once more."""
    given = labels.str.strip_chars().to_list()
    known = [params.label_names.get(text.casefold()) if text else None for text in given]
    columns = {
        "label": known,
        "label_origin": [SOURCE if name else None for name in known],
        "reason": [_reason(text, name) for text, name in zip(given, known, strict=True)],
        "detail": [_detail(text, name) for text, name in zip(given, known, strict=True)],
        "own_label": known,
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _agreed(rows: pl.DataFrame, consensus: pl.DataFrame | None) -> pl.DataFrame:
    """The label of the annotators in place of the source's; a tie leaves none. Adds answers and agreement."""
    if consensus is None:
        return rows.with_columns(answers=pl.lit(None, pl.Int32), agreement=pl.lit(None, pl.Float64))
    ties = consensus.filter(pl.col("label").is_null()).select("record_id", "votes")
    details = [_tie(votes) for votes in ties["votes"].to_list()]
    agreed = consensus.select(
        "record_id", pl.col("answers").cast(pl.Int32), "agreement", agreed="label", is_annotated=pl.lit(True)
    ).join(ties.select("record_id", tie=pl.Series(details, dtype=pl.String)), on="record_id", how="left")
    is_annotated, is_tied = pl.col("is_annotated").fill_null(False), pl.col("agreed").is_null()
    return rows.join(agreed, on="record_id", how="left", maintain_order="left").with_columns(
        label=pl.when(is_annotated).then("agreed").otherwise("label"),
        label_origin=pl.when(~is_annotated).then("label_origin").when(~is_tied).then(pl.lit(ANNOTATIONS)),
        reason=pl.when(~is_annotated).then("reason").when(is_tied).then(pl.lit(IN_REVIEW)),
        detail=pl.when(is_annotated).then("tie").otherwise("detail"),
    )


def _reviewed(rows: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """The word of a person in place of all others. Adds kept, review, and what `with_verdicts` adds."""
    said = with_verdicts(rows, named)
    is_relabelled = (pl.col("said") == RELABEL) & pl.col("said_value").is_not_null()
    is_own = (pl.col("said") == KEEP) & (pl.col("reason") == IN_REVIEW) & pl.col("own_label").is_not_null()
    is_dropped = pl.col("said") == DROP
    decided = said.with_columns(
        was_reason="reason",
        was="label",
        label=pl.when(is_relabelled).then("said_value").when(is_own).then("own_label").otherwise("label"),
        label_origin=pl.when(is_relabelled)
        .then(pl.lit(REVIEW))
        .when(is_own)
        .then(pl.lit(SOURCE))
        .otherwise("label_origin"),
        reason=pl.when(is_dropped)
        .then(pl.lit(REVIEWED))
        .when(is_relabelled | is_own)
        .then(None)
        .otherwise("reason"),
        detail=pl.when(is_dropped)
        .then(dropped_detail())
        .when(is_relabelled | is_own)
        .then(None)
        .otherwise("detail"),
    ).with_columns(kept=pl.col("reason").is_null())
    # A keep that changes nothing overrides nothing: the record is still without a label.
    overrides = pl.when(pl.col("was_reason").ne_missing(pl.col("reason"))).then("was_reason")
    return decided.with_columns(
        label=pl.when("kept").then("label"),
        label_origin=pl.when("kept").then("label_origin"),
        review=pl.when(pl.col("said") == RELABEL)
        .then(review_json(overrides, was=pl.col("was")))
        .otherwise(review_json(overrides)),
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


def _tie(votes: list[dict[str, object]] | None) -> str:
    counts = {str(vote["name"]): vote["count"] for vote in votes or ()}
    fact = {"rule": "tie", "threshold": "one label ahead", "value": counts}
    return orjson.dumps(fact, option=orjson.OPT_SORT_KEYS).decode()
