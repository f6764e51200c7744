"""amounts: how many records a training usually needs for what it shall change, beside how many there are.

Lives here: the usual amounts, as guidance and never as a gate, and the sentences about them. Keep out: what the data
themselves say about more of them (`curve`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dataset_pipeline.spec.models import TaskType

Aim = Literal["style", "format", "domain", "ability"]

USUAL: dict[Aim, tuple[int, int | None]] = {
    "style": (100, 500),
    "format": (200, 1_000),
    "domain": (1_000, 10_000),
    "ability": (10_000, None),
}
"""Records of train that are usually enough, from and to; None: open. The project's guidance (its brief), rules of thumb:
what is in the records counts for more than how many there are."""

SAID: dict[Aim, str] = {
    "style": "a style",
    "format": "a form of answer",
    "domain": "the knowledge of a domain",
    "ability": "a new ability",
}

AIM_BY_TASK: dict[TaskType, Aim] = {
    "classification": "format",
    "preference": "style",
    "chat": "style",
    "instruction": "domain",
    "completion": "domain",
}
"""What a training usually changes, where the spec does not say: a label is a form of answer, preferred answers and
conversations teach how to speak, instructions and texts what to know."""

FEW_RECORDS = 10
"""A label with fewer records of train is named: neither learning nor judging it can be trusted."""
NAMED_LABELS = 10


@dataclass(frozen=True)
class Advice:
    """The usual amount for an aim beside what there is. Guidance: no number here opens or closes a gate."""

    aim: Aim
    is_guessed: bool
    """Whether the aim is that of the task type, because the spec names none (`training.aim`)."""
    low: int
    high: int | None
    """None: open."""
    have: int
    """Records of train."""
    sentences: tuple[str, ...]
    few: tuple[tuple[str, int], ...] = ()
    """Labels with fewer than FEW_RECORDS records of train, fewest first: all of them."""

    @property
    def usual(self) -> str:
        """The usual amount in words: `200 to 1,000`, `10,000 and more`."""
        return f"{self.low:,} and more" if self.high is None else f"{self.low:,} to {self.high:,}"


def advice(
    task_type: TaskType, aim: Aim | None, train_records: int, by_label: Mapping[str, int] | None = None
) -> Advice:
    """What is usual for an aim, and how that compares with what there is.

    aim: of the spec; None takes AIM_BY_TASK. by_label: label to its records of train, also 0, where answers are labels.
    """
    chosen = aim or AIM_BY_TASK[task_type]
    low, high = USUAL[chosen]
    few = tuple(
        sorted(
            ((label, n) for label, n in (by_label or {}).items() if n < FEW_RECORDS),
            key=lambda x: (x[1], x[0]),
        )
    )
    told = Advice(chosen, aim is None, low, high, train_records, (), few)
    guess = (
        f" That aim is guessed from the task type, {task_type}; `training.aim` in the spec names another."
        if told.is_guessed
        else ""
    )
    sentences = [
        f"For {SAID[chosen]}, {told.usual} records of train are a usual amount: guidance, not a rule.{guess}",
        _compared(told),
        *([_few_labels(few)] if few else []),
    ]
    return Advice(chosen, aim is None, low, high, train_records, tuple(sentences), few)


def _compared(told: Advice) -> str:
    have = f"There {'is' if told.have == 1 else 'are'} {told.have:,}"
    if told.have < told.low:
        return f"{have}: fewer than usual. Few good records can be enough; judge by validation, not by the number."
    if told.high is not None and told.have > told.high:
        return f"{have}: more than usual. More of the same may bring little; the learning curve says more where there is one."
    return f"{have}: within the usual amount."


def _few_labels(few: tuple[tuple[str, int], ...]) -> str:
    named = ", ".join(f"{label} ({n})" for label, n in few[:NAMED_LABELS])
    more = f", and {len(few) - NAMED_LABELS:,} more" if len(few) > NAMED_LABELS else ""
    return (
        f"Labels with fewer than {FEW_RECORDS} records of train: {named}{more}. Collect more of these first."
    )
