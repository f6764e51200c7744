"""`python -m benchmarks`: measure whole runs of three projects and print one table.

Lives here: the command line and the result files. Keep out: everything that is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Figures, figures_of, table
from benchmarks.projects import PROJECTS

DATA_VARIABLE = "DATASET_PIPELINE_REAL_DATA"
RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = ("polars", "duckdb", "great-expectations", "presidio-analyzer", "datasketch")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get(DATA_VARIABLE),
        help=f"folder of the real data; default: ${DATA_VARIABLE}",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=100_000,
        help="rows of `mixed`, and at most so many of banking77 (default: 100000)",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(PROJECTS),
        help="measure this project alone; may be repeated",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="folder of the result files (default: benchmarks/results)",
    )
    parser.add_argument("--keep", type=Path, help="lay the projects out in this folder and leave them there")
    found = parser.parse_args(given)
    if found.data is None:
        parser.error(f"no data: set {DATA_VARIABLE} or give --data")
    if not Path(found.data).is_dir():
        parser.error(
            f"{found.data} is no folder: --data or {DATA_VARIABLE} names the folder of the real data"
        )
    if found.rows < 100:
        parser.error("--rows must be 100 or more: below that no day has rows enough to be judged")
    if found.keep and any((found.keep / name).exists() for name in PROJECTS):
        parser.error(f"{found.keep} holds projects already: --keep names a new folder")
    found.data = Path(found.data).resolve()
    return found


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    names = [name for name in PROJECTS if not options.only or name in options.only]
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-benchmark-") as scratch:
        measured = [_measure(name, options.keep or Path(scratch), options) for name in names]
    print(table(measured))
    return 0


def _measure(name: str, folder: Path, options: argparse.Namespace) -> Figures:
    print(f"{name}: laying out", file=sys.stderr, flush=True)
    laid = PROJECTS[name]((folder / name).resolve(), options.data, options.rows)
    print(f"{name}: measuring {laid.rows} rows", file=sys.stderr, flush=True)
    figures = figures_of(name, laid)
    options.results.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}
    written = figures.as_json() | {"machine": machine | {library: version(library) for library in LIBRARIES}}
    (options.results / f"{name}.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    sys.exit(main())
