"""Pairs among texts alone: what is found, what a template costs, and what of a history a day must look at."""

from __future__ import annotations

import os
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline.spec.models import Near
from dataset_pipeline.transforms import blocks, near, near_history, shingles
from dataset_pipeline.transforms.near_pairs import NearPairs, near_pairs

WORDS = [f"word{number}" for number in range(400)]


def texts(*values: str | None) -> pl.Series:
    return pl.Series("text", values, dtype=pl.String)


def by_hand(values: list[str], ngram: int, threshold: float) -> dict[tuple[int, int], float]:
    """Every pair against every other, on sets of strings."""
    sets = []
    for value in values:
        own = value.split()
        grams = {" ".join(own[at : at + ngram]) for at in range(len(own) - ngram + 1)}
        sets.append(grams or ({value} if own else set()))
    found = {}
    for right in range(len(sets)):
        for left in range(right):
            if sets[left] and sets[right]:
                similarity = len(sets[left] & sets[right]) / len(sets[left] | sets[right])
                if similarity >= threshold:
                    found[left, right] = similarity
    return found


def told(found: NearPairs) -> dict[tuple[int, int], float]:
    return {(left, right): similarity for left, right, similarity in found.pairs.iter_rows()}


def planted(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    values = [" ".join(draw.choices(WORDS, k=draw.randint(1, 60))) for _ in range(count)]
    for value in values[: count // 2]:
        own = value.split()
        own[draw.randrange(len(own))] = draw.choice(WORDS)
        values.append(" ".join(own))
    return values


@pytest.mark.parametrize(("seed", "held"), [(1, 1 << 25), (2, 4000), (3, 0)])
def test_near_pairs_are_those_of_every_pair_measured_by_hand(seed, held, monkeypatch):
    monkeypatch.setattr("dataset_pipeline.transforms.near_pairs.HELD_WORDS", held)
    monkeypatch.setattr(
        "dataset_pipeline.transforms.near_pairs.blocks", lambda texts: blocks.blocks(texts, 3000)
    )
    values = planted(300, seed)
    found = told(near_pairs(texts(*values), 3, Near(seed=seed), 0.8))
    assert found == pytest.approx(by_hand(values, 3, 0.8))
    assert len(found) > 30


def test_near_pairs_short_texts_are_near_equal_ones_only():
    found = told(near_pairs(texts("a b", "A, b!", "b a", "a", None, "", "🙂", "🙂", "--"), 3, Near(), 0.5))
    assert found == {(0, 1): 1.0}
    assert near_pairs(texts(), 3, Near(), 0.5).pairs.height == 0


def test_near_pairs_a_shared_template_costs_no_more_than_its_cap_and_says_so():
    template = " ".join(WORDS[:60])
    values = [f"{template} {' '.join(WORDS[200 + 5 * n : 205 + 5 * n])}" for n in range(30)]
    values += ["one more text of its own words", "one more text of its own words"]
    found = near_pairs(texts(*values), 3, Near(bucket_cap=4), 0.9)
    assert told(found) == {(30, 31): 1.0}
    assert found.capped_buckets > 0 and found.left_out > 0
    assert found.candidates <= 4 * 28 * 30


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=6))
def test_distinct_counts_and_sets_are_those_of_python(lists):
    values = [[number * 0x9E3779B97F4A7C15 % 2**54 << 10 for number in row] for row in lists]
    flat = [value for row in values for value in row]
    rows = shingles.Ragged(
        pl.Series(flat, dtype=pl.UInt64).to_numpy(), shingles.offsets_of(pl.Series(map(len, values), dtype=pl.Int64).to_numpy())
    )  # fmt: skip
    sets = shingles.distinct(rows)
    assert shingles.distinct_counts(rows).tolist() == [len(set(row)) for row in values]
    assert [
        sets.values[lo:hi].tolist() for lo, hi in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)
    ] == [sorted(set(row)) for row in values]


def test_distinct_of_values_that_differ_in_their_last_bits_only_are_one():
    rows = shingles.Ragged(
        pl.Series([2056, 2049, 9, 1 << 63], dtype=pl.UInt64).to_numpy(),
        shingles.offsets_of(pl.Series([4], dtype=pl.Int64).to_numpy()),
    )
    found = shingles.distinct(rows)
    assert found.values.tolist() == [0, 2048, 1 << 63]
    assert shingles.distinct_counts(rows).tolist() == [3]
    assert (found.values & shingles.KEPT_BITS).tolist() == found.values.tolist()


@given(
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 30), min_size=1, max_size=3)), max_size=20),
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3), max_size=4),
)
def test_touching_is_sharing_a_key(history, asked):
    frames = [pl.Series(side, dtype=pl.List(pl.UInt64)) for side in (history, asked)]
    wanted = {key for keys in asked for key in keys}
    expected = [bool(keys) and not wanted.isdisjoint(keys) for keys in history]
    assert near_history.touching(*frames).tolist() == expected
    in_chunks = pl.concat([frames[0][:2], frames[0][2:]], rechunk=False)
    assert near_history.touching(in_chunks, frames[1]).tolist() == expected


def test_met_keeps_whole_buckets_and_equal_keys_in_order():
    history = pl.DataFrame(
        {"key": ["a", "b", "c", "d"], "bands": [[1, 2], [2, 3], [7, 8], None]},
        schema={"key": pl.String, "bands": pl.List(pl.UInt64)},
    )
    new = pl.DataFrame({"key": ["d"], "bands": [[2, 9]]}, schema=history.schema)
    assert near_history.met(history, new, ["key"])["key"].to_list() == ["a", "b", "d"]
    assert near_history.met(history.clear(), new, ["key"]).height == 0


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    ["banking77_train_test", "clinc150_train", "davidson_hate", "gpteacher_codegen", "gpteacher_toolformer_dedupe_only",
     "minhash_articles_1000", "alpaca_libre_v2", "gsm8k_train"],
)  # fmt: skip
def test_real_near_pairs_finds_what_is_known(name):
    from benchmarks.planted import pair_lists

    known = next(
        one for one in pair_lists(Path(os.environ["DATASET_PIPELINE_REAL_DATA"])) if one.name == name
    )
    recalls = []
    for seed in range(1, 6):
        found = near_pairs(texts(*known.texts), 3, Near(seed=seed), known.threshold)
        pairs = {(left, right) for left, right, _ in found.pairs.iter_rows()}
        assert pairs <= known.pairs
        recalls.append(len(pairs) / len(known.pairs))
    assert sum(recalls) / len(recalls) >= 0.999


@pytest.mark.parametrize(("ngram", "threshold"), [(3, 0.8), (5, 0.8), (2, 0.7), (1, 0.5)])
def test_shortest_found_is_the_shortest_text_that_may_lose_any_word(ngram, threshold):
    shortest = near.shortest_found(ngram, threshold)
    for length in (shortest - 1, shortest):
        own = WORDS[:length]
        copies = [[*own[:at], "other", *own[at + 1 :]] for at in range(length)]
        found = by_hand([" ".join(own), *map(" ".join, copies)], ngram, threshold)
        assert all((0, at) in found for at in range(1, length + 1)) == (length == shortest)
    assert near.shortest_found(3, 1.0) is None
