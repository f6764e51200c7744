"""The pair finder: datasketch's values, bands, candidates under a cap, exact Jaccard, first kept."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline.transforms import first_kept, near, shingles


def sets_of(*members: list[int]) -> shingles.Ragged:
    lengths = np.array([len(row) for row in members], dtype=np.int64)
    flat = np.array([value for row in members for value in row], dtype=np.uint64)
    return shingles.Ragged(flat, shingles.offsets_of(lengths))


def random_sets(count: int, seed: int = 3) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.getrandbits(64) for _ in range(draw.randrange(0, 40))] for _ in range(count)]


@pytest.mark.parametrize(("num_perm", "seed"), [(126, 1), (16, 7)])
def test_signatures_equal_those_of_datasketch_value_for_value(num_perm, seed, monkeypatch):
    monkeypatch.setattr(near, "VALUES_AT_ONCE", 50)
    members = [*random_sets(30), [2**64 - 1, 0, 2**32], [], [5]]
    rows, values = near.signatures(sets_of(*members), num_perm, seed)
    assert rows.tolist() == [i for i, row in enumerate(members) if row]
    for row, found in zip(rows, values, strict=True):
        sketch = MinHash(num_perm, seed=seed, scheme="affine32", hashfunc=lambda value: value % 2**32)
        sketch.update_batch(members[row])
        assert sketch.hashvalues.tolist() == found.tolist()


def test_signatures_of_empty_sets_only_are_none():
    rows, values = near.signatures(sets_of([], []), 6, 1)
    assert len(rows) == 0 and values.shape == (0, 6)


def test_band_keys_empty_set_has_null_and_equal_sets_share_all():
    keys = near.band_keys(sets_of([1, 2, 3], [], [1, 2, 3], [9, 8]), bands=4, rows=2, seed=1).to_list()
    assert keys[1] is None
    assert keys[0] == keys[2] and len(set(keys[0])) == 4
    assert not set(keys[0]) & set(keys[3])


def test_band_keys_other_seed_shares_nothing():
    sets = sets_of([1, 2, 3])
    one, two = (near.band_keys(sets, 8, 2, seed).to_list()[0] for seed in (1, 2))
    assert not set(one) & set(two)


def test_band_keys_find_pairs_at_the_threshold_as_often_as_computed():
    draw = random.Random(5)
    members = []
    for _ in range(1000):
        shared = [draw.getrandbits(64) for _ in range(16)]
        members += [shared + [draw.getrandbits(64) for _ in range(2)] for _ in range(2)]
    keys = near.band_keys(sets_of(*members), bands=21, rows=6, seed=1).to_list()
    found = sum(bool(set(keys[i]) & set(keys[i + 1])) for i in range(0, 2000, 2))
    assert found >= 990  # 1 - (1 - 0.8^6)^21 = 99.8 %


def frame(
    positions: list[int], bands: list[list[int] | None], groups: list[str] | None = None
) -> pl.DataFrame:
    return pl.DataFrame(
        {"position": positions, "group": groups or [""] * len(positions), "bands": bands},
        schema={"position": pl.Int64, "group": pl.String, "bands": pl.List(pl.UInt64)},
    )


def test_candidate_pairs_share_a_band_and_the_group():
    new = frame([0, 1, 2], [[1, 2], [3, 4], None], ["a", "b", "a"])
    history = frame([0, 1, 2], [[1, 9], [3, 9], None], ["a", "a", "a"])
    found = near.candidate_pairs(new, history, cap=5)
    assert found.pairs.rows() == [(0, 0)]
    assert (found.capped_buckets, found.left_out) == (0, 0)


def test_candidate_pairs_full_bucket_offers_its_earliest_and_a_small_one_saves_the_pair():
    # Bucket 7 holds history 0..4, bucket 8 only 4.
    history = frame([4, 3, 2, 1, 0], [[7, 8], [7], [7], [7], [7]])
    found = near.candidate_pairs(frame([0, 1], [[7, 8], [7, 5]]), history, cap=2)
    assert found.pairs.rows() == [(0, 0), (0, 1), (0, 4), (1, 0), (1, 1)]
    # Record 0 meets 5 and record 1 meets 6 (the five and record 0): 3 and 4 too many.
    assert (found.capped_buckets, found.left_out) == (1, 7)


def test_candidate_pairs_new_records_alone_count_towards_the_cap():
    found = near.candidate_pairs(frame([0, 1, 2, 3], [[7]] * 4), frame([], []), cap=2)
    assert found.pairs.is_empty()
    assert (found.capped_buckets, found.left_out) == (1, 1)


@given(st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=2, max_size=8))
def test_jaccard_equals_that_of_python_sets(lists):
    members = [sorted(set(row)) for row in lists]
    pairs = [(i, j) for i in range(len(members)) for j in range(len(members))]
    left, right = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    found = near.jaccard(sets_of(*members), left, right)
    for (i, j), value in zip(pairs, found, strict=True):
        one, two = set(members[i]), set(members[j])
        assert value == (len(one & two) / len(one | two) if one and two else 0.0)


def test_jaccard_chunks_change_nothing(monkeypatch):
    sets = sets_of([1, 2, 3, 4], [2, 3, 4], [4, 5], [1, 2, 3, 4])
    left, right = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 2])
    monkeypatch.setattr(near, "_COMPARED_AT_ONCE", 1)
    assert near.jaccard(sets, left, right).tolist() == [0.75, 0.2, 1.0, 0.25]


def one_by_one(
    sets: list[set[int]], asks: list[set[int]], homes: list[set[int]], room: list[int], threshold: float
) -> list[int]:
    """The meaning of `first_kept_near`, spelled out."""
    buckets: list[list[int]] = [[] for _ in room]
    twins = []
    for item, own in enumerate(sets):
        met = sorted({other for bucket in asks[item] for other in buckets[bucket]})
        near_ones = [other for other in met if len(own & sets[other]) / len(own | sets[other]) >= threshold]
        twins.append(near_ones[0] if near_ones else -1)
        if not near_ones:
            for bucket in homes[item]:
                if len(buckets[bucket]) < room[bucket]:
                    buckets[bucket].append(item)
    return twins


def members_of(buckets: list[set[int]]) -> first_kept.Members:
    pairs = [(item, bucket) for item, own in enumerate(buckets) for bucket in sorted(own)]
    return first_kept.Members(*(np.array([pair[k] for pair in pairs], dtype=np.int64) for k in (0, 1)))


SET = st.sets(st.integers(0, 4), min_size=1, max_size=4)
ITEM = st.tuples(SET, st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2)))


@pytest.mark.parametrize("pairs_at_once", [1, 4, 1000])
@given(
    items=st.lists(ITEM, min_size=1, max_size=14), room=st.lists(st.integers(0, 4), min_size=3, max_size=3)
)
def test_first_kept_blocks_equal_one_by_one(pairs_at_once, items, room):
    sets, homes, others = (list(column) for column in zip(*items, strict=True))
    for asks in (homes, others):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first_kept, "PAIRED_AT_ONCE", pairs_at_once)
            found = first_kept.first_kept_near(
                sets_of(*(sorted(own) for own in sets)),
                members_of(asks), members_of(homes), np.array(room), 0.5,
            )  # fmt: skip
        assert found.twin.tolist() == one_by_one(sets, asks, homes, room, 0.5)


def test_first_kept_a_dropped_item_drops_nobody():
    # 0 ~ 1 ~ 2 at 0.6, but 0 and 2 share only half: 1 falls to 0, and 2 stays.
    sets = sets_of([1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6])
    buckets = members_of([{0}, {0}, {0}])
    found = first_kept.first_kept_near(sets, buckets, buckets, np.array([9]), 0.6)
    assert found.twin.tolist() == [-1, 0, -1]
    assert found.similarity.tolist() == [0.0, 0.6, 0.0]
