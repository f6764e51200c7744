"""The layout of the near-duplicate benchmark: what it says is true must be true, or its figures mean nothing."""

from __future__ import annotations

import random

import pytest

from benchmarks.near import judged
from benchmarks.planted import jaccard, planted


def sentences(count: int) -> list[str]:
    rng = random.Random(3)
    vocabulary = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "en", "ir", "os", "um")]
    return [" ".join(rng.choices(vocabulary, k=12)) for _ in range(count)]


def test_planted_same_arguments_lay_out_the_same_texts():
    one, two = (planted(sentences(300), 40, 15, 3) for _ in range(2))

    assert one.texts == two.texts
    assert one.pairs == two.pairs
    assert planted(sentences(300), 40, 15, 3, seed=8).texts != one.texts


def test_planted_truth_is_every_near_pair_and_its_exact_similarity():
    laid = planted(sentences(300), 40, 15, 3)

    assert len(laid.texts) == 40
    assert len(laid.pairs) == 15
    for left in range(40):
        for right in range(left + 1, 40):
            similarity = jaccard(laid.texts[left], laid.texts[right], 3)
            if (left, right) in laid.pairs:
                assert laid.pairs[left, right] == similarity
            else:
                assert similarity < 0.5


def test_planted_more_copies_than_originals_is_refused():
    with pytest.raises(ValueError, match="at most one each"):
        planted(sentences(300), 40, 21, 3)


def test_jaccard_counts_word_trigrams_by_hand():
    # a b c, b c d against a b c, b c e: one of three.
    assert jaccard("A b, c d", "a b c E", 3) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("result", "recall", "precision"),
    [
        ({"pairs": [[0, 1], [2, 4]]}, 0.5, 0.5),
        # Rows 0, 1, 2 are one cluster: three pairs, of which one is true.
        ({"labels": [5, 5, 5, -1, -1]}, 0.5, 1 / 3),
        # Row 4 has no twin; the pair 2, 3 lacks a flag.
        ({"flags": [True, True, True, False, True]}, 0.5, 3 / 4),
        ({"pairs": []}, 0.0, None),
    ],
)
def test_judged_pairs_clusters_and_flags_are_counted(result, recall, precision):
    quality = judged(result, [(0, 1), (2, 3)])

    assert quality.recall == recall
    assert quality.precision == (None if precision is None else pytest.approx(precision))
