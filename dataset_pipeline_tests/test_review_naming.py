"""Which verdict stands, against a plain loop over every verdict and record, on drawn cases.

Lives here: `transforms.review_naming` as `naming` and `resolved` use it. Keep out: cases with a name (`test_reviews`).
"""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.records import REVIEWS, TABLES, Step, empty
from dataset_pipeline.transforms.reviews import naming, resolved

KNOWN = {
    "record_id": pl.String, "day": pl.Date, "source": pl.String, "source_id": pl.String, "content": pl.String,
}  # fmt: skip


def day(number: int) -> dt.date:
    return dt.date(2026, 1, number)


def drawn(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A few records and verdicts that share ids, texts, dates and reviewers more often than not."""
    some = random.Random(seed)
    records = [
        {"record_id": f"r{n}", "day": day(some.randint(1, 4)), "source": some.choice("st"),
         "source_id": some.choice([None, "1", "2"]), "content": some.choice([None, "x", "y"])}
        for n in range(some.randint(1, 8))
    ]  # fmt: skip
    verdicts = []
    for line in range(some.randint(1, 8)):
        record = some.choice([None] + [f"r{n}" for n in range(10)])
        is_named = record is None or some.random() < 0.4
        verdicts.append(
            {"record": record, "source": some.choice("st") if is_named else None,
             "source_id": some.choice("12") if is_named else None, "content": some.choice([None, "x", "y"]),
             "step": "filter", "verdict": some.choice(["keep", "drop"]), "value": None,
             "reviewer": some.choice(["Jo", "jo ", "Ann"]), "date": some.choice([None, day(1), day(2)]),
             "uri": "f", "line": line, "state": ""}
        )  # fmt: skip
    return records, verdicts


def nearness(verdict: dict[str, Any], record: dict[str, Any], records: list[dict[str, Any]]) -> int | None:
    """0: names the record; 1: another of its source and id; 2: another of its text; None: does not mean it."""
    if verdict["record"] == record["record_id"]:
        return 0
    own = next((r for r in records if r["record_id"] == verdict["record"]), None)
    source, source_id, content = (
        (own or verdict)["source"], (own or verdict)["source_id"], (own or verdict)["content"] or verdict["content"],
    )  # fmt: skip
    if own is not None and record["day"] < own["day"]:
        return None
    has_text = content is not None and content == record["content"]
    if record["source_id"] is None:
        return 2 if source == record["source"] and has_text else None
    if (source, source_id) != (record["source"], record["source_id"]):
        return None
    if verdict["record"] is None:
        return 0
    key = ("source", "source_id", "day")
    is_shared = sum(all(r[k] == record[k] for k in key) for r in records) > 1
    return 1 if has_text or not is_shared else None


def acting(records: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> dict[str, int]:
    """record_id to the line of the verdict that acts on it."""
    found = {}
    for record in records:
        near = [(n, v) for v in verdicts if (n := nearness(v, record, records)) is not None]
        nearest = [v for n, v in near if n == min(n for n, _ in near)]
        ordered = sorted(nearest, key=lambda v: (v["date"] or dt.date.min, v["line"]))
        last = [v for v in ordered if v["date"] == ordered[-1]["date"]]
        if last and len(set({v["reviewer"].strip().lower(): v["verdict"] for v in last}.values())) == 1:
            found[record["record_id"]] = last[-1]["line"]
    return found


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_naming_agrees_with_a_plain_loop_and_with_the_states(first: int) -> None:
    for seed in range(first, first + 40):
        records, verdicts = drawn(seed)
        known = pl.DataFrame(records, schema=KNOWN)
        table = pl.DataFrame(verdicts, schema=TABLES[REVIEWS])
        expected = acting(records, verdicts)
        found = naming(table, known, Step.FILTER)
        assert dict(found.select("record_id", "line").iter_rows()) == expected, seed
        filled = resolved(table, known, empty(REVIEWS))
        assert set(filled.filter(pl.col("state") == "acts")["line"]) == set(expected.values()), seed
        assert naming(filled, known.reverse(), Step.FILTER).equals(found), seed
