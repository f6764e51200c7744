"""Words of texts as 64-bit hashes, found and hashed on arrays of characters rather than one by one.

Lives here: where words begin and end, their hashes, the table that remembers them. Keep out: n-grams and sets
(`shingles`), what a word is (`text`): this module must agree with `text.folded` and `text.WORD`, and a test holds it to
them.

A word's hash is BLAKE2b of its folded UTF-8, which costs a microsecond of Python; so each distinct word is hashed once.
Which word stands where is told by a polynomial over its characters, 64 bits wide, computed for all words of a block at
once from running sums (as Karp and Rabin do, IBM J. Res. Dev. 31(2), 1987): two words of one polynomial would be taken
for one another, at 2⁻⁶⁰ or so for a pair.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.transforms import characters

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_Reader: TypeAlias = Callable[[pl.Series], tuple[Hashes, Indices]]
Characters = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]
"""ASCII bytes, or code points."""

CHARS_AT_ONCE = 1 << 20
"""Characters of a block. Smaller ones make NumPy calls so short that threads wait for each other; changes no result."""

_BASE = 0xD1342543DE82EF95
"""Odd, so that it has an inverse modulo 2⁶⁴; a multiplier with a good spectrum (Steele and Vigna, arXiv 2001.05304)."""
_INVERSE = pow(_BASE, -1, 1 << 64)
_ASCII = 128
_SEPARATOR = "\n"
_SLOT_BITS = 21
_MOST_WORDS = 1 << 20
"""Distinct words that are remembered: a corpus of numbers and links has no end of them. Then the table begins anew."""


def word_hash(word: str) -> int:
    """The hash of one folded word."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _powers(base: int) -> Hashes:
    values = np.full(CHARS_AT_ONCE, base, dtype=np.uint64)
    values[0] = 1
    return np.multiply.accumulate(values)


def _slots(keys: Hashes) -> Hashes:
    # The first character of a word weighs on the last bits of its polynomial alone: mixed by Fibonacci hashing.
    slots: Hashes = (keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _SLOT_BITS)
    return slots


@dataclass
class _Table:
    """Polynomial of a word to its hash: slots by the first bits, and a sorted rest of those whose slot was taken."""

    keys: Hashes = field(default_factory=lambda: np.zeros(1 << _SLOT_BITS, np.uint64))
    values: Hashes = field(default_factory=lambda: np.zeros(1 << _SLOT_BITS, np.uint64))
    rest: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    rest_values: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    held: int = 0

    def hashes(self, words: _Words) -> Hashes:
        """The hash of each word of a block."""
        slots = _slots(words.keys)
        found = self.values[slots]
        missed = np.flatnonzero(self.keys[slots] != words.keys)
        if not len(missed):
            return found
        keys, first, inverse = np.unique(words.keys[missed], return_index=True, return_inverse=True)
        places = np.searchsorted(self.rest, keys)
        places[places == len(self.rest)] = 0
        known = self.rest[places] == keys if len(self.rest) else np.zeros(len(keys), dtype=bool)
        values = np.zeros(len(keys), dtype=np.uint64)
        values[known] = self.rest_values[places[known]]
        fresh = np.flatnonzero(~known)
        values[fresh] = [word_hash(words.word(int(missed[at]))) for at in first[fresh]]
        if len(fresh):
            self._remember(keys[fresh], values[fresh])
        found[missed] = values[inverse]
        return found

    def _remember(self, keys: Hashes, values: Hashes) -> None:
        if self.held + len(keys) > _MOST_WORDS:
            self.keys[:] = 0
            self.rest, self.rest_values, self.held = self.rest[:0], self.rest_values[:0], 0
        self.held += len(keys)
        slots = _slots(keys)
        free = np.zeros(len(keys), dtype=bool)
        free[np.unique(slots, return_index=True)[1]] = True  # one of a slot's words may have it
        free &= self.keys[slots] == 0
        self.keys[slots[free]], self.values[slots[free]] = keys[free], values[free]
        rest = np.concatenate([self.rest, keys[~free]])
        order = np.argsort(rest)
        self.rest = rest[order]
        self.rest_values = np.concatenate([self.rest_values, values[~free]])[order]


_own = threading.local()
"""A table for each thread: none waits for another, and what is remembered decides nothing."""


def _table() -> _Table:
    if not hasattr(_own, "table"):
        _own.table = _Table()
        _own.powers, _own.inverses = _powers(_BASE), _powers(_INVERSE)
    table: _Table = _own.table
    return table


@dataclass(frozen=True)
class _Words:
    """The words of one block: their polynomials, and where they stand in its folded characters."""

    keys: Hashes
    starts: Indices
    ends: Indices
    folded: Characters

    def word(self, number: int) -> str:
        """One word, as text."""
        codes = self.folded[self.starts[number] : self.ends[number]]
        return codes.tobytes().decode("ascii" if codes.dtype == np.uint8 else "utf-32-le")


def _ascii_tables() -> tuple[bytes, bytes]:
    every = pl.Series([chr(code) for code in range(_ASCII)])
    is_word = characters.are_word(every).tobytes() + bytes(256 - _ASCII)
    return bytes(range(256)).lower(), is_word


_LOWER, _ASCII_WORD = _ascii_tables()
"""For `bytes.translate`, which is several times as fast as looking up in an array."""


def _polynomials(folded: Characters, starts: Indices, ends: Indices) -> Hashes:
    """Σ character · base^i over the characters of each word, i counted from the word's beginning.

    A text longer than a block is summed up a stretch at a time; a word may go on in the next one.
    """
    inverses: Hashes = _own.inverses
    powers: Hashes = _own.powers
    found = np.zeros(len(starts), dtype=np.uint64)
    for lo in range(0, len(folded), CHARS_AT_ONCE):
        part = folded[lo : lo + CHARS_AT_ONCE]
        sums = np.zeros(len(part) + 1, dtype=np.uint64)
        np.cumsum(part * powers[: len(part)], out=sums[1:])
        begun, ended = np.searchsorted(ends, lo, side="right"), np.searchsorted(starts, lo + len(part))
        here = slice(int(begun), int(ended))
        first, last = np.maximum(starts[here] - lo, 0), np.minimum(ends[here] - lo, len(part))
        pieces = (sums[last] - sums[first]) * inverses[first]
        if len(pieces) and starts[begun] < lo:
            pieces[:1] *= np.uint64(pow(_BASE, lo - int(starts[begun]), 1 << 64))
        found[here] += pieces
    return found


def _hashed(folded: Characters, is_word: Bools, lengths: pl.Series) -> tuple[Hashes, Indices]:
    """Hashes of all words of some texts, end to end, and how many each has.

    folded, is_word: the characters of the texts, with a separator around each; lengths: how many each text has.
    """
    table = _table()
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    words = _Words(_polynomials(folded, starts, ends), starts, ends, folded)
    # A text ends before the separator at its bound.
    return table.hashes(words), np.diff(np.searchsorted(starts, _bounds(lengths)), prepend=0)


def _bounds(lengths: pl.Series) -> Indices:
    bounds: Indices = np.cumsum(lengths.to_numpy().astype(np.int64) + 1)
    return bounds


def _joined(texts: pl.Series) -> str:
    return _SEPARATOR + (texts.str.join(_SEPARATOR).item() or "") + _SEPARATOR


def _codes(texts: pl.Series) -> characters.Codes:
    return np.frombuffer(_joined(texts).encode("utf-32-le"), dtype=np.uint32)


def _ascii(texts: pl.Series) -> tuple[Hashes, Indices]:
    """Words of texts of ASCII alone, which are read as bytes."""
    raw = _joined(texts).encode("ascii")
    is_word = np.frombuffer(raw.translate(_ASCII_WORD), dtype=np.bool_)
    folded = np.frombuffer(raw.translate(_LOWER), dtype=np.uint8)
    return _hashed(folded, is_word, texts.str.len_bytes())


def _wide(texts: pl.Series) -> tuple[Hashes, Indices]:
    """Words of texts in any script: folded sign by sign, but for texts with signs that fold together."""
    signs = characters.signs(_codes(texts))
    joining = np.flatnonzero(signs & characters.WITH_OTHERS)
    if len(joining):
        joins = np.zeros(len(texts), dtype=bool)
        joins[np.searchsorted(_bounds(texts.str.len_chars()), joining)] = True
        return _parted(texts, joins, _folded, _wide)
    return _hashed(signs & characters.CODE, signs >= characters.IS_WORD, texts.str.len_chars())


def _folded(texts: pl.Series) -> tuple[Hashes, Indices]:
    folded = texts.to_frame("text").select(text.folded(pl.col("text"))).to_series()
    codes = _codes(folded)
    is_word = (characters.signs(codes) & characters.IS_WORD_ITSELF) != 0
    return _hashed(codes, is_word, folded.str.len_chars())


def _parted(texts: pl.Series, is_one: Bools, one: _Reader, other: _Reader) -> tuple[Hashes, Indices]:
    """Some texts read in one way and the rest in another, their words in the order of the texts."""
    if is_one.all():
        return one(texts)
    if not is_one.any():
        return other(texts)
    counts = np.empty(len(texts), dtype=np.int64)
    ones, counts[is_one] = one(texts.filter(is_one))
    others, counts[~is_one] = other(texts.filter(~is_one))
    hashes = np.empty(int(counts.sum()), dtype=np.uint64)
    of_one = np.repeat(is_one, counts)
    hashes[of_one], hashes[~of_one] = ones, others
    return hashes, counts


def words_of(texts: pl.Series) -> tuple[Hashes, Indices]:
    """The words of texts as hashes, end to end in text order, and how many each text has.

    texts: String, without nulls; about CHARS_AT_ONCE characters of them are handed in at a time (more is right too, and
    slower). Those of ASCII alone, most of English, are read as bytes.
    """
    if not len(texts):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    is_ascii = (texts.str.len_bytes() == texts.str.len_chars()).to_numpy()
    return _parted(texts, is_ascii, _ascii, _wide)
