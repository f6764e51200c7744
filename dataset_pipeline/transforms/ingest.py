"""ingest: raw rows of one file to records, or to rejects with a word for what is wrong.

Lives here: ids, what a file's columns hold, parts of bounded size. What a row means is in `layouts`.
Keep out: reading files. Raw rows are Python objects: rows of different shape have no common
Polars schema; what comes out has one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec
import numpy as np
import orjson
import polars as pl

from dataset_pipeline.records import MESSAGES, TABLES, Step, record_id
from dataset_pipeline.spec.params import IngestParams, SourceParams
from dataset_pipeline.spec.reading import Shape
from dataset_pipeline.text import is_name, shown_name
from dataset_pipeline.transforms import lookup
from dataset_pipeline.transforms.layouts import MAPPING_REASONS, Conversation, Refusal, RowMapper
from dataset_pipeline.transforms.lookup import required_columns, splits
from dataset_pipeline.transforms.occurrences import Occurrences

__all__ = [
    "MAPPING_REASONS",
    "Batch",
    "MissingColumn",
    "ingest",
    "ingest_parts",
    "missing_columns",
    "watched_columns",
]

PART_BYTES = 48 * 2**20
"""Text of records that are held at once: a file is ingested in parts of about this size."""
PART_ROWS = 50_000
MAX_COLUMNS = 1000
"""Columns of a file that are kept for comparison; a file with more has keys that are data."""


class Raw(Protocol):
    """A row as a reader hands it out."""

    @property
    def line(self) -> int: ...
    @property
    def byte_offset(self) -> int: ...
    @property
    def payload(self) -> dict[str, Any]: ...


class Block(Protocol):
    """Rows with the same columns, as a reader hands them out."""

    @property
    def columns(self) -> Mapping[str, Any]: ...
    def rows(self) -> Iterable[Raw]: ...


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
    """A mapped column that no row of the file has. names: the columns; present: those the file has.

    is_document: a JSON document of which the spec names no list. Names that look like data are not repeated.
    """

    def __init__(self, names: Sequence[str], present: Iterable[str], is_document: bool = False):
        self.names, self.present = tuple(names), tuple(present)
        shown = ", ".join(repr(name) for name in self.names)
        there = sorted(self.present)
        more = f" and {len(there) - 30} more" if len(there) > 30 else ""
        remedy = "Mend the file, or map the right column under fields."
        if any(not is_name(name) for name in there):
            remedy += " If its first row is data, say `header: false` and map columns by position."
        elif is_document:
            remedy += " If its records are a list inside, name the way to it under `records`."
        super().__init__(
            f"has no column {shown}; it has {', '.join(map(shown_name, there[:30]))}{more}. {remedy}"
        )


@dataclass(frozen=True)
class Batch:
    """The outcome for one file, or for a part of it.

    records: TABLES['ingest']. rejects: TABLES['rejects']. rows_read: rows after unpacking, each in one of
    the two. columns: what the rows read had, name to the kinds of values seen: text, number, boolean,
    list, object; of mapped paths (`meta.lang`) what the records had there.
    """

    records: pl.DataFrame
    rejects: pl.DataFrame
    rows_read: int
    columns: Mapping[str, frozenset[str]]


@dataclass
class _Part:
    """Columns being filled, one value per record."""

    values: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in TABLES[Step.INGEST]})
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.bytes >= PART_BYTES or self.rows >= PART_ROWS


class _Intake:
    """One file on its way in."""

    def __init__(
        self, source: SourceParams, params: IngestParams, day: dt.date, uri: str, occurrences: Occurrences
    ):
        self._source, self._day, self._uri = source, day, uri
        self._task_type = params.task_type
        self._watched = watched_columns(source.shape, params.task_type)
        paths = [name for name in required_columns(source.shape, params.task_type) if "." in name]
        self._paths = [(name, splits(name)) for name in paths]
        self._occurrences = occurrences
        self._mapper = RowMapper(source.shape, params.task_type, params.answers_are_labels, uri)
        self._head = f"{source.name}\x1f{day.isoformat()}\x1f0\x1f".encode("utf-8", "surrogatepass")
        self._uses = sorted(source.rights.uses)
        self._part = _Part()
        self._forms: set[tuple[Any, ...]] = set()
        self.columns: dict[str, set[str]] = {}

    def parts(self, items: Iterable[Raw | Block | Refused]) -> Iterator[Batch]:
        for item in items:
            # Told apart by what they have, not by type: readers are not known here.
            if hasattr(item, "payload"):
                raw = cast(Raw, item)
                self._see(raw.payload)
                self._add(raw)
            elif hasattr(item, "columns"):
                block = cast(Block, item)
                self._see_block(block.columns)
                for row in block.rows():
                    self._add(row)
                    if self._part.is_full:
                        yield self._batch()
            else:
                refused = item
                self._part.rows += 1
                self._refuse(refused, refused.reason, refused.detail)
            if self._part.is_full:
                yield self._batch()
        yield self._batch()

    def _see(self, payload: dict[str, Any]) -> None:
        """Remember the columns of a row. Rows are mostly alike: what they are made of is looked up first."""
        form = (*payload, *map(type, payload.values()))
        if form in self._forms:
            return
        if len(self._forms) < MAX_COLUMNS:
            self._forms.add(form)
        for name, value in payload.items():
            self._note(name, {kind_of(value)})

    def _see_block(self, columns: Mapping[str, Any]) -> None:
        for name, values in columns.items():
            if isinstance(values, pl.Series):
                kinds = {_kind_of_series(values)}
            else:
                kinds = {_KINDS.get(kind, "object") for kind in set(map(type, values))}
            self._note(name, kinds)

    def _note(self, name: str, kinds: set[str]) -> None:
        if name in self.columns or len(self.columns) < MAX_COLUMNS or name in self._watched:
            self.columns.setdefault(name, set()).update(kinds - {""})

    def _add(self, row: Raw) -> None:
        part = self._part
        for found in self._mapper.records(row.payload):
            part.rows += 1
            if isinstance(found, Refusal):
                self._refuse(row, found.reason, found.detail)
            else:
                self._keep(row, found)

    def _keep(self, row: Raw, found: Conversation) -> None:
        part, values = self._part, self._part.values
        for name, ways in self._paths:
            if (there := _at(found.payload, ways)) is not None:
                self._note(name, {kind_of(there[0])})
        payload = canonical(found.payload)
        part.bytes += len(payload)
        part.digests.append(hashlib.sha256(self._head + payload).digest()[:16])
        part.payloads.append(payload)
        sealed = orjson.dumps(
            [self._source.name, self._source.rank, found.messages, found.label, found.group, found.person_names,
             self._uses, *((found.prompt_turns, found.rejected, found.tools) if found.rejected or found.tools else ())]
        )  # fmt: skip
        values["line"].append(row.line)
        values["byte_offset"].append(row.byte_offset)
        values["source_id"].append(found.source_id)
        values["messages"].append(found.messages)
        values["prompt_turns"].append(found.prompt_turns)
        values["rejected"].append(found.rejected)
        values["tools"].append(found.tools)
        values["label"].append(found.label)
        values["group"].append(found.group)
        values["created_at"].append(found.created_at)
        values["person_names"].append(found.person_names)
        values["content_sha"].append(hashlib.sha256(sealed + b"\x1f").hexdigest())

    def _refuse(self, row: Any, reason: str, detail: str) -> None:
        self._part.rejects.append(
            (self._day, self._source.name, self._uri, row.line, row.byte_offset, reason, detail)
        )

    def _batch(self) -> Batch:
        """What has been filled since the last time; the next part begins."""
        part, self._part = self._part, _Part()
        numbers = self._occurrences.count(part.digests)
        day = self._day.isoformat()
        ids = [
            digest.hex() if number == 0 else record_id(self._source.name, day, payload, number)
            for digest, payload, number in zip(part.digests, part.payloads, numbers, strict=True)
        ]
        filled = {name: _series(name, column) for name, column in part.values.items() if column}
        constant = {
            "day": self._day,
            "source": self._source.name,
            "source_rank": self._source.rank,
            "uri": self._uri,
            "may_evaluate": "evaluate" in self._source.rights.uses,
            "kept": True,
            "reason": None,
            "detail": None,
        }
        schema = TABLES[Step.INGEST]
        frame = pl.DataFrame(schema=schema)
        if ids:
            frame = pl.DataFrame({"record_id": pl.Series(ids, dtype=pl.String)} | filled)
        records = frame.with_columns(
            pl.lit(value, schema[name]).alias(name) for name, value in constant.items()
        )
        return Batch(
            records.select(list(schema)) if ids else frame,
            pl.DataFrame(part.rejects, schema=TABLES["rejects"], orient="row"),
            part.rows,
            {name: frozenset(kinds) for name, kinds in self.columns.items()},
        )

    def check_columns(self) -> None:
        """Raise MissingColumn where the rows read had columns, and not those that are mapped."""
        missing = missing_columns(self._source.shape, self._task_type, self.columns) if self.columns else []
        if missing:
            reading = self._source.reading
            raise MissingColumn(missing, self.columns, reading.format == "json" and reading.records is None)


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column of records. Lists are built from flat arrays: Polars takes them apart one by one (measured, 20 ×)."""
    dtype = TABLES[Step.INGEST][name]
    if dtype not in (MESSAGES, pl.List(pl.String)):
        return pl.Series(name, values, dtype=dtype)
    import pyarrow as pa

    flat = [item for value in values if value for item in value]
    if dtype == MESSAGES:
        text = pa.large_string()
        parts = [pa.array([item[key] for item in flat], text) for key in ("role", "content")]
        items = pa.StructArray.from_arrays(parts, ["role", "content"])
    else:
        items = pa.array(flat, pa.large_string())
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) if value else 0 for value in values], out=offsets[1:])
    is_null = pa.array([value is None for value in values])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), items, mask=is_null)
    return pl.Series(name, lists, dtype=dtype)


def ingest_parts(
    items: Iterable[Raw | Block | Refused],
    source: SourceParams,
    params: IngestParams,
    day: dt.date,
    uri: str,
    occurrences: Occurrences | None = None,
) -> Iterator[Batch]:
    """Records and rejects of one file, in parts of bounded size, in file order.

    occurrences: counts of identical rows seen so far in this (source, day); pass one for all files of a
    batch. Raises MissingColumn after the last part where a mapped column occurred in no row at all.
    """
    intake = _Intake(source, params, day, uri, occurrences or Occurrences())
    yield from intake.parts(items)
    intake.check_columns()


def ingest(
    items: Iterable[Raw | Block | Refused],
    source: SourceParams,
    params: IngestParams,
    day: dt.date,
    uri: str,
    occurrences: Occurrences | None = None,
) -> Batch:
    """All parts of `ingest_parts` as one."""
    parts = list(ingest_parts(items, source, params, day, uri, occurrences))
    return Batch(
        pl.concat([part.records for part in parts]),
        pl.concat([part.rejects for part in parts]),
        sum(part.rows_read for part in parts),
        parts[-1].columns,
    )


def watched_columns(shape: Shape, task_type: str) -> frozenset[str]:
    """Every column a row may have that the fields name, whole or by the beginning of a path."""
    return frozenset(column for name in required_columns(shape, task_type) for column, _ in splits(name))


def missing_columns(shape: Shape, task_type: str | None, present: Iterable[str]) -> list[str]:
    """Mapped columns that are not in `present` and that the layout does not let be absent.

    task_type: None for an evaluation set.
    """
    return lookup.missing_columns(required_columns(shape, task_type), present)


_sorted_encoder = msgspec.json.Encoder(order="sorted")


def canonical(payload: dict[str, Any]) -> bytes:
    """The one JSON text of a row: keys sorted at every level, integers of any size in full."""
    try:
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _sorted_encoder.encode(payload)


def _at(payload: dict[str, Any], ways: list[tuple[str, tuple[str, ...]]]) -> tuple[Any] | None:
    """What a path leads to, null included; None where it leads to nothing."""
    for column, path in ways:
        if column not in payload:
            continue
        value = payload[column]
        for part in path:
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return None
        return (value,)
    return None


_KINDS: dict[type, str] = {
    str: "text", int: "number", float: "number", bool: "boolean", list: "list", dict: "object", type(None): "",
}  # fmt: skip


def kind_of(value: Any) -> str:
    """text, number, boolean, list, object; nothing for null."""
    return _KINDS.get(type(value), "object")


def _kind_of_series(values: pl.Series) -> str:
    if values.null_count() == len(values):
        return ""
    dtype = values.dtype
    if dtype == pl.String:
        return "text"
    if dtype == pl.Boolean:
        return "boolean"
    return "number" if dtype.is_numeric() else "list" if isinstance(dtype, pl.List) else "object"
