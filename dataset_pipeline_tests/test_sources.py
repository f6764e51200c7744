"""Which files of a project are found, of which day, and what is wrong with them as files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.spec.load import Project, load_project, read_project
from dataset_pipeline.storage.sources import Found, calendar, discover
from dataset_pipeline_tests.scenario import make_project, source, spec

ROW = b'{"id": "1", "text": "x", "label": "bug"}\n'


def found(folder: Path, content: dict[str, Any], *names: str) -> tuple[Project, Found]:
    project = load_project(make_project(folder, content, dict.fromkeys(names, ROW)))
    return project, discover(project)


def days(*numbers: int) -> list[dt.date]:
    return [dt.date(2026, 3, n) for n in numbers]


def test_discover_date_in_a_file_name_is_its_day(tmp_path: Path) -> None:
    _, seen = found(
        tmp_path, spec(), "sources/2026-03-02.jsonl", "sources/2026-03-01.jsonl", "sources/other.txt"
    )
    assert [(f.source, f.day, f.uri) for f in seen.files] == [
        ("inbox", dt.date(2026, 3, 1), "sources/2026-03-01.jsonl"),
        ("inbox", dt.date(2026, 3, 2), "sources/2026-03-02.jsonl"),
    ]
    assert seen.problems == () and seen.notes == ()


@pytest.mark.parametrize(
    "name", ["export", "2026-3-1", "2026-02-30", "20260301", "2026-03-01b", "２０２６-03-01"]
)
def test_discover_name_that_is_no_day_is_noted_and_not_read(tmp_path: Path, name: str) -> None:
    _, seen = found(tmp_path, spec(), "sources/2026-03-01.jsonl", f"sources/{name}.jsonl")
    assert [f.day for f in seen.files] == days(1)
    assert seen.notes == (f"inbox: sources/{name}.jsonl is not read: its {{date}} is no day (YYYY-MM-DD).",)


def test_discover_date_as_folder_with_glob_joins_the_files_of_a_day(tmp_path: Path) -> None:
    content = spec(sources=[source(path="sources/{date}/part-*.jsonl")])
    _, seen = found(
        tmp_path, content, *(f"sources/2026-03-01/part-{n}.jsonl" for n in "ba"), "sources/2026-03-01/x.jsonl"
    )
    assert [(f.day, f.uri[-11:]) for f in seen.files] == [(days(1)[0], f"part-{n}.jsonl"[-11:]) for n in "ab"]


def test_discover_single_day_takes_collected_at(tmp_path: Path) -> None:
    content = spec(sources=[source(path="one.csv", collected_at=days(5)[0])])
    _, seen = found(tmp_path, content, "one.csv")
    assert seen.days() == days(5)


def test_discover_name_with_glob_characters_is_the_file_so_called(tmp_path: Path) -> None:
    content = spec(sources=[source(path="export [final].csv", collected_at=days(5)[0])])
    _, seen = found(tmp_path, content, "export [final].csv", "export f.csv")
    assert [f.uri for f in seen.files] == ["export [final].csv"]


def test_discover_no_file_is_a_problem_with_place_and_remedy(tmp_path: Path) -> None:
    _, seen = found(tmp_path / "home", spec())
    [problem] = seen.problems
    assert problem.place == "dataset.yaml: sources[0] (inbox).path"
    assert problem.message == "no file matches 'sources/{date}.jsonl' below home/."
    assert problem.remedy


def test_discover_folder_where_a_file_should_be_is_a_problem(tmp_path: Path) -> None:
    content = spec(sources=[source(path="one.csv", collected_at=days(5)[0])])
    (tmp_path / "one.csv").mkdir()
    _, seen = found(tmp_path, content)
    assert [p.message for p in seen.problems] == ["one.csv is not a file."]


def test_discover_link_that_leads_outside_is_a_problem(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(ROW)
    project, _ = found(tmp_path / "home", spec(), "sources/2026-03-01.jsonl")
    (project.root / "sources/2026-03-02.jsonl").symlink_to(outside)
    seen = discover(project)
    assert [p.message for p in seen.problems] == [
        "sources/2026-03-02.jsonl is a link that leads outside the project."
    ]
    assert seen.days() == days(1)


def test_discover_folder_link_that_leads_outside_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/2026-03-01.jsonl").write_bytes(ROW)
    project, _ = found(tmp_path / "home", spec())
    (project.root / "sources").symlink_to(tmp_path / "outside")
    seen = discover(project)
    assert seen.files == ()
    assert "leads outside the project" in seen.problems[0].message


def test_discover_link_within_the_project_is_read(tmp_path: Path) -> None:
    project, _ = found(tmp_path, spec(), "store/a.jsonl")
    (project.root / "sources").mkdir()
    (project.root / "sources/2026-03-02.jsonl").symlink_to(project.root / "store/a.jsonl")
    assert discover(project).days() == days(2)


def test_discover_path_outside_is_a_problem_and_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "2026-03-01.jsonl").write_bytes(ROW)
    for path in ("../{date}.jsonl", f"{tmp_path}/{{date}}.jsonl"):
        project = read_project(make_project(tmp_path / "home", spec(sources=[source(path=path)]), {}))
        seen = discover(project)
        assert seen.files == ()
        assert "outside the project" in seen.problems[0].message


def test_discover_file_of_two_sources_is_a_problem(tmp_path: Path) -> None:
    content = spec(
        sources=[source(), source(name="also", path="*/2026-03-01.jsonl", collected_at=days(1)[0])]
    )
    _, seen = found(tmp_path, content, "sources/2026-03-01.jsonl")
    assert [str(p) for p in seen.problems] == [
        "dataset.yaml: sources: 2026-03-01.jsonl belongs to also and inbox. Let one source own a file, or give each its own `records` (JSON) or `sheet` (Excel)."
    ]


def test_discover_file_of_two_sources_by_a_link_is_a_problem(tmp_path: Path) -> None:
    content = spec(sources=[source(), source(name="also", path="link.jsonl", collected_at=days(1)[0])])
    project, _ = found(tmp_path, content, "sources/2026-03-01.jsonl")
    (project.root / "link.jsonl").symlink_to(project.root / "sources/2026-03-01.jsonl")
    assert ["belongs to also and inbox" in p.message for p in discover(project).problems] == [True]


def test_discover_protected_file_that_is_a_sources_is_a_problem(tmp_path: Path) -> None:
    sets = {"sets": [{"name": "held", "path": "link.jsonl", "fields": {"input": "text"}}]}
    project, seen = found(tmp_path, spec(decontaminate=sets), "sources/2026-03-01.jsonl", "link.jsonl")
    assert seen.problems == ()
    (project.root / "link.jsonl").unlink()
    (project.root / "link.jsonl").symlink_to(project.root / "sources/2026-03-01.jsonl")
    assert ["protected items are never trained on" in p.message for p in discover(project).problems] == [True]


def test_discover_mistyped_year_is_a_problem(tmp_path: Path) -> None:
    _, seen = found(tmp_path, spec(), "sources/2026-03-01.jsonl", "sources/0206-03-01.jsonl")
    assert [p.message for p in seen.problems] == ["its days run from 0206-03-01 to 2026-03-01."]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (None, days(2, 3, 4, 5)),  # days without files lie between
        (dt.date(2026, 3, 1), days(1, 2, 3, 4, 5)),  # earlier than the first file
        (dt.date(2026, 3, 4), days(4, 5)),  # files before it are left out
    ],
)
def test_calendar_runs_from_start_or_first_file_to_the_last(
    tmp_path: Path, start: dt.date | None, expected: list[dt.date]
) -> None:
    content = spec(**({"start": start} if start else {}))
    project, seen = found(tmp_path, content, "sources/2026-03-02.jsonl", "sources/2026-03-05.jsonl")
    assert calendar(project, seen) == expected


def test_calendar_without_files_is_empty(tmp_path: Path) -> None:
    project, seen = found(tmp_path, spec())
    assert calendar(project, seen) == []
