"""A file that changes, shrinks, grows or vanishes between plan and read: its batch is refused with both hashes.

Failure test 27 of the project's list. The change is made at the moment at which ingest opens the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.assets import engine, intake
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.scenario import (
    CLEAN,
    call,
    csv_bytes,
    jsonl,
    make_project,
    row,
    rows,
    source,
    spec,
)
from dataset_pipeline_tests.test_bad_input import published

DAY, URI = "2026-03-02", "sources/2026-03-02.jsonl"
Change = Callable[[Path], None]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@pytest.fixture(autouse=True)
def _no_lock_left(tmp_path: Path) -> Iterator[None]:
    yield
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def run_while(
    monkeypatch: pytest.MonkeyPatch, path: Path, uri: str, change: Change, moment: str = "before"
) -> Any:
    """`run`, with `change` applied once, right before a file's rows are read, or right after they were."""
    original, done = intake.readers.read_blocks, []

    def read(file: Path, *arguments: Any, **options: Any) -> Iterator[Any]:
        is_it = file == path.parent / uri and not done
        if is_it and moment == "before":
            done.append(change(file))
        items = original(file, *arguments, **options)
        yield from items
        if is_it and moment == "after":
            done.append(change(file))

    with monkeypatch.context() as patch:
        patch.setattr(intake.readers, "read_blocks", read)
        result = call("run", path)
    assert done, "the file was never read"
    assert "Traceback" not in result.output
    return result


def _grow(file: Path) -> None:
    with file.open("ab") as handle:
        handle.write(jsonl([row(99)]))


def _shrink(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.truncate(file.stat().st_size // 2)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _replace(file: Path) -> None:
    """By rename, with the same size and modification time."""
    facts, data = file.stat(), file.read_bytes()
    other = file.with_name("other.part")
    other.write_bytes(data.replace(b"bug", b"gub"))
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.rename(file)


CHANGES: dict[str, Change] = {
    "grow": _grow,
    "shrink": _shrink,
    "empty": _empty,
    "replace": _replace,
    "vanish": Path.unlink,
}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
def test_changing_file_is_refused_with_both_hashes_and_read_when_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, moment: str
) -> None:
    path = make_project(tmp_path / "project", spec(), CLEAN)
    result = run_while(monkeypatch, path, URI, CHANGES[change], moment)
    now = "none" if change == "vanish" else _sha((path.parent / URI).read_bytes())
    [line] = [
        line for line in result.stdout.splitlines() if line.startswith(f"bad day {DAY}: ingest: {URI}: ")
    ]
    assert result.exit_code == 1
    assert f"(sha256 {_sha(CLEAN[URI])} → {now})" in line
    assert ("vanished" in line) == (change == "vanish")
    assert DAY not in {day for _, day in published(path)}, "nothing of it is published"
    (path.parent / URI).write_bytes(CLEAN[URI])
    again = call("run", path)
    assert again.exit_code == 0, again.output
    assert DAY in {day for _, day in published(path)}


def test_changing_file_of_a_table_that_shrinks_to_nothing_is_told_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"table/2026-03-01.csv": csv_bytes(rows(0)), "table/2026-03-02.csv": csv_bytes(rows(20))}
    path = make_project(tmp_path / "project", spec(sources=[source(path="table/{date}.csv")]), files)
    result = run_while(monkeypatch, path, "table/2026-03-02.csv", _empty)
    assert "table/2026-03-02.csv: changed while it was read (sha256 " in result.stdout


def test_changed_file_with_equal_size_and_time_is_hashed_anew_in_the_same_process(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(jsonl(rows(0)))
    before = engine._sha256(file)
    _replace(file)
    assert engine._sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest() != before
