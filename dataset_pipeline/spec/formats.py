"""Which format of a release can hold which records, and why not.

Lives here: facts about formats, and the refusals that follow from them. Keep out: the rows of a format
(`transforms.formats`), which formats are the default (`params.release_formats`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataset_pipeline.spec.models import Spec, TaskType
from dataset_pipeline.spec.params import release_formats
from dataset_pipeline.spec.reading import Readable

_ANSWERED: frozenset[TaskType] = frozenset({"classification", "instruction", "chat", "completion"})
"""Tasks whose records have one answer a question."""


@dataclass(frozen=True)
class Format:
    """What one format can hold.

    tasks: the types of task whose records it can say. holds_turns: whether a record may have several exchanges.
    is_jsonl: whether it is a file of JSON lines. form: what one row of it says, in words.
    """

    tasks: frozenset[TaskType]
    holds_turns: bool
    is_jsonl: bool
    form: str


FORMATS: Mapping[str, Format] = {
    "chat": Format(_ANSWERED, True, True, "one conversation"),
    "alpaca": Format(_ANSWERED, False, True, "one instruction and one answer"),
    "completion": Format(_ANSWERED, False, True, "one prompt and one answer"),
    "sharegpt": Format(_ANSWERED, True, True, "one conversation"),
    "preference": Format(frozenset({"preference"}), True, True, "a prompt, a better and a worse answer"),
    "parquet": Format(_ANSWERED | {"preference"}, True, False, "whatever the task's records are"),
}
"""Every name of `models.ReleaseFormat`."""

PLACE = "release.formats"
Refusal = tuple[str, str, str]
"""place, message, remedy."""


def format_problems(spec: Spec) -> Iterator[Refusal]:
    """What of `release.formats`, as given or by default, cannot hold the records; and keys that act on no file."""
    names = release_formats(spec)
    for name in names:
        if spec.task.type not in FORMATS[name].tasks:
            yield _other_task(spec, name)
        elif not FORMATS[name].holds_turns:
            yield from _several_turns(spec, name)
    if spec.release.compression != "none" and not any(FORMATS[name].is_jsonl for name in names):
        yield (
            "release.compression",
            "packs the JSONL files, and none is written: Parquet packs itself.",
            "Remove the key, or name a JSONL format.",
        )


def _other_task(spec: Spec, name: str) -> Refusal:
    why = (
        f"a row says {FORMATS[name].form}, a record has a better and a worse one"
        if spec.task.type == "preference"
        else f"a row says {FORMATS[name].form}, a record has one answer"
    )
    message = f"{name!r} cannot hold the records of the task type {spec.task.type}: {why}."
    return PLACE, message, _use(spec, _has_turns(spec))


def _several_turns(spec: Spec, name: str) -> Iterator[Refusal]:
    """Refusals of a format of one exchange, where the task or a source may bring several."""
    form = FORMATS[name].form
    if spec.task.type == "chat":
        message = f"{name!r} cannot hold a conversation of several turns: a row says {form}."
        yield PLACE, message, _use(spec, True)
        return
    if spec.task.answers_are_labels:
        return  # a conversation cannot become classification: that source is refused itself
    for index, source in enumerate(spec.sources):
        if may_bring_turns(source):
            message = (
                f"{name!r} cannot hold the conversations of several turns that sources[{index}] ({source.name}) "
                f"may bring: a row says {form}."
            )
            yield PLACE, message, f"Say type: chat, or {_use(spec, True, 'formats: [{}]')}"


def may_bring_turns(item: Readable) -> bool:
    """Whether a record of it may have more than one exchange."""
    return item.mapped().messages is not None or item.layout in ("tree", "preference")


def _has_turns(spec: Spec) -> bool:
    return spec.task.type == "chat" or any(may_bring_turns(source) for source in spec.sources)


def _use(spec: Spec, has_turns: bool, words: str = "") -> str:
    """The formats that hold the spec's records, as a remedy."""
    fit = [n for n, f in FORMATS.items() if spec.task.type in f.tasks and (f.holds_turns or not has_turns)]
    if words:
        return words.format(", ".join(fit)) + "."
    return f"Use {', '.join(fit[:-1])} or {fit[-1]}."
