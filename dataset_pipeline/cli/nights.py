"""What a night does besides what every run does: its checks at the end, and the alarm where it did not go well.

Lives here: `run --night`, around the plan that it shares with `run`. Keep out: planning and making (`running`), what a check
or an alarm says (`automation`).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dataset_pipeline import clock
from dataset_pipeline.cli.choice import Report
from dataset_pipeline.errors import PipelineError, Problem, SpecError, WarehouseBusy
from dataset_pipeline.spec.load import Project, read_project


def watched(spec: Path, night: dt.date, out: Console, report: Report, do: Callable[[], int]) -> int:
    """Do what `run` does, then look at the project as a whole, and tell its owners where something is wrong.

    Raises SpecError for a day that is not over yet.
    """
    from dataset_pipeline.automation.night import LATER_VARIABLE

    if night > clock.now().date():
        what = f"{night} is still to come: it would be published as a day without files."
        raise SpecError([Problem("--night", what, "Name a day that is over, or leave it out: yesterday.")])
    try:
        code = do()
    except PipelineError as error:
        # Dagster tries again where the warehouse is busy: nobody is woken before it gives up.
        if not (isinstance(error, WarehouseBusy) and LATER_VARIABLE in os.environ):
            _tell(spec, night, out, report, str(error))
        raise
    except Exception as error:
        # Its own message may quote a record.
        _tell(spec, night, out, report, f"run: failed with a fault of its own ({type(error).__name__}).")
        raise
    if code:
        _tell(spec, night, out, report)
    return code


def check(project: Project, night: dt.date, out: Console) -> None:
    """Record in Dagster what is up to date and which source sent its file, and say what is not well. Nothing fails by it."""
    from dataset_pipeline.automation import health

    try:
        lines = health.evaluate(project, night)
    except PipelineError as error:
        lines = [f"the checks of the night were not made: {error}"]
    except Exception as error:
        # The night is made and released by now: a fault here takes nothing from it, and its message may quote a record.
        lines = [f"the checks of the night were not made: a fault of their own ({type(error).__name__})."]
    for line in lines:
        out.print(f"check: {line}")


def _tell(spec: Path, night: dt.date, out: Console, report: Report, *failures: str) -> None:
    """Send the alarm. A spec that cannot be read names nobody: then the exit code and its words are all there is."""
    from dataset_pipeline.automation import alarm
    from dataset_pipeline.automation.night import TOLD_LINE

    try:
        project = read_project(spec)
    except (PipelineError, OSError):
        return
    composed = alarm.compose(
        project,
        title=f"the night of {night} did not go well",
        bad=report.bad,
        failures=[*report.failures, *failures],
        refused=report.refused,
        not_fetched=report.not_fetched,
        judged=report.judged,
        summary=report.summary,
        days=[night.isoformat()],
    )
    # As text of ours: it names the spec's owners, whose addresses are there to be read.
    alarm.send(project, composed, lambda line: out.print(Text(str(line))))
    out.print(TOLD_LINE)
