"""datatrove: NGramsDecontFilter with the n-grams its own configuration has, two workers, English words as it cuts them.

The index is made by its indexer's own hashes and written as its filter reads it; the indexer itself wants LightEval
installed (and so PyTorch), for sets that it would download. The same texts are protected as ours protects. Indexing, and
reading its JSON Lines, count. It names no item: the set alone.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import common
import numpy as np
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger

WORKERS = 2


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    with Path(task["texts"]).open(encoding="utf-8", newline="\n") as lines:
        rows = [json.loads(line) for line in lines]
    with Path(task["items"]).open(encoding="utf-8", newline="\n") as lines:
        items = [json.loads(line) for line in lines]
    config = NGramsDecontConfig()
    half = -(-len(rows) // WORKERS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("texts", "index"):
            (folder / name).mkdir()
        for part in range(WORKERS):
            lines_of_part = "".join(
                json.dumps(
                    {"text": "\n\n".join(filter(None, (row["prompt"], row["answer"]))), "id": str(number)}
                )
                + "\n"
                for number, row in enumerate(rows[part * half : (part + 1) * half], start=part * half)
            )
            (folder / "texts" / f"{part:05d}.jsonl").write_text(lines_of_part, encoding="utf-8")
        with watch:
            index(folder / "index", items, config)
            LocalPipelineExecutor(
                [
                    JsonlReader(str(folder / "texts"), doc_progress=False),
                    NGramsDecontFilter(
                        str(folder / "index"), config=config,
                        exclusion_writer=JsonlWriter(str(folder / "removed"), compression=None),
                    ),
                ],
                tasks=WORKERS, workers=WORKERS, start_method="fork", skip_completed=False,
                logging_dir=str(folder / "logs"),
            ).run()  # fmt: skip
        removed = []
        for path in (folder / "removed").glob("*.jsonl"):
            for line in path.read_text(encoding="utf-8").split("\n"):
                if line:
                    removed.append((int(json.loads(line)["id"]), "contaminated", None))
    return {"verdicts": sorted(removed)}


def index(folder: Path, items: list[dict[str, str]], config: NGramsDecontConfig) -> None:
    # Past its constructor, which refuses to make one without LightEval; its hashes need none of it.
    indexer = object.__new__(NGramsDecontIndexer)
    indexer.__init__(str(folder), config=config)
    hashes: dict[str, set[int]] = defaultdict(set)
    for item in items:
        hashes[item["set"]].update(indexer.compute_hashes(item["text"]))
    for name, found in hashes.items():
        np.array(sorted(found), dtype=config.hash_config.np_descr).tofile(folder / f"{name}.index.hashes")


if __name__ == "__main__":
    logger.remove()
    common.run(work)
