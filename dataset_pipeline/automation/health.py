"""The checks `up_to_date` (every asset) and `fresh` (every source): what `status` says, where the UI shows it.

Lives here: the checks, the job `health` that evaluates them all, and evaluating them at the end of a night. Keep out: what is
stale and why (`assets.plan`), which file was due (`freshness`). Neither check blocks: they warn.
"""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` as a type.

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dataset_pipeline import clock
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.graph import POOL
from dataset_pipeline.assets.plan import State, Status, missing_days, ranges, stale_days, status_of
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.assets.reporting import is_reported
from dataset_pipeline.automation.arrivals import fresh_metadata
from dataset_pipeline.automation.freshness import Freshness, due_day, freshness, read_again
from dataset_pipeline.automation.instance import ensure_home
from dataset_pipeline.errors import PipelineError
from dataset_pipeline.records import DAILY_STEPS, INPUTS, RELEASE, REPORT
from dataset_pipeline.spec.load import Project
from dataset_pipeline.transforms.redaction import shown

UP_TO_DATE, FRESH, JOB = "up_to_date", "fresh", "health"
REMEDY = "dataset-pipeline run"
_TAGS = {"dagster/max_retries": "0", "dagster/max_runtime": "600"}
"""Of the run that keeps a night's results: Dagster could not try it again, and ends it where its process died."""
_REASONS = 8
_RANGES = 6
_REASON_CHARS = 300


@dataclass(frozen=True)
class Health:
    """What `up_to_date` says of one asset.

    states: state to the number of days (1 for what has no days). days: those not published, as ranges. reasons: each once.
    """

    asset: str
    states: Mapping[str, int]
    days: Sequence[dt.date]
    reasons: Sequence[str]

    @property
    def is_good(self) -> bool:
        return not self.reasons and set(self.states) <= {State.PUBLISHED.value}

    @property
    def words(self) -> str:
        """One line for a person."""
        if self.is_good:
            return f"{self.asset}: up to date"
        counts = ", ".join(f"{n} {state}" for state, n in self.states.items() if state != State.PUBLISHED)
        on = f" ({_in_ranges(self.days)})" if self.days else ""
        why = "; ".join(self.reasons[:3]) + (
            f"; and {len(self.reasons) - 3} more reasons" if len(self.reasons) > 3 else ""
        )
        return f"{self.asset}: {counts or 'stale'}{on}: {why}"


def health_of(context: Context, status: Status | None = None) -> list[Health]:
    """Every asset but the sources, in the order of the graph. status: that of `context` where the caller has it already."""
    status = status_of(context) if status is None else status
    with context.warehouse.reading():
        latest = context.warehouse.latest()
        released = is_released(context, latest, release_recipe(context, latest, status))
        reported = is_reported(context, latest)
    found = []
    for step in (*INPUTS, *map(str, DAILY_STEPS)):
        entries = [entry for entry in status.entries if entry.step == step]
        unfinished = [entry for entry in entries if entry.state is not State.PUBLISHED]
        found.append(
            Health(
                step,
                {s.value: n for s in State if (n := sum(entry.state is s for entry in entries))},
                [entry.day for entry in unfinished if entry.day is not None],
                _once(reason for entry in unfinished for reason in entry.reasons),
            )
        )
    left = sorted({*missing_days(status), *stale_days(status)})
    why = [] if released else [_why_unreleased((RELEASE, None) in latest)]
    why += ["days are missing in it, or released with their older rows"] if left else []
    found.append(_undated(RELEASE, (RELEASE, None) in latest, left, why))
    why = (
        [] if reported else ["what is published has changed since the report was made, or its files are gone"]
    )
    found.append(_undated(REPORT, (REPORT, None) in latest, [], why))
    return found


def _undated(name: str, is_published: bool, days: Sequence[dt.date], why: list[str]) -> Health:
    state = State.MISSING if not is_published else State.STALE if why else State.PUBLISHED
    return Health(name, {state.value: 1}, days, why)


def _why_unreleased(is_published: bool) -> str:
    if not is_published:
        return "never released"
    return "what is published, or the spec, has changed since, or `latest` does not point at it"


def _once(reasons: Iterator[str]) -> list[str]:
    """Each reason once, first those that say what happened, then those that only pass it on."""
    seen = list(dict.fromkeys(reasons))
    return sorted(seen, key=lambda reason: reason.endswith("not up to date"))


def _in_ranges(days: Sequence[dt.date]) -> str:
    words = [f"{first}" if first == last else f"{first} to {last}" for first, last in ranges(set(days))]
    more = f" and {len(words) - _RANGES} more stretches" if len(words) > _RANGES else ""
    return ", ".join(words[:_RANGES]) + more


# --- under Dagster ------------------------------------------------------------------------


def build_checks(project: Project, until: dt.date | None = None) -> list[dg.AssetChecksDefinition]:
    """One op that evaluates `up_to_date` of every asset and `fresh` of every source, from one look at everything.

    until: the day of a night; without it the calendar ends with the last file, as in `status`. The spec is read again when they
    are evaluated: definitions may be older than it is.
    """

    @dg.multi_asset_check(name=f"{JOB}_checks", specs=_specs(project), can_subset=True, pool=POOL)
    def health(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = context.selected_asset_check_keys
        failure = ""
        try:
            results = list(_results(*_look(read_again(project), until)))
        except PipelineError as error:
            failure = shown(str(error))
        except Exception as error:  # its message is not shown: it may hold text of a record
            failure = f"health: failed with a fault of its own: {type(error).__name__}."
        if failure:
            raise dg.Failure(failure, allow_retries=False)
        yield from (
            result
            for result in results
            if any(key.asset_key == result.asset_key and key.name == result.check_name for key in wanted)
        )

    return [health]


def build_health_job(checks: Sequence[dg.AssetChecksDefinition]) -> Any:
    """The job `health`: these checks (`build_checks`) and nothing else."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.checks(*checks),
        description="Says of every asset whether it is up to date, and of every source whether its nightly file came. Makes nothing.",
    )


def evaluate(project: Project, until: dt.date | None = None) -> list[str]:
    """Evaluate every check in this process and keep the results in the project's Dagster instance, as a run of `health`.

    until: the day of a night. Returns what is not well, a line each. Raises what `context_of` raises.
    """
    looked = _look(project, until)
    results = list(_results(*looked))

    @dg.multi_asset_check(name=f"{JOB}_checks", specs=_specs(project))
    def health() -> Iterator[dg.AssetCheckResult]:
        yield from results

    ensure_home(project.dagster_home, project.spec.schedule)
    definitions = dg.Definitions(asset_checks=[health], jobs=[build_health_job([health])])
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        definitions.resolve_job_def(JOB).execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags=_TAGS,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    health_lines = [one.words for one in looked[0] if not one.is_good]
    return health_lines + [one.words for one in looked[1] if not one.is_fresh]


def _specs(project: Project) -> list[dg.AssetCheckSpec]:
    return [
        *(
            dg.AssetCheckSpec(
                UP_TO_DATE,
                asset=name,
                blocking=False,
                description="Nothing of it is missing or stale, as `dataset-pipeline status` says. (warning)",
            )
            for name in (*INPUTS, *map(str, DAILY_STEPS), RELEASE, REPORT)
        ),
        *(
            dg.AssetCheckSpec(
                FRESH,
                asset=["source", source.name],
                blocking=False,
                description="Its newest file is of the day that was due (`max_age_days`), where one is expected daily. (warning)",
            )
            for source in project.spec.sources
        ),
    ]


def _look(project: Project, until: dt.date | None) -> tuple[list[Health], list[Freshness]]:
    """What every check says."""
    context = context_of(project, until)
    due = until or due_day(project.spec.schedule.cron, clock.now())
    return health_of(context), freshness(project, context.found.files, due)


def _results(assets: Sequence[Health], sources: Sequence[Freshness]) -> Iterator[dg.AssetCheckResult]:
    for one in assets:
        metadata: dict[str, Any] = dict(one.states)
        if not one.is_good:
            metadata["reasons"] = dg.MetadataValue.json(
                [shown(why)[:_REASON_CHARS] for why in one.reasons[:_REASONS]]
            )
            metadata["remedy"] = REMEDY
        if one.days:
            metadata["days"] = _in_ranges(one.days)
        yield dg.AssetCheckResult(
            asset_key=one.asset, check_name=UP_TO_DATE, passed=one.is_good, severity=dg.AssetCheckSeverity.WARN,
            description=shown(one.words)[:_REASON_CHARS], metadata=metadata,
        )  # fmt: skip
    for source in sources:
        yield dg.AssetCheckResult(
            asset_key=["source", source.source], check_name=FRESH, passed=source.is_fresh,
            severity=dg.AssetCheckSeverity.WARN, description=source.words, metadata=fresh_metadata(source),
        )  # fmt: skip
