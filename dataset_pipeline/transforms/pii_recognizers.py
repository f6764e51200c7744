"""Presidio recognizers for the entities of the spec, stricter or wider than Presidio's own where measured.

Lives here: one recognizer an entity, each with what it accepts. Keep out: the engine, thresholds,
overlaps, replacing, names of persons. Importing this module imports Presidio: do it inside a function.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import phonenumbers
import tldextract
from phonenumbers import Leniency
from presidio_analyzer import AnalysisExplanation, EntityRecognizer, Pattern, RecognizerResult
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)

from dataset_pipeline.transforms.pii_formats import (
    BROKEN_AT,
    CARD_RUN,
    CARD_SIZES,
    COMMON_CARD,
    DATE,
    DECIMAL,
    DOTTED_QUAD,
    ENCODED_AT,
    EXPRESSION,
    FILE_NAME_AFTER,
    NUMBERED_THING_BEFORE,
    PHONE_AFTER,
    PHONE_BEFORE,
    PHONE_KIND_AFTER,
    PHONE_LETTER_BEFORE,
    PHONE_RUN,
    PHONE_START,
    SEVEN_DIGITS,
    SPELLED_AT,
    SPELLED_DOT,
    SSN_SHAPE,
    VERSION_AFTER,
    VERSION_BEFORE,
    WITHIN_PHONE,
    has_card_groups,
    has_rare_card_groups,
    iban_spans,
    is_card_run,
    is_issued,
    passes_luhn,
)
from dataset_pipeline.transforms.pii_view import plain_view

_BEFORE_CHARS = 48
"""How far back the words are read that say what a number is: a noun, 'number', 'is', punctuation."""


def _before(text: str, start: int) -> str:
    return text[max(0, start - _BEFORE_CHARS) : start]


_LOCAL = r"[\w+](?:[\w+&%~-]|[.'](?=[\w+&%~.-])){0,63}"
_LABEL = r"\w{1,63}(?:-+\w{1,63})*"
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\$")


class Emails(EmailRecognizer):  # type: ignore[misc]
    """E-mail addresses under a public suffix, by the suffix list that is part of tldextract.

    The @ may be written as in a link, in JSON or in a page, be followed by the end of a line, or be spelled in
    brackets, as the dots then may. The local part is bounded (64 characters, RFC 5321), or a long run of letters costs
    quadratic time; of the marks that it may hold, those are left out that stand before addresses in code (= / { `).
    """

    PATTERNS = [  # noqa: RUF012 (Presidio's own form)
        Pattern("address", rf"{_LOCAL}(?:{BROKEN_AT}|{ENCODED_AT}){_LABEL}(?:\.{_LABEL})+\b", 0.5),
        Pattern("spelled", rf"{_LOCAL}{SPELLED_AT}{_LABEL}(?:(?:\.|{SPELLED_DOT}){_LABEL})+\b", 0.5),
    ]

    def __init__(self) -> None:
        super().__init__(name="emails")
        self._suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None, regex_flags: int | None = None
    ) -> list[RecognizerResult]:
        view = plain_view(text)
        results = super().analyze(view, entities, nlp_artifacts, regex_flags)
        for result in results:
            # The letter of an escape, as in a string of JSON, is no part of the address behind it.
            if view[result.start] in "nrt" and _ESCAPED.search(view[max(0, result.start - 8) : result.start]):
                result.start += 1
        return results

    def validate_result(self, pattern_text: str) -> bool:
        at = re.search(rf"{SPELLED_AT}|{ENCODED_AT}|@", pattern_text, re.IGNORECASE)
        host = re.sub(SPELLED_DOT, ".", pattern_text[at.end() :], flags=re.IGNORECASE) if at else ""
        return bool(self._suffixes(host.strip()).fqdn)


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
        if not SEVEN_DIGITS.search(candidate):
            return None
        if (_WITH_COUNTRY.match(candidate) is not None) != self.is_national:
            return super()._parse_and_verify(candidate, offset)
        return None


class Phones(PhoneRecognizer):  # type: ignore[misc]
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
        # Whether there is a phone at all is asked first, and then how sure it is: eight regions are searched once.
        self._last: tuple[str, list[tuple[tuple[int, int], float]]] = ("", [])

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        if self._last[0] != text:
            view = plain_view(text)
            spans = self._spans(view)
            self._last = (text, spans + self._broken(view, [span for span, _ in spans]))
        return [_result(self, span, score) for span, score in self._last[1]]

    def _broken(self, text: str, known: list[tuple[int, int]]) -> list[tuple[tuple[int, int], float]]:
        """Phones within which a line ends: as if it were a blank, where what stands before it begins like a phone."""
        found = []
        for joint in WITHIN_PHONE.finditer(text):
            begin = max(0, joint.start() - _BEFORE_CHARS)
            start = PHONE_START.search(text, begin, joint.start())
            if start is None or any(a < joint.end() and joint.start() < b + 1 for a, b in known):
                continue
            if not (start.group()[0] in "+(" or PHONE_BEFORE.search(_before(text, start.start()))):
                continue
            # libphonenumber allows gaps of four characters: what else belongs to the break is left out, and added back.
            spare = joint.end() - joint.start() - 1
            line = text[begin : joint.start()] + " " + text[joint.end() : joint.end() + _BEFORE_CHARS]
            for (a, b), score in self._spans(line):
                if score >= 0.6 and begin + a < joint.start() < begin + b - 1:
                    found.append(((begin + a, begin + b + spare), score))
        return found

    def _spans(self, text: str) -> list[tuple[tuple[int, int], float]]:
        best: dict[tuple[int, int], float] = {}
        for region in self.supported_regions:
            for match in _Matcher(text, region, Leniency.VALID):
                span = (match.start, match.end)
                best[span] = max(self._score(text, match, region), best.get(span, 0.0))
        for leniency in (Leniency.VALID, Leniency.POSSIBLE):
            for match in _Matcher(text, None, leniency):
                if leniency == Leniency.VALID or self._is_international(match.raw_string):
                    best[match.start, match.end] = 0.75
        for run in PHONE_RUN.finditer(text):
            before, is_grouped = _before(text, run.start()), not run.group().isdigit()
            is_named = PHONE_KIND_AFTER.match(text, run.end()) or (
                is_grouped and PHONE_AFTER.match(text, run.end())
            )
            is_lettered = (is_grouped or len(run.group()) >= 10) and PHONE_LETTER_BEFORE.search(before)
            is_introduced = is_named or is_lettered or PHONE_BEFORE.search(before)
            if is_introduced and not self._is_other(run.group()):
                best[run.span()] = max(0.6, best.get(run.span(), 0.0))
        return [(span, score) for span, score in sorted(best.items()) if score > 0]

    def _score(self, text: str, match: phonenumbers.PhoneNumberMatch, region: str) -> float:
        raw = match.raw_string
        if self._is_other(raw) or NUMBERED_THING_BEFORE.search(_before(text, match.start)):
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


class Cards(CreditCardRecognizer):  # type: ignore[misc]
    """Payment cards: 12 to 19 digits in one run or in usual groups that pass Luhn.

    With the prefix and length of an issuer the score is 1.0, else 0.3: a context word decides; so it does for rare
    issuers where the number is introduced as that of something else. A run of
    groups is searched for the card in it: what follows (an expiry date) must not hide it.
    """

    CONTEXT = """
        card cards credit debit visa mastercard amex discover jcb diners maestro unionpay rupay cc
        """.split()  # noqa: SIM905

    def __init__(self) -> None:
        super().__init__(name="cards")

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None, regex_flags: int | None = None
    ) -> list[RecognizerResult]:
        results = []
        for run in CARD_RUN.finditer(plain_view(text)):
            groups = list(re.finditer(r"[0-9]+", run.group()))
            position = 0
            while position < len(groups):
                last = self._card_end(run.group(), groups, position)
                if last is not None:
                    span = (run.start() + groups[position].start(), run.start() + groups[last].end())
                    digits = re.sub("[^0-9]", "", run.group()[span[0] - run.start() : span[1] - run.start()])
                    results.append(_result(self, span, self._score(digits, _before(text, span[0]))))
                    position = last
                position += 1
        return results

    @staticmethod
    def _score(digits: str, before: str) -> float:
        is_other = not COMMON_CARD.match(digits) and NUMBERED_THING_BEFORE.search(before)
        return 1.0 if is_issued(digits) and not is_other else 0.3

    @staticmethod
    def _card_end(run: str, groups: list[re.Match[str]], first: int) -> int | None:
        """The last group of a card that begins with the first: on its line rather than over two, the longest first."""
        ends = range(min(first + 7, len(groups)) - 1, first - 1, -1)
        written = {last: run[groups[first].start() : groups[last].end()] for last in ends}
        for last in sorted(ends, key=lambda last: "\n" in written[last]):
            lengths = [len(group.group()) for group in groups[first : last + 1]]
            digits = "".join(group.group() for group in groups[first : last + 1])
            if len(digits) not in CARD_SIZES or not is_card_run(written[last]) or not passes_luhn(digits):
                continue
            if "\n" not in written[last] and has_card_groups(lengths):
                return last
            is_written_oddly = has_card_groups(lengths) or has_rare_card_groups(lengths)
            if is_written_oddly and COMMON_CARD.fullmatch(digits):
                return last
        return None


class Ibans(IbanRecognizer):  # type: ignore[misc]
    """IBANs in either case, compact or in groups: country, its length, check digits (ISO 7064 mod 97)."""

    def __init__(self) -> None:
        super().__init__(name="ibans")

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None, regex_flags: int | None = None
    ) -> list[RecognizerResult]:
        return [_result(self, span, EntityRecognizer.MAX_SCORE) for span in iban_spans(plain_view(text))]


class Ips(IpRecognizer):  # type: ignore[misc]
    """IP addresses of machines on a network.

    Not found: versions (a word such as 'version' before, a suffix such as '-rc1' or a fifth number
    after, a file name), loopback, unspecified and mask addresses, and two colons in code: IPv6 starts
    with four hex digits, as every address in use does. A dotted quad of numbers all below 64 scores
    0.3 and needs a context word: it reads like a version, and one public address in 256 looks so.
    """

    CONTEXT = """
        ip ips ipv4 ipv6 address addresses server servers host hosts router gateway dns ping subnet network
        proxy firewall vpn login logged
        """.split()  # noqa: SIM905
    SMALL_NUMBER = 64

    def __init__(self) -> None:
        super().__init__(name="ips")

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None, regex_flags: int | None = None
    ) -> list[RecognizerResult]:
        view = plain_view(text)
        results = super().analyze(view, entities, nlp_artifacts, regex_flags)
        return [result for result in results if self._is_address(view, result)]

    def _is_address(self, text: str, result: RecognizerResult) -> bool:
        address = ipaddress.ip_interface(text[result.start : result.end]).ip
        before, after = _before(text, result.start), text[result.end : result.end + 16]
        if isinstance(address, ipaddress.IPv6Address):
            first = text[result.start : result.end].split(":")[0]
            is_slice = re.search(r"\w\[$", before) is not None and "]" in after[:1]
            return (len(first) == 4 or address.ipv4_mapped is not None) and not is_slice
        numbers = address.packed
        if address.is_loopback or address.is_unspecified or numbers[0] == 255:
            return False
        if VERSION_BEFORE.search(before) or VERSION_AFTER.match(after) or FILE_NAME_AFTER.match(after):
            return False
        if max(numbers) < self.SMALL_NUMBER:
            result.score = 0.3
        return True


GAPS_SCORE = 0.2


class Ssns(UsSsnRecognizer):  # type: ignore[misc]
    """US social security numbers: 3-2-4 with hyphens; with dots or spaces where the text speaks of them (a form or a table
    names them once), nine bare digits only beside a context word. Presidio's own rules say which are never issued."""

    PATTERNS = [  # noqa: RUF012 (Presidio's own form)
        Pattern("hyphens", r"(?<![\w.+-])[0-9]{3}-\n?[0-9]{2}-\n?[0-9]{4}(?![\w-])", 0.5),
        Pattern("gaps", r"(?<![\w.+-])[0-9]{3}([ .])[0-9]{2}\1[0-9]{4}(?![\w-])", GAPS_SCORE),
        Pattern("run", r"(?<![\w.+-])[0-9]{9}(?![\w-])", 0.05),
    ]
    CONTEXT = ["social", "socials", "ssn", "ssns"]  # noqa: RUF012
    TOLD = re.compile(r"(?<![^\W_])ssns?(?![^\W_])|\bsocial security\b|\bsocials\b", re.IGNORECASE)

    def __init__(self) -> None:
        super().__init__(name="ssns")

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None, regex_flags: int | None = None
    ) -> list[RecognizerResult]:
        view = plain_view(text)
        results = super().analyze(view, entities, nlp_artifacts, regex_flags)
        for result in results:
            if result.score == GAPS_SCORE and self.TOLD.search(view):
                result.score = 0.5
        return [r for r in results if not NUMBERED_THING_BEFORE.search(_before(view, r.start))]


def _result(recognizer: Any, span: tuple[int, int], score: float) -> RecognizerResult:
    return RecognizerResult(
        entity_type=recognizer.supported_entities[0],
        start=span[0],
        end=span[1],
        score=score,
        # Presidio's context enhancer writes into the explanation.
        analysis_explanation=AnalysisExplanation(recognizer=recognizer.name, original_score=score),
        recognition_metadata={
            RecognizerResult.RECOGNIZER_NAME_KEY: recognizer.name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
        },
    )


def recognizer_of(entity: str, phone_regions: tuple[str, ...]) -> EntityRecognizer:
    """The recognizer of one entity of the spec; KeyError for one that no pattern finds (PERSON)."""
    if entity == "PHONE_NUMBER":
        return Phones(phone_regions)
    by_entity = {
        "EMAIL_ADDRESS": Emails,
        "CREDIT_CARD": Cards,
        "IBAN_CODE": Ibans,
        "IP_ADDRESS": Ips,
        "US_SSN": Ssns,
    }
    return by_entity[entity]()
