"""A small project of five days that meets every step, and helpers to run it and to compare what it left.

Lives here: its files as plain values, running without Dagster, snapshots of tables and releases. Keep
out: assertions about one subject.

Planted, in words: copies and near copies within and across days; one prompt with two labels, also across
days; an e-mail, a phone number, a sender's name; German; an automatic reply; too short a message; an
unlabelled and an unknown label; protected items verbatim, wrapped and contained; groups; generated text
that may not evaluate; two messages that only cleaning makes equal; a malformed line; a day without files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dataset_pipeline.assets import engine, inputs, releasing, reporting
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import Outcome, context_of, run_step
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import Status, status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.assets.reporting import run_report
from dataset_pipeline.records import DAILY_STEPS, TABLES
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.sources import calendar

DAYS = ("2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06")
DAY_WITHOUT_FILES = "2026-03-04"
MARKER = "zyxquorbel"
"""A word that stands in every collected text and nowhere else."""

_WHAT = ("invoice editor", "calendar view", "team chat", "photo upload", "route planner", "stock list")
_HOW = ("freezes after the update", "shows yesterday's numbers", "helped us win a client", "lacks a dark mode",
        "cannot print to our label printer", "saved the whole crew an hour")  # fmt: skip
_WHY = ("on the tablet in the workshop", "since the office moved", "whenever two people work at once",
        "for the big order from the bakery", "as my colleague noticed first")  # fmt: skip
LABELS = ("bug", "wish", "praise")


def message(n: int) -> str:
    """The n-th ordinary message: different from all others below 180, far from each of them."""
    what, how, why = _WHAT[n % 6], _HOW[n // 6 % 6], _WHY[n // 36 % 5]
    return f"The {what} {how} {why}, says {MARKER} customer number {n} of branch {n * 7 % 97} in town {n * 31 % 89}."


LONG_EVAL = (
    f"When the monthly report for the {MARKER} harbour warehouse is printed twice the second copy loses its "
    "footer and every page number jumps back to one."
)
SHORT_EVAL = f"the {MARKER} garden door squeaks loudly"
TWO_SIDED = f"Please make the {MARKER} summary page shorter for my tired eyes."
GERMAN = (
    f"Die Übersicht der Rechnungen lädt bei uns seit gestern überhaupt nicht mehr und {MARKER} niemand weiß warum, "
    "bitte helfen Sie uns schnell weiter."
)
AUTOMATIC = f"Automatic reply: I am out of office until Monday with no access to {MARKER} e-mail."
_SAME_CLEAN = "You can reach the {} branch manager about the broken scale in hall four by mail: {} thanks"


def _inbox() -> dict[str, list[dict[str, Any] | str]]:
    """Day to the rows of the inbox; a string is a line as it stands."""
    rows: dict[str, list[dict[str, Any] | str]] = {day: [] for day in DAYS if day != DAY_WITHOUT_FILES}

    def add(
        day: int, text: str, label: str | None, group: str | None = None, sender: str | None = None
    ) -> None:
        number = sum(len(r) for r in rows.values())
        rows[DAYS[day]].append(
            {"id": f"T{number}", "message": text, "label": label, "customer": group, "sender": sender}
        )

    for n in range(60):
        add((0, 1, 3, 4)[n % 4], message(n), LABELS[n % 3], f"C{n % 25}" if n % 3 else None)
    add(0, TWO_SIDED, "wish", "C90")
    add(3, TWO_SIDED.upper(), "praise", "C90")  # the other side, in its split
    add(1, TWO_SIDED.replace("summary", "title"), "wish", "C90")
    add(4, TWO_SIDED.replace("summary", "title"), "bug", "C91")  # the other side, in another split
    add(1, message(0), LABELS[0], "C92")  # exact, of an earlier day
    add(4, message(1).upper(), LABELS[1], "C93")  # exact but for case, of an earlier day
    add(4, message(4) + " Thanks!", LABELS[1], "C94")  # near, of an earlier day
    add(0, message(8).replace("branch", "Branch") + " Bye", LABELS[2], "C95")  # near, of the same day
    add(
        1,
        f"Call Bruno Tessari on +49 30 901820 or write to bruno@{MARKER}.example.com, says Bruno.",
        "bug",
        "C96",
        "Bruno Tessari",
    )
    add(1, GERMAN, "bug", "C97")
    add(3, AUTOMATIC, "bug", "C98")
    add(0, f"{MARKER} no", "wish", "C99")
    add(0, f"Nobody ever labelled this {MARKER} message about the front desk.", None, "C100")
    add(3, f"Somebody labelled this {MARKER} message about the loading ramp oddly.", "misc", "C101")
    add(1, LONG_EVAL, "bug", "C102")
    add(4, f"Hello team, {LONG_EVAL} Can you look into it?", "bug", "C103")
    add(3, f"My neighbour told me that {SHORT_EVAL} in winter and in spring.", "wish", "C104")
    for day, address in ((0, f"anna@{MARKER}.example.com"), (3, f"zoe.b@mail.{MARKER}.example.org")):
        add(day, _SAME_CLEAN.format(MARKER, address), "bug", "C105")
    # Near only once cleaned, and in groups that the seed puts into different splits.
    tail = (
        f"about the {MARKER} night shift plan because the printed list is wrong again and nobody can read it"
    )
    for day, group, address in (
        (1, "C4", "eve.long.name@north.example.com"),
        (4, "C3", "otto.other@south-west.example.org"),
    ):
        add(day, f"Mail {address} {tail}{' today' if day == 4 else ''}", "wish", group)
    add(0, f"{MARKER} zero\u200bwidth and caf\u00c3\u00a9 mojibake in the recipe planner", "praise", "C106")
    rows[DAYS[1]].append('{"id": "T-broken", "message": "' + MARKER + " cut off")
    return rows


def _spec() -> dict[str, Any]:
    rights = {"holder": "Example GmbH", "basis": "terms", "uses": ["train", "evaluate"]}
    fields = {"id": "id", "input": "message", "output": "label", "group": "customer"}
    return {
        "name": "small",
        "task": {
            "behavior": "Say what kind of feedback it is.",
            "type": "classification",
            "system_prompt": "Label the feedback.",
            "labels": list(LABELS),
            "examples": [
                {"input": f"Handwritten example of {label} number {n}", "output": label}
                for n, label in enumerate((*LABELS, "bug", "wish"))
            ],
        },
        "sources": [
            {
                "name": "inbox", "kind": "first_party", "path": "sources/inbox/{date}.jsonl",
                "rights": {"license": "LicenseRef-inbox", **rights}, "fields": {**fields, "person_names": ["sender"]},
            },
            {
                "name": "store", "kind": "licensed", "path": "sources/store/{date}.csv", "expected_daily": False,
                "rights": {"license": "CC-BY-4.0", **rights}, "fields": {"id": "key", "input": ["title", "body"], "output": "label"},
            },
            {
                "name": "written", "kind": "synthetic", "path": "sources/written.jsonl", "collected_at": "2026-03-05",
                "rights": {"license": "CC-BY-4.0", **rights, "uses": ["train"]},
                "generator": {"model": "m", "provider": "p", "permits_training": True, "terms": "t", "terms_reviewed": "2026-01-02"},
                "fields": fields,
            },
        ],
        "filter": {"input": {"min_words": 3}},
        "normalize": {"languages": ["en"]},
        "decontaminate": {"sets": [{"name": "holdout", "path": "eval/holdout.jsonl", "fields": {"id": "id", "input": "text"}}]},
        "split": {"ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}},
        "release": {"formats": ["chat", "alpaca", "completion", "parquet"]},
    }  # fmt: skip


def make_project(root: Path, changes: dict[str, Any] | None = None) -> Path:
    """Write the project into `root` and return it. changes: top-level keys of the spec to set."""
    for folder in ("sources/inbox", "sources/store", "eval"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for day, rows in _inbox().items():
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        (root / f"sources/inbox/{day}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for place, day in enumerate((DAYS[1], DAYS[3])):
        with (root / f"sources/store/{day}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["key", "title", "body", "label"])
            for n in range(100 + place * 8, 108 + place * 8):
                writer.writerow([f"R{n}", f"Review {n}", message(n), LABELS[n % 3]])
            writer.writerow([f"R{place}c", "", message(2), LABELS[2]])  # the inbox has it too
    written = [
        {"id": f"W{n}", "message": message(150 + n), "label": LABELS[n % 3], "customer": f"C{n % 25}"}
        for n in range(12)
    ]
    (root / "sources/written.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in written), encoding="utf-8"
    )
    items = [{"id": "long", "text": LONG_EVAL}, {"id": "short", "text": SHORT_EVAL}]
    (root / "eval/holdout.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items), encoding="utf-8")
    write_spec(root, changes)
    return root


def write_spec(root: Path, changes: dict[str, Any] | None = None) -> Path:
    path = root / "dataset.yaml"
    path.write_text(yaml.safe_dump(_spec() | (changes or {}), sort_keys=False), encoding="utf-8")
    return path


# --- running ------------------------------------------------------------------------------


def open_project(root: Path) -> Context:
    return context_of(load_project(root / "dataset.yaml"))


def status(context: Context) -> Status:
    return status_of(context)


def run_days(context: Context, days: Sequence[Any], run_id: str = "run") -> list[Outcome]:
    """Every daily step over `days`."""
    return [run_step(context, step, days, run_id) for step in DAILY_STEPS]


def run_all(root: Path, run_id: str = "run") -> list[Outcome]:
    """What `dataset-pipeline run` does for a project without bad days: all that is not up to date."""
    context = open_project(root)
    outcomes = run_inputs(context, run_id)
    outcomes += run_days(context, calendar(context.project, context.found), run_id)
    outcomes.append(run_release(context, status(context), run_id))
    return [*outcomes, run_report(context, run_id)]


# --- comparing ----------------------------------------------------------------------------


def tables(root: Path) -> dict[str, pl.DataFrame]:
    """Every published table, in a stable order."""
    warehouse = open_project(root).warehouse
    return {name: warehouse.table(name) for name in TABLES}


def differences(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> list[str]:
    """Names of the tables that differ in any value."""
    return [name for name in TABLES if not left[name].equals(right[name])]


def published(root: Path) -> dict[tuple[str, str], tuple[str, str, int, int]]:
    """Step and day to recipe, content and counts of the newest publication."""
    latest = open_project(root).warehouse.latest()
    return {
        (step, str(day)): (p.recipe, p.content, p.row_count, p.kept_count)
        for (step, day), p in latest.items()
    }


def release_folder(root: Path) -> Path:
    return (root / "releases" / "latest").resolve(strict=True)


def release_hashes(root: Path) -> dict[str, str]:
    """File of the latest release to its sha256; of the manifest without its clock values."""
    folder = release_folder(root)
    files = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
    manifest = json.loads(files["manifest.json"])
    del manifest["created_at"], manifest["run_id"]
    files["manifest.json"] = json.dumps(manifest, sort_keys=True).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} | {"": folder.name}


# --- switching things off, and dying ------------------------------------------------------


def switch_gates_off(patch: pytest.MonkeyPatch) -> None:
    """No gate is asked: where the gate is not the subject, its engine is most of the time."""
    patch.setattr(engine, "_judge", lambda *_: [])
    patch.setattr(releasing, "_judge", lambda *_: [])
    patch.setattr(inputs, "judge", lambda *_: [])
    patch.setattr(reporting, "judge", lambda *_: [])


def _die_after(patch: pytest.MonkeyPatch, point: str, count: int) -> None:
    """SIGKILL this process when the named function has returned `count` times."""
    name = point.rsplit(".", 1)[-1]
    owner: Any = {"warehouse": engine.Warehouse, "writer": releasing.releases.Writer}.get(
        point.split(".")[0], sys.modules[__name__]
    )
    original, calls = getattr(owner, name), []

    def fatal(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        calls.append(name)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    patch.setattr(owner, name, fatal)


def main(root: str, *points: str) -> None:
    """Run the project of `root` without gates; each point (`run_step=3`, `warehouse.stage_part=1`) is where it dies."""
    patch = pytest.MonkeyPatch()
    switch_gates_off(patch)
    for point in points:
        name, _, count = point.partition("=")
        _die_after(patch, name, int(count))
    run_all(Path(root), f"process {os.getpid()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
