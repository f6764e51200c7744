"""Named rows, specs and small projects that tests of the command line, the spec and ingest share.

Lives here: plain values and `make_project`. Keep out: the sample project (fixtures of `conftest`), anything that
only one test needs.
"""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from dataset_pipeline.cli.main import TRACEBACK, main

_THINGS = ("printer", "invoice", "calendar", "garden pump", "ladder", "kettle", "bicycle", "window", "ticket", "camera", "harbour lamp", "violin")  # fmt: skip
_PREDICATES = ("refuses to start on cold mornings", "deserves a brighter handle", "arrived without its manual", "works better than my neighbour hoped", "forgets which size I picked", "could learn to fold itself", "makes the whole office smile")  # fmt: skip
_ENDINGS = ("since the last update", "and nobody told us", "so I wrote this note", "according to my daughter", "after two long weeks")  # fmt: skip
LABELS = ("bug", "wish", "praise")
DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


def text(number: int) -> str:
    """A message of its own: two of them share no more than one phrase."""
    return f"The {_THINGS[number % 12]} {_PREDICATES[number % 7]} {_ENDINGS[number % 5]}."


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "text": text(number), "label": LABELS[number % 3]} | changes


def rows(first: int, count: int = 20) -> list[dict[str, Any]]:
    return [row(n) for n in range(first, first + count)]


def jsonl(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def csv_bytes(records: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def truncated_gzip(records: list[dict[str, Any]]) -> bytes:
    """Gzip data that break off: what a copy leaves that was interrupted."""
    packed = gzip.compress(jsonl(records), mtime=0)
    return packed[: len(packed) - 30]


SOURCE: dict[str, Any] = {
    "name": "inbox",
    "kind": "first_party",
    "path": "sources/{date}.jsonl",
    "rights": {"license": "MIT", "holder": "Example GmbH", "basis": "own messages", "uses": ["train", "evaluate"]},
    "fields": {"id": "id", "input": "text", "output": "label"},
}  # fmt: skip
SPEC: dict[str, Any] = {
    "name": "tiny",
    "task": {
        "behavior": "Label one message.",
        "type": "classification",
        "labels": list(LABELS),
        "examples": [{"input": f"Handwritten message {n} says what is wanted here.", "output": "bug"} for n in "ABCDE"],
    },
    "sources": [SOURCE],
}  # fmt: skip

CLEAN: dict[str, bytes] = {f"sources/{day}.jsonl": jsonl(rows(20 * n)) for n, day in enumerate(DAYS)}
"""Three days of twenty good rows each."""
MIXED: dict[str, bytes] = CLEAN | {
    "sources/2026-03-02.jsonl": jsonl([*rows(20, 18), row(3), row(99, text="ok"), row(98, text=None)])
    + b'{"id": "broken", "text": \n'
}
"""CLEAN with a copy of the first day, a row without text and a line that is no JSON on the second day."""
HOPELESS: dict[str, bytes] = {f"sources/{day}.jsonl": b"no JSON at all\n" * 120 for day in DAYS}
"""Not a single line that can be read, in enough lines for the reject rate to count."""


def spec(**changes: Any) -> dict[str, Any]:
    """SPEC with top-level keys replaced."""
    return copy.deepcopy(SPEC) | changes


def source(**changes: Any) -> dict[str, Any]:
    """SOURCE with keys replaced; None takes a key out."""
    changed = copy.deepcopy(SOURCE) | changes
    return {key: value for key, value in changed.items() if value is not None}


def make_project(
    folder: Path, content: dict[str, Any] | str | None = None, files: dict[str, bytes] = CLEAN
) -> Path:
    """Write a spec (a mapping or YAML text; SPEC by default) and its files; returns the spec's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset.yaml"
    words = content if isinstance(content, str) else yaml.safe_dump(content or SPEC, sort_keys=False)
    path.write_text(words, encoding="utf-8")
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def call(command: str, spec_path: Path | None = None, *arguments: str) -> Result:
    """Run a command in this process, as the shell would. An exception that is no exit is the test's failure."""
    named = ["--spec", str(spec_path)] if spec_path is not None else []
    # A fault of ours is raised, and not told in words, unless a test looks at these.
    faults = {TRACEBACK: os.environ.get(TRACEBACK, "1")}
    result = CliRunner(env=faults).invoke(main, [command, *arguments, *named])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def released(spec_path: Path) -> list[str]:
    """Versions of the releases of a project, sorted."""
    folder = spec_path.parent / "releases"
    return sorted(p.name for p in folder.iterdir() if not p.is_symlink()) if folder.exists() else []


def last_json(result: Result) -> Any:
    """The JSON on the last line of standard output."""
    return json.loads(result.stdout.splitlines()[-1])
