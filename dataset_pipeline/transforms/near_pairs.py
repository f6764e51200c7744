"""All pairs of near duplicates among texts alone: what is measured against lists of known pairs, and against peers.

Lives here: fingerprints, shared buckets and exact Jaccard put together for texts that are nobody's records yet. Keep out:
who is dropped (`dedup`), which pairs meet across days (`near.candidate_pairs`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from dataset_pipeline.spec.models import Near
from dataset_pipeline.transforms import near, shingles
from dataset_pipeline.transforms.shingles import Hashes, Indices, Ragged, ascending, spread


@dataclass(frozen=True)
class NearPairs:
    """pairs: left, right (Int64, rows of the texts, left < right) and similarity (Float64), sorted by (left, right).

    candidates: pairs that share a bucket and whose sizes allow the threshold: all of them were measured.
    capped_buckets: buckets that hold more texts than the cap; left_out: how many comparisons these do without.
    """

    pairs: pl.DataFrame
    candidates: int
    capped_buckets: int
    left_out: int


def near_pairs(texts: pl.Series, ngram: int, settings: Near, threshold: float) -> NearPairs:
    """The pairs of texts whose sets of word n-grams have a Jaccard similarity of at least `threshold`.

    texts: String; null and texts without a word are in no pair; one of fewer words than `ngram` is near those of the same
    words only. settings: bands, rows, seed and bucket_cap;
    each text of a bucket is compared with the earliest `bucket_cap` of it that stand before it, and since a pair is
    looked for in all its buckets, one that also meets in a smaller bucket is not lost. Every pair that is returned was
    measured: precision is 1. Memory is bounded by PAIRED_AT_ONCE, beside the texts, their band keys and the n-grams of
    the texts that have a candidate.
    """
    found = near.fingerprints(texts, settings, ngram)
    sizes = found["shingles"].fill_null(0).to_numpy().astype(np.int64)
    few = np.flatnonzero(sizes == 0)
    at, wholes = shingles.short_texts(texts.gather(few), ngram)
    short = few[at]
    sizes[short] = 1
    buckets = _buckets(found["bands"], short, wholes)
    codes, capped, left_out = _candidates(buckets, sizes, settings.bucket_cap, threshold)
    left, right = np.divmod(codes, np.int64(max(len(texts), 1)))
    rows = ascending(np.concatenate([left, right]))
    sets = shingles.shingle_sets(texts.gather(rows), ngram)
    similarity = near.jaccard(sets, np.searchsorted(rows, left), np.searchsorted(rows, right), threshold)
    # Short texts have no shingles to compare: they met because all their words are equal.
    similarity[np.isin(left, short)] = 1.0
    pairs = pl.DataFrame({"left": left, "right": right, "similarity": similarity})
    return NearPairs(pairs.filter(pl.col("similarity") >= threshold), len(codes), capped, left_out)


def _candidates(buckets: Ragged, sizes: Indices, cap: int, threshold: float) -> tuple[Indices, int, int]:
    """left · n + right of the pairs that share a bucket, sorted; buckets over the cap; comparisons left out."""
    lengths = buckets.lengths
    beyond = np.maximum(lengths - 1 - cap, 0)
    left_out = int((beyond * (beyond + 1) // 2).sum())
    found = [np.empty(0, np.int64)]
    count = np.int64(max(len(sizes), 1))
    at = np.arange(len(buckets.values)) - np.repeat(buckets.offsets[:-1], lengths)
    earlier = np.minimum(at, cap)
    members = buckets.values.astype(np.int64)
    for lo, hi in near.chunks(shingles.offsets_of(earlier), near.PAIRED_AT_ONCE):
        part = earlier[lo:hi]
        left = members[spread(np.arange(lo, hi) - at[lo:hi], part)]
        right = np.repeat(members[lo:hi], part)
        small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
        is_possible = small >= threshold * large
        found.append(ascending(left[is_possible] * count + right[is_possible]))
    return ascending(np.concatenate(found)), int((beyond > 0).sum()), left_out


def _buckets(bands: pl.Series, short: Indices, wholes: Hashes) -> Ragged:
    """The rows of each bucket that holds two or more, ascending within it."""
    rows = np.flatnonzero(bands.is_not_null().to_numpy())
    flat: Hashes = bands.drop_nulls().explode(empty_as_null=False).to_numpy()
    keys = np.concatenate([flat, wholes])
    owners = np.concatenate([np.repeat(rows, len(flat) // max(len(rows), 1)), short])
    order = np.lexsort((owners, keys)) if len(short) else np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))
    lengths = np.diff(np.append(starts, len(ordered)))
    shared = lengths > 1
    members = owners[order[spread(starts[shared], lengths[shared])]]
    return Ragged(members.astype(np.uint64), shingles.offsets_of(lengths[shared]))
