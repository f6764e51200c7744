"""What must hold before records are assigned: nothing of a test record may be trained on."""

from __future__ import annotations

import datetime as dt
import hashlib

import numpy as np
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
    keys = new.select(pl.col("bands").explode().unique()).to_series().implode()
    # Looked up in place: exploded, a history of a million would be 28 million rows.
    meets = pl.col("bands").list.eval(pl.element().is_in(keys)).list.any()
    everything = pl.concat([history.select(columns).filter(meets), new])
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
    pairs (`crossing_candidates`), texts (record_id, text of every record in pairs), ratios (split, ratio; none for temporal),
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
    """Rows that equal a record of another split, or are near one by word n-grams, compared here as strings."""
    equal = _crossing(kept, so_far, "comparison_key")
    pairs = audit.extras["pairs"]
    if pairs.height == 0:
        return equal
    ngram, threshold = int(audit.extras["ngram"].item()), float(audit.extras["threshold"].item())
    shared = _shared_grams(audit.extras["texts"], pairs, ngram)
    either = pl.col("grams") + pl.col("other_grams") - pl.col("shared")
    near = shared.filter((pl.col("shared") > 0) & (pl.col("shared") / either >= threshold))
    found = kept.join(near.select("record_id").unique(), on="record_id", how="semi").select(
        "record_id", "day"
    )
    return pl.concat([equal, found]).unique()


def _shared_grams(texts: pl.DataFrame, pairs: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """pairs with grams, other_grams (distinct word n-grams of each) and shared; pairs of which a text is missing left out.

    The n-grams themselves are counted, not hashes of them: another way than the step's own.
    """
    from scipy.sparse import csr_matrix

    words = folded(pl.col("text")).str.extract_all(WORD)
    element = pl.element()
    grams = pl.concat_str([element, *(element.shift(-k) for k in range(1, ngram))], separator="\x1f")
    rows = texts.select("record_id", gram=words.list.eval(grams.drop_nulls().unique())).with_row_index("row")
    held = rows.explode("gram").drop_nulls("gram").select("row", gram=pl.col("gram").rank("dense") - 1)
    size = (rows.height, int(held["gram"].max() or 0) + 1)  # type: ignore[arg-type]
    ones = np.ones(held.height, dtype=np.int32)
    matrix = csr_matrix((ones, (held["row"].to_numpy(), held["gram"].to_numpy())), shape=size)
    lengths = np.asarray(matrix.sum(axis=1)).ravel()
    place = rows.select("record_id", "row")
    known = pairs.join(place, on="record_id").join(
        place.rename({"record_id": "other_id", "row": "other_row"}), on="other_id"
    )
    left, right = known["row"].to_numpy(), known["other_row"].to_numpy()
    shared = [
        np.asarray(
            matrix[left[at : at + PAIRS_AT_ONCE]].multiply(matrix[right[at : at + PAIRS_AT_ONCE]]).sum(axis=1)
        ).ravel()
        for at in range(0, known.height, PAIRS_AT_ONCE)
    ]
    return known.select("record_id", "other_id").with_columns(
        grams=pl.Series(lengths[left], dtype=pl.Int64),
        other_grams=pl.Series(lengths[right], dtype=pl.Int64),
        shared=pl.Series(np.concatenate([*shared, np.empty(0)]), dtype=pl.Int64),
    )


PAIRS_AT_ONCE = 50_000
"""Pairs whose n-grams are held at a time."""


def _so_far(audit: Audit, so_far: pl.DataFrame) -> pl.DataFrame:
    """Per day, over everything kept up to it: groups, the worst share error, the smallest test label.

    hashed_groups is what the shares may be held to: of groups given out by hash all, of others none, because a
    lock keeps groups where they are whatever has gone since, and nobody shall move them to mend a share.
    """
    is_hash = _strategy(audit) == "hash"
    days = pl.DataFrame({"day": list(audit.days)}, schema={"day": pl.Date}).sort("day")
    # A group counts from its first day on: what is seen by a day is a running sum, and no day is looked at twice.
    firsts = so_far.group_by("group_key", maintain_order=True).agg(
        pl.col("day").min(), pl.col("split").first()
    )
    groups = _running(firsts.group_by("day").len(), days)
    counted_rows = firsts if is_hash else so_far.select("day", "split")
    errors = _share_errors(audit, counted_rows, days)
    smallest = _smallest_test(so_far, days)
    wanted = {day: _wants_test(audit, day) for day in audit.days}
    measured = [
        (
            day,
            groups[day] if is_hash else 0,
            errors[day],
            smallest[day][0] if wanted[day] else 5,
            smallest[day][1],
        )
        for day in audit.days
    ]
    return pl.DataFrame(
        measured,
        schema={"date": pl.Date, "hashed_groups": pl.Int64, "split_share_error": pl.Float64,
                "smallest_test_label": pl.Int64, "smallest_test_label_culprit": pl.String},
        orient="row",
    )  # fmt: skip


def _running(counts: pl.DataFrame, days: pl.DataFrame) -> dict[dt.date, int]:
    """Day to the sum of `len` of `counts` (day, len) up to it."""
    summed = counts.sort("day").select("day", total=pl.col("len").cum_sum().cast(pl.Int64))
    joined = days.join_asof(summed, on="day").with_columns(pl.col("total").fill_null(0))
    return dict(joined.select("day", "total").iter_rows())


def _smallest_test(so_far: pl.DataFrame, days: pl.DataFrame) -> dict[dt.date, tuple[int, str | None]]:
    """Day to the fewest test records of a label up to it, and that label; without labels to all test records."""
    tests = so_far.filter(pl.col("split") == Split.TEST.value)
    labels = so_far["label"].drop_nulls().unique().sort()
    if len(labels) == 0:
        return {day: (n, None) for day, n in _running(tests.group_by("day").len(), days).items()}
    by_label = {
        label: _running(tests.filter(pl.col("label") == label).group_by("day").len(), days)
        for label in labels
    }
    return {
        day: min(((counts[day], label) for label, counts in by_label.items()), key=lambda found: found)
        for day in days["day"]
    }


def _share_errors(audit: Audit, counted_rows: pl.DataFrame, days: pl.DataFrame) -> dict[dt.date, float]:
    """Day to the largest |share - ratio| of a split up to it: of groups by hash, of records by shares, 0 by windows.

    counted_rows: day, split.
    """
    ratios = audit.extras["ratios"]
    if ratios.height == 0 or _strategy(audit) == "temporal":
        return dict.fromkeys(days["day"], 0.0)
    total = _running(counted_rows.group_by("day").len(), days)
    of_split = {
        split: _running(counted_rows.filter(pl.col("split") == split).group_by("day").len(), days)
        for split in ratios["split"]
    }
    return {
        day: max(
            abs(of_split[split][day] / max(total[day], 1) - ratio) for split, ratio in ratios.iter_rows()
        )
        for day in days["day"]
    }


def _wants_test(audit: Audit, day: dt.date) -> bool:
    """Whether test records must be there by `day`: a ratio asks for them, or the test window is over."""
    is_test = pl.col("split") == Split.TEST.value
    windows = audit.extras.get("windows")
    if windows is not None and windows.height:
        return windows.filter(is_test & (pl.col("last") <= day)).height > 0
    return audit.extras["ratios"].filter(is_test & (pl.col("ratio") > 0)).height > 0
