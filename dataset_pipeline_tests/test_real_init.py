"""`init --from` every published file: never a traceback, and the guess that a person would make.

What is expected is taken from the description beside each file, not from what init says.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from dataset_pipeline_tests.scenario import call, last_json

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"


@pytest.fixture(scope="module")
def folder() -> Path:
    assert os.environ.get(VARIABLE), f"set {VARIABLE} to the folder of real data"
    return Path(os.environ[VARIABLE])


def begun(tmp_path: Path, source: Path) -> tuple[Result, dict[str, Any]]:
    """What init says of a file, and the spec it writes; `check` finds nothing wrong with it."""
    result = call("init", None, str(tmp_path / "project"), "--from", str(source))
    assert result.exit_code == 0, result.output
    path = tmp_path / "project" / "dataset.yaml"
    assert last_json(call("check", path, "--json"))["problems"] == []
    return result, yaml.safe_load(path.read_text("utf-8"))


EXPECTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "alpaca_libre/alpaca_libre_tasks_v1.jsonl.gz": ("jsonl", "instruction", {"layout": "alpaca"}),
    "alpaca_libre/alpaca_libre_tasks_v2.jsonl.gz": ("jsonl", "instruction", {"layout": "alpaca"}),
    "gpteacher_codegen/Codegen/codegen-instruct.json.gz": ("json", "instruction", {"fields": {"input": ["instruction", "input"], "output": "response"}}),
    "gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz": ("json", "instruction", {"fields": {"input": ["instruction", "input"], "output": "response"}}),
    "clinc150/data_full.json.gz": ("json", "classification", {"records": "train", "fields": {"input": 0, "output": 1}}),
    "gsm8k/train.jsonl.gz": ("jsonl", "instruction", {"fields": {"input": "question", "output": "answer"}}),
    "gsm8k_alpaca_fmt/gsm_8k_train.json.gz": ("json", "instruction", {"layout": "alpaca"}),
    "hh_rlhf_harmless_test/harmless-base/test.jsonl.gz": ("jsonl", "preference", {"layout": "preference"}),
    "oasst_sample/en_100_tree.jsonl.gz": ("jsonl", "chat", {"layout": "tree"}),
    "selfinstruct_seeds/data/seed_tasks.jsonl.gz": ("jsonl", "instruction", {"explode": "instances", "fields": {"id": "id", "input": ["instruction", "instances.input"], "output": "instances.output"}}),
    "davidson_hate/labeled_data.csv.gz": ("csv", "classification", {"fields": {"input": "tweet", "output": "class"}}),
    "crowd_rte/rte.standardized.csv.gz": ("csv", "classification", {"fields": {"input": ["text", "hypothesis"], "output": "gold"}}),
    "hatecheck/all_cases.csv.gz": ("csv", "classification", {"fields": {"id": "case_id", "input": "test_case", "output": "label_gold"}}),
    "banking77/train.csv.gz": ("csv", "classification", {"fields": {"input": "text", "output": "category"}}),
    "humaneval/HumanEval.jsonl.gz": ("jsonl", "completion", {"fields": {"id": "task_id", "input": "prompt", "output": "canonical_solution"}}),
}  # fmt: skip
LABELS = {
    "clinc150/data_full.json.gz": 150,
    "davidson_hate/labeled_data.csv.gz": 3,
    "crowd_rte/rte.standardized.csv.gz": 2,
    "hatecheck/all_cases.csv.gz": 2,
    "banking77/train.csv.gz": 77,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_init_guesses_format_layout_columns_and_labels(folder: Path, tmp_path: Path, name: str) -> None:
    file_format, task, expected = EXPECTED[name]
    result, spec = begun(tmp_path, folder / name)
    source = spec["sources"][0]
    keys = ("records", "layout", "fields", "explode", "encoding", "delimiter", "header")
    assert {k: source[k] for k in keys if k in source} == expected
    assert spec["task"]["type"] == task and len(spec["task"].get("labels", ())) == LABELS.get(name, 0)
    assert f"guessed: format {file_format}, " in result.stdout


@pytest.mark.parametrize("name", ["csv_example_input_with_true_ids.csv.gz", "csv_example_messy_input.csv.gz"])
def test_real_init_table_without_texts_is_read(folder: Path, tmp_path: Path, name: str) -> None:
    result, spec = begun(tmp_path, folder / "dedupe_csv/csv_example" / name)
    assert "guessed: format csv, " in result.stdout and spec["sources"][0]["fields"]["id"] == "Id"


def test_real_init_file_that_is_an_lfs_pointer_is_refused(folder: Path, tmp_path: Path) -> None:
    pointer = folder / "hh_rlhf_harmless_test/helpful-base/test.jsonl.gz"
    result = call("init", None, str(tmp_path / "project"), "--from", str(pointer))
    assert (
        result.exit_code == 2 and "is a Git LFS pointer" in result.stderr and "git lfs pull" in result.stderr
    )


def unpacked(folder: Path, name: str, tmp_path: Path) -> Path:
    with tarfile.open(folder / name / "files.tar.gz") as archive:
        archive.extractall(tmp_path / name, filter="data")
    return tmp_path / name


def test_real_init_sentences_of_a_language_are_one_record_a_line(folder: Path, tmp_path: Path) -> None:
    source = next(unpacked(folder, "lingua_sentences", tmp_path).rglob("de.txt"))
    result, spec = begun(tmp_path, source)
    assert "guessed: format text, " in result.stdout and spec["sources"][0]["fields"] == {"input": "text"}


OLD_ENCODINGS = {
    "sample-arabic-1.txt": "cp1256", "sample-french-1.txt": "cp1252", "sample-greek.txt": "cp1253",
    "sample-hebrew-2.txt": "cp1255", "sample-korean.txt": "euc_kr", "sample-russian.txt": "cp1251",
}  # fmt: skip


def test_real_init_old_encodings_are_guessed_and_said_to_be(folder: Path, tmp_path: Path) -> None:
    samples = unpacked(folder, "charset_samples", tmp_path)
    for number, (name, encoding) in enumerate(OLD_ENCODINGS.items()):
        result, spec = begun(tmp_path / str(number), next(samples.rglob(name)))
        assert spec["sources"][0]["encoding"] == encoding, name
        assert f"encoding {encoding}: the file is not UTF-8" in result.stdout


@pytest.mark.faults
def test_real_init_no_file_ends_in_a_traceback(folder: Path, tmp_path: Path) -> None:
    skipped = ("SHA256SUMS",)
    sources = [
        p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".md" and p.name not in skipped
    ]
    for archive in [p for p in sources if p.name.endswith(".tar.gz")]:
        inside = unpacked(folder, archive.parent.name, tmp_path / "unpacked")
        sources += [p for p in sorted(inside.rglob("*")) if p.is_file()]
    assert len(sources) > 100
    for source in sources:
        result = call("init", None, str(tmp_path / "project"), "--from", str(source))
        assert result.exception is None or isinstance(result.exception, SystemExit), source
        assert result.exit_code in (0, 2), source
        if result.exit_code == 2:
            assert len(result.stderr.splitlines()) == 1 and source.name in result.stderr, source
        else:
            checked = call("check", tmp_path / "project" / "dataset.yaml")
            assert checked.exit_code in (0, 2) and "Traceback" not in checked.output, source
        shutil.rmtree(tmp_path / "project", ignore_errors=True)
