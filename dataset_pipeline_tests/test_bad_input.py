"""Bad input end to end, through the command line: exit code, message with file, place and remedy, nothing half-published."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result

from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.scenario import (
    CLEAN,
    HOPELESS,
    call,
    csv_bytes,
    jsonl,
    make_project,
    released,
    row,
    rows,
    source,
    spec,
    truncated_gzip,
)

RIGHTS = source()["rights"]
HELD = {"name": "held", "path": "eval/held.jsonl", "fields": {"input": "text"}}


def published(spec_path: Path) -> list[tuple[str, str]]:
    """Step and day of every publication of a daily step."""
    warehouse = spec_path.parent / "warehouse.duckdb"
    if not warehouse.exists():
        return []
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        sql = "SELECT DISTINCT step, day::VARCHAR FROM publications WHERE day IS NOT NULL ORDER BY ALL"
        return connection.execute(sql).fetchall()


@pytest.fixture(autouse=True)
def _no_lock_left(tmp_path: Path) -> Iterator[None]:
    yield
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def run(folder: Path, content: dict[str, Any], files: dict[str, bytes]) -> tuple[Path, Result]:
    path = make_project(folder / "project", content, files)
    result = call("run", path)
    assert "Traceback" not in result.output
    return path, result


# --- the spec and its files: exit 2 before anything is made ---------------------------------


@pytest.mark.parametrize(
    ("content", "files", "expected"),
    [
        (spec(filtr={}), CLEAN, "dataset.yaml: filtr: unknown key 'filtr'. Did you mean 'filter'?"),
        (spec(split={"seed": "x"}), CLEAN, "dataset.yaml: split.seed: Input should be a valid integer (it is 'x')."),
        (spec(), {}, "dataset.yaml: sources[0] (inbox).path: no file matches 'sources/{date}.jsonl' below project/."),
        (spec(decontaminate={"sets": [HELD]}), CLEAN, "decontaminate.sets[0] (held).path: no file matches 'eval/held.jsonl'."),
        (spec(sources=[source(path="../{date}.jsonl")]), CLEAN, "sources[0] (inbox).path: '../{date}.jsonl' leads outside the project."),
        (spec(sources=[source(path="/tmp/{date}.jsonl")]), CLEAN, "is outside the project. Put the file below the spec's folder"),
        (spec(sources=[source(rights=None)]), CLEAN, "dataset.yaml: sources[0].rights: is missing. Add it."),
        (spec(sources=[source(rights=RIGHTS | {"basis": "\t"})]), CLEAN, "rights.basis: is blank: no rights, no entry."),
        (spec(sources=[source(rights=RIGHTS | {"license": "all mine"})]), CLEAN, "rights.license: 'all mine' is no SPDX licence expression: 'all mine' is not on the SPDX list. Use"),
        (spec(split={"ratios": {"train": 0.9, "validation": 0.1, "test": 0.1}}), CLEAN, "split.ratios: ratios sum to 1.1, not 1."),
        (spec(decontaminate={"sets": [HELD | {"path": "sources/2026-03-01.jsonl"}]}), CLEAN, "is also the source 'inbox': protected items are never trained on."),
        (spec(gates={"ingest": {"reject_rat": {"max": 1, "reason": "r"}}}), CLEAN, "gates.ingest.reject_rat: the step has no such expectation."),
        (spec(gates={"ingest": {"reject_rate": {"min": 0.1, "reason": "r"}}}), CLEAN, "gates.ingest.reject_rate.min: the expectation has no such limit."),
        (spec(gates={"ingest": {"ids_unique": {"max": 3, "reason": "r"}}}), CLEAN, "gates.ingest.ids_unique.max: the expectation has no such limit."),
        (spec(gates={"ingest": {"reject_rate": {"reason": "r"}}}), CLEAN, "gates.ingest.reject_rate: changes nothing."),
    ],
)  # fmt: skip
def test_bad_input_spec_is_refused_with_place_and_remedy(
    tmp_path: Path, content: dict[str, Any], files: dict[str, bytes], expected: str
) -> None:
    path, result = run(tmp_path, content, files)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not (path.parent / "warehouse.duckdb").exists() and released(path) == []
    checked = call("check", path)
    assert checked.exit_code == 2 and expected in checked.output


def test_bad_input_faults_of_spec_and_files_are_told_together(tmp_path: Path) -> None:
    rights = RIGHTS | {"license": "all mine"}
    content = spec(sources=[source(rights=rights), source(name="gone", path="gone/{date}.csv")])
    _, result = run(tmp_path, content, CLEAN)
    assert result.exit_code == 2
    assert "sources[0] (inbox).rights.license" in result.stderr
    assert "sources[1] (gone).path: no file matches" in result.stderr


# --- files that are no batch --------------------------------------------------------------

LATIN = '{"id": "l1", "text": "The café opened late in the morning today", "label": "bug"}\n'.encode("cp1252")
MANY_FAULTS: dict[str, bytes] = {
    **{f"sources/2026-03-0{n}.jsonl": jsonl(rows(20 * n)) for n in (1, 3, 6, 7)},
    "sources/2026-03-02.jsonl": jsonl([{"id": "a", "body": "no text column", "label": "bug"}] * 3),
    "sources/2026-03-04.jsonl": b"",
    "sources/2026-03-05.jsonl": jsonl([*rows(200, 10), row(211, id="r200"), row(200)])
    + b"\0\0\0\n"
    + LATIN
    + b'{"id": "n", "text": "a NUL \\u0000 within", "label": "bug"}\n',
    "table/2026-03-03.csv": csv_bytes(rows(300, 10)),
    "table/2026-03-04.csv": b"id,text,label\n",
    "table/2026-03-07.csv": b"",
    "packed/2026-03-01.jsonl.gz": gzip.compress(jsonl(rows(320, 10)), mtime=0),
    "packed/2026-03-06.jsonl.gz": truncated_gzip(rows(340)),
    "latin/2026-03-05.jsonl": LATIN,
}
"""Seven days: 2 lacks a column, 6 holds a truncated gzip, 7 an empty CSV; 4 and 5 are odd and usable."""
FOUR_SOURCES = [
    source(),
    source(name="table", path="table/{date}.csv", expected_daily=False),
    source(name="packed", path="packed/{date}.jsonl.gz", expected_daily=False),
    source(name="latin", path="latin/{date}.jsonl", encoding="cp1252", expected_daily=False),
]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Result]]:
    """A project with a fault of every kind, run once."""
    path, result = run(tmp_path_factory.mktemp("faulty"), spec(sources=FOUR_SOURCES), MANY_FAULTS)
    yield path, result
    release_run_lock(path.parent / "warehouse.duckdb")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (
            "2026-03-02",
            "sources/2026-03-02.jsonl: has no column 'text'; it has 'body', 'id', 'label'. Mend the file",
        ),
        ("2026-03-06", "packed/2026-03-06.jsonl.gz on 2026-03-06. A file ends in the middle"),
        ("2026-03-07", "table/2026-03-07.csv: empty file: a CSV needs a header line"),
    ],
)
def test_bad_input_file_makes_a_bad_day_that_is_named(
    faulty: tuple[Path, Result], day: str, expected: str
) -> None:
    _, result = faulty
    [line] = [line for line in result.stdout.splitlines() if line.startswith(f"bad day {day}: ingest")]
    assert expected in line
    assert str(faulty[0].parent) not in line


def test_bad_input_days_are_set_aside_and_the_others_released(faulty: tuple[Path, Result]) -> None:
    path, result = faulty
    assert result.exit_code == 1
    [version] = released(path)
    manifest = json.loads((path.parent / "releases" / version / "manifest.json").read_text())
    assert manifest["missing_days"] == ["2026-03-02", "2026-03-06", "2026-03-07"]
    assert "missing days: 2026-03-02, 2026-03-06, 2026-03-07" in result.stdout
    assert {day for _, day in published(path)} == {f"2026-03-0{n}" for n in (1, 3, 4, 5)}


def test_bad_input_lines_are_rejected_with_their_place(faulty: tuple[Path, Result]) -> None:
    path, result = faulty
    with duckdb.connect(str(path.parent / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT uri, line, reason FROM rejects ORDER BY line").fetchall()
    uri = "sources/2026-03-05.jsonl"
    assert [(u, line) for u, line, _ in found] == [(uri, 13), (uri, 14), (uri, 15)]
    assert "nul" in found[0][2] and "nul" in found[2][2]
    assert found[1][2] == "invalid_encoding"
    for _, line, reason in found[:2]:
        assert f"rejected {uri}:{line}: {reason}" in result.stdout
    assert result.stdout.count(": nul_byte (") == 1 and ", and 1 more of this kind" in result.stdout


def test_bad_input_declared_encoding_is_read(faulty: tuple[Path, Result]) -> None:
    story = json.loads(call("explain", faulty[0], "latin:l1", "--json").stdout.splitlines()[-1])[0]
    assert [step["kept"] for step in story["steps"]] == [True] * 7


def test_bad_input_empty_files_and_repeated_ids_are_warned_of(faulty: tuple[Path, Result]) -> None:
    warnings = [line for line in faulty[1].stdout.splitlines() if line.startswith("  warning: ingest.")]
    assert any("source_ids_unique" in line and "by inbox on 2026-03-05" in line for line in warnings), (
        warnings
    )
    assert any("files_not_empty" in line and "2026-03-04" in line for line in warnings), warnings
    ids = call("explain", faulty[0], "inbox:r200")
    assert ids.stdout.count("record ") == 3, "all three records that carry the id"


@pytest.mark.faults
def test_bad_input_second_run_tries_the_bad_days_again_and_keeps_the_release(
    faulty: tuple[Path, Result],
) -> None:
    path, _ = faulty
    before = released(path), published(path)
    again = call("run", path)
    assert again.exit_code == 1
    assert again.stdout.count("bad day ") == 3
    assert (released(path), published(path)) == before


# --- files that leave a source with nothing: exit 2 ------------------------------------------

SINGLE = {"collected_at": dt.date(2026, 3, 1)}


@pytest.mark.parametrize(
    ("sources", "files", "expected"),
    [
        ([source()], {name: jsonl([{"id": "a", "label": "bug"}]) for name in CLEAN}, "sources/2026-03-03.jsonl: has no column 'text'"),
        ([source(path="one.csv", **SINGLE)], {"one.csv": b"id,body,label\n1,a,bug\n"}, "one.csv: has no column 'text'; it has 'body', 'id', 'label'."),
        ([source(path="one.csv", **SINGLE)], {"one.csv": b""}, "one.csv: empty file: a CSV needs a header line"),
        ([source(path="one.jsonl.gz", **SINGLE)], {"one.jsonl.gz": truncated_gzip(rows(0))}, "one.jsonl.gz: breaks off at line"),
        ([source(path="one.jsonl.gz", **SINGLE)], {"one.jsonl.gz": b"plain text\n"}, "one.jsonl.gz: is not gzip (plain text?)."),
    ],
)  # fmt: skip
def test_bad_input_source_without_a_usable_file_is_refused(
    tmp_path: Path, sources: list[dict[str, Any]], files: dict[str, bytes], expected: str
) -> None:
    path, result = run(tmp_path, spec(sources=sources), files)
    assert result.exit_code == 2
    assert f"dataset.yaml: source inbox: {expected}" in result.stderr
    assert published(path) == [] and released(path) == []
    checked = call("check", path)
    assert checked.exit_code == 2 and next(iter(files)) in checked.output


ONE_LIST_EACH = [source(name=name, path="all.json", records=name, **SINGLE) for name in ("a", "b")]


def test_bad_input_file_of_two_sources_is_refused_for_the_one_that_lacks_the_column(tmp_path: Path) -> None:
    lists = {"a": rows(0), "b": [{"id": "x", "body": "no text column", "label": "bug"}]}
    path, result = run(tmp_path, spec(sources=ONE_LIST_EACH), {"all.json": json.dumps(lists).encode()})
    assert result.exit_code == 2
    [told] = result.stderr.splitlines()
    assert told.startswith("dataset.yaml: source b: all.json: has no column 'text'; it has 'body', ")
    assert published(path) == [] and released(path) == []


def test_bad_input_file_of_two_sources_that_lack_the_column_is_told_of_each(tmp_path: Path) -> None:
    lists = {name: [{"id": "x", name * 4: "no text column", "label": "bug"}] for name in "ab"}
    _, result = run(tmp_path, spec(sources=ONE_LIST_EACH), {"all.json": json.dumps(lists).encode()})
    assert result.exit_code == 2
    assert "source a: all.json: has no column 'text'; it has 'aaaa', " in result.stderr
    assert "source b: all.json: has no column 'text'; it has 'bbbb', " in result.stderr


def test_bad_input_bad_day_of_a_file_names_the_source_before_it(faulty: tuple[Path, Result]) -> None:
    assert "bad day 2026-03-02: ingest: inbox: sources/2026-03-02.jsonl: has no column" in faulty[1].stdout


def test_bad_input_evaluation_set_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    held = HELD | {"path": "eval/held.jsonl.gz"}
    path, result = run(
        tmp_path, spec(decontaminate={"sets": [held]}), CLEAN | {"eval/held.jsonl.gz": b"plain"}
    )
    assert result.exit_code == 2
    assert "eval/held.jsonl.gz: is not gzip (plain text?)." in result.stderr
    assert published(path) == []


def test_bad_input_evaluation_set_without_the_column_is_told_by_check(tmp_path: Path) -> None:
    content = spec(decontaminate={"sets": [HELD | {"fields": {"input": "question"}}]})
    path = make_project(tmp_path, content, CLEAN | {"eval/held.jsonl": jsonl(rows(0, 2))})
    result = call("check", path)
    assert result.exit_code == 2
    assert "decontaminate.sets[0] (held): eval/held.jsonl: has no column 'question'" in result.stdout


def test_bad_input_rows_that_all_are_no_records_are_told_by_check(tmp_path: Path) -> None:
    files = CLEAN | {"sources/2026-03-02.jsonl": jsonl([row(n, text=["a list"]) for n in range(5)])}
    result = call("check", make_project(tmp_path, None, files))
    assert result.exit_code == 2
    assert "source inbox: sources/2026-03-02.jsonl: no row becomes a record" in result.stdout
    assert "line 1, wrong_type (text is a list, not text)." in result.stdout


def test_bad_input_hopeless_closes_the_gate_and_publishes_nothing(tmp_path: Path) -> None:
    path, result = run(tmp_path, spec(), HOPELESS)
    assert result.exit_code == 1
    assert "ingest.reject_rate: 1 (limit at most 0.01)" in result.stdout
    assert "no release yet" in result.stdout
    assert published(path) == [] and released(path) == []
