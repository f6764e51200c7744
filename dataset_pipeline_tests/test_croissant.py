"""croissant.json as mlcroissant takes it: validated without a word, records loaded with their text.

A release is written by hand into a folder, with the functions that make its rows. Keep out: whole runs (`test_releases`).
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import polars as pl
import pytest
import zstandard
from absl import logging as absl_logging

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, Split, empty
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms import columns
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.croissant import CROISSANT, JSONL_COLUMNS, Facts, croissant
from dataset_pipeline.transforms.formats import JSONL_FORMATS, jsonl_lines, parquet_rows
from dataset_pipeline.transforms.tokens import TOKENS

# mlcroissant's logger closes the stream that it finds when it is imported, and that is pytest's.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


DAY = dt.date(2026, 3, 2)
CLASSIFICATION = Task(
    behavior="Label it.", type="classification", system_prompt="Say which.", labels=("bug", "wish")
)
INSTRUCTION = Task(behavior="Answer.", type="instruction")
CHAT = Task(behavior="Talk.", type="chat", system_prompt="Be kind.")
PREFERENCE = Task(behavior="Answer.", type="preference")

HOSTILE = '\u202eאב\u202c 😀 \u2028 \x00 </script> {"@id": "x"} \\ \' " =cmd|\' /C calc\'!A0, 1\tb\r\nc é'


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


def released(rows: Sequence[tuple[str, list[dict[str, str]], str | None]]) -> pl.DataFrame:
    """split, messages and label of each row; ids in order."""
    frame = pl.DataFrame(
        [
            {"record_id": f"{n:032x}", "day": DAY, "source": "inbox", "messages": messages, "prompt_turns": None,
             "rejected": None, "label": label, "split": split}
            for n, (split, messages, label) in enumerate(rows)
        ],
        schema={"record_id": pl.String, "day": pl.Date, "source": pl.String, "messages": MESSAGES,
                "prompt_turns": pl.Int32, "rejected": MESSAGES, "label": pl.String, "split": pl.String},
    )  # fmt: skip
    return shapes.with_row_numbers(frame)


MIXED = released(
    [
        ("train", turns("It breaks.", "bug"), "bug"),
        ("train", turns(HOSTILE, "wish"), "wish"),
        ("train", turns("42", "bug"), "bug"),
        ("test", turns("More!", "wish"), "wish"),
    ]
)  # fmt: skip


def write(
    folder: Path, frame: pl.DataFrame, task: Task, formats: Sequence[str], shards: int = 1, suffix: str = ""
) -> Facts:
    """A release of `frame` in `folder`, but for croissant.json; what is to be said of it."""
    data_files: dict[str, dict[str, list[str]]] = {}
    for name in formats:
        (folder / name).mkdir()
        for split in Split:
            rows = parquet_rows(frame, split, task)
            if rows.height == 0:
                continue
            for part in range(shards):
                stem = f"{name}/{split}" + (f"-{part:05d}-of-{shards:05d}" if shards > 1 else "")
                path = f"{stem}.parquet" if name == "parquet" else f"{stem}.jsonl{suffix}"
                if name == "parquet":
                    rows[part::shards].write_parquet(folder / path)
                else:
                    lines = b"".join(list(jsonl_lines(frame, split, name, task))[part::shards])
                    packed = {"": lines, ".gz": gzip.compress(lines), ".zst": zstandard.compress(lines)}[
                        suffix
                    ]
                    (folder / path).write_bytes(packed)
                data_files.setdefault(name, {}).setdefault(split, []).append(path)
    steps = {str(step): empty(step) for step in DAILY_STEPS}
    provenance = shapes.provenance(frame, steps, empty("batches"), pl.DataFrame(schema=TOKENS)).with_columns(
        day=pl.lit(DAY),
        normalize_changes=pl.Series([[{"name": "nfc", "count": 2}]] * frame.height, dtype=steps["normalize"].schema["changes"]),
    )  # fmt: skip
    tables = {
        "provenance": provenance,
        "dropped": shapes.dropped(steps, pl.DataFrame({"record_id": ["ff"], "reason": ["contradiction"], "detail": ["{}"]})),
        "rejects": empty("rejects"),
    }  # fmt: skip
    for table, held in tables.items():
        held.write_parquet(folder / f"{table}.parquet")
    (folder / "README.md").write_text("# Card\n", encoding="utf-8")
    return Facts(
        name="tickets", task=task, license="MIT", license_links=[("MIT", "https://spdx.org/licenses/MIT.html")],
        holders=["Example GmbH"], days=("2026-03-01", "2026-03-02"), data_files=data_files,
        files={
            p.relative_to(folder).as_posix(): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_size)
            for p in sorted(folder.rglob("*")) if p.is_file()
        },
        schemas={name: held.schema for name, held in tables.items()} | {"parquet": parquet_rows(frame, "train", task).schema},
    )  # fmt: skip


def opened(folder: Path, facts: Facts) -> mlc.Dataset:
    """The dataset as mlcroissant reads it. Fails on any error or warning."""
    (folder / CROISSANT).write_text(croissant(facts), encoding="utf-8")
    dataset = mlc.Dataset(folder / CROISSANT)
    issues = dataset.metadata.ctx.issues
    assert (sorted(issues.errors), sorted(issues.warnings)) == ([], [])
    return dataset


def plain(value: Any) -> Any:
    """A record without the prefixes of its keys, texts as text."""
    if isinstance(value, Mapping):
        return {key.rpartition("/")[2]: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value


def loaded(dataset: mlc.Dataset, name: str, **wanted: Any) -> list[Any]:
    return [plain(record) for record in dataset.records(name, **wanted)]


def expected(frame: pl.DataFrame, name: str, task: Task) -> list[Any]:
    """The rows of a format with their split, sorted as `sorted_rows` does."""
    rows = []
    for split in Split:
        if name == "parquet":
            rows += [{"split": split.value, **row} for row in parquet_rows(frame, split, task).to_dicts()]
        else:
            rows += [{"split": split.value, **json.loads(x)} for x in jsonl_lines(frame, split, name, task)]
    return sorted_rows(rows)


def sorted_rows(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


FITTING = ("alpaca", "chat", "completion", "parquet", "sharegpt")


@pytest.mark.parametrize("task", [CLASSIFICATION, INSTRUCTION], ids=lambda t: str(t.type))
def test_croissant_records_of_every_format_come_out_with_their_text(tmp_path: Path, task: Task) -> None:
    dataset = opened(tmp_path, write(tmp_path, MIXED, task, FITTING))
    for name in FITTING:
        assert sorted_rows(loaded(dataset, name)) == expected(MIXED, name, task)


def test_croissant_records_of_preference_pairs_have_both_answers(tmp_path: Path) -> None:
    frame = released([("train", turns("Q", "good"), None), ("test", turns("Q2", "fine"), None)]).with_columns(
        prompt_turns=pl.lit(1, pl.Int32), rejected=pl.Series([turns("", "bad")[1:]] * 2, dtype=MESSAGES)
    )
    dataset = opened(tmp_path, write(tmp_path, frame, PREFERENCE, ("preference", "parquet")))
    for name in ("preference", "parquet"):
        found = sorted_rows(loaded(dataset, name))
        assert found == expected(frame, name, PREFERENCE)
        assert found[0]["rejected"] == [{"role": "assistant", "content": "bad"}]


def test_croissant_label_is_null_where_answers_are_no_labels(tmp_path: Path) -> None:
    frame = released([("train", turns("Hi", "Ho", "And?", "Yes."), None)])
    dataset = opened(tmp_path, write(tmp_path, frame, CHAT, ("chat", "parquet")))
    [row] = loaded(dataset, "parquet")
    assert row["label"] is None
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant", "user", "assistant"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_croissant_shards_and_gzip_are_one_record_set(tmp_path: Path, suffix: str) -> None:
    frame = released([("train", turns(f"Text {n}", "bug"), "bug") for n in range(7)])
    facts = write(tmp_path, frame, CLASSIFICATION, ("chat", "alpaca", "parquet"), shards=3, suffix=suffix)
    dataset = opened(tmp_path, facts)
    for name in ("chat", "alpaca", "parquet"):
        assert sorted_rows(loaded(dataset, name)) == expected(frame, name, CLASSIFICATION)
    ids = [row["record_id"] for row in loaded(dataset, "parquet")]
    assert sorted(ids) == frame["record_id"].to_list()


def test_croissant_packed_by_zstd_are_files_without_a_record_set(tmp_path: Path) -> None:
    dataset = opened(tmp_path, write(tmp_path, MIXED, CLASSIFICATION, ("chat", "parquet"), suffix=".zst"))
    assert [s.uuid for s in dataset.metadata.record_sets] == ["parquet", "provenance", "dropped", "rejects"]
    [packed] = [f for f in dataset.metadata.file_objects if f.uuid == "chat/train.jsonl.zst"]
    assert packed.encoding_formats == ["application/jsonlines", "application/zstd"]
    assert "packed with zstd: chat" in str(dataset.metadata.description)


def test_croissant_one_split_is_filtered_by_its_name(tmp_path: Path) -> None:
    facts = write(tmp_path, MIXED, CLASSIFICATION, ("chat", "parquet"), shards=2)
    for name in ("chat", "parquet"):
        dataset = opened(tmp_path, facts)
        assert {row["split"] for row in loaded(dataset, name)} == {"train", "test"}
        assert [row["split"] for row in loaded(dataset, name, filters={f"{name}/split": "train"})] == [
            "train"
        ] * 3


def test_croissant_tables_are_record_sets_with_their_types(tmp_path: Path) -> None:
    dataset = opened(tmp_path, write(tmp_path, MIXED, CLASSIFICATION, ("parquet",)))
    rows = loaded(dataset, "provenance")
    assert [row["record_id"] for row in rows] == MIXED["record_id"].to_list()
    assert (rows[0]["row"], rows[0]["day"].date(), rows[0]["normalize_changes"]) == (
        0,
        DAY,
        [{"name": "nfc", "count": 2}],
    )
    assert rows[0]["filter_prompt_words"] is None
    [out] = loaded(dataset, "dropped")
    assert (out["record_id"], out["step"], out["reason"]) == ("ff", "release", "contradiction")
    assert loaded(dataset, "rejects") == []
    keys = {s.uuid: s.key for s in dataset.metadata.record_sets}
    assert keys["provenance"] == ["provenance/record_id"] and keys["parquet"] == ["parquet/record_id"]


def test_croissant_every_field_has_a_description_and_every_file_its_hash(tmp_path: Path) -> None:
    facts = write(tmp_path, MIXED, CLASSIFICATION, FITTING)
    metadata = opened(tmp_path, facts).metadata
    assert {f.uuid: (f.sha256, f.content_size) for f in metadata.file_objects} == {
        path: (sha, f"{size} B") for path, (sha, size) in facts.files.items()
    }
    assert all(field.description for s in metadata.record_sets for field in s.fields)


def test_croissant_hostile_words_stay_words(tmp_path: Path) -> None:
    task = Task(
        behavior=HOSTILE.replace("\x00", ""),
        type="classification",
        labels=(HOSTILE, "../../etc/passwd", "=1+1"),
    )
    frame = released([("train", turns(label, label), label) for label in task.label_names])
    facts = replace(
        write(tmp_path, frame, task, ("chat", "parquet")),
        holders=['</script>"\n', "مثال", '</script>"\n'],
        license="MIT AND LicenseRef-our-own",
        license_links=[("MIT", "https://spdx.org/licenses/MIT.html"), ("LicenseRef-our-own", None)],
        languages=["en", "ar"],
    )
    dataset = opened(tmp_path, facts)
    assert [holder.name for holder in dataset.metadata.creators] == ['</script>"\n', "مثال"]
    assert {row["label"] for row in loaded(dataset, "parquet")} == set(task.label_names)
    assert sorted_rows(loaded(dataset, "chat")) == expected(frame, "chat", task)
    assert "Licence: MIT AND LicenseRef-our-own." in str(dataset.metadata.description)


def test_croissant_says_that_numbers_in_texts_may_be_read_as_numbers(tmp_path: Path) -> None:
    """Measured: what the description of the record set warns of. Should it end, the words can go."""
    frame = released([("train", turns(f"0{n}", f"00{n}"), None) for n in range(3)])
    dataset = opened(tmp_path, write(tmp_path, frame, INSTRUCTION, ("completion", "chat", "parquet")))
    said = {s.uuid: str(s.description) for s in dataset.metadata.record_sets}
    assert "numbers" in said["completion"] and "numbers" not in said["chat"] + said["parquet"]
    assert loaded(dataset, "completion")[1]["completion"] != "001"
    assert loaded(dataset, "parquet")[1]["messages"][1]["content"] == "001"
    assert loaded(dataset, "chat")[1]["messages"][1]["content"] == "001"


def test_croissant_is_the_same_text_for_the_same_facts_and_holds_no_clock(tmp_path: Path) -> None:
    facts = write(tmp_path, MIXED, CLASSIFICATION, ("chat",))
    turned = replace(
        facts,
        files=dict(sorted(facts.files.items(), reverse=True)),
        schemas=dict(sorted(facts.schemas.items(), reverse=True, key=str)),
    )
    text = croissant(facts)
    assert croissant(turned) == text
    said = json.loads(text)
    assert (said["datePublished"], said["version"][:9]) == ("2026-03-02", "2026.3.2+")
    changed = replace(facts, files=dict(facts.files) | {"README.md": ("0" * 64, 7)})
    assert json.loads(croissant(changed))["version"] != said["version"]
    assert json.loads(croissant(replace(facts, files=dict(facts.files) | {CROISSANT: ("0" * 64, 7)}))) == said


def test_croissant_knows_the_columns_of_every_format() -> None:
    assert set(JSONL_COLUMNS) == set(JSONL_FORMATS)
    for name, task in (
        ("chat", CHAT),
        ("sharegpt", CHAT),
        ("alpaca", INSTRUCTION),
        ("completion", INSTRUCTION),
    ):
        frame = released([("train", turns("a", "b"), None)])
        [line] = jsonl_lines(frame, "train", name, task)
        assert set(json.loads(line)) == set(JSONL_COLUMNS[name])


def test_croissant_refuses_a_column_without_a_meaning(tmp_path: Path) -> None:
    facts = write(tmp_path, MIXED, CLASSIFICATION, ("chat",))
    with pytest.raises(ValueError, match=r"dropped: \['shoe_size'\] have no meaning"):
        croissant(replace(facts, schemas=dict(facts.schemas) | {columns.DROPPED: {"shoe_size": pl.Int32}}))
