"""Rights of a release: the strictest of its records, batch by batch, and uses that some record lacks."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import polars as pl

from dataset_pipeline.records import TABLES
from dataset_pipeline.transforms import rights
from dataset_pipeline.transforms.card import uses
from dataset_pipeline.transforms.card.facts import CardFacts
from dataset_pipeline_tests.card_scenario import facts, grant, release_rights

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
    assert own.license == "CC-BY-NC-4.0 AND MIT"
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


def test_evaluate_is_asked_of_nobody_where_nothing_is_held_out() -> None:
    """Gate and card go by one rule: what is asked is never among what some record does not allow."""
    batches = [batch("a"), batch("b", uses=["train"])]
    rows = granted(batches, ("1", "a", ONE, "train"), ("2", "b", ONE, "train"))
    own = rights.strictest(rows, None, ["train", "evaluate"])
    assert (own.uses, own.asked, own.held_out) == (("train", "evaluate"), ("train", "evaluate"), 0)
    assert rights.without("evaluate", own.grants) == {}
    assert rights.uses_missing(rows, ["train", "evaluate"]) == (0, None)
    one = release_rights(grant("b", uses=("train",), held_out=0))
    words = said(facts(rights=dataclasses.replace(one, uses=own.uses, asked=own.asked)))
    assert "Every record allows: train (training a model)." in words
    assert "Not asked: evaluate (" in words and "Validation and test hold no record" in words
    assert "Some records do not allow: commercial" in words and "hold none" in words
    assert "Not asked" not in said(facts())


def said(of: CardFacts) -> str:
    return uses.rights(of) + uses.uses(of)


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
    rows = granted([batch("a")], ("1", "a", ONE, "train"), ("2", "b", ONE, "test"))
    assert rights.strictest(rows, None, ["train"]).uses == ()
    assert rights.uses_missing(rows, ["train"]) == (1, "train: source b (1 record)")


def test_licence_of_the_spec_goes_before_that_of_the_records() -> None:
    rows = granted([batch("a")], ("1", "a", ONE, "train"))
    assert rights.strictest(rows, "CC-BY-4.0", ["train"]).license == "CC-BY-4.0"
    assert rights.license_laxer(rows, "CC-BY-4.0", ["train"]) == (0, None)


def test_licence_of_the_spec_is_not_taken_where_an_older_batch_asks_for_more() -> None:
    """A stale day keeps the rights it came with, and the spec has only the newer, laxer licence."""
    batches = [batch("wiki", license="CC-BY-SA-4.0"), batch("wiki", TWO, license="CC0-1.0"), batch("news")]
    rows = granted(
        batches, ("1", "wiki", ONE, "train"), ("2", "wiki", ONE, "test"), ("3", "wiki", TWO, "train"), ("4", "news", ONE, "train")
    )  # fmt: skip
    own = rights.strictest(rows, "CC0-1.0", ["train"])
    assert own.license == "CC-BY-SA-4.0 AND MIT" and own.obligations.share_alike
    assert rights.license_laxer(rows, "CC0-1.0", ["train"]) == (
        3,
        "source news (1 record) under MIT, which asks for attribution; "
        "source wiki (2 records) under CC-BY-SA-4.0, which asks for attribution and share-alike",
    )
    assert rights.license_laxer(rows, "CC-BY-SA-4.0", ["train"]) == (0, None)
    assert rights.license_laxer(rows, None, ["train"]) == (0, None)


def test_license_laxer_asks_one_whole_alternative_of_a_batch() -> None:
    rows = granted([batch("a", license="CC-BY-NC-4.0 OR CC-BY-SA-4.0")], ("1", "a", ONE, "train"))
    assert rights.license_laxer(rows, "MIT", ["train"]) == (
        1,
        "source a (1 record) under CC-BY-NC-4.0 OR CC-BY-SA-4.0, which asks for share-alike or non-commercial use only",
    )
    assert rights.license_laxer(rows, "CC-BY-NC-4.0", ["train"]) == (0, None)


def test_license_laxer_names_twenty_and_counts_the_rest() -> None:
    names = [f"s{n:02}" for n in range(25)]
    rows = granted(
        [batch(name, license="CC-BY-SA-4.0") for name in names],
        *((name, name, ONE, "train") for name in names),
    )
    count, words = rights.license_laxer(rows, "MIT", ["train"])
    assert count == 25 and words is not None and words.count("source") == 20 and words.endswith("and 5 more")


def test_rights_of_a_written_release_are_those_of_its_records() -> None:
    written = pl.DataFrame(
        {"record_id": ["1", "2"], "split": ["train", "test"], "source": ["a", "b"], "license": ["MIT", None], "holder": ["We", None],
         "uses": ["commercial,train", None], "row": [0, 0]}
    )  # fmt: skip
    again = rights.granted_again(written)
    assert dict(again.schema) == dict.fromkeys(rights.GRANT, pl.String)
    assert rights.uses_missing(again, ["commercial"]) == (1, "commercial: source b (1 record)")


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
