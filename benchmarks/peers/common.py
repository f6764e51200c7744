"""What every runner of this folder does: read its tasks, time one piece of work, write what was found.

Runs in the environments of the peers, so the standard library is all it may import. A task file is a JSON list of
objects: texts (a JSON Lines file of {"text": …}), out (the result file), and what the runner needs (settings, ngram,
threshold, bands, rows, seed, …). A result has seconds and cpu_seconds of the work alone, peak_mib of the process, and
one of pairs (row numbers, left < right), labels (a cluster number for each row) or flags (whether the row has a twin).
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORD = re.compile(r"[^\W_]+")
WARM_UP = [
    "Dear Jo, call 030 1234567 or write to jo@example.com, or see www.example.com.",
    "+44 20 7946 0018, +49 30 12345678, +33 1 70 18 99 00, +972 2 123 4567, +91 22 1234 5678, +55 11 2345 6789, +1 202 555 0143",
    "card 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, ip 203.0.113.47, ssn 219-09-9999",
]
"""What a searcher for personal data is shown before it is timed: data of its library is read at the first of a kind."""
WARM_TEXTS = 800
"""And so many of the texts themselves."""


class Watch:
    """`with watch: …`: wall seconds and processor seconds of the block, those of child processes included."""

    def __enter__(self) -> Watch:
        self.cpu_seconds, self.seconds = -_cpu(), -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()
        self.cpu_seconds += _cpu()


def _cpu() -> float:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def peak_mib() -> float:
    """Peak resident memory of this process; not by getrusage, whose peak is inherited from the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def texts_of(path: str) -> list[str]:
    """Lines end with a line feed alone: the other line ends of Unicode stand inside of texts."""
    with Path(path).open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line)["text"] for line in lines]


def shingles(text: str, ngram: int) -> list[str]:
    """The word n-grams of a text; the whole of a shorter one. Words as the truth of `near_duplicate_pairs` has them."""
    words = WORD.findall(text.casefold())
    if len(words) < ngram:
        return [" ".join(words)]
    if ngram == 3:
        return [f"{a} {b} {c}" for a, b, c in zip(words, words[1:], words[2:])]  # noqa: B905 - the shortest ends it
    return [" ".join(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]


def run(work: Callable[[dict[str, Any], Watch], dict[str, Any]]) -> None:
    """Do every task of the file that the command line names."""
    for task in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        watch = Watch()
        found = work(task, watch)
        told = {"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds, "peak_mib": peak_mib()} | found
        Path(task["out"]).write_text(json.dumps(told), encoding="utf-8")
