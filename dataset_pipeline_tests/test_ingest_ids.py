"""Record ids, content hashes, and items of evaluation sets, made by ingest."""

from __future__ import annotations

import random
from typing import Any

from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.transforms.layouts import Refusal, eval_items
from dataset_pipeline.transforms.occurrences import Occurrences
from dataset_pipeline_tests.scenario import source
from dataset_pipeline_tests.test_ingest import made, turn

ROWS = [{"id": str(n), "text": f"t{n % 3}", "label": "bug"} for n in range(6)] + [
    {"id": "same", "text": "twice", "label": "wish"}
] * 3


def test_ingest_ids_do_not_depend_on_row_or_key_order() -> None:
    shuffled = [dict(reversed(row.items())) for row in random.Random(1).sample(ROWS, len(ROWS))]
    first, second = made(ROWS).records["record_id"], made(shuffled).records["record_id"]
    assert sorted(first) == sorted(second)
    assert first.n_unique() == len(ROWS)


def test_ingest_equal_rows_are_numbered_across_the_files_of_a_day() -> None:
    counts = Occurrences()
    first = made(ROWS[-1:], occurrences=counts).records["record_id"].to_list()
    second = made(ROWS[-1:], occurrences=counts).records["record_id"].to_list()
    assert [*first, *second] == made(ROWS[-2:]).records["record_id"].to_list()
    assert first != second


def test_ingest_id_depends_on_source_day_and_whole_row() -> None:
    row = ROWS[0]
    ids = {made([row]).records["record_id"][0], made([row], name="other").records["record_id"][0]}
    ids |= {
        made([row | {"unmapped": 1}]).records["record_id"][0],
        made([row | {"text": "t0 "}]).records["record_id"][0],
    }
    assert len(ids) == 4
    assert all(len(i) == 32 for i in ids)


def test_ingest_content_changes_with_what_is_mapped_alone() -> None:
    fields = {
        "id": "id",
        "input": "text",
        "output": "label",
        "group": "who",
        "person_names": ["name"],
        "created_at": "at",
    }
    row = {"id": "1", "text": "x", "label": "bug", "who": "c", "name": "Ann", "at": "1", "unmapped": 1}

    def content(**changes: Any) -> str:
        return str(made([row | changes], fields=fields).records["content_sha"][0])

    same = content()
    assert content(unmapped=2) == content(id="2") == content(at="2") == same
    others = [content(text="y"), content(label="wish"), content(who="d"), content(name="Bob")]
    assert len({same, *others}) == 5
    rights = source()["rights"] | {"uses": ["train"]}
    assert made([row], fields=fields, rights=rights).records["content_sha"][0] != same
    assert made([row], fields=fields, rank=9).records["content_sha"][0] != same


# --- evaluation items ---------------------------------------------------------------------


def test_eval_items_give_id_text_and_answer() -> None:
    row = {"no": 5, "t": "Q", "u": "R", "l": "bug"}
    shape = Shape(fields=Fields(id="no", input=("t", "u"), output="l"))
    assert eval_items(row, shape) == [("5", "Q\n\nR", "bug")]


def test_eval_items_of_a_conversation_are_all_but_the_system_prompt() -> None:
    row = {"messages": [turn("system", "S"), turn("user", "Q"), turn("assistant", "A")]}
    assert eval_items(row, Shape(fields=Fields(messages="messages"))) == [(None, "Q\n\nA", None)]


def test_eval_items_without_text_say_what_is_missing() -> None:
    found = eval_items({"u": "R"}, Shape(fields=Fields(input="t")))
    assert found == [Refusal("missing_value", "t is missing or null")]
