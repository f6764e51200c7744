"""Words of texts as numbers, and the n-grams made of them, for all texts at once.

Lives here: the ragged array (one flat array of 64-bit hashes and where each text begins), n-grams, sets of shingles.
Keep out: where words begin and end (`words`), MinHash (`near`), thresholds and verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from dataset_pipeline.transforms.blocks import blocks, in_order
from dataset_pipeline.transforms.words import Hashes as Hashes
from dataset_pipeline.transforms.words import Indices as Indices
from dataset_pipeline.transforms.words import words_of


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


Whole = TypeVar("Whole", Hashes, Indices)


def ascending(values: Whole) -> Whole:
    """The distinct values, ascending. `np.unique` hashes whole numbers, which takes 20 times as long (NumPy 2.4, AVX-512)."""
    ordered = np.sort(values)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))]


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
    mixed = values >> np.uint64(30)
    mixed ^= values
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    shifted = mixed >> np.uint64(27)
    mixed ^= shifted
    mixed *= np.uint64(0x94D049BB133111EB)
    np.right_shift(mixed, np.uint64(31), out=shifted)
    mixed ^= shifted
    return mixed


def words(texts: pl.Series) -> Ragged:
    """The words of one block of texts as 64-bit hashes, in text order; null has none."""
    hashes, counts = words_of(texts.fill_null(""))
    return Ragged(hashes, offsets_of(counts))


def tokens(texts: pl.Series) -> Ragged:
    """The words of each text as 64-bit hashes, in text order.

    texts: String; null has no words. Words are those of `text.folded` and `text.WORD`, so equal
    comparison keys mean equal words.
    """
    return concat(list(in_order(words, blocks(texts))))


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


_OWNER_BITS = 10
KEPT_BITS = np.uint64(2**64 - 2**_OWNER_BITS)
"""Bits of a value that a set keeps."""
_ROWS_AT_ONCE = 1 << _OWNER_BITS
_VALUES_AT_ONCE = 1 << 17


def _packed(rows: Ragged, lo: int, hi: int) -> Hashes:
    """Rows lo … hi - 1, at most _ROWS_AT_ONCE: the row in the first bits of each value, its own first bits behind them."""
    owners = np.repeat(np.arange(hi - lo, dtype=np.uint64), rows.lengths[lo:hi])
    values = rows.values[rows.offsets[lo] : rows.offsets[hi]] >> np.uint64(_OWNER_BITS)
    return (owners << np.uint64(64 - _OWNER_BITS)) | values


def _runs(rows: Ragged) -> list[tuple[int, int]]:
    """Ranges of rows of at most _ROWS_AT_ONCE rows and about _VALUES_AT_ONCE values."""
    found, lo = [], 0
    while lo < len(rows):
        hi = int(np.searchsorted(rows.offsets, rows.offsets[lo] + _VALUES_AT_ONCE, side="right")) - 1
        hi = min(max(hi, lo + 1), lo + _ROWS_AT_ONCE, len(rows))
        found.append((lo, hi))
        lo = hi
    return found


def distinct_counts(rows: Ragged) -> Indices:
    """How many distinct values each row has. Values that agree in their first 54 bits count as one."""
    counts = [np.empty(0, np.int64)]
    for lo, hi in _runs(rows):
        packed = ascending(_packed(rows, lo, hi))
        owners = (packed >> np.uint64(64 - _OWNER_BITS)).astype(np.int64)
        counts.append(np.bincount(owners, minlength=hi - lo))
    return np.concatenate(counts)


def distinct(rows: Ragged) -> Ragged:
    """Each row as a set: KEPT_BITS of its distinct values, ascending. Values that agree in these are one."""
    parts = []
    for lo, hi in _runs(rows):
        packed = ascending(_packed(rows, lo, hi))
        owners = (packed >> np.uint64(64 - _OWNER_BITS)).astype(np.int64)
        counts = np.bincount(owners, minlength=hi - lo)
        parts.append(Ragged(packed << np.uint64(_OWNER_BITS), offsets_of(counts)))
    return concat(parts)


def short_texts(texts: pl.Series, n: int) -> tuple[Indices, Hashes]:
    """The texts of 1 to n - 1 words, and for each one hash of all its words in order: equal words, equal hash."""
    rows = tokens(texts)
    found = [np.flatnonzero(rows.lengths == length) for length in range(1, n)]
    hashes = [ngrams(rows.take(own), length).values for length, own in enumerate(found, 1)]
    return np.concatenate([np.empty(0, np.int64), *found]), np.concatenate([np.empty(0, np.uint64), *hashes])


def shingle_sets(texts: pl.Series, n: int) -> Ragged:
    """The set of word n-grams of each text; empty where the text has fewer than n words."""
    return concat(list(in_order(lambda part: distinct(ngrams(words(part), n)), blocks(texts))))
