"""tokens: how long released records are for a trainer, what would be cut, and what an epoch costs.

Lives here: measuring with a counter that is handed in, and summing up. Keep out: loading a tokenizer
(`storage.tokenizers`), judging (`expectations.release`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

TOKENS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "tokens": pl.Int32,
    "prompt_tokens": pl.Int32,
    "answer_tokens": pl.Int32,
    "rejected_tokens": pl.Int32,
    "cut_tokens": pl.Int32,
    "supervised_tokens": pl.Int32,
    "has_end": pl.Boolean,
}
"""What is measured of a released record.

tokens: the whole record as a trainer reads it, with the template's own. prompt_tokens: what stands before the answer.
answer_tokens: what is learned. rejected_tokens: the worse answer of a pair; null otherwise. cut_tokens: how many lie
beyond training.max_length; null without one. supervised_tokens: answer_tokens that are not cut. has_end: whether an
end-of-turn or end-of-text token follows the answer; null without a tokenizer."""


@dataclass(frozen=True)
class TokenFacts:
    """The tokens of a release in numbers. Token counts are of the whole split, once."""

    counted_by: str
    """`an estimate of 4 characters a token` or `the tokenizer models/small`."""
    by_split: Mapping[str, int]
    median: int
    p95: int
    longest: int
    max_length: int | None
    over_length: int
    """Records that are longer than max_length."""
    cut: int
    """Tokens that would be cut."""
    unsupervised: int
    """Records of which nothing is left to learn."""
    without_end: int | None
    """Records whose answer is not followed by an end token; None without a tokenizer."""
    epochs: int
    train_tokens: int
    """Tokens of one epoch over train."""
    cost: float | None
    """Of all epochs, in `currency`; None where the spec gives no price."""
    currency: str | None
