"""What `preview` says is exactly what a run then does: every verdict, every split, every released record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.assets import previewing_split
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.previewing import Change
from dataset_pipeline.records import Step
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import preview_comparing as comparing
from dataset_pipeline_tests import small_project as small

TIGHT = {"filter": {"input": {"min_words": comparing.LONGER_WORDS}}}
LOOSE_ONLY_WORDS = {"filter": {"input": {"min_words": 1}}}
LOOSE = {"filter": {"input": {"min_words": 1, "max_symbol_share": 0.95}}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small project with planted records and a tight filter, run without gates. The tests take turns to change it."""
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        # However few records there are, only those near what comes and goes are judged again.
        patch.setattr(previewing_split, "_SHARE_OF_ALL", 1e9)
        folder = comparing.plant(small.make_project(tmp_path_factory.mktemp("exact") / "project", TIGHT))
        small.run_all(folder)
        yield folder
    release_run_lock(folder / "warehouse.duckdb")


def told(root: Path, changes: dict[str, Any]) -> Change:
    """What is said of `changes`, which are then run: all of it came true."""
    said, wrong = comparing.differences(root, changes)
    assert wrong == []
    return said


def move(said: Change, step: Step, record: str) -> tuple[Any, ...] | None:
    rows = said.moves.filter((said.moves["step"] == str(step)) & (said.moves["record_id"] == record)).rows()
    return rows[0][3:] if rows else None


@pytest.mark.faults
def test_the_limit_measures_the_first_by_id_and_leaves_the_others_alone(root):
    whole = comparing.change_to(root, LOOSE)
    some = comparing.change_to(root, LOOSE, 10)
    assert whole.arrived > 50 and len(whole.unmeasured) == 0
    assert some.arrived - len(some.unmeasured) == 10
    filtered = "step == 'filter'"
    assert some.moves.sql(f"SELECT * FROM self WHERE {filtered}").equals(
        whole.moves.sql(f"SELECT * FROM self WHERE {filtered}")
    )
    came = set(some.moves.sql("SELECT record_id FROM self WHERE step = 'normalize'")["record_id"])
    assert came == set(sorted(whole.moves.sql("SELECT record_id FROM self WHERE step = 'normalize'")["record_id"])[:10])  # fmt: skip
    none = comparing.change_to(root, LOOSE, 0)
    assert set(none.moves["step"]) == {"filter"}


def test_a_looser_filter_tells_what_later_steps_make_of_what_comes_back_and_of_others(root):
    said = told(root, LOOSE)
    p1, p2, p3, p4, p5 = (comparing.record_of(root, name) for name in ("P1", "P2", "P3", "P4", "P5"))
    assert move(said, Step.FILTER, p4) == (False, "too_short", True, None)
    assert move(said, Step.DECONTAMINATE, p4) == (None, None, False, "contaminated")
    # The earlier twin comes back, and the later one in another split, which nobody asked about, goes.
    assert move(said, Step.SPLIT, p3) == (None, None, True, None)
    assert move(said, Step.SPLIT, p5) == (True, None, False, "near_other_split")
    # Equal prompts with two labels, both of them back: the release withholds both.
    held = said.moves.filter((said.moves["step"] == "release") & (said.moves["reason_then"] == "contradiction"))  # fmt: skip
    assert {p1, p2} <= set(held["record_id"])
    assert said.way == "steps"


def test_a_change_of_three_steps_brings_back_what_was_dropped_for_a_twin_that_goes(root):
    others = {
        "normalize": {"languages": ["en", "de"]},
        "decontaminate": {**small._spec()["decontaminate"], "suspects": "drop", "min_coverage": 0.9},
    }
    small.write_spec(root, LOOSE)
    small.run_all(root)
    said = told(root, {**TIGHT, **others})
    assert said.way == "steps"
    assert said.changed == ("filter", "normalize", "decontaminate")
    p3, p5 = (comparing.record_of(root, name) for name in ("P3", "P5"))
    assert move(said, Step.FILTER, p3) == (True, None, False, "too_short")
    assert move(said, Step.SPLIT, p5) == (False, "near_other_split", True, None)
    journey = said.journeys.filter(said.journeys["record_id"] == p5).row(0, named=True)
    assert (journey["step"], journey["way"], journey["end_step"]) == ("split", "back", None)


@pytest.mark.faults
def test_a_change_of_dedup_is_told_through_all_steps(root):
    said = told(root, {**TIGHT, "dedup": {"near": {"threshold": 0.5}}})
    assert said.changed[0] == "dedup"
    assert "dedup" in set(said.moves["step"])
    assert set(said.moves.filter(said.moves["step"] == "dedup")["reason_then"]) == {"near"}


@pytest.mark.faults
def test_semantic_duplicates_are_told_through_all_steps(root):
    said = told(root, {**LOOSE, "dedup": {"semantic": {"threshold": 0.5, "same_numbers": False}}})
    assert set(said.moves.filter(said.moves["step"] == "dedup")["reason_then"]) == {"semantic"}


@pytest.mark.faults
def test_one_side_of_a_contradiction_that_goes_frees_the_other(root):
    told(root, LOOSE)
    said = told(root, {"filter": {"input": {"min_words": 1, "max_symbol_share": 0.3}}})
    p1, p2 = (comparing.record_of(root, name) for name in ("P1", "P2"))
    assert move(said, Step.FILTER, p2) == (True, None, False, "symbols")
    fates = {row["record_id"]: row for row in said.fates.iter_rows(named=True)}
    assert (fates[p1]["released_now"], fates[p1]["released_then"]) == (False, True)


@pytest.mark.faults
@pytest.mark.parametrize(
    "changes",
    [
        {"normalize": {"languages": ["en", "de"]}},
        {"normalize": {"languages": ["fr"]}},
        {"normalize": {"pii": {"entities": ["PHONE_NUMBER"]}}},
        {"decontaminate": {**small._spec()["decontaminate"], "suspects": "drop", "ngram": 5}},
        {"decontaminate": {**small._spec()["decontaminate"], "suspects": "keep", "min_coverage": 0.99}},
        {"dedup": {"near": {"threshold": 1.0}}},
        {"dedup": {"near": {"threshold": 0.5, "ngram": 2}}, "filter": {"chars_per_token": 2.0, "max_tokens": 70}},
        {"split": {"seed": 23}},
    ],
    ids=["german_too", "french_only", "less_pii", "short_ngrams", "suspects_kept", "stricter_dedup", "laxer_dedup", "seed"],
)  # fmt: skip
def test_a_change_of_another_step_is_told_in_both_directions(root, changes):
    told(root, LOOSE_ONLY_WORDS)
    said = told(root, {**LOOSE_ONLY_WORDS, **changes})
    assert said.way == "steps"
    assert said.moves.height or said.fates.height or said.edited
    told(root, LOOSE_ONLY_WORDS)


@pytest.mark.faults
def test_a_change_that_reaches_the_raw_files_is_made_aside_and_told_the_same_way(root):
    told(root, {})
    task = {**small._spec()["task"], "labels": ["bug", "wish", "praise", "misc"]}
    said = told(root, {"task": task, "start": "2026-03-03"})
    assert said.way == "aside"
    first = said.journeys.filter(said.journeys["step"] == "ingest")
    assert first.height and set(first["way"]) == {"gone"}
    assert said.moves.filter(said.moves["reason_now"] == "unknown_label")["kept_then"].to_list() == [True]
    told(root, {})


@pytest.mark.faults
def test_reviews_stay_whatever_the_rules_say(root):
    told(root, {})
    p3, p4 = comparing.record_of(root, "P3"), comparing.record_of(root, "P4")
    lines = [
        "record,step,verdict,reviewer,date",
        f"{p3},filter,drop,Jo,2026-03-07",
        f"{p4},decontaminate,keep,Jo,2026-03-07",
    ]
    (root / "reviews.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    reviewed = {"reviews": ["reviews.csv"]}
    assert told(root, reviewed).way == "aside"
    said = told(root, {**reviewed, **TIGHT})
    assert move(said, Step.FILTER, p3) is None
    said = told(root, {**reviewed, **LOOSE})
    assert move(said, Step.DECONTAMINATE, p4) == (None, None, True, None)
    told(root, {})


@pytest.mark.faults
def test_new_groups_get_the_split_that_the_lock_and_the_shares_give_them(root):
    ratios = {"split": {"strategy": "stratified", "ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}}}
    told(root, {**ratios, **TIGHT})
    before = (root / "splits.lock.csv").read_bytes()
    comparing.change_to(root, {**ratios, **LOOSE})
    assert (root / "splits.lock.csv").read_bytes() == before
    told(root, {**ratios, **LOOSE})
    told(root, {**ratios, **TIGHT})


@pytest.mark.faults
def test_what_comes_back_without_its_text_is_read_from_the_raw_files_aside(root):
    kept_short = {"retention": {"dropped_text_days": 0}}
    told(root, {**TIGHT, **kept_short})
    housekeeping(small.open_project(root))
    warehouse = small.open_project(root).warehouse
    assert warehouse.query('SELECT count(*) AS n FROM main."ingest" WHERE kept AND messages IS NULL')["n"].item() > 20  # fmt: skip
    tighter = {"filter": {"input": {"min_words": comparing.LONGER_WORDS + 1}}}
    assert comparing.change_to(root, {**tighter, **kept_short}).way == "steps"
    said = told(root, {**LOOSE, **kept_short})
    assert said.way == "aside"
    assert said.notes == ()
    assert said.examples.filter(said.examples["way"] == "back")["prompt"].null_count() == 0
