"""Which stored judgements hold now: of what is published, and of what was refused and is still open.

Lives here: reading the tables `checks` and `refusals`, one judgement in words. Keep out: judging (`expectations`), writing (`publishing`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from dataset_pipeline.storage.publishing import CheckRow, Day, word
from dataset_pipeline.storage.warehouse import Warehouse

_SQL = """
WITH by_day AS (
    SELECT * FROM (SELECT *, unnest(judged_days) AS day FROM checks)
    WHERE (is_published OR list_contains($unfinished::VARCHAR[], step || ' ' || day))
        AND ($step::VARCHAR IS NULL OR step = $step::VARCHAR) AND (len($days::VARCHAR[]) = 0 OR list_contains($days::VARCHAR[], day))
    QUALIFY row_number() OVER (PARTITION BY step, name, day ORDER BY judged_at DESC) = 1),
told AS (
    SELECT *, passed OR (len(days) > 0 AND NOT list_contains(days, day)) AS holds FROM by_day)
SELECT step, name, severity, frame, holds AS passed, is_warning AND NOT holds AS is_warning, observed, days FROM told
QUALIFY row_number() OVER (PARTITION BY step, name
    ORDER BY CASE WHEN holds THEN 0 WHEN told.is_warning THEN 1 ELSE 2 END DESC, judged_at DESC, day) = 1
ORDER BY step, name
"""


def judgements(
    warehouse: Warehouse,
    step: str | None = None,
    days: Iterable[Day] = (),
    unfinished: Iterable[tuple[str, Day]] = (),
) -> list[CheckRow]:
    """Of each expectation the worst judgement that holds now; of one step and of some days where given.

    For each day its newest judgement counts. One of rows that were refused counts only for the steps
    and days in `unfinished`: a day that is up to date again is told by what is published of it.
    """
    found = warehouse.query(
        _SQL,
        {
            "step": step,
            "days": [word(day) for day in days],
            "unfinished": [f"{name} {word(day)}" for name, day in unfinished],
        },
    )
    return [CheckRow(**(row | {"days": tuple(row["days"])})) for row in found.iter_rows(named=True)]


@dataclass(frozen=True)
class Refusal:
    """Rows of a step and day that a gate refused, and nothing was published since."""

    attempt: str | None
    """A hash of what was tried; None where it was not told."""
    reasons: tuple[str, ...]
    """Of each critical expectation that failed on the day: name, observed value, limit."""


_REFUSED = """
WITH newest AS (
    SELECT * FROM refusals
    QUALIFY row_number() OVER (PARTITION BY step, day ORDER BY refused_at DESC) = 1),
standing AS (
    SELECT r.* FROM newest r
    LEFT JOIN (SELECT step, day, max(seq) AS seq FROM publications GROUP BY ALL) p
        ON p.step = r.step AND p.day IS NOT DISTINCT FROM r.day
    WHERE p.seq IS NOT DISTINCT FROM r.seq)
SELECT s.step, s.day, s.attempt, c.name, c.observed
FROM standing s JOIN checks c ON c.step = s.step AND c.run_id = s.run_id AND c.judged_at = s.refused_at
WHERE NOT c.is_published AND NOT c.passed AND NOT c.is_warning
    AND (list_contains(c.days, coalesce(s.day::VARCHAR, 'all')) OR NOT list_has_any(c.days, c.judged_days))
ORDER BY s.step, s.day, c.name
"""


def refusals(warehouse: Warehouse) -> dict[tuple[str, Day], Refusal]:
    """Step and day to the refusal that stands: the newest attempt at it was refused by its gate.

    Of a run over several days those that were blamed; all of them where none was.
    """
    found: dict[tuple[str, Day], Refusal] = {}
    for step, day, attempt, name, observed in warehouse.query(_REFUSED).iter_rows():
        facts = json.loads(observed)
        limit = f" (limit {facts['limit']})" if facts.get("limit") else ""
        reason = f"{name} observed {facts['observed']}{limit}"
        earlier = found[(step, day)].reasons if (step, day) in found else ()
        found[(step, day)] = Refusal(attempt, (*earlier, reason))
    return found


def has_refused(warehouse: Warehouse) -> bool:
    """Whether rows were ever refused by a gate, or a step was judged and not published."""
    return warehouse.query("SELECT 1 FROM checks WHERE NOT is_published LIMIT 1").height > 0


SHOWN_DAYS = 5


def line_of(check: CheckRow) -> str:
    """A judgement as people read it: the expectation, what was observed, its limit, who did it, on which days."""
    facts = json.loads(check.observed)
    culprits = f" by {', '.join(map(str, facts['culprits']))}" if facts.get("culprits") else ""
    limit = f" (limit {facts['limit']})" if facts.get("limit") else ""
    more = f" and {len(check.days) - SHOWN_DAYS} more days" if len(check.days) > SHOWN_DAYS else ""
    has_days = bool(check.days) and check.days != ("all",)
    on = f" on {', '.join(check.days[:SHOWN_DAYS])}{more}" if has_days else ""
    return f"{check.step}.{check.name}: {facts['observed']}{limit}{culprits}{on}"
