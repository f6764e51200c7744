"""Reply trees: paths, ranks, what is deleted, what is malformed, and trees that are very deep or very wide."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from dataset_pipeline.transforms.layouts import Conversation, Refusal
from dataset_pipeline_tests.test_layouts import mapper, refusals, shape

BEST, ALL = shape("tree"), shape("tree", replies="all")


def node(name: str, *replies: Any, **more: Any) -> dict[str, Any]:
    """A message whose id is its text; p… is a prompter's, a… an assistant's."""
    role = "prompter" if name.startswith("p") else "assistant"
    return {"message_id": name, "text": name, "role": role, "replies": list(replies)} | more


def tree(root: Any) -> dict[str, Any]:
    return {"message_tree_id": "t1", "tree_state": "x", "prompt": root}


def paths(of: Any, row: dict[str, Any]) -> list[str]:
    """The paths of a row, `p a p a`, and the words for what is refused."""
    return [
        " ".join(m["content"] for m in item.messages) if isinstance(item, Conversation) else item.reason
        for item in mapper(of, "chat").records(row)
    ]


TWO = node(
    "p",
    node("a1", node("p1", node("a11", rank=1), node("a12", rank=0)), node("p2"), rank=1),
    node("a2", node("p3", node("a31"), node("a32"))),
    node("a3", rank=0),
)


def test_tree_paths_lead_from_the_root_to_each_leaf_and_end_with_an_answer() -> None:
    assert paths(ALL, tree(TWO)) == [
        "p a1 p1 a11",
        "p a1 p1 a12",
        "p a1",
        "p a2 p3 a31",
        "p a2 p3 a32",
        "p a3",
    ]
    two_ends = node("p", node("a", node("p1"), node("p2")))
    assert paths(ALL, tree(two_ends)) == ["p a"]


def test_tree_best_follows_one_answer_and_every_reply_of_prompters() -> None:
    assert paths(BEST, tree(TWO)) == ["p a3"]
    deeper = node("p", node("a", node("p1", node("a1", rank=2), node("a2", rank=1)), node("p2", node("a3"))), node("a9", rank=1))  # fmt: skip
    assert paths(BEST, tree(deeper)) == ["p a9"]
    del deeper["replies"][1]
    assert paths(BEST, tree(deeper)) == ["p a p1 a2", "p a p2 a3"]


def test_tree_best_of_answers_without_a_rank_does_not_depend_on_their_order() -> None:
    answers = [node("a3"), node("a1"), node("a2"), node("a4", rank=7)]
    for seed in range(5):
        random.Random(seed).shuffle(answers)
        assert paths(BEST, tree(node("p", *answers))) == ["p a4"]
        unranked = [answer for answer in answers if "rank" not in answer]
        assert paths(BEST, tree(node("p", *unranked))) == ["p a1"]
        no_ids = [answer | {"message_id": None} for answer in unranked]
        assert paths(BEST, tree(node("p", *no_ids))) == ["p a1"]


def test_tree_record_has_its_own_payload_id_and_the_group_of_its_tree() -> None:
    first, second = mapper(shape("tree", replies="all", created_at="at", system="s"), "chat").records(
        tree(node("p", node("a1"), node("a2"))) | {"at": "2026", "s": "S"}
    )
    assert isinstance(first, Conversation) and isinstance(second, Conversation)
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "p"},
        {"role": "assistant", "content": "a1"},
    ]
    assert first.messages == turns
    assert first.payload == {"tree": "t1", "messages": turns}
    assert (first.source_id, second.source_id, first.group, second.group) == ("a1", "a2", "t1", "t1")
    assert (first.created_at, first.label, first.rejected) == ("2026", None, None)


def test_tree_may_be_the_root_message_itself_or_under_a_mapped_column() -> None:
    root = node("p", node("a"))
    for of, row, group in (
        (BEST, root, "p"),
        (shape("tree", messages="data.root", id="no"), {"data": {"root": root}, "no": 4}, "4"),
        (shape("tree", group="who"), tree(root) | {"who": "c1"}, "c1"),
        (shape("tree", explode="trees"), {"trees": [tree(root)]}, "t1"),
        (shape("tree", explode="trees"), {"trees": [root]}, "p"),
    ):
        [found] = mapper(of, "chat").records(row)
        assert isinstance(found, Conversation)
        assert (found.group, len(found.messages)) == (group, 2)
    assert refusals(BEST, root | {"message_id": None}) == [
        ("bad_tree", "the tree has no message_tree_id, its root no message_id: map fields.id")
    ]


def test_tree_deleted_and_refused_messages_end_their_branch() -> None:
    root = node(
        "p",
        node("a1", node("p1", node("a11")), deleted=True, rank=0),
        node("a2", node("p2", node("a21"), review_result=False), rank=1),
        node("a3", deleted=False, review_result=None, rank=2),
    )
    assert paths(ALL, tree(root)) == ["p a2", "p a3"]
    assert paths(BEST, tree(root)) == ["p a2"]
    assert refusals(BEST, tree(root | {"deleted": True})) == [
        ("no_answer", "the tree has no answer to its prompt that may be used")
    ]


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (node("p"), ("no_answer", "the tree has no answer to its prompt that may be used")),
        (node("p", replies=None), ("no_answer", "the tree has no answer to its prompt that may be used")),
        (node("a", node("p")), ("roles_out_of_order", "a message of the tree begins the tree with an answer")),
        (node("p", text=None), ("bad_tree", "a message of the tree has no text")),
        (node("p", text=" "), ("empty_message", "a message of the tree holds no word")),
        (node("p", role="bot"), ("bad_tree", "a message of the tree has a role that is neither prompter nor assistant")),
        (node("p", role=["x"]), ("bad_tree", "a message of the tree has a role that is neither prompter nor assistant")),
        (node("p", replies="none"), ("bad_tree", "a message of the tree has replies that are no list")),
        (node("p", 1, 2), ("bad_tree", "2 messages of the tree: each is no object")),
        (node("p", node("a", rank="1")), ("bad_tree", "a message of the tree has a rank that is no number")),
        (node("p", node("a", message_id=[])), ("bad_tree", "a message of the tree has a message_id that is no text")),
    ],
)  # fmt: skip
def test_tree_that_is_malformed_is_refused(root: Any, expected: tuple[str, str]) -> None:
    assert refusals(ALL, tree(root)) == [expected]


def test_tree_malformed_message_ends_its_branch_alone() -> None:
    root = node("p", node("a1", node("p1", node("p2", node("a2")))), 5, node("a3"))
    assert sorted(paths(ALL, tree(root))) == ["bad_tree", "p a1", "p a3", "roles_out_of_order"]


def deep(levels: int, leaves: bool = False, text: str = "") -> dict[str, Any]:
    """A path of that many levels; with leaves, each of its prompts has a second answer."""
    inner: dict[str, Any] | None = None
    for level in range(levels, -1, -1):
        replies = [] if inner is None else [inner]
        if leaves and level % 2 == 0:
            replies.append(node(f"a{level}", text=f"a{level}{text}"))
        inner = node(f"{'pa'[level % 2]}{level}", *replies)
    assert inner is not None
    return inner


def test_tree_of_thousands_of_levels_is_one_conversation() -> None:
    [found] = mapper(BEST, "chat").records(tree(deep(20_001)))
    assert isinstance(found, Conversation)
    assert (len(found.messages), found.source_id) == (20_002, "a20001")


def test_tree_whose_paths_repeat_too_much_is_refused_and_not_built() -> None:
    began = time.monotonic()
    [found] = mapper(ALL, "chat").records(tree(deep(4_000, leaves=True)))
    assert isinstance(found, Refusal) and found.reason == "too_many_records"
    assert len(mapper(ALL, "chat").records(tree(deep(400, leaves=True)))) == 201
    wide = node("p" * 1000, *(node(f"a{n}") for n in range(60_000)))
    assert [f.reason for f in mapper(ALL, "chat").records(tree(wide)) if isinstance(f, Refusal)] == ["too_many_records"]  # fmt: skip
    assert len(mapper(BEST, "chat").records(tree(wide))) == 1
    several = mapper(shape("tree", explode="trees", replies="all")).records({"trees": [deep(1200, leaves=True)] * 9})  # fmt: skip
    assert [f.reason for f in several if isinstance(f, Refusal)] == ["too_many_records"]
    assert time.monotonic() - began < 20


def test_tree_malformed_messages_by_the_thousand_are_one_refusal() -> None:
    assert refusals(ALL, tree(node("p", *[0] * 100_000))) == [
        ("bad_tree", "100000 messages of the tree: each is no object")
    ]
