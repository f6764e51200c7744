"""How a text is looked at when personal data is searched: in plain characters, place for place, and as it is meant.

Lives here: digits of any script, wide and mathematical letters, dashes and blanks as ASCII; escapes. Keep out: what is searched
for, and what is stored: a finding's place is always that in the text itself.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

_COMPATIBLE = ("<wide>", "<narrow>", "<small>", "<font>")
"""Unicode's tags of letters, digits and signs that differ from the plain one by their looks alone."""


class _Plain(dict[int, str]):
    """Each character's plain form by its number, asked of Unicode once; itself where it has none of length one."""

    def __missing__(self, point: int) -> str:
        found = self[point] = _plain(chr(point))
        return found


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    if category == "Zs":
        return " "
    if unicodedata.decomposition(char).startswith(_COMPATIBLE):
        folded = unicodedata.normalize("NFKC", char)
        return folded if len(folded) == 1 else char
    return char


_PLAIN = _Plain()


def plain_view(text: str) -> str:
    """`text` with digits of any script, wide letters, dashes and blanks as ASCII; as many characters, each at its place."""
    return text if text.isascii() else text.translate(_PLAIN)


_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
    "|[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u24ea]"
)
"""What shows nothing; digits that are raised, lowered or circled."""
_ESCAPE = re.compile(
    r"%[0-9A-Fa-f]{2}|\\{1,8}(?:u[0-9A-Fa-f]{4}|/)|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,10});"
)
_WRITTEN = re.compile(rf"{_ESCAPE.pattern}|{_HIDDEN.pattern}|(?<=\d)\+(?=\d)")
"""In links a blank is written as + as well."""


class Meant(NamedTuple):
    """A text as a machine or a reader takes it: `text`, and of each of its characters the place where it is written."""

    text: str
    starts: list[int]
    ends: list[int]

    def written(self, start: int, end: int) -> tuple[int, int]:
        """Where characters `start` to `end` of `text` are written."""
        return self.starts[start], self.ends[end - 1]


@lru_cache(maxsize=16)
def meant(text: str) -> Meant | None:
    """`text` with what is escaped (as in links, JSON, pages) as it is meant, raised and circled digits as digits, and without
    characters that show nothing; None where it holds none of these."""
    may_be_escaped = "%" in text or "\\u" in text or "\\/" in text or ("&" in text and ";" in text)
    if not may_be_escaped and (text.isascii() or _HIDDEN.search(text) is None):
        return None
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for match in _WRITTEN.finditer(text):
        chars += text[position : match.start()]
        starts += range(position, match.start())
        ends += range(position + 1, match.start() + 1)
        char = _of_escape(match.group())
        chars += char
        starts += [match.start()] * len(char)
        ends += [match.end()] * len(char)
        position = match.end()
    if position == 0:
        return None
    chars += text[position:]
    starts += range(position, len(text))
    ends += range(position + 1, len(text) + 1)
    return Meant("".join(chars), starts, ends)


def _of_escape(written: str) -> str:
    """What is meant: nothing by a character that shows nothing, a blank by one that controls a device."""
    if written == "+":
        return " "
    if written[0] == "%":
        return _shown(chr(int(written[1:], 16)))
    if written[0] == "\\":
        return "/" if written[-1] == "/" else _shown(chr(int(written[-4:], 16)))
    if written[0] == "&":
        return "".join(map(_shown, html.unescape(written)))
    digit = unicodedata.digit(written, None)
    return "" if digit is None else str(digit)


def _shown(char: str) -> str:
    return char if char.isprintable() else " "


def number_view(text: str) -> str:
    """`plain_view`, with gaps for underscores: they stand around numbers as in `_4111_` and `user_4111_old`."""
    return plain_view(text).replace("_", " ")
