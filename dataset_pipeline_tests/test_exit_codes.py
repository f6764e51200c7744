"""Exit codes of every command: 0 done, 1 a gate or a broken release, 2 spec or call, 3 busy; never a traceback.

Lives here: what a user can mend, command by command, and that docs/commands.md says it. Keep out: what a command
prints when all is well.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from dataset_pipeline.cli.main import WAITS, main
from dataset_pipeline.storage.locks import RUN_WAIT_VARIABLE, release_run_lock
from dataset_pipeline.storage.warehouse import WAIT_VARIABLE
from dataset_pipeline_tests.scenario import HOPELESS, call, make_project, released
from dataset_pipeline_tests.test_cli_runs import _HOLD_RUN, _HOLD_WAREHOUSE, held_by_another

COMMANDS_PAGE = (Path(__file__).parent.parent / "docs" / "commands.md").read_text(encoding="utf-8")

_TARGET = tempfile.TemporaryDirectory()
"""Where a release is published to; it goes when the tests end."""
WITH_SPEC: dict[str, list[str]] = {
    "check": [],
    "run": [],
    "status": [],
    "explain": ["inbox:r4"],
    "preview": ["split", "--set", "split.seed=9"],
    "diff": ["latest", "latest"],
    "verify": ["latest"],
    "publish": ["latest", _TARGET.name],
    "rollback": ["latest"],
    "rescan": [],
    "tag": [],
    "ui": [],
}
"""Every command that takes a spec, with arguments of a good call."""
READ_A_RELEASE = ("diff", "verify", "publish", "rollback")
ASK_THE_WAREHOUSE = ("run", "status", "explain")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The spec of a project that was run once. Read-only by convention."""
    path = make_project(tmp_path_factory.mktemp("codes") / "project")
    assert call("run", path).exit_code == 0
    yield path
    release_run_lock(path.parent / "warehouse.duckdb")


@pytest.fixture
def copied(project: Path, tmp_path: Path) -> Iterator[Path]:
    """The spec of a copy that a test may break."""
    shutil.copytree(project.parent, tmp_path / "copy", symlinks=True)
    yield tmp_path / "copy" / "dataset.yaml"
    release_run_lock(tmp_path / "copy" / "warehouse.duckdb")


def folder_of(path: Path) -> Path:
    return path.parent / "releases" / released(path)[0]


# --- 0 and the list itself --------------------------------------------------------------------


def test_exit_codes_every_command_with_a_spec_is_looked_at() -> None:
    taking = {
        name for name, command in main.commands.items() if any("--spec" in p.opts for p in command.params)
    }
    assert set(WITH_SPEC) == taking


@pytest.mark.parametrize("command", sorted(set(WITH_SPEC) - {"ui"}))
def test_exit_code_0_of_a_good_call(project: Path, command: str) -> None:
    result = call(command, project, *WITH_SPEC[command])
    assert result.exit_code == 0, result.output


# --- 2: the spec or the call --------------------------------------------------------------------


def _absent(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _no_yaml(path: Path) -> None:
    path.write_text("name: [")


def _bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def _typo(path: Path) -> None:
    path.write_text(path.read_text() + "spilt: {}\n")


@pytest.mark.parametrize("damage", [_absent, _folder, _no_yaml, _bytes, _typo])
@pytest.mark.parametrize("command", sorted(WITH_SPEC))
def test_exit_code_2_of_a_spec_that_cannot_be_read(
    tmp_path: Path, command: str, damage: Callable[[Path], None]
) -> None:
    path = make_project(tmp_path)
    damage(path)
    result = call(command, path, *WITH_SPEC[command])
    assert result.exit_code == 2, result.output
    assert "dataset.yaml" in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("command", sorted(WITH_SPEC))
def test_exit_code_2_of_a_spec_that_nobody_may_read(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without the right to read: tests may run as one whom nothing is forbidden."""
    path = make_project(tmp_path)

    def refused(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    for name in ("open", "read_bytes", "read_text"):
        monkeypatch.setattr(Path, name, refused)
    result = call(command, path, *WITH_SPEC[command])
    assert result.exit_code == 2, result.output
    assert "dataset.yaml" in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("command", ["check", "run", "status", "explain"])
def test_exit_code_2_of_a_source_without_a_file(tmp_path: Path, command: str) -> None:
    path = make_project(tmp_path, None, {})
    result = call(command, path, *WITH_SPEC[command])
    assert result.exit_code == 2 and "no file matches" in result.output


@pytest.mark.parametrize("command", ["run", "status", "explain"])
@pytest.mark.parametrize("making", ["no database", "other tables", "another version"])
def test_exit_code_2_of_a_warehouse_of_another_making(tmp_path: Path, command: str, making: str) -> None:
    path = make_project(tmp_path)
    warehouse = tmp_path / "warehouse.duckdb"
    if making == "no database":
        warehouse.write_bytes(b"no database at all" * 400)
    else:
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute("CREATE TABLE theirs (name VARCHAR)")
            if making == "another version":
                connection.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")
                connection.execute("INSERT INTO meta VALUES ('schema_version', '999')")
    result = call(command, path, *WITH_SPEC[command])
    assert result.exit_code == 2, result.output
    assert "warehouse.duckdb: " in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("explain", ["inbox:nobody"], "no record or rejected row is known by that name"),
        ("verify", ["nonsense"], "there is no such release"),
        ("rollback", ["nonsense"], "there is no such release"),
        ("diff", ["latest", "nonsense"], "there is no such release"),
        ("diff", ["latest"], "Missing argument 'B'"),
        ("rollback", [], "Missing argument 'RELEASE'"),
        ("run", ["--select", "nonsense"], "no step is called 'nonsense'"),
        ("run", ["--from", "yesterday"], "does not match the format"),
        ("ui", ["--port", "80"], "not in the range"),
        ("ui", ["--port", "many"], "not a valid integer"),
        ("preview", ["nonsense"], "cannot be previewed"),
        ("status", ["--nonsense"], "No such option"),
        ("check", ["more"], "unexpected extra argument"),
    ],
)
def test_exit_code_2_of_a_wrong_call(
    project: Path, command: str, arguments: list[str], expected: str
) -> None:
    result = call(command, project, *arguments)
    assert result.exit_code == 2, result.output
    assert expected in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("variable", WAITS)
@pytest.mark.parametrize("value", ["soon", "nan", "-1", ""])
def test_exit_code_2_of_a_wait_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    assert WAITS == (WAIT_VARIABLE, RUN_WAIT_VARIABLE)
    monkeypatch.setenv(variable, value)
    result = call("status", make_project(tmp_path))
    assert result.exit_code == 2 and f"{variable}: is no number of seconds ({value!r})" in result.stderr


@pytest.mark.parametrize("command", READ_A_RELEASE)
def test_exit_code_2_before_the_first_release(tmp_path: Path, command: str) -> None:
    path = make_project(tmp_path)
    result = call(command, path, *WITH_SPEC[command])
    assert result.exit_code == 2 and "There are: none." in result.stderr


@pytest.mark.parametrize("command", READ_A_RELEASE)
def test_exit_code_2_where_latest_points_nowhere(copied: Path, command: str) -> None:
    gone = folder_of(copied)
    shutil.rmtree(gone)
    result = call(command, copied, *WITH_SPEC[command])
    assert result.exit_code == 2
    assert f"points at {gone.name}, which is gone" in result.stderr


# --- 1: the disk, gates, and broken releases -----------------------------------------------------------------


@pytest.mark.parametrize("command", ASK_THE_WAREHOUSE)
def test_exit_code_1_of_a_folder_where_the_warehouse_should_be(tmp_path: Path, command: str) -> None:
    path = make_project(tmp_path)
    (tmp_path / "warehouse.duckdb").mkdir()
    result = call(command, path, *WITH_SPEC[command])
    assert result.exit_code == 1, result.output
    assert "warehouse.duckdb: Is a directory. Check its path" in result.stderr


def test_exit_code_1_of_a_closed_gate(tmp_path: Path) -> None:
    path = make_project(tmp_path, None, HOPELESS)
    result = call("run", path)
    assert result.exit_code in (1, 2) and "Traceback" not in result.output
    (tmp_path / "gate").mkdir()
    closed = make_project(
        tmp_path / "gate" / "project",
        None,
        {"sources/2026-03-01.jsonl": b'{"id": "a", "text": "one two three four", "label": "bug"}\n' * 100 + b"{\n" * 50},
    )  # fmt: skip
    result = call("run", closed)
    assert result.exit_code == 1 and "ingest.reject_rate" in result.output
    for each in (path, closed):
        release_run_lock(each.parent / "warehouse.duckdb")


def _broken_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def _empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def _manifest_of_another_shape(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"version": 1, "files": [], "counts": 7, "inputs": "x"}')


def _manifest_is_a_folder(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def _half_deleted(folder: Path) -> None:
    for path in ("manifest.json", "provenance.parquet", "chat/train.jsonl"):
        (folder / path).unlink()


def _no_parquet(folder: Path) -> None:
    (folder / "provenance.parquet").write_bytes(b"no Parquet")


DAMAGES = [
    _broken_manifest,
    _empty_manifest,
    _manifest_of_another_shape,
    _manifest_is_a_folder,
    _half_deleted,
]


@pytest.mark.parametrize("damage", [*DAMAGES, _no_parquet])
@pytest.mark.parametrize("command", ["diff", "verify"])
def test_exit_code_1_of_a_release_that_is_not_whole(
    copied: Path, command: str, damage: Callable[[Path], None]
) -> None:
    damage(folder_of(copied))
    result = call(command, copied, *WITH_SPEC[command])
    assert result.exit_code == 1, result.output
    assert "run `" not in result.output or "dataset-pipeline run" in result.output
    assert "Restore" in result.output and "Traceback" not in result.output


@pytest.mark.parametrize(
    "damage", [DAMAGES[0], *(pytest.param(damage, marks=pytest.mark.faults) for damage in DAMAGES[1:])]
)
def test_exit_code_1_of_run_where_the_newest_release_is_not_whole(
    copied: Path, damage: Callable[[Path], None]
) -> None:
    folder = folder_of(copied)
    damage(folder)
    result = call("run", copied)
    assert result.exit_code == 1, result.output
    assert "this is no whole release" in result.output and "delete it and run" in result.output
    shutil.rmtree(folder)
    assert call("run", copied).exit_code == 0, "the remedy that was named works"


@pytest.mark.parametrize("damage", [*DAMAGES, _no_parquet])
@pytest.mark.parametrize("command", ["status", "explain"])
def test_exit_code_0_of_questions_that_do_not_need_the_release(
    copied: Path, command: str, damage: Callable[[Path], None]
) -> None:
    damage(folder_of(copied))
    result = call(command, copied, *WITH_SPEC[command])
    assert result.exit_code == 0, result.output
    if command == "explain" and damage in (_half_deleted, _no_parquet):
        assert "cannot be read: `dataset-pipeline verify` says" in result.stdout


# --- 3: busy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ASK_THE_WAREHOUSE)
def test_exit_code_3_where_another_holds_the_warehouse(
    copied: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0.3")
    with held_by_another(_HOLD_WAREHOUSE, copied.parent / "warehouse.duckdb") as pid:
        result = call(command, copied, *WITH_SPEC[command])
    assert result.exit_code == 3 and f"process {pid}" in result.stderr


def test_exit_code_3_of_rollback_while_another_runs_or_holds_the_warehouse(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0.3")
    monkeypatch.setenv(RUN_WAIT_VARIABLE, "0.3")
    folder = folder_of(copied)
    link = folder.parent / "latest"
    link.unlink()  # so that there is something to roll back to
    warehouse = copied.parent / "warehouse.duckdb"
    for code in (_HOLD_RUN, _HOLD_WAREHOUSE):
        with held_by_another(code, warehouse) as pid:
            result = call("rollback", copied, folder.name)
        assert result.exit_code == 3 and f"process {pid}" in result.output
        assert not link.is_symlink(), "nothing was moved"
    assert call("rollback", copied, folder.name).exit_code == 0


@pytest.mark.parametrize("command", ["check", "diff", "verify"])
def test_exit_code_0_of_questions_while_another_holds_the_warehouse(copied: Path, command: str) -> None:
    with held_by_another(_HOLD_WAREHOUSE, copied.parent / "warehouse.duckdb"):
        assert call(command, copied, *WITH_SPEC[command]).exit_code == 0


# --- docs/commands.md -------------------------------------------------------------------------


def section(command: str) -> str:
    found = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", COMMANDS_PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/commands.md has no section {command}"
    return found[1]


def test_commands_page_has_a_section_for_each_command_and_no_other() -> None:
    titles = re.findall(r"^## ([a-z]+)$", COMMANDS_PAGE, re.MULTILINE)
    assert sorted(titles) == sorted(main.commands)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_commands_page_shows_options_and_exit_codes(command: str) -> None:
    text = section(command)
    options = {o for p in main.commands[command].params for o in p.opts if isinstance(p, click.Option)}
    assert [option for option in sorted(options) if f"`{option}" not in text] == []
    codes = re.search(r"^Exit codes: (.*)$", text, re.MULTILINE)
    assert codes is not None and codes[1].startswith("0 ")
    assert f"dataset-pipeline {command}" in text
