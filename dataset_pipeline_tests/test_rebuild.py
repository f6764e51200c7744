"""`verify --rebuild`: a release is made again aside, byte for byte, and the project is not touched.

Keep out: what a release holds (`test_verify`). Gates are off: they are not the subject, and most of the time.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataset_pipeline.cli.main import main
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.published_release import files_of


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run once, with a split lock. Read-only by convention."""
    root = small.make_project(
        tmp_path_factory.mktemp("rebuild"),
        {"split": {"ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}, "strategy": "stratified"}},
    )
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        small.run_all(root)
    return root


@pytest.fixture
def copied(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project without its state: only inputs and releases. Temporary folders lie where a test can look."""
    small.switch_gates_off(monkeypatch)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    root = tmp_path / released.name
    shutil.copytree(released, root, symlinks=True, ignore=shutil.ignore_patterns("*.duckdb*", ".dagster"))
    return root


def rebuild(root: Path) -> Result:
    result = CliRunner().invoke(main, ["verify", "--rebuild", "--spec", str(root / "dataset.yaml")])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.faults
def test_rebuild_of_the_same_inputs_gives_every_byte_and_touches_nothing(copied: Path) -> None:
    before = files_of(copied)
    result = rebuild(copied)
    assert result.exit_code == 0, result.output
    assert "made again from the raw files" in result.output and "every byte the same" in result.output
    assert files_of(copied) == before
    assert not list((copied.parent / "temporary").iterdir())


@pytest.mark.faults
def test_rebuild_after_a_change_says_what_changed_and_which_files_differ(copied: Path) -> None:
    path = copied / "sources/inbox/2026-03-06.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    small.write_spec(copied, {"filter": {"input": {"min_words": 2}}})
    before = files_of(copied)
    result = rebuild(copied)
    assert result.exit_code == 1, result.output
    for words in (
        "changed since: spec filter.input.min_words: 3 then, 2 now",
        "changed since: spec split.strategy",
        "changed since: input inbox 2026-03-06: sources/inbox/2026-03-06.jsonl was changed",
        "chat/train.jsonl: differs",
        "was not made again",
        "Bytes may differ by right: what changed since is named above",
    ):
        assert words in result.output, (words, result.output)
    assert files_of(copied) == before


def test_rebuild_without_the_inputs_ends_with_2(copied: Path) -> None:
    shutil.rmtree(copied / "sources/inbox")
    result = rebuild(copied)
    assert result.exit_code == 2 and "no file matches" in result.output


def test_rebuild_of_another_projects_release_ends_with_2(copied: Path) -> None:
    small.write_spec(copied, {"name": "other"})
    result = rebuild(copied)
    assert result.exit_code == 2 and "Name its own spec with --spec" in result.output
