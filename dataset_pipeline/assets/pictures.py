"""What a materialization shows of its days beyond their rows: pictures, and what changed against the day before.

Lives here: counting for `transforms.pictures`, and the sentence about the day before. Keep out: shapes
(`transforms.pictures`), the other facts of a day (`metadata`).

Only the last days of a range have pictures: a backfill of two years shows hundreds of days, and Dagster stores every
picture with the event of its day.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl

from dataset_pipeline.assets.recipes import Latest
from dataset_pipeline.records import DAILY_STEPS, Step
from dataset_pipeline.spec.params import LabelParams
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms import pictures

PICTURED_DAYS = 31
"""The last days of a range that have pictures, each its own."""
MAX_TEXT_ROWS = 200_000
"""Records whose characters are counted for a picture of ingest or dedup: nothing has measured them yet."""
OTHER, NONE = "(other)", "(none)"
"""A label that the spec does not know, which is somebody's words and may be anything; and no label at all."""
_MEASURED = frozenset(DAILY_STEPS[DAILY_STEPS.index(Step.FILTER) :])
_OWN_LABEL = frozenset({Step.LABEL, Step.SPLIT})
_CHANGED_SHARE = 0.05
"""A label is named where its share differs by this much."""
_NAMED_LABELS = 3

Counts = dict[dt.date, Counter[str]]


@dataclass(frozen=True)
class Numbers:
    """Counted once for all days that are pictured."""

    labels: Counts
    """Day to label of the spec to kept records; empty for a task without labels."""
    lengths: dict[str, dict[dt.date, Counter[int]]]
    """What is counted (`words of the prompt`) to day to length to kept records."""


def pictured(days: Sequence[dt.date]) -> list[dt.date]:
    """The days of a run that have pictures."""
    return sorted(days)[-PICTURED_DAYS:]


def numbers(
    warehouse: Warehouse, step: Step, days: Sequence[dt.date], params: LabelParams, latest: Latest
) -> Numbers:
    """What the pictures of `days` show. Reads measures of the steps before, and no text of a record where they are many."""
    before = day_before(latest, step, min(days)) if days else None
    labels = _labels(warehouse, step, [*days, *([before] if before else [])], params)
    rows = sum(p.row_count for day in days if (p := latest.get((step, day))) is not None)
    if step in _MEASURED:
        return Numbers(labels, _words(warehouse, step, days, params))
    return Numbers(labels, _characters(warehouse, step, days) if rows <= MAX_TEXT_ROWS else {})


def of_day(
    found: Numbers, step: Step, day: dt.date, latest: Latest, dropped: Mapping[str, int]
) -> dict[str, str]:
    """Name to Markdown: the funnel up to this step, what it dropped, labels and lengths of what it kept."""
    steps = DAILY_STEPS[: DAILY_STEPS.index(step) + 1]
    funnel = [(str(s), p.row_count, p.kept_count) for s in steps if (p := latest.get((s, day))) is not None]
    shown = {"funnel": pictures.funnel(funnel)} if any(came for _, came, _ in funnel) else {}
    losses = {reason: n for reason, n in dropped.items() if n}
    if losses:
        shown["dropped_by_reason"] = pictures.bars("records dropped by reason", losses, is_loss=True)
    if labels := found.labels.get(day):
        shown["labels"] = pictures.bars("records kept by label", labels)
    for what, by_day in found.lengths.items():
        if lengths := by_day.get(day):
            unit, side = what.split(" ")[0], what.split(" ")[-1]
            shown[f"{side}_{unit}"] = pictures.columns(f"records by {what}", unit, lengths)
    return shown


def day_before(latest: Latest, step: str, day: dt.date) -> dt.date | None:
    """The last earlier day of the step that is published."""
    return max((on for name, on in latest if name == step and on is not None and on < day), default=None)


def against(found: Numbers | None, step: str, day: dt.date, before: dt.date | None, latest: Latest) -> str:
    """A sentence: records, the share that is kept, and labels whose share moved, against the published day before."""
    now = latest.get((step, day))
    if now is None:
        return "nothing is published"
    if before is None:
        return "the first published day"
    then = latest[(step, before)]
    parts = [f"records {then.row_count:,} → {now.row_count:,}"]
    if then.row_count:
        change = 100 * (now.row_count - then.row_count) / then.row_count
        parts[0] += f" ({change:+.0f} %)"
    if then.row_count and now.row_count:
        parts.append(
            f"kept {100 * then.kept_count / then.row_count:.0f} % → {100 * now.kept_count / now.row_count:.0f} %"
        )
    if found is not None:
        parts += _moved(found.labels.get(before, Counter()), found.labels.get(day, Counter()))
    return f"{before}: {'; '.join(parts)}"


def _moved(then: Counter[str], now: Counter[str]) -> list[str]:
    if not then or not now:
        return []
    shares = {name: (then[name] / then.total(), now[name] / now.total()) for name in {*then, *now}}
    moved = [(abs(b - a), name, a, b) for name, (a, b) in shares.items() if abs(b - a) >= _CHANGED_SHARE]
    moved.sort(key=lambda m: (-m[0], m[1]))
    words = [f"{name[:40]} {100 * a:.0f} % → {100 * b:.0f} %" for _, name, a, b in moved[:_NAMED_LABELS]]
    return [
        *words,
        *([f"and {len(moved) - _NAMED_LABELS} more"] if len(moved) > _NAMED_LABELS else []),
    ]


# --- counting -----------------------------------------------------------------------------


def _labels(warehouse: Warehouse, step: Step, days: Sequence[dt.date], params: LabelParams) -> Counts:
    if not params.answers_are_labels or not days:
        return {}
    table = Step.LABEL if step in _OWN_LABEL else Step.INGEST
    counted = warehouse.query(
        f"""SELECT s.day, trim(l.label) AS label, count(*) AS n FROM main."{step}" AS s
        JOIN main."{table}" AS l USING (record_id) WHERE s.kept AND list_contains($days, s.day)
        AND list_contains($days, l.day) GROUP BY ALL""",
        {"days": list(days)},
    )
    found: Counts = {}
    for day, label, n in counted.iter_rows():
        name = params.label_names.get(label.casefold(), OTHER) if label else NONE
        found.setdefault(day, Counter())[name] += n
    return found


def _words(
    warehouse: Warehouse, step: Step, days: Sequence[dt.date], params: LabelParams
) -> dict[str, dict[dt.date, Counter[int]]]:
    # Of a classification the answer is the label: its words say nothing.
    sides = ("prompt",) if params.answers_are_labels else ("prompt", "answer")
    return {
        f"words of the {side}": _by_length(
            warehouse.query(
                f"""SELECT s.day, m.{side}_words AS size, count(*) AS n FROM main."{step}" AS s
                JOIN main.filter AS m USING (record_id) WHERE s.kept AND list_contains($days, s.day)
                AND list_contains($days, m.day) GROUP BY ALL""",
                {"days": list(days)},
            )
        )
        for side in sides
    }


def _characters(
    warehouse: Warehouse, step: Step, days: Sequence[dt.date]
) -> dict[str, dict[dt.date, Counter[int]]]:
    counted = warehouse.query(
        f"""SELECT s.day, list_sum(list_transform(m.messages, lambda x: length(x.content)))::BIGINT AS size, count(*) AS n
        FROM main."{step}" AS s JOIN main.ingest AS m USING (record_id) WHERE s.kept AND list_contains($days, s.day)
        AND list_contains($days, m.day) GROUP BY ALL""",
        {"days": list(days)},
    )
    return {"characters of the record": _by_length(counted)}


def _by_length(counted: pl.DataFrame) -> dict[dt.date, Counter[int]]:
    found: dict[dt.date, Counter[int]] = {}
    for day, size, n in counted.iter_rows():
        if size is not None:  # retention has taken the text out
            found.setdefault(day, Counter())[int(size)] += n
    return found


def label_params(params: Mapping[str, object]) -> LabelParams:
    """The params of the step that knows the spec's labels."""
    return cast(LabelParams, params[Step.LABEL])
