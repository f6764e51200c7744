"""Faults that were found by trying the product, each held by the case that showed it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES, RECORDS, TABLES, Step
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms.dedup import dedup_all
from dataset_pipeline.transforms.selection import contested, select
from dataset_pipeline_tests.conftest import copy_sample
from dataset_pipeline_tests.scenario import call, last_json

DAY = dt.date(2026, 1, 1)
LONG = "the export button on the invoice page does nothing at all when I press it twice in a row on Monday"


def record(name: str, text: str, label: str, day: int) -> dict[str, object]:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
    return {
        "record_id": name, "day": DAY + dt.timedelta(days=day), "source": "s", "source_rank": 1, "messages": turns,
        "label": label, "group": None, "person_names": [], "may_evaluate": True, "content_sha": name,
    }  # fmt: skip


def test_contradiction_of_a_dropped_near_duplicate_is_withheld_not_settled() -> None:
    # t2 is near t1 and equal to t3: dropping t2 for t1 must not let t3 stand as if nobody disagreed.
    rows = [
        record("t1", LONG, "bug", 0),
        record("t2", f"{LONG} again", "bug", 1),
        record("t3", f"{LONG} again", "praise", 1),
    ]
    names = {"bug": "bug", "praise": "praise"}
    params = DedupParams(answers_are_labels=True, label_names=names, near=Near(), ngram=3)
    deduplicated = dedup_all(pl.DataFrame(rows, schema=RECORDS), params)
    assert dict(deduplicated.select("record_id", "reason").iter_rows()) == {
        "t1": None,
        "t2": "near",
        "t3": None,
    }
    assert contested(deduplicated).select("record_id", "others").rows() == [("t3", ["t2"])]
    kept = pl.DataFrame([r for r in rows if r["record_id"] != "t2"], schema=RECORDS).select(
        "record_id", "label", "messages", pl.lit("train").alias("split")
    )
    labelled = pl.DataFrame(
        [(r["record_id"], r["day"], r["label"], "source", None, None, str(n), r["label"], False, None, True, None, None) for n, r in enumerate(rows) if n != 1],
        schema=TABLES[Step.LABEL], orient="row",
    )  # fmt: skip
    chosen = select(kept, labelled, True, deduplicated)
    assert chosen.released["record_id"].to_list() == ["t1"]
    assert chosen.withheld["record_id"].to_list() == ["t3"]
    assert json.loads(chosen.withheld["detail"][0]) == {
        "others": ["t2"],
        "rule": "contradiction",
        "threshold": 1,
        "value": 2,
    }
    assert kept.schema["messages"] == MESSAGES


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run copy of the sample, whose spec the tests change and change back."""
    root = tmp_path_factory.mktemp("mended") / "project"
    copy_sample(root)
    assert call("run", root / "dataset.yaml").exit_code == 0
    return root


@pytest.mark.faults
def test_gate_that_closed_is_forgotten_when_the_spec_is_put_back(project: Path) -> None:
    spec = project / "dataset.yaml"
    good = spec.read_text(encoding="utf-8")
    before = last_json(call("run", spec, "--json"))
    spec.write_text(good.replace("min_words: 3", "min_words: 9"), encoding="utf-8")
    closed = call("run", spec, "--json")
    assert closed.exit_code == 1
    assert last_json(closed)["checks"]["failed"] == 1
    assert last_json(closed)["release"] == before["release"]
    assert closed.output.count("filter.examples_pass:") == 1  # once, not once a day
    spec.write_text(good, encoding="utf-8")
    back = call("run", spec, "--json")
    assert (back.exit_code, last_json(back)["checks"]) == (0, before["checks"])
    spec.write_text(good.replace("seed: 7", "seed: 8"), encoding="utf-8")
    onward = call("run", spec, "--json")
    assert onward.exit_code == 0, onward.output
    assert last_json(onward)["checks"]["failed"] == 0
    spec.write_text(good, encoding="utf-8")
    assert last_json(call("run", spec, "--json"))["release"] == before["release"]


def test_fault_of_ours_leaves_no_text_of_a_record_anywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_pipeline.assets import row_local

    def broken(records: pl.DataFrame, *_: object) -> pl.DataFrame:
        raise ValueError("bad value 'ZQXMARKER wrote this'")

    monkeypatch.setattr(row_local, "decide", broken)  # what is measured stands: it is decided anew
    spec = project / "dataset.yaml"
    good = spec.read_text(encoding="utf-8")
    spec.write_text(good.replace("min_words: 3", "min_words: 2"), encoding="utf-8")
    result = call("run", spec)
    spec.write_text(good, encoding="utf-8")
    assert result.exit_code == 1
    assert "filter: failed with a fault of its own" in result.output
    assert "ValueError at test_regressions.py:" in result.output
    assert "ZQXMARKER" not in result.output
    for file in project.rglob("*"):
        if file.is_file():
            assert b"ZQXMARKER" not in file.read_bytes(), file


def test_brackets_in_names_are_shown_as_they_are(project: Path) -> None:
    spec = project / "dataset.yaml"
    good = spec.read_text(encoding="utf-8")
    spec.write_text(good.replace("holder: Example GmbH", 'holder: "Hotel [/b] AG"', 1), encoding="utf-8")
    assert call("check", spec).exit_code == 0
    spec.write_text(good.replace("languages: [en]", "languages: [english]"), encoding="utf-8")
    assert "[a-z]{2,3}" in call("check", spec).output
    spec.write_text(good, encoding="utf-8")


def test_path_with_a_dot_in_front_finds_its_files(project: Path) -> None:
    spec = project / "dataset.yaml"
    good = spec.read_text(encoding="utf-8")
    spec.write_text(
        good.replace("path: sources/support_inbox", "path: ./sources/support_inbox"), encoding="utf-8"
    )
    assert call("check", spec).exit_code == 0
    spec.write_text(good, encoding="utf-8")
