"""How ids, names and messages are shown: one value, a column, JSON; what is left alone, and what that costs."""

from __future__ import annotations

import random
import string
import subprocess
import sys

import polars as pl
import pytest

from dataset_pipeline.spec.models import Pii
from dataset_pipeline.transforms import redaction
from dataset_pipeline.transforms.pii import find_pii, possible_entities
from dataset_pipeline.transforms.redaction import (  # fmt: skip
    distinct_names,
    of_values,
    shown,
    shown_details,
    shown_json,
    shown_values,
)

EMAILS = Pii(entities=("EMAIL_ADDRESS",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ann.lee@example.com-17", "[EMAIL_ADDRESS]-17"),
        ("sources/ann.lee@example.com_2026-03-01.jsonl:12", "sources/[EMAIL_ADDRESS]_2026-03-01.jsonl:12"),
        ("sources/ann.lee@example.com-export.csv", "sources/[EMAIL_ADDRESS]-export.csv"),
        ("ann@machine.internal", "[EMAIL_ADDRESS]"),
        ("phone_+49_30_23125417.csv.gz", "phone_[PHONE_NUMBER].csv.gz"),
        ("card-4556737586899855.csv", "card-[CREDIT_CARD].csv"),
        ("logs/198.51.100.234.log", "logs/[IP_ADDRESS].log"),
        ("host-198.51.100.234", "host-[IP_ADDRESS]"),
        ("536-22-8726-4", "[US_SSN]-4"),
        ("DE89370400440532013000_march.csv", "[IBAN_CODE]_march.csv"),
        ("ann%40example.com", "[EMAIL_ADDRESS]"),
        ("ann&#64;example.com", "[EMAIL_ADDRESS]"),
        ("ann (at) example.com", "[EMAIL_ADDRESS]"),
        ("ann\\u0040example.com", "[EMAIL_ADDRESS]"),
        ("ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[EMAIL_ADDRESS]"),
        ("+٤٩ ٣٠ ٢٣١٢٥٤١٧", "[PHONE_NUMBER]"),
        ("4556\u00ad7375\u200b8689\u20609855 as told", "[CREDIT_CARD] as told"),
        ("first ann@example.com\nthen 536-22-8726", "first [EMAIL_ADDRESS]\nthen [US_SSN]"),
    ],
)
def test_shown_value_with_personal_data_has_placeholder(value: str, expected: str) -> None:
    assert shown(value) == expected
    assert shown(expected) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "T-49635",
        "R-21058",
        "sources/support_inbox/2026-10-23.jsonl, line 53, collected 2026-10-23",
        "record fe5a77c76d72e51bdc1e3646c2e87e79 (app_reviews:R-21058)",
        "550e8400-e29b-41d4-a716-446655440000",
        "1700000000",
        "2026-03-01T12:30:05.123456Z",
        "read 1,234,567 rows: 1,234,560 records, 7 rejected on 2026-03-01, 2026-03-02",
        "http://10.20.30.40:9000/bucket did not answer within 20 s",
        "warehouse of DuckDB 2.0.1, project 0.9.0",
        "filter.input.min_words 3 → 4, wait: 0.8571428571428571",
    ],
)
def test_shown_words_of_ours_stay(value: str) -> None:
    assert shown(value) == value


def test_shown_entities_of_the_spec_alone_are_replaced() -> None:
    assert shown("ann@example.com 536-22-8726", EMAILS) == "[EMAIL_ADDRESS] 536-22-8726"
    assert shown("ann@example.com", of_values(Pii(action="keep"))) == "ann@example.com"
    assert of_values(EMAILS) == EMAILS


def test_shown_search_that_fails_hides_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ann.fail@example.com")

    monkeypatch.setattr(redaction, "find_pii", fail)
    assert shown("mail of ann.fail@example.com") == redaction.NOT_SHOWN


def test_shown_json_texts_and_keys_are_shown() -> None:
    given = {"votes": {"ann@example.com": 2}, "value": ["536-22-8726", 4556737586899855, None], "n": 0.5}
    assert shown_json(given) == {
        "votes": {"[EMAIL_ADDRESS]": 2},
        "value": ["[US_SSN]", 4556737586899855, None],
        "n": 0.5,
    }


def test_shown_values_column_nulls_and_plain_ids_stay() -> None:
    ids = pl.Series("id", ["ann@example.com-1", None, "T-49635", "4556737586899855", "ann@example.com-1"])
    assert shown_values(ids).to_list() == [
        "[EMAIL_ADDRESS]-1",
        None,
        "T-49635",
        "[CREDIT_CARD]",
        "[EMAIL_ADDRESS]-1",
    ]
    assert shown_values(ids, EMAILS).to_list()[3] == "4556737586899855"


def test_shown_details_json_stays_json() -> None:
    details = pl.Series(
        "detail",
        [
            '{"rule":"unknown_label","value":"ann@example.com","n":0.25}',
            '{"rule":"near","similarity":0.8571428571}',
            None,
        ],
    )
    assert shown_details(details).to_list() == [
        '{"rule":"unknown_label","value":"[EMAIL_ADDRESS]","n":0.25}',
        '{"rule":"near","similarity":0.8571428571}',
        None,
    ]


def test_distinct_names_shown_alike_are_numbered_in_order() -> None:
    names = {("inbox", "2026-03-01", uri): uri for uri in ("b@x.com.csv", "a@x.com.csv", "c.csv")}
    names[("other", "2026-03-01", "a@x.com.csv")] = "a@x.com.csv"
    assert list(distinct_names(names).items()) == [
        (("inbox", "2026-03-01", "a@x.com.csv"), "[EMAIL_ADDRESS].csv"),
        (("inbox", "2026-03-01", "b@x.com.csv"), "[EMAIL_ADDRESS].csv (2)"),
        (("inbox", "2026-03-01", "c.csv"), "c.csv"),
        (("other", "2026-03-01", "a@x.com.csv"), "[EMAIL_ADDRESS].csv"),
    ]


def test_shown_values_ids_that_are_not_searched_hold_nothing() -> None:
    """What `shown_values` passes over for its shape: the recognizers find nothing in it either."""
    made = random.Random(24)
    letters = string.ascii_letters
    ids = [
        f"{''.join(made.choices(letters, k=made.randrange(3)))}{made.choice(['', *'-_:#/'])}{made.randrange(1, 10 ** made.randrange(1, 12))}"
        for _ in range(300)
    ]  # fmt: skip
    assert not any(find_pii(ids, Pii()))
    assert shown_values(pl.Series("id", ids)).to_list() == ids


def test_shown_values_hint_misses_nothing_that_can_be_found() -> None:
    """The pre-filters of values and columns let through whatever the recognizers' own pre-filter does."""
    made = random.Random(7)
    signs = ["0123456789"[n % 10] for n in range(30)] + [*"abcdef@.:-+ /_", "(at)", "%40", "&#64;"]
    texts = ["".join(made.choices(signs, k=made.randrange(4, 30))) for _ in range(20_000)]
    column = pl.Series("text", texts)
    passed = set(column.filter(column.str.contains(redaction.COLUMN_HINT)))
    for text in texts:
        if possible_entities(text) & set(redaction.NAMES.entities):
            assert text in passed and redaction.HINT.search(text), text


def test_shown_names_without_personal_data_import_no_presidio() -> None:
    """Commands that say nothing of the kind, such as a no-op `status`, stay instant."""
    program = (
        "import sys\nfrom dataset_pipeline.transforms.redaction import shown\n"
        "shown('ingest published 2026-03-01 … 2026-03-05 (5) 1,234,567 fe5a77c76d72e51bdc1e3646c2e87e79 é')\n"
        "print('presidio_analyzer' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
