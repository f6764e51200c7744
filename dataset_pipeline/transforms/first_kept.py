"""Who is near an earlier kept record, when keeping one record decides about the next.

Lives here: records taken in order, each compared with the earliest kept ones of its buckets, in
blocks of arrays rather than one by one. Keep out: how buckets and sets are made (`near`), and
what a verdict is called (`dedup`, `split`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataset_pipeline.transforms.near import PAIRED_AT_ONCE, Floats, jaccard
from dataset_pipeline.transforms.shingles import Indices, Ragged, ascending, spread

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Members:
    """Which item is in which bucket: parallel arrays sorted by item."""

    item: Indices
    bucket: Indices

    def between(self, lo: int, hi: int) -> Members:
        """Those of the items lo … hi - 1."""
        start, end = np.searchsorted(self.item, [lo, hi])
        return Members(self.item[start:end], self.bucket[start:end])

    def where(self, chosen: Bools) -> Members:
        return Members(self.item[chosen], self.bucket[chosen])


@dataclass(frozen=True)
class Nearest:
    """Per item: the earliest kept item it is near to (-1: none, it is kept) and their similarity."""

    twin: Indices
    similarity: Floats


class _Search:
    """The state of one search: the kept items of each bucket, as far as its room goes."""

    def __init__(self, sets: Ragged, asks: Members, homes: Members, room: Indices, threshold: float):
        self.sets, self.asks, self.homes, self.threshold = sets, asks, homes, threshold
        counts = np.bincount(homes.bucket, minlength=len(room))
        self.room = np.minimum(room, counts)
        self.starts = np.cumsum(self.room) - self.room
        self.slots = np.empty(int(self.room.sum()), dtype=np.int64)
        self.used = np.zeros(len(room), dtype=np.int64)
        self.twin = np.full(len(sets), -1, dtype=np.int64)
        self.similarity = np.zeros(len(sets), dtype=np.float64)

    def run(self) -> Nearest:
        stack = [(0, len(self.sets))]
        while stack:
            lo, hi = stack.pop()
            asks, homes = self.asks.between(lo, hi), self.homes.between(lo, hi)
            if hi - lo > 1 and self._pairs_at_most(asks, homes) > PAIRED_AT_ONCE:
                middle = (lo + hi) // 2
                stack += [(middle, hi), (lo, middle)]
                continue
            self._against_kept(asks)
            asks, homes = asks.where(self.twin[asks.item] < 0), homes.where(self.twin[homes.item] < 0)
            self._against_each_other(asks, homes)
            self._keep(homes.where(self.twin[homes.item] < 0))
        return Nearest(self.twin, self.similarity)

    def _pairs_at_most(self, asks: Members, homes: Members) -> int:
        buckets, inverse = np.unique(homes.bucket, return_inverse=True)
        inside = np.bincount(inverse, minlength=len(buckets)) * (self.used[buckets] < self.room[buckets])
        asked = np.searchsorted(asks.bucket, buckets, side="right", sorter=(order := np.argsort(asks.bucket)))
        asked = asked - np.searchsorted(asks.bucket, buckets, side="left", sorter=order)
        return int(self.used[asks.bucket].sum() + (inside * asked).sum())

    def _against_kept(self, asks: Members) -> None:
        """Drops what is near an item kept before this block."""
        held = self.used[asks.bucket]
        item = np.repeat(asks.item, held)
        other = self.slots[spread(self.starts[asks.bucket], held)]
        codes = ascending(item * len(self.sets) + other)
        item, other = np.divmod(codes, len(self.sets))
        similarity = jaccard(self.sets, item, other, self.threshold)
        near = np.flatnonzero(similarity >= self.threshold)
        # Codes ascend by (item, other): the first of an item is its earliest twin.
        items, first = np.unique(item[near], return_index=True)
        self.twin[items] = other[near][first]
        self.similarity[items] = similarity[near][first]

    def _against_each_other(self, asks: Members, homes: Members) -> None:
        """Drops what is near a kept item of the same block that has a place in a shared bucket."""
        size = len(self.sets)
        homes = homes.where(self.used[homes.bucket] < self.room[homes.bucket])
        keys = np.sort(homes.bucket * size + homes.item)
        starts = np.searchsorted(keys, asks.bucket * size)
        before = np.searchsorted(keys, asks.bucket * size + asks.item) - starts
        at = spread(starts, before)
        ranks = at - np.repeat(starts, before)
        bucket, other = np.divmod(keys[at], size)
        item = np.repeat(asks.item, before)
        codes, inverse = np.unique(item * size + other, return_inverse=True)
        # Even if all before it are kept, the other has a place: no need to count who was.
        sure = np.zeros(len(codes), dtype=bool)
        sure[inverse[self.used[bucket] + ranks < self.room[bucket]]] = True
        left, right = np.divmod(codes, size)
        similarity = jaccard(self.sets, left, right, self.threshold)
        near = np.flatnonzero(similarity >= self.threshold)
        doubtful: dict[int, list[tuple[int, int]]] = {code: [] for code in near[~sure[near]].tolist()}
        met = np.flatnonzero(np.isin(inverse, list(doubtful))) if doubtful else np.empty(0, np.int64)
        for code, place, rank in zip(
            inverse[met].tolist(), at[met].tolist(), ranks[met].tolist(), strict=True
        ):
            doubtful[code].append((place, rank))
        for code in near.tolist():
            x, earlier = int(left[code]), int(right[code])
            if self.twin[x] >= 0 or self.twin[earlier] >= 0:
                continue
            if code in doubtful and not any(self._has_place(keys, place) for place in doubtful[code]):
                continue
            self.twin[x], self.similarity[x] = earlier, similarity[code]

    def _has_place(self, keys: Indices, place: tuple[int, int]) -> bool:
        at, rank = place
        bucket = int(keys[at]) // len(self.sets)
        kept_before = int((self.twin[keys[at - rank : at] % len(self.sets)] < 0).sum())
        return bool(self.used[bucket] + kept_before < self.room[bucket])

    def _keep(self, homes: Members) -> None:
        order = np.argsort(homes.bucket, kind="stable")
        item, bucket = homes.item[order], homes.bucket[order]
        buckets, first, counts = np.unique(bucket, return_index=True, return_counts=True)
        place = self.used[bucket] + np.arange(len(bucket)) - np.repeat(first, counts)
        fits = place < self.room[bucket]
        self.slots[self.starts[bucket[fits]] + place[fits]] = item[fits]
        self.used[buckets] = np.minimum(self.used[buckets] + counts, self.room[buckets])


def first_kept_near(sets: Ragged, asks: Members, homes: Members, room: Indices, threshold: float) -> Nearest:
    """For items 0, 1, … taken in this order: the earliest kept item with Jaccard >= threshold.

    sets: one row per item. homes: the buckets an item is found in once it is
    kept; asks: the buckets it looks into (the same as homes, unless only items of another kind
    count). Buckets are numbered from 0; `room[bucket]` is how many kept items it takes: later ones
    are not looked at, so a bucket that a template fills costs no more than that. An item near a
    kept one is dropped and drops nobody. Items in neither asks nor homes are not compared.
    """
    return _Search(sets, asks, homes, room, threshold).run()
