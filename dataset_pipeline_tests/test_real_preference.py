"""Pairs of transcripts as their owner ships them, from file to release, against facts computed here in plain Python."""

from __future__ import annotations

import gzip
import json
import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dataset_pipeline.records import Split
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.test_real_layouts import HH, PAIRS, is_sound, rows, split

pytestmark = pytest.mark.real_data

ROWS_THAT_ARE_NO_PAIR = 13
Turns = list[tuple[str, str]]


@dataclass(frozen=True)
class Pair:
    prompt: Turns
    chosen: Turns
    rejected: Turns

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        return words(self.chosen), words(self.rejected)


def words(turns: Turns) -> list[str]:
    text = "\n\n".join(content for _, content in turns)
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def pair_of(row: dict[str, Any]) -> Pair | None:
    chosen, rejected = split(row["chosen"]), split(row["rejected"])
    if not (is_sound(chosen) and is_sound(rejected)):
        return None
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    shared -= 1 - shared % 2  # the prompt ends with the user
    return Pair(chosen[:shared], chosen[shared:], rejected[shared:])


def in_common(pair: Pair) -> float:
    one, other = (Counter(side) for side in pair.sides)
    return (one & other).total() / (one | other).total()


@dataclass(frozen=True)
class Built:
    pairs: dict[int, Pair]
    """By line."""
    dropped: pl.DataFrame
    released: dict[int, dict[str, Any]]
    """Line to the row of `preference`, with `edited`: whether cleaning or scrubbing changed anything."""
    folder: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    source = rows(HH)
    root = tmp_path_factory.mktemp("pairs")
    packed = Path(os.environ["DATASET_PIPELINE_REAL_DATA"]) / HH
    (root / "pairs.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    (root / "dataset.yaml").write_text(yaml.safe_dump(_spec()), encoding="utf-8")
    small.run_all(root)
    folder = small.release_folder(root)
    provenance = pl.read_parquet(folder / "provenance.parquet")
    released = {}
    for name in Split:
        lines = (folder / f"preference/{name}.jsonl").read_text(encoding="utf-8").splitlines()
        part = provenance.filter(pl.col("split") == name.value).sort("row")
        assert part["row"].to_list() == list(range(len(lines)))
        for line, facts in zip(lines, part.iter_rows(named=True), strict=True):
            edited = bool(facts["normalize_changes"] or facts["normalize_pii_counts"])
            released[facts["line"]] = json.loads(line) | {"edited": edited}
    pairs = {n: pair for n, row in enumerate(source, 1) if (pair := pair_of(row)) is not None}
    return Built(pairs, pl.read_parquet(folder / "dropped.parquet"), released, folder)


def _spec() -> dict[str, Any]:
    rights = {"license": "MIT", "holder": "Anthropic", "basis": "LICENSE of the repository", "uses": ["train", "evaluate"]}  # fmt: skip
    source = {"name": "harmless", "kind": "licensed", "path": "pairs.jsonl", "collected_at": "2026-10-01", "rights": rights, "layout": "preference"}  # fmt: skip
    return {
        "name": "harmless",
        "task": {"behavior": "Answer without doing harm.", "type": "preference"},
        "sources": [source],
        # What people ask in order to provoke is what this dataset is about.
        "filter": {"profanity": {"max_words": None}},
    }


def test_real_preference_drops_exactly_the_sides_that_are_empty_or_alike(built: Built) -> None:
    assert len(built.pairs) == PAIRS - ROWS_THAT_ARE_NO_PAIR
    empty = {line for line, pair in built.pairs.items() if not all(pair.sides)}
    alike = {line for line, pair in built.pairs.items() if line not in empty and in_common(pair) > 0.9}
    assert (len(empty), len(alike)) == (5, 3)
    found = {(row["line"], row["reason"]) for row in built.dropped.iter_rows(named=True)}
    assert found == {(n, "empty_answer") for n in empty} | {(n, "sides_alike") for n in alike}
    assert built.released.keys() == built.pairs.keys() - empty - alike


def test_real_preference_rows_are_valid_for_a_trainer(built: Built) -> None:
    for line, row in built.released.items():
        roles = {side: [turn["role"] for turn in row[side]] for side in ("prompt", "chosen", "rejected")}
        assert roles["prompt"] == ["user", "assistant"] * (len(roles["prompt"]) // 2) + ["user"], line
        for side in ("chosen", "rejected"):
            assert roles[side] == ["assistant", "user"] * (len(roles[side]) // 2) + ["assistant"], line
        turns = [turn for side in roles for turn in row[side]]
        assert all(set(turn) == {"role", "content"} and turn["content"].strip() for turn in turns), line
        assert row["chosen"] != row["rejected"], line


def test_real_preference_rows_say_what_the_file_says(built: Built) -> None:
    compared = 0
    for line, row in built.released.items():
        pair = built.pairs[line]
        for side in ("prompt", "chosen", "rejected"):
            said = [(turn["role"], turn["content"]) for turn in row[side]]
            expected = getattr(pair, side)
            assert [role for role, _ in said] == [role for role, _ in expected], (line, side)
            if not row["edited"]:
                assert said == expected, (line, side)
        compared += not row["edited"]
    assert compared > 2000


def test_real_preference_file_holds_no_copy_and_no_reversed_pair(built: Built) -> None:
    keys = Counter[Any]()
    for pair in built.pairs.values():
        keys[tuple(words(pair.prompt)), tuple(sorted(map(tuple, pair.sides)))] += 1
    assert max(keys.values()) == 1


def test_real_preference_numbers_of_the_card_are_those_of_the_file(built: Built) -> None:
    def chars(turns: Turns) -> int:
        return len("\n\n".join(content for _, content in turns))

    sizes = [(chars(built.pairs[n].chosen), chars(built.pairs[n].rejected)) for n in built.released]
    longer = sum((one > other) + (one == other) / 2 for one, other in sizes) / len(sizes)
    card = (built.folder / "README.md").read_text(encoding="utf-8")
    assert f"| pairs | {len(built.released)} |" in card
    assert f"| pairs whose chosen answer is the longer one | {longer:.1%} |" in card
