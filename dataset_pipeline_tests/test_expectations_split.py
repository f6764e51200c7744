"""What only split is asked, each open and shut on a real row; and that nothing is left without a mutation."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace

import polars as pl
import pytest

from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import Step
from dataset_pipeline_tests import (
    test_expectations_annotations,
    test_expectations_common,
    test_expectations_decontaminate_label,
    test_expectations_filter_normalize,
    test_expectations_ingest_dedup,
    test_expectations_people,
    test_expectations_release,
    test_expectations_undated,
)
from dataset_pipeline_tests.test_expectations_common import (
    Made,
    Mutation,
    assert_shuts,
    change,
    failing,
    judged,
)


def lone(made: Made, split: str) -> pl.DataFrame:
    """Kept rows of `split` that share group and text with no other record, earlier days included, by id."""
    so_far = pl.concat(
        [
            made.audit().extras["history"].select("group_key", "comparison_key"),
            made.kept().select("group_key", "comparison_key"),
        ]
    )
    rows = made.kept().filter(pl.col("split") == split)
    for key in ("group_key", "comparison_key"):
        rows = rows.join(so_far.group_by(key).len().filter(pl.col("len") == 1), on=key, how="semi")
    return rows.sort("record_id")


def _invented_split(made: Made) -> Audit:
    return made.audit(change(made.staged, lone(made, "train")["record_id"][0], split="holdback"))


def _other_ratios(made: Made) -> Audit:
    """The spec wants half of everything tested; the splits are as they are."""
    audit = made.audit()
    ratios = pl.DataFrame({"split": ["train", "validation", "test"], "ratio": [0.4, 0.1, 0.5]})
    return replace(audit, extras=audit.extras | {"ratios": ratios})


def _crossing(made: Made, key: str) -> Audit:
    """A train record with the group, or the text, of a test record."""
    a, b = lone(made, "train"), lone(made, "test")
    return made.audit(change(made.staged, a["record_id"][0], **{key: b[key][0]}))


def _no_right(made: Made) -> Audit:
    audit = made.audit()
    return replace(
        audit, records=change(audit.records, lone(made, "test")["record_id"][0], may_evaluate=False)
    )


def _label_without_test_records(made: Made) -> Audit:
    audit = made.audit()
    return replace(
        audit, records=change(audit.records, lone(made, "train")["record_id"][0], label="question")
    )


def _with_lock(
    made: Made, strategy: str = "stratified", moved: str | None = None, windows: pl.DataFrame | None = None
) -> Audit:
    """The real rows as though a lock had put their groups where they are; `moved`: one group's key, put elsewhere."""
    audit = made.audit()
    keys = made.staged.unique("group_key").sort("group_key").select("group_key", "split", "day")
    lock = keys.select(
        pl.Series("group", [hashlib.sha256(k.encode()).hexdigest()[:32] for k in keys["group_key"]]),
        split=pl.when(pl.col("group_key") == moved).then(pl.lit("validation")).otherwise("split"),
        label=pl.lit(""),
        day="day",
        records=pl.lit(1, pl.Int64),
    )
    extras = audit.extras | {"strategy": pl.DataFrame({"strategy": [strategy]}), "lock": lock}
    return replace(audit, extras=extras | ({} if windows is None else {"windows": windows}))


def _off_lock(made: Made) -> Audit:
    return _with_lock(made, moved=lone(made, "train")["group_key"][0])


def _windows(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(split, dt.date.fromisoformat(a), dt.date.fromisoformat(b)) for split, a, b in rows],
        schema={"split": pl.String, "first": pl.Date, "last": pl.Date},
        orient="row",
    )


def _off_windows(made: Made) -> Audit:
    """Everything tests by the windows; the lock has most of it in train."""
    return _with_lock(made, "temporal", windows=_windows(("test", "2000-01-01", "2100-01-01")))


def _tested_before(made: Made) -> Audit:
    """A group that trains was published as test."""
    audit = made.audit()
    trains = made.kept().filter(pl.col("split") == "train").sort("group_key").select("group_key").head(1)
    return replace(audit, extras=audit.extras | {"tested": trains})


MUTATIONS: dict[tuple[str, str], Mutation] = {
    (Step.SPLIT, "splits_allowed"): _invented_split,
    (Step.SPLIT, "split_shares"): _other_ratios,
    (Step.SPLIT, "lock_kept"): _off_lock,
    (Step.SPLIT, "test_groups_stay"): _tested_before,
    (Step.SPLIT, "lock_agrees"): _off_windows,
    (Step.SPLIT, "no_group_crosses"): lambda made: _crossing(made, "group_key"),
    (Step.SPLIT, "no_pair_crosses"): lambda made: _crossing(made, "comparison_key"),
    (Step.SPLIT, "rights_respected"): _no_right,
    (Step.SPLIT, "test_records_per_label"): _label_without_test_records,
}


@pytest.mark.parametrize(("step", "name"), MUTATIONS)
def test_expectations_split_mutated_row_shuts_exactly_one(made, step, name):
    assert_shuts(judged(MUTATIONS[step, name](made(step))), name)


def test_expectations_split_missing_split_shuts_and_names_the_row(made):
    case = made(Step.SPLIT)
    culprit = lone(case, "train")["record_id"][0]
    found = judged(case.audit(change(case.staged, culprit, split=None)))
    assert_shuts(found, "splits_allowed")
    assert found["splits_allowed"].record_ids == (culprit,)


def test_expectations_split_pair_across_days_shuts(made):
    """The other record of the pair was published on an earlier day."""
    case = made(Step.SPLIT)
    older = case.audit().extras["history"].filter(pl.col("split") == "test").sort("record_id")
    culprit = lone(case, "train")["record_id"][0]
    found = judged(case.audit(change(case.staged, culprit, comparison_key=older["comparison_key"][0])))
    assert_shuts(found, "no_pair_crosses")
    assert found["no_pair_crosses"].record_ids == (culprit,)


@pytest.mark.parametrize(("same_words", "is_shut"), [(9, True), (4, False)])
def test_expectations_split_near_texts_in_two_splits_shut_from_the_threshold_on(made, same_words, is_shut):
    # Ten words each, three to a shingle: nine in common are 7 of 9 shingles (0.78), four in common 2 of 14.
    case = made(Step.SPLIT)
    a, b = (
        lone(case, split).filter(pl.col("bands").is_not_null()).row(0, named=True)
        for split in ("train", "test")
    )
    audit = case.audit(
        change(case.staged, a["record_id"], bands=pl.lit(b["bands"], case.staged.schema["bands"]))
    )
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    other = [*words[:same_words], *["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"]][:10]
    texts = pl.DataFrame(
        {"record_id": [a["record_id"], b["record_id"]], "text": [" ".join(words), " ".join(other)]}
    )
    threshold = pl.DataFrame({"threshold": [0.75]})
    found = judged(replace(audit, extras=audit.extras | {"texts": texts, "threshold": threshold}))
    assert failing(found) == ({"no_pair_crosses"} if is_shut else set())


def test_expectations_split_shares_of_few_groups_only_warn(made):
    audit = _other_ratios(made(Step.SPLIT))
    few = audit.extras["history"].head(100)
    found = judged(replace(audit, extras=audit.extras | {"history": few}))
    assert "split_shares" in failing(found)
    assert not found["split_shares"].blocks


@pytest.mark.parametrize("strategy", ["stratified", "temporal"])
def test_expectations_split_groups_as_the_lock_says_are_open(made, strategy):
    assert failing(judged(_with_lock(made(Step.SPLIT), strategy))) == set()


def test_expectations_split_group_that_the_lock_does_not_know_shuts(made):
    case = made(Step.SPLIT)
    culprit = lone(case, "train").row(0, named=True)
    audit = _with_lock(case)
    forgotten = hashlib.sha256(culprit["group_key"].encode()).hexdigest()[:32]
    lock = audit.extras["lock"].filter(pl.col("group") != forgotten)
    found = judged(replace(audit, extras=audit.extras | {"lock": lock}))
    assert_shuts(found, "lock_kept")
    assert found["lock_kept"].record_ids == (culprit["record_id"],)


@pytest.mark.parametrize("strategy", ["stratified", "temporal"])
def test_expectations_split_shares_under_a_lock_never_shut(made, strategy):
    """A lock keeps groups where they are, whatever has gone since: nobody shall move them for a share."""
    audit = _with_lock(made(Step.SPLIT), strategy)
    ratios = pl.DataFrame({"split": ["train", "validation", "test"], "ratio": [0.4, 0.1, 0.5]})
    found = judged(replace(audit, extras=audit.extras | {"ratios": ratios}))
    assert failing(found) == ({"split_shares"} if strategy == "stratified" else set())
    assert not any(judgement.blocks for judgement in found.values())


def test_expectations_split_test_records_are_missed_once_the_test_window_is_over(made):
    case = made(Step.SPLIT)
    for last, warns in (("2100-01-01", False), ("2000-01-02", True)):
        audit = _with_lock(case, "temporal", windows=_windows(("test", "2000-01-01", last)))
        bare = replace(audit, extras=audit.extras | {"history": audit.extras["history"].clear()})
        assert ("test_records_per_label" in failing(judged(bare))) is warns


def test_expectations_every_one_has_a_mutation():
    tables = (
        test_expectations_common.MUTATIONS,
        test_expectations_ingest_dedup.MUTATIONS,
        test_expectations_filter_normalize.MUTATIONS,
        test_expectations_decontaminate_label.MUTATIONS,
        MUTATIONS,
        test_expectations_release.MUTATIONS,
        test_expectations_undated.MUTATIONS,
        test_expectations_annotations.MUTATIONS,
        test_expectations_people.MUTATIONS,
    )
    mutated = [(str(step), name) for table in tables for step, name in table]
    expected = [(str(step), e.name) for step, suite in EXPECTATIONS.items() for e in suite]
    assert sorted(mutated) == sorted(expected)
