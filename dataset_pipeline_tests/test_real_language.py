"""Real texts and their language: what English loses, what is caught of 74 other languages, and other languages asked for."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from benchmarks.language_texts import SUPPORT, Text, english, sentences, short
from dataset_pipeline.transforms.language import Told, detect, foreign_detail

pytestmark = pytest.mark.real_data

FOREIGN_EACH = 60
"""Sentences of each language; all 74,000 take half a minute."""
ENGLISH_EACH = 4_000


def folder() -> Path:
    return Path(os.environ["DATASET_PIPELINE_REAL_DATA"])


@cache
def kinds() -> dict[str, list[str]]:
    return english(folder())


@cache
def told() -> list[Text]:
    """Sentences of all languages, spread over each file."""
    by_language: dict[str, list[Text]] = {}
    for text in sentences(folder()):
        by_language.setdefault(text.language, []).append(text)
    assert len(by_language) == 75
    return [text for texts in by_language.values() for text in texts[:: len(texts) // FOREIGN_EACH]]


def taken_for_foreign(texts: list[str], languages: tuple[str, ...]) -> list[str]:
    found = detect(pl.Series(texts, dtype=pl.String), languages).rows()
    return [
        text
        for text, row in zip(texts, found, strict=True)
        if foreign_detail(text, Told(*row), languages) is not None
    ]


def share(texts: list[str], languages: tuple[str, ...]) -> float:
    return len(taken_for_foreign(texts, languages)) / len(texts)


def test_real_language_english_support_questions_are_kept() -> None:
    assert len(kinds()[SUPPORT]) > 36_000
    assert share(kinds()[SUPPORT], ("en",)) <= 0.0002


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("tweets", 0.003), ("conversations", 0.0004), ("instructions", 0.0015), ("word problems", 0.0),
        ("hate test cases", 0.0), ("news", 0.0015), ("code tasks", 0.002), ("code", 0.002), ("addresses", 0.03),
    ],
)  # fmt: skip
def test_real_language_english_of_other_kinds_is_kept(kind: str, most: float) -> None:
    texts = kinds()[kind]
    assert share(texts[:: max(len(texts) // ENGLISH_EACH, 1)], ("en",)) <= most


def test_real_language_foreign_sentences_are_caught() -> None:
    foreign = [text for text in told() if text.language != "en"]
    assert share([text.text for text in foreign], ("en",)) >= 0.994
    assert share([text.text for text in short(foreign)], ("en",)) >= 0.98


@pytest.mark.parametrize(
    ("languages", "caught", "short_caught"),
    [
        (("de",), 0.99, 0.985), (("de", "en"), 0.985, 0.975), (("es", "pt"), 0.985, 0.97), (("zh",), 0.995, 0.99),
        (("hi",), 0.99, 0.985), (("ar", "fa"), 0.995, 0.99), (("ru", "uk"), 0.985, 0.975),
    ],
)  # fmt: skip
def test_real_language_other_languages_keep_their_own_and_catch_the_rest(
    languages: tuple[str, ...], caught: float, short_caught: float
) -> None:
    own = [text for text in told() if text.language in languages]
    others = [text for text in told() if text.language not in languages][::3]
    assert share([text.text for text in own], languages) == 0.0
    assert share([text.text for text in short(own)], languages) <= 0.01
    assert share([text.text for text in others], languages) >= caught
    assert share([text.text for text in short(others)], languages) >= short_caught
