"""What is found of labelled personal data in texts that were written without a look at the rules: floors for every build.

How they were written, and what was found of each at first sight, stands in `personal_data/README.md`.
"""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.personal import quality
from benchmarks.personal_texts import LETTER_ENTITIES, LETTERS, letters
from dataset_pipeline.memo import direct
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.transforms.persons import NONE, find_in_records
from dataset_pipeline.transforms.pii import find_pii

PARAMS = Pii(entities=LETTER_ENTITIES)

FLOORS = {
    "CREDIT_CARD": (0.98, 0.98),
    "PHONE_NUMBER": (0.94, 0.98),
    "EMAIL_ADDRESS": (1.0, 1.0),
    "IBAN_CODE": (1.0, 1.0),
    "IP_ADDRESS": (0.95, 0.98),
    "US_SSN": (0.95, 1.0),
    "URL": (0.95, 0.98),
    "PERSON": (0.92, 0.96),
}
"""Recall and precision. Of addresses, loopback and those that read like versions (9.9.9.9) are left: they are a tenth of one set."""


@cache
def found() -> dict[str, dict[str, int]]:
    """Counts over the three sets, by entity."""
    rows = [row for name in LETTERS for row in letters(name)]
    texts = [row.text for row in rows]
    known = dict(zip(texts, find_pii(texts, PARAMS), strict=True))
    told = find_in_records([[text] for text in texts], [None] * len(texts), known, PARAMS, direct, NONE)
    spans = [[(f.start, f.end, f.entity) for f in findings[0]] for findings, _ in told]
    return quality(rows, spans, LETTER_ENTITIES)


@pytest.mark.parametrize("entity", LETTER_ENTITIES)
def test_personal_data_of_labelled_letters_is_found(entity: str) -> None:
    counts, (recall, precision) = found()[entity], FLOORS[entity]
    assert counts["labelled"] > 150
    assert counts["found"] >= recall * counts["labelled"], counts
    assert counts["right"] >= precision * counts["findings"], counts


def test_personal_data_is_not_found_in_letters_without_any() -> None:
    traps = [row.text for name in LETTERS for row in letters(name) if not row.spans]
    assert len(traps) > 600
    hit = [text for text, findings in zip(traps, find_pii(traps, PARAMS), strict=True) if findings]
    assert len(hit) <= 0.015 * len(traps), hit
