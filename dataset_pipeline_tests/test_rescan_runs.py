"""What a run says and a night does of releases that were made before an evaluation set was there.

Lives here: the end of `run` and of `run --night`. Keep out: the command `rescan` (`test_rescan`).
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataset_pipeline.assets import rescanning
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.evalsets import read_protected
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.cli import rescanning as command
from dataset_pipeline.cli import show
from dataset_pipeline.records import PROTECTED
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import addenda, releases
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.evaluated_project import EvaluatedProject
from dataset_pipeline_tests.published_release import exchange, written
from dataset_pipeline_tests.scenario import DAYS, call, jsonl, last_json, make_project, released, row

LEAKED = (
    "The brass telescope on the north balcony shows only fog whenever the ferry sounds its long evening horn."
)
SHORT = "the ferry sounds its horn"
FILES = {
    f"sources/{day}.jsonl": jsonl(
        [row(n) for n in range(20 * k, 20 * k + 20)]
        + ([row(90, text=f"Hello, {LEAKED} Thanks!")] if k == 0 else [])
        + ([row(91, text=f"They say {SHORT} at noon.")] if k == 1 else [])
    )
    for k, day in enumerate(DAYS)
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EvaluatedProject]:
    small.switch_gates_off(monkeypatch)
    path = make_project(tmp_path / "project", files=FILES)
    yield EvaluatedProject(path)
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


@pytest.mark.faults
def test_rescan_run_says_what_is_left_and_the_night_does_it_once_and_tells_the_owners(
    project: EvaluatedProject,
) -> None:
    assert call("run", project.spec).exit_code == 0
    [old] = released(project.spec)
    project.put(ferries=[LEAKED])
    told = call("run", project.spec, "--json")
    assert told.exit_code == 0
    assert "1 release has not been checked against ferries: `dataset-pipeline rescan`" in told.stderr
    assert "contaminated_releases" not in last_json(told)
    assert not (project.releases / "addenda").exists()

    night = call("run", project.spec, "--night", DAYS[-1], "--json")
    assert night.exit_code == 1
    summary = last_json(night)
    assert summary["contaminated_releases"] == {old: {"ferries": 1}} and summary["checks"]["failed"] == 0
    assert f"release {old}, made before, holds items of ferries 1 record" in night.stderr
    assert "the night of 2026-03-03 did not go well" in night.stderr, "the owners are told"
    assert list(addenda.read(project.releases, old).sets) == ["ferries"]  # type: ignore[union-attr]

    before = addenda.path_of(project.releases, old).read_bytes()
    again = call("run", project.spec, "--night", DAYS[-1], "--json")
    assert again.exit_code == 0 and last_json(again)["contaminated_releases"] == {old: {"ferries": 1}}
    assert f"release {old} holds items of ferries 1" in again.stderr
    assert addenda.path_of(project.releases, old).read_bytes() == before


# --- the end of a run alone ---------------------------------------------------------------


def _end(project: EvaluatedProject, is_night: bool) -> tuple[list[str], str]:
    """What `after_run` returns and prints, once the protected sets are published."""
    context = context_of(load_project(project.spec))
    run_inputs(context, "run")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        failures = command.after_run(context, show.console(False), is_night)
    release_run_lock(context.warehouse.path)
    return failures, " ".join(out.getvalue().split())


def _release(project: EvaluatedProject, *texts: str) -> str:
    records = [(exchange(text, "bug"), "bug") for text in texts]
    folder = written(project.releases, records, ["chat"])
    releases.point_latest(project.releases, folder.name)
    return folder.name


def test_rescan_night_tells_suspects_in_words_only(project: EvaluatedProject) -> None:
    version = _release(project, "An ordinary message of the morning.", f"They say {SHORT} at noon.")
    project.put(ferries=[SHORT])
    failures, printed = _end(project, is_night=True)
    assert (
        failures == []
        and f"release {version}, made before, holds items of ferries 1 record (suspect 1" in printed
    )
    assert _end(project, is_night=True) == ([], "")


def test_rescan_night_of_which_nothing_is_found_is_noted(project: EvaluatedProject) -> None:
    version = _release(project, "An ordinary message of the morning.")
    project.put(ferries=[LEAKED])
    failures, printed = _end(project, is_night=True)
    assert failures == []
    assert f"release {version} checked against examples, ferries: 0 of them found in it" in printed
    assert _end(project, is_night=False) == ([], "")


def test_rescan_night_says_which_release_it_could_not_read_and_goes_on(project: EvaluatedProject) -> None:
    broken, good = _release(project, "One message."), _release(project, f"Well: {LEAKED}")
    project.put(ferries=[LEAKED])
    path = project.releases / broken / "chat/train.jsonl"
    path.write_bytes(path.read_bytes() + b"\n")
    failures, printed = _end(project, is_night=True)
    assert len(failures) == 1 and good in failures[0]
    assert f"release {broken} was not rescanned" in printed and "chat/train.jsonl was changed" in printed


def test_rescan_night_scans_nothing_for_a_threshold_that_was_moved(project: EvaluatedProject) -> None:
    version = _release(project, f"Well: {LEAKED}")
    project.put(ferries=[LEAKED])
    _end(project, is_night=True)
    content: dict[str, Any] = yaml.safe_load(project.spec.read_text(encoding="utf-8"))
    content["decontaminate"]["ngram"] = 8
    project.spec.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert _end(project, is_night=True) == ([], "")
    [one] = last_json(call("rescan", project.spec, "--json"))["releases"]
    assert one["version"] == version and one["scanned"] == ["examples", "ferries"]


def test_rescan_release_of_today_names_the_hashes_that_are_compared(project: EvaluatedProject) -> None:
    """The manifest's hash of a set is that of its files now: else each release would be scanned for nothing."""
    project.put(ferries=[LEAKED])
    assert call("run", project.spec).exit_code == 0
    [version] = released(project.spec)
    loaded = load_project(project.spec)
    params: Any = loaded.params[PROTECTED]
    today = rescanning.Today.of(read_protected(loaded.root, params).items, command._params(loaded))
    said = json.loads((project.releases / version / "manifest.json").read_text(encoding="utf-8"))
    assert said["contents"]["eval_sets"] == today.hashes
    done = rescanning.rescan(project.releases / version, today)
    assert done.sets == () and done.addendum is None
    assert not (project.releases / "addenda").exists()
