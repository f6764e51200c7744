"""`rollback`: `latest` points back, and stays so until the data or the spec change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.releases import latest_version
from dataset_pipeline_tests.scenario import (
    CLEAN,
    SOURCE,
    call,
    jsonl,
    last_json,
    make_project,
    released,
    rows,
    source,
    spec,
)


@dataclass(frozen=True)
class Made:
    """A project that was run twice, with another seed."""

    path: Path
    old: str
    new: str

    def copy(self, folder: Path) -> Made:
        shutil.copytree(self.path.parent, folder / "copy", symlinks=True)
        return Made(folder / "copy" / "dataset.yaml", self.old, self.new)

    @property
    def latest(self) -> str | None:
        return latest_version(self.path.parent / "releases")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Read-only by convention: tests work on copies."""
    folder = tmp_path_factory.mktemp("rollback") / "project"
    path = make_project(folder)
    assert call("run", path).exit_code == 0
    old = latest_version(folder / "releases")
    make_project(folder, spec(split={"seed": 8}), {})
    assert call("run", path).exit_code == 0
    new = latest_version(folder / "releases")
    assert old is not None and new is not None and old != new
    yield Made(path, old, new)
    release_run_lock(folder / "warehouse.duckdb")


@pytest.mark.faults
def test_rollback_holds_until_the_spec_changes(made: Made, tmp_path: Path) -> None:
    copy = made.copy(tmp_path)
    result = call("rollback", copy.path, copy.old[:8])
    assert result.exit_code == 0
    assert f"`latest` points at {copy.old} now, before at {copy.new}." in result.stdout
    assert "until the data or the spec change" in result.stdout
    assert copy.latest == copy.old

    told = last_json(call("status", copy.path, "--json"))
    assert told["release"] == copy.old and told["release_is_current"] is True
    assert told["rolled_back"]["newer"] == copy.new
    words = call("status", copy.path).stdout
    assert f"release: {copy.old} (rolled back 20" in words and f"; {copy.new} is newer)" in words
    assert call("run", copy.path).exit_code == 0  # the page shows the release that `latest` names now
    again = call("run", copy.path)
    assert again.exit_code == 0 and "Nothing to do" in again.stdout
    assert copy.latest == copy.old

    make_project(copy.path.parent, spec(split={"seed": 9}), {})
    assert call("run", copy.path).exit_code == 0
    assert copy.latest not in (copy.old, copy.new) and len(released(copy.path)) == 3
    assert last_json(call("status", copy.path, "--json"))["rolled_back"] is None


@pytest.mark.faults
def test_rollback_holds_until_the_data_change(made: Made, tmp_path: Path) -> None:
    copy = made.copy(tmp_path)
    assert call("rollback", copy.path, copy.old).exit_code == 0
    (copy.path.parent / "sources/2026-03-03.jsonl").write_bytes(jsonl(rows(40, 21)))
    stale = last_json(call("status", copy.path, "--json"))
    assert stale["release_is_current"] is False
    assert call("run", copy.path).exit_code == 0
    assert copy.latest not in (copy.old, copy.new)


def test_rollback_forth_again_is_no_rollback_any_more(made: Made, tmp_path: Path) -> None:
    copy = made.copy(tmp_path)
    assert call("rollback", copy.path, copy.old).exit_code == 0
    assert call("rollback", copy.path, copy.new).exit_code == 0
    told = last_json(call("status", copy.path, "--json"))
    assert (told["release"], told["release_is_current"], told["rolled_back"]) == (copy.new, True, None)
    assert "rolled back" not in call("status", copy.path).stdout


@pytest.mark.parametrize("name", ["latest", "version"])
def test_rollback_to_what_latest_is_says_so(made: Made, name: str) -> None:
    result = call("rollback", made.path, made.new if name == "version" else name)
    assert result.exit_code == 0
    assert result.stdout == f"`latest` points at {made.new} already: nothing to do.\n"


def test_rollback_to_an_unknown_release_lists_what_there_is(made: Made) -> None:
    result = call("rollback", made.path, "nonsense")
    assert result.exit_code == 2
    assert f"There are: {', '.join(sorted((made.old, made.new)))}." in result.stderr
    assert made.latest == made.new


def test_rollback_to_a_release_of_another_project_is_refused(made: Made, tmp_path: Path) -> None:
    copy = made.copy(tmp_path)
    result = call("rollback", made.path, str(copy.path.parent / "releases" / copy.old))
    assert result.exit_code == 2 and "is no release of" in result.stderr
    assert made.latest == made.new


@pytest.mark.parametrize(
    ("file", "expected"),
    [("chat/train.jsonl", "chat/train.jsonl: is missing"), ("manifest.json", "is missing or no manifest")],
)
def test_rollback_to_a_release_that_is_not_whole_leaves_latest(
    made: Made, tmp_path: Path, file: str, expected: str
) -> None:
    copy = made.copy(tmp_path)
    (copy.path.parent / "releases" / copy.old / file).unlink()
    result = call("rollback", copy.path, copy.old)
    assert result.exit_code == 1 and expected in result.stderr
    assert copy.latest == copy.new
    assert last_json(call("status", copy.path, "--json"))["rolled_back"] is None


@pytest.mark.parametrize("loss", ["gone", "another making", "no source file"])
def test_rollback_moves_latest_where_the_warehouse_cannot_note_it(
    made: Made, tmp_path: Path, loss: str
) -> None:
    copy = made.copy(tmp_path)
    warehouse = copy.path.parent / "warehouse.duckdb"
    if loss == "no source file":
        shutil.rmtree(copy.path.parent / "sources")
    else:
        warehouse.unlink()
    if loss == "another making":
        duckdb.connect(str(warehouse)).execute("CREATE TABLE theirs (name VARCHAR)").close()
    result = call("rollback", copy.path, copy.old)
    assert result.exit_code == 0, result.output
    assert copy.latest == copy.old
    assert "note: it is not noted in the warehouse" in result.stdout
    assert "the next run may release anew" in result.stdout
    assert warehouse.exists() is (loss != "gone")


def test_rollback_where_latest_is_no_link_is_refused(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.path.parent, tmp_path / "copy")  # follows links
    path = tmp_path / "copy" / "dataset.yaml"
    result = call("rollback", path, made.old)
    assert result.exit_code == 2 and "latest: is no link" in result.stderr


def test_rollback_with_stale_days_says_that_it_will_not_hold(made: Made, tmp_path: Path) -> None:
    copy = made.copy(tmp_path)
    make_project(copy.path.parent, spec(split={"seed": 9}), dict(CLEAN))
    result = call("rollback", copy.path, copy.old)
    assert result.exit_code == 0 and "the next run makes it, then releases anew" in result.stdout


def test_rollback_to_a_release_that_holds_erased_records_says_so(made: Made, tmp_path: Path) -> None:
    copy = made.copy(tmp_path)
    with duckdb.connect(str(copy.path.parent / "warehouse.duckdb")) as connection:
        connection.execute("UPDATE main.ingest SET reason = 'erased', kept = false WHERE source_id = 'r4'")
    result = call("rollback", copy.path, copy.old)
    assert result.exit_code == 0 and "note: records in it that were erased since: 1;" in result.stdout


def test_rollback_to_a_release_whose_records_lack_a_use_of_the_spec_is_refused(
    made: Made, tmp_path: Path
) -> None:
    copy = made.copy(tmp_path)
    every = SOURCE["rights"] | {"uses": ["train", "evaluate", "commercial"]}
    may_now = spec(sources=[source(rights=every)], release={"uses": ["train", "commercial"]})
    make_project(copy.path.parent, may_now, {})
    result = call("rollback", copy.path, copy.old)
    assert result.exit_code == 1
    assert "commercial: source inbox (60 records)" in result.stderr
    assert "Take these uses out of release.uses, or go back to another release." in result.stderr
    assert "evaluate" not in result.stderr
    assert copy.latest == copy.new
    assert last_json(call("status", copy.path, "--json"))["rolled_back"] is None

    make_project(
        copy.path.parent, spec(sources=[source(rights=every)], release={"uses": ["train", "evaluate"]}), {}
    )
    assert call("rollback", copy.path, copy.old).exit_code == 0
    assert copy.latest == copy.old
