"""What `--json` prints, as models: the commands build them and dump them, so output and schema cannot differ.

Lives here: the shape and the meaning of each output, the schemas by name, and the one line that is printed. Keep
out: computing anything (`checking`, `summary`, `asking`, `explaining`, `comparing`), the output of `preview`
(`previewing`).
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

from dataset_pipeline.transforms.redaction import shown, shown_json

Counts = dict[str, int]


class Output(BaseModel):
    """A part of an output: its keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- check --------------------------------------------------------------------------------


class ProblemOutput(Output):
    place: str = Field(description="File and key, or source and file.")
    message: str
    remedy: str = Field(description="What to do; empty where the message says it.")


class CheckOutput(Output):
    """What `check` found. Problems end with exit code 2, advice does not."""

    problems: list[ProblemOutput]
    advice: list[str]


# --- run ----------------------------------------------------------------------------------


class Checks(Output):
    """Expectations by the worst judgement that holds now."""

    passed: int
    warned: int
    failed: int


class RunOutput(Output):
    """The last line of `run`: totals of what is published and released now."""

    release: str | None = Field(description="Folder that `latest` points at; null where there is none.")
    ingested: int = Field(description="Records.")
    rejected: int = Field(description="Rows that became no record.")
    dropped: dict[str, Counts] = Field(description="Step to reason to records.")
    released: Counts = Field(description="Split to records of the release.")
    checks: Checks
    missing_days: list[str] = Field(description="ISO days of which nothing is released.")
    stale_days: list[str] = Field(description="ISO days that are released with older rows.")
    contaminated_releases: dict[str, Counts] = Field(
        {},
        description="Kept releases in which `rescan` found items: version to evaluation set to records. Left out where there are none.",
    )
    seconds: dict[str, float] = Field(description="Step to seconds of this run.")


# --- status -------------------------------------------------------------------------------


class DayState(Output):
    """A step on a day; of what has no days, the whole."""

    step: str
    day: str | None
    state: Literal["published", "stale", "missing", "closed gate"] = Field(
        description="closed gate: the newest attempt was refused; the first reasons say by which expectation."
    )
    has_older_rows: bool = Field(
        description="It is not up to date, and rows of an older recipe are used until it is."
    )
    reasons: list[str] = Field(description="Why it is not published.")
    rows: int
    kept: int


class PlanOutput(Output):
    """What `run` would do now. Upper bounds: rows that come out the same spare the steps after them."""

    days: int
    files: int = Field(description="That ingest would read.")
    records: int | None = Field(description="Of the step with most to do; null where nothing tells.")
    seconds: dict[str, float] = Field(
        description="Step to about how long it would take, where it ran before."
    )
    total_seconds: float | None = Field(description="With starting; null where a step never ran before.")


class Waiting(Output):
    """What waits for a person. Nothing of it is lost, nothing of it is released."""

    in_review: dict[str, Counts] = Field(description="Step to rule to records with the reason `in_review`.")
    unlabelled: int
    unknown_label: int = Field(description="Records with a label that the spec does not know.")
    contradictions: int = Field(description="Records that the newest release withholds.")
    review_queue: str | None = Field(description="The list of them as CSV; null where it is not written yet.")


class RolledBack(Output):
    """`latest` was pointed back, and nothing has changed since."""

    at: str = Field(description="ISO moment (UTC).")
    newer: str = Field(description="Version of the newest release.")


class StatusOutput(Output):
    """What is published, stale, missing or behind a closed gate, and what waits for a person."""

    steps: list[DayState]
    plan: PlanOutput
    rejected: dict[str, Counts] = Field(description="Source to reason to rows.")
    waiting: Waiting
    release: str | None = Field(description="Version that `latest` points at.")
    release_is_current: bool = Field(description="Whether `run` would leave `latest` as it is.")
    release_refused: list[str] = Field(
        description="Expectations that refused the newest attempt at a release, as `NAME observed VALUE (limit …)`."
    )
    rolled_back: RolledBack | None


# --- explain ------------------------------------------------------------------------------


class Origin(Output):
    """Where a record is from, by which right."""

    record_id: str
    source: str
    source_id: str | None
    day: str
    uri: str
    line: int | None
    byte_offset: int | None
    license: str | None
    holder: str | None
    basis: str | None
    uses: str | None
    kind: str | None
    file_sha256: str | None


class StepStory(Output):
    """What a step measured and decided."""

    step: str
    kept: bool
    reason: str | None
    detail: dict[str, JsonValue] | None
    review: dict[str, JsonValue] | None = Field(
        description="A person's verdict: who, when, what it says, and what it overrode."
    )
    measured: dict[str, Any]


class InRelease(Output):
    """What the release that `latest` points at did with a record."""

    version: str
    released: bool | None = Field(description="Null where the release cannot be read.")
    split: str | None = None
    row: int | None = Field(None, description="0-based line in the files of its split.")
    step: str | None = None
    reason: str | None = None
    detail: dict[str, JsonValue] | None = None


class Story(Output):
    """The history of one record."""

    origin: Origin
    is_erased: bool = Field(description="Its text is gone for good, and no step follows.")
    steps: list[StepStory]
    release: InRelease | None


class Rejected(Output):
    """A row of a file that became no record."""

    day: str
    source: str
    uri: str
    line: int | None
    byte_offset: int | None
    reason: str
    detail: str | None


class RejectedRow(Output):
    rejected: Rejected


class Left(Output):
    """How many more go by the same name."""

    more: int | None = None
    more_rejected: int | None = None


class ExplainOutput(RootModel[list[Story | RejectedRow | Left]]):
    """Histories of records, rejected rows, and how many more go by that name."""


# --- diff ---------------------------------------------------------------------------------


_CAUSE = "spec, file, review, annotation, eval_set, twin, lock, gate, version or unknown."
_BECAUSE = "The change behind it in words: leaf of the spec, file, review; never text of a record."


class RowDifference(Output):
    """A record that one release holds and the other does not."""

    record_id: str
    source: str
    label: str | None
    split: str
    step: str | None = Field(
        description="What dropped it in the release without it; null where unknown there."
    )
    reason: str | None
    detail: JsonValue = Field(
        description="Of that step; for a record unknown there, what became of its file: new, gone, changed, same."
    )
    cause: str = Field(description=_CAUSE)
    because: str = Field(description=_BECAUSE)


class ChangedRow(Output):
    record_id: str
    source: str
    split: str = Field(description="In the later release.")
    text_changed: bool | None = Field(description="Null where a release carries no hashes of texts.")
    label_before: str | None
    label_after: str | None
    cause: str = Field(description=_CAUSE)
    because: str = Field(description=_BECAUSE)


class MovedRow(Output):
    record_id: str
    source: str
    label: str | None
    split_before: str
    split_after: str
    cause: str = Field(description=_CAUSE)
    because: str = Field(description=_BECAUSE)


class CauseCount(Output):
    """How many rows differ in one way by one cause."""

    kind: str = Field(description="in, out, changed or moved.")
    step: str | None = Field(description="What dropped them in the release without them; null otherwise.")
    reason: str = Field(
        description="As their rows say it; for changed ones text, label or both; for moved ones split."
    )
    cause: str = Field(description=_CAUSE)
    because: str = Field(description=_BECAUSE)
    rows: int
    by_source: Counts
    by_label: Counts
    by_split: Counts


class Part(Output):
    """How many rows of a source, a label or a split."""

    before: int
    after: int
    rows_in: int
    rows_out: int
    changed: int
    moved: int


class SpecDifference(Output):
    path: str = Field(description="As in `filter.output.min_words`.")
    before: JsonValue
    after: JsonValue


class InputDifferenceOutput(Output):
    source: str
    day: str
    uri: str
    change: str = Field(description="added, removed or changed.")
    rows_before: int | None
    rows_after: int | None


class VersionDifference(Output):
    name: str
    before: str | None
    after: str | None


class DaysOfBoth(Output):
    """Days of the first release and of the second."""

    before: list[str]
    after: list[str]


class DiffOutput(Output):
    """What differs between two releases. Never text of a record."""

    before: str = Field(description="Version of the first release.")
    after: str = Field(description="Version of the second release.")
    is_identical: bool
    texts_compared: bool = Field(description="Whether both releases carry hashes of their texts.")
    rows: Part
    by_source: dict[str, Part]
    by_label: dict[str, Part]
    by_split: dict[str, Part]
    rows_in: list[RowDifference]
    rows_out: list[RowDifference]
    changed: list[ChangedRow]
    moved: list[MovedRow]
    causes: list[CauseCount] = Field(
        description="All rows above by their cause, the most frequent first of each kind."
    )
    spec: list[SpecDifference]
    inputs: list[InputDifferenceOutput]
    versions: list[VersionDifference]
    missing_days: DaysOfBoth = Field(description="Days of which a release holds nothing.")
    stale_days: DaysOfBoth = Field(description="Days of which a release holds older rows.")


# --- printing -----------------------------------------------------------------------------

_HERE: dict[str, type[BaseModel]] = {
    "check": CheckOutput,
    "run": RunOutput,
    "status": StatusOutput,
    "explain": ExplainOutput,
    "diff": DiffOutput,
}
_ELSEWHERE = {
    "spec": ("dataset_pipeline.spec.models", "Spec"),
    "preview": ("dataset_pipeline.cli.previewing", "PreviewOutput"),
    "reuse": ("dataset_pipeline.cli.reuse_outputs", "ReuseOutput"),
    "rescan": ("dataset_pipeline.cli.rescanning", "RescanOutput"),
}


def model_of(name: str) -> type[BaseModel]:
    """The model behind the word of `dataset-pipeline schema`: spec, or a command with `--json`."""
    if name in _HERE:
        return _HERE[name]
    module, attribute = _ELSEWHERE[name]
    model: type[BaseModel] = getattr(importlib.import_module(module), attribute)
    return model


_OURS = frozenset({"release", "folder", "review_queue"})
"""Keys of paths that programs open: folders of ours, called by versions."""


def without_personal_data(data: Any) -> Any:
    """An output with its names as they are shown; what `_OURS` name stays."""
    if not isinstance(data, dict):
        return [without_personal_data(item) for item in data] if isinstance(data, list) else shown_json(data)
    return {
        shown(key): value if key in _OURS and isinstance(value, str | None) else without_personal_data(value)
        for key, value in data.items()
    }


def line_of(output: BaseModel, sort_keys: bool = False) -> str:
    """An output as one line of JSON that every terminal can print, names in it as they are shown."""
    data = without_personal_data(output.model_dump(mode="json", exclude_unset=True))
    text = json.dumps(data, ensure_ascii=False, sort_keys=sort_keys, default=str)
    is_printable = text.isascii() or text.encode("utf-8", "replace").decode() == text
    return text if is_printable else json.dumps(data, sort_keys=sort_keys, default=str)
