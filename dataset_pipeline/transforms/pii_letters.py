"""Names that a text itself gives: in its salutation, its closing, its signature, where somebody says who is speaking.

Lives here: which of the words that a form matches are a name. No model, no list of names. Keep out: the forms
(`pii_letter_forms`), where else in the record a name stands (`pii_names`), replacing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from dataset_pipeline.transforms import pii_letter_forms as forms
from dataset_pipeline.transforms.pii_context import stop_words
from dataset_pipeline.transforms.pii_names import NEVER_ALONE, ORDINARY_WORDS

_WORDS = re.compile(r"[^\W\d_]+")
_FIRST_WORD = re.compile(r"[ \t>*\"'\u201c(]{0,12}([^\W\d_]{1,24})(?![^\W\d_])")
_HI = re.compile(r"hi+|hey+")
_DASHES = re.compile(r"[ \t>]*[-\u2013\u2014~]")
_BLANKS = re.compile(r"\s*")
_SENTENCE_ENDS = re.compile(r"[\n.!?:\"]")
_SIGNED_OFF_CHARS = 120
"""Longer ends of a text are no name and the words before it."""
_NAME_CHARS = 40
_SOMEBODY = re.compile(r"\b(?:i|i'm|i've|me|my|us|we|our|ich|mir|mich|je|moi|yo)\b", re.IGNORECASE)
_MOST_LOWER_WORDS = 3
_MARKS = " \t>*\"'\u201c("
_INNER_CAPITAL = re.compile(
    r"(?<![^\W\d_])(?!M[ac]|D[aei]|L[aei]|Fitz|Van|O['\u2019])[^\W\d_]*[^\W\d_A-Z][A-Z]"
)
"""As in names of products (CarPlay), and not in names of persons (McDonald, LeBlanc)."""

Place = tuple[int, int]


def named_in(text: str) -> list[Place]:
    """Where the text names who writes or is written to: start and end of each name, in order, without titles."""
    text = text.replace("\\n", " \n")  # in JSON within a text lines end so
    found = {
        place
        for form, start in _begins(text)
        if (match := form.match(text, start)) is not None
        for place in _of(form, match)
    }
    kept: list[Place] = []
    for start, end in sorted(found, key=lambda place: (place[0], -place[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _begins(text: str) -> Iterator[tuple[re.Pattern[str], int]]:
    """The forms that `text` may hold, each with the place from which on it is to be matched.

    Most of a text begins none: first words are looked up, which costs a tenth of trying every form at every place.
    """
    lowered = text.replace("\u2019", "'").replace("\n", " ").lower()
    if len(lowered) != len(text):  # two letters are lower-cased to two characters
        lowered = "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
    yield forms.FIRST_LINE, 0
    yield from _of_lines(text, lowered)
    for end in (0, *(mark.end() for mark in _SENTENCE_ENDS.finditer(text))):
        word = _FIRST_WORD.match(lowered, end)
        if word and word.group(1) in forms.CLOSING_WORDS:
            yield forms.CLOSING, end
            yield forms.CLOSING_ALONE, end
        if word and word.group(1) in forms.GREETING_WORDS:
            yield forms.SALUTATION_WITHIN, end
        if len(text) - end < _SIGNED_OFF_CHARS and text[end - 1 : end] in (".", "!", "?"):
            yield forms.SIGNED_OFF, end
            yield forms.DASHED_OFF, end
    if "\n" in text:
        yield forms.ABOVE_A_POST, 0
        for block in forms.BLOCKS.finditer(text):
            yield forms.IN_BARS, block.end()
            yield forms.ABOVE_A_POST, block.end()
            if len(text) - block.end() < _SIGNED_OFF_CHARS and _is_said(text[: block.start()]):
                yield forms.LAST_LINE, block.end()
    for words in forms.SPOKEN:
        start = lowered.find(words)
        while start >= 0:
            if not lowered[start - 1 : start].isalnum():
                yield from ((form, start) for form in (forms.CALLED, forms.SPEAKING, forms.PRESENTED))
            start = lowered.find(words, start + 1)
    for words in (" here", " speaking"):
        start = lowered.find(words)
        while start >= 0:
            begin = max(lowered.rfind(mark, max(0, start - _NAME_CHARS), start) for mark in ",.!?") + 1
            yield forms.NAME_HERE, _BLANKS.match(text, begin).end()  # type: ignore[union-attr]
            start = lowered.find(words, start + 1)


def _is_said(before: str) -> bool:
    """Whether somebody speaks of themselves before the last line, and has come to an end: no list, no heading."""
    return before.rstrip()[-1:] in (".", "!", "?", ")") and _SOMEBODY.search(before) is not None


def _of_lines(text: str, lowered: str) -> Iterator[tuple[re.Pattern[str], int]]:
    start = 0
    while start >= 0:
        end = text.find("\n", start)
        word = _FIRST_WORD.match(lowered, start)
        if word:
            if word.group(1) in forms.GREETING_WORDS or _HI.fullmatch(word.group(1)):
                yield forms.SALUTATION, start
            if word.group(1) in forms.TITLE_WORDS:
                yield forms.TITLED_LINE, start
            if end >= 0 and text[start:end].rstrip().endswith(","):
                yield forms.CLOSING_LINE, start
        elif _DASHES.match(text, start):
            yield forms.DASHED, start
        start = end + 1 if end >= 0 else -1


def _of(form: re.Pattern[str], match: re.Match[str]) -> Iterator[Place]:
    start, parts = match.start("names"), list(_parts(match.group("names")))
    for part in parts[:1] if form in forms.INTRODUCTIONS else parts:
        place = _named(match.string, start + part[0], start + part[1], form)
        if place is not None:
            yield place


def _parts(names: str) -> Iterator[Place]:
    """The single names of 'Anna and Mr. Tom Fox'."""
    position = 0
    for gap in [*forms.AND.finditer(names), None]:
        end = gap.start() if gap else len(names)
        if position < end:
            yield position, end
        position = gap.end() if gap else end


def _named(text: str, start: int, end: int, form: re.Pattern[str]) -> Place | None:
    """The name within, without titles; None where the words are no name's."""
    if greeted := forms.GREETED.match(text, start, end):
        start = greeted.end()
    if title := forms.TITLES.match(text, start, end):
        start = title.end()
    is_introduction = form in forms.INTRODUCTIONS
    said = _WORDS.findall(text[start:end].lower())
    if not is_introduction and any(word in forms.NOT_NAMES or forms.OF_A_BODY.search(word) for word in said):
        return None
    words = list(re.finditer(r"\S+", text[start:end]))
    if form in forms.CLOSINGS:
        # 'Thanks, Jo at the desk'
        words = list(itertools.takewhile(lambda word: word.group() not in ("at", "from", "and"), words))
    taken = _capitalised(words, title is not None)
    if not taken and form in forms.MAY_BE_LOWER:
        taken = _lower(text, start, end, words, form, title is not None)
    may_go_on = is_introduction and form is not forms.NAME_HERE
    if not taken or (not may_go_on and len(taken) < len(words)):
        return None
    name = text[start : start + taken[-1].end()]
    if is_introduction and not _is_presented(name, len(taken), text[end : end + 1], form):
        return None
    if (
        sum(map(str.isalpha, name)) < 2
        or name.lower().strip(".") in NEVER_ALONE
        or _INNER_CAPITAL.search(name)
    ):
        return None
    is_initial = len(taken[-1].group()) <= 2
    return start, start + len(name if is_initial else name.rstrip(".,'\u2019"))


def _capitalised(words: list[re.Match[str]], is_titled: bool) -> list[re.Match[str]]:
    """The words of a name from the first on: with capitals, and the particles between them."""
    taken: list[re.Match[str]] = []
    for word in words:
        bare = word.group().strip(".,'\u2019").lower()
        is_particle = bool(taken or is_titled) and bare in forms.PARTICLES
        if bare in forms.NOT_NAMES or not (word.group()[0].isupper() or is_particle):
            break
        taken.append(word)
    while taken and taken[-1].group().lower() in forms.PARTICLES:
        taken.pop()
    return taken


def _lower(
    text: str, start: int, end: int, words: list[re.Match[str]], form: re.Pattern[str], is_titled: bool
) -> list[re.Match[str]]:
    """'hi jonas,': words in small letters none of which is ordinary, where what stands around leaves no other reading.

    Who writes the greeting with a capital writes the name so, too.
    """
    before, after = text[max(0, start - 4) : start], text[end : end + 1]
    line = text[text.rfind("\n", 0, start) + 1 : start].lstrip(_MARKS)
    most = 1
    if form is forms.CLOSING:
        if "\n" in before:
            most = _MOST_LOWER_WORDS
        elif before.rstrip()[-1:] != ",":
            return []
    elif line[:1].isupper() and form is not forms.CALLED and not is_titled:
        return []
    if len(words) > most or not (is_titled or after in ("", ",", "\n", "!", ":", " ")):
        return []
    for word in words:
        plain = re.sub("['\u2019.,-]", "", word.group())
        is_ordinary = plain in ORDINARY_WORDS or plain in stop_words() or plain.endswith("ly")
        if len(plain) < 3 or not plain.isalpha() or is_ordinary:
            return []
    return words


def _is_presented(name: str, words: int, after: str, form: re.Pattern[str]) -> bool:
    """Whether somebody gives this name: no nation, no word in capitals, nothing that belongs to a thing."""
    if (name.isupper() and len(name) > 3) or forms.NATION.match(name) or re.search("['\u2019]s$", name):
        return False
    if form is forms.NAME_HERE and name.endswith("ly"):  # generally speaking
        return False
    return form is not forms.PRESENTED or words > 1 or after in (",", " ")
