"""Ours: `find_pii`, and names by what texts say where PERSON is asked for; `registry`: the same recognizers in Presidio's engine
alone, asked for every entity of every text."""

from __future__ import annotations

from typing import Any

import common

from dataset_pipeline.memo import direct
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.transforms import persons, pii


def search(texts: list[str], way: str, params: Pii) -> list[list[pii.Finding]]:
    if way == "registry":
        patterns = tuple(sorted(frozenset(params.entities) - {"PERSON"}))
        return [pii.analyzed(text, patterns, params.phone_regions) for text in texts]
    found = pii.find_pii(texts, params)
    if "PERSON" not in params.entities:
        return found
    known = dict(zip(texts, found, strict=True))
    told = persons.find_in_records(
        [[text] for text in texts], [None] * len(texts), known, params, direct, persons.NONE
    )
    return [findings[0] for findings, _ in told]


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts, params = common.texts_of(task["texts"]), Pii(entities=tuple(task["entities"]))
    # Engines are made, and what libphonenumber knows of a country is read, at the first texts that need it.
    search([*common.WARM_UP, *texts[: common.WARM_TEXTS]], task["way"], params)
    with watch:
        found = search(texts, task["way"], params)
    return {"findings": [[(f.start, f.end, f.entity) for f in row] for row in found]}


if __name__ == "__main__":
    common.run(work)
