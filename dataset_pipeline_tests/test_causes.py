"""Causes: what was changed that made a row of one release differ in the other, a row for each kind.

Lives here: pairs of releases as frames and manifests, a few rows each. Keep out: finding differences (`test_diff`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.release_reading import Compared, compare, whole_spec
from dataset_pipeline.transforms.diff.comparing import DROPPED, INPUT, OPTIONAL, PROVENANCE, Side
from dataset_pipeline.transforms.diff.words import MEANINGS
from dataset_pipeline_tests.scenario import source, spec

COLUMNS = dict.fromkeys((*PROVENANCE, *OPTIONAL), pl.String) | {"day": pl.Date}
TWO_RULES = ("min_words", "too_short"), ("max_words", "too_long")


def row(record: str, **changes: Any) -> dict[str, Any]:
    """A released record of `inbox`, collected on the first of March."""
    return {"record_id": record, "source": "inbox", "day": "2026-03-01", "uri": "sources/1.jsonl", "label": "bug",
            "split": "train", "text_sha": "one", "collected_label": "bug", "label_label_origin": "source",
            "split_group_key": "g"} | changes  # fmt: skip


def gone(record: str, step: str, reason: str, **detail: Any) -> tuple[str, str, str, str]:
    return record, step, reason, json.dumps({"rule": reason} | detail, sort_keys=True)


def manifest(settings: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """settings: keys of the spec."""
    files = [
        {"source": "inbox", "day": "2026-03-01", "uri": "sources/1.jsonl", "sha256": "s", "rows_read": 5}
    ]
    return {"spec": spec(**(settings or {})), "inputs": files, "versions": {"polars": "2.1.0"}, "missing_days": [],
            "contents": {"eval_sets": {"holdout": "e"}, "reviews": "r", "annotations": "a"}} | changes  # fmt: skip


def side(rows: list[dict[str, Any]], dropped: list[tuple[str, str, str, str]], told: dict[str, Any]) -> Side:
    frame = pl.DataFrame(rows, schema=COLUMNS | {"day": pl.String}).with_columns(pl.col("day").str.to_date())
    inputs = [{key: one[key] for key in INPUT} for one in told["inputs"]]
    return Side(
        frame,
        pl.DataFrame(dropped, schema=dict.fromkeys(DROPPED, pl.String), orient="row"),
        pl.DataFrame(inputs, schema=dict.fromkeys(INPUT, pl.String)),
    )


def compared(
    before: list[dict[str, Any]], after: list[dict[str, Any]], dropped: list[tuple[str, str, str, str]] = [],  # noqa: B006
    was: dict[str, Any] | None = None, is_now: dict[str, Any] | None = None,
    dropped_before: list[tuple[str, str, str, str]] = [],  # noqa: B006
) -> Compared:  # fmt: skip
    old, new = was or manifest(), is_now or manifest()
    return compare((side(before, dropped_before, old), side(after, dropped, new)), old, new)


def cause(found: Compared, kind: str = "rows_out") -> tuple[str, str]:
    [told] = getattr(found.rows, kind).select("cause", "because").rows()
    assert told[0] in MEANINGS
    return str(told[0]), str(told[1])


def out(
    verdict: tuple[str, str, str, str], was: dict[str, Any], is_now: dict[str, Any], **changes: Any
) -> tuple[str, str]:
    """The cause of record `x` being out by a verdict of the later release."""
    return cause(compared([row("x", **changes)], [], [verdict], was, is_now))


def limits(**values: Any) -> dict[str, Any]:
    return manifest({"filter": {"input": values}})


# --- rules and their leaves -------------------------------------------------------------------

SHORT = gone("x", "filter", "too_short", rule="min_words", side="prompt", threshold=3, value=2)
TOKENS = gone("x", "filter", "too_many_tokens", rule="max_tokens", side="both", threshold=100, value=300)
RUDE = gone("x", "filter", "profanity", rule="max_profane_words", side="prompt", threshold=0, value=1)
NEAR = gone("x", "dedup", "near", threshold=0.7, similarity=0.75, twin="t")
DUTCH = gone("x", "normalize", "language", side="prompt", language="nl", threshold=0.02, value=0.0)
HELD = gone(
    "x", "decontaminate", "contaminated", rule="coverage", set="holdout", item="i", threshold=0.4, value=0.45
)
ODD = gone("x", "label", "unknown_label", threshold="a label or alias of the spec", value="defect")
UNFAIR = gone("x", "split", "no_evaluate_right", threshold="train", value="test")


@pytest.mark.parametrize(
    ("verdict", "before", "after", "because"),
    [
        (SHORT, {"filter": {"input": {"min_words": 1}}}, {"filter": {"input": {"min_words": 3}}}, "filter.input.min_words 1 → 3"),
        (SHORT, {}, {"filter": {"input": {"min_words": 3}}}, "filter.input.min_words 1 → 3"),
        (TOKENS, {}, {"filter": {"max_tokens": 100}}, "filter.max_tokens 4096 → 100"),
        (RUDE, {}, {"filter": {"profanity": {"max_words": 0}}}, "filter.profanity.max_words 1 → 0"),
        (NEAR, {}, {"dedup": {"near": {"threshold": 0.7}}}, "dedup.near.threshold 0.8 → 0.7"),
        (DUTCH, {}, {"normalize": {"languages": ["en"]}}, 'normalize.languages none → ["en"]'),
        (HELD, {}, {"decontaminate": {"min_coverage": 0.4}}, "decontaminate.min_coverage 0.5 → 0.4"),
        (ODD, {"label": {"aliases": {"Defect": "bug", "idea": "wish"}}}, {}, "label.aliases.defect bug → none"),
        (UNFAIR, {}, {"split": {"seed": 8}}, "split.seed 7 → 8"),
    ],
)  # fmt: skip
def test_causes_row_out_names_the_leaf_of_its_rule(
    verdict: tuple[str, str, str, str], before: dict[str, Any], after: dict[str, Any], because: str
) -> None:
    twin = [row("t")]
    was, is_now = manifest(before), manifest(after)
    found = compared([row("x", collected_label="defect"), *twin], twin, [verdict], was, is_now)
    assert cause(found) == ("spec", because)


def test_causes_another_limit_of_the_same_step_is_not_blamed() -> None:
    was, is_now = limits(max_words=10), limits(max_words=90)
    assert out(SHORT, was, is_now)[0] == "unknown"
    output = manifest({"filter": {"output": {"min_words": 3}}})
    assert out(SHORT, manifest(), output)[0] == "unknown", "the limit of the other side"


def test_causes_limit_that_would_have_dropped_it_before_is_not_blamed() -> None:
    relaxed = out(SHORT, limits(min_words=5), limits(min_words=3))
    assert relaxed[0] == "unknown", "two words were too few for five as well"
    assert out(SHORT, limits(min_words=None), limits(min_words=3)) == (
        "spec",
        "filter.input.min_words none → 3",
    )


def test_causes_row_in_is_caused_by_the_rule_that_dropped_it_before() -> None:
    found = compared(
        [], [row("x")], was=limits(min_words=3), is_now=limits(min_words=1), dropped_before=[SHORT]
    )
    assert cause(found, "rows_in") == ("spec", "filter.input.min_words 3 → 1")


# --- people, sets, files, versions, other records ---------------------------------------------------


def said(verdict: str) -> str:
    return json.dumps({"verdict": verdict, "file": "reviews/a.csv", "reviewer": "jo"})


def test_causes_verdict_of_a_person_goes_before_the_spec() -> None:
    dropped = gone("x", "filter", "reviewed", rule="review", threshold="reviews/a.csv", value="drop")
    assert out(dropped, limits(min_words=1), limits(min_words=3)) == ("review", "drop in reviews/a.csv")
    kept_before = out(SHORT, manifest(), manifest(), filter_review=said("keep"))
    assert kept_before == ("review", "keep in reviews/a.csv")
    erased = gone("x", "ingest", "erased", rule="erase", threshold="reviews/e.csv:7", value="erase")
    assert out(erased, manifest(), manifest()) == ("review", "erase in reviews/e.csv")


def test_causes_annotators_that_are_tied_now_are_named() -> None:
    tied = gone("x", "label", "in_review", rule="tie", value={"bug": 1, "wish": 1})
    assert out(tied, manifest(), manifest())[0] == "annotation"
    aggregate = manifest({"label": {"aggregate": "majority"}})
    assert out(tied, manifest(), aggregate) == ("spec", "label.aggregate dawid_skene → majority")


def test_causes_evaluation_set_that_was_changed_is_named_and_an_unknown_one_is_not_guessed() -> None:
    other = manifest(contents={"eval_sets": {"holdout": "f"}, "reviews": "r", "annotations": "a"})
    assert out(HELD, manifest(), other) == ("eval_set", "evaluation set holdout was changed")
    older = manifest()
    del older["contents"]
    assert out(HELD, older, manifest()) == (
        "unknown", "not told: a manifest does not say what the evaluation sets held",
    )  # fmt: skip
    named = manifest(
        {"decontaminate": {"sets": [{"name": "holdout", "path": "h.jsonl", "fields": {"input": "t"}}]}}
    )
    assert out(HELD, manifest(), named)[0] == "spec"


def test_causes_duplicate_whose_twin_came_since_is_told_by_the_twin() -> None:
    near = gone("x", "dedup", "near", threshold=0.8, similarity=0.9, twin="t")
    came = compared([row("x")], [row("t")], [near])
    assert cause(came) == ("twin", "the record that it repeats came since")
    left = compared([row("t")], [row("x")], dropped_before=[near])
    assert cause(left, "rows_in") == ("twin", "the record that it repeats is gone")
    there = compared([row("x"), row("t")], [row("t")], [near])
    assert cause(there)[0] == "unknown", "the twin was there before and did no harm"


def test_causes_contradiction_is_told_by_the_record_that_contradicts() -> None:
    held = gone("x", "release", "contradiction", others=["o"], value=2)
    assert cause(compared([row("x")], [], [held])) == ("twin", "a record that contradicts it came since")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"inputs": []}, ("file", "sources/1.jsonl is gone")),
        ({"inputs": [{**manifest()["inputs"][0], "sha256": "t"}]}, ("file", "sources/1.jsonl was changed")),
        ({"inputs": [], "missing_days": ["2026-03-01"]}, ("gate", "2026-03-01 is not made")),
        ({"inputs": [], "spec": spec(sources=[source(name="other")])}, ("spec", "sources[inbox] is gone")),
        ({"spec": spec(start="2026-03-02")}, ("spec", "start none → 2026-03-02")),
        ({"versions": {"polars": "2.2.0"}}, ("version", "polars 2.1.0 → 2.2.0")),
        ({}, ("unknown", "not told: its file is the same, and nothing that reads it changed")),
    ],
)  # fmt: skip
def test_causes_row_that_is_not_collected_any_more(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert cause(compared([row("x")], [], is_now=manifest(**changes))) == expected


def test_causes_row_of_a_new_source_and_of_a_new_file_are_in_by_them() -> None:
    was = manifest(inputs=[])
    assert cause(compared([], [row("x")], was=was), "rows_in") == ("file", "sources/1.jsonl is new")
    other = manifest({"sources": [source(name="other")]}, inputs=[])
    assert cause(compared([], [row("x")], was=other), "rows_in") == ("spec", "sources[inbox] is new")


# --- rows in both -----------------------------------------------------------------------------------


def test_causes_other_text_is_told_by_normalize_or_by_its_libraries_and_not_by_the_system_prompt() -> None:
    def text(is_now: dict[str, Any]) -> tuple[str, str]:
        return cause(compared([row("x")], [row("x", text_sha="two")], is_now=is_now), "changed")

    assert text(manifest({"normalize": {"pii": {"action": "keep"}}})) == (
        "spec",
        "normalize.pii.action replace → keep",
    )
    assert text(manifest(versions={"polars": "2.1.0", "ftfy": "7"})) == ("version", "ftfy none → 7")
    prompted = spec()["task"] | {"system_prompt": "Answer."}
    assert text(manifest({"task": prompted}))[0] == "unknown"


@pytest.mark.parametrize(
    ("then", "now", "settings", "expected"),
    [
        ({}, {"label_label_origin": "review", "label_review": said("relabel")}, {}, ("review", "relabel in reviews/a.csv")),
        ({}, {"label_label_origin": "annotations"}, {}, ("annotation", "other answers of the annotators")),
        ({}, {}, {"label": {"aliases": {"defect": "wish", "idea": "wish"}}}, ("spec", "label.aliases.defect none → wish")),
    ],
)  # fmt: skip
def test_causes_other_label(
    then: dict[str, Any], now: dict[str, Any], settings: dict[str, Any], expected: tuple[str, str]
) -> None:
    before = [row("x", collected_label="Defect", **then)]
    after = [row("x", collected_label="Defect", label="wish", **now)]
    assert cause(compared(before, after, is_now=manifest(settings)), "changed") == expected


def test_causes_moved_rows_are_told_by_split_by_their_group_or_by_the_lock() -> None:
    def moved(settings: dict[str, Any], group: str = "g") -> tuple[str, str]:
        after = [row("x", split="test", split_group_key=group)]
        return cause(compared([row("x")], after, is_now=manifest(settings)), "moved")

    assert moved({"split": {"seed": 9}}) == ("spec", "split.seed 7 → 9")
    grouped = {"sources": [source(fields=source()["fields"] | {"group": "customer"})]}
    assert moved(grouped, "h") == ("spec", "sources[inbox].fields.group none → customer")
    assert moved({})[0] == "unknown"
    locked = {"split": {"strategy": "stratified"}}
    contents = manifest()["contents"]
    was, is_now = (manifest(locked, contents=contents | {"split_lock": lock}) for lock in "ab")
    found = compared([row("x")], [row("x", split="test")], was=was, is_now=is_now)
    assert cause(found, "moved") == ("lock", "splits.lock.csv assigns its group anew")


# --- counting, sizes, safety ------------------------------------------------------------------------


def test_causes_are_counted_by_source_label_and_split() -> None:
    before = [row("a"), row("b", label="wish"), row("c", split="test", source="shop"), row("d", label=None)]
    dropped = [(name, *SHORT[1:]) for name in "abc"]
    found = compared(before, [], dropped, is_now=limits(min_words=3))
    told = [(t.rows, t.step, t.reason, t.cause, t.by_source, t.by_label, t.by_split) for t in found.causes]
    assert told == [
        (3, "filter", "too_short", "spec", {"inbox": 2, "shop": 1}, {"bug": 2, "wish": 1}, {"test": 1, "train": 2}),
        (1, None, "not_collected", "unknown", {"inbox": 1}, {"none": 1}, {"train": 1}),
    ]  # fmt: skip


def test_causes_never_hold_a_handwritten_example() -> None:
    task = spec()["task"]
    changed = task | {"examples": [{"input": "zyxquorbel", "output": "bug"}, *task["examples"][1:]]}
    held = gone(
        "x", "decontaminate", "contaminated", rule="equal", set="examples", item="1", threshold=1.0, value=1.0
    )
    told = out(held, manifest(), manifest({"task": changed}))
    assert told == ("spec", "task.examples[0].input was changed")


@pytest.mark.parametrize("detail", [None, "no JSON", "[]", '"x"'])
def test_causes_of_a_detail_that_is_no_object_are_unknown(detail: str | None) -> None:
    found = compared([row("x")], [], [("x", "filter", "too_short", detail)])  # type: ignore[list-item]
    assert cause(found)[0] == "unknown"


def test_causes_whole_spec_shows_the_defaults_of_the_task() -> None:
    whole = whole_spec(spec(label={"aliases": {"Defect": "bug"}}))
    assert whole["filter"]["input"]["min_alpha_share"] == 0.3
    assert whole["dedup"]["near"]["ngram"] == 3 and whole["sources"][0]["rank"] == 1
    assert whole["label"]["aliases"] == {"defect": "bug"}
    assert whole_spec({"name": "of another version", "strange": 1}) == {
        "name": "of another version",
        "strange": 1,
    }


def test_causes_of_a_hundred_thousand_rows_take_seconds() -> None:
    rows = [row(f"{n:032x}") for n in range(100_000)]
    dropped = [
        gone(
            r["record_id"], "dedup", "near", similarity=n / 100_000, threshold=0.8, twin=rows[0]["record_id"]
        )
        for n, r in enumerate(rows[1:])
    ]
    started = time.monotonic()
    found = compared(rows, rows[:1], dropped, is_now=manifest({"dedup": {"near": {"threshold": 0.5}}}))
    assert time.monotonic() - started < 10
    assert sum(tally.rows for tally in found.causes) == 99_999
