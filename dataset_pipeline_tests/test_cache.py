"""The cache spares work and changes nothing: whatever happens to its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.memo import direct
from dataset_pipeline.spec.models import Near, Pii
from dataset_pipeline.storage.cache import Cache
from dataset_pipeline.transforms.language import detect
from dataset_pipeline.transforms.near import fingerprints
from dataset_pipeline.transforms.pii import find_pii

TEXTS = pl.Series(
    "text", ["Mail me at jo@example.com", "ok", None, "Der Export geht seit gestern nicht mehr", "ok", ""]
)


class Counting:
    """A `compute` that counts the texts it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: pl.Series) -> pl.DataFrame:
        self.asked += texts.to_list()
        return pl.DataFrame({"chars": texts.str.len_chars().cast(pl.Int32)})


def test_cache_second_call_computes_new_texts_only(tmp_path: Path) -> None:
    cache, compute = Cache(tmp_path / "cache.duckdb", {"polars": "2"}), Counting()
    first = cache("chars", 1, "", TEXTS, compute)
    assert first.equals(direct("chars", 1, "", TEXTS, Counting()))
    assert first["chars"].to_list() == [25, 2, None, 39, 2, 0]
    compute.asked.clear()
    more = pl.Series("text", ["new", "ok", "Mail me at jo@example.com"])
    assert cache("chars", 1, "", more, compute)["chars"].to_list() == [3, 2, 25]
    assert compute.asked == ["new"]


@pytest.mark.parametrize(
    ("version", "settings", "libraries"),
    [(2, "", {"polars": "2"}), (1, "x", {"polars": "2"}), (1, "", {"polars": "3"})],
)
def test_cache_other_version_settings_or_library_computes_again(
    tmp_path: Path, version: int, settings: str, libraries: dict[str, str]
) -> None:
    Cache(tmp_path / "cache.duckdb", {"polars": "2"})("chars", 1, "", TEXTS, Counting())
    compute = Counting()
    Cache(tmp_path / "cache.duckdb", libraries)("chars", version, settings, TEXTS, compute)
    assert len(compute.asked) == 4


def test_cache_real_functions_give_what_they_give_without_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.duckdb", {})
    texts = [t for t in TEXTS.to_list() if t is not None]
    for _ in range(2):  # written, then read
        assert find_pii(texts, Pii(), cache) == find_pii(texts, Pii())
        assert detect(TEXTS, ("en",), cache).equals(detect(TEXTS, ("en",)))
        assert fingerprints(TEXTS, Near(), 3, cache).equals(fingerprints(TEXTS, Near(), 3))


def test_cache_holds_no_text(tmp_path: Path) -> None:
    path = tmp_path / "cache.duckdb"
    find_pii(["The marker zanzibarquux and jo@example.com"], Pii(), Cache(path, {}))
    assert b"zanzibarquux" not in path.read_bytes()
    assert b"jo@example.com" not in path.read_bytes()


def test_cache_damaged_file_is_thrown_away_and_the_work_done(tmp_path: Path) -> None:
    path = tmp_path / "cache.duckdb"
    path.write_bytes(b"this is no database" * 1000)
    compute = Counting()
    assert Cache(path, {})("chars", 1, "", TEXTS, compute)["chars"].to_list() == [25, 2, None, 39, 2, 0]
    assert len(compute.asked) == 4
    compute.asked.clear()
    Cache(path, {})("chars", 1, "", TEXTS, compute)
    assert compute.asked == []


def test_cache_held_by_another_process_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cache.duckdb"
    Cache(path, {})("chars", 1, "", TEXTS, Counting())
    hold = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        compute = Counting()
        assert Cache(path, {})("chars", 1, "", TEXTS, compute)["chars"].to_list() == [25, 2, None, 39, 2, 0]
        assert len(compute.asked) == 4
        holder.kill()
    compute.asked.clear()
    Cache(path, {})("chars", 1, "", TEXTS, compute)
    assert compute.asked == []
