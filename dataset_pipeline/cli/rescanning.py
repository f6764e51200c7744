"""`rescan`: releases that were made before an evaluation set was there are checked against it; and what `run` says of them.

Lives here: choosing releases and sets, the output, words, exit codes, and the part of a run's end. Keep out: reading releases
and searching them (`assets.rescanning`), the files of an addendum (`storage.addenda`). Never text of a record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field
from rich.console import Console

from dataset_pipeline.cli import completing, show
from dataset_pipeline.cli.finding import find_release
from dataset_pipeline.cli.outputs import Counts, Output, line_of
from dataset_pipeline.cli.verifying import with_progress
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import PROTECTED, Step
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.spec.params import DecontaminateParams, ProtectedParams
from dataset_pipeline.storage import addenda
from dataset_pipeline.storage.release_checks import MANIFEST

if TYPE_CHECKING:
    from dataset_pipeline.assets.context import Context
    from dataset_pipeline.assets.rescanning import Rescanned, Today

_NAMED = 20
"""Records, releases and sets that are named one by one, at most."""
_WHAT_TO_DO = (
    "A finished release stays as it is; its addendum says what is in it. `dataset-pipeline run` makes a new one without these "
    "records: train and evaluate with that. `dataset-pipeline explain RECORD_ID` tells where a record is from."
)


class FoundOutput(Output):
    """What of one evaluation set is in a release. A record is counted once."""

    records: int
    verdicts: Counts = Field(description="contaminated or suspect, as `decontaminate` would say, to records.")
    matches: Counts = Field(description="How it was found to records.")
    splits: Counts = Field(description="Split to records.")


class ReleaseOutput(Output):
    """One release."""

    version: str
    scanned: list[str] = Field(
        description="Evaluation sets that it was checked against now; `examples` are the handwritten ones."
    )
    found: dict[str, FoundOutput] = Field(description="Evaluation set to what of it is in the release.")
    addendum: str | None = Field(
        description="File beside the release that says so; null where there is none."
    )
    problem: str | None = Field(description="Why it could not be checked.")


class RescanOutput(Output):
    """What `rescan` found, the releases by version."""

    sets: Counts = Field(description="Evaluation set to its items today.")
    releases: list[ReleaseOutput]


def rescan(named: Sequence[str], every: bool, sets: Sequence[str], spec: Path, as_json: bool) -> int:
    """Check releases against the evaluation sets of today, and write what is found beside them.

    named: releases; none is all that are kept. sets: names of evaluation sets; none is all. Returns 1 where a release holds
    an item of them, found now or before, or could not be checked. Raises SpecError for names that are none.
    """
    from dataset_pipeline.assets.evalsets import read_protected
    from dataset_pipeline.assets.rescanning import Today

    out = show.console(as_json)
    project = load_project(spec)
    folders = _folders(project, named, every, spec)
    protected = read_protected(project.root, cast(ProtectedParams, project.params[PROTECTED]))
    for place in protected.unreadable[:_NAMED]:
        out.print(f"not readable: {place}")
    if len(protected.unreadable) > _NAMED:
        out.print(f"and {len(protected.unreadable) - _NAMED} more rows that are not readable")
    today = Today.of(protected.items, _params(project))
    _check_names(project, today, sets)
    found = [one for folder in folders if (one := _told(folder, today, sets, out)) is not None]
    if any(one.found for one in found):
        out.print(_WHAT_TO_DO)
    if as_json:
        chosen = {name: n for name, n in today.counts.items() if not sets or name in sets}
        print(line_of(RescanOutput(sets=chosen, releases=found)))
    return 1 if any(one.found or one.problem for one in found) else 0


def _params(project: Project) -> DecontaminateParams:
    return cast(DecontaminateParams, project.params[Step.DECONTAMINATE])


def _folders(project: Project, named: Sequence[str], every: bool, spec: Path) -> list[Path]:
    """The folders of the releases that were asked for. Raises SpecError."""
    if named and every:
        raise SpecError([Problem("--all", "means every release, and some were named.", "Leave one out.")])
    releases = project.releases_path.resolve()
    if not named:
        folders = kept(project)
        if not folders:
            raise SpecError([Problem(str(releases), "holds no release yet.", "`dataset-pipeline run` makes one.")])  # fmt: skip
        return folders
    folders = list(dict.fromkeys(find_release(name, spec) for name in named))
    for folder in folders:
        if folder.parent != releases:
            where = f"An addendum lies beside a release of {releases}."
            raise SpecError([Problem(str(folder), f"is no release of {project.path}.", where)])
    return folders


def kept(project: Project) -> list[Path]:
    """The folders of all releases that are there, by version."""
    releases = project.releases_path.resolve()
    versions = completing.versions(releases)
    return [releases / version for version in versions if (releases / version / MANIFEST).is_file()]


def _check_names(project: Project, today: Today, sets: Sequence[str]) -> None:
    place = f"{project.path.name}: decontaminate.sets"
    if not today.hashes:
        raise SpecError([Problem(place, "is empty, and there are no examples: nothing is protected.", "Name an evaluation set.")])  # fmt: skip
    if unknown := [name for name in sets if name not in today.hashes]:
        known = f"There are: {', '.join(today.hashes)}."
        raise SpecError([Problem("--set", f"no evaluation set with items is called {name!r}.", known) for name in unknown])  # fmt: skip


def _told(folder: Path, today: Today, sets: Sequence[str], out: Console) -> ReleaseOutput | None:
    """Rescan one release and say what came of it; None for one that was removed meanwhile."""
    from dataset_pipeline.assets import rescanning
    from dataset_pipeline.assets.release_records import Unfit

    version, chosen = folder.name, [name for name in today.hashes if not sets or name in sets]
    try:
        done = with_progress(out, lambda: rescanning.rescan(folder, today, sets))
    except FileNotFoundError:
        out.print(f"{version}: was removed meanwhile.")
        return None
    except Unfit as error:
        out.print(str(error))
        return ReleaseOutput(version=version, scanned=[], found={}, addendum=None, problem=str(error))
    found = done.found(chosen)
    for line in _lines(done, chosen, found, today):
        out.print(line)
    path = addenda.path_of(folder.parent, version) if done.addendum is not None else None
    if found:
        out.print(f"{version}: {_named_words(folder.parent, version, list(found))}")
        out.print(f"{version}: addendum {path}")
    return ReleaseOutput(
        version=version,
        scanned=list(done.sets),
        found={name: FoundOutput(**counts) for name, counts in found.items()},
        addendum=str(path) if path is not None else None,
        problem=None,
    )


def _lines(
    done: Rescanned, chosen: Sequence[str], found: Mapping[str, Mapping[str, Any]], today: Today
) -> list[str]:
    version = done.version
    lines = []
    if done.sets:
        names = [f"{name} ({today.counts[name]:,} {_items(today.counts[name])})" for name in done.sets]
        lines.append(f"{version}: checked against {', '.join(names)}.")
    else:
        lines.append(
            f"{version}: was checked against {', '.join(chosen)} before, under these settings: not scanned again."
        )
    for name, counts in found.items():
        when = "" if name in done.sets else ", found before"
        lines.append(f"{version}: {name}: {_counted(counts)}{when}")
    if not found:
        lines.append(f"{version}: nothing found.")
    return lines


def _items(count: int) -> str:
    return "item" if count == 1 else "items"


def _counted(counts: Mapping[str, Any]) -> str:
    n = counts["records"]
    parts = [", ".join(f"{word} {m}" for word, m in counts[key].items()) for key in ("verdicts", "splits")]
    return f"{n:,} {'record' if n == 1 else 'records'} ({'; '.join(parts)})"


def _named_words(releases: Path, version: str, sets: Sequence[str]) -> str:
    """The records that hold an item of these sets, the first ones by name."""
    findings = addenda.findings_of(releases, version)
    if findings is None:
        return "records: their list cannot be read"
    ids = findings.filter(findings["eval_set"].is_in(list(sets)))["record_id"].unique().sort()
    more = len(ids) - _NAMED
    return f"records {', '.join(ids.head(_NAMED))}" + (f" and {more:,} more" if more > 0 else "")


# --- at the end of a run ------------------------------------------------------------------


def contaminated(project: Project) -> dict[str, Counts]:
    """Version of a release that is there to evaluation set to records, as the addenda say; without those of nothing."""
    releases = project.releases_path
    if not (releases / addenda.ADDENDA).is_dir():
        return {}
    told = {folder.name: addenda.read(releases, folder.name) for folder in kept(project)}
    return {version: one.found() for version, one in told.items() if one is not None and one.found()}


def after_run(context: Context, out: Console, is_night: bool) -> list[str]:
    """What is to be said of releases that today's published sets were not looked for in. Nothing is read but manifests where
    there are none.

    A night checks them by itself and returns, in words, where it found a contaminated record: that is told to the owners. Any
    other run says what to do.
    """
    from dataset_pipeline.assets.rescanning import Today, unchecked

    folders = kept(context.project)
    if not folders or (PROTECTED, None) not in context.warehouse.latest():
        return []
    today = Today.of(context.warehouse.table(PROTECTED), _params(context.project))
    todo: dict[Path, list[str]] = {}
    for folder in folders:
        try:
            said = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            continue  # whoever names that release is told
        if names := unchecked(folder.parent, said, folder.name, today, any_settings=True):
            todo[folder] = names
    if not todo:
        return []
    if is_night:
        return [line for folder in todo for line in _by_night(folder, today, out)]
    names = sorted({name for one in todo.values() for name in one})
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    count = f"{len(todo)} {'release has' if len(todo) == 1 else 'releases have'}"
    out.print(
        f"{count} not been checked against {shown}: `dataset-pipeline rescan` does it, the nightly run too"
    )
    return []


def _by_night(folder: Path, today: Today, out: Console) -> list[str]:
    """Rescan one release; what has to be told of it. A release that cannot be scanned is no failure of the night."""
    from dataset_pipeline.assets import rescanning
    from dataset_pipeline.assets.release_records import Unfit

    try:
        done = with_progress(out, lambda: rescanning.rescan(folder, today, any_settings=True))
    except (Unfit, OSError) as error:
        words = "was removed meanwhile" if isinstance(error, FileNotFoundError) else str(error)
        out.print(f"release {folder.name} was not rescanned: {words}")
        return []
    found = done.found(done.sets)
    out.print(
        f"release {done.version} checked against {', '.join(done.sets)}: {len(found)} of them found in it"
    )
    told = "; ".join(f"{name} {_counted(counts)}" for name, counts in found.items())
    if not found:
        return []
    line = (
        f"release {done.version}, made before, holds items of {told}. Its addendum names them: "
        f"{addenda.path_of(folder.parent, done.version)}. Use a newer release; `dataset-pipeline rescan {done.version}` says more."
    )
    if any("contaminated" in counts["verdicts"] for counts in found.values()):
        return [line]
    out.print(line)
    return []
