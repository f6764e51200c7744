"""The filter step: rules over stored measurements; the first that fires gives the reason, or a place in the queue.

Lives here: the rules and their order, the verdict, the handwritten examples run through them.
Keep out: how a signal is measured (`signals`); the verdict never looks at text, so a changed
threshold needs `decide` only.

To add a rule: one entry in `_rules`, its reason in records.REASONS, its test.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dataset_pipeline import records as model
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.records import IN_REVIEW, Step
from dataset_pipeline.spec.models import SideLimits
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms.signals import measure

__all__ = ["decide", "example_records", "examples_dropped", "filter_records", "measure"]

MAX_LABEL_WORDS = 8
MAX_LABEL_CHARS = 80
MAX_LABEL_LINES = 1
"""A longer answer is a sentence about a label, not a label."""

_EXAMPLE_DAY = dt.date(1970, 1, 1)
"""Handwritten examples have no collection day; the frame needs one."""


_SHARES = ("_share", "_similarity")
"""How limits that are shares end."""


@dataclass(frozen=True)
class Rule:
    """A reason, the limit that decides it, and when it fires; `fires` is never null.

    is_share: the limit is a share that somebody estimated, so that what misses it by little may wait for a
    person. A count (words, tokens, listed words) is the user's exact word.
    """

    reason: str
    limit: str
    side: str
    value: pl.Expr
    threshold: float | int
    fires: pl.Expr
    measured: pl.Expr
    is_share: bool = False

    def is_borderline(self, margin: float) -> pl.Expr:
        """Whether the value misses a share by less than `margin` times the limit; never null."""
        if not self.is_share or margin <= 0:
            return pl.lit(False)
        return ((self.measured - self.threshold).abs() < margin * self.threshold).fill_null(False)

    def detail(self, borderline: bool = False) -> pl.Expr:
        """Compact JSON with sorted keys: borderline where it is, rule, side, threshold, value (shares to four places)."""
        told = {"rule": self.limit, "side": self.side, "threshold": self.threshold}
        head = json.dumps(
            told | ({"borderline": True} if borderline else {}), sort_keys=True, separators=(",", ":")
        )
        value = pl.when(self.value.is_null()).then(pl.lit("null")).otherwise(self.value.cast(pl.String))
        return pl.concat_str(pl.lit(head[:-1] + ',"value":'), value, pl.lit("}"))


def _above(reason: str, limit: str, side: str, value: pl.Expr, threshold: float | int | None) -> list[Rule]:
    """Fires where the value is above the threshold; a null value never does."""
    if threshold is None:
        return []
    shown = value.round(4) if isinstance(threshold, float) else value
    fires = (value > threshold).fill_null(False)
    return [Rule(reason, limit, side, shown, threshold, fires, value, limit.endswith(_SHARES))]


def _below(reason: str, limit: str, side: str, value: pl.Expr, threshold: float | int | None) -> list[Rule]:
    """Fires where the value is below the threshold; a null value never does."""
    if threshold is None:
        return []
    shown = value.round(4) if isinstance(threshold, float) else value
    fires = (value < threshold).fill_null(False)
    return [Rule(reason, limit, side, shown, threshold, fires, value, limit.endswith(_SHARES))]


def _side_rules(side: str, limits: SideLimits) -> list[Rule]:
    """The limits of one side. Markup goes before symbols and letters, which it would explain badly."""

    def signal(name: str) -> pl.Expr:
        return pl.col(f"{side}_{name}")

    return [
        *_below("too_short", "min_words", side, signal("words"), limits.min_words),
        *_above("too_long", "max_words", side, signal("words"), limits.max_words),
        *_above("markup", "max_markup_share", side, signal("markup_share"), limits.max_markup_share),
        *_above("symbols", "max_symbol_share", side, signal("symbol_share"), limits.max_symbol_share),
        *_above("digits", "max_digit_share", side, signal("digit_share"), limits.max_digit_share),
        *_below("low_alpha", "min_alpha_share", side, signal("alpha_share"), limits.min_alpha_share),
        *_above("repetition", "max_repetition_share", side, signal("repetition_share"),
                limits.max_repetition_share),
    ]  # fmt: skip


def _label_rules() -> list[Rule]:
    """An answer that cannot be a label. An unlabelled record has none, and no rule for it."""
    return [
        *_above("label_form", "max_label_words", "answer", pl.col("answer_words"), MAX_LABEL_WORDS),
        *_above("label_form", "max_label_chars", "answer", pl.col("answer_chars"), MAX_LABEL_CHARS),
        *_above("label_form", "max_label_lines", "answer", pl.col("answer_lines"), MAX_LABEL_LINES),
    ]


def _empty_answer() -> Rule:
    """No answer, or one of white space and punctuation only; a number, sign or emoji is an answer."""
    signs = pl.col("answer_words").fill_null(0) + (pl.col("answer_symbol_share").fill_null(0.0) > 0).cast(
        pl.Int32
    )
    return Rule("empty_answer", "min_answer_content", "answer", signs, 1, signs < 1, signs)


def _pair_rules(params: FilterParams) -> list[Rule]:
    """What is asked of the worse side of a preference pair: its form. That it is bad is why it is there.

    Its columns are null for other records, and no rule fires.
    """
    signs = pl.col("rejected_words") + pl.col("rejected_symbols").fill_null(0)
    limit, similarity = params.max_sides_similarity, pl.col("sides_similarity")
    return [
        Rule("empty_answer", "min_answer_content", "rejected", signs, 1, (signs < 1).fill_null(False), signs),
        *_above("too_long", "max_words", "rejected", pl.col("rejected_words"), params.answer.max_words),
        *_above("sides_alike", "max_sides_similarity", "both", similarity, limit),
    ]


def _rules(params: FilterParams) -> list[Rule]:
    """Every rule that is switched on, in the order in which they are asked.

    Form of the answer, limits of the prompt, limits of the answer, form of the worse answer, tokens of
    both sides, automatic replies, profanity. A label is judged by its form only: a limit meant for
    sentences says nothing about it. Tokens are those that a trainer sees at once: prompt and the longer
    of two answers.
    """
    longer = pl.max_horizontal("answer_tokens", "rejected_tokens").fill_null(0)
    tokens = pl.col("prompt_tokens").fill_null(0) + longer
    automatic = pl.col("is_automatic_reply").fill_null(False).cast(pl.Int32)
    labels = params.answers_are_labels
    return [
        *(_label_rules() if labels else [_empty_answer()]),
        *_side_rules("prompt", params.prompt),
        *([] if labels else [*_side_rules("answer", params.answer), *_pair_rules(params)]),
        *_above("too_many_tokens", "max_tokens", "both", tokens, params.max_tokens),
        *_above("automatic_reply", "automatic_replies", "prompt", automatic,
                0 if params.drop_automatic_replies else None),
        *_above("profanity", "max_profane_words", "prompt", pl.col("prompt_profane_words"),
                params.max_profane_words),
    ]  # fmt: skip


def decide(measured: pl.DataFrame, params: FilterParams) -> pl.DataFrame:
    """Adds kept, reason and detail to what `measure` returned; result: records.TABLES["filter"].

    A limit that is null is switched off. No text is read. The first rule that fires, in the order of
    `_rules`, gives reason and detail. But where every rule that fires is borderline, a share that misses
    its limit by less than `review_margin` times the limit, the record is not dropped for good: it waits
    `in_review`, with the detail of the first such rule and `"borderline": true`. Where some are and some
    are not, the first that is not gives the reason.
    """
    measured = measured.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in _ABSENT.items() if name not in measured.columns
    )
    rules = _rules(params)
    margin = params.review_margin
    shares = [rule for rule in rules if rule.is_share and margin > 0]
    given: list[tuple[pl.Expr, pl.Expr, pl.Expr]] = [
        (rule.fires & ~rule.is_borderline(margin), pl.lit(rule.reason), rule.detail()) for rule in rules
    ]
    # Asked last: all that fires now is borderline.
    given += [(rule.fires, pl.lit(IN_REVIEW), rule.detail(borderline=True)) for rule in shares]
    decided = measured.with_columns(
        reason=pl.coalesce(pl.lit(None, pl.String), *(pl.when(fires).then(word) for fires, word, _ in given)),
        detail=pl.coalesce(pl.lit(None, pl.String), *(pl.when(fires).then(told) for fires, _, told in given)),
    ).with_columns(kept=pl.col("reason").is_null())
    return model.conform(decided.select(list(model.TABLES[Step.FILTER])), Step.FILTER)


def same_measurements(then: Mapping[str, Any], now: FilterParams) -> bool:
    """Whether rows measured under the settings `then` (FilterParams as JSON) are what `measure` gives under `now`."""
    names = ("version", "answers_are_labels", *MEASURING)
    today = now.model_dump(mode="json")
    return all(name in then and then[name] == today[name] for name in names)


MEASURING: dict[str, str] = {
    "chars_per_token": "chars_per_token",
    "profane_add": "profanity.add",
    "profane_allow": "profanity.allow",
}
"""Params that change what is measured, and their keys below `filter` in the spec."""


_ABSENT = {
    **{
        name: dtype
        for name, dtype in model.TABLES[Step.FILTER].items()
        if name.startswith("rejected_") or name in ("sides_similarity", "review")
    },
    "rejected_symbols": pl.Int32,
}
"""What `measure` leaves out without preference pairs, and what the published table does not hold."""


def filter_records(records: pl.DataFrame, params: FilterParams, memo: Memo = direct) -> pl.DataFrame:
    """Verdict of every record: columns of records.RECORDS in, records.TABLES["filter"] out, one row each."""
    return decide(measure(records, params, memo), params)


def example_records(params: FilterParams) -> pl.DataFrame:
    """The handwritten examples as records (records.RECORDS), ids `example-1`, `example-2`, …, in order."""
    rows = [
        {
            "record_id": f"example-{number}",
            "day": _EXAMPLE_DAY,
            "source": "examples",
            "source_rank": 1,
            "messages": [
                {"role": "user", "content": example.input},
                {"role": "assistant", "content": example.output},
            ],
            "label": example.output if params.answers_are_labels else None,
            "group": None,
            "person_names": [],
            "may_evaluate": False,
            "content_sha": model.sha256_text(example.input, example.output),
        }
        for number, example in enumerate(params.examples, start=1)
    ]
    return pl.DataFrame(rows, schema=model.RECORDS)


def examples_dropped(params: FilterParams) -> pl.DataFrame:
    """The decided rows of those handwritten examples that a rule would drop: the kill-rate guard."""
    return filter_records(example_records(params), params).filter(~pl.col("kept"))
