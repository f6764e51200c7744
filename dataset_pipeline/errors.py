"""Errors a user can mend. Each names the file, the culprit and the remedy; none needs a traceback.

Lives here: the exceptions that cross layers, with the exit code they end a command with.
Keep out: messages of one layer's own making; those are built where the culprit is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class PipelineError(Exception):
    """Something the user can mend. `exit_code` is what the command line ends with."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the spec or its files: where, what, and what to do."""

    place: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" {self.remedy}" if self.remedy else "")


class SpecError(PipelineError):
    """The spec, a file it names or the call is wrong. Holds every problem found."""

    exit_code = 2

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class WarehouseBusy(PipelineError):
    """Another process holds the warehouse; the bounded wait is over."""

    exit_code = 3


class WarehouseVersion(PipelineError):
    """The warehouse was written by another version of the project."""

    exit_code = 2


class StalePublish(PipelineError):
    """What a step read has been published anew since, or a newer run has claimed its days."""


class StepFailed(PipelineError):
    """A step ended with an error that is not the user's to mend: a fault of ours."""


@dataclass
class BadDay(PipelineError):
    """Days of a step that cannot be made: a closed gate, or a file that is no batch."""

    step: str
    days: dict[str, list[str]] = field(default_factory=dict)
    """ISO day to what is wrong with it."""

    def __str__(self) -> str:
        lines = [f"{self.step}: {day}: {text}" for day, texts in sorted(self.days.items()) for text in texts]
        return "\n".join(lines)
