"""Texts with near copies planted in them, and the lists of pairs whose truth is known.

Lives here: which texts the near-duplicate benchmark is made of, exact similarity. Keep out: who searches them (`peers/`),
tables (`near`).
"""

from __future__ import annotations

import csv
import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.mixed import csv_rows, mixed_rows, unpacked

WORD = re.compile(r"[^\W_]+")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
CHARS = 1_400
"""Characters of a laid-out text, about."""
MAX_CHANGES = 12
"""Words changed in a planted copy, at most. Of a text of 1,400 characters some eight changes make 0.8."""
MIN_WORDS = 6
"""Words of a sentence that texts are made of, at least: shorter ones are the same everywhere."""
MIXED = 45_000
"""More rows than the shared sets have: all of them are taken, and few recombined."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Planted:
    """Texts, and for each planted pair (left < right) its exact similarity."""

    texts: list[str]
    pairs: dict[Pair, float]


def grams(text: str, ngram: int) -> frozenset[tuple[str, ...]]:
    """The word n-grams of a text as `near_duplicate_pairs` has them; the whole of a shorter one."""
    words = WORD.findall(text.casefold())
    found = frozenset(tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1))
    return found or frozenset({tuple(words)})


def jaccard(one: str, two: str, ngram: int) -> float:
    own, other = grams(one, ngram), grams(two, ngram)
    return len(own & other) / len(own | other)


def planted(sentences: list[str], count: int, copies: int, ngram: int, seed: int = 7) -> Planted:
    """`count` texts, of which `copies` are another one with 1 to MAX_CHANGES words changed; shuffled.

    A text is a run of shuffled sentences, and no sentence comes again before every other was taken: two texts have
    few in common, so no pair but the planted ones is near. No text has two copies. Same arguments, same texts.
    Raises ValueError for no sentences or more copies than originals.
    """
    if not sentences:
        raise ValueError("no sentences to make texts of: name a folder that holds texts in words")
    if copies > count - copies:
        raise ValueError(f"{copies} copies of {count - copies} texts: at most one each")
    rng = random.Random(seed)
    endless = _shuffled(sentences, rng)
    originals = [_text(endless) for _ in range(count - copies)]
    words = sorted({word for sentence in sentences[:2_000] for word in WORD.findall(sentence)})
    texts = originals + [_changed(text, words, rng) for text in originals[:copies]]
    order = list(range(count))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    pairs = {}
    for old in range(copies):
        left, right = sorted((place[old], place[count - copies + old]))
        pairs[left, right] = jaccard(texts[old], texts[count - copies + old], ngram)
    return Planted([texts[old] for old in order], pairs)


def _shuffled(sentences: list[str], rng: random.Random) -> Iterator[str]:
    while True:
        turn = sentences.copy()
        rng.shuffle(turn)
        yield from turn


def _text(sentences: Iterator[str]) -> str:
    taken: list[str] = []
    length = 0
    while length < CHARS:
        taken.append(next(sentences))
        length += len(taken[-1]) + 1
    return " ".join(taken)


def _changed(text: str, words: list[str], rng: random.Random) -> str:
    spans = [match.span() for match in WORD.finditer(text)]
    chosen = rng.sample(spans, min(rng.randint(1, MAX_CHANGES), len(spans)))
    for start, end in sorted(chosen, reverse=True):
        text = f"{text[:start]}{rng.choice(words)}{text[end:]}"
    return text


def sentences_of(data: Path) -> list[str]:
    """The distinct sentences of a folder, sorted: of the shared sets as `mixed` takes them, else of any CSV or JSON
    files in it."""
    try:
        texts = [text for row in mixed_rows(data, MIXED, 7) for text in row]
    except FileNotFoundError:
        texts = [text for path in sorted(data.rglob("*")) for text in any_texts(path)]
    # In one normal form: what compatibility characters are as words is no part of the question.
    normal = (unicodedata.normalize("NFKC", text) for text in texts)
    cut = (" ".join(sentence.split()) for text in normal for sentence in SENTENCE_END.split(text))
    return sorted(
        {sentence for sentence in cut if sentence.count(" ") + 1 >= MIN_WORDS and len(sentence) < CHARS}
    )


def any_texts(path: Path) -> Iterator[str]:
    """Every string in a CSV, JSON or JSON Lines file, gzipped or not; of another file none."""
    try:
        if ".csv" in path.suffixes:
            yield from (value for row in csv_rows(path) for value in row.values() if isinstance(value, str))
        elif ".jsonl" in path.suffixes:
            for line in unpacked(path).decode().split("\n"):
                yield from _strings(json.loads(line) if line.strip() else None)
        elif ".json" in path.suffixes:
            yield from _strings(json.loads(unpacked(path)))
    except (ValueError, RecursionError, csv.Error):
        return


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


# --- lists of pairs -----------------------------------------------------------------------


@dataclass(frozen=True)
class PairList:
    """The texts of one set, and every pair of them that is near, by exact similarity."""

    name: str
    texts: list[str]
    pairs: frozenset[Pair]
    threshold: float


def pair_lists(data: Path) -> list[PairList]:
    """The lists in `near_duplicate_pairs/` with the texts they number."""
    folder = data / "near_duplicate_pairs"
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    lists = []
    for name, read in LISTS.items():
        if name not in told:
            continue
        texts = read(data)
        if len(texts) != told[name]["rows"]:
            raise ValueError(f"{name}: {len(texts)} rows read, its list of pairs is of {told[name]['rows']}")
        with (folder / f"{name}.pairs.tsv").open(encoding="utf-8", newline="") as lines:
            pairs = frozenset((int(row["i"]), int(row["j"])) for row in csv.DictReader(lines, delimiter="\t"))
        lists.append(PairList(name, texts, pairs, told[name]["T"]))
    return lists


def json_of(path: Path) -> Any:
    """The value of a JSON file, gzipped or not."""
    return json.loads(unpacked(path))


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file, gzipped or not; lines that are no JSON are left out."""
    found = []
    for line in unpacked(path).decode().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _joined(rows: list[dict[str, Any]], *columns: str) -> list[str]:
    return [" ".join(str(row.get(column) or "") for column in columns) for row in rows]


def _column(path: Path, column: str) -> list[str]:
    return [row[column] for row in csv_rows(path)]


LISTS: dict[str, Callable[[Path], list[str]]] = {
    "banking77_train": lambda data: _column(data / "banking77/train.csv.gz", "text"),
    "banking77_train_test": lambda data: [
        text for part in ("train", "test") for text in _column(data / f"banking77/{part}.csv.gz", "text")
    ],
    "clinc150_train": lambda data: [text for text, _ in json_of(data / "clinc150/data_full.json.gz")["train"]],
    "gpteacher_toolformer_dedupe_only": lambda data: _joined(
        json_of(data / "gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz"),
        "instruction", "input", "response",
    ),
    "gpteacher_codegen": lambda data: _joined(
        json_of(data / "gpteacher_codegen/Codegen/codegen-instruct.json.gz"), "instruction", "input", "response"
    ),
    "alpaca_libre_v2": lambda data: _joined(
        lines_of(data / "alpaca_libre/alpaca_libre_tasks_v2.jsonl.gz"), "instruction", "input", "output"
    ),
    "davidson_hate": lambda data: _column(data / "davidson_hate/labeled_data.csv.gz", "tweet"),
    "gsm8k_train": lambda data: [row["question"] for row in lines_of(data / "gsm8k/train.jsonl.gz")],
    "minhash_articles_1000": lambda data: [
        line.split(" ", 1)[-1]
        for line in unpacked(data / "minhash_articles_1k/articles_1000.train.gz").decode().splitlines()
    ],
}  # fmt: skip
"""What of each set its list numbers: reproduced exactly, every pair and every similarity, by a search of our own."""
