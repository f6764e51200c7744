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

Change = Callable[[Path], None]


def _day(uri: str) -> str:
    return Path(uri).stem


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@pytest.fixture(autouse=True)
def _no_lock_left(tmp_path: Path) -> Iterator[None]:
    yield
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def run_while(monkeypatch: pytest.MonkeyPatch, path: Path, changes: dict[str, tuple[Change, str]]) -> Any:
    """`run`, with the change of each uri made once: right before its rows are read, or right after they were."""
    original = intake.readers.read_blocks
    waiting = {path.parent / uri: change for uri, change in changes.items()}

    def read(file: Path, *arguments: Any, **options: Any) -> Iterator[Any]:
        change, moment = waiting.pop(file, (None, ""))
        if change is not None and moment == "before":
            change(file)
        yield from original(file, *arguments, **options)
        if change is not None and moment == "after":
            change(file)

    with monkeypatch.context() as patch:
        patch.setattr(intake.readers, "read_blocks", read)
        result = call("run", path)
    assert not waiting, "a file was never read"
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


@pytest.mark.faults
def test_changing_files_are_refused_with_both_hashes_and_read_when_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"sources/2026-03-{n:02}.jsonl": jsonl(rows(20 * n)) for n in range(1, 11)}
    files |= {"table/2026-03-11.csv": csv_bytes(rows(300)), "table/2026-03-12.csv": csv_bytes(rows(320))}
    files["table/2026-03-13.csv"] = csv_bytes(rows(340))
    kinds = [(change, moment) for change in CHANGES for moment in ("before", "after")]
    made = dict(zip([*files][1:], kinds, strict=False)) | {"table/2026-03-12.csv": ("empty", "before")}
    sources = [source(), source(name="table", path="table/{date}.csv", expected_daily=False)]
    path = make_project(tmp_path / "project", spec(sources=sources), files)
    result = run_while(monkeypatch, path, {uri: (CHANGES[c], moment) for uri, (c, moment) in made.items()})
    assert result.exit_code == 1
    for uri, (change, moment) in made.items():
        now = "none" if change == "vanish" else _sha((path.parent / uri).read_bytes())
        told = [
            line for line in result.stdout.splitlines() if line.startswith("bad day") and f": {uri}: " in line
        ]
        assert len(told) == 1, (uri, change, moment)
        assert f"(sha256 {_sha(files[uri])} → {now})" in told[0], (change, moment)
        assert ("vanished" in told[0]) == (change == "vanish")
    days = {day for _, day in published(path)}
    assert days == {_day(uri) for uri in files} - {_day(uri) for uri in made}
    for uri, data in files.items():
        (path.parent / uri).write_bytes(data)
    again = call("run", path)
    assert again.exit_code == 0, again.output
    assert {day for _, day in published(path)} == {_day(uri) for uri in files}


def test_changed_file_with_equal_size_and_time_is_hashed_anew_in_the_same_process(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(jsonl(rows(0)))
    before = engine._sha256(file)
    _replace(file)
    assert engine._sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest() != before


@pytest.mark.faults
def test_changing_only_file_of_a_source_makes_a_bad_day_and_no_wrong_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"sources/2026-03-01.jsonl": jsonl(rows(0)), "one.jsonl": jsonl(rows(40))}
    sources = [source(), source(name="one", path="one.jsonl", collected_at="2026-03-02")]
    path = make_project(tmp_path / "project", spec(sources=sources), files)
    result = run_while(monkeypatch, path, {"one.jsonl": (_grow, "after")})
    assert result.exit_code == 1
    assert "bad day 2026-03-02: ingest: one: one.jsonl: changed while it was read (sha256" in result.output
    assert {day for _, day in published(path)} == {"2026-03-01"}
