"""clean-text without what loses letters on purpose (ASCII, lower case); all else as it comes."""

from __future__ import annotations

from typing import Any

import common
from cleantext import clean


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    clean("schÃ¶n", to_ascii=False, lower=False)
    with watch:
        found = [clean(text, to_ascii=False, lower=False) for text in texts]
    return {"texts": found}


if __name__ == "__main__":
    common.run(work)
