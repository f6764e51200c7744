"""A closed gate in a run: nothing is published, the rows stay for inspection, the next step uses the last good ones.

Failure tests 11 (rows of another day), 12 (a critical expectation fails) and 13 (the check engine raises).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.assets import engine
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed, run_step
from dataset_pipeline.assets.plan import State, status_of
from dataset_pipeline.errors import BadDay
from dataset_pipeline.records import TABLES, Step
from dataset_pipeline_tests.conftest import sample_context
from dataset_pipeline_tests.test_expectations_common import FOREIGN_DAY, change

LAST = dt.date(2026, 10, 30)
Spoil = Callable[[pl.DataFrame], pl.DataFrame]


def edit_spec(root: Path, **changed: str) -> Context:
    """The project's context after top-level sections of its spec were written anew."""
    path = root / "dataset.yaml"
    text = path.read_text(encoding="utf-8")
    for section, body in changed.items():
        assert f"\n{section}:\n" not in text
        text += f"\n{section}:\n  {body}\n"
    path.write_text(text, encoding="utf-8")
    return sample_context(root)


def spoil(monkeypatch: pytest.MonkeyPatch, mutate: Spoil) -> None:
    """From now on a step computes something else than it should."""
    whole = engine.work

    def worse(context, undated, step, days, stage):
        done = whole(context, undated, step, days, stage)
        return replace(done, tables=done.tables | {step: mutate(done.tables[step])})

    monkeypatch.setattr(engine, "work", worse)


def published(context: Context) -> dict[str, list[tuple]]:
    """Everything that is visible: the rows of every table, and all publications."""
    found = {table: context.warehouse.table(table).rows() for table in TABLES}
    return found | {"publications": context.warehouse.query("SELECT * FROM publications ORDER BY seq").rows()}


def staged_rows(context: Context, step: Step) -> int:
    return context.warehouse.query(f'SELECT count(*) AS n FROM staging."{step}"')["n"].item()


def checks_of(context: Context, run_id: str) -> dict[str, dict]:
    frame = context.warehouse.query("SELECT * FROM checks WHERE run_id = ?", [run_id])
    return {row["name"]: row for row in frame.iter_rows(named=True)}


def first_id(frame: pl.DataFrame) -> str:
    return frame["record_id"].sort()[0]


def twin_of_itself(frame: pl.DataFrame) -> pl.DataFrame:
    culprit = first_id(frame.filter(~pl.col("kept")))
    return change(frame, culprit, twin=culprit)


@pytest.fixture
def stale(sample_run_copy: Path) -> Context:
    """A fully run project whose dedup is stricter than it was: every day of dedup is stale."""
    return edit_spec(sample_run_copy, dedup="near: {threshold: 0.79}")


def test_gate_critical_fails_nothing_published_rows_stay_checks_recorded(stale, monkeypatch):
    before = published(stale)
    spoil(monkeypatch, twin_of_itself)
    with pytest.raises(GateClosed) as closed:
        run_step(stale, Step.DEDUP, [LAST], "closed")
    assert published(stale) == before
    assert staged_rows(stale, Step.DEDUP) == len([row for row in before["ingest"] if row[1] == LAST])
    checks = checks_of(stale, "closed")
    assert not checks["twins_named"]["passed"]
    assert checks["twins_named"]["days"] == [str(LAST)]
    assert checks["ids_unique"]["passed"]
    assert set(closed.value.days) == {str(LAST)}
    assert "dedup.twins_named: 1 (limit at most 0) on 2026-10-30 records " in str(closed.value)


def test_gate_closed_later_step_uses_last_good_rows_and_status_says_so(stale, sample_run_copy, monkeypatch):
    good = [row for row in published(stale)["dedup"] if row[1] == LAST]
    with monkeypatch.context() as patch:
        spoil(patch, twin_of_itself)
        with pytest.raises(GateClosed):
            run_step(stale, Step.DEDUP, [LAST], "closed")
    # The filter is made anew, of what dedup last published.
    relaxed = edit_spec(
        sample_run_copy, gates="filter: {drop_rate_per_rule: {max: 0.4, reason: a week of automatic replies}}"
    )
    outcome = run_step(relaxed, Step.FILTER, [LAST], "later")
    assert outcome.published == (LAST,)
    assert outcome.counts[LAST].rows == sum(row[-3] for row in good)
    entries = {e.step: e for e in status_of(relaxed).entries if e.day == LAST}
    assert entries[Step.DEDUP].state is State.STALE
    assert entries[Step.FILTER].state is State.STALE
    assert "dedup of this day is not up to date" in entries[Step.FILTER].reasons


def test_gate_closed_then_mended_publishes(stale, monkeypatch):
    with monkeypatch.context() as patch:
        spoil(patch, twin_of_itself)
        with pytest.raises(GateClosed):
            run_step(stale, Step.DEDUP, [LAST], "closed")
    outcome = run_step(stale, Step.DEDUP, [LAST], "mended")
    assert outcome.published == (LAST,)
    assert staged_rows(stale, Step.DEDUP) == 0
    assert all(check["passed"] for check in checks_of(stale, "mended").values())


def test_gate_one_bad_day_publishes_none_of_the_run(stale, monkeypatch):
    before = published(stale)
    days = [LAST - dt.timedelta(days=1), LAST]
    spoil(monkeypatch, lambda frame: twin_of_itself_on(frame, days[0]))
    with pytest.raises(GateClosed) as closed:
        run_step(stale, Step.DEDUP, days, "closed")
    assert published(stale) == before
    assert set(closed.value.days) == {str(days[0])}


def twin_of_itself_on(frame: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    culprit = first_id(frame.filter(~pl.col("kept"), pl.col("day") == day))
    return change(frame, culprit, twin=culprit)


def test_gate_rows_of_a_foreign_day_are_named_and_nothing_is_published(stale, monkeypatch):
    before = published(stale)
    culprits: list[str] = []

    def foreign(frame: pl.DataFrame) -> pl.DataFrame:
        culprits.append(first_id(frame.filter(~pl.col("kept"))))
        return change(frame, culprits[0], day=FOREIGN_DAY)

    spoil(monkeypatch, foreign)
    with pytest.raises(GateClosed) as closed:
        run_step(stale, Step.DEDUP, [LAST], "closed")
    assert published(stale) == before
    message = str(closed.value)
    assert (
        f"dedup.days_requested: 1 of {staged_rows(stale, Step.DEDUP)} records on {FOREIGN_DAY} records {culprits[0]}."
        in message
    )
    assert "A row belongs to a day that this run does not make." in message
    assert isinstance(closed.value, BadDay)
    assert set(closed.value.days) == {str(LAST)}


def test_gate_rows_of_another_requested_day_are_named(stale, monkeypatch):
    before = published(stale)
    days = [LAST - dt.timedelta(days=1), LAST]
    culprits: list[str] = []

    def swapped(frame: pl.DataFrame) -> pl.DataFrame:
        culprits.extend(first_id(frame.filter(pl.col("kept"), pl.col("day") == day)) for day in days)
        return change(change(frame, culprits[0], day=days[1]), culprits[1], day=days[0])

    spoil(monkeypatch, swapped)
    with pytest.raises(GateClosed) as closed:
        run_step(stale, Step.DEDUP, days, "closed")
    assert published(stale) == before
    assert f"dedup.records_arrived: 2 of {staged_rows(stale, Step.DEDUP)} records" in str(closed.value)
    assert all(culprit in str(closed.value) for culprit in culprits)


def test_gate_check_engine_raises_nothing_published_rows_stay_checks_recorded(stale, monkeypatch):
    import great_expectations as gx

    before = published(stale)

    def broken(**_):
        raise RuntimeError("the check engine is broken")

    with monkeypatch.context() as patch:
        patch.setattr(gx, "ExpectationSuite", broken)
        with pytest.raises(
            GateClosed, match=r"dedup.ids_unique: the check could not be evaluated \(RuntimeError\)"
        ):
            run_step(stale, Step.DEDUP, [LAST], "closed")
    assert published(stale) == before
    assert staged_rows(stale, Step.DEDUP) > 0
    assert not any(check["passed"] for check in checks_of(stale, "closed").values())
    # The step after it works on what was published before; once the engine is back, so does the step itself.
    assert run_step(stale, Step.FILTER, [LAST], "later").is_noop
    assert run_step(stale, Step.DEDUP, [LAST], "mended").published == (LAST,)


def test_gate_override_in_the_spec_lets_a_step_through(stale, sample_run_copy, monkeypatch):
    context = edit_spec(sample_run_copy, gates="dedup: {twins_named: {max: 1, reason: one known case}}")
    spoil(monkeypatch, lambda frame: change(frame, first_id(frame.filter(~pl.col("kept"))), similarity=1.5))
    outcome = run_step(context, Step.DEDUP, [LAST], "relaxed")
    assert outcome.published == (LAST,)


def test_gate_no_text_of_a_record_in_error_checks_or_notes(stale, monkeypatch):
    # Every row is wrong, so everything that may be said of a row is said.
    spoil(
        monkeypatch,
        lambda frame: frame.with_columns(reason=pl.lit("whim"), kept=pl.lit(False), detail=pl.lit("{}")),
    )
    with pytest.raises(GateClosed) as closed:
        run_step(stale, Step.DEDUP, [LAST], "closed")
    said = (
        str(closed.value)
        + stale.warehouse.query("SELECT observed FROM checks")["observed"].str.join(" ").item()
    )
    texts = [
        m["content"]
        for row in stale.warehouse.table("ingest").iter_rows(named=True)
        for m in row["messages"]
        if m["role"] == "user"
    ]
    assert not [text for text in texts if len(text) > 5 and text in said]
