"""Rows that stand: what a step measured of a record before, where nothing that it depends on has changed.

Lives here: of which published rows the measurements may be taken as they are when a day is made again. Keep out: computing rows (`steps`), what makes a day stale (`recipes`).

What is measured of a record depends on it alone, so a day that is made again because records have come or gone
needs only those computed. What is not certain is computed anew: rows with a person's verdict, days whose collected
rows were replaced since, settings that nobody remembers.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.recipes import Latest, functions, libraries
from dataset_pipeline.records import PROTECTED, Step
from dataset_pipeline.storage import frames
from dataset_pipeline.storage.publishing import Publication
from dataset_pipeline.storage.warehouse import Warehouse

CLEANED = (Step.DECONTAMINATE, Step.LABEL, Step.SPLIT)
"""The steps that read cleaned texts: what normalize did then must be what it does now."""


@dataclass(frozen=True)
class _Past:
    """One publication: when, whether it replaced rows, and what of the spec and the libraries it was made with."""

    seq: int
    is_unchanged: bool
    basis: tuple[str, ...]


def standing_rows(
    context: Context,
    step: Step,
    days: Sequence[dt.date],
    latest: Latest,
    same_settings: Callable[[str], bool] | None = None,
) -> pl.DataFrame:
    """record_id and day of the published rows of `step` on `days` that may be taken as they are.

    same_settings: whether the params of a hash give the same rows as today's; default: only today's own hash does.
    """
    if step == Step.DEDUP:
        return _none()  # nothing before it drops a record: where it is made again, all of its records are new
    today = context.params[step].hash()
    fits = same_settings or (lambda params_hash: params_hash == today)
    past = _past(context.warehouse, days)
    good = [
        day
        for day in days
        if (own := latest.get((step, day))) is not None
        and fits(own.params_hash)
        and _inputs(own, "libraries") == libraries(step)
        and _inputs(own, "functions") == functions(step)
        and _stands(step, day, own, latest, past)
    ]
    return frames.unreviewed(context.warehouse, step, good) if good else _none()


def _stands(
    step: Step,
    day: dt.date,
    own: Publication,
    latest: Latest,
    past: Mapping[tuple[str, dt.date], Sequence[_Past]],
) -> bool:
    """Whether each record of the day is what it was when `own` was published."""
    since = own.seq
    if step == Step.DECONTAMINATE:
        protected = latest.get((PROTECTED, None))
        if protected is None or _inputs(own, "reads").get(PROTECTED) != protected.content:
            return False
    if step in CLEANED:
        cleaned = past.get((Step.NORMALIZE, day), ())
        read = [p for p in cleaned if p.seq < own.seq]
        if not read or any(p.basis != read[-1].basis for p in cleaned if p.seq > own.seq):
            return False
        since = read[-1].seq
    return not any(p.seq > since and not p.is_unchanged for p in past.get((Step.INGEST, day), ()))


def _past(warehouse: Warehouse, days: Sequence[dt.date]) -> dict[tuple[str, dt.date], list[_Past]]:
    """(step, day) to all publications of ingest and normalize, in order."""
    found: dict[tuple[str, dt.date], list[_Past]] = {}
    rows = warehouse.query(
        """SELECT seq, step, day, is_unchanged, params_hash,
            inputs->>'$.libraries' AS libraries, coalesce(inputs->>'$.functions', '') AS functions FROM publications
        WHERE step IN ('ingest', 'normalize') AND day IN (SELECT unnest(?::DATE[])) ORDER BY seq""",
        [list(days)],
    )
    for seq, step, day, is_unchanged, *basis in rows.iter_rows():
        past = _Past(int(seq), bool(is_unchanged), tuple(map(str, basis)))
        found.setdefault((step, day), []).append(past)
    return found


def _inputs(publication: Publication, part: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(publication.inputs).get(part, {})
    return found


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema={"record_id": pl.String, "day": pl.Date})
