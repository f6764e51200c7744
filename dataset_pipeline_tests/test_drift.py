"""Columns that come, go or change between the days of a source: compared, told, and judged by the gate."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms.drift import Known, drift, known_of, since
from dataset_pipeline_tests.scenario import (
    CLEAN,
    DAYS,
    call,
    jsonl,
    last_json,
    make_project,
    rows,
    source,
    spec,
)

TEXT, NUMBER = frozenset({"text"}), frozenset({"number"})
YESTERDAY, TODAY = dt.date(2026, 3, 1), dt.date(2026, 3, 2)
KNOWN = Known(YESTERDAY, {"text": TEXT, "label": TEXT, "mood": NUMBER})


def test_drift_of_equal_columns_is_none() -> None:
    assert drift("inbox", TODAY, [KNOWN.columns], KNOWN, ["text"]) == drift("inbox", TODAY, [{}], None, [])
    assert drift("inbox", TODAY, [KNOWN.columns], KNOWN, ["text"]).notes == ()


def test_drift_of_a_mapped_column_of_another_kind_is_told_with_both_days() -> None:
    found = drift(
        "inbox", TODAY, [{**KNOWN.columns, "label": NUMBER, "mood": TEXT}], KNOWN, ["text", "label"]
    )
    assert found.retyped == (
        "inbox: column 'label' held text until 2026-03-01 and holds number on 2026-03-02",
    )
    assert found.notes == ()


def test_drift_of_a_further_kind_is_a_note() -> None:
    found = drift("inbox", TODAY, [{**KNOWN.columns, "label": TEXT | NUMBER}], KNOWN, ["label"])
    assert found.retyped == ()
    assert found.notes == (
        "inbox: column 'label' held text until 2026-03-01 and holds number and text on 2026-03-02",
    )


def test_drift_of_a_column_without_values_says_nothing() -> None:
    assert drift("inbox", TODAY, [{**KNOWN.columns, "label": frozenset()}], KNOWN, ["label"]).retyped == ()


def test_drift_new_and_gone_columns_are_named_up_to_five() -> None:
    now = {"text": TEXT, "label": TEXT} | {f"extra_{n}": TEXT for n in range(7)}
    notes = drift("inbox", TODAY, [now], KNOWN, ["text"]).notes
    assert notes[0].startswith("inbox: new since 2026-03-01: 'extra_0', ") and "and 2 more" in notes[0]
    assert notes[1] == "inbox: gone since 2026-03-01: 'mood' (on 2026-03-02)"


def test_drift_since_names_what_was_lost_and_what_came_instead() -> None:
    told = since(["text"], ["body", "label"], KNOWN)
    assert told == " On 2026-03-01 it still had 'text'; new since then: 'body'."
    assert since(["never_there"], ["body"], KNOWN) == since(["text"], ["body"], None) == ""


def test_drift_one_file_of_two_that_changed_is_told() -> None:
    found = drift("inbox", TODAY, [KNOWN.columns, {**KNOWN.columns, "label": NUMBER}], KNOWN, ["label"])
    assert found.retyped == (
        "inbox: column 'label' held text until 2026-03-01 and holds number on 2026-03-02",
    )


def test_drift_mapped_path_that_leads_nowhere_is_told() -> None:
    known = Known(YESTERDAY, {"meta": frozenset({"object"}), "meta.label": TEXT})
    found = drift("inbox", TODAY, [{"meta": frozenset({"object"})}], known, ["meta", "meta.label"])
    assert found.retyped == (
        "inbox: column 'meta.label' held text until 2026-03-01 and is in no record on 2026-03-02",
    )
    assert found.notes == ()


def test_drift_known_skips_days_on_which_a_column_held_nothing() -> None:
    history = {YESTERDAY: {"id": TEXT}, TODAY: {"id": frozenset(), "new": NUMBER}}
    assert known_of(history, dt.date(2026, 3, 3)) == Known(TODAY, {"id": TEXT, "new": NUMBER})
    assert known_of(history, YESTERDAY) is None


# --- through the command line -------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "project"
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def third_day(change: Any) -> dict[str, bytes]:
    """CLEAN with every row of the last day changed."""
    return CLEAN | {f"sources/{DAYS[2]}.jsonl": jsonl([change(row) for row in rows(40)])}


@pytest.mark.faults
def test_drift_lost_column_makes_a_bad_day_that_says_since_when(project: Path) -> None:
    renamed = third_day(lambda row: {"id": row["id"], "body": row["text"], "label": row["label"]})
    result = call("run", make_project(project, spec(), renamed))
    assert result.exit_code == 1
    assert "sources/2026-03-03.jsonl: has no column 'text'" in result.output
    assert "On 2026-03-02 it still had 'text'; new since then: 'body'." in result.output


@pytest.mark.faults
def test_drift_lost_column_is_compared_with_what_an_earlier_run_published(project: Path) -> None:
    path = make_project(project, spec(), {k: v for k, v in CLEAN.items() if DAYS[2] not in k})
    assert call("run", path).exit_code == 0
    make_project(
        project, spec(), third_day(lambda row: {"id": row["id"], "body": row["text"], "label": "bug"})
    )
    result = call("run", path)
    assert result.exit_code == 1
    assert "On 2026-03-02 it still had 'text'" in result.output


@pytest.mark.faults
def test_drift_retyped_column_closes_the_gate_for_its_day_alone(project: Path) -> None:
    path = make_project(project, spec(), third_day(lambda row: row | {"label": 7}))
    result = call("run", path, "--json")
    assert result.exit_code == 1
    assert last_json(result)["missing_days"] == [DAYS[2]]
    assert "columns_keep_type" in result.output
    assert "inbox: column 'label' held text until 2026-03-02 and holds number on 2026-03-03" in result.output


@pytest.mark.faults
def test_drift_accepted_with_a_reason_lets_the_day_through(project: Path) -> None:
    gate = {"severity": "warning", "reason": "codes since March"}
    content = spec(gates={"ingest": {"columns_keep_type": gate}})
    numbered = third_day(lambda row: row | {"id": int(row["id"][1:])})
    result = call("run", make_project(project, content, numbered), "--json")
    assert result.exit_code == 0
    assert last_json(result)["missing_days"] == []
    assert "warning: ingest.columns_keep_type" in result.output


@pytest.mark.faults
def test_drift_new_column_is_noted_and_nothing_else(project: Path) -> None:
    path = make_project(project, spec(), third_day(lambda row: row | {"mood": "good"}))
    result = call("run", path)
    assert result.exit_code == 0
    assert "inbox: new since 2026-03-02: 'mood' (on 2026-03-03)" in result.output


# --- rejects, told --------------------------------------------------------------------------


@pytest.mark.faults
def test_rejects_first_of_each_kind_is_printed_and_status_counts_them(project: Path) -> None:
    bad = b'{"id": 1,\n{"id": 2,\n[1]\n' + jsonl([{"id": "x", "text": None, "label": "bug"}])
    files = CLEAN | {f"sources/{DAYS[1]}.jsonl": bad + CLEAN[f"sources/{DAYS[1]}.jsonl"]}
    path = make_project(project, spec(), files)
    told = call("run", path).output
    assert f"rejected sources/{DAYS[1]}.jsonl:1: invalid_json" in told and "and 1 more of this kind" in told
    assert f"rejected sources/{DAYS[1]}.jsonl:3: not_an_object" in told
    assert f"rejected sources/{DAYS[1]}.jsonl:4: missing_value (text is missing or null)" in told
    status = call("status", path, "--json")
    expected = {"inbox": {"invalid_json": 2, "missing_value": 1, "not_an_object": 1}}
    assert last_json(status)["rejected"] == expected
    assert "rejected of inbox: 4 (invalid_json 2, missing_value 1, not_an_object 1)" in status.stderr
    story = json.loads(call("explain", path, f"sources/{DAYS[1]}.jsonl:3", "--json").stdout)
    assert story[0]["rejected"]["reason"] == "not_an_object"


@pytest.mark.faults
def test_drift_day_after_a_refused_one_is_compared_with_the_last_good_one(project: Path) -> None:
    second = CLEAN | {f"sources/{DAYS[1]}.jsonl": jsonl([row | {"id": n} for n, row in enumerate(rows(20))])}
    result = call("run", make_project(project, spec(), second), "--json")
    assert result.exit_code == 1
    assert last_json(result)["missing_days"] == [DAYS[1]]


@pytest.mark.faults
def test_drift_nested_label_that_moved_makes_a_bad_day(project: Path) -> None:
    def nested(row: dict[str, Any], key: str) -> dict[str, Any]:
        return {"id": row["id"], "text": row["text"], "meta": {key: row["label"]}}

    files = {
        f"sources/{day}.jsonl": jsonl([nested(row, "label") for row in rows(20 * n)])
        for n, day in enumerate(DAYS)
    }
    files[f"sources/{DAYS[2]}.jsonl"] = jsonl([nested(row, "etikett") for row in rows(40)])
    content = spec(sources=[source(fields={"id": "id", "input": "text", "output": "meta.label"})])
    result = call("run", make_project(project, content, files))
    assert result.exit_code == 1
    assert "column 'meta.label' held text until 2026-03-02 and is in no record on 2026-03-03" in result.output


def test_drift_values_in_place_of_a_header_are_not_repeated(project: Path) -> None:
    message = "My parcel for order 4711 never came so call me on 0171 2345678"
    files = {"sources/a.csv": f"2000,{message},account\n2001,Another row of text,billing\n".encode()}
    content = spec(sources=[source(path="sources/a.csv", collected_at=DAYS[0])])
    result = call("check", make_project(project, content, files))
    assert result.exit_code == 2
    assert "parcel" not in result.output and "(a name of 62 characters)" in result.output
    assert "say `header: false`" in result.output


@pytest.mark.faults
def test_intake_small_files_are_staged_together(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stagings: list[int] = []
    whole = Warehouse.stage_part

    def counted(self: Warehouse, claim: Any, frames: Any, is_first: bool) -> None:
        stagings.append(1)
        whole(self, claim, frames, is_first)

    monkeypatch.setattr(Warehouse, "stage_part", counted)
    files = {f"sources/{n}.txt": f"The {n}th letter says something of its own.".encode() for n in range(60)}
    fields = {"input": "text", "output": "file.folder"}
    content = spec(
        sources=[source(path="sources/*.txt", format="files", fields=fields, collected_at=DAYS[0])]
    )
    call("run", make_project(project, content, files))
    assert len(stagings) < 20
