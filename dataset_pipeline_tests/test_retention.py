"""Retention: the texts of old dropped records go, and nothing that is released or decided changes by it.

Lives here: whose text goes, what stays, and that later days come out equal. Keep out: erasing records (`test_erasure`).
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline import clock
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.records import RECORDS, TABLES, Step
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.storage import rewriting
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.sources import calendar
from dataset_pipeline.transforms import dedup
from dataset_pipeline_tests import scenario, small_project

DAYS = [dt.date.fromisoformat(day) for day in small_project.DAYS]
PARAMS = DedupParams(answers_are_labels=False, label_names={}, near=Near(), ngram=3)
RETENTION = {"retention": {"dropped_text_days": 0}}
TEXTS = [(table, column) for table, columns in rewriting.TEXTS.items() for column in columns]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "project"
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def planted(root: Path, changes: dict[str, Any] | None = None) -> Path:
    """The small project, where an automatic reply comes again, almost the same, on the last day."""
    small_project.make_project(root, changes)
    again = {"id": "again", "message": small_project.AUTOMATIC + " Bye", "label": "bug", "customer": "C98"}
    with (root / f"sources/inbox/{DAYS[4]}.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(again) + "\n")
    return root


def on(patch: pytest.MonkeyPatch, day: str) -> None:
    patch.setattr(clock, "now", lambda: dt.datetime.fromisoformat(f"{day}T10:00:00"))


def texts(context: Context) -> dict[str, int]:
    """Table to the number of rows with a text."""
    return {
        table: context.warehouse.table(table).filter(pl.col("messages").is_not_null()).height
        for table in rewriting.TEXTS
    }


# --- whose text goes ----------------------------------------------------------------------


@pytest.mark.faults
def test_retention_takes_texts_of_dropped_records_that_do_not_wait(root, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    planted(root, RETENTION)
    small_project.run_all(root)
    context = small_project.open_project(root)
    before = small_project.tables(root)
    reasons = pl.concat(
        [before[step].filter(~pl.col("kept")).select("record_id", "day", "reason") for step in Step]
    )
    waiting = reasons.filter(pl.col("reason").is_in(rewriting.WAITING))
    assert set(waiting["reason"]) >= {"unlabelled", "unknown_label"}
    gone = reasons.join(waiting, on="record_id", how="anti").filter(pl.col("day") < DAYS[3])
    assert set(gone["reason"]) >= {"exact", "near", "language", "too_short"}

    on(monkeypatch, "2026-03-05")
    done = housekeeping(context)
    after = small_project.tables(root)
    assert done.removed == gone.height
    assert done.is_rewritten
    lost = after[Step.INGEST].filter(pl.col("messages").is_null())
    assert set(lost["record_id"]) == set(gone["record_id"])
    assert [lost[column].null_count() for _, column in TEXTS[:5]] == [lost.height] * 5
    cleaned = after[Step.NORMALIZE].filter(pl.col("messages").is_null())
    assert set(cleaned["record_id"]) <= set(gone["record_id"])
    for name in TABLES:
        # Nothing else has changed: ids, verdicts, measurements.
        rest = [column for column in TABLES[name] if (name, column) not in TEXTS]
        assert after[name].select(rest).equals(before[name].select(rest)), name
    again = housekeeping(context)
    assert (again.removed, again.is_rewritten) == (0, False)


@pytest.mark.faults
def test_retention_boundary_day_is_kept_until_it_is_older(root, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    planted(root, {"retention": {"dropped_text_days": 10}})
    small_project.run_all(root)
    context = small_project.open_project(root)
    on(monkeypatch, "2026-03-12")  # the first day is ten days old
    assert housekeeping(context).removed == 0
    on(monkeypatch, "2026-03-13")
    assert housekeeping(context).removed > 0
    lost = context.warehouse.table(Step.INGEST).filter(pl.col("messages").is_null())
    assert set(lost["day"]) == {DAYS[0]}


@pytest.mark.faults
def test_retention_absent_keeps_every_text(root, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    planted(root)
    small_project.run_all(root)
    context = small_project.open_project(root)
    before = texts(context)
    assert housekeeping(context).removed == 0
    assert texts(context) == before


@pytest.mark.faults
def test_retention_that_died_is_finished_by_the_next(root, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    planted(root, RETENTION)
    small_project.run_all(root)
    context = small_project.open_project(root)
    on(monkeypatch, "2026-05-01")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rewriting, "rewrite", die)
        housekeeping(context)
    assert rewriting.is_rewrite_due(context.warehouse)
    assert housekeeping(context).is_rewritten
    data = context.warehouse.path.read_bytes()
    assert small_project.AUTOMATIC.encode() not in data
    assert small_project.message(3).encode() in data  # kept, and found by its bytes


# --- what stays ---------------------------------------------------------------------------


@pytest.mark.faults
def test_retention_shingles_stay_of_records_that_dedup_kept(root, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    planted(root, RETENTION)
    small_project.run_all(root)
    context = small_project.open_project(root)
    on(monkeypatch, "2026-05-01")
    housekeeping(context)
    removed = context.warehouse.query("SELECT record_id, len(shingles) AS n FROM texts_removed")
    measured = context.warehouse.table(Step.DEDUP).select("record_id", "kept", "shingles")
    both = removed.join(measured, on="record_id")
    assert both.height == removed.height
    assert both.filter("kept").select((pl.col("n") == pl.col("shingles")).all()).item()
    assert both.filter(~pl.col("kept"))["n"].null_count() == both.filter(~pl.col("kept")).height > 0


def test_retention_dedup_with_shingles_is_dedup_with_texts():
    words = [f"w{n}" for n in range(40)]
    dice = random.Random(5)
    texts = [" ".join(dice.choices(words, k=dice.randint(1, 30))) for _ in range(60)]
    near = [text + " extra" if n % 2 else text.replace("w1", "w2") for n, text in enumerate(texts)]

    def records(day: int, given: list[str]) -> pl.DataFrame:
        rows = [
            {"record_id": f"{day}-{n:03}", "day": dt.date(2026, 1, day), "source": "s", "source_rank": 1,
             "messages": [{"role": "user", "content": text}], "person_names": [], "may_evaluate": True, "content_sha": ""}
            for n, text in enumerate(given)
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=RECORDS)

    old, new = records(1, texts), records(2, near)
    kept = dedup.dedup_all(old, PARAMS).filter("kept").select("record_id")
    history = dedup.fingerprint(old, PARAMS).join(kept, on="record_id", how="semi")
    prints = dedup.fingerprint(new, PARAMS)
    pairs = dedup.candidates(prints, history, PARAMS).pairs
    expected = dedup.dedup(new, prints, history, pairs, old, PARAMS)
    assert set(expected["reason"]) >= {"near", None}
    hashes = dedup.shingle_hashes(old, PARAMS)
    for every in (1, 2):
        is_gone = pl.int_range(pl.len()) % every == 0
        purged = old.with_columns(
            messages=pl.when(~is_gone).then("messages"), shingle_hashes=pl.when(is_gone).then(hashes)
        )
        assert dedup.dedup(new, prints, history, pairs, purged, PARAMS).equals(expected)


@pytest.mark.faults
def test_retention_removed_texts_change_no_later_day_and_no_release(tmp_path, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    on(monkeypatch, "2026-05-01")
    roots = [tmp_path / "kept", tmp_path / "removed"]
    for root in roots:
        # The settings are equal: the card shows them. Only one of them is kept to.
        planted(root, RETENTION)
        context = small_project.open_project(root)
        days = calendar(context.project, context.found)
        small_project.run_inputs(context, "run")
        for day in days:
            small_project.run_days(context, [day])
            if root == roots[1]:
                housekeeping(context)
        small_project.run_all(root)
        release_run_lock(context.warehouse.path)
    left, right = map(small_project.tables, roots)
    assert right[Step.INGEST]["messages"].null_count() > 5
    near = (
        right[Step.DEDUP]
        .filter(pl.col("reason") == "near")
        .join(right[Step.INGEST].filter(pl.col("source_id") == "again"), on="record_id")
    )
    assert near.height == 1  # its twin has no text any more
    for name in TABLES:
        rest = [column for column in TABLES[name] if (name, column) not in TEXTS]
        assert left[name].select(rest).equals(right[name].select(rest)), name
    hashes = [small_project.release_hashes(root) for root in roots]
    for found in hashes:
        found.pop("manifest.json")
    assert hashes[0] == hashes[1]


# --- needed again -------------------------------------------------------------------------


@pytest.mark.faults
def test_retention_days_without_texts_are_told_by_step(root, monkeypatch):
    small_project.switch_gates_off(monkeypatch)
    planted(root, RETENTION)
    small_project.run_all(root)
    context = small_project.open_project(root)
    told = {step: rewriting.days_without_texts(context.warehouse, DAYS, step) for step in Step}
    assert set(map(len, told.values())) == {0}
    on(monkeypatch, "2026-03-05")
    housekeeping(context)
    told = {step: rewriting.days_without_texts(context.warehouse, DAYS, step) for step in Step}
    assert told[Step.INGEST] == []
    # What dedup dropped is read by dedup alone; German is dropped by normalize, on the second day.
    assert told[Step.DEDUP] == DAYS[:2]
    assert DAYS[1] in told[Step.NORMALIZE]
    assert rewriting.days_without_texts(context.warehouse, DAYS[3:], Step.DEDUP) == []


@pytest.mark.faults
def test_retention_changed_threshold_after_removal_is_a_project_that_never_removed(tmp_path):
    """Through the command line: the days are read again from the raw files, decided, and emptied again."""
    near = {"dedup": {"near": {"threshold": 0.8, "ngram": 3}}}
    files = scenario.CLEAN | {"sources/2026-03-01.jsonl": scenario.jsonl([*scenario.rows(0), scenario.row(71, text="Too short")])}  # fmt: skip
    specs = []
    for name, first in (("removed", {"min_words": 3}), ("fresh", {"min_words": 2})):
        given = scenario.spec(**near, **RETENTION, filter={"input": first})
        specs.append(scenario.make_project(tmp_path / name, given, files))
        assert scenario.call("run", specs[-1]).exit_code == 0
    removed, fresh = (small_project.open_project(spec.parent).warehouse for spec in specs)
    short = pl.col("source_id") == "r71"
    assert removed.table(Step.INGEST).filter(short)["messages"].item() is None
    assert fresh.table(Step.INGEST).filter(short)["messages"].item() is not None
    scenario.make_project(
        tmp_path / "removed", scenario.spec(**near, **RETENTION, filter={"input": {"min_words": 2}}), files
    )
    result = scenario.call("run", specs[0])
    assert result.exit_code == 0, result.output
    names = [Path(small_project.release_folder(spec.parent)).name for spec in specs]
    assert names[0] == names[1]
    assert removed.table(Step.INGEST).filter(short)["messages"].item() is not None
