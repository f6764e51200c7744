"""Characters that show nothing: which of them mean something where they stand, and which go.

Lives here: default-ignorable and format characters (Unicode's Default_Ignorable_Code_Point and category Cf), and those
that order right-to-left text. Keep out: control characters and line breaks (`cleaning`), what looks like another letter
(`confusables`).

Never touched, since something is shown or nobody but a font knows: private use, unassigned letters, the replacement
character, the Braille blank, signs of Arabic, Syriac and Kaithi that stand before numbers, controls of Egyptian
hieroglyphs, and stacks of combining marks, however high.
"""

from __future__ import annotations

import re
import unicodedata

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_MARKS = frozenset("\u061c\u200e\u200f")
_ISOLATES, _END_OF_ISOLATE = frozenset("\u2066\u2067\u2068"), "\u2069"
_EMBEDDINGS, _END_OF_EMBEDDING = frozenset("\u202a\u202b"), "\u202c"
_BIDI = re.compile(f"[{BIDIRECTIONAL}]")
_RIGHT_TO_LEFT = re.compile(
    "[\u05d0-\u05f2\u0620-\u064a\u066e-\u06d5\u06ee-\u06ff\u070d-\u08c9\ufb1d-\ufdfb\ufe70-\ufefc"
    "\U00010800-\U00010fff\U0001e800-\U0001efff]"
)

# Of the rest what is not named in `_keeps` always goes: soft hyphens, word joiners and byte order marks
# steer line breaks or bytes; invisible operators tell a program what a reader sees anyway; the annotation
# marks and the object replacement belong to a document that is not here; U+206A-206F are deprecated;
# Khmer U+17B4-17B5 are discouraged and shown by no font; U+2065, U+FFF0-FFF8 and most of plane 14 are nothing.
UNSEEN = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffc\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Both are insides of a character class."""
_UNSEEN = re.compile(f"[{UNSEEN}]+")
_JOINING = re.compile(
    "[\u0591-\u05c7\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
"""Arabic and its kin, the scripts of India and South East Asia, Mongolian: joiners shape letters there; beside the points
of Hebrew they say where a point stands."""
_UNSPACED = re.compile(
    "[\u0e01-\u0e4e\u0e81-\u0ecd\u0edc-\u0edf\u1000-\u109f\u1780-\u17d3\u1950-\u19df\u1a20-\u1aad\ua9e0-\ua9fe\uaa60-\uaadf"
    "\U00011700-\U0001173f]"
)
"""Thai, Lao, Burmese, Khmer, Tai: written without spaces, so that a zero-width space is the end of a word."""
_MUSIC = re.compile("[\U0001d100-\U0001d172\U0001d17b-\U0001d1ff]")
_FLAG = re.compile("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
"""After a black flag: a region and its part (UTS 51), as in the flag of Scotland."""


def without_bidirectional(text: str) -> tuple[str, int]:
    """`text` without the characters that order it where they order nothing, and how many went.

    Without a letter that is read from right to left all of them go: there they only hide what a line says.
    With one, marks stay, and isolates and embeddings that are closed in their line. Overrides never stay:
    they show letters in an order in which nobody wrote them.
    """
    if _BIDI.search(text) is None:
        return text, 0
    if _RIGHT_TO_LEFT.search(text) is None:
        return _BIDI.subn("", text)
    kept = "\n".join(_balanced(line) if _BIDI.search(line) else line for line in text.split("\n"))
    return kept, len(text) - len(kept)


def _balanced(line: str) -> str:
    """Marks, and pairs that are closed: an isolate closes what was opened within it, as the algorithm has it."""
    spare: set[int] = set()
    opened: list[tuple[int, str]] = []
    for place, char in enumerate(line):
        if _BIDI.match(char) is None or char in _MARKS:
            continue
        if char == _END_OF_ISOLATE:
            if any(other in _ISOLATES for _, other in opened):
                while opened[-1][1] not in _ISOLATES:
                    spare.add(opened.pop()[0])
                opened.pop()
            else:
                spare.add(place)
        elif char == _END_OF_EMBEDDING:
            if not opened or opened[-1][1] in _ISOLATES:
                spare.add(place)
            elif opened[-1][1] in _EMBEDDINGS:
                opened.pop()
            else:
                spare |= {opened.pop()[0], place}
        else:
            opened.append((place, char))
    spare |= {place for place, _ in opened}
    return "".join(char for place, char in enumerate(line) if place not in spare)


def without_invisible(text: str) -> tuple[str, int]:
    """`text` without the other characters that show nothing and mean nothing, and how many went."""
    if _UNSEEN.search(text) is None:
        return text, 0
    shown = _UNSEEN.sub(lambda run: _shown(run, text), text)
    return shown, len(text) - len(shown)


def _shown(run: re.Match[str], text: str) -> str:
    """What of one run of unseen characters stays."""
    start, end = run.span()
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    if before == "\U0001f3f4" and (flag := _FLAG.match(text, start, end)):
        before, start = before + flag.group(), flag.end()
    kept = before
    for place in range(start, end):
        char = text[place]
        following = text[place + 1 : place + 2] or after
        if _keeps(char, kept, following, text):
            kept += char
    return kept[1:] if text[max(run.start() - 1, 0) : run.start()] else kept


def _keeps(char: str, kept: str, following: str, text: str) -> bool:
    """Whether `char` means something after the end of `kept` and before `following`."""
    previous = kept[-1:]
    if char in "\u200c\u200d":
        return _joins(char, kept, following)
    if not previous:
        return char in "\U0001d173\U0001d175\U0001d177\U0001d179" and _MUSIC.search(text) is not None
    if char == "\u200b":
        return bool(_UNSPACED.match(previous) and _UNSPACED.match(following))
    if "\ufe00" <= char <= "\ufe0f":
        return _has_variants(previous)
    if "\U000e0100" <= char <= "\U000e01ef":
        return unicodedata.name(previous, "").startswith("CJK")
    if "\u180b" <= char <= "\u180f":  # of Mongolian letters: their form, and the vowel that stands apart
        return "\u1800" <= previous <= "\u18aa"
    if (
        char == "\u034f"
    ):  # between marks, or a letter and its mark: keeps their order, which would be another word's
        return unicodedata.category(previous)[0] in "LM" and bool(
            following and unicodedata.combining(following)
        )
    if char in "\u115f\u1160\u3164\uffa0":
        return _fills(char, previous, following)
    if "\U0001bca0" <= char <= "\U0001bca3":
        return "\U0001bc00" <= previous <= "\U0001bca3"
    if "\U0001d173" <= char <= "\U0001d17a":  # beams, ties and slurs
        return _MUSIC.search(text) is not None
    return False


def _fills(filler: str, previous: str, following: str) -> bool:
    """Whether a Hangul filler stands for a letter that a syllable lacks: alone it is a name that nobody sees."""
    if filler == "\u115f":
        return "\u1160" <= following <= "\u11a7"
    if filler == "\u1160":
        return "\u1100" <= previous <= "\u115e" or "\u11a8" <= following <= "\u11ff"
    return "\u3131" <= following <= "\u318e" or "\uffa1" <= following <= "\uffdc"


def _has_variants(char: str) -> bool:
    """Pictures, digits of keycaps, signs and letters of the scripts for which Unicode lists variants: none has two."""
    if char in "0123456789#*\u00a9\u00ae":
        return True
    return _is_picture(char) or (char >= "\u1000" and unicodedata.category(char)[0] in "LNPS")


def _joins(joiner: str, kept: str, following: str) -> bool:
    """Whether a joiner after `kept` means something: in a joining script, or (ZWJ) between two pictures."""
    previous = kept[-1:]
    if previous and _JOINING.match(previous):
        return True
    if joiner == "\u200c" or not following:
        return False
    if _JOINING.match(following):
        return True
    picture = kept[-2:-1] if previous == "\ufe0f" else previous
    return _is_picture(picture) and _is_picture(following)


def _is_picture(char: str) -> bool:
    """Signs, and what Unicode keeps for pictures to come: Python knows those of its own version."""
    return "\U0001f000" <= char <= "\U0001faff" or (
        char >= "\u2000" and unicodedata.category(char) in ("So", "Sk", "Sm")
    )
