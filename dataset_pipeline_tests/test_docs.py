"""The documents say what the program does: commands, options, words, links, tables of the README."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import click
import pytest
import yaml

from dataset_pipeline.cli.main import main
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import PROTECTED, REASONS, RELEASE, Split, Step
from dataset_pipeline.spec.meaning import semantic_problems
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.reading import FORMAT_BY_SUFFIX, Format, Layout, Reading, Shape
from dataset_pipeline.storage.readers import READ_REASONS
from dataset_pipeline.transforms.layouts import MAPPING_REASONS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
READING = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
CONTEXT = (ROOT / "CONTEXT.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "data" / "README.md",
        ROOT / "benchmarks" / "README.md",
    ]
)
OPTIONS = sorted(
    {(name, option) for name, command in main.commands.items() for p in command.params for option in p.opts if option.startswith("--")}
)  # fmt: skip
WORDS = sorted(
    {
        *map(str, Step),
        PROTECTED,
        RELEASE,
        *map(str, Split),
        *(r for reasons in REASONS.values() for r in reasons),
    }
)

INVENTED = {"shout"}
"""The step that CONTRIBUTING.md makes up to show how one is added."""


def _section(text: str, title: str) -> str:
    """The text below a heading, up to the next of its rank."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, code) of every code block: fenced, or indented by four after a blank line."""
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield fence[1], fence[2]
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.finditer(r"(?:\n\n)((?:    .*\n?)+)", outside):
        yield "", re.sub(r"^    ", "", block[1], flags=re.MULTILINE)


def _shell_lines() -> list[str]:
    """Lines of code blocks of all documents that call our program or make."""
    lines = []
    for path in DOCUMENTS:
        for language, code in _blocks(path.read_text(encoding="utf-8")):
            if language in ("", "console", "sh", "bash"):
                lines += [line.removeprefix("$ ").split("  #")[0].strip() for line in code.splitlines()]
    return sorted({line for line in lines if re.match(r"(dataset-pipeline|make) ", line)})


# --- commands -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", sorted(main.commands))
def test_readme_command_stands_in_the_table(command: str) -> None:
    assert re.search(rf"^\| `{command}[ `]", _section(README, "Commands"), re.MULTILINE)


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_readme_option_stands_with_the_commands(command: str, option: str) -> None:
    assert re.search(rf"`{option}[ `]", _section(README, "Commands")), f"{command} {option}"


def test_readme_says_which_commands_take_json() -> None:
    taking = {
        name for name, command in main.commands.items() if any("--json" in p.opts for p in command.params)
    }
    said = re.search(r"`--json` on (.*?):", _section(README, "Commands"), re.DOTALL)
    assert said is not None
    assert set(re.findall(r"`(\w+)`", said[1])) == taking


def test_readme_says_which_commands_take_no_spec() -> None:
    without = {
        name for name, command in main.commands.items() if not any("--spec" in p.opts for p in command.params)
    }
    said = re.search(r"`--spec PATH` on all but (.*?) \(", _section(README, "Commands"), re.DOTALL)
    assert said is not None
    assert set(re.findall(r"`(\w+)`", said[1])) == without


def test_readme_and_contributing_show_commands_at_all() -> None:
    lines = _shell_lines()
    assert "make run" in lines
    assert any(line.startswith("dataset-pipeline init") for line in lines)


@pytest.mark.parametrize("line", _shell_lines())
def test_shown_command_exists(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "make":
        targets = set(
            re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert {a for a in arguments if "=" not in a} <= targets
        return
    name, *rest = arguments
    assert name in main.commands
    with main.commands[name].make_context(name, rest):
        pass


def test_shown_command_with_an_unknown_option_would_be_noticed() -> None:
    with pytest.raises(click.NoSuchOption):
        main.commands["run"].make_context("run", ["--no-such-option"])


# --- what can be read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    sorted({*get_args(Format), *FORMAT_BY_SUFFIX, *get_args(Layout), *READ_REASONS, *MAPPING_REASONS}
           | {*Reading.model_fields, *Shape.model_fields} - {"format", "layout", "fields", "explode", "records"}),
)  # fmt: skip
def test_reading_explains_every_format_layout_key_and_reason(word: str) -> None:
    assert re.search(rf"`{re.escape(word)}[`:]", READING)


def test_reading_shows_sources_that_a_spec_may_hold() -> None:
    rights = {"license": "MIT", "holder": "We", "basis": "ours", "uses": ["train"]}
    shown = [
        s
        for language, code in _blocks(READING)
        if language == "yaml"
        for s in yaml.safe_load(code)["sources"]
    ]
    assert len(shown) >= 6
    for source in shown:
        given = {"kind": "first_party", "rights": rights} | source
        if "{date}" not in source.get("path", "") and "database" not in source:
            given["collected_at"] = "2026-01-01"
        content = {
            "name": "x",
            "task": {"behavior": "x", "type": "classification", "labels": ["a", "b"]},
            "sources": [given],
        }
        assert semantic_problems(Spec.model_validate_json(json.dumps(content)), "x") == []


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", WORDS)
def test_word_is_explained(word: str) -> None:
    assert f"`{word}`" in CONTEXT


@pytest.mark.parametrize("step", list(REASONS))
def test_reasons_of_a_step_stand_in_its_row(step: Step) -> None:
    if not REASONS[step]:
        return
    row = re.search(rf"^\| {step} \| (.*) \|$", CONTEXT, re.MULTILINE)
    assert row is not None
    assert set(re.findall(r"`(\w+)`", row[1])) == REASONS[step]


def test_expectations_named_in_the_readme_exist() -> None:
    known = {e.name for suite in EXPECTATIONS.values() for e in suite}
    table = _section(README, "When something is wrong")
    named = re.findall(r"`(\w+)\.(\w+)`", table)
    steps = set(map(str, EXPECTATIONS))
    assert [f"{s}.{n}" for s, n in named if s in steps and n not in {e.name for e in EXPECTATIONS[s]}] == []
    assert len([s for s, _ in named if s in steps]) >= 6
    promised = re.findall(r"gates? ((?:`\w+`(?:, )?)+)", _section(README, "What it promises"))
    assert {n for group in promised for n in re.findall(r"`(\w+)`", group)} <= known


def test_readme_failure_table_gives_every_row_an_exit_code_that_exists() -> None:
    rows = [
        line for line in _section(README, "When something is wrong").splitlines() if line.startswith("|")
    ][2:]
    codes = {row.split("|")[-2].strip() for row in rows}
    assert codes == {"0", "1", "2", "3", "–"}


# --- the spec of the README -----------------------------------------------------------------


def test_readme_spec_is_a_good_one_with_its_gates() -> None:
    shown = [yaml.safe_load(code) for language, code in _blocks(README) if language == "yaml"]
    data = next(block for block in shown if "sources" in block)
    gates = next(block["gates"] for block in shown if "gates" in block)
    assert len(shown) == 2
    for step, changed in gates.items():
        assert set(changed) <= {e.name for e in EXPECTATIONS[step]}
    data["gates"] = gates
    data["sources"][0]["collected_at"] = data["sources"][0]["collected_at"].isoformat()
    spec = Spec.model_validate_json(json.dumps(data))
    assert len(spec.task.examples) >= 5


def test_readme_python_compiles() -> None:
    shown = [code for language, code in _blocks(README) if language == "python"]
    assert shown
    for code in shown:
        compile(code, "README.md", "exec")


# --- links and files ------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_point_to_files_that_exist(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [t for t in targets if "://" not in t]
    assert [t for t in local if not (path.parent / t).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_of_ours_that_are_named_exist(path: Path) -> None:
    named = re.findall(r"`(dataset_pipeline(?:_tests)?/[\w/]+\.py)`", path.read_text(encoding="utf-8"))
    assert [n for n in named if not (ROOT / n).exists() and Path(n).stem not in INVENTED] == []


def test_readme_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", README))
    assert named
    assert sorted(n for n in named if not (ROOT / "dataset_pipeline_tests" / n).exists()) == []


def test_graph_is_drawn_with_every_step() -> None:
    text = (ROOT / "docs" / "graph.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    shown = set(re.findall(r">([a-z]+)</text>", text))
    assert {*map(str, Step), PROTECTED, RELEASE} <= shown


def test_decisions_are_numbered_without_a_gap_and_say_why() -> None:
    files = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(f.name[:4]) for f in files]
    assert numbers[0] == 1
    assert all(b - a == 1 for a, b in pairwise(numbers))
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(file.name[:4])}. "), file.name
        missing = [w for w in ("Context", "Decision", "Why", "Rejected") if f"**{w}.**" not in text]
        assert missing == [], file.name


def test_hooks_run_from_the_environment_and_fetch_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "typos", "mypy", "lint-imports"}
