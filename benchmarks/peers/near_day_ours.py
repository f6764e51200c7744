"""Ours: one day of new records against a history, as `dedup` takes it. The history's fingerprints are made before the
time is taken; of the day are timed its fingerprints, its candidates, and verification with the verdicts."""

from __future__ import annotations

import datetime as dt
import random
import time
from pathlib import Path
from typing import Any

import common
import polars as pl

from benchmarks.planted import sentences_of
from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms import dedup

SEED = 7
AT_ONCE = 100_000
"""Records of the history fingerprinted at a time."""
COPIED = 0.1
"""Share of the day that is a near copy of a record of the history: two words changed."""
FIRST, SPREAD = dt.date(2024, 1, 1), 700
"""The history's first day, and the days it is spread over."""


def records(texts: list[str], start: int, days: list[dt.date]) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"text": texts, "record_id": [f"{start + n:032x}" for n in range(len(texts))], "day": days}
    )
    turn = [
        pl.struct(role=pl.lit("user"), content=pl.col("text")),
        pl.struct(role=pl.lit("assistant"), content=pl.lit("done")),
    ]
    return frame.select(
        "record_id", "day", source_rank=pl.lit(1, pl.Int32), messages=pl.concat_list(turn).cast(MESSAGES)
    )


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    rng = random.Random(SEED)
    sentences = sentences_of(Path(task["data"]))
    count = task["history"]
    texts = [" ".join(rng.choices(sentences, k=3)) for _ in range(count)]
    near = Near()
    params = DedupParams(answers_are_labels=False, label_names={}, near=near, ngram=task["ngram"])
    parts = []
    for start in range(0, count, AT_ONCE):
        some = texts[start : start + AT_ONCE]
        days = [FIRST + dt.timedelta(days=(start + n) * SPREAD // count) for n in range(len(some))]
        parts.append(dedup.fingerprint(records(some, start, days), params))
    history = pl.concat(parts)
    new = [" ".join(rng.choices(sentences, k=3)) for _ in range(task["new"])]
    for place in range(round(task["new"] * COPIED)):
        words = rng.choice(texts).split(" ")
        words[0], words[-1] = "Changed", "here."
        new[place] = " ".join(words)
    day = records(new, count, [FIRST + dt.timedelta(days=SPREAD)] * len(new))
    old = {f"{number:032x}": number for number in range(count)}
    with watch:
        started = time.perf_counter()
        prints = dedup.fingerprint(day, params)
        printed = time.perf_counter()
        met = dedup.met(prints, history)
        found = dedup.candidates(prints, met, params)
        paired = time.perf_counter()
    # Fetching the texts of candidates is the warehouse's work, and measured elsewhere.
    wanted = found.pairs["other_id"].unique().sort().to_list()
    numbers = [old[name] for name in wanted]
    fetched = records([texts[n] for n in numbers], 0, [FIRST] * len(numbers)).with_columns(
        record_id=pl.Series(wanted, dtype=pl.String)
    )
    fetching = time.perf_counter()
    table = dedup.dedup(day, prints, met, found.pairs, fetched, params)
    ended = time.perf_counter()
    figures = {
        "fingerprint_seconds": printed - started,
        "candidates_seconds": paired - printed,
        "dedup_seconds": ended - fetching,
    }
    return figures | {
        "all_seconds": sum(figures.values()), "history": count, "new": len(new), "candidates": found.pairs.height,
        "dropped": table.height - int(table["kept"].sum()), "capped_buckets": found.capped_buckets,
    }  # fmt: skip


if __name__ == "__main__":
    common.run(work)
