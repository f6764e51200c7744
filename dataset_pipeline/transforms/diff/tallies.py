"""How many rows of two releases differ by which cause, and where they are from.

Lives here: counting over the frames of `causes.with_causes`. Keep out: finding a cause (`causes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dataset_pipeline.transforms.diff.comparing import LABEL, SPLIT, Comparison


@dataclass(frozen=True)
class Tally:
    """How many rows differ in one way by one cause. kind: in, out, changed or moved."""

    kind: str
    step: str | None
    reason: str
    """As the row says it; `text`, `label` or `text and label` of a changed one, `split` of a moved one."""
    cause: str
    because: str
    rows: int
    by_source: dict[str, int]
    by_label: dict[str, int]
    by_split: dict[str, int]


def tally(found: Comparison) -> list[Tally]:
    """Rows by kind, step, reason and cause: the most rows first. found: as `with_causes` returns it."""
    what = (
        pl.when(
            pl.col("text_changed").fill_null(False) & pl.col("label_before").ne_missing(pl.col("label_after"))
        )
        .then(pl.lit("text and label"))
        .when(pl.col("text_changed").fill_null(False))
        .then(pl.lit("text"))
        .otherwise(pl.lit("label"))
    )
    no_step = pl.lit(None, pl.String).alias("step")
    frames = {
        "in": found.rows_in,
        "out": found.rows_out,
        "changed": found.changed.with_columns(no_step, reason=what, label="label_after"),
        "moved": found.moved.with_columns(no_step, reason=pl.lit("split"), split="split_after"),
    }
    tallies = [tally for kind, frame in frames.items() for tally in _tallies(kind, frame)]
    order = list(frames)
    return sorted(
        tallies, key=lambda t: (order.index(t.kind), -t.rows, t.step or "", t.reason, t.cause, t.because)
    )


def _tallies(kind: str, frame: pl.DataFrame) -> list[Tally]:
    keys = ["step", "reason", "cause", "because"]
    found = []
    for key, part in frame.partition_by(keys, as_dict=True, maintain_order=True).items():
        step, reason, cause, because = key
        by = {
            name: {
                str(v): int(n)
                for v, n in part.group_by(pl.col(name).fill_null("none")).len().sort(name).iter_rows()
            }
            for name in ("source", LABEL, SPLIT)
        }
        found.append(
            Tally(
                kind,
                step,
                str(reason),
                str(cause),
                str(because),
                part.height,
                by["source"],
                by[LABEL],
                by[SPLIT],
            )
        )
    return found
