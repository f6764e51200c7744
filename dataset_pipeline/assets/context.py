"""What a step may use, and what it hands back: the types between the engine and the steps.

Lives here: `Context` and `Work`. Keep out: reading, computing, publishing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from dataset_pipeline.assets.recipes import libraries
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.memo import Memo
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import Params
from dataset_pipeline.storage.cache import Cache
from dataset_pipeline.storage.sources import Found, SourceFile
from dataset_pipeline.storage.warehouse import Warehouse

Days = tuple[dt.date, ...]


@dataclass(frozen=True)
class Context:
    """What a step may use: the project, its params, its warehouse, and the files found."""

    project: Project
    params: Mapping[str, Params]
    warehouse: Warehouse
    found: Found
    hashes: Mapping[str, str]
    """uri to the sha256 it had when the run was planned."""
    until: dt.date | None = None
    """The day that a night adds to the calendar, with or without files; None outside of a night."""

    def memo(self, step: Step) -> Memo:
        """Remembers costly per-text work of a step in the project's cache."""
        return Cache(self.project.cache_path, libraries(step))

    def files(self, day: dt.date) -> list[SourceFile]:
        return [f for f in self.found.files if f.day == day]


@dataclass(frozen=True)
class Work:
    """A step's result before its gate.

    tables: what is still to be staged. carried: record_id, day and every column the next step reads, of the
    kept rows (its hash is the handover); None for INGEST_HANDOVER of the staged rows. audit: made from the
    rows as read back from staging.
    """

    tables: dict[str, pl.DataFrame]
    carried: pl.DataFrame | None
    audit: Callable[[pl.DataFrame, dict[str, pl.DataFrame]], Audit]
    notes: tuple[str, ...] = ()
    commit: Callable[[], None] = lambda: None
    """What is written beside the warehouse once the gate has passed, before the rows become visible."""
    lock: pl.DataFrame | None = None
    """The split lock as `commit` leaves it; None where the step keeps none."""


@dataclass(frozen=True)
class Made:
    """An input without days, before its gate.

    tables: its own table and those published with it. frames: makes the judged rows and gauges from the
    tables as read back from staging.
    """

    tables: dict[str, pl.DataFrame]
    suite: tuple[Expectation, ...]
    frames: Callable[[dict[str, pl.DataFrame]], tuple[pl.DataFrame, pl.DataFrame]]
    notes: tuple[str, ...] = ()


Stage = Callable[[Mapping[str, pl.DataFrame]], None]
"""Takes a part of a step's tables to staging."""

INGEST_HANDOVER = ("record_id", "day", "content_sha")
"""What ingest hands over: `content_sha` seals everything that later steps read of a record."""
