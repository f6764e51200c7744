"""data-juicer: document_minhash_deduplicator on a data set of Hugging Face, two processes, as its own executor runs it.

Words as it cuts them (white space, lower case). Its clusters are asked for in a second, untimed call: the timed one
keeps one row of each cluster, as its users call it.
"""

from __future__ import annotations

from typing import Any

import common
from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
from data_juicer.utils.lazy_loader import LazyLoader
from datasets import Dataset, disable_caching, disable_progress_bars
from loguru import logger

WORKERS = 2


def refused(*_: Any, **__: Any) -> None:
    raise ImportError("only what the lock names is installed")


# It would install what it misses while it runs, in versions that no lock names.
LazyLoader._install_package = refused


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    if task["settings"] == "equal":
        own = {
            "num_permutations": task["bands"] * task["rows"],
            "num_bands": task["bands"],
            "num_rows_per_band": task["rows"],
        }
    else:
        own = {"jaccard_threshold": task["threshold"]}
    step = DocumentMinhashDeduplicator(tokenization="space", window_size=task["ngram"], **own)
    rows = Dataset.from_dict({"text": texts, "row": list(range(len(texts)))})
    with watch:
        hashed = rows.map(step.compute_hash, num_proc=WORKERS)
        step.process(hashed)
    _, clusters = step.process(hashed, show_num=len(texts))
    labels = [-1] * len(texts)
    for number, members in clusters.items():
        for member in members:
            labels[member["row"]] = number
    return {"labels": labels, "bands": step.num_bands, "rows": step.num_rows_per_band}


if __name__ == "__main__":
    disable_caching()
    disable_progress_bars()
    logger.remove()
    common.run(work)
