"""What of a release's tables and of its spec is shown redacted: ids, names of files and columns, what people wrote beside records.

Lives here: which columns and keys may hold such words. Keep out: how a value is shown (`transforms.redaction`), texts of records,
which `normalize` has cleaned. The warehouse keeps everything as collected: `explain`, reviews and erasures go by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.memo import Memo
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.spec.params import NormalizeParams
from dataset_pipeline.transforms import pii as searching
from dataset_pipeline.transforms import redaction

if TYPE_CHECKING:
    from dataset_pipeline.assets.release_facts import Content

FOUND_BY = "search for personal data"
"""What a release and a queue read beside tables: by what was looked for in ids and names."""


def found_by() -> str:
    """The versions that decide what is found."""
    own = {"pii": searching.VERSION, "redaction": redaction.VERSION}
    return json.dumps(recipes.libraries(Step.NORMALIZE) | own, sort_keys=True)


_PLACE = ("source", "day", "uri")
_VALUES = ("source_id", "label", "created_at", "eval_item", "name", "other")
"""What a source, an evaluation set or an annotator calls things."""
_JSON = ("detail", "review")


def redacted(context: Context, content: Content) -> Content:
    """`content` as a release may hold it. Uris are changed alike in all tables, so that they still join."""
    pii = redaction.of_values(cast(NormalizeParams, context.params[Step.NORMALIZE]).pii)
    memo = context.memo(Step.NORMALIZE)
    names = released_names(content.batches.select(_PLACE).iter_rows())
    other = {place: name for place, name in names.items() if place[2] != name}

    def safe(table: pl.DataFrame) -> pl.DataFrame:
        return _with_names(with_values(table, pii, memo), other)

    rejects = _with_names(content.rejects, other)
    return replace(
        content,
        tables={step: safe(table) for step, table in content.tables.items()},
        batches=_with_names(content.batches, other),
        rejects=rejects.with_columns(redaction.shown_values(rejects["detail"], memo=memo)),
        selection=replace(content.selection, withheld=safe(content.selection.withheld)),
        agreement=safe(content.agreement),
    )


Place = tuple[str, str, str]
"""Source, ISO day, uri."""


def released_names(places: Iterable[tuple[Any, ...]]) -> dict[Place, str]:
    """Every file to the uri that a release tells."""
    return redaction.distinct_names({(str(s), str(day), str(uri)): str(uri) for s, day, uri in places})


def _with_names(table: pl.DataFrame, names: Mapping[Place, str]) -> pl.DataFrame:
    if not names or not set(_PLACE) <= set(table.columns):
        return table
    rows = [(*place, name) for place, name in names.items()]
    known = pl.DataFrame(rows, schema=[*_PLACE, "shown"], orient="row").with_columns(
        pl.col("day").str.to_date()
    )
    joined = table.join(known, on=_PLACE, how="left", maintain_order="left")
    return joined.with_columns(uri=pl.coalesce("shown", "uri")).drop("shown")


def with_values(table: pl.DataFrame, pii: Pii, memo: Memo) -> pl.DataFrame:
    """A table of records with the words of others as they are shown."""
    if not pii.entities:
        return table
    values = [redaction.shown_values(table[name], pii, memo) for name in _VALUES if name in table.columns]
    details = [redaction.shown_details(table[name], pii, memo) for name in _JSON if name in table.columns]
    return table.with_columns(*values, *details)


_NAMED = frozenset({"path", "fields", "explode", "records", "sheet", "reviews", "annotations", "annotators"})
"""Keys of the spec whose values name files or columns."""


def released_spec(project: Project) -> dict[str, Any]:
    """The spec as a manifest tells it: names of files and columns are shown; what else it says was written to be read."""
    return cast(dict[str, Any], _named(project.spec.as_released()))


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: redaction.shown_json(item) if key in _NAMED else _named(item) for key, item in value.items()
        }
    return [_named(item) for item in value] if isinstance(value, list) else value
