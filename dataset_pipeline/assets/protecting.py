"""The protected items: read from disk, judged, published as one table without days.

Lives here: `run_protected`. Keep out: comparing records with them (`transforms.decontaminate`).
"""

from __future__ import annotations

import time
from typing import cast

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.assets.evalsets import read_protected, set_hashes
from dataset_pipeline.expectations.gate import adjusted, judge
from dataset_pipeline.expectations.undated import PROTECTED_SUITE, protected_frames
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import PROTECTED, content_hash
from dataset_pipeline.spec.params import ProtectedParams
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import Day, NewPublication


def protected_recipe(context: Context) -> recipes.Recipe:
    """What the protected items would be made of now: the examples, and the files of the sets."""
    params = cast(ProtectedParams, context.params[PROTECTED])
    hashes = set_hashes(context.project.root, params)
    return recipes.recipe(
        PROTECTED, params.hash(), {f"file {uri}": sha for uri, sha in sorted(hashes.items())}
    )


def run_protected(context: Context, run_id: str) -> Outcome:
    """Read, judge and publish the protected items. A no-op where nothing changed."""
    started = time.monotonic()
    hold_run_lock(context.warehouse.path)
    params = cast(ProtectedParams, context.params[PROTECTED])
    now = protected_recipe(context)
    published = context.warehouse.latest().get((PROTECTED, None))
    if published is not None and published.recipe == now.hash:
        REPORTER.get().step_finished(PROTECTED, time.monotonic() - started, 0, 0, "up to date")
        return Outcome(
            PROTECTED,
            (None,),
            (),
            {},
            (),
            time.monotonic() - started,
            ("up to date: the same recipe is published",),
        )
    REPORTER.get().step_started(PROTECTED, 1)
    claim = context.warehouse.claim(PROTECTED, [None], run_id)
    protected = read_protected(context.project.root, params)
    context.warehouse.stage(claim, {PROTECTED: protected.items})
    staged = context.warehouse.staged(PROTECTED, claim.token)
    rows, gauges = protected_frames(staged, [s.name for s in params.sets], protected.unreadable)
    judgements = judge(adjusted(PROTECTED_SUITE, params.gates), rows, gauges)
    checks = check_rows(PROTECTED, judgements)
    if any(j.blocks for j in judgements):
        context.warehouse.record_checks(checks, [None], run_id)
        raise GateClosed(PROTECTED, ["all"], judgements)  # type: ignore[list-item]
    content = content_hash(staged)
    new = NewPublication(
        None, now.hash, content, content, now.params_hash, now.inputs, staged.height, staged.height
    )
    unchanged = [None] if published is not None and published.content == content else []
    context.warehouse.publish(
        claim, [new], {(PROTECTED, None): published.seq if published else None}, checks, unchanged
    )
    seconds = time.monotonic() - started
    notes = tuple(f"not readable: {place}" for place in protected.unreadable[:20])
    REPORTER.get().step_finished(PROTECTED, seconds, staged.height, staged.height, "; ".join(notes))
    counts: dict[Day, DayCounts] = {None: DayCounts(staged.height, staged.height, {})}
    return Outcome(PROTECTED, (None,), (None,), counts, tuple(judgements), seconds, notes, {None: now.hash})
