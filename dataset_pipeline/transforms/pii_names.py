"""Names of persons that a record's own columns give, found in its text. No model, no list of names.

Lives here: which occurrences of a known name are the person. Keep out: other entities, replacing.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FULL_NAME_SCORE = 0.9
PART_SCORE = 0.8

MIN_PART_LETTERS = 3

_NEVER_ALONE = frozenset(
    """
    mr mrs ms miss mx dr prof sir dame lady lord phd jun sen jnr snr junior senior the and
    van von der den des del della dela dos das los las ben bin ibn abu mac ter ten zur zum vom san santa saint
    """.split()  # noqa: SIM905
)
"""Titles and particles: parts of names that name nobody."""

_ALSO_WORDS = frozenset(
    """
    will may mark bill grant hope grace joy art rose frank faith april june august summer dawn eve guy pat rob
    sue drew chase page price king long young white black brown green gray day moon rich love best new hill
    field wood stone bush rain snow cook baker miller smith walker carter hunter good little major iris ivy
    lily daisy dean earl gene jack jean misty norm penny ray ruby sandy stew victor wade ward west north
    """.split()  # noqa: SIM905
)
"""Names that begin sentences as ordinary words: alone, they count only where a capital is a choice."""

_OPENING = " \t\"'([*-\u201c\u2018"
_SENTENCE_ENDS = ".!?:\n\u2026"


@lru_cache(maxsize=4096)
def _patterns(name: str) -> tuple[re.Pattern[str] | None, tuple[re.Pattern[str], ...]]:
    """The pattern of the whole name (None where only parts count), and those of its parts."""
    words = unicodedata.normalize("NFC", name).replace(",", " ").split()
    letters = sum(1 for char in name if char.isalpha())
    is_handle = len(words) == 1 and any(char.isdigit() for char in name) and letters >= 1
    is_uncased = letters > 1 and name.upper() == name.lower()
    whole = None
    if is_uncased and words:
        whole = re.compile(r"\s*".join(map(re.escape, words)))
    elif (len(words) > 1 and letters > 2) or is_handle:
        whole = re.compile(r"(?<!\w)" + r"\s+".join(map(_flexible, words)) + r"(?!\w)", re.IGNORECASE)
    parts = [] if is_uncased else [word.strip(".'\u2019\"()") for word in words]
    alone = sorted(
        {
            part
            for part in parts
            if sum(map(str.isalpha, part)) >= MIN_PART_LETTERS
            and not any(map(str.isdigit, part))
            and part.lower() not in _NEVER_ALONE
        }
    )
    return whole, tuple(re.compile(rf"(?<!\w){_flexible(part)}(?!\w)", re.IGNORECASE) for part in alone)


def _flexible(word: str) -> str:
    """A word of a name as a pattern: either apostrophe."""
    return re.sub("['\u2019]", "['\u2019]", re.escape(word))


def find_names(text: str, names: tuple[str, ...]) -> list[tuple[int, int, float]]:
    """Start, end and score of each occurrence of `names` in `text`, sorted; they may overlap.

    The whole name counts in any case. A part of at least three letters counts where it is written with
    a capital; one that is also an ordinary word not where a capital says nothing (at the start of a
    sentence, among capitals). Names in scripts without capitals count as they are. Occurrences with
    only white space between them are one.
    """
    found: dict[tuple[int, int], float] = {}
    for name in names:
        whole, parts = _patterns(name)
        if whole is not None:
            found |= {match.span(): FULL_NAME_SCORE for match in whole.finditer(text)}
        for part in parts:
            for match in part.finditer(text):
                if _is_the_person(text, match):
                    found.setdefault(match.span(), PART_SCORE)
    return _merged(text, sorted((start, end, score) for (start, end), score in found.items()))


def _is_the_person(text: str, match: re.Match[str]) -> bool:
    word = match.group()
    if not word[0].isupper():
        return False
    if word.lower() not in _ALSO_WORDS:
        return True
    before = text[: match.start()].rstrip(_OPENING)
    return not word.isupper() and before != "" and before[-1] not in _SENTENCE_ENDS


def _merged(text: str, spans: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    merged: list[tuple[int, int, float]] = []
    for start, end, score in spans:
        if merged and (start < merged[-1][1] or not text[merged[-1][1] : start].strip()):
            first, last, known = merged[-1]
            merged[-1] = (first, max(last, end), max(known, score))
        else:
            merged.append((start, end, score))
    return merged
