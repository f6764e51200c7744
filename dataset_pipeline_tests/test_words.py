"""Words found on arrays are those of `text.folded` and `text.WORD`, each with its own hash, in any cut into blocks."""

from __future__ import annotations

import multiprocessing
import os
import threading
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline import text
from dataset_pipeline.transforms import blocks, characters, words


def spelled_out(values: list[str]) -> list[list[int]]:
    """The meaning of `words_of`: a regular expression over folded texts."""
    frame = pl.DataFrame({"text": values}, schema={"text": pl.String})
    found = frame.select(text.folded(pl.col("text")).str.extract_all(text.WORD)).to_series()
    return [[words.word_hash(word) for word in row] for row in found.to_list()]


def found(values: list[str]) -> list[list[int]]:
    hashes, counts = words.words_of(pl.Series(values, dtype=pl.String))
    rows, at = [], 0
    for count in counts.tolist():
        rows.append(hashes[at : at + count].tolist())
        at += count
    assert at == len(hashes)
    return rows


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.text(alphabet="aB 1_-\n\t\0", max_size=30),
            st.text(alphabet="Aßςﬁ①é\u0301ǅ𝒳字 _\u200d\u00ad\u2019", max_size=20),
        ),
        max_size=8,
    )
)
def test_words_are_those_of_the_regular_expression(values):
    assert found(values) == spelled_out(values)


def test_words_of_every_script_of_the_basic_plane_are_those_of_the_regular_expression():
    values = [
        "".join(chr(code) + ("x " if code % 3 else "") for code in range(start, start + 256))
        for start in range(0, 0x10000, 256)
        if not 0xD800 <= start < 0xE000
    ]
    assert found(values) == spelled_out(values)


def test_characters_read_one_by_one_fold_the_same_beside_letters_of_any_kind():
    """Every character of Unicode that is not read together with its neighbours, between Latin, Hangul and Indic letters."""
    codes = np.array([code for code in range(0x110000) if not 0xD800 <= code < 0xE000], dtype=np.uint32)
    signs = characters.signs(codes)
    alone = (signs & characters.WITH_OTHERS) == 0
    assert alone.sum() > 0.9 * sum(unicodedata.category(chr(code)) != "Cn" for code in codes)
    becomes = [
        chr(sign & int(characters.CODE)) if sign >= characters.IS_WORD else " "
        for sign in signs[alone].tolist()
    ]
    for before, after in ("ae", "가a", "ㄱक", "εᄀ"):
        texts = pl.Series([f"{before}{chr(code)}{after}" for code in codes[alone].tolist()])
        expected = pl.Series([f"{before}{middle}{after}" for middle in becomes])
        said = pl.DataFrame({"texts": texts, "expected": expected}).select(
            text.folded(pl.all()).str.extract_all(text.WORD)
        )
        assert said.filter(pl.col("texts") != pl.col("expected")).height == 0


@pytest.mark.parametrize("chars_at_once", [3, 8, 64])
def test_words_longer_than_a_block_keep_their_hash_and_others_theirs(chars_at_once, monkeypatch):
    monkeypatch.setattr(words, "CHARS_AT_ONCE", chars_at_once)
    monkeypatch.setattr(words, "_own", threading.local())
    values = ["abcdefgh" * 9 + " abc", "hgfedcba" * 9, "abc", "É" * 50 + " é", "a" * 7 + " " + "a" * 8]
    assert found(values) == spelled_out(values)


@given(st.text(alphabet="ab ", min_size=20, max_size=200), st.integers(2, 9))
def test_words_cut_by_a_block_are_not_taken_for_their_letters_in_another_order(value, chars_at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "CHARS_AT_ONCE", chars_at_once)
        patch.setattr(words, "_own", threading.local())
        assert found(["ab ba aab aba baa", value]) == spelled_out(["ab ba aab aba baa", value])


def test_words_table_that_is_full_begins_anew_and_slots_that_clash_are_told_apart(monkeypatch):
    monkeypatch.setattr(words, "_MOST_WORDS", 40)
    monkeypatch.setattr(words, "_SLOT_BITS", 3)
    monkeypatch.setattr(words, "_own", threading.local())
    for start in (0, 10, 0, 30, 5):
        values = [f"w{number} and w{number + 1}" for number in range(start, start + 20)]
        assert found(values) == spelled_out(values)


def test_blocks_hold_every_text_once_in_order_and_a_long_one_alone():
    values = pl.Series(["a" * 30, "", "b", "c" * 500, "d", None, "e" * 90], dtype=pl.String)
    parts = blocks.blocks(values, 100)
    assert pl.concat(parts).to_list() == values.to_list()
    assert len(parts) > 2
    assert blocks.blocks(values.clear()) == []


def test_in_order_gives_results_in_the_order_of_the_parts_and_the_fault_of_one():
    def double(part: int) -> int:
        if part == 77:
            raise ValueError("77")
        return 2 * part

    assert list(blocks.in_order(double, list(range(50)))) == [2 * n for n in range(50)]
    with pytest.raises(ValueError, match="77"):
        list(blocks.in_order(double, list(range(100))))


def test_in_order_within_in_order_ends():
    def inner(part: int) -> int:
        return sum(blocks.in_order(lambda n: n * part, [1, 2, 3]))

    assert list(blocks.in_order(inner, list(range(40)))) == [6 * n for n in range(40)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_order_goes_on_in_a_forked_process():
    assert list(blocks.in_order(abs, [-1, -2, -3])) == [1, 2, 3]
    child = multiprocessing.get_context("fork").Process(target=_negated)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def _negated() -> None:
    assert list(blocks.in_order(abs, [-4, -5, -6])) == [4, 5, 6]
