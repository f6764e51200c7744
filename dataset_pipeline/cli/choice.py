"""What `run` was asked for, and what has happened so far.

Lives here: the two records that the parts of `run` hand on. Keep out: planning and making (`running`), options (`main`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dataset_pipeline.cli.lost import Lost
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import DAILY_STEPS, RELEASE
from dataset_pipeline.storage.publishing import CheckRow


@dataclass(frozen=True)
class Choice:
    """What of the plan the user asked for."""

    first: dt.date | None = None
    last: dt.date | None = None
    select: str | None = None
    night: dt.date | None = None
    """The day that is over: made too, file or not. None outside of a night."""

    def days(self, days: Iterable[dt.date]) -> list[dt.date]:
        return [
            d
            for d in days
            if (self.first is None or d >= self.first) and (self.last is None or d <= self.last)
        ]

    def steps(self) -> list[str]:
        """The daily steps to run. Raises SpecError for a step that does not exist."""
        if self.select is None:
            return [str(step) for step in DAILY_STEPS]
        names = [str(step) for step in DAILY_STEPS]
        if self.select == RELEASE:
            return []
        if self.select not in names:
            raise SpecError(
                [
                    Problem(
                        "--select",
                        f"no step is called {self.select!r}.",
                        f"Steps: {', '.join([*names, RELEASE])}.",
                    )
                ]
            )
        return names[names.index(self.select) :]

    def check_days(self) -> None:
        """Raises SpecError where the days run backwards, or a night is asked for together with a part of the plan."""
        if self.night is not None and (self.first, self.last, self.select) != (None, None, None):
            what = "makes all that is not up to date, and was given with --from, --to or --select."
            raise SpecError([Problem("--night", what, "Leave it out, or them.")])
        if self.first is not None and self.last is not None and self.first > self.last:
            raise SpecError([Problem("--from", f"{self.first} is after --to {self.last}.", "Swap the two.")])


@dataclass
class Report:
    """What happened so far: bad days with their reasons, the error that ended it, seconds by step."""

    bad: dict[dt.date, list[str]] = field(default_factory=dict)
    lost: Lost = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Inputs whose gate is closed while an earlier publication of them is used."""
    not_fetched: list[str] = field(default_factory=list)
    """What did not answer: what was fetched from there before is used."""
    seconds: dict[str, float] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    """The line of --json; empty where the run did not come that far."""
    judged: list[CheckRow] = field(default_factory=list)
