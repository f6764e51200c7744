"""Words, n-grams and sets of shingles: what counts as the same, and what a short text gives."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline import text
from dataset_pipeline.transforms import shingles
from dataset_pipeline.transforms.blocks import blocks


def rows(ragged: shingles.Ragged) -> list[list[int]]:
    return [
        ragged.values[lo:hi].tolist() for lo, hi in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    ]


def texts(*values: str | None) -> pl.Series:
    return pl.Series("text", values, dtype=pl.String)


def test_tokens_case_punctuation_and_width_do_not_count():
    plain, loud, wide, other = rows(
        shingles.tokens(
            texts("the app", "The... APP!", "\uff54\uff48\uff45\u3000\uff41\uff50\uff50", "the ape")
        )
    )
    assert plain == loud == wide
    assert other[0] == plain[0] and other[1] != plain[1]


def test_tokens_empty_null_and_symbol_texts_have_none_and_shift_nobody():
    found = shingles.tokens(texts("a b", "", None, "🙂 --", "b"))
    assert found.lengths.tolist() == [2, 0, 0, 0, 1]
    assert rows(found)[0][1] == rows(found)[4][0]


def test_tokens_of_no_texts_are_no_rows():
    assert len(shingles.tokens(texts())) == 0


def test_tokens_hashes_are_fixed_across_runs_and_machines():
    assert rows(shingles.tokens(texts("refund"))) == [
        [int.from_bytes(bytes.fromhex("726cfc538cb9add9"), "little")]
    ]


def test_tokens_chunk_size_changes_nothing(monkeypatch):
    values = texts("a b c", "", "b", None, "c a", "d")
    whole = rows(shingles.tokens(values))
    monkeypatch.setattr(shingles, "blocks", lambda texts: blocks(texts, 16))
    assert rows(shingles.tokens(values)) == whole


def test_ngrams_order_of_words_counts():
    forward, backward, again = rows(shingles.ngrams(shingles.tokens(texts("a b", "b a", "a b")), 2))
    assert forward == again != backward


def test_ngrams_shorter_texts_give_none_and_texts_do_not_run_together():
    found = shingles.ngrams(shingles.tokens(texts("a b", "c", "", "a b c", "a b c d")), 3)
    assert found.lengths.tolist() == [0, 0, 0, 1, 2]
    assert rows(found)[3][0] == rows(found)[4][0]


def test_ngrams_of_zero_words_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        shingles.ngrams(shingles.tokens(texts("a")), 0)


@given(st.lists(st.text("ab ", max_size=12), max_size=6), st.integers(1, 4))
def test_ngrams_are_equal_exactly_where_the_words_are(values, n):
    hashes = [h for row in rows(shingles.ngrams(shingles.tokens(texts(*values)), n)) for h in row]
    words = [tuple(v.split()[i : i + n]) for v in values for i in range(len(v.split()) - n + 1)]
    assert len(hashes) == len(words)
    assert len(set(zip(hashes, words, strict=True))) == len(set(hashes)) == len(set(words))


def test_shingle_sets_repeats_count_once_and_ascend():
    (found,) = rows(shingles.shingle_sets(texts("na na na na batman na na"), 2))
    assert len(found) == 3
    assert found == sorted(set(found))


@given(st.lists(st.text("aB .", max_size=8), min_size=2, max_size=6))
def test_shingle_sets_equal_comparison_keys_have_equal_sets(values):
    sets = rows(shingles.shingle_sets(texts(*values), 2))
    keys = text.comparison_key(texts(*values)).to_list()
    for left in range(len(values)):
        for right in range(left):
            assert keys[left] != keys[right] or sets[left] == sets[right]


def test_ragged_take_picks_rows_in_the_order_asked():
    found = shingles.tokens(texts("a b", "", "c"))
    taken = found.take(np.array([2, 0, 0, 1]))
    a, b, c = rows(found)[0][0], rows(found)[0][1], rows(found)[2][0]
    assert rows(taken) == [[c], [a, b], [a, b], []]


def test_spread_lists_ranges_one_after_the_other():
    assert shingles.spread(np.array([5, 7, 9]), np.array([2, 0, 1])).tolist() == [5, 6, 9]
