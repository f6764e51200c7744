"""Checks on text that share nothing with what cleaned it: control characters, mojibake, personal data.

Lives here: patterns of the gate's own. A pattern of `transforms.pii` or `transforms.cleaning`
must never be imported here: a fault in it would then hide itself. Keep out: repairs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MOJIBAKE = re.compile(
    "(?:[ÂÃ][\u0080-\u00bf])|(?:\u00e2\u20ac[\u2122\u0153\u009d\u201c\u201d\u00a6\u02dc\u00a2])"
)
"""UTF-8 read as Windows-1252: a lead byte shown as a letter, then a continuation byte shown as a sign."""

_EMAIL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|info|biz|io|eu|uk|de|fr|es|it|nl|pl|pt|ch|at|be|us|ca|au|in|br|jp)\b"
)
_CARD = re.compile(r"(?<![\d.,-])[3-6]\d{3}(?:[ -]?\d{3,6}){2,4}(?![\d.,-]?\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_SSN_WORD = re.compile(r"\b(?:ssn|social security)\b.{0,40}$", re.IGNORECASE | re.DOTALL)
_SSN = re.compile(
    r"(?<![\d-])(?!000|666|9\d\d|078-05-1120|123-45-6789)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"
)
_ADDRESS = re.compile(
    r"\b(?:ip|ipv4|host|server|client|peer|address|from)[\s:=]+(?!10\.0\.|0\.|127\.|255\.)"
    r"(?:6[4-9]|[7-9]\d|1\d\d|2[0-4]\d|25[0-5])(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\d.])",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w+])\+[1-9]\d{0,2}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}(?!\d)")


def _luhn_holds(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


_CARDS = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|3[47]\d{13}|6011\d{12}")
"""Numbers by issuer, each with its own length: an IMEI has fifteen digits too, and also passes Luhn."""


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return _CARDS.fullmatch(digits) is not None and _luhn_holds(digits)


def _is_iban(text: str) -> bool:
    bare = text.replace(" ", "")
    if not 15 <= len(bare) <= 34:
        return False
    moved = bare[4:] + bare[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _in_ascii(text: str) -> str:
    """`text` with digits of any script and letters of any width as ASCII, where Unicode says what they stand for."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in folded)


def left_names(text: str, names: Iterable[str | None]) -> bool:
    """Whether one of `names`, of two words or more, stands in `text` as a whole, in any case and with any blanks."""
    said = f" {' '.join(_folded(text).split())} "
    for name in names:
        parts = _folded(name or "").split()
        at = said.find(" ".join(parts)) if len(parts) > 1 else -1
        if at >= 0 and not said[at - 1].isalnum() and not said[at + len(" ".join(parts))].isalnum():
            return True
    return False


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def left_entities(text: str) -> set[str]:
    """Entity types that certainly stand in `text`: a checksum holds, or the words before say so."""
    text = _in_ascii(text)
    found = set()
    if "@" in text and _EMAIL.search(text):
        found.add("EMAIL_ADDRESS")
    if any(c.isdigit() for c in text):
        if any(_is_card(m.group()) for m in _CARD.finditer(text)):
            found.add("CREDIT_CARD")
        if any(_is_iban(m.group()) for m in _IBAN.finditer(text)):
            found.add("IBAN_CODE")
        if any(_SSN_WORD.search(text[max(0, m.start() - 60) : m.start()]) for m in _SSN.finditer(text)):
            found.add("US_SSN")
    return found


def likely_entities(text: str) -> set[str]:
    """Entity types whose mere shape stands in `text`: an invoice number may look like one, too."""
    text = _in_ascii(text)
    found = set()
    if any(c.isdigit() for c in text):
        if _ADDRESS.search(text):
            found.add("IP_ADDRESS")
        if _SSN.search(text):
            found.add("US_SSN")
        if "+" in text and _PHONE.search(text):
            found.add("PHONE_NUMBER")
    return found


def has_control(texts: Iterable[str]) -> list[bool]:
    return [CONTROL.search(text) is not None for text in texts]


def has_mojibake(texts: Iterable[str]) -> list[bool]:
    return [MOJIBAKE.search(text) is not None for text in texts]
