"""Names of persons that are known, found in a text in all their parts and cases. No model, no list of names.

Lives here: which occurrences of a known name are the person. Keep out: where names are known from (a record's columns,
`pii_letters`), other entities, replacing.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FULL_NAME_SCORE = 0.9
PART_SCORE = 0.8

MIN_PART_LETTERS = 3
MIN_LOWER_LETTERS = 4
"""Of a part that is written small: 'max' and 'jan' are words before they are names."""
MIN_JOINED_LETTERS = 7
"""Of a whole name without anything between its words, as in a handle."""

NEVER_ALONE = frozenset(
    """
    mr mrs ms miss mx dr prof sir dame lady lord phd jun sen jnr snr junior senior the and
    van von der den des del della dela dos das los las ben bin ibn abu mac ter ten zur zum vom san santa saint
    team support service services sales billing office info admin customer department user guest anonymous unknown none null
    test account accounts company gmbh ltd inc llc group
    """.split()  # noqa: SIM905
)
"""Titles, particles and what stands in columns of names for nobody: parts that name no person."""

ORDINARY_WORDS = frozenset(
    """
    will may mark bill grant hope grace joy art rose frank faith april june august summer dawn eve guy pat rob
    sue drew chase page price king long young white black brown green gray grey day moon rich love best new hill
    field wood stone bush rain snow cook baker miller smith walker carter hunter good little major iris ivy
    lily daisy dean earl gene jack jean misty norm penny ray ruby sandy stew victor wade ward west north
    max jan jay jade amber pearl crystal star sky sunny river brook forest heath heather holly hazel olive basil sage
    rosemary fern flora laurel violet jasmine jewel destiny harmony melody charity constance patience mercy noble royal
    prince princess duke baron marshal bishop pope abbot deacon priest monk knight squire archer sawyer turner potter
    weaver tailor mason porter butler cooper gardener farmer shepherd barber brewer butcher clerk constable draper
    fisher fowler fuller glover goldsmith judge law leader mercer painter piper player proctor sailor singer skinner
    tanner usher warden wheeler wright christian jordan chelsea paris london madison austin dallas houston denver
    lincoln washington phoenix brooklyn florence victoria sydney milan vienna israel france germany china india ireland
    savannah carolina georgia virginia dakota montana nevada nick rick chuck buck buddy sonny skip chip dale cliff clay
    rusty dusty harry dick randy peg patty candy ginger cherry peach angel autumn winter spring sterling silver golden
    gold steel brass cotton silk wolf lion bear hawk eagle swan crane finch robin martin wren dove drake bird fish bass
    pike rock sand hills mount vale fields meadow meadows lake lakes pond pool brooks rivers banks shore beach wells
    well fountain bridge bridges church temple abbey castle hall house mills mill parks park gates gate street lane way
    cross short small large strong weak early late week frost winters storm gale wind blue read reed case cash change
    close combs cope cost craft cutter doll dear ease fair fine flowers flood ford free french game gentle glass goes
    grand guest hand hands hardy head heard hood horn huff hunt hurst keen kind kitchen land lark list loan lock lord
    love lover marsh match means merry mighty moss nail neat neighbors nice noon oaks pain paine pack paper peace person
    pick pitts plum poor post powers pride purse quick ramp rand rider ring rooms ross rush sharp shine sides silence
    simple speed spice stark still stern story stroud swift tall teal tell terry tiger todd toll trusty vice wise
    wish witty woody worth yard zero tara viola dot art mike bob tom peter
    klein gross lang kurz jung alt neu schwarz weiss braun rot frei froh ernst lieb gut stark stolz petit grand
    """.split()  # noqa: SIM905
)
"""Names that are ordinary words as well: alone they count only where a capital is a choice."""

_OPENING = " \t\"'([*-\u201c\u2018"
_SENTENCE_ENDS = ".!?:\n\u2026"
_WRITTEN_OUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "ß": "ss"}  # spellchecker:disable-line
_VARIED = re.compile("['\u2019()\"äöüøåßÄÖÜØÅ]")
_BETWEEN = r"(?:[ \t\r\n\u00a0]+|[._-])"
_INITIAL = re.compile(r"(?<!\w)([^\W\d_])\.?[ \t]*$")

Span = tuple[int, int]


class _Bare(dict[int, str]):
    """Each character in small letters and without marks, by its number; itself where that is no single character."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        base = unicodedata.normalize("NFKD", char)[:1].lower()
        found = self[point] = base if len(base) == 1 and base.isalpha() and char.isalpha() else char
        return found


_BARE = _Bare(
    {ord("ø"): "o", ord("Ø"): "o", ord("ł"): "l", ord("Ł"): "l", ord("đ"): "d", ord("Đ"): "d", 0x2019: "'"}
)


def bare(text: str) -> str:
    """`text` in small letters without marks, character for character."""
    return text.translate(_BARE)


@lru_cache(maxsize=4096)
def _patterns(name: str) -> tuple[re.Pattern[str] | None, tuple[re.Pattern[str], ...]]:
    """The pattern of the whole name (None where only parts count), and those of its parts, for a text as `bare` gives it."""
    words = unicodedata.normalize("NFC", name).replace(",", " ").split()
    letters = sum(map(str.isalpha, name))
    is_handle = len(words) == 1 and any(map(str.isdigit, name)) and letters >= 1
    is_uncased = letters > 1 and name.upper() == name.lower()
    whole = None
    if is_uncased and words:
        whole = re.compile(r"\s*".join(re.escape(bare(word)) for word in words))
    elif (len(words) > 1 and letters > 2) or is_handle:
        between = _BETWEEN + ("?" if letters >= MIN_JOINED_LETTERS else "")
        whole = re.compile(r"(?<![^\W_])" + between.join(map(_flexible, words)) + r"(?=s?(?![^\W_]))")
    if all(word.strip(".").lower() in NEVER_ALONE for word in words):
        return None, ()
    alone: set[str] = set()
    for word in () if is_uncased else words:
        for part in {word, *re.split("[-_.]", word)}:
            stripped = part.strip(".'\u2019\"()")
            if (
                sum(map(str.isalpha, stripped)) >= MIN_PART_LETTERS
                and not any(map(str.isdigit, stripped))
                and stripped.lower() not in NEVER_ALONE
            ):
                alone.add(stripped)
    return whole, tuple(re.compile(rf"(?<!\w){_flexible(part)}(?=s?(?!\w))") for part in sorted(alone))


@lru_cache(maxsize=65_536)
def _cores(name: str) -> tuple[str, ...]:
    """Of each word of a name the longest piece that is written in one way only: without one of them in a text the name is not
    there. Looking for them costs a hundredth of making the patterns, and most texts do not name their sender."""
    words = filter(None, re.split(r"[\s,_.-]+", unicodedata.normalize("NFC", name)))
    return tuple(max(map(bare, _VARIED.split(word)), key=len) for word in words)


def _flexible(word: str) -> str:
    """A word of a name as a pattern for a text as `bare` gives it: letters with marks may be written out, apostrophes left out."""
    made = []
    for char in word.lower():
        plain = bare(char)
        if char in ("'", "\u2019"):
            made.append("'?")
        elif char == "-":
            made.append(r"[-\s]")
        elif char in _WRITTEN_OUT:
            made.append(f"(?:{re.escape(plain)}|{_WRITTEN_OUT[char]})")
        else:
            made.append(re.escape(plain))
    return "".join(made)


def find_names(
    text: str, names: tuple[str, ...], guessed: tuple[str, ...] = ()
) -> list[tuple[int, int, float]]:
    """Start, end and score of each occurrence of `names` in `text`, sorted; they do not overlap.

    The whole name counts in any case, with or without marks, as a handle too. A part of at least three letters counts with a
    capital, of four in any case; one that is also an ordinary word only with a capital, and not where a capital says
    nothing (at the start of a sentence, among capitals). Parts of guessed names need their capital. Names in scripts
    without capitals count as they are. Occurrences with only white space between them are one, and an initial of the name
    before one belongs to it.
    """
    found: dict[Span, float] = {}
    view = bare(text)
    for name in dict.fromkeys((*names, *guessed)):
        if not any(core in view for core in _cores(name)):
            continue
        whole, parts = _patterns(name)
        if whole is not None:
            found |= {match.span(): FULL_NAME_SCORE for match in whole.finditer(view)}
        for part in parts:
            for match in part.finditer(view):
                if _is_the_person(text, match.span(), name in names):
                    span = _with_initial(text, match.span(), name)
                    found.setdefault(span, PART_SCORE)
    return _merged(text, sorted((start, end, score) for (start, end), score in found.items()))


def _is_the_person(text: str, span: Span, is_known: bool) -> bool:
    word = text[span[0] : span[1]]
    is_ordinary = word.lower() in ORDINARY_WORDS
    if not word[0].isupper():
        return is_known and not is_ordinary and sum(map(str.isalpha, word)) >= MIN_LOWER_LETTERS
    if not is_ordinary:
        return True
    before = text[: span[0]].rstrip(_OPENING)
    return not word.isupper() and before != "" and before[-1] not in _SENTENCE_ENDS


def _with_initial(text: str, span: Span, name: str) -> Span:
    """'J. Fox' of Jo Fox."""
    initial = _INITIAL.search(text[max(0, span[0] - 4) : span[0]])
    words = name.split()
    if initial is None or len(words) < 2 or bare(initial.group(1)) not in {bare(word[:1]) for word in words}:
        return span
    if not initial.group(1).isupper():
        return span
    return span[0] - len(initial.group()), span[1]


def _merged(text: str, spans: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    merged: list[tuple[int, int, float]] = []
    for start, end, score in spans:
        if merged and (start < merged[-1][1] or not text[merged[-1][1] : start].strip()):
            first, last, known = merged[-1]
            merged[-1] = (first, max(last, end), max(known, score))
        else:
            merged.append((start, end, score))
    return merged
