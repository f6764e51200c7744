"""Corpora that hold evaluation items, in ways that are known, and the evaluation sets themselves.

Lives here: which texts the contamination benchmark is made of, and what must be found in them. Keep out: who searches
(`peers/`), tables (`contamination`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.mixed import Row, csv_rows
from benchmarks.planted import WORD, json_of, lines_of, sentences_of

SETS = 20
SET_ITEMS = 1_000
"""Items of a set made of sentences, where the shared sets are fewer than SETS."""
HELD_OUT = 0.1
"""Share of the sentences that such sets are made of, and no corpus."""
LONG, RUN = 13, 12
"""Words of an item that is planted, at least; words in a row that no other record shares with any item."""
PLANTED = 0.01
"""Share of the corpus that holds an evaluation item."""
SEED = 7


class Item(NamedTuple):
    """One evaluation item: its set, its number in it, what is asked, and the answer where that is a text."""

    set: str
    item: str
    text: str
    answer: str | None = None


def questions(data: Path) -> dict[str, list[str]]:
    """What is asked in each evaluation set of the shared data, in the order of its file."""
    return {
        "gsm8k": [row["question"] for row in lines_of(data / "gsm8k/test.jsonl.gz")],
        "humaneval": [row["prompt"] for row in lines_of(data / "humaneval/HumanEval.jsonl.gz")],
        "banking77": [row["text"] for row in csv_rows(data / "banking77/test.csv.gz")],
        "svamp": [f"{row['Body']} {row['Question']}" for row in json_of(data / "svamp_mawps/SVAMP.json.gz")],
        "clinc150": [text for text, _ in json_of(data / "clinc150/data_full.json.gz")["test"]],
        "selfinstruct": [
            f"{row['instruction']} {row['instances'][0]['input']}".strip()
            for row in lines_of(data / "selfinstruct_seeds/human_eval/user_oriented_instructions.jsonl.gz")
        ],
    }


def answers(data: Path) -> dict[str, list[str]]:
    """The answers of those sets that have texts for answers."""
    return {
        "gsm8k": [row["answer"] for row in lines_of(data / "gsm8k/test.jsonl.gz")],
        "humaneval": [row["canonical_solution"] for row in lines_of(data / "humaneval/HumanEval.jsonl.gz")],
    }


def items_of(name: str, texts: Sequence[str], answered: Sequence[str] = ()) -> list[Item]:
    known = [*answered, *[None] * (len(texts) - len(answered))]
    return [
        Item(name, str(number), text, answer)
        for number, (text, answer) in enumerate(zip(texts, known, strict=True))
    ]


def sets_of(data: Path) -> dict[str, list[Item]]:
    """The items of each evaluation set of the shared data."""
    known = answers(data)
    return {name: items_of(name, texts, known.get(name, ())) for name, texts in questions(data).items()}


@dataclass(frozen=True)
class Case:
    """A corpus against protected items. own: row i of the corpus comes from item i, so that item is to be named.

    wanted: `copies` are to be found, every one; `rephrased` are to be suspects; of `idioms` and `clean` rows none is
    contaminated and few are suspects.
    """

    name: str
    wanted: str
    rows: list[Row]
    items: list[Item]
    own: bool = False


# --- speed --------------------------------------------------------------------------------


def large(data: Path, count: int) -> tuple[list[Row], list[Item], set[int]]:
    """`count` rows, the items of SETS evaluation sets, and the rows that hold an item of 13 words or more."""
    rng = random.Random(SEED)
    sentences = sentences_of(data)
    rng.shuffle(sentences)
    held = sentences[: round(len(sentences) * HELD_OUT)]
    items = [item for held_items in sets_of(data).values() for item in held_items]
    for number in range(len({item.set for item in items}), SETS):
        made = [" ".join(rng.sample(held, 3)) for _ in range(SET_ITEMS)]
        items += items_of(f"made{number}", made)
    # Of a template, sentences on both sides are nearly equal: then nobody could say what is rightly found.
    known = {gram for item in items for gram in _runs(item.text)}
    free = [sentence for sentence in sentences[len(held) :] if known.isdisjoint(_runs(sentence))]
    rows = [Row(" ".join(rng.choices(free, k=3)), " ".join(rng.choices(free, k=5))) for _ in range(count)]
    long = [item for item in items if len(WORD.findall(item.text)) >= LONG]
    planted = set(rng.sample(range(count), round(count * PLANTED)))
    for place in planted:
        prompt = f"{rng.choice(free)} {rng.choice(long).text}"
        rows[place] = Row(prompt, rows[place].answer)
    return rows, items, planted


def _runs(text: str) -> set[tuple[str, ...]]:
    words = WORD.findall(text.casefold())
    return {tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


# --- quality ------------------------------------------------------------------------------

_MARKS = re.compile(r"[.,;:!?]")


def reformatted(text: str) -> str:
    """Capitals, and other marks and spaces between the words: the same words."""
    return "  ".join(_MARKS.sub(" -", text).upper().split())


def cases(data: Path) -> list[Case]:
    """What is known of the shared sets, and copies made of them."""
    sets = sets_of(data)
    train = [Row(row["question"], row["answer"]) for row in lines_of(data / "gsm8k/train.jsonl.gz")]
    code = [
        Row(f"{row['instruction']}\n\n{row['input']}".strip(), row["response"])
        for row in json_of(data / "gpteacher_codegen/Codegen/codegen-instruct.json.gz")
    ]
    tools = [
        Row(f"{row['instruction']}\n\n{row['input']}".strip(), row["response"])
        for row in json_of(data / "gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz")
    ]
    formatted = [
        Row(row["instruction"], row["output"])
        for row in json_of(data / "gsm8k_alpaca_fmt/gsm_8k_train.json.gz")
    ]
    found = [
        Case("gsm8k_alpaca_fmt in gsm8k train", "copies", formatted, items_of("gsm8k_train", [r.prompt for r in train])),
    ]  # fmt: skip
    changes: list[tuple[str, Callable[[str], str]]] = [
        ("copies", lambda text: text), ("reformatted", reformatted),
        ("within a longer text", lambda text: f"Here is something I was asked.\n{text}\nHow would you go about it?"),
    ]  # fmt: skip
    for name, items in sets.items():
        for change, made in changes:
            rows = [Row(made(item.text), "") for item in items]
            found.append(Case(f"{name}, {change}", "copies", rows, items, own=True))
    for name, path in (("gsm8k", "rephrase_gsm8k"), ("humaneval", "humaneval_python"), ("humaneval", "humaneval_js")):  # fmt: skip
        rephrased = [
            _rephrased(row["text"]) for row in lines_of(data / f"decontam_rephrase/rephrase/{path}.jsonl.gz")
        ]
        found.append(Case(f"{path} in {name}", "rephrased", rephrased, sets[name], own=True))
    return [
        *found,
        Case("gsm8k train in gsm8k test", "idioms", train, sets["gsm8k"]),
        Case("gpteacher_codegen in humaneval", "idioms", code, sets["humaneval"]),
        Case("gpteacher_toolformer in gsm8k", "clean", tools, sets["gsm8k"]),
        Case("gpteacher_toolformer in humaneval", "clean", tools, sets["humaneval"]),
        Case("gsm8k train in humaneval", "clean", train, sets["humaneval"]),
        Case("gpteacher_codegen in gsm8k", "clean", code, sets["gsm8k"]),
    ]


def _rephrased(text: str) -> Row:
    """A question and its answer where the text has both; else (code) a text alone, as completions are. Some are empty."""
    if text.startswith("Question:") and "\nAnswer:" in text:
        prompt, answer = text.removeprefix("Question:").split("\nAnswer:", 1)
        return Row(prompt.strip(), answer.strip())
    return Row("", text.strip())


def lay(path: Path, rows: Iterable[Any]) -> Path:
    """JSON Lines of named tuples."""
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(json.dumps(row._asdict()) + "\n" for row in rows)
    return path
