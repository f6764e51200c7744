"""split: which records train, validate and test, and which may do neither.

Lives here: what a group is, and the verdicts that keep test text out of train. Keep out: which split a group goes
to (`assignment`), MinHash and Jaccard (`near`), the order of verdicts within a range (`first_kept`), fetching
texts of earlier days (the caller).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.records import TABLES, Split, Step, conform
from dataset_pipeline.spec.params import SplitParams
from dataset_pipeline.transforms import near, near_history, shingles
from dataset_pipeline.transforms.assignment import GROUPS, assigned, no_lock, uses_lock
from dataset_pipeline.transforms.dedup import ORDER, compared_texts
from dataset_pipeline.transforms.first_kept import Members, first_kept_near

FINGERPRINT: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "day": pl.Date,
    "source_rank": pl.Int32,
    "group_key": pl.String,
    "split": pl.String,
    "comparison_key": pl.String,
    "answer_key": pl.String,
    "shingles": pl.Int32,
    "bands": pl.List(pl.UInt64),
}
"""Columns of `fingerprint`; also what history is handed in as (kept rows of earlier days)."""

_ALL = [split.value for split in Split]


def group_key(records: pl.DataFrame) -> pl.Series:
    """The key that is never split: `group:<group>`, else `prompt:<comparison key of the prompt as collected>`.

    As collected, so that a better scrubber moves nothing. records: group, collected_messages.
    """
    collected = text.with_sides(text.turns(records, "collected_"))["prompt"]
    keys = text.comparison_key(collected.fill_null(""))
    return records.select(
        pl.when(pl.col("group").is_not_null())
        .then(pl.concat_str(pl.lit("group:"), "group"))
        .otherwise(pl.concat_str(pl.lit("prompt:"), pl.lit(keys)))
        .alias("group_key")
    ).to_series()


def groups(records: pl.DataFrame) -> pl.DataFrame:
    """assignment.GROUPS of `records`, a row each. records: day, label; and group_key, or what it is made of."""
    return records.select("day", "label").with_columns(group_key=_keys(records)).select(*GROUPS)


def _keys(records: pl.DataFrame) -> pl.Series:
    """Group keys, computed once: whoever has added them as a column spares doing it again."""
    return records["group_key"] if "group_key" in records.columns else group_key(records)


MEASURED = tuple(name for name in FINGERPRINT if name != "split")
"""What is measured of a record; which split its group goes to is decided about all groups at once."""


def measured(records: pl.DataFrame, params: SplitParams, memo: Memo = direct) -> pl.DataFrame:
    """MEASURED of RECORDS with cleaned `messages` and `collected_messages`, in their order. records may bring `group_key`.

    bands is null for a text of fewer words than a shingle, which is compared for equality only;
    answer_key is the label, or '' where answers are free.
    """
    texts = compared_texts(records, params.answers_are_labels)
    answers = (
        records["label"].fill_null("")
        if params.answers_are_labels
        else pl.repeat("", records.height, dtype=pl.String, eager=True)
    )
    facts = records.select("record_id", "day", "source_rank").with_columns(
        group_key=_keys(records), comparison_key=text.comparison_key(texts), answer_key=answers
    )
    found = near.fingerprints(texts, params.near, params.ngram, memo)
    return pl.concat([facts, found], how="horizontal").select(
        pl.col(name).cast(FINGERPRINT[name]) for name in MEASURED
    )


def with_splits(
    measured_rows: pl.DataFrame, params: SplitParams, splits: pl.DataFrame | None = None
) -> pl.DataFrame:
    """FINGERPRINT of MEASURED rows. splits: assignment.SPLITS of every group; may be left out for strategy hash alone,
    which needs no memory."""
    found = _splits_of(measured_rows["group_key"], params, splits)
    return measured_rows.with_columns(split=found).select(*FINGERPRINT)


def fingerprint(
    records: pl.DataFrame, params: SplitParams, memo: Memo = direct, splits: pl.DataFrame | None = None
) -> pl.DataFrame:
    """`measured`, `with_splits`: FINGERPRINT of the records in their order."""
    return with_splits(measured(records, params, memo), params, splits)


def compared_ids(fingerprints: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
    """The records of a range whose texts `split_records` may have to compare: candidates of earlier records, and those
    that share a bucket with one of another split. Sorted; most records are none of them."""
    buckets = _buckets(fingerprints.with_row_index("position"))
    crossing = buckets.join(_mixed(buckets), on="bucket", how="semi")["position"].unique()
    return pl.concat([fingerprints["record_id"].gather(crossing), pairs["record_id"]]).unique().sort()


def _buckets(rows: pl.DataFrame) -> pl.DataFrame:
    """position, split and bucket of rows: a row for each band, and one for the comparison key, so that equal texts always
    meet, whatever the bands say."""
    key = pl.col("comparison_key").str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    no_bands = pl.lit([], dtype=pl.List(pl.UInt64))
    return rows.select(
        "position", "split", bucket=pl.concat_list(pl.col("bands").fill_null(no_bands), key)
    ).explode("bucket")


def _mixed(buckets: pl.DataFrame) -> pl.DataFrame:
    """The buckets with records of several splits: in any other nobody crosses, and nearly all records leave there."""
    return (
        buckets.group_by("bucket")
        .agg(splits=pl.col("split").n_unique())
        .filter(pl.col("splits") > 1)
        .select("bucket")
    )


def _splits_of(keys: pl.Series, params: SplitParams, splits: pl.DataFrame | None) -> pl.Series:
    """The split of each key. Raises ValueError where one has none: no record may be left out in silence."""
    if splits is None:
        if uses_lock(params):
            raise ValueError(f"strategy {params.strategy} needs splits: hand over what `assigned` returns.")
        nothing = {"day": pl.lit(None, pl.Date), "label": pl.lit(None, pl.String)}
        splits, _ = assigned(keys.to_frame("group_key").with_columns(**nothing), params, no_lock())
    found = keys.to_frame("group_key").join(splits, on="group_key", how="left", maintain_order="left")[
        "split"
    ]
    if found.null_count():
        raise ValueError(f"{found.null_count()} records have no split: assign the groups of all records.")
    return found


def candidates(new: pl.DataFrame, history: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """record_id, other_id: pairs of a record of the range and an earlier kept one in another split to verify."""
    if history.height == 0:
        return pl.DataFrame(schema={"record_id": pl.String, "other_id": pl.String})
    asks = _asking(_positioned(new))
    earlier = _positioned(near_history.met(history, new, ["comparison_key"])).rename({"split": "group"})
    found = near.candidate_pairs(asks, earlier, params.near.bucket_cap).pairs
    return (
        found.join(asks.select("position", "record_id").unique(), on="position")
        .join(earlier.select(other="position", other_id="record_id"), on="other")
        .select("record_id", "other_id")
        .unique()
        .sort("record_id", "other_id")
    )


def split_records(
    records: pl.DataFrame,
    fingerprints: pl.DataFrame,
    history: pl.DataFrame,
    pairs: pl.DataFrame,
    history_records: pl.DataFrame,
    params: SplitParams,
) -> pl.DataFrame:
    """TABLES['split'] for `records`, by record_id.

    records: record_id, may_evaluate, and cleaned messages of at least every one of `compared_ids`. history: FINGERPRINT of the kept rows of all earlier days; pairs: of `candidates`;
    history_records: record_id and cleaned messages of at least every `other_id`.
    In (day, source_rank, record_id) order: `no_evaluate_right` (its group validates or tests and
    its source may not), `same_after_cleaning` (text and answer of an earlier kept record),
    `near_other_split` (equal or near an earlier kept record of another split, whatever the answer).
    `twin` is that record. A dropped record drops nobody.
    """
    history = near_history.met(history, fingerprints, ["comparison_key"])
    new = _positioned(fingerprints).join(
        records.select("record_id", "may_evaluate"), on="record_id", how="left", maintain_order="left"
    )
    unfair = (pl.col("split") != Split.TRAIN.value) & ~pl.col("may_evaluate")
    new = new.with_columns(is_unfair=unfair)
    fair = new.filter(~pl.col("is_unfair"))
    fair = _with_equals(fair, history)
    heads = fair.filter(pl.col("same_twin").is_null() & (pl.col("head") == pl.col("position")))
    back = _near_history(heads, records, history, pairs, history_records, params)
    heads = heads.join(back, on="position", how="anti")
    crossing = pl.concat([back, _near_each_other(heads, records, history, params)])
    judged = _judge(new, fair, crossing, params)
    return conform(judged.sort("record_id").select(*TABLES[Step.SPLIT]), Step.SPLIT)


def split_all(records: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """`split_records` of one range without earlier days and without a lock."""
    nothing = pl.DataFrame(schema=FINGERPRINT)
    pairs = pl.DataFrame(schema={"record_id": pl.String, "other_id": pl.String})
    splits, _ = assigned(groups(records), params, no_lock())
    prints = fingerprint(records, params, direct, splits)
    return split_records(records, prints, nothing, pairs, records.clear(), params)


def _positioned(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.select(*FINGERPRINT).sort(ORDER).with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64))
    )


def _asking(frame: pl.DataFrame) -> pl.DataFrame:
    """Each record once for every split that is not its own: `group` is the split it must not be near in."""
    others = pl.DataFrame({"group": _ALL})
    return (
        frame.join(others, how="cross").filter(pl.col("group") != pl.col("split")).sort("position", "group")
    )


def _with_equals(fair: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Adds same_twin (an earlier day's kept record with equal text and answer) and head (the first of
    the range with equal text, answer and split)."""
    earliest = (
        history.sort(ORDER)
        .unique(["comparison_key", "answer_key"], keep="first", maintain_order=True)
        .select("comparison_key", "answer_key", same_twin="record_id")
    )
    return fair.join(
        earliest, on=["comparison_key", "answer_key"], how="left", maintain_order="left"
    ).with_columns(head=pl.col("position").min().over("comparison_key", "answer_key", "split"))


def _sets(ids: pl.Series, records: pl.DataFrame, params: SplitParams) -> shingles.Ragged:
    """Shingle sets of `ids` in their order; a text too short to shingle is one shingle of its own words,
    so that it is near its equals and nothing else."""
    sided = pl.concat([records.select("record_id"), text.turns(records)], how="horizontal")
    found = ids.to_frame("record_id").join(sided, on="record_id", how="left", maintain_order="left")
    if found["messages"].null_count():
        raise ValueError(
            "split: a text to compare is missing: hand in those of `compared_ids` and of every pair."
        )
    texts = compared_texts(found, params.answers_are_labels)
    sets = shingles.shingle_sets(texts, params.ngram)
    is_short = sets.lengths == 0
    keys = text.comparison_key(texts.filter(pl.Series(is_short, dtype=pl.Boolean)))
    own = keys.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    values = np.insert(sets.values, sets.offsets[:-1][is_short], own.to_numpy())
    return shingles.Ragged(values, shingles.offsets_of(np.maximum(sets.lengths, 1)))


_CROSSING: dict[str, type[pl.DataType]] = {
    "position": pl.Int64, "near_twin": pl.String, "near_similarity": pl.Float64,
}  # fmt: skip


def _near_history(
    heads: pl.DataFrame, records: pl.DataFrame, history: pl.DataFrame, pairs: pl.DataFrame,
    history_records: pl.DataFrame, params: SplitParams,
) -> pl.DataFrame:  # fmt: skip
    """position, near_twin, near_similarity of heads that equal or are near an earlier day's record of another split."""
    order = (
        history.sort(ORDER)
        .with_row_index("rank")
        .select("rank", other_id="record_id", other_split="split", comparison_key="comparison_key")
    )
    equal = (
        heads.select("position", "split", "comparison_key")
        .join(order, on="comparison_key")
        .filter(pl.col("split") != pl.col("other_split"))
        .select("position", "rank", "other_id", pl.lit(1.0).alias("near_similarity"))
    )
    verified = (
        pairs.join(heads.select("record_id", "position"), on="record_id")
        .join(order.select("rank", "other_id"), on="other_id")
        .sort("position", "rank")
    )
    ids, others = verified["record_id"].unique().sort(), verified["other_id"].unique().sort()
    sets = shingles.concat([_sets(ids, records, params), _sets(others, history_records, params)])
    left = ids.search_sorted(verified["record_id"]).to_numpy().astype(np.int64)
    right = others.search_sorted(verified["other_id"]).to_numpy().astype(np.int64) + len(ids)
    similarity = near.jaccard(sets, left, right, params.near.threshold)
    alike = verified.with_columns(near_similarity=pl.Series(similarity, dtype=pl.Float64)).filter(
        pl.col("near_similarity") >= params.near.threshold
    )
    return (
        pl.concat(
            [equal, alike.select("position", "rank", "other_id", "near_similarity")], how="vertical_relaxed"
        )
        .sort("position", "rank", "near_similarity", descending=[False, False, True])
        .unique("position", keep="first", maintain_order=True)
        .select("position", pl.col("other_id").alias("near_twin"), "near_similarity")
        .cast(_CROSSING)  # type: ignore[arg-type]
    )


def _near_each_other(
    heads: pl.DataFrame, records: pl.DataFrame, history: pl.DataFrame, params: SplitParams
) -> pl.DataFrame:
    """As `_near_history`, for heads of one range among themselves: only kept ones drop others."""
    if heads.height == 0:
        return pl.DataFrame(schema=_CROSSING)
    buckets = _buckets(heads)
    homes = buckets.join(_mixed(buckets), on="bucket", how="semi")
    if homes.height == 0:
        return pl.DataFrame(schema=_CROSSING)
    items = (
        heads.join(homes.select("position").unique(), on="position", how="semi")
        .sort("position")
        .with_row_index("item")
        .with_columns(pl.col("item").cast(pl.Int64))
    )
    homes = homes.join(items.select("position", "item"), on="position").drop("position")
    numbers = homes.select("bucket", "split").unique().sort("bucket", "split").with_row_index("number")
    held = (
        history.filter(pl.col("bands").is_not_null())
        .select("split", bucket="bands")
        .explode("bucket")
        .join(numbers.select("bucket").unique(), on="bucket", how="semi")
        .group_by("bucket", "split")
        .agg(held=pl.len().cast(pl.Int64))
    )
    room = numbers.join(held, on=["bucket", "split"], how="left").sort("number")
    homes = homes.join(numbers, on=["bucket", "split"]).sort("item", "number")
    asks = (
        homes.select("item", "bucket", own="split")
        .join(numbers, on="bucket")
        .filter(pl.col("split") != pl.col("own"))
        .sort("item", "number")
    )
    found = first_kept_near(
        _sets(items["record_id"], records, params),
        _members(asks),
        _members(homes),
        (params.near.bucket_cap - room["held"].fill_null(0)).clip(0).to_numpy(),
        params.near.threshold,
    )
    dropped = np.flatnonzero(found.twin >= 0)
    return pl.DataFrame(
        {
            "position": items["position"].gather(dropped),
            "near_twin": items["record_id"].gather(found.twin[dropped]),
            "near_similarity": pl.Series(found.similarity[dropped], dtype=pl.Float64),
        }
    )


def _members(frame: pl.DataFrame) -> Members:
    return Members(frame["item"].to_numpy().astype(np.int64), frame["number"].to_numpy().astype(np.int64))


def _judge(
    new: pl.DataFrame, fair: pl.DataFrame, crossing: pl.DataFrame, params: SplitParams
) -> pl.DataFrame:
    """Reason, twin, similarity and detail of every record from the relations found.

    At most one record of equal text and answer is kept: an equal one in another split would cross.
    """
    same = ["comparison_key", "answer_key"]
    kept = fair.filter(pl.col("same_twin").is_null() & (pl.col("head") == pl.col("position"))).join(
        crossing, on="position", how="anti"
    )
    first = kept.select(*same, kept_position="position", kept_id="record_id")
    facts = (
        fair.select("position", "head", "same_twin", *same)
        .join(crossing.rename({"position": "head"}), on="head", how="left")
        .join(first, on=same, how="left")
        .drop(same)
    )
    judged = new.join(facts, on="position", how="left", maintain_order="left")
    crosses = pl.col("near_twin").is_not_null()
    follows = (pl.col("kept_position") < pl.col("position")).fill_null(False)
    copies = pl.col("same_twin").is_not_null() | follows
    judged = judged.with_columns(
        reason=pl.when("is_unfair").then(pl.lit("no_evaluate_right"))
        .when(copies).then(pl.lit("same_after_cleaning"))
        .when(crosses).then(pl.lit("near_other_split")),
        twin=pl.when(pl.col("is_unfair")).then(pl.lit(None, pl.String))
        .when(copies).then(pl.coalesce("same_twin", "kept_id"))
        .when(crosses).then(pl.col("near_twin")),
        similarity=pl.when(pl.col("is_unfair")).then(None).when(copies).then(1.0).when(crosses).then("near_similarity"),
    )  # fmt: skip
    judged = judged.with_columns(kept=pl.col("reason").is_null())
    paired = pl.struct(
        rule="reason",
        similarity=pl.col("similarity").round(6),
        threshold=pl.lit(params.near.threshold),
        twin="twin",
    ).struct.json_encode()
    unfair = pl.struct(rule="reason", threshold=pl.lit("train"), value="split").struct.json_encode()
    return judged.with_columns(
        detail=pl.when("kept").then(pl.lit(None, pl.String)).when("is_unfair").then(unfair).otherwise(paired)
    )
