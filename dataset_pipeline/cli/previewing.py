"""`preview`: what a change of settings would do, told without doing it.

Lives here: the command, and which spec is compared. Keep out: finding and showing the change (`preview_change`,
`preview_split`), arguments (`setting`), writing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import RootModel
from rich.console import Console

from dataset_pipeline.assets.previewing import change_of
from dataset_pipeline.cli import show
from dataset_pipeline.cli.outputs import line_of
from dataset_pipeline.cli.preview_change import ChangePreview, change_preview
from dataset_pipeline.cli.preview_split import SplitPreview, preview_split, print_split
from dataset_pipeline.cli.preview_words import print_change
from dataset_pipeline.cli.setting import changes
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.transforms.diff.comparing import spec_differences

PREVIEWED = (Step.DEDUP, Step.FILTER, Step.NORMALIZE, Step.DECONTAMINATE, Step.SPLIT)
DEFAULT_LIMIT = 20_000
"""Records measured by later steps: some ten seconds of work (measured)."""
_EXAMPLE = {
    Step.DEDUP: "near.threshold=0.9",
    Step.FILTER: "input.min_words=3",
    Step.NORMALIZE: "'languages=[en, de]'",
    Step.DECONTAMINATE: "suspects=drop",
}


class PreviewOutput(RootModel[ChangePreview | SplitPreview]):
    """What `preview` prints, by step."""


def preview(
    step: str | None,
    sets: Sequence[str],
    spec: Path,
    as_json: bool,
    spec_after: Path | None = None,
    limit: int = DEFAULT_LIMIT,
) -> int:
    """Tell what other values, or another spec, would do to what is published; nothing is published. Returns 0.

    Raises SpecError for another step, a wrong key, value or spec, nothing to compare, and nothing published.
    """
    if spec_after is not None:
        _refuse_both(step, sets)
    elif step not in PREVIEWED:
        what, steps = f"preview {step[:40]}" if step else "preview", ", ".join(PREVIEWED)
        message = "cannot be previewed." if step else "names neither a step nor --spec-after."
        raise SpecError([Problem(what, message, f"Steps that can: {steps}.")])
    project = load_project(spec)
    out = show.console(as_json)
    found: ChangePreview | SplitPreview
    if step == Step.SPLIT:
        found = preview_split(project, sets)
        print_split(out, found)
    else:
        after, told = (
            _spec_after(project, spec_after) if spec_after is not None else _set(project, str(step), sets)
        )
        token = REPORTER.set(Phases(out))
        try:
            change = change_of(project, after, limit)
        finally:
            REPORTER.reset(token)
        found = change_preview("spec" if spec_after is not None else str(step), told, change, after)
        print_change(out, found)
    for note in found.notes:
        out.print(note)
    if as_json:
        print(line_of(found))
    return 0


def _refuse_both(step: str | None, sets: Sequence[str]) -> None:
    if sets:
        message = "cannot stand beside --set: it holds all changes."
        raise SpecError([Problem("--spec-after", message, "Write them into that file, or leave it out.")])
    if step is not None:
        message = f"compares all steps: {step[:40]} cannot be named beside it."
        raise SpecError([Problem("--spec-after", message, "Leave the step out.")])


def _set(project: Project, step: str, sets: Sequence[str]) -> tuple[Project, dict[str, Any]]:
    """The spec that --set makes, and its keys."""
    found = changes(project, step, sets)
    if not found:
        remedy = f"Say what to change, as in --set {_EXAMPLE[Step(step)]}."
        raise SpecError([Problem(f"preview {step}", "there is nothing to compare.", remedy)])
    if len(found) > 1:
        remedy = f"{step} is compared with one change at a time."
        raise SpecError([Problem("--set", "gives one key several values.", remedy)])
    return found[0].project, found[0].values


def _spec_after(project: Project, path: Path) -> tuple[Project, dict[str, Any]]:
    """The project with the spec at `path`, and the leaves that differ with their values then."""
    after = load_project(path)
    if after.root != project.root:
        message = f"lies in another folder than {project.path.name}: its paths would name other files."
        raise SpecError([Problem(str(path), message, "Put it beside the present spec.")])
    leaves = spec_differences(
        project.spec.model_dump(mode="json"), after.spec.model_dump(mode="json")
    )  # fmt: skip
    if not leaves:
        message = f"says the same as {project.path.name}."
        raise SpecError([Problem(str(path), message, "Change what is to be compared.")])
    return after, {leaf.path: leaf.after for leaf in leaves}


class Phases:
    """Tells what is being done, a line each."""

    def __init__(self, out: Console):
        self.out = out

    def step_started(self, step: str, days: int) -> None:
        self.phase(step, f"{days} {'day' if days == 1 else 'days'}")

    def phase(self, step: str, phase: str) -> None:
        self.out.print(f"  {step}: {phase}", style="dim" if self.out.is_terminal else None)

    def step_finished(self, step: str, seconds: float, rows: int, kept: int, note: str) -> None:
        return None
