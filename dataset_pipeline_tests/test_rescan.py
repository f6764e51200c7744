"""`rescan`: finished releases are checked against evaluation sets that were added since, and an addendum says what is in them.

Lives here: what is found, what is written, what is not scanned twice, and what goes wrong. Keep out: the end of a run
(`test_rescan_runs`), how a record is compared (`test_decontaminate`).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import dataset_pipeline
from dataset_pipeline import clock
from dataset_pipeline.assets import release_records, rescanning
from dataset_pipeline.assets.rescanning import Today
from dataset_pipeline.cli import completing
from dataset_pipeline.records import PROTECTED, TABLES, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import addenda, erased_releases, release_removal, release_tags, releases
from dataset_pipeline.storage.release_checks import verify
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests.evaluated_project import EvaluatedProject
from dataset_pipeline_tests.published_release import exchange, files_of, written
from dataset_pipeline_tests.scenario import call, last_json, make_project, spec

LEAKED = (
    "The brass telescope on the north balcony shows only fog whenever the ferry sounds its long evening horn."
)
OTHER = "Nobody in the pottery class remembered to bring the small blue kiln key back before the summer break began."
SHORT = "the ferry sounds its horn"
RECORDS = [
    (exchange("The invoice editor freezes after the update on the tablet.", "bug"), "bug"),
    (exchange(f"Hello team! {LEAKED} Can you look into it?", "bug"), "bug"),
    (exchange(f"As my neighbour says, {SHORT} at noon.", "wish"), "wish"),
    (exchange("A darker theme for the route planner would be kind to my eyes.", "wish"), "wish"),
]
"""Record 1 (train) holds LEAKED, record 2 (test) holds SHORT."""
IDS = [f"{n:032x}" for n in range(len(RECORDS))]


class Project(EvaluatedProject):
    """A project with releases that were written without a run, and evaluation sets that may be changed."""

    def release(self, records: Any = tuple(RECORDS), formats: Any = ("chat",), **more: Any) -> str:
        version = written(self.releases, records, formats, **more).name
        releases.point_latest(self.releases, version)
        return version

    def said(self, version: str) -> dict[str, Any]:
        return dict(json.loads(addenda.path_of(self.releases, version).read_text(encoding="utf-8")))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(make_project(tmp_path / "project", files={}))


# --- what is found ------------------------------------------------------------------------


def test_rescan_names_the_records_of_a_set_that_was_added_and_leaves_the_release(project: Project) -> None:
    version = project.release()
    before = files_of(project.releases / version)
    project.put(ferries=[LEAKED, OTHER])
    result = call("rescan", project.spec)
    assert result.exit_code == 1
    assert f"{version}: ferries: 1 record (contaminated 1; train 1)" in result.stdout
    assert IDS[1] in result.stdout and LEAKED not in result.stdout
    said = project.said(version)
    assert said["findings"] == [
        {"record_id": IDS[1], "split": "train", "eval_set": "ferries", "eval_item": "ferries-0",
         "verdict": "contaminated", "match": "coverage", "value": 1.0}
    ]  # fmt: skip
    scan = said["sets"]["ferries"]
    assert scan["items"] == 2 and len(scan["sha256"]) == 64 and scan["settings"]["ngram"] == 13
    assert scan["found"] == {
        "records": 1, "verdicts": {"contaminated": 1}, "matches": {"coverage": 1}, "splits": {"train": 1},
    }  # fmt: skip
    assert said["findings_file"] is None and said["release"] == version
    assert files_of(project.releases / version) == before and verify(project.releases / version).is_whole
    assert "telescope" not in addenda.path_of(project.releases, version).read_text(encoding="utf-8")


def test_rescan_of_which_nothing_is_found_ends_with_0_and_is_noted(project: Project) -> None:
    version = project.release()
    project.put(kilns=[OTHER])
    result = call("rescan", project.spec)
    assert result.exit_code == 0 and f"{version}: nothing found." in result.stdout
    assert project.said(version)["sets"]["kilns"]["found"]["records"] == 0
    assert project.said(version)["sets"]["examples"]["items"] == 5


def test_rescan_a_short_item_inside_a_text_is_a_suspect_unless_the_spec_keeps_them(project: Project) -> None:
    version = project.release()
    project.put(ferries=[SHORT])
    assert call("rescan", project.spec).exit_code == 1
    found = project.said(version)["sets"]["ferries"]["found"]
    assert found["verdicts"] == {"suspect": 1} and found["splits"] == {"test": 1}
    project.put({"suspects": "keep"}, ferries=[SHORT])
    assert call("rescan", project.spec).exit_code == 0
    assert project.said(version)["findings"] == []


def test_rescan_counts_a_record_for_every_set_that_it_holds_an_item_of(project: Project) -> None:
    both = (exchange(f"{LEAKED} And by the way, {OTHER}", "bug"), "bug")
    version = project.release([*RECORDS[:1], both])
    project.put(ferries=[LEAKED], kilns=[OTHER], boats=["No such boat was ever seen in this quiet harbour."])
    assert call("rescan", project.spec).exit_code == 1
    said = project.said(version)
    assert [(one["record_id"], one["eval_set"]) for one in said["findings"]] == [
        (IDS[1], "ferries"),
        (IDS[1], "kilns"),
    ]
    assert said["records"] == 1 and said["findings_count"] == 2


@pytest.mark.parametrize("name", ["chat", "alpaca", "completion", "sharegpt", "parquet"])
@pytest.mark.faults
def test_rescan_finds_the_same_in_every_format(project: Project, name: str) -> None:
    version = project.release(formats=[name])
    project.put(ferries=[LEAKED, SHORT])
    assert call("rescan", project.spec).exit_code == 1
    assert [one["record_id"] for one in project.said(version)["findings"]] == [IDS[1], IDS[2]]


def test_rescan_finds_an_item_in_the_worse_answer_of_a_pair(project: Project) -> None:
    records = [(exchange(f"What is new in the harbour, number {n}?", "Not much."), None) for n in range(2)]
    pairs = [(1, [{"role": "assistant", "content": text}]) for text in ("Nothing.", LEAKED)]
    version = project.release(records, ["preference"], pairs=pairs, type="preference", labels={})
    project.put(ferries=[LEAKED])
    assert call("rescan", project.spec).exit_code == 1
    assert [one["record_id"] for one in project.said(version)["findings"]] == [IDS[1]]


@pytest.mark.faults
def test_rescan_in_small_stretches_finds_the_same(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [RECORDS[n % 4] for n in range(12)]
    version = project.release(records)
    project.put(ferries=[LEAKED], kilns=[SHORT])
    assert call("rescan", project.spec).exit_code == 1
    whole = project.said(version)["findings"]
    shutil.rmtree(project.releases / "addenda")
    monkeypatch.setattr(release_records, "ROWS_AT_ONCE", 3)
    assert call("rescan", project.spec).exit_code == 1
    assert project.said(version)["findings"] == whole and len(whole) == 6


def test_rescan_lists_many_findings_in_a_file_beside_and_removes_it_once_it_is_old(project: Project) -> None:
    version = project.release([RECORDS[1]] * 25)
    project.put(ferries=[LEAKED])
    result = call("rescan", project.spec)
    assert "and 5 more" in result.stdout
    said = project.said(version)
    folder = addenda.path_of(project.releases, version).parent
    assert len(said["findings"]) == addenda.SHOWN_FINDINGS and said["findings_count"] == 25
    every = pl.read_parquet(folder / said["findings_file"]["path"])
    assert every.columns == list(addenda.FINDING) and every["record_id"].n_unique() == 25
    project.put(ferries=[OTHER])
    assert call("rescan", project.spec).exit_code == 0
    assert [path.name for path in folder.iterdir()] == [addenda.CONTAMINATION]


# --- what is left to do -------------------------------------------------------------------


def test_rescan_again_changes_nothing_and_says_so_with_what_was_found(project: Project) -> None:
    version = project.release()
    project.put(ferries=[LEAKED])
    call("rescan", project.spec)
    before = files_of(project.releases / "addenda")
    again = call("rescan", project.spec)
    assert again.exit_code == 1 and "not scanned again" in again.stdout and "found before" in again.stdout
    assert files_of(project.releases / "addenda") == before
    assert last_json(call("rescan", project.spec, "--json"))["releases"] == [
        {
            "version": version, "scanned": [], "problem": None,
            "addendum": str(addenda.path_of(project.releases.resolve(), version)),
            "found": {"ferries": {"records": 1, "verdicts": {"contaminated": 1}, "matches": {"coverage": 1}, "splits": {"train": 1}}},
        }
    ]  # fmt: skip


def test_rescan_scans_a_changed_set_only_and_keeps_what_others_found(project: Project) -> None:
    version = project.release()
    project.put(ferries=[LEAKED], horns=[SHORT])
    call("rescan", project.spec)
    project.put(ferries=[OTHER], horns=[SHORT])
    [one] = last_json(call("rescan", project.spec, "--json"))["releases"]
    assert one["scanned"] == ["ferries"] and list(one["found"]) == ["horns"]
    assert [f["eval_set"] for f in project.said(version)["findings"]] == ["horns"]


def test_rescan_scans_again_under_other_settings(project: Project) -> None:
    project.release()
    project.put(ferries=[LEAKED])
    call("rescan", project.spec)
    project.put({"ngram": 8}, ferries=[LEAKED])
    [one] = last_json(call("rescan", project.spec, "--json"))["releases"]
    assert one["scanned"] == ["examples", "ferries"]


def test_rescan_of_one_set_leaves_the_others_to_do(project: Project) -> None:
    version = project.release()
    project.put(ferries=[LEAKED], kilns=[OTHER])
    assert call("rescan", project.spec, "--set", "kilns").exit_code == 0
    assert list(project.said(version)["sets"]) == ["kilns"]
    [one] = last_json(call("rescan", project.spec, "--json"))["releases"]
    assert one["scanned"] == ["examples", "ferries"]


def test_rescan_takes_releases_by_name_and_all_of_them_where_none_is_named(project: Project) -> None:
    old, new = project.release(), project.release(RECORDS[:2])
    project.put(ferries=[LEAKED])
    release_tags.set_tag(project.releases, "paper", old)
    [one] = last_json(call("rescan", project.spec, "paper", "--json"))["releases"]
    assert one["version"] == old
    both = last_json(call("rescan", project.spec, "--all", "--json"))["releases"]
    assert {one["version"]: one["scanned"] for one in both} == {old: [], new: ["examples", "ferries"]}


def test_rescan_an_addendum_that_is_damaged_is_made_anew(project: Project) -> None:
    version = project.release()
    project.put(ferries=[LEAKED])
    call("rescan", project.spec)
    path = addenda.path_of(project.releases, version)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text('{"release": "', encoding="utf-8")
    assert call("rescan", project.spec).exit_code == 1
    assert project.said(version)["findings"] == whole["findings"]


def _today(project: Project, *texts: str, name: str = "ferries") -> Today:
    rows = [(name, f"i{n}", text, None) for n, text in enumerate(texts)]
    params: Any = load_project(project.spec).params[Step.DECONTAMINATE]
    return Today.of(pl.DataFrame(rows, schema=TABLES[PROTECTED], orient="row"), params)


def test_rescan_trusts_a_release_that_was_made_with_this_very_set(project: Project) -> None:
    today = _today(project, LEAKED)
    own = load_project(project.spec).spec.as_released()
    said = {
        "contents": {"eval_sets": dict(today.hashes)}, "spec": own,
        "versions": {"dataset_pipeline": dataset_pipeline.__version__},
    }  # fmt: skip

    def left(change: dict[str, Any], any_settings: bool = False) -> list[str]:
        return rescanning.unchecked(project.releases, said | change, "f" * 16, today, any_settings)

    assert left({}) == []
    assert left({"contents": {"eval_sets": {"ferries": "0" * 64}}}) == ["ferries"]
    assert left({"contents": {}}) == ["ferries"] and left({"contents": None}, True) == ["ferries"]
    assert left({"spec": own | {"decontaminate": {"ngram": 8}}}) == ["ferries"]
    assert left({"spec": own | {"decontaminate": {"ngram": 8}}}, True) == []
    assert left({"versions": {"dataset_pipeline": "0.0.1"}}) == ["ferries"]
    assert left({"stale_days": ["2026-03-02"]}, True) == ["ferries"], "its rows may be older than the set"


# --- what goes wrong ----------------------------------------------------------------------


def test_rescan_refuses_a_release_whose_file_was_changed_and_checks_the_others(project: Project) -> None:
    changed, good = project.release(), project.release(RECORDS[:2])
    project.put(ferries=[LEAKED])
    path = project.releases / changed / "chat/train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"telescope", b"microscope"))
    result = call("rescan", project.spec, "--json")
    assert result.exit_code == 1
    assert "chat/train.jsonl was changed" in result.stderr and f"verify {changed}" in result.stderr
    found = {one["version"]: one for one in last_json(result)["releases"]}
    assert "chat/train.jsonl" in found[changed]["problem"] and found[good]["problem"] is None
    assert not addenda.path_of(project.releases, changed).exists()
    assert addenda.path_of(project.releases, good).exists()


@pytest.mark.parametrize("path", ["provenance.parquet", "chat/test.jsonl"])
def test_rescan_refuses_a_release_that_lacks_a_file(project: Project, path: str) -> None:
    version = project.release()
    project.put(ferries=[LEAKED])
    (project.releases / version / path).unlink()
    result = call("rescan", project.spec)
    assert result.exit_code == 1 and f"{path} is missing" in result.stdout


def test_rescan_refuses_a_manifest_that_was_made_to_fit_changed_files(project: Project) -> None:
    version = project.release()
    project.put(ferries=[LEAKED])
    path = project.releases / version / "manifest.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    said["files"]["chat/train.jsonl"]["sha256"] = "0" * 64
    path.write_text(json.dumps(said), encoding="utf-8")
    result = call("rescan", project.spec)
    assert result.exit_code == 1 and "names other files than those of this version" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("0123",), "there is no such release"),
        (("--set", "moons"), "'moons'"),
        (("latest", "--all"), "--all"),
    ],
)
def test_rescan_refuses_what_is_not_there(project: Project, arguments: tuple[str, ...], words: str) -> None:
    project.release()
    project.put(ferries=[LEAKED])
    result = call("rescan", project.spec, *arguments)
    assert result.exit_code == 2 and words in result.stderr
    assert not (project.releases / "addenda").exists()


def test_rescan_without_a_release_and_without_anything_protected_ends_with_2(project: Project) -> None:
    project.put(ferries=[LEAKED])
    none = call("rescan", project.spec)
    assert none.exit_code == 2 and "holds no release yet" in none.stderr
    project.release()
    content = spec()
    del content["task"]["examples"]
    project.spec.write_text(yaml.safe_dump(content), encoding="utf-8")
    empty = call("rescan", project.spec)
    assert empty.exit_code == 2 and "decontaminate.sets: is empty" in empty.stderr


def test_rescan_refuses_a_release_of_another_project(project: Project, tmp_path: Path) -> None:
    project.put(ferries=[LEAKED])
    elsewhere = written(tmp_path / "elsewhere", RECORDS, ["chat"])
    result = call("rescan", project.spec, str(elsewhere))
    assert result.exit_code == 2 and "is no release of" in result.stderr


def test_rescan_of_a_release_that_was_removed_meanwhile_leaves_no_addendum(project: Project) -> None:
    version = project.release()
    shutil.rmtree(project.releases / version)
    with pytest.raises(FileNotFoundError):
        rescanning.rescan(project.releases / version, _today(project, LEAKED))
    assert not (project.releases / "addenda").exists()


# --- beside releases ----------------------------------------------------------------------


def test_rescan_addendum_is_no_release_to_any_command(project: Project) -> None:
    version = project.release()
    project.put(ferries=[LEAKED])
    call("rescan", project.spec)
    assert completing.versions(project.releases) == [version]
    assert erased_releases.releases_with(project.releases, [IDS[0]]) == {version: 1}
    result = call("diff", project.spec, "addenda", version)
    assert result.exit_code == 2 and "there is no such release" in result.stderr
    assert call("verify", project.spec, version).exit_code == 0


def test_rescan_addendum_goes_with_its_release(project: Project) -> None:
    gone, stays = project.release(), project.release(RECORDS[:2])
    project.put(ferries=[LEAKED])
    call("rescan", project.spec)
    folder = project.releases / gone
    assert release_removal.set_aside(folder, lambda: False) is None
    warehouse = Warehouse(project.spec.parent / "warehouse.duckdb")
    warehouse.initialize()
    [left_over] = release_removal.left_overs(project.releases)
    release_removal.finish(left_over, warehouse, clock.now())
    assert [path.name for path in (project.releases / "addenda").iterdir()] == [stays]


def test_rescan_keeps_a_release_from_being_removed_while_it_reads(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = project.release()
    refused = []

    def held(records: pl.DataFrame, *_: Any) -> pl.DataFrame:
        refused.append(release_removal.set_aside(project.releases / version, lambda: False))
        return pl.DataFrame(schema=rescanning._FINDINGS)

    monkeypatch.setattr(rescanning, "_held", held)
    rescanning.rescan(project.releases / version, _today(project, LEAKED))
    assert set(refused) == {release_removal.Refusal.READ}
