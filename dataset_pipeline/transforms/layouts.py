"""From a row to its records, as the layout of its source tells them; and to items of an evaluation set.

Lives here: the two doors through which ingest and the evaluation sets come, and what a record has beside its
messages. Keep out: what each layout does (`conversations`, `trees`), lists to explode (`explode`), columns
(`lookup`), record ids (`ingest`).

The layout is resolved once, into functions of a row; `RowMapper.records` then runs once per row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dataset_pipeline.spec.reading import Fields, Shape
from dataset_pipeline.transforms.conversations import said_reader, spoken, text_reader
from dataset_pipeline.transforms.explode import Unpacking
from dataset_pipeline.transforms.lookup import Payload, Text, joined, required_columns, scalar_of, value_of
from dataset_pipeline.transforms.mapping import (
    MAPPING_REASONS,
    MAX_UNPACKED_CHARS,
    TURN_CHARS,
    Conversation,
    Misfit,
    Refusal,
)
from dataset_pipeline.transforms.trees import tree_id, tree_paths
from dataset_pipeline.transforms.turns import with_system

__all__ = ["MAPPING_REASONS", "Conversation", "Refusal", "RowMapper", "eval_items"]

Item = tuple[str | None, str, str | None]
"""id, text, answer."""


class RowMapper:
    """The records of rows of one source; one is made for each of its files, because `file.…` columns differ.

    columns: what the file must have, as the spec writes it; `lookup.missing_columns(columns, present)` says
    what it lacks.
    """

    __slots__ = ("_is_tree", "_meta", "_only_best", "_read", "_unpack", "columns")

    def __init__(self, shape: Shape, task_type: str, answers_are_labels: bool, uri: str):
        fields = shape.mapped()
        self.columns = required_columns(shape, task_type)
        self._unpack = Unpacking(shape, fields, uri)
        self._meta = _Meta(fields, fields.messages or shape.explode)
        self._is_tree, self._only_best = shape.layout == "tree", shape.replies == "best"
        self._read = said_reader(shape, fields, task_type, answers_are_labels)

    def records(self, payload: Payload) -> list[Conversation | Refusal]:
        """The records of one row, or why it or a part of it is none. Never empty, and raises for no JSON value."""
        if self._unpack.is_plain:
            return self._records(payload, "", "")
        found: list[Conversation | Refusal] = []
        turns = 0
        try:
            for one, number, place in self._unpack.pieces(payload):
                records = self._records(one, number, place)
                found += records
                if self._is_tree:  # each tree is within its bound, but a row may hold hundreds
                    turns += sum(
                        len(record.messages) for record in records if isinstance(record, Conversation)
                    )
                    if turns * TURN_CHARS > MAX_UNPACKED_CHARS:
                        why = "the trees of the row repeat their turns beyond all measure: part the row"
                        return [Refusal("too_many_records", why)]
        except Misfit as misfit:
            found.append(misfit.refusal())
        return found

    def _records(self, payload: Payload, number: str, place: str) -> list[Conversation | Refusal]:
        try:
            if self._is_tree:
                return self._tree(payload, place)
            messages, rejected, label, tools, prompt_turns = self._read(payload)
            meta = self._meta
            source_id = meta.id and meta.id(payload)
            group = meta.group and meta.group(payload)
            if not group or group.isspace():
                group = None
            if number and source_id is not None:
                group = source_id if group is None and source_id.strip() else group
                source_id += number
            return [
                Conversation(
                    payload,
                    messages,
                    rejected,
                    label,
                    source_id,
                    group,
                    meta.created_at and meta.created_at(payload),
                    meta.person_names(payload) if meta.names else [],
                    tools,
                    prompt_turns,
                )
            ]
        except Misfit as misfit:
            return [misfit.refusal(place)]

    def _tree(self, payload: Payload, place: str) -> list[Conversation | Refusal]:
        meta = self._meta
        group, tree = meta.group and meta.group(payload), meta.id and meta.id(payload)
        root, own_id = _tree_of(payload, meta.tree)
        if not tree or tree.isspace():
            tree = own_id
        group = group if group and group.strip() else tree
        if group is None:
            raise Misfit("bad_tree", "the tree has no message_tree_id, its root no message_id: map fields.id")
        created_at, system = (
            meta.created_at and meta.created_at(payload),
            meta.system and meta.system(payload),
        )
        names = meta.person_names(payload)
        paths, refused = tree_paths(root, self._only_best)
        found: list[Conversation | Refusal] = [misfit.refusal(place) for misfit in refused]
        for path in paths:
            messages = with_system(path.messages, system)
            one = {"tree": tree or group, "messages": messages} | self._unpack.file
            found.append(
                Conversation(one, messages, None, None, path.last_id, group, created_at, names, None)
            )
        return found


class _Meta:
    """What every record may have beside its messages; a column that is not mapped is None."""

    __slots__ = ("created_at", "group", "id", "names", "system", "tree")

    def __init__(self, fields: Fields, tree_column: str | None):
        self.id, self.group = _mapped_text(fields.id), _mapped_text(fields.group)
        self.created_at, self.system = _mapped_text(fields.created_at), _mapped_text(fields.system)
        self.names = tuple(scalar_of(column) for column in fields.person_names)
        self.tree = tree_column

    def person_names(self, payload: Payload) -> list[str]:
        return [name for read in self.names if (name := read(payload)) and name.strip()]


def _mapped_text(column: str | None) -> Text | None:
    return None if column is None else scalar_of(column)


def _tree_of(payload: Payload, column: str | None) -> tuple[Any, str | None]:
    """The root message of a row that is a tree, and the tree's id.

    column: where the tree is, if not the row itself. The tree is its root, or an object that holds it as `prompt`.
    """
    tree = payload if column is None else value_of(column)(payload)
    inside = tree.get("prompt") if isinstance(tree, dict) else None
    root = inside if isinstance(inside, dict) else tree
    return root, tree_id(payload, tree, root)


# --- evaluation sets ----------------------------------------------------------------------


def eval_items(payload: Payload, shape: Shape, uri: str = "") -> list[Item | Refusal]:
    """(id, text, answer) of each item in one row of an evaluation set, or why there is none. Never empty.

    The text is the input: an evaluation item leaks by its prompt. Of a conversation it is every message that is
    not a system prompt, joined by a blank line; of a pair, the chosen one; of a tree, each path. In which order
    turns stand does not matter here, so a prompt without an answer is an item too. answer: the output column.
    """
    unpack, items = _item_reader(shape, uri)
    found: list[Item | Refusal] = []
    try:
        for one, number, place in unpack.pieces(payload):
            try:
                found += items(one, number)
            except Misfit as misfit:
                found.append(misfit.refusal(place))
    except Misfit as misfit:
        found.append(misfit.refusal())
    return found


@lru_cache(maxsize=64)
def _item_reader(shape: Shape, uri: str) -> tuple[Unpacking, Callable[[Payload, str], list[Item | Refusal]]]:
    fields = shape.mapped()
    unpack, id_of = Unpacking(shape, fields, uri), scalar_of(fields.id)
    if shape.layout == "tree":
        only_best = shape.replies == "best"

        def paths(payload: Payload, number: str) -> list[Item | Refusal]:
            root, _ = _tree_of(payload, fields.messages or shape.explode)
            found, refused = tree_paths(root, only_best)
            texts: list[Item | Refusal] = [(path.last_id, spoken(path.messages), None) for path in found]
            return texts + [misfit.refusal() for misfit in refused]

        return unpack, paths
    text_of = text_reader(shape, fields)
    answer_of = joined(fields.output) if fields.output is not None else scalar_of(None)

    def one(payload: Payload, number: str) -> list[Item | Refusal]:
        text, name = text_of(payload), id_of(payload)
        return [(name if name is None else name + number, text, answer_of(payload))]

    return unpack, one
