"""datasketch: signatures in bulk, MinHashLSH, every row inserted and then asked for. Candidates are not verified."""

from __future__ import annotations

from typing import Any

import common
from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 128


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    if task["settings"] == "equal":
        permutations = task["bands"] * task["rows"]
        index = MinHashLSH(num_perm=permutations, params=(task["bands"], task["rows"]))
    else:
        permutations = PERMUTATIONS
        index = MinHashLSH(threshold=task["threshold"], num_perm=permutations)
    with watch:
        sets = [[gram.encode() for gram in common.shingles(text, task["ngram"])] for text in texts]
        signatures = MinHash.bulk(sets, num_perm=permutations, seed=task["seed"])
        with index.insertion_session() as session:
            for row, signature in enumerate(signatures):
                session.insert(row, signature, check_duplication=False)
        found = [
            (left, right)
            for left, signature in enumerate(signatures)
            for right in index.query(signature)
            if right > left
        ]
    return {"pairs": found, "bands": index.b, "rows": index.r}


if __name__ == "__main__":
    common.run(work)
