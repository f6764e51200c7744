"""Protected items told in other words: candidates by rare terms, then one score of five measurements.

Lives here: the index of protected items by terms, candidates, the score. Keep out: what a term is and weighs
(`paraphrase_terms`), exact matches (`overlap`), what of a record is compared and verdicts (`decontaminate`).

What is compared depends on the protected items and on the text itself, never on other records. The score is a logistic
function of: what text and item share, counted in rare words; which part of the item that is; how far their numbers
agree; and how far the item stands out from the next best one, in neighbouring terms and in its shared part, which tells
a rewording from another text on the subject. Coefficients: fitted on rephrased GSM8K and HumanEval
(lm-sys/llm-decontaminator) against GSM8K's training set, MAWPS, code, general and banking instructions
(`docs/steps/decontaminate.md`); the intercept is set so that at 0.5 one clean record of a hundred passes, of the hardest
of these kinds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from dataset_pipeline.transforms.blocks import in_order
from dataset_pipeline.transforms.overlap import Vocabulary
from dataset_pipeline.transforms.paraphrase_terms import (
    Floats,
    Sets,
    Terms,
    codes,
    neighbours,
    pair_sets,
    spelled,
    term_sets,
)
from dataset_pipeline.transforms.shingles import Ragged, ascending
from dataset_pipeline.transforms.words import Indices

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOUND: dict[str, pl.DataType | type[pl.DataType]] = {"row": pl.Int64, "item": pl.Int64, "score": pl.Float64}
"""row of the searched texts, item of the index, score from 0 to 1."""

ROWS_AT_ONCE = 20_000
"""Texts compared at a time: bounds memory, changes no result."""
_TEXTS_AT_ONCE = 1 << 10
"""Texts whose shared terms with all items are held at a time by a thread."""
CANDIDATES = 8
"""Items per text that are scored."""
_RARE_SHARE = 0.35
"""A term is rare where it weighs this share of an unknown word or more: candidates are found by rare terms alone."""
_LEAST_SHARED = 1.2
"""Rare words' worth that a text must share with an item to be compared with it at all."""
_ANSWER_WORDS = 5
"""An item's answer of fewer words (a letter, a label, a number) says nothing about wording."""

_LONGEST = 6.0
"""A text that weighs as many times an item is too long to be it in other words: it holds most words of any."""

INTERCEPT = -8.35
COEFFICIENTS = {"shared": 5.38, "of_item": 3.41, "numbers": 5.09, "margin": 0.52, "ahead": 0.37}
"""Of the logistic score; what they weigh is told in `measured`."""
_BEFORE_MARGIN = {name: weight for name, weight in COEFFICIENTS.items() if name != "margin"}
_MOST_OF_MARGIN = COEFFICIENTS["margin"] * math.log(1.02)


@dataclass(frozen=True)
class Paraphrases:
    """The items' texts, alone and with their answers (views), as sets of terms and of neighbouring terms.

    owners: the item of each view, ascending; first: the first view of each item, and the end.
    """

    terms: Terms
    pairs: Vocabulary
    pair_weights: Floats
    unknown_pair: float
    owners: Indices
    first: Indices
    words: Sets
    pair_sets: Sets
    rare: Vocabulary
    rare_terms: Indices
    postings: csr_matrix

    @classmethod
    def of(cls, items: pl.DataFrame, min_words: int) -> Paraphrases | None:
        """items: item (ascending from 0), text, label. None where none has `min_words` words.

        The answer of an item (label) is compared with it where it is a text: of _ANSWER_WORDS words or more.
        """
        views = _item_views(items, min_words)
        if not views.height:
            return None
        owners = views["item"].to_numpy().astype(np.int64)
        count = int(views["item"].n_unique())
        terms = Terms.of(views["text"], owners, count)
        words = terms.read(views["text"])
        grams = neighbours(codes(words, terms))
        pairs = Vocabulary.of(grams.values)
        _, numbers = pairs.find(grams.values)
        held = ascending(owners[grams.owners()] * len(pairs.hashes) + numbers) % max(len(pairs.hashes), 1)
        df = np.bincount(held, minlength=len(pairs.hashes))
        pair_weights = np.log((count + 1) / (df + 0.5))
        unknown_pair = float(np.log((count + 1) / 0.5))
        sets = term_sets(words, terms)
        is_rare = terms.weights >= _RARE_SHARE * terms.unknown
        is_rare[np.setdiff1d(np.arange(len(terms.weights)), sets.terms.indices)] = False
        rare_forms = is_rare[terms.numbers]
        first = np.searchsorted(owners, np.arange(items.height + 1))
        return cls(
            terms, pairs, pair_weights, unknown_pair, owners, first, sets,
            pair_sets(grams, pairs, pair_weights, unknown_pair),
            Vocabulary.of(terms.forms[rare_forms]), terms.numbers[rare_forms],
            _postings(sets.terms, owners, items.height, is_rare),
        )  # fmt: skip

    def read(self, texts: pl.Series) -> Ragged:
        """The words of texts, as `search` takes them."""
        return self.terms.read(spelled(texts))

    def search(self, words: Ragged, min_words: int, threshold: float) -> pl.DataFrame:
        """FOUND: for each text the item that it most likely tells in other words, with a score of `threshold` or more.

        Texts of fewer than `min_words` words are not searched. Among equal scores the first item wins.
        """
        found = [pl.DataFrame(schema=FOUND)]
        for lo in range(0, len(words), ROWS_AT_ONCE):
            hi = min(lo + ROWS_AT_ONCE, len(words))
            rows = np.flatnonzero(words.lengths[lo:hi] >= min_words) + lo
            if len(rows):
                found.append(self._best(words.take(rows), rows, threshold))
        return pl.concat(found)

    def _best(self, words: Ragged, rows: Indices, threshold: float) -> pl.DataFrame:
        values = self.measured(words, threshold)
        score = np.where(values["times"] <= _LONGEST, 1 / (1 + np.exp(-_logit(values, COEFFICIENTS))), 0.0)
        table = pl.DataFrame(
            {"row": rows[values["row"]], "item": values["item"], "score": score}, schema=FOUND
        )
        ordered = table.sort("row", "score", "item", descending=[False, True, False])
        best = ordered.unique("row", keep="first", maintain_order=True)
        return best.filter(pl.col("score") >= threshold)

    def _candidates(self, words: Ragged) -> tuple[Indices, Indices]:
        """Text and item of the pairs that share most in rare terms, by text, best first."""
        from scipy.sparse import csr_matrix

        at, numbers = self.rare.find(words.values)
        owner = np.searchsorted(words.offsets, at, side="right") - 1
        shape = (len(words), len(self.terms.weights))
        # Numbers of `Vocabulary` are places among sorted distinct hashes: the forms are sorted and distinct too.
        term = self.rare_terms[numbers]
        held = csr_matrix((np.ones(len(term)), (owner, term)), shape=shape)
        held.sum_duplicates()
        held.data = self.terms.weights[held.indices]
        parts = [held[lo : lo + _TEXTS_AT_ONCE] for lo in range(0, len(words), _TEXTS_AT_ONCE)]
        found = list(in_order(self._nearest, parts))
        texts = [text + number * _TEXTS_AT_ONCE for number, (text, _) in enumerate(found)]
        nothing = np.empty(0, np.int64)
        return np.concatenate([nothing, *texts]), np.concatenate([nothing, *(item for _, item in found)])

    def _nearest(self, held: csr_matrix) -> tuple[Indices, Indices]:
        """Of texts as weighed rare terms: text and item, as `_candidates` gives them."""
        shared: Any = held @ self.postings
        # Most texts share a term with hundreds of items, and enough with none: those that do are few.
        near = np.flatnonzero(shared.data >= _LEAST_SHARED * self.terms.unknown)
        text = np.searchsorted(shared.indptr, near, side="right") - 1
        item, weight = shared.indices[near].astype(np.int64), shared.data[near]
        order = np.lexsort((item, -weight, text))
        text, item, weight = text[order], item[order], weight[order]
        first = np.searchsorted(text, text)
        kept = (weight >= 0.5 * weight[first]) & (np.arange(len(text)) - first < CANDIDATES)
        return text[kept], item[kept]

    def measured(self, words: Ragged, threshold: float = 0.0) -> dict[str, Any]:
        """What the score is made of, for each text and view of a candidate item; row, item.

        Texts that cannot reach `threshold`, whatever their margins, are left out.

        shared: ln of what all shared terms weigh, in unknown words' worth, from 0.3 to 7. of_item: ln of 0.05 and
        that part of the item's weight. numbers: Dice's coefficient of the weighed numbers, 0 where there are none.
        margin, ahead: ln of 0.02 and how far the likeness in neighbouring terms, and the part of the item, exceed
        those of the best other candidate. times: the text's weight in the item's.
        """
        row, item = self._candidates(words)
        lengths = self.first[item + 1] - self.first[item]
        candidate = np.repeat(np.arange(len(item)), lengths)
        view = np.arange(len(candidate)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        view = view + self.first[item][candidate]
        row, item = row[candidate], item[candidate]
        own = term_sets(words, self.terms)
        both = own.terms[row].multiply(self.words.terms[view]).tocsr()
        shared = both @ self.terms.weights
        numbers = both @ np.where(self.terms.is_number, self.terms.weights, 0.0)
        all_numbers = own.numbers[row] + self.words.numbers[view]
        of_item = shared / np.maximum(self.words.total[view], 1e-9)
        ahead = of_item - _best_other(of_item, candidate, row)
        values = {
            "row": row,
            "item": item,
            "shared": np.log(np.clip(shared / self.terms.unknown, 0.3, 7.0)),
            "of_item": np.log(0.05 + of_item),
            "numbers": np.where(all_numbers > 0, 2 * numbers / np.maximum(all_numbers, 1e-9), 0.0),
            "ahead": np.log(0.02 + np.maximum(ahead, 0.0)),
            "times": own.total[row] / np.maximum(self.words.total[view], 1e-9),
        }
        most = np.where(
            values["times"] <= _LONGEST, _logit(values, _BEFORE_MARGIN) + _MOST_OF_MARGIN, -np.inf
        )
        with np.errstate(divide="ignore"):
            may_reach = most >= np.log(threshold) - np.log1p(-threshold)
        kept = np.flatnonzero(np.isin(row, row[may_reach]))
        values = {name: value[kept] for name, value in values.items()}
        candidate, view = np.unique(candidate[kept], return_inverse=True)[1], view[kept]
        asked, asking = np.unique(values["row"], return_inverse=True)
        likeness = self._likeness(words.take(asked), asking, view)
        margin = likeness - _best_other(likeness, candidate, asking)
        return values | {"margin": np.log(0.02 + np.maximum(margin, 0.0))}

    def _likeness(self, words: Ragged, row: Indices, view: Indices) -> Floats:
        """Dice's coefficient of the weighed pairs of neighbouring terms."""
        grams = neighbours(codes(words, self.terms))
        own = pair_sets(grams, self.pairs, self.pair_weights, self.unknown_pair)
        shared = own.terms[row].multiply(self.pair_sets.terms[view]).tocsr() @ self.pair_weights
        both: Floats = own.total[row] + self.pair_sets.total[view]
        likeness: Floats = 2 * shared / np.maximum(both, 1e-9)
        return likeness


def _logit(values: dict[str, Any], coefficients: dict[str, float]) -> Floats:
    """The intercept and the weighed measurements, added in the order of the coefficients."""
    total = np.full(len(values["row"]), INTERCEPT)
    for name, coefficient in coefficients.items():
        total += coefficient * values[name]
    return total


def _item_views(items: pl.DataFrame, min_words: int) -> pl.DataFrame:
    words = pl.col("label").fill_null("").str.count_matches(r"[^\W_]+")
    whole = items.filter(words >= _ANSWER_WORDS).with_columns(
        text=pl.concat_str("text", "label", separator="\n\n")
    )
    views = pl.concat([items.select("item", "text"), whole.select("item", "text")])
    views = views.with_columns(text=spelled(views["text"])).sort("item", maintain_order=True)
    return views.filter(pl.col("text").str.count_matches(r"[^\W_]+") >= min_words)


def _best_other(values: Floats, candidate: Indices, row: Indices) -> Floats:
    """For each view the best value of another candidate of its text, 0 without one.

    Views of one candidate stand together, and so do candidates of one text.
    """
    if not len(values):
        return np.zeros(0)
    first = np.searchsorted(candidate, np.arange(candidate[-1] + 1))
    best = np.maximum.reduceat(values, first)
    text = row[first]
    starts = np.flatnonzero(np.diff(text, prepend=-1))
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(text)))
    top = np.maximum.reduceat(best, starts)
    order = np.lexsort((-best, group))
    leader = np.zeros(len(best), dtype=bool)
    leader[order[starts]] = True
    second = np.maximum.reduceat(np.where(leader, 0.0, best), starts)
    return np.where(leader, second[group], top[group])[candidate]


def _postings(views: csr_matrix, owners: Indices, items: int, is_rare: Any) -> csr_matrix:
    """Terms × items: 1 where a view of the item has the rare term."""
    from scipy.sparse import csr_matrix

    entries = views.tocoo()
    keep = is_rare[entries.col]
    shape = (views.shape[1], items)
    held = csr_matrix((np.ones(int(keep.sum())), (entries.col[keep], owners[entries.row[keep]])), shape=shape)
    held.sum_duplicates()
    held.data[:] = 1.0
    return held
