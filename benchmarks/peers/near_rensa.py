"""rensa. Its ways differ in what they tell: settings name one of WAYS.

pairs: full-set R-MinHash, LSH, candidates checked by its own estimate of the similarity. flags: its batch way, which
tells of each row whether it has a twin, not which. words: the same on single words, sampled (rho), as its own
benchmark does; that is what its claims of speed rest on.
"""

from __future__ import annotations

from typing import Any

import common
from rensa import RMinHash, RMinHashLSH

PERMUTATIONS = 128
BANDS = 8
"""Of its own benchmark, in its README."""


def pairs(texts: list[str], task: dict[str, Any], permutations: int, bands: int) -> dict[str, Any]:
    sets = [common.shingles(text, task["ngram"]) for text in texts]
    sketches = RMinHash.from_token_sets(sets, permutations, task["seed"])
    index = RMinHashLSH(task["threshold"], permutations, bands)
    index.insert_many(sketches)
    found = []
    for left, others in enumerate(index.query_all(sketches)):
        own = sketches[left]
        for right in others:
            if right > left and own.jaccard(sketches[right]) >= task["threshold"]:
                found.append((left, right))
    return {"pairs": found}


def flags(texts: list[str], task: dict[str, Any], permutations: int, bands: int) -> dict[str, Any]:
    sets = [common.shingles(text, task["ngram"]) for text in texts]
    matrix = RMinHash.digest_matrix_from_token_sets(sets, permutations, task["seed"])
    index = RMinHashLSH(task["threshold"], permutations, bands)
    return {"flags": index.query_duplicate_flags_matrix_one_shot(matrix)}


def words(texts: list[str], task: dict[str, Any], permutations: int, bands: int) -> dict[str, Any]:
    matrix = RMinHash.digest_matrix_from_token_sets_rho(
        [text.split() for text in texts], permutations, task["seed"]
    )
    index = RMinHashLSH(task["threshold"], permutations, bands)
    return {"flags": index.query_duplicate_flags_matrix_one_shot(matrix)}


WAYS = {"pairs": pairs, "flags": flags, "words": words}


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    texts = common.texts_of(task["texts"])
    equal = task["settings"] == "equal"
    permutations, bands = (task["bands"] * task["rows"], task["bands"]) if equal else (PERMUTATIONS, BANDS)
    with watch:
        return WAYS[task["way"]](texts, task, permutations, bands)


if __name__ == "__main__":
    common.run(work)
