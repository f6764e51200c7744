"""curve: whether more data of the same kind is likely to help, read from how a small baseline learns.

Lives here: the baseline, the shares of train it learns from, what the points say in words. Keep out: the amounts that
are advised by habit (`amounts`), the model that is trained at last. Only train and validation are looked at: the test
split is for the end.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from dataset_pipeline.records import sha256_text
from dataset_pipeline.spec.models import Task
from dataset_pipeline.text import with_sides

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of train: each share doubles the one before, and holds it whole."""
MAX_ROWS = 20_000
"""More rows of train are not learned from: the last doubling below says enough."""
MAX_VALIDATION_ROWS = 10_000
"""The sampling error of an accuracy over as many records is at most one point."""
MAX_WORK = 2_000_000
"""Rows times labels that the baseline learns at most: it has one separator for each label."""
MAX_WEIGHTS = 2**25
"""Labels times features that the baseline holds at most, 256 MB: of very many labels n-grams share places sooner."""
MAX_FEATURES = 2**16
"""Of words, and as many of characters; with four times as many banking77 gains 0.1 points."""
MAX_CHARS = 2_000
"""Of a text: what comes later changes a label rarely, and the time would have no bound."""
MIN_TRAIN, MIN_VALIDATION = 32, 20
"""Two rows in the smallest share; fewer records of validation have an error of more than 20 points."""

BASELINE = "linear support vector machine on hashed word and character n-grams"
"""Chosen by measurement: banking77 91 % accuracy in 0.9 s, naive Bayes on the same features 84 % in 0.1 s."""

RELEVANT_POINTS = 1.0
"""A doubling of the data that brings less is not worth its price."""
VISIBLE_POINTS = 2.0
"""Where the sampling error is larger than this, a small gain cannot be told from none."""
_CONFIDENCE = 1.96
"""Standard errors on each side of 95 % of what chance makes."""

Verdict = Literal["rising", "flat", "falling", "noisy"]


@dataclass(frozen=True)
class Point:
    """What the baseline gets right of validation after learning from `size` rows of train. Shares 0 to 1, four places."""

    size: int
    accuracy: float
    macro_f1: float
    """Mean over the labels of validation: a rare label counts as much as a frequent one."""


@dataclass(frozen=True)
class Curve:
    """The points, smallest share first. reason: in words, why there are none; None where there are."""

    points: tuple[Point, ...] = ()
    baseline: str = BASELINE
    labels: int = 0
    majority_share: float = 0.0
    """Of validation: what is right by always saying the most frequent label of train."""
    train_rows: int = 0
    """Rows of train there are; the last point may have learned from fewer."""
    validation_rows: int = 0
    """Rows of validation that were judged."""
    reason: str | None = None

    @property
    def gain_points(self) -> float:
        """Percentage points of accuracy that the last doubling brought."""
        return 100 * (self.points[-1].accuracy - self.points[-2].accuracy)

    @property
    def error_points(self) -> float:
        """Percentage points by which chance moves the last accuracy (95 %): binomial, over the rows of validation."""
        # Add two right and two wrong answers: without them nothing wrong would mean no error at all.
        n = self.validation_rows + 4
        p = (self.points[-1].accuracy * self.validation_rows + 2) / n
        return 100 * _CONFIDENCE * math.sqrt(p * (1 - p) / n)

    @property
    def verdict(self) -> Verdict | None:
        """What the last doubling says; None without points."""
        if not self.points:
            return None
        gain, error = self.gain_points, self.error_points
        if gain > error and gain >= RELEVANT_POINTS:
            return "rising"
        if gain < -error:
            return "falling"
        return "flat" if error <= VISIBLE_POINTS or abs(gain) > error else "noisy"


def learning_curve(
    train: pl.DataFrame, validation: pl.DataFrame, task: Task, seed: int = 7, max_rows: int = MAX_ROWS
) -> Curve:
    """How the baseline learns the labels: accuracy and macro F1 on validation by rows of train.

    train, validation: record_id, messages, label of the released records of these splits; rows without a label are left
    out. The order in which rows join is by label and the hash of record_id and seed, so that each share has the labels
    of the whole as far as they can be divided. The same input gives the same points, in any row order.
    """
    if not task.answers_are_labels:
        return Curve(
            reason=f"answers of the task type {task.type} are no labels: a small baseline cannot judge them"
        )
    learned = _ordered(train, seed)
    judged = _ordered(validation, seed)
    labels = learned["label"].n_unique()
    reason = None
    if judged.height == 0:
        reason = "there is no validation record to judge by: give split.ratios a share for validation"
    elif labels < 2:
        reason = "train holds fewer than two labels: there is nothing to tell apart"
    elif learned.height < MIN_TRAIN or judged.height < MIN_VALIDATION:
        reason = (
            f"{learned.height:,} records of train and {judged.height:,} of validation are too few "
            f"(at least {MIN_TRAIN} and {MIN_VALIDATION})"
        )
    if reason is not None:
        return Curve(reason=reason)
    rows = learned.height
    learned = learned.head(max(MIN_TRAIN, min(max_rows, MAX_WORK // labels)))
    judged = judged.head(MAX_VALIDATION_ROWS)
    if learned["label"].n_unique() < 2:
        return Curve(reason="one label fills the rows that are learned from: there is nothing to tell apart")
    most = learned.group_by("label").len().sort("len", "label", descending=[True, False])["label"][0]
    return Curve(
        points=_points(learned, judged),
        labels=labels,
        majority_share=round(float((judged["label"] == most).sum()) / judged.height, 4),
        train_rows=rows,
        validation_rows=judged.height,
    )


def words(curve: Curve) -> str:
    """What the curve says about more data, in one or two sentences."""
    if curve.reason is not None:
        return f"No learning curve: {curve.reason}."
    last, before, gain = curve.points[-1], curve.points[-2], curve.gain_points
    of = f" of {curve.train_rows:,}" if curve.train_rows > last.size else ""
    head = (
        f"A small baseline gets {last.accuracy:.1%} of validation right after {last.size:,}{of} records "
        f"(the most frequent label alone: {curve.majority_share:.1%})."
    )
    step = f"The last doubling, from {before.size:,} records,"
    said = {
        "rising": f"{step} brought {gain:.1f} points: still rising, more data of this kind is likely to help.",
        "flat": f"{step} brought {gain:.1f} points: more of the same helps little; look at labels and at what is not covered.",
        "falling": f"{step} cost {-gain:.1f} points: more of the same does not help; look at labels first.",
        "noisy": f"{step} changed {gain:+.1f} points, less than chance moves an accuracy over {curve.validation_rows:,} records "
        f"of validation (±{curve.error_points:.1f}): too noisy to tell whether more data would help.",
    }  # fmt: skip
    assert curve.verdict is not None
    return f"{head} {said[curve.verdict]}"


def _ordered(records: pl.DataFrame, seed: int) -> pl.DataFrame:
    """record_id, messages, label of labelled rows, so that every head has the labels of the whole in proportion."""
    labelled = records.filter(pl.col("label").is_not_null())
    ids = labelled["record_id"]
    order = pl.Series("order", [sha256_text(str(seed), i) for i in ids], dtype=pl.String)
    place = (pl.int_range(pl.len()).over("label") + 0.5) / pl.len().over("label")
    return (
        labelled.select("record_id", "messages", "label")
        .with_columns(order)
        .sort("order", "record_id")
        .with_columns(place=place)
        .sort("place", "order", "record_id")
        .select("record_id", "messages", "label")
    )


def _points(learned: pl.DataFrame, judged: pl.DataFrame) -> tuple[Point, ...]:
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.metrics import f1_score
    from sklearn.svm import LinearSVC

    features = min(MAX_FEATURES, MAX_WEIGHTS // (2 * learned["label"].n_unique()))
    train, validation = _hashed(_texts(learned), features), _hashed(_texts(judged), features)
    labels, right = learned["label"].to_list(), judged["label"].to_list()
    found = []
    for size in sorted({max(2, round(share * learned.height)) for share in SHARES}):
        names = labels[:size]
        if len(set(names)) < 2:
            said = [names[0]] * len(right)
        else:
            weights = TfidfTransformer(sublinear_tf=True).fit(train[:size])
            model = LinearSVC(random_state=0)
            with warnings.catch_warnings():
                # Of no convergence, and of labels that are almost as many as rows: both only make the point lower.
                warnings.simplefilter("ignore")
                model.fit(weights.transform(train[:size]), names)
            said = model.predict(weights.transform(validation)).tolist()
        agreed = sum(one == other for one, other in zip(said, right, strict=True))
        f1 = f1_score(right, said, labels=sorted(set(right)), average="macro", zero_division=0)
        found.append(Point(size, round(agreed / len(right), 4), round(float(f1), 4)))
    return tuple(found)


def _texts(records: pl.DataFrame) -> list[str]:
    """The prompts. An answer is the label, and never looked at."""
    return with_sides(records)["prompt"].fill_null("").str.slice(0, MAX_CHARS).to_list()


def _hashed(texts: list[str], features: int) -> Any:
    """Counts of hashed n-grams as a sparse matrix: words and pairs of them, runs of three and four characters."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.pipeline import FeatureUnion

    common = {"n_features": features, "alternate_sign": False, "norm": None}
    # Characters: for languages without spaces, and for misspelled words.
    both = FeatureUnion(
        [
            ("words", HashingVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common)),
            ("characters", HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **common)),
        ]
    )
    return both.fit_transform(texts)
