"""How a text is looked at when personal data is searched: every character in its plain form, place for place.

Lives here: digits of any script, wide and mathematical letters, dashes and blanks as ASCII. Keep out: what is searched
for, and what is stored: a finding's place is the same in the text itself.
"""

from __future__ import annotations

import unicodedata

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
