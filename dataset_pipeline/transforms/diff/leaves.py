"""Which leaves of the spec decide a verdict: from step, reason and rule to paths.

Lives here: one table of prefixes, strongest first, and whether a threshold would have said the same. Keep out: which
leaves changed and everything else that can cause a difference (`causes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataset_pipeline.records import IN_REVIEW, RELEASE, Step
from dataset_pipeline.spec.reading import Reading, Shape
from dataset_pipeline.transforms.diff.comparing import Leaf

Prefixes = tuple[str, ...]

NORMALIZE: Prefixes = ("normalize.pii", "normalize")
SPLIT: Prefixes = ("split",)
LABELS: Prefixes = ("label.aliases", "task.labels")
_NEAR: Prefixes = ("dedup.near",)
_RANKS = ("rank", "kind")
_SOURCE_KEYS = (*Shape.model_fields, *Reading.model_fields, "database", "collected_at")

_FILTER_RULES: dict[str, Prefixes] = {
    "max_tokens": ("filter.max_tokens", "filter.chars_per_token"),
    "automatic_replies": ("filter.automatic_replies",),
    "max_profane_words": ("filter.profanity",),
    "max_sides_similarity": ("filter.max_sides_similarity",),
}
"""Rules that are not limits of one side."""


def leaves_of_source(source: str) -> Prefixes:
    """What decides how rows of a source become records."""
    return tuple(f"sources[{source}].{key}" for key in _SOURCE_KEYS)


def leaves_of_verdict(step: str, reason: str, detail: Mapping[str, Any], source: str) -> list[Prefixes]:
    """Groups of paths, strongest first: the rule's own, then what stands before it. The first with a change is the cause."""
    own = _OWN[step](reason, detail, source) if step in _OWN else []
    upstream = [NORMALIZE] if step in _READS_CLEAN else []
    return [*own, *upstream, leaves_of_source(source), ("task.type",)]


_READS_CLEAN = (Step.DECONTAMINATE, Step.LABEL, Step.SPLIT, RELEASE)
"""What reads cleaned texts."""


def _filter(reason: str, detail: Mapping[str, Any], _: str) -> list[Prefixes]:
    rule, side = str(detail.get("rule")), detail.get("side")
    section = "input" if side == "prompt" else "output"
    leaves = _FILTER_RULES.get(rule, (f"filter.{section}.{rule}",))
    return [leaves, ("filter.review_margin",)] if reason == IN_REVIEW or rule.endswith("_share") else [leaves]


def _dedup(reason: str, _: Mapping[str, Any], source: str) -> list[Prefixes]:
    ranks = tuple(f"sources[{source}].{key}" for key in _RANKS)
    return [*([_NEAR] if reason == "near" else []), LABELS, ranks]


def _normalize(reason: str, _: Mapping[str, Any], __: str) -> list[Prefixes]:
    return [("normalize.languages",)] if reason == "language" else [NORMALIZE]


def _decontaminate(reason: str, detail: Mapping[str, Any], _: str) -> list[Prefixes]:
    name = detail.get("set")
    item = ("task.examples",) if name == "examples" else (f"decontaminate.sets[{name}]",)
    limits = tuple(
        f"decontaminate.{key}" for key in ("ngram", "min_coverage", "min_contained_words", "suspects")
    )
    return [item, limits]


def _label(reason: str, _: Mapping[str, Any], __: str) -> list[Prefixes]:
    given = [LABELS] if reason != IN_REVIEW else []
    return [*given, ("label.annotations", "label.aggregate", "label.min_agreement"), ("reviews",)]


def _split(reason: str, _: Mapping[str, Any], source: str) -> list[Prefixes]:
    if reason == "no_evaluate_right":
        return [(f"sources[{source}].rights.uses",), (f"sources[{source}].fields.group",), SPLIT]
    return [(*SPLIT, *_NEAR), NORMALIZE]


def _release(reason: str, _: Mapping[str, Any], source: str) -> list[Prefixes]:
    return [LABELS, ("label.annotations", "label.aggregate", "reviews")] if reason == "contradiction" else []


_OWN: dict[str, Any] = {
    Step.DEDUP: _dedup, Step.FILTER: _filter, Step.NORMALIZE: _normalize, Step.DECONTAMINATE: _decontaminate,
    Step.LABEL: _label, Step.SPLIT: _split, RELEASE: _release,
}  # fmt: skip


def would_decide_alike(leaf: Leaf, value: Any, other: Any) -> bool:
    """Whether the rule of `leaf` would drop a record of this value under the other release's threshold too.

    True only where it is certain: for limits that are numbers. other: the leaf's value in the release that holds the
    record; null switches a limit off.
    """
    name = leaf.path.rsplit(".", 1)[-1]
    numbers = (
        isinstance(value, int | float) and isinstance(other, int | float) and not isinstance(other, bool)
    )
    if not numbers:
        return False
    if leaf.path == "dedup.near.threshold":
        return bool(value >= other)
    if name.startswith("min_") and leaf.path.startswith("filter."):
        return bool(value < other)
    if name.startswith("max_") and leaf.path.startswith("filter."):
        return bool(value > other)
    return False
