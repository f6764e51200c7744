"""Which leaves of the spec decide a verdict, a text or a split: from step, reason and measurements to paths.

Lives here: the tables of paths, strongest first, and whether a changed leaf could have done it to this very row. Keep
out: which leaves changed (`known`), all other causes (`missing`, `both`).

A record that both releases know was read alike: its id is a hash over the row as collected. So neither a file nor how
its bytes are read changes a verdict about it; which columns mean what does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataset_pipeline.records import IN_REVIEW, RELEASE, Split, Step
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.transforms.diff.comparing import Leaf

Prefixes = tuple[str, ...]

PII: Prefixes = ("normalize.pii",)
SPLIT: Prefixes = ("split",)
LABELS: Prefixes = ("label.aliases", "task.labels")
ANNOTATED: Prefixes = ("label.annotations", "label.aggregate", "label.min_agreement")
TASK: Prefixes = ("task.type",)
_NEAR: Prefixes = ("dedup.near",)
_TEXT_KEYS = (
    *(f"fields.{name}" for name in ("input", "output", "system", "messages", "chosen", "rejected")),
    "layout", "explode", "replies",
)  # fmt: skip
_SET_KEYS = (*_TEXT_KEYS, *Reading.model_fields, "path")

_FILTER_RULES: dict[str, Prefixes] = {
    "max_tokens": ("filter.max_tokens", "filter.chars_per_token"),
    "automatic_replies": ("filter.automatic_replies",),
    "max_profane_words": ("filter.profanity",),
    "max_sides_similarity": ("filter.max_sides_similarity",),
}
"""Rules that are not limits of one side."""


def read_of_source(source: str) -> Prefixes:
    """How bytes become rows: decides whether a record is there at all."""
    return tuple(f"sources[{source}].{key}" for key in Reading.model_fields)


def text_of_source(source: str) -> Prefixes:
    """Which columns are the text and the label of a record."""
    return tuple(f"sources[{source}].{key}" for key in _TEXT_KEYS)


def names_of_source(source: str) -> Prefixes:
    return (f"sources[{source}].fields.person_names",)


def group_of_source(source: str) -> Prefixes:
    return (f"sources[{source}].fields.group",)


def rank_of_source(source: str) -> Prefixes:
    # A kind decides by its rank alone, which a whole spec always has.
    return (f"sources[{source}].rank",)


@dataclass(frozen=True)
class Case:
    """What is known of one row that one release holds and the other has dropped, or that differs in both.

    after_it: the release without the row is the later one. step, reason, detail: of that release. word: the label as
    collected, folded; None where unknown. split, group, pii: of the release that holds it; pii counts by entity, None
    where it does not say.
    """

    source: str
    after_it: bool = True
    step: str = ""
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    word: str | None = None
    split: str | None = None
    group: str | None = None
    pii: Mapping[str, int] | None = None
    pii_differs: frozenset[str] | None = None
    """Of a row in both releases: what was not found as often in both."""

    def holder(self, leaf: Leaf) -> Any:
        """The leaf's value in the release that holds the row."""
        return leaf.before if self.after_it else leaf.after

    def without(self, leaf: Leaf) -> Any:
        """Its value in the release that dropped the row."""
        return leaf.after if self.after_it else leaf.before


# --- paths ----------------------------------------------------------------------------------


def own_leaves(case: Case) -> list[Prefixes]:
    """What the row's own rule reads, strongest first; the first group with a change that could have done it is the cause."""
    return _OWN[case.step](case) if case.step in _OWN else []


def upstream_leaves(case: Case) -> list[Prefixes]:
    """What decides the text, the label or the group that the rule looked at: asked after everything of its own."""
    text = [text_of_source(case.source), TASK]
    cleaned = [(*PII, *names_of_source(case.source))]
    if case.step == Step.SPLIT:
        group = [group_of_source(case.source)] if case.reason != "same_after_cleaning" else []
        if case.reason == "no_evaluate_right":
            # A prompt is the group of a record that has none.
            return [] if _held_out(case) else [*group, *(text if not _has_group(case) else [TASK])]
        return [*cleaned, *group, *text]
    if case.step in (Step.DECONTAMINATE, RELEASE):
        return [*cleaned, *text]
    return text


def _filter(case: Case) -> list[Prefixes]:
    """Nothing of review_margin: what misses a limit by little is not released either, but by a verdict of a person."""
    rule = str(case.detail.get("rule"))
    section = "input" if case.detail.get("side") == "prompt" else "output"
    return [_FILTER_RULES.get(rule, (f"filter.{section}.{rule}",))]


def _dedup(case: Case) -> list[Prefixes]:
    kinds: dict[str, list[Prefixes]] = {"near": [_NEAR], "semantic": [("dedup.semantic",)]}
    return [*kinds.get(case.reason, []), LABELS, ANNOTATED]


def _normalize(case: Case) -> list[Prefixes]:
    """A language is told before placeholders, and a placeholder is something: only equal sides depend on them."""
    if case.reason == "language":
        return [("normalize.languages",)]
    return [(*PII, *names_of_source(case.source))] if case.reason == "sides_alike" else []


def _decontaminate(case: Case) -> list[Prefixes]:
    name = str(case.detail.get("set"))
    item = (
        ("task.examples",)
        if name == "examples"
        else tuple(f"decontaminate.sets[{name}].{key}" for key in _SET_KEYS)
    )
    if case.detail.get("rule") == "paraphrase":
        limits: Prefixes = ("ngram", "min_coverage", "paraphrase", "suspects")
    elif case.reason in (IN_REVIEW, "suspect"):
        limits = ("ngram", "min_contained_words", "suspects")
    elif case.detail.get("threshold") == 1.0:
        limits = ()  # an equal text needs none
    else:
        limits = ("ngram", "min_coverage")
    return [item, tuple(f"decontaminate.{key}" for key in limits)]


def _label(case: Case) -> list[Prefixes]:
    """Of the source's own word; what annotators answered is asked where they had a say (`missing`)."""
    return [LABELS] if case.reason == "unknown_label" else []


def _split(case: Case) -> list[Prefixes]:
    if case.reason == "no_evaluate_right":
        return [(f"sources[{case.source}].rights.uses",)] if _held_out(case) else [SPLIT]
    return [LABELS, ANNOTATED] if case.reason == "same_after_cleaning" else [_NEAR, SPLIT]


def _release(case: Case) -> list[Prefixes]:
    return [LABELS, (*ANNOTATED, "reviews")] if case.reason == "contradiction" else []


def _held_out(case: Case) -> bool:
    """Where it stands in validation or test it may evaluate: only its right can have gone. In train it must have moved."""
    return case.split not in (None, Split.TRAIN.value)


def _has_group(case: Case) -> bool:
    return case.group is not None and case.group.startswith("group:")


_OWN: dict[str, Any] = {
    Step.DEDUP: _dedup, Step.FILTER: _filter, Step.NORMALIZE: _normalize, Step.DECONTAMINATE: _decontaminate,
    Step.LABEL: _label, Step.SPLIT: _split, RELEASE: _release,
}  # fmt: skip


# --- whether it could have done it ------------------------------------------------------------


def could_have(leaf: Leaf, case: Case) -> bool:
    """False where the leaf's two values say the same of this row. True is no proof: it could have done it."""
    path, name = leaf.path, leaf.path.rsplit(".", 1)[-1]
    holder, without = case.holder(leaf), case.without(leaf)
    if path.startswith("label.aliases.") and _is_of_one_word(case):
        return case.word is None or path.removeprefix("label.aliases.") == case.word
    if path.startswith("task.labels") and _is_of_one_word(case):
        return case.word is None or case.word in label_names(leaf)
    if path.startswith("task.examples["):
        number = str(case.detail.get("item")).removeprefix("example-")
        return not number.isdigit() or path.startswith(f"task.examples[{int(number) - 1}]")
    if path.startswith("normalize.pii.") or path.endswith(".fields.person_names"):
        return _finds_otherwise(name, holder, without, case)
    if path == "normalize.languages":
        return not (holder and without and set(_words(holder)) <= set(_words(without)))
    if path == "decontaminate.suspects":
        return bool(holder == "keep")
    if path.endswith(".rights.uses"):
        return "evaluate" in _words(holder) and "evaluate" not in _words(without)
    value = case.detail.get("similarity", case.detail.get("value"))
    return not would_decide_alike(leaf, value, holder)


def _is_of_one_word(case: Case) -> bool:
    """Whether the row's own label is all that counts: beside another record, the label of that one may have changed."""
    return case.step in ("", Step.LABEL)


def label_names(leaf: Leaf) -> set[str]:
    """The labels, folded, that stand on one side only, in a leaf of task.labels: a list of names, or one name's
    definition."""
    if leaf.path == "task.labels":
        return _folded(leaf.before) ^ _folded(leaf.after)
    is_other = (leaf.before is None) != (leaf.after is None)
    return _folded([leaf.path.removeprefix("task.labels.")]) if is_other else set()


def _folded(names: Any) -> set[str]:
    return {name.strip().casefold() for name in _words(names)}


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _finds_otherwise(name: str, holder: Any, without: Any, case: Case) -> bool:
    """Whether a setting of personal data can matter for a text in which so much was counted."""
    found = case.pii
    if found is None:
        return True
    if name == "action":
        return bool(found)
    lost = set(_words(holder)) - set(_words(without))
    gained = set(_words(without)) - set(_words(holder))
    if name == "entities" and case.pii_differs is not None:
        return bool(case.pii_differs & (lost | gained))
    # What the other release found is told of a row in both only.
    is_new = bool(gained) and case.pii_differs is None
    if name == "entities":
        return is_new or any(found.get(entity) for entity in lost)
    return is_new or bool(found.get("PERSON" if name == "person_names" else "PHONE_NUMBER"))


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
    if leaf.path in (
        "dedup.near.threshold",
        "decontaminate.min_coverage",
        "decontaminate.min_contained_words",
        "decontaminate.paraphrase.threshold",
        "dedup.semantic.threshold",
    ):
        return bool(value >= other)
    if name.startswith("min_") and leaf.path.startswith("filter."):
        return bool(value < other)
    if name.startswith("max_") and leaf.path.startswith("filter."):
        return bool(value > other)
    return False
