"""Whether a word before a finding speaks for it, as Presidio's enhancer decides with our tokens; the text's other words are not read.

Lives here: tokens, the words that count as context, a score that they raise. Keep out: recognizers, the engine
(`pii.analyzed` asks Presidio itself, and a test holds the two equal).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MIN_SCORE = 0.4
"""Presidio's own floor for a finding that a context word supports."""
RAISE = 0.35
"""What a context word adds to a score, and:"""
WORDS_BEFORE = 6
"""so many words are read, the one that holds the start of the finding among them. Presidio's own choices."""

TOKEN = re.compile(r"\w+|\s+|[^\w\s]+")
_WINDOW_CHARS = 120


@lru_cache(maxsize=1)
def stop_words() -> frozenset[str]:
    from spacy.lang.en.stop_words import STOP_WORDS

    return frozenset(STOP_WORDS)


def is_keyword(word: str, context: Collection[str]) -> bool:
    """Whether a lower-cased word counts: no stop word but where it is a context word itself (spaCy lists 'call')."""
    return word != "be" and (word in context or word not in stop_words())


def is_supported(text: str, start: int, context: Collection[str], every_context: Collection[str]) -> bool:
    """Whether one of `context` is among the last words that count up to the one at `start`.

    every_context: the context words of all recognizers; they are no stop words for any of them.
    """
    chars = _WINDOW_CHARS
    while True:
        words, is_all = _words_before(text, start, chars, every_context)
        if is_all or len(words) >= WORDS_BEFORE:
            return any(word in context for word in words[-WORDS_BEFORE:])
        chars *= 4


def _words_before(
    text: str, start: int, chars: int, every_context: Collection[str]
) -> tuple[list[str], bool]:
    """The words that count, from so many characters before `start` on; and whether these are all there are."""
    begin = max(0, start - chars)
    words = []
    is_cut = begin > 0
    for token in TOKEN.finditer(text, begin):
        if is_cut:
            is_cut = False  # the first may have begun before
        else:
            word = token.group().lower()
            if any(map(str.isalnum, word)) and is_keyword(word, every_context):
                words.append(word)
        if token.end() > start:
            break
    return words, begin == 0


def raised(score: float) -> float:
    """A score that a context word supports."""
    return min(max(score + RAISE, MIN_SCORE), 1.0)
