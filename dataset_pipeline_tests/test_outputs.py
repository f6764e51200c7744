"""What `--json` prints holds to the schema that `schema` prints, for every command that has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dataset_pipeline.cli import outputs
from dataset_pipeline.cli.main import main
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.scenario import (
    MIXED,
    call,
    jsonl,
    last_json,
    make_project,
    released,
    row,
    rows,
    spec,
)

LONG = "When the monthly report of the harbour office is printed twice the second copy loses its footer"
FILES = MIXED | {
    "sources/2026-03-03.jsonl": jsonl(
        [*rows(40), row(90, label=None), row(91, label="misc"), row(3, label="wish"),
         row(92, text=f"My neighbour told me that the green garden door squeaks in winter {LONG}")]
    ),
    "eval/held.jsonl": jsonl([{"text": "the green garden door squeaks"}]),
}  # fmt: skip
SPEC = spec(
    decontaminate={"sets": [{"name": "held", "path": "eval/held.jsonl", "fields": {"input": "text"}}]}
)
"""MIXED, and on the third day a row without a label, one with another, one that contradicts r3, one that waits in review."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A project with two releases, and the line of its last run."""
    folder = tmp_path_factory.mktemp("outputs") / "project"
    path = make_project(folder, SPEC, FILES)
    assert call("run", path).exit_code == 0
    make_project(
        folder,
        SPEC | {"split": {"seed": 8}, "filter": {"profanity": {"max_words": 0, "add": ["violin"]}}},
        {},
    )
    line = last_json(call("run", path, "--json"))
    yield path, line
    release_run_lock(folder / "warehouse.duckdb")


def schema(name: str) -> Any:
    return json.loads(call("schema", None, name).stdout)


def holds(name: str, found: Any) -> None:
    """Fails where `found` is not what the schema of `name` describes."""
    described = schema(name)
    jsonschema.Draft202012Validator.check_schema(described)
    jsonschema.validate(found, described, cls=jsonschema.Draft202012Validator)


# --- each command ---------------------------------------------------------------------------


def test_outputs_run_holds_to_its_schema(project: tuple[Path, dict[str, Any]]) -> None:
    holds("run", project[1])
    assert project[1]["dropped"]["filter"]["profanity"] > 0


def test_outputs_check_holds_to_its_schema(project: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    holds("check", last_json(call("check", project[0], "--json")))
    bad = last_json(call("check", make_project(tmp_path, spec(spilt={})), "--json"))
    assert bad["problems"]
    holds("check", bad)


def test_outputs_status_holds_to_its_schema_and_says_what_waits(
    project: tuple[Path, dict[str, Any]],
) -> None:
    found = last_json(call("status", project[0], "--json"))
    holds("status", found)
    assert list(found["waiting"]["in_review"]) == ["decontaminate"]
    assert sum(found["waiting"]["in_review"]["decontaminate"].values()) == 1
    assert (found["waiting"]["unlabelled"], found["waiting"]["unknown_label"]) == (1, 1)
    assert found["waiting"]["contradictions"] == 2
    assert [e["step"] for e in found["steps"][:2]] == ["protected", "ingest"]  # nobody names the other inputs
    words = call("status", project[0]).stdout
    assert "waits: in review after decontaminate: 1 (" in words
    assert "waits: without a label: 1\n" in words
    assert "waits: withheld: the same prompt with another answer: 2\n" in words
    # Inputs that the spec does not name have no state.
    table = [line.split()[:2] for line in words.splitlines()[1:4]]
    assert table == [["reviews", "none"], ["annotations", "none"], ["protected", "published"]]


def test_outputs_status_names_the_review_queue_where_it_is(project: tuple[Path, dict[str, Any]]) -> None:
    queue = project[0].parent / "review_queue.csv"
    before = queue.read_bytes() if queue.exists() else None
    try:
        queue.write_text("record\n")
        found = last_json(call("status", project[0], "--json"))
        assert found["waiting"]["review_queue"] == str(queue)
        assert "review_queue.csv" in call("status", project[0]).stdout
        queue.unlink()
        assert last_json(call("status", project[0], "--json"))["waiting"]["review_queue"] is None
    finally:
        if before is not None:
            queue.write_bytes(before)


@pytest.mark.parametrize(
    "name",
    ["inbox:r4", "inbox:r3", "sources/2026-03-02.jsonl:19", "sources/2026-03-02.jsonl:21", "inbox:r90", "inbox:r92"],
    ids=["released", "withheld", "dropped", "rejected", "unlabelled", "in-review"],
)  # fmt: skip
def test_outputs_explain_holds_to_its_schema(project: tuple[Path, dict[str, Any]], name: str) -> None:
    found = last_json(call("explain", project[0], name, "--json"))
    assert found
    holds("explain", found)


def test_outputs_diff_holds_to_its_schema_and_tells_the_change(project: tuple[Path, dict[str, Any]]) -> None:
    path = project[0]
    new = Path(project[1]["release"]).name
    [old] = [version for version in released(path) if version != new]
    found = last_json(call("diff", path, old, new, "--json"))
    holds("diff", found)
    assert {(r["step"], r["reason"]) for r in found["rows_out"]} == {("filter", "profanity")}
    assert found["moved"]
    leaves = {leaf["path"]: (leaf["before"], leaf["after"]) for leaf in found["spec"]}
    assert leaves["split.seed"] == (7, 8) and leaves["filter.profanity.add"] == (None, ["violin"])
    assert "text" not in {key for r in found["changed"] for key in r}
    said = call("diff", path, old, new).output
    assert LONG not in said and row(3)["text"] not in said


def test_outputs_preview_holds_to_its_schema(project: tuple[Path, dict[str, Any]]) -> None:
    for arguments in (["filter", "--set", "filter.input.min_words=10"], ["split", "--set", "split.seed=9"]):
        result = call("preview", project[0], *arguments, "--json")
        assert result.exit_code == 0, result.output
        holds("preview", last_json(result))


# --- schemas --------------------------------------------------------------------------------


def test_outputs_every_command_with_json_has_a_schema() -> None:
    taking = {
        name for name, command in main.commands.items() if any("--json" in p.opts for p in command.params)
    }
    [choice] = [p.type for p in main.commands["schema"].params if p.name == "output"]
    assert {"spec", "reuse", *taking} == set(choice.choices)  # type: ignore[attr-defined]
    assert schema("spec") == json.loads(call("schema").stdout)


@pytest.mark.parametrize("name", ["check", "run", "status", "explain", "diff"])
def test_outputs_schema_allows_no_other_keys(name: str) -> None:
    described = schema(name)
    objects = [part for part in [described, *described.get("$defs", {}).values()] if "properties" in part]
    assert objects and all(part.get("additionalProperties") is False for part in objects)


def test_outputs_changed_output_would_be_noticed() -> None:
    line = {"problems": [], "advice": []}
    holds("check", line)
    for wrong in (line | {"more": 1}, {"problems": []}, line | {"advice": "none"}):
        with pytest.raises(jsonschema.ValidationError):
            holds("check", wrong)


def test_outputs_unknown_schema_ends_with_2() -> None:
    result = call("schema", None, "nonsense")
    assert result.exit_code == 2 and "'nonsense' is not one of 'spec', 'check'" in result.output


def test_outputs_line_with_a_name_that_no_terminal_prints_is_still_one() -> None:
    line = outputs.line_of(outputs.CheckOutput(problems=[], advice=["a\udcff", "é"]))
    line.encode()
    assert json.loads(line)["advice"] == ["a\udcff", "é"]
    assert "é" in outputs.line_of(outputs.CheckOutput(problems=[], advice=["é"]))


# --- erased and reviewed records --------------------------------------------------------------


def test_outputs_explain_tells_an_erased_record_and_a_review(
    project: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """What the steps write for a review and an erasure, written by hand: the words of `explain` are the subject."""
    import shutil

    import duckdb

    shutil.copytree(project[0].parent, tmp_path / "copy", symlinks=True)
    path = tmp_path / "copy" / "dataset.yaml"
    review = json.dumps({"date": "2026-03-05", "reviewer": "Jo", "verdict": "keep", "overrode": "too_short"})
    with duckdb.connect(str(tmp_path / "copy" / "warehouse.duckdb")) as connection:
        of = "WHERE record_id = (SELECT record_id FROM main.ingest WHERE source_id = ?)"
        connection.execute(f"UPDATE main.filter SET review = ? {of}", [review, "r4"])
        connection.execute(
            f"UPDATE main.ingest SET kept = false, reason = 'erased', messages = NULL, detail = ? {of}",
            ['{"because":"review"}', "r5"],
        )
    [told] = last_json(call("explain", path, "inbox:r4", "--json"))
    steps = {step["step"]: step for step in told["steps"]}
    assert steps["filter"]["review"] == json.loads(review) and steps["label"]["review"] is None
    assert "review: date 2026-03-05, reviewer Jo, verdict keep, overrode too_short" in " ".join(
        call("explain", path, "inbox:r4").stdout.split()
    ).replace("  ", " ")
    erased = last_json(call("explain", path, "inbox:r5", "--json"))
    holds("explain", erased)
    assert erased[0]["is_erased"] is True and [s["step"] for s in erased[0]["steps"]] == ["ingest"]
    words = call("explain", path, "inbox:r5").stdout
    assert "ingest        erased: its text is gone for good, and no step follows  (because review)" in words
    assert "it was erased since" in words
