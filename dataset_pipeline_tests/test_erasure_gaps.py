"""Erasing where the day of a record cannot be made again, or its line is gone already; and a lock that changes.

Lives here: what a review of the first version found. Keep out: the usual course (`test_erasure`).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.assets import steps
from dataset_pipeline.errors import BadDay, StalePublish
from dataset_pipeline.records import DAILY_STEPS, ERASED, INPUTS, REVIEWS, Step
from dataset_pipeline.storage import split_lock
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms.assignment import LOCK
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.scenario import jsonl, make_project, row, rows, spec
from dataset_pipeline_tests.test_people import HEADER, call, write

NEEDLE = "quillfeather lantern under the seventh bridge"


def bytes_with(folder: Path, *spared: str) -> list[str]:
    """Files below `folder` that hold the needle, those under `spared` apart."""
    needle = NEEDLE.encode()
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.relative_to(folder).as_posix().startswith(spared)
        and needle in path.read_bytes()
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two days; the record r3 of the first holds the needle. It was run and released."""
    first = [*rows(0, 3), row(3, text=f"The message says {NEEDLE}, twice."), *rows(4, 16)]
    files = {"sources/2026-03-01.jsonl": jsonl(first), "sources/2026-03-02.jsonl": jsonl(rows(40, 20))}
    path = make_project(tmp_path / "p", spec(reviews=["reviews/*.csv"]), files)
    assert call("run", path).exit_code == 0
    write(path.parent / "reviews/erase.csv", HEADER, "inbox,r3,,erase,,jo,2026-03-03")
    return path


@pytest.mark.faults
def test_erasure_of_a_line_that_was_taken_out_leaves_no_byte(project: Path) -> None:
    raw = project.parent / "sources/2026-03-01.jsonl"
    kept = [line for line in raw.read_text(encoding="utf-8").splitlines() if NEEDLE not in line]
    raw.write_text("\n".join(kept) + "\n", encoding="utf-8")
    result = call("run", project)
    assert result.exit_code == 0, result.output
    assert "what the verdicts name is not collected" in result.output
    old = next(p for p in (project.parent / "releases").iterdir() if f"release {p.name}" in result.output)
    assert bytes_with(project.parent, f"releases/{old.name}") == []


@pytest.mark.faults
def test_erasure_on_a_day_that_cannot_be_made_reaches_warehouse_and_release(project: Path) -> None:
    raw = project.parent / "sources/2026-03-01.jsonl"
    old = (project.parent / "releases/latest").resolve().name
    raw.write_text(raw.read_text(encoding="utf-8").replace('"text"', '"words"'), encoding="utf-8")
    write(project.parent / "sources/2026-03-03.jsonl", *jsonl(rows(80, 20)).decode().splitlines())
    result = call("run", project)
    assert result.exit_code == 1
    assert "2026-03-01: could not be made again without records to be erased" in result.output
    assert bytes_with(project.parent, "sources", f"releases/{old}") == []
    dropped = pl.read_parquet(project.parent / "releases/latest/dropped.parquet").filter(reason=ERASED)
    assert dropped.select("source_id", "step").rows() == [("r3", "release")]


@pytest.mark.faults
def test_ingest_alone_waits_for_reviews_that_nobody_has_made(project: Path) -> None:
    (project.parent / "warehouse.duckdb").unlink()
    context = small.open_project(project.parent)
    with pytest.raises(BadDay, match="reviews must be made first"):
        small.run_step(context, Step.INGEST, small.calendar(context.project, context.found), "run")
    release_run_lock(context.warehouse.path)
    assert REVIEWS in INPUTS and DAILY_STEPS[0] is Step.INGEST


@pytest.mark.faults
def test_split_lock_that_changes_while_split_computes_refuses_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small.make_project(tmp_path / "p", {"split": {"strategy": "stratified"}})
    small.switch_gates_off(monkeypatch)
    whole = steps.work

    def meddled(context, undated, step, days, stage):
        done = whole(context, undated, step, days, stage)
        if step == Step.SPLIT:
            line = pl.DataFrame([("f" * 32, "test", "x", days[0], 1)], schema=LOCK, orient="row")
            split_lock.extend(context.project.lock_path, line)
        return done

    monkeypatch.setattr(small.engine, "work", meddled)
    with pytest.raises(StalePublish, match=r"splits\.lock\.csv changed while split was computing"):
        small.run_all(root)
    release_run_lock(root / "warehouse.duckdb")
