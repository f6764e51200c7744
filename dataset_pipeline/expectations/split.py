"""What must hold before records are assigned: nothing of a test record may be trained on."""

from __future__ import annotations

import polars as pl

from dataset_pipeline.expectations.common import (
    Audit,
    common_gauges,
    common_rows,
    common_suite,
    counted,
    with_gauge,
)
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.records import Split, Step
from dataset_pipeline.text import WORD, folded

SUITE: tuple[Expectation, ...] = (
    *common_suite(Step.SPLIT, worst_rule=0.5, worst_source=0.8),
    Expectation("splits_allowed", "A kept record is in no split, or in one that does not exist.",
                "between", "gauges", ("bad_splits",), maximum=0),
    Expectation("split_shares", "The shares of the splits so far are off the ratios: groups are too large, or the hash is broken.",
                "between", "gauges", ("split_share_error",), maximum=0.1, min_sample=500, sample="groups_so_far"),
    Expectation("no_group_crosses", "One group has records in two splits.", "between", "gauges", ("crossing_groups",), maximum=0),
    Expectation("no_pair_crosses", "Equal or near-equal texts stand in two splits.", "between", "gauges", ("crossing_pairs",), maximum=0),
    Expectation("rights_respected", "A record without the right to evaluate is in validation or test.",
                "between", "gauges", ("evaluated_without_right",), maximum=0),
    Expectation("test_records_per_label", "A label has too few test records to say anything about it.",
                "between", "gauges", ("smallest_test_label",), "warning", minimum=5),
)  # fmt: skip

BUCKET_CAP = 200
"""Bands shared by more kept records than this are a template: compared by equality alone here."""


def rows(audit: Audit) -> pl.DataFrame:
    return common_rows(audit)


def crossing_candidates(staged: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """record_id, other_id: kept records of different splits that share a band key (staged with anything)."""
    columns = ["record_id", "split", "bands"]
    new = staged.filter(pl.col("kept") & pl.col("bands").is_not_null()).select(columns)
    everything = pl.concat([history.filter(pl.col("bands").is_not_null()).select(columns), new])
    keyed = everything.explode("bands").rename({"bands": "band"})
    shared = keyed.group_by("band").agg(pl.col("split").n_unique().alias("splits"), pl.len().alias("n"))
    shared = shared.filter((pl.col("splits") > 1) & (pl.col("n") <= BUCKET_CAP))
    mixed = keyed.join(shared.select("band"), on="band", how="semi")
    fresh = mixed.filter(pl.col("record_id").is_in(new["record_id"].implode()))
    pairs = fresh.join(mixed, on="band", suffix="_other").filter(pl.col("split") != pl.col("split_other"))
    return (
        pairs.select("record_id", pl.col("record_id_other").alias("other_id"))
        .unique()
        .sort("record_id", "other_id")
    )


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: history (kept rows of earlier days: record_id, day, group_key, split, comparison_key, bands, label),
    texts (record_id, text of every candidate of `crossing_candidates`), ratios (split, ratio), ngram, threshold (one row each).
    """
    history = audit.extras["history"]
    facts = audit.records.select("record_id", "label", "may_evaluate")
    kept = audit.staged.filter("kept").join(facts, on="record_id", how="left")
    columns = ["record_id", "day", "group_key", "split", "comparison_key", "label"]
    so_far = pl.concat([history.select(columns), kept.select(columns)])
    bad = kept.filter(~pl.col("split").is_in([s.value for s in Split]).fill_null(False))
    unfair = kept.filter((pl.col("split") != Split.TRAIN.value) & ~pl.col("may_evaluate"))
    result = common_gauges(audit)
    for frame, name in (
        (bad, "bad_splits"),
        (unfair, "evaluated_without_right"),
        (_crossing(kept, so_far, "group_key"), "crossing_groups"),
        (_crossing_pairs(audit, kept, so_far), "crossing_pairs"),
    ):
        result = with_gauge(result, counted(frame, name), 0)
    return result.join(_so_far(audit, so_far), on="date", how="left")


def _crossing(kept: pl.DataFrame, so_far: pl.DataFrame, key: str) -> pl.DataFrame:
    several = so_far.group_by(key).agg(pl.col("split").n_unique().alias("n")).filter(pl.col("n") > 1)
    return kept.join(several, on=key, how="semi").select("record_id", "day")


def _crossing_pairs(audit: Audit, kept: pl.DataFrame, so_far: pl.DataFrame) -> pl.DataFrame:
    """Rows that equal a record of another split, or are near one by word sets counted here in plain Python."""
    equal = _crossing(kept, so_far, "comparison_key")
    pairs = crossing_candidates(audit.staged, audit.extras["history"])
    if pairs.height == 0:
        return equal
    ngram, threshold = int(audit.extras["ngram"].item()), float(audit.extras["threshold"].item())
    texts = audit.extras["texts"].select(
        "record_id", folded(pl.col("text")).str.extract_all(WORD).alias("words")
    )
    sets = {
        record: {tuple(words[n : n + ngram]) for n in range(len(words) - ngram + 1)}
        for record, words in texts.iter_rows()
    }
    near = [
        a
        for a, b in pairs.iter_rows()
        # No pair of these sizes reaches the threshold: most candidates end here.
        if a in sets
        and b in sets
        and min(len(sets[a]), len(sets[b])) >= threshold * max(len(sets[a]), len(sets[b]))
        and _jaccard(sets[a], sets[b]) >= threshold
    ]
    found = kept.filter(pl.col("record_id").is_in(near)).select("record_id", "day")
    return pl.concat([equal, found]).unique()


def _jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    small, large = sorted((len(a), len(b)))
    shared = len(a & b) if small else 0
    return shared / (small + large - shared) if shared else 0.0


def _so_far(audit: Audit, so_far: pl.DataFrame) -> pl.DataFrame:
    """Per day, over everything kept up to it: groups, the worst share error, the smallest test label."""
    ratios = audit.extras["ratios"]
    labels = so_far["label"].drop_nulls().unique().sort()
    measured = []
    for day in audit.days:
        seen = so_far.filter(pl.col("day") <= day)
        groups = seen.unique("group_key")
        shares = ratios.join(groups.group_by("split").len(), on="split", how="left").with_columns(
            pl.col("len").fill_null(0)
        )
        total = max(groups.height, 1)
        error = shares.select((pl.col("len") / total - pl.col("ratio")).abs().max()).item()
        tests = seen.filter(pl.col("split") == Split.TEST.value).group_by("label").len()
        counts = dict.fromkeys(labels, 0) | {k: n for k, n in tests.iter_rows() if k is not None}
        smallest = (
            min(counts.items(), key=lambda item: (item[1], item[0])) if counts else (None, tests["len"].sum())
        )
        wants_test = ratios.filter((pl.col("split") == Split.TEST.value) & (pl.col("ratio") > 0)).height > 0
        measured.append((day, groups.height, float(error), smallest[1] if wants_test else 5, smallest[0]))
    return pl.DataFrame(
        measured,
        schema={"date": pl.Date, "groups_so_far": pl.Int64, "split_share_error": pl.Float64,
                "smallest_test_label": pl.Int64, "smallest_test_label_culprit": pl.String},
        orient="row",
    )  # fmt: skip
