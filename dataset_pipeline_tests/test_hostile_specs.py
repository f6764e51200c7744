"""Hostile specs: one clear error with exit code 2, in bounded time; never a traceback. Failure test 26, its part on specs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dataset_pipeline_tests.scenario import CLEAN, SPEC, call, make_project

REPOSITORY = Path(__file__).parent.parent
MEMORY_BYTES = 6 * 2**30
"""Of addresses, most of them the libraries' own."""
WORDS = yaml.safe_dump(SPEC, sort_keys=False)


def _merges(levels: int) -> str:
    """Mappings that merge ten of the level below, each: 10 ** levels keys."""
    inner = "&m0 {a: 1}"
    for level in range(1, levels + 1):
        inner = f"&m{level} {{<<: [{inner}{f', *m{level - 1}' * 30}]}}"
    return f"x: {inner}\n"


def _aliases() -> str:
    lines = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "x0: &x0 [1, 2, 3]\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("x: !!python/object/apply:os.system ['echo hi']\n", "Only plain YAML is read: remove the tag."),
        ("x: !!python/name:os.system\n", "Only plain YAML is read: remove the tag."),
        ("x: !own 1\n", "Only plain YAML is read: remove the tag."),
        ("x: !!set {a, b}\n", "Remove the YAML tag."),
        ("x: !!binary AAAA\n", "Remove the YAML tag."),
        ("x: !!bool maybe\n", "dataset.yaml:"),
        ("x: !!timestamp soon\n", "dataset.yaml:"),
        ("x: !!map [a]\n", "dataset.yaml:"),
        ("x: !!int ''\n", "dataset.yaml:"),
        ("x: !!float ''\n", "dataset.yaml:"),
        ("x: !!int '+'\n", "dataset.yaml:"),
        ("split: {seed: 0x" + "F" * 20_000 + "}\n", "put it in quotes"),
        ("split: {seed: " + "9" * 20_000 + "}\n", "put it in quotes"),
        ("split: {seed: 12:30:45}\n", "put it in quotes"),
        ("split: {seed: 1" + ":1" * 300 + ".5}\n", "put it in quotes"),
        ("split: {seed: .nan}\n", "is no number to work with"),
        ("name: again\n", "the key 'name' stands twice"),
        ("x: &x [*x]\n", "dataset.yaml:"),
        ("x: [" + "[" * 10_000 + "]" * 10_000 + "]\n", "is nested too deeply"),
        ("x: {" + "a: {" * 60 + "}" * 60 + "}\n", "is nested too deeply"),
        ("? [a, b]\n: 1\n", "is not text: put it in quotes"),
        (_aliases(), "holds more than 200000 values"),
        (_merges(3), "are merged here"),
        ("x: \0\n", "is not YAML"),
        ('x: "\\ud800"\n', "lone surrogate"),
        ("\tx: 1\n", "Indent with spaces"),
    ],
)  # fmt: skip
def test_hostile_spec_is_refused_with_one_error(tmp_path: Path, added: str, expected: str) -> None:
    result = call("run", make_project(tmp_path, WORDS + added, CLEAN))
    assert result.exit_code == 2
    assert expected in result.stderr and "Traceback" not in result.output
    assert len(result.stderr) < 2000
    assert not (tmp_path / "warehouse.duckdb").exists()


@pytest.mark.parametrize(
    "kind", ["fifo", "device", "folder of folders", "utf-16", "latin", "empty", "list", "archive"]
)
def test_hostile_spec_file_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = make_project(tmp_path / "project", WORDS, CLEAN)
    contents = {
        "utf-16": WORDS.encode("utf-16"),
        "latin": b"name: caf\xe9\n",
        "empty": b"",
        "list": b"- a\n",
        "archive": b"PK\x03\x04\0\0",
    }
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder of folders":
        (path / "inner").mkdir(parents=True)
    else:
        path.write_bytes(contents[kind])
    # In a process of its own: what waits for a pipe or reads a device to its end would never come back.
    ran = subprocess.run(
        [sys.executable, "-m", "dataset_pipeline.cli.main", "check", "--spec", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 2
    assert "dataset.yaml" in said and "Traceback" not in said


def test_spec_may_merge_a_few_mappings(tmp_path: Path) -> None:
    text = (
        WORDS
        + "gates:\n  ingest:\n    reject_rate: &g {max: 0.5, reason: known}\n  dedup:\n    near_rate: {<<: *g, max: 0.6}\n"
    )
    result = call("check", make_project(tmp_path, text, CLEAN))
    assert "merged" not in result.output and "Traceback" not in result.output
