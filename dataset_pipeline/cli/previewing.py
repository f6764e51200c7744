"""`preview`: what a change of filter or split would do, told without doing it.

Lives here: the command. Keep out: what each step compares (`preview_filter`, `preview_split`), arguments
(`setting`), writing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import RootModel

from dataset_pipeline.cli import show
from dataset_pipeline.cli.outputs import line_of
from dataset_pipeline.cli.preview_filter import FilterPreview, preview_filter, print_filter
from dataset_pipeline.cli.preview_split import SplitPreview, preview_split, print_split
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import load_project

PREVIEWED = (Step.FILTER, Step.SPLIT)


class PreviewOutput(RootModel[FilterPreview | SplitPreview]):
    """What `preview` prints, by step."""


def preview(step: str, sets: Sequence[str], spec: Path, as_json: bool) -> int:
    """Tell what other values would do to what is published; nothing is written. Returns 0.

    Raises SpecError for another step, a wrong key or value, nothing to compare, and nothing published.
    """
    if step not in PREVIEWED:
        steps = ", ".join(PREVIEWED)
        raise SpecError(
            [Problem(f"preview {step[:40]}", "cannot be previewed.", f"Steps that can: {steps}.")]
        )
    project = load_project(spec)
    out = show.console(as_json)
    found: FilterPreview | SplitPreview
    if step == Step.FILTER:
        found = preview_filter(project, sets)
        print_filter(out, found)
    else:
        found = preview_split(project, sets)
        print_split(out, found)
    for note in found.notes:
        out.print(note)
    if as_json:
        print(line_of(found))
    return 0
