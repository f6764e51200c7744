"""Personal data in texts: found by Presidio and by known names, replaced by typed placeholders.

Lives here: the engine, which texts reach it, overlaps, replacing. Keep out: formats (`pii_formats`),
recognizers (`pii_recognizers`), names (`pii_names`), which messages of a record are searched.
Nothing here touches the network, and no error or log holds text of a record.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.spec.models import EVERY_ENTITY, Pii
from dataset_pipeline.transforms.pii_context import MIN_SCORE, TOKEN, is_supported, raised
from dataset_pipeline.transforms.pii_formats import (
    BROKEN_AT,
    ENCODED_AT,
    SEVEN_DIGITS_ON_LINES,
    SPELLED_AT,
    iban_spans,
)
from dataset_pipeline.transforms.pii_names import find_names
from dataset_pipeline.transforms.pii_view import meant, plain_view

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(EVERY_ENTITY)})(?::[a-z2-7]+)?\]")
_DIGIT = re.compile(r"\d")
_HOST = re.compile(r"\w\.[^\W_]|://")
_ADDRESS = re.compile(rf"[\w+&%~-]{BROKEN_AT}\w[\w-]*\.\w")
_MARKED_AT = re.compile(rf"(?:{ENCODED_AT}|{SPELLED_AT})", re.IGNORECASE)
_COLONS = re.compile(r"[0-9A-F]{4}:[0-9A-F:]|ffff:", re.IGNORECASE)
_DOTTED_QUAD = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")
_AT_MARKS = ("%40", "u0040", "&#", "&c", "&C", "(", "[", "{")


@dataclass(frozen=True, order=True)
class Finding:
    """One piece of personal data: characters `start` to `end` of its text, and how sure it is (0 to 1)."""

    start: int
    end: int
    entity: str
    score: float


def possible_entities(text: str) -> frozenset[str]:
    """The pattern entities that `text`, as `plain_view` gives it, can hold: for every other one, its recognizer finds nothing.

    Necessary conditions of the recognizers: an address has its @ between a word and a domain with a dot, or one in a
    writing that its marks tell; a phone seven
    digits with small gaps, a card and a social security number more; an IBAN its check digits; IPv4 three dots among
    digits; IPv6 two colons in a row, or six of them, and four hex digits before one or the prefix of a mapped IPv4.
    """
    possible = set()
    if ("@" in text and _ADDRESS.search(text)) or (
        any(mark in text for mark in _AT_MARKS) and _MARKED_AT.search(text)
    ):
        possible.add("EMAIL_ADDRESS")
    if ("::" in text or text.count(":") >= 6) and _COLONS.search(text):
        possible.add("IP_ADDRESS")
    if ("." in text or "://" in text) and _HOST.search(text):
        possible.add("URL")
    if _DIGIT.search(text):
        text = text.replace("_", " ")  # as numbers are searched
        if SEVEN_DIGITS_ON_LINES.search(text):
            possible |= {"PHONE_NUMBER", "CREDIT_CARD", "US_SSN"}
        if _DOTTED_QUAD.search(text):
            possible.add("IP_ADDRESS")
        if iban_spans(text):
            possible.add("IBAN_CODE")
    return frozenset(possible)


FINDINGS = pl.List(pl.Struct({"start": pl.Int32, "end": pl.Int32, "entity": pl.String, "score": pl.Float64}))
VERSION = 3
"""Raised when a text's findings change: remembered ones are then not used."""


def find_pii(texts: list[str], params: Pii, memo: Memo = direct) -> list[list[Finding]]:
    """What the allowed entities' recognizers find in each text: in order, not overlapping.

    PERSON is not among them: names come from a record's columns (`find_persons`). Existing
    placeholders, and what the spec says is nobody's, are left alone. Equal texts are searched once.
    """
    allowed = frozenset(params.entities) - {"PERSON"}
    possible = {text: tuple(sorted(allowed & _possible(text))) for text in set(texts)}
    searched = pl.Series(
        "text", sorted(text for text, entities in possible.items() if entities), dtype=pl.String
    )

    def search(distinct: pl.Series) -> pl.DataFrame:
        rows = [[vars(f) for f in _found(text, possible[text], params.phone_regions)] for text in distinct]
        return pl.DataFrame({"findings": rows}, schema={"findings": FINDINGS})

    settings = json.dumps([sorted(allowed), params.phone_regions])
    rows = memo("pii", VERSION, settings, searched, search)["findings"].to_list()
    allowed_texts = frozenset(text.casefold() for text in params.allow)
    found = {
        text: [f for f in map(_as_finding, row) if text[f.start : f.end].casefold() not in allowed_texts]
        for text, row in zip(searched, rows, strict=True)
    }
    return [found.get(text, []) for text in texts]


def _possible(text: str) -> frozenset[str]:
    """`possible_entities` of a text as it is written and as it is meant."""
    found = possible_entities(plain_view(text))
    read = meant(text)
    return found if read is None else found | possible_entities(plain_view(read.text))


def _as_finding(row: dict[str, Any]) -> Finding:
    return Finding(**row)


def find_persons(text: str, names: Iterable[str], guessed: Iterable[str] = ()) -> list[Finding]:
    """Where the given names stand in `text`; see `pii_names.find_names` for what counts. guessed: names that nobody gave, but a text."""
    known, others = (
        tuple(sorted({name.strip() for name in some if name and name.strip()})) for some in (names, guessed)
    )
    return [Finding(start, end, "PERSON", score) for start, end, score in find_names(text, known, others)]


def resolved(text: str, findings: Iterable[Finding]) -> list[Finding]:
    """Findings that do not overlap, in order: the highest score wins, then the longest, then the first."""
    taken = [match.span() for match in _PLACEHOLDER.finditer(text)]
    kept = []
    for finding in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.entity)):
        if all(finding.end <= start or end <= finding.start for start, end in taken):
            taken.append((finding.start, finding.end))
            kept.append(finding)
    return sorted(kept)


def placeholder(finding: Finding, text: str) -> str:
    """Such as [EMAIL_ADDRESS]."""
    return f"[{finding.entity}]"


def replaced(
    text: str, findings: Iterable[Finding], word: Callable[[Finding, str], str] = placeholder
) -> str:
    """`text` with `word` of each finding (not overlapping) and of what it found in the finding's place."""
    parts, position = [], 0
    for finding in sorted(findings):
        parts += [text[position : finding.start], word(finding, text[finding.start : finding.end])]
        position = finding.end
    return "".join([*parts, text[position:]])


def _found(text: str, entities: tuple[str, ...], phone_regions: tuple[str, ...]) -> list[Finding]:
    """What `analyzed` finds, at less cost: no engine, and of the text's words only those before a finding are read."""
    recognizers, context = _recognizers(phone_regions)
    found = []
    with _saying_nothing_of(text):
        for entity in entities:
            recognizer = recognizers[entity]
            for result in recognizer.analyze(text, [entity], None):
                if is_supported(text, result.start, recognizer.context, context):
                    result.score = raised(result.score)
                if result.score >= MIN_SCORE:
                    found.append(result)
        found = _uncontained(found)
    return resolved(text, (Finding(r.start, r.end, r.entity_type, round(r.score, 4)) for r in found))


def _uncontained(found: list[Any]) -> list[Any]:
    """Without what lies within another finding of its entity that is as sure."""
    if len(found) < 2:
        return found
    from presidio_analyzer import EntityRecognizer

    kept: list[Any] = EntityRecognizer.remove_duplicates(found)
    return kept


def analyzed(text: str, entities: tuple[str, ...], phone_regions: tuple[str, ...]) -> list[Finding]:
    """What Presidio's engine finds with our recognizers, asked as anybody would: the meaning of `find_pii`."""
    engine = _engine(phone_regions)
    with _saying_nothing_of(text):
        results = engine.analyze(text, language="en", entities=list(entities), score_threshold=MIN_SCORE)
    return resolved(text, (Finding(r.start, r.end, r.entity_type, round(r.score, 4)) for r in results))


@contextlib.contextmanager
def _saying_nothing_of(text: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Presidio's messages quote the text: name the error only, and cut its chain.
        raise RuntimeError(f"PII search failed ({type(error).__name__}) on {len(text)} characters") from None


@lru_cache(maxsize=8)
def _recognizers(phone_regions: tuple[str, ...]) -> tuple[dict[str, Any], frozenset[str]]:
    """The recognizer of each entity that has one, and the context words of all of them."""
    # Presidio imports transformers where it is installed, which says on standard error that it has no PyTorch.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    for name in ("presidio-analyzer", "tldextract", "decision_process", "filelock"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from dataset_pipeline.transforms.pii_recognizers import recognizer_of

    made: dict[str, Any] = {
        entity: recognizer_of(entity, phone_regions) for entity in EVERY_ENTITY if entity != "PERSON"
    }
    return made, frozenset(word for recognizer in made.values() for word in recognizer.context or ())


@lru_cache(maxsize=8)
def _engine(phone_regions: tuple[str, ...]) -> AnalyzerEngine:
    """Presidio with exactly our recognizers and a blank spaCy pipeline: nothing is downloaded."""
    recognizers, context = _recognizers(phone_regions)
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=list(recognizers.values()), supported_languages=["en"]),
        nlp_engine=_blank_nlp_engine(context),
        supported_languages=["en"],
        # Whole words: as parts of words, 'tel' is in 'hotel' and 'cell' in 'cancelled'.
        context_aware_enhancer=LemmaContextAwareEnhancer(
            min_score_with_context_similarity=MIN_SCORE, context_matching_mode="whole_word"
        ),
    )


def _blank_nlp_engine(context: frozenset[str]) -> Any:
    """A blank spaCy pipeline as Presidio's engine; each token's lemma is its lower-cased text.

    A blank pipeline has no lemmas, and without lemmas no context word ever counts. `context` words are
    no stop words: spaCy lists 'call' among them. Tokens are runs of word characters, of marks and of
    space: spaCy's own tokenizer takes minutes for a long text without spaces.
    """
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.tokens import Doc

    class BlankNlpEngine(SpacyNlpEngine):  # type: ignore[misc]
        def load(self) -> None:
            nlp = spacy.blank("en")
            nlp.max_length = sys.maxsize  # the limit guards parsers and taggers, of which there is none

            def tokens(text: str) -> Doc:
                words = TOKEN.findall(text)
                return Doc(
                    nlp.vocab,
                    words=words,
                    spaces=[False] * len(words),
                    lemmas=[word.lower() for word in words],
                )

            nlp.tokenizer = tokens
            self.nlp = {"en": nlp}

        def is_stopword(self, word: str, language: str) -> bool:
            return word not in context and bool(super().is_stopword(word, language))

        def is_punct(self, word: str, language: str) -> bool:
            return not any(map(str.isalnum, word))

    return BlankNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
