"""How long work tells that it goes on: a reporter that steps call and the command line draws.

Lives here: the protocol and the silent default. Keep out: terminals; `cli` brings its own reporter.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Reporter(Protocol):
    """Receives what a step is doing. Implementations must be cheap and never raise."""

    def step_started(self, step: str, days: int) -> None: ...

    def phase(self, step: str, phase: str) -> None: ...

    def step_finished(self, step: str, seconds: float, rows: int, kept: int, note: str) -> None: ...


class Silent:
    """The default: tells nobody."""

    def step_started(self, step: str, days: int) -> None:
        return None

    def phase(self, step: str, phase: str) -> None:
        return None

    def step_finished(self, step: str, seconds: float, rows: int, kept: int, note: str) -> None:
        return None


REPORTER: ContextVar[Reporter] = ContextVar("reporter", default=Silent())  # noqa: B039 - it has no state
"""The reporter of the present command; steps call `REPORTER.get()`."""
