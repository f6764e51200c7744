"""Layouts on files as their owners ship them, against facts computed here with a few lines of plain Python.

What the SOURCE.md beside each file says of it stands here as constants.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.spec.reading import Shape
from dataset_pipeline.transforms.layouts import Conversation, Refusal, RowMapper
from dataset_pipeline_tests.test_layouts import said, shape

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
PAIRS = 2312
PAIRS_BY_USER_TURNS = {1: 662, 3: 590, 2: 584, 4: 354, 5: 69, 6: 20, 7: 16, 8: 7}
"""hh-rlhf, harmless-base, test, as SOURCE.md says, which lists the eight most frequent."""
TREES, TREE_MESSAGES = 100, 1167
SEEDS, USER_TASKS = 175, 252
GSM8K = {"train": 7473, "test": 1319}
ALPACA_LIBRE = {"v1": 2375, "v3": 1205}


def rows(path: str) -> list[dict[str, Any]]:
    if not os.environ.get(VARIABLE):
        pytest.fail(f"set {VARIABLE} to the folder of the real data, or leave out -m real_data")
    file = Path(os.environ[VARIABLE]) / path
    data = gzip.decompress(file.read_bytes()) if path.endswith(".gz") else file.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines() if line.strip()]


def mapped(of: Shape, task: str, path: str) -> list[list[Conversation | Refusal]]:
    mapper = RowMapper(of, task, False, path)
    return [mapper.records(row) for row in rows(path)]


# --- pairs of transcripts -----------------------------------------------------------------

HH = "hh_rlhf_harmless_test/harmless-base/test.jsonl.gz"


def split(text: str) -> list[tuple[str, str]]:
    """A transcript cut at its two markers, by a pattern of our own."""
    parts = re.split(r"\n\n(Human|Assistant):", text)
    assert parts[0] == ""
    names = {"Human": "user", "Assistant": "assistant"}
    return [(names[who], what.strip()) for who, what in zip(parts[1::2], parts[2::2], strict=True)]


def is_sound(turns: list[tuple[str, str]]) -> bool:
    return all(what for _, what in turns) and [who for who, _ in turns] == ["user", "assistant"] * (
        len(turns) // 2
    )


def test_real_pairs_of_transcripts_are_cut_where_they_part() -> None:
    source, found = rows(HH), mapped(shape("preference"), "preference", HH)
    assert len(source) == len(found) == PAIRS
    kept = Counter[int]()
    for row, records in zip(source, found, strict=True):
        chosen, rejected = split(row["chosen"]), split(row["rejected"])
        [record] = records
        assert isinstance(record, Conversation) == (is_sound(chosen) and is_sound(rejected))
        if isinstance(record, Conversation):
            shared = record.prompt_turns
            assert shared is not None
            assert said(record.messages) == chosen
            assert said(record.messages[:shared]) + said(record.rejected) == rejected
            assert record.messages[shared - 1]["role"] == "user"
            kept[len(chosen) // 2] += 1
    refused = Counter(r.reason for records in found for r in records if isinstance(r, Refusal))
    assert refused == {"empty_message": 4, "roles_out_of_order": 9}
    assert kept.total() == PAIRS - 13
    for turns, pairs in PAIRS_BY_USER_TURNS.items():
        assert pairs - 13 <= kept[turns] <= pairs


def test_real_transcripts_are_chats_too() -> None:
    found = mapped(shape("transcript", messages="chosen"), "chat", HH)
    for row, [record] in zip(rows(HH), found, strict=True):
        turns = split(row["chosen"])
        assert said(record.messages) == turns if isinstance(record, Conversation) else not is_sound(turns)


# --- trees --------------------------------------------------------------------------------

TREE_FILES = ("oasst_sample/en_100_tree.jsonl.gz", "oasst_sample/en_100_message.jsonl.gz")


def answered_paths(node: dict[str, Any], so_far: tuple[str, ...], only_best: bool) -> set[tuple[str, ...]]:
    """Ids of the messages of each path, by recursion, cut after the last answer."""
    path = (*so_far, node["message_id"])
    replies = node["replies"]
    if only_best and node["role"] == "prompter" and any(r.get("rank") is not None for r in replies):
        replies = [r for r in replies if r.get("rank") == 0]
    elif only_best and node["role"] == "prompter":
        replies = sorted(replies, key=lambda r: str(r["message_id"]))[:1]
    if not replies:
        cut = path if node["role"] == "assistant" else so_far
        return {cut} if cut else set()
    return set().union(*(answered_paths(reply, path, only_best) for reply in replies))


def all_nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(n for reply in node["replies"] for n in all_nodes(reply))]


@pytest.mark.parametrize("path", TREE_FILES)
@pytest.mark.parametrize(("replies", "expected"), [("all", 564), ("best", 108)])
def test_real_trees_become_their_answered_paths(path: str, replies: str, expected: int) -> None:
    source, found = rows(path), mapped(shape("tree", replies=replies), "chat", path)
    assert len(source) == TREES
    nodes = 0
    for row, records in zip(source, found, strict=True):
        root = row.get("prompt", row)
        by_id = {node["message_id"]: node for node in all_nodes(root)}
        nodes += len(by_id)
        wanted = answered_paths(root, (), replies == "best")
        assert {record.source_id for record in records if isinstance(record, Conversation)} == {
            p[-1] for p in wanted
        }
        assert len(records) == len(wanted)
        texts = {p[-1]: [by_id[name]["text"] for name in p] for p in wanted}
        for record in records:
            assert isinstance(record, Conversation)
            assert record.group == root["message_id"]
            assert [m["content"] for m in record.messages] == texts[str(record.source_id)]
    assert nodes == TREE_MESSAGES
    assert sum(map(len, found)) == expected


# --- lists inside rows, and plain rows ----------------------------------------------------

INSTANCES = shape(explode="instances", id="id", input=("instruction", "instances.input"), output="instances.output")  # fmt: skip


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("selfinstruct_seeds/data/seed_tasks.jsonl.gz", SEEDS),
        ("selfinstruct_seeds/human_eval/user_oriented_instructions.jsonl.gz", USER_TASKS),
        ("gpteacher_codegen/code_seed_tasks.jsonl", 21),
    ],
)
def test_real_instances_become_records(path: str, count: int) -> None:
    source, found = rows(path), mapped(INSTANCES, "instruction", path)
    assert len(source) == count
    for row, records in zip(source, found, strict=True):
        assert len(records) == len(row["instances"])
        for record, item in zip(records, row["instances"], strict=True):
            assert isinstance(record, Conversation)
            prompt = "\n\n".join(part for part in (row["instruction"], item["input"]) if part.strip())
            assert said(record.messages) == [("user", prompt), ("assistant", item["output"])]
            assert record.payload == row | {"instances": item}
            assert record.source_id == row["id"]


@pytest.mark.parametrize("part", GSM8K)
def test_real_questions_become_records(part: str) -> None:
    path = f"gsm8k/{part}.jsonl.gz"
    found = mapped(shape(input="question", output="answer"), "instruction", path)
    assert len(found) == GSM8K[part]
    for row, [record] in zip(rows(path), found, strict=True):
        assert isinstance(record, Conversation)
        assert said(record.messages) == [("user", row["question"]), ("assistant", row["answer"])]


@pytest.mark.parametrize("version", ALPACA_LIBRE)
def test_real_alpaca_rows_become_records(version: str) -> None:
    path = f"alpaca_libre/alpaca_libre_tasks_{version}.jsonl.gz"
    found = mapped(shape("alpaca", group="status"), "instruction", path)
    assert len(found) == ALPACA_LIBRE[version]
    for row, [record] in zip(rows(path), found, strict=True):
        assert isinstance(record, Conversation)
        parts = [row["instruction"], row.get("input") or ""]
        assert record.messages[0]["content"] == "\n\n".join(part for part in parts if part.strip())
        assert (record.messages[1]["content"], record.group) == (row["output"], row["status"])
