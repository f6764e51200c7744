"""The spec as strict models: every key, its type, its default and where the default comes from.

Lives here: what a spec may say. Keep out: reading YAML and files (`load`), what each step
receives (`params`). Field descriptions become the JSON Schema that editors show.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from dataset_pipeline.records import Split
from dataset_pipeline.spec.places import Database, local_pattern
from dataset_pipeline.spec.reading import Readable
from dataset_pipeline.spec.section import Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]

TaskType = Literal["classification", "instruction", "chat", "completion", "preference"]
Kind = Literal["first_party", "licensed", "public_web", "synthetic"]
Use = Literal["train", "evaluate", "commercial", "redistribute"]

RANK_BY_KIND: dict[str, int] = {"first_party": 1, "licensed": 2, "public_web": 3, "synthetic": 4}
"""First-party text is the closest to what the model will see; generated text the furthest."""


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
    max_age_days: Annotated[int, Field(ge=0)] = Field(
        1,
        description="Days that its newest file may lie back before its check `fresh` warns; 1 is yesterday.",
    )
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
        28, description="28 bands of 6 rows find a pair at 0.8 with 99.98 % probability, 21 with 99.8 %."
    )
    rows: Annotated[int, Field(ge=1, le=32)] = 6
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    bucket_cap: Annotated[int, Field(ge=2)] = Field(
        200, description="A bucket that a template fills is compared with its earliest records only."
    )


class Semantic(Section):
    """Texts that say the same in other words. Off unless it is named: varied phrasing is usually wanted."""

    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.95,
        description="Cosine from which two texts say the same. At 0.95 the default encoder's pairs of equal numbers have one "
        "label in 98 of 100 (measured on banking77 and clinc150); at 0.9 in 96. Measure anew for an encoder of your own.",
    )
    encoder: str | None = Field(
        None,
        description="A folder below the spec's with an ONNX model and tokenizer.json, as sentence-transformers lays it out; "
        "default: TF-IDF of character n-grams with truncated SVD, which needs no weights.",
    )
    same_numbers: bool = Field(
        True, description="Texts with different numbers never say the same: encoders hardly tell 3 from 4."
    )
    fit_records: Annotated[int, Field(ge=2, le=20_000)] = Field(
        2_000,
        description="First kept records that the default encoder is fitted on, for ever; 5,000 find the same (measured).",
    )


class Dedup(Section):
    near: Near = Near()
    semantic: Semantic | None = Field(
        None,
        description="Texts that say the same in other words; absent: they are counted in the report and kept.",
    )


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
    review_margin: Share = Field(
        0.1,
        description="A share that misses its limit by less than this fraction of it waits for a review; 0 drops at once.",
    )
    max_sides_similarity: Share | None = Field(
        0.9,
        description="Preference: answers with more words in common than this prefer nothing; null keeps them.",
    )
    profanity: Profanity = Profanity()


PiiEntity = Literal[
    "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "PERSON", "URL"
]
EVERY_ENTITY: tuple[PiiEntity, ...] = get_args(PiiEntity)
ALL_ENTITIES: tuple[PiiEntity, ...] = tuple(entity for entity in EVERY_ENTITY if entity != "URL")
"""The default: addresses of pages carry meaning more often than they name a person."""


class Pii(Section):
    entities: tuple[PiiEntity, ...] = ALL_ENTITIES
    action: Literal["replace", "pseudonym", "keep"] = Field(
        "replace",
        description="replace: a typed placeholder such as [EMAIL_ADDRESS]; pseudonym: one such as [PERSON:mz4kq2w7ba], the same for "
        "the same value under one key; keep: find and count only.",
    )
    allow: tuple[str, ...] = Field(
        (),
        description="What is nobody's: names of your products, addresses and numbers of your own desks. Compared whole, in any case.",
    )
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        "DATASET_PIPELINE_PSEUDONYM_KEY",
        description="Environment variable that holds the secret key of pseudonyms, 16 bytes or more; the key stands nowhere else.",
    )
    model: str | None = Field(
        None,
        description="spaCy model that finds names of persons in running text: an installed package, or a folder beside the spec. None: "
        "names are known from columns, salutations, signatures and introductions.",
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
    """A protected set: what it holds is kept out of the dataset. Without a mapping, its files' columns say what they are."""

    name: Name

    @property
    def is_mapped(self) -> bool:
        """Whether the spec says which columns are asked; else the usual layouts are tried (`transforms.eval_layouts`)."""
        fields = self.fields
        named = (fields.input, fields.messages, fields.chosen, self.layout, self.explode)
        return any(value is not None for value in named)


class Paraphrase(Section):
    """Protected items told in other words: by what record and item share in rare words, numbers and word pairs."""

    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5,
        description="Score from which a record is a suspect; at 0.5 one clean record of a hundred is, of the hardest kind measured.",
    )
    min_words: Annotated[int, Field(ge=5)] = Field(
        20,
        description="Shorter items are not looked for: short questions on one subject are all alike (measured).",
    )


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
    paraphrase: Paraphrase | None = Field(
        Paraphrase(), description="Null switches the search for reworded items off."
    )
    suspects: Literal["review", "drop", "keep"] = "review"
    sets: tuple[EvalSet, ...] = ()


class AnnotationFields(Section):
    """Columns of an annotation file in long form. Optional ones may be absent."""

    item: str = Field(
        "item", description="Our record id, or `source:id`; with `source` given, that source's own id."
    )
    annotator: str = "annotator"
    label: str = "label"
    confidence: str = Field("confidence", description="Optional: a number from 0 to 1.")
    notes: str = Field("notes", description="Optional: free text; shown in the review queue, never released.")
    secondary: str = Field("secondary", description="Optional: the annotator's second choice.")


class AnnotationSet(Section):
    """Files of annotations: one row an answer, or one row an item with a column for each annotator."""

    path: Annotated[
        str, Field(min_length=1, description="CSV, TSV or JSON Lines below the spec's folder; globs allowed.")
    ]
    source: Name | None = Field(None, description="The source whose own ids the items are.")
    fields: AnnotationFields = AnnotationFields()
    annotators: tuple[str, ...] = Field(
        (), description="Wide form: columns, each holding one annotator's labels; empty cells are no answers."
    )
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @model_validator(mode="after")
    def _annotators_differ(self) -> AnnotationSet:
        if len(set(self.annotators)) != len(self.annotators):
            raise ValueError("annotators names a column twice")
        return self


class Label(Section):
    aliases: dict[str, str] = Field({}, description="A source's word for a label to the spec's label.")
    annotations: tuple[str | AnnotationSet, ...] = Field(
        (), description="Paths (long form, usual names), or objects that map the columns."
    )
    min_agreement: Annotated[float, Field(ge=-1.0, le=1.0)] = Field(
        0.75, description="Krippendorff's alpha below this closes the gate of `annotations`."
    )
    aggregate: Literal["majority", "dawid_skene"] = "dawid_skene"

    @property
    def annotation_sets(self) -> tuple[AnnotationSet, ...]:
        return tuple(AnnotationSet(path=a) if isinstance(a, str) else a for a in self.annotations)


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


Window = tuple[dt.date, dt.date]
"""First and last day, both included."""


class SplitSpec(Section):
    ratios: Ratios = Ratios()
    strategy: Literal["hash", "stratified", "temporal"] = "hash"
    seed: int = 7
    validation: Window | None = Field(None, description="temporal: first and last day of collection.")
    test: Window | None = Field(None, description="temporal: first and last day of collection.")

    @model_validator(mode="after")
    def _windows_fit(self) -> SplitSpec:
        windows = [w for w in (self.validation, self.test) if w is not None]
        if self.strategy != "temporal" and windows:
            raise ValueError(
                f"validation and test are windows of strategy temporal, not of {self.strategy}: remove them"
            )
        if self.strategy == "temporal" and not windows:
            raise ValueError("temporal needs a window: test: [first day, last day], and validation likewise")
        if self.strategy == "temporal" and "ratios" in self.model_fields_set:
            raise ValueError(
                "ratios mean nothing for temporal: the windows say what is held out; remove them"
            )
        for first, last in windows:
            if first > last:
                raise ValueError(f"the window [{first}, {last}] runs backwards")
        if len(windows) == 2 and windows[0][0] <= windows[1][1] and windows[1][0] <= windows[0][1]:
            raise ValueError("the windows of validation and test overlap")
        return self


class Retention(Section):
    """How long texts are kept in the warehouse. Ids, verdicts and measurements stay."""

    dropped_text_days: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Days after collection that the text of dropped records is kept; default: as long as the warehouse.",
    )


ReleaseFormat = Literal["chat", "alpaca", "completion", "sharegpt", "preference", "parquet"]


class Price(Section):
    """What training costs: the price of a token, as the provider states it."""

    per_million_tokens: Annotated[float, Field(ge=0.0, description="Of a million trained tokens.")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217.")] = "USD"


class Training(Section):
    """How the release will be trained on: what its tokens are, how many fit, what they cost."""

    tokenizer: str | None = Field(
        None,
        description="A folder below the spec's with tokenizer.json and tokenizer_config.json, or a tokenizer.json; "
        "none: tokens are estimated by filter.chars_per_token.",
    )
    chat_template: str | None = Field(
        None, description="A Jinja file below the spec's folder; default: the tokenizer's own."
    )
    max_length: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Tokens of a record that the trainer reads; what is longer is cut at its end."
    )
    epochs: Annotated[int, Field(ge=1)] = Field(
        1, description="Times that train is read; the cost is of all of them."
    )
    price: Price | None = Field(None, description="Without it no cost is told.")
    aim: Literal["style", "format", "domain", "ability"] | None = Field(
        None,
        description="What the training shall change; default by task. Decides the amount that is advised.",
    )


class Release(Section):
    formats: Annotated[tuple[ReleaseFormat, ...], Field(min_length=1)] | None = Field(
        None,
        description="chat, alpaca and parquet where the task fits them; chat and parquet for multi-turn.",
    )
    license: str | None = Field(
        None, description="SPDX expression of the release; default: the strictest of its records."
    )
    uses: Annotated[tuple[Use, ...], Field(min_length=1)] = Field(
        ("train",),
        description="What the release is for. A use that the rights of some record do not allow closes the gate.",
    )
    compression: Literal["none", "gzip", "zstd"] = Field("none", description="Of the JSONL files.")
    max_shard_mb: Annotated[int, Field(ge=1)] = Field(
        500, description="Megabytes before packing above which a file is sharded; 500 is the Hub's default."
    )
    keep: Annotated[int, Field(ge=1)] | None = Field(
        30,
        description="Releases that stay in the folder, the newest; also kept: `latest` and what a tag names. Null: all.",
    )


Owner = Annotated[
    str,
    Field(
        pattern=r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$",
        description="A mail address, or team:NAME.",
    ),
]


class Schedule(Section):
    """The night: when it runs by itself, for how long, and who is told where it fails."""

    cron: str = Field(
        "0 2 * * *", description="Five fields, UTC. It makes the day before, and all that is not up to date."
    )
    max_runtime_minutes: Annotated[int, Field(ge=1)] = Field(
        720, description="A run that takes longer is ended; what it has published stays."
    )
    webhook: str | None = Field(
        None,
        description="URL that gets a JSON message where a run fails; ${NAME} takes a value from the environment.",
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
    owners: tuple[Owner, ...] = Field(
        (), description="Who answers for the dataset: shown at every asset, named in alarms."
    )
    start: dt.date | None = Field(None, description="First day of the calendar; default: the earliest found.")
    task: Task
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    dedup: Dedup = Dedup()
    filter: Filter = Filter()
    normalize: Normalize = Normalize()
    decontaminate: Decontaminate = Decontaminate()
    label: Label = Label()
    reviews: tuple[str, ...] = Field(
        (), description="CSV files of verdicts below the spec's folder; globs allowed."
    )
    split: SplitSpec = SplitSpec()
    release: Release = Release()
    training: Training = Training()
    retention: Retention = Retention()
    schedule: Schedule = Schedule()
    decisions: tuple[Decision, ...] = ()
    gates: dict[str, dict[str, Gate]] = Field({}, description="step to expectation to its change.")

    def as_released(self) -> dict[str, Any]:
        """What is set, as JSON, without the keys that say only when and for whom a release is made: a release does not
        depend on them, and a webhook may hold a secret."""
        return self.model_dump(mode="json", exclude_unset=True, exclude=_OPERATIONAL)


_OPERATIONAL: dict[str, Any] = {
    "owners": True,
    "schedule": True,
    "release": {"keep"},
    "sources": {"__all__": {"max_age_days"}},
}
