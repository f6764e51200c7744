"""`preview`: what it counts, what it says, what it refuses, and that it changes nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from rich.console import Console

from dataset_pipeline.assets import previewing_examples
from dataset_pipeline.assets.previewing_examples import shown
from dataset_pipeline.assets.reporting import NOT_SHOWN
from dataset_pipeline.cli.preview_change import ReleasedPart
from dataset_pipeline.cli.preview_words import _print_balance
from dataset_pipeline.cli.previewing import PreviewOutput, preview
from dataset_pipeline.errors import SpecError
from dataset_pipeline.records import TABLES, Step
from dataset_pipeline.spec.models import Ratios, Spec
from dataset_pipeline.spec.params import DecontaminateParams, FilterParams, params_of
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms.assignment import SPLITS
from dataset_pipeline.transforms.previewing import (
    FATES,
    Moved,
    Released,
    doubtful,
    journeys,
    measured_anew,
    moves,
    parts,
    redecided,
    released_parts,
    rules,
    same_but,
    split_facts,
    spread_evenly,
)
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


def refused(root: Path, step: str | None, *sets: str, after: Path | None = None) -> str:
    with pytest.raises(SpecError) as error:
        preview(step, sets, root / "dataset.yaml", False, after)
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


def test_redecided_names_what_other_limits_decide_otherwise():
    published = _published(
        ("r1", 2, "too_short", None),
        ("r2", 3, None, None),
        ("r3", 9, None, None),
        ("r4", 1, "too_short", None),
    )
    measured = published.drop("detail", "review", "source", "label")
    found = redecided(measured, _filter_params(min_words=2, max_words=8))
    assert found.select("record_id", "kept", "reason").rows() == [("r1", True, None), ("r3", False, "too_long")]  # fmt: skip


def test_what_is_measured_or_compared_anew_is_named():
    now = _filter_params()
    then = now.model_copy(update={"chars_per_token": 3.0, "profane_add": ("x",), "examples": ()})
    assert measured_anew(now, then) == ["chars_per_token", "profanity.add"]
    assert same_but(now, then) == ["chars_per_token", "profane_add"]
    assert same_but(now, now.model_copy(update={"examples": ()})) == []


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, ""),
        ({"suspects": "keep"}, "contained"),
        ({"min_coverage": 0.8}, "half contained"),
        ({"min_coverage": 0.2}, "contained below"),
        ({"min_contained_words": 9}, "contained"),
        ({"min_contained_words": 2}, "contained below nothing"),
        ({"ngram": 8}, "half contained below nothing"),
    ],
)  # fmt: skip
def test_doubtful_are_the_rows_whose_stored_match_does_not_tell(changes, asked):
    now = params_of(load_spec())[Step.DECONTAMINATE]
    assert isinstance(now, DecontaminateParams)
    rows = pl.DataFrame(
        {
            "id": ["equal", "half", "contained", "below", "nothing"],
            "match": ["equal", "coverage", "contained", None, None],
            "overlap_fraction": [1.0, 0.6, 1.0, 0.3, 0.0],
        }
    )
    found = rows.filter(doubtful(now, now.model_copy(update=changes)))["id"].to_list()
    assert " ".join(found) == asked


DAY = dt.date(2026, 3, 2)


def _rows(*rows: tuple[str, bool, str | None]) -> pl.DataFrame:
    schema = {"record_id": pl.String, "day": pl.Date, "kept": pl.Boolean, "reason": pl.String}
    return pl.DataFrame([(name, DAY, kept, why) for name, kept, why in rows], schema=schema, orient="row")


def _moved() -> pl.DataFrame:
    """a comes back and is contaminated, b goes, c comes back, d is dropped for another reason, e goes for c."""
    now = _rows(("a", False, "too_short"), ("b", True, None), ("c", False, "symbols"), ("d", False, "symbols"), ("e", True, None))  # fmt: skip
    then = _rows(("a", True, None), ("b", False, "too_long"), ("c", True, None), ("d", False, "digits"), ("e", True, None))  # fmt: skip
    later_now = _rows(("b", True, None), ("e", True, None))
    later = moves("decontaminate", later_now, _rows(("a", False, "contaminated"), ("c", True, None), ("e", True, None)))  # fmt: skip
    last = moves("split", later_now, _rows(("c", True, None), ("e", False, "near_other_split")))
    return pl.concat([moves("filter", now, then), later, last])


def _fates() -> pl.DataFrame:
    rows = [
        ("a", DAY, "s", "x", None, None, None, None, False, False),
        ("b", DAY, "s", "x", "train", None, "x", None, True, False),
        ("c", DAY, "t", "y", None, "test", None, "y", False, True),
        ("d", DAY, "t", "y", None, None, None, None, False, False),
        ("e", DAY, "t", "y", "train", None, "y", None, True, False),
    ]
    return pl.DataFrame(rows, schema=FATES, orient="row")


def test_journeys_tell_where_a_record_turns_and_what_becomes_of_it():
    nobody = pl.Series([], dtype=pl.String)
    told_ = journeys(_moved(), _fates(), nobody).drop("day").rows()
    assert told_ == [
        ("a", "filter", "back", "too_short", "decontaminate", "contaminated"),
        ("b", "filter", "gone", "too_long", None, None),
        ("c", "filter", "back", "symbols", None, None),
        ("d", "filter", "otherwise", "digits", None, None),
        ("e", "split", "gone", "near_other_split", None, None),
    ]
    left = journeys(_moved().filter(pl.col("step") == "filter"), _fates(), pl.Series(["c"]))
    assert left.filter(pl.col("record_id") == "c")["end_step"].item() == "not measured"


def test_parts_and_rules_add_what_moves_to_what_is_published():
    moved = _moved().filter(pl.col("step") == "filter").join(_fates().select("record_id", "source"), on="record_id")  # fmt: skip
    counted = pl.DataFrame(
        {
            "source": ["s", "s", "t", "t"],
            "reason": [None, "too_short", None, "symbols"],
            "records": [5, 1, 4, 3],
        }
    )
    assert parts(counted, moved) == (Moved("all", 13, 9, 10, 2, 1),)
    assert parts(counted, moved, "source") == (Moved("s", 6, 5, 5, 1, 1), Moved("t", 7, 4, 5, 1, 0))
    assert rules({None: 9, "too_short": 1, "symbols": 3}, moved) == {
        "digits": (0, 1), "symbols": (3, 1), "too_long": (0, 1), "too_short": (1, 0),
    }  # fmt: skip


def test_released_parts_count_by_split_and_label():
    released = pl.DataFrame(
        {"split": ["train", "train", "test"], "label": ["x", "y", "y"], "records": [4, 4, 1]}
    )
    assert released_parts(released, _fates(), "split") == (
        Released("test", 1, 2, 1, 0),
        Released("train", 8, 6, 0, 2),
    )
    assert released_parts(released, _fates(), "label") == (
        Released("x", 4, 3, 0, 1),
        Released("y", 5, 5, 1, 1),
    )


def test_examples_are_spread_evenly_over_reasons():
    rows = pl.DataFrame({"record_id": list("abcdefg"), "step": ["filter"] * 7, "reason": ["u"] * 5 + ["v"] * 2})  # fmt: skip
    assert spread_evenly(rows, 4)["record_id"].to_list() == ["a", "b", "f", "g"]
    assert spread_evenly(rows, 5)["record_id"].to_list() == ["a", "b", "c", "f", "g"]


def test_a_shown_text_is_one_clipped_line_without_control_characters_or_addresses():
    assert shown("a\n\tb \x1b[31m\u202ec") == "a b \\u001b[31m\\u202ec"
    assert shown("x" * 300) == "x" * 199 + "…"
    assert shown("write to eve@example.com") == NOT_SHOWN


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


def test_preview_filter_tells_parts_rules_later_steps_balance_and_examples(root, capsys):
    found = told(capsys, root, "filter", "input.min_words=16")
    gone = rows_of(root, 'SELECT count(*) FROM main."filter" WHERE kept AND prompt_words < 16')[0][0]
    assert (found["total"]["gone"], found["total"]["back"]) == (gone, 0)
    assert sum(part["gone"] for part in found["sources"]) == gone
    assert sum(part["records"] for part in found["sources"]) == found["total"]["records"]
    assert found["changes"] == {"input.min_words": 16}
    assert found["steps"][0]["name"] == "filter"
    assert sum(part["now"] for part in found["balance"]) == sum(part["now"] for part in found["splits"])
    assert sum(part["share_then"] for part in found["balance"]) == pytest.approx(1.0, abs=1e-5)
    assert 0 < len(found["gone"]) <= 20 and found["back"] == []
    assert {shown["reason"] for shown in found["gone"]} == {"too_short"}
    assert found["way"] == "steps"


def test_preview_filter_of_a_looser_rule_says_what_later_steps_make_of_it(root, capsys):
    found = told(capsys, root, "filter", "filter.input.min_words=1", "automatic_replies=keep")
    assert found["total"]["back"] == 2
    assert found["later"] == [{"step": None, "reason": None, "records": 2}]
    assert found["measured"] == {"arrived": 2, "measured": 2}
    assert {(record["reason"], record["becomes"]) for record in found["back"]} == {
        ("automatic_reply", "released"), ("too_short", "released"),
    }  # fmt: skip
    assert preview("filter", ["input.min_words=1"], root / "dataset.yaml", True, limit=0) == 0
    captured = capsys.readouterr()
    unmeasured = json.loads(captured.out)
    assert unmeasured["later"] == [{"step": "not measured", "reason": None, "records": 1}]
    assert unmeasured["notes"][0].startswith("0 of 1 records that come to later steps were measured")


def test_preview_shows_no_personal_data_whatever_the_spec_keeps(root, capsys, monkeypatch):
    monkeypatch.setattr(previewing_examples, "EACH_WAY", 1000)
    found = told(capsys, root, "normalize", "languages=[fr]", "pii.action=keep")
    assert len(found["gone"]) == found["total"]["gone"] > 50
    texts = json.dumps(found["gone"])
    assert "@" not in texts and "Tessari" not in texts and "901820" not in texts
    assert "[EMAIL_ADDRESS]" in texts


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
        ("label", ["seed=3"], "preview label: cannot be previewed. Steps that can: dedup, filter, normalize, decontaminate, split."),
        ("filter", ["input.min_wrods=3"], "--set filter.input.min_wrods: unknown key 'min_wrods'. Did you mean 'min_words'?"),
        ("filter", ["input.min_words=few"], "--set filter.input.min_words: Input should be a valid integer (it is 'few')."),
        ("filter", ["input.min_words=1", "input.min_words=2"], "--set: gives one key several values."),
        ("dedup", [], "as in --set near.threshold=0.9."),
        (None, [], "preview: names neither a step nor --spec-after."),
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


@pytest.mark.parametrize(
    ("name", "changes", "step", "sets", "message"),
    [
        ("same.yaml", {}, None, [], "same.yaml: says the same as dataset.yaml."),
        ("after.yaml", {"filter": {"input": {"min_wrods": 3}}}, None, [], "after.yaml: filter.input.min_wrods: unknown key"),
        ("after.yaml", {"split": {"ratios": {"train": 1.0}}}, None, [], "after.yaml: "),
        ("after.yaml", {}, "filter", [], "--spec-after: compares all steps: filter cannot be named beside it."),
        ("after.yaml", {}, None, ["seed=3"], "--spec-after: cannot stand beside --set"),
        ("elsewhere/after.yaml", {"name": "other"}, None, [], "lies in another folder than dataset.yaml"),
    ],
)  # fmt: skip
def test_a_spec_after_that_makes_no_sense_is_refused_with_the_remedy(
    root, tmp_path, name, changes, step, sets, message
):
    folder = tmp_path if "/" in name else root
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(small._spec() | changes), encoding="utf-8")
    try:
        assert message in refused(root, step, *sets, after=path)
    finally:
        path.unlink()


def test_a_spec_after_tells_all_its_changes_together(root, capsys):
    path = root / "after.yaml"
    changes = {
        "filter": {"input": {"min_words": 5}}, "normalize": {"languages": ["fr"]}, "owners": ["team:data"],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(small._spec() | changes), encoding="utf-8")
    try:
        capsys.readouterr()
        assert preview(None, [], root / "dataset.yaml", True, path) == 0
    finally:
        path.unlink()
    found = json.loads(capsys.readouterr().out)
    PreviewOutput.model_validate(found)
    assert found["step"] == "spec"
    assert found["changes"] == {
        "filter.input.min_words": 5, "normalize.languages": ["fr"], "owners": ["team:data"],
    }  # fmt: skip
    assert {rule["step"] for rule in found["rules"]} >= {"filter", "normalize"}
    assert {record["reason"] for record in found["gone"]} >= {"language"}


def test_preview_changes_nothing_but_the_cache(root, capsys):
    def files() -> dict[Path, str]:
        """Every file with its hash, Dagster's too; the cache changes no result."""
        return {
            path: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*")
            if path.is_file() and not path.name.startswith("cache.duckdb")
        }

    before = files()
    assert any("releases" in path.parts for path in before)
    preview("filter", ["input.min_words=1"], root / "dataset.yaml", False)
    preview("split", [], root / "dataset.yaml", False)
    assert files() == before
    shown_ = capsys.readouterr().out
    assert "filter: deciding again" in shown_
    assert "filter keeps" in shown_
    assert "examples that come back:" in shown_


def test_a_label_balance_has_bars_on_a_terminal_alone():
    balance = [
        ReleasedPart(name=name, now=now, then=then, back=0, gone=0, share_now=now / 10, share_then=then / 10)
        for name, now, then in (("bug", 6, 5), ("wish", 4, 5))
    ]
    drawn = []
    for is_terminal in (True, False):
        out = Console(file=io.StringIO(), force_terminal=is_terminal, width=120, color_system=None)
        _print_balance(out, balance)
        drawn.append(out.file.getvalue())  # type: ignore[attr-defined]
    assert "█" * 20 in drawn[0] and "-10.0" in drawn[0]
    assert "█" not in drawn[1] and "60.0%" in drawn[1]


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
