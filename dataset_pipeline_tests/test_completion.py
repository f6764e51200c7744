"""Shell completion: the scripts, the values, and that it answers before a hand leaves the key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from dataset_pipeline.cli import completing
from dataset_pipeline.cli.main import main
from dataset_pipeline.cli.previewing import PREVIEWED
from dataset_pipeline.records import DAILY_STEPS, RELEASE
from dataset_pipeline_tests.scenario import call

VERSIONS = ("1a2b3c4d5e6f7081", "1affffffffffffff", "9000000000000000")


@pytest.fixture
def spec_path(tmp_path: Path) -> Path:
    """The path of a spec with three releases beside it; the file itself is not there, nor needed."""
    for version in VERSIONS:
        (tmp_path / "releases" / version).mkdir(parents=True)
    (tmp_path / "releases" / ".writing-x").mkdir()
    (tmp_path / "releases" / "latest").symlink_to(VERSIONS[1])
    return tmp_path / "dataset.yaml"


def completed(arguments: list[str], incomplete: str = "") -> list[str]:
    """The values that the shell is offered after `arguments`."""
    shell = BashComplete(main, {}, completing.PROGRAM, "_DATASET_PIPELINE_COMPLETE")
    return [item.value for item in shell.get_completions(arguments, incomplete)]


@pytest.mark.parametrize("shell", completing.SHELLS)
def test_completion_script_names_the_program_and_how_to_install_it(shell: str) -> None:
    result = call("completion", None, shell)
    assert result.exit_code == 0
    assert f"_DATASET_PIPELINE_COMPLETE={shell}_complete" in result.stdout
    assert f"# Install: dataset-pipeline completion {shell} > " in result.stdout.splitlines()[-1]


def test_completion_of_another_shell_ends_with_2() -> None:
    result = call("completion", None, "csh")
    assert result.exit_code == 2 and "'csh' is not one of 'bash', 'zsh', 'fish'" in result.output


@pytest.mark.parametrize("command", [["verify"], ["rollback"], ["diff"], ["diff", "latest"]])
def test_completion_offers_the_releases_beside_the_spec(spec_path: Path, command: list[str]) -> None:
    named = [command[0], "--spec", str(spec_path), *command[1:]]
    assert completed(named) == ["latest", *VERSIONS]
    assert completed(named, "1a") == [*VERSIONS[:2]]
    assert completed([*named[:2], str(spec_path.parent), *named[3:]], "9") == [VERSIONS[2]]


def test_completion_of_releases_uses_the_default_spec(
    spec_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec_path.parent)
    assert completed(["verify"]) == ["latest"]
    (spec_path.parent / "data").mkdir()
    (spec_path.parent / "releases").rename(spec_path.parent / "data" / "releases")
    assert completed(["verify"], "9") == [VERSIONS[2]]


def test_completion_where_nothing_is_offers_latest_alone(tmp_path: Path) -> None:
    assert completed(["verify", "--spec", str(tmp_path / "absent" / "dataset.yaml")]) == ["latest"]
    (tmp_path / "releases").write_text("a file")
    assert completed(["verify", "--spec", str(tmp_path / "dataset.yaml")]) == ["latest"]


def test_completion_offers_the_steps() -> None:
    assert [*map(str, DAILY_STEPS), RELEASE] == list(completing.STEPS)
    assert completed(["run", "--select"], "de") == ["dedup", "decontaminate"]
    assert completed(["preview"], "s") == ["split"]
    assert completed(["preview"]) == list(completing.PREVIEWED) == [str(step) for step in PREVIEWED]


def test_completion_offers_commands_options_and_words() -> None:
    assert completed([], "ro") == ["rollback"]
    assert completed(["run"], "--f") == ["--from"]
    assert completed(["schema"], "") == [
        "spec",
        "check",
        "run",
        "status",
        "explain",
        "preview",
        "diff",
        "reuse",
        "rescan",
    ]
    assert completed(["completion"], "b") == ["bash"]


@pytest.mark.parametrize("words", ["dataset-pipeline diff --spec {} ", "dataset-pipeline run --select "])
def test_completion_answers_quickly_and_loads_nothing_heavy(spec_path: Path, words: str) -> None:
    line = words.format(spec_path)
    asked = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split())),
        "_DATASET_PIPELINE_COMPLETE": "bash_complete",
    }
    code = (
        "import sys, atexit; atexit.register(lambda: print('loaded', [n for n in "
        "('polars', 'pydantic', 'duckdb', 'dagster', 'rich') if n in sys.modules], file=sys.stderr)); "
        "from dataset_pipeline.cli.main import main; main(prog_name='dataset-pipeline')"
    )
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
        )
        seconds.append(time.monotonic() - started)
    assert done.stderr == "loaded []\n"
    assert len(done.stdout.splitlines()) >= 4
    assert min(seconds) < 0.3
