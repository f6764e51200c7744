"""All figures of one project, and how they are put into a table.

Lives here: the order of the measured runs, the baseline, ratios, Markdown. Keep out: laying out
projects (`projects`), what happens inside one run (`measure`).
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Run, Timed
from benchmarks.mixed import unpacked
from benchmarks.projects import Laid, source_files

ROOT = Path(__file__).resolve().parent.parent
BASELINE_TRIES = 3


@dataclass(frozen=True)
class Figures:
    """What was measured of one project. README.md says what each figure is."""

    project: str
    rows: int
    input_bytes: int
    baseline_seconds: float
    cold: Run
    noop: Run
    noop_process_seconds: float
    noop_command: str
    new_rows: int
    further_day: Run
    warehouse_bytes: int
    release_bytes: int

    def as_json(self) -> dict[str, Any]:
        """The figures, with the ratios that the table shows."""
        return asdict(self) | {
            "ratios": {
                "cold": self.ratio(self.cold.seconds),
                "steps": {step.step: self.ratio(step.seconds) for step in self.cold.steps},
                "noop": self.ratio(self.noop_process_seconds),
                "further_day": self.ratio(self.further_day.seconds),
                "warehouse_to_input": self.warehouse_bytes / self.input_bytes,
            }
        }

    def ratio(self, seconds: float) -> float:
        return seconds / self.baseline_seconds


def figures_of(name: str, laid: Laid) -> Figures:
    """Run the project cold, with nothing to do, and with one further day; each in its own process."""
    folder = laid.spec.parent
    input_bytes = laid.input_bytes()
    baseline = baseline_seconds(source_files(folder), folder / ".baseline")
    cold = _child(laid.spec)
    warehouse_bytes = sum(path.stat().st_size for path in folder.glob("warehouse.duckdb*"))
    release_bytes = sum(path.stat().st_size for path in (folder / "releases").rglob("*") if path.is_file())
    noop, process_seconds, command = _noop(laid.spec)
    new_rows = laid.add_day()
    further = _child(laid.spec)
    return Figures(
        name, laid.rows, input_bytes, baseline, cold, noop, process_seconds, command, new_rows, further,
        warehouse_bytes, release_bytes,
    )  # fmt: skip


def baseline_seconds(files: Sequence[Path], scratch: Path) -> float:
    """Seconds to parse every source file by json or csv and write it back: the best of three."""
    best = float("inf")
    for _ in range(BASELINE_TRIES):
        started = time.perf_counter()
        for path in files:
            _read_and_write(path, scratch)
        best = min(best, time.perf_counter() - started)
    scratch.unlink()
    return best


def _read_and_write(path: Path, scratch: Path) -> None:
    text = unpacked(path).decode(errors="replace")
    with scratch.open("w", encoding="utf-8", newline="") as handle:
        if ".csv" in path.suffixes:
            csv.writer(handle).writerows(csv.reader(io.StringIO(text, newline="")))
            return
        for line in text.split("\n"):
            if line.strip():
                try:
                    handle.write(json.dumps(json.loads(line)) + "\n")
                except json.JSONDecodeError:
                    handle.write(line + "\n")


def _child(spec: Path) -> Run:
    """`benchmarks.measure` in a process of its own. Raises RuntimeError with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", str(spec)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{spec}: the run failed\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Run(**found | {"steps": [Timed(**step) for step in found["steps"]]})


def _noop(spec: Path) -> tuple[Run, float, str]:
    """A run with nothing to do: by the engine, and the seconds of the whole process of the user's command.

    Without a working command line the process is that of `benchmarks.measure`.
    """
    started = time.perf_counter()
    run = _child(spec)
    seconds = time.perf_counter() - started
    busy = [step.step for step in run.steps if step.days]
    if busy:
        raise RuntimeError(f"{spec}: a second run published {', '.join(busy)} again")
    command = [sys.executable, "-m", "dataset_pipeline.cli.main", "run", "--spec", str(spec)]
    if _succeeds([*command, "--help"]) and _succeeds(command):
        # The first call has told Dagster of what the engine published; a user's second run is the next.
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        return run, time.perf_counter() - started, "dataset-pipeline run"
    return run, seconds, "benchmarks.measure"


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


# --- the table ----------------------------------------------------------------------------


def table(measured: Sequence[Figures]) -> str:
    """One Markdown table, a column per project; `1.8 s (12.0×, 40 %)` is seconds, ratio and share of the cold run."""
    head = ["", *(f.project for f in measured)]
    body = [
        ["rows", *(f"{f.rows:,}" for f in measured)],
        ["input", *(f"{f.input_bytes / 2**20:.2f} MiB" for f in measured)],
        ["baseline: read and write back", *(f"{f.baseline_seconds:.3f} s (1.0×)" for f in measured)],
        ["start", *(_part(f, f.cold.start_seconds) for f in measured)],
    ]
    for number, step in enumerate(measured[0].cold.steps):
        body.append([step.step, *(_part(f, f.cold.steps[number].seconds) for f in measured)])
    body += [
        ["**cold run**", *(_seconds(f, f.cold.seconds) for f in measured)],
        ["released", *(f"{f.cold.steps[-1].kept:,}" for f in measured)],
        ["peak memory, cold", *(f"{f.cold.peak_mib:,.0f} MiB" for f in measured)],
        ["no-op run", *(_seconds(f, f.noop_process_seconds) for f in measured)],
        ["no-op measured with", *(f.noop_command for f in measured)],
        ["one further day: rows", *(f"{f.new_rows:,}" for f in measured)],
        ["one further day", *(_seconds(f, f.further_day.seconds) for f in measured)],
        ["one further day: slowest step", *(_slowest(f.further_day) for f in measured)],
        ["peak memory, further day", *(f"{f.further_day.peak_mib:,.0f} MiB" for f in measured)],
        [
            "warehouse",
            *(
                f"{f.warehouse_bytes / 2**20:.1f} MiB ({f.warehouse_bytes / f.input_bytes:.1f}× input)"
                for f in measured
            ),
        ],
        [
            "release",
            *(
                f"{f.release_bytes / 2**20:.1f} MiB ({f.release_bytes / f.input_bytes:.1f}× input)"
                for f in measured
            ),
        ],
    ]
    lines = [head, ["---", *("---:" for _ in measured)], *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _part(figures: Figures, seconds: float) -> str:
    return f"{seconds:.2f} s ({figures.ratio(seconds):.1f}×, {seconds / figures.cold.seconds:.0%})"


def _seconds(figures: Figures, seconds: float) -> str:
    return f"{seconds:.2f} s ({figures.ratio(seconds):.1f}×)"


def _slowest(run: Run) -> str:
    step = max(run.steps, key=lambda timed: timed.seconds)
    return f"{step.step}, {step.seconds:.2f} s"
