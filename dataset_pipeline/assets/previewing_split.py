"""The split of a change: what arrives is placed, and what stands is judged again where somebody near it comes or goes.

Lives here: finding the records whose verdict can depend on a change, and judging them with the step's own function. Keep
out: the steps before (`previewing_steps`).

A published verdict stands unless a record near it changes its own. So the circle of records judged again grows only by
the neighbours of records that are kept now and were not, and by those that were dropped for one that is not kept any more.
Around the circle its kept neighbours stand as they are; should one of them fall, it is in the next circle.
"""

from __future__ import annotations

from typing import cast

import polars as pl

from dataset_pipeline.assets import previewing_reading as reading
from dataset_pipeline.assets.previewing_steps import NOBODY, Flow, among, union, without
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import MESSAGES, Step
from dataset_pipeline.spec.params import SplitParams
from dataset_pipeline.transforms import assignment, split

PLACED_ANEW = (*split.FINGERPRINT, "may_evaluate")
_SHARE_OF_ALL = 0.5
"""A circle of more than this share of all records costs as much as all of them."""


def follow_split(flow: Flow) -> pl.DataFrame:
    """Returns the TABLES['split'] rows of the records judged again."""
    changed = flow.changed(Step.SPLIT)
    if not changed and not len(flow.todo) and not len(flow.lost):
        table = pl.DataFrame(schema={**reading.VERDICT, "split": pl.String, "group_key": pl.String})
    else:
        # Texts and bands that another making of them gives cannot be compared with stored ones.
        table = _all(flow) if changed else _circle(flow)
    flow.compare(Step.SPLIT, table.select(*reading.VERDICT))
    return table


def _params(flow: Flow) -> SplitParams:
    return cast(SplitParams, flow.after.params[Step.SPLIT])


# --- one circle ---------------------------------------------------------------------------


def _circle(flow: Flow) -> pl.DataFrame:
    REPORTER.get().phase(
        Step.SPLIT, f"placing {len(flow.todo)} records, judging those near what comes and goes"
    )
    arriving = _arriving(flow)
    count = sum(p.row_count for (step, _), p in flow.latest.items() if step == Step.SPLIT)
    circle = _left_behind(flow, flow.lost)
    while True:
        standing = reading.split_prints(flow.warehouse, circle)
        rows = pl.concat([arriving, standing.select(arriving.columns)])
        met = reading.split_neighbours(flow.warehouse, rows) if rows.height else NOBODY
        around = reading.split_prints(flow.warehouse, without(met, union(flow.lost, circle)))
        if rows.height + around.height > _SHARE_OF_ALL * count > 0:
            return _all(flow)
        kept_around = around.filter("kept").select(arriving.columns)
        table = _judged(flow, pl.concat([rows, kept_around]))
        # One that falls was judged without all of its own neighbours: the next circle holds them.
        fallen = among(table, kept_around["record_id"]).filter(~pl.col("kept"))["record_id"]
        table = among(table, rows["record_id"])
        kept_then = table.filter("kept")["record_id"]
        comes = without(kept_then, standing.filter("kept")["record_id"])
        goes = without(standing.filter("kept")["record_id"], kept_then)
        more = union(fallen, _meeting(around, among(rows, comes)), _left_behind(flow, goes))
        grown = union(circle, more)
        if len(grown) == len(circle):
            return table
        circle = grown


def _left_behind(flow: Flow, ids: pl.Series) -> pl.Series:
    """Ids of the records that may be judged otherwise without the published records `ids`."""
    followers = reading.split_followers(flow.warehouse, ids)
    askers = reading.split_askers(flow.warehouse, ids, _params(flow).near.bucket_cap)
    return without(union(followers, askers), flow.lost)


def _meeting(around: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Ids of `around` that share a text or a band with one of `rows`."""

    def buckets(frame: pl.DataFrame) -> pl.DataFrame:
        held = frame.filter(pl.col("bands").is_not_null())
        return held.select("record_id", bucket="bands").explode("bucket")

    near = buckets(around).join(buckets(rows), on="bucket", how="semi")["record_id"]
    equal = around.join(rows, on="comparison_key", how="semi")["record_id"]
    return union(near, equal)


# --- judging ------------------------------------------------------------------------------


def _arriving(flow: Flow) -> pl.DataFrame:
    """PLACED_ANEW of the records to judge, in the splits that the lock, shares or hash give their groups."""
    params = _params(flow)
    if not len(flow.todo):
        return pl.DataFrame(schema={name: reading.PRINTED[name] for name in PLACED_ANEW})
    labelled = [flow.labelled(pl.Series("record_id", part)) for part in reading.parts(flow.todo)]
    records = pl.concat(labelled)
    records = records.with_columns(group_key=split.group_key(records))
    splits, _ = assignment.assigned(
        records.select("day", "label", "group_key"), params, flow.undated.lock
    )  # fmt: skip
    prints = split.fingerprint(records, params, flow.after.memo(Step.SPLIT), splits)
    rights = records.select("record_id", "may_evaluate")
    return prints.join(rights, on="record_id", how="left").select(PLACED_ANEW)


def _all(flow: Flow) -> pl.DataFrame:
    """Everything that reaches split, judged as one range; stored band keys where they are of the same making."""
    params = _params(flow)
    own = set(flow.changed(Step.SPLIT)) - {"near", "ratios", "strategy", "validation", "test", "seed"}
    was = cast(SplitParams, flow.before.params[Step.SPLIT]).near
    REPORTER.get().phase(Step.SPLIT, "judging all records")
    lost = union(flow.lost, flow.todo)
    if own or (was.bands, was.rows, was.seed) != (params.near.bands, params.near.rows, params.near.seed):
        standing = without(reading.verdicts(flow.warehouse, Step.SPLIT)["record_id"], lost)
        flow.todo, was_todo = union(standing, flow.todo), flow.todo
        rows = _arriving(flow)
        flow.todo = was_todo
        return _judged(flow, rows)
    stored = reading.split_prints(flow.warehouse).filter(~pl.col("record_id").is_in(lost.implode()))
    if not params.answers_are_labels:
        stored = stored.with_columns(answer_key=pl.lit(""))
    arriving = _arriving(flow)
    if not flow.changed(Step.SPLIT):
        return _judged(flow, pl.concat([stored.select(PLACED_ANEW), arriving]))
    rows = pl.concat([stored.select(PLACED_ANEW), arriving])
    labels = reading.labels_of(flow.warehouse, stored["record_id"])
    if len(flow.todo):
        labels = pl.concat([labels, flow.labels(flow.todo).select("record_id", "label")])
    groups = rows.join(labels, on="record_id", how="left").select("day", "label", "group_key")
    splits, _ = assignment.assigned(groups, params, flow.undated.lock)
    rows = rows.drop("split").join(splits, on="group_key", how="left").select(PLACED_ANEW)
    return _judged(flow, rows)


def _judged(flow: Flow, prints: pl.DataFrame) -> pl.DataFrame:
    """TABLES['split'] of records with these fingerprints, and none besides."""
    params = _params(flow)
    prints = prints.sort("record_id")
    if not params.answers_are_labels:
        prints = prints.with_columns(answer_key=pl.lit(""))
    texts = [
        flow.texts(pl.Series("record_id", part)).select("record_id", "messages", "prompt_turns", "rejected")
        for part in reading.parts(_crossing(prints))
    ]
    nothing: dict[str, pl.DataType | type[pl.DataType]] = {
        "record_id": pl.String,
        "messages": MESSAGES,
        "prompt_turns": pl.Int32,
        "rejected": MESSAGES,
    }
    known = pl.concat([pl.DataFrame(schema=nothing), *texts])
    records = prints.select("record_id", "may_evaluate").join(known, on="record_id", how="left")
    history = pl.DataFrame(schema=split.FINGERPRINT)
    pairs = pl.DataFrame(schema={"record_id": pl.String, "other_id": pl.String})
    fingerprints = prints.select(*split.FINGERPRINT)
    return split.split_records(records, fingerprints, history, pairs, records.clear(), params)


def _crossing(prints: pl.DataFrame) -> pl.Series:
    """Ids of the records that share a text or a band with one of another split: only their texts are compared."""
    members = prints.with_row_index("position").filter(pl.col("bands").is_not_null())
    members = members.select("position", "split", bucket="bands").explode("bucket")
    mixed = members.group_by("bucket").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
    near = members.join(mixed, on="bucket", how="semi")["position"].unique().sort()
    several = prints.filter(pl.col("split").n_unique().over("comparison_key") > 1)["record_id"]
    return union(prints["record_id"].gather(near), several)
