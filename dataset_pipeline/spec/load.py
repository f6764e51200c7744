"""From plain data to models, every problem at once, each with place and remedy.

Lives here: the words for what the models refuse, and the nearest valid key. Keep out: YAML
(`document`), checks over several keys (`meaning`), opening the sources' files (`storage.sources`).
"""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.document import read_document
from dataset_pipeline.spec.meaning import (
    LICENCE_REMEDY,
    PATH_REMEDY,
    licence_problem,
    path_problem,
    semantic_problems,
)
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import Params, params_of, with_beside
from dataset_pipeline.spec.places import is_remote


@dataclass(frozen=True)
class Project:
    """A spec and the folder it lives in. State lives beside the spec, unless `state` names another folder for it."""

    spec: Spec
    path: Path
    state: Path | None = None
    """Where a release is made again aside: warehouse, cache, releases, split lock and the rest of what is written."""

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def _state(self) -> Path:
        return self.state if self.state is not None else self.root

    @property
    def params(self) -> dict[str, Params]:
        return with_beside(params_of(self.spec), self.root)

    @property
    def warehouse_path(self) -> Path:
        return self._state / "warehouse.duckdb"

    @property
    def cache_path(self) -> Path:
        return self._state / "cache.duckdb"

    @property
    def lock_path(self) -> Path:
        """Where groups were assigned to splits: an input to keep under version control."""
        return self._state / "splits.lock.csv"

    @property
    def queue_path(self) -> Path:
        """What waits for a person."""
        return self._state / "review_queue.csv"

    @property
    def report_path(self) -> Path:
        """The newest release on one page."""
        return self._state / "report.html"

    @property
    def releases_path(self) -> Path:
        return self._state / "releases"

    @property
    def dagster_home(self) -> Path:
        return self._state / ".dagster"


_PATTERN_IN_FOLDER = re.compile(r"\?|::|\[[^\]]+\]")
"""Measured: DuckDB ends a path at `?`, `datasets` reads `[…]` as a choice and `::` as a chain of storages."""


def load_project(path: str | Path) -> Project:
    """The project of the spec at `path`.

    Raises SpecError (exit code 2) with every problem that can be seen in the spec itself.
    """
    project = read_project(path)
    problems = semantic_problems(project.spec, project.path.name)
    if problems:
        raise SpecError(problems)
    return project


def read_project(path: str | Path) -> Project:
    """The project of a spec whose keys and types are right, whatever else is wrong with it.

    For callers that collect `semantic_problems` together with those of the files. Raises SpecError.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "dataset.yaml"
    document = read_document(path)
    if odd := _PATTERN_IN_FOLDER.search(str(path.resolve().parent)):
        what = f"lies below a folder with {odd[0]!r} in its name, which DuckDB or `datasets` takes for a pattern."
        raise SpecError([Problem(path.name, what, "Rename the folder.")])
    try:
        spec = Spec.model_validate_json(document)
    except ValidationError as error:
        found = [problem_of(path, item) for item in own(error.errors())]
        raise SpecError([*found, *_early_problems(path, json.loads(document))]) from None
    return Project(spec=spec, path=path.resolve())


def own(errors: list[Any]) -> list[Any]:
    """The errors without those that only follow from others further inside.

    A list is short of its bad items; of a union, the branch that got further is the one that was meant.
    """
    places = [_named(e) for e in errors]
    wholes = ("too_short", "dict_type", "tuple_type", "string_type")
    return [
        e
        for e, place in zip(errors, places, strict=True)
        if e["type"] not in wholes
        or not any(len(o) > len(place) and o[: len(place)] == place for o in places)
    ]


def _named(error: Any) -> tuple[Any, ...]:
    return tuple(part for part in error["loc"] if not _is_union_branch(part))


def _early_problems(path: Path, data: dict[str, Any]) -> list[Problem]:
    """Paths and licences are looked at even where the spec is no spec yet: all problems at once."""
    sets = data.get("decontaminate")
    items = [(f"sources[{n}]", item) for n, item in enumerate(_items(data.get("sources")))]
    items += [
        (f"decontaminate.sets[{n}]", item)
        for n, item in enumerate(_items(sets.get("sets") if isinstance(sets, dict) else None))
    ]
    problems = []
    for place, item in items:
        given, rights = item.get("path"), item.get("rights")
        if (
            isinstance(given, str)
            and not (place.startswith("sources") and is_remote(given))
            and (reason := path_problem(given))
        ):
            problems.append(Problem(f"{path.name}: {place}.path", reason, PATH_REMEDY))
        licence = rights.get("license") if isinstance(rights, dict) else None
        if isinstance(licence, str) and (reason := licence_problem(licence)):
            problems.append(Problem(f"{path.name}: {place}.rights.license", reason, LICENCE_REMEDY))
    return problems


def _items(value: Any) -> list[dict[str, Any]]:
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []


def problem_of(path: Path, item: Any) -> Problem:
    """A validation error in words: where, what, and what to write instead."""
    steps = list(_named(item))
    place = f"{path.name}: {_dotted(steps)}" if steps else path.name
    kind, message = item["type"], item["msg"]
    if kind == "extra_forbidden":
        valid = _keys_at(steps[:-1])
        near = difflib.get_close_matches(str(steps[-1]), valid, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Valid keys here: {', '.join(valid)}."
        return Problem(place, f"unknown key {steps[-1]!r}.", hint)
    if kind == "missing":
        return Problem(place, "is missing.", "Add it.")
    if kind == "value_error":
        return Problem(place, f"{message.removeprefix('Value error, ')}.")
    got = item.get("input")
    # What a database or a storage is given may hold a password.
    is_secret = bool({"database", "storage"} & {*map(str, steps)}) or "://" in str(got)
    is_short = isinstance(got, str | int | float | bool) and len(repr(got)) < 80
    shown = f" (it is {got!r})" if is_short and not is_secret else ""
    remedy = "Put it in quotes." if kind == "string_type" and isinstance(got, bool | int | float) else ""
    return Problem(place, f"{message}{shown}.", remedy)


def _is_union_branch(part: Any) -> bool:
    """Pydantic adds the branch of a union (`str`, `tuple[…]`, `dict[…]`) to the place: noise to a reader."""
    return isinstance(part, str) and (part in {"str", "int", "float", "constrained-str"} or "[" in part)


def _dotted(steps: list[Any]) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else str(step))
    return text


def _keys_at(steps: list[Any]) -> list[str]:
    """The keys that are valid at a place of the spec, found by walking the models."""
    model: Any = Spec
    for step in steps:
        # An index into a list or a key of a mapping stays with the element's model.
        if isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            model = _inner_model(model.model_fields[step].annotation)
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation
    models = [_inner_model(arg) for arg in typing.get_args(annotation)]
    found = [m for m in models if isinstance(m, type) and issubclass(m, BaseModel)]
    return found[0] if found else None
