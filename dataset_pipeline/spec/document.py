"""The spec file as plain data: YAML in, mappings, lists and scalars out, or one problem with its line.

Lives here: what makes a file no spec at all (encoding, size, YAML, tags, duplicate keys, depth). Keep out: what the
keys mean (`load`).
"""

from __future__ import annotations

import datetime as dt
import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dataset_pipeline.errors import Problem, SpecError

MAX_SPEC_BYTES = 4 * 2**20
"""A spec is written by hand; anything larger is not one."""
MAX_SPEC_VALUES = 200_000
"""Aliases can make a few lines into millions of values; no spec has as many as this."""
MAX_SPEC_DEPTH = 50


MAX_NUMBER_CHARS = 40
"""A longer number is none that a spec needs; a sexagesimal of a million parts takes minutes to compute."""
MAX_MERGES = 20
"""Mappings merged into one by `<<`. Merges of merges multiply: without a bound ten lines fill the memory."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys instead of keeping the last in silence."""

    _merged = 0

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError):
            # What PyYAML raises for values that do not fit their tag.
            _refuse("the value does not fit its tag", node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, value in node.value:
            is_merge = key.tag == "tag:yaml.org,2002:merge"
            if is_merge and isinstance(value, yaml.SequenceNode) and len(value.value) > MAX_MERGES:
                _refuse(f"more than {MAX_MERGES} mappings are merged here: write the keys out", key)
        super().flatten_mapping(node)
        self._merged += len(node.value)
        if self._merged > MAX_SPEC_VALUES:
            _refuse(f"merges give more than {MAX_SPEC_VALUES} keys: write them out", node)


def _number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > MAX_NUMBER_CHARS or ":" in node.value:
        _refuse("is read as a number, and is none to work with: put it in quotes", node)
    is_int = node.tag.endswith(":int")
    return loader.construct_yaml_int(node) if is_int else loader.construct_yaml_float(node)


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        _refuse("is tagged as a mapping and is none", node)
    loader.flatten_mapping(node)
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            _refuse(f"the key {key!r} is not text: put it in quotes", key_node)
        if key in seen:
            _refuse(f"the key {key!r} stands twice: keep one", key_node)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


def _refuse(why: str, node: yaml.Node) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, why, node.start_mark)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def read_document(path: Path) -> str:
    """The mapping in the YAML file at `path`, as JSON text with dates as YYYY-MM-DD.

    Raises SpecError naming file, line where there is one, and remedy.
    """
    try:
        data = yaml.load(_text(path), Loader=_Loader)
    except RecursionError:
        raise _too_deep(path) from None
    except yaml.YAMLError as error:
        raise SpecError([_yaml_problem(path, error)]) from None
    except ValueError as error:
        raise SpecError([Problem(str(path), f"{error}.", "Write dates as YYYY-MM-DD.")]) from None
    if not isinstance(data, dict):
        raise _spec_error(path, "is not a mapping of keys.", "Start from `dataset-pipeline init DIR`.")
    _check_plain(path, data)
    return json.dumps(data, default=lambda day: day.isoformat())


def _text(path: Path) -> str:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise _spec_error(path, "is not a file.", "Name the spec, or the folder it lies in.")
        size = facts.st_size
        if size > MAX_SPEC_BYTES:
            raise _spec_error(
                path, f"is {size} bytes long: a spec is a few kilobytes.", "Name the spec, not a data file."
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "Make one with `dataset-pipeline init DIR`, or name yours with --spec PATH."
        raise _spec_error(path, "there is no such file.", remedy) from None
    except UnicodeDecodeError as error:
        raise _spec_error(path, f"is not UTF-8 (byte {error.start}).", "Save the spec as UTF-8.") from None
    except OSError as error:
        raise _spec_error(path, f"cannot be read: {error.strerror}.", "Check its path and rights.") from None


def _yaml_problem(path: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}:{mark.line + 1}" if mark else str(path)
    parts = (getattr(error, "context", None), getattr(error, "problem", None))
    why = ", ".join(part for part in parts if part) or "is not YAML"
    remedy = ""
    if "tag" in why:
        remedy = "Only plain YAML is read: remove the tag."
    elif "'\\t'" in why:
        remedy = "Indent with spaces, not with tabs."
    return Problem(place, f"{why}.", remedy)


def _check_plain(path: Path, data: Any) -> None:
    """Refuse what JSON cannot say, and what no hand has written. Walks without recursion."""
    todo: list[tuple[Any, str, int]] = [(data, "", 0)]
    seen = 0
    while todo:
        value, place, depth = todo.pop()
        seen += 1
        if seen > MAX_SPEC_VALUES:
            remedy = "Write it out without YAML aliases."
            raise _spec_error(path, f"holds more than {MAX_SPEC_VALUES} values.", remedy)
        if depth > MAX_SPEC_DEPTH:
            raise _too_deep(path)
        if isinstance(value, dict):
            todo += [(inner, f"{place}.{key}" if place else key, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list):
            todo += [(inner, f"{place}[{n}]", depth + 1) for n, inner in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            raise SpecError(
                [
                    Problem(
                        f"{path.name}: {place}", f"{value} is no number to work with.", "Give a finite one."
                    )
                ]
            )
        elif isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise SpecError(
                [
                    Problem(
                        f"{path.name}: {place}",
                        "holds half a character (a lone surrogate).",
                        "Write the character itself.",
                    )
                ]
            )
        elif value is not None and not isinstance(value, str | bool | int | float | dt.date):
            kind = type(value).__name__
            raise SpecError(
                [
                    Problem(
                        f"{path.name}: {place}",
                        f"a value of type {kind} has no place in a spec.",
                        "Remove the YAML tag.",
                    )
                ]
            )


def _too_deep(path: Path) -> SpecError:
    return _spec_error(path, "is nested too deeply.", "A spec has five levels at most.")


def _spec_error(path: Path, message: str, remedy: str) -> SpecError:
    return SpecError([Problem(str(path), message, remedy)])
