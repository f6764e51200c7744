"""Records that a preview shows: a few each way, clipped, with personal data replaced whatever the dataset keeps.

Lives here: choosing them and their texts. Keep out: what moves (`previewing`), how they are laid out (`cli.preview_change`).
"""

from __future__ import annotations

import re
from typing import cast

import polars as pl

from dataset_pipeline.assets import previewing_reading as reading
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.reporting import NOT_SHOWN
from dataset_pipeline.assets.scrubbing import helpers_of
from dataset_pipeline.expectations.text_audit import left_entities
from dataset_pipeline.records import REPORT, Step
from dataset_pipeline.spec.params import NormalizeParams, ReportParams
from dataset_pipeline.text import rejected_side, with_sides
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.previewing import BACK, GONE, JOURNEYS, spread_evenly
from dataset_pipeline.transforms.redaction import shown_values

EACH_WAY = 20
MAX_TEXT_CHARS = 200
"""Of a side, the ellipsis among them."""

EXAMPLES: dict[str, pl.DataType | type[pl.DataType]] = {
    **JOURNEYS, "source": pl.String, "split": pl.String, "label": pl.String,
    "prompt": pl.String, "answer": pl.String, "rejected": pl.String,
}  # fmt: skip
"""JOURNEYS of those shown; split: where the release has it (back: then, gone: now); texts are null where none is kept."""


def examples(before: Context, after: Context, journeys: pl.DataFrame, fates: pl.DataFrame) -> pl.DataFrame:
    """EXAMPLES: up to EACH_WAY records that come back and that go, from each step and reason as many as there are."""
    ways = [spread_evenly(journeys.filter(pl.col("way") == way), EACH_WAY) for way in (BACK, GONE)]
    chosen = pl.concat(ways)
    if not chosen.height:
        return pl.DataFrame(schema=EXAMPLES)
    is_back = pl.col("way") == BACK
    placed = fates.select("record_id", "source", "label", "split_now", "split_then")
    texts = _texts(before, after, chosen["record_id"])
    rows = (
        chosen.join(placed, on="record_id", how="left", maintain_order="left")
        .with_columns(split=pl.when(is_back).then("split_then").otherwise("split_now"))
        .join(texts, on="record_id", how="left", maintain_order="left")
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in EXAMPLES.items())


def _texts(before: Context, after: Context, ids: pl.Series) -> pl.DataFrame:
    """record_id, prompt, answer, rejected as they may be shown."""
    # Of texts that retention has taken out, and that were not read again aside, nothing is shown.
    known = reading.collected(before.warehouse, ids).filter(pl.col("messages").is_not_null())
    if after.warehouse.path != before.warehouse.path:
        missing = ids.filter(~ids.is_in(known["record_id"].implode()))
        made = reading.collected(after.warehouse, missing)
        known = pl.concat([known, made.filter(pl.col("messages").is_not_null())])
    params = cast(ReportParams, after.params[REPORT])
    cleaning = NormalizeParams(answers_are_labels=params.answers_are_labels, languages=(), pii=params.pii)
    clean = normalize(
        known, cleaning, before.memo(Step.NORMALIZE), helpers_of(before.project, params.pii)
    ).select("record_id", "messages", "rejected")
    turned = known.select("record_id", "prompt_turns").join(clean, on="record_id")
    sided = with_sides(turned).with_columns(rejected=rejected_side(turned))
    if params.answers_are_labels:
        sided = sided.with_columns(shown_values(sided["answer"]))  # one that nobody knows may be anything
    return sided.select(
        "record_id",
        *(
            pl.col(name).map_elements(shown, return_dtype=pl.String)
            for name in ("prompt", "answer", "rejected")
        ),
    )


_BLANKS = re.compile(r"\s+")


def shown(text: str) -> str:
    """A text on one line: clipped, control characters as their codes, nothing where personal data may be left."""
    if left_entities(text):
        return NOT_SHOWN
    line = _BLANKS.sub(" ", text).strip()
    clipped = line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in clipped)
