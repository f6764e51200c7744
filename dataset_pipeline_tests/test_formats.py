"""Rows of every format by eye, texts that are awkward, and files of them: packed, cut into shards, read by others.

Keep out: folders and versions (`test_releases`), what a spec may ask for (`test_spec`), preference rows beside the
files of them (`test_preference_release`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.formats import FORMATS
from dataset_pipeline.spec.models import ReleaseFormat, Task
from dataset_pipeline.storage.release_checks import verify
from dataset_pipeline.storage.release_files import Compression, slices
from dataset_pipeline.storage.releases import Writer, count_rows, read_lines
from dataset_pipeline.transforms import formats
from dataset_pipeline.transforms.formats import JSONL_FORMATS, jsonl_lines, parquet_rows
from dataset_pipeline.transforms.release import with_row_numbers

DAY = dt.date(2026, 3, 2)
CLASSIFICATION = Task(
    behavior="Label it.", type="classification", system_prompt="Say which.", labels=("bug", "wish")
)
INSTRUCTION = Task(behavior="Answer.", type="instruction", system_prompt="Be kind.")
CHAT = Task(behavior="Talk.", type="chat", system_prompt="Be kind.")
COMPLETION = Task(behavior="Go on.", type="completion")
PREFERENCE = Task(behavior="Answer.", type="preference", system_prompt="Be kind.")
BIG = 500_000_000

Turns = list[dict[str, str]]


def turns(*contents: str, system: str | None = None) -> Turns:
    spoken = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + spoken


def released(*rows: tuple[str, str, Turns]) -> pl.DataFrame:
    """record_id, split, messages of each row; of a pair the last turn is also the worse answer, reversed."""
    values = [
        {"record_id": r, "split": s, "messages": m, "source": "inbox", "day": DAY, "prompt_turns": len(m) - 1,
         "rejected": [m[-1] | {"content": m[-1]["content"][::-1]}]}
        for r, s, m in rows
    ]  # fmt: skip
    schema: dict[str, Any] = {"record_id": pl.String, "split": pl.String, "messages": MESSAGES, "label": pl.String, "source": pl.String,
              "day": pl.Date, "prompt_turns": pl.Int32, "rejected": MESSAGES}  # fmt: skip
    return with_row_numbers(pl.DataFrame(values, schema=schema))


def rows_of(frame: pl.DataFrame, name: str, task: Task, split: Split = Split.TRAIN) -> list[dict[str, Any]]:
    lines = list(jsonl_lines(frame, split, name, task))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


# --- rows by eye ------------------------------------------------------------------------------


def test_formats_of_a_classification_record() -> None:
    frame = released(("a", "train", turns("It breaks.", "bug")), ("b", "test", turns("More!", "wish")))
    assert rows_of(frame, "chat", CLASSIFICATION) == [
        {"messages": [
            {"role": "system", "content": "Say which."},
            {"role": "user", "content": "It breaks."},
            {"role": "assistant", "content": "bug"},
        ]}
    ]  # fmt: skip
    assert rows_of(frame, "sharegpt", CLASSIFICATION) == [
        {"conversations": [
            {"from": "system", "value": "Say which."},
            {"from": "human", "value": "It breaks."},
            {"from": "gpt", "value": "bug"},
        ]}
    ]  # fmt: skip
    assert rows_of(frame, "alpaca", CLASSIFICATION) == [
        {"instruction": "Say which.", "input": "It breaks.", "output": "bug"}
    ]
    assert rows_of(frame, "completion", CLASSIFICATION, Split.TEST) == [
        {"prompt": "Say which.\n\nMore!", "completion": "wish"}
    ]
    assert rows_of(frame, "chat", CLASSIFICATION, Split.VALIDATION) == []


def test_formats_alpaca_of_a_classification_record_keeps_its_own_system_prompt() -> None:
    frame = released(
        ("a", "train", turns("It breaks.", "bug", system="Own.")), ("b", "train", turns("More!", "wish"))
    )
    plain = CLASSIFICATION.model_copy(update={"system_prompt": None})
    assert [row["instruction"] for row in rows_of(frame, "alpaca", plain)] == ["Own.", "Label it."]


def test_formats_of_an_instruction_record() -> None:
    frame = released(
        ("a", "train", turns("Add 1 and 1.", "2")), ("b", "train", turns("Hi", "Ho", system="Own words."))
    )
    assert rows_of(frame, "alpaca", INSTRUCTION) == [
        {"instruction": "Add 1 and 1.", "input": "", "output": "2", "system": "Be kind."},
        {"instruction": "Hi", "input": "", "output": "Ho", "system": "Own words."},
    ]


def test_formats_of_a_conversation_keep_its_turns_and_its_own_system_prompt() -> None:
    own = turns("Hi", "Hello", "Bye", "See you", system="You are a pirate.")
    plain = turns("One", "Two", "Three\nfour", "Five")
    frame = released(("a", "train", own), ("b", "train", plain))
    expected = [own, [{"role": "system", "content": "Be kind."}, *plain]]
    assert [row["messages"] for row in rows_of(frame, "chat", CHAT)] == expected
    said = [
        [(t["from"], t["value"]) for t in row["conversations"]] for row in rows_of(frame, "sharegpt", CHAT)
    ]
    assert said[0] == [
        ("system", "You are a pirate."), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "See you"),
    ]  # fmt: skip
    assert [text for _, text in said[1]] == ["Be kind.", "One", "Two", "Three\nfour", "Five"]
    assert parquet_rows(frame, Split.TRAIN, CHAT)["messages"].to_list() == expected


def test_formats_of_a_completion_record_without_system_prompt() -> None:
    frame = released(("a", "train", turns("Once", "upon a time")))
    assert rows_of(frame, "completion", COMPLETION) == [{"prompt": "Once", "completion": "upon a time"}]
    assert rows_of(frame, "chat", COMPLETION) == [{"messages": turns("Once", "upon a time")}]


def test_formats_a_blank_system_prompt_is_none() -> None:
    blank = CHAT.model_copy(update={"system_prompt": " \n"})
    frame = released(("a", "train", turns("Hi", "Ho")))
    assert rows_of(frame, "chat", blank) == [{"messages": turns("Hi", "Ho")}]
    assert rows_of(frame, "completion", blank) == [{"prompt": "Hi", "completion": "Ho"}]
    assert parquet_rows(frame, Split.TRAIN, blank)["messages"].to_list() == [turns("Hi", "Ho")]


@pytest.mark.parametrize("task", [CLASSIFICATION, INSTRUCTION, COMPLETION])
@pytest.mark.parametrize("name", JSONL_FORMATS)
def test_formats_every_row_has_the_same_keys(name: str, task: Task) -> None:
    frame = released(("a", "train", turns("Q", "A")), ("b", "train", turns("Q", "A", system="Own.")))
    first, second = rows_of(frame, name, task)
    assert list(first) == list(second)


def test_formats_order_is_that_of_row_whatever_the_order_of_the_frame() -> None:
    frame = released(*((f"{n:06d}", "train", turns(f"q{n}", "a")) for n in range(25_001)))
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    asked = [row["messages"][0]["content"] for row in rows_of(shuffled, "chat", COMPLETION)]
    assert asked == [f"q{n}" for n in range(25_001)]
    ids = parquet_rows(shuffled, Split.TRAIN, COMPLETION)["record_id"].to_list()
    assert ids == frame["record_id"].to_list()


def test_formats_of_the_spec_are_those_that_are_written() -> None:
    assert set(FORMATS) == set(get_args(ReleaseFormat)) == {*JSONL_FORMATS, "parquet"}
    assert {name for name, facts in FORMATS.items() if facts.is_jsonl} == set(JSONL_FORMATS)


def test_parquet_schema_is_the_same_for_every_split() -> None:
    frame = released(("a", "train", turns("Q", "A")))
    for task in (CHAT, CLASSIFICATION, PREFERENCE):
        schemas = [parquet_rows(frame, split, task).schema for split in Split]
        assert schemas[0] == schemas[1] == schemas[2]


# --- awkward texts ------------------------------------------------------------------------------

AWKWARD = {
    "formula": "=1+1", "path": "../../etc/passwd", "emoji": "👩‍👩‍👧 🇩🇪 ok", "bidirectional": "abc \u202eשלום\u202c \u2066x\u2069",
    "separators": "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei", "newlines": "a\r\nb\rc\nd\\u2028 \\\u2028", "quotes": '"{\\"a\\": NaN}"',
    "zero": "a\x00b", "mark": "\ufeffa", "combining": "e\u0301 é", "number": "1e999", "null": "null", "long": "word " * 200_000,
}  # fmt: skip
AWKWARD_FRAME = released(
    *((name, "train", turns(f"Say: {text}", text)) for name, text in sorted(AWKWARD.items()))
)
ASKED = [f"Say: {text}" for _, text in sorted(AWKWARD.items())]
ANSWERED = [text for _, text in sorted(AWKWARD.items())]


def said_by(name: str, rows: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Questions and answers of rows of a format, as COMPLETION (or PREFERENCE without its system prompt) writes them."""
    if name in ("chat", "parquet"):
        both = [(r["messages"][0]["content"], r["messages"][1]["content"]) for r in rows]
    elif name == "sharegpt":
        both = [(r["conversations"][0]["value"], r["conversations"][1]["value"]) for r in rows]
    elif name == "alpaca":
        both = [(r["instruction"], r["output"]) for r in rows]
    elif name == "completion":
        both = [(r["prompt"], r["completion"]) for r in rows]
    else:
        both = [(r["prompt"][-1]["content"], r["chosen"][0]["content"]) for r in rows]
    return [q for q, _ in both], [a for _, a in both]


@pytest.mark.parametrize("name", JSONL_FORMATS)
def test_formats_awkward_texts_come_back_from_any_way_of_cutting_lines(name: str) -> None:
    task = PREFERENCE if name == "preference" else COMPLETION
    data = b"".join(jsonl_lines(AWKWARD_FRAME, Split.TRAIN, name, task))
    assert b"\xef\xbb\xbf{" not in data[:4] and b"\r" not in data
    for lines in (data.decode("utf-8").splitlines(), data.split(b"\n")[:-1]):
        assert said_by(name, [json.loads(line) for line in lines]) == (ASKED, ANSWERED)


def test_formats_half_a_character_cannot_reach_a_frame() -> None:
    """Polars keeps texts as UTF-8, which has no lone surrogates: what reads a source must have refused it."""
    with pytest.raises(UnicodeEncodeError):
        pl.Series([turns("a\ud800", "b")], dtype=MESSAGES)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(key, "1")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_formats_awkward_texts_come_back_from_datasets(tmp_path: Path, compression: Compression) -> None:
    import datasets

    writer = Writer(tmp_path / "releases")
    for name in JSONL_FORMATS:
        task = PREFERENCE if name == "preference" else COMPLETION
        paths = writer.jsonl(
            name, "train", jsonl_lines(AWKWARD_FRAME, "train", name, task), compression, 2_000_000
        )
        found = datasets.load_dataset(
            "json",
            data_files=[str(writer.folder / path) for path in paths],
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert said_by(name, list(found)) == (ASKED, ANSWERED), name
        again = [row for path in paths for row in read_lines(writer.folder / path)]
        assert said_by(name, again) == (ASKED, ANSWERED)


@pytest.mark.usefixtures("offline")
def test_formats_parquet_comes_back_from_datasets_by_its_folder(tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as pq

    writer = Writer(tmp_path / "releases")
    paths = writer.parquet_shards("parquet", "train", parquet_rows(AWKWARD_FRAME, "train", COMPLETION), 1_000)
    assert len(paths) > 2
    one = released(("t", "test", turns("Hi", "Ho")))
    paths += writer.parquet_shards("parquet", "test", parquet_rows(one, "test", COMPLETION), 1_000)
    schemas = [str(pq.read_schema(writer.folder / path)) for path in paths]
    assert set(schemas) == set(schemas[:1]) and "large" not in schemas[0] and "view" not in schemas[0]
    found = datasets.load_dataset(str(writer.folder / "parquet"), cache_dir=str(tmp_path / "cache"))
    assert said_by("parquet", list(found["train"])) == (ASKED, ANSWERED)
    assert said_by("parquet", list(found["test"])) == (["Hi"], ["Ho"])


def test_formats_awkward_texts_come_back_from_pandas_and_polars(tmp_path: Path) -> None:
    import pandas as pd

    writer = Writer(tmp_path)
    [path] = writer.jsonl(
        "completion", "train", jsonl_lines(AWKWARD_FRAME, "train", "completion", COMPLETION), "none", BIG
    )
    by_pandas = pd.read_json(writer.folder / path, lines=True, dtype=False, convert_dates=False)
    assert (by_pandas["prompt"].tolist(), by_pandas["completion"].tolist()) == (ASKED, ANSWERED)
    assert pl.read_ndjson(writer.folder / path)["completion"].to_list() == ANSWERED


# --- shards and packing ---------------------------------------------------------------------------

LINES = [b'{"n":%d}\n' % n for n in range(10)]  # eight bytes each
LINE = len(LINES[0])


def numbers(folder: Path, paths: list[str]) -> list[list[int]]:
    return [[row["n"] for row in read_lines(folder / path)] for path in paths]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (10 * LINE, [list(range(10))]),
        (10 * LINE - 1, [list(range(9)), [9]]),
        (3 * LINE, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]),
        (4 * LINE - 1, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]),
        (1, [[n] for n in range(10)]),
    ],
)
def test_shards_are_whole_lines_in_order(tmp_path: Path, limit: int, expected: list[list[int]]) -> None:
    writer = Writer(tmp_path)
    paths = writer.jsonl("chat", "train", iter(LINES), "none", limit)
    if len(expected) == 1:
        assert paths == ["chat/train.jsonl"]
    else:
        assert paths == [f"chat/train-{n:05d}-of-{len(expected):05d}.jsonl" for n in range(len(expected))]
    assert numbers(writer.folder, paths) == expected
    assert [writer.files[path].rows for path in paths] == [len(shard) for shard in expected]
    assert sorted(p.name for p in (writer.folder / "chat").iterdir()) == sorted(
        path.removeprefix("chat/") for path in paths
    )
    assert list(writer.files) == paths


def test_shards_a_record_above_the_limit_is_one_by_itself(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    long = b'{"n": %d}\n' % 10**18
    paths = writer.jsonl("chat", "train", [LINES[0], long, LINES[1], LINES[2]], "none", 3 * LINE)
    assert numbers(writer.folder, paths) == [[0], [10**18], [1, 2]]


def test_shards_of_no_lines_are_no_file(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    frame = parquet_rows(released(("a", "train", turns("Q", "A"))), Split.TEST, CHAT)
    assert writer.jsonl("chat", "test", [], "gzip", BIG) == []
    assert writer.parquet_shards("parquet", "test", frame, BIG) == []
    assert writer.files == {} and list(writer.folder.rglob("*")) == []


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_packed_files_are_the_same_bytes_each_time_and_verified(
    tmp_path: Path, compression: Compression, suffix: str
) -> None:
    written = []
    for place in ("one", "two"):
        writer = Writer(tmp_path / place)
        paths = writer.jsonl("chat", "train", LINES, compression, 5 * LINE)
        assert paths == [f"chat/train-0000{n}-of-00002.jsonl{suffix}" for n in range(2)]
        files = {
            f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in writer.files.values()
        }
        folder = writer.finish({"version": writer.version(), "files": files})
        assert numbers(folder, paths) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
        assert verify(folder).is_whole and verify(folder).rows == 10
        written.append([(folder / path).read_bytes() for path in paths])
    assert written[0] == written[1]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("keep", [0.4, 0.9])
def test_read_lines_of_a_file_cut_off_names_no_text(
    tmp_path: Path, compression: Compression, keep: float
) -> None:
    writer = Writer(tmp_path)
    [path] = writer.jsonl(
        "chat", "train", [b'{"secret": "%d"}\n' % (n * 7919**9) for n in range(999)], compression, BIG
    )
    target = writer.folder / path
    data = target.read_bytes()
    assert count_rows(target) == 999
    target.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match=r"damaged or cut off|is not JSON") as caught:
        count_rows(target)
    assert "secret" not in str(caught.value)


def test_verify_a_manifest_that_fits_a_file_of_no_json_is_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    [path] = writer.jsonl("chat", "train", [b'{"a": 1}\n', b'{"a": NaN}\n'], "none", BIG)
    files = {path: {"sha256": writer.files[path].sha256, "bytes": writer.files[path].bytes, "rows": 2}}
    folder = writer.finish({"version": writer.version(), "files": files})
    assert verify(folder).problems == ("chat/train.jsonl: line 2 is not JSON",)


def test_parquet_shards_keep_rows_and_are_the_same_bytes_however_the_frame_lies(tmp_path: Path) -> None:
    frame = parquet_rows(
        released(*((f"{n:03d}", "train", turns("q" * n, "a" * n)) for n in range(100))), "train", CHAT
    )
    pieces = pl.concat([frame[:13], frame[13:14], frame[14:]], rechunk=False)
    writer = Writer(tmp_path)
    paths = writer.parquet_shards("parquet", "train", frame, 3_000)
    again = writer.parquet_shards("again", "train", pieces, 3_000)
    assert len(paths) == len(again) > 3
    for one, other in zip(paths, again, strict=True):
        assert (writer.folder / one).read_bytes() == (writer.folder / other).read_bytes()
    stored = pl.concat([pl.read_parquet(writer.folder / path) for path in paths])
    assert stored.equals(frame) and stored.schema == frame.schema
    assert sum(writer.files[path].rows or 0 for path in paths) == 100


def test_slices_count_text_in_bytes_and_other_values_as_eight() -> None:
    frame = pl.DataFrame({"t": ["ab", "é", None, "abcdef"], "n": [1, 2, 3, None]})  # 10, 10, 8, 6
    assert [part.height for part in slices(frame, 20)] == [2, 2]
    assert [part.height for part in slices(frame, 19)] == [1, 2, 1]
    assert [part.height for part in slices(frame, 1)] == [1, 1, 1, 1]
    assert [part.height for part in slices(frame, 100, 3)] == [3, 1]
    assert slices(frame.head(0), 20) == []


def test_writer_parquet_of_any_table_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"day": [DAY], "bands": [[2**64 - 1]], "counts": [[{"name": "EMAIL", "count": 1}]], "none": [None], "share": [0.5]},
        schema={"day": pl.Date, "bands": pl.List(pl.UInt64), "counts": pl.List(pl.Struct({"name": pl.String, "count": pl.Int32})),
                "none": pl.String, "share": pl.Float64},
    )  # fmt: skip
    writer = Writer(tmp_path)
    for name, part in (("full", frame), ("empty", frame.head(0))):
        writer.parquet(f"{name}.parquet", part)
        stored = pl.read_parquet(writer.folder / f"{name}.parquet")
        assert stored.equals(part) and stored.schema == frame.schema
        assert count_rows(writer.folder / f"{name}.parquet") == part.height


def test_formats_rows_are_made_a_slice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines do not depend on where slices end."""
    frame = released(*((str(n), "train", turns(f"q{n}", "a")) for n in range(7)))
    whole = list(jsonl_lines(frame, "train", "chat", CHAT))
    monkeypatch.setattr(formats, "_ROWS_AT_ONCE", 3)
    assert list(jsonl_lines(frame, "train", "chat", CHAT)) == whole and len(whole) == 7
