"""What the readers of each format ask of a row: every rule with a row that breaks it, between two that do not.

Keep out: loading and comparing (`test_preflight`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms import format_rules, preflight

LABELS = Task(behavior="Label.", type="classification", labels=("bug", "wish"))
PAIRS = Task(behavior="Prefer.", type="preference")

S, U, A = ({"role": role, "content": "x"} for role in ("system", "user", "assistant"))
HS, HU, HA = ({"from": tag, "value": "x"} for tag in ("system", "human", "gpt"))
OTHER = {"role": "assistant", "content": "y"}


def turns_of(*turns: dict[str, Any] | None) -> dict[str, Any]:
    return {"messages": list(turns)}


def tagged(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"conversations": list(turns)}


def pair(prompt: Any = (U,), chosen: Any = (A,), rejected: Any = (OTHER,)) -> dict[str, Any]:
    sides = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {name: None if turns is None else list(turns) for name, turns in sides.items()}


_EMPTY = {"role": "user", "content": ""}
_BAD: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("chat", "turns_present", turns_of(), set()),
    ("chat", "turns_present", {"messages": None}, set()),
    ("chat", "roles_known", turns_of({"role": "human", "content": "x"}, A), {"turns_in_pairs"}),
    ("chat", "roles_known", turns_of(U, {"role": None, "content": "x"}, A), {"turns_in_pairs"}),
    ("chat", "contents_filled", turns_of(_EMPTY, A), set()),
    ("chat", "contents_filled", turns_of(U, {"role": "assistant", "content": None}), set()),
    ("chat", "assistant_present", turns_of(S, U), {"ends_with_assistant", "turns_in_pairs"}),
    ("chat", "ends_with_assistant", turns_of(U, A, U), {"turns_in_pairs"}),
    ("chat", "system_first", turns_of(U, S, A), {"turns_in_pairs"}),
    ("chat", "turns_in_pairs", turns_of(U, U, A), set()),
    ("sharegpt", "turns_present", tagged(), set()),
    ("sharegpt", "roles_known", tagged(HU, {"from": "assistant", "value": "x"}, HA), {"turns_in_pairs"}),
    ("sharegpt", "contents_filled", tagged(HU, {"from": "gpt", "value": ""}), set()),
    ("sharegpt", "ends_with_gpt", tagged(HU, HA, HU), {"turns_in_pairs"}),
    ("sharegpt", "system_first", tagged(HU, HA, HS, HU, HA), {"turns_in_pairs"}),
    ("sharegpt", "turns_in_pairs", tagged(HS, HA), set()),
    ("alpaca", "instruction_filled", {"instruction": None, "input": "x", "output": "y"}, set()),
    ("alpaca", "output_filled", {"instruction": "x", "input": "", "output": ""}, set()),
    ("completion", "prompt_is_text", {"prompt": None, "completion": "x"}, set()),
    ("completion", "completion_filled", {"prompt": "x", "completion": None}, set()),
    ("preference", "prompt_present", pair(prompt=()), set()),
    ("preference", "prompt_answerable", pair(prompt=(S,)), {"turns_in_pairs"}),
    ("preference", "sides_present", pair(chosen=None), set()),
    ("preference", "roles_known", pair(rejected=({"role": "bot", "content": "y"},)), {"sides_end_with_assistant", "turns_in_pairs"}),
    ("preference", "contents_filled", pair(chosen=({"role": "assistant", "content": ""},)), set()),
    ("preference", "sides_end_with_assistant", pair(chosen=(A, U)), {"turns_in_pairs"}),
    ("preference", "sides_differ", pair(rejected=(A,)), set()),
    ("preference", "turns_in_pairs", pair(prompt=(U, A)), set()),
]  # fmt: skip
_GOOD: dict[str, dict[str, Any]] = {
    "chat": turns_of(S, U, A, U, A),
    "sharegpt": tagged(HS, HU, HA),
    "alpaca": {"instruction": "x", "input": "", "output": "y"},
    "completion": {"prompt": "", "completion": "x"},
    "preference": pair(prompt=(S, U, A, U), chosen=(A, U, OTHER)),
}


def broken(
    name: str, rows: Sequence[dict[str, Any]], has_pairs: bool = False
) -> Iterator[tuple[int, str, str]]:
    task = PAIRS if has_pairs else LABELS
    frame = pl.DataFrame(list(rows), schema={k: preflight.schema_of(name, task)[k] for k in rows[0]})
    places = pl.DataFrame({"row": range(len(rows)), "record_id": [f"r{n}" for n in range(len(rows))]})
    found = preflight.broken_rules(frame, places, format_rules.rules_of(name, has_pairs))
    return found.select("row", "rule", "asked_by").iter_rows()


@pytest.mark.parametrize(("name", "rule", "bad", "also"), _BAD)
def test_format_rules_rule_names_the_bad_row_alone(
    name: str, rule: str, bad: dict[str, Any], also: set[str]
) -> None:
    found = list(broken(name, [_GOOD[name], bad, _GOOD[name]]))
    assert {row for row, _, _ in found} == {1}
    assert {r for _, r, _ in found} == {rule} | also
    assert all(asked for _, _, asked in found)


def test_format_rules_every_one_has_a_bad_row_and_names_what_it_follows() -> None:
    tried = {(name, rule) for name, rule, _, _ in _BAD}
    rules = {
        (name, rule.name) for name in _GOOD for rule in format_rules.rules_of(name, name == "preference")
    }
    assert tried == rules
    for name in (*_GOOD, "parquet"):
        for rule in format_rules.rules_of(name, name == "preference"):
            assert rule.follows.endswith((".", ")")) and rule.asked_by


def test_format_rules_rules_are_never_null() -> None:
    nothing = {"chat": turns_of(None), "sharegpt": {"conversations": None}, "alpaca": {"instruction": None, "input": None, "output": None},
               "completion": {"prompt": None, "completion": None}, "preference": pair(None, None, None)}  # fmt: skip
    for name, row in nothing.items():
        task = PAIRS if name == "preference" else LABELS
        frame = pl.DataFrame([row], schema={k: preflight.schema_of(name, task)[k] for k in row})
        found = frame.select(
            rule.bad.alias(rule.name) for rule in format_rules.rules_of(name, name == "preference")
        )
        assert sum(found.null_count().row(0)) == 0
        assert any(found.row(0))


def test_format_rules_parquet_is_asked_what_its_readers_ask() -> None:
    row = {"record_id": "a", **turns_of(U, A, U), "label": None, "source": "s", "day": "2026-03-02"}
    assert {(rule, by) for _, rule, by in broken("parquet", [row])} == {
        ("ends_with_assistant", "axolotl"), ("turns_in_pairs", "TRL"),
    }  # fmt: skip
    assert {rule.name for rule in format_rules.rules_of("parquet", True)} >= {
        "sides_differ",
        "prompt_present",
    }
    with pytest.raises(ValueError, match="no rules for the format ini"):
        format_rules.rules_of("ini", False)
