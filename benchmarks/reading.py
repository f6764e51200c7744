"""`python -m benchmarks.reading`: how fast each format is read, as a ratio to Polars in the same process.

Lives here: files of every format made of the real data, and reading them in turns. Keep out: ingest, gates, runs
(`measure`). Ours is `readers.read_blocks`, every row counted; Polars' is its own reader of the format, to a frame.
The memory of a large JSON Lines file is the peak of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers

ROUNDS = 5
DATA_VARIABLE = "DATASET_PIPELINE_REAL_DATA"


@dataclass(frozen=True)
class Case:
    """One file, how we read it, and how Polars does."""

    name: str
    path: Path
    reading: Reading
    polars: Callable[[Path], pl.DataFrame]


def texts(data: Path) -> list[tuple[str, str]]:
    """Questions and answers of gsm8k: text of some 230 and 300 characters, with quotes, commas and newlines."""
    with gzip.open(data / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [(row["question"], row["answer"]) for row in map(json.loads, lines)]


def short(data: Path) -> list[tuple[str, str]]:
    """Customer questions of banking77 and their labels: one line of some 60 characters."""
    with gzip.open(data / "banking77" / "train.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        return [(row["text"], row["category"]) for row in csv.DictReader(lines)]


def rows(pairs: list[tuple[str, str]], mib: int) -> Iterator[dict[str, Any]]:
    """Rows drawn at random until their text makes `mib` MiB."""
    draw, size, number = random.Random(7), 0, 0
    while size < mib * 2**20:
        one, two = draw.choice(pairs)
        yield {"id": f"r{number}", "question": one, "answer": two, "number": number}
        size, number = size + len(one) + len(two) + 60, number + 1


def chats(pairs: list[tuple[str, str]], mib: int) -> Iterator[dict[str, Any]]:
    for row in rows(pairs, mib):
        turns = [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": row["answer"]},
        ]
        yield {"id": row["id"], "messages": turns}


def cases(data: Path, folder: Path, mib: int) -> Iterator[Case]:
    """The files, made one after the other; the last one is deleted when the next is asked for."""

    def case(
        name: str, write: Callable[[Path], None], polars: Callable[[Path], pl.DataFrame], **keys: Any
    ) -> Iterator[Case]:
        path = folder / name.replace(" ", "_").replace(",", "")
        write(path)
        yield Case(name, path, Reading(**keys), polars)
        path.unlink()

    def jsonl(items: Iterator[dict[str, Any]]) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            with path.open("wb") as out:
                out.writelines(orjson.dumps(item) + b"\n" for item in items)

        return write

    def array(items: Iterator[dict[str, Any]]) -> Callable[[Path], None]:
        return lambda path: path.write_text(json.dumps(list(items), indent=2), encoding="utf-8") and None

    def table(items: Iterator[dict[str, Any]], delimiter: str) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as out:
                writer = csv.DictWriter(out, ["id", "question", "answer", "number"], delimiter=delimiter)
                writer.writeheader()
                writer.writerows(items)

        return write

    def lines(path: Path) -> None:
        path.write_text(
            "".join(" ".join(row["question"].split()) + "\n" for row in rows(one_line, mib)), encoding="utf-8"
        )

    long, one_line = texts(data), short(data)
    yield from case("long texts .jsonl", jsonl(rows(long, mib)), pl.read_ndjson)
    yield from case("short texts .jsonl", jsonl(rows(one_line, mib)), pl.read_ndjson)
    yield from case("chats .jsonl", jsonl(chats(long, mib)), pl.read_ndjson)
    yield from case("long texts .json", array(rows(long, mib)), pl.read_json)
    as_text: Callable[[Path], pl.DataFrame] = lambda path: pl.read_csv(path, infer_schema=False)  # noqa: E731
    yield from case("long texts .csv", table(rows(long, mib), ","), as_text)
    yield from case("short texts .csv", table(rows(one_line, mib), ","), as_text)
    tabs: Callable[[Path], pl.DataFrame] = lambda path: pl.read_csv(path, infer_schema=False, separator="\t")  # noqa: E731
    yield from case("short texts .tsv", table(rows(one_line, mib), "\t"), tabs)
    yield from case("lines .txt", lines, lambda path: pl.read_lines(path))
    flat: Callable[[Path], None] = lambda path: pl.DataFrame(list(rows(long, mib))).write_parquet(path)  # noqa: E731
    yield from case("long texts .parquet", flat, pl.read_parquet)
    nested: Callable[[Path], None] = lambda path: pl.DataFrame(list(chats(long, mib))).write_parquet(path)  # noqa: E731
    yield from case("chats .parquet", nested, pl.read_parquet)


def ours(case: Case) -> int:
    items = readers.read_blocks(case.path, case.reading)
    return sum(len(item) if isinstance(item, readers.RowBlock) else 1 for item in items)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(case: Case) -> str:
    """One line of the table: medians of ROUNDS turns, ours and Polars' by turns."""
    assert ours(case) == case.polars(case.path).height
    pairs = [(timed(lambda: ours(case)), timed(lambda: case.polars(case.path))) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(other / own for own, other in pairs)
    mib = case.path.stat().st_size / 2**20
    return f"| {case.name} | {mib:.0f} | {mine:.3f} | {theirs:.3f} | {mib / mine:.0f} | {ratio:.2f} |"


_PEAK = """
import sys
from pathlib import Path
from dataset_pipeline.storage import readers
items = readers.read_blocks(Path(sys.argv[1]))
n = sum(len(item) if isinstance(item, readers.RowBlock) else 1 for item in items)
# Not getrusage: its peak is inherited from the process that started this one.
status = Path("/proc/self/status").read_text()
print(n, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def peak(data: Path, folder: Path, mib: int) -> str:
    """Rows and peak memory of a process that reads one JSON Lines file of `mib` MiB."""
    path = folder / "large.jsonl"
    with path.open("wb") as out:
        out.writelines(orjson.dumps(row) + b"\n" for row in rows(texts(data), mib))
    told = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True
    )
    count, peak_mib = told.stdout.split()
    size = path.stat().st_size / 2**20
    path.unlink()
    return f"a JSON Lines file of {size:.0f} MiB, {count} rows: peak {peak_mib} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get(DATA_VARIABLE), help="folder of the real data"
    )
    parser.add_argument("--mib", type=int, default=200, help="size of each file (200)")
    parser.add_argument(
        "--large", type=int, default=2000, help="size of the file whose memory is measured (2000)"
    )
    given = parser.parse_args()
    if given.data is None or not given.data.is_dir():
        parser.error(f"no data: set {DATA_VARIABLE} or give --data")
    print("| file | MiB | ours, s | Polars, s | ours, MiB/s | ratio |\n|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(given.data, Path(folder), given.mib):
            print(measure(case), flush=True)
        if given.large:
            print(peak(given.data, Path(folder), given.large))


if __name__ == "__main__":
    main()
