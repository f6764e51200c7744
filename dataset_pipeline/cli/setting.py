"""`--set key=value`: what the spec would be with other values, judged by the spec's own models.

Lives here: reading such arguments, the changed specs they give, and words for what is wrong with them. Keep out:
what a change would do (`previewing`), the file of the spec, which stays as it is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec import load
from dataset_pipeline.spec.document import read_document
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.meaning import semantic_problems
from dataset_pipeline.spec.models import Spec

MAX_VALUE_CHARS = 2000
"""A value is typed by hand."""
MAX_CHANGES = 50
"""Combinations that are compared at once."""

_HOW = "Write --set KEY=VALUE, as in --set seed=11 or --set output.min_words=3."


@dataclass(frozen=True)
class Change:
    """A spec with other values, and the arguments that make it so."""

    words: str
    values: dict[str, Any]
    project: Project


def changes(project: Project, section: str, sets: Sequence[str]) -> list[Change]:
    """A change for each combination of the values given, in their order; none for no arguments.

    sets: `key=value`, the key dotted and below `section`, the value YAML; a key given again adds a value to try.
    Raises SpecError naming the key and the nearest valid one.
    """
    given: dict[str, list[tuple[str, Any]]] = {}
    problems: list[Problem] = []
    for argument in sets:
        key, sign, text = argument.partition("=")
        key = key.strip().removeprefix(f"{section}.")
        if not sign or not key or not all(key.split(".")):
            problems.append(Problem(f"--set {argument[:40]!r}", "is no KEY=VALUE.", _HOW))
            continue
        try:
            given.setdefault(key, []).append((text.strip(), _value(text)))
        except ValueError as error:
            problems.append(Problem(f"--set {key}", f"{error}.", "Write the value as in the spec."))
    for key in given:
        inner = next((other for other in given if other.startswith(f"{key}.")), None)
        if inner is not None:
            problems.append(
                Problem(f"--set {key}", f"holds {inner}, which is set too.", "Set one of the two.")
            )
    if problems:
        raise SpecError(problems)
    combined = list(itertools.islice(itertools.product(*given.values()), MAX_CHANGES + 1)) if given else []
    if len(combined) > MAX_CHANGES:
        message = f"gives more than {MAX_CHANGES} combinations."
        raise SpecError([Problem("--set", message, "Compare fewer values at once.")])
    document = json.loads(read_document(project.path))
    return [
        _changed(project, section, document, dict(zip(given, values, strict=True))) for values in combined
    ]


def _value(text: str) -> Any:
    """The YAML value in `text`, as JSON has it. Raises ValueError in words."""
    if len(text) > MAX_VALUE_CHARS:
        raise ValueError(f"is longer than {MAX_VALUE_CHARS} characters")
    try:
        # An alias of an alias multiplies: what a short line stands for may fill the memory.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ValueError("holds a YAML alias")
        return json.loads(
            json.dumps(yaml.safe_load(text), default=lambda day: day.isoformat(), allow_nan=False)
        )
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {getattr(error, 'problem', None) or 'it breaks off'}") from None
    except (RecursionError, TypeError, AttributeError, OverflowError):
        raise ValueError("is nothing that a spec can hold") from None


def _changed(
    project: Project, section: str, document: dict[str, Any], values: dict[str, tuple[str, Any]]
) -> Change:
    words = " ".join(f"{key}={text}" for key, (text, _) in values.items())
    data = json.loads(json.dumps(document))
    for key, (_, value) in values.items():
        place = data.setdefault(section, {})
        *outer, last = key.split(".")
        if not isinstance(place, dict):
            place = data[section] = {}
        for part in outer:
            inner = place.get(part)
            place[part] = inner if isinstance(inner, dict) else {}
            place = place[part]
        place[last] = value
    if section == "split":
        _drop_foreign_keys(data[section], set(values))
    changed = validated(project, json.dumps(data))
    return Change(words, {key: value for key, (_, value) in values.items()}, changed)


def _drop_foreign_keys(split: dict[str, Any], given: set[str]) -> None:
    """Another strategy leaves behind what only the old one has: windows, or ratios."""
    if "strategy" not in given:
        return
    foreign = ("ratios",) if split["strategy"] == "temporal" else ("validation", "test")
    for key in foreign:
        if not any(name == key or name.startswith(f"{key}.") for name in given):
            split.pop(key, None)


def validated(project: Project, document: str) -> Project:
    """`project` with the spec of `document` (JSON). Raises SpecError whose places say --set, not the file."""
    try:
        spec = Spec.model_validate_json(document)
    except ValidationError as error:
        found = [load.problem_of(project.path, item) for item in load.own(error.errors())]
        raise SpecError([_placed(problem, project.path) for problem in found]) from None
    problems = semantic_problems(spec, project.path.name)
    if problems:
        raise SpecError([_placed(problem, project.path) for problem in problems])
    return replace(project, spec=spec)


def _placed(problem: Problem, path: Path) -> Problem:
    return replace(problem, place=f"--set {problem.place.removeprefix(f'{path.name}: ')}")
