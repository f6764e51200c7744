"""What there is now, in numbers and lines: the end of `run`, and its JSON.

Lives here: counting what is published and released. Keep out: making anything (`running`), rendering (`show`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.judged import held
from dataset_pipeline.assets.plan import Status, missing_days, stale_days
from dataset_pipeline.cli.finding import read_manifest
from dataset_pipeline.cli.outputs import Checks, RunOutput, Waiting
from dataset_pipeline.cli.rescanning import contaminated
from dataset_pipeline.records import DAILY_STEPS, IN_REVIEW, RELEASE, TABLES, Step
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.judgements import line_of

SHOWN_REJECTS = 12
"""Kinds of rejected rows that are shown, one of each; the release lists every row."""


def summarize(context: Context, status: Status, seconds: dict[str, float]) -> dict[str, Any]:
    """The line of `run --json` (`outputs.RunOutput`): totals of what is published and released now.

    checks: of each expectation the worst judgement that holds: of what is published, and of rows
    that were refused and whose day is not up to date since. Raises BrokenRelease for a manifest that is none.
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
    manifest = read_manifest(folder) if folder else None
    if manifest and manifest["counts"]["withheld"]:
        dropped[RELEASE] = manifest["counts"]["funnel"][-1]["dropped"]
    counts = {"passed": 0, "warned": 0, "failed": 0}
    for check in held(context, status):
        counts["passed" if check.passed else "warned" if check.is_warning else "failed"] += 1
    output = RunOutput(
        release=str(folder) if folder else None,
        ingested=int(batches[0]),
        rejected=int(batches[1]),
        dropped=dropped,
        released=manifest["counts"]["splits"] if manifest else {},
        checks=Checks(**counts),
        missing_days=[str(day) for day in missing_days(status)],
        stale_days=[str(day) for day in stale_days(status)],
        contaminated_releases=contaminated(context.project),
        seconds=seconds,
    )
    # Only what the line of the contract has, where there is nothing else to say.
    return output.model_dump(exclude_defaults=True)


def waiting(context: Context) -> Waiting:
    """What waits for a person now: records in review by step and rule, without a label, and withheld."""
    in_review: dict[str, dict[str, int]] = {}
    for step in DAILY_STEPS:
        if "review" not in TABLES[step]:
            continue
        counted = context.warehouse.query(
            f"""SELECT coalesce(detail ->> '$.rule', ?) AS rule, count(*)::BIGINT AS n FROM main."{step}"
            WHERE reason = ? GROUP BY rule ORDER BY rule""",
            [IN_REVIEW, IN_REVIEW],
        )
        if counted.height:
            in_review[str(step)] = dict(counted.iter_rows())
    unlabelled = context.warehouse.query(
        f"""SELECT count(*) FILTER (reason = 'unlabelled') AS n, count(*) FILTER (reason = 'unknown_label') AS m
        FROM main."{Step.LABEL}" """
    ).row(0)
    # Not from the manifest: what waits is told, whatever became of the release's files.
    release = context.warehouse.latest().get((RELEASE, None))
    queue = context.project.queue_path
    return Waiting(
        in_review=in_review,
        unlabelled=int(unlabelled[0]),
        unknown_label=int(unlabelled[1]),
        contradictions=release.row_count - release.kept_count if release else 0,
        review_queue=str(queue) if queue.is_file() else None,
    )


def waiting_lines(found: Waiting) -> list[str]:
    """What waits, in words, a line each; none where nothing waits."""
    lines = []
    for step, rules in found.in_review.items():
        words = ", ".join(f"{rule} {n}" for rule, n in rules.items())
        lines.append(f"in review after {step}: {sum(rules.values())} ({words})")
    for what, n in (
        ("without a label", found.unlabelled),
        ("with a label that the spec does not know", found.unknown_label),
        ("withheld: the same prompt with another answer", found.contradictions),
    ):
        lines += [f"{what}: {n}"] if n else []
    if found.review_queue is not None:
        lines.append(f"listed in {relative(Path(found.review_queue))}")
    return lines


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


def warnings(context: Context, status: Status) -> list[str]:
    """The warnings that hold now, a line each."""
    return [line_of(check) for check in held(context, status) if check.is_warning]


def first_rejects(context: Context) -> list[str]:
    """The first rejected row of each kind (source and reason): where it is and what is wrong; never what it says."""
    found = context.warehouse.query(
        """SELECT uri, line, reason, detail, count(*) OVER kind AS n FROM rejects
        WINDOW kind AS (PARTITION BY source, reason)
        QUALIFY row_number() OVER (PARTITION BY source, reason ORDER BY day, uri, line) = 1
        ORDER BY day, uri, line"""
    )
    lines = [
        f"rejected {uri}:{line}: {reason} ({detail})" + (f", and {n - 1} more of this kind" if n > 1 else "")
        for uri, line, reason, detail, n in found.head(SHOWN_REJECTS).iter_rows()
    ]
    left = found.height - len(lines)
    return [*lines, f"and {left} kinds more: see rejects.parquet of the release"] if left else lines


def reject_counts(context: Context) -> dict[str, dict[str, int]]:
    """source to reason to the number of rows that are rejected now."""
    counts: dict[str, dict[str, int]] = {}
    found = context.warehouse.query(
        "SELECT source, reason, count(*)::BIGINT AS n FROM rejects GROUP BY ALL ORDER BY source, n DESC, reason"
    )
    for source, reason, n in found.iter_rows():
        counts.setdefault(source, {})[reason] = n
    return counts


def relative(path: Path) -> str:
    """`path` as seen from where the user stands."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(path)
