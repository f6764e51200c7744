"""Pseudonyms through whole runs: the same across days and sources, another key's are others, and the key is nowhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline_tests.scenario import (
    call,
    jsonl,
    last_json,
    make_project,
    released,
    row,
    rows,
    source,
    spec,
)

VARIABLE = "SOME_PSEUDONYM_KEY"
KEY, OTHER_KEY = "8d41c0c5a9f24a5bb0f7e1d2c3b4a596", "another secret of another team!!"
DAYS = ("2026-03-01", "2026-03-02")
PSEUDONYM = re.compile(r"\[([A-Z_]+):[a-z2-7]{10}\]")


def _spec(**pii: Any) -> dict[str, Any]:
    settings = {"action": "pseudonym", "key_variable": VARIABLE} | pii
    shop = source(name="shop", path="shop/{date}.jsonl")
    return spec(sources=[source(), shop], normalize={"pii": settings})


def _files() -> dict[str, bytes]:
    files = {f"sources/{day}.jsonl": jsonl(rows(20 * n)) for n, day in enumerate(DAYS)}
    files["sources/2026-03-01.jsonl"] += jsonl(
        [row(101, text="Hi, my name is Ines Oduya, the green kettle of 30 watts leaks. Mail ines@oduya.com")]
    )
    files["shop/2026-03-01.jsonl"] = jsonl(rows(60))
    files["shop/2026-03-02.jsonl"] = jsonl(
        [
            *rows(40),
            row(
                102,
                text="Why did nobody answer INES@oduya.com about the blue ladder?\n\nRegards,\nInes Oduya",
            ),
        ]
    )
    return files


def _texts(path: Path) -> dict[str, str]:
    """Source id to its released message."""
    import polars as pl

    folder = path.parent / "releases" / "latest"
    said = [
        json.loads(line)["messages"]
        for file in sorted((folder / "chat").glob("*.jsonl"))
        for line in file.open()
    ]
    texts = {messages[-2]["content"] for messages in said}
    ids = pl.read_parquet(folder / "provenance.parquet")["source_id"]
    assert {"r101", "r102"} <= set(ids)
    return {
        name: next(t for t in texts if mark in t)
        for name, mark in (("r101", "kettle of 30"), ("r102", "blue ladder"))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_project(tmp_path_factory.mktemp("pseudonyms"), _spec(), _files())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEY)
        assert call("run", path).exit_code == 0
    return path


def test_pseudonym_is_the_same_across_days_and_sources(made: Path) -> None:
    texts = _texts(made)
    first, later = (
        {m.group(1): m.group() for m in PSEUDONYM.finditer(texts[name])} for name in ("r101", "r102")
    )
    assert first == later
    assert set(first) == {"PERSON", "EMAIL_ADDRESS"}
    assert "oduya" not in "".join(texts.values()).lower()


def test_pseudonym_key_is_in_no_file_and_its_id_in_the_card(made: Path) -> None:
    from dataset_pipeline.spec import beside

    folder = made.parent
    secret = KEY.encode()
    holding = [p for p in folder.rglob("*") if p.is_file() and secret in p.read_bytes()]
    assert holding == []
    key_id = beside.key_id(secret)
    assert f"`{key_id}`" in (folder / "releases" / "latest" / "README.md").read_text()


def test_pseudonym_run_day_by_day_ends_the_same(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    path = make_project(tmp_path / "other", _spec(), _files())
    for day in DAYS:
        assert call("run", path, "--from", day, "--to", day).exit_code == 0
    assert (path.parent / "releases" / "latest").resolve().name == (
        made.parent / "releases" / "latest"
    ).resolve().name


def test_pseudonym_other_key_makes_normalize_stale_and_other_words(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(made.parent, folder, symlinks=True)
    path, before = folder / "dataset.yaml", _texts(made)
    monkeypatch.setenv(VARIABLE, KEY)
    assert "stale" not in call("status", path).stdout
    monkeypatch.setenv(VARIABLE, OTHER_KEY)
    assert "normalize.pii.pseudonym_key" in call("status", path).stdout
    assert call("run", path).exit_code == 0
    after = _texts(path)
    words = lambda texts: {m.group() for text in texts.values() for m in PSEUDONYM.finditer(text)}  # noqa: E731
    assert words(before).isdisjoint(words(after))
    assert len(words(after)) == 2
    assert len(released(path)) == 2


def test_pseudonym_key_that_is_missing_stops_check_and_run_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    path = make_project(tmp_path, _spec(), _files())
    result = call("check", path, "--json")
    assert result.exit_code == 2
    (problem,) = last_json(result)["problems"]
    assert VARIABLE in problem["message"]
    assert "openssl rand" in problem["remedy"]
    result = call("run", path)
    assert result.exit_code == 2
    assert VARIABLE in result.output
    assert not (tmp_path / "warehouse.duckdb").exists()
