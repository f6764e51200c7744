"""`status`: what is there and why, for the whole project.

Lives here: reading and saying. Keep out: the history of one record (`explaining`), texts of records.
"""

from __future__ import annotations

from pathlib import Path

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.differences import attempt_of
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.estimating import Effort, effort
from dataset_pipeline.assets.plan import State, Status, status_of
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.cli import plan_words, show
from dataset_pipeline.cli.outputs import DayState, PlanOutput, RolledBack, StatusOutput, line_of
from dataset_pipeline.cli.rolling import release_words, rolled_back
from dataset_pipeline.cli.summary import reject_counts, waiting, waiting_lines
from dataset_pipeline.records import RELEASE
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.judgements import refusals


def status(spec: Path, as_json: bool) -> int:
    """A line per step, state and reason: published, stale and missing days and closed gates; what `run` would do; what
    waits; the release. Returns 0."""
    out = show.console(as_json)
    context = context_of(load_project(spec))
    found = status_of(context)
    work = effort(context, found)
    output = _output(context, found, work)
    plan_words.print_table(out, found)
    for source, counts in output.rejected.items():
        reasons = ", ".join(f"{reason} {n}" for reason, n in counts.items())
        out.print(f"rejected of {source}: {sum(counts.values())} ({reasons})")
    if found.of(State.STALE, State.MISSING):
        out.print(f"run would make: {plan_words.effort_words(work)}")
    for line in waiting_lines(output.waiting):
        out.print(f"waits: {line}")
    is_old = output.release is not None and not output.release_is_current
    out.print(f"release: {release_words(context, output.release)}{' (out of date)' if is_old else ''}")
    for reason in output.release_refused:
        out.print(f"release: gate closed: {reason}")
    if as_json:
        print(line_of(output))
    return 0


def _output(context: Context, found: Status, work: Effort) -> StatusOutput:
    latest = context.warehouse.latest()
    rollback = rolled_back(context)
    recipe = release_recipe(context, latest, found)
    is_current = is_released(context, latest, recipe)
    refused = refusals(context.warehouse).get((RELEASE, None)) if not is_current else None
    if refused is not None and refused.attempt not in (None, attempt_of(RELEASE, None, recipe)):
        refused = None  # the next attempt is another one
    return StatusOutput(
        steps=[
            DayState(
                step=str(e.step),
                day=str(e.day) if e.day else None,
                state=e.shown.value,
                has_older_rows=e.state is State.STALE,
                reasons=list(e.reasons),
                rows=e.rows,
                kept=e.kept,
            )
            for e in found.entries
        ],
        rejected=reject_counts(context),
        plan=PlanOutput(
            days=work.days,
            files=work.files,
            records=work.records,
            seconds=dict(work.seconds),
            total_seconds=work.total,
        ),
        waiting=waiting(context),
        release=releases.latest_version(context.project.releases_path),
        release_is_current=is_current,
        release_refused=list(refused.reasons) if refused is not None else [],
        rolled_back=RolledBack(at=rollback.at.isoformat(timespec="seconds"), newer=rollback.newer)
        if rollback
        else None,
    )
