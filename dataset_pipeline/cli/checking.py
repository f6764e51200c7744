"""`check`: what is wrong with a spec and its files.

Lives here: looking and saying. Keep out: changing anything, finding a release (`finding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from dataset_pipeline.assets.annotating import read_answers
from dataset_pipeline.assets.engine import gate_problems
from dataset_pipeline.assets.evalsets import way_of
from dataset_pipeline.assets.reviewing import read_verdicts
from dataset_pipeline.cli import show
from dataset_pipeline.cli.outputs import CheckOutput, ProblemOutput, line_of
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project, read_project
from dataset_pipeline.spec.meaning import semantic_problems
from dataset_pipeline.spec.params import IngestParams, release_formats
from dataset_pipeline.spec.places import FETCHED
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers, split_lock
from dataset_pipeline.storage.encoders import encoder_problems
from dataset_pipeline.storage.fetching import fetch_all
from dataset_pipeline.storage.name_models import model_problems
from dataset_pipeline.storage.pseudonym_key import key_problems
from dataset_pipeline.storage.sources import Found, calendar, discover, eval_files
from dataset_pipeline.storage.tokenizers import tokenizer_problems
from dataset_pipeline.transforms import ingest
from dataset_pipeline.transforms.assignment import uses_lock
from dataset_pipeline.transforms.filter import examples_dropped
from dataset_pipeline.transforms.ingest import missing_columns
from dataset_pipeline.transforms.layouts import Refusal

PLACEHOLDER = "to be filled in"
"""What `init` writes where only a person knows."""
SHOWN_ROWS = 10
"""Rows of annotations that `check` names one by one."""
SNIFFED_ROWS = 200
"""Rows read of each file: enough to see its columns without reading it whole."""


def check(spec: Path, as_json: bool) -> int:
    """Print every problem and advice at once. Returns 2 where there is a problem."""
    out = show.console(as_json)
    problems: list[Problem] = []
    advice: list[str] = []
    project: Project | None = None
    try:
        project = read_project(spec)
    except SpecError as error:
        problems += error.problems
    if project is not None:
        not_fetched = _fetch_problems(project, advice)
        problems += not_fetched
        found = discover(project)
        # Of what could not be fetched there is no file: that is no second problem.
        missing = f"no file matches '{FETCHED}/"
        problems += [
            problem
            for problem in _problems(project, found)
            if not (not_fetched and missing in problem.message)
        ]
        problems += [
            *_source_problems(project, found),
            *_set_problems(project),
            *_people_problems(project, advice),
            *tokenizer_problems(project),
            *encoder_problems(project),
            *model_problems(project),
        ]
        problems = list(dict.fromkeys(problems))
        advice += [*found.notes, *_advice(project)]
    for problem in problems:
        out.print(str(problem), style="red" if out.is_terminal else None)
    for line in advice:
        out.print(f"advice: {line}")
    if project is not None and not problems:
        days = calendar(project, found)
        out.print(
            f"{spec}: good. {len(project.spec.sources)} sources, {len(days)} days ({show.day_range(days[0], days[-1])}), "
            f"{len(project.spec.decontaminate.sets)} evaluation sets; releases as {', '.join(release_formats(project.spec))}."
        )
    if as_json:
        listed = [ProblemOutput(place=p.place, message=p.message, remedy=p.remedy) for p in problems]
        print(line_of(CheckOutput(problems=listed, advice=advice)))
    return 2 if problems else 0


def _people_problems(project: Project, advice: list[str]) -> list[Problem]:
    """Files of reviews and annotations that are none, and reviews that would close the gate; answers without use are advice."""
    problems: list[Problem] = []
    try:
        for uri, line, reason in read_verdicts(project)[1]:
            what = f"a decision that cannot be read: {reason}."
            problems.append(
                Problem(
                    f"{uri}:{line}", what, "Mend the row, or empty its verdict and value (docs/reviews.md)."
                )
            )
    except SpecError as error:
        problems += error.problems
    try:
        unusable = read_answers(project)[1]
        advice += [
            f"{uri}:{line}: no answer can be made of it, or not wholly: {reason}."
            for uri, line, reason in unusable[:SHOWN_ROWS]
        ]
        if len(unusable) > SHOWN_ROWS:
            advice.append(f"and {len(unusable) - SHOWN_ROWS} more rows of annotations without use.")
    except SpecError as error:
        problems += error.problems
    if uses_lock(project.params[Step.SPLIT]):  # type: ignore[arg-type]
        try:
            split_lock.read(project.lock_path)
        except SpecError as error:
            problems += error.problems
    return problems


def _fetch_problems(project: Project, advice: list[str]) -> list[Problem]:
    """Fetch what lies elsewhere, unless the spec itself is wrong; what went wrong, as problems."""
    if semantic_problems(project.spec, project.path.name):
        return []
    try:
        advice += fetch_all(project.root, project.spec.sources, project.path.name).notes
    except SpecError as error:
        return error.problems
    except readers.UnreadableFile as error:
        return [Problem(*line.split(": ", 1)) for line in str(error).splitlines()]
    return []


def checked_project(spec: Path) -> Project:
    """The project of a spec. Raises SpecError with what is wrong with it and with its files, at once."""
    project = read_project(spec)
    problems = _problems(project, discover(project))
    if problems:
        raise SpecError(problems)
    return project


def _problems(project: Project, found: Found) -> list[Problem]:
    """What is wrong, of all that can be seen without opening a data file."""
    stated = semantic_problems(project.spec, project.path.name)
    return list(dict.fromkeys([*stated, *found.problems, *gate_problems(project), *key_problems(project)]))


def _source_problems(project: Project, found: Found) -> Iterator[Problem]:
    """Files that are no batch, columns they lack, and files of which no row becomes a record."""
    params = project.params[Step.INGEST]
    assert isinstance(params, IngestParams)
    sources = {s.name: s for s in params.sources}
    for file in found.files:
        source, place = sources[file.source], f"source {file.source}: {file.uri}"
        try:
            columns, rows = _first_rows(file.path, source.reading)
            missing = missing_columns(source.shape, params.task_type, columns) if columns else []
            if missing:
                raise ingest.MissingColumn(missing, columns)
            batch = ingest.ingest(rows, source, params, file.day, file.uri)
        except (readers.UnreadableFile, ingest.MissingColumn, OSError) as error:
            yield Problem(place, str(error).removeprefix(f"{file.path}: "))
            continue
        broken = batch.rejects.filter(pl.col("reason") == "truncated_file")
        faults = broken if broken.height else batch.rejects.head(0 if batch.records.height else 1)
        for line, reason, detail in faults.select("line", "reason", "detail").iter_rows():
            what = "breaks off" if broken.height else "no row becomes a record, seen from its beginning"
            yield Problem(
                place,
                f"{what}: line {line}, {reason} ({detail}).",
                "Mend the file, its encoding, layout or fields.",
            )


def _set_problems(project: Project) -> Iterator[Problem]:
    """Evaluation sets that cannot be read, and their first row that is no item."""
    for index, eval_set in enumerate(project.spec.decontaminate.sets):
        for path in eval_files(project.root, eval_set, "")[0]:
            place = (
                f"decontaminate.sets[{index}] ({eval_set.name}): {path.relative_to(project.root).as_posix()}"
            )
            try:
                reading, items_of = way_of(path, eval_set, path.name)
                columns, rows = _first_rows(path, reading)
                missing = missing_columns(eval_set.shape(), None, columns) if columns else []
                if missing and eval_set.is_mapped:
                    raise ingest.MissingColumn(missing, columns)
                for row in rows:
                    if isinstance(row, readers.Reject):
                        raise ValueError(f"line {row.line}: {row.reason} ({row.detail}).")
                    for found in items_of(row.payload):
                        if isinstance(found, Refusal):
                            raise ValueError(f"line {row.line}: {found.reason}: {found.detail}.")
            except (readers.UnreadableFile, ingest.MissingColumn, ValueError, OSError) as error:
                yield Problem(place, str(error).removeprefix(f"{path}: "))


def _first_rows(path: Path, reading: Reading) -> tuple[list[str], list[readers.RawRow | readers.Reject]]:
    """The columns of a file, as far as its first rows show them, and these rows."""
    columns = readers.columns_of(path, reading)
    rows = list(islice(readers.read_rows(path, reading), SNIFFED_ROWS))
    if columns is None:
        columns = list(
            dict.fromkeys(name for row in rows if isinstance(row, readers.RawRow) for name in row.payload)
        )
    return columns, rows


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
        if PLACEHOLDER in (source.rights.basis, source.rights.holder):
            yield f"source {source.name}: its rights are still what `init` wrote: say who holds them and why you may use it."
        if source.mapped().id is None:
            yield f"source {source.name} maps no fields.id: reviews and `explain` will know its records by line only."
