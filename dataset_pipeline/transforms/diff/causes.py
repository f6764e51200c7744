"""Why a row of one release is not the same in another: what was changed that did it.

Lives here: from a difference (`comparing`) to the change of spec, file, review, annotation, evaluation set, library or
other record behind it. Keep out: finding differences, counting by cause (`tallies`). Where nothing
that is known tells, it is said so: a cause is never guessed from a change that could not have done it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from dataset_pipeline.records import ERASED, IN_REVIEW, RELEASE, REVIEWED, Step
from dataset_pipeline.transforms.diff.comparing import Comparison, Differences, Leaf, Side
from dataset_pipeline.transforms.diff.leaves import (
    LABELS,
    NORMALIZE,
    SPLIT,
    leaves_of_source,
    leaves_of_verdict,
    would_decide_alike,
)
from dataset_pipeline.transforms.diff.words import (
    ANNOTATION,
    EVAL_SET,
    FILE,
    GATE,
    LOCK,
    REVIEW,
    SPEC,
    TWIN,
    UNKNOWN,
    VERSION,
    Cause,
    facts_of,
    leaves_words,
    of_word,
    review_words,
)

_REVIEW_COLUMNS = {step: f"{step}_review" for step in (Step.FILTER, Step.DECONTAMINATE, Step.LABEL)}
_LIBRARIES_OF_TEXT = (Step.INGEST, Step.NORMALIZE)


def with_causes(
    found: Comparison,
    sides: tuple[Side, Side],
    differences: Differences,
    libraries: Mapping[str, Sequence[str]],
) -> Comparison:
    """`found` with two more columns in each frame: cause (one of MEANINGS) and because (words, never text of a record).

    libraries: step to the libraries that decide its result.
    """
    before, after = sides
    judge = _Judge(differences, libraries)
    return replace(
        found,
        rows_out=_told(found.rows_out, before, lambda row: judge.missing(row, after_it=True), _records(before)),
        rows_in=_told(found.rows_in, after, lambda row: judge.missing(row, after_it=False), _records(after)),
        changed=_told(found.changed, after, judge.changed, older=before),
        moved=_told(found.moved, after, judge.moved, older=before),
    )  # fmt: skip


def _told(
    rows: pl.DataFrame, holder: Side, judge: Callable[[dict[str, Any]], Cause], others: dict[str, str] | None = None,
    older: Side | None = None,
) -> pl.DataFrame:  # fmt: skip
    """others: records of the release that holds the rows, each with the step that dropped it there, '' if none did."""
    more = [n for n in (*_EXTRA, *_ORIGIN) if n in holder.provenance.columns and n not in rows.columns]
    facts = rows.join(
        holder.provenance.select("record_id", *more), on="record_id", how="left", maintain_order="left"
    )
    if older is not None:
        extra = [name for name in _EXTRA if name in older.provenance.columns]
        renamed = older.provenance.select("record_id", *(pl.col(n).alias(f"{n}_before") for n in extra))
        facts = facts.join(renamed, on="record_id", how="left", maintain_order="left")
    # A cheap look at every row; what costs is remembered by what it depends on.
    causes = [judge(row | {"holders": others}) for row in facts.iter_rows(named=True)]
    return rows.with_columns(
        pl.Series("cause", [cause for cause, _ in causes], dtype=pl.String),
        pl.Series("because", [because for _, because in causes], dtype=pl.String),
    )


_EXTRA = (
    "collected_label",
    "filter_review",
    "decontaminate_review",
    "label_review",
    "label_label_origin",
    "split_group_key",
)
_ORIGIN = ("day", "uri")


def _records(side: Side) -> dict[str, str]:
    """record_id to the step that dropped it; '' where it is released."""
    known = dict(side.dropped.select("record_id", "step").iter_rows())
    return known | dict.fromkeys(side.provenance["record_id"].to_list(), "")


class _Judge:
    """The cause of one row at a time."""

    def __init__(self, differences: Differences, libraries: Mapping[str, Sequence[str]]):
        self._found = differences
        self._libraries = libraries
        self._below: dict[tuple[str, ...], list[Leaf]] = {}
        self._files = {(i.source, i.day, i.uri): i.change for i in differences.inputs}
        self._contents = {leaf.path for leaf in differences.contents}
        self._versions = {leaf.path: leaf for leaf in differences.versions}
        self._remembered: dict[tuple[Any, ...], Cause | None] = {}

    # --- rows in and out ----------------------------------------------------------------------

    def missing(self, row: dict[str, Any], after_it: bool) -> Cause:
        """after_it: the release without the row is the later one."""
        detail = facts_of(row["detail"])
        if row["step"] is None:
            return self._uncollected(row, detail, after_it)
        return (
            self._person(row, detail)
            or self._gate(row, detail)
            or self._other_record(row, detail, after_it)
            or self._setting(row, detail, after_it)
            or self._input(row, detail)
            or self._version(row["step"])
            or self._file(row)
            or self._nothing(row)
        )

    def _uncollected(self, row: dict[str, Any], detail: dict[str, Any], after_it: bool) -> Cause:
        source, day = row["source"], str(row["day"])
        without, other = self._found.sources[after_it], self._found.sources[not after_it]
        if source not in without and source in other:
            return SPEC, f"sources[{source}] is {'gone' if after_it else 'new'}"
        if day in self._found.not_made[after_it]:
            return GATE, f"{day} {'is' if after_it else 'was'} not made"
        moved = self._changed(
            tuple(f"sources[{source}].{key}" for key in ("path", "collected_at", "database", "storage"))
        )
        if moved:
            return SPEC, leaves_words(moved)
        what = detail.get("file")
        if what != "same":
            words = {"new": "is new", "gone": "is gone", "changed": "was changed"}
            # Of a row that is in, the file that the other release lacks is new.
            return FILE, f"{row['uri']} {words.get(str(what), 'was changed')}"
        leaves = self._changed(("start", "task.type", *leaves_of_source(source)))
        if leaves:
            return SPEC, leaves_words(leaves)
        return self._version(Step.INGEST) or (
            UNKNOWN,
            "not told: its file is the same, and nothing that reads it changed",
        )

    def _person(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause | None:
        """A verdict that the release without the row acted on, or that the one with it did."""
        if row["reason"] in (REVIEWED, ERASED):
            place = str(detail.get("threshold") or "a review").rsplit(":", 1)[0]
            return REVIEW, f"{detail.get('value') or row['reason']} in {place}"
        column = {Step.FILTER: "filter_review", Step.DECONTAMINATE: "decontaminate_review"}.get(
            row["step"], "label_review"
        )
        if row["step"] in (*_REVIEW_COLUMNS, RELEASE) and row.get(column):
            return review_words(row[column])
        if row["step"] == Step.LABEL and (
            row.get("label_label_origin") == "annotations" or detail.get("rule") == "tie"
        ):
            leaves = self._changed(("label.annotations", "label.aggregate", "label.min_agreement"))
            return (SPEC, leaves_words(leaves)) if leaves else (ANNOTATION, "other answers of the annotators")
        return None

    def _gate(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause | None:
        return (GATE, f"{detail.get('step')} had not judged it") if row["reason"] == "not_made" else None

    def _other_record(self, row: dict[str, Any], detail: dict[str, Any], after_it: bool) -> Cause | None:
        """A record that could not meet this one in the release that holds it: it was not there, or not so far."""
        others = row["holders"]
        named = [detail["twin"]] if detail.get("twin") else list(detail.get("others") or ())
        if others is None or not named:
            return None
        step = row["step"]
        early = {Step.DEDUP: (Step.INGEST, Step.DEDUP)}.get(step, tuple(Step))
        absent = [one for one in named if one not in others or others[one] in early]
        if not absent or (step == RELEASE and len(absent) < len(named)):
            return None
        what = "a record that contradicts it" if step == RELEASE else "the record that it repeats"
        return TWIN, f"{what} {'came since' if after_it else 'is gone'}"

    def _setting(self, row: dict[str, Any], detail: dict[str, Any], after_it: bool) -> Cause | None:
        value = detail.get("similarity", detail.get("value"))
        value = value if isinstance(value, int | float | str) else None
        label = row.get("collected_label") if detail.get("rule") == "unknown_label" else None
        key = (
            row["step"],
            row["reason"],
            detail.get("rule"),
            detail.get("side"),
            detail.get("set"),
            row["source"],
            value,
            label,
        )
        if key not in self._remembered:
            self._remembered[key] = self._setting_of(row, detail, value, after_it)
        return self._remembered[key]

    def _setting_of(
        self, row: dict[str, Any], detail: dict[str, Any], value: Any, after_it: bool
    ) -> Cause | None:
        for prefixes in leaves_of_verdict(row["step"], row["reason"], detail, row["source"]):
            leaves = [
                leaf
                for leaf in self._changed(prefixes)
                if not would_decide_alike(leaf, value, leaf.before if after_it else leaf.after)
            ]
            if leaves:
                return SPEC, leaves_words(of_word(leaves, row.get("collected_label")))
        return None

    def _input(self, row: dict[str, Any], detail: dict[str, Any]) -> Cause | None:
        if row["step"] == Step.DECONTAMINATE:
            name = str(detail.get("set"))
            if f"eval_sets.{name}" in self._contents:
                return EVAL_SET, f"evaluation set {name} was changed"
        is_waiting = row["reason"] == IN_REVIEW or row["step"] == RELEASE
        if row["step"] in (*_REVIEW_COLUMNS, RELEASE) and is_waiting and "reviews" in self._contents:
            return REVIEW, "the reviews were changed"
        if row["step"] == Step.SPLIT and self._found.uses_lock and "split_lock" in self._contents:
            return LOCK, "splits.lock.csv was changed"
        return None

    # --- rows in both -------------------------------------------------------------------------

    def changed(self, row: dict[str, Any]) -> Cause:
        """Of a row with another label the cause of that, else of its other text."""
        if row["label_before"] != row["label_after"]:
            return self._relabelled(row)
        leaves = (
            self._changed(NORMALIZE)
            or self._changed(leaves_of_source(row["source"]))
            or self._changed(("task.type",))
        )
        if leaves:
            return SPEC, leaves_words(leaves)
        return (
            self._version(*_LIBRARIES_OF_TEXT) or self._file(row)
            or (UNKNOWN, "not told: no setting of normalize and no library of it differs")
        )  # fmt: skip

    def _relabelled(self, row: dict[str, Any]) -> Cause:
        origins = (row.get("label_label_origin_before"), row.get("label_label_origin"))
        said = (row.get("label_review_before"), row.get("label_review"))
        if "review" in origins and (origins[0] != origins[1] or said[0] != said[1]):
            return review_words(said[1] or said[0])
        if "annotations" in origins:
            leaves = self._changed(("label.annotations", "label.aggregate", "label.min_agreement"))
            return (SPEC, leaves_words(leaves)) if leaves else (ANNOTATION, "other answers of the annotators")
        for prefixes in (LABELS, leaves_of_source(row["source"])):
            leaves = of_word(self._changed(prefixes), row.get("collected_label"))
            if leaves:
                return SPEC, leaves_words(leaves)
        if {"reviews", "annotations"} & self._contents and None in origins:
            return REVIEW, "the reviews or annotations were changed"
        return self._version(Step.INGEST, Step.LABEL) or self._file(row) or (UNKNOWN, "not told: no alias and no label of the spec differs")  # fmt: skip

    def moved(self, row: dict[str, Any]) -> Cause:
        source = row["source"]
        group = self._changed((f"sources[{source}].fields.group", f"sources[{source}].layout"))
        keys = (row.get("split_group_key_before"), row.get("split_group_key"))
        if group and keys[0] != keys[1]:
            return SPEC, leaves_words(group)
        leaves = self._changed(SPLIT) or group
        if leaves:
            return SPEC, leaves_words(leaves)
        if "split_lock" in self._contents or (self._found.uses_lock and not self._found.has_contents):
            return LOCK, "splits.lock.csv assigns its group anew"
        if self._found.uses_lock:
            return TWIN, "records of other groups came or went before it"
        version = self._version(Step.SPLIT)
        return version or (UNKNOWN, "not told: no setting of split differs, and its group is the same")

    # --- what all of them ask ---------------------------------------------------------------------

    def _changed(self, prefixes: Sequence[str]) -> list[Leaf]:
        """The leaves that differ at or below one of the paths; remembered, for every row asks."""
        key = tuple(prefixes)
        if key not in self._below:
            self._below[key] = [
                leaf
                for leaf in self._found.spec
                if any(leaf.path == p or leaf.path.startswith((f"{p}.", f"{p}[")) for p in key)
            ]
        return self._below[key]

    def _version(self, *steps: str) -> Cause | None:
        """A library of one of these steps, else this package."""
        names = [name for step in steps for name in self._libraries.get(step, ())]
        for name in (*dict.fromkeys(names), "dataset_pipeline"):
            if (leaf := self._versions.get(name)) is not None:
                return VERSION, f"{name} {leaf.before or 'none'} → {leaf.after or 'none'}"
        return None

    def _file(self, row: dict[str, Any]) -> Cause | None:
        change = self._files.get((row["source"], str(row["day"]), row["uri"]))
        return (FILE, f"{row['uri']} was {change}") if change else None

    def _nothing(self, row: dict[str, Any]) -> Cause:
        if row["step"] == Step.DECONTAMINATE and not self._found.has_contents:
            return UNKNOWN, "not told: a manifest does not say what the evaluation sets held"
        return UNKNOWN, f"not told: no setting, input or version that {row['step']} depends on differs"
