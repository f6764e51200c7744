"""What Dagster loads: the assets of one spec, the night that makes them, and what watches between nights.

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
from dataset_pipeline.transforms.redaction import shown

SPEC_VARIABLE = "DATASET_PIPELINE_SPEC"
DEFAULT_SPEC = "data/dataset.yaml"


def build_definitions(project: Project, published: Iterable[dt.date] = ()) -> dg.Definitions:
    """All of a project: assets, jobs, the night, what watches. Raises SpecError where no source has a file.

    published: days of the warehouse, some of which may have lost their files: they are made again, empty.
    """
    # Here and not above: a command needs the assets alone.
    from dataset_pipeline.automation.arrivals import build_arrivals
    from dataset_pipeline.automation.failed_runs import build_alarm
    from dataset_pipeline.automation.health import build_checks, build_health_job
    from dataset_pipeline.automation.night import build_night

    night, nightly = build_night(project)
    checks = build_checks(project)
    return dg.Definitions(
        assets=build_assets(project, _days(project, published)),
        asset_checks=checks,
        jobs=[
            dg.define_asset_job(
                "dataset", selection="*", description="Every step and the release, for chosen days."
            ),
            night,
            build_health_job(checks),
        ],
        schedules=[nightly],
        sensors=[build_arrivals(project, night), build_alarm(project)],
        # DuckDB has one writer: steps run one after the other in the run's own process.
        executor=dg.in_process_executor,
    )


def assets_alone(project: Project, published: Iterable[dt.date] = ()) -> dg.Definitions:
    """The assets of a project, for a command: it asks what watches by itself. Raises SpecError as `build_definitions`."""
    return dg.Definitions(
        assets=build_assets(project, _days(project, published)), executor=dg.in_process_executor
    )


def _days(project: Project, published: Iterable[dt.date]) -> list[dt.date]:
    """The days of the files and of the warehouse, and every day between. Raises SpecError where there is none."""
    found = discover(project)
    days = calendar(project, found)
    if not days:
        raise SpecError(
            list(found.problems) or [Problem(project.path.name, "no source has a file.", "Add one.")]
        )
    start = project.spec.start
    every = {*days, *(day for day in published if start is None or day >= start)}
    return [min(every) + dt.timedelta(days=n) for n in range((max(every) - min(every)).days + 1)]


@dg.definitions
def defs() -> dg.Definitions:
    """The code location: loaded by `dagster dev`, `dagster definitions validate` and `workspace.yaml`."""
    try:
        project = load_project(os.environ.get(SPEC_VARIABLE, DEFAULT_SPEC))
        published: list[dt.date] = []
        with contextlib.suppress(WarehouseBusy, WarehouseVersion):
            latest = Warehouse(project.warehouse_path, wait_seconds=1.0).latest()
            published = [day for _, day in latest if day is not None]
        return build_definitions(project, published)
    except SpecError as error:
        # Dagster shows and logs it: names of files as they are shown everywhere.
        problems = [Problem(shown(p.place), shown(p.message), shown(p.remedy)) for p in error.problems]
    raise SpecError(problems)
