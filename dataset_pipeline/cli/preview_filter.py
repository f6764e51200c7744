"""`preview filter`: which records other rules would keep and drop.

Lives here: the output, how it is made and shown. Keep out: counting (`transforms.previewing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import polars as pl
from pydantic import Field
from rich.console import Console

from dataset_pipeline.cli.outputs import Output
from dataset_pipeline.cli.published import MAX_LABELS, print_rest, print_table, query, run_first
from dataset_pipeline.cli.setting import changes
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import TABLES, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import FilterParams, label_names
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms.filter import examples_dropped
from dataset_pipeline.transforms.previewing import Moved, filter_change, measured_anew

OTHER = "(other)"
"""Stands for every label as collected that is none of the spec's: what stands there may be text of a record."""


class Part(Output):
    """Records of a source, of a label, or all."""

    name: str
    records: int
    kept_now: int
    kept_then: int
    back: int = Field(description="Dropped now, kept then.")
    gone: int = Field(description="Kept now, dropped then.")


class Rule(Output):
    """Records that a rule drops; `in_review`: that wait."""

    name: str
    now: int
    then: int


class FilterPreview(Output):
    """What a change of filter would keep and drop."""

    step: Literal["filter"]
    changes: dict[str, Any] = Field(description="Key below filter to its value.")
    total: Part
    rules: list[Rule]
    sources: list[Part]
    labels: list[Part] = Field(description=f"As collected; {OTHER}: none of the spec's.")
    examples_dropped: int = Field(
        description="Handwritten examples that the rules then drop: they close the gate."
    )
    notes: list[str]


def preview_filter(project: Project, sets: Sequence[str]) -> FilterPreview:
    found = changes(project, Step.FILTER, sets)
    if not found:
        remedy = "Say what to change, as in --set input.min_words=3."
        raise SpecError([Problem("preview filter", "there is nothing to compare.", remedy)])
    if len(found) > 1:
        raise SpecError(
            [
                Problem(
                    "--set", "gives one key several values.", "filter is compared with one change at a time."
                )
            ]
        )
    now = cast(FilterParams, project.params[Step.FILTER])
    then = cast(FilterParams, found[0].project.params[Step.FILTER])
    latest = Warehouse(project.warehouse_path).latest()
    other = [day for (step, day), p in latest.items() if step == Step.FILTER and p.params_hash != now.hash()]
    if other:
        message = f"filter of {len(other)} days was made with other settings than the spec has now: a change cannot be told from it."
        raise SpecError([Problem("preview filter", message, "Run first: dataset-pipeline run.")])
    anew = measured_anew(now, then)
    if anew:
        message = "changes what is measured: what is stored cannot tell."
        remedy = "Change the spec and run it; nothing that it drops is lost."
        raise SpecError([Problem(f"--set {key}", message, remedy) for key in anew])
    change = filter_change(_measurements(project), now, then)
    notes = [
        *run_first(project, Step.FILTER),
        *(["Records that come back are not judged by later steps yet."] if change.total.back else []),
        *(["The change makes no difference."] if now == then else []),
    ]
    dropped = examples_dropped(then).height
    if dropped:
        notes.append(
            f"{dropped} of {len(then.examples)} handwritten examples would be dropped: a rule too strict."
        )
    return FilterPreview(
        step="filter",
        changes=found[0].values,
        total=_part(change.total),
        rules=[Rule(name=rule, now=a, then=b) for rule, (a, b) in change.rules.items()],
        sources=[_part(part) for part in change.sources],
        labels=[_part(part) for part in change.labels],
        examples_dropped=dropped,
        notes=notes,
    )


def _measurements(project: Project) -> pl.DataFrame:
    """TABLES['filter'] of all days, with source and label; labels are the spec's names, or OTHER."""
    frame = query(
        project,
        """SELECT f.*, i.source, i.label FROM main."filter" f
        JOIN main."ingest" i ON i.record_id = f.record_id AND i.day = f.day ORDER BY f.day, f.record_id""",
    )
    names = label_names(project.spec)
    given = frame["label"].drop_nulls().unique().sort()
    known = pl.DataFrame(
        {"label": given, "name": [names.get(label.strip().casefold(), OTHER) for label in given.to_list()]},
        schema={"label": pl.String, "name": pl.String},
    )
    typed = {**TABLES[Step.FILTER], "source": pl.String, "label": pl.String}
    return (
        frame.select(pl.col(name).cast(dtype) for name, dtype in typed.items())
        .join(known, on="label", how="left", maintain_order="left")
        .with_columns(label="name")
        .drop("name")
    )


def _part(moved: Moved) -> Part:
    return Part(
        name=moved.name,
        records=moved.records,
        kept_now=moved.kept_now,
        kept_then=moved.kept_then,
        back=moved.back,
        gone=moved.gone,
    )


def print_filter(out: Console, found: FilterPreview) -> None:
    total = found.total
    out.print(f"filter keeps {total.kept_then} of {total.records} records instead of {total.kept_now}: "
              f"{total.back} come back, {total.gone} go")  # fmt: skip
    print_table(out, ("dropped by", "now", "then", "change"),
        [(r.name, str(r.now), str(r.then), f"{r.then - r.now:+d}" if r.then != r.now else "") for r in found.rules])  # fmt: skip
    for title, parts in (("source", found.sources), ("label", found.labels)):
        if parts:
            cells = [
                (p.name, str(p.records), str(p.kept_now), str(p.kept_then), str(p.back), str(p.gone))
                for p in parts[:MAX_LABELS]
            ]
            print_table(out, (title, "records", "kept now", "then", "back", "gone"), cells)
            print_rest(out, title, len(parts))
