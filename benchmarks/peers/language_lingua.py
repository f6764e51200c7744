"""lingua with all its languages: a text is foreign whose language is told and none of the task's."""

from __future__ import annotations

from typing import Any

import common
from lingua import LanguageDetectorBuilder


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()
    detector.detect_language_of("Hello there")
    with watch:
        # Its own way to use every core.
        told = detector.detect_languages_in_parallel_of(texts)
    codes = [language and language.iso_code_639_1.name.lower() for language in told]
    return {"foreign": [code is not None and code not in task["languages"] for code in codes]}


if __name__ == "__main__":
    common.run(work)
