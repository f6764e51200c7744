"""release: where each released record stands, where it is from, and why every other one is not there.

Lives here: frames in, frames out. Keep out: the rows of each format (`formats`), writing files
(`storage.releases`), the card's words (`card`).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dataset_pipeline.records import DAILY_STEPS, RELEASE, Step, sha256_text
from dataset_pipeline.transforms.card.whole import PairFacts
from dataset_pipeline.transforms.diff.comparing import TEXT_SHA, text_sha

ORIGIN = ["record_id", "source", "source_id", "day", "uri", "line"]
"""Where a record is from: the first columns of provenance and of dropped."""


def pair_facts(measured: pl.DataFrame) -> PairFacts | None:
    """What the card says of preference pairs; None where there are none.

    measured: answer_chars, rejected_chars and sides_similarity (TABLES['filter']) of the released records.
    """
    pairs = measured.filter(pl.col("rejected_chars").is_not_null())
    if pairs.height == 0:
        return None
    chosen, rejected = pl.col("answer_chars"), pl.col("rejected_chars")
    longer = ((chosen > rejected).cast(pl.Float64) + (chosen == rejected).cast(pl.Float64) / 2).mean()
    similarity = pl.col("sides_similarity")
    row = pairs.select(
        pairs=pl.len(),
        chosen_longer=longer,
        chosen_chars=chosen.median(),
        rejected_chars=rejected.median(),
        similarity=similarity.median(),
        similarity_high=similarity.quantile(0.95, "nearest"),
    ).row(0, named=True)
    return PairFacts(**row)


def with_row_numbers(released: pl.DataFrame) -> pl.DataFrame:
    """Adds row: the 0-based line of a record in its split's files."""
    return released.sort("record_id").with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("split"))


def provenance(
    released: pl.DataFrame, tables: Mapping[str, pl.DataFrame], batches: pl.DataFrame, tokens: pl.DataFrame
) -> pl.DataFrame:
    """One row per released record: origin, rights, split, row, and what each step measured.

    tables: the daily tables. tokens: transforms.tokens.TOKENS (here `release_tokens` and so on). Measured columns carry their step as a prefix (`filter_prompt_words`);
    texts, keys, bands and verdicts stay out.
    """
    origin = (
        tables[Step.INGEST]
        .select(*ORIGIN, "label", "created_at", "content_sha")
        .rename({"label": "collected_label"})
    )
    rights = batches.select("source", "day", "uri", "license", "holder", "uses").unique(
        ["source", "day", "uri"], keep="any"
    )
    frame = (
        released.with_columns(text_sha(released))
        .select("record_id", "split", "row", "label", TEXT_SHA)
        .join(origin, on="record_id", how="left")
        .join(rights, on=["source", "day", "uri"], how="left")
        .with_columns(uses=pl.col("uses").list.sort().list.join(","))
    )
    for step in DAILY_STEPS[1:]:
        table = tables[step]
        measured = [c for c in table.columns if c not in _NOT_MEASURED]
        renamed = table.select("record_id", *(pl.col(c).alias(f"{step}_{c}") for c in measured))
        frame = frame.join(renamed, on="record_id", how="left")
    frame = frame.with_columns(split_group_key=_hashed(frame["split_group_key"]))
    counted = tokens.select("record_id", pl.exclude("record_id").name.prefix(f"{RELEASE}_"))
    frame = frame.join(counted, on="record_id", how="left")
    names = ["record_id", "split", "row", *ORIGIN[1:], "license", "holder", "uses", "label"]
    return frame.select(*names, *(c for c in frame.columns if c not in names)).sort("record_id")


def _hashed(keys: pl.Series) -> pl.Series:
    """A group is what a source calls it, a person's address perhaps: a release says which records share one, not its name."""
    names = {key: sha256_text("group", key)[:32] for key in keys.drop_nulls().unique()}
    return keys.replace_strict(names, default=None, return_dtype=pl.String)


_NOT_MEASURED = frozenset(
    {"record_id", "day", "messages", "rejected", "kept", "reason", "detail", "bands", "comparison_key", "prompt_key", "answer_key",
     "clean_sha", "label", "split", "twin", "similarity", "content_sha"}
)  # fmt: skip


def dropped(tables: Mapping[str, pl.DataFrame], withheld: pl.DataFrame) -> pl.DataFrame:
    """One row per collected record that is not released: origin, step, reason, detail; no text."""
    verdicts = [
        tables[step]
        .filter(~pl.col("kept"))
        .select("record_id", pl.lit(str(step)).alias("step"), "reason", "detail")
        for step in DAILY_STEPS
    ]
    held = withheld.select("record_id", pl.lit(RELEASE).alias("step"), "reason", "detail")
    origin = tables[Step.INGEST].select(ORIGIN)
    return (
        pl.concat([*verdicts, held])
        .join(origin, on="record_id", how="left")
        .select(*ORIGIN, "step", "reason", "detail")
        .sort("record_id")
    )
