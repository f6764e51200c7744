"""Texts in which personal data is looked for: sets of several kinds, and templates whose spans are labelled.

Lives here: which texts, which labels. Keep out: who searches (`peers/`), what is counted (`personal`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.mixed import csv_rows
from benchmarks.planted import json_of, lines_of

ENTITIES = ("CREDIT_CARD", "PHONE_NUMBER", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "US_SSN")
"""What both labelled sets know and the spec's default looks for."""
LETTERS = ("letters_1", "letters_2", "letters_3")
LETTER_ENTITIES = (*ENTITIES, "URL", "PERSON")
_OWN = Path(__file__).parent.parent / "dataset_pipeline_tests" / "personal_data"
SEED = 7


@dataclass(frozen=True)
class Labelled:
    """A text and its personal data of ENTITIES: (start, end, entity)."""

    text: str
    spans: list[tuple[int, int, str]]


def labelled(data: Path) -> list[Labelled]:
    rows = json_of(data / "presidio_shared/presidio_v2_templates_even.json.gz")
    return [Labelled(row["full_text"], _spans(row)) for row in rows]


def _spans(row: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [
        (span["start_position"], span["end_position"], span["entity_type"])
        for span in row["spans"]
        if span["entity_type"] in ENTITIES
    ]


def letters(name: str) -> list[Labelled]:
    """One of our own labelled sets. PERSON_OTHER (a name that running text holds) counts as PERSON where it is found, and is not
    asked for: no form tells it."""
    return [
        Labelled(row["text"], [(start, end, entity) for start, end, entity in row["spans"]])
        for row in lines_of(_OWN / f"{name}.jsonl")
    ]


def text_sets(data: Path, most: int) -> dict[str, list[str]]:
    """Distinct texts of each kind, at most so many, in an order of their own."""
    code = json_of(data / "gpteacher_codegen/Codegen/codegen-instruct.json.gz")
    told = json_of(data / "gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz")
    every = {
        "support questions": [row["text"] for row in csv_rows(data / "banking77/train.csv.gz")]
        + [text for text, _ in json_of(data / "clinc150/data_full.json.gz")["train"]],
        "tweets": [row["tweet"] for row in csv_rows(data / "davidson_hate/labeled_data.csv.gz")],
        "conversations": [
            row["chosen"] for row in lines_of(data / "hh_rlhf_harmless_test/harmless-base/test.jsonl.gz")
        ],
        "word problems": [row["question"] for row in lines_of(data / "gsm8k/train.jsonl.gz")],
        "code": [row["response"] for row in code],
        "instructions": [f"{row['instruction']}\n{row['input']}\n{row['response']}" for row in told],
        "labelled templates": [row.text for row in labelled(data)],
        "long notes": [
            row["data_to_answer"] for row in lines_of(data / "lifebench_pii_share/lumingqiang.jsonl.gz")
        ],
    }
    found = {}
    for name, texts in every.items():
        distinct = sorted(set(filter(None, texts)))
        found[name] = random.Random(SEED).sample(distinct, min(most, len(distinct)))
    return found
