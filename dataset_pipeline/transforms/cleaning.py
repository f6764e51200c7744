"""Text cleaning: encoding repair, entities, newlines, control and invisible characters, NFC, spaces.

Lives here: what `normalize` may change in one text, and how much of it was changed. Keep out: which
profile a message gets, language, PII, verdicts. Spelling, quotes, ligatures and character width stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from enum import StrEnum


class Profile(StrEnum):
    """How much of the white space in a text carries meaning."""

    MESSAGE = "message"
    """What people wrote, to be classified: runs of spaces and spaces at line ends go."""
    TEXT = "text"
    """Anything that may hold code: only the ends are stripped."""
    LABEL = "label"
    """An answer that is a label: stripped, otherwise as collected."""


CHANGES = ("control", "encoding", "entities", "invisible", "newlines", "nfc", "whitespace")
"""What `clean` counts: control and invisible characters removed (a terminal escape counts once), lines
mended, entities decoded, line breaks rewritten, texts composed, places where white space went."""

_MAX_PASSES = 8
"""Mending one thing can uncover another (an entity cut by a zero-width space); real texts need two passes."""

_PLAIN = re.compile(r"[\t\n\x20-\x7e]*")
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TAG = re.compile(r"<[A-Za-z/!?]")
_BREAKS = re.compile("\r\n|[\r\x0b\x0c\u2028\u2029]")
_TERMINAL_ESCAPE = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_ALWAYS_INVISIBLE = "\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffc"
_INVISIBLE = re.compile(f"[{_ALWAYS_INVISIBLE}]")
_MAYBE_INVISIBLE = re.compile(
    f"[{_ALWAYS_INVISIBLE}\u180e\u200c\u200d\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
_JOINING_SCRIPTS = re.compile(
    "[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
"""Arabic and its kin, the scripts of India and South East Asia, Mongolian: joiners shape letters there."""

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
    return _PLAIN.fullmatch(text) is None or _ENTITY.search(text) is not None


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
    decodes_entities = _TAG.search(text) is None
    return "\n".join(_mended_line(line, decodes_entities, counts) for line in text.split("\n"))


def _mended_line(line: str, decodes_entities: bool, counts: Counter[str]) -> str:
    if not may_need_mending(line):
        return line
    import ftfy
    from ftfy import fixes

    def decoded(match: re.Match[str]) -> str:
        found: str = fixes.unescape_html(match.group())
        counts["entities"] += found != match.group()
        return found

    is_mended = False
    while True:
        before = line
        if decodes_entities:
            line = _ENTITY.sub(decoded, line)
        entities_only = line
        line = fixes.fix_surrogates(fixes.fix_c1_controls(ftfy.fix_encoding(line)))
        is_mended |= line != entities_only
        if line == before:
            break
    counts["encoding"] += is_mended
    return line


def _without(text: str, counts: Counter[str]) -> str:
    """Line breaks as newlines, no control or invisible characters, NFC."""
    text, breaks = _BREAKS.subn("\n", text)
    text, escapes = _TERMINAL_ESCAPE.subn("", text)
    text, controls = _CONTROL.subn("", text)
    counts["newlines"] += breaks
    counts["control"] += escapes + controls
    if _MAYBE_INVISIBLE.search(text):
        shown = _visible(text)
        counts["invisible"] += len(text) - len(shown)
        text = shown
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        counts["nfc"] = 1
    return text


def _visible(text: str) -> str:
    """`text` without invisible characters, but with the joiners, tags and selectors that mean something."""
    kept: list[str] = []
    is_flag = False
    for position, char in enumerate(text):
        previous = kept[-1] if kept else ""
        if char in "\u200c\u200d":
            keep = _joins(char, kept, text[position + 1 : position + 2])
        elif "\U000e0000" <= char <= "\U000e007f":
            is_flag = previous == "\U0001f3f4" or (is_flag and "\U000e0000" <= previous <= "\U000e007f")
            keep = is_flag
        elif "\U000e0100" <= char <= "\U000e01ef":
            keep = unicodedata.name(previous, "").startswith("CJK") if previous else False
        elif char == "\u180e":
            keep = "\u1800" <= previous <= "\u18af"
        else:
            keep = _INVISIBLE.match(char) is None
        if keep:
            kept.append(char)
    return "".join(kept)


def _joins(joiner: str, kept: list[str], following: str) -> bool:
    """Whether a joiner after `kept` means something: in a joining script, or (ZWJ) between two pictures."""
    previous = kept[-1] if kept else ""
    if previous and _JOINING_SCRIPTS.match(previous):
        return True
    if joiner == "\u200c" or not following:
        return False
    if _JOINING_SCRIPTS.match(following):
        return True
    picture = kept[-2] if previous == "\ufe0f" and len(kept) > 1 else previous
    return _is_picture(picture) and _is_picture(following)


def _is_picture(char: str) -> bool:
    return bool(char) and unicodedata.category(char) in ("So", "Sk", "Sm")


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
