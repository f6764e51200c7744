"""What there is now, in numbers and lines: the end of `run`, and its JSON.

Lives here: counting what is published and released. Keep out: making anything (`running`), rendering (`show`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

from dataset_pipeline.assets.plan import Status, missing_days, stale_days
from dataset_pipeline.assets.steps import Context
from dataset_pipeline.records import DAILY_STEPS, RELEASE
from dataset_pipeline.storage import releases

SHOWN_REJECTS = 5
"""Enough to see what kind of fault it is; the release lists them all."""


_JUDGED = """SELECT * FROM (
        SELECT *, judged_at >= ? AS is_recent, CASE WHEN passed THEN 0 WHEN is_warning THEN 1 ELSE 2 END AS badness FROM checks)
    QUALIFY row_number() OVER (PARTITION BY step, name
        ORDER BY is_recent DESC, CASE WHEN is_recent THEN badness ELSE 0 END DESC, judged_at DESC) = 1"""
"""Days that are made again without a bad one pass: that must not hide the judgement that set it aside."""


def summarize(
    context: Context, status: Status, seconds: dict[str, float], since: dt.datetime
) -> dict[str, Any]:
    """The line of `run --json`: totals of what is published and released now.

    checks: of each expectation the worst judgement since `since`, else its newest one.
    """
    warehouse = context.warehouse
    batches = warehouse.query(
        "SELECT coalesce(sum(rows_ingested), 0)::BIGINT AS i, coalesce(sum(rows_rejected), 0)::BIGINT AS r FROM batches"
    ).row(0)
    dropped: dict[str, dict[str, int]] = {}
    for step in DAILY_STEPS:
        counted = warehouse.query(
            f'SELECT reason, count(*) AS n FROM main."{step}" WHERE NOT kept GROUP BY reason ORDER BY reason'
        )
        if counted.height:
            dropped[str(step)] = {str(reason): int(n) for reason, n in counted.iter_rows()}
    version = releases.latest_version(context.project.releases_path)
    folder = context.project.releases_path / version if version else None
    manifest = json.loads((folder / releases.MANIFEST).read_text(encoding="utf-8")) if folder else None
    if manifest and manifest["counts"]["withheld"]:
        dropped[RELEASE] = {"contradiction": manifest["counts"]["withheld"]}
    judged = warehouse.query(
        f"SELECT passed, is_warning, count(*) AS n FROM ({_JUDGED}) GROUP BY ALL", [since]
    )
    counts = {"passed": 0, "warned": 0, "failed": 0}
    for passed, is_warning, n in judged.iter_rows():
        counts["passed" if passed else "warned" if is_warning else "failed"] += int(n)
    return {
        "release": str(folder) if folder else None,
        "ingested": int(batches[0]),
        "rejected": int(batches[1]),
        "dropped": dropped,
        "released": manifest["counts"]["splits"] if manifest else {},
        "checks": counts,
        "missing_days": [str(day) for day in missing_days(status)],
        "stale_days": [str(day) for day in stale_days(status)],
        "seconds": seconds,
    }


def funnel(context: Context, summary: dict[str, Any]) -> list[tuple[str, int, int, dict[str, int]]]:
    """step, records in, kept, dropped by reason, of all that is published now."""
    rows = []
    for step in DAILY_STEPS:
        n, kept = context.warehouse.query(
            f'SELECT count(*) AS n, count(*) FILTER (kept) AS k FROM main."{step}"'
        ).row(0)
        rows.append((str(step), int(n), int(kept), summary["dropped"].get(str(step), {})))
    released = sum(summary["released"].values())
    if summary["release"]:
        rows.append((RELEASE, rows[-1][2], released, summary["dropped"].get(RELEASE, {})))
    return rows


def warnings(context: Context, since: dt.datetime) -> list[str]:
    """The warnings among the judgements that `summarize` counts, a line each."""
    found = context.warehouse.query(
        f"SELECT step, name, observed, days FROM ({_JUDGED}) WHERE is_warning ORDER BY step, name", [since]
    )
    lines = []
    for step, name, observed, days in found.iter_rows():
        facts = json.loads(observed)
        on = json.loads(days)
        culprits = f" by {', '.join(facts['culprits'])}" if facts.get("culprits") else ""
        limit = f" (limit {facts['limit']})" if facts.get("limit") else ""
        lines.append(
            f"{step}.{name}: {facts['observed']}{limit}{culprits}"
            + (f" on {', '.join(on[:5])}" if on and on != ["all"] else "")
        )
    return lines


def first_rejects(context: Context) -> list[str]:
    """Where the first rejected rows are and what is wrong with them; never what they say."""
    found = context.warehouse.query("SELECT uri, line, reason, detail FROM rejects ORDER BY day, uri, line")
    lines = [
        f"rejected {uri}:{line}: {reason} ({detail})"
        for uri, line, reason, detail in found.head(SHOWN_REJECTS).iter_rows()
    ]
    left = found.height - len(lines)
    return [*lines, f"and {left} more: see rejects.parquet of the release"] if left else lines


def relative(path: Path) -> str:
    """`path` as seen from where the user stands."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(path)
