"""What cleaning changes in a text, what it leaves, and what it counts."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataset_pipeline.transforms import cleaning
from dataset_pipeline.transforms.cleaning import Profile, clean

ZWJ, ZWNJ = "\u200d", "\u200c"


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        pytest.param("schÃ¶n", "schön", {"encoding": 1}, id="mojibake"),
        pytest.param("a &amp; b &#39;c&#39;", "a & b 'c'", {"entities": 3}, id="entities"),
        pytest.param("a &amp;amp; b", "a & b", {"entities": 2}, id="entity_in_entity"),
        pytest.param("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour", {"newlines": 3}, id="newlines"),
        pytest.param("a\x00b\x07c\td", "abc\td", {"control": 2}, id="control"),
        pytest.param("\x1b[31mred\x1b[0m", "red", {"control": 2}, id="terminal"),
        pytest.param("\ufeffin\u00advi\u200bsible", "invisible", {"invisible": 3}, id="invisible"),
        pytest.param("admin\u202etxt.exe\u202c", "admintxt.exe", {"bidirectional": 2}, id="bidirectional"),
        pytest.param("p\u0430yp\u0430l", "paypal", {"confusable": 2}, id="confusable"),
        pytest.param("\ufdd0no\U0001ffff character", "no character", {"control": 2}, id="noncharacter"),
        pytest.param("cafe\u0301", "café", {"nfc": 1}, id="nfc"),
        pytest.param("&am\u200bp;", "&", {"entities": 1, "invisible": 1}, id="two_passes"),
    ],
)
def test_cleaning_one_fault_is_mended_and_counted(text: str, expected: str, counts: dict[str, int]) -> None:
    assert clean(text, Profile.TEXT) == (expected, counts)


@pytest.mark.parametrize(
    "text",
    [
        "\u201cquoted\u201d, it\u2019s",
        "\ufb01ne ligature",
        "\uff21 wide letter alone",
        "definately teh best",
        "this&not that; AT&T",
        "<p>a &amp; b</p>",
        "the vowels \u00c3 and \u00c2 alone",
    ],
)
def test_cleaning_style_and_markup_are_left(text: str) -> None:
    assert clean(text, Profile.MESSAGE) == (text, {})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"\U0001f468{ZWJ}\U0001f469{ZWJ}\U0001f467 family", id="family"),
        pytest.param(f"\U0001f3f3\ufe0f{ZWJ}\U0001f308 flag", id="rainbow_flag"),
        pytest.param("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", id="tag_flag"),
        pytest.param(f"\u0645\u06cc{ZWNJ}\u062e\u0648\u0627\u0647\u0645", id="persian"),
        pytest.param(f"\u0915\u094d{ZWJ}\u0937", id="devanagari"),
    ],
)
def test_cleaning_joiner_with_a_meaning_is_kept(text: str) -> None:
    assert clean(text, Profile.MESSAGE) == (text, {})


def test_cleaning_joiner_and_tag_without_meaning_go() -> None:
    assert clean(f"lat{ZWJ}in{ZWNJ} \U000e0041text", Profile.TEXT) == ("latin text", {"invisible": 3})


def test_cleaning_message_spaces_are_trimmed() -> None:
    assert clean("  two   words \t\nnext line  ", Profile.MESSAGE) == (
        "two words\nnext line",
        {"whitespace": 3},
    )


def test_cleaning_text_keeps_code() -> None:
    code = "def f(x):\n    if x:\n\n\n\n        return  x"
    assert clean(f"\n\n{code}\n\n", Profile.TEXT) == (code, {"whitespace": 1})


def test_cleaning_text_keeps_an_indentation_that_later_lines_share() -> None:
    assert clean("    x = 1\n    return x\n", Profile.TEXT)[0] == "    x = 1\n    return x"
    assert clean("   yes", Profile.TEXT)[0] == "yes"


def test_cleaning_label_is_only_stripped() -> None:
    assert clean(" A &amp;  B\u200b \n", Profile.LABEL) == ("A &amp;  B\u200b", {"whitespace": 1})


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_cleaning_text_that_skips_mending_would_not_be_changed_by_it(text: str) -> None:
    if cleaning.may_need_mending(text):
        return
    import ftfy

    untouched = ftfy.fix_text(text, uncurl_quotes=False, fix_latin_ligatures=False, fix_character_width=False)
    assert untouched == text == unicodedata.normalize("NFC", text)
    assert cleaning._without(text, Counter()) == text


@given(st.text(alphabet="aé Ã©â€™&amp;<\n\t\r\u200b\u200d\u0301\x00\ufeff\u00ad"))
@example("PDF\u0430 \u0430lpha b\u0435ta")
@example("\uff06\uff41\uff4d\uff50;")
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    for profile in Profile:
        once, _ = clean(text, profile)
        assert clean(once, profile) == (once, {})


def test_cleaning_message_odd_blanks_become_plain_spaces_but_stay_in_text() -> None:
    assert clean("12\u00a0€\tnow", Profile.MESSAGE) == ("12 € now", {"whitespace": 2})
    assert clean("12\u00a0€\tnow", Profile.TEXT) == ("12\u00a0€\tnow", {})


@given(
    st.text(alphabet="ap \u0430\u0440\u0431\u03b1\u039f\uff41\U0001d41f\U0001d42b\u4e00.=\n", max_size=20),
    st.text(alphabet=f"a\u05d0\u200f\u202a\u202c\u202e\u2066\u2069\n\U0001f3f4\ufe0f{ZWJ}\u2764\u1160\u1100", max_size=20),
)  # fmt: skip
def test_cleaning_odd_characters_twice_changes_nothing_more(one: str, other: str) -> None:
    for text in (one, other, one + other):
        once, _ = clean(text, Profile.TEXT)
        assert clean(once, Profile.TEXT) == (once, {})


def test_changes_are_the_words_that_are_counted() -> None:
    text = " \ufeff\u202ap\u0430ypal &amp;\x00 scho\u0308n\r\nIggy (n\u00c3\u00a9)"
    assert tuple(clean(text, Profile.TEXT)[1]) == cleaning.CHANGES == tuple(sorted(cleaning.CHANGES))
