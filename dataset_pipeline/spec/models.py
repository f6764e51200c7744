"""The spec as strict models: every key, its type, its default and where the default comes from.

Lives here: what a spec may say. Keep out: reading YAML and files (`load`), what each step
receives (`params`). Field descriptions become the JSON Schema that editors show.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dataset_pipeline.records import Split
from dataset_pipeline.spec.places import Database, local_pattern

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]

TaskType = Literal["classification", "instruction", "chat", "completion", "preference"]
Kind = Literal["first_party", "licensed", "public_web", "synthetic"]
Use = Literal["train", "evaluate"]

RANK_BY_KIND: dict[str, int] = {"first_party": 1, "licensed": 2, "public_web": 3, "synthetic": 4}
"""First-party text is the closest to what the model will see; generated text the furthest."""


class Section(BaseModel):
    """Base of every part of the spec: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Example(Section):
    """One handwritten example: the behaviour wanted. Protected: never trained on."""

    input: Annotated[str, Field(min_length=1)]
    output: Annotated[str, Field(min_length=1)]


class Task(Section):
    """What the model shall do."""

    behavior: Annotated[str, Field(min_length=1, description="The wanted behaviour, in a sentence or two.")]
    type: TaskType
    system_prompt: str | None = Field(None, description="Put before every released record.")
    labels: dict[str, str] | tuple[str, ...] | None = Field(
        None, description="Classification: label to its definition, or a list of labels."
    )
    examples: tuple[Example, ...] = Field((), description="Handwritten; at least five, better a dozen.")

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.labels or ())

    @property
    def answers_are_labels(self) -> bool:
        return self.type == "classification"

    @model_validator(mode="after")
    def _labels_fit_the_type(self) -> Task:
        if self.type == "classification" and len(self.label_names) < 2:
            raise ValueError("classification needs task.labels with at least two labels")
        if self.type != "classification" and self.labels:
            raise ValueError(f"task.labels belong to classification, not to {self.type}: remove them")
        folded = [name.strip().casefold() for name in self.label_names]
        if len(set(folded)) != len(folded) or "" in folded:
            raise ValueError("task.labels must be non-empty and differ in more than case and spaces")
        if self.answers_are_labels:
            unknown = sorted({e.output for e in self.examples} - set(self.label_names))
            if unknown:
                raise ValueError(f"task.examples use labels that are not in task.labels: {unknown}")
        return self


class Rights(Section):
    """What may be done with a source, and on what ground. No rights, no entry."""

    license: Annotated[str, Field(min_length=1, description="SPDX expression; LicenseRef-… for your own.")]
    holder: Annotated[str, Field(min_length=1)]
    basis: Annotated[str, Field(min_length=1, description="Contract, terms or law that allow the uses.")]
    uses: Annotated[tuple[Use, ...], Field(min_length=1)]


class Generator(Section):
    """The model that wrote generated text, and what its terms say."""

    model: Annotated[str, Field(min_length=1)]
    provider: Annotated[str, Field(min_length=1)]
    permits_training: bool
    terms: Annotated[str, Field(min_length=1, description="Where the terms say so.")]
    terms_reviewed: dt.date


Column = Annotated[str, Field(min_length=1)]


class Fields(Section):
    """Which columns hold what. A list of columns is joined by a blank line.

    A column is a name; a path into nested objects and lists (`meta.lang`, `answers.0.text`) where no column
    has that very name; a number, counted from 0, where rows are arrays or a table has no header; or
    `file.name`, `file.stem`, `file.folder` of the file the row is from.
    """

    id: Column | None = None
    input: Column | tuple[Column, ...] | None = None
    output: Column | tuple[Column, ...] | None = None
    system: Column | None = None
    messages: Column | None = Field(
        None, description="A column of turns, as the layout says: {role, content}, or a transcript."
    )
    chosen: Column | None = Field(None, description="Layout preference: the better answer or conversation.")
    rejected: Column | None = Field(None, description="Layout preference: the worse answer or conversation.")
    created_at: Column | None = None
    group: Column | None = Field(None, description="Records of one group never cross splits.")
    person_names: tuple[Column, ...] = Field((), description="Columns that hold names of persons.")

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_name_columns(cls, value: object) -> object:
        """A column told by its position is written as a number; inside, every column has a name."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return str(value)
        if isinstance(value, list | tuple):
            return tuple(str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value)
        return value


Layout = Literal["chat", "alpaca", "completion", "preference", "sharegpt", "transcript", "tree"]
LAYOUTS: dict[str, Fields] = {
    "chat": Fields(messages="messages"),
    "alpaca": Fields(input=("instruction", "input"), output="output"),
    "completion": Fields(input="prompt", output="completion"),
    "preference": Fields(input="prompt", chosen="chosen", rejected="rejected"),
    "sharegpt": Fields(messages="conversations"),
    "transcript": Fields(messages="text"),
    "tree": Fields(),
}
OPTIONAL_COLUMNS: dict[str, frozenset[str]] = {
    "alpaca": frozenset({"input"}),
    "preference": frozenset({"prompt"}),
}
"""Columns a layout may lack: alpaca rows without an input are usual, and a pair of conversations holds its prompt."""

Format = Literal["jsonl", "json", "csv", "tsv", "text", "files", "html", "parquet", "excel"]
FORMAT_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".html": "html",
    ".htm": "html",
    ".parquet": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
PACKED_FORMATS = frozenset({"jsonl", "json", "csv", "tsv", "text", "files", "html"})
"""Formats that may be packed as `.gz` or `.zst`; Parquet and Excel pack themselves."""


def format_of(name: str) -> Format | None:
    """The format that a file's name tells, packed or not; None for a suffix of nothing that is read."""
    name = name.lower()
    bare = name.removesuffix(".gz").removesuffix(".zst")
    found = next((f for suffix, f in FORMAT_BY_SUFFIX.items() if bare.endswith(suffix)), None)
    return found if bare == name or found in PACKED_FORMATS else None


class Reading(Section):
    """How the bytes of a file become rows. Text is never decoded by guess."""

    format: Format | None = Field(
        None,
        description="Default: what the suffix says. `files` is a folder of texts, one record a file.",
    )
    encoding: str = Field("utf-8", description="Declared, never guessed; utf-8 drops a leading BOM.")
    records: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="JSON: the path to the list of records, such as train or data.items."
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None,
        description="CSV: default is a comma (TSV: a tab); where the header lacks it, the only one of , ; tab | that it holds.",
    )
    quotes: Literal["standard", "none"] = Field(
        "standard", description="CSV and TSV: none takes every quote as a character like others."
    )
    header: bool = Field(True, description="CSV, TSV, Excel: without one, columns are numbers from 0.")
    sheet: str | None = Field(None, description="Excel: the sheet's name; default is the first.")

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        import codecs

        try:
            found = codecs.lookup(value)
            if not found._is_text_encoding:
                raise LookupError
            return found.name
        except LookupError:
            raise ValueError(
                f"no encoding is called {value!r}: use a name Python knows, such as cp1252"
            ) from None

    def may_share_file(self, other: Reading) -> bool:
        """Whether the two read different parts of a file: other records of a JSON document, or other sheets."""
        if self.records and other.records:
            one, two = f"{self.records}.", f"{other.records}."
            return not one.startswith(two) and not two.startswith(one)
        return bool(self.sheet and other.sheet and self.sheet != other.sheet)


class Shape(Section):
    """What the columns of a row mean, and how many records it holds."""

    layout: Layout | None = None
    fields: Fields = Fields()
    explode: Column | None = Field(
        None, description="A column that holds a list: each of its items is a record, with the row's columns."
    )
    replies: Literal["best", "all"] = Field(
        "best", description="Layout tree: the paths of best-ranked answers, or every path."
    )

    def mapped(self) -> Fields:
        """The fields of the layout, overridden by those given."""
        if self.layout is None:
            return self.fields
        given = {k: getattr(self.fields, k) for k in self.fields.model_fields_set}
        return LAYOUTS[self.layout].model_copy(update=given)

    def optional_columns(self) -> frozenset[str]:
        return OPTIONAL_COLUMNS.get(self.layout or "", frozenset())


class Readable(Reading, Shape):
    """What a source and an evaluation set have in common: a file, how to read it, what its columns mean."""

    path: Annotated[str, Field(min_length=1)]

    def shape(self) -> Shape:
        """Its part that says what rows mean, the layout's columns filled in."""
        return Shape(layout=self.layout, fields=self.mapped(), explode=self.explode, replies=self.replies)

    def reading(self) -> Reading:
        """How its files are read, the format settled."""
        values = {name: getattr(self, name) for name in Reading.model_fields}
        return Reading(**values | {"format": self.format or format_of(self.local_path)})

    @property
    def local_path(self) -> str:
        """The path below the spec's folder."""
        return self.path


class Source(Readable):
    """One source of raw records: where it is, what it is, and what may be done with it."""

    name: Name
    path: str = Field(
        "", description="Files below the spec's folder, or a URL fsspec knows; none with database."
    )
    database: Database | None = None
    storage: dict[str, Any] = Field({}, description="fsspec options of a URL; credentials as ${NAME}.")
    kind: Kind
    rank: Annotated[int, Field(ge=1)] | None = Field(None, description="Lower is preferred within a day.")
    access: str | None = Field(None, description="How one gets at it, in words.")
    collected_at: dt.date | None = Field(None, description="Collection day where the path has no {date}.")
    expected_daily: bool = Field(True, description="Warn on a day of {date} without a file.")
    rights: Rights
    generator: Generator | None = None

    @property
    def local_path(self) -> str:
        return local_pattern(self)

    @property
    def effective_rank(self) -> int:
        return self.rank if self.rank is not None else RANK_BY_KIND[self.kind]

    @model_validator(mode="after")
    def _has_a_day_and_a_generator(self) -> Source:
        dated = "{date}" in self.local_path
        if not dated and self.collected_at is None:
            raise ValueError("collected_at is required where path has no {date}: give the day of collection")
        if dated and self.collected_at is not None:
            raise ValueError("collected_at and {date} in path contradict each other: remove one")
        if self.kind == "synthetic" and self.generator is None:
            raise ValueError(
                "a synthetic source names its generator (model, provider, permits_training, terms, terms_reviewed)"
            )
        if self.generator is not None and not self.generator.permits_training:
            raise ValueError("the generator's terms do not permit training: the source cannot be used")
        if "train" not in self.rights.uses:
            raise ValueError("rights.uses lacks train: a source that may not train is not loaded; remove it")
        return self


class Near(Section):
    """Near-duplicate search: MinHash bands, every candidate verified by exact Jaccard."""

    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    ngram: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None,
        description="Words per shingle; 3, or 5 for completion: five lose half the pairs of short texts.",
    )
    bands: Annotated[int, Field(ge=1, le=128)] = Field(
        21, description="21 bands of 6 rows find a pair at 0.8 with 99.8 % probability."
    )
    rows: Annotated[int, Field(ge=1, le=32)] = 6
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    bucket_cap: Annotated[int, Field(ge=2)] = Field(
        200, description="A bucket that a template fills is compared with its earliest records only."
    )


class Dedup(Section):
    near: Near = Near()


class SideLimits(Section):
    """Limits on one side of a record; null switches a rule off, absent takes the task's default."""

    min_words: Annotated[int, Field(ge=0)] | None = None
    max_words: Annotated[int, Field(ge=1)] | None = None
    min_alpha_share: Share | None = None
    max_symbol_share: Share | None = None
    max_digit_share: Share | None = None
    max_repetition_share: Share | None = None
    max_markup_share: Share | None = None


class Profanity(Section):
    max_words: Annotated[int, Field(ge=0)] | None = Field(
        1, description="More listed words than this in the prompt drop the record; null switches it off."
    )
    add: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


class Filter(Section):
    input: SideLimits = SideLimits()
    output: SideLimits = SideLimits()
    max_tokens: Annotated[int, Field(ge=1)] | None = 4096
    chars_per_token: Annotated[float, Field(gt=0)] = Field(
        4.0, description="The usual estimate for English and byte-pair tokenizers."
    )
    automatic_replies: Literal["drop", "keep"] = "drop"
    profanity: Profanity = Profanity()


PiiEntity = Literal[
    "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "PERSON"
]
ALL_ENTITIES: tuple[PiiEntity, ...] = (
    "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "PERSON",
)  # fmt: skip


class Pii(Section):
    entities: tuple[PiiEntity, ...] = ALL_ENTITIES
    action: Literal["replace", "keep"] = Field(
        "replace",
        description="replace: a typed placeholder such as [EMAIL_ADDRESS]; keep: find and count only.",
    )
    phone_regions: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = Field(
        ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR"),
        description="Regions whose national phone formats are searched; Presidio's own default list.",
    )


class Normalize(Section):
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = Field(
        (), description="Languages kept (ISO 639-1); none: every language is kept and tagged."
    )
    pii: Pii = Pii()


class EvalSet(Readable):
    """A protected set: what it holds is kept out of the dataset."""

    name: Name


class Decontaminate(Section):
    ngram: Annotated[int, Field(ge=2, le=50)] = Field(
        13, description="Words; GPT-3's choice (2005.14165, app. C)."
    )
    min_coverage: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5,
        description="Share of the eval item's words that lie in matching n-grams; any match flags idioms.",
    )
    min_contained_words: Annotated[int, Field(ge=1)] = Field(
        5, description="Shorter items are only looked for as equals: contained whole they are idioms."
    )
    suspects: Literal["review", "drop", "keep"] = "review"
    sets: tuple[EvalSet, ...] = ()


class Label(Section):
    aliases: dict[str, str] = Field({}, description="A source's word for a label to the spec's label.")
    annotations: tuple[str, ...] = ()
    min_agreement: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.75
    aggregate: Literal["majority", "dawid_skene"] = "dawid_skene"


class Ratios(Section):
    train: Share = 0.8
    validation: Share = 0.1
    test: Share = 0.1

    @model_validator(mode="after")
    def _sum_to_one(self) -> Ratios:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"ratios sum to {total:g}, not 1")
        if self.train <= 0:
            raise ValueError("train must be above 0")
        return self

    def of(self, split: Split) -> float:
        return float(getattr(self, split.value))


class SplitSpec(Section):
    ratios: Ratios = Ratios()
    strategy: Literal["hash", "stratified", "temporal"] = "hash"
    seed: int = 7


ReleaseFormat = Literal["chat", "alpaca", "completion", "sharegpt", "preference", "parquet"]


class Release(Section):
    formats: Annotated[tuple[ReleaseFormat, ...], Field(min_length=1)] | None = Field(
        None,
        description="chat, alpaca and parquet where the task fits them; chat and parquet for multi-turn.",
    )
    license: str | None = Field(
        None, description="SPDX expression of the release; default: named per source."
    )


class Decision(Section):
    """A choice no computation knows. Goes into the dataset card."""

    what: Annotated[str, Field(min_length=1)]
    why: Annotated[str, Field(min_length=1)]
    who: str | None = None
    date: dt.date | None = None


class Gate(Section):
    """Tightens or relaxes one expectation, with a reason."""

    max: float | None = None
    min: float | None = None
    severity: Literal["critical", "warning"] | None = None
    reason: Annotated[str, Field(min_length=1)]


class Spec(Section):
    """The whole spec. Only name, task and sources have no default."""

    name: Name
    start: dt.date | None = Field(None, description="First day of the calendar; default: the earliest found.")
    task: Task
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    dedup: Dedup = Dedup()
    filter: Filter = Filter()
    normalize: Normalize = Normalize()
    decontaminate: Decontaminate = Decontaminate()
    label: Label = Label()
    reviews: tuple[str, ...] = ()
    split: SplitSpec = SplitSpec()
    release: Release = Release()
    decisions: tuple[Decision, ...] = ()
    gates: dict[str, dict[str, Gate]] = Field({}, description="step to expectation to its change.")
