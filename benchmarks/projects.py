"""The projects that are measured: laid out as folders with a spec, and a further day for each.

Lives here: files and specs. Keep out: where the large project's texts are from (`mixed`), running
(`measure`).
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import random
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.mixed import Row, csv_rows, mixed_rows, recombined, unpacked

SEED = 7
FIRST_DAY = dt.date(2026, 10, 1)
MIXED_DAYS = 10
NEW_SHARE = 0.01
"""Rows of the further day, as a share of all rows before it."""

SAMPLE = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Laid:
    """A project on disk: its spec, its rows, and how one further day is added to it."""

    spec: Path
    rows: int
    add_day: Callable[[], int]
    """Adds one day of new rows and returns how many."""

    def input_bytes(self) -> int:
        """Bytes of all source files, as they lie there."""
        return sum(path.stat().st_size for path in source_files(self.spec.parent))


def source_files(folder: Path) -> list[Path]:
    """The source files of a project of this module, sorted."""
    return sorted(path for path in (folder / "sources").rglob("*") if path.is_file())


def sample(folder: Path, data: Path, rows: int) -> Laid:
    """The project's own sample, as it is in data/. Neither `data` nor `rows` matters to it."""
    shutil.copytree(
        SAMPLE,
        folder,
        ignore=shutil.ignore_patterns("warehouse.duckdb*", "cache.duckdb*", "releases", ".dagster", ".*"),
    )
    inbox = folder / "sources" / "support_inbox"
    lines = [json.loads(line) for path in sorted(inbox.glob("*.jsonl")) for line in _readable(path)]
    held = sum(_row_count(path) for path in source_files(folder))

    def add_day() -> int:
        last = max(path.stem for path in inbox.glob("*.jsonl"))
        known = [
            Row(line["message"], line["label"]) for line in lines if line.get("label") and line.get("message")
        ]
        new = recombined(known, _share(held), random.Random(SEED), is_label=True)
        day = dt.date.fromisoformat(last) + dt.timedelta(days=1)
        rows = (
            {"ticket_id": f"B-{n}", "customer_id": f"B-{n}", "sender": "", "message": row.prompt, "label": row.answer,
             "received_at": f"{day}T08:00:00Z"}
            for n, row in enumerate(new)
        )  # fmt: skip
        _write_lines(inbox / f"{day}.jsonl", rows)
        return len(new)

    return Laid(folder / "dataset.yaml", held, add_day)


def banking77(folder: Path, data: Path, rows: int) -> Laid:
    """The first `rows` of banking77's training file, its test file protected."""
    collected = csv_rows(data / "banking77/train.csv.gz")[:rows]
    known = [Row(line["text"], line["category"]) for line in collected]
    sources = folder / "sources"
    sources.mkdir(parents=True)
    _write_csv(sources / f"{FIRST_DAY}.csv", known)
    _place(data / "banking77/test.csv.gz", folder / "eval/test.csv")
    labels = json.loads(unpacked(data / "banking77/categories.json"))
    task = {
        "behavior": "Name the intent of a customer's question.",
        "type": "classification",
        "labels": labels,
    }
    test = {"name": "test", "path": "eval/test.csv", "fields": {"input": "text", "output": "category"}}
    source = _source("sources/{date}.csv", "CC-BY-4.0", {"input": "text", "output": "category"})
    _write_spec(folder, "banking77", task, source, [test])

    def add_day() -> int:
        new = recombined(known, _share(len(known)), random.Random(SEED), is_label=True)
        _write_csv(sources / f"{FIRST_DAY + dt.timedelta(days=1)}.csv", new)
        return len(new)

    return Laid(folder / "dataset.yaml", len(known), add_day)


def mixed(folder: Path, data: Path, rows: int) -> Laid:
    """`rows` instruction rows over ten days, three test sets protected."""
    new = _share(rows)
    made = instructions_of(data, rows + new)
    spec = lay_instructions(folder, data, made[:rows], MIXED_DAYS, {})

    def add_day() -> int:
        lay_instructions(folder, data, made[rows:], 1, None, FIRST_DAY + dt.timedelta(days=MIXED_DAYS))
        return new

    return Laid(spec, rows, add_day)


def instructions_of(data: Path, count: int, parts: int = 2) -> list[Row]:
    """Instruction rows of the shared sets, as many as asked for; those that they lack recombined of `parts` rows."""
    return mixed_rows(data, count, SEED, parts)


def lay_instructions(
    folder: Path,
    data: Path,
    rows: list[Row],
    days: int,
    more: dict[str, Any] | None,
    first: dt.date = FIRST_DAY,
) -> Path:
    """Write `rows` as `days` files from `first` on; returns the spec. more: further keys of the spec; None: it stands."""
    sources = folder / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    for number in range(days):
        part = rows[len(rows) * number // days : len(rows) * (number + 1) // days]
        day = first + dt.timedelta(days=number)
        _write_instructions(sources / f"{day}.jsonl", part, f"{day:%m%d}")
    if more is None:
        return folder / "dataset.yaml"
    _place(data / "gsm8k/test.jsonl.gz", folder / "eval/gsm8k.jsonl")
    _place(data / "banking77/test.csv.gz", folder / "eval/banking77.csv")
    _place(data / "humaneval/HumanEval.jsonl.gz", folder / "eval/humaneval.jsonl")
    sets = [
        {"name": "gsm8k", "path": "eval/gsm8k.jsonl", "fields": {"input": "question", "output": "answer"}},
        {"name": "banking77", "path": "eval/banking77.csv", "fields": {"input": "text", "output": "category"}},
        {"name": "humaneval", "path": "eval/humaneval.jsonl",
         "fields": {"id": "task_id", "input": "prompt", "output": "canonical_solution"}},
    ]  # fmt: skip
    task = {"behavior": "Do what the user asks.", "type": "instruction"}
    source = _source(
        "sources/{date}.jsonl", "LicenseRef-mixed", {"id": "id", "input": "prompt", "output": "answer"}
    )
    return _write_spec(folder, "mixed", task, source, sets, more)


PROJECTS: Mapping[str, Callable[[Path, Path, int], Laid]] = {
    "sample": sample,
    "banking77": banking77,
    "mixed": mixed,
}
"""Name to (empty folder that does not exist yet, data, rows) → the project laid out there."""


def _share(rows: int) -> int:
    return max(1, round(rows * NEW_SHARE))


def _source(path: str, license_: str, fields: dict[str, Any]) -> dict[str, Any]:
    rights = {
        "license": license_,
        "holder": "see the sets' own pages",
        "basis": "published licence",
        "uses": ["train", "evaluate"],
    }
    return {"name": "collected", "kind": "licensed", "path": path, "rights": rights, "fields": fields}


def _write_spec(
    folder: Path, name: str, task: dict[str, Any], source: dict[str, Any], sets: list[dict[str, Any]],
    more: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    spec = {"name": name, "task": task, "sources": [source], "decontaminate": {"sets": sets}} | (more or {})
    path = folder / "dataset.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


def _place(packed: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(unpacked(packed))


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_instructions(path: Path, rows: Iterable[Row], prefix: str) -> None:
    numbered = enumerate(rows)
    _write_lines(
        path, ({"id": f"{prefix}-{n}", "prompt": row.prompt, "answer": row.answer} for n, row in numbered)
    )


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "category"])
        writer.writerows(rows)


def _readable(path: Path) -> list[str]:
    """The lines that are JSON objects: the sample holds malformed ones on purpose."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            is_object = isinstance(json.loads(line), dict)
        except json.JSONDecodeError:
            continue
        if is_object:
            lines.append(line)
    return lines


def _row_count(path: Path) -> int:
    """Rows of a source file, the malformed ones too."""
    text = unpacked(path).decode(errors="replace")
    if path.suffix == ".csv":
        return sum(1 for _ in csv.reader(text.splitlines(keepends=True))) - 1
    return sum(1 for line in text.split("\n") if line.strip())
