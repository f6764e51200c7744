"""The normalize step: which sides are cleaned, tagged, searched and dropped."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl

from dataset_pipeline import records as model
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.spec.params import NormalizeParams
from dataset_pipeline.transforms.normalize import normalize

ENGLISH = "The export button does nothing since the last update."
GERMAN = "Seit dem letzten Update lassen sich keine Rechnungen mehr speichern."


def params(labels: bool = True, languages: tuple[str, ...] = ("en",), **pii: Any) -> NormalizeParams:
    return NormalizeParams(answers_are_labels=labels, languages=languages, pii=Pii(**pii))


def frame(*turns: tuple[str, ...], names: list[str] | None = None) -> pl.DataFrame:
    """Records r0, r1, … of user and assistant turns."""
    rows = [
        {
            "record_id": f"r{number}",
            "day": dt.date(2026, 11, 1),
            "messages": [
                {"role": "assistant" if position % 2 else "user", "content": content}
                for position, content in enumerate(contents)
            ],
            "person_names": names or [],
            "content_sha": f"sha{number}",
        }
        for number, contents in enumerate(turns)
    ]
    return pl.DataFrame(rows, schema_overrides={"messages": model.MESSAGES}, schema=model.RECORDS)


def contents(result: pl.DataFrame) -> list[list[str]]:
    return [[message["content"] for message in messages] for messages in result["messages"].to_list()]


def test_normalize_columns_are_those_of_the_table_and_no_row_is_lost() -> None:
    result = normalize(frame((ENGLISH, "bug"), (GERMAN, "bug"), ("\u200b ", "bug")), params())
    assert result.schema == pl.Schema(model.TABLES[model.Step.NORMALIZE])
    assert result["record_id"].to_list() == ["r0", "r1", "r2"]
    assert result["reason"].to_list() == [None, "language", "empty_after_cleaning"]
    assert result["kept"].to_list() == [True, False, False]
    assert set(result["reason"].drop_nulls()) <= model.REASONS[model.Step.NORMALIZE]


def test_normalize_no_records_give_no_rows() -> None:
    result = normalize(frame(), params())
    assert result.height == 0
    assert result.schema == pl.Schema(model.TABLES[model.Step.NORMALIZE])


def test_normalize_foreign_prompt_names_rule_value_and_threshold() -> None:
    row = normalize(frame((GERMAN, "bug")), params()).row(0, named=True)
    detail = json.loads(row["detail"])
    assert detail == {
        "rule": "language",
        "side": "prompt",
        "language": "de",
        "threshold": 0.05,
        "value": row["prompt_spec_probability"],
        "min_odds": 10.0,
        "odds": None,  # of a probability of nothing
        "min_evidence": 14.0,
        "evidence": detail["evidence"],
    }
    assert detail["evidence"] > 14
    assert row["detail"] == json.dumps(detail, sort_keys=True, separators=(",", ":"))
    assert row["prompt_language"] == "de"


def test_normalize_label_is_neither_cleaned_nor_searched_nor_tagged() -> None:
    label = " billing@example.com &amp; 415-555-0132 "
    row = normalize(frame((ENGLISH, label)), params()).row(0, named=True)
    assert row["messages"][1]["content"] == label.strip()
    assert row["answer_language"] is None
    assert row["pii_counts"] == []


def test_normalize_foreign_answer_drops_only_where_answers_are_text() -> None:
    records = frame((ENGLISH, GERMAN))
    assert normalize(records, params(labels=True))["kept"].to_list() == [True]
    dropped = normalize(records, params(labels=False)).row(0, named=True)
    assert (dropped["reason"], json.loads(dropped["detail"])["side"]) == ("language", "answer")


def test_normalize_code_answer_is_kept() -> None:
    code = "let x = 4;\nlet y = 9;\nlet z = x > y ? x : y;"
    result = normalize(
        frame((ENGLISH, code), (ENGLISH, "42"), (ENGLISH, "#!/bin/sh\n\nls -lS")), params(labels=False)
    )
    assert result["kept"].to_list() == [True, True, True]


def test_normalize_without_languages_everything_is_kept_and_tagged() -> None:
    row = normalize(frame((GERMAN, "bug")), params(languages=())).row(0, named=True)
    assert (row["kept"], row["prompt_language"], row["prompt_spec_probability"]) == (True, "de", None)


def test_normalize_short_foreign_prompt_is_kept_unless_script_or_letters_leave_no_doubt() -> None:
    texts = ("Muchas gracias", "Bestellung nicht angekommen", "Спасибо")
    result = normalize(frame(*((text, "x") for text in texts)), params())
    assert result["kept"].to_list() == [True, False, False]


def test_normalize_sides_in_two_languages_are_tagged_apart_and_the_foreign_one_decides() -> None:
    records = frame((ENGLISH, GERMAN), (GERMAN, ENGLISH), (ENGLISH, ENGLISH))
    english = normalize(records, params(labels=False))
    both = normalize(records, params(labels=False, languages=("en", "de")))
    tags = [("en", "de"), ("de", "en"), ("en", "en")]
    for result in (english, both):
        assert result.select("prompt_language", "answer_language").rows() == tags
    assert english["kept"].to_list() == [False, False, True]
    assert [json.loads(detail)["side"] for detail in english["detail"] if detail] == ["answer", "prompt"]
    assert both["kept"].to_list() == [True, True, True]


def test_normalize_side_in_two_languages_has_the_one_that_its_letters_speak_for() -> None:
    mostly_english = f"{ENGLISH} {ENGLISH} The dialog only says: {GERMAN[:24]}"
    mostly_german = f"{GERMAN} {GERMAN} Im Fenster steht nur: {ENGLISH[:24]}"
    result = normalize(frame((mostly_english, "x"), (mostly_german, "x")), params())
    assert result["prompt_language"].to_list() == ["en", "de"]
    assert result["kept"].to_list() == [True, False]


def test_normalize_pii_is_replaced_on_both_sides_and_recorded_without_text() -> None:
    records = frame(
        ("Mail  jo@example.com or call Jo Falk", "I wrote to jo@example.com, Falk."), names=["Jo Falk"]
    )
    row = normalize(records, params(labels=False)).row(0, named=True)
    assert contents(normalize(records, params(labels=False))) == [
        ["Mail  [EMAIL_ADDRESS] or call [PERSON]", "I wrote to [EMAIL_ADDRESS], [PERSON]."]
    ]
    assert row["pii_counts"] == [{"name": "EMAIL_ADDRESS", "count": 2}, {"name": "PERSON", "count": 2}]
    assert [(s["message"], s["start"], s["end"], s["entity"]) for s in row["pii_spans"]] == [
        (0, 6, 20, "EMAIL_ADDRESS"),
        (0, 29, 36, "PERSON"),
        (1, 11, 25, "EMAIL_ADDRESS"),
        (1, 27, 31, "PERSON"),
    ]


def test_normalize_pii_is_only_counted_where_it_is_kept() -> None:
    records = frame(("Mail jo@example.com about the invoice", "bug"))
    kept = normalize(records, params(action="keep"))
    assert contents(kept) == [["Mail jo@example.com about the invoice", "bug"]]
    assert kept["pii_counts"].to_list() == [[{"name": "EMAIL_ADDRESS", "count": 1}]]


def test_normalize_person_is_left_where_it_is_no_entity() -> None:
    records = frame(("Jo Falk asks for a refund", "bug"), names=["Jo Falk"])
    assert contents(normalize(records, params(entities=("EMAIL_ADDRESS",)))) == [
        ["Jo Falk asks for a refund", "bug"]
    ]


def test_normalize_names_of_one_record_do_not_touch_another() -> None:
    records = pl.concat(
        [frame(("Ask Falk about it", "x"), names=["Falk"]), frame(("Ask Falk about it", "x"))]
    )
    assert [c[0] for c in contents(normalize(records, params()))] == [
        "Ask [PERSON] about it",
        "Ask Falk about it",
    ]


def test_normalize_changes_are_summed_over_messages_and_sorted() -> None:
    row = normalize(frame(("a &amp; b\r\nc\u200b d", "e &lt; f")), params(labels=False)).row(0, named=True)
    assert row["changes"] == [
        {"name": "entities", "count": 2},
        {"name": "invisible", "count": 1},
        {"name": "newlines", "count": 1},
    ]


def test_normalize_system_prompt_keeps_its_layout_and_is_no_side() -> None:
    records = frame((ENGLISH, "bug")).with_columns(
        messages=pl.Series(
            [[{"role": "system", "content": f"{GERMAN}\n  - a   b"}, {"role": "user", "content": ENGLISH}]],
            dtype=model.MESSAGES,
        )
    )
    row = normalize(records, params()).row(0, named=True)
    assert (row["kept"], row["prompt_language"]) == (True, "en")
    assert row["messages"][0]["content"] == f"{GERMAN}\n  - a   b"


def test_normalize_clean_sha_follows_what_later_steps_read() -> None:
    base = normalize(frame((ENGLISH, "bug")), params())["clean_sha"][0]
    assert normalize(frame((f"{ENGLISH} \r\n", "bug")), params())["clean_sha"][0] == base
    assert normalize(frame((f"{ENGLISH}!", "bug")), params())["clean_sha"][0] != base
    other = frame((ENGLISH, "bug")).with_columns(content_sha=pl.lit("other"))
    assert normalize(other, params())["clean_sha"][0] != base


def test_normalize_row_order_does_not_matter() -> None:
    records = frame(
        (ENGLISH, "bug"), (GERMAN, "bug"), ("jo@example.com wrote", "bug"), (ENGLISH, "praise"), names=["Jo"]
    )
    turned = normalize(records.reverse(), params())
    assert normalize(records, params()).equals(turned.sort("record_id"))
    assert normalize(turned.select("record_id").join(records, on="record_id"), params()).height == 4
