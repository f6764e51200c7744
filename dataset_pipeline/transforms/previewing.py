"""What another setting would do to records that are there already: numbers, and nothing is done.

Lives here: filter decided again from its stored measurements, and groups assigned another way. Keep out: reading
the warehouse and saying it to people (`cli.previewing`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dataset_pipeline.records import TABLES, Split, Step
from dataset_pipeline.spec.models import Ratios
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms.filter import decide

MEASURING: dict[str, str] = {
    "chars_per_token": "chars_per_token",
    "profane_add": "profanity.add",
    "profane_allow": "profanity.allow",
}
"""Params of filter that change what is measured, and their keys in the spec: old measurements say nothing of them."""


# --- filter -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moved:
    """Records of one part (a source, a label, or all): how many are kept now and then, come back, and go."""

    name: str
    records: int
    kept_now: int
    kept_then: int
    back: int
    gone: int


@dataclass(frozen=True)
class FilterChange:
    """rules: reason to the records that it drops, or that wait by it, now and then; by name."""

    total: Moved
    rules: dict[str, tuple[int, int]]
    sources: tuple[Moved, ...]
    labels: tuple[Moved, ...]


def measured_anew(now: FilterParams, then: FilterParams) -> list[str]:
    """Keys of the spec's filter that differ and change measurements, so that `filter_change` cannot tell."""
    return [key for name, key in MEASURING.items() if getattr(now, name) != getattr(then, name)]


def filter_change(published: pl.DataFrame, now: FilterParams, then: FilterParams) -> FilterChange:
    """What `then` would decide of the rows that were decided under `now`.

    published: TABLES['filter'], and source and label (null without one) of each record. A verdict that a person
    gave (column review) stays, and so does one that is the same under both.
    """
    measured = published.select(
        name for name in TABLES[Step.FILTER] if name not in ("kept", "reason", "detail", "review")
    )
    verdicts = ["kept", "reason"]
    before = decide(measured, now).select("record_id", "day", *verdicts)
    after = decide(measured, then).select("record_id", "day", new_kept="kept", new_reason="reason")
    rows = published.select("record_id", "day", "source", "label", "review", *verdicts)
    changed = before.join(after, on=["record_id", "day"]).filter(
        (pl.col("kept") != pl.col("new_kept")) | pl.col("reason").ne_missing(pl.col("new_reason"))
    )
    rows = rows.join(
        changed.select("record_id", "day", "new_kept", "new_reason", is_changed=pl.lit(True)),
        on=["record_id", "day"],
        how="left",
    )
    counts = pl.col("is_changed").fill_null(False) & pl.col("review").is_null()
    rows = rows.with_columns(
        then_kept=pl.when(counts).then("new_kept").otherwise("kept"),
        then_reason=pl.when(counts).then("new_reason").otherwise("reason"),
    )
    return FilterChange(
        total=Moved("all", *rows.select(_sums()).row(0)),
        rules=_rules(rows),
        sources=_parts(rows, "source"),
        labels=_parts(rows.filter(pl.col("label").is_not_null()), "label"),
    )


def _sums() -> list[pl.Expr]:
    """The numbers of Moved, in its order."""
    now, then = pl.col("kept"), pl.col("then_kept")
    return [
        pl.len().alias("records"), now.sum().alias("now"), then.sum().alias("then"),
        (~now & then).sum().alias("back"), (now & ~then).sum().alias("gone"),
    ]  # fmt: skip


def _parts(rows: pl.DataFrame, column: str) -> tuple[Moved, ...]:
    return tuple(Moved(*row) for row in rows.group_by(column).agg(_sums()).sort(column).iter_rows())


def _rules(rows: pl.DataFrame) -> dict[str, tuple[int, int]]:
    now = dict(rows.drop_nulls("reason").group_by("reason").len().iter_rows())
    then = dict(rows.drop_nulls("then_reason").group_by("then_reason").len().iter_rows())
    return {reason: (now.get(reason, 0), then.get(reason, 0)) for reason in sorted({*now, *then})}


# --- split --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelShares:
    """Records of a label by split; label None: of all records."""

    label: str | None
    records: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.records.values())

    def share(self, split: str) -> float:
        return self.records[split] / self.total if self.total else 0.0


@dataclass(frozen=True)
class SplitFacts:
    """What an assignment gives. worst_…: where a share is furthest from its ratio (None without ratios).

    mean_error: the mean over splits and records of that distance. fewest_test: the label with the fewest test records.
    moved_groups, moved_records: in another split than they are published in.
    without_right: records that would be dropped, because their source gives no right to evaluate.
    """

    whole: LabelShares
    labels: tuple[LabelShares, ...]
    worst_error: float | None
    worst_label: str | None
    worst_split: str | None
    mean_error: float | None
    fewest_test: LabelShares
    moved_groups: int
    moved_records: int
    without_right: int


def split_facts(records: pl.DataFrame, splits: pl.DataFrame, ratios: Ratios | None) -> SplitFacts:
    """records: group_key, label (null without one), split (as published), may_evaluate, a row each; splits:
    assignment.SPLITS of every group."""
    rows = records.rename({"split": "published"}).join(splits, on="group_key", how="left")
    counts = rows.drop_nulls("label").group_by("label", "split").len().sort("label")
    labels = tuple(
        _shares(str(key[0]), part)
        for key, part in counts.partition_by("label", as_dict=True, maintain_order=True).items()
    )
    whole = _shares(None, rows.group_by("split").len())
    moved = rows.filter(pl.col("split") != pl.col("published"))
    judged = labels or (whole,)
    errors = [] if ratios is None else [
        (abs(part.share(split) - ratios.of(split)), part, split) for part in judged for split in Split
    ]  # fmt: skip
    worst = max(errors, key=lambda e: e[0]) if errors else None
    weight = max(sum(part.total for part in judged), 1) * len(Split)
    return SplitFacts(
        whole=whole,
        labels=labels,
        worst_error=worst[0] if worst else None,
        worst_label=worst[1].label if worst else None,
        worst_split=worst[2].value if worst else None,
        mean_error=sum(error * part.total for error, part, _ in errors) / weight if errors else None,
        fewest_test=min(judged, key=lambda part: (part.records[Split.TEST.value], part.label or "")),
        moved_groups=moved["group_key"].n_unique(),
        moved_records=moved.height,
        without_right=rows.filter((pl.col("split") != Split.TRAIN.value) & ~pl.col("may_evaluate")).height,
    )


def _shares(label: str | None, counts: pl.DataFrame) -> LabelShares:
    found = dict(counts.select("split", "len").iter_rows())
    return LabelShares(label, {split.value: found.get(split.value, 0) for split in Split})
