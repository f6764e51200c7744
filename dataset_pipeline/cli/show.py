"""What people see on a terminal or in a log: progress, funnel, tables.

Lives here: rendering. On a terminal with bars and colour; piped, as plain lines. Keep out:
computing numbers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from dataset_pipeline.records import REPORT
from dataset_pipeline.transforms.redaction import shown


def console(as_json: bool = False) -> Console:
    """Standard output; standard error where standard output is for a program."""
    return Shown(stderr=as_json, highlight=False, soft_wrap=True, markup=False, emoji=False)


class Shown(Console):
    """A console that shows names of files and columns, and ids, with personal data in them replaced."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*map(_safe, objects), **how)


def _safe(thing: Any) -> Any:
    if isinstance(thing, str):
        return shown(thing)
    if isinstance(thing, Table):
        for column in thing.columns:
            column._cells[:] = map(_safe, column._cells)
    return thing


class Bars:
    """Progress of one run: a bar over steps on a terminal, a line a step elsewhere."""

    def __init__(self, out: Console, steps: int):
        self.out = out
        self.seconds: dict[str, float] = {}
        self.progress: Progress | None = None
        if out.is_terminal:
            self.progress = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                console=out, transient=True,
            )  # fmt: skip
            self.task = self.progress.add_task("starting", total=steps)

    def __enter__(self) -> Bars:
        if self.progress:
            self.progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.progress:
            self.progress.stop()

    def step_started(self, step: str, days: int) -> None:
        self._describe(f"{step}: {days} {'day' if days == 1 else 'days'}")

    def phase(self, step: str, phase: str) -> None:
        self._describe(f"{step}: {phase}")

    def step_finished(self, step: str, seconds: float, rows: int, kept: int, note: str) -> None:
        self.seconds[step] = round(self.seconds.get(step, 0.0) + seconds, 3)
        if self.progress:
            self.progress.advance(self.task)
        if rows or note not in ("", "up to date"):
            if step == REPORT and note != "up to date":
                self.out.print(f"  {step:<14}{note}")
                return
            words = f"{kept} of {rows} records kept" if rows else "no records"
            self.out.print(f"  {step:<14}{words} in {seconds:.1f} s" + (f" ({note})" if note else ""))

    def _describe(self, text: str) -> None:
        if self.progress:
            self.progress.update(self.task, description=shown(text))


def print_funnel(
    out: Console, ingested: int, rejected: int, funnel: Sequence[tuple[str, int, int, Mapping[str, int]]]
) -> None:
    """A line per step: what arrived, what was kept, and why the rest was not."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("step")
    table.add_column("in", justify="right")
    table.add_column("kept", justify="right")
    if out.is_terminal:
        table.add_column("", width=24)
    table.add_column("dropped", overflow="fold")
    for step, arrived, kept, reasons in funnel:
        words = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
        bar = [_bar(kept, max(ingested, 1))] if out.is_terminal else []
        table.add_row(step, str(arrived), str(kept), *bar, words or "none")
    out.print(f"read {ingested + rejected} rows: {ingested} records, {rejected} rejected")
    out.print(table)


def _bar(value: int, total: int, width: int = 24) -> str:
    filled = round(width * value / total)
    return "█" * filled + "░" * (width - filled)


def day_range(first: dt.date, last: dt.date) -> str:
    return str(first) if first == last else f"{first} … {last}"
