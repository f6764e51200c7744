"""`python -m benchmarks.near`: near duplicates, ours beside the peers: speed, pairs found, one more day.

Lives here: who is compared and with which settings, recall and precision, the tables. Keep out: the texts (`planted`),
processes (`runners`), what a peer does (`peers/`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import runners
from benchmarks.planted import Pair, PairList, jaccard, pair_lists, planted, sentences_of

TEXTS, COPIES = 64_820, 16_000
HISTORY, DAY = 1_000_000, 1_000
NGRAM, THRESHOLD = 3, 0.8
BANDS, ROWS = 28, 6
"""Ours by default; peers are measured at them too, where they can be told."""
SEEDS = (1, 2, 3, 4, 5)
MAX_CHECKED = 200_000
"""Pairs outside the planted ones that are looked at: more of them are wrong, as the layout has it."""


@dataclass(frozen=True)
class Contender:
    """One row of the tables: a peer, or one way to use it."""

    name: str
    environment: str
    script: str
    way: str = ""
    turns: int = 1
    """Fast ones take several turns, one after the other, and the median counts."""
    seeded: bool = False
    takes_bands: bool = True


CONTENDERS = (
    Contender("ours", runners.OURS, "near_ours.py", turns=3, seeded=True, takes_bands=False),
    Contender("rensa", "rensa", "near_rensa.py", "pairs", turns=3, seeded=True),
    Contender("rensa, flags only", "rensa", "near_rensa.py", "flags", turns=3, seeded=True),
    Contender("rensa, words, flags only", "rensa", "near_rensa.py", "words", turns=3, seeded=True),
    Contender("datasketch", "datasketch", "near_datasketch.py", seeded=True),
    Contender("data-juicer", "data-juicer", "near_data_juicer.py"),
    Contender("datatrove", "datatrove", "near_datatrove.py", seeded=True),
)


@dataclass(frozen=True)
class Quality:
    """recall: share of the true pairs that were found. precision: share of what was found that is true."""

    recall: float
    precision: float | None
    found: int


def judged(result: dict[str, Any], truth: Iterable[Pair]) -> Quality:
    """Pairs as they are; of clusters (labels) every pair within one; of flags a pair whose rows both have one, and the
    share of flagged rows that have a twin."""
    true = frozenset(truth)
    if "flags" in result:
        flagged = {row for row, flag in enumerate(result["flags"]) if flag}
        hits = sum(left in flagged and right in flagged for left, right in true)
        right_rows = flagged & {row for pair in true for row in pair}
        return Quality(_share(hits, len(true), 1.0), _share(len(right_rows), len(flagged)), len(flagged))
    if "labels" in result:
        labels = result["labels"]
        hits = sum(labels[left] == labels[right] >= 0 for left, right in true)
        sizes = Counter(label for label in labels if label >= 0)
        found = sum(size * (size - 1) // 2 for size in sizes.values())
        return Quality(_share(hits, len(true), 1.0), _share(hits, found), found)
    pairs = {(left, right) for left, right in result["pairs"]}
    return Quality(
        _share(len(pairs & true), len(true), 1.0), _share(len(pairs & true), len(pairs)), len(pairs)
    )


def _share(part: int, whole: int, empty: float | None = None) -> Any:
    return part / whole if whole else empty


def task(path: Path, contender: Contender, settings: str, seed: int, threshold: float = THRESHOLD) -> dict[str, Any]:  # fmt: skip
    return {
        "texts": str(path), "way": contender.way, "settings": settings, "seed": seed, "ngram": NGRAM,
        "threshold": threshold, "bands": BANDS, "rows": ROWS,
    }  # fmt: skip


def lay(path: Path, texts: Iterable[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return path


# --- speed --------------------------------------------------------------------------------


def speed(scratch: Path, data: Path, texts: int, copies: int, chosen: Sequence[Contender]) -> dict[str, Any]:
    """Every contender on the same planted texts, a process a turn."""
    laid = planted(sentences_of(data), texts, copies, NGRAM)
    path = lay(scratch / "planted.jsonl", laid.texts)
    truth = {pair for pair, similarity in laid.pairs.items() if similarity >= THRESHOLD}
    results: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in chosen}
    for turn in range(max(contender.turns for contender in chosen)):
        for contender in chosen:
            if turn < contender.turns:
                runners.say(f"speed: {contender.name}, turn {turn + 1}")
                given = task(path, contender, "default", SEEDS[0])
                results[contender.name] += runners.run(contender.environment, contender.script, [given])
    for turns in results.values():
        truth |= _unplanned(turns[0].get("pairs", []), laid.pairs, laid.texts)
    figures: dict[str, Any] = {}
    for contender in chosen:
        turns = results[contender.name]
        figures[contender.name] = {
            "seconds": statistics.median(turn["seconds"] for turn in turns),
            "all_seconds": [turn["seconds"] for turn in turns],
            "cpu_seconds": statistics.median(turn["cpu_seconds"] for turn in turns),
            "peak_mib": max(turn["peak_mib"] for turn in turns),
            **asdict(judged(turns[0], truth)),
            "capped_buckets": turns[0].get("capped_buckets"),
            "left_out": turns[0].get("left_out"),
        }
    return {"texts": texts, "copies": copies, "bytes": path.stat().st_size, "true_pairs": len(truth), "contenders": figures}  # fmt: skip


def _unplanned(pairs: Sequence[Sequence[int]], known: dict[Pair, float], texts: list[str]) -> set[Pair]:
    """Pairs found that nobody planted and that are near all the same."""
    other = [(left, right) for left, right in pairs if (left, right) not in known]
    if len(other) > MAX_CHECKED:
        return set()
    return {pair for pair in other if jaccard(texts[pair[0]], texts[pair[1]], NGRAM) >= THRESHOLD}


# --- quality ------------------------------------------------------------------------------


def quality(scratch: Path, lists: Sequence[PairList], chosen: Sequence[Contender]) -> list[dict[str, Any]]:
    """Recall and precision of every contender on every list; of ours the mean of five seeds."""
    paths = {told.name: lay(scratch / f"{told.name}.jsonl", told.texts) for told in lists}
    rows = []
    for contender in chosen:
        for settings in ("default", "equal") if contender.takes_bands else ("default",):
            runners.say(f"pairs: {contender.name}, {settings}")
            seeds = SEEDS if contender.name == runners.OURS else SEEDS[:1]
            tasks = [task(paths[told.name], contender, settings, seed, told.threshold) for told in lists for seed in seeds]  # fmt: skip
            results = runners.run(contender.environment, contender.script, tasks)
            for number, told in enumerate(lists):
                found = [
                    judged(result, told.pairs) for result in results[number * len(seeds) :][: len(seeds)]
                ]
                known = [one.precision for one in found if one.precision is not None]
                rows.append(
                    {
                        "contender": contender.name, "settings": settings, "list": told.name,
                        "true_pairs": len(told.pairs), "seeds": len(seeds),
                        "recall": statistics.mean(one.recall for one in found),
                        "worst_recall": min(one.recall for one in found),
                        "precision": statistics.mean(known) if known else None,
                        "found": statistics.mean(one.found for one in found),
                    }
                )  # fmt: skip
    return rows


# --- tables -------------------------------------------------------------------------------


def speed_table(figures: dict[str, Any]) -> str:
    contenders = figures["contenders"]
    own = contenders.get(runners.OURS, next(iter(contenders.values())))
    head = ["", "s", "ratio", "CPU s", "ratio", "peak MiB", "found", "recall", "precision"]
    rows = [
        [
            name, f"{one['seconds']:.2f}", f"{one['seconds'] / own['seconds']:.1f}", f"{one['cpu_seconds']:.2f}",
            f"{one['cpu_seconds'] / own['cpu_seconds']:.1f}", f"{one['peak_mib']:,.0f}", f"{one['found']:,}",
            number(one["recall"]), number(one["precision"]),
        ]
        for name, one in contenders.items()
    ]  # fmt: skip
    return runners.markdown(head, rows)


def quality_table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each contender and setting, a column for each list: recall / precision."""
    lists = list(dict.fromkeys(row["list"] for row in rows))
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        name = row["contender"] if row["settings"] == "default" else f"{row['contender']}, {BANDS} × {ROWS}"
        lines.setdefault(name, {})[row["list"]] = f"{number(row['recall'])} / {number(row['precision'])}"
    body = [[name, *(cells[told] for told in lists)] for name, cells in lines.items()]
    return runners.markdown(["recall / precision", *lists], body)


def day_table(figures: dict[str, Any]) -> str:
    names = ("fingerprint", "candidates", "dedup", "all")
    cells = [f"{figures[f'{name}_seconds']:.3f}" for name in names]
    count = f"{figures['new']:,} against {figures['history']:,}"
    return runners.markdown(
        ["one day", "fingerprints s", "candidates s", "verification and verdicts s", "all s", "peak MiB"],
        [[count, *cells, f"{figures['peak_mib']:,.0f}"]],
    )


def number(value: float | None) -> str:
    """Three digits; what is not quite 1 is not shown as 1."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value == 1 or value < 0.9995 else f"{value:.5f}"


# --- command line -------------------------------------------------------------------------


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = runners.options("near", __doc__)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--copies", type=int, default=COPIES)
    parser.add_argument("--history", type=int, default=HISTORY, help="records before the one day")
    parser.add_argument(
        "--only", action="append", choices=[c.name for c in CONTENDERS], help="may be repeated"
    )
    parser.add_argument("--part", action="append", choices=["speed", "pairs", "day"], help="may be repeated")
    found = runners.given_to(parser, given)
    found.part = found.part or ["speed", "pairs", "day"]
    return found


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    chosen = [contender for contender in CONTENDERS if not options.only or contender.name in options.only]
    for contender in chosen:
        runners.interpreter(contender.environment)
    figures: dict[str, Any] = {"machine": runners.machine([c.environment for c in chosen])}
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-near-") as folder:
        scratch = Path(folder)
        if "speed" in options.part:
            figures["speed"] = speed(scratch, options.data, options.texts, options.copies, chosen)
            print(speed_table(figures["speed"]), end="\n\n", flush=True)
            _plot(figures["speed"], options.results)
        if "pairs" in options.part and (options.data / "near_duplicate_pairs").is_dir():
            figures["pairs"] = quality(scratch, pair_lists(options.data), chosen)
            print(quality_table(figures["pairs"]), end="\n\n", flush=True)
        if "day" in options.part:
            runners.say("one day against a history")
            given_day = {"data": str(options.data), "history": options.history, "new": DAY, "ngram": NGRAM}
            figures["day"] = runners.run(runners.OURS, "near_day_ours.py", [given_day])[0]
            print(day_table(figures["day"]))
    runners.write("near", figures, options.results)
    return 0


def _plot(figures: dict[str, Any], results: Path) -> None:
    values = {name: one["seconds"] for name, one in figures["contenders"].items()}
    runners.draw("near", f"Near duplicates among {figures['texts']:,} texts", values, results)


if __name__ == "__main__":
    sys.exit(main())
