"""The learning curve: what is learned from, what is judged, what the points say.

Texts are made of the words of their label, so that one sees what can be learned.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms import curve as curve_module
from dataset_pipeline.transforms.curve import Curve, Point, learning_curve, words

LABELS = ("bug", "wish", "praise")
TASK = Task(behavior="Label it.", type="classification", labels=LABELS)
WORDS = {
    "bug": "crash error broken freezes fails wrong",
    "wish": "please add could want feature need",
    "praise": "love great thanks best works happy",
}


def pick(*parts: object) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest(), 16)


def records(count: int, split: str, mislabelled: int = 0, labels: tuple[str, ...] = LABELS) -> pl.DataFrame:
    """`count` records; of every hundred `mislabelled` have a text that says nothing of their label."""
    rows = []
    for n in range(count):
        label = labels[n % len(labels)]
        theme = labels[pick(split, n, "theme") % len(labels)] if pick(split, n) % 100 < mislabelled else label
        said = WORDS[theme].split()
        text = (
            " ".join(said[pick(split, n, k) % len(said)] for k in range(3))
            + f" {pick(split, n, 'tag') % 10**6}"
        )
        answer = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
        rows.append({"record_id": f"{pick(split, n, 'id'):x}"[:32], "messages": answer, "label": label})
    return pl.DataFrame(rows, schema={"record_id": pl.String, "messages": MESSAGES, "label": pl.String})


def curve_of(accuracies: list[float], validation: int, train: int = 1600) -> Curve:
    points = tuple(
        Point(train // 2 ** (len(accuracies) - 1 - n), share, share) for n, share in enumerate(accuracies)
    )
    return Curve(points, labels=3, majority_share=0.4, train_rows=train, validation_rows=validation)


def test_curve_learns_labels_that_texts_tell() -> None:
    curve = learning_curve(records(320, "train"), records(90, "validation"), TASK)
    assert [p.size for p in curve.points] == [20, 40, 80, 160, 320]
    assert curve.points[-1].accuracy > 0.95 and curve.points[-1].macro_f1 > 0.95
    assert (curve.labels, curve.train_rows, curve.validation_rows) == (3, 320, 90)
    assert curve.majority_share == pytest.approx(1 / 3, abs=0.01)


def test_curve_does_not_look_at_the_answer() -> None:
    """Texts that say nothing: were the label read, all would be right."""
    curve = learning_curve(
        records(300, "train", mislabelled=100), records(90, "validation", mislabelled=100), TASK
    )
    assert curve.points[-1].accuracy < 0.55


def test_curve_is_the_same_in_any_row_order() -> None:
    train, validation = records(200, "train", 20), records(60, "validation", 20)
    once = learning_curve(train, validation, TASK)
    assert learning_curve(train.reverse(), validation.sample(fraction=1, shuffle=True, seed=1), TASK) == once


def test_curve_has_an_order_of_its_own_for_every_seed() -> None:
    train, validation = records(200, "train", 40), records(60, "validation", 40)
    one, two = (learning_curve(train, validation, TASK, seed=seed) for seed in (1, 2))
    assert one.points[0] != two.points[0]
    assert one.points[-1].size == two.points[-1].size


_THREADS = """
import sys; from dataset_pipeline_tests.test_curve import *
print(learning_curve(records(200, "train", 20), records(60, "validation", 20), TASK))
"""


@pytest.mark.faults
def test_curve_is_the_same_with_any_number_of_threads() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", _THREADS], capture_output=True, text=True, check=True,
            env=os.environ | {"OMP_NUM_THREADS": n, "POLARS_MAX_THREADS": n, "PYTHONHASHSEED": n},
            cwd=Path(__file__).parent.parent,
        ).stdout
        for n in ("1", "4")
    }  # fmt: skip
    assert told == {f"{learning_curve(records(200, 'train', 20), records(60, 'validation', 20), TASK)}\n"}


def test_curve_shares_have_the_labels_of_the_whole_and_hold_each_other() -> None:
    """Nine in ten are bugs."""
    train = pl.concat([records(576, "train", labels=("bug",)), records(64, "train2", labels=("wish",))])
    ordered = curve_module._ordered(train, seed=7)
    for size in (40, 80, 160, 320, 640):
        assert ordered.head(size).filter(label="wish").height == size // 10
    assert ordered["record_id"].to_list() != curve_module._ordered(train, seed=8)["record_id"].to_list()


def test_curve_learns_from_max_rows_at_most_and_says_of_how_many() -> None:
    curve = learning_curve(records(320, "train"), records(40, "validation"), TASK, max_rows=160)
    assert [p.size for p in curve.points] == [10, 20, 40, 80, 160]
    assert curve.train_rows == 320
    assert "after 160 of 320 records" in words(curve)


@pytest.mark.parametrize(
    ("train", "validation", "task", "said"),
    [
        (records(100, "t"), records(50, "v"), Task(behavior="x", type="chat"), "task type chat are no labels"),
        (records(100, "t"), records(0, "v"), TASK, "no validation record"),
        (records(100, "t", labels=("bug",)), records(50, "v"), TASK, "fewer than two labels"),
        (records(0, "t"), records(50, "v"), TASK, "fewer than two labels"),
        (records(31, "t"), records(50, "v"), TASK, "31 records of train and 50 of validation are too few"),
        (records(100, "t"), records(19, "v"), TASK, "19 of validation are too few"),
    ],
)  # fmt: skip
def test_curve_says_why_there_is_none(
    train: pl.DataFrame, validation: pl.DataFrame, task: Task, said: str
) -> None:
    curve = learning_curve(train, validation, task)
    assert curve.points == () and curve.verdict is None
    assert said in str(curve.reason)
    assert words(curve) == f"No learning curve: {curve.reason}."


def test_curve_takes_rare_labels_odd_texts_and_unlabelled_rows() -> None:
    odd = records(5, "odd").with_columns(
        messages=pl.Series(
            [
                [{"role": "user", "content": text}]
                for text in ("", "\u202e", "😀" * 9, "漢字" * 5, "a" * 100_000)
            ],
            dtype=MESSAGES,
        ),
        label=pl.Series(["bug", "only once", None, "wish", "=1+1"]),
    )
    curve = learning_curve(pl.concat([records(60, "t"), odd]), pl.concat([records(30, "v"), odd]), TASK)
    assert curve.points[-1].size == 64
    assert curve.validation_rows == 34


@pytest.mark.parametrize(
    ("accuracies", "validation", "verdict", "said"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.85], 2_000, "rising", "brought 5.0 points: still rising"),
        ([0.5, 0.7, 0.8, 0.842, 0.85], 5_000, "flat", "brought 0.8 points: more of the same helps little"),
        ([0.5, 0.7, 0.8, 0.8, 0.85], 100, "noisy", "too noisy to tell"),
        ([0.5, 0.7, 0.8, 0.5, 0.85], 100, "rising", "still rising"),
        ([0.5, 0.7, 0.8, 0.9, 0.85], 2_000, "falling", "cost 5.0 points"),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 20, "noisy", "too noisy to tell"),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 1_000, "flat", "brought 0.0 points"),
    ],
)
def test_curve_says_what_the_last_doubling_brought(
    accuracies: list[float], validation: int, verdict: str, said: str
) -> None:
    curve = curve_of(accuracies, validation)
    assert curve.verdict == verdict
    assert said in words(curve)


def test_curve_error_is_that_of_a_share_of_the_validation_records() -> None:
    """Half of 9,996 (and two of four): 1.96 times the root of 0.25 / 10,000 is 0.98 points."""
    assert curve_of([0.5, 0.5], 9_996).error_points == pytest.approx(0.98)


# --- real data ----------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_curve_of_banking77_rises_to_what_was_measured() -> None:
    """Measured: 91.3 % over 10,003 rows, judged on the 3,080 rows of its test file, which here stand for validation."""
    folder = Path(os.environ["DATASET_PIPELINE_REAL_DATA"]) / "banking77"
    frames = []
    for name in ("train", "test"):
        with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as lines:
            rows = [
                {"record_id": f"{name}{n}", "label": row["category"],
                 "messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["category"]}]}
                for n, row in enumerate(csv.DictReader(lines))
            ]  # fmt: skip
        frames.append(
            pl.DataFrame(rows, schema={"record_id": pl.String, "label": pl.String, "messages": MESSAGES})
        )
    curve = learning_curve(frames[0], frames[1], TASK)
    accuracies = [point.accuracy for point in curve.points]
    assert accuracies == sorted(accuracies)
    assert 0.87 < accuracies[-1] < 0.95
    assert abs(curve.points[-1].macro_f1 - accuracies[-1]) < 0.02
    assert curve.verdict == "rising" and curve.labels == 77
