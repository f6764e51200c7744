"""What `status` knows of a project that was run: what a change makes stale, and a gate that is closed.

Lives here: the small project, run once, and copies of it that are changed; no Dagster. Keep out: words of single
differences (`test_differences`), lines and tables (`test_plan_words`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dataset_pipeline.assets import differences
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, run_step
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import DayStatus, State
from dataset_pipeline.assets.releasing import is_released, release_recipe
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, RELEASE, REPORT, Step
from dataset_pipeline.storage import history, judgements
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.small_project import DAYS
from dataset_pipeline_tests.test_gate_closed import spoil, twin_of_itself
from dataset_pipeline_tests.test_properties import Whole, made_whole

LAST = dt.date.fromisoformat(DAYS[4])
GATE = tuple(f"gate closed: {name} observed 1 (limit at most 0)" for name in ("twins_kept", "twins_named"))
"""What is told where a record is its own twin."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return made_whole(tmp_path_factory.getbasetemp())


@pytest.fixture
def root(whole: Whole, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "project"
    shutil.copytree(whole.root, copy, symlinks=True)
    yield copy
    release_run_lock(copy / "warehouse.duckdb")


def unfinished(context: Context) -> dict[str, dict[str, tuple[str, ...]]]:
    """Step to day to reasons of all that is not published, but for what only follows from a step before."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for entry in small.status(context).of(State.STALE, State.MISSING):
        own = tuple(reason for reason in entry.reasons if not reason.endswith("is not up to date"))
        if own:
            found.setdefault(entry.step, {})[str(entry.day or "all")] = own
    return found


def entry_of(context: Context, step: Step, day: dt.date) -> DayStatus:
    [found] = [e for e in small.status(context).entries if e.step == step and e.day == day]
    return found


# --- what a change makes stale ----------------------------------------------------------------


def test_status_comment_and_layout_of_the_spec_make_nothing_stale(root: Path) -> None:
    path = root / "dataset.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "# why\n\n" + "\n".join(f"{line}  # a comment" if line.endswith(":") else line for line in lines)
    )
    context = small.open_project(root)
    found, latest = small.status(context), context.warehouse.latest()
    assert found.of(State.STALE, State.MISSING) == []
    assert is_released(context, latest, release_recipe(context, latest, found))


def test_status_threshold_names_the_key_and_both_values_on_every_day(root: Path) -> None:
    small.write_spec(root, {"filter": {"input": {"min_words": 3}, "output": {"min_words": 3}}})
    told = unfinished(small.open_project(root))
    assert told == {"filter": dict.fromkeys(DAYS, ("filter.output.min_words 1 → 3",))}


def test_status_version_constant_and_library_name_both_versions(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = small.open_project(root)
    newer = context.params[Step.NORMALIZE].model_copy(update={"version": 9})
    changed = dataclasses.replace(context, params={**context.params, Step.NORMALIZE: newer})
    was = context.params[Step.NORMALIZE].version
    assert unfinished(changed) == {"normalize": dict.fromkeys(DAYS, (f"normalize {was} → 9",))}


def test_status_files_name_their_day_and_what_became_of_them(root: Path) -> None:
    with (root / f"sources/inbox/{DAYS[4]}.jsonl").open("a") as handle:
        handle.write("\n")
    with (root / f"sources/inbox/{DAYS[3]}.jsonl").open("a") as handle:
        handle.write("\n")
    (root / f"sources/store/{DAYS[1]}.csv").unlink()
    shutil.copy(root / f"sources/inbox/{DAYS[4]}.jsonl", root / f"sources/inbox/{DAYS[2]}.jsonl")
    assert unfinished(small.open_project(root))["ingest"] == {
        DAYS[1]: (f"file of {DAYS[1]} is gone: sources/store/{DAYS[1]}.csv",),
        DAYS[2]: (f"file of {DAYS[2]} is new",),
        DAYS[3]: (f"file of {DAYS[3]} changed: sources/inbox/{DAYS[3]}.jsonl",),
        DAYS[4]: (f"file of {DAYS[4]} changed",),
    }


def test_status_eval_set_counts_items_before_and_after_it_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    path = root / "eval/holdout.jsonl"
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    added = [json.dumps({"id": f"new {n}", "text": f"an item number {n} that nobody knew"}) for n in range(3)]
    path.write_text("\n".join([first, *added]) + "\n", encoding="utf-8")
    context = small.open_project(root)
    told = "eval set holdout changed: 3 items added, 1 removed"
    assert unfinished(context) == {
        PROTECTED: {"all": (told,)},
        "decontaminate": dict.fromkeys(DAYS, ("the protected items are not up to date",)),
    }
    run_inputs(context, "inputs")
    assert unfinished(context) == {"decontaminate": dict.fromkeys(DAYS, (told,))}


def test_status_eval_set_of_an_older_warehouse_is_named_without_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    monkeypatch.setattr(differences, "ITEMS", "kept under another name")
    with (root / "eval/holdout.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"id": "new", "text": "one more item that nobody knew"}\n')
    context = small.open_project(root)
    run_inputs(context, "inputs")
    assert unfinished(context) == {"decontaminate": dict.fromkeys(DAYS, ("eval set holdout changed",))}


def test_status_settings_that_an_older_warehouse_did_not_keep_changed(root: Path) -> None:
    with duckdb.connect(str(root / "warehouse.duckdb")) as connection:
        connection.execute("DELETE FROM settings")
    small.write_spec(root, {"filter": {"input": {"min_words": 4}}})
    told = unfinished(small.open_project(root))
    assert told == {"filter": dict.fromkeys(DAYS, (differences.UNKNOWN_SETTINGS,))}


def test_status_verdicts_are_counted_on_the_day_of_their_records(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    (root / "reviews").mkdir()
    (root / "reviews/a.csv").write_text(
        "source,id,step,verdict,reviewer,date\ninbox,T0,filter,drop,Jo,2026-03-09\ninbox,T4,filter,drop,Jo,2026-03-09\n"
    )
    small.write_spec(root, {"reviews": ["reviews/*.csv"]})
    context = small.open_project(root)
    run_inputs(context, "inputs")
    assert unfinished(context)["filter"] == {DAYS[0]: ("2 verdicts on records of this day are new",)}


# --- what a run leaves for later ----------------------------------------------------------------


def test_run_leaves_settings_and_timings_of_every_step_once(whole: Whole) -> None:
    warehouse = small.open_project(whole.root).warehouse
    kept = warehouse.query("SELECT step, count(*) AS n FROM settings GROUP BY step")
    steps = dict(kept.iter_rows())
    assert set(steps) == {PROTECTED, RELEASE, REPORT, *map(str, DAILY_STEPS)}
    # Of ingest one for each set of sources that sent files on a day: none, one, two, all three.
    assert steps.pop(str(Step.INGEST)) > 1 and set(steps.values()) == {1}
    hashes = {p.params_hash for p in warehouse.latest().values()}
    assert set(history.settings_of(warehouse, hashes)) == hashes
    took = {t.step: t for t in history.timings(warehouse)}
    assert set(took) == set(steps) | {Step.INGEST} and all(t.seconds > 0 for t in took.values())
    assert took["dedup"].rows == whole.tables["dedup"].height and took["dedup"].days == len(DAYS)
    assert took["dedup"].is_cold
    records = whole.tables["batches"]["rows_ingested"].sum()
    assert sum(n for _, n in history.sizes(warehouse).values()) == records


# --- a closed gate ------------------------------------------------------------------------------


def test_status_gate_closed_of_a_day_never_published_is_missing_until_it_passes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = LAST + dt.timedelta(days=1)
    shutil.copy(root / f"sources/inbox/{DAYS[4]}.jsonl", root / f"sources/inbox/{day}.jsonl")
    context = small.open_project(root)
    with monkeypatch.context() as patch:
        small.switch_gates_off(patch)
        run_step(context, Step.INGEST, [day], "fine")
    with monkeypatch.context() as patch:
        spoil(patch, twin_of_itself)
        with pytest.raises(GateClosed):
            run_step(context, Step.DEDUP, [LAST, day], "closed")
    found = entry_of(context, Step.DEDUP, day)
    assert (found.state, found.shown, found.is_closed) == (State.MISSING, State.CLOSED, True)
    assert found.reasons == (*GATE, "never published")
    # The other day of that run was not blamed, and its recipe is published.
    assert entry_of(context, Step.DEDUP, LAST).shown is State.PUBLISHED
    assert entry_of(context, Step.FILTER, day).shown is State.MISSING
    with monkeypatch.context() as patch:
        small.switch_gates_off(patch)
        run_step(context, Step.DEDUP, [day], "mended")
    assert entry_of(context, Step.DEDUP, day).shown is State.PUBLISHED
    assert judgements.refusals(context.warehouse) == {}


def test_status_gate_closed_of_a_published_day_is_stale_until_something_else_would_be_tried(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write_spec(root, {"dedup": {"near": {"threshold": 0.79}}})
    context = small.open_project(root)
    with monkeypatch.context() as patch:
        spoil(patch, twin_of_itself)
        with pytest.raises(GateClosed):
            run_step(context, Step.DEDUP, [LAST], "closed")
    found = entry_of(context, Step.DEDUP, LAST)
    assert (found.state, found.shown) == (State.STALE, State.CLOSED)
    assert found.reasons == (*GATE, "dedup.near.threshold 0.8 → 0.79")
    assert found.rows > 0
    small.write_spec(root, {"dedup": {"near": {"threshold": 0.78}}})
    other = entry_of(small.open_project(root), Step.DEDUP, LAST)
    assert (other.shown, other.reasons) == (State.STALE, ("dedup.near.threshold 0.8 → 0.78",))
    small.write_spec(root)
    assert entry_of(small.open_project(root), Step.DEDUP, LAST).shown is State.PUBLISHED


def test_status_gate_closed_of_protected_items_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "eval/holdout.jsonl").write_text('{"id": "a", "text": null}\n' * 3, encoding="utf-8")
    context = small.open_project(root)
    with pytest.raises(GateClosed):
        run_inputs(context, "closed")
    [found] = [e for e in small.status(context).entries if e.step == PROTECTED]
    assert (found.state, found.shown) == (State.STALE, State.CLOSED)
    assert found.reasons[0].startswith("gate closed: ") and "eval set holdout is gone" in found.reasons


def test_refusals_of_a_run_blame_the_days_its_expectations_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None named, all of them are; another attempt replaces what was told of the one before."""
    context = small.open_project(root)
    days = [dt.date.fromisoformat(day) for day in DAYS[:2]]
    row = judgements.CheckRow(
        "dedup", "a", "critical", "rows", False, False, '{"observed": "3", "limit": ""}', ()
    )
    context.warehouse.record_checks([row], days, "first")
    assert {day for _, day in judgements.refusals(context.warehouse)} == set(days)
    named = dataclasses.replace(row, name="b", days=(DAYS[0],))
    warned = dataclasses.replace(row, name="c", is_warning=True)
    context.warehouse.record_checks([named, warned], days, "second", attempts={days[0]: "try"})
    told = judgements.refusals(context.warehouse)
    assert told == {("dedup", days[0]): judgements.Refusal("try", ("b observed 3",))}


def test_status_of_two_years_is_told_in_lines_not_days(root: Path) -> None:
    """Every frame is parted by day once: a filter per day and step would take a minute."""
    days = pl.date_range(dt.date(2024, 1, 1), dt.date(2025, 12, 30), eager=True).to_list()
    for day in days:
        (root / f"sources/inbox/{day}.jsonl").touch()
    found = small.status(small.open_project(root))
    assert len(found.days) >= len(days) and len(found.of(State.MISSING)) >= 7 * len(days)
