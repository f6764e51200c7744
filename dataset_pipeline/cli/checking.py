"""`check` and `verify`: what is wrong with a spec and its files, or with a release.

Lives here: looking and saying. Keep out: changing anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dataset_pipeline.cli import show
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.spec.params import IngestParams, release_formats
from dataset_pipeline.storage import readers, releases
from dataset_pipeline.storage.sources import calendar, discover
from dataset_pipeline.transforms.filter import examples_dropped
from dataset_pipeline.transforms.ingest import missing_column_message, missing_columns

SNIFFED_ROWS = 200
"""Rows read of each file: enough to see its columns without reading it whole."""


def check(spec: Path, as_json: bool) -> int:
    """Print every problem and advice at once. Returns 2 where there is a problem."""
    out = show.console(as_json)
    problems: list[Problem] = []
    advice: list[str] = []
    project: Project | None = None
    try:
        project = load_project(spec)
    except SpecError as error:
        problems += error.problems
    if project is not None:
        found = discover(project)
        problems += [*found.problems, *gate_problems(project), *_file_problems(project)]
        advice += [*found.notes, *_advice(project)]
    for problem in problems:
        out.print(str(problem), style="red" if out.is_terminal else None)
    for line in advice:
        out.print(f"advice: {line}")
    if project is not None and not problems:
        days = calendar(project, discover(project))
        out.print(
            f"{spec}: good. {len(project.spec.sources)} sources, {len(days)} days ({show.day_range(days[0], days[-1])}), "
            f"{len(project.spec.decontaminate.sets)} evaluation sets; releases as {', '.join(release_formats(project.spec))}."
        )
    if as_json:
        listed = [{"place": p.place, "message": p.message, "remedy": p.remedy} for p in problems]
        print(json.dumps({"problems": listed, "advice": advice}, ensure_ascii=False))
    return 2 if problems else 0


def gate_problems(project: Project) -> Iterator[Problem]:
    """Gates of the spec that name no step or no expectation."""
    for step, gates in project.spec.gates.items():
        place = f"{project.path.name}: gates.{step}"
        if step not in EXPECTATIONS:
            yield Problem(place, "no step is called so.", f"Steps: {', '.join(map(str, EXPECTATIONS))}.")
            continue
        names = [e.name for e in EXPECTATIONS[step]]
        for name in gates:
            if name not in names:
                yield Problem(
                    f"{place}.{name}", "the step has no such expectation.", f"It has: {', '.join(names)}."
                )


def _file_problems(project: Project) -> Iterator[Problem]:
    """Files that are no batch, and mapped columns they lack, seen in their first rows."""
    params = project.params[Step.INGEST]
    assert isinstance(params, IngestParams)
    sources = {s.name: s for s in params.sources}
    for file in discover(project).files:
        source = sources[file.source]
        try:
            columns = readers.columns_of(file.path, source.encoding)
            if columns is None:
                columns = _seen_columns(file.path, source.encoding)
        except (readers.UnreadableFile, OSError) as error:
            text = str(error)
            yield Problem(
                f"source {file.source}", text if text.startswith(file.uri) else f"{file.uri}: {text}"
            )
            continue
        missing = missing_columns(source, columns) if columns else []
        if missing:
            yield Problem(f"source {file.source}: {file.uri}", missing_column_message(missing, columns))


def _seen_columns(path: Path, encoding: str) -> list[str]:
    seen: dict[str, None] = {}
    for number, row in enumerate(readers.read_rows(path, encoding)):
        if number >= SNIFFED_ROWS:
            break
        if isinstance(row, readers.RawRow):
            seen.update(dict.fromkeys(row.payload))
    return list(seen)


def _advice(project: Project) -> Iterator[str]:
    spec = project.spec
    if len(spec.task.examples) < 5:
        yield f"task.examples holds {len(spec.task.examples)}; five handwritten ones, better a dozen, guard the filter and specify the behaviour."
    if not spec.decontaminate.sets:
        yield "decontaminate.sets is empty: name your evaluation sets, or nothing keeps them out of the training data."
    if not spec.normalize.languages:
        yield "normalize.languages is empty: records in every language are kept."
    for row in examples_dropped(project.params[Step.FILTER]).iter_rows(named=True):  # type: ignore[arg-type]
        yield f"{row['record_id']} of task.examples would be dropped by filter ({row['reason']}): the gate will close."
    for source in spec.sources:
        if source.mapped().id is None:
            yield f"source {source.name} maps no fields.id: reviews and `explain` will know its records by line only."


def verify(release: str, spec: Path) -> int:
    """Check a release: a version, a folder, or `latest`. Returns 1 where something is wrong."""
    out = show.console()
    folder = Path(release)
    if not (folder / releases.MANIFEST).is_file():
        project = load_project(spec)
        folder = project.releases_path / release
    if not folder.exists():
        known = (
            sorted(p.name for p in folder.parent.glob("*") if p.is_dir() and not p.name.startswith("."))
            if folder.parent.exists()
            else []
        )
        raise SpecError(
            [Problem(str(folder), "there is no such release.", f"There are: {', '.join(known) or 'none'}.")]
        )
    found = releases.verify(folder.resolve())
    for problem in found.problems:
        out.print(f"{found.version}: {problem}")
    if found.is_whole:
        out.print(
            f"{found.version}: whole. {found.files} files, {found.rows} rows, every hash as in the manifest."
        )
        return 0
    out.print(
        "This release is not what was published. Restore the folder from a copy, or run `dataset-pipeline run` to write it again."
    )
    return 1
