"""What the columns of some rows look like, and which of them stand beside the text: id, group, time, persons.

Lives here: rows in, profiles and names out; pure. Keep out: files, layouts and labels (`guessing`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Payload = dict[str, Any]

MAX_COLUMNS = 300
"""More columns than this are data, not columns; the first ones are looked at."""
MAX_DEPTH = 3

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[^a-z0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|[A-Z][a-z]{2},? .*\d{4}")
_PERSON = re.compile(r"(?!\d)[\w.'’-]+(?:,? [\w.'’-]+){0,3}")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?%?")

IDS = (
    "id", "uuid", "guid", "uid", "_id", "record_id", "ticket_id", "message_id", "conversation_id", "dialog_id",
    "dialogue_id", "chat_id", "task_id", "example_id", "sample_id", "question_id", "doc_id", "document_id",
    "review_id", "comment_id", "post_id", "tweet_id", "case_id", "item_id", "unique_id", "qid", "row_id", "key",
)  # fmt: skip
GROUPS = (
    "user_id", "customer_id", "client_id", "account_id", "author_id", "sender_id", "patient_id", "member_id",
    "parent_customer_id", "thread_id", "conversation_id", "session_id", "group_id", "reviewer_id", "worker_id",
    "customer", "author", "user", "username", "sender", "thread",
)  # fmt: skip
"""Whose records must stay together, the nearest to a person first."""
TIMES = (
    "created_at", "created", "timestamp", "received_at", "sent_at", "posted_at", "published_at", "submitted_at",
    "datetime", "date_time", "created_on", "creation_date", "date", "time", "sent", "received",
)  # fmt: skip
PERSONS = (
    "sender", "author", "customer_name", "client_name", "user_name", "full_name", "first_name", "last_name",
    "sender_name", "author_name", "agent_name", "person_name", "contact_name", "display_name", "surname",
    "given_name", "family_name", "employee_name", "patient_name", "reviewer_name", "recipient", "recipient_name",
    "firstname", "lastname", "fullname",
)  # fmt: skip
MAYBE_PERSONS = (
    "name",
    "user",
    "username",
    "from",
    "to",
    "agent",
    "customer",
    "contact",
    "assignee",
    "employee",
)
"""Person columns where their values look like names; `name` is as often that of a thing."""


def key_of(name: str, prefix: str = "") -> str:
    """A column's name as lists of names have it: `ticketID`, `Ticket ID` and `ticket.id` are ticket_id.

    prefix: of a column to explode, which says nothing about its items.
    """
    bare = name.removeprefix(f"{prefix}.") if prefix else name
    return "_id" if bare == "_id" else _NO_WORD.sub("_", _CAMEL.sub("_", bare).lower()).strip("_")


@dataclass(frozen=True)
class Column:
    """One column of some rows. values: those that are not null, in order. rows: how many rows there were."""

    name: str
    key: str
    rows: int
    values: list[Any] = field(repr=False)

    @cached_property
    def texts(self) -> list[str]:
        return [v for v in self.values if isinstance(v, str)]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each scalar occurs, as text; blank texts are none."""
        scalars = (
            v if isinstance(v, str) else json.dumps(v) for v in self.values if not isinstance(v, list | dict)
        )
        return Counter(s for v in scalars if (s := v.strip()))

    @property
    def is_text(self) -> bool:
        """Whether nearly all that is there is text, and not just blanks."""
        return bool(self.counts) and len(self.texts) >= 0.9 * len(self.values)

    @property
    def is_scalar(self) -> bool:
        return bool(self.values) and not any(isinstance(v, list | dict) for v in self.values)

    @property
    def mean_chars(self) -> float:
        return sum(map(len, self.texts)) / max(1, self.rows)

    @property
    def numbers(self) -> float:
        """The share of values that are numbers, also as text."""
        total = sum(self.counts.values())
        return sum(n for v, n in self.counts.items() if _NUMBER.fullmatch(v)) / total if total else 0.0

    @property
    def is_unique(self) -> bool:
        """Whether every row has its own value."""
        return self.is_scalar and len(self.counts) == self.rows

    @property
    def textness(self) -> float:
        """How much this is what somebody wrote: long, and different in every row."""
        if not self.is_text or self.numbers > 0.5:
            return 0.0
        return self.mean_chars * len(self.counts) / max(1, self.rows)


def columns_of_rows(rows: Sequence[Payload], prefix: str = "") -> list[Column]:
    """The columns of rows in the order they come, those inside objects by their path: `message.text`."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in _flat(row, "", 1):
            if name in found:
                found[name].append(value)
            elif len(found) < MAX_COLUMNS:
                found[name] = [value]
    return [
        Column(name, key_of(name, prefix), len(rows), [v for v in values if v is not None])
        for name, values in found.items()
    ]


def _flat(row: Payload, before: str, depth: int) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if not name or (before and "." in name):
            continue
        if isinstance(value, dict) and value and depth < MAX_DEPTH:
            yield from _flat(value, f"{before}{name}.", depth + 1)
        else:
            yield before + name, value


@dataclass(frozen=True)
class Beside:
    """Columns that are not the text: only what is sure. Names of columns, or None."""

    id: str | None = None
    group: str | None = None
    created_at: str | None = None
    person_names: tuple[str, ...] = ()


def beside(columns: Sequence[Column], taken: Iterable[str]) -> Beside:
    """The id (a value of its own in every row), the group, the time and the persons among columns not `taken`."""
    used = set(taken)
    free = [c for c in columns if c.name not in used and c.is_scalar]
    by_key: dict[str, Column] = {}
    for column in free:
        by_key.setdefault(column.key, column)
    identifier = _id_column(free, by_key)
    group = next(
        (
            by_key[k].name
            for k in GROUPS
            if k in by_key and by_key[k] is not identifier and _is_group(by_key[k])
        ),
        None,
    )
    created = next((by_key[k].name for k in TIMES if k in by_key and _is_time(by_key[k])), None)
    persons = tuple(
        c.name for c in free if c.name not in (created, identifier and identifier.name) and _is_person(c)
    )
    return Beside(identifier.name if identifier else None, group, created, persons)


def _id_column(free: Sequence[Column], by_key: dict[str, Column]) -> Column | None:
    named = [by_key[k] for k in IDS if k in by_key]
    others = [c for c in free if c.key.endswith("_id") and c.key not in GROUPS and c not in named]
    return next((c for c in (*named, *others) if c.is_unique), None)


def _is_group(column: Column) -> bool:
    """Whether records share it, and not half of them one value."""
    total = sum(column.counts.values())
    if total < 0.5 * column.rows or len(column.counts) < 2:
        return False
    is_id = column.key.endswith("_id")
    largest = max(column.counts.values())
    return (is_id or len(column.counts) < total) and (largest <= 0.5 * total or total < 10)


def _is_time(column: Column) -> bool:
    if not column.values:
        return False
    fits = sum(1 for v in column.texts if _TIME.match(v.strip()))
    fits += sum(
        1 for v in column.values if isinstance(v, int | float) and not isinstance(v, bool) and v >= 1e8
    )
    return fits >= 0.9 * len(column.values)


def _is_person(column: Column) -> bool:
    if not column.is_text or column.numbers > 0.5 or max(map(len, column.texts)) > 200:
        return False
    if column.key in PERSONS:
        return True
    if column.key not in MAYBE_PERSONS:
        return False
    named = [v for v in column.counts if _PERSON.fullmatch(v) and "_" not in v]
    capital = [v for v in named if all(not w[:1].islower() for w in v.split()) and not v.isupper()]
    return len(capital) >= 0.8 * len(column.counts)
