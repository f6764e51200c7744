"""Pseudonyms: in place of personal data a word that is the same for the same person, address or number, and says nothing else.

Lives here: the key, what counts as the same, the word. Keep out: where the key comes from and what tells it apart (`spec.beside`), finding
(`pii`), which names of a record are known.

A pseudonym is HMAC-SHA256 (RFC 2104) under a secret key over the entity and the value in a plain form: who has no key cannot
find out the value by trying, and another key gives other words. 50 of its bits are kept: among 100,000 values of an entity
two share a word with a probability of one in 200,000.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dataset_pipeline.transforms.pii_formats import plain_address
from dataset_pipeline.transforms.pii_names import NEVER_ALONE, bare
from dataset_pipeline.transforms.pii_view import plain_view

_CHARS = 10
"""Of base32, five bits each."""


@dataclass(frozen=True)
class Key:
    """A secret. It is in no `repr`, and nothing writes it."""

    secret: bytes = field(repr=False)

    def pseudonym(self, entity: str, plain: str) -> str:
        """Such as [PERSON:mz4kq2w7ba]."""
        digest = hmac.new(self.secret, f"{entity}\x1f{plain}".encode(), hashlib.sha256).digest()
        return f"[{entity}:{base64.b32encode(digest).decode().lower()[:_CHARS]}]"


def plain_value(entity: str, value: str, regions: tuple[str, ...]) -> str:
    """What two writings of one value have in common. regions: those of the spec's phones, tried in order.

    Not for PERSON, whose parts are the person only beside the whole name (`person`).
    """
    view = plain_view(value)
    if entity == "EMAIL_ADDRESS":
        return plain_address(view).casefold()
    if entity == "PHONE_NUMBER":
        return _phone(view, regions)
    if entity == "IP_ADDRESS":
        try:
            return str(ipaddress.ip_interface(view))
        except ValueError:
            return view.lower()
    if entity == "URL":
        return re.sub(r"^https?://(?:www\.)?|/$", "", view, flags=re.IGNORECASE)
    return re.sub(r"[^0-9A-Z]", "", view.upper())


@lru_cache(maxsize=4096)
def _phone(view: str, regions: tuple[str, ...]) -> str:
    """The number with its country where it is valid in a region, else its digits."""
    import phonenumbers

    for region in regions:
        try:
            number = phonenumbers.parse(view, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            number.extension = None
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return re.sub(r"\D", "", view)


def person(written: str, names: Sequence[str]) -> str:
    """The person behind a name as written: the fullest of the record's names that holds all its words, else its own words.

    Order, case, marks and titles do not count: 'Fox, Jo', 'JO FOX' and 'Jo Fox' are one.
    """
    words = _words(written)
    for name in sorted(names, key=lambda name: (-len(_words(name)), sorted(_words(name)))):
        if words and all(any(_is_of(word, other) for other in _words(name)) for word in words):
            return " ".join(sorted(_words(name)))
    return " ".join(sorted(words))


@lru_cache(maxsize=65_536)
def _words(name: str) -> frozenset[str]:
    found = re.findall(r"[^\W_]+", bare(plain_view(name)))
    return frozenset(word for word in found if word not in NEVER_ALONE) or frozenset(found)


def _is_of(word: str, other: str) -> bool:
    """Whether a word as written may be a word of the name: the same, or its initial."""
    return word == other or (len(word) == 1 and other.startswith(word))
