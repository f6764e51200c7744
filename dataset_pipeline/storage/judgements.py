"""Which stored judgements hold now: of what is published, and of what was refused and is still open.

Lives here: reading the `checks` table. Keep out: judging (`expectations`), writing (`publishing`).
"""

from __future__ import annotations

from collections.abc import Iterable

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
