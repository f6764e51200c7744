"""Costly work on texts that may be remembered: the seam between pure functions and a cache.

Lives here: the protocol and the default that remembers nothing. Keep out: where results are kept
(`storage.cache`). A memo never changes a result: it may only spare computing it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import polars as pl

Compute = Callable[[pl.Series], pl.DataFrame]
"""Distinct, non-null texts to one row each, in their order."""


class Memo(Protocol):
    """Rows of `compute` for each of `texts`, in their order; null texts get null rows.

    function: name of what is computed. version: raised when its result changes for an equal text.
    settings: everything else that the result depends on.
    """

    def __call__(
        self, function: str, version: int, settings: str, texts: pl.Series, compute: Compute
    ) -> pl.DataFrame: ...


def direct(function: str, version: int, settings: str, texts: pl.Series, compute: Compute) -> pl.DataFrame:
    """The memo that remembers nothing: equal texts are computed once, that is all."""
    distinct = texts.drop_nulls().unique().sort()
    return aligned(texts, distinct, compute(distinct))


def aligned(texts: pl.Series, distinct: pl.Series, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` (one per text of `distinct`) laid out for `texts`."""
    known = rows.with_columns(distinct.alias(_TEXT))
    return texts.to_frame(_TEXT).join(known, on=_TEXT, how="left", maintain_order="left").select(rows.columns)


_TEXT = "memo_text"
