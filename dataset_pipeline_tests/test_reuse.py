"""reuse: rights, labels, balance, languages and repeats of a release's records, a few rows each.

Lives here: the measures, and the ways a release can be read. Keep out: folders and words (`test_reuse_cli`).
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.errors import Problem
from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.transforms import reuse, reuse_source
from dataset_pipeline.transforms.reuse_source import Offered, readable, split_of, strictest, ways

SPEC: dict[str, Any] = {
    "name": "other",
    "task": {"behavior": "b", "type": "classification", "labels": ["bug", "wish", "praise"]},
    "sources": [
        {"name": "own", "kind": "first_party", "path": "own.jsonl", "collected_at": "2026-03-01",
         "rights": {"license": "MIT", "holder": "We", "basis": "ours", "uses": ["train"]},
         "fields": {"input": "text", "output": "label"}}
    ],
    "label": {"aliases": {"Defect": "bug"}},
}  # fmt: skip


def spec(**changes: Any) -> Spec:
    return Spec.model_validate_json(json.dumps(SPEC | changes))


def provenance(*uses: str, licences: tuple[str, ...] = ("MIT",)) -> pl.DataFrame:
    rows = [
        (f"r{n}", "train", n, "forum", licences[n % len(licences)], f"Holder {n % 2}", one, "bug")
        for n, one in enumerate(uses)
    ]
    return pl.DataFrame(rows, schema=list(reuse.NEEDED), orient="row")


# --- rights -------------------------------------------------------------------------------


def test_reuse_allowed_asks_for_every_use_but_evaluate() -> None:
    given = provenance("train", "evaluate,train", "commercial,train", "commercial,evaluate,train")
    assert reuse.allowed(given, ["train"]).to_list() == [True] * 4
    assert reuse.allowed(given, ["train", "commercial"]).to_list() == [False, False, True, True]
    assert reuse.allowed(given, ["train", "evaluate"]).to_list() == [True] * 4
    assert reuse.train_only(given) == 2


def test_reuse_allowed_without_any_uses_is_refused() -> None:
    nothing = provenance("", "train").with_columns(uses=pl.Series(["", None], dtype=pl.String))
    assert reuse.allowed(nothing, ["train"]).to_list() == [False, False]
    assert reuse.rights(nothing, ["train"])["missing"].to_list() == [["train"], ["train"]]


def test_reuse_use_is_a_whole_word() -> None:
    assert reuse.allowed(provenance("retrain"), ["train"]).to_list() == [False]


def test_reuse_wanted_uses_always_hold_train() -> None:
    assert reuse.wanted_uses(spec(release={"uses": ["commercial"]})) == ("train", "commercial")
    assert reuse.wanted_uses(spec()) == ("train",)


def test_reuse_rights_are_counted_by_source_and_terms() -> None:
    found = reuse.rights(provenance("train", "train", "commercial,train"), ["train", "commercial"])
    assert found.select("holder", "uses", "records", "missing").rows() == [
        ("Holder 0", "commercial,train", 1, []),
        ("Holder 0", "train", 1, ["commercial"]),
        ("Holder 1", "train", 1, ["commercial"]),
    ]


def test_reuse_strictest_joins_licences_and_keeps_common_uses() -> None:
    given = provenance("train,evaluate", "commercial,train", licences=("LicenseRef-b", "LicenseRef-a"))
    assert strictest(given) == ("LicenseRef-a AND LicenseRef-b", "Holder 0; Holder 1", ("train",))


# --- labels and balance -------------------------------------------------------------------


def test_reuse_labels_are_known_by_folded_name_and_alias() -> None:
    given = pl.Series(["BUG ", "defect", "praise", "other", None], dtype=pl.String)
    assert reuse.known_labels(given, spec()).to_list() == ["bug", "bug", "praise", None, None]


def test_reuse_label_fit_names_only_labels_of_the_release() -> None:
    given = pl.Series(["bug", "defect", "private words of a record", "billing", None], dtype=pl.String)
    records = pl.DataFrame({"given_label": given, "known_label": reuse.known_labels(given, spec())})
    found = reuse.label_fit(records, spec(), ["bug", "defect", "billing"])
    assert found.both.rows() == [("bug", 1, "bug"), ("defect", 1, "bug")]
    assert found.only_release.sort("given").rows() == [(reuse.OTHER, 1), ("billing", 1)]
    assert (found.only_spec, found.unknown, found.unlabelled) == (("wish", "praise"), 2, 1)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [({"train": 0.8, "validation": 0.1, "test": 0.1}, 10), ({"train": 0.5, "validation": 0.0, "test": 0.5}, 2),
     ({"train": 0.97, "validation": 0.02, "test": 0.01}, 100)],
)  # fmt: skip
def test_reuse_enough_is_one_record_in_the_smallest_split(ratios: dict[str, float], expected: int) -> None:
    assert reuse.enough(spec(split={"ratios": ratios})) == expected


def test_reuse_balance_of_both_together_with_rare_labels() -> None:
    fitting = pl.DataFrame({"known_label": ["bug"] * 4 + ["wish"]})
    found = reuse.balance(fitting, {"bug": 6, "wish": 8}, spec())
    assert found.select("label", "sources", "added", "together", "is_rare").rows() == [
        ("bug", 6, 4, 10, False),
        ("wish", 8, 1, 9, True),
        ("praise", 0, 0, 0, True),
    ]
    assert found["share"].round(6).to_list() == [round(10 / 19, 6), round(9 / 19, 6), 0.0]


def test_reuse_balance_of_nothing_has_no_shares() -> None:
    assert (
        reuse.balance(pl.DataFrame(schema={"known_label": pl.String}), {}, spec())["share"].to_list()
        == [0.0] * 3
    )


# --- languages ----------------------------------------------------------------------------


def test_reuse_foreign_follows_the_rule_of_normalize() -> None:
    texts = [
        "The invoice was sent to us twice since yesterday and nobody knows why",
        "Die Rechnung wurde uns seit gestern leider zweimal geschickt und niemand weiß warum",
        "Rechnung doppelt",
    ]
    records = pl.DataFrame(
        {"record_id": ["a", "b", "c"],
         "messages": [[{"role": "user", "content": t}, {"role": "assistant", "content": "bug"}] for t in texts],
         "prompt_turns": [None] * 3, "rejected": [None] * 3},
        schema={"record_id": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES},
    )  # fmt: skip
    tags = pl.DataFrame({"record_id": ["a", "b", "c"], "normalize_prompt_language": ["en", "de", "de"]})
    english, both = spec(normalize={"languages": ["en"]}), spec(normalize={"languages": ["en", "de"]})
    assert reuse.foreign(tags, records, english).to_list() == ["b"]  # two words are too few to tell
    assert reuse.foreign(tags, records, both).to_list() == []
    assert reuse.foreign(tags, records, spec()).to_list() == []


# --- all together -------------------------------------------------------------------------


def test_reuse_stop_is_the_first_that_a_record_would_meet() -> None:
    fine = {"fits_rights": True, "is_record": True, "repeats": None, "twin_source": None, "is_foreign": False,
            "eval_set": None, "known_label": "bug", "given_label": "bug"}  # fmt: skip
    rows = [
        fine,
        fine | {"fits_rights": False, "is_foreign": True},
        fine | {"is_record": False, "known_label": None, "given_label": None},
        fine | {"repeats": "near", "twin_source": "own", "eval_set": "holdout"},
        fine | {"repeats": "exact"},
        fine | {"is_foreign": True, "known_label": None},
        fine | {"eval_set": "holdout"},
        fine | {"known_label": None},
        fine | {"known_label": None, "given_label": None},
    ]
    records = pl.DataFrame(
        rows, schema_overrides=dict.fromkeys(("repeats", "twin_source", "eval_set"), pl.String)
    )
    assert reuse.with_stop(records, True)["stop"].to_list() == [None, *reuse.STOPS]
    unlabelled = reuse.with_stop(records, False)["stop"].to_list()
    assert unlabelled == [None, *reuse.STOPS[:6], None, None]


# --- ways to read -------------------------------------------------------------------------


def offer(type_: str, *formats: str, system: str | None = None, **changes: Any) -> Offered:
    task = {"type": type_} | ({"system_prompt": system} if system else {})
    files = {name: (f"{name}/train.{'parquet' if name == 'parquet' else 'jsonl'}",) for name in formats}
    given = {"task": task, "sources": [{"name": "forum", "kind": "licensed"} | changes]}
    return Offered("forum", "0123456789abcdef", given, files, {}, dt.date(2026, 2, 3).isoformat(), {})


def test_reuse_ways_of_one_exchange_find_the_prompt_behind_the_system_prompt() -> None:
    plain = ways(offer("classification", "parquet"), "classification")[0]
    led = ways(offer("classification", "parquet", system="Label it."), "classification")[0]
    assert plain.fields == {"id": "record_id", "input": "messages.0.content", "output": "messages.1.content"}
    assert led.fields == {"id": "record_id", "input": "messages.1.content", "output": "messages.2.content"}


def test_reuse_ways_by_place_are_left_out_where_turns_differ() -> None:
    own = offer("classification", "parquet", "alpaca", fields={"system": "who"})
    assert [way.format for way in ways(own, "classification")] == ["alpaca"]
    turns = offer("instruction", "parquet", "chat")
    assert [way.layout for way in ways(turns, "instruction")] == ["chat", "chat"]


def test_reuse_ways_of_completion_with_a_system_prompt_are_no_classification() -> None:
    assert ways(offer("classification", "completion", system="Label it."), "classification") == []


def test_reuse_readable_takes_the_first_way_that_breaks_no_rule() -> None:
    task = {"behavior": "b", "type": "instruction"}
    turns = offer("chat", "parquet", "chat")
    default = readable(turns, provenance("train"), spec(task=task, label={}))
    assert default.way is None
    assert any("several turns" in why for why in default.why_not)
    found = readable(turns, provenance("train"), spec(task=task, label={}, release={"formats": ["chat"]}))
    assert found.way is not None
    assert (found.way.format, found.way.layout) == ("parquet", "chat")


def test_reuse_readable_tells_what_rights_object_to_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def problems(given: Spec, where: str) -> list[Problem]:
        return [Problem(f"{where}: release.uses", "names commercial.")] if len(given.sources) > 1 else []

    monkeypatch.setattr(reuse_source, "semantic_problems", problems)
    found = readable(offer("classification", "parquet"), provenance("train"), spec())
    assert found.way is not None
    assert (found.why_not, found.objections) == ((), ("release.uses names commercial.",))


def test_reuse_entry_has_a_name_that_is_free() -> None:
    taken = spec(sources=[SPEC["sources"][0] | {"name": "forum-01234567"}])
    assert (
        readable(offer("classification", "parquet"), provenance("train"), taken).entry["name"]
        == "forum-01234567-2"
    )


@pytest.mark.parametrize("name", ["test.jsonl", "test-00001-of-00004.jsonl.zst", "test.parquet"])
def test_reuse_split_of_a_data_file_is_in_its_name(name: str) -> None:
    assert split_of(f"chat/{name}") == "test"
