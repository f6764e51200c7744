"""Programs that are compared, each in an environment and a process of its own, and how their figures are shown.

Lives here: the options that each comparison takes, starting a runner of `peers/`, its memory, result files, bars. Keep out: what
is compared (`near`, `contamination`, `personal`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from html import escape
from importlib.metadata import distributions
from math import log10
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-peers"
RESULTS = Path(__file__).resolve().parent / "results"
DATA_VARIABLE = "DATASET_PIPELINE_REAL_DATA"
SAMPLE_SECONDS = 0.2
OURS = "ours"


def options(program: str, about: str | None) -> argparse.ArgumentParser:
    """A parser with `--data` and `--results`; `about` is the module's docstring. `given_to` reads what it was given."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{program}", description=(about or "").splitlines()[0]
    )
    data = os.environ.get(DATA_VARIABLE)
    parser.add_argument(
        "--data", type=Path, default=data, required=data is None, help="folder of the shared sets"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def given_to(parser: argparse.ArgumentParser, given: Sequence[str] | None) -> argparse.Namespace:
    """What was given to a parser of `options`. Ends with 2 where `--data` is no folder."""
    found = parser.parse_args(given)
    if not found.data.is_dir():
        parser.error(
            f"{found.data} is no folder: --data or {DATA_VARIABLE} names the folder of the shared sets"
        )
    return found


def say(what: str) -> None:
    """Tell on the screen what is measured now."""
    print(what, file=sys.stderr, flush=True)


def interpreter(environment: str) -> Path:
    """The Python of a peer, of `ours` this one. Raises FileNotFoundError where `make peers` has not run."""
    if environment == OURS:
        return Path(sys.executable)
    path = ENVIRONMENTS / environment / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `make peers`")
    return path


def run(environment: str, script: str, tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run `peers/SCRIPT` on the tasks in one process; the result of each. Raises RuntimeError with what it said."""
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-peers-") as scratch:
        named = [
            dict(task) | {"out": str(Path(scratch) / f"{number}.json")} for number, task in enumerate(tasks)
        ]
        (Path(scratch) / "tasks.json").write_text(json.dumps(named), encoding="utf-8")
        command = [
            str(interpreter(environment)), str(ROOT / "benchmarks/peers" / script), f"{scratch}/tasks.json"
        ]  # fmt: skip
        with Path(scratch, "log").open("w+b") as log:
            # A session of its own: its worker processes are found by it.
            process = subprocess.Popen(
                command, cwd=ROOT, env=_variables(environment), stdout=log, stderr=log, start_new_session=True
            )
            memory = _Memory(process.pid)
            memory.start()
            code = process.wait()
            memory.ended.set()
            memory.join()
            if code:
                log.seek(0)
                said = log.read().decode(errors="replace")[-4000:]
                raise RuntimeError(f"{script} of {environment} ended with {code}:\n{said}")
        results = [json.loads(Path(task["out"]).read_text(encoding="utf-8")) for task in named]
    for result in results:
        result["peak_mib"] = max(result["peak_mib"], memory.peak_mib)
    return results


def _variables(environment: str) -> dict[str, str]:
    # A peer sees none of this project's modules; ours needs those that lay out texts.
    return dict(os.environ) | ({"PYTHONPATH": str(ROOT)} if environment == OURS else {})


class _Memory(threading.Thread):
    """Samples the memory of a session while it has several processes; of one alone its own peak says more."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.peak_mib, self.ended = session, 0.0, threading.Event()

    def run(self) -> None:
        while Path("/proc").is_dir() and not self.ended.wait(SAMPLE_SECONDS):
            members = [path for path in Path("/proc").glob("[0-9]*") if _session(path) == self.session]
            if len(members) > 1:
                self.peak_mib = max(self.peak_mib, sum(map(_proportional, members)))


def _session(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[3])
    except (OSError, IndexError):
        return -1


def _proportional(process: Path) -> float:
    """Its memory in MiB, pages that several processes share divided among them."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def versions(environments: Sequence[str]) -> dict[str, str]:
    """The version of each peer, as its environment has it."""
    names = {"data-juicer": "py-data-juicer", "lingua": "lingua-language-detector"}
    found = {}
    for environment in environments:
        places = [str(path) for path in (ENVIRONMENTS / environment).glob("lib/python*/site-packages")]
        wanted = names.get(environment, environment)
        for distribution in distributions(path=places):
            if distribution.metadata["Name"] == wanted:
                found[environment] = distribution.version
    return found


def machine(environments: Sequence[str]) -> dict[str, Any]:
    """The machine and the versions that figures belong to."""
    cpu = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []  # fmt: skip
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "cpu": models[0] if models else platform.processor(),
        "peers": versions(environments),
    }


def write(name: str, figures: dict[str, Any], results: Path) -> None:
    """RESULTS/NAME.json: the figures, unrounded."""
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def draw(name: str, title: str, seconds: dict[str, float], results: Path) -> None:
    """RESULTS/NAME.svg: a bar for each contender."""
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.svg").write_text(bars(title, "seconds", seconds), encoding="utf-8")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """One table; the first `left` columns are words, the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


# --- bars ---------------------------------------------------------------------------------

WIDTH, LABEL, BAR, STEP = 760, 210, 16, 26


def bars(title: str, unit: str, values: dict[str, float]) -> str:
    """An SVG of one horizontal bar each, on a logarithmic scale from a tenth of the smallest value; ours is marked."""
    low, high = min(values.values()) / 2, max(values.values())
    scale = (WIDTH - LABEL - 90) / max(log10(high / low), 1e-9)
    height = 44 + STEP * len(values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="22" font-size="15" fill="#222222">{escape(title)} ({escape(unit)}, logarithmic scale)</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        top = 38 + STEP * number
        length = max(log10(value / low) * scale, 1.0)
        color = "#1b7f5c" if name.startswith(OURS) else "#8a94a6"
        parts += [
            f'<text x="{LABEL - 8}" y="{top + BAR - 3}" text-anchor="end" fill="#222222">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{color}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{top + BAR - 3}" fill="#222222">{value:,.3g}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
