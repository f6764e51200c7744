"""Loading a release with `datasets`: what comes back, what it leaves behind, and how it fails.

Keep out: comparing with the tables (`test_preflight`).
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.storage import loading
from dataset_pipeline.storage.loading import NotLoadable, load_back

MARKER = "zyxquorbel"
"""Text of records: it must be in no message."""


def lines(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def alpaca(*outputs: str) -> bytes:
    return lines([{"instruction": "Say.", "input": "", "output": output} for output in outputs])


def release(
    root: Path, files: Mapping[str, bytes], configs: Mapping[str, Mapping[str, Sequence[str]]]
) -> Path:
    """A hidden folder with these files and a card whose `configs` name them."""
    folder = root / "releases" / ".writing-abc"
    folder.mkdir(parents=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    front = [
        {"config_name": name, "data_files": [{"split": s, "path": list(p)} for s, p in splits.items()]}
        for name, splits in configs.items()
    ]
    card = f"---\n{json.dumps({'configs': front})}\n---\n# Card\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "dataset_info.json").write_text("{}", encoding="utf-8")
    return folder


def loaded(
    folder: Path, name: str, files: Mapping[str, Sequence[str]], by_card: bool = True
) -> dict[str, pl.DataFrame]:
    found = load_back(folder, name, files, folder.parent / "scratch", by_card=by_card)
    return {split: pl.concat(list(part.batches)) for split, part in found.items()}


def refused(folder: Path, name: str, files: Mapping[str, Sequence[str]]) -> str:
    with pytest.raises(NotLoadable) as caught:
        loaded(folder, name, files)
    message = caught.value.message
    assert MARKER not in message and str(folder) not in message and "\n" not in message
    return message


def test_loading_jsonl_in_a_hidden_folder_gives_splits_rows_and_text(tmp_path: Path) -> None:
    files = {"train": ["alpaca/train.jsonl"], "test": ["alpaca/test.jsonl"]}
    folder = release(
        tmp_path,
        {"alpaca/train.jsonl": alpaca("42", "7"), "alpaca/test.jsonl": alpaca("ja")},
        {"alpaca": files},
    )
    found = loaded(folder, "alpaca", files)
    assert found["train"]["output"].to_list() == ["42", "7"]
    assert found["test"].rows() == [("Say.", "", "ja")]
    assert set(found["train"].schema.values()) == {pl.String()}


def test_loading_shards_and_packed_files_in_the_order_of_the_card(tmp_path: Path) -> None:
    import zstandard

    paths = ["alpaca/train-00000-of-00002.jsonl.gz", "alpaca/train-00001-of-00002.jsonl.gz"]
    files = {"train": paths}
    folder = release(
        tmp_path,
        {paths[0]: gzip.compress(alpaca("b", "c")), paths[1]: gzip.compress(alpaca("a"))},
        {"alpaca": files},
    )
    assert loaded(folder, "alpaca", files)["train"]["output"].to_list() == ["b", "c", "a"]
    packed = {"train": ["alpaca/train.jsonl.zst"]}
    other = release(
        tmp_path / "zst", {"alpaca/train.jsonl.zst": zstandard.compress(alpaca("z"))}, {"alpaca": packed}
    )
    assert loaded(other, "alpaca", packed)["train"]["output"].to_list() == ["z"]


def test_loading_parquet_from_its_own_folder_and_by_the_card(tmp_path: Path) -> None:
    files = {"train": ["parquet/train.parquet"], "test": ["parquet/test.parquet"]}
    folder = release(tmp_path, {}, {"parquet": files})
    (folder / "parquet").mkdir()
    frame = pl.DataFrame(
        {"messages": [[{"role": "user", "content": "2024-01-01"}]], "label": [None]},
        schema={"messages": MESSAGES, "label": pl.String},
    )
    for split in files:
        frame.write_parquet(folder / "parquet" / f"{split}.parquet")
    for by_card in (True, False):
        found = load_back(folder, "parquet", files, folder.parent / f"s{by_card}", by_card=by_card)
        assert found["train"].schema == {"messages": MESSAGES, "label": pl.String}
        assert pl.concat(list(found["test"].batches)).equals(frame)


def test_loading_texts_that_are_all_dates_come_back_as_timestamps(tmp_path: Path) -> None:
    """The trap itself: the gate must see it, so the loader must not hide it."""
    files = {"train": ["alpaca/train.jsonl"]}
    folder = release(tmp_path, {"alpaca/train.jsonl": alpaca("2024-01-01", "2024-01-02")}, {"alpaca": files})
    schema = load_back(folder, "alpaca", files, tmp_path / "scratch", by_card=True)["train"].schema
    assert isinstance(schema["output"], pl.Datetime)
    assert schema["instruction"] == pl.String


def test_loading_batches_are_bounded_by_rows_and_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"train": ["alpaca/train.jsonl"]}
    folder = release(
        tmp_path, {"alpaca/train.jsonl": alpaca(*(f"{n}" * 1000 for n in range(10)))}, {"alpaca": files}
    )

    def heights() -> list[int]:
        found = load_back(folder, "alpaca", files, tmp_path / "scratch", by_card=True)
        return [batch.height for batch in found["train"].batches]

    assert heights() == [10]
    monkeypatch.setattr(loading, "MAX_ROWS", 4)
    assert heights() == [4, 4, 2]
    monkeypatch.setattr(loading, "MAX_BYTES", 3500)
    assert heights() == [3, 3, 3, 1]


_BROKEN: dict[str, tuple[bytes, str]] = {
    "half a line": (alpaca("a", "b")[:-20], r"in alpaca/train\.jsonl"),
    "no JSON": (f"{MARKER} is no JSON\n".encode(), r"in alpaca/train\.jsonl"),
    "not UTF-8": (alpaca("a").replace(b"Say.", MARKER.encode() + b"\xff\xfe"), r"Invalid UTF8"),
    "empty": (b"", r"\w"),
    "other columns": (lines([{"question": MARKER}]), "every file loads by itself: their columns differ"),
}


@pytest.mark.parametrize("case", _BROKEN)
def test_loading_broken_file_names_it_and_quotes_no_text(
    tmp_path: Path, case: str, caplog: Any, capfd: Any
) -> None:
    files = {"test": ["alpaca/test.jsonl"], "train": ["alpaca/train.jsonl"]}
    data, expected = _BROKEN[case]
    folder = release(
        tmp_path, {"alpaca/train.jsonl": data, "alpaca/test.jsonl": alpaca("x")}, {"alpaca": files}
    )
    message = refused(folder, "alpaca", files)
    assert pl.Series([message]).str.contains(expected).item(), message
    assert caplog.text == "" and "".join(capfd.readouterr()) == ""


def test_loading_dates_beside_words_of_another_split_quotes_neither(tmp_path: Path) -> None:
    files = {"train": ["alpaca/train.jsonl"], "test": ["alpaca/test.jsonl"]}
    folder = release(
        tmp_path,
        {"alpaca/train.jsonl": alpaca("2024-01-01"), "alpaca/test.jsonl": alpaca(MARKER)},
        {"alpaca": files},
    )
    message = refused(folder, "alpaca", files)
    assert message.startswith("ArrowInvalid: Failed to parse string (every file loads by itself"), message


def test_loading_what_the_card_does_not_know_or_the_folder_lacks_is_told(tmp_path: Path) -> None:
    files = {"train": ["alpaca/train.jsonl"], "test": ["alpaca/test.jsonl"]}
    folder = release(tmp_path, {"alpaca/train.jsonl": alpaca("a")}, {"alpaca": {"train": files["train"]}})
    assert "BuilderConfig 'chat' not found" in refused(folder, "chat", files)
    assert refused(folder, "alpaca", files) == "the files are of the splits test, train, loading gives train"
    gone = release(tmp_path / "gone", {}, {"alpaca": {"train": files["train"]}})
    assert "alpaca/train.jsonl" in refused(gone, "alpaca", {"train": files["train"]})


def test_loading_full_disk_is_no_fault_of_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    files = {"train": ["alpaca/train.jsonl"]}
    folder = release(tmp_path, {"alpaca/train.jsonl": alpaca("a")}, {"alpaca": files})

    def full(*_: Any, **__: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise datasets.exceptions.DatasetGenerationError("wrapped") from error

    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(OSError) as caught:
        loaded(folder, "alpaca", files)
    assert caught.value.errno == errno.ENOSPC


_LOAD = """
import sys
from pathlib import Path
from dataset_pipeline.storage.loading import load_back
folder = Path(sys.argv[1])
for name in ("alpaca", "broken"):
    try:
        found = load_back(folder, name, {"train": [f"{name}/train.jsonl"]}, folder.parent / "scratch", by_card=True)
        assert sum(len(batch) for batch in found["train"].batches) == 2
    except Exception as error:
        assert name == "broken", error
"""


def test_loading_leaves_nothing_at_home_and_says_nothing(tmp_path: Path) -> None:
    names = ("alpaca", "broken")
    folder = release(
        tmp_path, {"alpaca/train.jsonl": alpaca("a", "b"), "broken/train.jsonl": b"{\n"},
        {name: {"train": [f"{name}/train.jsonl"]} for name in names},
    )  # fmt: skip
    before = sorted(folder.rglob("*"))
    (tmp_path / "home").mkdir()
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(folder)], capture_output=True, text=True, timeout=120,
        env=keep | {"HOME": str(tmp_path / "home")}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "home").rglob("*")) == []
    assert sorted(folder.rglob("*")) == before
    assert sorted(p.name for p in folder.parent.iterdir()) == [".writing-abc", "scratch"]
