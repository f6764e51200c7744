"""Ours: what normalize asks of a text's language, for the languages of each task."""

from __future__ import annotations

from typing import Any

import common
import polars as pl

from dataset_pipeline.transforms.language import Told, detect, foreign_detail


def foreign(texts: list[str], languages: tuple[str, ...]) -> list[bool]:
    told = detect(pl.Series(texts, dtype=pl.String), languages).rows()
    return [
        foreign_detail(text, Told(*row), languages) is not None for text, row in zip(texts, told, strict=True)
    ]


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts, languages = common.texts_of(task["texts"]), tuple(task["languages"])
    foreign(["Hello there"], languages)  # the model is read at the first text
    with watch:
        found = foreign(texts, languages)
    return {"foreign": found}


if __name__ == "__main__":
    common.run(work)
