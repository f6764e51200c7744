"""Words as terms that survive a rewording: stems, numbers however they are written, parts of identifiers.

Lives here: what a term is, how much it tells (its weight), texts as sets of terms and of neighbouring terms. Keep out:
comparing texts (`paraphrase`), words themselves (`words`).

A term is known by the hashes of the word forms that mean it, so a text is read by looking up its words' hashes and
not a letter of it is held. Weights are ln((N + B + 1) / (df + B·p + 0.5)): df is the number of protected items with the
term, N of them there are, and B stands for as many texts of a general background, of which the term is in a share p.
So a word that is rare in the protected items only because they are few is not taken for a rare word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.transforms.hash_lookup import HashLookup
from dataset_pipeline.transforms.overlap import Vocabulary
from dataset_pipeline.transforms.shingles import Ragged, ascending, mix, offsets_of, spread, tokens
from dataset_pipeline.transforms.words import Hashes, Indices, word_hash

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float64]

BACKGROUND = 1000
"""Texts that the background counts for."""
_RARE = 0.0005
"""Share of background texts with a word that is in no list here."""
_INTEGERS = 10_000
"""Numbers below are known as numbers, whatever the protected items hold."""

_RANKED = """
the of and to a in is it you that he was for on are with as i his they be at one have this from or had by hot
but some what there we can out other were all your when up use how said an each she which do their time if will
way about many then them would write like so these her long make thing see him has look more day could go come
did my no most who over know than call first people may down side been now find any new work part take get place
made live where after back little only round man year came show every good me give our under name very through
just form much great think say help low line before turn cause same mean differ move right old too does tell
sentence set three want air well also play small end put home read hand large add even land here must big high
such follow act why ask men change went kind off need house try us again point world near build self head stand
own page should country found answer school still learn cover food four thought let keep never last between city
start might story far late left run while close night real life few stop
"""
_COMMON = _RANKED.split()
"""Frequent English words, by rank: their share of texts falls off as 4 / (rank + 5), at most 0.7."""

_TO_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty
"""
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_TO_TWENTY.split())} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "hundred": "100", "once": "1", "twice": "2", "double": "2", "doubled": "2", "thrice": "3", "triple": "3",
    "dozen": "12",
}  # fmt: skip
"""Spelled numbers: a rewording changes "3" to "three" and "two times" to "twice", but not the number."""

_SUFFIXES = (
    "ations", "ation", "ingly", "edly", "ings", "ing", "ers", "ies", "ied", "er", "ed", "es", "ly", "s", "e", "y"
)  # fmt: skip


def stem(word: str) -> str:
    """The word without its English ending; a word of three letters or fewer as it is."""
    if len(word) > 3:
        for suffix in _SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= 3:
                return word[: -len(suffix)]
    return word


@lru_cache(maxsize=1 << 18)
def term(word: str) -> str:
    """The term of a folded word: `#3` for three, the stem of any other."""
    if word[0].isdecimal():
        return "#" + (word.lstrip("0") or "0")
    number = _NUMBER_WORDS.get(word)
    return stem(word) if number is None else "#" + number


_RANKS = {stem(word): rank for rank, word in reversed(list(enumerate(_COMMON, 1)))}


def share(of: str) -> float:
    """Share of background texts with this term: small numbers are everywhere, as are frequent words."""
    if of[0] == "#":
        return min(0.2, 0.4 / (1 + int(of[1:]))) if of[1:].isdecimal() and len(of) < 7 else _RARE
    rank = _RANKS.get(of)
    return _RARE if rank is None else min(0.7, 4 / (rank + 5))


def spelled(texts: pl.Series) -> pl.Series:
    """Texts with identifiers parted (`parenGroups`: paren Groups), 1,000 and 1.0 written 1000 and 1, 2.5 as one word."""
    value = pl.col("text")
    for pattern, by in (
        (r"(\p{Ll})(\p{Lu})", "$1 $2"),
        (r"(\d),(\d\d\d)\b", "$1$2"),
        (r"(\d)\.0+\b", "$1"),
        (r"(\d)\.(\d)", "${1}p$2"),
    ):
        value = value.str.replace_all(pattern, by)
    return texts.to_frame("text").select(value).to_series()


def _forms(of: str) -> list[str]:
    """Folded words that mean the term, as far as endings tell."""
    return [form for form in (of, *(of + suffix for suffix in _SUFFIXES)) if term(form) == of]


class _Listed(NamedTuple):
    """What does not depend on the protected items: forms and share of each listed term, hash of each such form.

    Ten thousand numbers are among them: made once a process, not for each set of items."""

    forms: dict[str, tuple[str, ...]]
    shares: dict[str, float]
    hashes: dict[str, int]


@cache
def _listed() -> _Listed:
    names = {term(word) for word in (*_COMMON, *_NUMBER_WORDS)} | {f"#{n}" for n in range(_INTEGERS)}
    forms = {name: (name[1:],) if name[0] == "#" else tuple(_forms(name)) for name in names}
    hashes = {form: int(word_hash(form)) for of_term in forms.values() for form in of_term}
    return _Listed(forms, {name: share(name) for name in forms}, hashes)


@dataclass(frozen=True)
class Terms:
    """Terms by number, what each weighs, which are numbers, and the sorted hashes of all their forms.

    unknown: the weight of a word that is no term: it is in no protected item and in no list.
    """

    weights: Floats
    is_number: npt.NDArray[np.bool_]
    unknown: float
    forms: Hashes
    numbers: Indices
    lookup: HashLookup

    @classmethod
    def of(cls, texts: pl.Series, owners: Indices, items: int) -> Terms:
        """Of the spelled views of the protected items; `owners` says which item each is of."""
        frame = pl.DataFrame({"item": owners, "text": texts})
        words = frame.select(
            "item", word=text.folded(pl.col("text")).str.extract_all(text.WORD).list.unique()
        ).explode("word")
        distinct = words.select("word").drop_nulls().unique()
        named = distinct.with_columns(
            term=pl.Series([term(word) for word in distinct["word"]], dtype=pl.String)
        )
        counts = (
            words.join(named, on="word").select("item", "term").unique().group_by("term").agg(df=pl.len())
        )
        listed = _listed()
        df = dict.fromkeys(listed.forms, 0) | dict(counts.iter_rows())
        known = sorted(df)
        place = {name: number for number, name in enumerate(known)}
        forms = {
            form: place[name]
            for name in known
            if name[0] != "#"
            for form in listed.forms.get(name) or _forms(name)
        }
        forms |= {name[1:]: place[name] for name in known if name[0] == "#"}
        forms |= {word: place[term(word)] for word in _NUMBER_WORDS}
        forms |= {word: place[name] for word, name in named.iter_rows()}
        hashes = np.array([listed.hashes.get(form) or word_hash(form) for form in forms], dtype=np.uint64)
        order = np.argsort(hashes)
        shares = np.array([listed.shares.get(name) or share(name) for name in known])
        counted = np.array([df[name] for name in known], dtype=np.float64)
        everything = items + BACKGROUND + 1
        return cls(
            np.maximum(np.log(everything / (counted + BACKGROUND * shares + 0.5)), 0.0),
            np.array([name[0] == "#" for name in known]),
            float(np.log(everything / (BACKGROUND * _RARE + 0.5))),
            hashes[order],
            np.fromiter(forms.values(), dtype=np.int64, count=len(forms))[order],
            HashLookup.of(hashes[order]),
        )

    def read(self, texts: pl.Series) -> Ragged:
        """The hashes of the words of spelled texts."""
        return tokens(texts)

    def find(self, words: Hashes) -> Indices:
        """The term of each word, -1 for unknown ones."""
        places = self.lookup.find(words)
        found = self.numbers[places]
        found[places < 0] = -1
        return found


@dataclass(frozen=True)
class Sets:
    """Terms of texts as sets: a row a text; what all its terms weigh, and its numbers.

    Of words that no protected item has only the weight is known.
    """

    terms: csr_matrix
    total: Floats
    numbers: Floats


def codes(words: Ragged, terms: Terms) -> Ragged:
    """Each word's term as 64 bits; unknown words stand for themselves."""
    found = terms.find(words.values)
    return Ragged(np.where(found >= 0, mix(found.astype(np.uint64)), words.values), words.offsets)


def neighbours(codes: Ragged) -> Ragged:
    """The hashes of every two neighbouring terms."""
    lengths = np.maximum(codes.lengths - 1, 0)
    joined = mix(codes.values[:-1] + np.uint64(0x9E3779B97F4A7C15)) + codes.values[1:]
    return Ragged(joined[spread(codes.offsets[:-1], lengths)], offsets_of(lengths))


def term_sets(words: Ragged, terms: Terms) -> Sets:
    found = terms.find(words.values)
    sets, total = _sets(words, found, terms.weights, terms.unknown)
    return Sets(sets, total, sets @ np.where(terms.is_number, terms.weights, 0.0))


def pair_sets(grams: Ragged, pairs: Vocabulary, weights: Floats, unknown: float) -> Sets:
    found = np.full(len(grams.values), -1, dtype=np.int64)
    at, numbers = pairs.find(grams.values)
    found[at] = numbers
    sets, total = _sets(grams, found, weights, unknown)
    return Sets(sets, total, np.zeros(len(grams)))


def _sets(values: Ragged, found: Indices, weights: Floats, unknown: float) -> tuple[csr_matrix, Floats]:
    """Texts × known values, 1 where held; and what all distinct values of each text weigh."""
    from scipy.sparse import csr_matrix

    owners = values.owners()
    is_known = found >= 0
    shape = (len(values), max(len(weights), 1))
    held = csr_matrix((np.ones(int(is_known.sum())), (owners[is_known], found[is_known])), shape=shape)
    held.sum_duplicates()
    held.data[:] = 1.0
    others = _distinct_counts(owners[~is_known], values.values[~is_known], len(values))
    total = others * unknown
    if len(weights):
        total = total + held @ weights
    return held, total


def _distinct_counts(owners: Indices, values: Hashes, count: int) -> Floats:
    """How many different values each text has, told by their first 40 bits."""
    packed = ascending((owners.astype(np.uint64) << np.uint64(40)) | (values >> np.uint64(24)))
    return np.bincount((packed >> np.uint64(40)).astype(np.int64), minlength=count).astype(np.float64)
