"""dataset_info.json: what LLaMA-Factory is told of each file. The rules of its loader are restated in `_opened`.

Keep out: shapes of rows (`test_formats`).
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.models import Task
from dataset_pipeline.storage.release_files import Compression
from dataset_pipeline.storage.releases import Writer
from dataset_pipeline.transforms.formats import JSONL_FORMATS, jsonl_lines, parquet_rows
from dataset_pipeline.transforms.release import with_row_numbers
from dataset_pipeline.transforms.trainers import dataset_info

LABELS = Task(behavior="Label it.", type="classification", labels=("bug", "wish"))
INSTRUCTION = Task(behavior="Answer.", type="instruction", system_prompt="Be kind.")
PREFERENCE = Task(behavior="Answer.", type="preference")


def info(data_files: dict[str, dict[str, list[str]]], task: Task) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(dataset_info(data_files, task) or "{}")
    return told


def test_dataset_info_of_plain_files_names_file_columns_and_tags() -> None:
    files = {
        "chat": {"train": ["chat/train.jsonl"]},
        "alpaca": {"train": ["alpaca/train.jsonl"], "test": ["alpaca/test.jsonl"]},
        "completion": {"train": ["completion/train.jsonl"]},
        "sharegpt": {"validation": ["sharegpt/validation.jsonl"]},
    }
    alpaca = {
        "formatting": "alpaca", "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    }  # fmt: skip
    assert info(files, INSTRUCTION) == {
        "chat_train": {
            "file_name": "chat/train.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"},
        },
        "alpaca_train": alpaca | {"file_name": "alpaca/train.jsonl"},
        "alpaca_test": alpaca | {"file_name": "alpaca/test.jsonl"},
        "completion_train": {
            "file_name": "completion/train.jsonl", "formatting": "alpaca", "columns": {"prompt": "prompt", "response": "completion"},
        },
        "sharegpt_validation": {
            "file_name": "sharegpt/validation.jsonl", "formatting": "sharegpt", "columns": {"messages": "conversations"},
        },
    }  # fmt: skip


def test_dataset_info_of_labels_has_no_system_column() -> None:
    told = info({"alpaca": {"train": ["alpaca/train.jsonl"]}}, LABELS)
    assert "system" not in told["alpaca_train"]["columns"]


def test_dataset_info_of_shards_and_packed_files_names_folder_and_split() -> None:
    files = {
        "chat": {"train": [f"chat/train-0000{n}-of-00002.jsonl" for n in range(2)]},
        "alpaca": {"test": ["alpaca/test.jsonl.gz"]},
        "parquet": {"train": ["parquet/train.parquet"]},
    }
    told = info(files, LABELS)
    places = {
        name: {k: v for k, v in entry.items() if k in ("file_name", "script_url", "split")}
        for name, entry in told.items()
    }
    assert places == {
        "chat_train": {"script_url": "chat", "split": "train"},
        "alpaca_test": {"script_url": "alpaca", "split": "test"},
        "parquet_train": {"file_name": "parquet/train.parquet"},
    }


def test_dataset_info_of_pairs_and_of_no_files_has_no_entry() -> None:
    files = {
        "preference": {"train": ["preference/train.jsonl"]},
        "parquet": {"train": ["parquet/train.parquet"]},
    }
    assert info(files, PREFERENCE) == {} == info({"chat": {"train": []}}, LABELS)


def test_dataset_info_does_not_depend_on_the_order_of_formats_and_splits() -> None:
    files = {n: {s: [f"{n}/{s}.jsonl"] for s in ("train", "test")} for n in ("chat", "alpaca")}
    turned = {n: dict(reversed(splits.items())) for n, splits in reversed(files.items())}
    assert dataset_info(files, LABELS) == dataset_info(turned, LABELS)
    told = dataset_info(files, LABELS)
    assert told is not None and told.isascii() and told.endswith("}\n")


def _opened(folder: Path, entry: dict[str, Any], cache: Path) -> list[Any]:
    """The rows that LLaMA-Factory's loader gets for an entry: a file by its type, a folder by the split in it."""
    import datasets

    if "file_name" in entry:
        path = folder / entry["file_name"]
        kind = {".jsonl": "json", ".parquet": "parquet"}[path.suffix]
        return list(datasets.load_dataset(kind, data_files=[str(path)], split="train", cache_dir=str(cache)))
    path = folder / entry["script_url"]
    return list(datasets.load_dataset(str(path), split=entry["split"], cache_dir=str(cache)))


@pytest.mark.parametrize(("compression", "limit"), [("none", 10**9), ("zstd", 200), ("gzip", 10**9)])
def test_dataset_info_every_entry_leads_to_the_rows_of_its_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Compression, limit: int
) -> None:
    for key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(key, "1")
    pair = lambda n: [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]  # noqa: E731
    frame = pl.DataFrame(
        {
            "record_id": [str(n) for n in range(9)], "messages": pl.Series([pair(n) for n in range(9)], dtype=MESSAGES),
            "label": ["x"] * 9, "source": ["s"] * 9, "day": [dt.date(2026, 3, 2)] * 9, "split": ["train"] * 6 + ["test"] * 3,
        }
    )  # fmt: skip
    frame = with_row_numbers(frame)
    writer = Writer(tmp_path / "releases")
    files: dict[str, dict[str, list[str]]] = {}
    names = [name for name in JSONL_FORMATS if name != "preference"]
    for split in Split:
        for name in names:
            lines = jsonl_lines(frame, split, name, INSTRUCTION)
            if paths := writer.jsonl(name, split, lines, compression, limit):
                files.setdefault(name, {})[split.value] = paths
        if paths := writer.parquet_shards("parquet", split, parquet_rows(frame, split, INSTRUCTION), limit):
            files.setdefault("parquet", {})[split.value] = paths
    told = info(files, INSTRUCTION)
    assert set(told) == {f"{name}_{split}" for name in (*names, "parquet") for split in ("train", "test")}
    for name, entry in told.items():
        rows = _opened(writer.folder, entry, tmp_path / "cache")
        answers = range(6) if name.endswith("_train") else range(6, 9)
        assert [f"a{n}" in json.dumps(row) for n, row in zip(answers, rows, strict=True)] == [True] * len(
            rows
        )
        assert set(entry["columns"].values()) <= set(rows[0])
