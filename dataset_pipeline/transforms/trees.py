"""Reply trees: a prompt with several answers, each with several replies, and so on, as Open Assistant exports them.

Lives here: which messages of a tree are followed, and its paths as conversations. Keep out: the row around
the tree (`layouts`).

A message is {message_id, text, role: prompter | assistant, rank, deleted, review_result, replies: [...]}; of
these text and role must be there. Nothing here calls itself: a tree may be as deep as a row is long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataset_pipeline.transforms.lookup import as_text
from dataset_pipeline.transforms.mapping import MAX_UNPACKED_CHARS, RECORD_CHARS, TURN_CHARS, Misfit
from dataset_pipeline.transforms.turns import Message

_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Path:
    """One conversation of a tree: the turns from the root on, and the message_id of the last one."""

    messages: list[Message]
    last_id: str | None


@dataclass(slots=True)
class _Node:
    """A message that is followed. chars: of the whole path from the root to here."""

    message: Message
    id: str | None
    parent: _Node | None
    depth: int
    chars: int


def tree_id(row: Any, tree: Any, root: Any) -> str | None:
    """The id of a tree: the message_tree_id beside it or in it, else the message_id of its root; None without any."""
    for holder, key in ((row, "message_tree_id"), (tree, "message_tree_id"), (root, "message_id")):
        found = as_text(holder.get(key), key) if isinstance(holder, dict) else None
        if found and found.strip():
            return found
    return None


def tree_paths(root: Any, only_best: bool) -> tuple[list[Path], list[Misfit]]:
    """Every path from the root to a leaf, cut after its last answer, and what is wrong with messages on the way.

    Equal cut paths come once. only_best: of the answers to one message only the best-ranked is followed; of
    replies by prompters every one is. A deleted message, and one whose review_result is false, is not there,
    nor is what follows it. A message that cannot be read ends its branch: one Misfit for all of one kind.
    Raises Misfit: no_answer where no path has one and nothing is wrong, too_many_records.
    """
    faults: Counter[tuple[str, str]] = Counter()
    ends = _ends(root, only_best, faults)
    refused = [Misfit(reason, _counted(count, what)) for (reason, what), count in faults.items()]
    total = sum(end.chars + RECORD_CHARS + TURN_CHARS * (end.depth + 1) for end in ends)
    if total > MAX_UNPACKED_CHARS:
        raise Misfit(
            "too_many_records",
            f"the {len(ends)} paths of the tree repeat its text beyond {MAX_UNPACKED_CHARS} characters: "
            "follow the best replies only, or part the tree",
        )
    if not ends and not refused:
        raise Misfit("no_answer", "the tree has no answer to its prompt that may be used")
    return [Path(_messages(end), end.id) for end in ends], refused


def _counted(count: int, what: str) -> str:
    return f"a message of the tree {what}" if count == 1 else f"{count} messages of the tree: each {what}"


def _ends(root: Any, only_best: bool, faults: Counter[tuple[str, str]]) -> list[_Node]:
    """The answers with which paths end, each once, in the order of the tree."""
    ends: dict[int, _Node] = {}
    waiting = list(_followed([root], None, only_best, faults))
    while waiting:
        raw, node = waiting.pop()
        children = list(_followed(raw.get("replies"), node, only_best, faults))
        if children:
            waiting.extend(reversed(children))
            continue
        last = node if node.message["role"] == "assistant" else node.parent
        if last is not None:
            ends[id(last)] = last
    return list(ends.values())


def _followed(
    replies: Any, parent: _Node | None, only_best: bool, faults: Counter[tuple[str, str]]
) -> Iterator[tuple[dict[str, Any], _Node]]:
    """The replies that are read, with what is known of each; what is wrong with the others is counted."""
    if replies is None:
        return
    if not isinstance(replies, list):
        faults["bad_tree", "has replies that are no list"] += 1
        return
    found = []
    for raw in replies:
        if isinstance(raw, dict) and (raw.get("deleted") is True or raw.get("review_result") is False):
            continue
        try:
            found.append((raw, _node(raw, parent), _rank(raw)))
        except Misfit as misfit:
            faults[misfit.reason, misfit.detail] += 1
    if only_best and len(found) > 1 and found[0][1].message["role"] == "assistant":
        found = [min(found, key=lambda item: (item[2], item[1].id or "", item[1].message["content"]))]
    yield from ((raw, node) for raw, node, _ in found)


def _node(raw: Any, parent: _Node | None) -> _Node:
    if not isinstance(raw, dict):
        raise Misfit("bad_tree", "is no object")
    text, said = raw.get("text"), raw.get("role")
    role = _ROLES.get(said) if isinstance(said, str) else None
    if not isinstance(text, str):
        raise Misfit("bad_tree", "has no text")
    if role is None:
        raise Misfit("bad_tree", "has a role that is neither prompter nor assistant")
    if not text.strip():
        raise Misfit("empty_message", "holds no word")
    if role != ("user" if parent is None or parent.message["role"] == "assistant" else "assistant"):
        what = "begins the tree with an answer" if parent is None else "has the role of the one it replies to"
        raise Misfit("roles_out_of_order", what)
    try:
        name = as_text(raw.get("message_id"), "message_id")
    except Misfit:
        raise Misfit("bad_tree", "has a message_id that is no text") from None
    depth, chars = (0, len(text)) if parent is None else (parent.depth + 1, parent.chars + len(text))
    return _Node({"role": role, "content": text}, name, parent, depth, chars)


def _rank(raw: dict[str, Any]) -> float:
    """The rank, the lowest is best; infinite where there is none. Ties go by id, then by text, never by chance."""
    rank = raw.get("rank")
    if rank is None:
        return math.inf
    if isinstance(rank, bool) or not isinstance(rank, int | float) or rank != rank:
        raise Misfit("bad_tree", "has a rank that is no number")
    return rank


def _messages(end: _Node) -> list[Message]:
    turns: list[Message] = []
    node: _Node | None = end
    while node is not None:
        turns.append(node.message)
        node = node.parent
    turns.reverse()
    return turns
