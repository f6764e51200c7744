"""Known hashes are found at their places, and nothing else is, however they lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline.transforms.hash_lookup import HashLookup

LAST = 2**64 - 1
HASHES = st.one_of(st.integers(0, 40), st.integers(LAST - 40, LAST), st.integers(0, LAST))


def whole(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


@given(st.sets(HASHES, max_size=60), st.lists(HASHES, max_size=60))
def test_lookup_finds_what_a_dictionary_finds(known: set[int], asked: list[int]) -> None:
    ordered = sorted(known)
    places = {value: place for place, value in enumerate(ordered)}
    lookup = HashLookup.of(whole(ordered))
    assert len(lookup) == len(known)
    values = [*asked, *ordered]
    assert lookup.find(whole(values)).tolist() == [places.get(value, -1) for value in values]


@pytest.mark.parametrize("known", [[], [0], [LAST], [0, LAST]])
def test_lookup_at_both_ends(known: list[int]) -> None:
    found = HashLookup.of(whole(known)).find(whole([0, 1, LAST - 1, LAST]))
    assert found.tolist() == [
        known.index(value) if value in known else -1 for value in (0, 1, LAST - 1, LAST)
    ]
