"""Random records and random changes of settings: what `preview` says is what a run then does, whatever is changed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.assets import previewing_split
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import preview_comparing as comparing
from dataset_pipeline_tests import small_project as small

pytestmark = pytest.mark.faults

ROWS_A_DAY = 45
CHANGES = 5
"""Changes a project, one after the other: 20 over all."""

_WORDS = ("printer", "calendar", "invoice", "editor", "freezes", "every", "Tuesday", "after", "lunch", "because", "nobody",
          "restarted", "the", "old", "server", "room", "behind", "our", "kitchen", "since", "winter", "began")  # fmt: skip
_ADDRESSES = ("eve.long.name@north.example.com", "otto.other@south-west.example.org", "a@b.example.net")


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(chance.choice((3, 9, 14, 20))))


def _varied(chance: random.Random, text: str) -> str:
    """A text that is the same, near, near once cleaned, longer, or full of signs."""
    way = chance.randrange(8)
    words = text.split()
    if way == 0:
        return text.upper()
    if way == 1:
        words[chance.randrange(len(words))] = chance.choice(_WORDS)
    if way in (2, 3):
        words.insert(0, chance.choice(_ADDRESSES))
    if way == 4:
        words.append(chance.choice(_WORDS))
    if way == 5:
        words.append("$€+=" * 8)
    return " ".join(words)


def _fill(root: Path, chance: random.Random) -> None:
    pool = [_sentence(chance) for _ in range(30)]
    evals = [small.LONG_EVAL, small.SHORT_EVAL, f"before {small.SHORT_EVAL} after", small.GERMAN]
    for day in small.DAYS:
        rows = []
        for n in range(ROWS_A_DAY if day != small.DAY_WITHOUT_FILES else 0):
            text = _varied(chance, chance.choice(evals if chance.random() < 0.06 else pool))
            label = chance.choice((*small.LABELS, *small.LABELS, None))
            group = f"C{chance.randrange(14)}" if chance.random() < 0.7 else None
            rows.append({"id": f"{day}-{n}", "message": text, "label": label, "customer": group, "sender": None})  # fmt: skip
        if rows:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (root / f"sources/inbox/{day}.jsonl").write_text(lines, encoding="utf-8")


def _spec(chance: random.Random, base: dict[str, Any]) -> dict[str, Any]:
    """Settings of the steps, each drawn anew; of one section in three as before."""
    sets = small._spec()["decontaminate"]["sets"]
    drawn: dict[str, Any] = {
        "filter": {
            "input": {
                "min_words": chance.choice((1, 3, 5, 10, 15)),
                "max_symbol_share": chance.choice((0.2, 0.3, 0.95)),
            },
            "review_margin": chance.choice((0.0, 0.3)),
            "chars_per_token": chance.choice((4.0, 4.0, 2.0)),
            "max_tokens": chance.choice((20, 40, None)),
        },
        "normalize": {
            "languages": chance.choice((["en"], ["en", "de"], [])),
            "pii": {"entities": chance.choice((["EMAIL_ADDRESS"], ["PHONE_NUMBER"]))},
        },
        "decontaminate": {
            "sets": sets,
            "suspects": chance.choice(("review", "drop", "keep")),
            "min_coverage": chance.choice((0.3, 0.5, 0.9)),
            "min_contained_words": chance.choice((3, 5, 8)),
            "ngram": chance.choice((13, 13, 6)),
        },
        "dedup": {"near": {**base["dedup"]["near"], "threshold": chance.choice((0.6, 0.8, 0.9))}},
    }
    for section in chance.sample(sorted(drawn), chance.choice((1, 2, 3))):
        base = base | {section: drawn[section]}
    return base


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_random_changes_come_true_record_by_record(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    small.switch_gates_off(monkeypatch)
    # However few records there are, only those near what comes and goes are judged again.
    monkeypatch.setattr(previewing_split, "_SHARE_OF_ALL", 1e9)
    ratios = {"train": 0.5, "validation": 0.25, "test": 0.25}
    task = small._spec()["task"]
    if seed == 2:
        task = {name: task[name] for name in ("behavior", "system_prompt", "examples")} | {"type": "instruction"}  # fmt: skip
    base: dict[str, Any] = {
        "task": task,
        "split": {"ratios": ratios, "strategy": "stratified" if seed == 3 else "hash"},
        # Full buckets: then one record less lets another one in.
        "dedup": {"near": {"ngram": 2, "bucket_cap": 2 if seed == 4 else 200}},
    }
    root = small.make_project(tmp_path / "project", base)
    _fill(root, chance)
    small.run_all(root)
    try:
        ways = set()
        for number in range(CHANGES):
            changed = _spec(chance, base)
            said, wrong = comparing.differences(root, changed)
            assert wrong == [], (seed, number, changed)
            ways.add(said.way)
            base = changed
        assert ways == {"steps"}
    finally:
        release_run_lock(root / "warehouse.duckdb")
