"""Which split a group goes to, by hash, by the shares of its label, or by the day it was collected.

Lives here: the three strategies, and what of them is remembered in the lock. Keep out: the file of the lock
(`storage.split_lock`), what becomes of a record in its split (`split`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import polars as pl

from dataset_pipeline.records import Split, sha256_text
from dataset_pipeline.spec.models import Ratios
from dataset_pipeline.spec.params import SplitParams

LOCK: dict[str, pl.DataType | type[pl.DataType]] = {
    "group": pl.String,
    "split": pl.String,
    "label": pl.String,
    "day": pl.Date,
    "records": pl.Int64,
}
"""What is remembered of a group, as it was when it was assigned: `lock_key` of its key, its split, its label
('' without one), its first collection day, and how many records it had on that day."""

GROUPS: dict[str, pl.DataType | type[pl.DataType]] = {
    "group_key": pl.String,
    "day": pl.Date,
    "label": pl.String,
}
"""What `assigned` asks: a row for each record that reaches split; label is null without one."""

SPLITS: dict[str, pl.DataType | type[pl.DataType]] = {"group_key": pl.String, "split": pl.String}

_TRAIN, _VALIDATION, _TEST = Split.TRAIN.value, Split.VALIDATION.value, Split.TEST.value


def no_lock() -> pl.DataFrame:
    """A lock that remembers nothing."""
    return pl.DataFrame(schema=LOCK)


def uses_lock(params: SplitParams) -> bool:
    """Whether assignments are remembered. A hash needs no memory; shares and earliest days do change."""
    return params.strategy != "hash"


def lock_key(keys: pl.Series) -> pl.Series:
    """The first 32 hex digits of each key's SHA-256: the lock goes into version control, customer ids do not."""
    distinct = keys.drop_nulls().unique().sort()
    digests = [
        hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32] for key in distinct.to_list()
    ]
    known = pl.DataFrame({"key": distinct, "group": pl.Series(digests, dtype=pl.String)})
    return keys.to_frame("key").join(known, on="key", how="left", maintain_order="left")["group"]


def assigned(
    groups: pl.DataFrame, params: SplitParams, lock: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """SPLITS of every group, by group_key; and the rows to add to the lock (LOCK, by group; none for hash).

    groups: GROUPS of the range to split. A group in `lock` keeps its split. What is said of a new one rests on
    its records of its first day alone, so that days made one by one give what one range gives.
    """
    if not uses_lock(params):
        return _by_hash(groups["group_key"].unique().sort(), params), no_lock()
    facts = _facts(groups).join(lock.select("group", "split"), on="group", how="left")
    new = facts.filter(pl.col("split").is_null()).drop("split")
    new = _by_window(new, params) if params.strategy == "temporal" else _by_shares(new, params, lock)
    splits = pl.concat([facts.filter(pl.col("split").is_not_null()).select(*SPLITS), new.select(*SPLITS)])
    return splits.sort("group_key"), new.select(*LOCK).sort("group")


def _facts(groups: pl.DataFrame) -> pl.DataFrame:
    """group_key, group, day, label, records of each group: its first day, and what it held on that day.

    Of several labels the most frequent counts, the first by name among equals.
    """
    # A row of the lock is a line.
    label = pl.col("label").fill_null("").str.replace_all(r"[\r\n]+", " ")
    first = groups.select("group_key", "day", label).filter(
        pl.col("day") == pl.col("day").min().over("group_key")
    )
    labels = (
        first.group_by("group_key", "label")
        .len()
        .sort("group_key", "len", "label", descending=[False, True, False])
        .unique("group_key", keep="first", maintain_order=True)
        .select("group_key", "label")
    )
    sizes = first.group_by("group_key").agg(pl.col("day").first(), records=pl.len().cast(pl.Int64))
    facts = sizes.join(labels, on="group_key").sort("group_key")
    return facts.with_columns(group=lock_key(facts["group_key"]))


# --- hash ---------------------------------------------------------------------------------


def _digest(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{key}".encode("utf-8", "surrogatepass")).digest()


def uniform(seed: int, key: str) -> float:
    """A number in [0, 1) that only seed and key decide: sha256("<seed>\\x1f<key>") / 2**256."""
    return int.from_bytes(_digest(seed, key), "big") / 2**256


def _by_hash(keys: pl.Series, params: SplitParams) -> pl.DataFrame:
    """SPLITS: test below its ratio, then validation, then train."""
    test, validation = params.ratios.test, params.ratios.test + params.ratios.validation
    splits = [
        _TEST if u < test else _VALIDATION if u < validation else _TRAIN
        for u in (uniform(params.seed, key) for key in keys.to_list())
    ]
    return pl.DataFrame({"group_key": keys, "split": splits}, schema=SPLITS)


# --- stratified ---------------------------------------------------------------------------


def _by_shares(new: pl.DataFrame, params: SplitParams, lock: pl.DataFrame) -> pl.DataFrame:
    """`new` with split: each group in turn gets the one that brings its label's shares nearest the ratios.

    Shares of records, as many as each group had when it was assigned: of groups of very different size, equal
    numbers would be unequal shares. Turns go by day, within a day by a hash of (seed, group), so that another
    seed holds out other groups; between splits that are equally good the same hash decides.
    """
    digests = pl.Series([_digest(params.seed, key) for key in new["group_key"].to_list()], dtype=pl.Binary)
    turns = new.with_columns(digest=digests).sort("day", "digest", "group")
    held = lock.group_by("label", "split").agg(pl.col("records").sum())
    columns = (turns["label"].to_list(), turns["records"].to_list(), turns["digest"].to_list())
    splits = _nearest(zip(*columns, strict=True), held.iter_rows(), params.ratios)
    return turns.with_columns(split=pl.Series(splits, dtype=pl.String)).drop("digest")


def _nearest(
    turns: Iterable[tuple[str, int, bytes]], held: Iterable[tuple[str, str, int]], ratios: Ratios
) -> list[str]:
    """The split of each (label, records, digest) in turn; held: label, split, records assigned before.

    Nearest by least squares is the split that lacks most: with N records of the label once this group is in,
    the squared distance is smallest for the split with the largest ratio * N - records held.
    """
    place = {_TRAIN: 0, _VALIDATION: 1, _TEST: 2}
    names = tuple(place)
    r_train, r_validation, r_test = ratios.train, ratios.validation, ratios.test
    counts: dict[str, list[int]] = {}
    for label, split, records in held:
        counts.setdefault(label, [0, 0, 0])[place[split]] += records
    result = []
    for label, records, digest in turns:
        count = counts.setdefault(label, [0, 0, 0])
        total = count[0] + count[1] + count[2] + records
        lacks = (r_train * total - count[0], r_validation * total - count[1], r_test * total - count[2])
        most = max(lacks)
        best = lacks.index(most)
        if lacks.count(most) > 1:
            tied = [n for n in range(3) if lacks[n] == most]
            best = tied[digest[-1] % len(tied)]
        count[best] += records
        result.append(names[best])
    return result


# --- temporal -----------------------------------------------------------------------------


def _by_window(new: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """`new` with split: that of the window its first day lies in, both ends included; train outside of both."""
    split = pl.lit(_TRAIN)
    for name, window in ((_VALIDATION, params.validation), (_TEST, params.test)):
        if window is not None:
            split = pl.when(pl.col("day").is_between(*window)).then(pl.lit(name)).otherwise(split)
    return new.with_columns(split=split)


# --- recipes ------------------------------------------------------------------------------


def lock_hash(groups: pl.Series, lock: pl.DataFrame) -> str:
    """One hash over what `lock` says of these group keys, in whatever order: it changes where one of them moves,
    leaves the lock or enters it, and with no other group."""
    keys = lock_key(groups.drop_nulls().unique()).to_frame("group")
    said = keys.join(lock.select("group", "split"), on="group", how="left").sort("group")
    lines = said.select(pl.concat_str("group", pl.col("split").fill_null(""), separator=" ")).to_series()
    return sha256_text("\n".join(lines.to_list()))
