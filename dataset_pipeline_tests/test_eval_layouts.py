"""Evaluation sets in the usual layouts are read without a mapping: what is asked, what is answered, the id.

Lives here: one row or two of each layout, the files they come in, and what fits none. Keep out: mapped sets
(`test_layouts`), comparing records with items (`test_decontaminate`).
"""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.evalsets import Protected, read_protected
from dataset_pipeline.errors import SpecError
from dataset_pipeline.spec.models import EvalSet
from dataset_pipeline.spec.params import ProtectedParams
from dataset_pipeline.transforms import eval_layouts
from dataset_pipeline.transforms.eval_layouts import EVAL_LAYOUTS, common_columns, layout_of
from dataset_pipeline_tests.scenario import call, csv_bytes, jsonl, make_project, spec

PAGE = Path(__file__).parent.parent / "docs" / "evaluation-sets.md"


def read(folder: Path, name: str, data: bytes, **keys: Any) -> Protected:
    """The items of one file, read as an evaluation set."""
    (folder / name).write_bytes(data)
    one = EvalSet.model_validate_json(json.dumps({"name": "bench", "path": name} | keys))
    return read_protected(folder, ProtectedParams(answers_are_labels=False, examples=(), sets=(one,)))


def items(protected: Protected) -> list[tuple[Any, ...]]:
    assert protected.unreadable == ()
    return list(protected.items.select("eval_item", "text", pl.last()).iter_rows())


# --- layouts ------------------------------------------------------------------------------

LAYOUTS: dict[str, tuple[dict[str, Any], tuple[str, str | None]]] = {
    "gsm8k": ({"question": "How many ducks?", "answer": "#### 18"}, ("How many ducks?", "#### 18")),
    "humaneval": (
        {"task_id": "H/0", "prompt": "def f():", "canonical_solution": " return 1", "entry_point": "f", "test": "t"},
        ("def f():", " return 1"),
    ),
    "mbpp": (
        {"task_id": 11, "text": "Write a function.", "code": "def g(): pass", "test_list": ["assert g()"]},
        ("Write a function.", "def g(): pass"),
    ),
    "mbpp_sanitized": ({"prompt": "Write a function.", "code": "pass", "test_imports": []}, ("Write a function.", "pass")),
    "mmlu_index": (
        {"question": "Which gas?", "subject": "chemistry", "choices": ["iron", "neon"], "answer": 1},
        ("Which gas?", "neon"),
    ),
    "mmlu_letter": ({"Question": "Which gas?", "A": "iron", "B": "neon", "C": "tin", "Answer": "B"}, ("Which gas?", "neon")),
    "arc": (
        {"question": "Which gas?", "choices": {"text": ["iron", "neon"], "label": ["1", "2"]}, "answerKey": "2"},
        ("Which gas?", "neon"),
    ),
    "arc_as_shipped": (
        {"question": {"stem": "Which gas?", "choices": [{"text": "iron", "label": "A"}]}, "answerKey": "A"},
        ("Which gas?", None),
    ),
    "labelled_choices": (
        {"question": "Which gas?", "choices": [{"label": "X", "text": "iron"}, {"label": "Y", "text": "neon"}], "answerKey": "Y"},
        ("Which gas?", "neon"),
    ),
    "options": ({"question": "Which gas?", "options": {"A": "iron", "B": "neon"}, "answer": "B"}, ("Which gas?", "neon")),
    "options_by_text": ({"question": "Which gas?", "options": ["iron", "neon"], "answer": "neon"}, ("Which gas?", "neon")),
    "hellaswag": (
        {"ind": 4, "activity_label": "Roof", "ctx_a": "A man", "ctx_b": "sits", "ctx": "A man sits", "endings": ["on it.", "in it."], "label": "1"},
        ("A man sits", "in it."),
    ),
    "winogrande": (
        {"qid": "w1", "sentence": "Ann thanked Eve as _ was kind.", "option1": "Ann", "option2": "Eve", "answer": "2"},
        ("Ann thanked Eve as _ was kind.", "Eve"),
    ),
    "piqa": ({"goal": "Open a jar.", "sol1": "Twist.", "sol2": "Sing.", "label": 0}, ("Open a jar.", "Twist.")),
    "copa": ({"premise": "It rained.", "choice1": "Dry.", "choice2": "Wet.", "question": "effect", "label": 1}, ("It rained.", "Wet.")),
    "math": ({"problem": "Solve x.", "level": "Level 5", "type": "Algebra", "solution": "x = 1"}, ("Solve x.", "x = 1")),
    "alpaca": ({"instruction": "Translate.", "input": "Haus", "output": "house"}, ("Translate.\n\nHaus", "house")),
    "alpaca_without_input": ({"instruction": "Sing.", "input": "", "output": "la"}, ("Sing.", "la")),
    "dolly": ({"instruction": "Sum up.", "context": "A tale.", "response": "Short."}, ("Sum up.\n\nA tale.", "Short.")),
    "mt_bench": ({"question_id": 81, "category": "writing", "turns": ["Write a post.", "Make it shorter."]}, ("Write a post.\n\nMake it shorter.", None)),
    "messages": (
        {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi."}]},
        ("Hi?\n\nHi.", None),
    ),
    "conversations": ({"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hi."}]}, ("Hi?\n\nHi.", None)),
    "big_bench_list": ({"input": "2 + 2 =", "target": ["4", "four"]}, ("2 + 2 =", "4")),
    "big_bench_scores": ({"input": "Is ice cold?", "target_scores": {"no": 0, "yes": 1}}, ("Is ice cold?", "yes")),
    "flan": ({"inputs": "Say hi.", "targets": "Hi."}, ("Say hi.", "Hi.")),
    "prompt_completion": ({"prompt": "Once", "completion": " upon a time"}, ("Once", " upon a time")),
    "classification": ({"text": "My card is lost.", "label": 3}, ("My card is lost.", "3")),
    "banking77": ({"text": "My card is lost.", "category": "lost_card"}, ("My card is lost.", "lost_card")),
    "boolq": ({"question": "is ice cold", "passage": "Ice is frozen water.", "answer": True}, ("is ice cold", "true")),
    "squad": (
        {"id": "s1", "title": "Ice", "context": "Ice is frozen water.", "question": "What is ice?", "answers": {"text": ["frozen water"], "answer_start": [7]}},
        ("What is ice?", "frozen water"),
    ),
    "text_and_question": ({"text": "Ice is frozen water.", "question": "What is ice?", "label": "x"}, ("What is ice?", "x")),
    "nli": ({"premise": "A dog runs.", "hypothesis": "An animal moves.", "label": 0}, ("A dog runs.\n\nAn animal moves.", "0")),
    "paraphrases": ({"question1": "How far?", "question2": "What distance?", "label": 1}, ("How far?\n\nWhat distance?", "1")),
    "query_response": ({"query": "What is ice?", "response": "Water."}, ("What is ice?", "Water.")),
    "truthful_qa": ({"question": "Do stones float?", "best_answer": "No.", "category": "x"}, ("Do stones float?", "No.")),
    "trivia_qa": ({"question": "Who sang it?", "answer": {"value": "Abba", "aliases": ["ABBA"]}}, ("Who sang it?", "Abba")),
    "svamp": (
        {"ID": "chal-1", "Body": "Dan had $ 3.", "Question": "What is left?", "Equation": "3", "Answer": 3.0},
        ("Dan had $ 3.\n\nWhat is left?", "3.0"),
    ),
    "mawps": (
        {"Question": "dan had number0 . what is left ?", "Answer": "3", "Body": "dan had number0 .", "Ques": "what is left ?"},
        ("dan had number0 . what is left ?", "3"),
    ),
    "text_only": ({"text": "A passage of its own."}, ("A passage of its own.", None)),
}  # fmt: skip
"""Layout to a row and its item: the text that is protected, and the answer."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_eval_layouts_row_without_a_mapping_is_its_item(tmp_path: Path, name: str) -> None:
    row, (text, answer) = LAYOUTS[name]
    [(_, found, told)] = items(read(tmp_path, "bench.jsonl", jsonl([row])))
    assert (found, told) == (text, answer)


@pytest.mark.parametrize(
    ("row", "item"),
    [
        (LAYOUTS["humaneval"][0], "H/0"),
        (LAYOUTS["mbpp"][0], "11"),
        (LAYOUTS["svamp"][0], "chal-1"),
        (LAYOUTS["squad"][0], "s1"),
        (LAYOUTS["hellaswag"][0], "bench.jsonl:1"),
        ({"id": None, "question": "Why?"}, "bench.jsonl:1"),
        ({"id": ["a"], "question": "Why?"}, "bench.jsonl:1"),
    ],
)
def test_eval_layouts_id_is_the_sets_own_where_it_has_one(
    tmp_path: Path, row: dict[str, Any], item: str
) -> None:
    assert [found[0] for found in items(read(tmp_path, "bench.jsonl", jsonl([row])))] == [item]


def test_eval_layouts_each_instance_of_a_task_is_an_item(tmp_path: Path) -> None:
    instances = [{"input": "Haus", "output": "house"}, {"input": "", "output": "none"}]
    rows = [{"id": "t0", "instruction": "Translate.", "instances": instances}]
    assert items(read(tmp_path, "seeds.jsonl", jsonl(rows))) == [
        ("t0#0", "Translate.\n\nHaus", "house"),
        ("t0#1", "Translate.", "none"),
    ]


@pytest.mark.parametrize("layout", EVAL_LAYOUTS, ids=lambda one: "+".join(one.needs))
def test_eval_layouts_each_is_found_by_what_it_needs_and_reads_what_it_asks(
    layout: eval_layouts.EvalLayout,
) -> None:
    found = layout_of([name.upper() for name in layout.needs])
    assert found == layout, "another one shadows it"
    assert set(layout.question) & set(layout.needs), "its question may be absent"


def test_eval_layouts_columns_are_those_that_all_first_rows_have() -> None:
    assert common_columns([{"a": 1, "b": None}, {"b": 2, "c": 3}]) == ["b"]
    assert common_columns([]) == [] and layout_of([]) is None


# --- files --------------------------------------------------------------------------------

ROWS = [{"question": "How many ducks?", "answer": "18"}, {"question": "How many geese?", "answer": "3"}]
TEXTS = ["How many ducks?", "How many geese?"]


def _parquet(rows: list[dict[str, Any]], path: Path) -> bytes:
    pl.DataFrame(rows).write_parquet(path)
    return path.read_bytes()


USUAL_FILES = {
    "bench.jsonl": jsonl(ROWS),
    "bench.jsonl.gz": gzip.compress(jsonl(ROWS)),
    "bench.json": json.dumps(ROWS, indent=1).encode(),
    "lines.json": jsonl(ROWS),
    "top.json": json.dumps({"examples": ROWS}).encode(),
    "task.json": json.dumps(
        {"name": "birds", "keywords": ["birds"], "examples": ROWS, "metrics": []}
    ).encode(),
    "bench.csv": csv_bytes(ROWS),
    "bench.tsv": csv_bytes(ROWS).replace(b",", b"\t"),
}


@pytest.mark.parametrize("name", USUAL_FILES)
def test_eval_layouts_are_found_in_every_usual_file(tmp_path: Path, name: str) -> None:
    found = items(read(tmp_path, name, USUAL_FILES[name]))
    assert sorted(text for _, text, _ in found) == TEXTS and {answer for *_, answer in found} == {"18", "3"}


def test_eval_layouts_are_found_in_parquet_with_lists_and_structs(tmp_path: Path) -> None:
    row, (text, answer) = LAYOUTS["arc"]
    data = _parquet([row], tmp_path / "made.parquet")
    assert items(read(tmp_path, "bench.parquet", data)) == [("bench.parquet:1", text, answer)]


def test_eval_layouts_a_single_object_that_is_an_item_is_one(tmp_path: Path) -> None:
    row = LAYOUTS["labelled_choices"][0]
    assert [text for _, text, _ in items(read(tmp_path, "one.json", json.dumps(row).encode()))] == [
        "Which gas?"
    ]


def test_eval_layouts_several_lists_in_a_document_have_to_be_chosen(tmp_path: Path) -> None:
    data = json.dumps({"train": ROWS[:1], "test": ROWS[1:]}).encode()
    with pytest.raises(SpecError, match=r"several lists: train, test\. Name one, .*`records: train`"):
        read(tmp_path, "bench.json", data)
    assert [text for _, text, _ in items(read(tmp_path, "bench.json", data, records="test"))] == TEXTS[1:]


def test_eval_layouts_each_file_of_a_set_may_have_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS[:1]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([{"prompt": "How many swans?", "completion": "2"}]))
    one = EvalSet(name="bench", path="*.jsonl")
    found = read_protected(tmp_path, ProtectedParams(answers_are_labels=False, examples=(), sets=(one,)))
    assert [text for _, text, _ in items(found)] == ["How many ducks?", "How many swans?"]


# --- mappings, and what fits none ---------------------------------------------------------


def test_eval_layouts_a_mapping_goes_before_them(tmp_path: Path) -> None:
    data = jsonl([{"question": "How many ducks?", "hint": "Count the ducks on the pond.", "answer": "18"}])
    asked = {"fields": {"input": "hint"}}
    assert items(read(tmp_path, "a.jsonl", data, **asked)) == [
        ("a.jsonl:1", "Count the ducks on the pond.", None)
    ]
    both = {"fields": {"input": ["question", "hint"], "output": "answer"}}
    [(_, text, answer)] = items(read(tmp_path, "a.jsonl", data, **both))
    assert (text, answer) == ("How many ducks?\n\nCount the ducks on the pond.", "18")
    named = {"fields": {"id": "hint", "output": "hint"}}
    assert items(read(tmp_path, "a.jsonl", data, **named)) == [
        ("Count the ducks on the pond.", "How many ducks?", "Count the ducks on the pond.")
    ]


def test_eval_layouts_unknown_columns_are_refused_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        read(tmp_path, "bench.jsonl", jsonl([{"stanza": "SECRET words", "poet": "Jo"}]))
    words = str(refused.value)
    assert "bench.jsonl: its columns (stanza, poet) are no usual layout" in words
    assert "fields: {input: COLUMN}" in words and "SECRET" not in words
    assert re.search(r"Known .*: question; ctx \+ endings; .*premise \+ hypothesis; .*prompt; .*text", words)


def test_eval_layouts_rows_that_lack_the_question_are_not_readable(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        *ROWS,
        *[{"question": "Why?", "answer": "x"}] * 98,
        {"answer": "18"},
        {"question": ["", 7]},
        {"question": 7},
    ]
    found = read(tmp_path, "bench.jsonl", jsonl(rows))
    assert found.items.height == 100
    assert [place.split(" ", 1) for place in found.unreadable] == [
        ["bench.jsonl:101", "missing_value: question is missing or null"],
        ["bench.jsonl:102", "wrong_type: question is a list, not text"],
        ["bench.jsonl:103", "wrong_type: question is a number, not text"],
    ]


def test_eval_layouts_file_of_no_rows_names_each_of_them(tmp_path: Path) -> None:
    found = read(tmp_path, "bench.json", b'["a", "b"]')
    assert found.items.height == 0 and len(found.unreadable) == 2


def test_eval_layouts_check_takes_a_set_without_fields_and_names_one_that_fits_none(tmp_path: Path) -> None:
    sets = [{"name": "bench", "path": "eval/bench.jsonl"}]
    path = make_project(tmp_path, spec(decontaminate={"sets": sets}))
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/bench.jsonl").write_bytes(jsonl(ROWS))
    assert call("check", path).exit_code == 0
    (tmp_path / "eval/bench.jsonl").write_bytes(jsonl([{"stanza": "x"}]))
    refused = call("check", path)
    assert refused.exit_code == 2 and "eval/bench.jsonl: its columns (stanza)" in refused.output.replace(
        "\n", " "
    )


def test_eval_layouts_page_lists_every_one_of_them() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    told = {frozenset(re.findall(r"`(\w+)`", row.split("|")[1])) for row in rows}
    # One that asks nothing else than its first column stands in the row of that column.
    left = [layout.needs for layout in EVAL_LAYOUTS
            if frozenset(layout.needs) not in told and frozenset(layout.question[:1]) not in told]  # fmt: skip
    assert left == []
    assert frozenset({"instruction", "instances"}) in told and frozenset({"instruction", "response"}) in told
    assert {name for one in told for name in one} <= {name for one in EVAL_LAYOUTS for name in one.needs}


# --- real sets ----------------------------------------------------------------------------

REAL = {
    "gsm8k/test.jsonl.gz": 1319,
    "humaneval/HumanEval.jsonl.gz": 164,
    "selfinstruct_seeds/data/seed_tasks.jsonl.gz": 175,
    "selfinstruct_seeds/human_eval/user_oriented_instructions.jsonl.gz": 252,
    "banking77/test.csv.gz": 3080,
    "decontam_rephrase/test/HumanEval.jsonl.gz": 164,
    "decontam_rephrase/rephrase/rephrase_gsm8k.jsonl.gz": 1319,
    "svamp_mawps/SVAMP.json.gz": 1000,
    "svamp_mawps/mawps-asdiv-a_svamp/dev.csv.gz": 1000,
    "alpaca_libre/alpaca_libre_tasks_v1.jsonl.gz": 2375,
}
"""File to the items in it, one a row."""


@pytest.mark.real_data
@pytest.mark.parametrize("path", REAL)
def test_eval_layouts_real_set_is_read_without_a_mapping(path: str) -> None:
    root = Path(os.environ["DATASET_PIPELINE_REAL_DATA"])
    one = EvalSet(name="bench", path=path)
    found = read_protected(root, ProtectedParams(answers_are_labels=False, examples=(), sets=(one,)))
    assert found.unreadable == () and found.items.height == REAL[path]
    assert found.items.filter(pl.col("text").str.strip_chars().str.len_chars() <= 3).is_empty()


@pytest.mark.real_data
def test_eval_layouts_real_document_of_several_lists_asks_for_one() -> None:
    root = Path(os.environ["DATASET_PIPELINE_REAL_DATA"])
    one = EvalSet(name="bench", path="clinc150/data_full.json.gz")
    params = ProtectedParams(answers_are_labels=False, examples=(), sets=(one,))
    with pytest.raises(SpecError, match="several lists: oos_val, val, train"):
        read_protected(root, params)
