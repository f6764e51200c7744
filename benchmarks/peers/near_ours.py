"""Ours: `near_pairs` on the texts alone, verification included."""

from __future__ import annotations

from typing import Any

import common
import datasketch  # noqa: F401 - like the peers' own, its import is not timed
import polars as pl

from dataset_pipeline.spec.models import Near
from dataset_pipeline.transforms.near_pairs import near_pairs


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = pl.Series("text", common.texts_of(task["texts"]), dtype=pl.String)
    near = Near(threshold=task["threshold"], seed=task["seed"])
    with watch:
        found = near_pairs(texts, task["ngram"], near, task["threshold"])
    pairs = found.pairs.select("left", "right").rows()
    return {"pairs": pairs, "capped_buckets": found.capped_buckets, "left_out": found.left_out}


if __name__ == "__main__":
    common.run(work)
