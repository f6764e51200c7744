"""Reading the spec file: YAML to models, every problem at once, each with place and remedy.

Lives here: parsing, the nearest valid key, checks that need only the spec and its folder
(paths stay inside the project, formats fit the task, licences are SPDX). Keep out: opening
the sources' files; `storage.sources` does that.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.models import LAYOUTS, Readable, Spec
from dataset_pipeline.spec.params import Params, params_of, release_formats

MAX_SPEC_BYTES = 4 * 2**20
"""A spec is written by hand; anything larger is not one."""


@dataclass(frozen=True)
class Project:
    """A spec and the folder it lives in. State lives beside the spec."""

    spec: Spec
    path: Path

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def params(self) -> dict[str, Params]:
        return params_of(self.spec)

    @property
    def warehouse_path(self) -> Path:
        return self.root / "warehouse.duckdb"

    @property
    def cache_path(self) -> Path:
        return self.root / "cache.duckdb"

    @property
    def releases_path(self) -> Path:
        return self.root / "releases"

    @property
    def dagster_home(self) -> Path:
        return self.root / ".dagster"


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys instead of keeping the last in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"the key {key!r} on line {line} is not text: put it in quotes",
                key_node.start_mark,
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"the key {key!r} stands twice, again on line {line}: keep one",
                key_node.start_mark,
            )
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_project(path: str | Path) -> Project:
    """The project of the spec at `path`.

    Raises SpecError (exit code 2) with every problem that can be seen in the spec itself.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "dataset.yaml"
    data = _read_yaml(path)
    try:
        spec = Spec.model_validate_json(json.dumps(data, default=_date_text))
    except ValidationError as error:
        raise SpecError([_problem(path, item) for item in _own(error.errors())]) from None
    project = Project(spec=spec, path=path.resolve())
    problems = semantic_problems(project)
    if problems:
        raise SpecError(problems)
    return project


def _read_yaml(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > MAX_SPEC_BYTES:
            raise SpecError(
                [
                    Problem(
                        str(path),
                        f"is {size} bytes long: a spec is a few kilobytes",
                        "Name the spec, not a data file.",
                    )
                ]
            )
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError(
            [
                Problem(
                    str(path),
                    "there is no such file.",
                    "Make one with `dataset-pipeline init DIR`, or name yours with --spec PATH.",
                )
            ]
        ) from None
    except UnicodeDecodeError as error:
        raise SpecError(
            [Problem(str(path), f"is not UTF-8 (byte {error.start}).", "Save the spec as UTF-8.")]
        ) from None
    except OSError as error:
        raise SpecError([Problem(str(path), f"cannot be read: {error.strerror}.")]) from None
    try:
        data = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise SpecError(
            [Problem(str(path), "is nested too deeply.", "A spec has five levels at most.")]
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        why = getattr(error, "problem", None) or "not YAML"
        remedy = "Only plain YAML is read: remove the tag." if "tag" in why else ""
        raise SpecError([Problem(place, f"{why}.", remedy)]) from None
    except ValueError as error:
        raise SpecError([Problem(str(path), f"{error}.", "Write dates as YYYY-MM-DD.")]) from None
    if not isinstance(data, dict):
        raise SpecError(
            [Problem(str(path), "is not a mapping of keys.", "Start from `dataset-pipeline init DIR`.")]
        )
    return data


def _date_text(value: Any) -> str:
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    raise ValueError(f"a value of type {type(value).__name__} has no place in a spec")


def _own(errors: list[Any]) -> list[Any]:
    """The errors without those that only follow from others further inside (a list short of its bad items)."""
    inner = [tuple(e["loc"]) for e in errors]
    return [
        e
        for e in errors
        if e["type"] != "too_short"
        or not any(len(o) > len(e["loc"]) and o[: len(e["loc"])] == tuple(e["loc"]) for o in inner)
    ]


def _problem(path: Path, item: Any) -> Problem:
    """A validation error in words: where, what, and what to write instead."""
    steps = [part for part in item["loc"] if not _is_union_branch(part)]
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
    shown = f" (it is {got!r})" if isinstance(got, str | int | float | bool) and len(repr(got)) < 80 else ""
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


# --- what the models alone cannot see -----------------------------------------------------


def semantic_problems(project: Project) -> list[Problem]:
    """Everything wrong with the spec that needs no data file: names, layouts, paths, licences."""
    spec, where = project.spec, project.path.name
    problems: list[Problem] = []

    def report(place: str, message: str, remedy: str = "") -> None:
        problems.append(Problem(f"{where}: {place}", message, remedy))

    names = [source.name for source in spec.sources]
    for name in sorted({n for n in names if names.count(n) > 1}):
        report("sources", f"two sources are called {name!r}.", "Give each its own name.")
    set_names = [s.name for s in spec.decontaminate.sets]
    for name in sorted({n for n in set_names if set_names.count(n) > 1} | ({"examples"} & set(set_names))):
        report(
            "decontaminate.sets",
            f"the name {name!r} is taken.",
            "Give each set its own name; `examples` is ours.",
        )

    for index, source in enumerate(spec.sources):
        place = f"sources[{index}] ({source.name})"
        _check_readable(project, source, place, report)
        reason = licence_problem(source.rights.license)
        if reason:
            report(
                f"{place}.rights.license",
                reason,
                "Use an SPDX expression (MIT, CC-BY-4.0, …) or LicenseRef-… for your own terms.",
            )
        if source.path.count("{date}") > 1:
            report(f"{place}.path", "has {date} twice.", "Keep one; use * for the other.")
    for index, eval_set in enumerate(spec.decontaminate.sets):
        place = f"decontaminate.sets[{index}] ({eval_set.name})"
        _check_readable(project, eval_set, place, report)
        if "{date}" in eval_set.path:
            report(f"{place}.path", "an evaluation set has no days.", "Remove {date}; globs are allowed.")
        for source in spec.sources:
            if _paths_meet(source.path, eval_set.path):
                report(
                    place,
                    f"is also the source {source.name!r}: protected items are never trained on.",
                    "Remove one of the two.",
                )
    if spec.release.license is not None and (reason := licence_problem(spec.release.license)):
        report("release.license", reason, "Use an SPDX expression.")
    for alias, label in spec.label.aliases.items():
        if label not in spec.task.label_names:
            report(
                f"label.aliases.{alias}",
                f"{label!r} is not in task.labels.",
                "Aliases point to a label of the spec.",
            )
        elif (
            alias.strip().casefold() in {n.strip().casefold() for n in spec.task.label_names}
            and alias != label
        ):
            report(f"label.aliases.{alias}", "is itself a label.", "Remove the alias.")
    _check_built(spec, report)
    return problems


def _check_built(spec: Spec, report: Any) -> None:
    """What the contract names and this version does not do yet is refused, never ignored."""
    if spec.task.type == "preference":
        report(
            "task.type", "preference datasets are not built by this version.", "Use chat for the chosen side."
        )
    if spec.split.strategy != "hash":
        report("split.strategy", f"{spec.split.strategy!r} is not built in this version.", "Use hash.")
    if spec.label.annotations:
        report(
            "label.annotations",
            "annotations are not read by this version.",
            "Remove the key; put labels into the source.",
        )
    if spec.reviews:
        report("reviews", "reviews are not read by this version.", "Remove the key.")
    for name in release_formats(spec):
        if name in ("sharegpt", "preference"):
            report(
                "release.formats",
                f"{name!r} is not written by this version.",
                "Use chat, alpaca, completion or parquet.",
            )
        if name in ("alpaca", "completion") and spec.task.type == "chat":
            report(
                "release.formats",
                f"{name!r} cannot hold a conversation of several turns.",
                "Use chat or parquet.",
            )


def _check_readable(project: Project, item: Readable, place: str, report: Any) -> None:
    reason = path_problem(item.path)
    if reason:
        report(
            f"{place}.path", reason, "Put the file below the spec's folder and name it relative to the spec."
        )
    suffixes = PurePosixPath(item.path).suffixes
    kinds = [s for s in suffixes if s not in (".gz",)]
    if (
        not kinds
        or kinds[-1] not in (".jsonl", ".ndjson", ".csv", ".tsv")
        or (".gz" in suffixes and suffixes[-1] != ".gz")
    ):
        report(
            f"{place}.path",
            f"{item.path!r} is of a format that is not read.",
            "Use .jsonl, .ndjson, .csv or .tsv, plain or .gz.",
        )
    if item.layout is not None and item.layout not in LAYOUTS:
        report(
            f"{place}.layout",
            f"the layout {item.layout!r} is not read by this version.",
            "Use chat, alpaca, completion or fields.",
        )
        return
    fields, task = item.mapped(), project.spec.task
    is_source = hasattr(item, "kind")
    if fields.messages is None and fields.input is None:
        report(
            f"{place}.fields",
            "neither input nor messages is mapped.",
            "Name the column of the text under fields.input, or a layout.",
        )
    if fields.messages is not None and fields.input is not None:
        report(f"{place}.fields", "input and messages are both mapped.", "Keep one.")
    if task.type == "classification" and item.layout == "chat":
        report(
            f"{place}.layout",
            "chat cannot become classification: a conversation has no label column.",
            "Map fields.input and fields.output.",
        )
    if (
        is_source
        and task.type in ("instruction", "completion")
        and fields.messages is None
        and fields.output is None
    ):
        report(f"{place}.fields", f"a record of a {task.type} task needs an answer.", "Map fields.output.")


def path_problem(path: str) -> str | None:
    """Why `path` cannot be read from, or None: absolute, climbing out, or with a NUL."""
    parts = PurePosixPath(path)
    if "\0" in path:
        return "holds a NUL character."
    if parts.is_absolute() or re.match(r"^[A-Za-z]:[\\/]", path) or "://" in path:
        return f"{path!r} is outside the project."
    if ".." in parts.parts:
        return f"{path!r} leads outside the project."
    return None


def _paths_meet(source_path: str, set_path: str) -> bool:
    """Whether an evaluation set's path could name a file of a source."""
    import fnmatch

    pattern = source_path.replace("{date}", "*")
    one, other = str(PurePosixPath(pattern)), str(PurePosixPath(set_path))
    return fnmatch.fnmatchcase(other, one) or fnmatch.fnmatchcase(one, other)


def licence_problem(expression: str) -> str | None:
    """Why `expression` is no SPDX licence expression, or None."""
    from license_expression import ExpressionError, get_spdx_licensing

    licensing = get_spdx_licensing()
    try:
        parsed = licensing.parse(expression, validate=False, strict=False)
        unknown = [
            key
            for key in licensing.unknown_license_keys(parsed)
            if not re.fullmatch(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+", key)
        ]
    except (ExpressionError, ValueError, TypeError, AttributeError):
        return f"{expression!r} is no SPDX licence expression."
    if parsed is None:
        return "is empty."
    if unknown:
        return f"{expression!r} is no SPDX licence expression: {', '.join(map(repr, unknown))} is not on the SPDX list."
    return None
