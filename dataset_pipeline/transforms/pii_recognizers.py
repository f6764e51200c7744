"""Presidio recognizers for the entities of the spec, stricter or wider than Presidio's own where measured.

Lives here: which recognizer finds which entity; numbers of cards, accounts and persons. Keep out: phones (`pii_phones`), addresses
(`pii_addresses`), the engine, thresholds, overlaps, replacing, names of persons. Importing this module imports Presidio: do
it inside a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, IbanRecognizer, UsSsnRecognizer

from dataset_pipeline.transforms.pii_addresses import Emails, Ips, Urls
from dataset_pipeline.transforms.pii_formats import (
    CARD_RUN,
    CARD_SIZES,
    COMMON_CARD,
    NUMBERED_THING_BEFORE,
    has_card_groups,
    has_rare_card_groups,
    iban_spans,
    is_card_run,
    is_issued,
    passes_luhn,
)
from dataset_pipeline.transforms.pii_found import ReadTwice, finding_of, words_before
from dataset_pipeline.transforms.pii_phones import Phones
from dataset_pipeline.transforms.pii_view import number_view


class Cards(ReadTwice, CreditCardRecognizer):  # type: ignore[misc]
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

    def search(self, text: str) -> list[RecognizerResult]:
        results = []
        for run in CARD_RUN.finditer(number_view(text)):
            groups = list(re.finditer(r"[0-9]+", run.group()))
            position = 0
            while position < len(groups):
                last = self._card_end(run.group(), groups, position)
                if last is not None:
                    span = (run.start() + groups[position].start(), run.start() + groups[last].end())
                    digits = re.sub("[^0-9]", "", run.group()[span[0] - run.start() : span[1] - run.start()])
                    results.append(finding_of(self, span, self._score(digits, words_before(text, span[0]))))
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
            if written[last].count("\n") > 1 and (first > 0 or last < len(groups) - 1):
                continue  # of a longer column of numbers
            is_written_oddly = has_card_groups(lengths) or has_rare_card_groups(lengths)
            if is_written_oddly and COMMON_CARD.fullmatch(digits):
                return last
        return None


class Ibans(ReadTwice, IbanRecognizer):  # type: ignore[misc]
    """IBANs in either case, compact or in groups: country, its length, check digits (ISO 7064 mod 97)."""

    def __init__(self) -> None:
        super().__init__(name="ibans")

    def search(self, text: str) -> list[RecognizerResult]:
        return [finding_of(self, span, EntityRecognizer.MAX_SCORE) for span in iban_spans(number_view(text))]


GAPS_SCORE = 0.2


class Ssns(ReadTwice, UsSsnRecognizer):  # type: ignore[misc]
    """US social security numbers: 3-2-4 with hyphens; with dots or spaces where the text speaks of them (a form or a table
    names them once), nine bare digits only beside a context word. Presidio's own rules say which are never issued."""

    PATTERNS = [  # noqa: RUF012 (Presidio's own form)
        Pattern("hyphens", r"(?<![^\W_])(?<![.+-])[0-9]{3}-\n?[0-9]{2}-\n?[0-9]{4}(?![\w-])", 0.5),
        Pattern("gaps", r"(?<![^\W_])(?<![.+-])[0-9]{3}([ .])[0-9]{2}\1[0-9]{4}(?![\w-])", GAPS_SCORE),
        Pattern("run", r"(?<![^\W_])(?<![.+-])[0-9]{9}(?![\w-])", 0.05),
    ]
    CONTEXT = ["social", "socials", "ssn", "ssns"]  # noqa: RUF012
    TOLD = re.compile(r"(?<![^\W_])ssns?(?![^\W_])|\bsocial security\b|\bsocials\b", re.IGNORECASE)

    def __init__(self) -> None:
        super().__init__(name="ssns")

    def search(self, text: str) -> list[RecognizerResult]:
        view = number_view(text)
        results = PatternRecognizer.analyze(self, view, self.supported_entities)
        is_told = any(result.score > GAPS_SCORE for result in results) or self.TOLD.search(view)
        for result in results:
            if result.score == GAPS_SCORE and is_told:
                result.score = 0.5
        return [r for r in results if not NUMBERED_THING_BEFORE.search(words_before(view, r.start))]


def recognizer_of(entity: str, phone_regions: tuple[str, ...]) -> EntityRecognizer:
    """The recognizer of one entity of the spec; KeyError for one that no pattern finds (PERSON)."""
    if entity == "PHONE_NUMBER":
        return Phones(phone_regions)
    by_entity: dict[str, Callable[[], EntityRecognizer]] = {
        "EMAIL_ADDRESS": Emails,
        "URL": Urls,
        "CREDIT_CARD": Cards,
        "IBAN_CODE": Ibans,
        "IP_ADDRESS": Ips,
        "US_SSN": Ssns,
    }
    return by_entity[entity]()
