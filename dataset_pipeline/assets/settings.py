"""The settings of a step as JSON, and which keys of the spec differ between two of them, in words.

Lives here: params to the shape of the spec, the names of its keys, a leaf's change in words. Keep out: which leaf
reaches which step (`spec.params`), all other causes of a difference (`differences`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dataset_pipeline.records import ANNOTATIONS, PROTECTED, RELEASE, REPORT, REVIEWS, Step, sha256_text
from dataset_pipeline.spec.params import Params
from dataset_pipeline.transforms.diff.comparing import Leaf, spec_differences
from dataset_pipeline.transforms.diff.words import value_words

Settings = Mapping[str, Any]

_SHOWN_ITEMS = 3
"""Of a list that changed."""
_TYPE = "task.type"

_SECTION: dict[str, str] = {
    Step.DEDUP: "dedup",
    Step.FILTER: "filter",
    Step.NORMALIZE: "normalize",
    REPORT: "normalize",
    Step.DECONTAMINATE: "decontaminate",
    Step.LABEL: "label",
    ANNOTATIONS: "label",
    Step.SPLIT: "split",
    RELEASE: "release",
}
"""Where a leaf of a step's params stands in the spec, unless _KEYS says otherwise."""
_KEYS: dict[str, str] = {
    "task_type": _TYPE,
    "start": "start",
    "labels": "task.labels",
    "near": "dedup.near",
    "ngram of near": "dedup.near.ngram",
    "prompt": "filter.input",
    "answer": "filter.output",
    "drop_automatic_replies": "filter.automatic_replies",
    "max_profane_words": "filter.profanity.max_words",
    "profane_add": "filter.profanity.add",
    "profane_allow": "filter.profanity.allow",
    "chars_per_token": "filter.chars_per_token",
    "examples": "task.examples",
    "name": "name",
    "task": "task",
    "training": "training",
    "decisions": "decisions",
    "model_files": "normalize.pii.model_files",
    "pseudonym_key": "normalize.pii.pseudonym_key",
    "encoder_files": "dedup.semantic.encoder_files",
}
"""Leaves whose name in params is not that of the spec, or that belong to another section than the step's."""
_NAMED_LISTS = ("sources", "decontaminate.sets", "label.annotations")
"""Lists of the spec whose items are told as new or gone, and not leaf by leaf."""


def settings_text(params: Params) -> str:
    """Params as JSON with sorted keys; handwritten examples as hashes: they are texts, not settings."""
    return json.dumps(_without_texts(params.model_dump(mode="json")), sort_keys=True)


def _without_texts(dumped: dict[str, Any]) -> dict[str, Any]:
    for holder in (dumped, dumped.get("task")):
        if isinstance(holder, dict) and "examples" in holder:
            holder["examples"] = [sha256_text(e["input"], e["output"])[:12] for e in holder["examples"]]
    return dumped


def settings_words(step: str, then: Settings, now: Settings) -> list[str]:
    """Every key of the spec that differs for the step, as `filter.output.min_words 1 → 3`; its version first."""
    reasons = []
    if then.get("version") != now.get("version"):
        reasons.append(f"{step} {then.get('version')} → {now.get('version')}")
    before, after = spec_shape(step, then), spec_shape(step, now)
    items = [_items(before), _items(after)]
    only = dict.fromkeys(items[0] - items[1], "is gone") | dict.fromkeys(items[1] - items[0], "is new")
    reasons += [f"{name} {what}" for name, what in sorted(only.items())]
    for leaf in spec_differences(before, after):
        if not any(leaf.path.startswith(f"{name}.") for name in only):
            reasons.append(_leaf_words(leaf))
    return list(dict.fromkeys(reasons))


def _items(shaped: Settings) -> set[str]:
    found = set()
    for place in _NAMED_LISTS:
        section: Any = shaped
        for key in place.split("."):
            section = section.get(key, {}) if isinstance(section, Mapping) else {}
        found |= {f"{place}[{item['name']}]" for item in section or ()}
    return found


# --- the shape of the spec ----------------------------------------------------------------


def spec_shape(step: str, settings: Settings) -> dict[str, Any]:
    """Settings of a step under the keys of the spec."""
    shaped: dict[str, Any] = {}

    def put(path: str, value: Any) -> None:
        *sections, last = path.split(".")
        at = shaped
        for section in sections:
            at = at.setdefault(section, {})
        # Where two leaves of params are of one key (`near.ngram`, and what it is for the task) the effective one is told.
        at[last] = at[last] | value if isinstance(at.get(last), dict) and isinstance(value, dict) else value

    for name, value in settings.items():
        if name == "gates":
            put(f"gates.{step}", value)
        elif name == "label_names":
            _put_labels(put, value, "labels" in settings)
        elif name == "sources":
            put("sources", [_source(source) for source in value])
        elif name == "paths" and step == REVIEWS:
            put("reviews", value)
        elif name == "sets" and step == ANNOTATIONS:
            put("label.annotations", [{"name": one["path"], **one} for one in value])
        elif name == "sets" and step == PROTECTED:
            put("decontaminate.sets", value)
        elif name == "drop_automatic_replies":
            put(_KEYS[name], "drop" if value else "keep")
        elif name not in ("version", "answers_are_labels", "has_pairs"):
            key = _KEYS["ngram of near"] if name == "ngram" and "near" in settings else _KEYS.get(name)
            section = _SECTION.get(step)
            put(key or (f"{section}.{name}" if section else name), value)
    if "task_type" not in settings and "task" not in settings and "answers_are_labels" in settings:
        is_pair = settings.get("has_pairs", False)
        put(_TYPE, "classification" if settings["answers_are_labels"] else "preference" if is_pair else None)
    return shaped


def _put_labels(put: Any, names: Mapping[str, str], has_labels: bool) -> None:
    """Names and aliases of labels, which params hold in one mapping."""
    own = sorted({label for word, label in names.items() if word == label.strip().casefold()})
    if not has_labels:
        put("task.labels", own)
    put("label.aliases", {w: label for w, label in names.items() if w != label.strip().casefold()})


def _source(source: Settings) -> dict[str, Any]:
    """A source as the spec says it: how it is read and what its columns mean stand beside its name."""
    flat = {key: value for key, value in source.items() if key not in ("reading", "shape")}
    return flat | dict(source.get("reading") or {}) | dict(source.get("shape") or {})


# --- words --------------------------------------------------------------------------------


def _leaf_words(leaf: Leaf) -> str:
    before, after = leaf.before, leaf.after
    if leaf.path == _TYPE and None in (before, after):
        return f"{_TYPE} changed"
    if isinstance(before, list) or isinstance(after, list):
        return _list_words(leaf.path, _plain(before), _plain(after))
    return f"{leaf.path} {value_words(before)} → {value_words(after)}"


def _plain(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [] if value is None else [value]
    return [value_words(item) for item in items]


def _list_words(path: str, before: list[str], after: list[str]) -> str:
    """What came and went of a list; of handwritten examples their number alone."""
    if path.split(".")[-2:-1] == ["fields"] or path.endswith(("ratios", "validation", "test")):
        return f"{path} {', '.join(before) or 'none'} → {', '.join(after) or 'none'}"
    added, removed = Counter(after) - Counter(before), Counter(before) - Counter(after)
    parts = [
        f"{_named(list(items.elements()), path)} {what}"
        for items, what in ((added, "added"), (removed, "removed"))
        if items
    ]
    return f"{path}: {', '.join(parts)}" if parts else f"{path}: in another order"


def _named(items: list[str], path: str) -> str:
    is_text = path.endswith("task.examples")
    return str(len(items)) if is_text or len(items) > _SHOWN_ITEMS else " and ".join(items)
