"""Why a row that one release holds is not in the other.

Lives here: the order in which causes of a missing row are asked. Keep out: rows that both hold (`both`), which leaves
decide what (`leaves`), what differs (`known`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataset_pipeline.records import ERASED, IN_REVIEW, RELEASE, REVIEWED, Step
from dataset_pipeline.transforms.diff.known import Known
from dataset_pipeline.transforms.diff.leaves import (
    ANNOTATED,
    LABELS,
    TASK,
    Case,
    own_leaves,
    rank_of_source,
    read_of_source,
    text_of_source,
    upstream_leaves,
)
from dataset_pipeline.transforms.diff.words import (
    ANNOTATION,
    EVAL_SET,
    FILE,
    GATE,
    LOCK,
    REVIEW,
    TWIN,
    UNKNOWN,
    Cause,
    facts_of,
    review_words,
)

REVIEW_COLUMNS = {step: f"{step}_review" for step in (Step.FILTER, Step.DECONTAMINATE, Step.LABEL)}
PII_LIBRARIES = frozenset({"phonenumbers", "presidio-analyzer", "spacy", "tldextract"})
NEAR_LIBRARIES = frozenset({"datasketch", "numpy"})

Held = Mapping[str, tuple[str, str, str]]
"""Records of the release that holds a row: the step and the reason that dropped it there ('' where it is released) and
its twin."""


class Missing:
    """The cause of one row at a time. after_it: the release without the row is the later one."""

    def __init__(self, known: Known, after_it: bool, held: Held, relabelled: frozenset[str]):
        self._known, self._after_it = known, after_it
        self._held, self._relabelled = held, relabelled

    def cause(self, row: dict[str, Any]) -> Cause:
        detail = facts_of(row["detail"])
        if row["step"] is None:
            return self._uncollected(row, detail)
        word = row.get("collected_label")
        case = Case(
            row["source"], self._after_it, row["step"], row["reason"], detail,
            word.strip().casefold() if word else None, row["split"], row.get("split_group_key"), row.get("pii"),
        )  # fmt: skip
        return (
            self._person(row, detail)
            or self._gate(row, detail)
            or self._other_record(row, detail)
            or self._annotators(row, case)
            or self._known.spec(own_leaves(case), case)
            or self._input(row, detail, case)
            or self._known.spec(upstream_leaves(case), case)
            or self._file(row)
            or self._version(row)
            or self._nothing(row)
        )

    # --- not collected ----------------------------------------------------------------------------

    def _uncollected(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause:
        """First what takes away files that are still there: the source, the calendar, where it is looked for."""
        known, source, day, file = self._known, row["source"], str(row["day"]), detail.get("file")
        without, other = (known.found.sources[side] for side in (self._after_it, not self._after_it))
        if known.found.has_names and source not in without and source in other:
            return known.told_source(source, self._after_it)
        case = Case(source, self._after_it)
        calendar = [leaf for leaf in known.changed(("start",)) if day < str(case.without(leaf) or "")]
        if calendar:
            return known.told(calendar)
        if day in known.found.not_made[self._after_it]:
            return GATE, f"{day} {'is' if self._after_it else 'was'} not made"
        keys: tuple[str, ...] = ("path", "collected_at") if file in ("gone", "new") else ()
        keys += ("database", "storage") if file != "same" else ()
        place = known.changed(tuple(f"sources[{source}].{key}" for key in keys))
        if place:
            return known.told(place)
        if file != "same":
            words = {"new": "is new", "gone": "is gone"}
            return FILE, f"{row['uri']} {words.get(str(file), 'was changed')}"
        return (
            known.spec([(*text_of_source(source), *read_of_source(source)), TASK], case)
            or known.file_of_day(source, day)
            or known.version(Step.INGEST)
            or (UNKNOWN, "not told: its file is the same, and nothing that reads it changed")
        )

    # --- dropped ------------------------------------------------------------------------------------

    def _person(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause | None:
        """A verdict that the release without the row acted on, or that the one with it did."""
        if row["reason"] in (REVIEWED, ERASED):
            place = str(detail.get("threshold") or "a review").rsplit(":", 1)[0]
            return REVIEW, f"{detail.get('value') or row['reason']} in {place}"
        if row["step"] not in (*REVIEW_COLUMNS, RELEASE):
            return None
        said = row.get(REVIEW_COLUMNS.get(row["step"], "label_review"))
        # A keep gives no label to a record that has none.
        is_idle = row["reason"] in ("unlabelled", "unknown_label") and facts_of(said).get("verdict") == "keep"
        return review_words(said) if said and not is_idle else None

    def _gate(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause | None:
        return (GATE, f"{detail.get('step')} had not judged it") if row["reason"] == "not_made" else None

    def _other_record(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause | None:
        """A record that could not meet this one in the release that holds it: it was not there, or not so far."""
        twin, others = detail.get("twin"), detail.get("others")
        named = [twin] if twin else others if isinstance(others, list) else []
        named = [one for one in named if isinstance(one, str)]
        step = row["step"]
        if step == Step.DEDUP and any(
            self._held.get(one, ("", "", ""))[2] == row["record_id"] for one in named
        ):
            # It dropped its twin then: of two copies the rank of their sources decides which stays.
            ranks = self._known.changed(rank_of_source(row["source"])) or self._known.ranks()
            return self._known.told(ranks) if ranks else None
        early = {Step.DEDUP: (Step.INGEST, Step.DEDUP)}.get(step, tuple(Step))
        absent = [one for one in named if one not in self._held or self._held[one][0] in early]
        if not absent or (step == RELEASE and len(absent) < len(named)):
            return None
        if step == RELEASE and all(self._held.get(one, ("", "", ""))[1] == REVIEWED for one in absent):
            return REVIEW, "a verdict on a record that contradicts it came or went"
        what = "a record that contradicts it" if step == RELEASE else "the record that it repeats"
        if any(one not in self._held for one in absent):
            return TWIN, f"{what} {'came since' if self._after_it else 'is gone'}"
        return TWIN, f"{what} {'was dropped before' if self._after_it else 'is dropped now'}"

    def _annotators(self, row: dict[str, Any], case: Case) -> Cause | None:
        """At label, where their answers are its label in one of the releases, or were divided."""
        if row["step"] != Step.LABEL:
            return None
        if row.get("label_label_origin") != "annotations" and case.detail.get("rule") != "tie":
            return None
        any_word = Case(case.source, case.after_it, RELEASE)
        told = self._known.spec([ANNOTATED, LABELS], any_word)
        if told is None and self._known.may_differ("annotations"):
            return ANNOTATION, "other answers of the annotators"
        return told or self._known.version("annotations")

    def _input(self, row: dict[str, Any], detail: dict[str, Any], case: Case) -> Cause | None:
        """What has no days, where its content is known to differ."""
        step, contents = row["step"], self._known.contents
        if step == Step.DECONTAMINATE and f"eval_sets.{detail.get('set')}" in contents:
            return EVAL_SET, f"evaluation set {detail.get('set')} was changed"
        # With the column, what reviews did to the row is known, and asked before.
        is_waiting = row["reason"] == IN_REVIEW and REVIEW_COLUMNS.get(step, "") not in row
        if (is_waiting or step == RELEASE) and "reviews" in contents:
            return REVIEW, "the reviews were changed"
        is_copy = row["reason"] in ("exact", "near", "semantic", "same_after_cleaning") or step == RELEASE
        if is_copy and "annotations" in contents:
            return ANNOTATION, "the annotations were changed: of it or of the record that it meets"
        if step == RELEASE and self._relabelled.intersection(map(str, detail.get("others") or ())):
            return TWIN, "a record that contradicts it has another label"
        has_moved = row["reason"] == "near_other_split" or (
            row["reason"] == "no_evaluate_right" and case.split in (None, "train")
        )
        if has_moved and self._known.found.uses_lock and "split_lock" in contents:
            return LOCK, "splits.lock.csv was changed"
        return None

    def _file(self, row: dict[str, Any]) -> Cause | None:
        """Of a record that both know only where its source reads the file's name: the row itself is the same."""
        if row["source"] not in self._known.found.reads_names:
            return None
        return self._known.file(row["source"], str(row["day"]), row["uri"])

    def _version(self, row: dict[str, Any]) -> Cause | None:
        but = {
            "exact": NEAR_LIBRARIES,
            "no_evaluate_right": NEAR_LIBRARIES,
            "same_after_cleaning": NEAR_LIBRARIES,
            "language": PII_LIBRARIES,
            "empty_after_cleaning": PII_LIBRARIES | {"py3langid"},
        }.get(row["reason"], frozenset())
        return self._known.version(row["step"], but=but)

    def _nothing(self, row: dict[str, Any]) -> Cause:
        if row["step"] == Step.DECONTAMINATE and not self._known.found.has_contents:
            return UNKNOWN, "not told: a manifest does not say what the evaluation sets held"
        return UNKNOWN, f"not told: no setting, input or version that {row['step']} depends on differs"
