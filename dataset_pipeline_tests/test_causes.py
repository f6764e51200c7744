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
from dataset_pipeline.records import COUNT, REASONS
from dataset_pipeline.transforms.diff.comparing import DROPPED, OPTIONAL, PROVENANCE, Side
from dataset_pipeline.transforms.diff.manifests import INPUT
from dataset_pipeline.transforms.diff.words import MEANINGS
from dataset_pipeline_tests.scenario import source, spec

COLUMNS = (
    dict.fromkeys((*PROVENANCE, *OPTIONAL), pl.String)
    | {"day": pl.Date}
    | dict.fromkeys(("normalize_pii_counts", "normalize_changes"), pl.List(COUNT))
)
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


# --- every reason, with a change that cannot have done it ------------------------------------------

CONTENTS = {"eval_sets": {"holdout": "e"}, "reviews": "r", "annotations": "a"}
HOLDOUT = {"name": "holdout", "path": "h.jsonl", "fields": {"input": "t"}}
UNFAIR_SOURCE = source(rights=source()["rights"] | {"uses": ["train"]})


def judged(step: str, reason: str, rule: str, side: str = "prompt", **more: Any) -> tuple[str, str, str, str]:
    return gone("x", step, reason, rule=rule, side=side, **more)


def copied(step: str, reason: str) -> tuple[str, str, str, str]:
    return gone("x", step, reason, similarity=0.75, threshold=0.7, twin="t")


LOOSE: dict[str, Any] = {"filter": {"review_margin": 0.3, "output": {"max_words": 9}}, "split": {"seed": 8}}
"""Changes that no rule on a prompt reads."""
NEAR_DECOYS: dict[str, Any] = {"split": {"seed": 8}, "normalize": {"languages": ["en"]}}

CASES: list[tuple[tuple[str, str, str, str], dict[str, Any], dict[str, Any], tuple[str, str], dict[str, Any]]] = [
    # verdict, what did it (settings of the spec, or `contents`), decoys, the cause, facts of the row
    (judged("ingest", "erased", "erase", threshold="reviews/e.csv:7", value="erase"), {}, LOOSE, ("review", "erase in reviews/e.csv"), {}),
    (copied("dedup", "exact"), {"label": {"aliases": {"defect": "bug"}}}, {"dedup": {"near": {"threshold": 0.7}}}, ("spec", "label.aliases.defect none → bug"), {}),
    (copied("dedup", "semantic"), {"dedup": {"semantic": {"threshold": 0.7}}}, NEAR_DECOYS, ("spec", "dedup.semantic.fit_records none → 2000"), {}),
    (copied("dedup", "near"), {"dedup": {"near": {"threshold": 0.7}}}, NEAR_DECOYS, ("spec", "dedup.near.threshold 0.8 → 0.7"), {}),
    (judged("filter", "too_short", "min_words", value=2), {"filter": {"input": {"min_words": 3}}}, {"split": {"seed": 8}}, ("spec", "filter.input.min_words 1 → 3"), {}),
    (judged("filter", "too_long", "max_words", value=50), {"filter": {"input": {"max_words": 9}}}, {"normalize": {"languages": ["en"]}}, ("spec", "filter.input.max_words 2000 → 9"), {}),
    (judged("filter", "too_many_tokens", "max_tokens", "both", value=300), {"filter": {"max_tokens": 100, "review_margin": 0.3}}, {"split": {"seed": 8}}, ("spec", "filter.max_tokens 4096 → 100"), {}),
    (judged("filter", "low_alpha", "min_alpha_share", value=0.35), {"filter": {"input": {"min_alpha_share": 0.4}, "review_margin": 0.3}}, {}, ("spec", "filter.input.min_alpha_share 0.3 → 0.4"), {}),
    (judged("filter", "symbols", "max_symbol_share", value=0.25), {"filter": {"input": {"max_symbol_share": 0.2}, "output": {"max_symbol_share": 0.2}}}, {}, ("spec", "filter.input.max_symbol_share 0.3 → 0.2"), {}),
    (judged("filter", "digits", "max_digit_share", value=0.25), {"filter": {"input": {"max_digit_share": 0.2}, "review_margin": 0.0}}, {}, ("spec", "filter.input.max_digit_share 0.5 → 0.2"), {}),
    (judged("filter", "repetition", "max_repetition_share", value=0.25), {"filter": {"input": {"max_repetition_share": 0.2}}}, {"dedup": {"near": {"seed": 2}}}, ("spec", "filter.input.max_repetition_share 0.5 → 0.2"), {}),
    (judged("filter", "markup", "max_markup_share", value=0.25), {"filter": {"input": {"max_markup_share": 0.2}}}, {"dedup": {"near": {"seed": 2}}}, ("spec", "filter.input.max_markup_share 0.3 → 0.2"), {}),
    (judged("filter", "automatic_reply", "automatic_replies", value=1), {}, LOOSE, ("unknown", ""), {}),
    (judged("filter", "profanity", "max_profane_words", value=1), {"filter": {"profanity": {"add": ["drat"]}, "review_margin": 0.3}}, {"split": {"seed": 8}}, ("spec", 'filter.profanity.add none → ["drat"]'), {}),
    (judged("filter", "label_form", "max_label_words", "answer", value=12), {"sources": [source(fields=source()["fields"] | {"output": "said", "group": "g"})]}, LOOSE, ("spec", "sources[inbox].fields.output label → said"), {}),
    (judged("filter", "empty_answer", "min_answer_content", "answer", value=0), {"sources": [source(layout="alpaca", fields={"id": "id"})]}, LOOSE, ("spec", "sources[inbox].fields.input text → none; sources[inbox].fields.output label → none; sources[inbox].layout none → alpaca"), {}),
    (judged("filter", "sides_alike", "max_sides_similarity", "both", value=0.7), {"filter": {"max_sides_similarity": 0.5, "review_margin": 0.3}}, {}, ("spec", "filter.max_sides_similarity 0.9 → 0.5"), {}),
    (judged("filter", "reviewed", "review", threshold="reviews/a.csv:3", value="drop"), {}, LOOSE, ("review", "drop in reviews/a.csv"), {}),
    (judged("filter", "in_review", "max_digit_share", borderline=True, value=0.52), {"filter": {"input": {"max_digit_share": 0.51}, "review_margin": 0.2}}, {}, ("unknown", ""), {}),
    (judged("filter", "in_review", "max_digit_share", borderline=True, value=0.42), {"filter": {"input": {"max_digit_share": 0.4}, "review_margin": 0.2}}, {}, ("spec", "filter.input.max_digit_share 0.5 → 0.4"), {}),
    (judged("normalize", "language", "language", value=0.0, language="nl"), {"normalize": {"languages": ["en"], "pii": {"action": "keep"}}}, {"filter": {"input": {"min_words": 2}}}, ("spec", 'normalize.languages none → ["en"]'), {}),
    (judged("normalize", "empty_after_cleaning", "empty_after_cleaning", value=0), {"normalize": {"languages": ["en"], "pii": {"action": "keep"}}}, LOOSE, ("unknown", ""), {}),
    (judged("normalize", "sides_alike", "equal_after_cleaning", "both", value=1), {"normalize": {"languages": ["en"], "pii": {"entities": ["PERSON"]}}}, {}, ("spec", "normalize.pii.entities"), {"normalize_pii_counts": [{"name": "US_SSN", "count": 1}]}),
    (gone("x", "decontaminate", "contaminated", set="holdout", item="i", threshold=0.4, value=0.45), {"decontaminate": {"min_coverage": 0.4, "min_contained_words": 4, "suspects": "drop"}}, {"normalize": {"languages": ["en"]}}, ("spec", "decontaminate.min_coverage 0.5 → 0.4"), {}),
    (gone("x", "decontaminate", "contaminated", set="holdout", item="i", threshold=1.0, value=1.0), {"contents": CONTENTS | {"eval_sets": {"holdout": "f"}}}, {"decontaminate": {"min_coverage": 0.4, "ngram": 8}}, ("eval_set", "evaluation set holdout was changed"), {}),
    (gone("x", "decontaminate", "suspect", set="holdout", item="i", threshold=5, value=6), {"contents": CONTENTS | {"eval_sets": {"holdout": "f", "other": "g"}}}, {"decontaminate": {"suspects": "drop", "min_coverage": 0.4}}, ("eval_set", "evaluation set holdout was changed"), {}),
    (gone("x", "decontaminate", "in_review", set="holdout", item="i", threshold=5, value=6), {"decontaminate": {"min_contained_words": 3, "sets": [HOLDOUT | {"name": "other"}]}}, {}, ("unknown", ""), {}),
    (gone("x", "decontaminate", "reviewed", rule="review", threshold="reviews/a.csv:3", value="drop"), {}, LOOSE, ("review", "drop in reviews/a.csv"), {}),
    (gone("x", "label", "unlabelled", rule="unlabelled", threshold="a label", value="none"), {"sources": [source(fields=source()["fields"] | {"output": "said"})]}, {"label": {"aliases": {"bug": "wish"}}, "normalize": {"pii": {"action": "keep"}}}, ("spec", "sources[inbox].fields.output label → said"), {}),
    (gone("x", "label", "unknown_label", rule="unknown_label", value="defect"), {"label": {"aliases": {"idea": "wish"}}}, LOOSE, ("unknown", ""), {"collected_label": "Defect"}),
    (gone("x", "label", "in_review", rule="tie", value={"bug": 1, "wish": 1}), {"contents": CONTENTS | {"annotations": "b"}}, {"normalize": {"pii": {"action": "keep"}}}, ("annotation", "other answers of the annotators"), {}),
    (gone("x", "label", "reviewed", rule="review", threshold="reviews/a.csv:3", value="drop"), {}, LOOSE, ("review", "drop in reviews/a.csv"), {}),
    (gone("x", "split", "no_evaluate_right", threshold="train", value="test"), {"split": {"seed": 8}}, {"sources": [UNFAIR_SOURCE], "dedup": {"near": {"seed": 2}}}, ("spec", "split.seed 7 → 8"), {}),
    (gone("x", "split", "no_evaluate_right", threshold="train", value="test"), {"sources": [UNFAIR_SOURCE]}, {"split": {"seed": 8}}, ("spec", "sources[inbox].rights.uses"), {"split": "test"}),
    (copied("split", "same_after_cleaning"), {"normalize": {"pii": {"action": "keep"}, "languages": ["en"]}}, {"split": {"seed": 8}, "dedup": {"near": {"threshold": 0.7}}}, ("spec", "normalize.pii.action replace → keep"), {}),
    (copied("split", "near_other_split"), {"split": {"seed": 8}}, {"normalize": {"languages": ["en"]}, "label": {"aliases": {"idea": "wish"}}}, ("spec", "split.seed 7 → 8"), {}),
    (gone("x", "release", "contradiction", others=["t"], value=2), {"label": {"aliases": {"idea": "wish"}}}, {"split": {"seed": 8}, "dedup": {"near": {"seed": 2}}}, ("spec", "label.aliases.idea none → wish"), {}),
]  # fmt: skip


def test_causes_table_has_every_reason() -> None:
    known = {(str(step), reason) for step, reasons in REASONS.items() for reason in reasons}
    assert known <= {(verdict[1], verdict[2]) for verdict, *_ in CASES}


@pytest.mark.parametrize("is_in", [False, True])
@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{c[0][1]}-{c[0][2]}" for n, c in enumerate(CASES)])
def test_causes_of_every_reason_leave_out_what_could_not_have_done_it(case: Any, is_in: bool) -> None:
    verdict, did, decoys, (name, because), changes = case
    settings = {key: value for key, value in (decoys | did).items() if key != "contents"}
    contents = {key: value for key, value in did.items() if key == "contents"}
    with_it, without = manifest(), manifest(settings, **contents)
    without["versions"] = {"polars": "2.1.0", "duckdb": "9", "python": "3.99"}  # no step uses these
    rows, twin = [row("x", **changes)], [row("t")]
    if is_in:
        found = compared(twin, rows + twin, was=without, is_now=with_it, dropped_before=[verdict])
        told = cause(found, "rows_in")
    else:
        told = cause(compared(rows + twin, twin, [verdict], with_it, without))
    assert told[0] == name, told
    assert told[1].startswith(because.split(" ")[0] if is_in else because), told
    only = without | {"spec": manifest(decoys)["spec"], "contents": CONTENTS}
    if name != "review":
        assert cause(compared(rows + twin, twin, [verdict], with_it, only))[0] == "unknown", "the decoy alone"


@pytest.mark.parametrize(
    ("then", "now", "settings", "more", "expected"),
    [
        ({}, {}, {"normalize": {"languages": ["en"]}}, {}, "unknown"),
        ({"content_sha": "1"}, {"content_sha": "1"}, {"sources": [source(fields=source()["fields"] | {"input": "body"})]}, {}, "unknown"),
        ({"content_sha": "1"}, {"content_sha": "2"}, {"sources": [source(fields=source()["fields"] | {"input": "body"})], "normalize": {"languages": ["en"]}}, {}, "sources[inbox].fields.input"),
        ({"content_sha": "1", "normalize_pii_counts": [{"name": "PERSON", "count": 1}]}, {"content_sha": "2", "normalize_pii_counts": []}, {"sources": [source(fields=source()["fields"] | {"person_names": ["who"]})], "normalize": {"languages": ["en"], "pii": {"phone_regions": ["US"]}}}, {}, "sources[inbox].fields.person_names"),
        ({"content_sha": "1", "normalize_pii_counts": []}, {"content_sha": "1", "normalize_pii_counts": []}, {"normalize": {"pii": {"action": "keep"}}}, {}, "unknown"),
        ({"content_sha": "1", "normalize_pii_counts": []}, {"content_sha": "1", "normalize_pii_counts": [{"name": "US_SSN", "count": 2}]}, {"normalize": {"pii": {"entities": ["PERSON"]}}, "split": {"seed": 8}}, {}, "normalize.pii.entities"),
        ({"content_sha": "1"}, {"content_sha": "2"}, {}, {"inputs": [manifest()["inputs"][0] | {"sha256": "t"}], "versions": {"polars": "3"}}, "sources/1.jsonl was changed"),
        ({"content_sha": "1"}, {"content_sha": "1"}, {}, {"inputs": [manifest()["inputs"][0] | {"sha256": "t"}], "versions": {"polars": "3"}}, "polars 2.1.0 → 3"),
        ({"content_sha": "1"}, {"content_sha": "1"}, {}, {"versions": {"polars": "2.1.0", "dataset_pipeline": "9", "py3langid": "9"}}, "perhaps dataset_pipeline none → 9"),
    ],
)  # fmt: skip
def test_causes_of_another_text_are_what_the_measurements_allow(
    then: dict[str, Any], now: dict[str, Any], settings: dict[str, Any], more: dict[str, Any], expected: str
) -> None:
    found = compared([row("x", **then)], [row("x", text_sha="two", **now)], is_now=manifest(settings, **more))
    name, because = cause(found, "changed")
    assert (name == "unknown") if expected == "unknown" else because.startswith(expected), because


@pytest.mark.parametrize(
    ("settings", "more", "expected"),
    [
        ({"label": {"aliases": {"idea": "wish"}}, "split": {"seed": 8}}, {}, "unknown"),
        ({"task": spec()["task"] | {"labels": {"bug": "other words", "wish": "w", "praise": "p"}}}, {}, "unknown"),
        ({"label": {"aliases": {"defect": "wish", "idea": "wish"}}}, {}, "label.aliases.defect none → wish"),
        ({}, {"inputs": [manifest()["inputs"][0] | {"sha256": "t"}], "versions": {"polars": "3"}}, "polars 2.1.0 → 3"),
    ],
)  # fmt: skip
def test_causes_of_another_label_are_those_of_its_own_word(
    settings: dict[str, Any], more: dict[str, Any], expected: str
) -> None:
    rows = [row("x", collected_label="Defect", label=label) for label in ("bug", "wish")]
    name, because = cause(compared(rows[:1], rows[1:], is_now=manifest(settings, **more)), "changed")
    assert (name == "unknown") if expected == "unknown" else because == expected, because


def test_causes_of_a_moved_row_are_not_the_texts_nor_the_near_duplicates() -> None:
    decoys = {"normalize": {"pii": {"action": "keep"}}, "dedup": {"near": {"seed": 2}},
              "sources": [source(fields=source()["fields"] | {"group": "customer"})]}  # fmt: skip
    after = [row("x", split="test")]
    assert cause(compared([row("x")], after, is_now=manifest(decoys)), "moved")[0] == "unknown"
    seeded = manifest(decoys | {"split": {"seed": 9}})
    assert cause(compared([row("x")], after, is_now=seeded), "moved") == ("spec", "split.seed 7 → 9")
    newer = manifest(versions={"polars": "2.1.0", "datasketch": "9", "scikit-learn": "9"})
    assert cause(compared([row("x")], after, is_now=newer), "moved")[0] == "unknown", (
        "hashes need none of them"
    )


def test_causes_of_a_shorter_calendar_are_its_start_and_not_the_files() -> None:
    shorter = manifest({"start": "2026-03-02"}, inputs=[])
    assert cause(compared([row("x")], [], is_now=shorter)) == ("spec", "start none → 2026-03-02")
    earlier = manifest({"start": "2026-02-01"}, inputs=[])
    assert cause(compared([row("x")], [], is_now=earlier)) == ("file", "sources/1.jsonl is gone")
    elsewhere = manifest({"sources": [source(path="other/{date}.jsonl")]}, inputs=[])
    assert cause(compared([row("x")], [], is_now=elsewhere))[1].startswith("sources[inbox].path")
    there = manifest({"sources": [source(path="s*/{date}.jsonl")]})
    assert cause(compared([row("x")], [], is_now=there))[0] == "unknown", "its file is read as before"


def test_causes_of_a_copy_that_takes_its_twins_place_are_the_ranks() -> None:
    first = gone("t", "dedup", "exact", similarity=1.0, threshold=1.0, twin="x")
    second = gone("x", "dedup", "exact", similarity=1.0, threshold=1.0, twin="t")
    is_now = manifest({"sources": [source(rank=5)]})
    found = compared([row("x")], [row("t")], [second], manifest(), is_now, dropped_before=[first])
    assert cause(found) == ("spec", "sources[inbox].rank 1 → 5")
    assert cause(found, "rows_in") == ("spec", "sources[inbox].rank 1 → 5")


def test_causes_of_a_spec_of_another_version_are_not_its_defaults() -> None:
    older = manifest()
    older["spec"]["strange"] = 1
    assert out(SHORT, older, manifest())[0] == "unknown"


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
    answered = manifest(contents=manifest()["contents"] | {"annotations": "b"})
    assert out(tied, manifest(), answered)[0] == "annotation"
    assert out(tied, manifest(), manifest())[0] == "unknown", "the answers are the same"
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
    assert whole is not None
    assert whole["filter"]["input"]["min_alpha_share"] == 0.3
    assert whole["dedup"]["near"]["ngram"] == 3 and whole["sources"][0]["rank"] == 1
    assert whole["label"]["aliases"] == {"defect": "bug"}
    assert whole_spec({"name": "of another version", "strange": 1}) is None


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
