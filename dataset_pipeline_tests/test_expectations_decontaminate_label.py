"""What only decontaminate and label are asked, each open and shut on a real row."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.decontaminate import holding
from dataset_pipeline.records import MESSAGES, PROTECTED, Step
from dataset_pipeline_tests.test_expectations_common import (
    DAYS,
    Made,
    Mutation,
    assert_shuts,
    change,
    failing,
    judged,
)

# --- decontaminate ------------------------------------------------------------------------


def contaminated(made: Made) -> str:
    """A real record that equals an item of the holdout set."""
    return made.staged.filter(pl.col("match") == "equal")["record_id"].sort()[0]


def _copy_kept(made: Made) -> Audit:
    """The step overlooks it."""
    return made.audit(change(made.staged, contaminated(made), kept=True, reason=None, detail=None))


def _let_pass(made: Made) -> Audit:
    """A person says keep."""
    kept = change(made.staged, contaminated(made), kept=True, reason=None, detail=None, review="{}")
    return made.audit(kept)


def _overlap(made: Made) -> Audit:
    return made.audit(change(made.staged, contaminated(made), overlap_fraction=1.2))


# --- label --------------------------------------------------------------------------------


def first_kept(made: Made) -> str:
    return made.kept()["record_id"].sort()[0]


def _one_label(made: Made) -> Audit:
    """A day on which every record is a bug report: a wrong column."""
    return made.audit(change(made.staged, made.kept(DAYS[0])["record_id"].to_list(), label="bug_report"))


def _contradicting(made: Made, share: float) -> Audit:
    ids = made.kept(DAYS[0])["record_id"].sort()
    calm = made.staged.with_columns(is_contradiction=pl.lit(False))
    return made.audit(change(calm, ids.head(int(share * len(ids))).to_list(), is_contradiction=True))


def _label_without_records(made: Made) -> Audit:
    audit = made.audit()
    more = pl.concat([audit.extras["labels"], pl.DataFrame({"label": ["question"]})])
    return replace(audit, extras=audit.extras | {"labels": more})


MUTATIONS: dict[tuple[str, str], Mutation] = {
    (Step.DECONTAMINATE, "no_eval_item_left"): _copy_kept,
    (Step.DECONTAMINATE, "protected_let_pass"): _let_pass,
    (Step.DECONTAMINATE, "items_named"): lambda made: made.audit(
        change(made.staged, contaminated(made), eval_item=None)
    ),
    (Step.DECONTAMINATE, "overlap_in_range"): _overlap,
    (Step.LABEL, "labels_allowed"): lambda made: made.audit(
        change(made.staged, first_kept(made), label="rant")
    ),
    (Step.LABEL, "label_share"): _one_label,
    (Step.LABEL, "records_per_label"): _label_without_records,
    (Step.LABEL, "contradictions"): lambda made: _contradicting(made, 0.05),
}


@pytest.mark.parametrize(("step", "name"), MUTATIONS)
def test_expectations_decontaminate_label_mutated_row_shuts_exactly_one(made, step, name):
    assert_shuts(judged(MUTATIONS[step, name](made(step))), name)


def with_prompt(made: Made, record_id: str, text: str) -> Audit:
    """The audit of the step as if this record's prompt had been `text`."""
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "praise"}]
    row = made.staged.filter(record_id=record_id).select("record_id", "day")
    records = row.with_columns(messages=pl.Series([turns], dtype=MESSAGES))
    held = holding(records, made.context.warehouse.table(PROTECTED), NGRAM)
    audit = made.audit()
    return replace(audit, extras=audit.extras | {"holding": pl.concat([audit.extras["holding"], held])})


NGRAM = 13
"""Words from which on an item that stands whole in a text is looked for; the default of the spec."""


def long_item(made: Made) -> str:
    items = made.context.warehouse.table(PROTECTED).filter(pl.col("text").str.split(" ").list.len() >= 20)
    return items.sort("text")["text"][0]


def test_expectations_decontaminate_long_item_inside_a_record_shuts_and_names_it(made):
    case = made(Step.DECONTAMINATE)
    culprit = case.kept()["record_id"].sort()[0]
    found = judged(with_prompt(case, culprit, f"Hello all! {long_item(case).upper()} -- thanks in advance"))
    assert_shuts(found, "no_eval_item_left")
    assert found["no_eval_item_left"].record_ids == (culprit,)


def test_expectations_decontaminate_part_of_an_item_passes(made):
    case = made(Step.DECONTAMINATE)
    words = long_item(case).split(" ")
    assert (
        failing(judged(with_prompt(case, case.kept()["record_id"].sort()[0], " ".join(words[:10])))) == set()
    )


def test_expectations_label_missing_label_of_a_kept_row_shuts_and_names_it(made):
    case = made(Step.LABEL)
    found = judged(case.audit(change(case.staged, first_kept(case), label=None)))
    assert_shuts(found, "labels_allowed")
    assert found["labels_allowed"].record_ids == (first_kept(case),)


def test_expectations_label_too_few_records_name_the_label(made):
    found = judged(_label_without_records(made(Step.LABEL)))["records_per_label"]
    assert found.culprits == ("question",)
    assert "label.records_per_label: 0 (limit at least 10) by question" in found.message("label")


def test_expectations_label_without_labels_in_the_task_judges_none(made):
    audit = _contradicting(_without_any_label(made(Step.LABEL)), 0.0)
    audit = replace(audit, extras=audit.extras | {"labels": audit.extras["labels"].clear()})
    assert failing(judged(audit)) == set()


def _without_any_label(made: Made) -> Made:
    return replace(made, staged=made.staged.with_columns(label=pl.lit(None, pl.String)))
