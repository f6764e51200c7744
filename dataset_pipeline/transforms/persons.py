"""Persons of a record: the names it is known to hold, found in all of its messages; and the words put in place of what was found.

Lives here: where names are known from (columns, what the messages say, a model), pseudonyms of a whole record. Keep out: which
occurrences of a name count (`pii_names`), forms of letters (`pii_letters`), opening models (`storage.name_models`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from dataset_pipeline.memo import Memo
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.transforms.pii import FINDINGS, Finding, find_persons, resolved
from dataset_pipeline.transforms.pii_letters import named_in
from dataset_pipeline.transforms.pseudonyms import Key, person, plain_value

LETTER_SCORE = 0.7
MODEL_SCORE = 0.85
"""What Presidio gives a name that spaCy found."""
VERSION = 1
"""Raised when what is found with a model changes."""


class PersonModel(Protocol):
    """A model that finds names in running text."""

    @property
    def identity(self) -> str:
        """What tells it apart: other words, other findings."""

    def persons(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each name in `text`, in order."""


@dataclass(frozen=True)
class Helpers:
    """What normalize uses besides the spec: a key where it asks for pseudonyms, a model where it names one."""

    key: Key | None = None
    model: PersonModel | None = None


NONE = Helpers()

Findings = list[list[Finding]]


def find_in_records(
    messages: Sequence[Sequence[str | None]],
    names: Sequence[Sequence[str | None] | None],
    found: Mapping[str, list[Finding]],
    pii: Pii,
    memo: Memo,
    helpers: Helpers,
) -> list[tuple[Findings, tuple[str, ...]]]:
    """Of each record: the findings of each message, and the names that were looked for.

    messages: the texts of each record; None for one that is not searched. names: those of the record's columns. found: text to its
    findings of other entities. A name that one message gives is looked for in all messages of its record.
    """
    if "PERSON" not in pii.entities:
        return [([found[text] if text is not None else [] for text in own], ()) for own in messages]
    texts = sorted({text for own in messages for text in own if text is not None})
    nobodys = frozenset(text.casefold() for text in pii.allow)
    by_model = _by_model(texts, memo, helpers.model)
    said = {}
    for text in texts:
        places = [Finding(start, end, "PERSON", LETTER_SCORE) for start, end in named_in(text)]
        places += by_model.get(text, [])
        kept = [f for f in places if text[f.start : f.end].casefold() not in nobodys]
        if kept:
            said[text] = kept
    return [
        _of_record(own, tuple(n for n in given or () if n and n.casefold() not in nobodys), found, said)
        for own, given in zip(messages, names, strict=True)
    ]


def _by_model(texts: list[str], memo: Memo, model: PersonModel | None) -> dict[str, list[Finding]]:
    if model is None:
        return {}

    def search(distinct: pl.Series) -> pl.DataFrame:
        rows = [
            [vars(Finding(start, end, "PERSON", MODEL_SCORE)) for start, end in model.persons(text)]
            for text in distinct
        ]
        return pl.DataFrame({"findings": rows}, schema={"findings": FINDINGS})

    told = memo("persons", VERSION, model.identity, pl.Series("text", texts, dtype=pl.String), search)
    rows = told["findings"].to_list()
    return {text: [Finding(**f) for f in row] for text, row in zip(texts, rows, strict=True) if row}


def _of_record(
    messages: Sequence[str | None],
    known: tuple[str, ...],
    found: Mapping[str, list[Finding]],
    said: Mapping[str, list[Finding]],
) -> tuple[Findings, tuple[str, ...]]:
    own = {text: said[text] for text in messages if text is not None and text in said}
    guessed = tuple(dict.fromkeys(text[f.start : f.end] for text, findings in own.items() for f in findings))
    if not known and not guessed:
        return [found[text] if text is not None else [] for text in messages], ()
    findings: Findings = []
    for text in messages:
        if text is None:
            findings.append([])
            continue
        persons = [*find_persons(text, known, guessed), *own.get(text, ())]
        findings.append(resolved(text, [*found[text], *persons]) if persons else found[text])
    return findings, (*known, *guessed)


def pseudonyms_of(
    helpers: Helpers, names: Sequence[str], regions: tuple[str, ...]
) -> Callable[[Finding, str], str]:
    """The words in place of a record's findings: one for all writings of a person, an address, a number.

    names: those of the record. Raises ValueError without a key.
    """
    key = helpers.key
    if key is None:
        raise ValueError("pseudonyms need a key")

    def word(finding: Finding, written: str) -> str:
        if finding.entity == "PERSON":
            return key.pseudonym("PERSON", person(written, names))
        return key.pseudonym(finding.entity, plain_value(finding.entity, written, regions))

    return word
