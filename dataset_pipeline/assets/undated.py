"""What reviews, erasures, annotations and the split lock say about the records of a day.

Lives here: joining published inputs without days with the ids of records, for the steps that read them and for
the recipes of their days. Keep out: reading files of people (`reviewing`, `annotating`), deciding (`transforms`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property
from typing import cast

import polars as pl

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.recipes import Latest
from dataset_pipeline.records import ANNOTATIONS, COUNT, PROTECTED, REVIEWS, Step, content_hash, empty
from dataset_pipeline.spec.params import SplitParams
from dataset_pipeline.storage import frames, split_lock
from dataset_pipeline.transforms import assignment
from dataset_pipeline.transforms.erasure import erased
from dataset_pipeline.transforms.reviews import naming

REVIEWED_STEPS = (Step.FILTER, Step.DECONTAMINATE, Step.LABEL)
"""The steps that a verdict of a person can overrule."""

UNDATED_OF: dict[Step, tuple[str, ...]] = {
    step: (
        *((REVIEWS,) if step in REVIEWED_STEPS or step == Step.INGEST else ()),
        *((PROTECTED,) if step == Step.DECONTAMINATE else ()),
        *((ANNOTATIONS,) if step in (Step.DEDUP, Step.LABEL) else ()),
    )
    for step in Step
}
"""The inputs without days that a step reads."""

ERASED_FACTS = ("record_id", "because", "place")
"""Of an erased record: why, and the line of the review that asked for it."""

CONSENSUS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "day": pl.Date,
    "label": pl.String,
    "answers": pl.Int32,
    "agreement": pl.Float64,
    "votes": pl.List(COUNT),
}
"""The consensus on a record, as `label` reads it; label is null for a tie."""


class Undated:
    """Everything without a day, as published when it is asked first."""

    def __init__(self, context: Context, latest: Latest):
        self._context = context
        self.latest = latest
        self._warehouse = context.warehouse
        # What was published empty is not asked for: a query costs 15 ms, and most projects name no such files.
        self._filled = {step for (step, day), p in latest.items() if day is None and p.row_count}

    # --- frames -----------------------------------------------------------------------------

    @cached_property
    def reviews(self) -> pl.DataFrame:
        return self._table(REVIEWS, REVIEWS)

    @cached_property
    def erasures(self) -> pl.DataFrame:
        return self._table(REVIEWS, "erasures")

    def _table(self, published: str, table: str) -> pl.DataFrame:
        return self._warehouse.table(table) if published in self._filled else empty(table)

    @cached_property
    def _known(self) -> pl.DataFrame:
        """Ids of all collected records; asked only where somebody said something about one."""
        return frames.known_records(self._warehouse)

    @cached_property
    def _named(self) -> dict[Step, pl.DataFrame]:
        if self.reviews.height == 0:
            return {}
        return {step: naming(self.reviews, self._known, step) for step in REVIEWED_STEPS}

    def named(self, step: Step, days: Sequence[dt.date]) -> pl.DataFrame | None:
        """The verdicts on records of `days` that act in `step`; None where there is none."""
        found = self._named.get(step)
        if found is None:
            return None
        of_days = found.filter(pl.col("day").is_in(list(days)))
        return of_days if of_days.height else None

    @cached_property
    def _named_by_day(self) -> dict[Step, dict[dt.date, pl.DataFrame]]:
        return {step: _by_day(found) for step, found in self._named.items()}

    def verdicts(self, step: Step, day: dt.date) -> int:
        """How many verdicts on records of `day` act in `step`."""
        found = self._named_by_day.get(step, {}).get(day)
        return found.height if found is not None else 0

    @cached_property
    def _consensus(self) -> pl.DataFrame:
        decided = self._table(ANNOTATIONS, "consensus")
        if decided.height == 0:
            return pl.DataFrame(schema=CONSENSUS)
        known = self._known.select("record_id", "day", "source", "source_id")
        columns = ["label", "answers", "agreement", "votes"]
        by_id = decided.filter(pl.col("record").is_not_null()).join(
            known.select("record_id", "day"), left_on="record", right_on="record_id"
        )
        by_source = (
            decided.filter(pl.col("record").is_null() & pl.col("source_id").is_not_null())
            .select("source", "source_id", *columns)
            .join(known, on=["source", "source_id"])
            .join(by_id.select(record_id="record"), on="record_id", how="anti")
        )
        both = [
            by_id.select(pl.col("record").alias("record_id"), "day", *columns),
            by_source.select(*CONSENSUS),
        ]
        return pl.concat(both).unique("record_id", keep="first", maintain_order=True).sort("record_id")

    def consensus(self, days: Sequence[dt.date]) -> pl.DataFrame | None:
        """CONSENSUS of the records of `days`; None where nobody annotated one."""
        of_days = self._consensus.filter(pl.col("day").is_in(list(days)))
        return of_days if of_days.height else None

    @cached_property
    def _consensus_by_day(self) -> dict[dt.date, pl.DataFrame]:
        return _by_day(self._consensus)

    @cached_property
    def erased(self) -> pl.DataFrame:
        """record_id, day, source, source_id, because, place of the collected records that erasures take, whether or
        not ingest has dropped them yet."""
        if self.erasures.height == 0:
            names = ("record_id", "source", "source_id", "because", "place")
            return pl.DataFrame(schema={**dict.fromkeys(names, pl.String), "day": pl.Date})
        found = erased(self._known, self.erasures).with_columns(place=pl.format("{}:{}", "uri", "line"))
        return found.join(self._known.select("record_id", "day", "source", "source_id"), on="record_id")

    @cached_property
    def _erased_by_day(self) -> dict[dt.date, pl.DataFrame]:
        return _by_day(self.erased)

    @cached_property
    def lock(self) -> pl.DataFrame:
        """LOCK of the split strategy, empty where it needs none. Raises SpecError for a broken file."""
        if self._uses_lock:
            return split_lock.read(self._context.project.lock_path)
        return pl.DataFrame(schema=assignment.LOCK)

    @property
    def _uses_lock(self) -> bool:
        return assignment.uses_lock(cast(SplitParams, self._context.params[Step.SPLIT]))

    # --- recipes ----------------------------------------------------------------------------

    def reads(self, step: Step, day: dt.date) -> dict[str, str]:
        """What a recipe of `step` on `day` reads of all this; nothing where nothing names its records.

        Asked for every day of every step, so each frame is parted by day once.
        """
        if step == Step.INGEST:
            erased = self._erased_by_day.get(day)
            return self.erasure_reads(erased) if erased is not None else {}
        if step == Step.SPLIT:
            groups = self._split_groups.get(day)
            return self.lock_reads(groups) if groups is not None else {}
        found: dict[str, str] = {}
        if step in REVIEWED_STEPS and (named := self._named_by_day.get(step, {}).get(day)) is not None:
            found["reviews"] = content_hash(named)
        if step in (Step.DEDUP, Step.LABEL) and (decided := self._consensus_by_day.get(day)) is not None:
            found[ANNOTATIONS] = content_hash(decided)
        return found

    @staticmethod
    def erasure_reads(rows: pl.DataFrame) -> dict[str, str]:
        """rows: ERASED_FACTS of the erased records of one day."""
        return {"erasures": content_hash(rows.select(ERASED_FACTS))} if rows.height else {}

    def lock_reads(self, groups: pl.Series) -> dict[str, str]:
        """groups: the group keys of one day."""
        return {"split lock": assignment.lock_hash(groups, self.lock)} if self._uses_lock else {}

    @cached_property
    def _split_groups(self) -> dict[dt.date, pl.Series]:
        if not self._uses_lock:
            return {}
        found = self._warehouse.query(f'SELECT DISTINCT day, group_key FROM main."{Step.SPLIT}"')
        return {day: part["group_key"] for day, part in _by_day(found).items()}


def _by_day(frame: pl.DataFrame) -> dict[dt.date, pl.DataFrame]:
    """The rows of each day, in their order."""
    if frame.height == 0:
        return {}
    return {
        key[0]: part for key, part in frame.partition_by("day", as_dict=True, maintain_order=True).items()
    }
