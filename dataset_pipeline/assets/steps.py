"""Each daily step by its name: what `engine` calls to compute one.

Lives here: the table of steps. Keep out: what a step does (`intake`, `looking_back`, `row_local`); claims, staging,
publishing (`engine`), Dagster (`graph`).
"""

from __future__ import annotations

from collections.abc import Callable

from dataset_pipeline.assets.context import Context, Days, Stage, Work
from dataset_pipeline.assets.intake import ingest_work
from dataset_pipeline.assets.looking_back import dedup_work, label_work, split_work
from dataset_pipeline.assets.row_local import decontaminate_work, filter_work, normalize_work
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.records import Step


def work(context: Context, undated: Undated, step: Step, days: Days, stage: Stage) -> Work:
    """Compute `step` for `days` from what is published. Raises BadDay for days without a usable input.

    stage: for rows that are too many to be held at once.
    """
    return _WORK[step](context, undated, days, stage)


_WORK: dict[Step, Callable[[Context, Undated, Days, Stage], Work]] = {
    Step.INGEST: lambda context, _, days, stage: ingest_work(context, days, stage),
    Step.DEDUP: lambda context, undated, days, _: dedup_work(context, undated, days),
    Step.FILTER: filter_work,
    Step.NORMALIZE: normalize_work,
    Step.DECONTAMINATE: decontaminate_work,
    Step.LABEL: lambda context, undated, days, _: label_work(context, undated, days),
    Step.SPLIT: lambda context, undated, days, _: split_work(context, undated, days),
}
