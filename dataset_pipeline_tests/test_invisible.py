"""Characters that show nothing: where they mean something they stay, elsewhere they go and are counted."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from dataset_pipeline.transforms.cleaning import Profile, clean

ALEF, BET = "\u05d0", "\u05d1"
BLACK_FLAG, SCOTLAND = "\U0001f3f4", "".join(chr(0xE0000 + ord(c)) for c in "gbsct") + "\U000e007f"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u2764\ufe0f and 1\ufe0f\u20e3, \u00a9\ufe0f", id="picture_style_and_keycap"),
        pytest.param("\u2603\ufe0e", id="text_style"),
        pytest.param("\u845b\U000e0100\u98fe", id="ideographic_variant"),
        pytest.param("\u2229\ufe00", id="variant_of_a_sign"),
        pytest.param(f"{BLACK_FLAG}{SCOTLAND}", id="flag_tags"),
        pytest.param("\U0001f9d1\U0001f3fd\u200d\U0001f680", id="joined_picture_with_skin_tone"),
        pytest.param("\U0001f9d1\u200d\U0001faef\ufe0f\u200d\U0001f9d1", id="picture_of_a_later_unicode"),
        pytest.param("\u0915\u094d\u200c\u0937", id="devanagari_non_joiner"),
        pytest.param("\u05d0\u05bd\u200c\u05b2", id="point_of_hebrew"),
        pytest.param("\u0e17\u0e35\u0e48\u200b\u0e19\u0e35\u0e48", id="thai_end_of_word"),
        pytest.param("\u1797\u17b6\u179f\u17b6\u200b\u1781\u17d2\u1798\u17c2\u179a", id="khmer_end_of_word"),
        pytest.param("\u182d\u180b\u1820\u180e\u1820", id="mongolian_variant_and_vowel"),
        pytest.param("\u05b7\u034f\u05b4 a\u034f\u0308", id="grapheme_joiner_before_a_mark"),
        pytest.param("\u1100\u1160\u11a8 \u115f\u1161", id="jamo_fillers"),
        pytest.param("\u3131\u3164\u3139", id="compatibility_filler"),
        pytest.param("\U0001bc00\U0001bca0\U0001bc01", id="shorthand"),
        pytest.param("\U0001d173\U0001d15f\U0001d174", id="musical_beam"),
        pytest.param("\u0600\u0661 \u06dd\u0662 \u070f\u0710", id="signs_of_numbers"),
        pytest.param("\U00013000\U00013430\U00013001", id="hieroglyphs"),
        pytest.param("\ue000 \U000f0000", id="private_use"),
        pytest.param("\U0001fae8 \u0378", id="unassigned"),
        pytest.param("\ufffd \u2800", id="replacement_and_braille_blank"),
        pytest.param("Z\u0351\u036b\u0343\u0363a\u0301\u0300\u0302l\u0335g\u0338o\u0321", id="stacked_marks"),
        pytest.param(f"{ALEF}\u200f! C++\u200e, \u061c{BET}", id="direction_marks"),
        pytest.param(f"{ALEF} \u2066a-b\u2069 \u2067{BET}\u2069 \u2068x\u2069", id="isolates"),
        pytest.param(f"{ALEF} \u202aa\u202c \u202b{BET}\u202c", id="embeddings"),
        pytest.param(f"{ALEF} \u2066a \u202b{BET}\u202c\u2069", id="nested_pairs"),
    ],
)
def test_unseen_with_a_meaning_is_kept(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert clean(text, Profile.TEXT) == (text, {})
    assert clean(text, Profile.MESSAGE) == (text, {})


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        pytest.param("hy\u00adphen \u2060word\ufeff", "hyphen word", 3, id="layout"),
        pytest.param("a\ufe0fb \u2764\ufe0f\ufe0e\ufe0f", "ab \u2764\ufe0f", 3, id="selector_of_nothing"),
        pytest.param("x\U000e0100\U000e0155", "x", 2, id="hidden_in_selectors"),
        pytest.param(f"{BLACK_FLAG}{SCOTLAND[:-1]} a{SCOTLAND}", f"{BLACK_FLAG} a", 11, id="tags_of_no_flag"),
        pytest.param("\U0001f600\U000e0068\U000e0069", "\U0001f600", 2, id="hidden_in_tags"),
        pytest.param("a\u034fb", "ab", 1, id="grapheme_joiner_between_letters"),
        pytest.param("a\u200bb\u200cc\u200dd+\u200d=", "abcd+=", 4, id="joiners_in_latin"),
        pytest.param("a\u180bb\u180ec\u180fd", "abcd", 3, id="mongolian_elsewhere"),
        pytest.param("\u3164\u115f\u1160 x\uffa0", "x", 4, id="blank_names"),
        pytest.param("\u1780\u17b4\u17b5", "\u1780", 2, id="khmer_discouraged"),
        pytest.param("\ufff9base\ufffanote\ufffb \ufffc!", "basenote !", 4, id="annotation_and_object"),
        pytest.param("a\u2061b\u2062c\u2063d\u2064", "abcd", 4, id="invisible_operators"),
        pytest.param("a\u206ab\u206f", "ab", 2, id="deprecated"),
        pytest.param("a\u2065\ufff0\U000e0080\U000e0fffb", "ab", 4, id="unassigned_ignorable"),
        pytest.param("a\U0001bca0 \U0001d173b", "a b", 2, id="shorthand_and_music_elsewhere"),
    ],
)
def test_unseen_without_a_meaning_goes_and_is_counted(text: str, expected: str, count: int) -> None:
    found, changes = clean(text, Profile.TEXT)
    assert (found, changes["invisible"], changes.keys() - {"invisible", "whitespace"}) == (
        expected,
        count,
        set(),
    )


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        pytest.param("if admin\u202e \u2066// x\u2069 \u2066y", "if admin // x y", 4, id="trojan_source"),
        pytest.param("plain\u200e text\u200f\u061c", "plain text", 3, id="marks_in_latin"),
        pytest.param(f"{ALEF}\u202e{BET}\u202c \u202dx\u202c", f"{ALEF}{BET} x", 4, id="overrides"),
        pytest.param(f"{ALEF}\u202ax\n\u202c{BET}", f"{ALEF}x\n{BET}", 2, id="pair_over_a_line_break"),
        pytest.param(f"{ALEF}\u2069\u202c\u2066", ALEF, 3, id="single"),
        pytest.param(f"{ALEF}\u2066\u202ax\u2069\u202c", f"{ALEF}\u2066x\u2069", 2, id="isolate_ends_what_is_within"),
        pytest.param(f"{ALEF}\u202a\u2066x\u202c\u2069", f"{ALEF}\u2066x\u2069", 2, id="crossed_pairs"),
    ],
)  # fmt: skip
def test_bidirectional_without_a_meaning_goes_and_is_counted(text: str, expected: str, count: int) -> None:
    assert clean(text, Profile.TEXT) == (expected, {"bidirectional": count})


VISIBLE_FORMATS = {
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) == "Cf"
    and unicodedata.name(char, "").startswith(("ARABIC ", "SYRIAC ", "KAITHI ", "EGYPTIAN "))
} - {"\u061c"}
"""Signs that are drawn around or before numbers, and the joints of hieroglyphs."""


def test_every_format_character_between_latin_letters_goes_but_those_that_are_drawn() -> None:
    formats = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) == "Cf"}
    assert len(VISIBLE_FORMATS) > 10
    assert {c for c in formats if clean(f"a{c}b", Profile.TEXT)[0] != "ab"} == VISIBLE_FORMATS
