"""Texts whose language is known: English of many kinds, sentences of many languages, and short ones made of them.

Lives here: which texts, and which of the English sets somebody read and found foreign. Keep out: who is asked
(`peers/`), what is counted (`language`).
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.mixed import csv_rows, unpacked
from benchmarks.planted import json_of, lines_of
from dataset_pipeline.transforms.cleaning import Profile, clean

READ = Path(__file__).with_name("language_foreign.txt")
SUPPORT = "support questions"
CODE = ("code", "code tasks")
"""Mostly no language at all."""
SEED = 7
SHORT_WORDS = (5, 12)
UNSPACED = {"zh": 2, "ja": 2, "th": 4}
"""Languages written without spaces, and how many of their characters count as a word."""
TAGS = ("love", "news", "today", "fail")

_TURN = re.compile(r"\n\n(?:Human|Assistant):")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Text(NamedTuple):
    """A text and the language it is in."""

    language: str
    text: str


def english(data: Path) -> dict[str, list[str]]:
    """Distinct texts by kind, cleaned as normalize cleans them, without those that `READ` says are foreign."""
    foreign = set(READ.read_text(encoding="ascii").split("\n"))
    return {
        kind: sorted({cleaned(text) for text in texts if text.strip() and mark(text) not in foreign})
        for kind, texts in _english(data).items()
    }


def mark(text: str) -> str:
    """What stands for a text in `READ`."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def cleaned(text: str) -> str:
    return clean(text, Profile.MESSAGE)[0]


def _english(data: Path) -> dict[str, list[str]]:
    code = json_of(data / "gpteacher_codegen/Codegen/codegen-instruct.json.gz")
    told = json_of(data / "gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz")
    math = [row for part in ("train", "test") for row in lines_of(data / f"gsm8k/{part}.jsonl.gz")]
    svamp = json_of(data / "svamp_mawps/SVAMP.json.gz")
    tasks = lines_of(data / "selfinstruct_seeds/data/seed_tasks.jsonl.gz")
    tasks += lines_of(data / "selfinstruct_seeds/human_eval/user_oriented_instructions.jsonl.gz")
    alpaca = [
        row for version in (1, 2, 3) for row in lines_of(data / f"alpaca_libre/alpaca_libre_tasks_v{version}.jsonl.gz")
    ]  # fmt: skip
    return {
        SUPPORT: [row["text"] for part in ("train", "test") for row in csv_rows(data / f"banking77/{part}.csv.gz")]
        + [text for pairs in json_of(data / "clinc150/data_full.json.gz").values() for text, _ in pairs],
        "tweets": [row["tweet"] for row in csv_rows(data / "davidson_hate/labeled_data.csv.gz")],
        "conversations": [
            turn
            for row in lines_of(data / "hh_rlhf_harmless_test/harmless-base/test.jsonl.gz")
            for side in ("chosen", "rejected")
            for turn in _TURN.split(row[side])
        ] + [row["text"] for row in lines_of(data / "oasst_sample/en_100_message.jsonl.gz")],
        "instructions": [row[field] or "" for row in told for field in ("instruction", "input", "response")]
        + [row.get(field) or "" for row in alpaca for field in ("instruction", "input", "output")]
        + [row["instruction"] for row in tasks]
        + [case[field] for row in tasks for case in row["instances"] for field in ("input", "output")],
        "word problems": [row[field] for row in math for field in ("question", "answer")]
        + [f"{row['Body']} {row['Question']}" for row in svamp],
        "hate test cases": [row["test_case"] for row in csv_rows(data / "hatecheck/all_cases.csv.gz")],
        "news": [sentence for article in _articles(data) for sentence in _SENTENCE_END.split(article)]
        + [row[field] for row in csv_rows(data / "crowd_rte/rte.standardized.csv.gz") for field in ("text", "hypothesis")],
        "addresses": [row["full_text"] for row in json_of(data / "presidio_shared/presidio_v2_templates_even.json.gz")],
        "code tasks": [row[field] for row in code for field in ("instruction", "input")],
        "code": [row["response"] for row in code],
    }  # fmt: skip


def _articles(data: Path) -> list[str]:
    lines = unpacked(data / "minhash_articles_1k/articles_1000.train.gz").decode().split("\n")
    return [line.split(" ", 1)[1] for line in lines if " " in line]


def sentences(data: Path) -> list[Text]:
    """Every sentence of every language, cleaned."""
    import tarfile

    found = []
    with tarfile.open(data / "lingua_sentences/files.tar.gz") as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            content = archive.extractfile(member) if member.name.endswith(".txt") else None
            if content is not None:
                lines = content.read().decode().split("\n")
                found += [Text(Path(member.name).stem, cleaned(line)) for line in lines if line.strip()]
    return found


def short(texts: Iterable[Text]) -> list[Text]:
    """Stand-ins for tweets: 5 to 12 words of each text, in small letters, with a handle, a tag, an emoji or a link."""
    return [Text(text.language, _short(text, place)) for place, text in enumerate(texts)]


def _short(text: Text, place: int) -> str:
    rng = random.Random(f"{SEED}-{text.language}-{place}")
    count = rng.randint(*SHORT_WORDS) * UNSPACED.get(text.language, 1)
    parts = list("".join(text.text.split())) if text.language in UNSPACED else text.text.split()
    start = rng.randint(0, max(0, len(parts) - count))
    cut = ("" if text.language in UNSPACED else " ").join(parts[start : start + count]).lower()
    return rng.choice(
        [
            f"@user{rng.randint(1, 999)} {cut}",
            f"{cut} #{rng.choice(TAGS)}",
            f"{cut} \U0001f602",
            f"{cut} https://t.co/{rng.getrandbits(40):x}",
        ]
    )
