"""`python -m benchmarks.refresh`: what a refresh costs, as shares of the full build in the same run.

Lives here: one project of many days, and the commands a team runs on it: all of it, nothing, a preview, a backfill after
a threshold changed, a night. Each is the command itself in a process of its own. Keep out: where the texts are from
(`mixed`), whole runs step by step (`measure`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import KIBIBYTES_PER_UNIT
from benchmarks.projects import FIRST_DAY, NEW_SHARE, instructions_of, lay_instructions

DAYS = 30
"""Days that the rows are spread over: a month."""
PARTS = 3
"""Rows of the sets that a recombined one is made of."""
BEFORE, AFTER = 3, 6
"""The threshold of `filter.input.min_words` as it is built with, and as it is changed to: short questions go."""
SMALL = 300
"""Rows of the project whose commands show what starting costs: nearly all of their time is that."""
GOALS = {"no-op": 0.01, "preview": 0.02, "backfill": 0.10, "night": 0.05}


@dataclass(frozen=True)
class Timed:
    """One command: seconds by the clock, seconds of processor, peak memory, and how it ended."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    exit_code: int


def command(name: str, arguments: Sequence[str], log: Path) -> Timed:
    """Run `dataset-pipeline ARGUMENTS`, what it says appended to `log`."""
    began = time.perf_counter()
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "dataset_pipeline.cli.main", *arguments], stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    peak = usage.ru_maxrss * KIBIBYTES_PER_UNIT / 1024
    return Timed(name, seconds, usage.ru_utime + usage.ru_stime, peak, os.waitstatus_to_exitcode(status))


def measured(folder: Path, data: Path, rows: int, days: int) -> list[Timed]:
    """Lay out a project of `rows` rows and run every command once. Raises RuntimeError where one fails."""
    made = instructions_of(data, rows + max(1, round(rows * NEW_SHARE)), PARTS)
    spec = lay_instructions(folder, data, made[:rows], days, {"filter": {"input": {"min_words": BEFORE}}})
    text = spec.read_text(encoding="utf-8")
    log = folder / "commands.log"
    found: list[Timed] = []

    def run(name: str, *arguments: str) -> None:
        timed = command(name, [*arguments, "--spec", str(spec)], log)
        print(f"  {name}: {timed.seconds:.1f} s, {timed.peak_mib:.0f} MiB", file=sys.stderr, flush=True)
        if timed.exit_code:
            raise RuntimeError(f"{name} ended with {timed.exit_code}: see {log}")
        found.append(timed)

    run("full build", "run")
    run("no-op", "run")
    run("preview", "preview", "filter", "--set", f"input.min_words={AFTER}")
    spec.write_text(text.replace(f"min_words: {BEFORE}", f"min_words: {AFTER}"), encoding="utf-8")
    run("backfill", "run")
    last = FIRST_DAY + dt.timedelta(days=days)
    lay_instructions(folder, data, made[rows:], 1, None, first=last)
    run("night", "run", "--night", last.isoformat())
    return found


def table(sizes: dict[int, list[Timed]], small: list[Timed]) -> str:
    """Seconds, shares of the full build and peak memory, a line a command, for each number of rows."""
    starting = {timed.name: timed.seconds for timed in small}
    lines = [
        f"| rows | command | s | CPU s | of the full build | goal | starting alone ({SMALL} rows) s | without starting | MiB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for rows, commands in sizes.items():
        full = commands[0].seconds
        for timed in commands:
            start = starting[timed.name]
            goal = f"{GOALS[timed.name]:.0%}" if timed.name in GOALS else ""
            rest = max(timed.seconds - start, 0.0) / max(full - starting["full build"], 1e-9)
            lines.append(
                f"| {rows:,} | {timed.name} | {timed.seconds:.1f} | {timed.cpu_seconds:.1f} | {timed.seconds / full:.1%} "
                f"| {goal} | {start:.1f} | {rest:.1%} | {timed.peak_mib:.0f} |"
            )
    return "\n".join(lines)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refresh", description=__doc__.splitlines()[0] if __doc__ else None
    )
    data = os.environ.get("DATASET_PIPELINE_REAL_DATA")
    parser.add_argument(
        "--data", type=Path, default=data, required=data is None, help="folder of the real data"
    )
    parser.add_argument(
        "--rows", type=int, action="append", help="may be repeated; default: 10000 and 100000"
    )
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--results", type=Path, help="file for the figures as JSON")
    parser.add_argument("--keep", type=Path, help="lay the projects out in this folder and leave them there")
    found = parser.parse_args(given)
    found.rows = found.rows or [10_000, 100_000]
    return found


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-refresh-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        print(f"starting alone ({SMALL} rows)", file=sys.stderr, flush=True)
        small = measured(folder / "small", options.data, SMALL, 3)
        sizes: dict[int, list[Timed]] = {}
        for rows in options.rows:
            print(f"{rows} rows", file=sys.stderr, flush=True)
            sizes[rows] = measured(folder / str(rows), options.data, rows, options.days)
    print(table(sizes, small))
    if options.results:
        figures = {"small": small, **{str(rows): commands for rows, commands in sizes.items()}}
        told = {name: [asdict(timed) for timed in commands] for name, commands in figures.items()}
        options.results.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
