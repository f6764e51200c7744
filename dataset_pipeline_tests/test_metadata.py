"""What a materialization carries where there is much to show: it stays small, and holds no text of a record."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest

from dataset_pipeline.assets import pictures
from dataset_pipeline.definitions import build_definitions
from dataset_pipeline.records import DAILY_STEPS, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.small_project import DAYS, LABELS, MARKER, make_project

PRIVATE = "please-call-anna-0301234567"
"""A label as somebody typed it: it is in no list of labels."""
MANY = [*LABELS, *(f"label_with_a_long_name_{n:03}" for n in range(147))]
FILES = 30
"""Of one day."""


def events(
    root: Path, first: str, last: str, steps: Sequence[str] = tuple(map(str, DAILY_STEPS))
) -> list[dg.AssetMaterialization]:
    job = build_definitions(load_project(root)).resolve_implicit_global_asset_job_def()
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, tags=tags, raise_on_error=False,
            asset_selection=[dg.AssetKey(s) for s in ("reviews", "protected", "annotations", *steps)],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
        assert result.success
        return [e.materialization for e in result.get_asset_materialization_events()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dg.AssetMaterialization]]:
    """The small project with 150 labels, a day of many files, and a label that is somebody's words."""
    root = tmp_path_factory.mktemp("metadata") / "project"
    make_project(root)
    task = load_project(root).spec.task.model_dump(mode="json")
    task["labels"] = MANY
    source = {
        "name": "many", "kind": "first_party", "path": "sources/many/{date}/*.jsonl", "expected_daily": False,
        "rights": {"license": "CC0-1.0", "holder": "h", "basis": "b", "uses": ["train", "evaluate"]},
        "fields": {"id": "id", "input": "message", "output": "label"},
    }  # fmt: skip
    spec = load_project(root).spec.model_dump(mode="json", include={"sources"}, exclude_defaults=True)
    make_project(
        root,
        {"task": {k: v for k, v in task.items() if v is not None}, "sources": [*spec["sources"], source]},
    )
    folder = root / "sources" / "many" / DAYS[4]
    folder.mkdir(parents=True)
    for file in range(FILES):
        rows = [
            {"id": f"M{file}-{n}", "label": PRIVATE if n == 0 else MANY[(file * 10 + n) % 150],
             "message": f"{MARKER} number {file * 97} asks {n * 31} about crate {file * 10 + n} of hall {n * file} please"}
            for n in range(10)
        ]  # fmt: skip
        (folder / f"part-{file:02}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    yield events(root, DAYS[0], DAYS[4])
    release_run_lock(root / "warehouse.duckdb")


def of(made: list[dg.AssetMaterialization], step: str, day: str) -> dict[str, object]:
    (found,) = (m for m in made if m.asset_key == dg.AssetKey(step) and m.partition == day)
    return {name: value.value for name, value in found.metadata.items()}


def test_metadata_with_150_labels_and_many_files_is_kilobytes(made: list[dg.AssetMaterialization]) -> None:
    sizes = {(m.asset_key.to_user_string(), m.partition): len(dg.serialize_value(m)) for m in made}
    listed = {key: size for key, size in sizes.items() if key[0] == Step.INGEST}
    assert max(size for key, size in sizes.items() if key not in listed) < 8_000
    assert max(listed.values()) < 16_000, "twenty files with hash, licence and holder"


def test_metadata_holds_no_text_of_a_record(made: list[dg.AssetMaterialization]) -> None:
    told = [dg.serialize_value(m) for m in made]
    assert not [text for text in told if MARKER in text or PRIVATE in text or PRIVATE[:12] in text]


def test_metadata_shows_the_labels_of_the_spec_and_counts_the_others(
    made: list[dg.AssetMaterialization],
) -> None:
    before = str(of(made, "dedup", DAYS[4])["labels"])
    assert f"(other) {FILES}" in before.replace("%28", "(").replace("%29", ")")
    assert "and " in before and " more " in before
    assert "other" not in str(of(made, "label", DAYS[4])["labels"])


def test_metadata_of_a_day_with_many_files_says_how_many_it_does_not_list(
    made: list[dg.AssetMaterialization],
) -> None:
    facts = of(made, "ingest", DAYS[4])
    assert len(facts["files"].records) + facts["files_not_listed"] >= FILES  # type: ignore[attr-defined, operator]
    assert len(facts["files"].records) == 20  # type: ignore[attr-defined]


def test_metadata_of_a_day_without_rows_has_no_picture_and_no_share(
    made: list[dg.AssetMaterialization],
) -> None:
    facts = of(made, "filter", DAYS[2])
    assert facts["rows_in"] == 0
    assert not {"funnel", "labels", "prompt_words", "kept_share"} & set(facts)
    assert facts["dropped_too_short"] == 0


def test_pictures_of_a_long_range_are_of_its_last_days_only() -> None:
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(730)]
    assert pictures.pictured(days) == days[-31:]


def test_pictures_that_cannot_be_drawn_fail_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> pictures.Numbers:
        raise ValueError(f"{MARKER} in a message")

    monkeypatch.setattr(pictures, "numbers", broken)
    root = make_project(tmp_path / "project")
    made = events(root, DAYS[0], DAYS[0], ("ingest",))
    release_run_lock(root / "warehouse.duckdb")
    facts = of(made, "ingest", DAYS[0])
    assert facts["pictures"] == "could not be drawn (ValueError)"
    assert facts["kept"] == facts["rows_in"] != 0
