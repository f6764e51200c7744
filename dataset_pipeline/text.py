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
    return _or_itself(_words(text), text)


def _words(text: pl.Expr) -> pl.Expr:
    return folded(text).str.extract_all(WORD).list.join(" ")


def _or_itself(words: pl.Expr, text: pl.Expr) -> pl.Expr:
    return pl.when(words == "").then(text.str.strip_chars()).otherwise(words)


def _sha(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]


EMPTY_KEY = _sha("")
"""The comparison key of a text of white space alone."""


def comparison_key(texts: pl.Series) -> pl.Series:
    """32 hex digits that are equal exactly where `comparison_text` is; null stays null."""
    # `comparison_text` in two steps: as one expression Polars folds each text twice (measured).
    frame = texts.to_frame("text").with_columns(words=_words(pl.col("text")))
    compared = frame.select(_or_itself(pl.col("words"), pl.col("text"))).to_series()
    return pl.Series(texts.name, [None if text is None else _sha(text) for text in compared], dtype=pl.String)


def is_answered() -> pl.Expr:
    """Whether `messages` ends with the assistant (an unlabelled classification row does not)."""
    return (pl.col("messages").list.last().struct.field("role") == "assistant").fill_null(False)


SIDED = ("messages", "prompt_turns", "rejected")
"""The columns that say what the sides of a record are."""


def turns(records: pl.DataFrame, prefix: str = "") -> pl.DataFrame:
    """The columns of SIDED that `records` has; prefix `collected_`: as collected."""
    named = {name: name if name == "prompt_turns" else f"{prefix}{name}" for name in SIDED}
    return records.select(**{name: pl.col(own) for name, own in named.items() if own in records.columns})


def with_sides(records: pl.DataFrame) -> pl.DataFrame:
    """`records` with `prompt` and `answer` (String) from `messages`.

    answer: content of the final assistant message, null where the last message is not the
    assistant's. prompt: every other message but system ones, joined by a blank line.
    Of a preference pair (column `prompt_turns`, null otherwise) the prompt is what both sides share and
    the answer the chosen side; `rejected_side` is the other one.
    """
    turns = pl.col("messages")
    length = turns.list.len()
    start = length - is_answered().cast(pl.UInt32)
    answer: pl.Expr = pl.when(is_answered()).then(turns.list.last().struct.field("content"))
    if _has_pairs(records):
        start = pl.coalesce(pl.col("prompt_turns").cast(pl.UInt32), start)
        answer = (
            pl.when(pl.col("prompt_turns").is_null()).then(answer).otherwise(_said(turns.list.slice(start)))
        )
    return records.with_columns(prompt=_said(turns.list.head(start)), answer=answer)


def rejected_side(records: pl.DataFrame) -> pl.Series:
    """The worse answer of each preference pair, its turns joined by a blank line; null for other records."""
    if "rejected" not in records.columns:
        return pl.repeat(None, records.height, dtype=pl.String, eager=True)
    return records.select(_said(pl.col("rejected")).alias("rejected_side")).to_series()


def _has_pairs(records: pl.DataFrame) -> bool:
    return "prompt_turns" in records.columns and records["prompt_turns"].null_count() < records.height


def _said(turns: pl.Expr) -> pl.Expr:
    """What is said in turns, system prompts apart; null for no list."""
    said = turns.list.eval(
        pl.element().struct.field("content").filter(pl.element().struct.field("role") != "system")
    ).list.join("\n\n")
    return pl.when(turns.is_not_null()).then(said)


def whole(prompt: pl.Expr, answer: pl.Expr) -> pl.Expr:
    """Prompt and answer as one text, joined by a blank line; a missing side is left out."""
    return pl.concat_str(prompt, answer, separator="\n\n", ignore_nulls=True)


_NAME = re.compile(r"[^\W\d][\w .:/!?()#&%+-]{0,39}|[!#$(][\w .:/!?()#&%+-]{1,39}")
_DATA_LIKE = re.compile(r"@|\d{5}|(\S+\s+){5}|(?:\d\D*){7}|\d\.\d+\.\d+\.\d|::")


def is_name(column: str) -> bool:
    """Whether a column's name looks like one: short, few words, no address of a person or a machine, fewer than seven digits.

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
