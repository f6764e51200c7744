"""Releases of five sets of real data: every format that fits holds every row, what does not fit is refused with the reason.

What the rows must say is read from the shipped files with the standard library alone.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import polars as pl
import pytest
from absl import logging as absl_logging

from dataset_pipeline.assets.rebuilding import check_rows
from dataset_pipeline.storage import release_checks
from dataset_pipeline_tests import real_releases
from dataset_pipeline_tests.scenario import call
from dataset_pipeline_tests.test_release_odd_input import counts, loaded

# mlcroissant's logger closes the stream that it finds when it is imported, and that is pytest's.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

pytestmark = pytest.mark.real_data

LOOKED_AT = 20
"""Rows that are compared with the shipped file, and rows that mlcroissant loads."""
Talk = tuple[str, ...]
"""The texts of a record, question first: without the system prompt."""
Said = tuple[Talk, Talk]
"""The released texts, and of a preference pair those of the worse side (else none)."""


@dataclass(frozen=True)
class Real:
    """A release, its manifest, and its rows as `datasets` loads them: format to split to rows."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    rows: dict[str, dict[str, list[dict[str, Any]]]]

    @property
    def system_prompt(self) -> str | None:
        prompt: str | None = self.manifest["spec"]["task"].get("system_prompt")
        return prompt


LONG = ("clinc150", "gpteacher")
"""Sets that take longest to build; `make test-loaders` builds them too."""
PARAMS = [
    pytest.param(name, marks=pytest.mark.faults if name in LONG else ()) for name in real_releases.NAMES
]


@pytest.fixture(scope="module", params=PARAMS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Real:
    root = tmp_path_factory.mktemp(request.param)
    folder = real_releases.release(root, request.param)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return Real(request.param, folder, manifest, loaded(folder, root / "cache"))


# --- rows of every format as plain texts ------------------------------------------------------------


def _talk(turns: list[dict[str, str]], role: str = "role", content: str = "content") -> Talk:
    return tuple(turn[content] for turn in turns if turn[role] != "system")


def said(real: Real, name: str, row: dict[str, Any]) -> Said:
    """What a row of a format says, with the system prompt in its place and taken off."""
    prompt = real.system_prompt
    match name:
        case "alpaca" if real.manifest["spec"]["task"]["type"] == "classification":
            assert row["instruction"] == (prompt or real.manifest["spec"]["task"]["behavior"])
            return (row["input"], row["output"]), ()
        case "alpaca":
            assert (row["input"], row["system"]) == ("", prompt or "")
            return (row["instruction"], row["output"]), ()
        case "completion":
            before = f"{prompt}\n\n" if prompt else ""
            assert row["prompt"].startswith(before)
            return (row["prompt"].removeprefix(before), row["completion"]), ()
        case "sharegpt":
            first = row["conversations"][0]
            assert (
                (first["from"], first["value"]) == ("system", prompt) if prompt else first["from"] == "human"
            )
            return _talk(row["conversations"], "from", "value"), ()
    if "chosen" in row:
        return _talk(row["prompt"] + row["chosen"]), _talk(row["prompt"] + row["rejected"])
    first = row["messages"][0]
    assert (first["role"], first["content"]) == ("system", prompt) if prompt else first["role"] == "user"
    return _talk(row["messages"]), ()


def test_real_every_format_that_fits_is_there_and_holds_every_row(real: Real) -> None:
    assert set(real.rows) == set(real_releases.sets()[real.name].formats)
    expected = counts(real.folder)
    assert set(expected) == {"train", "validation", "test"} and sum(expected.values()) > 100
    everything = {
        name: {s: [said(real, name, r) for r in rows] for s, rows in by.items()}
        for name, by in real.rows.items()
    }
    for name, splits in everything.items():
        assert {split: len(rows) for split, rows in splits.items()} == expected, name
        assert splits == everything["parquet"], name
    provenance = pl.read_parquet(real.folder / "provenance.parquet").sort("split", "row")
    for split, rows in real.rows["parquet"].items():
        named = provenance.filter(pl.col("split") == split)
        assert [row["record_id"] for row in rows] == named["record_id"].to_list()


def test_real_release_is_whole_and_passed_its_preflight(real: Real) -> None:
    preflight = real.manifest["preflight"]
    assert set(preflight["loaded"]) == set(real.rows) and preflight["not_loadable"] == {}
    assert (preflight["rows_not_as_written"], preflight["rule_faults"]) == (0, 0)
    assert release_checks.verify(real.folder).problems == ()
    checked = check_rows(real.folder)
    assert (checked.problems, checked.not_checked) == ([], [])
    assert checked.rows == len(real.rows) * sum(counts(real.folder).values())
    number = real.manifest["counts"]
    assert number["released"] + pl.read_parquet(real.folder / "dropped.parquet").height == number["ingested"]


# --- texts as they were shipped -----------------------------------------------------------------------


def _value_at(text: str) -> Callable[[int], Any]:
    """Line to the JSON value that begins there."""
    starts = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
    decoder = json.JSONDecoder()

    def value(line: int) -> Any:
        start = starts[line - 1]
        return decoder.raw_decode(text, start + len(text[start:]) - len(text[start:].lstrip()))[0]

    return value


def _csv_at(text: str) -> Callable[[int], Any]:
    """Line to the row that begins there, of a file with a heading."""
    reader = csv.reader(text.splitlines(keepends=True))
    rows, start = {}, 1
    for row in reader:
        rows[start], start = row, reader.line_num + 1
    return rows.__getitem__


def _sides(text: str) -> Talk:
    return tuple(part.strip() for part in re.split(r"\n\n(?:Human|Assistant):", text)[1:])


def _is_path(tree: dict[str, Any], talk: Talk) -> bool:
    """Whether a conversation goes down the tree, from its root to an answer."""
    nodes = [tree["prompt"]]
    for text in talk:
        nodes = [node for node in nodes if node["text"].strip() == text]
        found, nodes = nodes, [reply for node in nodes for reply in node["replies"]]
    return bool(found) and any(node["role"] == "assistant" for node in found)


def _is_shipped(name: str, value: Any, released: Said) -> bool:
    talk, worse = released
    match name:
        case "banking77" | "clinc150":
            return talk == tuple(value)
        case "gpteacher":
            asked = "\n\n".join(value[key] for key in ("instruction", "input") if value[key])
            return talk == (asked, value["response"])
        case "hh_rlhf":
            return talk == _sides(value["chosen"]) and worse == _sides(value["rejected"])
        case _:
            return _is_path(value, talk)


def test_real_texts_that_needed_no_cleaning_are_as_they_were_shipped(real: Real) -> None:
    [path] = real_releases.sets()[real.name].files
    text = gzip.decompress(real_releases.shipped(path).read_bytes()).decode()
    at = _csv_at(text) if path.endswith(".csv.gz") else _value_at(text)
    provenance = pl.read_parquet(real.folder / "provenance.parquet").sort("record_id")
    untouched = provenance.filter(
        (pl.col("normalize_changes").list.len() == 0) & (pl.col("normalize_pii_counts").list.len() == 0)
    )
    assert untouched.height > 0.9 * provenance.height
    looked = untouched.gather_every(untouched.height // LOOKED_AT).head(LOOKED_AT)
    wrong = []
    for record, split, row, line in looked.select("record_id", "split", "row", "line").iter_rows():
        released = said(real, "parquet", real.rows["parquet"][split][row])
        if not _is_shipped(real.name, at(line), released):
            wrong.append((record, line))
    assert (wrong, looked.height) == ([], LOOKED_AT)


# --- what others read beside the rows -----------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A record of mlcroissant without the prefixes of its keys, texts as text."""
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value


def test_real_croissant_is_valid_and_gives_the_rows(real: Real) -> None:
    dataset = mlc.Dataset(real.folder / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert (sorted(issues.errors), sorted(issues.warnings)) == ([], [])
    offered = {record_set.uuid for record_set in dataset.metadata.record_sets}
    assert offered == {*real.rows, "provenance", "dropped", "rejects"}
    known = {row["record_id"]: (split, row) for split, rows in real.rows["parquet"].items() for row in rows}
    for record in itertools.islice(dataset.records("parquet"), LOOKED_AT):
        found = _plain(dict(record))
        split, row = known[found["record_id"]]
        assert found["split"] == split and said(real, "parquet", found) == said(real, "parquet", row)
    by_lines = "preference" if "preference" in real.rows else "chat"
    released = {said(real, "parquet", row) for rows in real.rows["parquet"].values() for row in rows}
    for record in itertools.islice(dataset.records(by_lines), LOOKED_AT):
        assert said(real, by_lines, _plain(dict(record))) in released


def test_real_card_is_read_by_the_hubs_library(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(key, "1")
    from huggingface_hub import DatasetCard

    data = DatasetCard.load(real.folder / "README.md").data.to_dict()
    assert data["pretty_name"] == real.name.replace("_", "-")
    assert data["license"] == "cc-by-4.0" and "en" in data["language"]
    assert [c["config_name"] for c in data["configs"]] == [n for n in real.rows if n != "parquet"]
    assert (real.folder / "ATTRIBUTION.md").is_file()


# --- what does not fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format", "because"),
    [
        ("oasst", "alpaca", "several turns"),
        ("oasst", "completion", "several turns"),
        ("oasst", "preference", "a record has one answer"),
        ("hh_rlhf", "chat", "a record has a better and a worse one"),
        ("hh_rlhf", "alpaca", "a record has a better and a worse one"),
        ("banking77", "preference", "a record has one answer"),
        ("gpteacher", "preference", "a record has one answer"),
    ],
)
def test_real_format_that_cannot_hold_the_records_is_a_spec_error(
    tmp_path: Path, name: str, format: str, because: str
) -> None:
    root = real_releases.project(tmp_path, name, release={"formats": [format, "parquet"]})
    result = call("check", root / "dataset.yaml")
    words = " ".join(result.output.split())
    assert result.exit_code == 2
    assert f"release.formats: '{format}' cannot hold" in words and because in words
    fitting = [f for f in real_releases.sets()[name].formats if f in words.split("Use ")[-1]]
    assert "parquet" in fitting and len(fitting) >= 2, words
