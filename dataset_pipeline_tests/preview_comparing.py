"""What `preview` says held against what a run then does, record by record.

Lives here: the comparison, and planted records on top of the small project. Keep out: which changes are tried.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from dataset_pipeline.assets.previewing import Change, change_of
from dataset_pipeline.records import DAILY_STEPS
from dataset_pipeline.spec.load import load_project
from dataset_pipeline_tests import small_project as small

Verdicts = dict[str, dict[str, tuple[bool, str | None]]]
NOBODY = (None, None)


def verdicts(root: Path) -> Verdicts:
    """Step to record to (kept, reason), of the days of the calendar: rows before a spec's start are left lying."""
    context = small.open_project(root)
    days = small.status(context).days
    columns = ("record_id", "kept", "reason")
    return {
        str(step): {r: (k, why) for r, k, why in context.warehouse.table(step, days).select(columns).iter_rows()}
        for step in DAILY_STEPS
    }  # fmt: skip


def placed(root: Path) -> dict[str, tuple[str, str | None]]:
    """Record to split and label of everything that split keeps."""
    context = small.open_project(root)
    days = small.status(context).days
    labels = dict(context.warehouse.table("label", days).select("record_id", "label").iter_rows())
    kept = context.warehouse.table("split", days).filter("kept")
    return {r: (split, labels[r]) for r, split in kept.select("record_id", "split").iter_rows()}


def released(root: Path) -> dict[str, str]:
    """Record to split of everything that the newest release holds."""
    path = small.release_folder(root) / "provenance.parquet"
    return dict(pl.read_parquet(path, columns=["record_id", "split"]).iter_rows())


def change_to(root: Path, changes: dict[str, Any], limit: int = 20_000) -> Change:
    """What preview says of the small project's spec with `changes`; the spec is left as it is."""
    before = (root / "dataset.yaml").read_bytes()
    project = load_project(root / "dataset.yaml")
    try:
        small.write_spec(root, changes)
        after = replace(project, spec=load_project(root / "dataset.yaml").spec)
    finally:
        (root / "dataset.yaml").write_bytes(before)
    return change_of(project, after, limit)


def run_with(root: Path, changes: dict[str, Any]) -> None:
    small.write_spec(root, changes)
    small.run_all(root)


def differences(root: Path, changes: dict[str, Any], run: Any = run_with) -> tuple[Change, list[str]]:
    """Preview `changes`, then run them: what was said, and every record of which something else came true."""
    said = change_to(root, changes)
    now, now_placed, now_released = verdicts(root), placed(root), released(root)
    run(root, changes)
    then, then_placed, then_released = verdicts(root), placed(root), released(root)
    wrong: list[str] = []
    for step in map(str, DAILY_STEPS):
        told = {
            row["record_id"]: ((row["kept_now"], row["reason_now"]), (row["kept_then"], row["reason_then"]))
            for row in said.moves.filter(pl.col("step") == step).iter_rows(named=True)
        }
        for record in sorted(now[step].keys() | then[step].keys() | told.keys()):
            came = (now[step].get(record, NOBODY), then[step].get(record, NOBODY))
            expected = told.get(record, (came[0], came[0]))
            if came != expected:
                wrong.append(f"{step} {record}: said {expected}, came {came}")
    fates = {row["record_id"]: row for row in said.fates.iter_rows(named=True)}
    for record in sorted(now_placed.keys() | then_placed.keys() | fates.keys()):
        fate = fates.get(record)
        was, came_placed = now_placed.get(record, NOBODY), then_placed.get(record, NOBODY)
        if fate is not None and (fate["split_now"], fate["label_now"]) != was:
            wrong.append(f"split {record}: said to be in {fate['split_now']}, is in {was}")
        promised = was if fate is None else (fate["split_then"], fate["label_then"])
        if promised != came_placed:
            wrong.append(f"split {record}: said {promised}, came {came_placed}")
        was_released, came_released = now_released.get(record), then_released.get(record)
        told_now = was_released if fate is None else fate["split_now"] if fate["released_now"] else None
        told_then = was_released if fate is None else fate["split_then"] if fate["released_then"] else None
        if told_now != was_released or told_then != came_released:
            wrong.append(
                f"release {record}: said {told_now} to {told_then}, came {was_released} to {came_released}"
            )
    return said, wrong


# --- planted ------------------------------------------------------------------------------

SYMBOLS = f"The {small.MARKER} delivery van calendar forgets our Tuesday tour every single week"
_TAIL = (
    f"about the {small.MARKER} barn rota because the blue printout is wrong again and nobody here can read it"
)
EARLIER = f"Mail eve.long.name@north.example.com {_TAIL}"
LATER = f"Mail otto.other@south-west.example.org {_TAIL} today"
"""Near each other only once cleaned, in groups that the seed puts into different splits; the earlier has a word less."""
LONGER_WORDS = 26
"""Words of LATER; EARLIER has one less."""


def plant(root: Path) -> Path:
    """Add to the small project's inbox what only a change of filter brings together."""
    rows = {
        small.DAYS[0]: [("P1", SYMBOLS, "bug", "C201")],
        small.DAYS[1]: [
            (
                "P2",
                SYMBOLS + " " + "$€+=" * 15,
                "praise",
                "C201",
            ),
            ("P3", EARLIER, "wish", "C4"),
        ],
        small.DAYS[3]: [("P4", small.SHORT_EVAL, "bug", "C202")],
        small.DAYS[4]: [("P5", LATER, "wish", "C3")],
    }
    for day, planted in rows.items():
        path = root / f"sources/inbox/{day}.jsonl"
        lines = [
            json.dumps({"id": i, "message": m, "label": label, "customer": c, "sender": None})
            for i, m, label, c in planted
        ]
        path.write_text(path.read_text(encoding="utf-8") + "\n".join(lines) + "\n", encoding="utf-8")
    return root


def record_of(root: Path, source_id: str) -> str:
    """The record of a row of the inbox."""
    sql = f"SELECT record_id FROM main.\"ingest\" WHERE source_id = '{source_id}'"
    return str(small.open_project(root).warehouse.query(sql)["record_id"].item())
