"""consensus: which answers count, and the one label that an item gets of them.

Lives here: what tells items apart, majority, Dawid-Skene, ties. Keep out: what a row says and whom it means
(`annotations`), how well annotators agree (`agreement`), what a record's label becomes (`label`). SciPy is imported
where it works.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.records import COUNT, conform, empty
from dataset_pipeline.spec.params import AnnotationsParams

EM_ITERATIONS, EM_TOLERANCE = 100, 1e-5
"""Dawid-Skene stops when no posterior moves further than this, or after as many steps as crowd-kit and others take
at most. Measured on three sets of 5,000 to 20,000 answers: 7 and 22 steps, and one that creeps on past 100 without
another label."""
_LEAST = 1e-10
"""No error is impossible: shares are at least this, as in crowd-kit."""
_EM_DIGITS = 12
"""Digits of a posterior that one step of the model hands to the next."""
TIE = 1e-9
"""Two labels whose posteriors differ by less are tied."""
_DIGITS = 6
"""Digits of a posterior that are kept: the last bits of a logarithm differ between processors."""


_Matrix = npt.NDArray[np.float64]


def item_key() -> pl.Expr:
    """What tells items apart: the record, else the source's id. A source's name holds no unit separator."""
    return pl.coalesce("record", pl.concat_str("source", "source_id", separator="\x1f"))


def counting(answers: pl.DataFrame) -> pl.DataFrame:
    """The answers that count, by item and annotator: one label an annotator and item. Column `item` is added.

    Those on unknown records count too: the files have no days, so neither consensus nor agreement may depend on
    which days are collected so far.
    """
    used = answers.filter(pl.col("label").is_not_null() & (pl.col("state") != "overruled"))
    return used.with_columns(item=item_key()).sort("item", "annotator")


def consensus(answers: pl.DataFrame, params: AnnotationsParams) -> pl.DataFrame:
    """TABLES['consensus']: one row an item that somebody labelled, by record, source and source_id.

    answers: as `resolved` gives them. label: what most answers say (`majority`), or the most probable label by
    Dawid and Skene's model of each annotator's errors (Applied Statistics 28, 1979; `dawid_skene`); null for a
    tie, and where the model prefers a label that nobody gave the item. answers: how many count. agreement: share
    of them that say the label; without a label, of those that say the most frequent one. probability: the label's
    posterior; null for majority and without a label. votes: answers by label, by name.
    """
    used = counting(answers)
    if used.height == 0:
        return empty("consensus")
    votes = used.group_by("item", "label").agg(pl.len().cast(pl.Int32).alias("count")).sort("item", "label")
    whole = votes.group_by("item", maintain_order=True).agg(
        pl.col("count").sum().cast(pl.Int32).alias("answers"),
        pl.col("count").max().alias("most"),
        pl.struct(name="label", count="count").cast(COUNT).alias("votes"),
    )
    decided = _majority(votes) if params.aggregate == "majority" else _dawid_skene(used)
    facts = used.unique("item", keep="first", maintain_order=True).select(
        "item", "record", "source", "source_id"
    )
    said = votes.select("item", "label", "count")
    table = (
        facts.join(whole, on="item")
        .join(decided, on="item", how="left")
        .join(said, on=["item", "label"], how="left")
        .with_columns(pl.when(pl.col("count").is_not_null()).then(pl.col("label", "probability")))
        .with_columns(said=pl.coalesce("count", "most"))
        .with_columns(agreement=pl.col("said") / pl.col("answers"))
        .sort("item")
    )
    columns = empty("consensus").columns
    return conform(table.select(columns).sort("record", "source", "source_id", nulls_last=True), "consensus")


def _majority(votes: pl.DataFrame) -> pl.DataFrame:
    """item, label, probability (null) of the items where one label has more answers than any other."""
    most = votes.filter(pl.col("count") == pl.col("count").max().over("item"))
    return most.filter(pl.len().over("item") == 1).select(
        "item", "label", probability=pl.lit(None, pl.Float64)
    )


def _dawid_skene(used: pl.DataFrame) -> pl.DataFrame:
    """item, label, probability of the items whose two best labels are not equally probable."""
    names = used["label"].unique().sort()
    items = used["item"].unique().sort()
    posteriors = _posteriors(used, items, names)
    best = posteriors.argmax(axis=1)
    highest = posteriors.max(axis=1)
    second = np.partition(posteriors, -2, axis=1)[:, -2] if len(names) > 1 else np.zeros(len(items))
    table = pl.DataFrame(
        {"item": items, "label": names.gather(best), "probability": np.round(highest, _DIGITS)},
    )
    return table.filter(pl.Series(highest - second >= TIE))


def _posteriors(used: pl.DataFrame, items: pl.Series, names: pl.Series) -> _Matrix:
    """Probability of each label (columns, as `names`) for each item (rows, as `items`).

    The model of Dawid and Skene without smoothing, as crowd-kit has it: an annotator errs by a table of his own
    (what he says, given what is true), begun with the shares of the votes. Own code, because crowd-kit stops
    where its bound sinks, which its rounding makes it do (measured: 3 of 30 iterations, 709 for 712 right of
    1,000 items), and copies all answers for each label (41 s and 2 GB for a million answers with 77 labels).
    """
    sparse: Any = import_module("scipy.sparse")
    item, annotator, label = (
        used[column].replace_strict(values, range(len(values)), return_dtype=pl.Int64).to_numpy()
        for column, values in (
            ("item", items),
            ("annotator", used["annotator"].unique().sort()),
            ("label", names),
        )
    )
    # A row of the table of errors is what one annotator says; only rows that occur are kept.
    rows, row = np.unique(annotator * len(names) + label, return_inverse=True)
    firsts = np.unique(rows // len(names), return_index=True)[1]
    sizes = np.diff([*firsts, len(rows)])
    ones = np.ones(len(item))
    said = sparse.csr_array((ones, (item, row)), shape=(len(items), len(rows)))
    by_row = said.T.tocsr()

    votes = np.asarray(sparse.csr_array((ones, (item, label)), shape=(len(items), len(names))).todense())
    posteriors: _Matrix = votes / votes.sum(axis=1, keepdims=True)
    for _ in range(EM_ITERATIONS):
        priors = np.maximum(posteriors.mean(axis=0), _LEAST)
        errors = np.maximum(by_row @ posteriors, _LEAST)
        errors /= np.repeat(np.add.reduceat(errors, firsts, axis=0), sizes, axis=0)
        logs = np.log(priors) + said @ np.log(errors)
        likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
        # Rounded, so that labels which tell equally stay equal: noise of the last bit would grow from step to step.
        found = np.round(likelihoods / likelihoods.sum(axis=1, keepdims=True), _EM_DIGITS)
        moved = float(np.abs(found - posteriors).max())
        posteriors = found
        if moved < EM_TOLERANCE:
            break
    return posteriors
