"""The shared expectations again: other ways to shut them, what they name, and what only warns."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dataset_pipeline.records import Step
from dataset_pipeline_tests.test_expectations_common import (
    DAYS,
    FOREIGN_DAY,
    assert_shuts,
    change,
    failing,
    judged,
    one_rule_drops,
    one_source_drops,
    spare,
)


@pytest.mark.parametrize(
    "mutate",
    [
        lambda frame: frame.with_columns(surprise=pl.lit(1)),
        lambda frame: frame.with_columns(pl.col("prompt_tokens").cast(pl.Int64)),
    ],
    ids=["added", "retyped"],
)
def test_expectations_column_added_or_retyped_shuts(made, mutate):
    case = made(Step.FILTER)
    assert_shuts(judged(case.audit(mutate(case.staged))), "columns_exact")


def test_expectations_day_missing_shuts_keys_and_conservation(made):
    case = made(Step.FILTER)
    found = judged(case.audit(change(case.staged, spare(case), day=None)))
    assert failing(found) == {"keys_present", "rows_conserved"}
    assert found["keys_present"].record_ids == (spare(case),)


def test_expectations_row_moved_to_foreign_day_names_day_and_id(made):
    case = made(Step.FILTER)
    found = judged(case.audit(change(case.staged, spare(case), day=FOREIGN_DAY)))
    assert failing(found) == {"days_requested", "rows_conserved"}
    message = found["days_requested"].message("filter")
    assert "filter.days_requested: 1 of" in message
    assert f"on {FOREIGN_DAY} records {spare(case)}" in message


@pytest.mark.parametrize("step", Step)
def test_expectations_two_rows_with_each_others_day_are_named(made, step):
    # Both days are requested and each count is right: only the records' own days tell.
    case = made(step)
    a, b = (case.kept(day)["record_id"].sort()[0] for day in DAYS)
    found = judged(case.audit(change(change(case.staged, a, day=DAYS[1]), b, day=DAYS[0])))
    assert_shuts(found, "records_arrived")
    assert found["records_arrived"].record_ids == tuple(sorted((a, b)))
    assert found["records_arrived"].days == tuple(map(str, DAYS))


@pytest.mark.parametrize(
    "values",
    [{"reason": "too_short"}, {"kept": None}],
    ids=["kept with a reason", "neither kept nor dropped"],
)
def test_expectations_verdict_unclear_shuts_and_names_the_row(made, values):
    case = made(Step.FILTER)
    culprit = case.kept()["record_id"].sort()[0]
    found = judged(case.audit(change(case.staged, culprit, **values)))
    assert_shuts(found, "verdicts_complete")
    assert found["verdicts_complete"].record_ids == (culprit,)


def test_expectations_drop_rates_name_rule_and_source(made):
    case = made(Step.FILTER)
    assert judged(one_rule_drops(case))["drop_rate_per_rule"].culprits == ("automatic_reply",)
    assert judged(one_source_drops(case))["drop_rate_per_source"].culprits == ("paraphrases",)


def test_expectations_drop_rate_of_a_small_day_only_warns(made):
    # A day of 20 rows, 15 of them dropped by one rule.
    case = made(Step.FILTER)
    ids = case.kept(DAYS[1])["record_id"].sort().head(20).to_list()
    small = case.staged.filter(pl.col("record_id").is_in(ids))
    dropped = change(small, ids[:15], kept=False, reason="symbols", detail="{}")
    audit = replace(case.audit(dropped), rows_in={DAYS[0]: 0, DAYS[1]: 20})
    found = judged(audit)
    assert failing(found) == {"drop_rate_per_rule", "drop_rate_per_source"}
    assert not any(judgement.blocks for judgement in found.values())
