"""What the options of `run` need before anything is loaded: the day of a night, and how the process is ended from outside.

Lives here: click's types and signals of a call. Keep out: anything that loads Polars or Dagster.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import threading
from collections.abc import Iterator
from typing import Any

import click

from dataset_pipeline import clock

YESTERDAY = "yesterday"


class NightDay(click.ParamType[dt.date]):
    """A day, or `yesterday`: the last one that is over (UTC)."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.date:
        if isinstance(value, dt.date):
            return value
        if value == YESTERDAY:
            return clock.now().date() - dt.timedelta(days=1)
        try:
            return dt.datetime.strptime(str(value), "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"{str(value)[:40]!r} is no day: write it as 2026-11-05.", param, ctx)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM (of Dagster, of systemd, of a container that stops) ends a run as Ctrl-C does: in order, and in words."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _stop(number: int, frame: Any) -> None:
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):
        raise KeyboardInterrupt  # begun in the background of a shell, which has Ctrl-C ignored
    signal.raise_signal(signal.SIGINT)
