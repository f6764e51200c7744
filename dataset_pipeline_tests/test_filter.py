"""The filter step: each rule open and shut, their order, and the handwritten examples."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from dataset_pipeline import records
from dataset_pipeline.records import Step
from dataset_pipeline.spec.models import Example, SideLimits
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms.filter import (
    decide,
    example_records,
    examples_dropped,
    filter_records,
    measure,
)

OFF: dict[str, Any] = {
    "prompt": SideLimits(),
    "answer": SideLimits(),
    "max_tokens": None,
    "chars_per_token": 4.0,
    "drop_automatic_replies": False,
    "max_profane_words": None,
    "profane_add": (),
    "profane_allow": (),
    "examples": (),
}
"""Every rule that can be switched off is."""

MESSAGES = SideLimits(
    min_words=3,
    max_words=2000,
    min_alpha_share=0.5,
    max_symbol_share=0.3,
    max_digit_share=0.4,
    max_repetition_share=0.5,
    max_markup_share=0.3,
)
LABELS = FilterParams(answers_are_labels=True, **OFF)
ANSWERS = FilterParams(answers_are_labels=False, **OFF)


def frame(*sides: tuple[str, str | None]) -> pl.DataFrame:
    rows = [
        {
            "record_id": f"r{number}",
            "day": dt.date(2026, 1, 1),
            "source": "s",
            "source_rank": 1,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
            + ([] if answer is None else [{"role": "assistant", "content": answer}]),
            "label": answer,
            "group": None,
            "person_names": [],
            "may_evaluate": True,
            "content_sha": "x",
        }
        for number, (prompt, answer) in enumerate(sides)
    ]
    return pl.DataFrame(rows, schema=records.RECORDS)


def verdict(params: FilterParams, prompt: str, answer: str | None) -> tuple[str | None, Any]:
    row = filter_records(frame((prompt, answer)), params).row(0, named=True)
    assert row["kept"] == (row["reason"] is None) == (row["detail"] is None)
    return row["reason"], None if row["detail"] is None else json.loads(row["detail"])


def changed(params: FilterParams, **limits: Any) -> FilterParams:
    return params.model_copy(update=limits)


@pytest.mark.parametrize(
    ("prompt", "reason", "rule"),
    [
        ("please help", "too_short", "min_words"),
        ("😀 😀 😀 👍", "too_short", "min_words"),
        ("<table><tr><td>a</td><td>b</td><td>c</td></tr></table>", "markup", "max_markup_share"),
        ("a b c #### %%%% ==== ++++", "symbols", "max_symbol_share"),
        ("on 2025-03-01 00:12:55 rows 404 404 500", "digits", "max_digit_share"),
        ("a, b, c, d... !!! ??? ...", "low_alpha", "min_alpha_share"),
        ("good app good app good app good app", "repetition", "max_repetition_share"),
    ],
)
def test_filter_noise_is_dropped_with_its_reason(prompt: str, reason: str, rule: str) -> None:
    params = changed(LABELS, prompt=MESSAGES)
    given, detail = verdict(params, prompt, "bug")
    assert given == reason
    assert (detail["rule"], detail["side"]) == (rule, "prompt")
    assert detail["threshold"] == getattr(MESSAGES, rule)
    limit = rule.startswith("min_")
    assert detail["value"] < detail["threshold"] if limit else detail["value"] > detail["threshold"]
    assert verdict(LABELS, prompt, "bug") == (None, None), "null limits switch the rules off"


@pytest.mark.parametrize(
    "prompt",
    [
        "App crashes on v4.2.1!!!",
        "Error 0x80070057 when exporting report.final.pdf at 14:30",
        "🎉🎉 quote accepted in 4 min 👏👏 you rock 🐶✂️💚",
        "Really, really, really good. Really.",
        "应用崩溃了，请修复",
        "Footer shows <br> since last week, so customers read it",
    ],
)
def test_filter_short_clear_messages_are_kept(prompt: str) -> None:
    params = changed(LABELS, prompt=MESSAGES, drop_automatic_replies=True, max_profane_words=1)
    assert verdict(params, prompt, "bug") == (None, None)


def test_filter_too_long_counts_words_of_the_side() -> None:
    params = changed(ANSWERS, answer=SideLimits(max_words=3))
    assert verdict(params, "one two three four", "one two three") == (None, None)
    reason, detail = verdict(params, "one", "one two three four")
    assert reason == "too_long"
    assert detail == {"rule": "max_words", "side": "answer", "threshold": 3, "value": 4}


def test_filter_tokens_of_both_sides_add_up() -> None:
    params = changed(ANSWERS, max_tokens=4)
    assert verdict(params, "12345678", "12345678") == (None, None)
    reason, detail = verdict(params, "123456789", "12345678")
    assert reason == "too_many_tokens"
    assert detail == {"rule": "max_tokens", "side": "both", "threshold": 4, "value": 5}


def test_filter_automatic_reply_is_dropped_only_where_asked() -> None:
    prompt = "This is an automatic reply. I am away."
    assert verdict(LABELS, prompt, None) == (None, None)
    assert verdict(changed(LABELS, drop_automatic_replies=True), prompt, None)[0] == "automatic_reply"


def test_filter_profanity_allows_as_many_words_as_the_limit() -> None:
    params = changed(ANSWERS, max_profane_words=1)
    assert verdict(params, "this fucking thing", "fuck fuck fuck") == (None, None)
    reason, detail = verdict(params, "fuck this fucking thing", "ok")
    assert (reason, detail["value"]) == ("profanity", 2)


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("bug_report", None),
        ("Something that should work does not work", None),
        ("the user says that the export does not work", "max_label_words"),
        ("x" * 81, "max_label_chars"),
        ("bug\nfeature", "max_label_lines"),
    ],
)
def test_filter_label_form_decides_what_can_be_a_label(label: str, rule: str | None) -> None:
    reason, detail = verdict(LABELS, "a message", label)
    assert reason == (None if rule is None else "label_form")
    assert rule is None or detail["rule"] == rule


def test_filter_unlabelled_record_meets_no_answer_rule() -> None:
    params = changed(LABELS, answer=SideLimits(min_words=1, min_alpha_share=0.9))
    row = filter_records(frame(("a clear message", None)), params).row(0, named=True)
    assert row["kept"] and row["answer_words"] is None


@pytest.mark.parametrize("answer", [None, "", "  \n", "...", "-"])
def test_filter_empty_answer_is_dropped_outside_classification(answer: str | None) -> None:
    assert verdict(ANSWERS, "What is 2 + 2?", answer)[0] == "empty_answer"


@pytest.mark.parametrize("answer", ["4", "+", "👍", "No.", "数"])
def test_filter_a_number_sign_or_emoji_is_an_answer(answer: str) -> None:
    assert verdict(ANSWERS, "What is 2 + 2?", answer) == (None, None)


def test_filter_first_rule_in_order_gives_the_reason() -> None:
    params = changed(ANSWERS, prompt=SideLimits(min_words=5, max_digit_share=0.1), max_tokens=1)
    assert verdict(params, "1 2 3", "")[0] == "empty_answer"
    assert verdict(params, "1 2 3", "ok")[0] == "too_short"
    assert verdict(params, "1 2 3 4 5", "ok")[0] == "digits"


def test_filter_system_prompt_is_not_measured() -> None:
    assert measure(frame(("two words", "x")), LABELS)["prompt_words"].to_list() == [2]


def test_filter_every_record_comes_out_once_in_any_order() -> None:
    given = frame(("please help", "bug"), ("the export fails again", "bug"), ("<b></b>", None))
    params = changed(LABELS, prompt=MESSAGES)
    result = filter_records(given, params)
    assert result.schema == pl.Schema(records.TABLES[Step.FILTER])
    assert result["record_id"].to_list() == ["r0", "r1", "r2"]
    assert result["kept"].to_list() == [False, True, False]
    assert filter_records(given.reverse(), params).reverse().equals(result)
    assert filter_records(given.head(0), params).schema == result.schema


def test_filter_new_threshold_needs_stored_measurements_only() -> None:
    given = frame(("please help", "bug"), ("the export fails again", "bug"))
    stored = filter_records(given, LABELS).drop("kept", "reason", "detail")
    strict = changed(LABELS, prompt=SideLimits(min_words=3))
    assert decide(stored, strict).equals(filter_records(given, strict))


def test_filter_examples_that_a_rule_would_drop_are_named() -> None:
    examples = (
        Example(input="Export does nothing today", output="bug"),
        Example(input="Thanks", output="praise"),
    )
    params = changed(LABELS, prompt=MESSAGES, examples=examples)
    assert example_records(params).schema == pl.Schema(records.RECORDS)
    assert example_records(params)["record_id"].to_list() == ["example-1", "example-2"]
    assert examples_dropped(params).select("record_id", "reason").rows() == [("example-2", "too_short")]
    assert examples_dropped(LABELS).height == 0


# --- borderline: a share that is missed by little waits for a person ------------------------

MARGIN = changed(LABELS, prompt=SideLimits(max_digit_share=0.5, min_alpha_share=0.5), review_margin=0.1)
"""Of ten characters five digits and five letters are what is just allowed."""


@pytest.mark.parametrize(
    ("limits", "prompt", "reason"),
    [
        ({"max_digit_share": 0.5}, "12345 abcde", None),
        ({"max_digit_share": 0.5}, "12345 67890 1 abcde abcde", "in_review"),  # 11 of 21: 0.524
        ({"max_digit_share": 0.5}, "123456 abcde", "in_review"),  # 6 of 11: 0.545
        ({"max_digit_share": 0.5}, "123456 abcd", "digits"),  # 6 of 10: 0.6
        ({"min_alpha_share": 0.5}, "123456 abcde", "in_review"),  # 5 of 11: 0.455
        ({"min_alpha_share": 0.5}, "123456 abcd", "low_alpha"),  # 4 of 10: 0.4
        ({"max_repetition_share": 0.4}, "ab ab ab ab cd ef gh", None),  # 1 of 5 threes twice: 0.2
        ({"max_repetition_share": 0.19}, "ab ab ab ab cd ef gh", "in_review"),  # limit × 1.1: 0.209
        ({"max_repetition_share": 0.18}, "ab ab ab ab cd ef gh", "repetition"),
        ({"max_symbol_share": 0.48}, "ab#$", "in_review"),  # 0.5
        ({"max_symbol_share": 0.45}, "ab#$", "symbols"),
        ({"max_symbol_share": 0.0}, "abcdefghi#", "symbols"),  # a tenth of nothing is nothing
        ({"max_markup_share": 0.48}, "<br>abcd", "in_review"),  # 4 of 8
        ({"max_markup_share": 0.45}, "<br>abcd", "markup"),
    ],
)
def test_filter_share_missed_by_less_than_the_margin_waits(
    limits: dict[str, float], prompt: str, reason: str | None
) -> None:
    params = changed(LABELS, prompt=SideLimits(**limits), review_margin=0.1)
    given, detail = verdict(params, prompt, "bug")
    assert given == reason
    assert (detail or {}).get("borderline") == (True if reason == "in_review" else None)
    if reason == "in_review":
        without = verdict(changed(params, review_margin=0.0), prompt, "bug")
        assert without[1] == {k: v for k, v in detail.items() if k != "borderline"}
        assert without[0] not in (None, "in_review")


def test_filter_borderline_detail_is_compact_with_sorted_keys() -> None:
    table = filter_records(frame(("123456 abcde", "bug")), MARGIN)
    detail = table["detail"].item()
    assert (
        detail
        == '{"borderline":true,"rule":"max_digit_share","side":"prompt","threshold":0.5,"value":0.5455}'
    )
    assert table["kept"].to_list() == [False]


def test_filter_one_rule_beyond_its_margin_drops_and_gives_the_reason() -> None:
    # Digits (asked first) are borderline with 6 of 11; of letters there are 2 of 11 only.
    reason, detail = verdict(MARGIN, "123456 ab!!!", "bug")
    assert (reason, detail["rule"]) == ("low_alpha", "min_alpha_share")
    assert "borderline" not in detail


def test_filter_two_borderline_rules_wait_with_the_first() -> None:
    reason, detail = verdict(MARGIN, "123456 abcde", "bug")
    assert (reason, detail["rule"]) == ("in_review", "max_digit_share")


@pytest.mark.parametrize(
    ("params", "prompt", "reason"),
    [
        (changed(LABELS, prompt=SideLimits(max_words=20)), "word " * 21, "too_long"),
        (changed(LABELS, prompt=SideLimits(min_words=20)), "word " * 19, "too_short"),
        (changed(ANSWERS, max_tokens=100), "x" * 396, "too_many_tokens"),
        (changed(LABELS, max_profane_words=0), "fuck", "profanity"),
    ],
)
def test_filter_counts_are_exact_and_never_borderline(params: FilterParams, prompt: str, reason: str) -> None:
    assert verdict(changed(params, review_margin=0.5), prompt, "bug, or so it seems")[0] == reason


def test_filter_borderline_beside_a_count_is_dropped_by_the_count() -> None:
    params = changed(LABELS, prompt=SideLimits(max_digit_share=0.5, max_words=1), review_margin=0.1)
    assert verdict(params, "123456 abcde", "bug")[0] == "too_long"


def test_filter_borderline_example_closes_the_gate_as_a_dropped_one_does() -> None:
    params = changed(MARGIN, examples=(Example(input="123456 abcde", output="bug"),))
    assert examples_dropped(params).select("record_id", "reason").rows() == [("example-1", "in_review")]
