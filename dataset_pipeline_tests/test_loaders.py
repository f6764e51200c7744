"""Releases read by the trainers themselves, each in an environment of its own: `make test-loaders`.

What a library makes of a row is compared with the row in the release's Parquet files, read by pyarrow.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dataset_pipeline_tests import real_releases
from dataset_pipeline_tests import small_project as small

pytestmark = pytest.mark.loaders

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "dataset_pipeline_tests" / "loaders"
SPLITS = ("train", "validation", "test")
REAL = [pytest.param(name, marks=pytest.mark.real_data) for name in real_releases.NAMES]
Turns = list[list[str]]


@dataclass(frozen=True)
class Released:
    """A release, and its rows as pyarrow reads them: split to rows."""

    folder: Path
    rows: dict[str, list[dict[str, Any]]]

    @property
    def formats(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.is_dir()}


@pytest.fixture(scope="module")
def released(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Released:
    name = request.param
    root = tmp_path_factory.mktemp(name)
    if name == "small":
        small.make_project(root, {"release": {"formats": real_releases.SINGLE}})
        small.run_all(root)
        folder = small.release_folder(root)
    else:
        folder = real_releases.release(root, name)
    rows = {split: _parquet(folder, split) for split in SPLITS}
    return Released(folder, rows)


def _parquet(folder: Path, split: str) -> list[dict[str, Any]]:
    files = sorted((folder / "parquet").glob(f"{split}*.parquet"))
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def read_with(library: str, folder: Path, out: Path) -> dict[str, list[Any]]:
    """What `loaders/read_with_LIBRARY.py` tells of a release: name of each file to its rows."""
    python = ROOT / ".venv-loaders" / library / "bin" / "python"
    assert python.exists(), f"{python} is missing: run `make test-loaders`"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(out),
        "HF_HOME": str(out / "hub"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [python, SCRIPTS / f"read_with_{library}.py", folder, out], cwd=SCRIPTS, env=environment,
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        for path in sorted(out.glob("*.jsonl"))
    }


def plain(messages: list[dict[str, str]]) -> Turns:
    return [[m["role"], m["content"]] for m in messages]


def rendered(turns: Turns) -> str:
    return "".join(f"<|begin|>{role}\n{text}<|end|>\n" for role, text in turns)


def without_system(turns: Turns) -> Turns:
    return [turn for turn in turns if turn[0] != "system"]


@pytest.mark.parametrize("released", ["small", *REAL], indirect=True)
def test_trl_reads_every_format_with_its_text(released: Released, tmp_path: Path) -> None:
    read = read_with("trl", released.folder, tmp_path)
    assert {name.rsplit("_", 1)[0] for name in read} == released.formats
    for split in SPLITS:
        for name in released.formats:
            found, rows = read.get(f"{name}_{split}", []), released.rows[split]
            assert len(found) == len(rows), (name, split)
            for told, row in zip(found, rows, strict=True):
                _same_for_trl(name, told, row)


def _same_for_trl(name: str, told: Any, row: dict[str, Any]) -> None:
    if "chosen" in row:
        prompt = plain(row["prompt"])
        assert told == {side: prompt + plain(row[side]) for side in ("chosen", "rejected")}
        return
    turns = plain(row["messages"])
    if name in ("chat", "sharegpt", "parquet"):
        assert told == turns
    elif name == "completion":
        assert told == [["user", "\n\n".join(text for _, text in turns[:-1])], ["assistant", turns[-1][1]]]
    else:
        parts = dict(told)
        asked = without_system(turns)[0][1]
        assert parts["output"] == turns[-1][1] and asked in (parts["instruction"], parts["input"])


@pytest.mark.parametrize("released", ["small", *REAL], indirect=True)
def test_llamafactory_reads_what_dataset_info_names(released: Released, tmp_path: Path) -> None:
    index = released.folder / "dataset_info.json"
    assert index.exists() == (
        "preference" not in released.formats
    )  # its converter takes no lists of messages
    if not index.exists():
        return
    named = json.loads(index.read_text(encoding="utf-8"))
    read = read_with("llamafactory", released.folder, tmp_path)
    assert read.keys() == set(named)
    for name, found in read.items():
        layout, split = name.rsplit("_", 1)
        rows = released.rows[split]
        assert len(found) == len(rows), name
        for told, row in zip(found, rows, strict=True):
            if "chosen" in row:
                assert told["chosen"][-1][1] == row["chosen"][-1]["content"]
                assert told["rejected"] == row["rejected"][-1]["content"]
            elif layout in ("alpaca", "completion"):
                turns = plain(row["messages"])
                assert told[-1] == turns[-1]
                assert told[-2][1].endswith(without_system(turns)[0][1])
            else:
                assert told == plain(row["messages"]), name


@pytest.mark.parametrize("released", ["small", *REAL], indirect=True)
def test_axolotl_learns_the_answers_and_nothing_else(released: Released, tmp_path: Path) -> None:
    read = read_with("axolotl", released.folder, tmp_path)
    layouts = {name.rsplit("_", 1)[0] for name in read}
    assert layouts == released.formats & {"chat", "sharegpt", "alpaca", "preference"}
    for split in SPLITS:
        for layout in layouts:
            found, rows = read.get(f"{layout}_{split}", []), released.rows[split]
            assert len(found) == len(rows), (layout, split)
            for told, row in zip(found, rows, strict=True):
                _same_for_axolotl(layout, told, row)


def _same_for_axolotl(layout: str, told: dict[str, str], row: dict[str, Any]) -> None:
    if layout == "preference":
        assert told["prompt"] == rendered(plain(row["prompt"])) + "<|begin|>assistant\n"
        for side in ("chosen", "rejected"):
            assert told[side] == row[side][-1]["content"] + "<|end|>"
        return
    turns = plain(row["messages"])
    if layout == "alpaca":
        assert told["learned"] == turns[-1][1] + "<|end|>"
        assert without_system(turns)[0][1] in told["text"]
        return
    assert told["text"] == rendered(turns)
    assert told["learned"] == "".join(f"{text}<|end|>" for role, text in turns if role == "assistant")
