"""What is wrong with a spec although every key and type is right.

Lives here: checks over several keys, paths that stay inside the project, licences. Keep out: keys and types
(`models`), which format holds what (`formats`), opening files (`storage.sources`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from dataset_pipeline.errors import Problem
from dataset_pipeline.spec.formats import format_problems, may_bring_turns
from dataset_pipeline.spec.licences import licensing, rights_problems
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.places import place_problems
from dataset_pipeline.spec.reading import FORMAT_BY_SUFFIX, Readable
from dataset_pipeline.spec.schedule import schedule_problems

PATH_REMEDY = "Put the file below the spec's folder and name it relative to the spec."
LICENCE_REMEDY = "Use an SPDX expression (MIT, CC-BY-4.0, …) or LicenseRef-… for your own terms."


def semantic_problems(spec: Spec, where: str) -> list[Problem]:
    """Everything wrong with a spec that needs no data file: names, layouts, paths, licences.

    where: the name of the spec's file, which begins every place.
    """
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
        _check_readable(spec, source, place, report)
        reason = licence_problem(source.rights.license)
        if reason:
            report(f"{place}.rights.license", reason, LICENCE_REMEDY)
        for key in ("holder", "basis"):
            if not getattr(source.rights, key).strip():
                report(
                    f"{place}.rights.{key}",
                    "is blank: no rights, no entry.",
                    "Say who holds them, and on what ground you may use it.",
                )
        for key, message, remedy in place_problems(source):
            report(f"{place}.{key}", message, remedy)
        if source.path.count("{date}") > 1:
            report(f"{place}.path", "has {date} twice.", "Keep one; use * for the other.")
    for index, eval_set in enumerate(spec.decontaminate.sets):
        place = f"decontaminate.sets[{index}] ({eval_set.name})"
        _check_readable(spec, eval_set, place, report)
        if "{date}" in eval_set.path:
            report(f"{place}.path", "an evaluation set has no days.", "Remove {date}; globs are allowed.")
        for source in spec.sources:
            if _paths_meet(source.local_path, eval_set.path) and not source.reading().may_share_file(
                eval_set.reading()
            ):
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
    folded: dict[str, str] = {}
    for alias, label in spec.label.aliases.items():
        if folded.setdefault(alias.strip().casefold(), label) != label:
            report(
                f"label.aliases.{alias}",
                "stands for two labels.",
                "Keep one: case and outer spaces do not tell aliases apart.",
            )
    for place, message, remedy in (*rights_problems(spec), *schedule_problems(spec)):
        report(place, message, remedy)
    _check_people(spec, report)
    return problems


def _check_people(spec: Spec, report: Any) -> None:
    """Annotations, reviews, the formats of the release and the files of its training."""
    labels = spec.task.answers_are_labels
    for index, answers in enumerate(spec.label.annotation_sets):
        place = f"label.annotations[{index}]"
        _check_listed(answers.path, place, (".csv", ".tsv", ".jsonl", ".ndjson"), report)
        if answers.source is not None and answers.source not in {s.name for s in spec.sources}:
            report(f"{place}.source", f"no source is called {answers.source!r}.", "Name one of the sources.")
        if answers.annotators and "annotator" in answers.fields.model_fields_set:
            report(f"{place}.fields.annotator", "means nothing beside annotators.", "Remove one of the two.")
        for key in sorted({"label", "confidence", "notes", "secondary"} & answers.fields.model_fields_set):
            if answers.annotators:
                report(f"{place}.fields.{key}", "means nothing beside annotators.", "Remove the key.")
    if spec.label.annotations and not labels:
        report(
            "label.annotations",
            f"annotations decide labels; the task is {spec.task.type}, which has none.",
            "Remove the key, or say type: classification.",
        )
    for key in sorted({"min_agreement", "aggregate"} & spec.label.model_fields_set):
        if not spec.label.annotations:
            report(
                f"label.{key}",
                "acts on annotations, and none are named.",
                "Name label.annotations, or remove it.",
            )
    for index, path in enumerate(spec.reviews):
        _check_listed(path, f"reviews[{index}]", (".csv",), report)
    if spec.task.type != "preference" and "max_sides_similarity" in spec.filter.model_fields_set:
        report("filter.max_sides_similarity", "compares the answers of preference pairs.", "Remove the key.")
    for place, message, remedy in format_problems(spec):
        report(place, message, remedy)
    _check_training(spec, report)


def _check_training(spec: Spec, report: Any) -> None:
    """Files of the training: below the project, and of use."""
    for key in ("tokenizer", "chat_template"):
        path = getattr(spec.training, key)
        if path is not None and (reason := path_problem(path)):
            report(f"training.{key}", reason, PATH_REMEDY)
    if spec.training.chat_template is not None and spec.training.tokenizer is None:
        report(
            "training.chat_template",
            "means nothing without training.tokenizer: only tokens are counted with it.",
            "Name the tokenizer, or remove the key.",
        )


def _check_listed(path: str, place: str, suffixes: tuple[str, ...], report: Any) -> None:
    """A path of annotations or reviews: inside the project, and of a format that is read."""
    if reason := path_problem(path):
        report(place, reason, PATH_REMEDY)
    elif not path.lower().removesuffix(".gz").removesuffix(".zst").endswith(suffixes):
        report(place, f"{path!r} is no file of {', '.join(suffixes)}.", "Save it in one of these formats.")


def _check_readable(spec: Spec, item: Readable, place: str, report: Any) -> None:
    reason = path_problem(item.local_path)
    if reason:
        report(f"{place}.path", reason, PATH_REMEDY)
    reading = item.reading()
    if reading.format is None:
        report(
            f"{place}.path",
            f"{PurePosixPath(item.local_path).name!r} does not say its format.",
            f"Name it (`format: jsonl`), or use one of {', '.join(FORMAT_BY_SUFFIX)}; text formats may be packed as .gz or .zst.",
        )
    for key, words in _unfit_keys(item, reading.format):
        report(f"{place}.{key}", words, "Remove the key.")
    fields, task = item.mapped(), spec.task
    is_source = hasattr(item, "kind")
    has_turns = may_bring_turns(item)
    if not has_turns and fields.input is None and getattr(item, "is_mapped", True):
        report(
            f"{place}.fields",
            "neither input nor messages is mapped.",
            "Name the column of the text under fields.input, or a layout.",
        )
    if fields.messages is not None and fields.input is not None:
        report(f"{place}.fields", "input and messages are both mapped.", "Keep one.")
    if task.type == "classification" and is_source and (has_turns or item.layout in TURN_LAYOUTS):
        report(
            f"{place}.layout",
            f"{item.layout or 'a conversation'} cannot become classification: a conversation has no label column.",
            "Map fields.input and fields.output.",
        )
    if is_source and task.type == "preference" and not has_pairs(item):
        report(
            f"{place}.layout",
            "a preference record needs a better and a worse answer.",
            "Say layout: preference, or map fields.chosen and fields.rejected.",
        )
    if is_source and task.type in ("instruction", "completion") and not has_turns and fields.output is None:
        report(
            f"{place}.fields", f"a record of the task type {task.type} needs an answer.", "Map fields.output."
        )


def has_pairs(item: Readable) -> bool:
    """Whether its rows hold a better and a worse answer."""
    return item.layout == "preference" or (item.layout is None and item.fields.chosen is not None)


TURN_LAYOUTS = frozenset({"chat", "sharegpt", "transcript", "tree", "preference"})
"""Layouts whose rows are conversations."""

_KEY_FORMATS: dict[str, frozenset[str]] = {
    "records": frozenset({"json"}),
    "delimiter": frozenset({"csv", "tsv"}),
    "quotes": frozenset({"csv", "tsv"}),
    "header": frozenset({"csv", "tsv", "excel"}),
    "sheet": frozenset({"excel"}),
    "encoding": frozenset({"jsonl", "json", "csv", "tsv", "text", "files", "html"}),
}
"""Keys of a source to the formats that read them."""


def _unfit_keys(item: Readable, format_: str | None) -> Iterator[tuple[str, str]]:
    """Keys that are given and would do nothing: a reader of the spec would think that they do."""
    given = item.model_fields_set
    for key, formats in _KEY_FORMATS.items():
        if key in given and format_ is not None and format_ not in formats:
            yield key, f"means nothing for format {format_}: it is of {', '.join(sorted(formats))}."
    if "replies" in given and item.layout != "tree":
        yield "replies", "means nothing without layout: tree."
    for side in ("chosen", "rejected"):
        if getattr(item.fields, side) is not None and item.layout not in (None, "preference"):
            yield f"fields.{side}", f"means nothing for layout {item.layout}."


def path_problem(path: str) -> str | None:
    """Why `path` cannot be read from, or None: absolute, climbing out, with a backslash or a NUL."""
    parts = PurePosixPath(path)
    if "\0" in path:
        return "holds a NUL character."
    if "\\" in path:
        return f"{path!r} holds a backslash: folders are parted by /."
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
    from license_expression import ExpressionError

    spdx = licensing()
    try:
        parsed = spdx.parse(expression, validate=False, strict=False)
        unknown = [
            key
            for key in spdx.unknown_license_keys(parsed)
            if not re.fullmatch(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+", key)
        ]
    except (ExpressionError, ValueError, TypeError, AttributeError):
        return f"{expression!r} is no SPDX licence expression."
    if parsed is None:
        return "is empty."
    if unknown:
        return f"{expression!r} is no SPDX licence expression: {', '.join(map(repr, unknown))} is not on the SPDX list."
    return None
