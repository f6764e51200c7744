"""The encoder that needs no weights: TF-IDF of character n-grams with truncated SVD, fitted on some texts.

Lives here: fitting and encoding. Keep out: which texts it is fitted on (`semantic_verdicts`), comparing (`semantic`).

Chosen by measurement on banking77, clinc150, svamp_mawps and gsm8k with its rephrasings. Of pairs at a cosine of 0.95,
those with the same label, banking77 and clinc150: character 2- to 4-grams .98 and .99, 3- to 5-grams .97 and .98, words
.88 and .81, words and word pairs .84 and .75, each with 256 dimensions. Fitted on 2,000 texts or on 5,000: the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from dataset_pipeline.transforms.semantic import Matrix

VERSION = 1
SHORTEST, LONGEST = 2, 4
"""Characters of an n-gram; n-grams do not cross words."""
FEATURES = 2**15
"""N-grams that are known: the most frequent by texts. Twice as many change no figure above by more than .01."""
DIMENSIONS = 256
"""128 find a third more pairs at 0.95, and twice as many wrong ones; 384 take three times as long to fit."""
MIN_KNOWN = 0.75
"""Share of a text's n-grams that must be known. A text in a script that came later has a vector of its digits alone."""
ITERATIONS = 4
SEED = 7
_AT_ONCE = 20_000
_LIBRARIES = ("numpy", "scikit-learn", "scipy")


@dataclass(frozen=True)
class TfidfSvd:
    """An encoder (`semantic.Encoder`), fitted on texts; their hash is part of its identity.

    Fitted on fewer texts than there are dimensions it keeps all of them apart as TF-IDF alone does.
    """

    fitted_on: str
    counts: Any
    """Counts known n-grams; None where no text had a word."""
    weights: Any
    svd: Any

    @cached_property
    def identity(self) -> str:
        libraries = " ".join(f"{name}={version(name)}" for name in _LIBRARIES)
        settings = f"{SHORTEST}-{LONGEST} {FEATURES} {DIMENSIONS} {ITERATIONS} {SEED}"
        return f"tfidf_svd {VERSION} {settings} {libraries} fitted on {self.fitted_on}"

    def encode(self, texts: pl.Series) -> Matrix:
        """Vectors of DIMENSIONS columns (fewer where fewer texts were fitted); zeros for a text that is mostly unknown."""
        from threadpoolctl import threadpool_limits

        if self.counts is None:
            return np.zeros((len(texts), 1), dtype=np.float32)
        made = []
        with threadpool_limits(1):
            for part in texts.to_frame("text").iter_slices(_AT_ONCE):
                counted = self.counts.transform(part["text"].to_list())
                known = np.asarray(counted.sum(axis=1)).ravel() >= MIN_KNOWN * _ngrams(part["text"])
                made.append(self.svd.transform(self.weights.transform(counted)) * known[:, None])
        return np.concatenate(made).astype(np.float32) if made else np.zeros((0, 1), dtype=np.float32)


def _ngrams(texts: pl.Series) -> Any:
    """How many n-grams each text has: of a word, a space on each side; a word shorter than an n-gram gives one."""
    chars = pl.element().str.len_chars().cast(pl.Int64) + 2
    grams = [(chars - n + 1).clip(lower_bound=1) for n in range(SHORTEST, LONGEST + 1)]
    words = pl.col("text").str.extract_all(r"\S+").list.eval(pl.sum_horizontal(grams))
    return texts.to_frame("text").select(words.list.sum().fill_null(0)).to_series().to_numpy()


def fit(texts: pl.Series) -> TfidfSvd:
    """The encoder fitted on `texts` in their order. Equal texts give an equal encoder, whatever the threads.

    Linear algebra runs on one thread here: how many there are would change the last bits.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from threadpoolctl import threadpool_limits

    listed = texts.drop_nulls().to_list()
    digest = hashlib.sha256(
        b"".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in listed)
    ).hexdigest()
    analysis = {"analyzer": "char_wb", "ngram_range": (SHORTEST, LONGEST), "lowercase": False}
    if not any(text.strip() for text in listed):
        return TfidfSvd(digest, None, None, None)
    with threadpool_limits(1):
        every = CountVectorizer(**analysis)
        counted = every.fit_transform(listed)
        # By hand, since the library leaves ties to the sorting of the processor.
        texts_with = np.bincount(counted.indices, minlength=counted.shape[1])
        order = np.lexsort((np.arange(len(texts_with)), -texts_with))[:FEATURES]
        chosen = np.sort(order)
        names = every.get_feature_names_out()[chosen]
        counted = counted[:, chosen]
        counts = CountVectorizer(**analysis, vocabulary={str(name): n for n, name in enumerate(names)})
        weights = TfidfTransformer(sublinear_tf=True).fit(counted)
        dimensions = min(DIMENSIONS, *counted.shape)
        svd = TruncatedSVD(dimensions, n_iter=ITERATIONS, random_state=SEED)
        with np.errstate(all="ignore"):  # a single text has no variance to explain
            svd.fit(weights.transform(counted))
    return TfidfSvd(digest, counts, weights, svd)
