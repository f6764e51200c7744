"""Whether a text is an automatic reply: absence notes, receipts of tickets, bounces, no-reply notices.

Lives here: the patterns (English, German, French, Spanish), written for this project, and their
sum. Keep out: what is done with such a text (`filter`).

Each family of patterns is one sign; a text needs FLAG points. What only a machine writes (a header,
"this is an automated message", a bounce's fields) is enough alone; what a person may also write
("I am away", "we received your request") needs company. Wording of somebody who talks *about*
automatic replies (a wish, a fault, praise) takes points off, and what he quotes is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dataset_pipeline.transforms.automatic_reply_patterns import AGAINST, CUES, FOR, TASK

FLAG = 4
"""Points from which a text is taken for an automatic reply."""

HEAD_CHARS = 1000
"""An automatic reply shows itself at its beginning; what follows is often the mail it answers."""

_QUOTED = (
    r"\"[^\"]{1,160}\"|“[^”]{1,160}”|„[^“”]{1,160}[“”]|«[^»]{1,160}»|(^|[\s(:])'[^'\"]{2,120}'([\s.,;:!?)]|$)"
)


@dataclass(frozen=True)
class Family:
    """Patterns that are one sign: any of them adds `points`, once."""

    points: int
    pattern: str


def _families() -> list[Family]:
    return [Family(points, "|".join(patterns)) for points, patterns in (*FOR, *AGAINST)]


def _readable(text: pl.Expr) -> pl.Expr:
    """Beginning of the text, lower-cased, white space and apostrophes made one, quotations out."""
    return (
        text.str.head(HEAD_CHARS)
        .str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"[’‘´`]", "'")
        .str.replace_all(r"[‐‑‒–—]", "-")
        .str.replace_all(r"\s+", " ")
        .str.replace_all(_QUOTED, " … ")
        .str.strip_chars()
    )


def automatic_reply_points(texts: pl.Series) -> pl.Series:
    """Points for (and less those against) each text being an automatic reply; Int32, null stays null.

    A text without any of CUES, or that opens like a task, has 0 points: it is not read further.
    """
    frame = texts.alias("text").to_frame().with_row_index("row")
    head = pl.col("text").str.head(HEAD_CHARS).str.to_lowercase()
    likely = head.str.contains_any(list(CUES)) & ~head.str.strip_chars_start().str.contains(TASK)
    read = frame.filter(likely.fill_null(False)).select("row", text=_readable(pl.col("text")))
    points = pl.sum_horizontal(
        pl.col("text").str.contains(family.pattern).cast(pl.Int32) * family.points for family in _families()
    )
    scored = read.select("row", points=points.cast(pl.Int32))
    return (
        frame.join(scored, on="row", how="left", maintain_order="left")
        .select(pl.when(pl.col("text").is_not_null()).then(pl.col("points").fill_null(0)))
        .to_series()
        .alias(texts.name)
    )


def is_automatic_reply(texts: pl.Series) -> pl.Series:
    """Boolean, never null: whether each text is an automatic reply; a missing text is none."""
    return (automatic_reply_points(texts) >= FLAG).fill_null(False)
