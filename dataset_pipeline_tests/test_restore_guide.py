"""docs/restore.md, followed: what it says to do is done to a small project, and what it promises is looked at.

Lives here: breaking a project in each of the ways that the guide names. Keep out: what `run` does otherwise.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_pipeline_tests.scenario import MIXED, make_project

GUIDE = (Path(__file__).parent.parent / "docs" / "restore.md").read_text(encoding="utf-8")
INPUTS = ("dataset.yaml", "sources")
SHELL = {
    section.split("\n", 1)[0]: "".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    for section in GUIDE.split("\n## ")[1:]
    if "```sh" in section
}
"""Heading to the commands below it."""


def follow(title: str, root: Path) -> str:
    """Run the commands of a section in the project's folder; returns what they print."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-eu", "-c", SHELL[title]], cwd=root, env=os.environ | {"PATH": path}, text=True, capture_output=True, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def version(root: Path) -> str:
    return str((root / "releases" / "latest").readlink())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three days that was run from nothing, as "Everything" says."""
    root = tmp_path_factory.mktemp("made")
    make_project(root, files=MIXED)
    follow("Everything", root)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def test_every_section_with_commands_is_followed_here() -> None:
    assert set(SHELL) == {
        "The warehouse",
        "The cache",
        "The newest release",
        "The spec",
        "Dagster",
        "Everything",
    }


@pytest.mark.faults
def test_warehouse_that_is_damaged_is_made_again_with_the_same_release(made: Path, project: Path) -> None:
    path = project / "warehouse.duckdb"
    path.write_bytes(path.read_bytes()[:5000])
    shutil.rmtree(project / "releases")
    follow("The warehouse", project)
    assert version(project) == version(made)


@pytest.mark.faults
def test_cache_is_made_again_and_changes_nothing(made: Path, project: Path) -> None:
    assert "Nothing to do" in follow("The cache", project)
    assert version(project) == version(made)


@pytest.mark.faults
@pytest.mark.parametrize(
    "harm",
    [
        lambda release: (release / "chat" / "train.jsonl").write_text("{}\n"),
        lambda release: shutil.rmtree(release.parent),
    ],
    ids=["altered", "all gone"],
)
def test_release_comes_back_under_its_version(
    made: Path, project: Path, harm: Callable[[Path], None]
) -> None:
    harm((project / "releases" / "latest").resolve())
    follow("The newest release", project)
    assert version(project) == version(made)


@pytest.mark.faults
def test_spec_comes_back_from_the_manifest_and_makes_nothing_stale(project: Path) -> None:
    (project / "dataset.yaml").unlink()
    follow("The spec", project)
    assert "Nothing to do" in follow("The cache", project)


@pytest.mark.faults
def test_dagster_begins_again_and_nothing_is_made_anew(project: Path) -> None:
    assert "Nothing to do" in follow("Dagster", project)
    assert not list((project / ".dagster").rglob("*.duckdb"))


@pytest.mark.faults
def test_another_machine_makes_the_same_release_from_the_inputs(made: Path, tmp_path: Path) -> None:
    for name in INPUTS:
        copy = shutil.copytree if (made / name).is_dir() else shutil.copy
        copy(made / name, tmp_path / name)
    follow("Everything", tmp_path)
    assert version(tmp_path) == version(made)
