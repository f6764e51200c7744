"""What each step receives: small frozen objects, made from the spec and nothing else.

Lives here: one params class per step and `params_of`, the only place that says which leaf of
the spec reaches which step. A step's recipe contains the hash of its params, so a leaf read
here makes exactly those steps stale. Keep out: reading files, deciding anything about records.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from dataset_pipeline.records import ANNOTATIONS, PROTECTED, RELEASE, REPORT, REVIEWS, Step
from dataset_pipeline.spec import beside
from dataset_pipeline.spec.models import (
    EVERY_ENTITY,
    AnnotationSet,
    Decision,
    EvalSet,
    Example,
    Gate,
    Generator,
    Near,
    Paraphrase,
    Pii,
    Ratios,
    Rights,
    Semantic,
    SideLimits,
    Source,
    Spec,
    Task,
    Training,
    Use,
    Window,
)
from dataset_pipeline.spec.reading import Reading, Shape

_BESIDE = ("encoder_files", "model_files", "pseudonym_key")
"""Leaves that tell what the spec names outside of it (`spec.beside`); empty where it names nothing."""


class Params(BaseModel):
    """Base of all params: frozen; `hash()` is stable across runs and machines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    """The step's version constant: raised when its result changes for equal input."""
    gates: dict[str, Gate] = {}

    def hash(self) -> str:
        # What the spec does not name says nothing: a step's hash is what it was before a spec could name it.
        unnamed = {name for name in _BESIDE if getattr(self, name, None) == ""}
        return hashlib.sha256(self.model_dump_json(exclude=unnamed).encode()).hexdigest()


class SourceParams(BaseModel):
    """One source as ingest reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    rank: int
    path: str
    collected_at: str | None
    access: str | None
    reading: Reading = Reading()
    shape: Shape
    """Its fields are those of the layout, overridden by those given."""
    rights: Rights
    generator: Generator | None
    expected_daily: bool


class IngestParams(Params):
    version: int = 1
    task_type: str
    answers_are_labels: bool
    start: str | None
    sources: tuple[SourceParams, ...]


class DedupParams(Params):
    version: int = 1
    answers_are_labels: bool
    has_pairs: bool = False
    """Records are preference pairs: the worse answer counts too."""
    label_names: dict[str, str]
    """Folded label or alias to the spec's label: two names of one label are equal answers."""
    near: Near
    ngram: int
    semantic: Semantic | None = None
    encoder_files: str = ""
    """What tells the encoder apart that `semantic` names."""


class FilterParams(Params):
    version: int = 1
    answers_are_labels: bool
    prompt: SideLimits
    answer: SideLimits
    max_tokens: int | None
    chars_per_token: float
    drop_automatic_replies: bool
    max_profane_words: int | None
    profane_add: tuple[str, ...]
    profane_allow: tuple[str, ...]
    review_margin: float = 0.0
    max_sides_similarity: float | None = None
    examples: tuple[Example, ...]


class NormalizeParams(Params):
    version: int = 1
    answers_are_labels: bool
    languages: tuple[str, ...]
    pii: Pii
    model_files: str = ""
    """What tells the model of names apart."""
    pseudonym_key: str = ""
    """The id of the key; the key itself is in no params."""


class ProtectedParams(Params):
    version: int = 1
    answers_are_labels: bool
    examples: tuple[Example, ...]
    sets: tuple[EvalSet, ...]


class DecontaminateParams(Params):
    version: int = 2
    answers_are_labels: bool
    ngram: int
    min_coverage: float
    min_contained_words: int
    paraphrase: Paraphrase | None = None
    suspects: str


class LabelParams(Params):
    version: int = 1
    answers_are_labels: bool
    has_pairs: bool = False
    labels: tuple[str, ...]
    label_names: dict[str, str]


class ReviewsParams(Params):
    version: int = 1
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    label_names: dict[str, str]


class AnnotationsParams(Params):
    version: int = 1
    sets: tuple[AnnotationSet, ...]
    labels: tuple[str, ...]
    label_names: dict[str, str]
    aggregate: str
    min_agreement: float


class ReportParams(Params):
    """What lists waiting records: personal data is replaced in it whatever the dataset keeps."""

    version: int = 1
    answers_are_labels: bool
    pii: Pii
    model_files: str = ""


class SplitParams(Params):
    version: int = 1
    answers_are_labels: bool
    has_pairs: bool = False
    ratios: Ratios
    strategy: str
    validation: Window | None = None
    test: Window | None = None
    seed: int
    near: Near
    ngram: int


class ReleaseParams(Params):
    version: int = 2
    name: str
    task: Task
    formats: tuple[str, ...]
    license: str | None
    uses: tuple[Use, ...] = ("train",)
    compression: Literal["none", "gzip", "zstd"] = "none"
    max_shard_mb: int = 500
    training: Training = Training()
    chars_per_token: float = 4.0
    """Of the estimate where no tokenizer is named: the one that filter uses."""
    decisions: tuple[Decision, ...]


def label_names(spec: Spec) -> dict[str, str]:
    """Folded label or alias to the spec's label."""
    names = {name.strip().casefold(): name for name in spec.task.label_names}
    names |= {alias.strip().casefold(): name for alias, name in spec.label.aliases.items()}
    return dict(sorted(names.items()))


def shingle_words(spec: Spec) -> int:
    """Words per shingle: as given, else 5 for documents and 3 for everything shorter."""
    given = spec.dedup.near.ngram
    return given if given is not None else (5 if spec.task.type == "completion" else 3)


_PROMPT_DEFAULTS = SideLimits(
    min_words=1,
    max_words=2000,
    min_alpha_share=0.25,
    max_symbol_share=0.4,
    max_digit_share=0.6,
    max_repetition_share=0.6,
    max_markup_share=0.8,
)
"""Wide enough for code and tables in instructions: only what is not text at all falls."""

_CLASSIFICATION_PROMPT = _PROMPT_DEFAULTS.model_copy(
    update={"min_alpha_share": 0.3, "max_symbol_share": 0.3, "max_digit_share": 0.5, "max_repetition_share": 0.5,
            "max_markup_share": 0.3}
)  # fmt: skip
"""Messages people wrote: mostly letters, little markup."""

_ANSWER_DEFAULTS = SideLimits(min_words=1, max_words=4000, max_repetition_share=0.7)
"""Answers may be a number or code: web-page rules drop 64 to 95 % of good ones (measured)."""


def _limits(given: SideLimits, default: SideLimits) -> SideLimits:
    return default.model_copy(update={k: getattr(given, k) for k in given.model_fields_set})


def _source(source: Source) -> SourceParams:
    return SourceParams(
        name=source.name,
        kind=source.kind,
        rank=source.effective_rank,
        path=source.local_path,
        collected_at=source.collected_at.isoformat() if source.collected_at else None,
        access=source.access,
        reading=source.reading(),
        shape=source.shape(),
        rights=source.rights,
        generator=source.generator,
        expected_daily=source.expected_daily,
    )


def release_formats(spec: Spec) -> tuple[str, ...]:
    """The formats given, else those that hold the task whole."""
    if spec.release.formats is not None:
        return tuple(dict.fromkeys(spec.release.formats))
    if spec.task.type == "chat":
        return ("chat", "parquet")
    if spec.task.type == "preference":
        return ("preference", "parquet")
    return ("chat", "alpaca", "parquet")


def params_of(spec: Spec) -> dict[str, Params]:
    """The params of every step of `spec`, by step name."""
    labels = spec.task.answers_are_labels
    pairs = spec.task.type == "preference"

    def gates(step: str) -> dict[str, Any]:
        return {"gates": dict(sorted(spec.gates.get(step, {}).items()))}

    prompt_default = _CLASSIFICATION_PROMPT if labels else _PROMPT_DEFAULTS
    return {
        Step.INGEST: IngestParams(
            task_type=spec.task.type,
            answers_are_labels=labels,
            start=spec.start.isoformat() if spec.start else None,
            sources=tuple(_source(source) for source in sorted(spec.sources, key=lambda s: s.name)),
            **gates(Step.INGEST),
        ),
        REVIEWS: ReviewsParams(
            paths=spec.reviews, labels=spec.task.label_names, label_names=label_names(spec), **gates(REVIEWS)
        ),
        ANNOTATIONS: AnnotationsParams(
            sets=spec.label.annotation_sets,
            labels=spec.task.label_names,
            label_names=label_names(spec),
            aggregate=spec.label.aggregate,
            min_agreement=spec.label.min_agreement,
            **gates(ANNOTATIONS),
        ),
        REPORT: ReportParams(
            answers_are_labels=labels,
            pii=spec.normalize.pii.model_copy(update={"action": "replace", "entities": EVERY_ENTITY}),
            **gates(REPORT),
        ),
        Step.DEDUP: DedupParams(
            answers_are_labels=labels,
            has_pairs=pairs,
            label_names=label_names(spec),
            near=spec.dedup.near,
            ngram=shingle_words(spec),
            semantic=spec.dedup.semantic,
            **gates(Step.DEDUP),
        ),
        Step.FILTER: FilterParams(
            answers_are_labels=labels,
            prompt=_limits(spec.filter.input, prompt_default),
            answer=_limits(spec.filter.output, _ANSWER_DEFAULTS),
            max_tokens=spec.filter.max_tokens,
            chars_per_token=spec.filter.chars_per_token,
            drop_automatic_replies=spec.filter.automatic_replies == "drop"
            and spec.task.type in ("classification", "instruction"),
            max_profane_words=spec.filter.profanity.max_words,
            profane_add=spec.filter.profanity.add,
            profane_allow=spec.filter.profanity.allow,
            review_margin=spec.filter.review_margin,
            max_sides_similarity=spec.filter.max_sides_similarity,
            examples=spec.task.examples,
            **gates(Step.FILTER),
        ),
        Step.NORMALIZE: NormalizeParams(
            answers_are_labels=labels,
            languages=spec.normalize.languages,
            pii=spec.normalize.pii,
            **gates(Step.NORMALIZE),
        ),
        PROTECTED: ProtectedParams(
            answers_are_labels=labels,
            examples=spec.task.examples,
            sets=spec.decontaminate.sets,
            **gates(PROTECTED),
        ),
        Step.DECONTAMINATE: DecontaminateParams(
            answers_are_labels=labels,
            ngram=spec.decontaminate.ngram,
            min_coverage=spec.decontaminate.min_coverage,
            min_contained_words=spec.decontaminate.min_contained_words,
            paraphrase=spec.decontaminate.paraphrase,
            suspects=spec.decontaminate.suspects,
            **gates(Step.DECONTAMINATE),
        ),
        Step.LABEL: LabelParams(
            answers_are_labels=labels,
            has_pairs=pairs,
            labels=spec.task.label_names,
            label_names=label_names(spec),
            **gates(Step.LABEL),
        ),
        Step.SPLIT: SplitParams(
            answers_are_labels=labels,
            has_pairs=pairs,
            validation=spec.split.validation,
            test=spec.split.test,
            ratios=spec.split.ratios,
            strategy=spec.split.strategy,
            seed=spec.split.seed,
            near=spec.dedup.near,
            ngram=shingle_words(spec),
            **gates(Step.SPLIT),
        ),
        RELEASE: ReleaseParams(
            name=spec.name,
            task=spec.task,
            formats=release_formats(spec),
            license=spec.release.license,
            uses=spec.release.uses,
            compression=spec.release.compression,
            max_shard_mb=spec.release.max_shard_mb,
            training=spec.training,
            chars_per_token=spec.filter.chars_per_token,
            decisions=spec.decisions,
            **gates(RELEASE),
        ),
    }


def with_beside(params: dict[str, Params], root: Path) -> dict[str, Params]:
    """`params` with what tells apart what the spec names outside of it: models on disk, the key of pseudonyms."""
    normalize, dedup = cast(NormalizeParams, params[Step.NORMALIZE]), cast(DedupParams, params[Step.DEDUP])
    pii, semantic, changed = normalize.pii, dedup.semantic, dict(params)
    found: dict[str, str] = {}
    if pii.model is not None:
        found["model_files"] = beside.identity_of_model(root, pii.model)
        changed[REPORT] = params[REPORT].model_copy(update=found)
    if pii.action == "pseudonym":
        found["pseudonym_key"] = beside.key_id(beside.secret_of(pii.key_variable))
    if found:
        changed[Step.NORMALIZE] = normalize.model_copy(update=found)
    if semantic is not None and semantic.encoder is not None:
        files = {"encoder_files": beside.identity_of_folder(root / semantic.encoder)}
        changed[Step.DEDUP] = dedup.model_copy(update=files)
    return changed
