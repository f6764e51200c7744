"""One execution of a step under Dagster: its checks as events, and what became of it.

Lives here: from an outcome or an error to what Dagster is told. Keep out: the assets themselves (`graph`), numbers and tables
that are attached to them (`metadata`).
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, Outcome, check_rows, context_of
from dataset_pipeline.errors import PipelineError, StepFailed, disk_full
from dataset_pipeline.expectations.gate import Judgement
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.judgements import judgements
from dataset_pipeline.storage.publishing import CheckRow, Day
from dataset_pipeline.storage.warehouse import Warehouse

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
            failure, judged = (
                f"The gate of {self.step} is closed; nothing was published.\n{closed}",
                closed.judgements,
            )
        except PipelineError as error:
            results.append(error)
            failure = str(error)
        except Exception as error:
            full = disk_full(error)
            failure = str(full) if full else _fault(self.step, error)
            results.append(full or StepFailed(failure))
        if failure:
            # Raised out here: an exception keeps the one it was raised from, and a fault of ours could
            # carry text of a record into Dagster's event log.
            yield from map(_check_result, check_rows(self.step, judged))
            raise dg.Failure(failure, allow_retries=False)
        results.append(self.outcome)
        for note in self.outcome.notes:
            self.context.log.info(note)
        rows = check_rows(self.step, self.outcome.judgements) or stored_checks(
            self.work.warehouse, self.step, self.outcome.days
        )
        yield from map(_check_result, rows)


def _fault(step: str, error: Exception) -> str:
    """A fault of ours in words without its message, which may quote a record: kind and place."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{step}: failed with a fault of its own: {type(error).__name__} "
        f"at {Path(place.filename).name}:{place.lineno}. Its message is not shown: it may hold text of a record."
    )


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
