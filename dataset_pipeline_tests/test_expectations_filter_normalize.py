"""What only filter and normalize are asked, each open and shut on a real row."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import polars as pl
import pytest

from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.text_audit import left_entities, left_names
from dataset_pipeline.records import Step
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms.filter import examples_dropped
from dataset_pipeline_tests.test_expectations_common import (
    DAYS,
    Made,
    Mutation,
    assert_shuts,
    change,
    failing,
    judged,
    spare,
)


def first_kept(made: Made) -> str:
    return made.kept()["record_id"].sort()[0]


# --- filter -------------------------------------------------------------------------------


def _strict_rule(made: Made) -> Audit:
    """The examples as a rule of at least nine words would leave them."""
    params = cast(FilterParams, made.context.params[Step.FILTER])
    strict = params.model_copy(update={"prompt": params.prompt.model_copy(update={"min_words": 9})})
    audit = made.audit()
    return replace(audit, extras=audit.extras | {"examples": examples_dropped(strict)})


def _share(made: Made, column: str, value: float) -> Audit:
    return made.audit(change(made.staged, first_kept(made), **{column: value}))


def _chosen_is_longer(made: Made) -> Audit:
    """Sixty kept records of a day as preference pairs whose worse answer is a character long."""
    ids = made.kept(DAYS[0])["record_id"].sort().head(60)
    assert len(ids) == 60
    return made.audit(change(made.staged, ids.to_list(), rejected_chars=1))


# --- normalize ----------------------------------------------------------------------------


def with_text(made: Made, record_id: str, more: str) -> pl.DataFrame:
    """The staged rows with `more` behind the first turn of one record."""
    turn = pl.element().struct
    longer = pl.struct(
        role=turn.field("role"),
        content=pl.when(turn.field("role") == "user")
        .then(turn.field("content") + more)
        .otherwise(turn.field("content")),
    )
    return change(made.staged, record_id, messages=pl.col("messages").list.eval(longer))


def _left(more: str) -> Mutation:
    return lambda made: made.audit(with_text(made, first_kept(made), more))


def _language_unknown(made: Made) -> Audit:
    """Four of ten kept records of a day are in no known language."""
    ids = made.kept(DAYS[0])["record_id"].sort()
    return made.audit(change(made.staged, ids.head(int(0.4 * len(ids))).to_list(), prompt_language=None))


def _turn_lost(made: Made) -> Audit:
    return made.audit(change(made.staged, first_kept(made), messages=pl.col("messages").list.head(1)))


MUTATIONS: dict[tuple[str, str], Mutation] = {
    (Step.FILTER, "examples_pass"): _strict_rule,
    (Step.FILTER, "shares_in_range"): lambda made: _share(made, "prompt_alpha_share", 1.01),
    (Step.FILTER, "length_bias"): _chosen_is_longer,
    (Step.FILTER, "prompts_measured"): lambda made: made.audit(
        change(made.staged, first_kept(made), prompt_words=None)
    ),
    (Step.NORMALIZE, "no_control_characters"): _left(" \x07"),
    (Step.NORMALIZE, "no_mojibake"): _left(" schÃ¶n"),
    (Step.NORMALIZE, "no_pii_left"): _left(" jo.miller@example.com"),
    (Step.NORMALIZE, "no_pii_shapes_left"): _left(" +49 30 1234567"),
    (Step.NORMALIZE, "language_known"): _language_unknown,
    (Step.NORMALIZE, "roles_kept"): _turn_lost,
}


@pytest.mark.parametrize(("step", "name"), MUTATIONS)
def test_expectations_filter_normalize_mutated_row_shuts_exactly_one(made, step, name):
    assert_shuts(judged(MUTATIONS[step, name](made(step))), name)


@pytest.mark.parametrize(
    ("column", "value"),
    [("prompt_symbol_share", -0.01), ("answer_digit_share", 1.01), ("prompt_distinct_share", float("nan"))],
)
def test_expectations_filter_share_out_of_range_names_the_row(made, column, value):
    case = made(Step.FILTER)
    found = judged(_share(case, column, value))
    assert_shuts(found, "shares_in_range")
    assert found["shares_in_range"].record_ids == (first_kept(case),)


def test_expectations_filter_examples_dropped_are_named_with_rule(made):
    case = made(Step.FILTER)
    message = judged(_strict_rule(case))["examples_pass"].message("filter")
    first = _strict_rule(case).extras["examples"].sort("record_id").row(0, named=True)
    assert f"{first['record_id']} by too_short" in message


@pytest.mark.parametrize(
    ("more", "entity"),
    [
        (" 4111 1111 1111 1111", "CREDIT_CARD"),
        (" DE89 3704 0044 0532 0130 00", "IBAN_CODE"),
        (" my SSN is 219-09-9999", "US_SSN"),
    ],
)
def test_expectations_normalize_other_personal_data_shuts(made, more, entity):
    case = made(Step.NORMALIZE)
    assert left_entities(more) == {entity}
    found = judged(_left(more)(case))
    assert not found["no_pii_left"].passed
    assert found["no_pii_left"].record_ids == (first_kept(case),)


@pytest.mark.parametrize(
    ("more", "entity"),
    [
        (" \u0664\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 \u0661\u0661\u0661\u0661", "CREDIT_CARD"),
        (" \uff4a\uff4f\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com", "EMAIL_ADDRESS"),
    ],
)  # fmt: skip
def test_expectations_normalize_personal_data_in_other_signs_shuts(made, more, entity):
    assert left_entities(more) == {entity}
    assert not judged(_left(more)(made(Step.NORMALIZE)))["no_pii_left"].passed


def test_expectations_normalize_full_name_of_the_columns_shuts(made):
    case = made(Step.NORMALIZE)
    audit = _left(" as MARIA  Olsen said")(case)
    assert judged(audit)["no_pii_left"].passed
    names = pl.DataFrame({"record_id": [first_kept(case)], "person_names": [["Maria Olsen"]]})
    found = judged(replace(audit, extras={**audit.extras, "names": names}))["no_pii_left"]
    assert not found.passed
    assert found.record_ids == (first_kept(case),)


def test_expectations_normalize_part_of_a_name_is_no_name_left():
    assert not left_names("Maria said so, and olsens too", ["Maria Olsen", None, "Maria"])


def test_expectations_normalize_number_without_checksum_passes(made):
    assert failing(judged(_left(" order 4111 1111 1111 1112")(made(Step.NORMALIZE)))) == set()


def test_expectations_normalize_entity_that_the_spec_leaves_passes(made):
    audit = _left(" jo.miller@example.com")(made(Step.NORMALIZE))
    wanted = audit.extras["entities"].filter(pl.col("entity") != "EMAIL_ADDRESS")
    assert failing(judged(replace(audit, extras=audit.extras | {"entities": wanted}))) == set()


def test_expectations_normalize_dropped_row_may_hold_anything(made):
    # A record in another language is dropped as it came; nothing of it is released.
    case = made(Step.NORMALIZE)
    assert failing(judged(case.audit(with_text(case, spare(case), " \x07 jo.miller@example.com")))) == set()


@pytest.mark.parametrize("harmless", [" invoice no. 219-09-9999", " IMEI 490154203237518"])
def test_expectations_normalize_number_that_only_looks_personal_shuts_nothing(made, harmless):
    found = judged(_left(harmless)(made(Step.NORMALIZE)))
    assert found["no_pii_left"].passed
