"""Files that come late, change or vanish, and nightly files that do not come: the comparison, and the sensor on real files.

The project of these tests has published ingest alone: nothing else says which files were read.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from dataset_pipeline import clock
from dataset_pipeline.assets.engine import run_step
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.automation import seen
from dataset_pipeline.automation.arrivals import Arrival, Kind, Read, build_arrivals, compare
from dataset_pipeline.automation.freshness import Freshness, due_day, freshness, shown_file
from dataset_pipeline.automation.night import build_night
from dataset_pipeline.automation.seen import Seen
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.sources import SourceFile
from dataset_pipeline_tests.small_project import (
    DAYS,
    make_project,
    open_project,
    switch_gates_off,
    write_spec,
)

A, B = "2026-03-02", "2026-03-03"
TODAY = dt.datetime(2026, 3, 7, 3, 0)
"""After the night of the last day of the project."""


def lies(day: str, uri: str, sha: str | None = "1") -> Seen:
    return Seen("inbox", day, uri, "10 1 1", 5.0, sha)


READ = [Read("inbox", A, "a.jsonl", "1"), Read("inbox", B, "b.jsonl", "1")]


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ([lies(A, "a.jsonl"), lies(B, "b.jsonl")], []),
        ([lies(A, "a.jsonl"), lies(B, "b.jsonl"), lies(A, "c.jsonl")], [(Kind.LATE, A, "c.jsonl")]),
        ([lies(A, "a.jsonl", "2"), lies(B, "b.jsonl")], [(Kind.CHANGED, A, "a.jsonl")]),
        ([lies(A, "a.jsonl", None), lies(B, "b.jsonl")], []),  # not hashed yet: not told
        ([lies(B, "b.jsonl")], [(Kind.VANISHED, A, "a.jsonl")]),
        ([lies(A, "a.jsonl"), lies(B, "b.jsonl"), lies("2026-03-04", "d.jsonl")], [(Kind.NEW_DAY, "2026-03-04", "d.jsonl")]),
        ([lies(A, "b.jsonl"), lies(A, "a.jsonl")], [(Kind.LATE, A, "b.jsonl"), (Kind.VANISHED, B, "b.jsonl")]),
    ],
    ids=["as read", "late", "changed", "not hashed", "vanished", "new day", "moved to another day"],
)  # fmt: skip
def test_arrivals_each_kind_is_told_and_nothing_else(
    there: list[Seen], found: list[tuple[Kind, str, str]]
) -> None:
    assert [(one.kind, one.day, one.uri) for one in compare(there, READ, {A, B})] == found


def test_arrivals_silent_source_is_told_with_the_day_it_owes() -> None:
    silent = Freshness("inbox", dt.date(2026, 3, 1), dt.date(2026, 3, 3), 4)
    fresh = Freshness("store", dt.date(2026, 3, 3), dt.date(2026, 3, 3), 4)
    [one] = compare([], [], set(), [silent, fresh])
    assert (one.kind, one.source, one.day) == (Kind.NOT_COME, "inbox", "2026-03-03")
    assert one.words == "inbox sent no file for 2026-03-03"


@pytest.mark.parametrize("kind", list(Kind))
def test_arrivals_words_hide_a_name_that_looks_like_data(kind: Kind) -> None:
    words = Arrival(kind, "inbox", A, "sources/anna@mail.example/2026-03-02.jsonl").words
    assert A in words
    assert "anna" not in words


def test_shown_file_ordinary_name_stays() -> None:
    assert (
        shown_file("sources/inbox/2026-03-02/part-00001.jsonl") == "sources/inbox/2026-03-02/part-00001.jsonl"
    )


@pytest.mark.parametrize(
    ("cron", "now", "due"),
    [
        ("0 2 * * *", "2026-03-07T01:59", "2026-03-05"),  # its night is still to come
        ("0 2 * * *", "2026-03-07T02:00", "2026-03-06"),
        ("0 2 * * *", "2026-03-07T23:00", "2026-03-06"),
        ("30 4 * * 1", "2026-03-07T12:00", "2026-03-01"),  # Mondays: the 2nd was the last one
    ],
)
def test_due_day_is_the_day_before_the_last_night(cron: str, now: str, due: str) -> None:
    assert due_day(cron, dt.datetime.fromisoformat(now)) == dt.date.fromisoformat(due)


@pytest.mark.parametrize(
    ("age", "is_fresh"),
    [(0, False), (1, False), (2, True), (3, True)],
)
def test_freshness_newest_file_a_day_older_than_due_is_stale_by_default(
    tmp_path: Path, age: int, is_fresh: bool
) -> None:
    project = load_project(make_project(tmp_path))
    inbox = project.spec.sources[0].model_copy(update={"max_age_days": age})
    spec = project.spec.model_copy(update={"sources": (inbox, *project.spec.sources[1:])})
    files = [SourceFile("inbox", dt.date(2026, 3, 5), tmp_path, "x")]
    of_inbox, store, written = freshness(type(project)(spec, project.path), files, dt.date(2026, 3, 6))
    assert of_inbox.is_fresh == is_fresh
    assert of_inbox.expected == dt.date(2026, 3, 7) - dt.timedelta(days=age)
    assert (store.is_fresh, written.is_fresh) == (True, True)  # not expected daily; no {date}
    assert "not expected daily" in store.words
    assert "no {date}" in written.words


# --- hashing ------------------------------------------------------------------------------


def test_seen_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    hashed = seen.file_sha256
    monkeypatch.setattr(seen, "file_sha256", lambda path: reads.append(path.name) or hashed(path))
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n")
    files, memory = [SourceFile("inbox", dt.date(2026, 3, 2), path, "x.jsonl")], tmp_path / "memory.json"
    first = seen.look(memory, files, {"x.jsonl"}).files[0].sha256
    assert seen.look(memory, files, {"x.jsonl"}).files[0].sha256 == first
    assert reads == ["x.jsonl"]
    path.write_text("[]\n")  # the same size
    assert seen.look(memory, files, {"x.jsonl"}).files[0].sha256 != first
    memory.write_text("{broken")
    assert seen.look(memory, files, {"x.jsonl"}).files[0].sha256 is not None


def test_seen_time_is_over_rest_is_left_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "HASH_SECONDS", -1.0)
    files = []
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
        files.append(SourceFile("inbox", dt.date(2026, 3, 2), tmp_path / name, name))
    looks = [seen.look(tmp_path / "memory.json", files, {"a", "b", "c"}) for _ in range(4)]
    assert [look.left for look in looks] == [2, 1, 0, 0]
    assert all(one.sha256 for one in looks[-1].files)


# --- the sensor ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("ingested") / "project")
    with pytest.MonkeyPatch.context() as patch:
        switch_gates_off(patch)
        context = open_project(root)
        run_inputs(context, "run")
        run_step(context, Step.INGEST, [dt.date.fromisoformat(day) for day in DAYS], "run")
        release_run_lock(context.warehouse.path)
    return root


@pytest.fixture
def root(ingested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, on the morning after its last day."""
    monkeypatch.setattr(clock, "now", lambda: TODAY)
    shutil.copytree(ingested, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Ticks:
    """The sensor of a project, tick after tick, as the daemon evaluates it."""

    def __init__(self, root: Path, instance: dg.DagsterInstance):
        project = load_project(root)
        self.instance, self.cursor = instance, None
        self.sensor = build_arrivals(project, build_night(project)[0])

    def tick(self) -> Any:
        context = dg.build_sensor_context(self.instance, self.cursor)
        done = self.sensor.evaluate_tick(context)
        self.cursor = done.cursor
        return done


def asked(done: Any) -> list[str]:
    """What the runs that a tick asks for are about."""
    return [request.tags["dataset_pipeline/why"] for request in done.run_requests]


def add_late(root: Path) -> Path:
    path = root / "sources/inbox" / f"{DAYS[2]}.jsonl"
    path.write_text('{"id": "L1", "message": "A late message about the late train", "label": "bug"}\n')
    return path


def test_sensor_nothing_new_says_so(root: Path, instance: dg.DagsterInstance) -> None:
    done = Ticks(root, instance).tick()
    assert done.run_requests == []
    assert done.skip_message == "Nothing new: 7 files are as they were read."


def test_sensor_late_file_asks_for_the_night_once(root: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(root, instance)
    add_late(root)
    done = ticks.tick()
    assert asked(done) == [f"sources/inbox/{DAYS[2]}.jsonl came late: {DAYS[2]} was made without it."]
    [request] = done.run_requests
    assert [op["config"]["day"] for op in request.run_config["ops"].values()] == ["2026-03-06"]
    again = ticks.tick()
    assert again.run_requests == []
    assert "was acted on already" in again.skip_message


def test_sensor_changed_and_vanished_files_ask_again_only_for_what_is_new(
    root: Path, instance: dg.DagsterInstance
) -> None:
    ticks = Ticks(root, instance)
    path = root / "sources/inbox" / f"{DAYS[0]}.jsonl"
    path.write_text(
        path.read_text() + '{"id": "N", "message": "One more line about trains", "label": "bug"}\n'
    )
    first = ticks.tick()
    assert asked(first) == [f"sources/inbox/{DAYS[0]}.jsonl has changed since {DAYS[0]} was made."]
    (root / "sources/store" / f"{DAYS[1]}.csv").unlink()
    second = ticks.tick()
    assert asked(second) == [f"sources/store/{DAYS[1]}.csv is gone; {DAYS[1]} was made with it."]
    assert first.run_requests[0].run_key != second.run_requests[0].run_key
    assert ticks.tick().run_requests == []


def test_sensor_touched_file_with_the_same_bytes_is_nothing(root: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(root, instance)
    ticks.tick()
    path = root / "sources/inbox" / f"{DAYS[0]}.jsonl"
    os.utime(path, (1, 1))
    assert ticks.tick().run_requests == []


def test_sensor_file_of_the_day_under_way_waits_for_its_night(
    root: Path, instance: dg.DagsterInstance
) -> None:
    shutil.copy(root / "sources/inbox" / f"{DAYS[0]}.jsonl", root / "sources/inbox/2026-03-07.jsonl")
    assert Ticks(root, instance).tick().run_requests == []


def test_sensor_what_a_night_has_seen_is_not_asked_for_again(
    root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add_late(root)
    os.utime(path, (1, 1))

    @dg.job(name="night")
    def night() -> None:
        pass

    night.execute_in_process(instance=instance)
    ticks = Ticks(root, instance)
    assert ticks.tick().run_requests == []  # it began after the file had come: published, or refused and told
    path.write_text(path.read_text() * 2)
    assert len(ticks.tick().run_requests) == 1


def test_sensor_night_under_way_waits(root: Path, instance: dg.DagsterInstance) -> None:
    add_late(root)
    instance.create_run_for_job(build_night(load_project(root))[0], status=dg.DagsterRunStatus.STARTED)
    ticks = Ticks(root, instance)
    done = ticks.tick()
    assert done.run_requests == []
    assert "under way" in done.skip_message
    assert json.loads(ticks.cursor or "{}")["acted"] == {}


def test_sensor_source_that_sent_nothing_is_told_once_a_day(
    root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(root, instance)
    assert ticks.tick().asset_events == []
    monkeypatch.setattr(clock, "now", lambda: TODAY + dt.timedelta(days=1))
    [told] = ticks.tick().asset_events
    assert (told.asset_key, told.check_name, told.passed) == (
        dg.AssetKey(["source", "inbox"]),
        "fresh",
        False,
    )
    assert told.description == (
        "inbox: the file of 2026-03-07 did not come; its newest file is of 2026-03-06."
    )
    assert ticks.tick().asset_events == []
    shutil.copy(root / "sources/inbox" / f"{DAYS[0]}.jsonl", root / "sources/inbox/2026-03-07.jsonl")
    back = ticks.tick()
    assert [(event.check_name, event.passed) for event in back.asset_events] == [("fresh", True)]
    assert asked(back) == ["sources/inbox/2026-03-07.jsonl is there; 2026-03-07 is not made yet."]


def test_sensor_broken_spec_says_so_in_words(root: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(root, instance)
    add_late(root)
    (root / "dataset.yaml").write_text("name: 1\n")
    done = ticks.tick()
    assert done.run_requests == []
    assert done.skip_message.startswith("Nothing was looked at: dataset.yaml: ")
    write_spec(root)
    assert len(ticks.tick().run_requests) == 1


def test_sensor_file_that_the_spec_no_longer_reads_is_not_gone(
    root: Path, instance: dg.DagsterInstance
) -> None:
    spec = (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").write_text(spec.replace("sources/store/{date}.csv", "sources/shop/{date}.csv"))
    (root / "sources/shop").mkdir()
    shutil.copy(root / "sources/store" / f"{DAYS[1]}.csv", root / "sources/shop/2026-03-07.csv")
    assert asked(Ticks(root, instance).tick()) == []


def test_sensor_warehouse_held_by_another_is_left_for_the_next_tick(
    root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_late(root)
    ticks = Ticks(root, instance)
    text = 'IO Error: Could not set lock on file "x": Conflicting lock is held in /bin/x (PID 1)'

    def held(*_: Any, **__: Any) -> None:
        raise duckdb.IOException(text)

    with monkeypatch.context() as patch:
        patch.setattr(duckdb, "connect", held)
        done = ticks.tick()
    assert done.run_requests == []
    assert "holds the warehouse" in done.skip_message
    assert len(ticks.tick().run_requests) == 1


def test_sensor_project_that_was_never_run_waits_for_its_first_night(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    done = Ticks(make_project(tmp_path / "project"), instance).tick()
    assert "Nothing is made yet" in done.skip_message
    assert not (tmp_path / "project" / "warehouse.duckdb").exists()
