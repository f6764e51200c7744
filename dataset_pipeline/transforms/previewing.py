"""What another setting would do to records that are there already: numbers, and nothing is done.

Lives here: deciding again from what is stored, counting what moves, and groups assigned another way. Keep out: reading
the warehouse (`assets.previewing`), saying it to people (`cli.previewing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from dataset_pipeline.records import DAILY_STEPS, RELEASE, Split
from dataset_pipeline.spec.models import Ratios
from dataset_pipeline.spec.params import DecontaminateParams, FilterParams, Params
from dataset_pipeline.transforms.filter import decide

MEASURING: dict[str, str] = {
    "chars_per_token": "chars_per_token",
    "profane_add": "profanity.add",
    "profane_allow": "profanity.allow",
}
"""Params of filter that change what is measured, and their keys in the spec: old measurements say nothing of them."""


# --- deciding again -----------------------------------------------------------------------


def same_but(now: Params, then: Params) -> list[str]:
    """Names of the params that differ; gates and examples decide about no record and are not looked at."""
    return [
        name
        for name in type(now).model_fields
        if name not in ("gates", "examples") and getattr(now, name) != getattr(then, name)
    ]


def measured_anew(now: FilterParams, then: FilterParams) -> list[str]:
    """Keys of the spec's filter that differ and change measurements: all has to be measured again."""
    return [key for name, key in MEASURING.items() if getattr(now, name) != getattr(then, name)]


def redecided(measured: pl.DataFrame, then: FilterParams) -> pl.DataFrame:
    """record_id, day, kept, reason of the rows that `then` decides otherwise, by record_id.

    measured: TABLES['filter'] without detail and review; kept and reason as published.
    """
    decided = decide(measured.drop("kept", "reason"), then).select("record_id", "day", "kept", "reason")
    was = measured.select("record_id", "day", was_kept="kept", was_reason="reason")
    both = decided.join(was, on=["record_id", "day"], maintain_order="left")
    differs = (pl.col("kept") != pl.col("was_kept")) | pl.col("reason").ne_missing(pl.col("was_reason"))
    return both.filter(differs).select("record_id", "day", "kept", "reason").sort("record_id")


def doubtful(now: DecontaminateParams, then: DecontaminateParams) -> pl.Expr:
    """Whether a published decontaminate row has to be judged again: what its stored match tells needs no search.

    Nothing is stronger than `equal`. Coverage is measured below the threshold too, unless a contained item or a
    paraphrased one stands in its place.
    """
    # Null where nothing, or too little, matched.
    match, share = pl.col("match").fill_null(""), pl.col("overlap_fraction")
    if now.answers_are_labels != then.answers_are_labels:
        return pl.lit(True)
    if now.ngram != then.ngram:
        return match != "equal"
    asked = pl.lit(False)
    if now.paraphrase != then.paraphrase:
        asked = asked | match.is_in(["", "paraphrase"])
    if now.suspects != then.suspects:
        asked = asked | match.is_in(["contained", "paraphrase"])
    if now.min_coverage != then.min_coverage:
        asked = (
            asked
            | match.is_in(["contained", "paraphrase"])
            | ((match == "coverage") & (share < then.min_coverage))
        )
        asked = asked | ((match == "") & (share >= then.min_coverage))
    if now.min_contained_words < then.min_contained_words:
        asked = asked | (match == "contained")
    if now.min_contained_words > then.min_contained_words:
        asked = asked | match.is_in(["", "contained", "paraphrase"])
    return asked


# --- counting a change --------------------------------------------------------------------

MOVES: dict[str, pl.DataType | type[pl.DataType]] = {
    "step": pl.String, "record_id": pl.String, "day": pl.Date, "kept_now": pl.Boolean, "reason_now": pl.String,
    "kept_then": pl.Boolean, "reason_then": pl.String,
}  # fmt: skip
"""A row for each record and step whose verdict differs; kept_… is null where the record does not reach the step."""

FATES: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String, "day": pl.Date, "source": pl.String, "label": pl.String,
    "split_now": pl.String, "split_then": pl.String, "label_now": pl.String, "label_then": pl.String,
    "released_now": pl.Boolean, "released_then": pl.Boolean,
}  # fmt: skip
"""Of every record that moves or is told otherwise: label as collected; split and label where split keeps it."""

BACK, GONE, OTHERWISE = "back", "gone", "otherwise"
"""What a record does at the first step that judges it otherwise: it is kept, is not kept, or is dropped for another reason."""

JOURNEYS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String, "day": pl.Date, "step": pl.String, "way": pl.String, "reason": pl.String,
    "end_step": pl.String, "end_reason": pl.String,
}  # fmt: skip
"""A row for each record: the first step that judges it otherwise, its way there and the reason it had (back) or gets (gone),
and what becomes of a record that comes back: the later step and reason that drop it, both null where it is released."""

NOT_MEASURED = "not measured"


def moves(step: str, now: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    """MOVES of two frames of record_id, day, kept, reason, by record_id."""
    both = now.select("record_id", "day", kept_now="kept", reason_now="reason").join(
        then.select("record_id", "day", kept_then="kept", reason_then="reason"),
        on=["record_id", "day"],
        how="full",
        coalesce=True,
    )
    differs = pl.col("kept_now").ne_missing(pl.col("kept_then")) | pl.col("reason_now").ne_missing(
        pl.col("reason_then")
    )
    return both.filter(differs).select(pl.lit(step).alias("step"), *list(MOVES)[1:]).sort("record_id")


def journeys(moved: pl.DataFrame, fates: pl.DataFrame, unmeasured: pl.Series) -> pl.DataFrame:
    """JOURNEYS of MOVES and FATES, by record_id. unmeasured: ids that the limit left out."""
    turn = pl.col("step").replace_strict({str(s): n for n, s in enumerate((*DAILY_STEPS, RELEASE))})
    ordered = moved.with_columns(turn=turn).sort("record_id", "turn")
    now, then = pl.col("kept_now").fill_null(False), pl.col("kept_then").fill_null(False)
    first = ordered.unique("record_id", keep="first", maintain_order=True).select(
        "record_id", "day", "step",
        way=pl.when(~now & then).then(pl.lit(BACK)).when(now & ~then).then(pl.lit(GONE)).otherwise(pl.lit(OTHERWISE)),
        reason=pl.when(then).then("reason_now").otherwise("reason_then"),
    )  # fmt: skip
    ends = (
        ordered.filter(pl.col("kept_then").not_())
        .unique("record_id", keep="last", maintain_order=True)
        .select("record_id", end_step="step", end_reason="reason_then")
    )
    told = first.join(ends, on="record_id", how="left", maintain_order="left").join(
        fates.select("record_id", "released_then"), on="record_id", how="left", maintain_order="left"
    )
    is_back = pl.col("way") == BACK
    is_left = pl.col("record_id").is_in(unmeasured.implode())
    return told.select(
        *list(JOURNEYS)[:5],
        end_step=pl.when(is_back & is_left & pl.col("end_step").is_null()).then(pl.lit(NOT_MEASURED)).when(is_back).then("end_step"),
        end_reason=pl.when(is_back).then("end_reason"),
    ).sort("record_id")  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """Records of one part (a source, a label, or all) that reach a step then: kept now and then, come back, and go."""

    name: str
    records: int
    kept_now: int
    kept_then: int
    back: int
    gone: int


def parts(counted: pl.DataFrame, moved: pl.DataFrame, column: str | None = None) -> tuple[Moved, ...]:
    """The records of a step by `column` (None: all as one), by name.

    counted: reason (null: kept), records (Int64), and `column`, of what is published. moved: MOVES of the step, and
    `column`. Records without a value of `column` are in no part.
    """
    key = pl.lit("all") if column is None else pl.col(column)
    kept = pl.col("reason").is_null()
    now = counted.group_by(key.alias("name")).agg(
        records=pl.col("records").sum(), kept=pl.col("records").filter(kept).sum()
    )
    was, will = pl.col("kept_now").fill_null(False), pl.col("kept_then").fill_null(False)
    change = moved.group_by(key.alias("name")).agg(
        more=pl.col("kept_then").count().cast(pl.Int64) - pl.col("kept_now").count().cast(pl.Int64),
        back=(~was & will).sum().cast(pl.Int64),
        gone=(was & ~will).sum().cast(pl.Int64),
    )
    both = now.join(change, on="name", how="full", coalesce=True).drop_nulls("name").sort("name")
    return tuple(
        Moved(name, records + more, kept, kept + back - gone, back, gone)
        for name, records, kept, more, back, gone in both.with_columns(pl.exclude("name").fill_null(0)).iter_rows()
    )  # fmt: skip


def rules(reasons: Mapping[str | None, int], moved: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Reason to the records that a step drops by it, now and then. reasons: as published, None for kept ones."""
    now = {str(reason): n for reason, n in reasons.items() if reason is not None}
    change = {name: -n for name, n in moved.drop_nulls("reason_now").group_by("reason_now").len().iter_rows()}
    for name, n in moved.drop_nulls("reason_then").group_by("reason_then").len().iter_rows():
        change[name] = change.get(name, 0) + n
    return {name: (now.get(name, 0), now.get(name, 0) + change.get(name, 0)) for name in sorted({*now, *change})}  # fmt: skip


def spread_evenly(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """At most `count` rows, as many of each (step, reason) as there are, in (step, reason, record_id) order."""
    place = pl.int_range(pl.len()).over("step", "reason")
    chosen = rows.sort("record_id").with_columns(place=place).sort("place", "step", "reason", "record_id")
    return chosen.head(count).drop("place").sort("step", "reason", "record_id", nulls_last=True)


@dataclass(frozen=True)
class Released:
    """Released records of a part, now and then; back: only then, gone: only now (of a split also by moving)."""

    name: str
    now: int
    then: int
    back: int
    gone: int


def released_parts(released: pl.DataFrame, fates: pl.DataFrame, column: str) -> tuple[Released, ...]:
    """The release by `column` (split or label), by name. released: `column`, records (Int64) of what is released now."""
    now = dict(released.drop_nulls(column).group_by(column).agg(pl.col("records").sum()).iter_rows())
    was, will = pl.col(f"{column}_now"), pl.col(f"{column}_then")
    leaves = pl.col("released_now") & (~pl.col("released_then") | was.ne_missing(will))
    comes = pl.col("released_then") & (~pl.col("released_now") | was.ne_missing(will))
    gone = dict(fates.filter(leaves).drop_nulls(was.meta.output_name()).group_by(was).len().iter_rows())
    back = dict(fates.filter(comes).drop_nulls(will.meta.output_name()).group_by(will).len().iter_rows())
    return tuple(
        Released(name, now.get(name, 0), now.get(name, 0) + back.get(name, 0) - gone.get(name, 0),
                 back.get(name, 0), gone.get(name, 0))
        for name in sorted({*now, *back})
    )  # fmt: skip


# --- split --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelShares:
    """Records of a label by split; label None: of all records."""

    label: str | None
    records: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.records.values())

    def share(self, split: str) -> float:
        return self.records[split] / self.total if self.total else 0.0


@dataclass(frozen=True)
class SplitFacts:
    """What an assignment gives. worst_…: where a share is furthest from its ratio (None without ratios).

    mean_error: the mean over splits and records of that distance. fewest_test: the label with the fewest test records.
    moved_groups, moved_records: in another split than they are published in.
    without_right: records that would be dropped, because their source gives no right to evaluate.
    """

    whole: LabelShares
    labels: tuple[LabelShares, ...]
    worst_error: float | None
    worst_label: str | None
    worst_split: str | None
    mean_error: float | None
    fewest_test: LabelShares
    moved_groups: int
    moved_records: int
    without_right: int


def split_facts(records: pl.DataFrame, splits: pl.DataFrame, ratios: Ratios | None) -> SplitFacts:
    """records: group_key, label (null without one), split (as published), may_evaluate, a row each; splits:
    assignment.SPLITS of every group."""
    rows = records.rename({"split": "published"}).join(splits, on="group_key", how="left")
    counts = rows.drop_nulls("label").group_by("label", "split").len().sort("label")
    labels = tuple(
        _shares(str(key[0]), part)
        for key, part in counts.partition_by("label", as_dict=True, maintain_order=True).items()
    )
    whole = _shares(None, rows.group_by("split").len())
    moved = rows.filter(pl.col("split") != pl.col("published"))
    judged = labels or (whole,)
    errors = [] if ratios is None else [
        (abs(part.share(split) - ratios.of(split)), part, split) for part in judged for split in Split
    ]  # fmt: skip
    worst = max(errors, key=lambda e: e[0]) if errors else None
    weight = max(sum(part.total for part in judged), 1) * len(Split)
    return SplitFacts(
        whole=whole,
        labels=labels,
        worst_error=worst[0] if worst else None,
        worst_label=worst[1].label if worst else None,
        worst_split=worst[2].value if worst else None,
        mean_error=sum(error * part.total for error, part, _ in errors) / weight if errors else None,
        fewest_test=min(judged, key=lambda part: (part.records[Split.TEST.value], part.label or "")),
        moved_groups=moved["group_key"].n_unique(),
        moved_records=moved.height,
        without_right=rows.filter((pl.col("split") != Split.TRAIN.value) & ~pl.col("may_evaluate")).height,
    )


def _shares(label: str | None, counts: pl.DataFrame) -> LabelShares:
    found = dict(counts.select("split", "len").iter_rows())
    return LabelShares(label, {split.value: found.get(split.value, 0) for split in Split})
