"""Recipes that look back: the same hash however the days are asked for."""

from __future__ import annotations

import datetime as dt
import random

from dataset_pipeline.assets.recipes import Past
from dataset_pipeline.records import Step, sha256_text
from dataset_pipeline.storage.publishing import Publication

DAYS = [dt.date(2026, 3, 1) + dt.timedelta(days=n) for n in range(12)]


def _publication(step: str, day: dt.date, said: str, read: str | None = None) -> Publication:
    reads = "{}" if read is None else f'{{"ingest {day}": "{read}"}}'
    return Publication(1, step, day, "r", f"whole {said}", said, "p", f'{{"reads": {reads}}}', 1, 1, "run")


def _latest(days: list[dt.date]) -> dict[tuple[str, dt.date | None], Publication]:
    found: dict[tuple[str, dt.date | None], Publication] = {}
    for day in days:
        found[(Step.INGEST, day)] = _publication(Step.INGEST, day, f"in {day}")
        found[(Step.DEDUP, day)] = _publication(Step.DEDUP, day, f"out {day}", f"in {day}")
    return found


def _by_hand(days: list[dt.date], before: dt.date, word: str = "out") -> str:
    return sha256_text(*(f"{day} {word} {day}" for day in days if day < before))


def test_running_hash_is_that_of_all_days_before_whatever_the_order_of_asking() -> None:
    past, order = Past(_latest(DAYS)), [*DAYS, DAYS[-1] + dt.timedelta(days=1)]
    random.Random(7).shuffle(order)
    for day in order:
        assert past.running_hash(Step.DEDUP, day) == _by_hand(DAYS, day)
        assert past.running_hash(Step.DEDUP, day, whole=True) == _by_hand(DAYS, day, "whole out")


def test_running_hash_after_a_day_was_published_anew_is_that_of_a_new_look() -> None:
    past = Past(_latest(DAYS))
    asked = DAYS[-1]
    before = past.running_hash(Step.DEDUP, asked)
    past.put(Step.DEDUP, DAYS[3], _publication(Step.DEDUP, DAYS[3], "other", f"in {DAYS[3]}"))
    assert past.running_hash(Step.DEDUP, asked) == Past(past.latest).running_hash(Step.DEDUP, asked) != before
    assert past.running_hash(Step.DEDUP, DAYS[3]) == _by_hand(DAYS, DAYS[3]), (
        "the days before it are as they were"
    )


def test_running_hash_day_filled_in_between_counts_from_the_next_day_on() -> None:
    gap = [day for day in DAYS if day != DAYS[5]]
    past = Past(_latest(gap))
    assert past.running_hash(Step.DEDUP, DAYS[8]) == _by_hand(gap, DAYS[8])
    past.put(Step.INGEST, DAYS[5], _publication(Step.INGEST, DAYS[5], f"in {DAYS[5]}"))
    assert past.running_hash(Step.DEDUP, DAYS[8]) == _by_hand(gap, DAYS[8]), "dedup has not made it yet"
    past.put(Step.DEDUP, DAYS[5], _publication(Step.DEDUP, DAYS[5], f"out {DAYS[5]}", f"in {DAYS[5]}"))
    assert past.running_hash(Step.DEDUP, DAYS[5]) == _by_hand(DAYS, DAYS[5])
    assert past.running_hash(Step.DEDUP, DAYS[8]) == _by_hand(DAYS, DAYS[8])


def test_running_hash_day_whose_input_moved_on_says_so() -> None:
    latest = _latest(DAYS)
    latest[(Step.INGEST, DAYS[2])] = _publication(Step.INGEST, DAYS[2], "moved on")
    past = Past(latest)
    assert past.running_hash(Step.DEDUP, DAYS[2]) == _by_hand(DAYS, DAYS[2])
    assert past.running_hash(Step.DEDUP, DAYS[3]) != _by_hand(DAYS, DAYS[3])
