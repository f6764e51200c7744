"""Phones: libphonenumber's search in the regions of the spec, and what the words around a number say.

Lives here: the recognizer of phones and its scores. Keep out: how numbers are written (`pii_formats`), the engine. Importing
this module imports Presidio: do it inside a function.
"""

from __future__ import annotations

import re
from typing import Any

import phonenumbers
from phonenumbers import Leniency
from presidio_analyzer import RecognizerResult
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from dataset_pipeline.transforms.pii_formats import (
    DATE,
    DECIMAL,
    DIGITS_WITH_GAPS,
    DOTTED_QUAD,
    EXPRESSION,
    NUMBERED_THING_BEFORE,
    PHONE_AFTER,
    PHONE_BEFORE,
    PHONE_KIND_AFTER,
    PHONE_LETTER_BEFORE,
    PHONE_RUN,
    PHONE_START,
    SEVEN_DIGITS,
    SSN_SHAPE,
    WITHIN_PHONE,
)
from dataset_pipeline.transforms.pii_found import BEFORE_CHARS, ReadTwice, finding_of, words_before
from dataset_pipeline.transforms.pii_view import plain_view

_TOO_LONG = re.compile(r"\D*[1-9](?:\D*\d){15}")
"""Sixteen digits, as of a card: no number of a country has more than fifteen, unless it is dialled from abroad with 0 before it."""
_WITH_COUNTRY = re.compile(r"[(\[]*\+")


class _Matcher(phonenumbers.PhoneNumberMatcher):
    """libphonenumber's search, without parsing candidates of fewer digits than a phone of ours has.

    What is left of such a candidate has as few, and nothing behind it could be joined to it: a candidate is as long as can be.
    Numbers with their country are the same in every region: the matchers of regions pass them over.
    """

    def __init__(self, text: str, region: str | None, leniency: int) -> None:
        super().__init__(text, region, leniency=leniency)
        self.is_national = region is not None

    def _extract_match(self, candidate: str, offset: int) -> Any:
        return super()._extract_match(candidate, offset) if SEVEN_DIGITS.search(candidate) else None

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        if not SEVEN_DIGITS.search(candidate) or (self.is_national and _TOO_LONG.match(candidate)):
            return None
        if (_WITH_COUNTRY.match(candidate) is not None) != self.is_national:
            return super()._parse_and_verify(candidate, offset)
        return None


def _digits_of(text: str) -> list[tuple[int, int]]:
    """The parts of a text that hold seven digits with small gaps, and what stands around them: libphonenumber reads no others,
    ten times each. An extension, and the sign before a number, are within BEFORE_CHARS of it."""
    parts: list[tuple[int, int]] = []
    for run in DIGITS_WITH_GAPS.finditer(text):
        begin, end = max(0, run.start() - BEFORE_CHARS), run.end() + BEFORE_CHARS
        if parts and begin < parts[-1][1]:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((begin, end))
    return parts


class Phones(ReadTwice, PhoneRecognizer):  # type: ignore[misc]
    """Phone numbers, scored by how much they are written like one.

    Found are: what libphonenumber calls valid in one of the regions; +… where it is possible anywhere;
    and 7 to 17 digits that the words around introduce as a phone. Scores: +…, 00…: 0.75. Introduced,
    or grouped as in its region, or trunk 0 and groups: 0.6. Trunk 0 and a mobile number in one run: 0.5.
    Otherwise grouped: 0.3, one run of digits: 0.15: these need a context word. Dates, decimals and what
    is introduced as the number of something else (an order, a version) are no phones.
    """

    CONTEXT = """
        phone phones telephone tel cell cellphone mobile mob call calls called calling ring rang dial dialled
        dialed whatsapp signal sms fax hotline landline reach reached telefon handy contact
        """.split()  # noqa: SIM905

    def __init__(self, regions: tuple[str, ...]) -> None:
        super().__init__(name="phones", supported_regions=regions)

    def search(self, text: str) -> list[RecognizerResult]:
        view = plain_view(text)
        spans = self._spans(view)
        spans += self._broken(view, [span for span, _ in spans])
        return [finding_of(self, span, score) for span, score in spans]

    def _broken(self, text: str, known: list[tuple[int, int]]) -> list[tuple[tuple[int, int], float]]:
        """Phones within which a line ends: as if it were a blank, where what stands before it begins like a phone."""
        found = []
        for joint in WITHIN_PHONE.finditer(text):
            begin = max(0, joint.start() - BEFORE_CHARS)
            start = PHONE_START.search(text, begin, joint.start())
            if start is None or any(a < joint.end() and joint.start() < b + 1 for a, b in known):
                continue
            if not (start.group()[0] in "+(" or PHONE_BEFORE.search(words_before(text, start.start()))):
                continue
            # libphonenumber allows gaps of four characters: what else belongs to the break is left out, and added back.
            spare = joint.end() - joint.start() - 1
            line = text[begin : joint.start()] + " " + text[joint.end() : joint.end() + BEFORE_CHARS]
            for (a, b), score in self._spans(line):
                if score >= 0.6 and begin + a < joint.start() < begin + b - 1:
                    found.append(((begin + a, begin + b + spare), score))
        return found

    def _spans(self, text: str) -> list[tuple[tuple[int, int], float]]:
        best: dict[tuple[int, int], float] = {}
        for begin, end in _digits_of(text):
            part = text[begin:end]
            for region in self.supported_regions:
                for match in _Matcher(part, region, Leniency.VALID):
                    span = (begin + match.start, begin + match.end)
                    best[span] = max(self._score(text, span[0], match, region), best.get(span, 0.0))
            for leniency in (Leniency.VALID, Leniency.POSSIBLE) if "+" in part else ():
                for match in _Matcher(part, None, leniency):
                    if leniency == Leniency.VALID or self._is_international(match.raw_string):
                        best[begin + match.start, begin + match.end] = 0.75
        for run in PHONE_RUN.finditer(text):
            before, is_grouped = words_before(text, run.start()), not run.group().isdigit()
            is_named = PHONE_KIND_AFTER.match(text, run.end()) or (
                is_grouped and PHONE_AFTER.match(text, run.end())
            )
            is_lettered = (is_grouped or len(run.group()) >= 10) and PHONE_LETTER_BEFORE.search(before)
            is_introduced = is_named or is_lettered or PHONE_BEFORE.search(before)
            if is_introduced and not self._is_other(run.group()):
                best[run.span()] = max(0.6, best.get(run.span(), 0.0))
        return [(span, score) for span, score in sorted(best.items()) if score > 0]

    def _score(self, text: str, start: int, match: phonenumbers.PhoneNumberMatch, region: str) -> float:
        raw = match.raw_string
        if self._is_other(raw) or NUMBERED_THING_BEFORE.search(words_before(text, start)):
            return 0.0
        groups = re.findall(r"\d+", raw)
        if groups[0].startswith("00"):
            return 0.75
        if len(groups) == 1 and not ("(" in raw and ")" in raw):
            # One run of digits; a bracket that is opened alone belongs to the text around, such as code.
            is_mobile = phonenumbers.number_type(match.number) == phonenumbers.PhoneNumberType.MOBILE
            return 0.5 if raw.startswith("0") and is_mobile else 0.15
        if EXPRESSION.match(raw):
            return 0.3
        if self._is_grouped_as_in(raw, region):
            return 0.6
        is_trunk = groups[0].startswith("0") and max(map(len, groups)) > 2 and len(groups) <= 6
        return 0.6 if is_trunk else 0.3

    @staticmethod
    def _is_international(raw: str) -> bool:
        """Enough digits for a country and a subscriber, in groups or as a run too long for a count."""
        groups = re.findall(r"\d+", raw)
        enough = sum(map(len, groups)) >= (9 if len(groups) > 1 else 11)
        return enough and SEVEN_DIGITS.search(raw) is not None

    @staticmethod
    def _is_other(raw: str) -> bool:
        """Whether a candidate is too short or too long for a phone, a date or a decimal."""
        digits = len(re.findall(r"\d", raw))
        of_other_kind = (DATE.match(raw), DECIMAL.match(raw), SSN_SHAPE.match(raw), DOTTED_QUAD.match(raw))
        return not SEVEN_DIGITS.search(raw) or digits > 17 or any(of_other_kind)

    @staticmethod
    def _is_grouped_as_in(raw: str, region: str) -> bool:
        strict = phonenumbers.PhoneNumberMatcher(raw, region, leniency=Leniency.STRICT_GROUPING)
        return any(match.start == 0 and match.end == len(raw) for match in strict)
