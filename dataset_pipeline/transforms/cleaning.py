"""Text cleaning: encoding repair, entities, newlines, control characters, NFC, spaces.

Lives here: what `normalize` may change in one text, in which order, and how much of it was changed. Keep out: which
characters show nothing (`invisible`) or look like others (`confusables`), which profile a message gets, language,
PII, verdicts. Spelling, quotes and ligatures stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from types import ModuleType

from dataset_pipeline.transforms.confusables import respelled
from dataset_pipeline.transforms.invisible import (
    BIDIRECTIONAL,
    UNSEEN,
    without_bidirectional,
    without_invisible,
)


class Profile(StrEnum):
    """How much of the white space in a text carries meaning."""

    MESSAGE = "message"
    """What people wrote, to be classified: runs of spaces and spaces at line ends go."""
    TEXT = "text"
    """Anything that may hold code: only the ends are stripped."""
    LABEL = "label"
    """An answer that is a label: stripped, otherwise as collected."""


VERSION = 2
"""Raised when the result changes for an equal text."""

CHANGES = (
    "bidirectional", "confusable", "control", "encoding", "entities", "invisible", "newlines", "nfc", "whitespace"
)  # fmt: skip
"""What `clean` counts: characters removed that order text, that control a device (a terminal escape counts once) or
that show nothing, letters of disguised words replaced, lines mended, entities decoded, line breaks rewritten, texts
composed, places where white space went."""

_MAX_PASSES = 8
"""Mending one thing can uncover another (an entity cut by a zero-width space); real texts need two passes."""

_PLAIN = re.compile(r"[\t\n\x20-\x7e]*")
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TAG = re.compile(r"<[A-Za-z/!?]")
_HALF = re.compile("[\x80-\x9f\ud800-\udfff]")
"""Of a byte that is another character in Windows-1252, or of a pair of surrogates."""
_LONE_LETTER = re.compile(r"(?<!\S)[ÂÃ](?= )")
_BREAKS = re.compile("\r\n|[\r\x0b\x0c\u2028\u2029]")
_TERMINAL_ESCAPE = re.compile(r"\x1b\[[\d;]*[A-Za-z]")


def _basic(ranges: str) -> str:
    """The insides of a character class without what is above U+FFFF."""
    return re.sub("[\U00010000-\U0010ffff](?:-[\U00010000-\U0010ffff])?", "", ranges)


_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF)
)
"""And what Unicode says will never be a character."""
_CONTROL = re.compile(f"[{_CONTROLS}]")
_UNWANTED = re.compile(
    f"[\r\x0b\x0c\u2028\u2029{_basic(_CONTROLS + BIDIRECTIONAL + UNSEEN)}\U0001bca0-\U0001d17a\U0001fffe-\U0010ffff]"
)
"""Any of those, and a few others: what most texts hold none of is looked for once. Above U+FFFF each range costs time."""

_BLANK = "[^\\S\n]"
_SPARE_BLANKS = re.compile(f"{_BLANK}{{2,}}|{_BLANK}(?=\n)|[^\\S\n ]")
"""Runs of blanks, blanks before a line break, and any single blank that is not a plain space."""
_LEADING_LINES = re.compile(rf"\A(?:{_BLANK}*\n)+")
_INDENT = re.compile(f"{_BLANK}+")


def may_need_mending(text: str) -> bool:
    """Whether anything but white space could change.

    False only for printable ASCII with tabs and newlines and without an entity: such a text is its own
    NFC, is valid in every encoding ftfy knows, and holds no control or invisible character.
    """
    return not text.isascii() or _PLAIN.fullmatch(text) is None or _has_entity(text)


def _has_entity(text: str) -> bool:
    return "&" in text and _ENTITY.search(text) is not None


def clean(text: str, profile: Profile) -> tuple[str, dict[str, int]]:
    """The cleaned text, and how often each of `CHANGES` was done (only those that were).

    Cleaning a cleaned text changes nothing. Entities are decoded unless the text holds a tag: then it
    is markup, where they are meant. Encoding repair goes line by line, as ftfy does.
    """
    counts: Counter[str] = Counter()
    if profile is Profile.LABEL:
        stripped = text.strip()
        counts["whitespace"] = int(stripped != text)
        return stripped, dict(+counts)
    for _ in range(_MAX_PASSES):
        before = text
        if may_need_mending(text):
            text = _mended(text, counts)
            text = _without(text, counts)
        text = (_trimmed if profile is Profile.MESSAGE else _stripped)(text, counts)
        if text == before:
            break
    return text, dict(sorted((+counts).items()))


def _mended(text: str, counts: Counter[str]) -> str:
    """Encoding repair and entities. First of all: what looks invisible may be half of a broken letter."""
    decodes_entities = "&" in text and _TAG.search(text) is None
    return "\n".join([_mended_line(line, decodes_entities, counts) for line in text.split("\n")])


@cache
def _ftfy() -> tuple[Callable[[str], str], ModuleType]:
    """Its repair and its single fixes: imported with the first text that needs them."""
    import ftfy
    from ftfy import fixes

    return ftfy.fix_encoding, fixes


def _mended_line(line: str, decodes_entities: bool, counts: Counter[str]) -> str:
    if not may_need_mending(line):
        return line
    fix_encoding, fixes = _ftfy()

    def decoded(match: re.Match[str]) -> str:
        found: str = fixes.unescape_html(match.group())
        counts["entities"] += found != match.group()
        return found

    is_mended = False
    while True:
        before = line
        if decodes_entities and "&" in line:
            line = _ENTITY.sub(decoded, line)
        if not line.isascii():
            entities_only = line
            line = _decoded_again(line, fix_encoding)
            if _HALF.search(line):
                line = fixes.fix_surrogates(fixes.fix_c1_controls(line))
            is_mended |= line != entities_only
        if line == before:
            break
    counts["encoding"] += is_mended
    return line


def _decoded_again(line: str, fix_encoding: Callable[[str], str]) -> str:
    """ftfy's repair, unless all that speaks for it is a letter that stands alone: "Ã is a vowel"."""
    fixed = fix_encoding(line)
    if fixed != line and _LONE_LETTER.search(line):
        rest = _LONE_LETTER.sub("A", line)
        if fix_encoding(rest) == rest:
            return line
    return fixed


def _without(text: str, counts: Counter[str]) -> str:
    """Line breaks as newlines, no control, invisible or disguised characters, NFC."""
    if _UNWANTED.search(text):
        text, counted = _BREAKS.subn("\n", text)
        counts["newlines"] += counted
        text, escapes = _TERMINAL_ESCAPE.subn("", text)
        text, counted = _CONTROL.subn("", text)
        counts["control"] += escapes + counted
        text, counted = without_bidirectional(text)
        counts["bidirectional"] += counted
        text, counted = without_invisible(text)
        counts["invisible"] += counted
    if text.isascii():
        return text
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        counts["nfc"] = 1
    text, counted = respelled(text)
    counts["confusable"] += counted
    return text


def _trimmed(text: str, counts: Counter[str]) -> str:
    stripped = text.strip()
    trimmed, places = _SPARE_BLANKS.subn(
        lambda run: "" if stripped.startswith("\n", run.end()) else " ", stripped
    )
    counts["whitespace"] += (stripped != text) + places
    return trimmed


def _stripped(text: str, counts: Counter[str]) -> str:
    """Without blank lines at the start and white space at the end.

    The first line loses its indentation only where no later line shares it: stripped alone, the
    first line of an indented block would no longer be part of it.
    """
    stripped = _LEADING_LINES.sub("", text.rstrip())
    if (indent := _INDENT.match(stripped)) and f"\n{indent.group()}" not in stripped:
        stripped = stripped[indent.end() :]
    counts["whitespace"] += stripped != text
    return stripped
