"""People's files through the command line: what `check` says of them, what `run` makes of them, and again after a change.

Lives here: reviews, annotations and the queue end to end. Keep out: what a row means (`test_reviews`,
`test_annotations`), erasing (`test_erasure`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from dataset_pipeline.cli.main import main
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.scenario import LABELS, jsonl, make_project, row, rows, spec

HEADER = "source,id,step,verdict,value,reviewer,date"


def call(command: str, path: Path, *more: str) -> Result:
    result = CliRunner().invoke(main, [command, *more, "--spec", str(path)])
    release_run_lock(path.parent / "warehouse.duckdb")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def answers(path: Path, items: dict[str, list[str]]) -> None:
    """Long form: item to the labels of the annotators a, b, c, in their order."""
    lines = [
        f"inbox:{item},{who},{said}"
        for item, all_ in items.items()
        for who, said in zip("abc", all_, strict=False)
    ]
    write(path, "item,annotator,label", *lines)


def story(path: Path, record: str) -> dict[str, Any]:
    result = call("explain", path, record, "--json")
    found: list[dict[str, Any]] = json.loads(result.output.splitlines()[-1])
    return found[0] | {"by_step": {step["step"]: step for step in found[0]["steps"]}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Forty messages on a day; the last two have no label."""
    given = [*rows(0, 38), row(38, label=None), row(39, label=None)]
    people = {"reviews": ["reviews/*.csv"], "label": {"annotations": ["annotations/*.csv"]}}
    return make_project(tmp_path / "p", spec(**people), {"sources/2026-03-01.jsonl": jsonl(given)})


def test_people_files_that_are_none_are_told_by_check_with_line_and_word(project: Path) -> None:
    write(
        project.parent / "reviews/a.csv",
        HEADER,
        "inbox,r1,filtr,keep,,jo,2026-03-02",
        "inbox,r2,label,relabel,nice,jo,",
    )
    write(project.parent / "reviews/b.csv", "a,b", "1,2")
    write(project.parent / "annotations/a.csv", "item,annotator,label", "inbox:r1,a,bug", ",a,bug")
    result = call("check", project)
    assert result.exit_code == 2
    assert "reviews/b.csv: has no column" in result.output
    write(project.parent / "reviews/b.csv", HEADER)
    result = call("check", project)
    assert result.exit_code == 2
    assert "reviews/a.csv:2: a decision that cannot be read: wrong_step." in result.output
    assert "reviews/a.csv:3: a decision that cannot be read: unknown_label." in result.output
    assert (
        "advice: annotations/a.csv:3: no answer can be made of it, or not wholly: missing_item."
        in result.output
    )
    result = call("run", project)
    assert result.exit_code == 1 and "reviews.verdicts_readable: 2" in result.output
    assert not (project.parent / "releases").exists()


@pytest.mark.faults
def test_people_label_what_has_none_and_a_later_word_goes_before_an_earlier(project: Path) -> None:
    assert call("run", project).exit_code == 0
    waiting = pl.read_csv(project.parent / "review_queue.csv", infer_schema=False)
    assert set(waiting["id"]) == {"r38", "r39"} and set(waiting["reason"]) == {"unlabelled"}
    answers(project.parent / "annotations/a.csv", {"r38": ["bug", "bug", "wish"], "r39": ["bug", "wish"]})
    assert call("run", project).exit_code == 0
    labelled = story(project, "inbox:r38")["by_step"]["label"]
    assert (labelled["kept"], labelled["measured"]["label"]) == (True, "bug")
    assert labelled["measured"]["label_origin"] == "annotations"
    assert story(project, "inbox:r39")["by_step"]["label"]["reason"] == "in_review"
    write(project.parent / "reviews/a.csv", HEADER, "inbox,r39,,relabel,praise,jo,2026-03-02")
    assert call("run", project).exit_code == 0
    told = story(project, "inbox:r39")["by_step"]["label"]
    assert (told["measured"]["label"], told["measured"]["label_origin"]) == ("praise", "review")
    write(project.parent / "reviews/b.csv", HEADER, "inbox,r39,,relabel,bug,al,2026-03-03")
    assert call("run", project).exit_code == 0
    assert story(project, "inbox:r39")["by_step"]["label"]["measured"]["label"] == "bug"
    assert not (project.parent / "review_queue.csv").exists()
    assert "Nothing to do" in call("run", project).output


@pytest.mark.faults
def test_people_who_disagree_close_the_gate_and_a_reason_opens_it(project: Path) -> None:
    said = {f"r{n}": [LABELS[(n * k) % 3] for k in (0, 1, 2)] for n in range(1, 40)}
    answers(project.parent / "annotations/a.csv", said | {f"x{n}": ["bug", "wish"] for n in range(20)})
    result = call("run", project)
    assert result.exit_code == 1
    assert "annotations.agreement: " in result.output and "no release yet" in result.output
    text = project.read_text(encoding="utf-8")
    reason = "gates: {annotations: {agreement: {min: -1.0, reason: a first trial}}}\n"
    project.write_text(text + reason, encoding="utf-8")
    assert call("run", project).exit_code == 0


@pytest.mark.faults
def test_people_who_disagree_later_leave_the_last_good_answers_in_use(project: Path) -> None:
    answers(project.parent / "annotations/a.csv", {"r38": ["bug", "bug", "bug"]})
    assert call("run", project).exit_code == 0
    said = {f"r{n}": [LABELS[(n * k) % 3] for k in (0, 1, 2)] for n in range(1, 38)}
    answers(project.parent / "annotations/b.csv", said | {f"x{n}": ["bug", "wish"] for n in range(20)})
    write(project.parent / "sources/2026-03-02.jsonl", *(json.dumps(r) for r in rows(60, 20)))
    result = call("run", project)
    assert result.exit_code == 1
    assert "The annotations published before are used." in result.output
    assert story(project, "inbox:r38")["by_step"]["label"]["measured"]["label"] == "bug"
    assert story(project, "inbox:r70")["release"]["released"] in (True, False)


@pytest.mark.faults
def test_people_verdict_follows_a_record_to_another_day(project: Path) -> None:
    assert call("run", project).exit_code == 0
    record = story(project, "inbox:r5")["origin"]["record_id"]
    write(project.parent / "reviews/a.csv", "record,step,verdict,reviewer", f"{record},filter,drop,jo")
    assert call("run", project).exit_code == 0
    assert story(project, "inbox:r5")["by_step"]["filter"]["reason"] == "reviewed"
    (project.parent / "sources/2026-03-01.jsonl").rename(project.parent / "sources/2026-03-04.jsonl")
    result = call("run", project)
    assert result.exit_code == 0, result.output
    moved = story(project, "inbox:r5")
    assert moved["origin"]["record_id"] != record and moved["origin"]["day"] == "2026-03-04"
    assert moved["by_step"]["filter"]["reason"] == "reviewed"
