"""`dataset-pipeline run`: plan, make each stretch of days through Dagster, release, say what came of it.

Lives here: the loop that sets bad days aside, and the words around it. Keep out: what a step does
(`assets.engine`), files that are no batch (`lost`), what lies elsewhere (`fetch`), rendering (`show`).
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dataset_pipeline import clock
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, Outcome, context_of
from dataset_pipeline.assets.estimating import effort
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.inputs import stale_inputs
from dataset_pipeline.assets.judged import held
from dataset_pipeline.assets.plan import State, Status, ranges, status_of
from dataset_pipeline.assets.recipes import Latest
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.assets.reporting import is_reported
from dataset_pipeline.cli import nights, rescanning, show
from dataset_pipeline.cli.checking import checked_project
from dataset_pipeline.cli.choice import Choice as Choice
from dataset_pipeline.cli.choice import Report as Report
from dataset_pipeline.cli.fetch import fetch
from dataset_pipeline.cli.gaps import gap_lines
from dataset_pipeline.cli.lost import lost_files, refuse_lost_sources
from dataset_pipeline.cli.outputs import without_personal_data
from dataset_pipeline.cli.plan_words import effort_words, plan_lines, ranges_in_words
from dataset_pipeline.cli.rolling import release_words, rolled_back
from dataset_pipeline.cli.summary import first_rejects, funnel, relative, summarize, warnings
from dataset_pipeline.errors import BadDay, PipelineError, SpecError, WarehouseBusy, WarehouseVersion
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import ANNOTATIONS, PROTECTED, RELEASE, REPORT, Step
from dataset_pipeline.spec.load import read_project
from dataset_pipeline.spec.meaning import semantic_problems
from dataset_pipeline.spec.places import is_fetched
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.locks import hold_run_lock, release_run_lock

if TYPE_CHECKING:
    from dataset_pipeline.cli.orchestrator import Orchestrator


def run(spec: Path, as_json: bool, choice: Choice) -> int:
    """Make what is missing or stale. Returns the exit code."""
    out = show.console(as_json)
    choice.check_days()
    report = Report()
    if choice.night is None:
        return _command(spec, as_json, choice, out, report)
    return nights.watched(
        spec, choice.night, out, report, lambda: _command(spec, as_json, choice, out, report)
    )


def _command(spec: Path, as_json: bool, choice: Choice, out: Console, report: Report) -> int:
    steps = choice.steps()
    project = read_project(spec)
    must_fetch = any(is_fetched(source) for source in project.spec.sources)
    if not must_fetch or semantic_problems(project.spec, project.path.name):
        checked_project(spec)
    hold_run_lock(project.warehouse_path, on_wait=out.print)
    try:
        if must_fetch:
            report.not_fetched += fetch(project, out)
        project = checked_project(spec)
        # After the wait for another run: what was seen before it may be gone.
        code = _run(context_of(project, choice.night), out, as_json, choice, steps, report)
        if choice.night is not None:
            nights.check(project, choice.night, out)
        return code
    finally:
        release_run_lock(project.warehouse_path)


def _run(
    context: Context, out: Console, as_json: bool, choice: Choice, steps: list[str], report: Report
) -> int:
    started = clock.now()
    for note in context.found.notes:
        out.print(f"note: {note}")
    status = status_of(context)
    stretches = ranges(days_to_make(status, choice)) if steps else []
    latest = context.warehouse.latest()
    is_current = is_released(context, latest, release_recipe(context, latest, status))
    is_settled = not status.inputs_of(State.MISSING, State.STALE)
    if not stretches and is_current and is_settled and is_reported(context, latest):
        what = "what was asked for" if status.of(State.MISSING, State.STALE) else "every day"
        version = releases.latest_version(context.project.releases_path)
        out.print(
            f"Nothing to do: {what} is up to date and release {release_words(context, version)} holds it."
        )
    else:
        _print_plan(out, status, stretches, is_current)
        for line in gap_lines(status, _flat(stretches)):
            out.print(f"  {line}")
        out.print(f"  in all {effort_words(effort(context, status, _flat(stretches), steps))}")
        make(context, out, stretches, steps, choice, report)
    for line in housekeeping(context, started).words:
        out.print(line)
    report.failures += rescanning.after_run(context, out, choice.night is not None)
    return _finish(context, out, as_json, report)


def days_to_make(status: Status, choice: Choice) -> list[dt.date]:
    """The chosen days from the first unfinished one among them on."""
    unfinished = choice.days(status.days_of(State.STALE, State.MISSING))
    return [day for day in choice.days(_flat(status.stretches())) if unfinished and day >= unfinished[0]]


def _flat(stretches: list[tuple[dt.date, dt.date]]) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for first, last in stretches for n in range((last - first).days + 1)]


def _print_plan(
    out: Console, status: Status, stretches: list[tuple[dt.date, dt.date]], is_current: bool
) -> None:
    out.print("Plan:")
    for steps, words in plan_lines(status):
        out.print(f"  {steps}: {words}")
    for first, last in stretches:
        out.print(f"  make {show.day_range(first, last)}, then release")
    if people := [name for name in status.inputs_of(State.MISSING, State.STALE) if name != PROTECTED]:
        out.print(f"  and what {' and '.join(people)} change of other days")
    if not stretches:
        out.print("  release" + (" (up to date)" if is_current else ""))


def make(
    context: Context,
    out: Console,
    stretches: list[tuple[dt.date, dt.date]],
    steps: list[str],
    choice: Choice,
    report: Report,
) -> None:
    out.print("starting Dagster")
    from dataset_pipeline.cli.orchestrator import Orchestrator

    bars = show.Bars(out, len(stretches) * len(steps) + 2)
    before = context.warehouse.latest()
    token = REPORTER.set(bars)
    try:
        with Orchestrator(context) as orchestrator, bars:
            _make_days(context, orchestrator, steps, choice, report)
            is_released = not report.failures and (not report.bad or _has_moved(context, before))
            results = orchestrator.materialize([RELEASE, REPORT] if is_released else [REPORT])
            _note_failure(report, results)
            if is_released and any(isinstance(result, PipelineError) for result in results):
                _note_failure(report, orchestrator.materialize([REPORT]))  # what waits is told all the same
    finally:
        REPORTER.reset(token)
        report.seconds = bars.seconds


MAX_ROUNDS = 4
"""A verdict can name a record that only this run collects, an erased record a copy on another day: two rounds
settle that, and a fault of ours ends after four."""


def _make_days(
    context: Context, orchestrator: Orchestrator, steps: list[str], choice: Choice, report: Report
) -> None:
    """Make the inputs, then the days; again where the records collected meanwhile give an input another meaning."""
    for number in range(MAX_ROUNDS):
        todo = [name for name in stale_inputs(context) if name not in report.refused]
        if number and not todo:
            return
        _make_inputs(context, orchestrator, todo, report)
        if report.failures or not steps:
            return
        days = [day for day in days_to_make(status_of(context), choice) if day not in report.bad]
        _make_stretches(context, orchestrator, ranges(days), steps, report)
        if report.failures:
            return
    if left := [name for name in stale_inputs(context) if name not in report.refused]:
        report.failures.append(
            f"{', '.join(left)} still change what they mean after {MAX_ROUNDS} rounds: run again."
        )


def _make_inputs(context: Context, orchestrator: Orchestrator, names: list[str], report: Report) -> None:
    """Make inputs. Annotations whose gate is closed leave the last good ones in use."""
    for error in orchestrator.materialize(names):
        is_spared = isinstance(error, GateClosed) and error.step == ANNOTATIONS
        if is_spared and (ANNOTATIONS, None) in context.warehouse.latest():
            report.refused[ANNOTATIONS] = f"{error}\nThe annotations published before are used."
        else:
            _note_failure(report, [error])


def _has_moved(context: Context, before: Latest) -> bool:
    """Whether a bad day left something new to release: else the last release stays as it is."""
    now = context.warehouse.latest()
    if (RELEASE, None) not in now:
        return any(step == Step.SPLIT for step, _ in now)
    return any(p != before.get(key) for key, p in now.items() if key[0] == Step.SPLIT)


def _make_stretches(
    context: Context,
    orchestrator: Orchestrator,
    stretches: list[tuple[dt.date, dt.date]],
    steps: list[str],
    report: Report,
) -> None:
    """Make each stretch; a bad day is set aside and what is left of its stretch is made again."""
    todo = list(stretches)
    while todo and not report.failures:
        first, last = todo.pop(0)
        results = orchestrator.materialize(steps, (first, last))
        error = next((r for r in results if isinstance(r, PipelineError)), None)
        if error is None:
            continue
        if not isinstance(error, BadDay):
            _note_failure(report, results)
            return
        days = _flat([(first, last)])
        bad = {d: error.days[str(d)] for d in days if str(d) in error.days} or {d: [str(error)] for d in days}
        report.bad |= {
            day: [f"{error.step}: {text}" if not isinstance(error, GateClosed) else text for text in texts]
            for day, texts in bad.items()
        }
        report.lost |= lost_files(context, error)
        refuse_lost_sources(context, report.lost)
        todo = ranges([d for d in days if d not in report.bad]) + todo


def _note_failure(report: Report, results: list[Outcome | PipelineError]) -> None:
    for result in results:
        if isinstance(result, WarehouseBusy | WarehouseVersion | SpecError):
            raise result  # not a step's failure: it has an exit code of its own
        if isinstance(result, PipelineError):
            report.failures.append(str(result))


# --- the end ------------------------------------------------------------------------------


def _by_reason(bad: dict[dt.date, list[str]]) -> dict[str, list[dt.date]]:
    """Each reason once, with the days it set aside."""
    days: dict[str, list[dt.date]] = {}
    for day, reasons in sorted(bad.items()):
        for reason in reasons:
            days.setdefault(reason, []).append(day)
    return days


def _finish(context: Context, out: Console, as_json: bool, report: Report) -> int:
    status = status_of(context)
    with context.warehouse.reading():  # and not while printing: whoever reads our output may take a while
        summary = report.summary = summarize(context, status, report.seconds)
        report.judged = held(context, status)
        rows = funnel(context, summary)
        lines = [*(f"warning: {line}" for line in warnings(context, status)), *first_rejects(context)]
        back = release_words(context, Path(summary["release"]).name) if rolled_back(context) else ""
    if summary["ingested"] or summary["rejected"]:
        show.print_funnel(out, summary["ingested"], summary["rejected"], rows)
    checks = summary["checks"]
    out.print(f"checks: {checks['passed']} passed, {checks['warned']} warned, {checks['failed']} failed")
    for line in lines:
        out.print(f"  {line}")
    for reason, days in _by_reason(report.bad).items():
        out.print(f"bad {'day' if len(days) == 1 else 'days'} {ranges_in_words(days)}: {reason}")
    for failure in [*report.refused.values(), *report.failures]:
        out.print(failure)
    for failure in report.not_fetched:
        out.print(f"not fetched: {failure}")
    for word in ("missing", "stale"):
        if summary[f"{word}_days"]:
            out.print(f"{word} days: {', '.join(summary[f'{word}_days'])}")
    if summary["release"]:
        splits = ", ".join(f"{name} {n}" for name, n in summary["released"].items())
        out.print(f"release: {relative(Path(summary['release']))} ({splits})")
        if back:
            out.print(f"release: {back}")
    else:
        out.print("no release yet")
    for version, sets in summary.get("contaminated_releases", {}).items():
        counts = ", ".join(f"{name} {n}" for name, n in sets.items())
        out.print(f"release {version} holds items of {counts} (`dataset-pipeline rescan {version}`)")
    if as_json:
        print(json.dumps(without_personal_data(summary), sort_keys=True))
    return 1 if report.bad or report.failures or report.refused or report.not_fetched else 0
