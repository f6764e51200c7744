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
from dataset_pipeline.transforms.blocks import blocks, in_order
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


HELD_WORDS = 1 << 25
"""Words that are kept from measuring to comparing, 8 bytes each; those of further texts are read again."""


@dataclass(frozen=True)
class _Measured:
    """What is known of each text: its band keys (null for a short one) and the number of its shingles, 1 of a short one.

    short, wholes: rows of 1 to ngram - 1 words, and a hash of all of these. held: words of the first blocks.
    """

    texts: pl.Series
    ngram: int
    bands: pl.Series
    sizes: Indices
    short: Indices
    wholes: Hashes
    held: list[Ragged]

    @classmethod
    def of(cls, texts: pl.Series, ngram: int, settings: Near) -> _Measured:
        def measure(part: pl.Series) -> tuple[Ragged, pl.DataFrame]:
            words = shingles.words(part)
            return words, near.print_of(shingles.ngrams(words, ngram), settings)

        held: list[Ragged] = []
        prints = [pl.DataFrame(schema={"shingles": pl.Int32, "bands": pl.List(pl.UInt64)})]
        count, is_room = 0, True
        for words, found in in_order(measure, blocks(texts)):
            prints.append(found)
            count += len(words.values)
            is_room = is_room and count <= HELD_WORDS
            if is_room:
                held.append(words)
        frame = pl.concat(prints)
        sizes = frame["shingles"].to_numpy().astype(np.int64)
        few = np.flatnonzero(sizes == 0)
        at, wholes = shingles.short_texts(texts.gather(few), ngram)
        sizes[few[at]] = 1
        return cls(texts, ngram, frame["bands"], sizes, few[at], wholes, held)

    def sets(self, rows: Indices) -> Ragged:
        """The shingles of some texts, ascending row numbers."""
        ends = np.cumsum([len(words) for words in self.held], dtype=np.int64)
        cuts = np.searchsorted(rows, np.concatenate([np.zeros(1, np.int64), ends]))
        parts = [
            (words, rows[lo:hi] - (end - len(words)))
            for words, end, lo, hi in zip(self.held, ends, cuts[:-1], cuts[1:], strict=True)
            if hi > lo
        ]
        of_held = in_order(
            lambda part: shingles.distinct(shingles.ngrams(part[0].take(part[1]), self.ngram)), parts
        )
        later = shingles.shingle_sets(self.texts.gather(rows[cuts[-1] :]), self.ngram)
        return shingles.concat([*of_held, later])


def near_pairs(texts: pl.Series, ngram: int, settings: Near, threshold: float) -> NearPairs:
    """The pairs of texts whose sets of word n-grams have a Jaccard similarity of at least `threshold`.

    texts: String; null and texts without a word are in no pair; one of fewer words than `ngram` is near those of the same
    words only. settings: bands, rows, seed and bucket_cap;
    each text of a bucket is compared with the earliest `bucket_cap` of it that stand before it, and since a pair is
    looked for in all its buckets, one that also meets in a smaller bucket is not lost. Every pair that is returned was
    measured: precision is 1. Memory is bounded by PAIRED_AT_ONCE and HELD_WORDS, beside the texts, their band keys and the
    n-grams of the texts that have a candidate.
    """
    texts = texts.fill_null("")
    measured = _Measured.of(texts, ngram, settings)
    buckets = _buckets(measured.bands, measured.short, measured.wholes)
    codes, capped, left_out = _candidates(buckets, measured.sizes, settings.bucket_cap, threshold)
    left, right = np.divmod(codes, np.int64(max(len(texts), 1)))
    rows: Indices = ascending(np.concatenate([left, right]))
    sets = measured.sets(rows)
    similarity = near.jaccard(sets, np.searchsorted(rows, left), np.searchsorted(rows, right), threshold)
    # Short texts have no shingles to compare: those of equal words are one.
    whole = np.zeros(len(texts), dtype=np.uint64)
    whole[measured.short] = measured.wholes
    similarity[(whole[left] != 0) & (whole[left] == whole[right])] = 1.0
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
    """The rows of each bucket that holds two or more, ascending within it.

    Keys are told apart by the bits that a row's number leaves: 40 of them for 16 million texts. Whoever meets by chance is
    measured like the others.
    """
    rows = np.flatnonzero(bands.is_not_null().to_numpy())
    flat: Hashes = bands.drop_nulls().explode(empty_as_null=False).to_numpy()
    owners = np.concatenate([np.repeat(rows, len(flat) // max(len(rows), 1)), short])
    bits = np.uint64(len(bands).bit_length())
    packed = (np.concatenate([flat, wholes]) >> bits << bits) | owners.astype(np.uint64)
    packed = ascending(packed)
    keys = packed >> bits
    starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    lengths = np.diff(np.append(starts, len(keys)))
    shared = lengths > 1
    members = packed[spread(starts[shared], lengths[shared])] & ((np.uint64(1) << bits) - np.uint64(1))
    return Ragged(members, shingles.offsets_of(lengths[shared]))
