"""Near-duplicate search: MinHash signatures, band keys, candidate pairs, exact Jaccard.

Lives here: finding pairs of sets that are alike, on arrays and plain frames, without a verdict.
Keep out: what of a record is compared and what is dropped (`dedup`, `split`), and who meets whom
among records of one range (`first_kept`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.spec.models import Near
from dataset_pipeline.transforms.shingles import (
    TEXTS_AT_ONCE,
    Hashes,
    Indices,
    Ragged,
    mix,
    shingle_sets,
    spread,
)

Floats = npt.NDArray[np.float64]

VALUES_AT_ONCE = 1 << 16
"""Shingles per chunk of `signatures`: small enough to stay in the processor's cache."""
PAIRED_AT_ONCE = 4_000_000
"""Set members or candidate pairs held at a time, which bounds memory and changes no result."""


@lru_cache(maxsize=4)
def _permutations(num_perm: int, seed: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    from datasketch import MinHash

    a, b = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations
    return a, b


def _premixed(values: Hashes) -> npt.NDArray[np.uint32]:
    """The low 32 bits through MurmurHash3's finalizer, as datasketch's affine32 scheme does first."""
    low = values.astype(np.uint32)
    low = (low ^ (low >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    low = (low ^ (low >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return low ^ (low >> np.uint32(16))


def _chunks(offsets: Indices, size: int) -> list[tuple[int, int]]:
    """Row ranges of about `size` values each; a row longer than that is alone."""
    cuts = np.searchsorted(offsets, np.arange(0, int(offsets[-1]) + size, size))
    cuts = np.unique(np.concatenate([[0], np.minimum(cuts, len(offsets) - 1), [len(offsets) - 1]]))
    return [(int(lo), int(hi)) for lo, hi in pairwise(cuts)]


def signatures(sets: Ragged, num_perm: int, seed: int) -> tuple[Indices, npt.NDArray[np.uint32]]:
    """MinHash signatures, value for value those of datasketch 2 in its `affine32` scheme.

    sets: 64-bit hashes per text, of which the low 32 bits are used. Returns the rows that have a
    signature (an empty set has none, else all empty texts would match) and one row of `num_perm`
    values for each.
    """
    a, b = _permutations(num_perm, seed)
    filled = np.flatnonzero(sets.lengths)
    starts = sets.offsets[:-1][filled]
    offsets = np.append(starts, sets.offsets[-1])
    result = np.empty((num_perm, len(filled)), dtype=np.uint32)
    for lo, hi in _chunks(offsets, VALUES_AT_ONCE) if len(filled) else []:
        hashes = _premixed(sets.values[offsets[lo] : offsets[hi]])
        segments = offsets[lo:hi] - offsets[lo]
        for k in range(num_perm):
            result[k, lo:hi] = np.minimum.reduceat(hashes * a[k] + b[k], segments)
    return filled, np.ascontiguousarray(result.T)


def band_keys(sets: Ragged, bands: int, rows: int, seed: int) -> pl.Series:
    """`bands` 64-bit keys per text, each mixed of its band's number and `rows` MinHash values.

    Two texts share a key where all values of that band agree: at Jaccard j with probability
    1 - (1 - j^rows)^bands for at least one. Series "bands" of List(UInt64); null for an empty set.
    """
    filled, values = signatures(sets, bands * rows, seed)
    keys = np.empty((len(filled), bands), dtype=np.uint64)
    for band in range(bands):
        key = np.full(len(filled), band + 1, dtype=np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            key = mix((key << np.uint64(1)) + key + values[:, row] + np.uint64(0x9E3779B97F4A7C15))
        keys[:, band] = key
    found = pl.DataFrame(
        {"row": filled, "bands": pl.Series(keys, dtype=pl.Array(pl.UInt64, bands)).cast(pl.List(pl.UInt64))}
    )
    rows_of_texts = pl.DataFrame({"row": np.arange(len(sets), dtype=np.int64)})
    return rows_of_texts.join(found, on="row", how="left", maintain_order="left")["bands"]


VERSION = 1
"""Raised when a text's band keys change: remembered ones are then not used."""


def fingerprints(texts: pl.Series, near: Near, ngram: int, memo: Memo = direct) -> pl.DataFrame:
    """shingles (Int32, distinct word n-grams) and bands (List(UInt64), null where there are none) of each text."""

    def compute(distinct: pl.Series) -> pl.DataFrame:
        parts = [pl.DataFrame(schema={"shingles": pl.Int32, "bands": pl.List(pl.UInt64)})]
        for start in range(0, len(distinct), TEXTS_AT_ONCE):
            sets = shingle_sets(distinct.slice(start, TEXTS_AT_ONCE), ngram)
            bands = band_keys(sets, near.bands, near.rows, near.seed)
            parts.append(pl.DataFrame({"shingles": sets.lengths.astype(np.int32), "bands": bands}))
        return pl.concat(parts)

    settings = f"affine32 ngram {ngram} bands {near.bands} rows {near.rows} seed {near.seed}"
    return memo("bands", VERSION, settings, texts, compute)


def memberships(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per record and band: position, bucket (the band key), group; none where bands is null."""
    return (
        frame.select("position", "group", bucket="bands")
        .filter(pl.col("bucket").is_not_null())
        .explode("bucket")
    )


@dataclass(frozen=True)
class Pairs:
    """Candidate pairs, `position` (new) and `other` (earlier), and what the bucket cap left out."""

    pairs: pl.DataFrame
    capped_buckets: int
    left_out: int


def _spent(before: pl.Expr, count: pl.Expr, cap: int) -> pl.Expr:
    """Comparisons beyond the cap of `count` records that enter a bucket holding `before`, one by one."""
    first = (before - cap).clip(0)
    last = (before + count - 1 - cap).clip(0)
    steps = pl.min_horizontal(count, last)
    return pl.when(before >= cap).then(count * (first + last) // 2).otherwise(steps * (steps + 1) // 2)


def candidate_pairs(new: pl.DataFrame, history: pl.DataFrame, cap: int) -> Pairs:
    """Pairs of a new and a historical record that share a bucket: a band key within a group.

    new, history: position (Int64, the order in which records are taken; unique in each), group
    (String: only equal groups are compared), bands (List(UInt64)), shingles (Int32). A bucket
    offers its `cap` earliest historical records only; since a pair is looked for in all its
    buckets, one that also meets in a smaller bucket is not lost.
    Returns pairs sorted by (position, other). `capped_buckets` and `left_out` also count the
    comparisons among the new records, and count them before any verdict: they are upper bounds.
    """
    asks = memberships(new)
    homes = (
        memberships(history)
        .join(asks, on=["bucket", "group"], how="semi")
        .sort("bucket", "group", "position")
    )
    sizes = (
        asks.group_by("bucket", "group")
        .agg(new=pl.len().cast(pl.Int64))
        .join(
            homes.group_by("bucket", "group").agg(held=pl.len().cast(pl.Int64)),
            on=["bucket", "group"],
            how="left",
        )
        .with_columns(pl.col("held").fill_null(0))
        .filter(pl.col("held") + pl.col("new") - 1 > cap)
    )
    left_out = sizes.select(_spent(pl.col("held"), pl.col("new"), cap).sum()).item()
    offered = homes.filter(pl.int_range(pl.len()).over("bucket", "group") < cap).rename({"position": "other"})
    asks = asks.join(offered, on=["bucket", "group"], how="semi").sort("position")
    found = [pl.DataFrame(schema={"position": pl.Int64, "other": pl.Int64})]
    step = max(PAIRED_AT_ONCE // cap, 1)
    for start in range(0, asks.height, step):
        met = asks.slice(start, step).join(offered, on=["bucket", "group"])
        found.append(met.select("position", "other").unique())
    pairs = pl.concat(found).unique().sort("position", "other")
    return Pairs(pairs, sizes.height, int(left_out or 0))


def dense(sets: Ragged) -> Ragged:
    """The same sets with values numbered from 0, as `jaccard` wants them."""
    _, numbers = np.unique(sets.values, return_inverse=True)
    return Ragged(numbers.astype(np.uint64), sets.offsets)


def _shared(sets: Ragged, left: Indices, right: Indices, span: int) -> Indices:
    """Size of the intersection of each pair: a value that occurs twice under a pair's number is shared."""
    numbers = np.arange(len(left), dtype=np.int64)
    codes = []
    for side in (left, right):
        lengths = sets.lengths[side]
        values = sets.values[spread(sets.offsets[side], lengths)].astype(np.int64)
        codes.append(np.repeat(numbers, lengths) * span + values)
    merged = np.concatenate(codes)
    merged.sort()
    twice = merged[1:][merged[1:] == merged[:-1]]
    return np.bincount(twice // span, minlength=len(left))


def jaccard(sets: Ragged, left: Indices, right: Indices, threshold: float = 0.0) -> Floats:
    """Exact Jaccard similarity of the sets of each pair of rows.

    sets: from `dense`. Pairs whose sizes alone rule `threshold` out are not measured and get 0.0,
    as do pairs with an empty set.
    """
    sizes = sets.lengths
    small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    result = np.zeros(len(left), dtype=np.float64)
    # small / large is the highest similarity such sizes allow.
    todo = np.flatnonzero((small > 0) & (small / np.maximum(large, 1) >= threshold))
    span = int(sets.values.max(initial=np.uint64(0))) + 1
    work = np.zeros(len(todo) + 1, dtype=np.int64)
    np.cumsum(small[todo] + large[todo], out=work[1:])
    for lo, hi in _chunks(work, PAIRED_AT_ONCE) if len(todo) else []:
        part = todo[lo:hi]
        shared = _shared(sets, left[part], right[part], span)
        result[part] = shared / (small[part] + large[part] - shared)
    return result
