"""Rights of a release: the strictest of its records, batch by batch, and uses that some record lacks."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl

from dataset_pipeline.records import TABLES
from dataset_pipeline.transforms import rights

ONE, TWO = dt.date(2026, 3, 1), dt.date(2026, 3, 2)
EVERY = ["train", "evaluate", "commercial", "redistribute"]


def batch(source: str, day: dt.date = ONE, **changes: Any) -> dict[str, Any]:
    return {
        "source": source, "day": day, "uri": f"{source}/{day}.jsonl", "kind": "licensed", "license": "MIT",
        "holder": "Example GmbH", "basis": "terms", "uses": EVERY, "generator": None,
    } | changes  # fmt: skip


def granted(batches: list[dict[str, Any]], *released: tuple[str, str, dt.date, str]) -> pl.DataFrame:
    """GRANT of records (id, source, day, split)."""
    table = pl.DataFrame(
        [{name: row.get(name) for name in TABLES["batches"]} for row in batches], schema=TABLES["batches"]
    )
    ids = pl.DataFrame(released, schema=["record_id", "source", "day", "split"], orient="row")
    uri = pl.format("{}/{}.jsonl", "source", pl.col("day").dt.to_string())
    return rights.granted(ids.select("record_id", "split"), ids.with_columns(uri=uri), table)


def test_rights_of_a_release_are_what_every_record_allows() -> None:
    batches = [batch("a"), batch("b", license="CC-BY-NC-4.0", uses=["train", "evaluate", "redistribute"])]
    own = rights.strictest(
        granted(batches, ("1", "a", ONE, "train"), ("2", "b", ONE, "test"), ("3", "b", ONE, "train")),
        None,
        ["train"],
    )
    assert own.uses == ("train", "evaluate", "redistribute") and own.asked == ("train",)
    assert own.obligations.asked == {"attribution", "non_commercial"}
    assert own.license == "CC-BY-NC-4.0"
    assert own.licenses == (("CC-BY-NC-4.0", 2), ("MIT", 1))


def test_rights_count_released_records_only() -> None:
    batches = [batch("a"), batch("b", license="CC-BY-NC-4.0", uses=["train"])]
    own = rights.strictest(granted(batches, ("1", "a", ONE, "train")), None, ["train"])
    assert own.license == "MIT" and own.uses == tuple(EVERY)


def test_evaluate_is_asked_of_held_out_records_only() -> None:
    batches = [batch("a"), batch("b", uses=["train"])]
    rows = granted(batches, ("1", "a", ONE, "test"), ("2", "b", ONE, "train"))
    assert rights.strictest(rows, None, ["train"]).uses == ("train", "evaluate")
    assert rights.uses_missing(rows, ["train", "evaluate"]) == (0, None)
    held_out = granted(batches, ("1", "a", ONE, "test"), ("2", "b", ONE, "validation"))
    assert rights.strictest(held_out, None, ["train"]).uses == ("train",)
    assert rights.uses_missing(held_out, ["evaluate"]) == (1, "evaluate: source b (1 record)")


def test_rights_of_a_source_may_change_from_batch_to_batch() -> None:
    batches = [batch("a"), batch("a", TWO, license="CC-BY-SA-4.0", uses=["train"], holder="Other Ltd")]
    rows = granted(batches, ("1", "a", ONE, "train"), ("2", "a", TWO, "train"), ("3", "a", TWO, "train"))
    assert [(g.license, g.holder, g.uses, g.records) for g in rights.grants(rows)] == [
        ("CC-BY-SA-4.0", "Other Ltd", ("train",), 2),
        ("MIT", "Example GmbH", tuple(EVERY), 1),
    ]
    assert rights.uses_missing(rows, ["train", "commercial"]) == (2, "commercial: source a (2 records)")


def test_uses_missing_counts_a_record_once_and_names_every_use_and_source() -> None:
    batches = [batch("wiki", uses=["train"]), batch("news", uses=["train", "redistribute"])]
    rows = granted(
        batches, ("1", "wiki", ONE, "test"), ("2", "wiki", ONE, "train"), ("3", "news", ONE, "train")
    )
    assert rights.uses_missing(rows, EVERY) == (
        3,
        "evaluate: source wiki (1 record); commercial: source news (1 record); "
        "commercial: source wiki (2 records); redistribute: source wiki (2 records)",
    )


def test_uses_missing_names_twenty_and_counts_the_rest() -> None:
    names = [f"s{n:02}" for n in range(25)]
    rows = granted(
        [batch(name, uses=["train"]) for name in names], *((name, name, ONE, "train") for name in names)
    )
    count, words = rights.uses_missing(rows, ["commercial"])
    assert count == 25 and words is not None and words.count("source") == 20 and words.endswith("and 5 more")


def test_a_record_whose_batch_is_not_known_allows_nothing() -> None:
    rows = granted([batch("a")], ("1", "a", ONE, "train"), ("2", "b", ONE, "train"))
    assert rights.strictest(rows, None, ["train"]).uses == ()
    assert rights.uses_missing(rows, ["train"]) == (1, "train: source b (1 record)")


def test_licence_of_the_spec_goes_before_that_of_the_records() -> None:
    rows = granted([batch("a")], ("1", "a", ONE, "train"))
    assert rights.strictest(rows, "CC-BY-4.0", ["train"]).license == "CC-BY-4.0"


def test_an_empty_release_allows_nothing_and_lacks_nothing() -> None:
    rows = granted([batch("a")], ("1", "a", ONE, "train")).clear()
    own = rights.strictest(rows, None, ["train"])
    assert own.uses == () and own.license is None and own.grants == ()
    assert rights.uses_missing(rows, EVERY) == (0, None)


def test_two_batches_of_one_file_do_not_double_a_record() -> None:
    rows = granted([batch("a"), batch("a")], ("1", "a", ONE, "train"))
    assert rows.height == 1


def test_generator_is_told_in_words() -> None:
    told = {"model": "m-1", "provider": "P Inc", "permits_training": True, "terms": "section 3", "terms_reviewed": "2026-01-02"}  # fmt: skip
    assert rights.generator_words(json.dumps(told)) == "m-1 of P Inc (terms: section 3, reviewed 2026-01-02)"
    assert rights.generator_words(None) is None
