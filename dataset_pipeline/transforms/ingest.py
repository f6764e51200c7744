"""ingest: raw rows of one file to records, or to rejects with a word for what is wrong.

Lives here: what the mapped columns mean, ids, and the closed list of reasons why a row is no
record. Keep out: reading files. Raw rows are Python objects: rows of different shape have no
common Polars schema; what comes out has one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import polars as pl

from dataset_pipeline.records import TABLES, Step, record_id, sha256_text
from dataset_pipeline.spec.models import Fields
from dataset_pipeline.spec.params import IngestParams, SourceParams

MAPPING_REASONS = frozenset(
    {"missing_value", "wrong_type", "bad_messages", "unknown_role", "roles_out_of_order"}
)
"""Why a row that could be read is no record."""

_ROLES = ("system", "user", "assistant")


class Raw(Protocol):
    """A row as a reader hands it out."""

    @property
    def line(self) -> int: ...
    @property
    def byte_offset(self) -> int: ...
    @property
    def payload(self) -> dict[str, Any]: ...


class Refused(Protocol):
    """A row a reader could not read."""

    @property
    def line(self) -> int: ...
    @property
    def byte_offset(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def detail(self) -> str: ...


class MissingColumn(Exception):
    """A mapped column that no row of the file has. The message lists the columns there are."""


@dataclass(frozen=True)
class Batch:
    """The outcome for one file: TABLES['ingest'], TABLES['rejects'], and how many rows were read."""

    records: pl.DataFrame
    rejects: pl.DataFrame
    rows_read: int


class _Reject(Exception):
    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = reason, detail


@dataclass
class _Columns:
    """Column lists being filled, one value per record."""

    values: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in TABLES[Step.INGEST]})

    def add(self, **row: Any) -> None:
        for name, column in self.values.items():
            column.append(row.get(name))


def ingest(
    rows: Iterable[Raw | Refused],
    source: SourceParams,
    params: IngestParams,
    day: dt.date,
    uri: str,
    occurrences: dict[bytes, int] | None = None,
) -> Batch:
    """Records and rejects of one file.

    occurrences: counts of identical payloads seen so far in this (source, day), updated here;
    pass one dict for all files of a batch.
    Raises MissingColumn where a mapped column occurs in no row at all.
    """
    counts = {} if occurrences is None else occurrences
    columns, rejects, seen_columns = _Columns(), [], set[str]()
    rows_read = 0
    for row in rows:
        rows_read += 1
        payload: dict[str, Any] | None = getattr(row, "payload", None)
        if payload is None:
            rejects.append(_reject_row(day, source.name, uri, row, row.reason, row.detail))  # type: ignore[union-attr]
            continue
        seen_columns.update(payload)
        try:
            mapped = _map(payload, source, params)
        except _Reject as error:
            rejects.append(_reject_row(day, source.name, uri, row, error.reason, error.detail))
            continue
        canonical = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
        occurrence = counts.get(canonical, 0)
        counts[canonical] = occurrence + 1
        columns.add(
            record_id=record_id(source.name, day.isoformat(), canonical, occurrence),
            day=day,
            source=source.name,
            source_rank=source.rank,
            uri=uri,
            line=row.line,
            byte_offset=row.byte_offset,
            may_evaluate="evaluate" in source.rights.uses,
            kept=True,
            **mapped,
        )
    missing = missing_columns(source, seen_columns) if seen_columns else []
    if missing:
        raise MissingColumn(missing_column_message(missing, seen_columns))
    return Batch(
        records=pl.DataFrame(columns.values, schema=TABLES[Step.INGEST]),
        rejects=pl.DataFrame(rejects, schema=TABLES["rejects"], orient="row"),
        rows_read=rows_read,
    )


def mapped_columns(fields: Fields) -> list[str]:
    """Every column the fields name, in a fixed order."""
    names: list[str] = []
    for value in (
        fields.messages,
        fields.system,
        fields.input,
        fields.output,
        fields.id,
        fields.created_at,
        fields.group,
    ):
        names += [value] if isinstance(value, str) else list(value or ())
    return list(dict.fromkeys([*names, *fields.person_names]))


def missing_columns(source: SourceParams, present: Iterable[str]) -> list[str]:
    """Mapped columns of a source that are not in `present` and that its layout does not let be absent."""
    have = set(present) | set(source.optional_columns)
    return [name for name in mapped_columns(source.fields) if name not in have]


def missing_column_message(missing: list[str], present: Iterable[str]) -> str:
    """What a user reads when a column is gone."""
    names = ", ".join(repr(name) for name in missing)
    return (
        f"has no column {names}; it has {', '.join(repr(n) for n in sorted(present))}. "
        "Mend the file, or map the right column under fields."
    )


def eval_item(payload: dict[str, Any], fields: Fields) -> tuple[str | None, str, str | None]:
    """(id, text, label or answer) of one row of an evaluation set. Raises ValueError saying what is missing.

    The text is the input: an evaluation item leaks by its prompt. Of a conversation it is every
    message that is not a system prompt, joined by a blank line.
    """
    try:
        if fields.messages is not None:
            turns = _conversation(payload, fields.messages)
            text = "\n\n".join(turn["content"] for turn in turns if turn["role"] != "system")
            return _scalar(payload, fields.id), text, None
        text = _required_text(payload, fields.input or (), "input")
        answer = _text(payload, fields.output, "output") if fields.output is not None else None
        return _scalar(payload, fields.id), text, answer
    except _Reject as error:
        raise ValueError(f"{error.reason}: {error.detail}") from None


def _reject_row(day: dt.date, source: str, uri: str, row: Any, reason: str, detail: str) -> tuple[Any, ...]:
    return (day, source, uri, row.line, row.byte_offset, reason, detail)


def _map(payload: dict[str, Any], source: SourceParams, params: IngestParams) -> dict[str, Any]:
    """The record's own columns from one row. Raises _Reject."""
    fields = source.fields
    label = None
    if fields.messages is not None:
        messages = _conversation(payload, fields.messages)
    else:
        answer = _text(payload, fields.output, "output") if fields.output is not None else None
        messages = [{"role": "user", "content": _required_text(payload, fields.input or (), "input")}]
        system = _text(payload, fields.system, "system") if fields.system is not None else None
        if system:
            messages.insert(0, {"role": "system", "content": system})
        if params.answers_are_labels:
            label = answer if answer is not None and answer.strip() else None
            answer = label
        elif answer is None:
            raise _Reject("missing_value", f"{_name(fields.output)} is empty")
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
    names = [n for n in (_scalar(payload, column) for column in fields.person_names) if n and n.strip()]
    group = _scalar(payload, fields.group)
    record = {
        "source_id": _scalar(payload, fields.id),
        "messages": messages,
        "label": label,
        "group": group if group and group.strip() else None,
        "created_at": _scalar(payload, fields.created_at),
        "person_names": names,
    }
    sealed = orjson.dumps(
        [source.name, source.rank, messages, label, record["group"], names, sorted(source.rights.uses)]
    )
    return record | {"content_sha": sha256_text(sealed.decode())}


def _name(column: str | tuple[str, ...] | None) -> str:
    return " + ".join(column) if isinstance(column, tuple) else str(column)


def _required_text(payload: dict[str, Any], column: str | tuple[str, ...], what: str) -> str:
    text = _text(payload, column, what)
    if text is None:
        raise _Reject("missing_value", f"{_name(column)} is missing or null")
    return text


def _text(payload: dict[str, Any], column: str | tuple[str, ...], what: str) -> str | None:
    """Text of a column, or of several joined by a blank line; numbers become text, others are refused."""
    names = column if isinstance(column, tuple) else (column,)
    parts = [
        part for name in names if (part := _scalar(payload, name, refuse_numbers=what == "input")) is not None
    ]
    if not parts:
        return None
    if len(names) == 1:
        return parts[0]
    return "\n\n".join(part for part in parts if part.strip())


def _scalar(payload: dict[str, Any], column: str | None, refuse_numbers: bool = False) -> str | None:
    value = payload.get(column) if column is not None else None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | float) and not refuse_numbers:
        return orjson.dumps(value).decode()
    raise _Reject("wrong_type", f"{column} is {_kind(value)}, not text")


def _kind(value: Any) -> str:
    return {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), "no text"
    )


def _conversation(payload: dict[str, Any], column: str) -> list[dict[str, str]]:
    turns = payload.get(column)
    if turns is None:
        raise _Reject("missing_value", f"{column} is missing or null")
    if not isinstance(turns, list) or not turns:
        raise _Reject("bad_messages", f"{column} is not a list of messages")
    messages = list(_messages(turns, column))
    roles = [m["role"] for m in messages]
    spoken = roles[1:] if roles[0] == "system" else roles
    expected = [("user", "assistant")[n % 2] for n in range(len(spoken))]
    if spoken != expected or not spoken or spoken[-1] != "assistant":
        raise _Reject(
            "roles_out_of_order", f"{column}: turns must alternate user, assistant and end with assistant"
        )
    return messages


def _messages(turns: list[Any], column: str) -> Iterator[dict[str, str]]:
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            raise _Reject("bad_messages", f"{column}[{number}] has no text under content")
        if turn.get("role") not in _ROLES:
            raise _Reject("unknown_role", f"{column}[{number}]: the role is none of {', '.join(_ROLES)}")
        yield {"role": turn["role"], "content": turn["content"]}
