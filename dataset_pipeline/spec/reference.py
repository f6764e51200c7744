"""The reference of the spec, made from its models: `python -m dataset_pipeline.spec.reference > docs/spec.md`.

Lives here: turning models into Markdown. Keep out: what a key means; that is its description in the model, or below.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dataset_pipeline.records import Step
from dataset_pipeline.spec.models import RANK_BY_KIND, SideLimits, Spec, TaskType
from dataset_pipeline.spec.params import FilterParams, params_of, release_formats, shingle_words

_HEAD = """# The spec, key by key

Made from the models by `python -m dataset_pipeline.spec.reference > docs/spec.md`; do not edit. `dataset-pipeline schema`
prints the same as JSON Schema, for editors. Paths are relative to the folder of the spec. A key that does not exist is an
error. "none" as default means: not given.
"""
_PLAIN: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    type(None): "null",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}

_PATTERNS = {
    r"^[A-Za-z][A-Za-z0-9_-]{0,62}$": "a letter, then letters, digits, - and _",
    r"^[a-z]{2,3}$": "two or three small letters",
    r"^[A-Z]{2}$": "two capitals",
    r"^[A-Z]{3}$": "three capitals",
}


def reference() -> str:
    """The whole reference as Markdown: one table for every section of the spec, then the defaults that depend on the task."""
    parts = [_HEAD]
    for path, model in sections():
        parts += [
            f"## {path or 'The top level'}\n",
            *([_summary(model) + "\n"] if model.__doc__ else []),
            _table(path, model),
        ]
    parts.append(_by_task())
    return "\n".join(parts)


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Every model of the spec once, with all places where it stands (`sources.fields`), in reading order."""
    places: dict[type[BaseModel], list[str]] = {}
    for path, model in _below("", Spec):
        places.setdefault(model, []).append(path)
    for model, paths in places.items():
        yield ", ".join(paths), model


def _below(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from _below(f"{path}.{name}".lstrip("."), inner)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _summary(model: type[BaseModel]) -> str:
    """The first paragraph of a model's docstring, on one line."""
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def _table(path: str, model: type[BaseModel]) -> str:
    places = {known: place for place, known in sections()}
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        own = f"{path.split(', ')[0]}.{name}".lstrip(".")
        see = [f"see [{places[m]}](#{_anchor(places[m])})" for m in _models(field.annotation)]
        cells = [f"`{name}`", "; ".join([_type(field), *see]), _default(own, field), described(model, name)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _type(field: FieldInfo) -> str:
    words = _words(field.annotation)
    limits = [_limits(field.metadata), *(_inner_limits(field.annotation))]
    return words + "".join(f", {limit}" for limit in limits if limit)


def _inner_limits(annotation: Any) -> list[str]:
    """Limits that stand inside `Annotated[…] | None`."""
    found = []
    for argument in get_args(annotation):
        metadata = getattr(argument, "__metadata__", ())
        for info in metadata:
            found.append(_limits(info.metadata if isinstance(info, FieldInfo) else [info]))
    return list(dict.fromkeys(f for f in found if f))


def _limits(metadata: list[Any]) -> str:
    words = [
        f"{said} {getattr(entry, name)}"
        for entry in metadata
        for name, said in _BOUNDS.items()
        if getattr(entry, name, None) is not None
    ]
    words += [
        _PATTERNS.get(entry.pattern, f"like {entry.pattern}")
        for entry in metadata
        if getattr(entry, "pattern", None)
    ]
    if any(getattr(entry, "max_length", None) == 1 for entry in metadata):
        words.append("one character")
    elif any(getattr(entry, "min_length", None) for entry in metadata):
        words.append("not empty")
    return ", ".join(words)


def _words(annotation: Any) -> str:
    """A type in words a person without Python understands."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _words(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(a) for a in arguments if a is not type(None)))
    if origin is tuple:
        return (
            f"list of {_words(arguments[0])}"
            if Ellipsis in arguments
            else f"{len(arguments)} × {_words(arguments[0])}"
        )
    if origin is dict:
        return f"mapping of {_words(arguments[0])} to {_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(path: str, field: FieldInfo) -> str:
    if path in _DERIVED:
        return _DERIVED[path]
    value = field.default
    if value is PydanticUndefined:
        return "**required**"
    if isinstance(value, BaseModel):
        return "its defaults"
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(f"`{entry}`" for entry in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# --- descriptions -------------------------------------------------------------------------

DESCRIPTIONS: dict[str, str] = {
    "Spec.name": "The dataset's name; it heads the card.",
    "Spec.task": "What the model shall do.",
    "Spec.sources": "Where raw records come from.",
    "Spec.dedup": "What counts as a duplicate.",
    "Spec.filter": "Which records are noise.",
    "Spec.normalize": "Cleaning, languages and personal data.",
    "Spec.decontaminate": "What must stay unseen.",
    "Spec.label": "Labels, annotations and their agreement.",
    "Spec.split": "How groups become train, validation and test.",
    "Spec.release": "What the released folder holds.",
    "Spec.training": "How it will be trained on: tokens, lengths, cost, the aim.",
    "Spec.retention": "How long texts are kept.",
    "Spec.schedule": "The night: when it runs, for how long at most, and who is told where it fails.",
    "Spec.decisions": "Choices, trade-offs and sources declined; they go into the card.",
    "Task.type": "What a record is: a text and its label, an instruction and its answer, turns, a text and how it goes on, or two answers of which one is better.",
    "Example.input": "What is asked.",
    "Example.output": "The answer that is wanted; for classification a label.",
    "Shape.layout": "A usual layout, in place of `fields`: see reading.md.",
    "Shape.fields": "Which columns hold what; overrides the layout's.",
    "Source.name": "Stands in ids, in `explain` and in the card. Another name makes other record ids.",
    "Source.database": "Rows of a query, in place of `path`.",
    "Source.kind": "What it is; decides the rank where none is given. `synthetic` needs `generator`.",
    "Source.rights": "Without them a source is not loaded.",
    "Source.generator": "The model that wrote the texts, on any kind that holds generated text.",
    "Readable.path": "A file below the spec's folder; globs allowed.",
    "EvalSet.name": "Stands in verdicts that name one of its items.",
    "Fields.id": "The source's own id of a record; `explain`, reviews and annotations accept it.",
    "Fields.input": "The prompt.",
    "Fields.output": "The answer, or the label.",
    "Fields.system": "A system prompt of the record's own.",
    "Fields.created_at": "When the text was written, as the source says it.",
    "Rights.holder": "Who owns the texts.",
    "Rights.uses": "What is allowed. `train` must be among them; without `evaluate` a record is never in validation or test.",
    "Generator.model": "Its name and version.",
    "Generator.provider": "Who offers it.",
    "Generator.permits_training": "Whether its terms permit training on what it wrote. `false` refuses the source.",
    "Generator.terms_reviewed": "The day on which somebody read them.",
    "Dedup.near": "Near duplicates; equal ones are always dropped.",
    "Near.threshold": "Share of common shingles (Jaccard) from which two texts are near; the same for crossing splits.",
    "Near.rows": "MinHash values in each band: more find fewer pairs.",
    "Near.seed": "Of the MinHash permutations.",
    "Filter.input": "Limits on the prompt.",
    "Filter.output": "Limits on the answer; not for classification.",
    "Filter.max_tokens": "Prompt and answer together, by estimate; null switches it off.",
    "Filter.automatic_replies": "Out-of-office notes and the like, in classification and instruction tasks.",
    "Filter.profanity": "Words on the list, and how many of them are too many.",
    "SideLimits.min_words": "Fewer words: `too_short`.",
    "SideLimits.max_words": "More words: `too_long`.",
    "SideLimits.min_alpha_share": "Smaller share of letters among characters: `low_alpha`.",
    "SideLimits.max_symbol_share": "Larger share of symbols: `symbols`.",
    "SideLimits.max_digit_share": "Larger share of digits: `digits`.",
    "SideLimits.max_repetition_share": "Larger share of word triples that came before: `repetition`.",
    "SideLimits.max_markup_share": "Larger share of tags and entities: `markup`.",
    "Profanity.add": "Words that count too.",
    "Profanity.allow": "Words of the list that do not count.",
    "Normalize.pii": "Personal data: what is looked for, and what becomes of it.",
    "Pii.entities": "What is looked for. PERSON is names: those of the record's own columns (`person_names`), and those in salutations, signatures and introductions. URL is not asked for by default.",
    "Decontaminate.suspects": "What becomes of a record that holds a short item whole, or one in other words: it waits, is dropped, or is kept.",
    "Decontaminate.sets": "Evaluation sets, your own and public ones. The handwritten examples are always protected.",
    "Label.aggregate": "How several answers become one: most votes, or votes weighed by how reliable each annotator is.",
    "AnnotationSet.fields": "Names of the columns, long form.",
    "AnnotationSet.encoding": "Declared, never guessed.",
    "AnnotationSet.delimiter": "CSV: default is a comma (TSV: a tab).",
    "AnnotationFields.annotator": "Who answered.",
    "AnnotationFields.label": "The answer: a label or one of its aliases.",
    "SplitSpec.ratios": "Shares of the groups; hash and stratified.",
    "SplitSpec.strategy": "`hash`: a group's split for ever, without memory; `stratified`: shares of each label near the ratios, kept in splits.lock.csv; `temporal`: by window of days.",
    "SplitSpec.seed": "Another one is another split: old test records may then be trained on.",
    "Ratios.train": "Share that trains.",
    "Ratios.validation": "Share to choose settings by.",
    "Ratios.test": "Share to look at last.",
    "Decision.what": "What was decided.",
    "Decision.why": "On what ground.",
    "Decision.who": "By whom.",
    "Decision.date": "When.",
    "Gate.max": "Another upper limit.",
    "Gate.min": "Another lower limit.",
    "Gate.severity": "`critical` closes the gate, `warning` does not.",
    "Gate.reason": "Goes into the card.",
}
"""Model and field to its meaning, for fields whose model does not say it."""


def described(model: type[BaseModel], name: str) -> str:
    """The meaning of a field: its description, in the model that defines it or above; '' where there is none."""
    own = model.model_fields[name].description
    return own or next(
        (DESCRIPTIONS[k] for base in model.__mro__ if (k := f"{base.__name__}.{name}") in DESCRIPTIONS), ""
    )


# --- defaults that depend on the task -----------------------------------------------------

_SEE_TASK = "[by task](#defaults-that-depend-on-the-task)"
_DERIVED: dict[str, str] = {
    "sources.rank": ", ".join(f"{kind} {rank}" for kind, rank in RANK_BY_KIND.items()),
    "dedup.near.ngram": _SEE_TASK,
    "release.formats": _SEE_TASK,
    "filter.automatic_replies": f"`drop`; {_SEE_TASK}",
    **{f"filter.input.{name}": _SEE_TASK for name in SideLimits.model_fields},
}


def _of_type(task: str) -> Spec:
    """The shortest spec of a task type."""
    labels = {"labels": ("a", "b")} if task == "classification" else {}
    rights = {"license": "MIT", "holder": "x", "basis": "x", "uses": ("train",)}
    source = {"name": "x", "kind": "first_party", "path": "x/{date}.jsonl", "rights": rights}
    return Spec.model_validate(
        {"name": "x", "task": {"behavior": "x", "type": task} | labels, "sources": (source,)}
    )


def _by_task() -> str:
    specs = {task: _of_type(task) for task in get_args(TaskType)}
    rows: list[tuple[str, list[str]]] = [
        ("dedup.near.ngram", [str(shingle_words(spec)) for spec in specs.values()]),
        ("release.formats", [", ".join(release_formats(spec)) for spec in specs.values()]),
    ]
    filters: list[FilterParams] = []
    for spec in specs.values():
        params = params_of(spec)[Step.FILTER]
        assert isinstance(params, FilterParams)
        filters.append(params)
    rows.append(
        (
            "filter.automatic_replies",
            ["drop" if p.drop_automatic_replies else "not looked for" for p in filters],
        )
    )
    for key, side in (("input", "prompt"), ("output", "answer")):
        for name in SideLimits.model_fields:
            values = [getattr(getattr(p, side), name) for p in filters]
            rows.append((f"filter.{key}.{name}", ["off" if v is None else f"{v:g}" for v in values]))
    lines = [
        "## Defaults that depend on the task\n",
        "What a key takes where the spec does not give it. A limit that is given as `null` is off.\n",
        "| key | " + " | ".join(specs) + " |",
        "|---" * (len(specs) + 1) + "|",
        *(f"| `{key}` | " + " | ".join(values) + " |" for key, values in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
