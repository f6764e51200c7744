"""What filter measures of a record: signals per side, as columns, before anything is decided.

Lives here: how each signal is computed, row by row, from one text. Keep out: thresholds and
verdicts (`filter`), the word list (`profanity`), the patterns (`automatic_replies`).

Signals of a side (`prompt_…`, `answer_…`); null where the side is null. "Characters" below are
those that are no white space, and not emoji unless emoji dominate (see EMOJI_DOMINATE). HTML
entities are read as what they stand for, except in chars and tokens.

| signal | meaning | range |
|---|---|---|
| words | runs of letters and digits; in scripts without spaces each letter; encoded data is one | 0… |
| chars | all characters, white space too | 0… |
| lines | lines of the text, blank ends cut off | 0… |
| tokens | chars / chars_per_token, rounded up; each CJK or other unspaced letter is one | 0… |
| alpha_share | letters and marks, encoded data not counted, / characters | 0 to 1, null without characters |
| symbol_share | neither letter, mark, digit nor sentence punctuation / characters | 0 to 1, null as above |
| digit_share | digits / characters | 0 to 1, null as above |
| repetition_share | word 3-grams that repeat an earlier one / word 3-grams | 0 to 1 |
| distinct_share | distinct folded words / words | 0 to 1, null without words |
| compression_ratio | bytes after deflate / UTF-8 bytes; from COMPRESSIBLE_BYTES on, else null | 0… |
| markup_share | characters of tags and HTML entities / all characters, an entity being one | 0 to 1 |
| profane_words | occurrences of listed words | 0… |

Of a preference pair `prompt` is what both sides share and `answer` the chosen side. The worse one is there
because it is bad, so that only its length is measured (`rejected_words`, `rejected_chars`, `rejected_tokens`),
and `sides_similarity`: see there. All four are null for other records.
"""

from __future__ import annotations

import html
import json
import re
import zlib
from collections import Counter

import polars as pl

from dataset_pipeline import text
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.records import SIDE_SIGNALS
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms.automatic_replies import is_automatic_reply
from dataset_pipeline.transforms.profanity import profane_word_count

SIDES: tuple[str, ...] = ("prompt", "answer")

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
UNSPACED_LETTER = rf"[[{_UNSPACED}]&&\p{{L}}]"
"""A letter of a script that puts no space between words (Rust regex class)."""

TOKEN = rf"{UNSPACED_LETTER}\p{{M}}*|[\w--[_[{_UNSPACED}&&\p{{L}}]]]+"
"""A word to count: text.WORD, but each letter of a script without spaces by itself."""

ENCODED = r"[A-Za-z0-9+/]{60,}={0,2}"
"""Encoded data (base64, long hexadecimal): no natural word is that long, so it is no text."""

EMOJI = (
    r"[\p{Extended_Pictographic}\x{1F1E6}-\x{1F1FF}\x{1F3FB}-\x{1F3FF}"
    r"\x{200D}\x{20E3}\x{FE00}-\x{FE0F}\x{E0020}-\x{E007F}]"
)
EMOJI_DOMINATE = 2 / 3
"""Above this share of emoji they count as characters, and as symbols: a message that is almost
nothing else says too little. Below it they are as if not there, so that "Love it" with as many
emoji as letters keeps the shares of its words."""

_PUNCTUATION = r""".,;:!?'"()\-…‐‑‒–—―‘’‚‛“”„‟«»‹›¡¿、。，．；：！？「」『』（）・،؛؟।"""
_LETTERS_AND_SPACE = r"[[\p{L}\p{M}\s]--[\x{20E3}\x{FE00}-\x{FE0F}]]+"
_TAG = r"</?[A-Za-z][\w:\-]*(?:\s[^<>]{0,1000})?/?>|<!(?:--|[A-Z])[^<>]{0,1000}>|<\?xml[^<>]{0,1000}>"
_ENTITY = r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});"

REPETITION_WORDS = 6
"""Shorter texts have no repetition: three words said twice are emphasis."""
_ONE_WORD_ONLY = 5
"""But one word said this often, and nothing else, is repetition whatever the length."""

COMPRESSIBLE_BYTES = 200
"""Deflate's own overhead decides the ratio of anything shorter."""
_DEFLATE_LEVEL = 6


def _compression_ratio(texts: pl.Series) -> pl.Series:
    def ratio(value: str) -> float:
        data = value.encode("utf-8", "surrogatepass")
        return len(zlib.compress(data, _DEFLATE_LEVEL)) / len(data)

    long = (texts.str.len_bytes() >= COMPRESSIBLE_BYTES).fill_null(False)
    return pl.Series(
        [ratio(value) if wanted else None for value, wanted in zip(texts, long, strict=True)],
        dtype=pl.Float64,
    )


def _repeats(words: pl.Expr, size: int) -> pl.Expr:
    """Share of the word n-grams of each list that repeat an earlier one of it."""
    element = pl.element()
    grams = pl.concat_str([element, *(element.shift(-i) for i in range(1, size))], separator="\x1f")
    distinct = words.list.eval(grams.drop_nulls().n_unique()).list.first().cast(pl.Float64)
    return 1.0 - distinct / (words.list.len().cast(pl.Float64) - (size - 1))


def _repetition_share(frame: pl.DataFrame) -> pl.Series:
    """`repetition_share` of frame's `tokens_of`, in frame's order.

    Letters of scripts without spaces are taken six at a time: about as much text as three words,
    and few enough letters exist that three of them recur in any honest page.
    """
    long = frame.select("row", "tokens_of", "count", "unspaced", "distinct").filter(
        pl.col("count") >= _ONE_WORD_ONLY
    )
    spaced = pl.col("unspaced") * 2 <= pl.col("count")
    enough = pl.col("count") >= pl.when(spaced).then(REPETITION_WORDS).otherwise(2 * REPETITION_WORDS)
    shares = pl.concat(
        [
            long.filter(enough & spaced).select("row", share=_repeats(pl.col("tokens_of"), 3)),
            long.filter(enough & ~spaced).select("row", share=_repeats(pl.col("tokens_of"), 6)),
            long.filter(~enough & (pl.col("distinct") == 1)).select(
                "row", share=1.0 - 1.0 / pl.col("count").cast(pl.Float64)
            ),
        ]
    )
    joined = frame.select("row", "count").join(shares, on="row", how="left", maintain_order="left")
    known = pl.col("count").is_not_null()
    return joined.select(pl.when(known).then(pl.col("share").fill_null(0.0))).to_series()


def unescaped(texts: pl.Series) -> pl.Series:
    """HTML entities replaced by what they stand for: an escaped emoji is no run of digits."""

    def decoded(value: str) -> str:
        return re.sub(_ENTITY, lambda match: html.unescape(match.group()), value)

    escaped = texts.str.contains(_ENTITY).fill_null(False)
    if not escaped.any():
        return texts
    return pl.Series(
        [decoded(value) if found else value for value, found in zip(texts, escaped, strict=True)],
        dtype=pl.String,
    )


def _without_encoded(texts: pl.Series) -> pl.Series:
    """Encoded data replaced by one digit: it stays a word, and is no letter."""
    if not texts.str.contains(ENCODED).any():
        return texts
    return texts.str.replace_all(ENCODED, " 0 ")


_TOKENS_OF = text.folded(pl.col("plain")).str.extract_all(TOKEN)
_CHARS_OF = pl.col("raw").str.len_chars().cast(pl.Int64)
_WIDE_OF = pl.col("side").str.count_matches(rf"{UNSPACED_LETTER}|\p{{Hangul}}").cast(pl.Int64)


def _tokens(params: FilterParams) -> pl.Expr:
    """The estimate of tokens from `wide` and `chars`."""
    spaced = (pl.col("chars") - pl.col("wide")) / params.chars_per_token
    return (pl.col("wide") + spaced.ceil()).cast(pl.Int32)


def side_signals(texts: pl.Series, params: FilterParams) -> pl.DataFrame:
    """Every signal of the table in this module's docstring, one row a text, without a prefix.

    Reads of params: chars_per_token, profane_add, profane_allow.
    """
    raw, side, plain = pl.col("raw"), pl.col("side"), pl.col("plain")
    # An entity stands for one character, and counts as one.
    one_each = raw.str.replace_all(_ENTITY, "x")
    shown = unescaped(texts)
    frame = (
        pl.DataFrame({"raw": texts, "side": shown, "plain": _without_encoded(shown)}).with_row_index("row")
        .with_columns(
            rest=side.str.replace_all(_LETTERS_AND_SPACE, ""),
            chars=_CHARS_OF,
            visible=side.str.len_chars().cast(pl.Int64) - side.str.count_matches(r"\s").cast(pl.Int64),
            letters=plain.str.len_chars().cast(pl.Int64)
            - plain.str.count_matches(r"\s").cast(pl.Int64)
            - plain.str.replace_all(_LETTERS_AND_SPACE, "").str.len_chars().cast(pl.Int64),
            unspaced=side.str.count_matches(UNSPACED_LETTER).cast(pl.Int64),
            wide=_WIDE_OF,
            tokens_of=_TOKENS_OF,
            entities=raw.str.count_matches(_ENTITY).cast(pl.Int64),
            short=one_each.str.len_chars().cast(pl.Int64),
            untagged=one_each.str.replace_all(_TAG, "").str.len_chars().cast(pl.Int64),
        )
        .with_columns(
            count=pl.col("tokens_of").list.len().cast(pl.Int64),
            distinct=pl.col("tokens_of").list.n_unique().cast(pl.Int64),
            emoji=pl.col("rest").str.count_matches(EMOJI).cast(pl.Int64),
            digits=pl.col("rest").str.count_matches(r"\p{N}").cast(pl.Int64),
            symbols=pl.col("rest").str.replace_all(rf"{EMOJI}|[\p{{N}}{_PUNCTUATION}]", "")
            .str.len_chars().cast(pl.Int64),
        )
        .with_columns(emoji_dominate=pl.col("emoji") > pl.col("visible") * EMOJI_DOMINATE)
    )  # fmt: skip
    counted = pl.col("visible") - pl.when("emoji_dominate").then(0).otherwise(pl.col("emoji"))
    symbols = pl.col("symbols") + pl.when("emoji_dominate").then(pl.col("emoji")).otherwise(0)

    def share(part: pl.Expr, of: pl.Expr) -> pl.Expr:
        return pl.when(of > 0).then(part.cast(pl.Float64) / of)

    measured = frame.select(
        words=pl.col("count").cast(pl.Int32),
        chars=pl.col("chars").cast(pl.Int32),
        lines=side.str.strip_chars().str.count_matches(r"\r\n|[\n\r\x{0B}\x{0C}\x{85}\x{2028}\x{2029}]")
        .cast(pl.Int32) + (side.str.strip_chars() != "").cast(pl.Int32),
        tokens=_tokens(params),
        alpha_share=share(pl.col("letters"), counted),
        symbol_share=share(symbols, counted),
        digit_share=share(pl.col("digits"), counted),
        distinct_share=share(pl.col("distinct"), pl.col("count")),
        markup_share=pl.when(pl.col("chars") > 0)
        .then(((pl.col("short") - pl.col("untagged") + pl.col("entities")) / pl.col("short")).clip(0.0, 1.0))
        .otherwise(pl.when(raw.is_not_null()).then(0.0)),
    )  # fmt: skip
    return measured.with_columns(
        repetition_share=_repetition_share(frame),
        compression_ratio=_compression_ratio(texts),
        profane_words=profane_word_count(texts, params.profane_add, params.profane_allow),
    )


VERSION = 1
"""Raised when a text's signals change: remembered ones are then not used."""


def measure(records: pl.DataFrame, params: FilterParams, memo: Memo = direct) -> pl.DataFrame:
    """Every signal of every record: record_id, day, `prompt_…`, `answer_…`, is_automatic_reply.

    In: the columns of records.RECORDS (`messages` is what is read). Out: one row a record, in the
    order given, with records.SIDE_SIGNALS of both sides and `answer_lines` (Int32). No threshold is
    applied; of params only chars_per_token, profane_add and profane_allow are read. Where there are
    preference pairs, also REJECTED_SIGNALS and sides_similarity.
    """
    sided = text.with_sides(
        pl.concat([records.select("record_id", "day"), text.turns(records)], how="horizontal")
    )
    frames = [sided.select("record_id", "day")]
    settings = json.dumps([params.chars_per_token, params.profane_add, params.profane_allow])
    for side in SIDES:
        signals = memo("signals", VERSION, settings, sided[side], lambda texts: side_signals(texts, params))
        frames.append(signals.select(pl.col(name).alias(f"{side}_{name}") for name in SIDE_SIGNALS))
    replies = memo(
        "automatic_reply", VERSION, "", sided["prompt"],
        lambda texts: is_automatic_reply(texts).alias("is_automatic_reply").to_frame(),
    )  # fmt: skip
    if "rejected" in records.columns and records["rejected"].null_count() < records.height:
        rejected = text.rejected_side(records)
        lengths = memo("lengths", VERSION, settings, rejected, lambda texts: _lengths(texts, params))
        frames.append(lengths.select(pl.col(name).alias(f"rejected_{name}") for name in _LENGTHS))
        similarity = sides_similarity(sided["answer"], rejected)
        frames.append(similarity.alias("sides_similarity").to_frame())
    return pl.concat([*frames, replies], how="horizontal")


_LENGTHS = ("words", "chars", "tokens", "symbols")
REJECTED_SIGNALS = tuple(f"rejected_{name}" for name in _LENGTHS)
"""Of the worse side of a preference pair. symbols: 1 for a text without words that is not only punctuation."""


def _lengths(texts: pl.Series, params: FilterParams) -> pl.DataFrame:
    """words, chars and tokens as `side_signals` has them, and symbols; the other signals are not computed."""
    shown = unescaped(texts)
    frame = pl.DataFrame({"raw": texts, "side": shown, "plain": _without_encoded(shown)}).select(
        words=_TOKENS_OF.list.len().cast(pl.Int32), chars=_CHARS_OF, wide=_WIDE_OF
    )
    wordless = texts.filter(frame["words"] == 0)
    signs = pl.DataFrame(
        {"raw": wordless, "symbols": (side_signals(wordless, params)["symbol_share"] > 0).fill_null(False)}
    )
    found = texts.to_frame("raw").join(signs.unique(), on="raw", how="left", maintain_order="left")
    return frame.select(
        "words",
        pl.col("chars").cast(pl.Int32),
        tokens=_tokens(params),
        symbols=found["symbols"].fill_null(False).cast(pl.Int32),
    )


def sides_similarity(chosen: pl.Series, rejected: pl.Series) -> pl.Series:
    """Share of words that both answers have: Jaccard of the multisets of folded words, 0 to 1; null without a side.

    A word that stands twice here and once there counts once in common. Order, case and punctuation do not
    count; a text without words is taken as one word. 1.0: the same words.
    """
    sides = pl.DataFrame({"one": chosen, "other": rejected})
    # Joined here and split there: a list of words is slow to hand over to Python, a text is not.
    texts = sides.select(
        pl.when(words == "").then(pl.col(name).str.strip_chars().str.replace_all(" ", "")).otherwise(words).alias(name)
        for name in ("one", "other")
        for words in (text.folded(pl.col(name)).str.extract_all(TOKEN).list.join(" "),)
    )  # fmt: skip
    shares = [
        None if one is None or other is None else _jaccard(one.split(" "), other.split(" "))
        for one, other in texts.iter_rows()
    ]
    return pl.Series(shares, dtype=pl.Float64)


def _jaccard(one: list[str], other: list[str]) -> float:
    left, common = Counter(one), 0
    for word in other:
        count = left.get(word, 0)
        if count:
            left[word] = count - 1
            common += 1
    return common / (len(one) + len(other) - common)
