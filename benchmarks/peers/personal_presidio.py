"""Plain Presidio: its engine with its own recognizers and a blank spaCy pipeline, asked for the entities that ours has."""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

import common
import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine


class BlankNlpEngine(SpacyNlpEngine):  # type: ignore[misc]
    """Nothing is downloaded."""

    def load(self) -> None:
        nlp = spacy.blank("en")
        nlp.max_length = 10**9
        self.nlp = {"en": nlp}


def engine() -> AnalyzerEngine:
    for name in ("presidio-analyzer", "tldextract", "filelock"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=BlankNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}]),
        supported_languages=["en"],
    )


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    analyzer = engine()
    # Names need a model: without one the engine has no recognizer for them.
    entities = [entity for entity in task["entities"] if entity != "PERSON"]
    for text in [*common.WARM_UP, *texts[: common.WARM_TEXTS]]:
        analyzer.analyze(text, language="en", entities=entities)
    with watch:
        found = [analyzer.analyze(text, language="en", entities=entities) for text in texts]
    return {"findings": [sorted((r.start, r.end, r.entity_type) for r in row) for row in found]}


if __name__ == "__main__":
    common.run(work)
