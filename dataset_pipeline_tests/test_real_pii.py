"""Personal data in texts that nobody here wrote: what is found of what is labelled, and the same as Presidio's engine finds."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from benchmarks.personal import quality
from benchmarks.personal_texts import Labelled, labelled, text_sets
from dataset_pipeline.spec.models import EVERY_ENTITY, Pii
from dataset_pipeline.transforms.pii import analyzed, find_pii
from dataset_pipeline.transforms.pii_letters import named_in

pytestmark = pytest.mark.real_data

PARAMS = Pii(entities=EVERY_ENTITY)
PATTERNS = tuple(sorted(frozenset(PARAMS.entities) - {"PERSON"}))
SETS = (
    "support questions", "tweets", "conversations", "word problems", "code", "instructions", "labelled templates",
    "long notes",
)  # fmt: skip


def folder() -> Path:
    return Path(os.environ["DATASET_PIPELINE_REAL_DATA"])


@cache
def judged() -> dict[str, dict[str, int]]:
    rows: list[Labelled] = labelled(folder())
    found = find_pii([row.text for row in rows], PARAMS)
    return quality(rows, [[(f.start, f.end, f.entity) for f in findings] for findings in found])


@pytest.mark.parametrize(
    ("entity", "recall", "precision"),
    [
        ("CREDIT_CARD", 0.98, 0.98), ("PHONE_NUMBER", 0.9, 0.95), ("EMAIL_ADDRESS", 1.0, 1.0),
        ("IBAN_CODE", 1.0, 1.0), ("IP_ADDRESS", 1.0, 1.0), ("US_SSN", 1.0, 1.0),
    ],
)  # fmt: skip
def test_real_pii_of_labelled_templates_is_found(entity: str, recall: float, precision: float) -> None:
    counts = judged()[entity]
    assert counts["labelled"] > 5
    assert counts["found"] >= recall * counts["labelled"]
    assert counts["right"] >= precision * counts["findings"]


def _same(texts: list[str]) -> None:
    expected = [analyzed(text, PATTERNS, PARAMS.phone_regions) for text in texts]
    assert find_pii(texts, PARAMS) == expected


@pytest.mark.parametrize("name", SETS)
def test_real_pii_findings_are_those_of_the_plain_engine(name: str) -> None:
    _same(text_sets(folder(), 800)[name])


@pytest.mark.faults
@pytest.mark.parametrize("name", SETS)
def test_real_pii_findings_are_those_of_the_plain_engine_on_every_text(name: str) -> None:
    _same(text_sets(folder(), 10**9)[name])


@pytest.mark.parametrize("name", ["word problems", "code", "instructions"])
def test_real_pii_is_hardly_found_in_technical_text(name: str) -> None:
    """File names, versions, dates and expressions are no personal data."""
    found = find_pii(text_sets(folder(), 5_000)[name], Pii())
    assert sum(bool(findings) for findings in found) <= 0.01 * len(found)


@pytest.mark.parametrize("name", ["word problems", "code", "instructions"])
def test_real_pii_hosts_are_hardly_found_in_technical_text(name: str) -> None:
    """What has neither a scheme nor a path reads like an attribute or a file (`sys.pa`, `main.py`)."""
    texts = text_sets(folder(), 5_000)[name]
    found = find_pii(texts, Pii(entities=("URL",)))
    hit = [
        any("://" not in text[f.start : f.end] for f in own) for text, own in zip(texts, found, strict=True)
    ]
    assert sum(hit) <= 0.02 * len(texts)


@pytest.mark.parametrize(
    ("name", "most"), [("support questions", 5), ("code", 5), ("word problems", 0), ("instructions", 0)]
)
def test_real_pii_names_are_hardly_found_where_nobody_writes_a_letter(name: str, most: int) -> None:
    """Three of these say "my name is", one is a string of code that does."""
    assert sum(bool(named_in(text)) for text in text_sets(folder(), 4_000)[name]) <= most
