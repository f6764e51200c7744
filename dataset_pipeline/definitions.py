"""What Dagster loads: the assets of one spec, nothing else.

The spec is the one that DATASET_PIPELINE_SPEC names, else `data/dataset.yaml`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterable

import dagster as dg

from dataset_pipeline.assets.graph import build_assets
from dataset_pipeline.errors import Problem, SpecError, WarehouseBusy, WarehouseVersion
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.storage.sources import calendar, discover
from dataset_pipeline.storage.warehouse import Warehouse

SPEC_VARIABLE = "DATASET_PIPELINE_SPEC"
DEFAULT_SPEC = "data/dataset.yaml"


def build_definitions(project: Project, published: Iterable[dt.date] = ()) -> dg.Definitions:
    """The definitions of a project. Raises SpecError where no source has a file: there is no day then.

    published: days of the warehouse, some of which may have lost their files: they are made again, empty.
    """
    found = discover(project)
    days = calendar(project, found)
    if days:
        every = {
            *days,
            *(day for day in published if project.spec.start is None or day >= project.spec.start),
        }
        days = [min(every) + dt.timedelta(days=n) for n in range((max(every) - min(every)).days + 1)]
    if not days:
        raise SpecError(
            list(found.problems) or [Problem(project.path.name, "no source has a file.", "Add one.")]
        )
    return dg.Definitions(
        assets=build_assets(project, days),
        jobs=[
            dg.define_asset_job(
                "dataset", selection="*", description="Every step and the release, for chosen days."
            )
        ],
        # DuckDB has one writer: steps run one after the other in the run's own process.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location: loaded by `dagster dev`, `dagster definitions validate` and `workspace.yaml`."""
    project = load_project(os.environ.get(SPEC_VARIABLE, DEFAULT_SPEC))
    published: list[dt.date] = []
    with contextlib.suppress(WarehouseBusy, WarehouseVersion):
        latest = Warehouse(project.warehouse_path, wait_seconds=1.0).latest()
        published = [day for _, day in latest if day is not None]
    return build_definitions(project, published)
