"""What must hold before records are assigned: nothing of a test record may be trained on."""

from __future__ import annotations

import datetime as dt
import hashlib

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
                "between", "gauges", ("split_share_error",), maximum=0.1, min_sample=500, sample="hashed_groups"),
    Expectation("lock_kept", "A group stands in another split than splits.lock.csv says, or is about to be forgotten by it.",
                "between", "gauges", ("groups_off_lock",), maximum=0),
    Expectation("test_groups_stay", "A group that was tested until now would train: its evaluations are worth nothing from then on. "
                "The seed, the ratios or the windows changed, or splits.lock.csv is not the one that was kept.",
                "between", "gauges", ("tested_groups_training",), "warning", maximum=0),
    Expectation("lock_agrees", "A group stays where it was first put, though the windows or its earliest day now say otherwise.",
                "between", "gauges", ("groups_off_windows",), "warning", maximum=0),
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
    texts (record_id, text of every candidate of `crossing_candidates`), ratios (split, ratio; none for temporal),
    ngram, threshold (one row each). Of strategies with a lock also: strategy (one row), lock (LOCK, with the rows
    that this run adds), windows (split, first, last: temporal only). tested: group_key of what is published as
    test now.
    """
    history = audit.extras["history"]
    facts = audit.records.select("record_id", "label", "may_evaluate")
    kept = audit.staged.filter("kept").join(facts, on="record_id", how="left")
    columns = ["record_id", "day", "group_key", "split", "comparison_key", "label"]
    so_far = pl.concat([history.select(columns), kept.select(columns)])
    bad = kept.filter(~pl.col("split").is_in([s.value for s in Split]).fill_null(False))
    unfair = kept.filter((pl.col("split") != Split.TRAIN.value) & ~pl.col("may_evaluate"))
    off_lock, off_windows = _against_lock(audit, so_far)
    tested = audit.extras.get("tested", pl.DataFrame(schema={"group_key": pl.String}))
    # Of groups that stand in both, `no_group_crosses` tells.
    tests = so_far.filter(pl.col("split") == Split.TEST.value)
    trains = kept.filter(pl.col("split") == Split.TRAIN.value).join(tests, on="group_key", how="anti")
    moved = trains.join(tested, on="group_key", how="semi")
    result = common_gauges(audit)
    for frame, name in (
        (bad, "bad_splits"),
        (unfair, "evaluated_without_right"),
        (_crossing(kept, so_far, "group_key"), "crossing_groups"),
        (_crossing_pairs(audit, kept, so_far), "crossing_pairs"),
        (off_lock, "groups_off_lock"),
        (off_windows, "groups_off_windows"),
        (moved.unique(["day", "group_key"], keep="any"), "tested_groups_training"),
    ):
        result = with_gauge(result, counted(frame, name), 0)
    return result.join(_so_far(audit, so_far), on="date", how="left")


def _strategy(audit: Audit) -> str:
    return str(audit.extras["strategy"].item()) if "strategy" in audit.extras else "hash"


def _against_lock(audit: Audit, so_far: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """record_id and day of the first row of a group on each day: of groups that the lock does not know or puts
    elsewhere, and of groups that it puts elsewhere than the windows do."""
    nothing = audit.staged.select("record_id", "day").clear()
    if _strategy(audit) == "hash":
        return nothing, nothing
    rows = audit.staged.sort("record_id").unique(
        ["day", "group_key", "split"], keep="first", maintain_order=True
    )
    keys = rows["group_key"].drop_nulls().unique().sort()
    hashed = [hashlib.sha256(k.encode("utf-8", "surrogatepass")).hexdigest()[:32] for k in keys.to_list()]
    lock = audit.extras["lock"].select("group", locked="split", locked_day="day")
    known = pl.DataFrame(
        {"group_key": keys, "group": hashed}, schema={"group_key": pl.String, "group": pl.String}
    )
    rows = rows.join(
        known.join(lock, on="group", how="left"), on="group_key", how="left", maintain_order="left"
    )
    off_lock = rows.filter((pl.col("locked") != pl.col("split")).fill_null(True))
    windows = audit.extras.get("windows")
    if windows is None or windows.height == 0:
        return off_lock.select("record_id", "day"), nothing
    first = so_far.group_by("group_key").agg(earliest=pl.col("day").min())
    rows = rows.join(first, on="group_key", how="left", maintain_order="left")
    earliest = pl.min_horizontal("day", "earliest", "locked_day")
    said = pl.lit(Split.TRAIN.value)
    for split, start, end in windows.iter_rows():
        said = pl.when(earliest.is_between(start, end)).then(pl.lit(split)).otherwise(said)
    off_windows = rows.filter((pl.col("locked") != said).fill_null(False))
    return off_lock.select("record_id", "day"), off_windows.select("record_id", "day")


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
    """Per day, over everything kept up to it: groups, the worst share error, the smallest test label.

    hashed_groups is what the shares may be held to: of groups given out by hash all, of others none, because a
    lock keeps groups where they are whatever has gone since, and nobody shall move them to mend a share.
    """
    is_hash = _strategy(audit) == "hash"
    labels = so_far["label"].drop_nulls().unique().sort()
    measured = []
    for day in audit.days:
        seen = so_far.filter(pl.col("day") <= day)
        groups = seen.unique("group_key").height
        tests = seen.filter(pl.col("split") == Split.TEST.value).group_by("label").len()
        counts = dict.fromkeys(labels, 0) | {k: n for k, n in tests.iter_rows() if k is not None}
        smallest = (
            min(counts.items(), key=lambda item: (item[1], item[0])) if counts else (None, tests["len"].sum())
        )
        measured.append(
            (day, groups if is_hash else 0, _share_error(audit, seen), smallest[1] if _wants_test(audit, day) else 5,
             smallest[0])
        )  # fmt: skip
    return pl.DataFrame(
        measured,
        schema={"date": pl.Date, "hashed_groups": pl.Int64, "split_share_error": pl.Float64,
                "smallest_test_label": pl.Int64, "smallest_test_label_culprit": pl.String},
        orient="row",
    )  # fmt: skip


def _share_error(audit: Audit, seen: pl.DataFrame) -> float:
    """The largest |share - ratio| of a split: of groups by hash, of records by shares, 0 by windows."""
    ratios = audit.extras["ratios"]
    if ratios.height == 0 or _strategy(audit) == "temporal":
        return 0.0
    counted_rows = seen.unique("group_key") if _strategy(audit) == "hash" else seen
    found = counted_rows.group_by("split").len()
    shares = ratios.join(found, on="split", how="left").with_columns(pl.col("len").fill_null(0))
    total = max(counted_rows.height, 1)
    return float(shares.select((pl.col("len") / total - pl.col("ratio")).abs().max()).item())


def _wants_test(audit: Audit, day: dt.date) -> bool:
    """Whether test records must be there by `day`: a ratio asks for them, or the test window is over."""
    is_test = pl.col("split") == Split.TEST.value
    windows = audit.extras.get("windows")
    if windows is not None and windows.height:
        return windows.filter(is_test & (pl.col("last") <= day)).height > 0
    return audit.extras["ratios"].filter(is_test & (pl.col("ratio") > 0)).height > 0
