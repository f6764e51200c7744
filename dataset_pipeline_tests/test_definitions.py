"""What Dagster loads: assets, checks, words and dependencies, made from the sample's spec."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

from dataset_pipeline import clock
from dataset_pipeline.assets import lineage
from dataset_pipeline.definitions import build_definitions
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import DAILY_STEPS, INPUTS, RELEASE, REPORT, TABLES
from dataset_pipeline.spec.load import load_project
from dataset_pipeline_tests.small_project import make_project

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "data" / "dataset.yaml"
SOURCES = {"support_inbox", "app_reviews", "partner_survey", "paraphrases"}
KINDS = {RELEASE: {"jsonl", "parquet"}, REPORT: {"csv"}}
STEPS = [*INPUTS, *map(str, DAILY_STEPS), RELEASE, REPORT]

DEPENDENCIES = {
    "ingest": {f"source/{name}" for name in SOURCES} | {"reviews"},
    "dedup": {"ingest", "annotations"},
    "filter": {"dedup", "reviews"},
    "normalize": {"filter"},
    "decontaminate": {"normalize", "protected", "reviews"},
    "label": {"decontaminate", "annotations", "reviews"},
    "split": {"label"},
    "protected": set(),
    "reviews": set(),
    "annotations": set(),
    "report": {"release"},
    # The card and the manifest say what was kept out: the release reads the protected items too.
    "release": {"split", "protected"},
}
GROUPS = {
    "ingest": "curate",
    "dedup": "curate",
    "filter": "curate",
    "normalize": "curate",
    "decontaminate": "curate",
    "label": "label",
    "split": "label",
    "protected": "sources",
    "reviews": "sources",
    "annotations": "sources",
    "report": "release",
    "release": "release",
}


@cache
def specs() -> dict[str, dg.AssetSpec]:
    definitions = build_definitions(load_project(SPEC))
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


@cache
def checks() -> dict[str, dict[str, str]]:
    """Asset to check to its description."""
    graph = build_definitions(load_project(SPEC)).resolve_asset_graph()
    found: dict[str, dict[str, str]] = {}
    for key in graph.asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), {})[key.name] = (
            graph.get_check_spec(key).description or ""
        )
    return found


def test_definitions_validate_loads_the_workspace(tmp_path: Path) -> None:
    environment = os.environ | {"DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"}
    environment.pop("DATASET_PIPELINE_SPEC", None)
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_definitions_validate_spec_that_is_wrong_fails_and_names_the_place(tmp_path: Path) -> None:
    spec = tmp_path / "dataset.yaml"
    spec.write_text("name: broken\n", encoding="utf-8")
    environment = os.environ | {"DATASET_PIPELINE_SPEC": str(spec), "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "dataset.yaml: sources: is missing" in done.stdout + done.stderr


def test_definitions_hold_every_source_and_step_and_nothing_else() -> None:
    assert set(specs()) == {*STEPS, *(f"source/{name}" for name in SOURCES)}


@pytest.mark.parametrize("step", STEPS)
def test_step_depends_on_what_it_reads(step: str) -> None:
    assert {dep.asset_key.to_user_string() for dep in specs()[step].deps} == DEPENDENCIES[step]


@pytest.mark.parametrize("step", STEPS)
def test_step_shows_each_expectation_as_a_check_with_its_fault(step: str) -> None:
    expected = {e.name: f"{e.fault} ({e.severity})" for e in EXPECTATIONS[step]}
    shown = dict(checks()[step])
    assert "(warning)" in shown.pop("up_to_date")
    assert shown == expected
    assert expected, "a step without a gate"


@pytest.mark.parametrize("step", STEPS)
def test_step_says_what_it_is(step: str) -> None:
    spec = specs()[step]
    assert spec.group_name == GROUPS[step]
    assert len(spec.description or "") > 40
    assert spec.kinds == KINDS.get(step, {"polars", "duckdb"})
    assert spec.tags["step"] == step
    assert spec.code_version


@pytest.mark.parametrize("step", [s for s in STEPS if s in TABLES])
def test_step_shows_its_table_and_describes_every_column(step: str) -> None:
    metadata = specs()[step].metadata
    assert metadata["dagster/table_name"] == f"main.{step}"
    columns = metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == list(TABLES[step])
    assert [column.name for column in columns if not column.description] == []


@pytest.mark.parametrize("step", STEPS)
def test_step_has_days_where_the_step_is_daily(step: str) -> None:
    partitions = specs()[step].partitions_def
    if step not in set(map(str, DAILY_STEPS)):
        assert partitions is None
        return
    assert partitions is not None
    keys = partitions.get_partition_keys()
    assert (keys[0], keys[11]) == ("2026-10-19", "2026-10-30")  # nights to come may follow


def days_of_ingest(monkeypatch: pytest.MonkeyPatch, now: dt.datetime) -> list[str]:
    """The calendar of the sample, whose newest file is of 2026-10-30, as it is loaded and read at `now`."""
    monkeypatch.setattr(clock, "now", lambda: now)
    loaded = build_definitions(load_project(SPEC)).resolve_asset_graph().get(dg.AssetKey("ingest"))
    assert loaded.partitions_def is not None
    with dg.partition_loading_context(effective_dt=now) as context:
        # As the plots of the UI ask: the newest 120 days, from the last one back.
        newest = list(
            loaded.partitions_def.get_paginated_partition_keys(context, limit=120, ascending=False).results
        )
    keys = list(loaded.partitions_def.get_partition_keys(current_time=now))
    assert list(reversed(newest)) == keys[-len(newest) :], "the plots show other days than there are"
    return keys


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC), "2026-11-02"),  # nights that have not run yet
        (dt.datetime(2026, 10, 30, 12, tzinfo=dt.UTC), "2026-10-30"),  # a file of today
        (dt.datetime(2027, 6, 1, tzinfo=dt.UTC), "2026-10-30"),  # files of long ago: history
    ],
)
def test_calendar_is_open_while_nights_go_on_and_ends_with_history(
    monkeypatch: pytest.MonkeyPatch, now: dt.datetime, last: str
) -> None:
    days = days_of_ingest(monkeypatch, now)
    assert (days[0], days[-1]) == ("2026-10-19", last)


def test_daily_steps_are_backfilled_in_one_run() -> None:
    definitions = build_definitions(load_project(SPEC))
    graph = definitions.resolve_asset_graph()
    policies = {graph.get(dg.AssetKey(str(step))).backfill_policy for step in DAILY_STEPS}
    assert policies == {dg.BackfillPolicy.single_run()}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_carries_its_rights(name: str) -> None:
    spec = specs()[f"source/{name}"]
    source = next(s for s in load_project(SPEC).spec.sources if s.name == name)
    assert spec.group_name == "sources"
    assert spec.metadata["licence"] == source.rights.license
    assert spec.metadata["holder"] == source.rights.holder
    assert spec.metadata["basis"] == source.rights.basis
    assert spec.metadata["uses"] == ", ".join(source.rights.uses)
    assert spec.metadata["path"] == source.path
    assert spec.tags["kind"] == source.kind
    assert spec.tags["rank"] == str(source.effective_rank)


@pytest.mark.parametrize("table", TABLES)
def test_lineage_names_every_column_and_only_columns_that_are_there(table: str) -> None:
    assert set(lineage.MADE_FROM[table]) == set(TABLES[table])
    for column in TABLES[table]:
        found = lineage.origin(table, column)
        assert found.columns or found.words, f"{table}.{column} is made from nothing"
        for name in found.columns:
            other, _, of = name.partition(".")
            assert of in TABLES[other], f"{table}.{column} names {name}"


@pytest.mark.parametrize("step", [s for s in STEPS if s in TABLES])
def test_lineage_leads_to_assets_before_or_to_the_people_asked(step: str) -> None:
    graph = build_definitions(load_project(SPEC)).resolve_asset_graph()
    upstream = {key.to_user_string() for key in graph.get_ancestor_asset_keys(dg.AssetKey(step))}
    for column, deps in specs()[step].metadata["dagster/column_lineage"].deps_by_column.items():
        for dep in deps:
            other = dep.asset_key.to_user_string()
            # What people say of a record names it by what ingest and dedup made of it: data flows both ways there.
            assert other in upstream or step in INPUTS, f"{step}.{column} is made from {other}"


@pytest.mark.parametrize("step", [s for s in STEPS if s in TABLES])
def test_step_shows_its_lineage_as_a_table(step: str) -> None:
    rows = {r.data["column"]: r.data["made from"] for r in specs()[step].metadata["made_from"].records}
    assert list(rows) == list(TABLES[step])
    assert all(rows.values())


def test_lineage_of_a_label_names_the_source_the_annotators_and_the_reviews() -> None:
    deps = specs()["label"].metadata["dagster/column_lineage"].deps_by_column["label"]
    assert {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps} >= {
        ("ingest", "label"), ("annotations", "label"), ("reviews", "value"),
    }  # fmt: skip


def test_owners_of_the_spec_stand_at_every_asset(tmp_path: Path) -> None:
    make_project(tmp_path, {"owners": ["team:data", "jo@example.com"]})
    owned = build_definitions(load_project(tmp_path)).resolve_all_asset_specs()
    assert {tuple(spec.owners) for spec in owned} == {("team:data", "jo@example.com")}
    assert {tuple(spec.owners) for spec in specs().values()} == {()}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_says_whose_it_is_and_that_nothing_here_makes_it(name: str) -> None:
    spec = specs()[f"source/{name}"]
    source = next(s for s in load_project(SPEC).spec.sources if s.name == name)
    assert source.rights.holder in (spec.description or "")
    assert "nothing here makes them" in (spec.description or "")
    assert (source.access or "") in (spec.description or "")
    assert spec.kinds


def test_source_of_generated_text_names_its_generator() -> None:
    assert specs()["source/paraphrases"].metadata["generator"] == "example-writer-1 (Example Models Inc)"


def test_definitions_hold_the_night_what_watches_and_their_jobs() -> None:
    repository = build_definitions(load_project(SPEC)).get_repository_def()
    names = {job.name for job in repository.get_all_jobs()}
    assert {"dataset", "night", "health"} <= names
    assert {schedule.name for schedule in repository.schedule_defs} == {"nightly"}
    assert {sensor.name for sensor in repository.sensor_defs} == {"arrivals", "alarm"}
    assert all(
        s.default_status.value == "RUNNING" for s in (*repository.schedule_defs, *repository.sensor_defs)
    )


def test_every_asset_is_in_the_pool_of_the_one_writer() -> None:
    graph = build_definitions(load_project(SPEC)).resolve_asset_graph()
    assert {pool for step in STEPS for pool in graph.get(dg.AssetKey(step)).pools} == {"warehouse"}
