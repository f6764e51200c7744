"""What a change of settings would do, as an output.

Lives here: the output of `preview` for every step but split, and how it is made of a Change. Keep out: finding the change
(`assets.previewing`), counting (`transforms.previewing`), showing it (`preview_words`).
"""

from __future__ import annotations

from typing import Any, Literal, cast

import polars as pl
from pydantic import Field

from dataset_pipeline.assets.previewing import ASIDE, OTHER, Change
from dataset_pipeline.cli.outputs import Output
from dataset_pipeline.records import DAILY_STEPS, Split, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms.filter import examples_dropped
from dataset_pipeline.transforms.previewing import BACK, GONE, Moved, Released, parts, released_parts, rules

RELEASED = "released"


class Part(Output):
    """Records of a source, of a label, or all, at the first step that the change concerns."""

    name: str
    records: int = Field(description="That reach the step then.")
    kept_now: int
    kept_then: int
    back: int = Field(description="Not kept now, kept then.")
    gone: int = Field(description="Kept now, not kept then.")


class StepPart(Part):
    """All records of a step that judges some otherwise; name is the step."""


class Rule(Output):
    """Records that a step drops by a rule; `in_review`: that wait."""

    step: str
    name: str
    now: int
    then: int


class Later(Output):
    """What becomes of records that come back at a step whose settings change."""

    step: str | None = Field(
        description="The later step that drops them, or `not measured`; null: they are released."
    )
    reason: str | None
    records: int


class Beside(Output):
    """Records that another record's coming or going brings back, drops or has dropped for another reason."""

    step: str
    way: str = Field(description="back, gone or otherwise.")
    reason: str | None = Field(description="Of back: the one they had; else the one they get.")
    records: int


class Measured(Output):
    """Records that come to the steps after the change: none of these steps has seen them, or not as they are then."""

    arrived: int
    measured: int = Field(description="Of them, judged by those steps for this preview (`--limit`).")


class ReleasedPart(Output):
    """Released records of a split or a label."""

    name: str
    now: int
    then: int
    back: int = Field(description="Only then; of a split also by moving there.")
    gone: int = Field(description="Only now; of a split also by moving away.")
    share_now: float
    share_then: float


class Shown(Output):
    """A record that comes back or goes. Texts are clipped, personal data are replaced, control characters are codes."""

    record_id: str
    source: str | None
    day: str
    step: str = Field(description="The first step that judges it otherwise.")
    reason: str | None = Field(
        description="back: the one it had; gone: the one it gets. Null: it is new, or not collected any more."
    )
    becomes: str = Field(description="released, or the later step and reason that drop it, or not measured.")
    split: str | None
    label: str | None = Field(description=f"As collected; {OTHER}: none of the spec's.")
    prompt: str | None
    answer: str | None
    rejected: str | None = Field(description="Of a preference pair.")


class ChangePreview(Output):
    """What a change of settings would keep and drop. Nothing is published."""

    step: Literal["dedup", "filter", "normalize", "decontaminate", "spec"] = Field(
        description="spec: all changes of --spec-after together."
    )
    changes: dict[str, Any] = Field(description="Key (below the step, or of the spec) to its value then.")
    way: Literal["steps", "aside"] = Field(
        description="How it was told: step by step, or made in a temporary folder."
    )
    seconds: float
    total: Part
    steps: list[StepPart]
    rules: list[Rule]
    sources: list[Part]
    labels: list[Part] = Field(description=f"As collected; {OTHER}: none of the spec's.")
    later: list[Later]
    beside: list[Beside]
    measured: Measured
    texts_changed: int = Field(description="Records that are kept with another text.")
    splits: list[ReleasedPart]
    balance: list[ReleasedPart] = Field(description="Labels of released records.")
    back: list[Shown] = Field(description="Up to twenty, evenly by step and reason.")
    gone: list[Shown] = Field(description="Up to twenty, evenly by step and reason.")
    examples_dropped: int = Field(
        description="Handwritten examples that filter then drops: they close the gate."
    )
    notes: list[str]


def change_preview(step: str, changes: dict[str, Any], change: Change, after: Project) -> ChangePreview:
    """The output of a Change. step: that of --set, or `spec`."""
    moved = {str(name[0]): rows for name, rows in change.moves.partition_by("step", as_dict=True).items()}
    nothing = change.moves.clear()
    steps = [str(name) for name in DAILY_STEPS if str(name) in change.reasons]
    counts = {name: _counts(change.reasons[name]) for name in steps}
    own = moved.get(steps[0], nothing) if steps else nothing
    named = own.join(change.fates.select("record_id", "source", "label"), on="record_id", how="left")
    total = parts(change.counted, own)
    back = change.journeys.filter(pl.col("way") == BACK)
    is_own = pl.col("step").is_in(change.changed)
    params = cast(FilterParams, after.params[Step.FILTER])
    dropped = examples_dropped(params).height
    shown = change.examples
    return ChangePreview(
        step=cast(Any, step),
        changes=changes,
        way=cast(Any, change.way),
        seconds=round(change.seconds, 3),
        total=_part(total[0]) if total else _part(Moved("all", 0, 0, 0, 0, 0)),
        steps=[
            StepPart(**_part(part).model_dump() | {"name": name})
            for name in steps
            for part in parts(counts[name], moved.get(name, nothing))
        ],
        rules=[
            Rule(step=name, name=rule, now=now, then=then)
            for name in steps
            for rule, (now, then) in rules(change.reasons[name], moved.get(name, nothing)).items()
        ],
        sources=[_part(part) for part in parts(change.counted, named, "source")],
        labels=[_part(part) for part in parts(change.counted, named, "label")],
        later=[
            Later(step=end, reason=reason, records=n)
            for end, reason, n in _tally(back.filter(is_own), "end_step", "end_reason")
        ],
        beside=[
            Beside(step=at, way=way, reason=reason, records=n)
            for at, way, reason, n in _tally(change.journeys.filter(~is_own), "step", "way", "reason")
        ],
        measured=Measured(arrived=change.arrived, measured=change.arrived - len(change.unmeasured)),
        texts_changed=change.edited,
        splits=_released(released_parts(change.released, change.fates, "split")),
        balance=_released(released_parts(change.released, change.fates, "label")),
        back=[_shown(row) for row in shown.filter(pl.col("way") == BACK).iter_rows(named=True)],
        gone=[_shown(row) for row in shown.filter(pl.col("way") == GONE).iter_rows(named=True)],
        examples_dropped=dropped,
        notes=_notes(change, dropped, len(params.examples)),
    )


def _counts(reasons: dict[str | None, int]) -> pl.DataFrame:
    schema = {"reason": pl.String, "records": pl.Int64}
    return pl.DataFrame(list(reasons.items()), schema=schema, orient="row")


def _part(moved: Moved) -> Part:
    return Part(
        name=moved.name, records=moved.records, kept_now=moved.kept_now, kept_then=moved.kept_then,
        back=moved.back, gone=moved.gone,
    )  # fmt: skip


def _tally(rows: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Values of `columns` and how many rows have them; steps in their order, nulls first."""
    order = {str(step): n for n, step in enumerate(DAILY_STEPS)}
    found = list(rows.group_by(columns).len().iter_rows())
    return sorted(found, key=lambda row: (-1 if row[0] is None else order.get(row[0], 99), *map(str, row)))


def _released(found: tuple[Released, ...]) -> list[ReleasedPart]:
    now, then = sum(part.now for part in found), sum(part.then for part in found)
    return [
        ReleasedPart(
            name=part.name, now=part.now, then=part.then, back=part.back, gone=part.gone,
            share_now=round(part.now / now, 6) if now else 0.0, share_then=round(part.then / then, 6) if then else 0.0,
        )
        for part in sorted(found, key=lambda part: [*map(str, Split), part.name].index(part.name))
    ]  # fmt: skip


def _shown(row: dict[str, Any]) -> Shown:
    if row["way"] == GONE:
        becomes = "gone"
    else:
        becomes = " ".join(word for word in (row["end_step"], row["end_reason"]) if word) or RELEASED
    names = ("record_id", "source", "step", "reason", "split", "label", "prompt", "answer", "rejected")
    return Shown(**{name: row[name] for name in names}, day=str(row["day"]), becomes=becomes)


def _notes(change: Change, dropped: int, examples: int) -> list[str]:
    notes = list(change.notes)
    if change.way == ASIDE:
        notes.append(
            f"Made in a temporary folder, from a copy of what is published, in {change.seconds:.0f} s."
        )
    if not change.moves.height and not change.edited:
        notes.append("The change makes no difference.")
    left = len(change.unmeasured)
    if left:
        notes.append(
            f"{change.arrived - left} of {change.arrived} records that come to later steps were measured there: what becomes "
            "of the others, and of records near them, is not in these numbers (--limit)."
        )
    if dropped:
        notes.append(f"{dropped} of {examples} handwritten examples would be dropped: a rule too strict.")
    return notes
