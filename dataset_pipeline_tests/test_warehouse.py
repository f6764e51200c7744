"""The warehouse: publishing all or nothing, by column name, against what was read.

Lives here: storage alone, with rows made by hand. Keep out: other processes and other files
(`test_warehouse_held`), whole runs (`test_properties`, `test_faults`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.errors import StalePublish
from dataset_pipeline.records import TABLES, Step, content_hash, empty
from dataset_pipeline.storage import warehouse as module
from dataset_pipeline.storage.publishing import CheckRow, Claim, Day, NewPublication
from dataset_pipeline.storage.warehouse import Warehouse

MONDAY, TUESDAY = dt.date(2026, 3, 2), dt.date(2026, 3, 3)
CHECK = CheckRow("label", "rows_conserved", "critical", "gauges", True, False, "{}", ())


def label_rows(*rows: tuple[str, dt.date, str | None]) -> pl.DataFrame:
    """TABLES['label'] of (record_id, day, label); a record without a label is dropped."""
    values = [
        {
            "record_id": record, "day": day, "label": label, "label_origin": "source" if label else None,
            "prompt_key": f"prompt of {record}", "answer_key": label, "is_contradiction": False, "kept": label is not None,
            "reason": None if label else "unlabelled", "detail": None if label else '{"rule":"unlabelled"}',
        }
        for record, day, label in rows
    ]  # fmt: skip
    return pl.DataFrame(values, schema=TABLES[Step.LABEL])


OLD = label_rows(("a", MONDAY, "bug"), ("b", MONDAY, None), ("c", TUESDAY, "wish"))
NEW = label_rows(("a", MONDAY, "wish"), ("d", MONDAY, "bug"), ("e", TUESDAY, "bug"))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.duckdb", wait_seconds=0.3)
    made.initialize()
    return made


def publications(frame: pl.DataFrame, days: Sequence[dt.date], recipe: str) -> list[NewPublication]:
    parts = {day: frame.filter(pl.col("day") == day) for day in days}
    return [
        NewPublication(day, recipe, content_hash(part), "handover", "params", "{}", part.height, part.filter("kept").height)
        for day, part in parts.items()
    ]  # fmt: skip


def publish(
    warehouse: Warehouse, frame: pl.DataFrame, recipe: str = "r1", days: Sequence[dt.date] = (MONDAY, TUESDAY),
    unchanged: Sequence[Day] = (),
) -> Claim:  # fmt: skip
    claim = warehouse.claim(Step.LABEL, days, f"run {recipe}")
    warehouse.stage(claim, {Step.LABEL: frame})
    warehouse.publish(claim, publications(frame, days, recipe), {}, [CHECK], unchanged)
    return claim


def state(warehouse: Warehouse) -> tuple[pl.DataFrame, int, int]:
    counts = warehouse.query(
        "SELECT (SELECT count(*) FROM publications) AS p, (SELECT count(*) FROM checks) AS c"
    ).row(0)
    return warehouse.table(Step.LABEL), *counts


def assert_unchanged(warehouse: Warehouse, before: tuple[pl.DataFrame, int, int]) -> None:
    after = state(warehouse)
    assert after[0].equals(before[0]) and after[1:] == before[1:]


# --- all or nothing -----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["replace_days", "append_publications", "append_checks"])
def test_publish_that_fails_midway_leaves_everything_as_it_was(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    publish(warehouse, OLD)
    before = state(warehouse)
    original = getattr(module, place)

    def failing(*args: Any) -> None:
        original(*args)
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(module, place, failing)
        publish(warehouse, NEW, "r2")
    assert_unchanged(warehouse, before)
    publish(warehouse, NEW, "r2")
    assert warehouse.table(Step.LABEL).equals(NEW)


def test_publish_replaces_its_days_and_no_other(warehouse: Warehouse) -> None:
    publish(warehouse, OLD)
    publish(warehouse, NEW.filter(pl.col("day") == TUESDAY), "r2", [TUESDAY])
    assert warehouse.table(Step.LABEL)["record_id"].to_list() == ["a", "b", "e"]
    latest = warehouse.latest()
    assert (latest[("label", MONDAY)].recipe, latest[("label", TUESDAY)].recipe) == ("r1", "r2")
    assert (latest[("label", MONDAY)].row_count, latest[("label", MONDAY)].kept_count) == (2, 1)


def test_publish_columns_in_another_order_land_by_name(warehouse: Warehouse) -> None:
    publish(warehouse, OLD.select(sorted(OLD.columns, reverse=True)))
    assert warehouse.table(Step.LABEL).equals(OLD)


@pytest.mark.parametrize(
    ("spoiled", "named"),
    [
        (OLD.with_columns(extra=1), "extra"),
        (OLD.drop("prompt_key"), "prompt_key"),
        (
            OLD.with_columns(pl.col("is_contradiction").cast(pl.Int64)),
            "is_contradiction is Int64, not Boolean",
        ),
        (OLD.rename({"label": "Label"}), "label"),
    ],
)
def test_publish_column_added_missing_or_retyped_is_refused_by_name(
    warehouse: Warehouse, spoiled: pl.DataFrame, named: str
) -> None:
    publish(warehouse, OLD)
    before = state(warehouse)
    with pytest.raises(ValueError, match=f"table label.*{named}"):
        publish(warehouse, spoiled, "r2")
    assert_unchanged(warehouse, before)
    assert warehouse.query("SELECT count(*) FROM staging.label").item() == 0


def test_publish_empty_day_is_an_empty_partition_and_deletes_nothing_else(warehouse: Warehouse) -> None:
    publish(warehouse, OLD)
    publish(warehouse, empty(Step.LABEL), "r2", [TUESDAY])
    assert warehouse.table(Step.LABEL)["record_id"].to_list() == ["a", "b"]
    published = warehouse.latest()[("label", TUESDAY)]
    assert (published.recipe, published.row_count) == ("r2", 0)
    assert warehouse.table(Step.LABEL, [TUESDAY]).schema == TABLES[Step.LABEL]


def test_publish_same_content_under_a_new_recipe_touches_no_rows(warehouse: Warehouse) -> None:
    publish(warehouse, OLD)
    rowids = warehouse.query("SELECT record_id, rowid FROM main.label ORDER BY rowid")
    claim = warehouse.claim(Step.LABEL, [MONDAY, TUESDAY], "run r2")
    warehouse.stage(claim, {Step.LABEL: OLD})
    warehouse.publish(claim, publications(OLD, [MONDAY, TUESDAY], "r2"), {}, [], [MONDAY, TUESDAY])
    assert warehouse.query("SELECT record_id, rowid FROM main.label ORDER BY rowid").equals(rowids)
    assert warehouse.latest()[("label", MONDAY)].recipe == "r2"
    flags = warehouse.query("SELECT is_unchanged FROM publications ORDER BY seq")["is_unchanged"]
    assert flags.to_list() == [False, False, True, True]


# --- against what was read ------------------------------------------------------------------


def test_publish_of_a_superseded_claim_is_refused_and_the_newer_rows_stand(warehouse: Warehouse) -> None:
    late = warehouse.claim(Step.LABEL, [MONDAY, TUESDAY], "dead run")
    warehouse.stage(late, {Step.LABEL: NEW})
    publish(warehouse, OLD.filter(pl.col("day") == MONDAY), days=[MONDAY])
    before = state(warehouse)
    with pytest.raises(StalePublish, match="run r1 has claimed 2026-03-02"):
        warehouse.publish(late, publications(NEW, [MONDAY, TUESDAY], "late"), {}, [])
    assert_unchanged(warehouse, before)


def test_stage_of_a_superseded_claim_does_not_push_out_the_newer_rows(warehouse: Warehouse) -> None:
    late = warehouse.claim(Step.LABEL, [MONDAY, TUESDAY], "dead run")
    newer = warehouse.claim(Step.LABEL, [MONDAY, TUESDAY], "newer run")
    warehouse.stage(newer, {Step.LABEL: OLD})
    with pytest.raises(StalePublish, match="newer run"):
        warehouse.stage(late, {Step.LABEL: NEW})
    warehouse.publish(newer, publications(OLD, [MONDAY, TUESDAY], "r1"), {}, [])
    assert warehouse.table(Step.LABEL).equals(OLD)


def test_stage_clears_what_a_dead_run_left_and_publishes_its_own(warehouse: Warehouse) -> None:
    dead = warehouse.claim(Step.LABEL, [MONDAY, TUESDAY], "dead run")
    warehouse.stage(dead, {Step.LABEL: NEW})
    publish(warehouse, OLD)
    assert warehouse.table(Step.LABEL).equals(OLD)
    assert warehouse.query("SELECT count(*) FROM staging.label").item() == 0


def test_publish_whose_input_was_published_again_is_refused(warehouse: Warehouse) -> None:
    publish(warehouse, OLD)
    read = warehouse.latest()[("label", MONDAY)].seq
    claim = warehouse.claim(Step.SPLIT, [MONDAY], "slow run")
    warehouse.stage(claim, {Step.SPLIT: empty(Step.SPLIT)})
    publish(warehouse, NEW, "r2")
    new = NewPublication(MONDAY, "r", "c", "h", "p", "{}", 0, 0)
    with pytest.raises(StalePublish, match="label 2026-03-02 was published again"):
        warehouse.publish(claim, [new], {(Step.LABEL, MONDAY): read}, [])
    with pytest.raises(StalePublish, match="ingest 2026-03-02"):
        warehouse.publish(claim, [new], {(Step.INGEST, MONDAY): 7}, [])
    assert ("split", MONDAY) not in warehouse.latest()


def test_publish_fewer_staged_rows_than_judged_is_refused(warehouse: Warehouse) -> None:
    claim = warehouse.claim(Step.LABEL, [MONDAY, TUESDAY], "run")
    warehouse.stage(claim, {Step.LABEL: OLD.head(2)})
    with pytest.raises(StalePublish, match="2 staged rows where 3 were judged"):
        warehouse.publish(claim, publications(OLD, [MONDAY, TUESDAY], "r"), {}, [])
    assert warehouse.table(Step.LABEL).height == 0
