"""Rows of the large project: one instruction task mixed from several of the shared sets.

Lives here: which texts it is made of, and new rows recombined from them. Keep out: files of a
project and its spec (`projects`), running and measuring (`measure`).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MAX_TRIES = 200
"""Recombinations tried in a row without a new text before the sources count as too few."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_FIRST_EXCHANGE = re.compile(
    r"\A\s*Human:\s*(?P<prompt>.+?)\s+Assistant:\s*(?P<answer>.+?)\s*(?:\n\nHuman:|\Z)", re.DOTALL
)


class Row(NamedTuple):
    """One exchange."""

    prompt: str
    answer: str


def unpacked(path: Path) -> bytes:
    """The content of a file, without gzip if it has any."""
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def csv_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(unpacked(path).decode(), newline="")))


def mixed_rows(data: Path, count: int, seed: int, parts: int = 2) -> list[Row]:
    """`count` rows with distinct prompts: every text of the sets first, then recombinations of `parts` rows; shuffled.

    Of a million rows made of halves every text has dozens of half copies, as no collected data have: three parts then.

    The same data, count and seed give the same rows. Raises ValueError where the data are too few.
    """
    rng = random.Random(seed)
    distinct = list({row.prompt: row for row in _collected(data)}.values())
    rng.shuffle(distinct)
    missing = count - len(distinct)
    rows = distinct[:count] if missing <= 0 else [*distinct, *recombined(distinct, missing, rng, parts=parts)]
    rng.shuffle(rows)
    return rows


def recombined(
    rows: list[Row], count: int, rng: random.Random, is_label: bool = False, parts: int = 2
) -> list[Row]:
    """`count` new rows, each the first sentences of one row followed by later ones of others, as many as `parts`.

    is_label: the answers are labels; only rows of one label are combined and the label stays.
    No prompt is one of `rows` or of another new row. Raises ValueError where the rows are too few.
    """
    seen = {row.prompt for row in rows}
    peers: dict[str, list[Row]] = {}
    for row in rows:
        peers.setdefault(row.answer if is_label else "", []).append(row)
    new: list[Row] = []
    tries = 0
    while len(new) < count:
        first = rng.choice(rows)
        chosen = [first, *(rng.choice(peers[first.answer if is_label else ""]) for _ in range(parts - 1))]
        prompt = _joined([row.prompt for row in chosen])
        answer = first.answer if is_label else _joined([row.answer for row in chosen])
        tries += 1
        if len({id(row) for row in chosen}) == parts and prompt not in seen:
            seen.add(prompt)
            new.append(Row(prompt, answer))
            tries = 0
        if tries >= MAX_TRIES:
            raise ValueError(f"{len(rows)} rows are too few to make {count} more of them")
    return new


def _joined(texts: list[str]) -> str:
    """Of the first text its first sentences, of the last its last ones, of others those between; at least one of each."""
    kept, count = [], len(texts)
    for place, text in enumerate(texts):
        sentences = _SENTENCE_END.split(text.strip())
        start = len(sentences) * place // count
        kept += sentences[start : max(start + 1, -(-len(sentences) * (place + 1) // count))]
    return " ".join(kept)


def _collected(data: Path) -> Iterator[Row]:
    """Every usable exchange of the sets, in a fixed order. Test sets stay out: they are protected."""
    for name in (
        "gpteacher_toolformer/toolformer-dedupe-only-dataset",
        "gpteacher_codegen/Codegen/codegen-instruct",
    ):
        for item in json.loads(unpacked(data / f"{name}.json.gz")):
            yield from _row(_paragraphs(item["instruction"], item["input"]), item["response"])
    for item in _json_lines(data / "gsm8k/train.jsonl.gz"):
        yield from _row(item["question"], item["answer"])
    for version in (1, 2, 3):
        for item in _json_lines(data / f"alpaca_libre/alpaca_libre_tasks_v{version}.jsonl.gz"):
            if item["status"] == "ok":
                yield from _row(_paragraphs(item["instruction"], item["input"]), item["output"])
    for item in _json_lines(data / "hh_rlhf_harmless_test/harmless-base/test.jsonl.gz"):
        exchange = _FIRST_EXCHANGE.match(item["chosen"])
        if exchange:
            yield from _row(exchange["prompt"], exchange["answer"])
    for part, pairs in sorted(json.loads(unpacked(data / "clinc150/data_full.json.gz")).items()):
        if "test" not in part:
            for text, intent in pairs:
                yield from _row(text, intent)
    for line in csv_rows(data / "banking77/train.csv.gz"):
        yield from _row(line["text"], line["category"])


def _row(prompt: str, answer: str) -> Iterator[Row]:
    if prompt.strip() and answer.strip():
        yield Row(prompt.strip(), answer.strip())


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(text.strip() for text in texts if text and text.strip())


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; lines that are no JSON are left out (one set has some)."""
    for line in unpacked(path).decode().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
