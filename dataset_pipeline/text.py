"""Text primitives that several steps must share to agree: sides of a record, comparison keys, words.

Lives here: what "the prompt side", "equal" and "a word" mean. Keep out: thresholds and verdicts.
"""

from __future__ import annotations

import hashlib
import re

import polars as pl

WORD = r"[^\W_]+"
"""A word: a run of letters, marks and digits (Rust regex classes)."""


def folded(text: pl.Expr) -> pl.Expr:
    """NFKC and case-folded text. Polars lower-cases; the two letters that folding adds are named."""
    return (
        text.str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all("ß", "ss", literal=True)
        .str.replace_all("ς", "σ", literal=True)
    )


def comparison_text(text: pl.Expr) -> pl.Expr:
    """Folded words joined by one space: punctuation and white space do not count.

    A text without any word (emoji, symbols) is compared by itself, stripped, so that
    texts that only look empty are not taken for each other.
    """
    words = folded(text).str.extract_all(WORD).list.join(" ")
    return pl.when(words == "").then(text.str.strip_chars()).otherwise(words)


def _sha(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def comparison_key(texts: pl.Series) -> pl.Series:
    """32 hex digits that are equal exactly where `comparison_text` is; null stays null."""
    compared = texts.to_frame("text").select(comparison_text(pl.col("text"))).to_series()
    return pl.Series(texts.name, [None if text is None else _sha(text) for text in compared], dtype=pl.String)


def is_answered() -> pl.Expr:
    """Whether `messages` ends with the assistant (an unlabelled classification row does not)."""
    return (pl.col("messages").list.last().struct.field("role") == "assistant").fill_null(False)


def with_sides(records: pl.DataFrame) -> pl.DataFrame:
    """`records` with `prompt` and `answer` (String) from `messages`.

    answer: content of the final assistant message, null where the last message is not the
    assistant's. prompt: every other message but system ones, joined by a blank line.
    """
    turns = pl.col("messages")
    before = pl.when(is_answered()).then(turns.list.head(turns.list.len() - 1)).otherwise(turns)
    return records.with_columns(
        prompt=before.list.eval(
            pl.element().struct.field("content").filter(pl.element().struct.field("role") != "system")
        ).list.join("\n\n"),
        answer=pl.when(is_answered()).then(turns.list.last().struct.field("content")),
    )


def whole(prompt: pl.Expr, answer: pl.Expr) -> pl.Expr:
    """Prompt and answer as one text, joined by a blank line; a missing side is left out."""
    return pl.concat_str(prompt, answer, separator="\n\n", ignore_nulls=True)


_NAME = re.compile(r"[^\W\d][\w .:/!?()#&%+-]{0,39}|[!#$(][\w .:/!?()#&%+-]{1,39}")
_DATA_LIKE = re.compile(r"@|\d{5}|(\S+\s+){5}")


def is_name(column: str) -> bool:
    """Whether a column's name looks like one: short, few words, no address and no long number.

    Where a header is missing, the "names" are the values of a row, which are not to be shown.
    """
    return bool(_NAME.fullmatch(column)) and not _DATA_LIKE.search(column)


def shown_name(column: str) -> str:
    """A column's name as messages quote it; of one that looks like data its length alone."""
    return (
        repr(column)
        if is_name(column) or (column.isdecimal() and len(column) < 5)
        else f"(a name of {len(column)} characters)"
    )
