"""What has no days and is read from files: reviews, annotations, protected items; read, judged, published whole.

Lives here: `run_input` and the recipes of all three. Keep out: what each reads (`reviewing`, `annotating`,
`protecting`), what the daily steps make of it (`undated`).
"""

from __future__ import annotations

import time
from typing import cast

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.annotating import annotations_made, annotations_recipe
from dataset_pipeline.assets.context import Context, Made
from dataset_pipeline.assets.differences import attempt_of, settings_of, with_items
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.assets.protecting import protected_made, protected_recipe
from dataset_pipeline.assets.reviewing import reviews_made, reviews_recipe
from dataset_pipeline.expectations.gate import adjusted, judge
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import (
    ANNOTATIONS,
    EXTRA_TABLES,
    INPUTS,
    PROTECTED,
    REVIEWS,
    content_hash,
    sha256_text,
)
from dataset_pipeline.spec.params import AnnotationsParams, ReviewsParams
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import Day, NewPublication

_RECIPES = {REVIEWS: reviews_recipe, ANNOTATIONS: annotations_recipe, PROTECTED: protected_recipe}
_MAKERS = {REVIEWS: reviews_made, ANNOTATIONS: annotations_made, PROTECTED: protected_made}


def input_recipes(context: Context) -> dict[str, recipes.Recipe]:
    """What each input would be made of now. Raises SpecError for a file that cannot be read at all."""
    return {name: _RECIPES[name](context) for name in INPUTS}


def idle_inputs(context: Context, latest: recipes.Latest) -> frozenset[str]:
    """Reviews and annotations of which the spec names no file and nothing is published: there is nothing to make."""
    named = {
        REVIEWS: cast(ReviewsParams, context.params[REVIEWS]).paths,
        ANNOTATIONS: cast(AnnotationsParams, context.params[ANNOTATIONS]).sets,
    }
    return frozenset(
        name
        for name, files in named.items()
        if not files and ((published := latest.get((name, None))) is None or not published.row_count)
    )


def stale_inputs(context: Context) -> list[str]:
    """The inputs whose newest publication is not what they would be made of now."""
    latest = context.warehouse.latest()
    now, idle = input_recipes(context), idle_inputs(context, latest)
    stale = []
    for name in INPUTS:
        published = latest.get((name, None))
        if name not in idle and (published is None or published.recipe != now[name].hash):
            stale.append(name)
    return stale


def run_input(context: Context, name: str, run_id: str) -> Outcome:
    """Read, judge and publish one input. A no-op where nothing changed.

    Raises SpecError for a file that is none of its kind, GateClosed (nothing is published then).
    """
    started = time.monotonic()
    hold_run_lock(context.warehouse.path)
    now = _RECIPES[name](context)
    published = context.warehouse.latest().get((name, None))
    if published is not None and published.recipe == now.hash:
        seconds = time.monotonic() - started
        REPORTER.get().step_finished(name, seconds, 0, 0, "up to date")
        note = "up to date: the same recipe is published"
        return Outcome(name, (None,), (), {}, (), seconds, (note,))
    REPORTER.get().step_started(name, 1)
    claim = context.warehouse.claim(name, [None], run_id)
    made: Made = _MAKERS[name](context)
    context.warehouse.stage(claim, made.tables)
    tables = [name, *EXTRA_TABLES.get(name, ())]
    staged = {table: context.warehouse.staged(table, claim.token) for table in tables}
    rows, gauges = made.frames(staged)
    judgements = judge(adjusted(made.suite, context.params[name].gates), rows, gauges)
    checks = check_rows(name, judgements)
    if any(j.blocks for j in judgements):
        context.warehouse.record_checks(checks, [None], run_id, attempts={None: attempt_of(name, None, now)})
        raise GateClosed(name, ["all"], judgements)  # type: ignore[list-item]
    content = sha256_text(*(content_hash(staged[table]) for table in tables))
    height = staged[name].height
    inputs = with_items(now.inputs, staged[PROTECTED]) if name == PROTECTED else now.inputs
    new = NewPublication(None, now.hash, content, content, now.params_hash, inputs, height, height)
    unchanged = [None] if published is not None and published.content == content else []
    context.warehouse.publish(
        claim,
        [new],
        {(name, None): published.seq if published else None},
        checks,
        unchanged,
        settings=settings_of(context, name),
        seconds=time.monotonic() - started,
    )
    seconds = time.monotonic() - started
    REPORTER.get().step_finished(name, seconds, height, height, "; ".join(made.notes))
    counts: dict[Day, DayCounts] = {None: DayCounts(height, height, {})}
    return Outcome(name, (None,), (None,), counts, tuple(judgements), seconds, made.notes, {None: now.hash})


def run_inputs(context: Context, run_id: str) -> list[Outcome]:
    """All inputs that are not up to date, in their order."""
    return [run_input(context, name, run_id) for name in stale_inputs(context)]
