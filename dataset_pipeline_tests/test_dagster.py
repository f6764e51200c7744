"""The graph as Dagster runs it: the same bytes as the command line, and metadata that is the provenance.

Runs go through Dagster's own job and instance, as a materialization in the UI does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dataset_pipeline.definitions import build_definitions
from dataset_pipeline.records import DAILY_STEPS, INPUTS, RELEASE, REPORT
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.conftest import SAMPLE, copy_sample

DAYS = {
    "dagster/asset_partition_range_start": "2026-10-19",
    "dagster/asset_partition_range_end": "2026-10-30",
}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Ran:
    """A run of the whole graph by Dagster, over all days of the sample."""

    root: Path
    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    def materialization(self, step: str, day: str | None = None) -> dict[str, object]:
        events = [
            e for e in self.result.get_asset_materialization_events()
            if e.asset_key == dg.AssetKey(step) and e.partition == day
        ]  # fmt: skip
        assert len(events) == 1
        return {k: v.value for k, v in events[0].materialization.metadata.items()}


def materialize(root: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_definitions(load_project(root)).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, tags=DAYS, raise_on_error=False, run_config=QUIET)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    root = tmp_path_factory.mktemp("dagster") / "project"
    copy_sample(root)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ran(root, materialize(root, instance), instance)
    release_run_lock(root / "warehouse.duckdb")


def test_dagster_run_leaves_the_bytes_of_the_engine_run(ran: Ran, sample_root: Path) -> None:
    assert ran.result.success
    assert releases.latest_version(ran.root / "releases") == releases.latest_version(sample_root / "releases")


def test_dagster_shows_every_day_of_every_step_as_materialized(ran: Ran) -> None:
    for step in DAILY_STEPS:
        assert len(ran.instance.get_materialized_partitions(dg.AssetKey(step))) == 12


def test_dagster_day_carries_rows_kept_dropped_and_recipe(ran: Ran) -> None:
    facts = ran.materialization("dedup", "2026-10-24")
    dropped = facts["dropped"]
    assert isinstance(dropped, dict)
    assert facts["rows_in"] == facts["dagster/partition_row_count"]
    assert facts["rows_in"] == facts["kept"] + sum(dropped.values())  # type: ignore[operator]
    assert set(dropped) <= {"exact", "near"}
    assert facts["dagster/row_count"] == 1481
    assert facts["dagster/table_name"] == "main.dedup"
    assert len(str(facts["recipe"])) == 64
    assert facts["run"] == ran.result.run_id


def test_dagster_ingest_day_names_files_with_hash_licence_and_collection_day(ran: Ran) -> None:
    facts = ran.materialization("ingest", "2026-10-24")
    records = [r.data for r in facts["files"].records]  # type: ignore[attr-defined]
    survey = next(r for r in records if r["source"] == "partner_survey")
    assert survey["uri"] == "sources/partner_survey/2026-10-24.jsonl.gz"
    assert (survey["license"], survey["collected_at"]) == ("CC-BY-4.0", "2026-10-24")
    assert len(survey["sha256"]) == 64
    assert facts["rejected"] == 3


def test_dagster_release_carries_version_funnel_and_counts(ran: Ran) -> None:
    facts = ran.materialization(RELEASE)
    assert facts["version"] == releases.latest_version(ran.root / "releases")
    assert "| dedup | 1481 |" in str(facts["funnel"])
    assert facts["withheld"] == 10


def test_dagster_records_a_check_for_every_expectation(ran: Ran) -> None:
    from dataset_pipeline.expectations.suites import EXPECTATIONS

    judged = {(e.asset_key.to_user_string(), e.check_name) for e in ran.result.get_asset_check_evaluations()}
    assert judged == {
        (str(step), e.name) for step in (*INPUTS, *DAILY_STEPS, RELEASE, REPORT) for e in EXPECTATIONS[step]
    }


def test_dagster_second_run_publishes_nothing_and_shows_the_stored_checks(ran: Ran) -> None:
    from dataset_pipeline.storage.warehouse import Warehouse

    warehouse = Warehouse(ran.root / "warehouse.duckdb")
    # What people said means a record only once it is collected: those are published once more.
    made = (
        "SELECT count(*) FROM publications WHERE step NOT IN ('reviews', 'annotations', 'release', 'report')"
    )
    before = warehouse.query(made).item()
    again = materialize(ran.root, ran.instance)
    assert again.success
    assert warehouse.query(made).item() == before
    first = {(e.asset_key, e.check_name): e.passed for e in ran.result.get_asset_check_evaluations()}
    assert {(e.asset_key, e.check_name): e.passed for e in again.get_asset_check_evaluations()} == first


def test_dagster_closed_gate_records_its_checks_and_no_materialization(tmp_path: Path) -> None:
    root = tmp_path / "project"
    copy_sample(root)
    spec = yaml.safe_load((SAMPLE / "dataset.yaml").read_text(encoding="utf-8"))
    spec["gates"] = {"filter": {"drop_rate_per_rule": {"max": 0.0, "reason": "a test"}}}
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec, default_flow_style=False), encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(root, instance)
        assert not result.success
        checks = {
            e.check_name: e
            for e in result.get_asset_check_evaluations()
            if e.asset_key == dg.AssetKey("filter")
        }
        assert not checks["drop_rate_per_rule"].passed
        assert checks["drop_rate_per_rule"].severity == dg.AssetCheckSeverity.ERROR
        assert checks["rows_conserved"].passed
        assert instance.get_materialized_partitions(dg.AssetKey("filter")) == set()
        assert len(instance.get_materialized_partitions(dg.AssetKey("dedup"))) == 12
        failure = next(e for e in result.all_events if e.is_step_failure)
        assert "drop_rate_per_rule" in str(failure.step_failure_data.user_failure_data.description)
    release_run_lock(root / "warehouse.duckdb")
