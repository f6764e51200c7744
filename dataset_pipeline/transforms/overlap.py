"""How much of each protected text lies in each record's text, by n-grams, for all of them at once.

Lives here: the index of protected texts and its look-ups, on word arrays. Keep out: what of a
record is compared, thresholds, verdicts (`decontaminate`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.transforms.hash_lookup import HashLookup
from dataset_pipeline.transforms.shingles import (
    Hashes,
    Indices,
    Ragged,
    ascending,
    mix,
    ngrams,
    offsets_of,
    spread,
)

OCCURRENCES_AT_ONCE = 4_000_000
"""Matches of n-grams expanded at a time; a protected set with a shared template has many."""
FILTER_BITS = 22

FOUND: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "item": pl.Int64,
    "fraction": pl.Float64,
    "start": pl.Int32,
    "end": pl.Int32,
}
"""row of the searched texts, item of the index, share of the item's words found, word span in the row."""


@dataclass(frozen=True)
class Vocabulary:
    """Distinct hashes, ascending, with a bit table in front that turns most others away."""

    hashes: Hashes
    table: npt.NDArray[np.bool_]
    lookup: HashLookup

    @classmethod
    def of(cls, hashes: Hashes) -> Vocabulary:
        table = np.zeros(1 << FILTER_BITS, dtype=bool)
        table[hashes & np.uint64(len(table) - 1)] = True
        distinct = ascending(hashes)
        return cls(distinct, table, HashLookup.of(distinct))

    def find(self, values: Hashes) -> tuple[Indices, Indices]:
        """Where in `values` known hashes stand, and their numbers in the vocabulary."""
        at = np.flatnonzero(self.table[values & np.uint64(len(self.table) - 1)])
        numbers = self.lookup.find(values[at])
        is_known = numbers >= 0
        return at[is_known], numbers[is_known]


@dataclass(frozen=True)
class Hits:
    """n-grams of the searched texts that the index knows: text, word position, number of the n-gram."""

    row: Indices
    position: Indices
    gram: Indices

    @classmethod
    def of(cls, words: Ragged, n: int, vocabulary: Vocabulary) -> Hits:
        grams = ngrams(words, n)
        at, numbers = vocabulary.find(grams.values)
        row = np.searchsorted(grams.offsets, at, side="right") - 1
        return cls(row, at - grams.offsets[row], numbers)


@dataclass(frozen=True)
class Index:
    """n-grams of the items that have n words or more, and where each occurs.

    occurrences: positions in the items' n-grams laid end to end, in item order, listed by n-gram.
    """

    n: int
    vocabulary: Vocabulary
    occurrences: Ragged
    item_of: Indices
    item_words: Indices

    @classmethod
    def of(cls, words: Ragged, n: int) -> Index:
        grams = ngrams(words, n)
        vocabulary = Vocabulary.of(grams.values)
        _, numbers = vocabulary.find(grams.values)
        order = np.argsort(numbers, kind="stable")
        counts = np.bincount(numbers, minlength=len(vocabulary.hashes))
        return cls(
            n, vocabulary, Ragged(order.astype(np.uint64), offsets_of(counts)), grams.owners(), words.lengths
        )

    def coverage(self, words: Ragged) -> pl.DataFrame:
        """FOUND: for each text with a match, the item of which it covers the largest share of words.

        A word is covered where it lies in an n-gram of the item that also occurs in the text, however
        often. Among equal shares the first item wins. The span reaches from the first to the last
        n-gram of that item in the text.
        """
        hits = Hits.of(words, self.n, self.vocabulary)
        if not len(hits.row):
            return pl.DataFrame(schema=FOUND)
        rows, sets, grams = _gram_sets(hits)
        best_item, best_fraction = self._best(grams)
        item, fraction = best_item[sets], best_fraction[sets]
        return _with_spans(rows, item, fraction, self._of_item(hits, rows, item), self.n)

    def _best(self, grams: Ragged) -> tuple[Indices, npt.NDArray[np.float64]]:
        """For each set of n-gram numbers the item covered most, and its covered share."""
        items, fractions = [], []
        numbers = grams.values.astype(np.int64)
        counts = self.occurrences.lengths[numbers]
        work = np.concatenate([[0], np.cumsum(counts)])[grams.offsets]
        lo = 0
        while lo < len(grams):
            hi = max(int(np.searchsorted(work, work[lo] + OCCURRENCES_AT_ONCE, side="right")) - 1, lo + 1)
            part = slice(int(grams.offsets[lo]), int(grams.offsets[hi]))
            owner = np.repeat(np.arange(lo, hi), np.diff(work[lo : hi + 1]))
            found = spread(self.occurrences.offsets[:-1][numbers[part]], counts[part])
            places = self.occurrences.values[found].astype(np.int64)
            item, fraction = self._best_of(owner - lo, places, hi - lo)
            items.append(item)
            fractions.append(fraction)
            lo = hi
        return np.concatenate(items), np.concatenate(fractions)

    def _best_of(
        self, owner: Indices, places: Indices, count: int
    ) -> tuple[Indices, npt.NDArray[np.float64]]:
        total = len(self.item_of)
        owner, places = np.divmod(np.sort(owner * total + places), total)
        item = self.item_of[places]
        changes = np.flatnonzero((owner[1:] != owner[:-1]) | (item[1:] != item[:-1])) + 1
        starts = np.concatenate([[0], changes])
        # Each matching n-gram adds the words up to the next one; the last of an item adds all its n.
        added = np.full(len(places), self.n, dtype=np.int64)
        added[:-1] = np.minimum(np.diff(places), self.n)
        added[starts[1:] - 1] = self.n
        owner, item = owner[starts], item[starts]
        fraction = np.add.reduceat(added, starts) / self.item_words[item]
        order = np.lexsort((item, -fraction, owner))
        first = order[np.searchsorted(owner[order], np.arange(count))]
        return item[first], fraction[first]

    def _of_item(self, hits: Hits, rows: Indices, item: Indices) -> Hits:
        """The hits of each row that are n-grams of the item chosen for it."""
        size = len(self.item_words)
        chosen = item[np.searchsorted(rows, hits.row)]
        owners = self.item_of[self.occurrences.values.astype(np.int64)]
        known = ascending(self.occurrences.owners() * size + owners)
        codes = hits.gram * size + chosen
        at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        mine = known[at] == codes
        return Hits(hits.row[mine], hits.position[mine], hits.gram[mine])


def _gram_sets(hits: Hits) -> tuple[Indices, Indices, Ragged]:
    """The rows with hits, the number of each one's set of n-grams, and the distinct sets.

    Records that share nothing but a template with an evaluation set have one set: it is measured once.
    """
    pairs = pl.DataFrame({"row": hits.row, "gram": hits.gram}).unique().sort("row", "gram")
    rows = pairs.group_by("row", maintain_order=True).agg("gram")
    distinct = rows.select("gram").unique(maintain_order=True).with_row_index("set")
    numbered = rows.join(distinct, on="gram", how="left", maintain_order="left")
    lengths = distinct["gram"].list.len().to_numpy().astype(np.int64)
    values = distinct["gram"].explode().to_numpy().astype(np.uint64)
    return (
        rows["row"].to_numpy(),
        numbered["set"].to_numpy().astype(np.int64),
        Ragged(values, offsets_of(lengths)),
    )


def _with_spans(
    rows: Indices, item: Indices, fraction: npt.NDArray[np.float64], hits: Hits, n: int
) -> pl.DataFrame:
    spans = (
        pl.DataFrame({"row": hits.row, "position": hits.position})
        .group_by("row")
        .agg(start=pl.col("position").min(), end=pl.col("position").max() + n)
    )
    found = pl.DataFrame({"row": rows, "item": item, "fraction": fraction}).join(spans, on="row").sort("row")
    return found.select(pl.col(name).cast(dtype) for name, dtype in FOUND.items())


def contained(words: Ragged, items: Ragged, shortest: int, below: int) -> pl.DataFrame:
    """FOUND, fraction 1.0: for each text the longest item that stands in it whole, word after word.

    items of `shortest` to `below` - 1 words are looked for, in texts that are longer than they;
    among items of one length the first wins.
    """
    found = [pl.DataFrame(schema=FOUND)]
    lengths = sorted({int(size) for size in items.lengths if shortest <= size < below}, reverse=True)
    if not lengths:
        return found[0]
    # Most words begin no item: where its first words stand is asked once, for all lengths.
    least = lengths[-1]
    looked_for = np.flatnonzero((items.lengths >= shortest) & (items.lengths < below))
    begun = Hits.of(words, least, Vocabulary.of(_grams_at(items.values, items.offsets[looked_for], least)))
    starts = words.offsets[begun.row] + begun.position
    for length in lengths:
        numbers = np.flatnonzero(items.lengths == length)
        whole = _grams_at(items.values, items.offsets[numbers], length)
        vocabulary = Vocabulary.of(whole)
        first_item = numbers[np.unique(whole, return_index=True)[1]]
        fits = np.flatnonzero(
            (words.lengths[begun.row] > length) & (starts + length <= words.offsets[begun.row + 1])
        )
        at, grams = vocabulary.find(_grams_at(words.values, starts[fits], length))
        hits = Hits(begun.row[fits[at]], begun.position[fits[at]], first_item[grams])
        rows, firsts = np.unique(hits.row, return_index=True)
        if not len(rows):
            continue
        item = np.minimum.reduceat(hits.gram, firsts)
        mine = hits.gram == item[np.searchsorted(rows, hits.row)]
        hits = Hits(hits.row[mine], hits.position[mine], hits.gram[mine])
        found.append(_with_spans(rows, item, np.ones(len(rows)), hits, length))
    return pl.concat(found).unique("row", keep="first", maintain_order=True).sort("row")


def _grams_at(words: Hashes, starts: Indices, n: int) -> Hashes:
    """The hash of the n words from each of these places on, within one text."""
    whole = Ragged(words[spread(starts, np.full(len(starts), n))], np.arange(len(starts) + 1) * n)
    return ngrams(whole, n).values


def sequences(words: Ragged) -> Hashes:
    """A hash of all words of each text, in order: equal words make equal hashes. 0 for a text without words."""
    places = np.arange(len(words.values)) - np.repeat(words.offsets[:-1], words.lengths)
    mixed = mix(words.values + mix(places.astype(np.uint64)))
    sums = np.zeros(len(mixed) + 1, dtype=np.uint64)
    np.cumsum(mixed, out=sums[1:])
    return sums[words.offsets[1:]] - sums[words.offsets[:-1]]
