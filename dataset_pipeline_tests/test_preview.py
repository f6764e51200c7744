"""`preview`: what it counts, what it says, what it refuses, and that it changes nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.cli.previewing import PreviewOutput, preview
from dataset_pipeline.errors import SpecError
from dataset_pipeline.records import TABLES, Step
from dataset_pipeline.spec.models import Ratios, Spec
from dataset_pipeline.spec.params import FilterParams, params_of
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms.assignment import SPLITS
from dataset_pipeline.transforms.previewing import Moved, filter_change, measured_anew, split_facts
from dataset_pipeline_tests import small_project as small


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small project, run once without gates. Read-only by convention: `preview` must leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        folder = small.make_project(tmp_path_factory.mktemp("preview") / "project")
        small.run_all(folder)
    yield folder
    release_run_lock(folder / "warehouse.duckdb")


def told(capsys: pytest.CaptureFixture[str], root: Path, step: str, *sets: str) -> dict[str, Any]:
    """What `preview --json` prints, held to its model."""
    capsys.readouterr()
    assert preview(step, sets, root / "dataset.yaml", True) == 0
    found = json.loads(capsys.readouterr().out)
    PreviewOutput.model_validate(found)
    return dict(found)


def refused(root: Path, step: str, *sets: str) -> str:
    with pytest.raises(SpecError) as error:
        preview(step, sets, root / "dataset.yaml", False)
    assert error.value.exit_code == 2
    return str(error.value)


def rows_of(root: Path, sql: str) -> list[tuple[Any, ...]]:
    return small.open_project(root).warehouse.query(sql).rows()


# --- counting -----------------------------------------------------------------------------


def _filter_params(**changes: Any) -> FilterParams:
    spec = load_spec()
    params = params_of(spec)[Step.FILTER]
    assert isinstance(params, FilterParams)
    prompt = params.prompt.model_copy(update=changes)
    return params.model_copy(update={"prompt": prompt, "review_margin": 0.0})


def load_spec() -> Spec:
    return Spec.model_validate_json(json.dumps(small._spec()))


def _published(*rows: tuple[str, int, str | None, str | None]) -> pl.DataFrame:
    """(id, words of the prompt, reason, review) as filter has published them; sources a, b; label x where kept."""
    made = []
    for number, (name, words, reason, review) in enumerate(rows):
        made.append(
            dict.fromkeys(TABLES[Step.FILTER]) | {
                "record_id": name, "day": dt.date(2026, 3, 2), "prompt_words": words, "answer_words": 1, "review": review,
                "kept": reason is None, "reason": reason, "source": "ab"[number % 2], "label": None if reason else "x",
            }
        )  # fmt: skip
    schema = {**TABLES[Step.FILTER], "source": pl.String, "label": pl.String}
    return pl.DataFrame(made, schema=schema)


def test_filter_change_counts_what_comes_back_and_what_goes_by_rule_source_and_label():
    published = _published(
        ("r1", 2, "too_short", None),
        ("r2", 3, None, None),
        ("r3", 9, None, None),
        ("r4", 1, "too_short", None),
    )
    found = filter_change(published, _filter_params(min_words=3), _filter_params(min_words=2, max_words=8))
    assert found.total == Moved("all", 4, 2, 2, 1, 1)
    assert found.rules == {"too_long": (0, 1), "too_short": (2, 1)}
    assert found.sources == (Moved("a", 2, 1, 1, 1, 1), Moved("b", 2, 1, 1, 0, 0))
    assert found.labels == (Moved("x", 2, 2, 1, 0, 1),)


def test_filter_change_leaves_what_a_person_decided():
    published = _published(
        ("r1", 2, None, '{"verdict":"keep"}'),
        ("r2", 9, "reviewed", '{"verdict":"drop"}'),
        ("r3", 9, None, None),
    )
    found = filter_change(published, _filter_params(min_words=3), _filter_params(min_words=10))
    assert found.total == Moved("all", 3, 2, 1, 0, 1)
    assert found.rules == {"reviewed": (1, 1), "too_short": (0, 1)}


def test_filter_change_of_what_is_measured_is_named():
    now = _filter_params()
    then = now.model_copy(update={"chars_per_token": 3.0, "profane_add": ("x",)})
    assert measured_anew(now, then) == ["chars_per_token", "profanity.add"]


def test_split_facts_by_eye():
    records = pl.DataFrame(
        {
            "group_key": ["a", "a", "b", "c", "d"], "label": ["x", "x", "x", "y", "y"],
            "split": ["train", "train", "test", "train", "train"], "may_evaluate": [True, True, True, False, True],
        }
    )  # fmt: skip
    splits = pl.DataFrame(
        {"group_key": list("abcd"), "split": ["train", "test", "validation", "train"]}, schema=SPLITS
    )
    facts = split_facts(records, splits, Ratios(train=0.5, validation=0.25, test=0.25))
    assert facts.whole.records == {"train": 3, "validation": 1, "test": 1}
    assert [(part.label, part.records["test"]) for part in facts.labels] == [("x", 1), ("y", 0)]
    # x: 2/3, 0, 1/3; y: 1/2, 1/2, 0. Furthest: 1/4, first x's validation.
    assert (facts.worst_error, facts.worst_label, facts.worst_split) == (0.25, "x", "validation")
    assert (facts.fewest_test.label, facts.moved_groups, facts.moved_records, facts.without_right) == (
        "y",
        1,
        1,
        1,
    )


def test_split_facts_without_labels_and_without_ratios():
    records = pl.DataFrame(
        {"group_key": ["a"], "label": [None], "split": ["train"], "may_evaluate": [True]},
        schema_overrides={"label": pl.String},
    )
    facts = split_facts(records, pl.DataFrame({"group_key": ["a"], "split": ["train"]}), None)
    assert (facts.labels, facts.worst_error, facts.mean_error, facts.fewest_test.label) == (
        (),
        None,
        None,
        None,
    )


# --- the command --------------------------------------------------------------------------


def test_preview_filter_says_what_a_run_then_does(root, capsys, monkeypatch, tmp_path):
    found = told(capsys, root, "filter", "input.min_words=16")
    small.switch_gates_off(monkeypatch)
    other = small.make_project(tmp_path / "other", {"filter": {"input": {"min_words": 16}}})
    small.run_all(other)
    count = 'SELECT reason, count(*) AS n FROM main."filter" WHERE reason IS NOT NULL GROUP BY reason'
    now, then = dict(rows_of(root, count)), dict(rows_of(other, count))
    assert {r["name"]: (r["now"], r["then"]) for r in found["rules"]} == {
        name: (now.get(name, 0), then.get(name, 0)) for name in {*now, *then}
    }
    assert found["total"]["gone"] > 0
    assert found["total"]["back"] == 0
    assert sum(part["gone"] for part in found["sources"]) == found["total"]["gone"]
    assert sum(part["records"] for part in found["sources"]) == found["total"]["records"]
    assert found["changes"] == {"input.min_words": 16}
    release_run_lock(other / "warehouse.duckdb")


def test_preview_filter_of_a_looser_rule_notes_that_later_steps_have_not_judged(root, capsys):
    found = told(capsys, root, "filter", "filter.input.min_words=1", "automatic_replies=keep")
    assert found["total"]["back"] == 2
    assert "Records that come back are not judged by later steps yet." in found["notes"]


def test_preview_filter_names_only_labels_of_the_spec(root, capsys):
    found = told(capsys, root, "filter", "input.min_words=2")
    assert {part["name"] for part in found["labels"]} <= {*small.LABELS, "(other)"}
    # One says `misc`: what stands in a label column may be anything.
    assert next(part for part in found["labels"] if part["name"] == "(other)")["records"] == 1


def test_preview_filter_that_drops_handwritten_examples_says_so(root, capsys):
    found = told(capsys, root, "filter", "input.min_words=7")
    assert found["examples_dropped"] == 5
    assert "5 of 5 handwritten examples would be dropped: a rule too strict." in found["notes"]


@pytest.mark.parametrize(
    ("step", "sets", "message"),
    [
        ("filter", [], "preview filter: there is nothing to compare. Say what to change"),
        ("label", ["seed=3"], "preview label: cannot be previewed. Steps that can: filter, split."),
        ("filter", ["input.min_wrods=3"], "--set filter.input.min_wrods: unknown key 'min_wrods'. Did you mean 'min_words'?"),
        ("filter", ["input.min_words=few"], "--set filter.input.min_words: Input should be a valid integer (it is 'few')."),
        ("filter", ["input.min_words=1", "input.min_words=2"], "--set: gives one key several values."),
        ("filter", ["chars_per_token=3.5"], "--set chars_per_token: changes what is measured"),
        ("filter", ["input=3"], "--set filter.input: "),
        ("filter", ["input.min_words.deep=3"], "--set filter.input.min_words: Input should be a valid integer"),
        ("filter", ["input.min_words"], "--set 'input.min_words': is no KEY=VALUE."),
        ("filter", ["=3"], "--set '=3': is no KEY=VALUE."),
        ("split", ["sede=3"], "--set split.sede: unknown key 'sede'. Did you mean 'seed'?"),
        ("split", ["seed=[1"], "--set seed: is not YAML"),
        ("split", ["seed=.nan"], "--set seed: "),
        ("split", ["seed=*a"], "--set seed: holds a YAML alias."),
        ("split", ["seed=" + "[" * 1900], "--set seed: is nothing that a spec can hold."),
        ("split", ["seed=" + "1" * 3000], "--set seed: is longer than 2000 characters."),
        ("split", [f"seed={n}" for n in range(60)], "--set: gives more than 50 combinations."),
        ("split", ["ratios.train=0.9"], "--set split.ratios: ratios sum to 1.3, not 1."),
        ("split", ["ratios.test=0", "ratios={train: 1}"], "--set ratios: holds ratios.test, which is set too."),
        ("split", ["strategy=temporal"], "--set split: temporal needs a window"),
        ("split", ["test=[2026-03-05, 2026-03-06]"], "are windows of strategy temporal, not of hash"),
    ],
)  # fmt: skip
def test_preview_that_makes_no_sense_is_refused_with_the_remedy(root, step, sets, message):
    assert message in refused(root, step, *sets)


def test_preview_split_compares_seeds_and_strategies_and_marks_the_best(root, capsys):
    found = told(capsys, root, "split")
    names = [option["name"] for option in found["options"]]
    assert names == ["now", "seed=11", "seed=23", "seed=42", "seed=101", "strategy=stratified"]
    errors = [option["worst_error"] for option in found["options"]]
    best = [option["worst_error"] for option in found["options"] if option["is_best"]]
    assert best == [min(errors)]
    arrived = rows_of(root, 'SELECT split, count(*) FROM main."split" GROUP BY split')
    assert found["options"][0]["total"]["records"] == {"train": 0, "validation": 0, "test": 0} | dict(arrived)
    assert found["options"][0]["moved_groups"] == 0
    assert all(option["moved_groups"] > 0 for option in found["options"][1:])
    assert "Moving groups after a release breaks the test set" in found["notes"][-1]


def test_preview_split_of_several_values_tries_every_combination(root, capsys):
    found = told(capsys, root, "split", "seed=1", "seed=2", "strategy=stratified", "strategy=hash")
    assert [option["name"] for option in found["options"]][1:] == [
        "seed=1 strategy=stratified", "seed=1 strategy=hash", "seed=2 strategy=stratified", "seed=2 strategy=hash",
    ]  # fmt: skip


def test_preview_split_of_windows_leaves_out_the_ratios_and_shows_the_windows(root, capsys):
    sets = ["strategy=temporal", "test=[2026-03-05, 2026-03-06]"]
    option = told(capsys, root, "split", *sets)["options"][1]
    assert option["ratios"] is None
    assert option["windows"] == {"test": ["2026-03-05", "2026-03-06"]}
    assert (option["worst_error"], option["is_best"]) == (None, False)
    first = """SELECT count(*) FROM main."split" WHERE group_key IN
        (SELECT group_key FROM main."split" GROUP BY group_key HAVING min(day) >= DATE '2026-03-05')"""
    assert option["total"]["records"]["test"] == rows_of(root, first)[0][0]
    assert preview("split", sets, root / "dataset.yaml", False) == 0
    assert "test holds groups first collected 2026-03-05 … 2026-03-06" in capsys.readouterr().out


def test_preview_split_under_a_lock_moves_no_group(monkeypatch, capsys, tmp_path):
    small.switch_gates_off(monkeypatch)
    ratios = {"train": 0.6, "validation": 0.2, "test": 0.2}
    root = small.make_project(tmp_path / "locked", {"split": {"strategy": "stratified", "ratios": ratios}})
    small.run_all(root)
    before = (root / "splits.lock.csv").read_bytes()
    found = told(capsys, root, "split", "seed=99")
    assert [option["moved_groups"] for option in found["options"]] == [0, 0]
    assert any("they stay whatever is set" in note for note in found["notes"])
    assert (root / "splits.lock.csv").read_bytes() == before
    (root / "splits.lock.csv").write_text("group,split\n")
    assert "splits.lock.csv:1: the header is not" in refused(root, "split")
    release_run_lock(root / "warehouse.duckdb")


def test_preview_changes_no_file_and_shows_no_text(root, capsys):
    def files() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}

    before = files()
    preview("filter", ["input.min_words=9"], root / "dataset.yaml", False)
    preview("split", [], root / "dataset.yaml", False)
    assert files() == before
    shown = capsys.readouterr().out
    assert "filter keeps" in shown
    assert small.MARKER not in shown


def test_preview_of_nothing_published_says_so_and_makes_no_warehouse(tmp_path):
    root = small.make_project(tmp_path / "new")
    assert "nothing is published yet. Run `dataset-pipeline run` first." in refused(root, "split")
    assert not (root / "warehouse.duckdb").exists()


def test_preview_after_the_spec_has_changed_is_refused_until_it_was_run(root, capsys):
    before = (root / "dataset.yaml").read_bytes()
    small.write_spec(root, {"filter": {"input": {"min_words": 4}}})
    try:
        with pytest.raises(SpecError, match="was made with other settings than the spec has now"):
            told(capsys, root, "filter", "input.min_words=5")
    finally:
        (root / "dataset.yaml").write_bytes(before)
