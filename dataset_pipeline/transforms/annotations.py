"""annotations: rows that people filled in become answers on records.

Lives here: what a row of an annotation file says, whom it means, what becomes of the answer. Keep out: reading
files (`storage.readers`), which label an item gets of its answers (`consensus`), how well annotators agree
(`agreement`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson
import polars as pl

from dataset_pipeline.records import ANNOTATIONS, conform, empty
from dataset_pipeline.spec.models import AnnotationSet
from dataset_pipeline.spec.params import AnnotationsParams
from dataset_pipeline.transforms import lookup
from dataset_pipeline.transforms.consensus import consensus, item_key
from dataset_pipeline.transforms.mapping import Misfit

__all__ = ["STATES", "UNUSABLE_REASONS", "Unusable", "answers", "consensus", "missing_columns", "resolved"]

UNUSABLE_REASONS: frozenset[str] = frozenset(
    {
        "missing_item",  # no item: null, absent or blank
        "item_form",  # neither a record id nor source:id with a source of the spec
        "missing_annotator",  # nobody's answer
        "missing_label",  # not answered yet
        "wrong_type",  # a list or an object where one value is wanted
        "bad_confidence",  # no number from 0 to 1; the answer counts without it
    }
)
"""What a row that could be read may lack. Rows that no reader could read carry the reader's word."""

STATES: tuple[str, ...] = ("counted", "overruled", "unknown_label", "unknown_record")
"""What becomes of an answer; see `resolved`."""

_RECORD_ID = re.compile(r"[0-9a-fA-F]{32}")
_SHOWN = re.compile(r"[^\W\d][\w-]{0,23}|\d{1,3}")
"""Words of a file that may be kept as `given`: one short word, or a small number as codes of labels are."""


class Unusable(NamedTuple):
    """A row that is no answer, or not wholly one: where it is and a word for why. Never a piece of it."""

    uri: str
    line: int
    reason: str


class _Item(NamedTuple):
    record: str | None
    source: str | None
    source_id: str | None


def missing_columns(columns: Iterable[str], annotation_set: AnnotationSet) -> list[str]:
    """The columns that a file must have and lacks: item, and annotator and label or every annotator's own."""
    fields = annotation_set.fields
    needed = (fields.item, *(annotation_set.annotators or (fields.annotator, fields.label)))
    return lookup.missing_columns(needed, columns)


# --- rows to answers ------------------------------------------------------------------------


def answers(
    rows: Iterable[tuple[str, int, Mapping[str, Any]]],
    annotation_set: AnnotationSet,
    params: AnnotationsParams,
    sources: frozenset[str],
) -> tuple[pl.DataFrame, list[Unusable]]:
    """TABLES['annotations'] of rows (uri, line, payload) of one set, in their order, and what is unusable of them.

    sources: names of the spec's sources, for items of the form source:id. record is set for a record id, else
    source and source_id. label: the spec's, null for an unknown word. given: the word of the file where it is a
    short one. confidence: 0 to 1, else null and reported. secondary: as label, an unknown short word as it stands.
    notes: as written, not read in wide form, where nobody's name stands at them; nor are confidence and secondary.
    state: `unknown_label`, or null until `resolved` says it.
    """
    read = _reader(annotation_set)
    items = _Items(annotation_set.source, sources)
    columns: dict[str, list[Any]] = {name: [] for name in empty(ANNOTATIONS).columns}
    unusable: list[Unusable] = []
    for uri, line, payload in rows:
        try:
            text, said, extras = read(payload)
        except Misfit:
            unusable.append(Unusable(uri, line, "wrong_type"))
            continue
        reason = _lacking(text, said)
        item = None if text is None else items[text]
        if reason is None and item is None:
            reason = "item_form"
        if reason is not None or item is None:
            unusable.append(Unusable(uri, line, reason or "missing_item"))
            continue
        confidence, is_bad = _confidence(extras.get("confidence"))
        if is_bad:
            unusable.append(Unusable(uri, line, "bad_confidence"))
        for annotator, word in said:
            if annotator is None or word is None:
                continue
            label = params.label_names.get(word.casefold())
            values = (
                *item, annotator, label, word if _SHOWN.fullmatch(word) else None, confidence,
                _second(extras.get("secondary"), params), extras.get("notes"), uri, line,
                None if label else "unknown_label",
            )  # fmt: skip
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    frame = pl.DataFrame(columns, schema=empty(ANNOTATIONS).schema)
    return frame, unusable


_Said = list[tuple[str | None, str | None]]
"""(annotator, word) of each answer of a row."""
_Row = tuple[str | None, _Said, dict[str, Any]]


def _reader(annotation_set: AnnotationSet) -> Callable[[Mapping[str, Any]], _Row]:
    """item, answers and further values of a row. Raises Misfit where one value is wanted and none stands there."""
    fields = annotation_set.fields
    item = _stripped(lookup.scalar_of(fields.item))
    if annotation_set.annotators:
        cells = [(name.strip(), _stripped(lookup.scalar_of(name))) for name in annotation_set.annotators]
        return lambda row: (item(row), [(name, word) for name, cell in cells if (word := cell(row))], {})
    annotator, label = (_stripped(lookup.scalar_of(n)) for n in (fields.annotator, fields.label))
    confidence, notes = lookup.value_of(fields.confidence), lookup.value_of(fields.notes)
    secondary = lookup.value_of(fields.secondary)

    def read(row: Mapping[str, Any]) -> _Row:
        payload = dict(row)
        extras = {"confidence": confidence(payload), "secondary": secondary(payload)}
        return item(row), [(annotator(row), label(row))], {**extras, "notes": _written(notes(payload))}

    return read


def _stripped(read: lookup.Text) -> Callable[[Mapping[str, Any]], str | None]:
    """The value without outer spaces; a blank one is none."""

    def text(row: Mapping[str, Any]) -> str | None:
        value = read(row if isinstance(row, dict) else dict(row))
        return value.strip() or None if value is not None else None

    return text


def _lacking(item: str | None, said: _Said) -> str | None:
    """Why a row is no answer, the item apart from its form. A row nobody answered is not answered yet."""
    if item is None:
        return "missing_item"
    if not any(word for _, word in said):
        return "missing_label"
    return None if all(name for name, _ in said) else "missing_annotator"


class _Items(dict[str, "_Item | None"]):
    """What an item's text means, worked out once each; None where it has no form of ours."""

    def __init__(self, source: str | None, sources: frozenset[str]):
        super().__init__()
        self._source, self._sources = source, sources

    def __missing__(self, text: str) -> _Item | None:
        found: _Item | None = None
        before, colon, after = text.partition(":")
        if self._source is not None:
            # A source's own ids may look like ours (MD5 has as many digits), so they are taken at their word.
            found = _Item(None, self._source, text)
        elif _RECORD_ID.fullmatch(text):
            found = _Item(text.lower(), None, None)
        elif colon and before.strip() in self._sources and after.strip():
            found = _Item(None, before.strip(), after.strip())
        self[text] = found
        return found


def _confidence(value: Any) -> tuple[float | None, bool]:
    """The number, and whether what stands there is none. Shares only: `80%` and 80 could mean two things."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, False
    number = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if 0 <= value <= 1 else None
    elif isinstance(value, str) and re.fullmatch(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", value.strip()):
        number = float(value)
    return (number, False) if number is not None and 0.0 <= number <= 1.0 else (None, True)


def _second(value: Any, params: AnnotationsParams) -> str | None:
    try:
        word = (lookup.as_text(value, "secondary") or "").strip()
    except Misfit:
        return None
    return params.label_names.get(word.casefold()) or (word if _SHOWN.fullmatch(word) else None)


def _written(value: Any) -> str | None:
    """Notes as text; lists and objects as JSON."""
    try:
        text = lookup.as_text(value, "notes")
    except Misfit:
        text = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode()
    return text.strip() or None if text is not None else None


# --- whom the answers mean, and which count -------------------------------------------------


def resolved(answers: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """`answers` of all files with record, source and source_id filled in and every state said, by uri and line.

    known: record_id, source, source_id of all collected records. An answer that names a source's id gets the
    record where exactly one has it. Where several have it (the source sent it again), the item is the source's id
    and record stays null; an answer that names the only named one of these records by its id belongs to the same
    item. Records of one source id that are named one by one stay items of their own.
    States: `unknown_label`; `overruled`: the same annotator answers the item again further on (by uri and line),
    with the same label or another; `unknown_record`: nothing collected has that id; `counted`.
    An answer with an unknown label overrules nothing.
    """
    if answers.height == 0:
        return empty(ANNOTATIONS)
    key = ["source", "source_id"]
    ids = (
        known.select("record_id", *key)
        .join(answers.select(record_id="record"), on="record_id", how="semi")
        .unique("record_id", keep="first", maintain_order=True)
        .select(record="record_id", known_source="source", known_id="source_id", is_known=pl.lit(True))
    )
    filled = answers.join(ids, on="record", how="left").with_columns(
        source=pl.coalesce("source", "known_source"), source_id=pl.coalesce("source_id", "known_id")
    )
    of_source = (
        known.filter(pl.col("source_id").is_not_null())
        .join(filled.select(key), on=key, how="semi")
        .group_by(key)
        .agg(pl.col("record_id").n_unique().alias("records"), pl.col("record_id").min().alias("only"))
    )
    filled = filled.join(of_source, on=key, how="left").with_columns(
        named=pl.col("record").drop_nulls().n_unique().over(key),
        is_of_source=pl.col("record").is_null().any().over(key),
        is_known=pl.col("is_known").fill_null(False) | (pl.col("record").is_null() & pl.col("records").is_not_null()),
    )  # fmt: skip
    is_one_item = (pl.col("records") > 1) & pl.col("is_of_source") & (pl.col("named") <= 1)
    filled = filled.with_columns(
        record=pl.when(pl.col("records") == 1)
        .then(pl.coalesce("record", "only"))
        .when(~is_one_item.fill_null(False))
        .then("record")
    )
    return conform(_with_states(filled).select(empty(ANNOTATIONS).columns), ANNOTATIONS)


def _with_states(filled: pl.DataFrame) -> pl.DataFrame:
    order = [
        "uri",
        "line",
        "annotator",
        "label",
        "given",
        "confidence",
        "secondary",
        "notes",
        "record",
        "source_id",
    ]
    placed = filled.sort(order, nulls_last=True).with_row_index("place")
    last = pl.col("place").filter(pl.col("label").is_not_null()).max().over(item_key(), "annotator")
    state = (
        pl.when(pl.col("label").is_null())
        .then(pl.lit("unknown_label"))
        .when(pl.col("place") < last)
        .then(pl.lit("overruled"))
        .when(~pl.col("is_known"))
        .then(pl.lit("unknown_record"))
        .otherwise(pl.lit("counted"))
    )
    return placed.with_columns(state=state)
