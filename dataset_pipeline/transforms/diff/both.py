"""Why a row that both releases hold has another text, another label or another split.

Lives here: the order in which these causes are asked, and what the two measurements of a row exclude. Keep out: rows
that one release lacks (`missing`), which leaves decide what (`leaves`), what differs (`known`).
"""

from __future__ import annotations

from typing import Any

from dataset_pipeline.records import Step
from dataset_pipeline.transforms.diff.known import Known
from dataset_pipeline.transforms.diff.leaves import (
    ANNOTATED,
    LABELS,
    PII,
    SPLIT,
    TASK,
    Case,
    group_of_source,
    names_of_source,
    read_of_source,
    text_of_source,
)
from dataset_pipeline.transforms.diff.missing import NEAR_LIBRARIES, PII_LIBRARIES
from dataset_pipeline.transforms.diff.words import (
    ANNOTATION,
    LOCK,
    REVIEW,
    TWIN,
    UNKNOWN,
    Cause,
    review_words,
)


class Both:
    """The cause of one row at a time. A fact of the earlier release has `_before` behind its name."""

    def __init__(self, known: Known, has_others: bool):
        """has_others: rows came or went between the two releases."""
        self._known, self._has_others = known, has_others

    def changed(self, row: dict[str, Any]) -> Cause:
        """Of a row with another label the cause of that, else of its other text."""
        return self._relabelled(row) if row["label_before"] != row["label_after"] else self._rewritten(row)

    # --- texts ------------------------------------------------------------------------------------

    def _rewritten(self, row: dict[str, Any]) -> Cause:
        """A text differs as collected, or in what was cleaned and replaced. What is equal on both sides excludes."""
        known, source = self._known, row["source"]
        collected = _differs(row, "content_sha")  # seals text, label, group, names, rank and uses
        found = _differs(row, "pii")
        before, after = row.get("pii_before"), row.get("pii")
        case = Case(source, pii=_either(before, after), pii_differs=_differing(before, after))
        if collected is False:
            groups = [PII, TASK]
        else:
            groups = [(*PII, *names_of_source(source)), text_of_source(source), TASK]
        told = known.spec(groups, case)
        if told is None and collected is not False:
            told = known.spec([read_of_source(source)], case) or known.file(
                source, str(row["day"]), row["uri"]
            )
        if told is not None:
            return told
        steps = (Step.NORMALIZE,) if collected is False else (Step.INGEST, Step.NORMALIZE)
        replacing = PII_LIBRARIES if found is False else frozenset()
        first = PII_LIBRARIES if found else {"ftfy"} if _differs(row, "changes") else ()
        return known.version(*steps, but={"py3langid", *replacing}, first=first) or (
            UNKNOWN, "not told: no setting of normalize and no library of it differs",
        )  # fmt: skip

    # --- labels -----------------------------------------------------------------------------------

    def _relabelled(self, row: dict[str, Any]) -> Cause:
        known, source = self._known, row["source"]
        origins = (row.get("label_label_origin_before"), row.get("label_label_origin"))
        said = (row.get("label_review_before"), row.get("label_review"))
        if "review" in origins and (origins[0] != origins[1] or said[0] != said[1]):
            return review_words(said[1] or said[0])
        word = row.get("collected_label")
        own = Case(source, word=word.strip().casefold() if word else None)
        if "annotations" in origins:
            told = known.spec([ANNOTATED, LABELS], Case(source))
            if told is None and (known.may_differ("annotations") or origins[0] != origins[1]):
                return ANNOTATION, "other answers of the annotators"
            return told or known.version("annotations", Step.LABEL) or _no_label()
        collected = _differs(row, "collected_label")
        text = [] if collected is False else [text_of_source(source), TASK]
        told = known.spec([LABELS, *text], own)
        if told is None and None in origins and {"reviews", "annotations"} & known.contents:
            names = [name for name in ("reviews", "annotations") if name in known.contents]
            return (REVIEW if "reviews" in names else ANNOTATION), f"the {' or '.join(names)} were changed"
        if told is None and collected is not False:
            told = known.spec([read_of_source(source)], own) or known.file(
                source, str(row["day"]), row["uri"]
            )
        steps = (Step.LABEL,) if collected is False else (Step.INGEST, Step.LABEL)
        return told or known.version(*steps) or _no_label()

    # --- splits -----------------------------------------------------------------------------------

    def moved(self, row: dict[str, Any]) -> Cause:
        """Of another group, or the same group assigned otherwise: a group that the lock holds stays whatever is set."""
        known, found, source = self._known, self._known.found, row["source"]
        case = Case(source)
        regrouped = _differs(row, "split_group_key")
        if regrouped is not False:
            told = known.spec([group_of_source(source), text_of_source(source), TASK], case)
            if told is None and regrouped:
                told = known.file(source, str(row["day"]), row["uri"])
            if told is not None:
                return told
        strategy = known.changed(("split.strategy",))
        if strategy:
            return known.told(strategy)
        if found.uses_lock and "split_lock" in known.contents:
            return LOCK, "splits.lock.csv assigns its group anew"
        told = known.spec([SPLIT], case)
        if told is not None:
            return told
        if found.uses_lock and not found.has_contents:
            return LOCK, "splits.lock.csv assigns its group anew"
        if found.uses_lock and self._has_others:
            return TWIN, "records of other groups came or went before it"
        return known.version(Step.SPLIT, but=NEAR_LIBRARIES) or (
            UNKNOWN, "not told: no setting of split differs, and its group is the same",
        )  # fmt: skip


def _differs(row: dict[str, Any], name: str) -> bool | None:
    """Whether a fact of the row differs between the releases; None where one of them does not say."""
    was, now = row.get(f"{name}_before"), row.get(name)
    return None if was is None or now is None else bool(was != now)


def _either(one: Any, other: Any) -> dict[str, int] | None:
    """Counts by name, of the side with more; None where one of them does not say."""
    if one is None or other is None:
        return None
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}


def _differing(one: Any, other: Any) -> frozenset[str] | None:
    if one is None or other is None:
        return None
    return frozenset(name for name in {*one, *other} if one.get(name, 0) != other.get(name, 0))


def _no_label() -> Cause:
    return UNKNOWN, "not told: no alias and no label of the spec differs"
