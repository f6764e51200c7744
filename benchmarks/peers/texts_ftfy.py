"""ftfy alone, with its own settings: `fix_text`, or `fix_encoding`, which changes nothing but broken encodings."""

from __future__ import annotations

from typing import Any

import common
import ftfy


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    fix = {"fix_text": ftfy.fix_text, "fix_encoding": ftfy.fix_encoding}[task["way"]]
    fix("schÃ¶n")
    with watch:
        found = [fix(text) for text in texts]
    return {"texts": found}


if __name__ == "__main__":
    common.run(work)
