"""Ours: `find_pii` with the settings of a spec that says nothing; `registry`: the same recognizers in Presidio's engine alone,
asked for every entity of every text."""

from __future__ import annotations

from typing import Any

import common

from dataset_pipeline.spec.models import Pii
from dataset_pipeline.transforms import pii

PARAMS = Pii()
PATTERNS = tuple(sorted(frozenset(PARAMS.entities) - {"PERSON"}))


def search(texts: list[str], way: str) -> list[list[pii.Finding]]:
    if way == "registry":
        return [pii.analyzed(text, PATTERNS, PARAMS.phone_regions) for text in texts]
    return pii.find_pii(texts, PARAMS)


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    search(["Call 030 1234567 or jo@example.com."], task["way"])  # engines are made at the first text
    with watch:
        found = search(texts, task["way"])
    return {"findings": [[(f.start, f.end, f.entity) for f in row] for row in found]}


if __name__ == "__main__":
    common.run(work)
