"""What a row becomes: mapped columns, dotted paths, `file.…`, exploded lists, items of evaluation sets.

Lives here: `mapper` and `one`, which the other tests of layouts share. Keep out: turns, pairs and trees, which
have files of their own.
"""

from __future__ import annotations

from typing import Any

import pytest

from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.transforms.layouts import Conversation, Refusal, RowMapper, eval_items
from dataset_pipeline.transforms.lookup import file_columns, missing_columns, required_columns
from dataset_pipeline.transforms.mapping import MAX_DETAIL_CHARS

URI = "sources/letters/bug/a.b.jsonl.gz"


def shape(layout: Any = None, explode: str | None = None, replies: Any = "best", **fields: Any) -> Shape:
    return Shape(layout=layout, explode=explode, replies=replies, fields=Fields(**fields))


def mapper(of: Shape, task: str = "instruction", uri: str = URI) -> RowMapper:
    return RowMapper(of, task, task == "classification", uri)


def one(of: Shape, row: dict[str, Any], task: str = "instruction") -> Conversation:
    [found] = mapper(of, task).records(row)
    assert isinstance(found, Conversation), found
    return found


def said(messages: list[dict[str, str]] | None) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in messages or []]


def refusals(of: Shape, row: dict[str, Any], task: str = "instruction") -> list[tuple[str, str]]:
    found = mapper(of, task).records(row)
    return [(item.reason, item.detail) for item in found if isinstance(item, Refusal)]


# --- mapped fields ------------------------------------------------------------------------

ALL = shape(id="no", input="t", output="l", system="s", created_at="at", group="who", person_names=("n", "m"))
ROW = {"no": 7, "t": " Hi. ", "l": "bug", "s": "Be brief.", "at": "2026", "who": "c1", "n": "Ann", "m": " "}


def test_mapped_fields_become_a_conversation() -> None:
    found = one(ALL, ROW, "classification")
    assert said(found.messages) == [("system", "Be brief."), ("user", " Hi. "), ("assistant", "bug")]
    assert (found.label, found.source_id, found.group, found.created_at) == ("bug", "7", "c1", "2026")
    assert (found.person_names, found.rejected, found.tools, found.prompt_turns) == (
        ["Ann"],
        None,
        None,
        None,
    )
    assert found.payload is ROW
    assert one(ALL, ROW | {"s": "", "who": " ", "n": None}, "classification").group is None


@pytest.mark.parametrize("label", [None, "", " \n"])
def test_mapped_label_that_is_blank_leaves_the_record_unlabelled(label: str | None) -> None:
    found = one(ALL, ROW | {"l": label, "s": None}, "classification")
    assert (found.label, said(found.messages)) == (None, [("user", " Hi. ")])
    assert refusals(ALL, ROW | {"l": None}) == [("missing_value", "l is empty")]
    assert one(ALL, ROW | {"l": ""}).messages[-1] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (1.5, "1.5"), (True, "true"), (10**29 + 7, "100000000000000000000000000007"), (-(2**64), "-18446744073709551616")],
)  # fmt: skip
def test_mapped_scalars_serve_as_ids_and_labels_and_not_as_text(value: Any, text: str) -> None:
    found = one(ALL, ROW | {"no": value, "l": value}, "classification")
    assert (found.source_id, found.label) == (text, text)
    [(reason, _)] = refusals(ALL, ROW | {"t": value})
    assert reason == "wrong_type"


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, float("nan"), float("inf"), 10**5000], ids=lambda v: type(v).__name__
)
def test_mapped_value_that_is_no_text_is_refused(value: Any) -> None:
    assert [reason for reason, _ in refusals(ALL, ROW | {"no": value})] == ["wrong_type"]


def test_mapped_column_without_a_value_is_refused_by_name() -> None:
    assert refusals(ALL, {"l": "bug"}) == [("missing_value", "t is missing or null")]
    two = shape(input=("a", "b"), output="c")
    assert refusals(two, {"a": None, "c": "x"}) == [("missing_value", "a + b is missing or null")]
    assert said(one(two, {"a": "A", "b": " ", "c": "C"}).messages) == [("user", "A"), ("assistant", "C")]
    long = "column" * 60
    [(_, detail)] = refusals(shape(input=long, output="c"), {"c": "x"})
    assert len(detail) == MAX_DETAIL_CHARS and detail.startswith(long[:190])


def test_alpaca_and_completion_map_the_usual_columns() -> None:
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert said(one(shape("alpaca"), row).messages) == [("user", "Add.\n\n1 2"), ("assistant", "3")]
    assert said(one(shape("alpaca"), row | {"input": ""}).messages)[0] == ("user", "Add.")
    written: dict[str, Any] = {"prompt": "Once", "completion": " upon", "key": 1}
    found = one(shape("completion", id="key"), written, "completion")
    assert (said(found.messages), found.source_id) == ([("user", "Once"), ("assistant", " upon")], "1")


# --- columns ------------------------------------------------------------------------------


def test_column_is_a_name_first_and_then_a_path() -> None:
    by_path = shape(input="meta.text", output="answers.0.text", id="meta.n.id")
    row = {"meta": {"text": "Q", "n": {"id": 3}}, "answers": [{"text": "A"}, {"text": "B"}]}
    found = one(by_path, row)
    assert (said(found.messages), found.source_id) == ([("user", "Q"), ("assistant", "A")], "3")
    assert said(one(by_path, row | {"meta.text": "whole name"}).messages)[0] == ("user", "whole name")
    assert one(by_path, row | {"meta.n": {"id": 4}}).source_id == "4"
    assert refusals(by_path, row | {"meta.text": None}) == [("missing_value", "meta.text is missing or null")]


@pytest.mark.parametrize("answers", [[], {}, None, "text", [None], ["text"], [[0]], {"0": "x"}])
def test_column_path_that_leads_nowhere_is_a_missing_value(answers: Any) -> None:
    by_path = shape(input="q", output="answers.0.text")
    assert refusals(by_path, {"q": "Q", "answers": answers}) == [("missing_value", "answers.0.text is empty")]


@pytest.mark.parametrize(
    ("uri", "name", "stem", "folder"),
    [
        (URI, "a.b.jsonl.gz", "a.b", "bug"),
        ("a.CSV.zst", "a.CSV.zst", "a", None),
        ("x/README.md", "README.md", "README", "x"),
        ("x/notes-2026.03", "notes-2026.03", "notes-2026.03", "x"),
        ("x/.gz", ".gz", ".gz", "x"),
        ("s3://bucket/deep/er/a.json", "a.json", "a", "er"),
    ],
)
def test_file_columns_are_what_the_path_says(uri: str, name: str, stem: str, folder: str | None) -> None:
    assert file_columns(uri) == {"file.name": name, "file.stem": stem, "file.folder": folder}


def test_file_column_that_is_mapped_is_part_of_the_payload() -> None:
    of = shape(input="text", output="file.folder", id="file.stem")
    found = one(of, {"text": "Q"}, "classification")
    assert (found.label, found.source_id) == ("bug", "a.b")
    assert found.payload == {"text": "Q", "file.folder": "bug", "file.stem": "a.b"}
    assert one(of, {"text": "Q", "file.folder": "own"}, "classification").label == "own"
    assert mapper(of).columns == ("text",)
    no_folder = RowMapper(of, "instruction", False, "a.txt").records({"text": "Q"})
    assert no_folder == [Refusal("missing_value", "file.folder is empty")]


def test_columns_that_a_file_must_have_are_told_with_paths_and_spare_ones() -> None:
    of = shape(explode="items", input=("meta.q", "file.name"), output="items.a", id="id", person_names=("n",))
    assert mapper(of).columns == ("items", "meta.q", "items.a", "id", "n")
    assert missing_columns(mapper(of).columns, ["meta", "items", "id"]) == ["n"]
    assert missing_columns(mapper(of).columns, ["meta.q", "item", "id", "n"]) == ["items", "items.a"]
    assert mapper(shape("alpaca")).columns == ("instruction", "output")
    assert mapper(shape("preference"), "preference").columns == ("chosen", "rejected")
    assert required_columns(shape("preference")) == mapper(shape("preference")).columns == ("chosen",)
    assert mapper(shape("tree")).columns == ()


# --- explode ------------------------------------------------------------------------------

EXPLODED = shape(explode="instances", id="id", input=("instruction", "instances.input"), output="instances.output")  # fmt: skip


def test_explode_makes_one_record_of_each_item() -> None:
    row = {"id": "s1", "instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}, {"output": "?"}]}
    first, second = mapper(EXPLODED).records(row)
    assert isinstance(first, Conversation) and isinstance(second, Conversation)
    assert said(first.messages) == [("user", "Add.\n\n1 2"), ("assistant", "3")]
    assert said(second.messages) == [("user", "Add."), ("assistant", "?")]
    assert [(c.source_id, c.group) for c in (first, second)] == [("s1#0", "s1"), ("s1#1", "s1")]
    assert first.payload == row | {"instances": {"input": "1 2", "output": "3"}}
    assert len(row["instances"]) == 2


def test_explode_one_item_keeps_the_id_and_makes_no_group() -> None:
    row = {"id": "s1", "instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}
    assert (one(EXPLODED, row).source_id, one(EXPLODED, row).group) == ("s1", None)


def test_explode_keeps_a_mapped_group_and_ids_of_items() -> None:
    row = {"id": "s1", "who": "c1", "qs": [{"id": "a", "q": "Q", "a": "A"}, {"id": "b", "q": "R", "a": "B"}]}
    grouped = shape(explode="qs", id="id", group="who", input="qs.q", output="qs.a")
    own_ids = shape(explode="qs", id="qs.id", input="qs.q", output="qs.a")
    for of, expected in (
        (grouped, [("s1#0", "c1"), ("s1#1", "c1")]),
        (own_ids, [("a", None), ("b", None)]),
    ):
        found = [c for c in mapper(of).records(row) if isinstance(c, Conversation)]
        assert [(c.source_id, c.group) for c in found] == expected


def test_explode_reaches_lists_inside_and_items_that_are_text() -> None:
    of = shape(explode="data.0.qs", input="data.0.qs", output="a")
    row = {"data": [{"qs": ["Q1", "Q2"], "more": 1}, 2], "a": "A"}
    found = [c for c in mapper(of).records(row) if isinstance(c, Conversation)]
    assert [c.messages[0]["content"] for c in found] == ["Q1", "Q2"]
    assert found[1].payload == {"data": [{"qs": "Q2", "more": 1}, 2], "a": "A"}
    dotted = shape(explode="a.b", input="a.b.q", output="a.b.r")
    assert said(one(dotted, {"a.b": [{"q": "Q", "r": "R"}]}).messages) == [("user", "Q"), ("assistant", "R")]


def test_explode_chat_makes_a_conversation_of_each_item() -> None:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    of = shape("chat", explode="dialogs", messages="dialogs.messages")
    assert len(mapper(of, "chat").records({"dialogs": [{"messages": turns}] * 3})) == 3


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, ("not_a_list", "instances holds no list: there is nothing to explode")),
        ({"instances": None}, ("not_a_list", "instances holds no list: there is nothing to explode")),
        ({"instances": {"output": "x"}}, ("not_a_list", "instances holds no list: there is nothing to explode")),
        ({"instances": []}, ("missing_value", "instances is an empty list")),
        ({"instances": [3]}, ("missing_value", "instances.output is empty")),
    ],
)  # fmt: skip
def test_explode_column_without_items_is_refused(row: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusals(EXPLODED, {"id": "1", "instruction": "Add."} | row) == [expected]


def test_explode_refuses_a_bad_item_alone_and_says_where_it_is() -> None:
    row = {"id": "1", "instruction": "Add.", "instances": [{"output": "x"}, {"output": [2]}]}
    assert len(mapper(EXPLODED).records(row)) == 2
    assert refusals(EXPLODED, row) == [("wrong_type", "instances[1]: instances.output is a list, not text")]


def test_explode_row_that_would_grow_beyond_measure_is_refused() -> None:
    row = {"id": "1", "instruction": "x" * 1_000_000, "instances": [{"output": "y"}] * 101}
    assert [reason for reason, _ in refusals(EXPLODED, row)] == ["too_many_records"]
    assert not refusals(EXPLODED, row | {"instruction": "x" * 1000})


# --- items of evaluation sets -------------------------------------------------------------


def test_eval_items_of_mapped_fields_give_id_text_and_answer() -> None:
    row = {"no": 5, "t": "Q", "u": "R", "l": "bug"}
    assert eval_items(row, shape(id="no", input=("t", "u"), output="l")) == [("5", "Q\n\nR", "bug")]
    assert eval_items(row, shape(input="t")) == [(None, "Q", None)]
    assert eval_items({"u": "R"}, shape(input="t")) == [Refusal("missing_value", "t is missing or null")]


def test_eval_items_of_a_conversation_are_all_but_the_system_prompt() -> None:
    turns = [{"role": role, "content": role[0].upper()} for role in ("system", "user", "assistant")]
    assert eval_items({"messages": turns, "a": 4}, shape("chat", output="a")) == [(None, "U\n\nA", "4")]
    assert eval_items({"messages": turns[:2]}, shape("chat")) == [(None, "U", None)]
    assert eval_items({"text": "Human: Q\n\nAssistant: A"}, shape("transcript")) == [(None, "Q\n\nA", None)]
    pair = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    assert eval_items(pair, shape("preference")) == [(None, "Q\n\nA", None)]


def test_eval_items_of_rows_that_unpack_are_several() -> None:
    row = {
        "id": "s1",
        "instruction": "Add.",
        "instances": [{"input": "1 2", "output": "3"}, {"output": "?"}, 4],
    }
    assert eval_items(row, EXPLODED) == [
        ("s1#0", "Add.\n\n1 2", "3"),
        ("s1#1", "Add.", "?"),
        ("s1#2", "Add.", None),
    ]
    assert eval_items({}, EXPLODED) == [
        Refusal("not_a_list", "instances holds no list: there is nothing to explode")
    ]
    answers = [{"message_id": n, "text": n, "role": "assistant"} for n in ("b", "c")]
    tree = {"message_id": "a", "text": "a", "role": "prompter", "replies": answers}
    assert eval_items(tree, shape("tree", replies="all")) == [("b", "a\n\nb", None), ("c", "a\n\nc", None)]
    assert eval_items({"t": "Q"}, shape(id="file.stem", input="t"), URI) == [("a.b", "Q", None)]
