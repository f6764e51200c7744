"""Running a step: plan, claim, compute, stage, judge, publish. What Dagster's assets call.

Lives here: the order of these six and what a step's outcome is. Keep out: what is appended to
`publications` (`ledger`), Dagster itself (`graph`), so that a step runs and is tested without it.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes, schemes
from dataset_pipeline.assets.context import Context, Work
from dataset_pipeline.assets.differences import attempts, settings_of
from dataset_pipeline.assets.ledger import Files, file_map, publications, reads_of
from dataset_pipeline.assets.recipes import Recipe
from dataset_pipeline.assets.steps import work
from dataset_pipeline.assets.undated import UNDATED_OF, Undated
from dataset_pipeline.errors import BadDay, Problem, SpecError
from dataset_pipeline.expectations.gate import Judgement, adjusted, judge, observed_json
from dataset_pipeline.expectations.suites import EXPECTATIONS, SUITES
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import (
    ANNOTATIONS,
    EXTRA_TABLES,
    LOOK_BACK_STEPS,
    REVIEWS,
    Step,
)
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import AnnotationsParams, ReviewsParams
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import CheckRow, Claim, Day
from dataset_pipeline.storage.rewriting import days_without_texts
from dataset_pipeline.storage.sources import discover
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms.redaction import shown, shown_json


@dataclass(frozen=True)
class DayCounts:
    """What a step did with one day."""

    rows: int
    kept: int
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Outcome:
    """What a run of one step did: days published, days that were up to date, judgements."""

    step: str
    days: tuple[Day, ...]
    published: tuple[Day, ...]
    counts: Mapping[Day, DayCounts]
    judgements: tuple[Judgement, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    recipes: Mapping[Day, str] = field(default_factory=dict)

    @property
    def is_noop(self) -> bool:
        return not self.published


class GateClosed(BadDay):
    """A critical expectation failed: nothing of the step was published."""

    def __init__(self, step: str, days: Sequence[Day], judgements: Sequence[Judgement], note: str = ""):
        self.judgements, self.note = tuple(judgements), note
        blocking = [j for j in judgements if j.blocks]
        wanted = [str(day) for day in days]
        blamed: dict[str, list[str]] = {}
        for judgement in blocking:
            named = [day for day in judgement.days if day in wanted] or wanted
            for day in named:
                blamed.setdefault(day, []).append(shown(judgement.message(step)))
        super().__init__(step, blamed)

    def __str__(self) -> str:
        messages = dict.fromkeys(m for texts in self.days.values() for m in texts)
        return "\n".join([*messages, *([self.note] if self.note else [])])


def context_of(project: Project, until: dt.date | None = None) -> Context:
    """What steps work with: discovered files with their hashes, and an initialized warehouse.

    until: the day of a night, which is made whether or not a file has come.
    Raises SpecError with every problem of the files at once.
    """
    found = discover(project)
    problems = [*found.problems, *gate_problems(project)]
    if problems:
        raise SpecError(problems)
    hashes = {file.uri: _sha256(file.path) for file in found.files}
    warehouse = Warehouse(project.warehouse_path)
    warehouse.initialize()
    return Context(project, project.params, warehouse, found, hashes, until)


def gate_problems(project: Project) -> Iterator[Problem]:
    """Gates of the spec that name no step or expectation, change a fixed one, or give a limit to one that has none."""
    for step, gates in project.spec.gates.items():
        place = f"{project.path.name}: gates.{step}"
        if step not in EXPECTATIONS:
            yield Problem(place, "no step is called so.", f"Steps: {', '.join(map(str, EXPECTATIONS))}.")
            continue
        known = {e.name: e for e in EXPECTATIONS[step]}
        for name, gate in gates.items():
            if name not in known:
                yield Problem(
                    f"{place}.{name}", "the step has no such expectation.", f"It has: {', '.join(known)}."
                )
                continue
            limits = known[name]
            if limits.is_fixed:
                why = f": {limits.why_fixed}" if limits.why_fixed else ""
                yield Problem(f"{place}.{name}", f"is fixed{why}.", "Remove it, and mend what it finds.")
                continue
            for word, given, own in (("min", gate.min, limits.minimum), ("max", gate.max, limits.maximum)):
                if given is not None and own is None:
                    yield Problem(
                        f"{place}.{name}.{word}", "the expectation has no such limit.", "Remove it."
                    )
            if gate.min is None and gate.max is None and gate.severity is None:
                yield Problem(
                    f"{place}.{name}", "changes nothing.", "Give min, max or severity beside the reason."
                )


_HASHES: dict[tuple[str, int, int, int, int], str] = {}


def _sha256(path: Path) -> str:
    """The hash of a file, taken once per process while its size and modification time stay.

    ingest hashes what it reads again, so a file that changes behind an equal time stamp is refused there.
    """
    facts = path.stat()
    key = (str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if key not in _HASHES:
        _HASHES[key] = readers.file_sha256(path)[0]
    return _HASHES[key]


def run_step(
    context: Context, step: Step, days: Sequence[dt.date], run_id: str, is_again: bool = False
) -> Outcome:
    """Make `days` of `step`: all of them or none.

    Days whose recipe is the published one are left alone, unless `is_again`: texts that retention has taken out
    come back so, under the same recipe. Raises BadDay (a file is no batch),
    GateClosed (a critical expectation failed; the staged rows stay for inspection), StalePublish.
    """
    started = time.monotonic()
    hold_run_lock(context.warehouse.path)
    warehouse, days = context.warehouse, tuple(sorted(days))
    latest = warehouse.latest()
    undated = Undated(context, latest)
    todo = days if is_again else _todo(context, undated, step, days, latest)
    if _bring_texts_back(context, step, todo, run_id):
        latest = warehouse.latest()
        undated = Undated(context, latest)
        todo = days if is_again else _todo(context, undated, step, days, latest)
    older = _older_inputs(context, undated, step, days, latest)
    if not todo:
        seconds = time.monotonic() - started
        REPORTER.get().step_finished(step, seconds, 0, 0, "; ".join(older) or "up to date")
        return Outcome(step, days, (), {}, (), seconds, (*older, "up to date: the same recipe is published"))
    REPORTER.get().step_started(step, len(todo))
    claim = warehouse.claim(step, todo, run_id)
    staging = Staging(warehouse, claim)
    done = work(context, undated, step, todo, staging)
    REPORTER.get().phase(step, "staging")
    staging(done.tables)
    staged, extras = staged_tables(warehouse, claim)
    REPORTER.get().phase(step, "gate")
    judgements = _judge(context, step, done, staged, extras)
    checks = check_rows(step, judgements)
    if any(j.blocks for j in judgements):
        warehouse.record_checks(checks, todo, run_id, attempts=attempts(context, undated, step, todo, latest))
        raise GateClosed(step, todo, judgements)
    REPORTER.get().phase(step, "publishing")
    done.commit()
    if done.lock is not None:
        undated.lock = done.lock
    appended, unchanged = publications(context, undated, step, todo, done, staged, extras, latest, is_again)
    if appended:
        warehouse.publish(
            claim, appended, reads_of(step, todo, latest), checks, unchanged,
            settings=settings_of(context, step, todo), seconds=time.monotonic() - started,
        )  # fmt: skip
    counts: dict[Day, DayCounts] = {day: _counts(staged, day) for day in todo}
    seconds = time.monotonic() - started
    rows, kept = sum(c.rows for c in counts.values()), sum(c.kept for c in counts.values())
    notes = (*older, *done.notes)
    REPORTER.get().step_finished(step, seconds, rows, kept, "; ".join(notes))
    return Outcome(
        step, days, tuple(p.day for p in appended), counts, tuple(judgements), seconds, notes,
        {p.day: p.recipe for p in appended},
    )  # fmt: skip


def _bring_texts_back(context: Context, step: Step, days: tuple[dt.date, ...], run_id: str) -> bool:
    """Read the raw files of days again whose texts retention has taken out, if `step` needs them."""
    lost = days_without_texts(context.warehouse, days, step)
    if not lost:
        return False
    REPORTER.get().phase(step, f"reading {len(lost)} days again: their texts were not kept")
    run_step(context, Step.INGEST, lost, run_id, is_again=True)
    if list(Step).index(step) > list(Step).index(Step.NORMALIZE):
        run_step(context, Step.NORMALIZE, lost, run_id, is_again=True)
    return True


def _older_inputs(
    context: Context, undated: Undated, step: Step, days: tuple[dt.date, ...], latest: recipes.Latest
) -> tuple[str, ...]:
    """A note for each earlier step whose newest rows were not published: its last good rows are used."""
    files, steps, past = file_map(context), list(Step), recipes.Past(latest)
    notes = []
    for before in steps[: steps.index(step)]:
        stale = [
            str(day)
            for day in days
            if (p := latest.get((before, day))) is not None
            and (now := _recipe(context, undated, before, day, past, files)) is not None
            and p.recipe != now.hash
        ]
        if stale:
            notes.append(
                f"uses the last good rows of {before} for {', '.join(stale[:10])}: they are not up to date"
            )
    return tuple(notes)


def _recipe(
    context: Context, undated: Undated, step: Step, day: dt.date, past: recipes.Past, files: Files
) -> Recipe | None:
    reads = undated.reads(step, day)
    return recipes.day_recipe(context.params, step, day, past.latest, files, reads, past)


def _unmade_inputs(context: Context, step: Step, latest: recipes.Latest) -> list[str]:
    """The inputs that the spec names for `step` and that nobody has made yet: without them a record that somebody
    had erased would be collected again."""
    named = {
        REVIEWS: cast(ReviewsParams, context.params[REVIEWS]).paths,
        ANNOTATIONS: cast(AnnotationsParams, context.params[ANNOTATIONS]).sets,
    }
    return [name for name in UNDATED_OF[step] if named.get(name) and (name, None) not in latest]


def _todo(
    context: Context, undated: Undated, step: Step, days: tuple[dt.date, ...], latest: recipes.Latest
) -> tuple[dt.date, ...]:
    """The days to compute: those whose recipe differs; for look-back steps all from the first such on."""
    files, past = file_map(context), recipes.Past(latest)
    stale: list[dt.date] = []
    missing: dict[str, list[str]] = {}
    if unmade := _unmade_inputs(context, step, latest):
        told = (
            f"{' and '.join(unmade)} must be made first: dataset-pipeline run does, or materialize them too"
        )
        raise BadDay(step, {day.isoformat(): [told] for day in days})
    for day in days:
        now = _recipe(context, undated, step, day, past, files)
        published = latest.get((step, day))
        if now is None:
            missing[day.isoformat()] = [
                "the step before has not published this day yet; run the whole graph for it"
            ]
        elif published is None or published.recipe != now.hash:
            stale.append(day)
    if missing:
        raise BadDay(step, missing)
    if stale and step in LOOK_BACK_STEPS:
        scheme = schemes.scheme_of(context.params[step], recipes.libraries(step))
        if others := schemes.other_schemes(latest, step, stale[0], scheme):
            refusal = schemes.refusal(step, others)
            raise BadDay(step, {day.isoformat(): [refusal] for day in days if day >= stale[0]})
        return tuple(day for day in days if day >= stale[0])
    return tuple(stale)


class Staging:
    """Stages a step's tables as they come, in parts or at once."""

    def __init__(self, warehouse: Warehouse, claim: Claim):
        self._warehouse, self._claim, self._is_first = warehouse, claim, True

    def __call__(self, tables: Mapping[str, pl.DataFrame]) -> None:
        self._warehouse.stage_part(self._claim, tables, self._is_first)
        self._is_first = False


def staged_tables(warehouse: Warehouse, claim: Claim) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """The staged rows as they would become visible: read back, not taken from memory.

    Of ingest without the texts, which may be larger than memory: a record's `content_sha` stands for them.
    """
    tables = {
        name: warehouse.staged(name, claim.token, with_text=name != Step.INGEST)
        for name in (claim.step, *EXTRA_TABLES.get(claim.step, ()))
    }
    return tables.pop(claim.step), tables


def _judge(
    context: Context, step: Step, done: Work, staged: pl.DataFrame, extras: dict[str, pl.DataFrame]
) -> list[Judgement]:
    suite = SUITES[step]
    expectations = adjusted(suite.expectations, context.params[step].gates)
    try:
        audit = done.audit(staged, extras)
        rows, gauges = suite.rows(audit), suite.gauges(audit)
    except Exception as error:
        # Pass means that no critical expectation failed: what could not be measured has failed.
        why = f"could not be measured ({type(error).__name__})"
        return [Judgement(e, False, False, why, (), ()) for e in expectations]
    return judge(expectations, rows, gauges)


def check_rows(step: str, judgements: Sequence[Judgement]) -> list[CheckRow]:
    """Judgements as rows of the `checks` table, which Dagster, the terminal and alarms show: names in them as they are shown."""
    return [
        CheckRow(
            step=step,
            name=j.expectation.name,
            severity=j.expectation.severity,
            frame=j.expectation.frame,
            passed=j.passed,
            is_warning=not j.passed and not j.blocks,
            observed=json.dumps(shown_json(json.loads(observed_json(j))), sort_keys=True),
            days=j.days,
        )
        for j in judgements
    ]


def _counts(staged: pl.DataFrame, day: dt.date) -> DayCounts:
    rows = staged.filter(pl.col("day") == day)
    dropped = rows.filter(~pl.col("kept"))["reason"].value_counts(sort=False)
    reasons = {str(reason): int(count) for reason, count in sorted(dropped.iter_rows(), key=str)}
    return DayCounts(rows.height, rows.filter("kept").height, reasons)
