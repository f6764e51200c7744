"""`explain FILE:LINE` where a line is more than a row: many records, records and rejects, two sources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.cli import explaining
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests.scenario import call, last_json, make_project, row, rows, source, spec

LENIENT = {"ingest": {"reject_rate": {"max": 1.0, "reason": "some rows are bad on purpose"}}}
ITEMS = [{"text": row(n)["text"], "label": "bug"} for n in (200, 201)] + [{"text": None, "label": "bug"}]
DOCUMENTS: dict[str, Any] = {
    "many": rows(0, 60),
    "same": [row(n, id="same") for n in range(60, 85)],
    "few": [row(90), row(91, text=None), row(92), row(0, id="copy")],
    "bad": [row(100), *[row(n, text=None) for n in range(101, 131)]],
    "tree": [{"id": "t", "items": ITEMS}],
    "pair": {"one": rows(140, 2), "two": [row(150), row(151, text=None)]},
}
"""Each document is minified: all of it is line 1 of `NAME.json`. `copy` repeats a text of `many`."""


def _of(name: str, **changes: Any) -> dict[str, Any]:
    return source(**{"name": name, "path": f"{name}.json", "collected_at": "2026-03-01"} | changes)


SOURCES = [
    *[_of(name, rank=n) for n, name in enumerate(("many", "same", "few", "bad"), 1)],
    _of("tree", fields={"id": "id", "input": "items.text", "output": "items.label"}, explode="items"),
    *[_of(name, path="pair.json", records=name) for name in ("one", "two")],
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of documents on one line each, run once."""
    folder = tmp_path_factory.mktemp("explain") / "project"
    files = {f"{k}.json": json.dumps(v, separators=(",", ":")).encode() for k, v in DOCUMENTS.items()}
    path = make_project(folder, spec(sources=SOURCES, gates=LENIENT), files)
    result = call("run", path)
    assert result.exit_code == 0, result.output
    yield path
    release_run_lock(folder / "warehouse.duckdb")


def listed(path: Path, name: str) -> list[dict[str, Any]]:
    stories: list[dict[str, Any]] = last_json(call("explain", path, name, "--json"))
    return stories


def test_explain_line_of_many_records_tells_the_first_twenty_and_counts_the_others(project: Path) -> None:
    told = call("explain", project, "many.json:1").stdout
    names = [line.split("(")[1] for line in told.splitlines() if line.startswith("record ")]
    assert names == [f"many:r{n})" for n in range(20)], "in the order of the file"
    assert told.endswith("\nand 40 more records begin on this line; name one by its id\n")
    stories = listed(project, "many.json:1")
    assert [story["origin"]["source_id"] for story in stories[:-1]] == [f"r{n}" for n in range(20)]
    assert stories[-1] == {"more": 40}


def test_explain_line_of_many_records_asks_a_few_times_however_many(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    query = Warehouse.query

    def counted(self: Warehouse, sql: str, *parameters: Any) -> Any:
        asked.append(sql)
        return query(self, sql, *parameters)

    monkeypatch.setattr(Warehouse, "query", counted)
    call("explain", project, "many.json:1")
    many = len(asked)
    call("explain", project, "few.json:1")
    assert many == len(asked) - many < 20


def test_explain_line_of_records_tells_each_as_by_its_id(project: Path) -> None:
    stories = [story for story in listed(project, "few.json:1") if "origin" in story]
    alone = [listed(project, story["origin"]["record_id"]) for story in stories]
    assert [[story] for story in stories] == alone
    assert [len(story["steps"]) for story in stories] == [7, 7, 2], "dedup drops the copy"
    assert stories[2]["origin"]["source_id"] == "copy"
    assert stories[2]["release"]["released"] is False and stories[2]["release"]["reason"] == "exact"


def test_explain_source_id_of_many_records_is_capped_too(project: Path) -> None:
    told = call("explain", project, "same:same").stdout
    assert told.count("(same:same)") == 20
    assert "and 5 more records go by this name; name one by its id" in told
    assert listed(project, "same:same")[-1] == {"more": 5}


def test_explain_one_more_is_told_in_the_singular(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "MAX_SHOWN", 2)
    assert "and 1 more record begins on this line;" in call("explain", project, "few.json:1").stdout
    monkeypatch.setattr(explaining, "MAX_SHOWN", 29)
    assert "and 1 more row of this line was rejected" in call("explain", project, "bad.json:1").stdout


def test_explain_reject_beside_records_of_its_line_is_told(project: Path) -> None:
    told = call("explain", project, "few.json:1").stdout
    assert told.count("(few:") == 3
    assert "few.json:1 was rejected: missing_value (text is missing or null), byte " in told
    assert [*listed(project, "few.json:1")[-1]] == ["rejected"]


def test_explain_refused_item_of_an_exploded_row_is_told_with_its_records(project: Path) -> None:
    told = call("explain", project, "tree.json:1").stdout
    assert told.count("(tree:") == 2 and told.count("tree.json:1 was rejected: missing_value (") == 1


def test_explain_many_rejects_of_a_line_are_capped_and_counted(project: Path) -> None:
    told = call("explain", project, "bad.json:1").stdout
    assert told.count("bad.json:1 was rejected: ") == 20
    assert told.endswith("\nand 10 more rows of this line were rejected\n")
    stories = listed(project, "bad.json:1")
    offsets = [story["rejected"]["byte_offset"] for story in stories[1:-1]]
    assert offsets == sorted(offsets) and len(offsets) == 20
    assert stories[-1] == {"more_rejected": 10}


def test_explain_line_that_two_sources_read_tells_the_reject_with_its_source(project: Path) -> None:
    told = call("explain", project, "pair.json:1").stdout
    assert told.count("(one:r") == 2 and told.count("(two:r") == 1
    [line] = [line for line in told.splitlines() if "was rejected" in line]
    assert line.endswith(", source two")


@pytest.mark.parametrize("line", ["²", "9" * 60, "-1", "", "2"])
def test_explain_line_that_is_none_is_unknown(project: Path, line: str) -> None:
    result = call("explain", project, f"many.json:{line}")
    assert result.exit_code == 2 and "no record or rejected row is known by that name" in result.stderr
