"""What a guess is: the shape of some rows, the task it fits, labels, and what a person should know.

Lives here: the type that guesses are made of. Keep out: guessing (`guessing`, `guess_talks`, `guess_labels`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_pipeline.spec.models import TaskType
from dataset_pipeline.spec.reading import Fields, Layout, Shape

NO_FIELDS = Fields()
Labels = Callable[[Shape], "Counter[str] | None"]
"""How often each label occurs under a shape, over all rows; None where there are more than MAX_LABELS."""


@dataclass(frozen=True)
class Guess:
    """fields: only what the layout does not say. notes: comments for the spec. unused: columns not read."""

    task: TaskType
    layout: Layout | None = None
    fields: Fields = NO_FIELDS
    explode: str | None = None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        return Shape(layout=self.layout, fields=self.fields, explode=self.explode)

    @property
    def words(self) -> str:
        """The layout in a word; `fields` where its columns are mapped one by one."""
        return f"{self.layout or 'fields'}{f' (exploding {self.explode})' if self.explode else ''}"


def share(values: Sequence[Any], fits: Callable[[Any], bool]) -> float:
    """The share of values that fit; 0 where there are none."""
    return sum(1 for value in values if fits(value)) / len(values) if values else 0.0
