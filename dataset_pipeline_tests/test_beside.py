"""What a spec names outside of it: a change on disk or of the key makes the step stale that uses it, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset_pipeline.records import DAILY_STEPS, REPORT, Step
from dataset_pipeline.spec.load import read_project
from dataset_pipeline_tests.scenario import call, last_json, make_project, spec

STEPS = (*DAILY_STEPS, REPORT)


def hashes(path: Path) -> dict[str, str]:
    params = read_project(path).params
    return {step: params[step].hash() for step in STEPS}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {str(step) for step in STEPS if before[step] != after[step]}


def model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(weights)
    return folder


def test_beside_encoder_that_changes_on_disk_makes_dedup_stale(tmp_path: Path) -> None:
    path = make_project(tmp_path, spec(dedup={"semantic": {"encoder": "models/encoder"}}), {})
    missing = hashes(path)
    model(tmp_path / "models" / "encoder")
    first = hashes(path)
    assert changed(missing, first) == {Step.DEDUP}
    assert hashes(path) == first
    (tmp_path / "models" / "encoder" / ".cache").write_bytes(b"of some program")
    assert hashes(path) == first
    model(tmp_path / "models" / "encoder", b"other weights")
    assert changed(first, hashes(path)) == {Step.DEDUP}


def test_beside_model_of_names_that_changes_on_disk_makes_normalize_and_report_stale(tmp_path: Path) -> None:
    path = make_project(tmp_path, spec(normalize={"pii": {"model": "models/names"}}), {})
    model(tmp_path / "models" / "names")
    first = hashes(path)
    model(tmp_path / "models" / "names", b"other weights")
    assert changed(first, hashes(path)) == {Step.NORMALIZE, REPORT}


def test_beside_key_that_changes_makes_normalize_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pii = {"action": "pseudonym", "key_variable": "A_KEY"}
    path = make_project(tmp_path, spec(normalize={"pii": pii}), {})
    monkeypatch.delenv("A_KEY", raising=False)
    none = hashes(path)
    monkeypatch.setenv("A_KEY", "sixteen bytes and more")
    first = hashes(path)
    monkeypatch.setenv("A_KEY", "sixteen bytes and other ones")
    assert changed(none, first) == changed(first, hashes(path)) == {Step.NORMALIZE}


def test_beside_nothing_named_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_project(tmp_path, spec(), {})
    first = hashes(path)
    monkeypatch.setenv("DATASET_PIPELINE_PSEUDONYM_KEY", "sixteen bytes and more")
    assert hashes(path) == first


def test_beside_model_and_encoder_that_are_missing_are_problems_of_check(tmp_path: Path) -> None:
    content = spec(
        normalize={"pii": {"model": "models/names"}}, dedup={"semantic": {"encoder": "models/encoder"}}
    )
    found = last_json(call("check", make_project(tmp_path, content), "--json"))["problems"]
    places = {problem["place"]: problem["message"] for problem in found}
    assert set(places) == {"dedup.semantic.encoder: models/encoder", "normalize.pii.model: models/names"}
    assert set(places.values()) == {"there is no such folder."}
