"""The engine of the gate: what fails, what only warns, and that nothing of a record leaves it."""

from __future__ import annotations

import gc
import json
import math
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from dataset_pipeline.assets import engine
from dataset_pipeline.expectations.gate import (
    Expectation,
    Judgement,
    _pandas_view,
    adjusted,
    judge,
    observed_json,
)
from dataset_pipeline.spec.models import Gate

MARKER = "Kranichfeder"
"""A word that stands in the texts of the frames and must stand nowhere else."""

UNIQUE = Expectation("ids_unique", "Two rows carry one id.", "unique", "rows", ("record_id",))
PRESENT = Expectation("keys_present", "A key is missing.", "not_null", "rows", ("record_id", "day"))
WORDS = Expectation("words_allowed", "A word is foreign.", "in_set", "rows", ("word",), values=("yes", "no"))
SHARE = Expectation(
    "share_in_range", "A share is off.", "between", "rows", ("share",), minimum=0.0, maximum=1.0
)
LOST = Expectation("none_lost", "Records vanished.", "between", "gauges", ("lost",), minimum=0, maximum=0)
RATE = Expectation(
    "rate", "Too many are dropped.", "between", "gauges", ("rate",), maximum=0.5, min_sample=50
)
SUITE = (UNIQUE, PRESENT, WORDS, SHARE, LOST, RATE)


def rows(count: int = 3, **columns: list) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"record_id": [f"r{n:02}" for n in range(count)], "day": ["2026-11-01"] * count, "word": ["yes"] * count,
         "share": [0.5] * count, "text": [MARKER] * count}
    )  # fmt: skip
    return frame.with_columns(pl.Series(name, values, frame.schema[name]) for name, values in columns.items())


def gauges(**columns: list) -> pl.DataFrame:
    """Two days, 100 and 200 records."""
    frame = pl.DataFrame(
        {"day": ["2026-11-01", "2026-11-02"], "n": [100, 200], "lost": [0, 0], "rate": [0.1, 0.2]}
    )
    return frame.with_columns(pl.Series(name, values, strict=False) for name, values in columns.items())


def judged(
    suite: tuple[Expectation, ...] = SUITE,
    rows_: pl.DataFrame | None = None,
    gauges_: pl.DataFrame | None = None,
) -> dict[str, Judgement]:
    found = judge(suite, rows() if rows_ is None else rows_, gauges() if gauges_ is None else gauges_)
    return {j.expectation.name: j for j in found}


def failing(found: dict[str, Judgement]) -> set[str]:
    return {name for name, judgement in found.items() if not judgement.passed}


# --- what fails ---------------------------------------------------------------------------


def test_gate_good_frames_pass_every_expectation_once():
    found = judge(SUITE, rows(), gauges())
    assert [j.expectation for j in found] == list(SUITE)
    assert all(j.passed and not j.blocks for j in found)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("ids_unique", {"record_id": ["r01", "r01", "r02"]}),
        ("keys_present", {"record_id": ["r01", None, "r02"]}),
        ("keys_present", {"day": ["2026-11-01", None, "2026-11-01"]}),
        ("words_allowed", {"word": ["yes", "perhaps", "no"]}),
        ("share_in_range", {"share": [0.0, 1.01, 1.0]}),
        ("share_in_range", {"share": [0.0, math.nan, 1.0]}),
        ("share_in_range", {"share": [0.0, -math.inf, 1.0]}),
    ],
)
def test_gate_bad_row_fails_exactly_its_expectation(name, columns):
    found = judged(rows_=rows(**columns))
    assert failing(found) == {name}
    assert found[name].blocks


def test_gate_in_set_of_no_values_fails_every_word():
    empty = Expectation("no_words", "There are no words.", "in_set", "rows", ("word",))
    assert failing(judged((empty,), rows(word=["yes", None, None]))) == {"no_words"}
    assert failing(judged((empty,), rows(word=[None, None, None]))) == set()


def test_gate_bad_gauge_names_value_limit_and_day():
    found = judged(gauges_=gauges(lost=[0, 2]))
    assert failing(found) == {"none_lost"}
    assert (
        found["none_lost"].message("label")
        == "label.none_lost: 2 (limit exactly 0) on 2026-11-02. Records vanished."
    )


@pytest.mark.parametrize("name", ["lost", "rate", "n", "day"])
def test_gate_missing_gauge_column_fails_and_is_named(name):
    found = judged(gauges_=gauges().drop(name))
    expected = {"lost": {"none_lost"}, "rate": {"rate"}, "n": {"rate"}, "day": {"none_lost", "rate"}}[name]
    assert expected <= failing(found)
    assert all(found[e].blocks and found[e].observed == f"the column {name} is not there" for e in expected)


@pytest.mark.parametrize("name", ["share", "record_id"])
def test_gate_missing_row_column_fails_and_is_named(name):
    found = judged(rows_=rows().drop(name))
    culprit = found["share_in_range" if name == "share" else "ids_unique"]
    assert culprit.blocks
    assert culprit.observed == f"the column {name} is not there"


@pytest.mark.parametrize("values", [[0, None], [None, None]])
def test_gate_null_gauge_fails(values):
    found = judged(gauges_=gauges(lost=values))
    assert failing(found) == {"none_lost"}
    assert "not measured on" in found["none_lost"].observed


@pytest.mark.parametrize("rate", [None, math.nan])
def test_gate_rate_not_measured_closes_even_below_the_sample(rate):
    found = judged(gauges_=gauges(n=[10, 10], rate=[0.1, rate]))
    assert failing(found) == {"rate"}
    assert found["rate"].blocks


def test_gate_empty_gauges_fail_and_empty_rows_pass():
    found = judged(rows_=rows().clear(), gauges_=gauges().clear())
    assert failing(found) == {"none_lost", "rate"}
    assert all(
        found[name].blocks and found[name].observed == "no gauge was measured"
        for name in ("none_lost", "rate")
    )


def test_gate_engine_that_raises_fails_every_expectation_without_its_words(monkeypatch):
    import great_expectations as gx

    def broken(**_):
        raise RuntimeError(f"cannot read {MARKER}")

    monkeypatch.setattr(gx, "ExpectationSuite", broken)
    found = judged()
    assert failing(found) == {e.name for e in SUITE}
    assert all(
        j.blocks and j.observed == "the check could not be evaluated (RuntimeError)" for j in found.values()
    )


def test_gate_one_expectation_that_raises_inside_the_engine_fails_alone(monkeypatch):
    import great_expectations.expectations as gxe

    def broken(self, *_, **__):
        raise ValueError(MARKER)

    monkeypatch.setattr(gxe.ExpectColumnValuesToBeUnique, "_validate", broken)
    found = judged()
    assert failing(found) == {"ids_unique"}
    assert found["ids_unique"].blocks
    assert MARKER not in observed_json(found["ids_unique"])


def test_gate_expectation_left_out_by_the_engine_fails(monkeypatch):
    from dataset_pipeline.expectations import gate

    whole = gate._built
    monkeypatch.setattr(gate, "_built", lambda gxe, e, frame: whole(gxe, e, frame)[1:])
    found = judged()
    assert failing(found) == {e.name for e in SUITE}
    assert all(j.observed == "the check could not be evaluated" for j in found.values())


def test_gate_frames_are_let_go_of_once_they_are_judged(monkeypatch):
    from dataset_pipeline.expectations import gate

    handed = []
    whole = gate._pandas_view

    def seen(frame):
        made = whole(frame)
        handed.append(weakref.ref(made))
        return made

    monkeypatch.setattr(gate, "_pandas_view", seen)
    assert not failing(judged())
    assert failing(judged(gauges_=gauges(lost=[1, 0]))) == {"none_lost"}
    gc.collect()
    assert len(handed) == 4 and all(reference() is None for reference in handed)


def test_gate_threads_that_judge_at_the_same_time_see_their_own_frames():
    lost = [n % 2 for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: failing(judged(gauges_=gauges(lost=[n, 0]))), lost))
    assert found == [{"none_lost"} if n else set() for n in lost]


def test_gate_suite_is_judged_once_for_all_days(monkeypatch):
    import great_expectations as gx

    calls = []
    whole = gx.ExpectationSuite
    monkeypatch.setattr(gx, "ExpectationSuite", lambda **given: calls.append(given["name"]) or whole(**given))
    judged()
    assert calls == ["rows", "gauges"]


def test_gate_only_what_failed_is_asked_again_for_its_culprits(monkeypatch):
    import great_expectations as gx

    calls = []
    whole = gx.ExpectationSuite
    monkeypatch.setattr(
        gx, "ExpectationSuite", lambda **given: calls.append(len(given["expectations"])) or whole(**given)
    )
    found = judged(rows_=rows(word=["yes", "odd", "no"]))
    assert calls == [5, 1, 2]
    assert found["words_allowed"].record_ids == ("r01",)


# --- what only warns ----------------------------------------------------------------------


def test_gate_warning_fails_without_blocking():
    found = judged(
        adjusted(SUITE, {"none_lost": Gate(severity="warning", reason="known")}), gauges_=gauges(lost=[1, 0])
    )
    assert failing(found) == {"none_lost"}
    assert not found["none_lost"].blocks


def test_gate_rate_below_the_sample_warns_and_says_so():
    found = judged(gauges_=gauges(n=[49, 200], rate=[0.9, 0.2]))
    assert failing(found) == {"rate"}
    assert not found["rate"].blocks
    assert json.loads(observed_json(found["rate"]))["is_below_sample"] is True


@pytest.mark.parametrize(
    ("n", "rate"), [([50, 200], [0.9, 0.2]), ([10, 200], [0.9, 0.9]), ([None, 200], [0.9, 0.2])]
)
def test_gate_rate_of_enough_or_unknown_records_closes(n, rate):
    assert judged(gauges_=gauges(n=n, rate=rate))["rate"].blocks


@pytest.mark.parametrize(
    ("gate", "is_failed", "is_blocking"),
    [
        ({"max": 0.7}, False, False),
        ({"max": 0.55}, True, True),
        ({"severity": "warning"}, True, False),
        ({"min": 0.65, "max": 0.9}, True, True),
    ],
    ids=["relaxed", "tightened", "made a warning", "given a floor"],
)
def test_gate_override_changes_limit_and_severity(gate, is_failed, is_blocking):
    suite = adjusted(SUITE, {"rate": Gate(**gate, reason="agreed on 3 November")})
    found = judged(suite, gauges_=gauges(rate=[0.6, 0.6]))["rate"]
    assert (not found.passed, found.blocks) == (is_failed, is_blocking)


def test_gate_override_of_one_leaves_the_others_as_they_are():
    changed = adjusted(SUITE, {"rate": Gate(max=0.7, reason="agreed")})
    assert [e for e in changed if e.name != "rate"] == [e for e in SUITE if e.name != "rate"]


def test_gate_override_without_a_reason_is_refused():
    with pytest.raises(ValueError, match="reason"):
        Gate(max=0.7)


FIXED = replace(LOST, is_fixed=True, why_fixed="nothing may be lost")


@pytest.mark.parametrize("gate", [{"severity": "warning"}, {"max": 9}, {"severity": "critical", "max": 0}])
def test_gate_override_of_a_fixed_expectation_is_refused_and_changes_nothing(gate, monkeypatch):
    suite = adjusted((FIXED,), {"none_lost": Gate(**gate, reason="known")})
    assert suite == (FIXED,)
    assert judged(suite, gauges_=gauges(lost=[1, 0]))["none_lost"].blocks
    monkeypatch.setitem(engine.EXPECTATIONS, "label", (FIXED, RATE))
    assert told(label={"none_lost": gate}) == [
        "dataset.yaml: gates.label.none_lost: is fixed: nothing may be lost. Remove it, and mend what it finds."
    ]
    assert told(label={"rate": {"max": 0.9}}) == []


@pytest.mark.parametrize(
    "name", ["rights_allow_uses", "license_holds_all", "records_conserved", "every_record_accounted", "text_survives_loading", "ids_unique"]
)  # fmt: skip
def test_gate_of_the_release_that_it_stands_or_falls_with_cannot_be_turned_off(name):
    (found,) = told(release={name: {"severity": "warning"}})
    assert f"gates.release.{name}: is fixed: a release " in found and "does not happen." in found


def test_gate_of_the_release_for_uses_says_why_it_stays():
    (found,) = told(release={"rights_allow_uses": {"severity": "warning"}})
    assert "a release for a use some record does not allow does not happen" in found


def test_gate_every_fixed_expectation_is_critical_and_says_why():
    fixed = [e for suite in engine.EXPECTATIONS.values() for e in suite if e.is_fixed]
    assert fixed and all(e.severity == "critical" and e.why_fixed for e in fixed)


def told(**gates: dict[str, dict]) -> list[str]:
    """What the engine says of these gates of a spec."""
    changed = {
        step: {name: Gate(**gate, reason="known") for name, gate in named.items()}
        for step, named in gates.items()
    }
    project = SimpleNamespace(spec=SimpleNamespace(gates=changed), path=Path("dataset.yaml"))
    return [str(problem) for problem in engine.gate_problems(project)]


# --- what is said -------------------------------------------------------------------------


def test_gate_names_at_most_twenty_ids_and_the_full_number():
    found = judged(rows_=rows(50, word=["perhaps"] * 50))["words_allowed"]
    assert found.record_ids == tuple(f"r{n:02}" for n in range(20))
    assert found.observed == "50 of 50 records"
    assert found.days == ("2026-11-01",)


def test_gate_gauge_names_the_culprits_and_ids_of_failed_days_only():
    frame = gauges(lost=[2, 0]).with_columns(
        lost_culprit=pl.Series(["inbox", "reviews"]), lost_record_ids=pl.Series([["b", "a"], ["c"]])
    )
    found = judged(gauges_=frame)["none_lost"]
    assert found.culprits == ("inbox",)
    assert found.record_ids == ("a", "b")
    assert "by inbox on 2026-11-01 records a, b." in found.message("dedup")


def test_gate_row_without_id_is_counted_and_not_named():
    found = judged(rows_=rows(record_id=[None, "r01", "r02"]))["keys_present"]
    assert (found.observed, found.record_ids, found.days) == ("1 of 3 records", (), ("2026-11-01",))


def test_gate_no_text_of_a_record_in_judgements():
    # The worst case: a text has come into columns that are judged, and every value of them fails.
    texts = [f"{MARKER} {n}" for n in range(3)]
    found = judged(rows_=rows(word=texts), gauges_=gauges(lost=[1, 1], rate=[0.9, 0.9]))
    assert failing(found) == {"words_allowed", "none_lost", "rate"}
    for judgement in found.values():
        assert MARKER not in repr(judgement)
        assert MARKER not in observed_json(judgement)
        assert MARKER not in judgement.message("filter")


def test_gate_nullable_integers_stay_whole():
    # 2**53 + 1 is the first integer that a float cannot hold.
    large = 2**53 + 1
    view = _pandas_view(pl.DataFrame({"n": [large, None]}))
    assert str(view["n"].dtype) == "Int64"
    assert view["n"][0] == large
    found = judged(gauges_=gauges(lost=[large, None]))["none_lost"]
    assert found.observed == f"lost not measured on 1 days, {large}"
