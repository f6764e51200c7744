"""Letters of another width or of a mathematical alphabet that spell plain words: made plain.

Lives here: full-width and mathematical letters, and where they carry no meaning. Keep out: letters of other scripts
(`confusables`), circled, raised and small capital ones, which are style.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from dataset_pipeline.transforms.code_spans import is_within

STYLED = "Ａ-Ｚａ-ｚ\U0001d400-\U0001d6a3"
"""The insides of a character class: a text without one of these needs no look."""


def plain_letters(text: str, code: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """`text` with words of such letters in plain ones, and how many letters (and digits with them) were replaced.

    What stands in `code` (start, end) stays. No letter becomes two: places in the text are what they were.
    """
    text, count = _plain_width(text, code)
    if _MATHEMATICAL.search(text):
        lines, place = [], 0
        for line in text.split("\n"):
            found, letters = (line, 0) if is_within(code, place) else _plain_line(line)
            lines.append(found)
            count += letters
            place += len(line) + 1
        text = "\n".join(lines)
    return text, count


_WIDE_WORD = re.compile("(?<=[A-Za-z])[Ａ-Ｚａ-ｚ]+|[Ａ-Ｚａ-ｚ]{2,}|[Ａ-Ｚａ-ｚ](?=[A-Za-z])")
_EAST_ASIAN = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fff\u3001-\u303f\u3041-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff61-\uffdc"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


def _plain_width(text: str, code: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """Words of full-width letters in plain ones, unless the text is East Asian: letters are as wide as its own there."""
    if _WIDE_WORD.search(text) is None or _EAST_ASIAN.search(text):
        return text, 0
    counted = 0

    def plain(match: re.Match[str]) -> str:
        nonlocal counted
        if is_within(code, match.start()):
            return match.group()
        counted += len(match.group())
        return unicodedata.normalize("NFKC", match.group())

    return _WIDE_WORD.sub(plain, text), counted


_MATHEMATICAL = re.compile("[\U0001d400-\U0001d6a3]{2}")
_RUN = re.compile("[\U0001d400-\U0001d6a3ℂℊℋℌℍℎℐℑℒℕℙℚℛℜℝℤℨℬℭℯℰℱℳℴ]+")
_FORMULA = re.compile(
    r"[\w)\]] ?[+=<>−] ?[\w(]|_[\w{]|[\U0001d400-\U0001d6a3][(\[|]"
    "|[±×÷^√∑∏∫∂∇∞≤≥≠≈≡∝∈∉⊂∀∃⁰¹²³⁴-⁹₀-₉ⁿ\U0001d6a4-\U0001d7cb]"
)
_DIGITS = re.compile("[\U0001d7ce-\U0001d7ff]")
_VOWEL = re.compile("[aeiouyAEIOUY]")
_ALPHABET, _FIRST, _ITALIC = 52, 0x1D400, 1


def _plain_line(line: str) -> tuple[str, int]:
    """Words in a mathematical alphabet in plain letters, unless the line holds a formula.

    A run of four letters is a word, and so is what stands in its style in that line ('𝗜 𝗮𝗺 𝗵𝗲𝗿𝗲'); runs of three are, where
    there are two of them, but in italics, the style of variables and functions. What is left are variables and products.
    """
    if _MATHEMATICAL.search(line) is None or _FORMULA.search(line):
        return line, 0
    styles: dict[int, list[int]] = {}
    for run in _RUN.findall(line):
        is_word = _VOWEL.search(unicodedata.normalize("NFKC", run)) is not None
        styles.setdefault(_style(run), []).append(len(run) if is_word else 0)
    words = {
        style
        for style, sizes in styles.items()
        if style >= 0 and (max(sizes) >= 4 or (style != _ITALIC and sum(size == 3 for size in sizes) > 1))
    }
    counted = 0

    def plain(match: re.Match[str]) -> str:
        nonlocal counted
        if _style(match.group()) not in words:
            return match.group()
        counted += len(match.group())
        return unicodedata.normalize("NFKC", match.group())

    line = _RUN.sub(plain, line)
    if counted:
        line, digits = _DIGITS.subn(lambda digit: unicodedata.normalize("NFKC", digit.group()), line)
        counted += digits
    return line, counted


def _style(run: str) -> int:
    """The alphabet of the first letter of the block itself; -1 for letters that were in Unicode before it."""
    return next(((ord(char) - _FIRST) // _ALPHABET for char in run if ord(char) >= _FIRST), -1)
