"""Near-duplicate search: MinHash signatures, band keys, candidate pairs, exact Jaccard.

Lives here: finding pairs of sets that are alike, on arrays and plain frames, without a verdict.
Keep out: what of a record is compared and what is dropped (`dedup`, `split`), and who meets whom
among records of one range (`first_kept`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.spec.models import Near
from dataset_pipeline.transforms.blocks import blocks, in_order
from dataset_pipeline.transforms.shingles import (
    Hashes,
    Indices,
    Ragged,
    distinct_counts,
    mix,
    ngrams,
    spread,
    words,
)

Floats = npt.NDArray[np.float64]

VALUES_AT_ONCE = 1 << 17
"""Shingles per chunk of `signatures`: 512 kB, within the processor's second cache."""
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


def chunks(offsets: Indices, size: int) -> list[tuple[int, int]]:
    """Ranges of rows of about `size` values each, none for no rows; a row longer than that is alone."""
    if len(offsets) < 2:
        return []
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
    for lo, hi in chunks(offsets, VALUES_AT_ONCE) if len(filled) else []:
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
    of_bands = values.reshape(len(filled), bands, rows).astype(np.uint64)
    keys = np.tile(np.arange(1, bands + 1, dtype=np.uint64), (len(filled), 1))
    for row in range(rows):
        keys = mix(keys * np.uint64(3) + of_bands[:, :, row] + np.uint64(0x9E3779B97F4A7C15))
    lists = pl.Series("bands", keys, dtype=pl.Array(pl.UInt64, bands)).cast(pl.List(pl.UInt64))
    if len(filled) == len(sets):
        return lists
    places = np.full(len(sets), -1, dtype=np.int64)
    places[filled] = np.arange(len(filled))
    return lists.gather(pl.Series(places).replace(-1, None))


VERSION = 1
"""Raised when a text's band keys change: remembered ones are then not used."""


def print_of(grams: Ragged, near: Near) -> pl.DataFrame:
    """shingles (Int32, distinct n-grams) and bands (List(UInt64), null where there are none) of each row of n-grams."""
    # A minimum does not mind repetitions: no need of sets here.
    bands = band_keys(grams, near.bands, near.rows, near.seed)
    return pl.DataFrame({"shingles": distinct_counts(grams).astype(np.int32), "bands": bands})


def fingerprints(texts: pl.Series, near: Near, ngram: int, memo: Memo = direct) -> pl.DataFrame:
    """shingles (Int32, distinct word n-grams) and bands (List(UInt64), null where there are none) of each text."""

    def block(part: pl.Series) -> pl.DataFrame:
        return print_of(ngrams(words(part), ngram), near)

    def compute(distinct: pl.Series) -> pl.DataFrame:
        nothing = pl.DataFrame(schema={"shingles": pl.Int32, "bands": pl.List(pl.UInt64)})
        return pl.concat([nothing, *in_order(block, blocks(distinct))])

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


_PAIRS_AT_ONCE = 1 << 12
_PAIR_BITS = np.uint64(12)
_COMPARED_AT_ONCE = 1 << 17
"""Set members of a block of pairs: what is sorted at a time stays in the processor's second cache."""


def _shared(sets: Ragged, left: Indices, right: Indices) -> Indices:
    """Size of the intersection of each pair, at most _PAIRS_AT_ONCE: a value that stands twice behind its number is shared.

    Values are told apart by 52 bits of a multiple of them: two of a pair's own n that differ are taken for one another at
    n² / 2⁵³.
    """
    numbers = np.arange(len(left), dtype=np.uint64)
    lengths = [sets.lengths[side] for side in (left, right)]
    places = [spread(sets.offsets[side], length) for side, length in zip((left, right), lengths, strict=True)]
    merged = sets.values[np.concatenate(places)] * np.uint64(0x9E3779B97F4A7C15)
    merged >>= _PAIR_BITS
    merged |= np.concatenate([np.repeat(numbers, length) for length in lengths]) << (
        np.uint64(64) - _PAIR_BITS
    )
    merged.sort()
    twice = merged[1:][merged[1:] == merged[:-1]]
    return np.bincount((twice >> (np.uint64(64) - _PAIR_BITS)).astype(np.int64), minlength=len(left))


def jaccard(sets: Ragged, left: Indices, right: Indices, threshold: float = 0.0) -> Floats:
    """Jaccard similarity of the sets of each pair of rows, measured on the sets themselves.

    sets: distinct values of each row. Pairs whose sizes alone rule `threshold` out are not measured and get 0.0,
    as do pairs with an empty set.
    """
    sizes = sets.lengths
    small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    result = np.zeros(len(left), dtype=np.float64)
    # small / large is the highest similarity such sizes allow.
    todo = np.flatnonzero((small > 0) & (small / np.maximum(large, 1) >= threshold))

    def measure(part: Indices) -> tuple[Indices, Floats]:
        shared = _shared(sets, left[part], right[part])
        return part, shared / (small[part] + large[part] - shared)

    for part, found in in_order(measure, _pair_blocks(todo, small[todo] + large[todo])):
        result[part] = found
    return result


def _pair_blocks(todo: Indices, members: Indices) -> list[Indices]:
    """The pairs in order, in blocks of at most _PAIRS_AT_ONCE with about _COMPARED_AT_ONCE set members."""
    work = np.zeros(len(todo) + 1, dtype=np.int64)
    np.cumsum(members, out=work[1:])
    return [
        todo[at : min(at + _PAIRS_AT_ONCE, hi)]
        for lo, hi in chunks(work, _COMPARED_AT_ONCE)
        for at in range(lo, hi, _PAIRS_AT_ONCE)
    ]


def shortest_found(ngram: int, threshold: float) -> int | None:
    """Words of the shortest text of which a copy with any one word changed is still as near as `threshold`; None for 1.

    A changed word takes up to `ngram` shingles out of both sets: of S shingles S - n are shared and S + n there are.
    """
    if threshold >= 1.0:
        return None
    shingles = math.ceil(round(ngram * (1 + threshold) / (1 - threshold), 9))
    return shingles + ngram - 1
