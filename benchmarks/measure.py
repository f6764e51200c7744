"""One run of a project in this process, measured: seconds per step, rows, peak memory.

Run as `python -m benchmarks.measure SPEC`, once per figure, so that peak memory is that run's own.
Lives here: running and timing. Keep out: laying out projects, tables.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

KIBIBYTES_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1
"""`ru_maxrss` counts bytes on macOS and kibibytes elsewhere."""


@dataclass(frozen=True)
class Timed:
    """One step of a run."""

    step: str
    seconds: float
    cpu_seconds: float
    """Of all threads: much below `seconds` on one thread means that the machine was busy with other things."""
    rows: int
    kept: int
    days: int
    """Days published; 0 where the step was up to date."""


@dataclass(frozen=True)
class Run:
    """One run in a process of its own."""

    start_seconds: float
    """Imports, the spec, hashing the files, opening the warehouse."""
    steps: list[Timed]
    seconds: float
    peak_mib: float


def run(spec: Path) -> Run:
    """Make whatever is missing or stale of the project, release it, and time each part."""
    began = time.perf_counter()
    import great_expectations  # noqa: F401 - five seconds that no step should be charged for

    from dataset_pipeline.assets.engine import Outcome, context_of, run_step
    from dataset_pipeline.assets.inputs import run_inputs
    from dataset_pipeline.assets.plan import status_of
    from dataset_pipeline.assets.releasing import run_release
    from dataset_pipeline.records import DAILY_STEPS
    from dataset_pipeline.spec.load import load_project
    from dataset_pipeline.storage.sources import calendar

    project = load_project(spec)
    context = context_of(project)
    days = calendar(project, context.found)
    run_id = f"benchmark-{time.time_ns()}"
    started = last = time.perf_counter()
    last_cpu = time.process_time()
    steps: list[Timed] = []

    def note(outcome: Outcome) -> None:
        nonlocal last, last_cpu
        now, now_cpu = time.perf_counter(), time.process_time()
        counts = outcome.counts.values()
        steps.append(
            Timed(
                step=str(outcome.step),
                seconds=now - last,
                cpu_seconds=now_cpu - last_cpu,
                rows=sum(c.rows for c in counts),
                kept=sum(c.kept for c in counts),
                days=len(outcome.published),
            )
        )
        last, last_cpu = now, now_cpu

    for outcome in run_inputs(context, run_id):
        note(outcome)
    for step in DAILY_STEPS:
        note(run_step(context, step, days, run_id))
    note(run_release(context, status_of(context), run_id))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTES_PER_UNIT / 1024
    return Run(started - began, steps, time.perf_counter() - began, peak)


if __name__ == "__main__":
    print(json.dumps(asdict(run(Path(sys.argv[1])))))
