"""`status`: what is there and why, for the whole project.

Lives here: reading and saying. Keep out: the history of one record (`explaining`), texts of records.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from rich.table import Table

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.plan import State, Status, ranges, status_of
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.cli import show
from dataset_pipeline.cli.outputs import DayState, RolledBack, StatusOutput, line_of
from dataset_pipeline.cli.rolling import release_words, rolled_back
from dataset_pipeline.cli.running import plan_lines
from dataset_pipeline.cli.summary import reject_counts, waiting, waiting_lines
from dataset_pipeline.records import DAILY_STEPS, INPUTS
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import releases


def status(spec: Path, as_json: bool) -> int:
    """A line per input and step: published, stale and missing days, and why; what waits; the release. Returns 0."""
    out = show.console(as_json)
    context = context_of(load_project(spec))
    found = status_of(context)
    output = _output(context, found)
    table = Table(box=None, pad_edge=False)
    for column in ("step", "published", "stale", "missing", "rows", "kept"):
        table.add_column(column, justify="right" if column in ("rows", "kept") else "left")
    for step in (*INPUTS, *DAILY_STEPS):
        entries = [e for e in found.entries if e.step == step]
        cells = [_days([e.day for e in entries if e.state is state]) for state in State]
        table.add_row(str(step), *cells, str(sum(e.rows for e in entries)), str(sum(e.kept for e in entries)))
    out.print(table)
    for source, counts in output.rejected.items():
        reasons = ", ".join(f"{reason} {n}" for reason, n in counts.items())
        out.print(f"rejected of {source}: {sum(counts.values())} ({reasons})")
    for steps, words in plan_lines(found):
        out.print(f"{steps}: {words}")
    for line in waiting_lines(output.waiting):
        out.print(f"waits: {line}")
    is_old = output.release is not None and not output.release_is_current
    out.print(f"release: {release_words(context, output.release)}{' (out of date)' if is_old else ''}")
    if as_json:
        print(line_of(output))
    return 0


def _output(context: Context, found: Status) -> StatusOutput:
    latest = context.warehouse.latest()
    rollback = rolled_back(context)
    return StatusOutput(
        steps=[
            DayState(
                step=str(e.step),
                day=str(e.day) if e.day else None,
                state=e.state.value,
                reasons=list(e.reasons),
                rows=e.rows,
                kept=e.kept,
            )
            for e in found.entries
        ],
        rejected=reject_counts(context),
        waiting=waiting(context),
        release=releases.latest_version(context.project.releases_path),
        release_is_current=is_released(context, latest, release_recipe(context, latest, found)),
        rolled_back=RolledBack(at=rollback.at.isoformat(timespec="seconds"), newer=rollback.newer)
        if rollback
        else None,
    )


def _days(days: list[dt.date | None]) -> str:
    if days == [None]:
        return "yes"
    words = [show.day_range(a, b) for a, b in ranges(d for d in days if d is not None)]
    return f"{', '.join(words[:3])}{', …' if len(words) > 3 else ''} ({len(days)})" if days else "none"
