"""Vectors of texts that say how alike two texts are, and who is as good as an earlier kept one.

Lives here: the protocol `Encoder`, quantized vectors, the search for the earliest kept neighbour. Keep out: encoders
(`tfidf_svd` here, `storage.encoders` on disk), what is compared and what a verdict is called (`dedup`, `semantic_verdicts`).

Vectors are quantized to whole numbers, whose dot product is exact: what decides depends neither on the number of threads
nor on the order in which a processor adds. What an encoder computes in floating point is rounded away once, before
anything is compared. Neighbours in floating point (scikit-learn's) only say which pairs are worth that exact look.

Cost: 40,000 records of one group that are all kept take 17 seconds of processor time beside their encoding; it grows with
the square of a group, and memory does not: 256 bytes a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.transforms.first_kept import Nearest

VERSION = 1
"""Raised when an equal encoder and text give another vector."""

Matrix = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LARGEST = 127
_WORD_BYTES = 8
_BLOCK, _KEPT_AT_ONCE = 512, 32_768
"""Items that are asked at a time, and kept ones that are asked of: the library looks at a few hundred of each at once."""
_SMALL = 32
"""Groups up to this size are compared pair by pair, all of them at once: most groups are that small."""
_PAIRS_AT_ONCE = 32_768
_ERROR = 1.2e-7
"""What each product of float32 and each addition can be wrong by: 2**-23, of numbers up to 1."""


class Encoder(Protocol):
    """Texts to vectors whose cosine says how alike the texts are.

    identity: everything that the vectors depend on but the text; equal identities give equal vectors.
    encode: float32 of shape (number of texts, dimensions). The vector of a text depends on that text alone, not on its
    neighbours. A vector of zeros says that the encoder knows nothing of the text: it is like no other.
    """

    @property
    def identity(self) -> str: ...

    def encode(self, texts: pl.Series) -> Matrix: ...


@dataclass(frozen=True)
class Vectors:
    """One row a text. values: whole numbers from -127 to 127; lengths: their Euclidean lengths, 0 for nothing known."""

    values: Bytes
    lengths: Floats

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Indices) -> Vectors:
        return Vectors(self.values[rows], self.lengths[rows])


def compared(texts: pl.Series) -> pl.Series:
    """What is encoded of texts: their folded words, as the comparison key has them.

    Equal comparison keys therefore have equal vectors, and a copy is judged as what it copies.
    """
    return texts.to_frame("text").select(text.comparison_text(pl.col("text"))).to_series()


def numbers(texts: pl.Series) -> pl.Series:
    """The numbers in each text, in their order: "3 of 12" and "3 from 12" have the same, "4 of 12" and "12 of 3" others.

    Encoders see that a number stands there, but hardly which: word problems of one template are all alike to them.
    """
    return texts.to_frame("text").select(pl.col("text").str.extract_all(r"\d+").list.join(" ")).to_series()


def quantized(matrix: Matrix, encoder: str) -> Bytes:
    """Vectors as whole numbers, the largest component of each 127, padded with zeros to a multiple of 8 columns.

    encoder: its name in the error. Raises ValueError for what is no matrix of finite numbers.
    """
    if matrix.ndim != 2:
        raise ValueError(f"{encoder}: gives an array of {matrix.ndim} dimensions, not one vector a text.")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{encoder}: gives vectors that hold no finite numbers.")
    largest = np.abs(matrix).max(axis=1, initial=0.0).astype(np.float64)
    scale = np.divide(_LARGEST, largest, out=np.zeros_like(largest), where=largest > 0)
    whole = np.rint(matrix * scale[:, None]).astype(np.int8)
    return np.pad(whole, ((0, 0), (0, -whole.shape[1] % _WORD_BYTES)))


def vectors(texts: pl.Series, encoder: Encoder, memo: Memo = direct) -> Vectors:
    """The vectors of `texts` (of `compared`; null gives zeros), remembered by text and identity of the encoder."""
    width = _WORD_BYTES

    def compute(distinct: pl.Series) -> pl.DataFrame:
        if len(distinct) == 0:
            return pl.DataFrame(schema={"vector": pl.List(pl.UInt64)})
        whole = quantized(encoder.encode(distinct), encoder.identity)
        if len(whole) != len(distinct):
            raise ValueError(f"{encoder.identity}: gives {len(whole)} vectors for {len(distinct)} texts.")
        # The cache holds whole numbers of 64 bits: eight components each.
        words = np.ascontiguousarray(whole).view("<u8")
        packed = pl.Series("vector", words.astype(np.uint64), dtype=pl.Array(pl.UInt64, words.shape[1]))
        return packed.cast(pl.List(pl.UInt64)).to_frame()

    held = memo("vectors", VERSION, encoder.identity, texts, compute)["vector"]
    known = held.is_not_null().to_numpy()
    words = held.drop_nulls().explode(empty_as_null=False).to_numpy().astype("<u8")
    if known.any():
        width = words.size // int(known.sum()) * _WORD_BYTES
    values = np.zeros((len(texts), width), dtype=np.int8)
    values[known] = words.view(np.int8).reshape(-1, width)
    return Vectors(values, _lengths(values))


def _lengths(values: Bytes) -> Floats:
    squares = np.empty(len(values), dtype=np.float64)
    for start in range(0, len(values), 65_536):
        part = values[start : start + 65_536].astype(np.float64)
        squares[start : start + len(part)] = np.einsum("ij,ij->i", part, part)
    return np.sqrt(squares)


def joined(parts: list[Vectors]) -> Vectors:
    """The rows of all parts, one after the other; parts that know nothing may be of any width."""
    width = max((part.values.shape[1] for part in parts), default=_WORD_BYTES)
    padded = [np.pad(part.values, ((0, 0), (0, width - part.values.shape[1]))) for part in parts]
    return Vectors(np.concatenate(padded), np.concatenate([part.lengths for part in parts]))


def first_kept(held: Vectors, groups: pl.Series, already: int, threshold: float) -> Nearest:
    """For items 0, 1, … taken in this order: the earliest kept item of the same group at cosine >= threshold.

    groups: one value an item. already: the first so many items are kept and not asked. An item near a kept one is
    dropped and drops nobody. Exact: every pair of a group that could decide is computed, a block at a time. Items whose
    vector is zero are like no other.
    """
    twin, similarity = np.full(len(held), -1, dtype=np.int64), np.zeros(len(held))
    frame = pl.DataFrame({"group": groups, "item": np.arange(len(held)), "known": held.lengths > 0}).filter(
        "known"
    )
    members = frame.group_by("group", maintain_order=True).agg("item")["item"]
    members = members.filter((members.list.len() > 1) & (members.list.last() >= already))
    small = members.list.len() <= _SMALL
    _small_groups(held, members.filter(small), already, threshold, twin, similarity)
    for group in members.filter(~small):
        _large_group(held, group.to_numpy().astype(np.int64), already, threshold, twin, similarity)
    return Nearest(twin, similarity)


def _small_groups(
    held: Vectors, members: pl.Series, already: int, threshold: float, twin: Indices, similarity: Floats
) -> None:
    """All pairs of small groups: which are near is computed at once, which of them decide in order."""
    if len(members) == 0:
        return
    listed = members.to_frame("earlier").with_columns(item=pl.col("earlier"))
    hits = []
    for part in listed.iter_slices(max(1, _PAIRS_AT_ONCE // _SMALL)):
        pairs = part.explode("item").explode("earlier").filter(
            (pl.col("earlier") < pl.col("item")) & (pl.col("item") >= already)
        )  # fmt: skip
        left, right = pairs["item"].to_numpy(), pairs["earlier"].to_numpy()
        near = _cosines(held, left, right)
        found = near >= threshold
        hits.append(pl.DataFrame({"item": left[found], "earlier": right[found], "similarity": near[found]}))
    for item, earlier, near in pl.concat(hits).sort("item", "earlier").iter_rows():
        if twin[item] < 0 and twin[earlier] < 0:
            twin[item], similarity[item] = earlier, near


def _cosines(held: Vectors, left: Indices, right: Indices) -> Floats:
    """Exact but for the last division: the products are sums of whole numbers."""
    found = np.empty(len(left), dtype=np.float64)
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        a, b = left[start : start + _PAIRS_AT_ONCE], right[start : start + _PAIRS_AT_ONCE]
        products = np.einsum("ij,ij->i", held.values[a].astype(np.float64), held.values[b].astype(np.float64))
        found[start : start + len(a)] = products / (held.lengths[a] * held.lengths[b])
    return found


def _large_group(
    held: Vectors, members: Indices, already: int, threshold: float, twin: Indices, similarity: Floats
) -> None:
    """A block of items against all kept before it, then among each other."""
    kept = [members[members < already]]
    asked = members[members >= already]
    for start in range(0, len(asked), _BLOCK):
        block = asked[start : start + _BLOCK]
        for part in _parts(kept):
            open_ = block[twin[block] < 0]
            if len(open_) == 0:
                break
            row, column = _near(held, open_, part, threshold)
            rows, first = np.unique(
                row, return_index=True
            )  # pairs ascend: the first of a row is its earliest
            twin[open_[rows]] = part[column[first]]
        open_ = block[twin[block] < 0]
        row, column = _near(held, open_, open_, threshold)
        for item, earlier in zip(open_[row].tolist(), open_[column].tolist(), strict=True):
            if earlier < item and twin[item] < 0 and twin[earlier] < 0:
                twin[item] = earlier
        dropped = block[twin[block] >= 0]
        similarity[dropped] = _cosines(held, dropped, twin[dropped])
        kept.append(block[twin[block] < 0])


def _parts(kept: list[Indices]) -> Iterator[Indices]:
    """The kept items in order, a bounded number at a time; the list is made shorter on the way."""
    kept[:] = [np.concatenate(kept)]
    for start in range(0, len(kept[0]), _KEPT_AT_ONCE):
        yield kept[0][start : start + _KEPT_AT_ONCE]


def _near(held: Vectors, left: Indices, right: Indices, threshold: float) -> tuple[Indices, Indices]:
    """Places in `left` and `right` of the pairs at cosine >= threshold, ascending.

    Neighbours within a radius say which pairs may be near, with room for all that floating point can be wrong by; whole
    numbers say which are.
    """
    from sklearn.neighbors import NearestNeighbors

    nothing = np.empty(0, dtype=np.int64)
    if not len(left) or not len(right):
        return nothing, nothing
    least = threshold - _ERROR * (held.values.shape[1] + 64)
    # Of two vectors of length 1, the squared distance is 2 - 2 · cosine.
    search = NearestNeighbors(radius=np.sqrt(2 - 2 * least), algorithm="brute").fit(_unit(held, right))
    found = search.radius_neighbors(_unit(held, left), return_distance=False)
    row = np.repeat(np.arange(len(left)), [len(places) for places in found])
    column = np.concatenate([nothing, *(np.sort(places) for places in found)]).astype(np.int64)
    sure = _cosines(held, left[row], right[column]) >= threshold
    return row[sure], column[sure]


def _unit(held: Vectors, rows: Indices) -> Matrix:
    return np.asarray(held.values[rows] / held.lengths[rows, None].astype(np.float32), dtype=np.float32)
