"""What a row becomes: a conversation, or a refusal with a word for what is wrong.

Lives here: the types that the layouts hand out, the closed list of words, and the exception by which they
say one. Keep out: how a layout is read (`turns`, `trees`, `preference`), looking up columns (`lookup`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAPPING_REASONS: frozenset[str] = frozenset(
    {
        "missing_value",  # a column that must hold something is absent, null or an empty list
        "wrong_type",  # a list or an object where text is wanted, a number where a prompt is
        "bad_messages",  # the column of turns is no list, or a turn of it no object with content
        "unknown_role",  # who speaks is none of the roles that the layout knows
        "roles_out_of_order",  # turns do not alternate user, assistant, or do not end with assistant
        "empty_message",  # a turn without a word: null or white space only
        "tool_turn",  # a turn that calls a tool or is the answer of one
        "not_text",  # a part of a turn is an image, sound or file
        "bad_transcript",  # a text that does not begin with who speaks
        "bad_tree",  # a message of a tree without text, role, or a list of replies
        "no_answer",  # nobody answers: a tree or a side without an assistant turn
        "no_shared_prompt",  # two conversations that do not begin alike are no pair
        "same_answers",  # a pair whose sides are equal prefers nothing
        "not_a_list",  # the column to explode holds no list
        "too_many_records",  # unpacked, the row would repeat its own text beyond all measure
    }
)
"""Why a row that could be read is no record."""

MAX_DETAIL_CHARS = 200

MAX_UNPACKED_CHARS = 2**26
"""Characters that the records of one row may hold together, four times the longest row that a reader lets
through. A row of many records repeats what they share in each of them: without a bound, one row of a few
megabytes could become terabytes."""

RECORD_CHARS = 256
"""What a record counts beside its text."""

TURN_CHARS = 64
"""What a turn counts beside its text."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One record as its layout tells it.

    payload: what identifies it: the row itself; for an exploded row the row with that item in place of the
    list; for a path of a tree {"tree": id, "messages": [...]}. Mapped `file.…` columns are part of it.
    messages: {role, content}, roles system, user, assistant; of a preference pair the chosen conversation.
    rejected: task preference only: the turns that stand in place of messages[prompt_turns:].
    label: classification of mapped fields only. group: never blank. person_names: never blank ones.
    tools: compact JSON with sorted keys of the tools that the row offered the assistant; never a message.
    prompt_turns: of a preference pair, how many of `messages` both sides share; else None.
    """

    payload: dict[str, Any]
    messages: list[dict[str, str]]
    rejected: list[dict[str, str]] | None
    label: str | None
    source_id: str | None
    group: str | None
    created_at: str | None
    person_names: list[str]
    tools: str | None
    prompt_turns: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row, or one of its records, is none: a word of MAPPING_REASONS, and at most 200 characters for a
    person, which name columns and places and never repeat a piece of the row."""

    reason: str
    detail: str

    def __post_init__(self) -> None:
        if self.reason not in MAPPING_REASONS or len(self.detail) > MAX_DETAIL_CHARS:
            raise ValueError(f"refusal {self.reason!r} with {len(self.detail)} characters of detail")


class Misfit(Exception):
    """Raised by a layout: this row, or this record of it, is none. Caught where rows are unpacked."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def refusal(self, place: str = "") -> Refusal:
        """The same as a value. A column's name is as long as a spec makes it, so the detail is cut."""
        return Refusal(self.reason, (place + self.detail)[:MAX_DETAIL_CHARS])
