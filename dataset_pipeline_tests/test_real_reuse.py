"""A release of banking77 offered to itself and to clinc150: counts that plain Python computes too.

Lives here: real rows through `check --reuse`. Keep out: each finding alone (`test_reuse_cli`).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataset_pipeline_tests.reuse_releases import record, write_release
from dataset_pipeline_tests.scenario import call, last_json

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
RIGHTS = {
    "license": "CC-BY-4.0",
    "holder": "PolyAI",
    "basis": "LICENSE of the repository",
    "uses": ["train", "evaluate"],
}
SPLITS = ("train", "train", "train", "validation", "test")


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data, read-only."""
    given = os.environ.get(VARIABLE)
    assert given, f"Set {VARIABLE} to the folder of real data, or leave these tests out: -m 'not real_data'."
    return Path(given)


@pytest.fixture(scope="module")
def rows(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data / "banking77" / "train.csv.gz", "rt", encoding="utf-8", newline="") as handle:
        return [(row["text"], row["category"]) for row in csv.DictReader(handle)]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> Path:
    """Every row of the train file, as a release of a task with a system prompt."""
    task = {"behavior": "b", "type": "classification", "system_prompt": "Name the intent.",
            "labels": sorted({label for _, label in rows})}  # fmt: skip
    records = [record(text, label, SPLITS[n % 5]) for n, (text, label) in enumerate(rows)]
    return write_release(tmp_path_factory.mktemp("release"), records, task=task, shards=3)


def project(root: Path, labels: list[str], sources: list[dict[str, Any]], sets: list[dict[str, Any]]) -> Path:
    common = {"kind": "licensed", "collected_at": "2026-10-01", "rights": RIGHTS}
    spec = {
        "name": "real", "task": {"behavior": "b", "type": "classification", "labels": labels},
        "sources": [common | source for source in sources], "normalize": {"languages": ["en"]},
        "decontaminate": {"sets": sets},
    }  # fmt: skip
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return root / "dataset.yaml"


def told(spec: Path, release: Path, exit_code: int) -> dict[str, Any]:
    result = call("check", spec, "--reuse", str(release), "--json")
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = last_json(result)
    return found


def folded(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def test_real_banking77_offered_to_itself_is_all_duplicates(
    tmp_path: Path, data: Path, release: Path, rows: list[tuple[str, str]]
) -> None:
    (tmp_path / "train.csv.gz").write_bytes((data / "banking77" / "train.csv.gz").read_bytes())
    source = {"name": "own", "path": "train.csv.gz", "fields": {"input": "text", "output": "category"}}
    spec = project(tmp_path, sorted({label for _, label in rows}), [source], [])
    found = told(spec, release, 1)
    assert (found["records"], found["fit"], found["stopped"]) == (len(rows), 0, {"duplicate": len(rows)})
    assert found["repeats"]["exact"] == {"own": len(rows)}
    assert len(found["labels"]["in_both"]) == 77


def test_real_banking77_offered_to_clinc150_shares_its_labels_alone(
    tmp_path: Path, data: Path, release: Path, rows: list[tuple[str, str]]
) -> None:
    packed = (data / "clinc150" / "data_full.json.gz").read_bytes()
    (tmp_path / "data_full.json.gz").write_bytes(packed)
    plain = json.loads(gzip.decompress(packed))
    labels = sorted({label for part in plain.values() for _, label in part})
    lists = {"path": "data_full.json.gz", "fields": {"input": 0, "output": 1}}
    sources = [lists | {"name": name, "records": name} for name in ("train", "val")]
    spec = project(tmp_path, labels, sources, [lists | {"name": "test", "records": "test"}])
    found = told(spec, release, 0)
    shared = [label for _, label in rows if label in labels]
    own = {one["label"] for one in found["labels"]["in_both"]}
    assert own == set(shared)
    assert sum(one["records"] for one in found["labels"]["in_both"]) == len(shared)
    assert found["labels"]["unknown_label"] == len(rows) - len(shared)
    assert found["repeats"]["compared"] == {"train": len(plain["train"]), "val": len(plain["val"])}
    assert found["fit"] + sum(found["stopped"].values()) == len(rows)
    # Each equal text has another label there, so it is no duplicate; plain Python finds the same ones equal.
    texts = {folded(text) for name in ("train", "val") for text, _ in plain[name]}
    equal = sum(1 for text, _ in rows if folded(text) in texts)
    assert sum(found["repeats"]["exact"].values()) + found["repeats"]["contradictions"] <= equal
    held = {folded(text) for text, _ in plain["test"]} & {folded(text) for text, _ in rows}
    assert found["evaluation_sets"]["test"]["contaminated"] >= len(held)
    items = len(plain["test"])
    assert found["evaluation_sets"]["test"]["items"] == items
