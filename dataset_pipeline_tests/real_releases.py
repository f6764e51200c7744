"""Five sets of real data as projects that release every format that fits, built once a session.

Lives here: their specs, in words a user would write. Keep out: assertions, loading what was released.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
DAY = "2026-03-01"
SINGLE = ["chat", "alpaca", "completion", "sharegpt", "parquet"]
"""Every format that holds one exchange."""
TURNS = ["chat", "sharegpt", "parquet"]
PAIRS = ["preference", "parquet"]


@dataclass(frozen=True)
class Shipped:
    """A set of real data: the files it is made of, its task and source, and the formats that hold it."""

    files: tuple[str, ...]
    task: dict[str, Any]
    source: dict[str, Any]
    formats: list[str]
    release: dict[str, Any]
    other: dict[str, Any]


def shipped(*parts: str) -> Path:
    if VARIABLE not in os.environ:
        pytest.fail(f"set {VARIABLE} to the folder of the real data, or leave out -m real_data")
    return Path(os.environ[VARIABLE]).joinpath(*parts)


def _intents() -> list[str]:
    document = json.loads(gzip.decompress(shipped("clinc150", "data_full.json.gz").read_bytes()))
    return sorted({label for rows in document.values() for _, label in rows})


def sets() -> dict[str, Shipped]:
    """Name to set. Packing, shards and a template's worth of settings differ, so that each is tried on something real."""
    banking = json.loads(shipped("banking77", "categories.json").read_text(encoding="utf-8"))
    labels = {"behavior": "Name the intent of a message.", "type": "classification"}
    return {
        "banking77": Shipped(
            ("banking77/train.csv.gz",),
            labels | {"labels": banking, "system_prompt": "Name the customer's intent."},
            {"path": "train.csv.gz", "fields": {"input": "text", "output": "category"}},
            SINGLE, {}, {"training": {"max_length": 512, "price": {"per_million_tokens": 3.0}}},
        ),
        "clinc150": Shipped(
            ("clinc150/data_full.json.gz",), labels | {"labels": _intents()},
            {"path": "data_full.json.gz", "records": "train", "fields": {"input": 0, "output": 1}},
            SINGLE, {"compression": "gzip"}, {},
        ),
        "gpteacher": Shipped(
            ("gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz",),
            {"behavior": "Answer with a tool call where one helps.", "type": "instruction"},
            {"path": "toolformer-dedupe-only-dataset.json.gz",
             "fields": {"input": ["instruction", "input"], "output": "response"}},
            SINGLE, {"max_shard_mb": 1}, {},
        ),
        "hh_rlhf": Shipped(
            ("hh_rlhf_harmless_test/harmless-base/test.jsonl.gz",),
            {"behavior": "Prefer the less harmful answer.", "type": "preference"},
            {"path": "test.jsonl.gz", "layout": "preference"},
            PAIRS, {}, {"filter": {"profanity": {"max_words": None}}},
        ),
        "oasst": Shipped(
            ("oasst_sample/en_100_tree.jsonl.gz",),
            {"behavior": "Answer as a helpful assistant.", "type": "chat"},
            {"path": "en_100_tree.jsonl.gz", "layout": "tree"},
            TURNS, {}, {},
        ),
    }  # fmt: skip


NAMES = ("banking77", "clinc150", "gpteacher", "hh_rlhf", "oasst")


def spec(name: str, **changes: Any) -> dict[str, Any]:
    """The spec of a set as plain data; `changes` replace whole sections."""
    of = sets()[name]
    rights = {
        "license": "CC-BY-4.0",
        "holder": "its authors",
        "basis": "its licence",
        "uses": ["train", "evaluate"],
    }
    source = {"name": "shipped", "kind": "licensed", "collected_at": DAY, "rights": rights} | of.source
    whole = {"name": name.replace("_", "-"), "task": of.task, "sources": [source], "release": {"formats": of.formats} | of.release}  # fmt: skip
    return whole | of.other | changes


def project(root: Path, name: str, **changes: Any) -> Path:
    """A project folder of a set: its files and its spec."""
    root.mkdir(parents=True, exist_ok=True)
    for path in sets()[name].files:
        shutil.copy(shipped(path), root / path.rsplit("/", 1)[-1])
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec(name, **changes)), encoding="utf-8")
    return root


def release(root: Path, name: str, **changes: Any) -> Path:
    """The folder of the release that a set becomes."""
    project(root, name, **changes)
    try:
        small.run_all(root)
        return small.release_folder(root)
    finally:
        release_run_lock(root / "warehouse.duckdb")
