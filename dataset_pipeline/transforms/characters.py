"""What becomes of each character where words are read: what it folds to, and whether it is of a word.

Lives here: signs of code points, learned as they are met. Keep out: words (`words`), folding itself (`text`).

Folding a text takes five times as long as finding its words, and nearly every character folds by itself: “ to “, É to é.
Those that do not are marked: accents and vowel signs join the letter before them, ß becomes two letters.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline import text

Codes = npt.NDArray[np.uint32]
"""Code points, or their signs."""

CODE = np.uint32((1 << 21) - 1)
"""Bits of a sign that hold what the character folds to."""
IS_WORD = np.uint32(1 << 31)
"""That which it folds to is of a word."""
IS_WORD_ITSELF = np.uint32(1 << 30)
"""The character as it is is of a word."""
WITH_OTHERS = np.uint32(1 << 29)
"""It folds to several characters, or to something else beside another one."""

_KNOWN = np.uint32(1 << 28)
_SPACE = " "
_signs = np.zeros(0x110000, dtype=np.uint32)
"""0: not met yet. Written by any thread: all write the same."""


def signs(codes: Codes) -> Codes:
    """The sign of each code point."""
    found: Codes = _signs[codes]
    unknown = np.flatnonzero(found == 0)
    if len(unknown):
        _learn(np.unique(codes[unknown]))
        found = _signs[codes]
    return found


def _learn(codes: Codes) -> None:
    characters = pl.Series("text", [chr(code) for code in codes])
    folded = characters.to_frame().select(text.folded(pl.col("text"))).to_series()
    # What folds to several signs none of which is of a word (… to ...) only parts words, as a space does.
    lengths = folded.str.len_chars()
    parts = (lengths != 1) & ~folded.str.contains(r"[\p{L}\p{M}\p{N}\p{Pc}\w]")
    folded = pl.select(pl.when(parts).then(pl.lit(_SPACE)).otherwise(folded)).to_series()
    is_single = (folded.str.len_chars() == 1) & ~pl.Series([_joins(c) for c in characters], dtype=pl.Boolean)
    single = is_single.to_numpy()
    values = np.full(len(codes), _KNOWN | WITH_OTHERS, dtype=np.uint32)
    values[single] = [int(_KNOWN) | ord(c) for c in folded.filter(is_single)]
    values[are_word(folded) & single] |= IS_WORD
    values[are_word(characters)] |= IS_WORD_ITSELF
    _signs[codes] = values


def are_word(characters: pl.Series) -> npt.NDArray[np.bool_]:
    """Whether each of these single characters is of a word; false for longer ones."""
    found: npt.NDArray[np.bool_] = (
        (characters.str.contains(f"^{text.WORD}$") & (characters.str.len_chars() == 1))
        .to_numpy()
        .astype(bool)
    )
    return found


def _joins(character: str) -> bool:
    """Whether the character may change what stands before it: marks, Hangul vowels and finals, those not known here.

    Variation selectors are marks that change nothing.
    """
    first = unicodedata.normalize("NFKD", character)[0]
    code = ord(first)
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return False
    is_jamo = 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF
    return (
        unicodedata.category(first)[0] == "M"
        or is_jamo
        or unicodedata.category(first) == "Cn"
        or code in _LATER
    )


_LATER = frozenset((0x16D63, 0x16D67, 0x16D68, 0x16D69, 0x16D6A))
"""Letters that join the one before them, of Unicode 16 (Kirat Rai)."""
