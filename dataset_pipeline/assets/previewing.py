"""What another spec would do to every record, told without doing it.

Lives here: `change_of`, which way is taken, what the release withholds, and the totals. Keep out: the steps one by one
(`previewing_steps`, `previewing_split`), making everything aside (`previewing_aside`), words (`cli.preview_change`).

Nothing of the project is written but the cache, which changes no result.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from dataclasses import dataclass, replace
from typing import cast

import polars as pl

from dataset_pipeline.assets import previewing_reading as reading
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.ledger import file_map
from dataset_pipeline.assets.plan import State, Status, status_of
from dataset_pipeline.assets.previewing_examples import examples
from dataset_pipeline.assets.previewing_split import follow_split
from dataset_pipeline.assets.previewing_steps import (
    Flow,
    TextsGone,
    among,
    follow_decontaminate,
    follow_dedup,
    follow_filter,
    follow_label,
    follow_normalize,
    union,
    without,
)
from dataset_pipeline.assets.recipes import Latest, ingest_params_hash
from dataset_pipeline.assets.undated import UNDATED_OF
from dataset_pipeline.errors import Problem, SpecError, StalePublish
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import ANNOTATIONS, DAILY_STEPS, PROTECTED, RELEASE, REVIEWS, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import IngestParams, LabelParams, label_names
from dataset_pipeline.storage.publishing import Day
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms.previewing import FATES, MOVES, journeys, moves, same_but
from dataset_pipeline.transforms.selection import contested, contradicting, settled

OTHER = "(other)"
"""Stands for every label as collected that is none of the spec's: what stands there may be text of a record."""

BY_STEPS, ASIDE = "steps", "aside"
"""How a change was told: followed through the steps, or made in a temporary folder."""

_QUICK = frozenset({Step.DEDUP, Step.FILTER, Step.NORMALIZE, Step.DECONTAMINATE, Step.SPLIT})
"""The steps whose change can be followed record by record."""
_SETTINGS = (*DAILY_STEPS, REVIEWS, ANNOTATIONS, PROTECTED)


@dataclass(frozen=True)
class Change:
    """What differs between what is published and what another spec would publish.

    moves: MOVES. fates: FATES. changed: the steps whose settings or inputs without days differ, in order. counted: step to COUNTED of what is
    published, of the first changed step. reasons: step to its published reasons, of steps with moves or changes. released:
    RELEASED of what is released now. journeys: JOURNEYS. examples: EXAMPLES. arrived: records that the later steps have to
    look at; unmeasured: ids of those that the limit left out. edited: records that are kept with another text.
    """

    way: str
    moves: pl.DataFrame
    fates: pl.DataFrame
    changed: tuple[str, ...]
    counted: pl.DataFrame
    reasons: dict[str, dict[str | None, int]]
    released: pl.DataFrame
    journeys: pl.DataFrame
    examples: pl.DataFrame
    arrived: int
    unmeasured: pl.Series
    edited: int
    notes: tuple[str, ...]
    seconds: float


def change_of(project: Project, after: Project, limit: int) -> Change:
    """The change from what `project` has published to what `after`, the same project with another spec, would publish.

    Raises SpecError where nothing is published, or what is published was made under other settings than `project` has.
    """
    started = time.monotonic()
    warehouse = Warehouse(project.warehouse_path)
    if warehouse.exists():
        warehouse.initialize()
    latest = warehouse.latest()
    if not any(step == Step.SPLIT for step, _ in latest):
        message, remedy = "nothing is published yet.", "Run `dataset-pipeline run` first."
        raise SpecError([Problem(project.path.name, message, remedy)])
    REPORTER.get().phase("preview", "looking at what is published")
    before = context_of(project)
    status = status_of(before)
    notes = _state_notes(before, status, latest)
    published = {day for _, day in latest if day is not None}
    changed = tuple(name for name in _SETTINGS if same_but(project.params[name], after.params[name]))
    found = None
    steps = tuple(step for step in DAILY_STEPS if {step, *UNDATED_OF[step]} & set(changed))
    if set(changed) <= _QUICK and published <= set(status.days):
        with contextlib.suppress(TextsGone):
            found = _followed(before, after, latest, steps, limit)
    if found is None:
        from dataset_pipeline.assets.previewing_aside import made_aside

        found = made_aside(before, after, steps, status.days)
    if {key: p.seq for key, p in warehouse.latest().items()} != {key: p.seq for key, p in latest.items()}:
        raise StalePublish("something was published while preview was reading; preview again.")
    return replace(found, notes=(*notes, *found.notes), seconds=time.monotonic() - started)


def _state_notes(context: Context, status: Status, latest: Latest) -> list[str]:
    """Raises SpecError where the present spec was not run; notes what else a run would make anew."""
    files = file_map(context)
    ingest = cast(IngestParams, context.params[Step.INGEST])

    def settings(step: str, day: Day) -> str:
        if step == Step.INGEST and day is not None:
            return ingest_params_hash(ingest, {source for source, _ in files.get(day, {}).values()})
        return context.params[step].hash()

    wanted = {None, *status.days}
    other = [
        (step, day)
        for (step, day), p in latest.items()
        if step in _SETTINGS and day in wanted and p.params_hash != settings(step, day)
    ]
    if other:
        days = {day for _, day in other if day is not None}
        on = f" of {len(days)} {'day' if len(days) == 1 else 'days'}" if days else ""
        steps = ", ".join(name for name in _SETTINGS if name in {step for step, _ in other})
        message = f"{steps}{on} was made with other settings than the spec has now: a change cannot be told from it."
        raise SpecError([Problem("preview", message, "Run first: dataset-pipeline run.")])
    entries = status.of(State.STALE, State.MISSING)
    if not entries:
        return []
    reasons = [reason for entry in entries for reason in entry.reasons if "not up to date" not in reason]
    why = "; ".join(list(dict.fromkeys(reasons))[:3])
    return [f"What is published is not up to date ({why}): `dataset-pipeline run` brings that in too, and preview knows nothing of it."]  # fmt: skip


# --- followed through the steps -----------------------------------------------------------


def _followed(
    before: Context, after: Project, latest: Latest, changed: tuple[str, ...], limit: int
) -> Change:
    warehouse = before.warehouse
    context = Context(after, after.params, warehouse, before.found, before.hashes, before.until)
    flow = Flow(before, context, latest, limit)
    follow_dedup(flow)
    follow_filter(flow)
    follow_normalize(flow)
    follow_decontaminate(flow)
    # What label and split read again: settle empties the lists.
    judged, lost = flow.todo, flow.lost
    labels = follow_label(flow)
    lost_at_split = flow.lost
    split = follow_split(flow)
    REPORTER.get().phase(RELEASE, "contradictions")
    held_now, held_then = _withheld(flow, union(judged, lost), labels)
    moved = pl.concat([pl.DataFrame(schema=MOVES), *flow.moved])
    ids = union(
        moved["record_id"], flow.edited, without(held_now, held_then), without(held_then, held_now),
        _placed_otherwise(flow, split),
    )  # fmt: skip
    now = reading.placed(warehouse, ids)
    gone = union(lost_at_split, split["record_id"])
    label_of = pl.concat(
        [labels.select("record_id", "label"), reading.labels_of(warehouse, split["record_id"])]
    ).unique("record_id", keep="first", maintain_order=True)
    made = among(split.filter("kept"), ids).join(label_of, on="record_id", how="left")
    then = pl.concat([now.filter(~pl.col("record_id").is_in(gone.implode())), made.select(*reading.PLACED)])
    sides = Sides(moved, ids, now, then, held_now, held_then)
    asked = Asked(before, context, BY_STEPS, changed, flow.days)
    return totals(asked, sides, len(flow.arrived), flow.unmeasured, len(flow.edited))


def _placed_otherwise(flow: Flow, split: pl.DataFrame) -> pl.Series:
    """Ids of the records judged again that are kept in another split than they are published in."""
    made = split.filter("kept").select("record_id", then="split")
    now = reading.placed(flow.warehouse, made["record_id"])
    return made.join(now, on="record_id").filter(pl.col("then") != pl.col("split"))["record_id"]


def _withheld(flow: Flow, touched: pl.Series, labels: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Ids of the records that the release withholds now and then, whether or not split keeps them.

    touched: records whose label row is void or made again; labels: TABLES['label'] of the latter.
    """
    params = cast(LabelParams, flow.after.params[Step.LABEL])
    if not (params.answers_are_labels or params.has_pairs):
        return touched.clear(), touched.clear()
    warehouse = flow.warehouse
    copies = contested(reading.near_copies(warehouse))["record_id"]
    copies_then = copies if flow.deduplicated is None else contested(flow.deduplicated)["record_id"]
    old = reading.rows_of(warehouse, Step.LABEL, touched, reading.LABELLED)
    prompts = union(old["prompt_key"].drop_nulls(), labels["prompt_key"].drop_nulls())
    now = reading.disputed(warehouse, prompts, union(copies, copies_then))
    kept = now.filter(~pl.col("record_id").is_in(touched.implode()))
    then = pl.concat([kept, labels.filter("kept").select(*reading.LABELLED)])
    return withheld(now, copies), withheld(then, copies_then)


def withheld(labelled: pl.DataFrame, copies: pl.Series) -> pl.Series:
    """Ids that contradict or are contested, and that no person has settled. labelled: LABELLED; copies: contested ids."""
    return without(
        union(contradicting(labelled)["record_id"], copies), settled(labelled)["record_id"]
    )  # fmt: skip


# --- totals -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What is compared: `before` as published on `days`, and `after`, whose warehouse is another one where it was made aside."""

    before: Context
    after: Context
    way: str
    changed: tuple[str, ...]
    days: tuple[dt.date, ...]


@dataclass(frozen=True)
class Sides:
    """moved: MOVES of the daily steps. ids: whom it concerns; now, then: PLACED of them; held_…: ids that the release withholds."""

    moved: pl.DataFrame
    ids: pl.Series
    now: pl.DataFrame
    then: pl.DataFrame
    held_now: pl.Series
    held_then: pl.Series


def totals(asked: Asked, sides: Sides, arrived: int, unmeasured: pl.Series, edited: int) -> Change:
    """A Change of what was found."""
    REPORTER.get().phase(RELEASE, "counting")
    warehouse, unmeasured = asked.before.warehouse, unmeasured.alias("record_id")

    def side(frame: pl.DataFrame, held: pl.Series, suffix: str) -> pl.DataFrame:
        is_held = pl.col("record_id").is_in(held.implode())
        names = {f"{name}_{suffix}": pl.col(name) for name in ("split", "label")}
        return frame.select("record_id", **names, **{f"released_{suffix}": ~is_held})

    known = reading.facts(warehouse, sides.ids)
    new = reading.facts(asked.after.warehouse, without(sides.ids, known["record_id"]))
    fates = (
        sides.ids.to_frame("record_id")
        .join(_named(asked.before, pl.concat([known, new])), on="record_id", how="left")
        .join(side(sides.now, sides.held_now, "now"), on="record_id", how="left")
        .join(side(sides.then, sides.held_then, "then"), on="record_id", how="left")
        .with_columns(pl.col("released_now", "released_then").fill_null(False))
        .select(pl.col(name).cast(dtype) for name, dtype in FATES.items())
        .sort("record_id")
    )
    withheld_ = [_verdict(fates, "now", sides.held_now), _verdict(fates, "then", sides.held_then)]
    moved = pl.concat([sides.moved, moves(RELEASE, *withheld_)])
    with warehouse.reading():
        stepped = set(moved["step"].unique()) | set(asked.changed)
        steps = [step for step in DAILY_STEPS if step in stepped]
        counted = pl.DataFrame(schema=dict(reading.COUNTED))
        if steps:
            counted = _named(asked.before, reading.counted(warehouse, steps[0], asked.days))
        minus = reading.placed(warehouse, sides.held_now).group_by("split", "label").agg(records=-pl.len().cast(pl.Int64))  # fmt: skip
        released = pl.concat([reading.kept_by_split(warehouse, asked.days), minus.select(*reading.RELEASED)])
        reasons = {str(step): reading.reasons(warehouse, step, asked.days) for step in steps}
    told = journeys(moved, fates, unmeasured)
    return Change(
        asked.way, moved, fates, asked.changed, counted, reasons,
        released.group_by("split", "label").agg(pl.col("records").sum()).sort("split", "label"),
        told, examples(asked.before, asked.after, told, fates), arrived, unmeasured, edited, (), 0.0,
    )  # fmt: skip


def _verdict(fates: pl.DataFrame, suffix: str, held: pl.Series) -> pl.DataFrame:
    """VERDICT of the release on the records that split keeps."""
    reached = fates.filter(pl.col(f"split_{suffix}").is_not_null())
    is_held = pl.col("record_id").is_in(held.implode())
    return reached.select(
        "record_id", "day", kept=~is_held, reason=pl.when(is_held).then(pl.lit("contradiction"))
    )


def _named(context: Context, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with labels as the spec has them, or OTHER."""
    names = label_names(context.project.spec)
    given = frame["label"].drop_nulls().unique().sort()
    known = pl.DataFrame(
        {"label": given, "name": [names.get(label.strip().casefold(), OTHER) for label in given.to_list()]},
        schema={"label": pl.String, "name": pl.String},
    )
    return frame.join(known, on="label", how="left", maintain_order="left").with_columns(label="name").drop("name")  # fmt: skip
