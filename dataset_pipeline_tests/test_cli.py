"""The commands as a user calls them: what they print, what they leave, what they end with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result

from dataset_pipeline.cli.main import main
from dataset_pipeline.records import Step
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.scenario import MIXED, call, last_json, make_project, released, spec

RUN_KEYS = {
    "release",
    "ingested",
    "rejected",
    "dropped",
    "released",
    "checks",
    "missing_days",
    "stale_days",
    "seconds",
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Result]]:
    """MIXED, run once with --json. Read-only by convention."""
    path = make_project(tmp_path_factory.mktemp("mixed") / "project", None, MIXED)
    yield path, call("run", path, "--json")
    release_run_lock(path.parent / "warehouse.duckdb")


def copied(made: tuple[Path, Result], folder: Path) -> Path:
    """A copy of a run project that a test may change."""
    shutil.copytree(made[0].parent, folder / "copy", symlinks=True)
    return folder / "copy" / "dataset.yaml"


def rows_of(spec_path: Path, sql: str) -> list[Any]:
    with duckdb.connect(str(spec_path.parent / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def publications(spec_path: Path) -> list[Any]:
    return rows_of(spec_path, "SELECT * FROM publications ORDER BY seq")


def content_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- help ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], *([name] for name in sorted(main.commands))])
def test_cli_help_says_what_a_command_does(command: list[str]) -> None:
    result = call(*command, None, "--help") if command else call("--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ") and len(result.stdout.splitlines()) > 5


def test_cli_commands_are_those_of_the_contract() -> None:
    assert set(main.commands) >= {"init", "check", "run", "status", "explain", "ui", "schema", "verify"}


def test_cli_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom dataset_pipeline.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([n for n in ('polars', 'dagster', 'duckdb', 'great_expectations', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run", "--nonsense"], "No such option"),
        (["run", "--from", "yesterday"], "does not match the format"),
        (["explain"], "Missing argument 'RECORD'"),
    ],
)
def test_cli_call_that_is_wrong_ends_with_2(arguments: list[str], expected: str) -> None:
    result = call(arguments[0], None, *arguments[1:])
    assert result.exit_code == 2 and expected in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--select", "nonsense"], "--select: no step is called 'nonsense'. Steps: ingest, dedup"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "--from: 2026-03-02 is after --to 2026-03-01."),
    ],
)
def test_cli_run_asked_for_what_is_not_there_ends_with_2(
    mixed: tuple[Path, Result], arguments: list[str], expected: str
) -> None:
    result = call("run", mixed[0], *arguments)
    assert result.exit_code == 2 and expected in result.stderr


def test_cli_schema_prints_the_schema() -> None:
    assert "sources" in json.loads(call("schema").stdout)["properties"]


# --- check, run, status ----------------------------------------------------------------------


def test_cli_check_good_project_says_so_and_makes_nothing(tmp_path: Path) -> None:
    path = make_project(tmp_path)
    result = call("check", path)
    assert result.exit_code == 0
    assert f"{path}: good. 1 sources, 3 days (2026-03-01 … 2026-03-03)" in result.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"dataset.yaml", "sources"}


def test_cli_check_json_lists_problems_and_advice(tmp_path: Path) -> None:
    good = last_json(call("check", make_project(tmp_path / "good"), "--json"))
    assert good["problems"] == [] and any("decontaminate.sets is empty" in line for line in good["advice"])
    bad = call("check", make_project(tmp_path / "bad", spec(spilt={})), "--json")
    assert bad.exit_code == 2
    assert last_json(bad)["problems"] == [
        {"place": "dataset.yaml: spilt", "message": "unknown key 'spilt'.", "remedy": "Did you mean 'split'?"}
    ]


def test_cli_run_json_ends_with_the_line_of_the_contract(mixed: tuple[Path, Result]) -> None:
    path, result = mixed
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1, "all else goes to standard error"
    line = last_json(result)
    assert set(line) == RUN_KEYS
    assert (line["ingested"], line["rejected"], line["dropped"]) == (60, 2, {"dedup": {"exact": 1}})
    assert set(line["released"]) == {"train", "validation", "test"} and sum(line["released"].values()) == 59
    assert set(line["checks"]) == {"passed", "warned", "failed"} and line["checks"]["failed"] == 0
    assert line["missing_days"] == line["stale_days"] == []
    assert set(line["seconds"]) >= {str(step) for step in Step}
    assert Path(line["release"]) == path.parent / "releases" / released(path)[0]


def test_cli_run_says_plan_progress_and_funnel(mixed: tuple[Path, Result]) -> None:
    told = mixed[1].stderr
    assert (
        "Plan:" in told and "never published" in told and "make 2026-03-01 … 2026-03-03, then release" in told
    )
    assert "  in all 3 days, 3 files; no estimate yet\n" in told
    assert "59 of 60 records kept" in told
    assert "read 62 rows: 60 records, 2 rejected" in told and "exact 1" in told
    assert "rejected sources/2026-03-02.jsonl:21: missing_value (text is missing or null)" in told


def test_cli_run_second_says_nothing_to_do_and_changes_nothing(mixed: tuple[Path, Result]) -> None:
    path = mixed[0]
    before = content_of(path.parent / "releases"), publications(path)
    result = call("run", path)
    assert result.exit_code == 0
    assert (
        f"Nothing to do: every day is up to date and release {released(path)[0]} holds it." in result.stdout
    )
    assert (content_of(path.parent / "releases"), publications(path)) == before


def test_cli_status_says_what_is_published(mixed: tuple[Path, Result]) -> None:
    path = mixed[0]
    result = call("status", path, "--json")
    told = last_json(result)
    assert (
        result.exit_code == 0 and told["release"] == released(path)[0] and told["release_is_current"] is True
    )
    assert {(e["step"], e["day"], e["state"]) for e in told["steps"]} == {
        ("protected", None, "published"),
        *((str(step), f"2026-03-0{n}", "published") for step in Step for n in (1, 2, 3)),
    }
    assert "2026-03-01 … 2026-03-03 (3)" in call("status", path).stdout


def test_cli_status_says_what_is_stale_and_why(mixed: tuple[Path, Result], tmp_path: Path) -> None:
    path = copied(mixed, tmp_path)
    make_project(path.parent, spec(split={"seed": 8}), {})
    told = last_json(call("status", path, "--json"))
    stale = {e["step"]: e["reasons"] for e in told["steps"] if e["state"] != "published"}
    assert stale == {"split": ["split.seed 7 → 8"]}
    assert told["release_is_current"] is False
    assert (told["plan"]["days"], told["plan"]["files"], told["plan"]["records"]) == (3, 0, 59)
    assert told["plan"]["total_seconds"] > told["plan"]["seconds"]["split"] > 0
    words = call("status", path).stdout
    assert "split          stale      2026-03-01 … 2026-03-03 (3)    59    59  split.seed 7 → 8\n" in words
    assert "run would make: 3 days, 0 files, about 59 records; about " in words


def test_cli_comment_in_the_spec_recomputes_nothing(mixed: tuple[Path, Result], tmp_path: Path) -> None:
    path = copied(mixed, tmp_path)
    before = content_of(path.parent / "releases"), publications(path)
    path.write_text(f"# a comment\n{path.read_text(encoding='utf-8')}\n# another\n", encoding="utf-8")
    told = last_json(call("status", path, "--json"))
    assert {e["state"] for e in told["steps"]} == {"published"} and told["release_is_current"] is True
    result = call("run", path)
    assert result.exit_code == 0 and "Nothing to do: every day is up to date" in result.stdout
    assert (content_of(path.parent / "releases"), publications(path)) == before


# --- explain, verify --------------------------------------------------------------------------


def test_cli_explain_finds_a_record_by_all_its_names(mixed: tuple[Path, Result]) -> None:
    path = mixed[0]
    [(record,)] = rows_of(path, "SELECT record_id FROM main.ingest WHERE source_id = 'r4'")
    names = [record, record[:8], "inbox:r4", "sources/2026-03-01.jsonl:5", "2026-03-01.jsonl:5"]
    names.append(f"{path.parent}/sources/2026-03-01.jsonl:5")
    told = [last_json(call("explain", path, name, "--json")) for name in names]
    assert all(stories == told[0] for stories in told)
    [story] = told[0]
    assert story["origin"]["record_id"] == record and story["origin"]["license"] == "MIT"
    assert [step["step"] for step in story["steps"]] == [str(step) for step in Step]
    assert story["release"]["released"] is True


def test_cli_explain_dropped_record_names_its_twin(mixed: tuple[Path, Result]) -> None:
    result = call("explain", mixed[0], "sources/2026-03-02.jsonl:19")
    [(twin,)] = rows_of(mixed[0], "SELECT record_id FROM main.ingest WHERE source_id = 'r3' AND line = 4")
    assert result.exit_code == 0
    assert "dropped: exact" in result.stdout and twin in result.stdout
    assert "not in" in result.stdout


def test_cli_explain_rejected_line_says_why(mixed: tuple[Path, Result]) -> None:
    result = call("explain", mixed[0], "2026-03-02.jsonl:21")
    assert result.exit_code == 0
    assert (
        "sources/2026-03-02.jsonl:21 was rejected: missing_value (text is missing or null)" in result.stdout
    )


def test_cli_explain_unknown_record_ends_with_2(mixed: tuple[Path, Result]) -> None:
    for name in ("inbox:nobody", "sources/2026-03-01.jsonl:999", "f" * 32, ""):
        result = call("explain", mixed[0], name)
        assert result.exit_code == 2 and "no record or rejected row is known by that name" in result.stderr


def test_cli_verify_whole_release_counts_its_files(mixed: tuple[Path, Result]) -> None:
    path = mixed[0]
    version = released(path)[0]
    for name in ("latest", version, str(path.parent / "releases" / version)):
        result = call("verify", path, name)
        assert result.exit_code == 0 and f"{version}: whole." in result.stdout


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "chat/train.jsonl").write_bytes(b"{}\n"), "chat/train.jsonl: was changed"),
        (lambda folder: (folder / "alpaca/test.jsonl").unlink(), "alpaca/test.jsonl: is missing"),
        (lambda folder: (folder / "extra.txt").write_text("x"), "extra.txt: does not belong to the release"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "is missing or no manifest"),
    ],
    ids=["byte", "missing", "extra", "manifest"],
)
def test_cli_verify_damaged_release_names_the_file(
    mixed: tuple[Path, Result], tmp_path: Path, damage: Any, expected: str
) -> None:
    path = copied(mixed, tmp_path)
    damage(path.parent / "releases" / released(path)[0])
    result = call("verify", path)
    assert result.exit_code == 1 and expected in result.stdout and "whole." not in result.stdout


def test_cli_verify_unknown_release_lists_those_there_are(mixed: tuple[Path, Result]) -> None:
    result = call("verify", mixed[0], "nonsense")
    assert result.exit_code == 2 and released(mixed[0])[0] in result.stderr
