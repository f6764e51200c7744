"""Groups to splits by each strategy: what moves a group, what does not, and what the lock remembers."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter

import polars as pl
import pytest

from dataset_pipeline.spec.models import Near, Ratios
from dataset_pipeline.spec.params import SplitParams
from dataset_pipeline.storage import split_lock
from dataset_pipeline.transforms.assignment import (
    GROUPS,
    LOCK,
    assigned,
    lock_hash,
    lock_key,
    no_lock,
    uniform,
)

DAYS = tuple(dt.date(2026, 3, n) for n in range(1, 8))


def params(strategy: str, seed: int = 7, **changes: object) -> SplitParams:
    given = {"ratios": Ratios(train=0.6, validation=0.2, test=0.2), "near": Near(), "ngram": 3, **changes}
    return SplitParams(answers_are_labels=True, strategy=strategy, seed=seed, **given)


def groups(*rows: tuple[str, int, str | None]) -> pl.DataFrame:
    """(key, number of the day, label) to GROUPS."""
    return pl.DataFrame([(key, DAYS[day], label) for key, day, label in rows], schema=GROUPS, orient="row")


def splits_of(frame: pl.DataFrame) -> dict[str, str]:
    return dict(frame.select("group_key", "split").iter_rows())


def many(count: int, labels: int = 3, days: int = 7) -> pl.DataFrame:
    return groups(*((f"g{n}", n % days, f"label {n % labels}") for n in range(count)))


WINDOWS = {"validation": (DAYS[2], DAYS[3]), "test": (DAYS[4], DAYS[5])}


# --- hash ---------------------------------------------------------------------------------


def test_hash_is_the_sha256_of_seed_and_group_and_needs_no_lock():
    found, added = assigned(groups(("a", 0, "x"), ("b", 1, "y"), ("a", 3, "y")), params("hash"), no_lock())
    expected = {}
    for key in "ab":
        u = uniform(7, key)
        expected[key] = "test" if u < 0.2 else "validation" if u < 0.4 else "train"
    assert splits_of(found) == expected
    assert added.height == 0
    assert added.schema == LOCK


def test_hash_ignores_whatever_a_lock_says():
    alone, _ = assigned(many(50), params("hash"), no_lock())
    _, lock = assigned(many(50), params("stratified"), no_lock())
    assert assigned(many(50), params("hash"), lock)[0].equals(alone)


# --- stratified ---------------------------------------------------------------------------


def test_stratified_shares_of_every_label_are_as_near_the_ratios_as_whole_groups_allow():
    data = groups(*((f"g{n}", 0, "rare" if n % 10 == 0 else "often") for n in range(1000)))
    found, _ = assigned(data, params("stratified"), no_lock())
    labelled = found.join(data, on="group_key")
    counts = {
        key: n for *key_, n in labelled.group_by("label", "split").len().iter_rows() for key in [tuple(key_)]
    }
    assert counts == {
        ("often", "train"): 540, ("often", "validation"): 180, ("often", "test"): 180,
        ("rare", "train"): 60, ("rare", "validation"): 20, ("rare", "test"): 20,
    }  # fmt: skip


def test_stratified_first_groups_of_a_label_train_then_both_others_get_one():
    # Shares after one and two groups are nearest with both in train (0.8 of the rest missing otherwise).
    held = [splits_of(assigned(groups(*((f"g{n}", 0, "x") for n in range(k))), params("stratified"), no_lock())[0])
            for k in (1, 5, 10)]  # fmt: skip
    assert [Counter(h.values()) for h in held] == [
        {"train": 1},
        {"train": 3, "validation": 1, "test": 1},
        {"train": 6, "validation": 2, "test": 2},
    ]


def test_stratified_large_group_counts_with_its_records():
    # One group has as many records as all others together: it trains, and the others make up for it.
    rows = [("big", 0, "x")] * 50 + [(f"g{n}", 1, "x") for n in range(50)]
    data = groups(*rows)
    found, lock = assigned(data, params("stratified"), no_lock())
    assert splits_of(found)["big"] == "train"
    records = data.join(found, on="group_key").group_by("split").len()
    assert dict(records.iter_rows()) == {"train": 60, "validation": 20, "test": 20}
    assert lock.filter(pl.col("group") == lock_key(pl.Series(["big"])).item())["records"].item() == 50


def test_stratified_group_in_the_lock_never_moves_whatever_its_label_seed_and_ratios():
    _, lock = assigned(many(60), params("stratified"), no_lock())
    first = splits_of(assigned(many(60), params("stratified"), lock)[0])
    relabelled = many(60).with_columns(label=pl.lit("another"))
    other = params("stratified", seed=99, ratios=Ratios(train=0.2, validation=0.4, test=0.4))
    found, added = assigned(relabelled, other, lock)
    assert splits_of(found) == first
    assert added.height == 0


def test_stratified_new_group_gets_what_the_lock_lacks():
    held = pl.DataFrame(
        [(f"{n:032x}", split, "x", DAYS[0], 1) for n, split in enumerate(["train"] * 6 + ["validation"] * 2)],
        schema=LOCK,
        orient="row",
    )
    found, added = assigned(groups(("new", 1, "x"), ("other label", 1, "y")), params("stratified"), held)
    assert splits_of(found) == {"new": "test", "other label": "train"}
    assert added.select("split", "label", "day", "records").rows() == [
        row for _, *rest in sorted(
            [(lock_key(pl.Series(["new"])).item(), "test", "x", DAYS[1], 1),
             (lock_key(pl.Series(["other label"])).item(), "train", "y", DAYS[1], 1)]
        ) for row in [tuple(rest)]
    ]  # fmt: skip


def test_stratified_counts_a_group_under_its_most_frequent_label_of_its_first_day():
    data = groups(
        ("a", 0, "wish"), ("a", 0, "bug"), ("a", 0, "wish"), ("a", 1, "bug"), ("a", 1, "bug"), ("a", 1, "bug"),
        ("tie", 0, "wish"), ("tie", 0, "bug"), ("none", 0, None),
    )  # fmt: skip
    _, lock = assigned(data, params("stratified"), no_lock())
    keys = lock_key(pl.Series(["a", "tie", "none"])).to_list()
    found = {group: (label, day, records) for group, _, label, day, records in lock.iter_rows()}
    assert [found[key] for key in keys] == [("wish", DAYS[0], 3), ("bug", DAYS[0], 2), ("", DAYS[0], 1)]


def test_stratified_other_seed_holds_out_other_groups():
    one, other = (splits_of(assigned(many(200), params("stratified", seed), no_lock())[0]) for seed in (7, 8))
    assert one != other
    assert Counter(one.values()) == Counter(other.values())


def test_stratified_split_without_a_ratio_gets_nothing():
    ratios = Ratios(train=0.9, validation=0.0, test=0.1)
    found, _ = assigned(many(100, labels=1), params("stratified", ratios=ratios), no_lock())
    assert Counter(splits_of(found).values()) == {"train": 90, "test": 10}


# --- temporal -----------------------------------------------------------------------------


def test_temporal_windows_are_closed_and_everything_else_trains():
    data = groups(*((f"d{n}", n, None) for n in range(7)))
    found, lock = assigned(data, params("temporal", **WINDOWS), no_lock())
    assert splits_of(found) == {
        "d0": "train", "d1": "train", "d2": "validation", "d3": "validation", "d4": "test", "d5": "test", "d6": "train",
    }  # fmt: skip
    assert sorted(lock["day"]) == list(DAYS)


def test_temporal_group_goes_with_its_earliest_record_and_stays_when_that_is_gone():
    data = groups(("a", 1, None), ("a", 4, None), ("b", 4, None), ("b", 6, None))
    found, lock = assigned(data, params("temporal", **WINDOWS), no_lock())
    assert splits_of(found) == {"a": "train", "b": "test"}
    later = groups(("a", 4, None), ("b", 6, None))
    assert splits_of(assigned(later, params("temporal", **WINDOWS), lock)[0]) == {"a": "train", "b": "test"}


# --- all with a lock ----------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["stratified", "temporal"])
@pytest.mark.parametrize("seed", range(5))
def test_assigned_day_by_day_gives_what_one_range_gives_in_any_row_order(strategy, seed):
    order = random.Random(seed)
    rows = [
        (f"g{order.randrange(40)}", order.randrange(7), order.choice(["a", "b", None])) for _ in range(120)
    ]
    settings = params(strategy, seed, **(WINDOWS if strategy == "temporal" else {}))
    whole, whole_lock = assigned(groups(*rows), settings, no_lock())
    order.shuffle(rows)
    data, lock, splits = groups(*rows), no_lock(), {}
    for day in DAYS:
        found, added = assigned(data.filter(pl.col("day") == day), settings, lock)
        lock = pl.concat([lock, added])
        for key, split in splits_of(found).items():
            assert splits.setdefault(key, split) == split
    assert splits == splits_of(whole)
    assert lock.sort("group").equals(whole_lock)


@pytest.mark.parametrize("strategy", ["stratified", "temporal"])
def test_assigned_days_in_any_order_with_the_lock_change_nothing(strategy):
    settings = params(strategy, **(WINDOWS if strategy == "temporal" else {}))
    whole, lock = assigned(many(100), settings, no_lock())
    for day in reversed(DAYS):
        found, added = assigned(many(100).filter(pl.col("day") == day), settings, lock)
        assert added.height == 0
        assert splits_of(found).items() <= splits_of(whole).items()


def test_lock_key_holds_no_key_and_is_what_a_shell_gives():
    # printf 'group:C1' | sha256sum
    assert lock_key(pl.Series(["group:C1", None, "group:C1"])).to_list() == [
        "08ee5e474296393c96f69bfd6ec8ad8c", None, "08ee5e474296393c96f69bfd6ec8ad8c",
    ]  # fmt: skip


def test_lock_hash_changes_only_with_its_own_groups_and_their_splits():
    _, lock = assigned(many(20), params("stratified"), no_lock())
    mine = pl.Series(["g1", "g2", "g1"])
    own = lock_key(pl.Series(["g1"])).item()
    said = lock_hash(mine, lock)
    assert lock_hash(pl.Series(["g2", "g1"]), lock.reverse()) == said
    assert (
        lock_hash(mine, lock.filter(pl.col("group").is_in(lock_key(pl.Series(["g1", "g2"])).implode())))
        == said
    )
    moved = pl.when(pl.col("group") == own).then(pl.lit("validation")).otherwise("split")
    assert lock.filter(pl.col("group") == own)["split"].item() != "validation"
    assert lock_hash(mine, lock.with_columns(split=moved)) != said
    assert lock_hash(mine, lock.filter(pl.col("group") != own)) != said


def test_lock_has_the_columns_of_its_file():
    assert LOCK == split_lock.COLUMNS
