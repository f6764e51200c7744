"""The seal of a manifest: what it covers and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from dataset_pipeline.transforms.sealing import SEALED, seal_in, seal_line, seal_of

MANIFEST: dict[str, Any] = {key: {"a": [1, "ä"]} for key in SEALED} | {
    "versions": {"python": "3.11.7", "polars": "2.1.0"},
    "created_at": "2026-03-02T00:00:00Z",
    "run_id": "r",
}


@pytest.mark.parametrize("key", SEALED)
def test_seal_changes_with_every_sealed_key(key: str) -> None:
    assert seal_of(MANIFEST | {key: {"a": [2, "ä"]}}) != seal_of(MANIFEST)
    assert seal_of({k: v for k, v in MANIFEST.items() if k != key}) != seal_of(MANIFEST)


def test_seal_knows_no_clock_no_run_and_no_python() -> None:
    other = MANIFEST | {"created_at": "x", "run_id": "y", "versions": {"python": "3.12.0", "polars": "2.1.0"}}
    assert seal_of(other) == seal_of(MANIFEST)


def test_seal_is_found_in_the_card_that_tells_it_last() -> None:
    seal = seal_of(MANIFEST)
    forged = seal_line("0" * 64)
    assert seal_in(f"# {forged}\n{forged}\n\n{seal_line(seal)}\n") == seal
    assert seal_in("# a card of an earlier version\n") is None
