"""One execution of a step under Dagster: its checks as events, and what became of it.

Lives here: from an outcome or an error to what Dagster is told. Keep out: the assets themselves (`graph`), numbers and tables
that are attached to them (`metadata`).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, Outcome, check_rows, context_of
from dataset_pipeline.errors import PipelineError, StepFailed, disk_full, fault_words
from dataset_pipeline.expectations.gate import Judgement
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.judgements import judgements
from dataset_pipeline.storage.publishing import CheckRow, Day
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms.redaction import shown

MAX_LISTED = 31
"""Days, records and culprits that a check names; one with more says how many."""

RESULTS: dict[str, list[Outcome | PipelineError]] = {}
"""What the steps of a run in this process did, by run id: the command line's funnel reads it."""


class Run:
    """One execution of a step under Dagster: its work context, its outcome, and its checks as events."""

    def __init__(self, context: dg.AssetExecutionContext, step: str, project: Project):
        self.context, self.step = context, step
        self.project = project
        self.work: Context
        self.outcome: Outcome

    def checks(self, do: Any) -> Iterator[dg.AssetCheckResult]:
        """Run the step and yield its checks; a closed gate yields them too, then fails the step.

        Checks come before the result: a blocking check on a returned output would not stop Dagster
        from recording the materialization.
        """
        results = RESULTS.setdefault(self.context.run_id, [])
        failure = ""
        judged: Sequence[Judgement] = ()
        try:
            self.work = context_of(self.project)
            self.outcome = do(self.work)
        except GateClosed as closed:
            results.append(closed)
            failure = f"The gate of {self.step} is closed; nothing was published.\n{shown(str(closed))}"
            judged = closed.judgements
        except PipelineError as error:
            results.append(error)
            failure = _words(self.step, error)
        except Exception as error:
            failure = _words(self.step, error)
            results.append(disk_full(error) or StepFailed(failure))
        if failure:
            # Raised out here: an exception keeps the one it was raised from, and a fault of ours could
            # carry text of a record into Dagster's event log.
            yield from map(_check_result, check_rows(self.step, judged))
            raise dg.Failure(failure, allow_retries=False)
        results.append(self.outcome)
        for note in self.outcome.notes:
            self.context.log.info(shown(note))
        rows = check_rows(self.step, self.outcome.judgements) or stored_checks(
            self.work.warehouse, self.step, self.outcome.days
        )
        yield from map(_check_result, rows)


def guarded(make: Callable[[dg.AssetExecutionContext], Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The body of an asset whose errors reach Dagster in words of ours only: what it stores of an exception is its message, and the
    message of a fault may hold text of a record."""

    @functools.wraps(make)
    def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
        try:
            yield from make(context)
            return
        except dg.Failure:
            raise
        except Exception as error:
            failure = _words(context.asset_key.to_user_string(), error)
        raise dg.Failure(failure, allow_retries=False)

    return body


def _words(step: str, error: Exception) -> str:
    if isinstance(error, PipelineError):
        return shown(str(error))
    return str(disk_full(error) or f"{step}: {fault_words(error)}")


def stored_checks(warehouse: Warehouse, step: str, days: Sequence[Day]) -> list[CheckRow]:
    """What was judged of the published rows of `days`, for a step that was up to date.

    An expectation that was never judged on these rows is not passed: it says so, as a warning.
    """
    known = {row.name: row for row in judgements(warehouse, step, days)}
    unjudged = json.dumps(
        {"observed": "not judged yet on these rows", "limit": "", "culprits": [], "record_ids": []}
    )
    return [
        known.get(e.name) or CheckRow(step, e.name, e.severity, e.frame, False, True, unjudged, ())
        for e in EXPECTATIONS[step]
    ]


def _plotted(observed: str) -> dict[str, float]:
    """What was observed as numbers, which Dagster plots over runs: `0.02` is `0.02 to 0.02`. Words are not plotted."""
    try:
        ends = [float(part) for part in observed.split(" to ")]
    except ValueError:
        return {}
    return {"lowest": ends[0], "highest": ends[-1]} if all(map(math.isfinite, ends)) else {}


def _listed(values: Sequence[object]) -> str:
    more = f", and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return ", ".join(map(str, values[:MAX_LISTED])) + more


def _check_result(row: CheckRow) -> dg.AssetCheckResult:
    observed = json.loads(row.observed)
    critical = row.severity == "critical" and not row.is_warning
    metadata: dict[str, Any] = {
        "observed": observed["observed"],
        **_plotted(str(observed["observed"])),
        "severity": row.severity,
    }
    if observed["limit"]:
        metadata["limit"] = observed["limit"]
    # As text: the page of a check hides JSON and tables behind a click.
    named = {"culprits": observed.get("culprits"), "record_ids": observed.get("record_ids"), "days": row.days}
    metadata |= {name: _listed(values) for name, values in named.items() if values}
    return dg.AssetCheckResult(
        check_name=row.name,
        asset_key=str(row.step),
        passed=row.passed,
        severity=dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )
