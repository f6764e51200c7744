"""What a spec may say, and the words for what it may not: place, culprit, remedy, all at once."""

from __future__ import annotations

import copy
import datetime as dt
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dataset_pipeline.errors import SpecError
from dataset_pipeline.spec.document import MAX_SPEC_BYTES, read_document
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.spec.models import Spec
from dataset_pipeline_tests.conftest import SAMPLE
from dataset_pipeline_tests.scenario import SPEC, make_project, source, spec

BASE = yaml.safe_dump(SPEC, sort_keys=False)


def problems(folder: Path, content: dict[str, Any] | str | bytes) -> list[str]:
    """Every problem of a spec, in words."""
    path = make_project(folder, content if not isinstance(content, bytes) else "", {})
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_project(path)
    assert caught.value.exit_code == 2
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def with_set(**changes: Any) -> dict[str, Any]:
    """SPEC with one evaluation set."""
    eval_set = {"name": "held", "path": "eval/held.jsonl", "fields": {"input": "text"}} | changes
    return spec(decontaminate={"sets": [eval_set]})


def with_task(**changes: Any) -> dict[str, Any]:
    return spec(task=copy.deepcopy(SPEC["task"]) | changes)


INSTRUCTION = {"behavior": "Answer.", "type": "instruction"}
CHAT = {"behavior": "Talk.", "type": "chat"}


# --- keys and types -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (spec(spilt={}), "dataset.yaml: spilt: unknown key 'spilt'. Did you mean 'split'?"),
        (spec(filter={"input": {"min_word": 3}}), "dataset.yaml: filter.input.min_word: unknown key 'min_word'. Did you mean 'min_words'?"),
        (spec(sources=[source(licence="MIT")]), "dataset.yaml: sources[0].licence: unknown key 'licence'. Valid keys here: access, "),
        (spec(sources=[source(fields={"inputs": "text"})]), "dataset.yaml: sources[0].fields.inputs: unknown key 'inputs'. Did you mean 'input'?"),
        (with_set(pth="x"), "dataset.yaml: decontaminate.sets[0].pth: unknown key 'pth'. Did you mean 'path'?"),
        (spec(gates={"dedup": {"drop_rate_per_rule": {"maximum": 1, "reason": "r"}}}), "unknown key 'maximum'. Did you mean 'max'?"),
        (spec(normalize={"pii": {"entity": []}}), "dataset.yaml: normalize.pii.entity: unknown key 'entity'. Did you mean 'entities'?"),
    ],
)  # fmt: skip
def test_spec_unknown_key_names_key_place_and_nearest_valid(
    tmp_path: Path, content: dict[str, Any], expected: str
) -> None:
    [problem] = problems(tmp_path, content)
    assert expected in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (spec(name=7), "dataset.yaml: name: Input should be a valid string (it is 7). Put it in quotes."),
        (spec(split={"seed": "7"}), "dataset.yaml: split.seed: Input should be a valid integer (it is '7')."),
        (spec(dedup={"near": {"threshold": 1.5}}), "dedup.near.threshold: Input should be less than or equal to 1 (it is 1.5)."),
        (spec(start="2026-13-01"), "dataset.yaml: start: Input should be a valid date"),
        (with_task(labels=["bug", "wish", "praise", True]), "dataset.yaml: task.labels[3]: Input should be a valid string (it is True). Put it in quotes."),
        (with_task(behavior=""), "dataset.yaml: task.behavior: String should have at least 1 character"),
        (spec(sources=[]), "dataset.yaml: sources: Tuple should have at least 1 item"),
        (spec(sources=[source(name="1st")]), "dataset.yaml: sources[0].name: String should match pattern"),
        (spec(sources=[source(kind="web")]), "dataset.yaml: sources[0].kind: Input should be 'first_party'"),
        (spec(sources=[source(encoding="klingon")]), "sources[0].encoding: no encoding is called 'klingon'"),
        ({key: SPEC[key] for key in ("name", "sources")}, "dataset.yaml: task: is missing. Add it."),
        (spec(sources=[source(rights=None)]), "dataset.yaml: sources[0].rights: is missing. Add it."),
    ],
)  # fmt: skip
def test_spec_wrong_value_names_place_and_value(
    tmp_path: Path, content: dict[str, Any], expected: str
) -> None:
    [problem] = problems(tmp_path, content)
    assert expected in problem


def test_spec_several_faults_are_all_told_at_once(tmp_path: Path) -> None:
    rights = {"license": "proprietary", "holder": "x", "basis": "y", "uses": ["train"]}
    content = spec(spilt={}, start=3, sources=[source(path="../x.jsonl", rights=rights), source(kind="web")])
    told = problems(tmp_path, content)
    for place in ("spilt:", "start:", "sources[1].kind:", "sources[0].path:", "sources[0].rights.license:"):
        assert any(problem.startswith(f"dataset.yaml: {place}") for problem in told), place


# --- the file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (BASE + "name: again\n", "the key 'name' stands twice: keep one."),
        ("name: x\ntask:\n  type: chat\n  type: chat\n", "dataset.yaml:4: the key 'type' stands twice"),
        (BASE + "1: one\n", "the key 1 is not text: put it in quotes."),
        ("name: !!python/object/apply:os.system ['true']\n", "Only plain YAML is read: remove the tag."),
        (BASE.replace("name: tiny", "name: !!binary aGk="), "dataset.yaml: name: a value of type bytes has no place in a spec."),
        (BASE + "split: {seed: !!set {a}}\n", "dataset.yaml: split.seed: a value of type set has no place in a spec."),
        (BASE + "split: {ratios: {train: .nan}}\n", "dataset.yaml: split.ratios.train: nan is no number to work with."),
        (BASE + "start: 2026-02-30\n", "Write dates as YYYY-MM-DD."),
        (BASE + "reviews: " + "[" * 60 + "]" * 60 + "\n", "is nested too deeply."),
        (BASE + "reviews: " + "[" * 9000 + "]" * 9000 + "\n", "is nested too deeply."),
        (BASE + "reviews:\n- &a0 [x]\n" + "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 20)}]\n" for n in range(1, 6)), "values. Write it out without YAML aliases."),
        (BASE + "reviews: &a [*a]\n", "recursive"),
        (BASE + "---\n" + BASE, "expected a single document in the stream"),
        ("name:\n\t- x\n", "Indent with spaces, not with tabs."),
        ("- a list\n", "is not a mapping of keys."),
        ("", "is not a mapping of keys."),
        (BASE.encode() + b"# \xe9\n", f"is not UTF-8 (byte {len(BASE.encode()) + 2}). Save the spec as UTF-8."),
        (b"#" * (MAX_SPEC_BYTES + 1), "Name the spec, not a data file."),
    ],
)  # fmt: skip
def test_spec_file_that_is_no_spec_says_why(tmp_path: Path, content: str | bytes, expected: str) -> None:
    [problem] = problems(tmp_path, content)
    assert expected in problem


def test_spec_file_absent_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        load_project(tmp_path / "dataset.yaml")


def test_spec_folder_or_file_with_bom_is_read(tmp_path: Path) -> None:
    path = make_project(tmp_path, None, {})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_project(tmp_path).spec == load_project(path).spec
    assert load_project(path).root == tmp_path.resolve()


# --- rules over several keys --------------------------------------------------------------

RIGHTS = source()["rights"]
GENERATOR = {"model": "m", "provider": "p", "permits_training": True, "terms": "t", "terms_reviewed": dt.date(2026, 1, 1)}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (spec(sources=[source(path="/etc/{date}.jsonl")]), "sources[0] (inbox).path: '/etc/{date}.jsonl' is outside the project."),
        (spec(sources=[source(path="a/../../{date}.jsonl")]), "leads outside the project. Put the file below the spec's folder"),
        (spec(sources=[source(path="C:/x/{date}.jsonl")]), "is outside the project."),
        (with_set(path="https://x/held.jsonl"), "is outside the project."),
        (spec(sources=[source(path="..\\{date}.jsonl")]), "holds a backslash: folders are parted by /."),
        (spec(sources=[source(path="a\0{date}.jsonl")]), "holds a NUL character."),
        (with_set(path="../held.jsonl"), "decontaminate.sets[0] (held).path: '../held.jsonl' leads outside the project."),
        (spec(sources=[source(path="{date}/{date}.jsonl")]), "has {date} twice."),
        (with_set(path="eval/{date}.jsonl"), "an evaluation set has no days."),
        (spec(sources=[source(path="{date}.dat")]), "sources[0] (inbox).path: '{date}.dat' does not say its format."),
        (spec(sources=[source(path="{date}.parquet.zst")]), "does not say its format. Name it (`format: jsonl`), or use one of .jsonl, .ndjson,"),
        (spec(sources=[source(records="a")]), "sources[0] (inbox).records: means nothing for format jsonl: it is of json."),
        (spec(sources=[source(path="{date}.parquet", encoding="cp1252")]), "encoding: means nothing for format parquet"),
        (spec(sources=[source(replies="all")]), "replies: means nothing without layout: tree."),
        (spec(sources=[source(path="{date}.csv.zip")]), "does not say its format."),
        (spec(sources=[source(), source(path="b/{date}.csv")]), "two sources are called 'inbox'."),
        (with_set(name="examples"), "the name 'examples' is taken."),
        (with_set(path="sources/2026-03-01.jsonl"), "is also the source 'inbox': protected items are never trained on."),
        (with_set(path="./sources/*.jsonl"), "is also the source 'inbox'"),
        (spec(sources=[source(rights=RIGHTS | {"license": "MIT ANDOR X"})]), "rights.license: 'MIT ANDOR X' is no SPDX licence expression."),
        (spec(sources=[source(rights=RIGHTS | {"license": "proprietary"})]), "'proprietary' is not on the SPDX list. Use an SPDX expression"),
        (spec(sources=[source(rights=RIGHTS | {"license": "  "})]), "rights.license: is empty."),
        (spec(sources=[source(rights=RIGHTS | {"holder": " "})]), "rights.holder: is blank: no rights, no entry."),
        (spec(release={"license": "(MIT"}), "release.license: '(MIT' is no SPDX licence expression."),
        (spec(sources=[source(rights=RIGHTS | {"uses": ["evaluate"]})]), "rights.uses lacks train"),
        (spec(sources=[source(rights=RIGHTS | {"uses": []})]), "rights.uses: Tuple should have at least 1 item"),
        (spec(sources=[source(kind="synthetic")]), "a synthetic source names its generator"),
        (spec(sources=[source(generator=GENERATOR | {"permits_training": False})]), "the generator's terms do not permit training"),
        (spec(sources=[source(path="one.jsonl")]), "collected_at is required where path has no {date}"),
        (spec(sources=[source(collected_at=dt.date(2026, 1, 1))]), "collected_at and {date} in path contradict each other"),
        (spec(split={"ratios": {"train": 0.8, "validation": 0.1, "test": 0.2}}), "split.ratios: ratios sum to 1.1, not 1."),
        (spec(split={"ratios": {"train": 0.0, "validation": 0.5, "test": 0.5}}), "train must be above 0."),
        (spec(label={"aliases": {"error": "fault"}}), "label.aliases.error: 'fault' is not in task.labels."),
        (spec(label={"aliases": {"Wish": "bug"}}), "label.aliases.Wish: is itself a label."),
        (spec(label={"aliases": {"Idea": "bug", "idea ": "wish"}}), "stands for two labels."),
        (with_task(labels=["bug"], examples=[]), "classification needs task.labels with at least two labels"),
        (with_task(labels=["bug", "Bug "], examples=[]), "differ in more than case and spaces"),
        (with_task(labels=["a", "b"]), "task.examples use labels that are not in task.labels: ['bug']"),
        (with_task(type="chat", examples=[]), "task.labels belong to classification, not to chat"),
        (spec(sources=[source(layout="chat", fields=None)]), "chat cannot become classification"),
        (spec(sources=[source(fields={})]), "neither input nor messages is mapped."),
        (spec(task=CHAT, sources=[source(fields={"input": "a", "messages": "b"})]), "input and messages are both mapped."),
        (spec(task=INSTRUCTION, sources=[source(fields={"input": "a"})]), "needs an answer. Map fields.output."),
        (spec(task=CHAT, sources=[source(layout="chat", fields=None)], release={"formats": ["alpaca"]}), "'alpaca' cannot hold a conversation of several turns: a row says one instruction and one answer. Use chat, sharegpt or parquet."),
        (spec(sources=[source(layout="sharegpt", fields=None)]), "sharegpt cannot become classification: a conversation has no label column."),
        (spec(task=INSTRUCTION, sources=[source(layout="sharegpt", fields=None)]), "'alpaca' cannot hold the conversations of several turns that sources[0] (inbox) may bring: a row says one instruction and one answer. Say type: chat, or formats: [chat, sharegpt, parquet]."),
        (spec(task={"behavior": "x", "type": "preference"}), "a preference record needs a better and a worse answer. Say layout: preference"),
        (spec(task={"behavior": "x", "type": "preference"}, sources=[source(layout="preference", fields=None)], release={"formats": ["chat"]}), "'chat' cannot hold the records of the task type preference: a row says one conversation, a record has a better and a worse one. Use preference or parquet."),
        (spec(task={"behavior": "x", "type": "preference"}, sources=[source(layout="preference", fields=None)], release={"formats": ["sharegpt"]}), "'sharegpt' cannot hold the records of the task type preference"),
        (spec(release={"formats": ["preference"]}), "'preference' cannot hold the records of the task type classification: a row says a prompt, a better and a worse answer, a record has one answer. Use chat, alpaca, completion, sharegpt or parquet."),
        (spec(filter={"max_sides_similarity": 0.5}), "filter.max_sides_similarity: compares the answers of preference pairs."),
        (spec(split={"strategy": "temporal"}), "temporal needs a window: test: [first day, last day]"),
        (spec(split={"test": ["2026-01-01", "2026-01-02"]}), "are windows of strategy temporal, not of hash"),
        (spec(split={"strategy": "temporal", "test": ["2026-01-02", "2026-01-01"]}), "the window [2026-01-02, 2026-01-01] runs backwards"),
        (spec(split={"strategy": "temporal", "test": ["2026-01-01", "2026-01-05"], "validation": ["2026-01-05", "2026-01-09"]}), "the windows of validation and test overlap"),
        (spec(split={"strategy": "temporal", "test": ["2026-01-01", "2026-01-05"], "ratios": {"train": 0.8}}), "ratios mean nothing for temporal"),
        (spec(task=INSTRUCTION, label={"annotations": ["a.csv"]}), "annotations decide labels; the task is instruction, which has none."),
        (spec(label={"annotations": ["a.xls"]}), "label.annotations[0]: 'a.xls' is no file of .csv"),
        (spec(label={"annotations": ["../a.csv"]}), "leads outside the project"),
        (spec(label={"annotations": [{"path": "a.csv", "source": "nobody"}]}), "no source is called 'nobody'"),
        (spec(label={"annotations": [{"path": "a.csv", "annotators": ["a", "a"]}]}), "annotators names a column twice"),
        (spec(label={"min_agreement": 0.8}), "label.min_agreement: acts on annotations, and none are named."),
        (spec(label={"aggregate": "majority"}), "label.aggregate: acts on annotations"),
        (spec(reviews=["r.txt"]), "reviews[0]: 'r.txt' is no file of .csv"),
        (spec(release={"formats": ["parquet"], "compression": "gzip"}), "release.compression: packs the JSONL files, and none is written"),
        (spec(training={"tokenizer": "/opt/tokenizer"}), "training.tokenizer: '/opt/tokenizer' is outside the project."),
        (spec(training={"tokenizer": "https://host/t.json"}), "training.tokenizer: 'https://host/t.json' is outside the project."),
        (spec(training={"tokenizer": "t", "chat_template": "../chat.jinja"}), "training.chat_template: '../chat.jinja' leads outside the project."),
        (spec(training={"chat_template": "chat.jinja"}), "training.chat_template: means nothing without training.tokenizer"),
    ],
)  # fmt: skip
def test_spec_rule_broken_says_what_and_where(tmp_path: Path, content: dict[str, Any], expected: str) -> None:
    told = problems(tmp_path, content)
    assert any(expected in problem for problem in told), told


@pytest.mark.parametrize(
    "licence", ["MIT", "mit", "CC-BY-4.0 OR LicenseRef-own", "GPL-2.0-only WITH Classpath-exception-2.0"]
)
def test_spec_licence_of_spdx_is_accepted(tmp_path: Path, licence: str) -> None:
    content = spec(sources=[source(rights=RIGHTS | {"license": licence})])
    assert load_project(make_project(tmp_path, content, {})).spec.sources[0].rights.license == licence


# --- the schema for editors ---------------------------------------------------------------


def test_spec_json_schema_is_valid_and_accepts_the_sample() -> None:
    schema = Spec.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sample = json.loads(read_document(SAMPLE / "dataset.yaml"))
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(sample)) == []
    assert list(validator.iter_errors(sample | {"spilt": {}})) != []


@pytest.mark.parametrize("name", ["a[1]", "a::b", "what?"])
def test_spec_below_a_folder_that_others_take_for_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (told,) = problems(tmp_path / name, SPEC)
    assert "takes for a pattern. Rename the folder." in told


@pytest.mark.parametrize("name", ["{a}", "50% of #1", "dir é", "a]b", "it's"])
def test_spec_below_a_folder_with_odd_letters_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert load_project(make_project(tmp_path / name, SPEC, {})).spec.name == SPEC["name"]
