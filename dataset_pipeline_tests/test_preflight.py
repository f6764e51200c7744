"""Preflight: released files, loaded back, against the tables; what the gate is given of it.

Keep out: how `datasets` is called (`test_loading`), the rules (`test_format_rules`), the gate
(`test_expectations_release`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets import preflighting
from dataset_pipeline.assets.preflighting import Preflight
from dataset_pipeline.progress import REPORTER, Silent
from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Task, Training
from dataset_pipeline.spec.params import ReleaseParams
from dataset_pipeline.storage.releases import Writer
from dataset_pipeline.transforms import formats, preflight

LABELS = Task(behavior="Label.", type="classification", labels=("bug", "wish"), system_prompt="You label.")
ANSWERS = Task(behavior="Answer.", type="instruction")
TALK = Task(behavior="Talk.", type="chat", system_prompt="Be kind.")
PAIRS = Task(behavior="Prefer.", type="preference", system_prompt="Be kind.")

RELEASED = {
    "record_id": pl.String, "split": pl.String, "row": pl.Int64, "messages": MESSAGES, "prompt_turns": pl.Int32,
    "rejected": MESSAGES, "label": pl.String, "source": pl.String, "day": pl.Date,
}  # fmt: skip


def said(*contents: str, first: str = "user") -> list[dict[str, str]]:
    """Turns by turns, from `first` on."""
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]


def released(rows: Mapping[str, Sequence[Any]], label: str | None = None) -> pl.DataFrame:
    """Split to its records: turns, or turns, prompt_turns and rejected. Ids are train-0, train-1, …"""
    records = []
    for split, items in rows.items():
        for row, item in enumerate(items):
            turns, shared, rejected = item if isinstance(item, tuple) else (item, None, None)
            records.append(
                {"record_id": f"{split}-{row}", "split": split, "row": row, "messages": turns, "prompt_turns": shared,
                 "rejected": rejected, "label": label, "source": "inbox", "day": dt.date(2026, 3, 2)}
            )  # fmt: skip
    return pl.DataFrame(records, schema=RELEASED).sort("record_id")


def card(data_files: preflighting.DataFiles) -> str:
    """Front matter alone: JSONL formats as `configs`, Parquet where it is the only one."""
    listed = [name for name in data_files if name != "parquet"] or list(data_files)
    configs = [
        {"config_name": n, "data_files": [{"split": s, "path": list(p)} for s, p in data_files[n].items()]}
        for n in listed
    ]
    return f"---\n{json.dumps({'configs': configs})}\n---\n# Card\n"


@dataclass
class Release:
    """A release as written, that a test may spoil before it is loaded back."""

    folder: Path
    data_files: dict[str, dict[str, list[str]]]
    frame: pl.DataFrame
    params: ReleaseParams

    def preflight(self) -> Preflight:
        return preflighting.run(self.folder, self.data_files, self.frame, self.params)

    def rewrite(self, name: str, split: str, change: Callable[[list[Any]], list[Any]]) -> None:
        """The rows of one JSONL file, changed."""
        path = self.folder / self.data_files[name][split][0]
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        path.write_bytes("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in change(rows)).encode())


def write(root: Path, frame: pl.DataFrame, task: Task, names: Sequence[str], **params: Any) -> Release:
    settings = ReleaseParams(name="x", task=task, formats=tuple(names), license=None, decisions=(), **params)
    writer = Writer(root / "releases")
    data_files: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for name in names:
        for split in frame["split"].unique().sort():
            if name == "parquet":
                paths = writer.parquet_shards(
                    "parquet", split, formats.parquet_rows(frame, split, task), 10**9
                )
            else:
                lines = formats.jsonl_lines(frame, split, name, task)
                paths = writer.jsonl(name, split, lines, settings.compression, 10**9)  # type: ignore[arg-type]
            data_files[name][split] = list(paths)
    writer.text("README.md", card(data_files))
    return Release(writer.folder, data_files, frame, settings)


TRICKY = (
    "🦊👩‍👩‍👧 café e\u0301", "\u202eright to left\u202c שלום مرحبا", "one\u2028two\u2029three\x85four", "CR\r\nLF\rCR",
    "  spaces around  ", '{"json": [1, "}"]}', "null", "\\ud83d \\n", "'quotes' \"\" `", "a\tb\\", "x" * 1_000_000, "\ufeffbom",
)  # fmt: skip


def clean(found: Preflight) -> bool:
    return not (found.not_loadable or found.rows_differ or found.differing.height or found.faults.height)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_preflight_tricky_texts_come_back_to_the_character(tmp_path: Path, compression: str) -> None:
    rows = {
        "train": [said(text, "bug") for text in TRICKY],
        "test": [said("42", "wish"), said("2024-01-01", "bug")],
    }
    names = ("chat", "sharegpt", "alpaca", "completion", "parquet")
    written = write(tmp_path, released(rows, "bug"), LABELS, names, compression=compression)
    found = written.preflight()
    assert clean(found), found
    assert list((tmp_path / "releases").iterdir()) == [written.folder]


def test_preflight_every_task_and_format_comes_back(tmp_path: Path) -> None:
    own = [{"role": "system", "content": "Own."}, *said("Q", "A")]
    answers = {"train": [said("Q", ""), own, said("2", "4")]}
    found = write(
        tmp_path / "a", released(answers), ANSWERS, ("chat", "alpaca", "completion", "sharegpt", "parquet")
    ).preflight()
    assert (dict(found.not_loadable), found.differing.height) == ({}, 0)
    assert found.faults["record_id"].unique().to_list() == ["train-0"]  # its answer is empty
    talks = {"train": [said("Q", "A", "Q2", "A2"), own], "validation": [said("a", "b")]}
    assert clean(write(tmp_path / "b", released(talks), TALK, ("chat", "sharegpt", "parquet")).preflight())
    pairs = {
        "train": [(said("Q", "A"), 1, said("B", first="a")), (own, 2, said("B", "more", "C", first="a"))]
    }
    assert clean(write(tmp_path / "c", released(pairs), PAIRS, ("preference", "parquet")).preflight())
    assert clean(write(tmp_path / "d", released(talks), TALK, ("parquet",)).preflight())


def test_preflight_null_label_column_of_parquet_is_text(tmp_path: Path) -> None:
    release = write(tmp_path, released({"train": [said("a", "b")]}), ANSWERS, ("parquet",))
    assert clean(release.preflight())
    assert preflight.wrong_columns({"instruction": pl.String(), "input": pl.String(), "output": pl.String(), "system": pl.Null()}, "alpaca", ANSWERS) == ()  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Release:
    rows = {"train": [said(f"Question {n}", "bug") for n in range(6)], "test": [said("Last", "wish")]}
    return write(tmp_path, released(rows, "bug"), LABELS, ("chat", "alpaca", "parquet"))


def named(found: Preflight) -> list[tuple[Any, ...]]:
    return found.differing.rows()


def test_preflight_changed_character_is_named(release: Release) -> None:
    def change(rows: list[Any]) -> list[Any]:
        rows[3]["messages"][1]["content"] = "Question 3 "
        return rows

    release.rewrite("chat", "train", change)
    found = release.preflight()
    assert named(found) == [("chat", "train", 3, "train-3")]
    assert found.rows_differ == () and found.faults.height == 0


def test_preflight_swapped_rows_are_named(release: Release) -> None:
    release.rewrite("alpaca", "train", lambda rows: [rows[0], rows[2], rows[1], *rows[3:]])
    assert [row[2:] for row in named(release.preflight())] == [(1, "train-1"), (2, "train-2")]


@pytest.mark.parametrize("place", [0, 2, 5])
def test_preflight_dropped_row_is_named(release: Release, place: int) -> None:
    release.rewrite("chat", "train", lambda rows: rows[:place] + rows[place + 1 :])
    [count] = release.preflight().rows_differ
    assert (count.records, count.rows, count.record_id) == (6, 5, f"train-{place}")


def test_preflight_row_too_many_is_counted(release: Release) -> None:
    release.rewrite("chat", "test", lambda rows: [*rows, rows[0]])
    [count] = release.preflight().rows_differ
    assert (count.format, count.split, count.records, count.rows, count.record_id) == (
        "chat",
        "test",
        1,
        2,
        None,
    )


def test_preflight_other_system_prompt_instruction_or_record_id_differs(release: Release) -> None:
    def other(rows: list[Any]) -> list[Any]:
        return [row | {"instruction": "You label!"} for row in rows]

    release.rewrite("alpaca", "test", other)
    path = release.folder / "parquet" / "test.parquet"
    pl.read_parquet(path).with_columns(record_id=pl.lit("train-9")).write_parquet(path)
    assert named(release.preflight()) == [("alpaca", "test", 0, "test-0"), ("parquet", "test", 0, "test-0")]


def test_preflight_answers_that_are_all_dates_are_refused_and_parquet_keeps_them(tmp_path: Path) -> None:
    rows = {"train": [said(f"When? {n}", f"2024-01-{n + 10}") for n in range(4)]}
    found = write(tmp_path, released(rows), ANSWERS, ("chat", "alpaca", "parquet")).preflight()
    assert dict(found.not_loadable) == {"alpaca": "output is timestamps, not text (in the split train)"}
    assert found.differing.height == 0


def test_preflight_types_given_by_the_card_do_not_hide_changed_dates(tmp_path: Path) -> None:
    """With `features` in the card the dates come back as text, and as another one."""
    release = write(tmp_path, released({"train": [said("When?", "2024-01-10")]}), ANSWERS, ("alpaca",))
    text = json.loads((release.folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    columns = [{"name": name, "dtype": "string"} for name in ("instruction", "input", "output", "system")]
    text["dataset_info"] = [{"config_name": "alpaca", "features": columns}]
    (release.folder / "README.md").write_text(f"---\n{json.dumps(text)}\n---\n", encoding="utf-8")
    found = release.preflight()
    assert (dict(found.not_loadable), named(found)) == ({}, [("alpaca", "train", 0, "train-0")])


def test_preflight_number_among_texts_is_told(tmp_path: Path, release: Release) -> None:
    """`datasets` makes JSON of a column of mixed kinds: its own type, or texts in quotation marks where text was first."""
    release.rewrite("alpaca", "train", lambda rows: [rows[0] | {"output": 1}, *rows[1:]])
    assert [row[:3] for row in named(release.preflight())] == [("alpaca", "train", n) for n in range(6)]
    alone = write(tmp_path / "b", released({"train": [said("a", "b"), said("c", "d")]}), ANSWERS, ("alpaca",))
    alone.rewrite("alpaca", "train", lambda rows: [rows[0] | {"output": 1}, rows[1]])
    assert dict(alone.preflight().not_loadable) == {
        "alpaca": "output is values of several kinds, not text (in the split train)"
    }


def test_preflight_other_columns_and_lost_files_are_told_without_text(release: Release) -> None:
    release.rewrite("alpaca", "train", lambda rows: [row | {"note": "secret"} for row in rows])
    (release.folder / "chat" / "test.jsonl").unlink()
    found = release.preflight()
    assert "secret" not in str(found.not_loadable)
    assert set(found.not_loadable) == {"alpaca", "chat"}
    assert clean(Preflight(found.faults, found.differing, found.rows_differ, {}, (), 0.0))


def test_preflight_scratch_is_removed_also_when_it_fails(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preflighting.loading, "load_back", full)
    with pytest.raises(OSError, match="No space"):
        release.preflight()
    assert list(release.folder.parent.iterdir()) == [release.folder]


def test_preflight_tells_what_it_does_and_what_no_gate_asks(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[str] = []

    class Listening(Silent):
        def phase(self, step: str, phase: str) -> None:
            phases.append(f"{step}: {phase}")

    monkeypatch.setattr(preflighting, "OPENAI_BYTES", 100)
    release.params = release.params.model_copy(update={"compression": "gzip"})
    token = REPORTER.set(Listening())
    try:
        notes = release.preflight().notes
    finally:
        REPORTER.reset(token)
    assert phases == [f"release: loading {name} back" for name in ("chat", "alpaca", "parquet")]
    assert [note.split(" is larger")[0] for note in notes[:2]] == ["chat/test.jsonl", "chat/train.jsonl"]
    assert notes[2].startswith("OpenAI reads no packed files")


def test_preflight_fields_in_another_order_are_the_same_turns() -> None:
    turned = pl.DataFrame({"messages": [[{"content": "x", "role": "user"}]]})
    assert preflight.wrong_columns(turned.schema, "chat", TALK) == ()
    assert preflight.comparable(turned, "chat", TALK)["messages"].to_list() == [
        [{"role": "user", "content": "x"}]
    ]
    more = pl.DataFrame({"messages": [[{"content": "x", "role": "user", "name": 1}]]})
    assert preflight.wrong_columns(more.schema, "chat", TALK) == (
        "messages is lists of objects with content (text), role (text), name (numbers), "
        "not lists of objects with role (text), content (text)",
    )


# --- gauges -------------------------------------------------------------------------------


def tokens(frame: pl.DataFrame, **values: Any) -> pl.DataFrame:
    lit = {"cut_tokens": None, "supervised_tokens": 2, "has_end": None} | values
    types = {"cut_tokens": pl.Int32, "supervised_tokens": pl.Int32, "has_end": pl.Boolean}
    return frame.select("record_id", **{name: pl.lit(lit[name], dtype) for name, dtype in types.items()})


def test_preflight_gauges_of_a_sound_release_are_nought(release: Release) -> None:
    row = preflighting.gauges(release.preflight(), tokens(release.frame), release.frame, release.params)
    assert row.height == 1
    numbers = {name: row[name].item() for name, dtype in row.schema.items() if dtype == pl.Int64}
    assert numbers == {
        "formats_not_loadable": 0, "rows_not_loaded": 0, "texts_changed": 0, "rule_faults": 0,
        "openai_examples_missing": 4, "over_length": 0, "unsupervised": 0, "ends_missing": 0,
    }  # fmt: skip
    assert row["openai_examples_missing_culprit"].item() == "train holds 6 of 10"
    silent = release.params.model_copy(update={"formats": ("alpaca",)})
    other = preflighting.gauges(release.preflight(), tokens(release.frame), release.frame, silent)
    assert other["openai_examples_missing"].item() == 0


def test_preflight_gauges_name_lengths_answers_and_ends(release: Release) -> None:
    params = release.params.model_copy(update={"training": Training(max_length=9)})
    found = release.preflight()
    row = preflighting.gauges(
        found,
        tokens(release.frame, cut_tokens=3, supervised_tokens=None, has_end=False),
        release.frame,
        params,
    )
    ids = [f"train-{n}" for n in range(6)]
    for name in ("over_length", "unsupervised", "ends_missing"):
        assert row[name].item() == 7
        assert sorted(row[f"{name}_record_ids"].item()) == ["test-0", *ids]
    assert row["over_length_culprit"].item() == "training.max_length 9: 21 tokens would be cut"
