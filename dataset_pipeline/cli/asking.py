"""`status` and `explain`: what is there and why, for the whole project and for one record.

Lives here: reading and saying. Keep out: texts of records; `explain` shows where a record is, not what it says.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.plan import State, ranges, status_of
from dataset_pipeline.assets.protecting import protected_recipe
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.cli import show
from dataset_pipeline.cli.running import plan_lines
from dataset_pipeline.cli.summary import reject_counts
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import DAILY_STEPS, PROTECTED
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import releases


def status(spec: Path, as_json: bool) -> int:
    """A line per step: published, stale and missing days, and why."""
    out = show.console(as_json)
    context = context_of(load_project(spec))
    found = status_of(context, protected_recipe(context))
    latest = context.warehouse.latest()
    version = releases.latest_version(context.project.releases_path)
    is_current = is_released(context, latest, release_recipe(context, latest, found))
    table = Table(box=None, pad_edge=False)
    for column in ("step", "published", "stale", "missing", "rows", "kept"):
        table.add_column(column, justify="right" if column in ("rows", "kept") else "left")
    for step in (PROTECTED, *DAILY_STEPS):
        entries = [e for e in found.entries if e.step == step]
        cells = [_days([e.day for e in entries if e.state is state]) for state in State]
        table.add_row(str(step), *cells, str(sum(e.rows for e in entries)), str(sum(e.kept for e in entries)))
    out.print(table)
    rejected = reject_counts(context)
    for source, counts in rejected.items():
        reasons = ", ".join(f"{reason} {n}" for reason, n in counts.items())
        out.print(f"rejected of {source}: {sum(counts.values())} ({reasons})")
    for steps, words in plan_lines(found):
        out.print(f"{steps}: {words}")
    out.print(
        f"release: {version or 'none yet'}" + ("" if is_current else " (out of date)" if version else "")
    )
    if as_json:
        listed = [
            {"step": str(e.step), "day": str(e.day) if e.day else None, "state": e.state.value, "reasons": list(e.reasons),
             "rows": e.rows, "kept": e.kept}
            for e in found.entries
        ]  # fmt: skip
        print(
            json.dumps(
                {"steps": listed, "rejected": rejected, "release": version, "release_is_current": is_current},
                ensure_ascii=False,
            )
        )
    return 0


def _days(days: list[dt.date | None]) -> str:
    if days == [None]:
        return "yes"
    words = [show.day_range(a, b) for a, b in ranges(d for d in days if d is not None)]
    return f"{', '.join(words[:3])}{', …' if len(words) > 3 else ''} ({len(days)})" if days else "none"


def explain(record: str, spec: Path, as_json: bool) -> int:
    """Origin, rights, each step's verdict with its measures, and the release. Returns 0, or 2 for an unknown record."""
    out = show.console(as_json)
    context = context_of(load_project(spec))
    ids = _find(context, record)
    rejected = _rejected(context, record) if not ids else pl.DataFrame()
    if not ids and not rejected.height:
        raise SpecError(
            [Problem(record, "no record or rejected row is known by that name.",
                     "Give a record id, SOURCE:ID with the source's own id, or FILE:LINE as in `status` and the manifest.")]
        )  # fmt: skip
    stories = [_story(context, record_id) for record_id in ids] + [
        {"rejected": {k: str(v) if isinstance(v, dt.date) else v for k, v in row.items()}}
        for row in rejected.iter_rows(named=True)
    ]
    for story in stories:
        _print_story(out, story)
    if as_json:
        print(json.dumps(stories, ensure_ascii=False, default=str))
    return 0


def _find(context: Context, record: str) -> list[str]:
    """Ids by record id (or its beginning, eight digits at least), SOURCE:ID, or FILE:LINE."""
    query = context.warehouse.query
    found = query(
        'SELECT record_id FROM main."ingest" WHERE record_id = ? OR (length(?) >= 8 AND starts_with(record_id, ?))',
        [record] * 3,
    )
    if not found.height and ":" in record:
        left, right = record.split(":", 1)
        found = query(
            'SELECT record_id FROM main."ingest" WHERE source = ? AND source_id = ? ORDER BY day, record_id',
            [left, right],
        )
        path, line = _place(context, record)
        if not found.height and line.isdigit():
            found = query(
                "SELECT record_id FROM main.\"ingest\" WHERE (uri = ? OR ends_with(uri, '/' || ?)) AND line = ? ORDER BY record_id",
                [path, path, int(line)],
            )
    return [str(r) for r in found["record_id"]] if found.height else []


def _place(context: Context, record: str) -> tuple[str, str]:
    """FILE and LINE of FILE:LINE; a file named from where the user stands becomes relative to the project."""
    path, _, line = record.rpartition(":")
    here = Path(path).resolve()
    is_inside = path != "" and here.is_file() and here.is_relative_to(context.project.root)
    return (here.relative_to(context.project.root).as_posix() if is_inside else path), line


def _rejected(context: Context, record: str) -> pl.DataFrame:
    path, line = _place(context, record)
    if not line.isdigit():
        return pl.DataFrame()
    # Of a day that was refused, the rejects wait in staging: nothing of it is published.
    return context.warehouse.query(
        """SELECT DISTINCT day, source, uri, line, byte_offset, reason, detail FROM (
            SELECT * FROM rejects UNION ALL BY NAME SELECT * EXCLUDE (token) FROM staging.rejects)
        WHERE (uri = ? OR ends_with(uri, '/' || ?)) AND line = ?""",
        [path, path, int(line)],
    )


_HIDDEN = frozenset({"record_id", "day", "kept", "reason", "detail", "messages", "bands", "comparison_key", "prompt_key",
                     "answer_key", "content_sha", "clean_sha", "person_names", "pii_spans"})  # fmt: skip


def _story(context: Context, record_id: str) -> dict[str, Any]:
    warehouse = context.warehouse
    origin = warehouse.query(
        """SELECT i.record_id, i.source, i.source_id, i.day::VARCHAR AS day, i.uri, i.line, i.byte_offset,
            b.license, b.holder, b.basis, array_to_string(b.uses, ', ') AS uses, b.kind, b.sha256 AS file_sha256
        FROM main."ingest" i LEFT JOIN batches b ON b.day = i.day AND b.source = i.source AND b.uri = i.uri
        WHERE i.record_id = ?""",
        [record_id],
    ).row(0, named=True)
    steps = []
    for step in DAILY_STEPS:
        frame = warehouse.query(f'SELECT * FROM main."{step}" WHERE record_id = ?', [record_id])
        if not frame.height:
            break
        row = frame.row(0, named=True)
        measured = (
            {}
            if step == DAILY_STEPS[0]
            else {k: v for k, v in row.items() if k not in _HIDDEN and v is not None}
        )
        detail = json.loads(row["detail"]) if row["detail"] else None
        steps.append(
            {
                "step": str(step),
                "kept": row["kept"],
                "reason": row["reason"],
                "detail": detail,
                "measured": measured,
            }
        )
    return {"origin": origin, "steps": steps, "release": _in_release(context, record_id)}


def _in_release(context: Context, record_id: str) -> dict[str, Any] | None:
    """What the newest release did with the record."""
    version = releases.latest_version(context.project.releases_path)
    if version is None:
        return None
    folder = context.project.releases_path / version
    kept = (
        pl.scan_parquet(folder / "provenance.parquet")
        .filter(pl.col("record_id") == record_id)
        .select("split", "row")
        .collect()
    )
    if kept.height:
        return {"version": version, "released": True, **kept.row(0, named=True)}
    gone = (
        pl.scan_parquet(folder / "dropped.parquet")
        .filter(pl.col("record_id") == record_id)
        .select("step", "reason", "detail")
        .collect()
    )
    if gone.height:
        row = gone.row(0, named=True)
        return {
            "version": version,
            "released": False,
            **row,
            "detail": json.loads(row["detail"]) if row["detail"] else None,
        }
    return {
        "version": version,
        "released": False,
        "step": None,
        "reason": "collected after this release",
        "detail": None,
    }


def _print_story(out: Any, story: dict[str, Any]) -> None:
    if "rejected" in story:
        row = story["rejected"]
        out.print(
            f"{row['uri']}:{row['line']} was rejected: {row['reason']} ({row['detail']}), byte {row['byte_offset']}"
        )
        return
    origin = story["origin"]
    name = f"{origin['source']}:{origin['source_id']}" if origin["source_id"] else origin["source"]
    out.print(f"record {origin['record_id']} ({name})")
    out.print(f"  from    {origin['uri']}, line {origin['line']}, collected {origin['day']}")
    out.print(f"  rights  {origin['license']}, {origin['holder']}, {origin['basis']}; uses: {origin['uses']}")
    for step in story["steps"]:
        verdict = "kept" if step["kept"] else f"dropped: {step['reason']}"
        why = f"  {_words(step['detail'])}" if step["detail"] else ""
        out.print(f"  {step['step']:<14}{verdict}{why}")
        shown = {k: v for k, v in step["measured"].items() if v not in ([], "")}
        if shown:
            out.print(
                "                " + ", ".join(f"{k} {_value(v)}" for k, v in shown.items()),
                style="dim" if out.is_terminal else None,
            )
    release = story["release"]
    if release is None:
        out.print("  release       none yet")
    elif release["released"]:
        out.print(f"  release       {release['version']}: {release['split']}, row {release['row']}")
    else:
        step = f" by {release['step']}" if release.get("step") else ""
        why = f"  {_words(release['detail'])}" if release.get("detail") else ""
        out.print(f"  release       not in {release['version']}{step}: {release['reason']}{why}")


def _words(detail: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{k} {_value(v)}" for k, v in detail.items()) + ")"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return " ".join(f"{item['name']} {item['count']}" for item in value)
    return str(value)
