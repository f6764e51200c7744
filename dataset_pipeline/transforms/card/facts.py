"""What a dataset card says, as numbers and names.

Lives here: the facts of a card. Keep out: computing them (`assets.release_facts`), words (`whole` and its parts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataset_pipeline.spec.models import Decision, Task
from dataset_pipeline.transforms.rights import ReleaseRights
from dataset_pipeline.transforms.tokens import TokenFacts

MIN_TEST_RECORDS = 10
"""Labels with fewer records, or fewer in test, are named: a share of ten moves in steps of ten points."""


@dataclass(frozen=True)
class SourceFacts:
    """One source as the card shows it. Its rights stand in ReleaseRights.grants, batch by batch."""

    name: str
    kind: str
    collected: int
    released: int
    access: str | None = None
    """How one gets at it, in the words of the spec."""
    generator: str | None = None
    cleaned: int = 0
    """Released records whose text was changed by cleaning."""
    scrubbed: int = 0
    """Released records in which personal data was found."""
    relabelled: int = 0
    """Released records whose label is not the source's own."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """step to records that it did not keep."""


@dataclass(frozen=True)
class PairFacts:
    """Preference pairs as the card shows them.

    chosen_longer: share of pairs whose chosen answer is the longer one in characters, a tie counting half.
    chosen_chars, rejected_chars: medians. similarity, similarity_high: median and 95th percentile of the share
    of words that both answers have.
    """

    pairs: int
    chosen_longer: float
    chosen_chars: float
    rejected_chars: float
    similarity: float
    similarity_high: float


@dataclass(frozen=True)
class AgreementFacts:
    """How far annotators agree. No names of annotators: the card is for everybody."""

    alpha: float | None
    items: int
    """With two answers or more."""
    annotators: int
    by_label: Sequence[tuple[str, float | None, int]]
    """label, alpha of it against all others, items where somebody said it."""
    kappas: Sequence[float]
    """Cohen's, of every pair of annotators with enough items in common, lowest first."""
    minimum: float
    """label.min_agreement."""
    aggregate: str
    labels_from_annotations: int
    """Released records whose label is the annotators' consensus."""


@dataclass(frozen=True)
class ReviewFacts:
    """What people decided about single records."""

    acting: Sequence[tuple[str, str, int]]
    """step, verdict, number of verdicts that act."""
    idle: Mapping[str, int]
    """State to number of verdicts that do not act: overruled, conflict, unknown_record."""


@dataclass(frozen=True)
class CardFacts:
    """Everything the card says."""

    name: str
    task: Task
    rights: ReleaseRights
    data_files: Mapping[str, Mapping[str, Sequence[str]]]
    """format to split to paths inside the release."""
    days: tuple[str, str]
    sources: Sequence[SourceFacts]
    splits: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    """label to split to count, every label of the spec; empty for tasks without labels."""
    funnel: Sequence[tuple[str, int, int, Mapping[str, int]]]
    """step, rows in, kept, dropped by reason."""
    rejected: int
    not_made: int
    """Collected records that a step has not judged."""
    languages: Mapping[str, int]
    """Of the prompts, most first."""
    answer_languages: Mapping[str, int]
    """Of the answers, most first; empty where answers are labels."""
    wanted_languages: Sequence[str]
    """normalize.languages; empty: all."""
    pii: Mapping[str, int]
    pii_action: str
    eval_sets: Mapping[str, int]
    decisions: Sequence[Decision]
    missing_days: Sequence[str]
    stale_days: Sequence[str]
    """Days that are released with rows of an earlier spec, input or version."""
    settings: Sequence[tuple[str, str]]
    versions: Mapping[str, str]
    pseudonym_key: str = ""
    """The id of the key under which personal data became pseudonyms; empty where it did not."""
    seal: str = ""
    """transforms.sealing: of what the manifest says beside clock values."""
    tokens: TokenFacts | None = None
    agreement: AgreementFacts | None = None
    """None where nobody annotated."""
    reviews: ReviewFacts | None = None
    """None where nobody reviewed."""
    pairs: PairFacts | None = None
