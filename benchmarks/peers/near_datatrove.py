"""datatrove: signatures, buckets and clusters in its own three stages, two workers, English words as it cuts them.

Reads its JSON Lines itself, which the time includes, and writes its stages to disk. One file for each worker: the
runner splits the texts before the time is taken.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import common
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.logging import logger

WORKERS = 2


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    own = (
        {"num_buckets": task["bands"], "hashes_per_bucket": task["rows"]}
        if task["settings"] == "equal"
        else {}
    )
    config = MinhashConfig(n_grams=task["ngram"], seed=task["seed"], **own)
    half = -(-len(texts) // WORKERS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "texts").mkdir()
        for part in range(WORKERS):
            lines = "".join(
                json.dumps({"text": text}) + "\n" for text in texts[part * half : (part + 1) * half]
            )
            (folder / "texts" / f"{part:05d}.jsonl").write_text(lines, encoding="utf-8")
        with watch:
            stages(folder, config)
        return {"labels": labels(folder / "clusters", len(texts), half)}


def stages(folder: Path, config: MinhashConfig) -> None:
    texts, signatures, buckets, clusters = (
        str(folder / name) for name in ("texts", "signatures", "buckets", "clusters")
    )

    def stage(steps: list[Any], tasks: int) -> None:
        # Forked: its workers then count as children, and start at once.
        LocalPipelineExecutor(
            steps, tasks=tasks, workers=min(tasks, WORKERS), start_method="fork", skip_completed=False,
            logging_dir=str(folder / "logs"),
        ).run()  # fmt: skip

    reader = JsonlReader(texts, doc_progress=False)
    stage([reader, MinhashDedupSignature(output_folder=signatures, config=config)], WORKERS)
    # Its default of five lines read at a time is slow on local disks; -1 reads a file whole.
    stage([MinhashDedupBuckets(signatures, buckets, config=config, lines_to_buffer=-1)], config.num_buckets)
    stage(
        [MinhashDedupCluster(buckets, clusters, config=config, save_cluster_id=True, lines_to_buffer=-1)], 1
    )


def labels(clusters: Path, rows: int, half: int) -> list[int]:
    """A number for each row: equal within a cluster, -1 for a row of none."""
    found = [-1] * rows
    for path in clusters.glob("*.clusters"):
        start = int(path.name.split(".")[0]) * half
        for row, cluster in struct.iter_unpack("<2I", path.read_bytes()):
            found[start + row] = cluster
    return found


if __name__ == "__main__":
    logger.remove()
    common.run(work)
