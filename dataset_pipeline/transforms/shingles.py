"""Words of texts as numbers, and the n-grams made of them, for all texts at once.

Lives here: the ragged array (one flat array of 64-bit hashes and where each text begins), words,
n-grams, sets of shingles. Keep out: MinHash (`near`), thresholds and verdicts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline import text

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

TEXTS_AT_ONCE = 50_000
"""Texts whose words are held as strings at a time: bounds memory, changes no result."""


@dataclass(frozen=True)
class Ragged:
    """Rows of different length: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Hashes
    offsets: Indices

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Indices:
        """Number of values of each row."""
        return np.diff(self.offsets)

    def owners(self) -> Indices:
        """The row each value belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def take(self, rows: Indices) -> Ragged:
        """The given rows, in the given order; a row may be asked for twice."""
        lengths = self.lengths[rows]
        return Ragged(self.values[spread(self.offsets[rows], lengths)], offsets_of(lengths))


def offsets_of(lengths: Indices) -> Indices:
    """Offsets of rows of these lengths."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def spread(starts: Indices, lengths: Indices) -> Indices:
    """The ranges start … start + length - 1, one after the other: spread([5, 9], [2, 1]) is 5, 6, 9."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places: Indices = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return places


def concat(parts: list[Ragged]) -> Ragged:
    """All rows of all parts."""
    if not parts:
        return Ragged(np.empty(0, np.uint64), np.zeros(1, np.int64))
    return Ragged(
        np.concatenate([part.values for part in parts]),
        offsets_of(np.concatenate([part.lengths for part in parts])),
    )


def mix(values: Hashes) -> Hashes:
    """A fixed bijection of 64-bit numbers that spreads every bit (the splitmix64 finalizer)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _tokens(texts: pl.Series) -> Ragged:
    words = texts.to_frame("text").select(
        text.folded(pl.col("text")).str.extract_all(text.WORD).alias("word")
    )
    lengths = words.select(pl.col("word").list.len().fill_null(0).cast(pl.Int64)).to_series().to_numpy()
    flat = words.select(pl.col("word").explode().drop_nulls())
    # Each distinct word is hashed once: Python sees thousands of words, not millions.
    distinct = flat.unique()
    known = distinct.with_columns(
        hash=pl.Series([_word_hash(word) for word in distinct["word"]], dtype=pl.UInt64)
    )
    hashes = flat.join(known, on="word", how="left", maintain_order="left")["hash"].to_numpy()
    return Ragged(hashes.astype(np.uint64), offsets_of(lengths))


def tokens(texts: pl.Series) -> Ragged:
    """The words of each text as 64-bit hashes, in text order.

    texts: String; null has no words. Words are those of `text.folded` and `text.WORD`, so equal
    comparison keys mean equal words.
    """
    return concat(
        [_tokens(texts.slice(start, TEXTS_AT_ONCE)) for start in range(0, len(texts), TEXTS_AT_ONCE)]
    )


def ngrams(words: Ragged, n: int) -> Ragged:
    """The hashes of every n words in a row, in text order; texts of fewer than n words give none.

    The order of words counts: "a b" and "b a" differ. Raises ValueError where n is below 1.
    """
    if n < 1:
        raise ValueError(f"n-grams need n of at least 1, not {n}")
    lengths = np.maximum(words.lengths - (n - 1), 0)
    count = max(len(words.values) - (n - 1), 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for k in range(n):
        hashes = mix(hashes + words.values[k : k + count] + np.uint64(0x9E3779B97F4A7C15))
    return Ragged(hashes[spread(words.offsets[:-1], lengths)], offsets_of(lengths))


def distinct(rows: Ragged) -> Ragged:
    """Each row as a set: its distinct values, ascending."""
    ordered = pl.DataFrame({"row": rows.owners(), "value": rows.values}).sort("row", "value")
    owners, values = ordered["row"].to_numpy(), ordered["value"].to_numpy()
    first = np.ones(len(values), dtype=bool)
    first[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
    return Ragged(values[first], offsets_of(np.bincount(owners[first], minlength=len(rows))))


def shingle_sets(texts: pl.Series, n: int) -> Ragged:
    """The set of word n-grams of each text; empty where the text has fewer than n words."""
    return distinct(ngrams(tokens(texts), n))
