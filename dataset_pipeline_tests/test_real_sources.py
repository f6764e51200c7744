"""Real files, as shipped, through a spec: counts that are known, and rows compared with a plain reading of the file.

The plain reading uses nothing of ours: json, csv and str.split of the standard library.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.engine import context_of, run_step
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.scenario import call, make_project

pytestmark = pytest.mark.real_data
DAY = dt.date(2026, 3, 1)
CLASSES = {"behavior": "x", "type": "classification", "labels": ["a", "b"]}
INSTRUCTION = {"behavior": "x", "type": "instruction"}
CHAT = {"behavior": "x", "type": "chat"}


def shipped(*parts: str) -> Path:
    return Path(os.environ["DATASET_PIPELINE_REAL_DATA"]).joinpath(*parts)


def unpacked(*parts: str) -> str:
    return gzip.decompress(shipped(*parts).read_bytes()).decode("utf-8")


def source(path: str, **keys: Any) -> dict[str, Any]:
    rights = {"license": "MIT", "holder": "its authors", "basis": "its licence", "uses": ["train"]}
    return {"name": "s", "kind": "licensed", "path": path, "collected_at": str(DAY), "rights": rights} | keys


@dataclass(frozen=True)
class Read:
    """What ingest published: records in file order with (role, content) turns, and rejects as (uri, line, reason)."""

    records: pl.DataFrame
    rejects: list[tuple[str, int, str]]
    rows_read: int

    def turns(self, **where: Any) -> list[list[tuple[str, str]]]:
        chosen = self.records.filter(*(pl.col(k) == v for k, v in where.items()))
        return [[(m["role"], m["content"]) for m in messages] for messages in chosen["messages"]]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    release_run_lock(tmp_path / "warehouse.duckdb")


def ingested(root: Path, task: dict[str, Any], *sources: dict[str, Any], gates: Any = None) -> Read:
    """The files that lie below `root` through ingest, its gate included."""
    content: dict[str, Any] = {"name": "real", "task": task, "sources": list(sources)}
    if gates:
        content["gates"] = {"ingest": gates}
    context = context_of(load_project(make_project(root, content, {})))
    run_step(context, Step.INGEST, [DAY], "test")
    records = context.warehouse.table(Step.INGEST).sort("source", "uri", "line", "byte_offset")
    rejects = context.warehouse.table("rejects").sort("uri", "line").select("uri", "line", "reason").rows()
    batches = context.warehouse.table("batches")
    read = int(batches["rows_read"].sum())
    assert read == records.height + len(rejects)
    return Read(records, rejects, read)


def copied(root: Path, *parts: str) -> str:
    shutil.copy(shipped(*parts), root / parts[-1])
    return parts[-1]


def ten(length: int) -> list[int]:
    """Ten places from the first to the last."""
    return [round(n * (length - 1) / 9) for n in range(10)]


def exchange(prompt: str, answer: str) -> list[tuple[str, str]]:
    return [("user", prompt), ("assistant", answer)]


def joined(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part and part.strip())


@pytest.mark.parametrize(("version", "rows", "broken"), [(1, 2375, 0), (2, 2280, 14), (3, 1205, 0)])
def test_real_alpaca_libre_rows_and_lines_that_are_no_json(
    root: Path, version: int, rows: int, broken: int
) -> None:
    name = copied(root, "alpaca_libre", f"alpaca_libre_tasks_v{version}.jsonl.gz")
    found = ingested(root, INSTRUCTION, source(name, layout="alpaca"))
    plain, bad = {}, []
    for number, line in enumerate(unpacked("alpaca_libre", name).split("\n"), 1):
        try:
            plain[number] = json.loads(line)
        except ValueError:
            bad += [number] if line.strip() else []
    assert (found.records.height, len(bad)) == (rows, broken)
    assert found.rejects == [(name, number, "invalid_json") for number in bad]
    for line in [list(plain)[n] for n in ten(rows)]:
        row = plain[line]
        text = row["instruction"] if not row["input"] else joined(row["instruction"], row["input"])
        assert found.turns(line=line) == [exchange(text, row["output"])]


@pytest.mark.parametrize(
    ("folder", "name", "rows"),
    [("gpteacher_codegen/Codegen", "codegen-instruct.json.gz", 4535)]
    + [("gpteacher_toolformer", f"toolformer-{level}-dataset.json.gz", rows)
       for level, rows in (("dedupe-only", 7673), ("similarity-0.9", 5959), ("similarity-0.8", 4709),
                           ("similarity-0.7", 3487), ("similarity-0.6", 2396))],
)  # fmt: skip
def test_real_gpteacher_arrays_are_read_item_by_item(root: Path, folder: str, name: str, rows: int) -> None:
    copied(root, folder, name)
    fields = {"input": ["instruction", "input"], "output": "response"}
    found = ingested(root, INSTRUCTION, source(name, fields=fields))
    plain = json.loads(unpacked(folder, name))
    assert (found.records.height, found.rejects) == (rows, [])
    turns = found.turns()
    for place in ten(rows):
        row = plain[place]
        assert turns[place] == exchange(joined(row["instruction"], row.get("input")), row["response"])


def test_real_clinc150_lists_of_one_document_are_sources_and_a_protected_set(root: Path) -> None:
    name = copied(root, "clinc150", "data_full.json.gz")
    plain = json.loads(unpacked("clinc150", name))
    labels = sorted({label for rows in plain.values() for _, label in rows})
    fields = {"input": 0, "output": 1}
    lists = ("train", "val", "oos_train", "oos_val", "oos_test")
    sources = [source(name, name=key, records=key, fields=fields) for key in lists]
    task = {"behavior": "x", "type": "classification", "labels": labels}
    content = {
        "name": "real", "task": task, "sources": sources,
        "decontaminate": {"sets": [{"name": "test", "path": name, "records": "test", "fields": fields}]},
    }  # fmt: skip
    assert call("check", make_project(root, content, {})).exit_code == 0
    found = ingested(root, task, *sources)
    counts = dict(found.records.group_by("source").len().iter_rows())
    assert counts == {"train": 15000, "val": 3000, "oos_train": 100, "oos_val": 100, "oos_test": 1000}
    assert found.rejects == []
    for key in lists:
        turns = found.turns(source=key)
        assert [turns[n] for n in ten(len(turns))] == [exchange(*plain[key][n]) for n in ten(len(plain[key]))]


@pytest.mark.parametrize(("name", "rows"), [("train.jsonl.gz", 7473), ("test.jsonl.gz", 1319)])
def test_real_gsm8k_questions_and_answers(root: Path, name: str, rows: int) -> None:
    copied(root, "gsm8k", name)
    found = ingested(root, INSTRUCTION, source(name, fields={"input": "question", "output": "answer"}))
    plain = [json.loads(line) for line in unpacked("gsm8k", name).splitlines()]
    assert (found.records.height, found.rejects) == (rows, [])
    turns = found.turns()
    assert [turns[n] for n in ten(rows)] == [
        exchange(plain[n]["question"], plain[n]["answer"]) for n in ten(rows)
    ]


def _spoken(transcript: str) -> list[tuple[str, str]]:
    turns = []
    for part in transcript.split("\n\nHuman:")[1:]:
        asked, *answers = part.split("\n\nAssistant:")
        turns += [("user", asked.strip()), *(("assistant", answer.strip()) for answer in answers)]
    return turns


def test_real_hh_rlhf_transcript_pairs(root: Path) -> None:
    name = copied(root, "hh_rlhf_harmless_test", "harmless-base", "test.jsonl.gz")
    found = ingested(root, CHAT, source(name, layout="preference"))
    plain = {
        n: json.loads(line)
        for n, line in enumerate(unpacked("hh_rlhf_harmless_test", "harmless-base", name).splitlines(), 1)
    }
    assert found.rows_read == len(plain) == 2312
    refused = {line: reason for _, line, reason in found.rejects}
    for line, row in plain.items():
        turns = _spoken(row["chosen"])
        alternate = [role for role, _ in turns] == ["user", "assistant"] * (len(turns) // 2)
        whole = alternate and all(content for _, content in turns)
        assert (line in refused) is not whole, (line, refused.get(line))
        if whole:
            assert refused.get(line) is None
    for line in [sorted(set(plain) - set(refused))[n] for n in ten(found.records.height)]:
        assert found.turns(line=line) == [_spoken(plain[line]["chosen"])]
    assert set(refused.values()) <= {"roles_out_of_order", "empty_message"}


def test_real_hh_rlhf_file_that_is_not_what_its_name_says_is_named(root: Path) -> None:
    name = copied(root, "hh_rlhf_harmless_test", "helpful-base", "test.jsonl.gz")
    content = {"name": "real", "task": CHAT, "sources": [source(name, layout="preference")]}
    for command in ("check", "run"):
        result = call(command, make_project(root, content, {}))
        assert result.exit_code == 2
        assert "test.jsonl.gz: is not gzip (a Git LFS pointer?). Fetch the file itself" in result.output


def _best_paths(node: dict[str, Any], before: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    path = [*before, ("assistant" if node["role"] == "assistant" else "user", node["text"])]
    replies = [r for r in node["replies"] if not r["deleted"] and r["review_result"] is not False]
    answers = [r for r in replies if r["role"] == "assistant"]
    if answers:
        ranked = [r for r in answers if r.get("rank") is not None]
        best = min(ranked, key=lambda r: r["rank"]) if ranked else None
        replies = [r for r in replies if r["role"] != "assistant"] + ([best] if best else answers[:1])
    if not replies:
        yield path
    for reply in replies:
        yield from _best_paths(reply, path)


@pytest.mark.parametrize("name", ["en_100_tree.jsonl.gz", "en_100_message.jsonl.gz"])
def test_real_oasst_trees_give_the_paths_of_best_answers(root: Path, name: str) -> None:
    copied(root, "oasst_sample", name)
    found = ingested(root, CHAT, source(name, layout="tree"))
    trees = [json.loads(line) for line in unpacked("oasst_sample", name).splitlines()]
    assert found.records["group"].n_unique() == len(trees) == 100
    expected = {}
    for line, tree in enumerate(trees, 1):
        paths = [p[: max(n for n, t in enumerate(p) if t[0] == "assistant") + 1] for p in _best_paths(tree.get("prompt", tree), [])
                 if any(t[0] == "assistant" for t in p)]  # fmt: skip
        expected[line] = {tuple(p) for p in paths}
    for line, paths in expected.items():
        got = [tuple(turns) for turns in found.turns(line=line)]
        # Where no answer is ranked, any of them may be the one: their number is what is known.
        assert len(got) == len(set(got)) == len(paths)
    same = sum(set(map(tuple, found.turns(line=line))) == paths for line, paths in expected.items())
    assert same >= 90 and found.rejects == []


@pytest.mark.parametrize(
    ("folder", "name", "rows"),
    [("data", "seed_tasks.jsonl.gz", 175), ("human_eval", "user_oriented_instructions.jsonl.gz", 252)],
)
def test_real_selfinstruct_instances_are_records(root: Path, folder: str, name: str, rows: int) -> None:
    copied(root, "selfinstruct_seeds", folder, name)
    fields = {"id": "id", "input": ["instruction", "instances.input"], "output": "instances.output"}
    found = ingested(root, INSTRUCTION, source(name, explode="instances", fields=fields))
    plain = [json.loads(line) for line in unpacked("selfinstruct_seeds", folder, name).splitlines()]
    pairs = [(row, instance) for row in plain for instance in row["instances"]]
    assert (found.records.height, len(pairs), found.rejects) == (rows, rows, [])
    turns = found.turns()
    for place in ten(rows):
        row, instance = pairs[place]
        assert turns[place] == exchange(joined(row["instruction"], instance["input"]), instance["output"])


CSV_FILES = [
    ("davidson_hate", "labeled_data.csv.gz", ["tweet"], "class", 24783),
    ("crowd_rte", "rte.standardized.csv.gz", ["hypothesis", "text"], "response", 8000),
    ("dedupe_csv/csv_example", "csv_example_messy_input.csv.gz", ["Site name"], None, None),
    ("dedupe_csv/csv_example", "csv_example_input_with_true_ids.csv.gz", ["Site name"], "True Id", None),
    ("dedupe_csv/record_linkage_example", "AbtBuy_Abt.csv.gz", ["title"], None, None),
    ("dedupe_csv/record_linkage_example", "AbtBuy_Buy.csv.gz", ["title"], None, None),
]


@pytest.mark.parametrize(("folder", "name", "columns", "label", "rows"), CSV_FILES)
def test_real_csv_files_row_by_row(
    root: Path, folder: str, name: str, columns: list[str], label: str | None, rows: int | None
) -> None:
    copied(root, folder, name)
    fields = {"input": columns} | ({"output": label} if label else {})
    found = ingested(root, CLASSES, source(name, fields=fields))
    raw = gzip.decompress(shipped(folder, name).read_bytes())
    try:
        text, encoding = raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text, encoding = raw.decode("utf-8", "replace"), "broken"
    plain = list(csv.DictReader(io.StringIO(text, newline="")))
    assert found.rows_read == len(plain) and rows in (None, len(plain))
    assert {reason for *_, reason in found.rejects} <= (
        {"invalid_encoding"} if encoding == "broken" else set()
    )
    turns = found.turns()
    if not found.rejects:
        for place in ten(len(plain)):
            row = plain[place]
            asked = row[columns[0]] if len(columns) == 1 else joined(*(row[c] for c in columns))
            answer = [("assistant", row[label])] if label and row[label].strip() else []
            assert turns[place] == [("user", asked), *answer]


def test_real_lingua_sentences_are_lines_and_their_file_is_the_label(root: Path) -> None:
    with tarfile.open(shipped("lingua_sentences", "files.tar.gz")) as archive:
        archive.extractall(root / "lines", filter="data")
    files = sorted(p for p in (root / "lines").rglob("*.txt"))
    labels = sorted({p.stem for p in files})
    task = {"behavior": "x", "type": "classification", "labels": labels}
    pattern = f"{files[0].parent.relative_to(root).as_posix()}/*.txt"
    found = ingested(root, task, source(pattern, fields={"input": "text", "output": "file.stem"}))
    plain = {p.relative_to(root).as_posix(): p.read_bytes().decode("utf-8").split("\n") for p in files}
    lines = [(uri, n, line) for uri, text in plain.items() for n, line in enumerate(text, 1) if line.strip()]
    assert len(files) == 75 and found.records.height == len(lines) and found.rejects == []
    # SOURCE.md counts 74,158 with str.splitlines, which also cuts at characters inside 17 sentences.
    assert sum(len("\n".join(t).splitlines()) for t in plain.values()) == 74_158
    for place in ten(len(lines)):
        uri, number, line = lines[place]
        assert found.turns(uri=uri, line=number) == [exchange(line.rstrip("\r"), Path(uri).stem)]


ENCODINGS = {
    "sample-arabic-1": "cp1256", "sample-chinese": "big5", "sample-french-1": "cp1252", "sample-greek": "cp1253",
    "sample-greek-2": "iso8859-7", "sample-hebrew-2": "cp1255", "sample-hebrew-3": "iso8859-8",
    "sample-korean": "euc_kr", "sample-russian": "mac_cyrillic", "sample-turkish": "cp1254",
}  # fmt: skip


def test_real_charset_samples_by_declared_encoding(root: Path) -> None:
    with tarfile.open(shipped("charset_samples", "files.tar.gz")) as archive:
        archive.extractall(root, filter="data")
    files = sorted(p for p in root.rglob("*.txt"))
    sources = [
        source(
            p.relative_to(root).as_posix(),
            name=f"s{n}",
            fields={"input": "text"},
            encoding=ENCODINGS.get(p.stem, "utf-8"),
        )
        for n, p in enumerate(files)
    ]
    found = ingested(root, CLASSES, *sources)
    assert len(files) == 18 and found.rejects == []
    for n, path in enumerate(files):
        plain = path.read_bytes().decode(ENCODINGS.get(path.stem, "utf-8")).removeprefix("\ufeff").split("\n")
        expected = [line.removesuffix("\r") for line in plain if line.strip()]
        assert [turns[0][1] for turns in found.turns(source=f"s{n}")] == expected
    assert not any("\ufffd" in turns[0][1] for turns in found.turns())


def test_real_charset_samples_of_an_undeclared_encoding_are_rejected_not_guessed(root: Path) -> None:
    with tarfile.open(shipped("charset_samples", "files.tar.gz")) as archive:
        archive.extractall(root, filter="data")
    [path] = root.rglob("sample-korean.txt")
    found = ingested(root, CLASSES, source(path.relative_to(root).as_posix(), fields={"input": "text"}))
    assert {reason for *_, reason in found.rejects} == {"invalid_encoding"}
