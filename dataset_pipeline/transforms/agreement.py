"""agreement: how far annotators say the same, all together, by label, pair by pair, and against the consensus.

Lives here: the measures. Keep out: which answers count and what the consensus is (`consensus`), what is too
little (`expectations.annotations`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.records import TABLES
from dataset_pipeline.spec.params import AnnotationsParams
from dataset_pipeline.transforms.consensus import counting, item_key

MIN_COMMON_ITEMS = 10
"""A pair of annotators with fewer items in common is left out: kappa of a handful says nothing."""

MAX_PAIRED_ANNOTATORS = 200
"""Only the annotators with the most answers are paired: 200 make 19,900 pairs, 10,000 would make 50 million."""

_Row = tuple[str, str, str | None, float | None, int]


def agreement(answers: pl.DataFrame, consensus: pl.DataFrame, params: AnnotationsParams) -> pl.DataFrame:
    """TABLES['agreement'], by measure, name and other; a value that is not defined is null.

    answers: as `resolved` gives them; consensus: as `consensus` made it of them.
    `alpha`: Krippendorff's for nominal labels, name `all`; n: items with two answers or more.
    `alpha_label`: the same with all other labels taken as one, for each label of the spec; n: those of the items
    where somebody said the label. Null where all answers are equal: without variety nothing can be agreed upon.
    `kappa`: Cohen's, of annotators `name` < `other`; n: items both answered, at least MIN_COMMON_ITEMS. Null where
    both gave one and the same label throughout.
    `annotator`: share of an annotator's answers that equal the consensus; n: those on items with another
    answer and a consensus (alone, everybody agrees with himself). Null for n = 0.
    """
    used = counting(answers)
    if used.height == 0:
        return pl.DataFrame(schema=TABLES["agreement"])
    rows: list[_Row] = [*_alphas(used, params.labels), *_kappas(used), *_annotators(used, consensus)]
    frame = pl.DataFrame(rows, schema=TABLES["agreement"], orient="row")
    return frame.sort("measure", "name", "other", nulls_last=True)


def _alphas(used: pl.DataFrame, labels: tuple[str, ...]) -> list[_Row]:
    """Alpha = 1 - (n - 1) * sum of s(m - s) / (m - 1) over the sum of t(n - t), summed over labels.

    m: answers of an item, s: those of them with the label; t: all answers with the label, n: all answers, of items
    with two answers or more (Krippendorff, Content Analysis, 2004, ch. 11, for nominal data).
    """
    units = (
        used.group_by("item", "label")
        .agg(pl.len().cast(pl.Int64).alias("s"))
        .with_columns(m=pl.col("s").sum().over("item"))
        .filter(pl.col("m") > 1)
    )
    n, items = int(units["s"].sum()), units["item"].n_unique()
    # Whole numbers are added up in any order; fractions only here, in one order.
    parts = units.group_by("label", "m").agg(
        (pl.col("s") * (pl.col("m") - pl.col("s"))).sum().alias("differing")
    )
    differing = dict.fromkeys(labels, 0.0)
    for label, m, crossed in parts.sort("label", "m").iter_rows():
        differing[label] = differing.get(label, 0.0) + crossed / (m - 1)
    totals = units.group_by("label").agg(pl.col("s").sum(), pl.len().alias("items"))
    said = {label: (int(total), int(count)) for label, total, count in totals.iter_rows()}
    expected = {label: total * (n - total) for label, (total, _) in said.items()}
    whole = _alpha(n, sum(differing[label] for label in sorted(differing)), sum(expected.values()))
    rows: list[_Row] = [("alpha", "all", None, whole, items)]
    for label in sorted(differing):
        value = _alpha(n, differing[label], expected.get(label, 0))
        rows.append(("alpha_label", label, None, value, said.get(label, (0, 0))[1]))
    return rows


def _alpha(n: int, differing: float, expected: int) -> float | None:
    return 1.0 - (n - 1) * differing / expected if expected else None


def _kappas(used: pl.DataFrame) -> Iterator[_Row]:
    """One annotator against all later ones at a time: a gather and three counts, whatever the number of pairs."""
    busiest = (
        used.group_by("annotator")
        .len()
        .filter(pl.col("len") >= MIN_COMMON_ITEMS)
        .sort("len", "annotator", descending=[True, False])
        .head(MAX_PAIRED_ANNOTATORS)["annotator"]
        .sort()
    )
    if len(busiest) < 2:
        return
    paired = used.filter(pl.col("annotator").is_in(busiest.implode())).sort("annotator", "item")
    who, what, which = (_codes(paired[name]) for name in ("annotator", "label", "item"))
    starts = np.searchsorted(who, np.arange(len(busiest) + 1))
    labels = int(what.max()) + 1
    own = np.full(int(which.max()) + 1, -1, dtype=np.int64)
    for one in range(len(busiest) - 1):
        mine, later = slice(starts[one], starts[one + 1]), starts[one + 1]
        own[which[mine]] = what[mine]
        theirs = own[which[later:]]
        common = theirs >= 0
        first, second = theirs[common], what[later:][common]
        other = who[later:][common] - one - 1
        own[which[mine]] = -1
        yield from _pairs(busiest, one, other, first, second, labels)


_Codes = npt.NDArray[np.int64]


def _pairs(
    names: pl.Series, one: int, other: _Codes, first: _Codes, second: _Codes, labels: int
) -> Iterator[_Row]:
    """Kappa of annotator `one` with each later one, of the labels that both gave the same items."""
    count = len(names) - one - 1
    n = np.bincount(other, minlength=count)
    equal = np.bincount(other[first == second], minlength=count)
    of_one = np.bincount(other * labels + first, minlength=count * labels).reshape(count, labels)
    of_other = np.bincount(other * labels + second, minlength=count * labels).reshape(count, labels)
    # Times n squared, so that all of it is whole numbers until the one division.
    chance = (of_one * of_other).sum(axis=1)
    for place in np.flatnonzero(n >= MIN_COMMON_ITEMS):
        size, by_chance = int(n[place]), int(chance[place])
        spare = size * size - by_chance
        value = (int(equal[place]) * size - by_chance) / spare if spare else None
        yield "kappa", names[one], names[one + 1 + int(place)], value, size


def _codes(values: pl.Series) -> _Codes:
    """Each value's place among the distinct ones in their order."""
    return values.rank("dense").cast(pl.Int64).to_numpy() - 1


def _annotators(used: pl.DataFrame, consensus: pl.DataFrame) -> Iterator[_Row]:
    decided = consensus.filter((pl.col("answers") > 1) & pl.col("label").is_not_null())
    judged = used.join(decided.select(item=item_key(), agreed="label"), on="item", how="left")
    counts = judged.group_by("annotator").agg(
        (pl.col("label") == pl.col("agreed")).sum().alias("equal"), pl.col("agreed").count().alias("n")
    )
    for name, equal, n in counts.sort("annotator").iter_rows():
        yield "annotator", name, None, equal / n if n else None, n
