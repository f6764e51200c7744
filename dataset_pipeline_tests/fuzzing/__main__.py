"""Runs one target under the fuzzer: `python -m dataset_pipeline_tests.fuzzing csv --seconds 60`.

Lives here: the process, its limits, where a breaking input is kept. Keep out: what must hold (`fuzz_readers`).

Exit 0: nothing found. Else the reader is named and the input kept as `crashes/<target>-….bin`, where
`test_fuzz_crashes` replays it from then on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

CRASHES = Path(__file__).parent / "crashes"
CPP = ("parquet", "excel", "html", "jsonl_zst")
"""Targets whose work is done in compiled code or slow libraries: fewer inputs, more memory."""
RSS_LIMIT_MB = 3000
INPUT_SECONDS = 20
_PACKAGE = "dataset_pipeline_tests.fuzzing"


def check(name: str) -> Callable[[bytes], None]:
    """The function that a target's inputs go through."""
    if name == "layouts":
        found: Callable[[bytes], None] = import_module(f"{_PACKAGE}.fuzz_layouts").check_layouts
        return found
    readers = import_module(f"{_PACKAGE}.fuzz_readers")
    if name not in readers.TARGETS:
        raise SystemExit(f"no target is called {name!r}: use layouts, {', '.join(readers.TARGETS)}")
    return lambda data: readers.check_reader(name, data)


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {_PACKAGE}")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--crashes", type=Path, default=CRASHES)
    parser.add_argument("--replay", type=Path, help="run one stored input instead")
    given = parser.parse_args()
    if given.replay:
        check(given.target)(given.replay.read_bytes())
        return
    import atheris

    with atheris.instrument_imports(
        include=["dataset_pipeline.storage.readers", "dataset_pipeline.transforms"]
    ):
        for name in ("jsonl", "documents", "delimited", "plain", "pages", "parquet", "sheets"):
            import_module(f"dataset_pipeline.storage.readers.{name}")
        import_module("dataset_pipeline.transforms.ingest")
    run = check(given.target)
    corpus = import_module(f"{_PACKAGE}.corpus")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    (folder / "seeds").mkdir()
    for number, seed in enumerate(corpus.seeds(given.target)):
        (folder / "seeds" / str(number)).write_bytes(seed)
    (folder / "words").write_text(corpus.dictionary())
    given.crashes.mkdir(parents=True, exist_ok=True)
    is_heavy = given.target.startswith(CPP)
    print(f"target {given.target}", flush=True)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    atheris.Setup(
        [
            sys.argv[0],
            str(folder / "seeds"),
            f"-max_total_time={given.seconds}",
            f"-max_len={16384 if is_heavy else 3000}",
            f"-seed={given.seed}",
            f"-dict={folder / 'words'}",
            f"-timeout={INPUT_SECONDS}",
            f"-rss_limit_mb={RSS_LIMIT_MB}",
            f"-artifact_prefix={given.crashes / given.target}-",
            "-print_final_stats=1",
            "-verbosity=1",
        ],
        run,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
