"""Every leaf of the spec changes the params hash of exactly the steps that read it.

Lives here: a maximal spec, and for every leaf of the model the steps that read it. A new key of the spec without
an entry fails the test, and so does an entry whose key is gone.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import params_of

FIELDS = {
    "id": "a", "input": ["b", "c"], "output": "d", "system": "e", "messages": "f", "created_at": "g", "group": "h",
    "person_names": ["i"], "chosen": "j", "rejected": "k",
}  # fmt: skip
READING = {
    "encoding": "cp1252", "format": "csv", "records": "a", "delimiter": ";", "quotes": "none", "header": False,
    "sheet": "one", "explode": "parts", "replies": "all",
}  # fmt: skip
RIGHTS = {"license": "MIT", "holder": "Example GmbH", "basis": "terms", "uses": ["train"]}
GENERATOR = {
    "model": "m",
    "provider": "p",
    "permits_training": True,
    "terms": "t",
    "terms_reviewed": "2026-01-01",
}
LIMITS = {
    "min_words": 1, "max_words": 99, "min_alpha_share": 0.1, "max_symbol_share": 0.8, "max_digit_share": 0.8,
    "max_repetition_share": 0.8, "max_markup_share": 0.8,
}  # fmt: skip
SOURCE = {
    "name": "one", "kind": "licensed", "rank": 2, "access": "by post", "path": "one/{date}.jsonl", "layout": "alpaca",
    "fields": FIELDS, **READING, "storage": {"anon": False}, "expected_daily": True, "max_age_days": 1, "rights": RIGHTS, "generator": GENERATOR,
}  # fmt: skip
QUERIED = {key: value for key, value in SOURCE.items() if key not in ("path", "storage")} | {
    "name": "three", "database": {"url": "sqlite:///a.db", "query": "SELECT 1", "day": "made", "refresh_days": 1},
}  # fmt: skip
SINGLE = SOURCE | {"name": "two", "path": "two.csv", "collected_at": "2026-01-02"}
ANNOTATIONS = {
    "path": "a.csv", "source": "one", "encoding": "cp1252", "delimiter": ";", "annotators": ["a", "b"],
    "fields": {"item": "i", "annotator": "a", "label": "l", "confidence": "c", "notes": "n", "secondary": "s"},
}  # fmt: skip
MAXIMAL: dict[str, Any] = {
    "name": "maximal",
    "owners": ["team:data"],
    "schedule": {"cron": "0 2 * * *", "max_runtime_minutes": 720, "webhook": "https://example.com/hook"},
    "start": "2026-01-01",
    "task": {
        "behavior": "Label it.", "type": "classification", "system_prompt": "You label.",
        "labels": {"x": "the first", "y": "the second"}, "examples": [{"input": "an x", "output": "x"}],
    },
    "sources": [SOURCE, SINGLE, QUERIED],
    "dedup": {
        "near": {"threshold": 0.8, "ngram": 3, "bands": 28, "rows": 6, "seed": 1, "bucket_cap": 200},
        "semantic": {"threshold": 0.95, "encoder": "encoder", "same_numbers": True, "fit_records": 2000},
    },
    "filter": {
        "input": LIMITS, "output": LIMITS, "max_tokens": 4096, "chars_per_token": 4.0, "automatic_replies": "drop",
        "profanity": {"max_words": 1, "add": ["drat"], "allow": ["heck"]}, "review_margin": 0.1, "max_sides_similarity": 0.9,
    },
    "normalize": {"languages": ["en"], "pii": {"entities": ["PERSON"], "action": "replace", "phone_regions": ["DE"], "allow": ["Acme"], "key_variable": "A_KEY", "model": "names"}},
    "decontaminate": {
        "ngram": 13, "min_coverage": 0.5, "min_contained_words": 5, "suspects": "review",
        "paraphrase": {"threshold": 0.5, "min_words": 20},
        "sets": [{"name": "held", "path": "held.jsonl", "layout": "alpaca", "fields": FIELDS, **READING}],
    },
    "label": {"aliases": {"ex": "x"}, "annotations": [ANNOTATIONS], "min_agreement": 0.7, "aggregate": "majority"},
    "reviews": ["r.csv"],
    "split": {"ratios": {"train": 0.8, "validation": 0.1, "test": 0.1}, "strategy": "hash", "seed": 7},
    "retention": {"dropped_text_days": 30},
    "release": {"formats": ["chat"], "license": "MIT", "uses": ["train"], "compression": "none", "max_shard_mb": 500, "keep": 30},
    "training": {
        "tokenizer": "tokenizer", "chat_template": "chat.jinja", "max_length": 2048, "epochs": 1,
        "price": {"per_million_tokens": 3.0, "currency": "USD"}, "aim": "style",
    },
    "decisions": [{"what": "w", "why": "y", "who": "o", "date": "2026-01-01"}],
    "gates": {"dedup": {"drop_rate_per_rule": {"max": 0.9, "min": 0.0, "severity": "warning", "reason": "r"}}},
}  # fmt: skip

EVERY = {
    "reviews",
    "annotations",
    "report",
    "ingest",
    "dedup",
    "filter",
    "normalize",
    "protected",
    "decontaminate",
    "label",
    "split",
    "release",
}
INGEST, RELEASE, NEAR, EXAMPLES = (
    {"ingest"},
    {"release"},
    {"dedup", "split"},
    {"filter", "protected", "release"},
)
FILTER, NORMALIZE, DECONTAMINATE = {"filter"}, {"normalize"}, {"decontaminate"}
PROTECTED, SPLIT, REFUSED, ANSWERS = {"protected"}, {"split"}, set[str](), {"annotations"}
"""REFUSED: no step reads it; `load_project` refuses a spec that sets it (held in test_spec), or it says how to fetch."""

_MAPPING: dict[str, Any] = {
    "layout": "completion", "encoding": "utf-8", "fields.id": "z", "fields.input": ["c", "b"], "fields.output": "z",
    "fields.system": "z", "fields.messages": "z", "fields.created_at": "z", "fields.group": "z",
    "fields.person_names": ["z"], "fields.chosen": "z", "fields.rejected": "z",
    "format": "tsv", "records": "b", "delimiter": "|", "quotes": "standard", "header": True, "sheet": "two",
    "explode": "others", "replies": "best",
}  # fmt: skip
_LIMITS: dict[str, Any] = {
    "min_words": 2, "max_words": None, "min_alpha_share": 0.2, "max_symbol_share": 0.7, "max_digit_share": 0.7,
    "max_repetition_share": 0.7, "max_markup_share": 0.7,
}  # fmt: skip

TABLE: dict[str, tuple[Any, set[str]]] = {
    "name": ("other", RELEASE),
    "start": ("2026-01-02", INGEST),
    "task.behavior": ("Label it well.", RELEASE),
    "task.system_prompt": (None, RELEASE),
    "task.labels": (
        {"x": "the first", "y": "the second", "z": "new"},
        {"dedup", "label", "reviews", "annotations", "release"},
    ),
    "task.examples[].input": ("another x", EXAMPLES),
    "task.examples[].output": ("y", EXAMPLES),
    "sources[].name": ("four", INGEST),
    "sources[].kind": ("public_web", INGEST),
    "sources[].rank": (3, INGEST),
    "sources[].access": ("by hand", INGEST),  # shown only, but part of what ingest records of a source
    "sources[].path": ("other/{date}.jsonl", INGEST),
    "sources[].expected_daily": (False, INGEST),
    # When and for whom something is made changes nothing of what is made.
    "sources[].max_age_days": (2, REFUSED),
    "owners": (["jo@example.org"], REFUSED),
    "schedule.cron": ("30 1 * * *", REFUSED),
    "schedule.max_runtime_minutes": (60, REFUSED),
    "schedule.webhook": (None, REFUSED),
    "release.keep": (None, REFUSED),
    "sources[].rights.license": ("Apache-2.0", INGEST),
    "sources[].rights.holder": ("Another GmbH", INGEST),
    "sources[].rights.basis": ("other terms", INGEST),
    "sources[].rights.uses": (["train", "evaluate"], INGEST),
    "sources[].generator.model": ("m2", INGEST),
    "sources[].generator.provider": ("p2", INGEST),
    "sources[].generator.terms": ("t2", INGEST),
    "sources[].generator.terms_reviewed": ("2026-01-02", INGEST),
    "sources[].storage": (
        {"anon": True},
        REFUSED,
    ),  # how to get at it, not what it is: what was fetched is hashed
    **{f"sources[].{leaf}": (value, INGEST) for leaf, value in _MAPPING.items()},
    "dedup.near.threshold": (0.9, NEAR),
    "dedup.near.ngram": (4, NEAR),
    "dedup.near.bands": (20, NEAR),
    "dedup.near.rows": (5, NEAR),
    "dedup.near.seed": (2, NEAR),
    "dedup.near.bucket_cap": (100, NEAR),
    "dedup.semantic.threshold": (0.9, {"dedup"}),
    "dedup.semantic.encoder": ("other", {"dedup"}),
    "dedup.semantic.same_numbers": (False, {"dedup"}),
    "dedup.semantic.fit_records": (3000, {"dedup"}),
    **{f"filter.input.{leaf}": (value, FILTER) for leaf, value in _LIMITS.items()},
    **{f"filter.output.{leaf}": (value, FILTER) for leaf, value in _LIMITS.items()},
    "filter.max_tokens": (None, FILTER),
    "filter.chars_per_token": (3.5, FILTER | RELEASE),  # the release estimates its tokens alike
    "filter.automatic_replies": ("keep", FILTER),
    "filter.review_margin": (0.2, FILTER),
    "filter.max_sides_similarity": (0.5, FILTER),
    "filter.profanity.max_words": (0, FILTER),
    "filter.profanity.add": ([], FILTER),
    "filter.profanity.allow": ([], FILTER),
    "normalize.languages": (["en", "de"], NORMALIZE),
    "normalize.pii.entities": (["PERSON", "IBAN_CODE"], NORMALIZE),
    "normalize.pii.action": ("keep", NORMALIZE),
    "normalize.pii.phone_regions": (["US"], {"normalize", "report"}),
    "normalize.pii.allow": (["Kontora"], {"normalize", "report"}),
    "normalize.pii.key_variable": ("OTHER_KEY", {"normalize", "report"}),
    "normalize.pii.model": ("models/names", {"normalize", "report"}),
    "decontaminate.ngram": (8, DECONTAMINATE),
    "decontaminate.min_coverage": (0.6, DECONTAMINATE),
    "decontaminate.min_contained_words": (4, DECONTAMINATE),
    "decontaminate.suspects": ("drop", DECONTAMINATE),
    "decontaminate.paraphrase.threshold": (0.9, DECONTAMINATE),
    "decontaminate.paraphrase.min_words": (30, DECONTAMINATE),
    "decontaminate.sets[].name": ("kept", PROTECTED),
    "decontaminate.sets[].path": ("kept.jsonl", PROTECTED),
    **{f"decontaminate.sets[].{leaf}": (value, PROTECTED) for leaf, value in _MAPPING.items()},
    "label.aliases": ({"why": "y"}, {"dedup", "label", "reviews", "annotations"}),
    "label.annotations[].path": ("b.csv", ANSWERS),
    "label.annotations[].source": ("two", ANSWERS),
    "label.annotations[].encoding": ("utf-8", ANSWERS),
    "label.annotations[].delimiter": (None, ANSWERS),
    "label.annotations[].annotators": (["a"], ANSWERS),
    **{
        f"label.annotations[].fields.{leaf}": ("z", ANSWERS)
        for leaf in ("item", "annotator", "label", "confidence", "notes", "secondary")
    },
    "label.min_agreement": (0.6, ANSWERS),
    "label.aggregate": ("dawid_skene", ANSWERS),
    "reviews": ([], {"reviews"}),
    "retention.dropped_text_days": (None, REFUSED),  # what is kept of a dropped record changes no result
    "split.strategy": ("stratified", SPLIT),
    "split.seed": (8, SPLIT),
    "release.formats": (["parquet"], RELEASE),
    "release.license": (None, RELEASE),
    "release.uses": (["train", "commercial"], RELEASE),
    "release.compression": ("gzip", RELEASE),
    "release.max_shard_mb": (100, RELEASE),
    "training.tokenizer": ("other", RELEASE),
    "training.chat_template": (None, RELEASE),
    "training.max_length": (4096, RELEASE),
    "training.epochs": (3, RELEASE),
    "training.price.per_million_tokens": (8.0, RELEASE),
    "training.price.currency": ("EUR", RELEASE),
    "training.aim": ("format", RELEASE),
    "decisions[].what": ("w2", RELEASE),
    "decisions[].why": ("y2", RELEASE),
    "decisions[].who": (None, RELEASE),
    "decisions[].date": (None, RELEASE),
    "gates.*.*.max": (0.8, {"dedup"}),
    "gates.*.*.min": (None, {"dedup"}),
    "gates.*.*.severity": ("critical", {"dedup"}),
    "gates.*.*.reason": ("r2", {"dedup"}),
}
"""Leaf to another valid value and the steps that read it."""


def _instruction(data: dict[str, Any]) -> None:
    data["task"] |= {"type": "instruction", "labels": None}


def _query(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["sources"][2]["database"].update({key: value})


def _single_day(data: dict[str, Any]) -> None:
    data["sources"][1]["collected_at"] = "2026-01-03"


def _ratios(train: float, validation: float, test: float) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["split"]["ratios"].update(train=train, validation=validation, test=test)


def _temporal(window: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(split={"strategy": "temporal", window: ["2026-01-01", "2026-01-02"]})


def _no_generator(data: dict[str, Any]) -> None:
    del data["sources"][0]["generator"]


SPECIAL: dict[str, tuple[Callable[[dict[str, Any]], None], set[str]]] = {
    # What a query gives is hashed when it is read; how it is asked changes nothing by itself.
    "sources[].database.url": (_query("url", "sqlite:///b.db"), REFUSED),
    "sources[].database.query": (_query("query", "SELECT 2"), REFUSED),
    "sources[].database.day": (_query("day", "at"), REFUSED),
    "sources[].database.refresh_days": (_query("refresh_days", 3), REFUSED),
    "task.type": (_instruction, EVERY),  # labels go with the type
    "sources[].collected_at": (_single_day, INGEST),
    "sources[].generator.permits_training": (_no_generator, INGEST),  # no is refused: the generator goes
    "split.validation": (_temporal("validation"), SPLIT),
    "split.test": (_temporal("test"), SPLIT),
    "split.ratios.train": (_ratios(0.7, 0.2, 0.1), SPLIT),  # the sum stays 1
    "split.ratios.validation": (_ratios(0.8, 0.05, 0.15), SPLIT),
    "split.ratios.test": (_ratios(0.75, 0.1, 0.15), SPLIT),
}
"""Leaves that cannot change alone."""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every leaf of the model, `[]` for elements of a list and `*` for keys of a mapping."""
    for name, field in model.model_fields.items():
        place, inner = f"{prefix}{name}", field.annotation
        suffix, found = _inner(inner)
        if found is None:
            yield place
        else:
            yield from leaves(found, f"{place}{suffix}.")


def _inner(annotation: Any) -> tuple[str, type[BaseModel] | None]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return "", annotation if issubclass(annotation, BaseModel) else None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    wrapper = {tuple: "[]", dict: ".*"}.get(origin, "")  # type: ignore[call-overload]
    for argument in arguments:
        suffix, found = _inner(argument)
        if found is not None:
            return wrapper + suffix, found
    return "", None


def _changed(leaf: str) -> dict[str, Any]:
    data = json.loads(json.dumps(MAXIMAL))  # a deep copy that shares nothing
    if leaf in SPECIAL:
        SPECIAL[leaf][0](data)
        return data
    at: Any = data
    *path, last = leaf.replace("[]", ".0").split(".")
    for part in path:
        at = at[int(part)] if part == "0" else at[next(iter(at))] if part == "*" else at[part]
    assert last in at and at[last] != TABLE[leaf][0]
    at[last] = TABLE[leaf][0]
    return data


def _hashes(data: dict[str, Any]) -> dict[str, str]:
    spec = Spec.model_validate_json(json.dumps(data))
    return {str(step): params.hash() for step, params in params_of(spec).items()}


def _readers_of_change(data: dict[str, Any]) -> set[str]:
    before, after = _hashes(MAXIMAL), _hashes(data)
    return {step for step in before if before[step] != after[step]}


def test_leaves_table_names_every_leaf_of_the_model_and_no_other() -> None:
    assert sorted(leaves(Spec)) == sorted([*TABLE, *SPECIAL])


@pytest.mark.parametrize("leaf", sorted([*TABLE, *SPECIAL]))
def test_leaf_changed_reaches_exactly_its_steps(leaf: str) -> None:
    expected = SPECIAL[leaf][1] if leaf in SPECIAL else TABLE[leaf][1]
    assert _readers_of_change(_changed(leaf)) == expected


def test_leaf_definition_of_a_label_reaches_the_card_only() -> None:
    data = json.loads(json.dumps(MAXIMAL))  # a deep copy that shares nothing
    data["task"]["labels"]["x"] = "put in other words"
    assert _readers_of_change(data) == RELEASE


def test_leaf_of_operation_is_not_part_of_what_a_release_says_of_its_spec() -> None:
    plain = {key: value for key, value in MAXIMAL.items() if key not in ("owners", "schedule")}
    said = [Spec.model_validate_json(json.dumps(data)).as_released() for data in (MAXIMAL, plain)]
    assert said[0] == said[1]
    assert "keep" not in said[0]["release"] and "max_age_days" not in said[0]["sources"][0]


def test_leaf_order_of_sources_reaches_no_step() -> None:
    assert _readers_of_change(MAXIMAL | {"sources": [SINGLE, QUERIED, SOURCE]}) == set()


def test_leaf_default_written_out_reaches_no_step() -> None:
    """A key that is given its own default says nothing new."""
    bare = {key: MAXIMAL[key] for key in ("name", "task", "sources")}
    spoken = Spec.model_validate_json(json.dumps(bare)).model_dump(mode="json", exclude={"filter"})
    assert _hashes(bare) == _hashes(spoken)
