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
from dataset_pipeline.records import DAILY_STEPS, INPUTS, RELEASE, REPORT, Step
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
            if e.asset_key == dg.AssetKey(step.split("/")) and e.partition == day
        ]  # fmt: skip
        assert len(events) == 1
        return {k: v.value for k, v in events[0].materialization.metadata.items()}


def materialize(root: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_definitions(load_project(root)).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, tags=DAYS, raise_on_error=False, run_config=QUIET)


def judgements(result: dg.ExecuteInProcessResult) -> dict[tuple[dg.AssetKey, str], bool]:
    """Expectations and whether they passed; not what is said of the project as a whole at the end of a run."""
    found = result.get_asset_check_evaluations()
    return {
        (e.asset_key, e.check_name): e.passed for e in found if e.check_name not in ("up_to_date", "fresh")
    }


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
    dropped = {name: n for name, n in facts.items() if name.startswith("dropped_") and isinstance(n, int)}
    assert set(dropped) == {"dropped_exact", "dropped_near", "dropped_semantic"}
    assert facts["rows_in"] == facts["dagster/partition_row_count"]
    assert facts["rows_in"] == facts["kept"] + sum(dropped.values())  # type: ignore[operator]
    assert facts["kept_share"] == pytest.approx(facts["kept"] / facts["rows_in"], abs=1e-4)  # type: ignore[operator]
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
    assert "| dedup | 1481 |" in str(facts["funnel_table"])
    assert facts["withheld"] == 10
    assert facts["folder"] == str(ran.root / "releases" / str(facts["version"]))
    assert Path(str(facts["card"])).is_file()
    assert Path(str(facts["report"])) == ran.root / "report.html"
    assert facts["against_the_release_before"] == "the first release"
    assert "LicenseRef-first-party" in str(facts["licence"])
    assert facts["records_train"] == 1007


def test_dagster_reason_that_dropped_nothing_is_a_zero_on_every_day(ran: Ran) -> None:
    days = [ran.materialization("filter", f"2026-10-{day}") for day in range(19, 31)]
    reasons = {
        frozenset(name for name in facts if name.startswith("dropped_") and name != "dropped_by_reason")
        for facts in days
    }
    assert len(reasons) == 1
    assert "dropped_digits" in next(iter(reasons))
    assert sum(facts["dropped_digits"] for facts in days) == 3  # type: ignore[misc]


def test_dagster_day_says_what_changed_against_the_day_before(ran: Ran) -> None:
    assert ran.materialization("label", "2026-10-19")["against_the_day_before"] == "the first published day"
    said = str(ran.materialization("ingest", "2026-10-24")["against_the_day_before"])
    before, now = (ran.materialization("ingest", f"2026-10-{day}")["rows_in"] for day in (23, 24))
    assert said.startswith(f"2026-10-23: records {before} → {now} (+")


@pytest.mark.parametrize("step", DAILY_STEPS)
def test_dagster_day_shows_pictures_in_their_place(ran: Ran, step: Step) -> None:
    facts = ran.materialization(step, "2026-10-24")
    drawn = {name: str(value) for name, value in facts.items() if "data:image/svg+xml," in str(value)}
    lengths = "record_characters" if step in ("ingest", "dedup") else "prompt_words"
    assert {"funnel", "labels", lengths} <= set(drawn)
    assert ("dropped_by_reason" in drawn) == (facts["kept"] != facts["rows_in"])
    assert all(len(picture) < 1000 for picture in drawn.values()), "Dagster hides longer ones behind a click"
    assert drawn["funnel"].count("%3Ctext") == DAILY_STEPS.index(step) + 1


def test_dagster_shows_a_source_as_seen_with_its_rows_and_newest_day(ran: Ran) -> None:
    facts = ran.materialization("source/support_inbox")
    assert (facts["files"], facts["newest_day"], facts["rows_rejected"]) == (12, "2026-10-30", 3)


def test_dagster_metadata_of_a_materialization_is_kilobytes(ran: Ran) -> None:
    for event in ran.result.get_asset_materialization_events():
        stored = len(dg.serialize_value(event.materialization))
        # The table of a day's files is as long as its files; the release has a picture for each split.
        limit = 12_000 if event.asset_key in (dg.AssetKey("ingest"), dg.AssetKey(RELEASE)) else 8_000
        assert stored < limit, f"{event.asset_key} {event.partition}: {stored} bytes"


def test_dagster_check_shows_numbers_that_are_plotted_and_days_in_words(ran: Ran) -> None:
    check = next(
        e for e in ran.result.get_asset_check_evaluations()
        if (e.asset_key.to_user_string(), e.check_name) == ("label", "contradictions")
    )  # fmt: skip
    facts = {name: value.value for name, value in check.metadata.items()}
    assert facts["lowest"] == facts["highest"] == pytest.approx(0.02174)
    assert facts["days"] == "2026-10-30"


def test_dagster_records_a_check_for_every_expectation(ran: Ran) -> None:
    from dataset_pipeline.expectations.suites import EXPECTATIONS

    judged = {(e.asset_key.to_user_string(), e.check_name) for e in ran.result.get_asset_check_evaluations()}
    steps = (*INPUTS, *DAILY_STEPS, RELEASE, REPORT)
    sources = (source.name for source in load_project(ran.root).spec.sources)
    assert judged == {
        *((str(step), e.name) for step in steps for e in EXPECTATIONS[step]),
        *((str(step), "up_to_date") for step in steps),
        *((f"source/{name}", "fresh") for name in sources),
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
    assert judgements(again) == judgements(ran.result)


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
