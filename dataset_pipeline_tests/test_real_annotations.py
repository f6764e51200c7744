"""Crowds whose items have a known label: alpha, majority and Dawid-Skene are what the SOURCE.md beside each says.

crowd_rte and crowd_barzan answer 0 and 1; hatecheck has a column for each of ten annotators.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from dataset_pipeline.expectations.annotations import annotation_frames, annotations_suite
from dataset_pipeline.expectations.gate import Judgement, adjusted, judge
from dataset_pipeline.spec.models import AnnotationFields, AnnotationSet, Gate
from dataset_pipeline.spec.params import AnnotationsParams
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import RawRow, read_rows
from dataset_pipeline.transforms import annotations
from dataset_pipeline.transforms.agreement import agreement
from dataset_pipeline.transforms.consensus import counting

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
ZERO_ONE = {"0": "no", "1": "yes"}
HATE = {"hateful": "hateful", "non-hateful": "non-hateful"}
Aggregate = Literal["majority", "dawid_skene"]


@dataclass(frozen=True)
class Crowd:
    """Rows of one file, how they are read, and what is true of each item."""

    rows: list[tuple[str, int, dict[str, Any]]]
    annotation_set: AnnotationSet
    label_names: dict[str, str]
    gold: dict[str, str]

    def params(self, aggregate: Aggregate) -> AnnotationsParams:
        names = self.label_names
        return AnnotationsParams(
            sets=(self.annotation_set,),
            labels=tuple(sorted(set(names.values()))),
            label_names=names,
            aggregate=aggregate,
            min_agreement=0.75,
        )

    def answers(self) -> pl.DataFrame:
        """All answers, on records that are all known."""
        found, unusable = annotations.answers(
            self.rows, self.annotation_set, self.params("majority"), frozenset({"crowd"})
        )
        assert unusable == []
        ids = sorted(self.gold)
        known = {
            "record_id": [f"{n:032x}" for n in range(len(ids))],
            "source": ["crowd"] * len(ids),
            "source_id": ids,
        }
        made = annotations.resolved(found, pl.DataFrame(known))
        assert made["state"].unique().to_list() == ["counted"]
        return made

    def right(self, made: pl.DataFrame, aggregate: Aggregate) -> tuple[int, int, int]:
        """Items, those with the true label, those without a consensus."""
        decided = annotations.consensus(made, self.params(aggregate))
        told = decided.select("source_id", "label").iter_rows()
        return decided.height, sum(self.gold[i] == label for i, label in told), decided["label"].null_count()


def _folder(name: str) -> Path:
    if VARIABLE not in os.environ:
        pytest.fail(f"set {VARIABLE} to the folder of the real data, or leave out -m real_data")
    folder = Path(os.environ[VARIABLE]) / name
    if not folder.is_dir():
        pytest.fail(f"{folder} is not there: {VARIABLE} names another folder")
    return folder


def _rows(path: Path, reading: Reading | None = None) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for item in read_rows(path, reading):
        assert isinstance(item, RawRow)
        yield path.name, item.line, item.payload


def _set(**values: Any) -> AnnotationSet:
    return AnnotationSet(path="annotations/crowd.csv.gz", source="crowd", **values)


@pytest.fixture(scope="module")
def rte() -> Crowd:
    rows = list(_rows(_folder("crowd_rte") / "rte.standardized.csv.gz", Reading(format="csv")))
    fields = AnnotationFields(item="orig_id", annotator="!amt_worker_ids", label="response")
    return Crowd(rows, _set(fields=fields), ZERO_ONE, {r["orig_id"]: ZERO_ONE[r["gold"]] for _, _, r in rows})


@pytest.fixture(scope="module")
def barzan() -> Crowd:
    folder = _folder("crowd_barzan")
    with gzip.open(folder / "labels.txt.gz", "rt", encoding="utf-8", newline="") as file:
        rows: list[tuple[str, int, dict[str, Any]]] = [
            ("labels.txt", n, dict(zip(("annotator", "item", "label"), values, strict=True)))
            for n, values in enumerate(csv.reader(file, delimiter="\t"), 1)
        ]
    told = [line.split() for line in (folder / "evaluation.txt").read_text(encoding="utf-8").splitlines()]
    return Crowd(rows, _set(), ZERO_ONE, {item: ZERO_ONE[label] for item, label in told})


@pytest.fixture(scope="module")
def hatecheck() -> Crowd:
    rows = list(_rows(_folder("hatecheck") / "all_annotations.csv.gz", Reading(format="csv")))
    wide = _set(fields=AnnotationFields(item="case_id"), annotators=tuple(f"label_{n}" for n in range(1, 11)))
    return Crowd(rows, wide, HATE, {r["case_id"]: r["label_gold"] for _, _, r in rows})


def _alpha(crowd: Crowd, made: pl.DataFrame) -> tuple[float, int]:
    params = crowd.params("majority")
    found = agreement(made, annotations.consensus(made, params), params).filter(pl.col("measure") == "alpha")
    value, n = found.select("value", "n").row(0)
    return round(value, 4), n


@pytest.mark.parametrize(
    ("name", "answers", "alpha", "majority", "dawid_skene"),
    [
        ("rte", 8000, 0.2415, (800, 685, 65), (800, 742, 0)),
        ("barzan", 5000, 0.4059, (1000, 696, 0), (1000, 712, 0)),
        ("hatecheck", 19505, 0.9285, (3901, 3896, 0), (3901, 3897, 0)),
    ],
)
def test_annotations_real_crowd_is_as_measured_beside_it(
    request, name, answers, alpha, majority, dawid_skene
):
    crowd: Crowd = request.getfixturevalue(name)
    made = crowd.answers()
    assert made.height == answers
    assert _alpha(crowd, made) == (alpha, majority[0])
    assert crowd.right(made, "majority") == majority
    assert crowd.right(made, "dawid_skene") == dawid_skene


@pytest.mark.parametrize("name", ["rte", "barzan", "hatecheck"])
def test_annotations_real_posteriors_are_those_of_crowd_kit_run_on(request, name):
    """Run on: crowd-kit's own stop comes early (see `consensus._posteriors`); a hundred steps are told to it."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    crowd: Crowd = request.getfixturevalue(name)
    made = crowd.answers()
    coded = counting(made).select(task="source_id", worker="annotator", label="label")
    found = DawidSkene(n_iter=100, tol=-1e9).fit_predict_proba(pd.DataFrame(coded.to_dict(as_series=False)))
    decided = annotations.consensus(made, crowd.params("dawid_skene"))
    for item, label, probability in decided.select("source_id", "label", "probability").iter_rows():
        assert probability == pytest.approx(found.loc[item, label], abs=2e-3)


def test_annotations_real_workers_are_paired_where_they_share_ten_items(rte):
    made, params = rte.answers(), rte.params("majority")
    found = agreement(made, annotations.consensus(made, params), params)
    shared: dict[tuple[str, str], int] = {}
    by_item: dict[str, list[str]] = {}
    for _, _, row in rte.rows:
        by_item.setdefault(row["orig_id"], []).append(row["!amt_worker_ids"])
    for workers in by_item.values():
        for one in sorted(workers):
            for other in sorted(workers):
                if one < other:
                    shared[one, other] = shared.get((one, other), 0) + 1
    pairs = found.filter(pl.col("measure") == "kappa").select("name", "other", "n").rows()
    assert sorted(pairs) == sorted((*pair, n) for pair, n in shared.items() if n >= 10)
    assert found.filter(pl.col("measure") == "annotator").height == 164


def _judged(crowd: Crowd, gates: dict[str, Gate]) -> dict[str, Judgement]:
    made, params = crowd.answers(), crowd.params("dawid_skene")
    decided = annotations.consensus(made, params)
    frames = annotation_frames(made, decided, agreement(made, decided, params), [])
    suite = adjusted(annotations_suite(params.min_agreement), gates)
    return {j.expectation.name: j for j in judge(suite, *frames)}


def test_annotations_real_gate_shuts_on_the_crowd_and_opens_with_a_reason(rte, hatecheck):
    assert [j.expectation.name for j in _judged(rte, {}).values() if j.blocks] == ["agreement"]
    relaxed = _judged(rte, {"agreement": Gate(min=0.2, reason="ten answers an item make up for it")})
    assert not any(j.blocks for j in relaxed.values())
    assert [name for name, j in _judged(hatecheck, {}).items() if not j.passed] == []
