"""Why a day is stale, in words: keys of the spec, versions, files, protected items, verdicts.

Lives here: recipes and settings as plain values. Keep out: which day is stale (`test_status`), lines and tables
(`test_plan_words`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import polars as pl
import pytest

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.differences import (
    UNKNOWN_SETTINGS,
    Telling,
    attempt_of,
    file_words,
    item_words,
    with_items,
)
from dataset_pipeline.assets.settings import settings_text, settings_words
from dataset_pipeline.records import PROTECTED, TABLES, Step
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import params_of
from dataset_pipeline.storage.publishing import Publication
from dataset_pipeline_tests.test_spec_leaves import MAXIMAL, SPECIAL, TABLE, _changed

DAY = dt.date(2026, 11, 4)
READERS = {leaf: readers for leaf, (_, readers) in {**TABLE, **SPECIAL}.items() if readers}


def settings(data: Mapping[str, Any], step: str) -> dict[str, Any]:
    params = params_of(Spec.model_validate_json(json.dumps(data)))[step]
    return cast(dict[str, Any], json.loads(settings_text(params)))


# --- keys of the spec -----------------------------------------------------------------------


@pytest.mark.parametrize("leaf", sorted(READERS))
def test_differences_of_every_leaf_name_its_key_or_the_item_that_came_and_went(leaf: str) -> None:
    after = _changed(leaf)
    holder, _, key = leaf.partition("[].")
    for step in sorted(READERS[leaf]):
        told = settings_words(step, settings(MAXIMAL, step), settings(after, step))
        assert told, step
        if leaf.startswith("gates."):
            assert told[0].startswith(f"gates.{step}.drop_rate_per_rule.{leaf.rsplit('.', 1)[1]} ")
        elif leaf == "task.type":
            assert any(words.startswith("task.") for words in told), (step, told)
        elif holder == "task.examples":
            assert told == ["task.examples: 1 added, 1 removed"], step
        elif key in ("name", "path") and any("is new" in words for words in told):
            assert all(words.startswith(f"{holder}[") for words in told), told
        elif key:
            assert any(
                words.startswith(f"{holder}[") and f"].{key} " in words.replace(": ", " ") for words in told
            ), told
        else:
            assert any(words.replace(": ", " ").replace(".", " ").startswith(f"{leaf} ".replace(".", " ")) for words in told), told  # fmt: skip


@pytest.mark.parametrize(
    ("step", "changes", "told"),
    [
        ("filter", {"filter": {"output": {"min_words": 3}}}, ["filter.output.min_words 1 → 3"]),
        ("normalize", {"normalize": {"languages": ["en", "de"]}}, ["normalize.languages: de added"]),
        ("split", {"split": {"seed": 8}}, ["split.seed 7 → 8"]),
        ("label", {"label": {"aliases": {"ex": "y"}}}, ["label.aliases.ex none → y"]),
        ("filter", {"filter": {"profanity": {"add": ["a", "b", "c", "d"]}}}, ["filter.profanity.add: 4 added"]),
    ],
)  # fmt: skip
def test_differences_of_settings_are_short_and_hold_both_values(
    step: str, changes: dict[str, Any], told: list[str]
) -> None:
    bare = {key: MAXIMAL[key] for key in ("name", "task", "sources")} | {"normalize": {"languages": ["en"]}}
    before, after = settings(bare, step), settings(bare | changes, step)
    assert settings_words(step, before, after) == told


def test_differences_of_a_version_and_of_a_source_that_came() -> None:
    before = settings(MAXIMAL, "ingest")
    after = settings(MAXIMAL | {"sources": MAXIMAL["sources"][:2]}, "ingest")
    assert settings_words("ingest", before, after | {"version": 2}) == [
        "ingest 1 → 2", "sources[three] is gone",
    ]  # fmt: skip


def test_settings_text_holds_no_handwritten_example() -> None:
    whole = "".join(
        settings_text(p) for p in params_of(Spec.model_validate_json(json.dumps(MAXIMAL))).values()
    )
    assert "an x" not in whole and '"examples": ["' in whole


# --- files, items ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"file a.jsonl": ("1", "2")}, ["file of 2026-11-04 changed"]),
        ({"file a.jsonl": ("1", "2"), "file b.jsonl": ("1", "1")}, ["file of 2026-11-04 changed: a.jsonl"]),
        ({"file a.jsonl": (None, "2")}, ["file of 2026-11-04 is new"]),
        ({"file a.jsonl": ("1", None), "file b.jsonl": (None, "1")},
         ["file of 2026-11-04 is gone: a.jsonl", "file of 2026-11-04 is new: b.jsonl"]),
    ],
)  # fmt: skip
def test_differences_of_files_name_the_day_and_the_file_where_there_are_several(
    files: dict[str, tuple[str | None, str | None]], told: list[str]
) -> None:
    assert file_words(files, DAY) == told


def test_differences_of_items_are_counted_by_set() -> None:
    was = {"holdout": Counter("abcd"), "gone": Counter("x"), "same": Counter("z"), "examples": Counter("e")}
    now = {
        "holdout": Counter("dfghij"),
        "new": Counter("pq"),
        "same": Counter("z"),
        "examples": Counter("ef"),
    }
    assert item_words(was, now) == [
        "the handwritten examples changed: 1 item added",
        "eval set gone is gone",
        "eval set holdout changed: 5 items added, 3 removed",
        "eval set new is new: 2 items",
    ]
    assert item_words({"a": Counter("xy")}, {"a": Counter("x")}) == ["eval set a changed: 1 item removed"]


# --- whole recipes ----------------------------------------------------------------------------


class FakeWarehouse:
    """What `storage.history` asks for: settings by hash, and old publications of `protected`."""

    def __init__(self, settings: Mapping[str, Any], protected: Mapping[str, str]):
        self._settings, self._protected = settings, protected

    def query(self, sql: str, _: Any) -> pl.DataFrame:
        if "FROM settings" in sql:
            rows = [(name, json.dumps(value)) for name, value in self._settings.items()]
            return pl.DataFrame(rows, schema=["params_hash", "settings"], orient="row")
        return pl.DataFrame(list(self._protected.items()), schema=["content", "inputs"], orient="row")


class FakeContext:
    def __init__(self, **given: Any):
        vars(self).update(given)


def items(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame([(*row, None) for row in rows], schema=TABLES[PROTECTED], orient="row")


def inputs(params: str, reads: Mapping[str, str], **libraries: str) -> str:
    return json.dumps({"params": params, "libraries": {"polars": "2.1.0"} | libraries, "reads": dict(reads)})


def reasons(
    step: str, before: str, now: str, settings: Mapping[str, Any] | None = None, verdicts: int = 0
) -> list[str]:
    old, new = (
        inputs("set now", {}),
        with_items(inputs("p", {}), items(("held", "1", "a"), ("held", "2", "b"))),
    )
    current = Publication(2, PROTECTED, None, "r", "new items", "h", "p", new, 2, 2, "run")
    older = {"old items": with_items(old, items(("held", "1", "a"))), "unknown": old}
    published = Publication(1, step, DAY, "r", "c", "h", json.loads(before)["params"], before, 1, 1, "run")
    params = params_of(Spec.model_validate_json(json.dumps(MAXIMAL)))
    context = FakeContext(warehouse=FakeWarehouse(settings or {}, older), params=params)
    undated = FakeContext(verdicts=lambda *_: verdicts)
    telling = Telling(
        cast(Any, context), {(PROTECTED, None): current, (step, DAY): published}, cast(Any, undated)
    )
    return telling.reasons(step, DAY, published, recipes.Recipe("hash", json.loads(now)["params"], now))


@pytest.mark.parametrize(
    ("step", "was", "now", "told"),
    [
        ("dedup", {"dedup before 2026-11-04": "a"}, {"dedup before 2026-11-04": "b"}, "an earlier day of dedup changed"),
        ("label", {"dedup up to 2026-11-04": "a"}, {"dedup up to 2026-11-04": "b"}, "dedup of this or an earlier day changed"),
        ("filter", {"dedup 2026-11-04": "a"}, {"dedup 2026-11-04": "b"}, "dedup of this day changed"),
        ("filter", {}, {"reviews": "b"}, "2 verdicts on records of this day are new"),
        ("filter", {"reviews": "a"}, {"reviews": "b"}, "verdicts on records of this day changed"),
        ("filter", {"reviews": "a"}, {}, "verdicts on records of this day are gone"),
        ("label", {}, {"annotations": "b"}, "annotations of records of this day are new"),
        ("ingest", {}, {"erasures": "b"}, "erasures of records of this day are new"),
        ("split", {"split lock": "a"}, {"split lock": "b"}, "the split lock of its groups changed"),
        ("filter", {"a table of schema version 2 (now 4)": "2"}, {}, "made by schema version 2 (now 4)"),
        ("decontaminate", {"protected": "old items"}, {"protected": "new items"}, "eval set held changed: 1 item added"),
        ("decontaminate", {"protected": "nobody knows"}, {"protected": "new items"}, "the protected items changed"),
        ("reviews", {"file r.csv": "a"}, {"file r.csv": "b"}, "file of 2026-11-04 changed"),
    ],
)  # fmt: skip
def test_differences_of_what_is_read_say_what_happened(
    step: str, was: dict[str, str], now: dict[str, str], told: str
) -> None:
    assert reasons(step, inputs("p", was), inputs("p", now), verdicts=2) == [told]


def test_differences_of_libraries_name_both_versions() -> None:
    assert reasons("filter", inputs("p", {}, polars="2.0.1"), inputs("p", {})) == ["polars 2.0.1 → 2.1.0"]


def test_differences_of_settings_that_nobody_kept_say_only_that_they_changed() -> None:
    now = params_of(Spec.model_validate_json(json.dumps(MAXIMAL)))["split"].hash()
    assert reasons("split", inputs("old", {}), inputs(now, {})) == [UNKNOWN_SETTINGS]
    known = {"old": settings(MAXIMAL, "split") | {"seed": 3}}
    assert reasons("split", inputs("old", {}), inputs(now, {}), known) == ["split.seed 3 → 7"]


def test_differences_of_nothing_known_still_give_a_reason() -> None:
    assert reasons("filter", inputs("p", {}), inputs("p", {})) == ["its recipe changed"]


# --- attempts -------------------------------------------------------------------------------


def test_attempt_is_the_same_whatever_earlier_days_became() -> None:
    def attempt(**reads: str) -> str:
        named = {name.replace("_", " ").replace("DAY", str(DAY)): value for name, value in reads.items()}
        return attempt_of(Step.DEDUP, DAY, recipes.Recipe("h", "p", inputs("p", named)))

    first = attempt(ingest_DAY="a", dedup_before_DAY="x")
    assert first == attempt(ingest_DAY="a", dedup_before_DAY="y")
    assert first != attempt(ingest_DAY="b", dedup_before_DAY="x")
