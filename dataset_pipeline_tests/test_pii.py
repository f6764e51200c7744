"""What counts as personal data, what only looks so, and how findings are settled and replaced."""

from __future__ import annotations

import logging
import re
import socket
from types import SimpleNamespace
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.spec.models import ALL_ENTITIES, Pii
from dataset_pipeline.transforms import pii
from dataset_pipeline.transforms.pii import Finding, find_persons, find_pii, replaced, resolved


def marked(text: str, params: Pii | None = None) -> str:
    return replaced(text, find_pii([text], params or Pii())[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jo.o'neil+x@mail.example.co.uk.", "write to [EMAIL_ADDRESS]."),
        ("EMAIL='user@example.com'", "EMAIL='[EMAIL_ADDRESS]'"),
        ("call +49 30 12345678 now", "call [PHONE_NUMBER] now"),
        ("I sit at 030 12345678", "I sit at [PHONE_NUMBER]"),
        ("mobile (415) 555-0132", "mobile [PHONE_NUMBER]"),
        ("202-555-0143 is mine", "[PHONE_NUMBER] is mine"),
        ("+447700 208 815, +41 (0)38 549 02 90", "[PHONE_NUMBER], [PHONE_NUMBER]"),
        ("phone 4155550132", "phone [PHONE_NUMBER]"),
        ("best is 07911123456, evenings", "best is [PHONE_NUMBER], evenings"),
        ("please call me back on 9472 7916", "please call me back on [PHONE_NUMBER]"),
        ("card 4111 1111 1111 1111 12/27", "card [CREDIT_CARD] 12/27"),
        ("4111111111111111", "[CREDIT_CARD]"),
        ("5105-1051-0510-5100", "[CREDIT_CARD]"),
        ("3782.822463.10005", "[CREDIT_CARD]"),
        ("to DE89 3704 0044 0532 0130 00 please", "to [IBAN_CODE] please"),
        ("de89370400440532013000", "[IBAN_CODE]"),
        ("FR14 2004 1010 0505 0001 3M02 606", "[IBAN_CODE]"),
        ("from 203.0.113.47 today", "from [IP_ADDRESS] today"),
        ("my ip is 10.2.0.1", "my ip is [IP_ADDRESS]"),
        ("at fe80::1ff:fe23:4567:890a", "at [IP_ADDRESS]"),
        ("number 219-09-9999 is shown", "number [US_SSN] is shown"),
        ("ssn 219099999", "ssn [US_SSN]"),
    ],
)
def test_pii_written_in_a_usual_way_is_found(text: str, expected: str) -> None:
    assert marked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("phone \u0660\u0663\u0660 \u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "phone [PHONE_NUMBER]"),
        ("card \uff14\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11", "card [CREDIT_CARD]"),
        ("card 4111\u00a01111\u20111111\u20131111", "card 4111\u00a01111\u20111111\u20131111"),  # separators differ
        ("card 4111\u20111111\u20131111\u22121111", "card [CREDIT_CARD]"),
        ("\uff4a\uff4f\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff43\uff4f\uff4d", "[EMAIL_ADDRESS]"),
        ("ip \u0662\u0660\u0663.0.113.\u0664\u0667 and \U0001d7d0\U0001d7cf\U0001d7d7-09-9999", "ip [IP_ADDRESS] and [US_SSN]"),
        ("?to=jo%40example.com&x", "?to=[EMAIL_ADDRESS]&x"),
        (r'{"to": "jo\u0040example.com"}', '{"to": "[EMAIL_ADDRESS]"}'),
        (r'"thanks\njo@example.com\n"', r'"thanks\n[EMAIL_ADDRESS]\n"'),
        ("<a>jo&#64;example.com</a>", "<a>[EMAIL_ADDRESS]</a>"),
        ("jo (at) example.com, al[at]example[dot]org", "[EMAIL_ADDRESS], [EMAIL_ADDRESS]"),
        ("> write to jo@\n> example.com", "> write to [EMAIL_ADDRESS]"),
        ("card 4111 1111\n1111 1111 please", "card [CREDIT_CARD] please"),
        ("card 4111-1111-\n> 1111-1111", "card [CREDIT_CARD]"),
        ("4111 1111 1111 1111\n2027", "[CREDIT_CARD]\n2027"),
        ("DE89 3704 0044\n0532 0130 00", "[IBAN_CODE]"),
        ("call +44 20 7946\n0018 today", "call [PHONE_NUMBER] today"),
        ("ring (415) 555-\n0132", "ring [PHONE_NUMBER]"),
        ("219-09-\n9999", "[US_SSN]"),
        ('"phone": "4155550132"', '"phone": "[PHONE_NUMBER]"'),
        ("customer_phone=4155550132", "customer_phone=[PHONE_NUMBER]"),
        ("Jo Fox\nT: 415 555 0132 | M: 4155550132", "Jo Fox\nT: [PHONE_NUMBER] | M: [PHONE_NUMBER]"),
        ("llame al 953 40 34 84 o", "llame al [PHONE_NUMBER] o"),
        ("his ssn, as told: it was in June that 219 09 9999 came", "his ssn, as told: it was in June that [US_SSN] came"),
        ("4111 1111 11111111 is it", "[CREDIT_CARD] is it"),
        ("_4111111111111111_ and user_219-09-9999_old", "_[CREDIT_CARD]_ and user_[US_SSN]_old"),
        ("a,4111111111111111,b and 4111\n1111\n1111\n1111 .", "a,[CREDIT_CARD],b and [CREDIT_CARD] ."),
        ("?p=%2B49%2030%2023125417&q", "?p=[PHONE_NUMBER]&q"),
        ("?p=%2B49+30+23125417&q", "?p=[PHONE_NUMBER]&q"),
        (r'"\u0034111\u0020111111111111" and "\u002b49 30 23125417"', r'"[CREDIT_CARD]" and "[PHONE_NUMBER]"'),
        ("4111\ufe0f1111\u20e311111111", "[CREDIT_CARD]"),
        ("\u2463\u2460\u00b9\u00b9 1111 1111 1111", "[CREDIT_CARD]"),
    ],
)  # fmt: skip
def test_pii_written_in_an_odd_way_is_found(text: str, expected: str) -> None:
    assert marked(text) == expected
    entities = tuple(sorted(set(ALL_ENTITIES) - {"PERSON"}))
    assert find_pii([text], Pii()) == [pii.analyzed(text, entities, Pii().phone_regions)]


@pytest.mark.parametrize(
    "text",
    [
        "report.final.pdf and main.py, schema.json",
        "version 4.12.3, 10.2.0.1 and 10.1.9.4",
        "version 192.168.100.200 and v203.0.113.47",
        "setup-203.0.113.47.exe",
        "on 2026-10-19, 19.10.2026, 03/02/2025 14:30:15",
        "Lesson 14:30-15:00 and 15:00-15:30",
        "€1,249.50 and $1.249,50 and 1.234.567",
        "order 4155550132, invoice no. 415-555-0132, tracking number: 030 12345678",
        "order 219-09-9999",
        "1234 5678\n9012 3456 and 41\n11 1111 1111 1111 11",
        "4155\n5501\n3288\n4111",
        "tracking 5672068337078870",
        "upgraded from 11.14.6.153 to 12.9.0.174, bios 1.125.68.0",
        "up to 4 (at) most.time, f(at)x and a[at]b",
        "answered on 083 23 7041",
        "219099999 and 4155550132 are just numbers",
        "4000-2000 = 2000, 60000 - 10800, 4000/2000, (0.20)156.25",
        "1111 1111 1111 1111 and 4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "If your dog is 10 years old then in his first year of life",
        "a[1::2], std::vec::Vec, ::add(x)",
        "localhost is 127.0.0.1, mask 255.255.255.0",
        "react@18.2.0 and name@localhost",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "[EMAIL_ADDRESS] and [PHONE_NUMBER]",
    ],
)
def test_pii_lookalike_is_left(text: str) -> None:
    assert marked(text) == text


def test_pii_entity_that_is_not_asked_for_is_left() -> None:
    text = "jo@example.com or +49 30 12345678"
    assert marked(text, Pii(entities=("EMAIL_ADDRESS",))) == "[EMAIL_ADDRESS] or +49 30 12345678"
    assert find_pii([text], Pii(entities=("PERSON",))) == [[]]


def test_pii_phone_region_decides_about_national_forms() -> None:
    text = "see 22 34 56 78 there"
    assert marked(text, Pii(phone_regions=("NO",))) == "see [PHONE_NUMBER] there"
    assert marked(text, Pii(phone_regions=("US",))) == text


def test_pii_email_is_found_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was touched")

    pii._recognizers.cache_clear()
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert marked("jo@example.com") == "[EMAIL_ADDRESS]"


def test_pii_failure_says_nothing_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str, *_: object, **__: object) -> NoReturn:
        raise ValueError(f"cannot read {text}")

    broken = SimpleNamespace(analyze=fail)
    monkeypatch.setattr(pii, "_recognizers", lambda _: ({"EMAIL_ADDRESS": broken}, frozenset()))
    monkeypatch.setattr(pii, "_engine", lambda _: broken)
    text = "secret@example.com"
    for search in (
        lambda: find_pii([text], Pii()), lambda: pii.analyzed(text, ("EMAIL_ADDRESS",), Pii().phone_regions)
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="ValueError") as caught:
            search()
        assert "secret" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_pii_search_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pii._recognizers.cache_clear()
    with caplog.at_level(logging.DEBUG):
        find_pii(["jo@example.com, DE89 3704 0044 0532 0130 00"], Pii())
    assert caplog.text == ""


PIECES = st.sampled_from(
    """
    0 1 4 5 9 12 30 41 0143 555 202 4111 1111 2001 db8 fe80 ffff DE89 DE89370400440532013000
    + - . : :: @ ( ) / a x .com ssn call jo@ ' & ~@a. ::ffff: fe80:: 10.0.0.7 %40 \\u0040 (at) [dot] ＠ ٤١١١ tel _ %2B \\u002d
    """.split()  # noqa: SIM905
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(PIECES, st.just(" "), st.just("\n")), min_size=3, max_size=24).map("".join))
def test_pii_prefilter_loses_nothing(text: str) -> None:
    entities = tuple(entity for entity in sorted(ALL_ENTITIES) if entity != "PERSON")
    everything = pii.analyzed(text, entities, Pii().phone_regions)
    assert {finding.entity for finding in everything} <= pii._possible(text)
    assert find_pii([text], Pii()) == [everything]


def test_pii_overlap_goes_to_the_highest_score_then_the_longest() -> None:
    low, high = Finding(0, 10, "PHONE_NUMBER", 0.6), Finding(4, 8, "CREDIT_CARD", 1.0)
    longer, shorter = Finding(20, 30, "US_SSN", 0.5), Finding(22, 28, "PHONE_NUMBER", 0.5)
    assert resolved("x" * 40, [shorter, low, longer, high]) == [high, longer]


def test_pii_placeholder_is_not_replaced_again() -> None:
    assert resolved("[PERSON] left", [Finding(1, 7, "PERSON", 0.9)]) == []


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("Maria Olsen here, MARIA OLSEN, maria olsen", ["Maria Olsen"], "[PERSON] here, [PERSON], [PERSON]"),
        (
            "Olsen, Maria's bike, olsenite maria",
            ["Maria Olsen"],
            "[PERSON], [PERSON]'s bike, olsenite [PERSON]",
        ),
        ("Sanne de Wit; de Gaulle", ["Sanne de Wit"], "[PERSON]; de Gaulle"),
        ("will you mark it? Ask Will.", ["Will Mark"], "will you mark it? Ask [PERSON]."),
        ("Will you go?", ["Will Smith"], "Will you go?"),
        ("mark it as read", ["Mark"], "mark it as read"),
        ("Ólafur Þórsson wrote", ["Ólafur Þórsson"], "[PERSON] wrote"),
        ("Anna Berg called", ["Anna Maria Berg"], "[PERSON] called"),
        ("O\u2019Neil and Ann-Marie", ["Ann-Marie O'Neil"], "[PERSON] and [PERSON]"),
        ("王伟先生", ["王伟"], "[PERSON]先生"),
        ("Al and Bo", ["Al Bo"], "Al and Bo"),
        ("nobody", ["", "  "], "nobody"),
    ],
)
def test_pii_known_name_is_found_where_it_is_the_person(text: str, names: list[str], expected: str) -> None:
    assert replaced(text, resolved(text, find_persons(text, names))) == expected


def test_pii_findings_do_not_depend_on_the_order_of_texts() -> None:
    texts = ["jo@example.com", "no", "+49 30 12345678", "jo@example.com"]
    assert find_pii(texts[::-1], Pii()) == find_pii(texts, Pii())[::-1]
    assert all(re.fullmatch(r"[A-Z_]+", f.entity) for found in find_pii(texts, Pii()) for f in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://example.com/a?b=c, or www.example.org.", "see [URL], or [URL]."),
        ("profile: github.com/jdoe and example.co.uk", "profile: [URL] and [URL]"),
        ("(http://example.com/a_(b))", "([URL])"),
        ("mail jo@example.com", "mail jo@example.com"),
    ],
)
def test_pii_address_of_a_page_is_found_where_it_is_asked_for(text: str, expected: str) -> None:
    params = Pii(entities=("URL",))
    assert marked(text, params) == expected
    assert "[URL]" not in marked(text)
    assert find_pii([text], params) == [pii.analyzed(text, ("URL",), params.phone_regions)]


@pytest.mark.parametrize(
    "text",
    [
        "sys.pa",
        "main.py and archive.tar.gz",
        "np.int, a.b.c(), self.is",
        "logger.info(x), java.io",
        "e.g. this i.e. that",
        "3.5.1",
    ],
)
def test_pii_attribute_or_file_is_no_address_of_a_page(text: str) -> None:
    assert find_pii([text], Pii(entities=("URL",))) == [[]]
