"""What earlier runs left to compare with: settings behind a hash, how long steps took, rows per byte, old publications.

Lives here: reading these. Keep out: writing them (`publishing`), judgements (`judgements`), words (`assets.differences`).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from dataset_pipeline.storage.warehouse import Warehouse

KEPT_TIMINGS = 8
"""Of each step and kind: enough to hold a large run beside the nightly ones."""


@dataclass(frozen=True)
class Timing:
    """How long one run of a step took. is_cold: a day of it was new, so its texts were in no cache."""

    step: str
    days: int
    rows: int
    seconds: float
    is_cold: bool


def settings_of(warehouse: Warehouse, hashes: Collection[str]) -> dict[str, dict[str, Any]]:
    """params_hash to the settings it was made of, of those that are known."""
    if not hashes:
        return {}
    found = warehouse.query(
        "SELECT params_hash, settings FROM settings WHERE list_contains(?, params_hash)", [sorted(hashes)]
    )
    return {params_hash: json.loads(text) for params_hash, text in found.iter_rows()}


def timings(warehouse: Warehouse) -> list[Timing]:
    """The newest timings of every step, and of each the largest of the last hundred: a backfill tells more than a night."""
    found = warehouse.query(
        """WITH ordered AS (
            SELECT *, row_number() OVER (PARTITION BY step, is_cold ORDER BY finished_at DESC, seconds) AS age FROM timings),
        sized AS (
            SELECT *, row_number() OVER (PARTITION BY step, is_cold ORDER BY row_count DESC, age) AS size
            FROM ordered WHERE age <= 100)
        SELECT step, days, row_count AS rows, seconds, is_cold FROM sized WHERE age <= ? OR size = 1
        ORDER BY step, is_cold, age""",
        [KEPT_TIMINGS],
    )
    return [Timing(**row) for row in found.iter_rows(named=True)]


def sizes(warehouse: Warehouse) -> dict[str, tuple[int, int]]:
    """Source to bytes of its published files and the records in them."""
    found = warehouse.query(
        "SELECT source, sum(bytes)::BIGINT AS b, sum(rows_ingested)::BIGINT AS n FROM batches GROUP BY source"
    )
    return {source: (size or 0, rows or 0) for source, size, rows in found.iter_rows()}


def publications_of(warehouse: Warehouse, step: str, contents: Collection[str]) -> dict[str, str]:
    """Content to the `inputs` of the newest publication of an undated step that had it."""
    if not contents:
        return {}
    found = warehouse.query(
        """SELECT content, inputs FROM publications WHERE step = ? AND day IS NULL AND list_contains(?, content)
        QUALIFY row_number() OVER (PARTITION BY content ORDER BY seq DESC) = 1""",
        [step, sorted(contents)],
    )
    return dict(found.iter_rows())
