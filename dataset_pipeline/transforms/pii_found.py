"""What our recognizers share: the words before a finding, and a finding in Presidio's form. Importing it imports Presidio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from presidio_analyzer import AnalysisExplanation, RecognizerResult

from dataset_pipeline.transforms.pii_view import meant

BEFORE_CHARS = 48
"""How far back the words are read that say what a number is: a noun, 'number', 'is', punctuation."""


def words_before(text: str, start: int) -> str:
    return text[max(0, start - BEFORE_CHARS) : start]


def finding_of(recognizer: Any, span: tuple[int, int], score: float) -> RecognizerResult:
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


class ReadTwice(ABC):
    """A recognizer that searches a text as it is written, and as it is meant where that differs."""

    @abstractmethod
    def search(self, text: str) -> list[RecognizerResult]:
        """What is found in one reading, at its places in that reading."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None, regex_flags: int | None = None
    ) -> list[RecognizerResult]:
        results = self.search(text)
        if (read := meant(text)) is not None:
            known = {(result.start, result.end) for result in results}
            for result in self.search(read.text):
                result.start, result.end = read.written(result.start, result.end)
                if (result.start, result.end) not in known:
                    results.append(result)
        return results
