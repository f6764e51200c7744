"""Which judgements hold now, of all steps: what the end of a run and the report page say of the gates.

Lives here: leaving out what was refused and is up to date again. Keep out: the query (`storage.judgements`), judging.
"""

from __future__ import annotations

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.plan import State, Status, status_of
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.records import RELEASE
from dataset_pipeline.storage.judgements import has_refused, judgements
from dataset_pipeline.storage.publishing import CheckRow


def held(context: Context, status: Status | None = None) -> list[CheckRow]:
    """The judgements that hold now: of what is published, and of what was refused and is not up to date since.

    status: where the caller has it; else it is asked only if something was ever refused.
    """
    if status is None:
        if not has_refused(context.warehouse):
            return judgements(context.warehouse)
        status = status_of(context)
    unfinished = [(entry.step, entry.day) for entry in status.of(State.STALE, State.MISSING)]
    latest = context.warehouse.latest()
    if not is_released(context, latest, release_recipe(context, latest, status)):
        unfinished.append((RELEASE, None))
    return judgements(context.warehouse, unfinished=unfinished)
