"""py3langid's packaged model over many texts at once: how likely each text is in each language it knows.

Lives here: the model's automaton and its sums. Keep out: which languages are wanted, what counts as foreign
(`language`). The package reads a text byte by byte in Python; here one step goes over all texts. What a text gets
does not depend on the texts beside it: all sums run over its own features, in their order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BATCH_TEXTS = 4096
BATCH_BYTES = 2**20
PIECE_BYTES = 64
"""Texts are read in pieces of so many bytes, side by side: one long text must not make all others wait."""
FEATURE_BYTES = 6
"""The longest feature of the model. A piece is read from so many bytes before it: what came earlier is forgotten."""


class _Model(NamedTuple):
    moves: npt.NDArray[np.uint32]
    """Next state, by row and byte."""
    rows: Ints
    """Where the row of a state begins."""
    features: npt.NDArray[np.int32]
    """The feature that a state completes; -1 for none."""
    weights: npt.NDArray[np.float16]
    """Log-probability of each feature in each class."""
    priors: Floats
    classes: list[str]


@lru_cache(maxsize=1)
def _model() -> _Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    return _Model(
        np.asarray(found.tk_nextmove, dtype=np.uint32),
        np.asarray(found.tk_row, dtype=np.int64) << 8,
        np.asarray(found.tk_output, dtype=np.int32),
        found.nb_ptc,
        found.nb_pc.astype(np.float64),
        found.nb_classes,
    )


@lru_cache(maxsize=1)
def classes() -> tuple[str, ...]:
    """The language of each column of `probabilities`. A language that the model knows in two scripts has two."""
    return tuple(_model().classes)


def as_read(text: str) -> bytes:
    """The bytes that the model reads: a text in capitals is read in small letters."""
    text = unicodedata.normalize("NFC", text.lower() if text.isupper() else text)
    return text.encode("utf-8", errors="surrogatepass")


def probabilities(texts: Sequence[str]) -> Iterator[Floats]:
    """Of each text the probability of each of `classes`, a row each, in batches in their order.

    The model's own: sums of log-probabilities divided by the root of the number of bytes read, which keeps long
    texts from certainty. All of a language stands in its first column. A text without features is in all alike.
    """
    batch: list[bytes] = []
    size = 0
    for text in texts:
        batch.append(as_read(text))
        size += len(batch[-1])
        if len(batch) == BATCH_TEXTS or size >= BATCH_BYTES:
            yield _of_batch(batch)
            batch, size = [], 0
    if batch:
        yield _of_batch(batch)


def _of_batch(texts: Sequence[bytes]) -> Floats:
    model = _model()
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    counts = _feature_counts(texts, lengths, model)
    occurs = np.zeros(len(model.weights), dtype=np.bool_)
    occurs[counts.indices] = True
    used = np.flatnonzero(occurs)
    # The same matrix with the columns that occur: their weights alone are made wide.
    places = np.cumsum(occurs, dtype=np.int32) - 1
    counts = type(counts)(
        (np.log1p(counts.data), places[counts.indices], counts.indptr), shape=(len(texts), len(used))
    )
    scores: Floats = counts @ model.weights[used].astype(np.float64)
    scores += model.priors
    scores[np.diff(counts.indptr) == 0] = 0.0
    scores /= np.sqrt(np.maximum(lengths, 1))[:, None]
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    for first, second in _doubles():
        scores[:, first] += scores[:, second]
        scores[:, second] = 0.0
    return scores


@lru_cache(maxsize=1)
def _doubles() -> list[tuple[int, int]]:
    """Columns of one language: its first, and a later one."""
    names = classes()
    return [(names.index(name), place) for place, name in enumerate(names) if names.index(name) != place]


def _feature_counts(texts: Sequence[bytes], lengths: Ints, model: _Model) -> Any:
    """A sparse matrix: how often each text (row) has each feature (column)."""
    from scipy.sparse import csr_matrix

    content = np.frombuffer(b"".join(texts), dtype=np.uint8)
    pieces = -(-lengths // PIECE_BYTES)
    owner = np.repeat(np.arange(len(texts)), pieces)
    offset = (np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * PIECE_BYTES
    size = np.minimum(PIECE_BYTES, lengths[owner] - offset)
    # Longest first: those that are still being read stand at the front.
    order = np.argsort(-size, kind="stable")
    owner, offset, size = owner[order], offset[order], size[order]
    begin = (np.cumsum(lengths) - lengths)[owner] + offset
    states = np.zeros(len(owner), dtype=np.uint32)
    later = np.flatnonzero(offset)
    for back in range(FEATURE_BYTES, 0, -1):
        states[later] = model.moves[model.rows[states[later]] + content[begin[later] - back]]
    rows: list[Ints] = []
    columns: list[npt.NDArray[np.int32]] = []
    longest = int(size.max(initial=0))
    still = len(size) - np.searchsorted(size[::-1], np.arange(longest), side="right")
    for place, read in enumerate(still.tolist()):
        states = model.moves.take(model.rows.take(states[:read]) + content.take(begin[:read] + place))
        found = model.features.take(states)
        hits = np.flatnonzero(found >= 0)
        rows.append(owner[hits])
        columns.append(found[hits])
    if not rows:
        return csr_matrix((len(texts), len(model.weights)))
    places = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.ones(len(places[0])), places), shape=(len(texts), len(model.weights)))
