"""A change that cannot be followed record by record, made for real in a temporary folder and compared table by table.

Lives here: the copy of the project's state, making it anew there, the comparison. Keep out: Dagster, releases, everything of
the project itself: it is only read.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from dataset_pipeline.assets import previewing_reading as reading
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, context_of, run_step
from dataset_pipeline.assets.inputs import run_input, stale_inputs
from dataset_pipeline.assets.plan import ranges, status_of
from dataset_pipeline.assets.previewing import ASIDE, Asked, Change, Sides, totals, withheld
from dataset_pipeline.assets.previewing_steps import NOBODY, union, without
from dataset_pipeline.errors import BadDay
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import ANNOTATIONS, DAILY_STEPS, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import LabelParams
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms.previewing import MOVES, moves
from dataset_pipeline.transforms.selection import contested

_RUN = "preview"
MAX_ROUNDS = 4
"""As `run`: a verdict can name a record that is only now collected, an erased record a copy on another day."""
MAX_TOLD = 5
"""Bad days that are told one by one."""


def made_aside(
    before: Context, after: Project, changed: tuple[str, ...], days: tuple[dt.date, ...]
) -> Change:
    """The change from what is published on `days` to what a run of `after` makes of a copy of it."""
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-preview-") as folder:
        project = replace(after, state=Path(folder))
        REPORTER.get().phase("preview", "copying what is published into a temporary folder")
        _copy(before, project)
        context = context_of(project)
        try:
            notes = _make(context)
        finally:
            release_run_lock(project.warehouse_path)
        REPORTER.get().phase("preview", "comparing")
        found = _compared(before, context, changed, days)
        return replace(found, notes=tuple(notes))


def _copy(before: Context, project: Project) -> None:
    pairs = [
        (before.project.warehouse_path, project.warehouse_path),
        (before.project.cache_path, project.cache_path),
        (before.project.lock_path, project.lock_path),
    ]
    # Nobody can write the warehouse while somebody reads it: the copy is of one moment.
    with before.warehouse.reading():
        for source, target in pairs:
            for name in (source, source.with_name(source.name + ".wal")):
                if name.is_file():
                    shutil.copyfile(name, target.with_name(target.name + name.name[len(source.name) :]))


# --- making -------------------------------------------------------------------------------


def _make(context: Context) -> list[str]:
    """Make what is missing or stale, as `run` does; returns what went wrong, in words."""
    bad: dict[dt.date, str] = {}
    refused: dict[str, str] = {}
    for number in range(MAX_ROUNDS):
        todo = [name for name in stale_inputs(context) if name not in refused]
        if number and not todo:
            break
        for name in todo:
            try:
                run_input(context, name, _RUN)
            except GateClosed as error:
                if name != ANNOTATIONS or (name, None) not in context.warehouse.latest():
                    return [f"A run would stop here: {error}"]
                refused[name] = f"{error}"
        _make_days(context, bad)
    told = [f"A run would set {day} aside: {text}" for day, text in sorted(bad.items())]
    more = [f"and {len(told) - MAX_TOLD} more days"] if len(told) > MAX_TOLD else []
    return [*refused.values(), *told[:MAX_TOLD], *more]


def _make_days(context: Context, bad: dict[dt.date, str]) -> None:
    todo = status_of(context).stretches(bad)
    while todo:
        first, last = todo.pop(0)
        days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
        try:
            for step in DAILY_STEPS:
                run_step(context, step, days, _RUN)
        except BadDay as error:
            named = {day: error.days[str(day)][0] for day in days if str(day) in error.days}
            bad |= named or dict.fromkeys(days, str(error))
            todo = ranges([day for day in days if day not in bad]) + todo


# --- comparing ----------------------------------------------------------------------------


def _compared(before: Context, after: Context, changed: tuple[str, ...], days: tuple[dt.date, ...]) -> Change:
    days_then = status_of(after).days
    moved = [pl.DataFrame(schema=MOVES)]
    for step in DAILY_STEPS:
        now, then = (
            reading.verdicts(context.warehouse, step).filter(pl.col("day").is_in(list(on)))
            for context, on in ((before, days), (after, days_then))
        )
        moved.append(moves(step, now, then))
    now, then = reading.all_placed(before.warehouse, days), reading.all_placed(after.warehouse, days_then)
    held_now, held_then = _withheld(before, days), _withheld(after, days_then)
    both = now.join(then, on="record_id", suffix="_then")
    other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_then")) for name in ("split", "label"))
    rows = pl.concat(moved)
    ids = union(
        rows["record_id"], both.filter(other)["record_id"], without(held_now, held_then), without(held_then, held_now)
    )  # fmt: skip
    concerned = pl.col("record_id").is_in(ids.implode())
    sides = Sides(rows, ids, now.filter(concerned), then.filter(concerned), held_now, held_then)
    texts = reading.printed_texts(before.warehouse).join(
        reading.printed_texts(after.warehouse), on="record_id", suffix="_then"
    )
    edited = texts.filter(pl.col("text") != pl.col("text_then")).height
    return totals(Asked(before, after, ASIDE, changed, days), sides, _arrived(rows), NOBODY, edited)


def _arrived(moved: pl.DataFrame) -> int:
    """Records that came to a later step and had not been there."""
    later = moved.filter(pl.col("kept_now").is_null() & (pl.col("step") != str(Step.INGEST)))
    return later["record_id"].n_unique()


def _withheld(context: Context, days: tuple[dt.date, ...]) -> pl.Series:
    params = context.params[Step.LABEL]
    assert isinstance(params, LabelParams)
    if not (params.answers_are_labels or params.has_pairs):
        return NOBODY
    copies = reading.near_copies(context.warehouse).filter(pl.col("day").is_in(list(days)))
    return withheld(reading.all_labelled(context.warehouse, days), contested(copies)["record_id"])
