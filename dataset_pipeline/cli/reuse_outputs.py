"""What `check --reuse --json` prints, as models.

Lives here: the shape and the meaning of the output. Keep out: computing it (`reusing`), words (`reuse_words`).
"""

from __future__ import annotations

from pydantic import Field, JsonValue

from dataset_pipeline.cli.outputs import Counts, Output
from dataset_pipeline.transforms import reuse as measures


class OriginOutput(Output):
    """Records of the release that have the same source and rights."""

    source: str
    license: str | None
    holder: str | None
    uses: str = Field(description="Joined by commas.")
    records: int
    missing: list[str] = Field(description="Needed uses that these rights do not allow; empty: they fit.")
    asks: list[str] = Field(description="What the licence asks for, in words.")
    is_known: bool = Field(description="False: the licence, or a part of it, is not on our list.")


class RightsOutput(Output):
    wanted: list[str] = Field(description="train, and the uses of the spec's release.")
    fit: int
    do_not_fit: int
    train_only: int = Field(description="Records without the use evaluate: dropped from validation and test.")
    origins: list[OriginOutput]
    objections: list[str] = Field(
        description="What the spec's rules say of a source with the strictest rights of all."
    )


class TaskOutput(Output):
    release: str = Field(description="Task type of the release.")
    spec: str
    reads_as: str | None = Field(description="The format to copy; null where the spec can read none.")
    why_not: list[str]
    refused: Counts = Field(description="Why to rows of the release that become no record.")


class LabelOutput(Output):
    label: str = Field(description=f"As in the release; {measures.OTHER}: no label of its spec.")
    becomes: str | None = Field(description="The spec's label, by name or alias; null: unknown_label.")
    records: int


class LabelsOutput(Output):
    in_both: list[LabelOutput]
    only_release: list[LabelOutput]
    only_spec: list[str]
    unknown_label: int
    unlabelled: int


class BalanceOutput(Output):
    label: str
    sources: int = Field(description="Records of the spec's sources, as collected.")
    added: int = Field(description="Records of the release that fit.")
    share: float = Field(description="Of the label, in both together.")
    is_rare: bool


class LanguagesOutput(Output):
    wanted: list[str] = Field(description="normalize.languages of the spec; empty: all.")
    prompts: Counts = Field(
        description="Language of the prompt, as the release's provenance says, to records."
    )
    dropped: int | None = Field(
        description="Records that normalize would drop; null where it cannot be told."
    )


class RepeatsOutput(Output):
    compared: Counts = Field(description="Source of the spec to its records that were compared.")
    exact: Counts = Field(description="Source to records of the release that it holds already.")
    near: Counts
    exact_inside: int = Field(description="Records that repeat another one of the release.")
    near_inside: int
    contradictions: int = Field(
        description="Records that fit, and whose text a source has with another answer."
    )
    left_out: int = Field(description="Comparisons that dedup.near.bucket_cap spared, at most.")


class HeldOutput(Output):
    """Records that hold an item of an evaluation set of the spec."""

    items: int = Field(description="Items of the set.")
    contaminated: int
    suspects: int


class ReuseOutput(Output):
    """What of a release fits a spec. Never text of a record."""

    release: str = Field(description="Its version.")
    name: str
    folder: str
    spec: str = Field(description="Name of the spec it is offered to.")
    is_whole: bool
    problems: list[str] = Field(description="What is wrong with the release; then nothing else is told.")
    records: int
    fit: int = Field(description="Records that nothing below keeps out.")
    fit_by_split: Counts
    stopped: Counts = Field(description=f"The first of {', '.join(measures.STOPS)} to records.")
    splits: Counts = Field(
        description="Split of the release to records; only train and validation are offered."
    )
    rights: RightsOutput | None
    task: TaskOutput | None
    labels: LabelsOutput | None = Field(description="Null where answers are no labels.")
    enough: int = Field(description="Records below which a label is rare: each split may expect one.")
    balance: list[BalanceOutput]
    languages: LanguagesOutput | None
    repeats: RepeatsOutput | None = Field(description="Null where the release cannot be read for the task.")
    evaluation_sets: dict[str, HeldOutput]
    not_compared: list[str] = Field(description="Files of the spec that could not be looked at.")
    copy_files: list[str] = Field(description="Files to copy, without those of the test split.")
    source: dict[str, JsonValue] | None = Field(description="The entry of `sources`.")
