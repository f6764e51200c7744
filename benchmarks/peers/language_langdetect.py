"""langdetect: a text is foreign whose language is told and none of the task's."""

from __future__ import annotations

from typing import Any

import common
from langdetect import DetectorFactory, LangDetectException, detect

SAME = {"no": "nb", "zh-cn": "zh", "zh-tw": "zh"}


def told(text: str) -> str | None:
    try:
        found = detect(text)
    except LangDetectException:  # a text without letters
        return None
    return SAME.get(found, found)


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    DetectorFactory.seed = 0  # it draws at random otherwise
    told("Hello there")
    with watch:
        codes = [told(text) for text in texts]
    return {"foreign": [code is not None and code not in task["languages"] for code in codes]}


if __name__ == "__main__":
    common.run(work)
