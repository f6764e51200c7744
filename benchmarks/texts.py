"""`python -m benchmarks.texts`: text cleaned, ours beside ftfy and clean-text: what is mended, what is left alone, how fast.

Lives here: who is compared, what is counted, the table. Keep out: the texts (`texts_cases`), processes (`runners`), who
cleans (`peers/`).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import runners
from benchmarks.near import lay
from benchmarks.personal_texts import text_sets
from benchmarks.texts_cases import Case, case_sets, plain, sentences

TEXTS = 5_000
COLUMNS = 5
"""Cases in a row that are one of the standard's: all of them must hold."""
TURNS = 3
"""Each set is cleaned so often; the quickest counts, in processor seconds: all of them use one core."""
SPEED_SETS = ("support questions", "tweets", "instructions", "code")
CONTENDERS = {
    runners.OURS: (runners.OURS, "texts_ours.py", "text"),
    "ftfy, fix_text": (runners.OURS, "texts_ftfy.py", "fix_text"),
    "ftfy, fix_encoding": (runners.OURS, "texts_ftfy.py", "fix_encoding"),
    "clean-text, letters kept": ("clean-text", "texts_clean_text.py", "letters kept"),
}
"""Contender to its environment, its runner and the way it is asked. ftfy is a dependency, so it runs in this one."""


def cleaned(scratch: Path, sets: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Of each contender the result of every set, one process for all of them."""
    paths = [lay(scratch / f"{number}.jsonl", texts) for number, texts in enumerate(sets.values())]
    results = {}
    for name, (environment, script, way) in CONTENDERS.items():
        print(name, file=sys.stderr, flush=True)
        tasks = [{"texts": str(path), "way": way} for path in paths]
        results[name] = runners.run(environment, script, tasks)
    return results


def right(cases: Sequence[Case], found: Sequence[str], columns: int = 1) -> tuple[int, int]:
    """How many cases came out as one of those accepted, of how many; `columns` texts in a row are one case."""
    held = [plain(text) in case.accepted for case, text in zip(cases, found, strict=True)]
    whole = [all(held[start : start + columns]) for start in range(0, len(held), columns)]
    return sum(whole), len(whole)


def table(figures: dict[str, dict[str, Any]]) -> str:
    kinds = list(next(iter(figures.values()))["right"])
    head = ["", *kinds, "sentences unchanged", "texts/s of processor", "ratio"]
    own = figures[runners.OURS]["rate"]
    body = [
        [name, *("{:,} of {:,}".format(*one["right"][kind]) for kind in kinds),
         "{:,} of {:,}".format(*one["unchanged"]), f"{one['rate']:,.0f}", f"{own / one['rate']:.1f}"]
        for name, one in figures.items()
    ]  # fmt: skip
    return runners.markdown(head, body)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = runners.options("texts", __doc__)
    parser.add_argument(
        "--texts", type=int, default=TEXTS, help="of each set that is timed, at most (default: 5000)"
    )
    return runners.given_to(parser, given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    cases, lines = case_sets(options.data), sentences(options.data)
    timed = {name: text_sets(options.data, options.texts)[name] for name in SPEED_SETS}
    timed["75 languages"] = random.Random(1).sample(lines, min(options.texts, len(lines)))
    turns = {f"{name} {turn}": texts for turn in range(TURNS) for name, texts in timed.items()}
    sets = {kind: [case.text for case in found] for kind, found in cases.items()} | {"sentences": lines}
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-texts-") as folder:
        results = cleaned(Path(folder), sets | turns)
    figures: dict[str, Any] = {}
    for name, found in results.items():
        by_set = dict(zip([*sets, *turns], found, strict=True))
        seconds = {one: min(by_set[f"{one} {turn}"]["cpu_seconds"] for turn in range(TURNS)) for one in timed}
        figures[name] = {
            "right": {
                kind: right(cases[kind], by_set[kind]["texts"], COLUMNS if kind == "normalization" else 1)
                for kind in cases
            },
            "unchanged": [sum(plain(a) == plain(b) for a, b in zip(lines, by_set["sentences"]["texts"], strict=True)), len(lines)],
            "cpu_seconds": seconds,
            "rate": sum(map(len, timed.values())) / sum(seconds.values()),
        }  # fmt: skip
    print(table(figures), end="\n\n")
    print(_speed(figures, timed))
    told = {"machine": runners.machine(["clean-text"]), "texts": {name: len(found) for name, found in timed.items()}, "contenders": figures}  # fmt: skip
    runners.write("texts", told, options.results)
    title = f"{sum(map(len, timed.values())):,} texts of {len(timed)} kinds cleaned"
    seconds = {name: sum(one["cpu_seconds"].values()) for name, one in figures.items()}
    (options.results / "texts.svg").write_text(
        runners.bars(title, "processor seconds", seconds), encoding="utf-8"
    )
    return 0


def _speed(figures: dict[str, Any], timed: dict[str, list[str]]) -> str:
    head = ["texts/s of processor", *figures]
    body = [
        [
            f"{len(texts):,} {name}",
            *(f"{len(texts) / one['cpu_seconds'][name]:,.0f}" for one in figures.values()),
        ]
        for name, texts in timed.items()
    ]
    return runners.markdown(head, body)


if __name__ == "__main__":
    sys.exit(main())
