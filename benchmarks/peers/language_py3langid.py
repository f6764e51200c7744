"""Plain py3langid: a text is foreign whose likeliest language is none of the task's."""

from __future__ import annotations

from typing import Any

import common
from py3langid.langid import MODEL_FILE, LanguageIdentifier

SAME = {"nb": {"no"}, "zh": {"zh", "yue", "wuu"}}


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    own = set().union(*(SAME.get(language, {language}) for language in task["languages"]))
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.classify("Hello there")
    with watch:
        labels = [identifier.classify(text)[0] for text in texts]
    return {"foreign": [label not in own for label in labels]}


if __name__ == "__main__":
    common.run(work)
