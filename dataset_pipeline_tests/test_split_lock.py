"""The file of the lock: read with words for each fault, extended without changing a row, whole at any moment."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.errors import SpecError
from dataset_pipeline.storage import split_lock
from dataset_pipeline.storage.split_lock import COLUMNS, extend, read

A, B, C = ("a" * 32, "b" * 32, "c" * 32)
HEADER = "group,split,label,day,records"
DAY = dt.date(2026, 3, 1)


def lock(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """(group, split, label), each of DAY with one record."""
    return pl.DataFrame([(*row, DAY, 1) for row in rows], schema=COLUMNS, orient="row")


def written(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / split_lock.NAME
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return path


def test_lock_without_a_file_is_empty(tmp_path):
    found = read(tmp_path / split_lock.NAME)
    assert found.height == 0
    assert found.schema == COLUMNS


def test_lock_extended_is_sorted_and_read_back_as_it_was(tmp_path):
    path = tmp_path / split_lock.NAME
    assert extend(path, lock((B, "test", 'a "quoted", label'), (A, "train", ""))) == 2
    assert (
        path.read_bytes()
        == (f'{HEADER}\n{A},train,,2026-03-01,1\n{B},test,"a ""quoted"", label",2026-03-01,1\n').encode()
    )
    assert read(path).equals(lock((A, "train", ""), (B, "test", 'a "quoted", label')))


def test_lock_extended_again_or_otherwise_changes_no_row(tmp_path):
    path = tmp_path / split_lock.NAME
    extend(path, lock((A, "test", "x"), (C, "train", "x")))
    before = path.read_bytes(), path.stat().st_ino
    assert extend(path, lock((A, "train", "other"))) == 0
    assert (path.read_bytes(), path.stat().st_ino) == before
    assert extend(path, lock((A, "train", "other"), (B, "train", "y"))) == 1
    assert read(path).equals(lock((A, "test", "x"), (B, "train", "y"), (C, "train", "x")))


def test_lock_that_dies_while_being_written_is_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / split_lock.NAME
    extend(path, lock((A, "test", "x")))
    before = path.read_bytes()

    def dies(*_: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(OSError, match="killed"):
        extend(path, lock((B, "train", "x")))
    assert path.read_bytes() == before
    monkeypatch.undo()
    extend(path, lock((B, "train", "x")))
    assert [p.name for p in tmp_path.iterdir()] == [split_lock.NAME]


def test_lock_behind_a_link_stays_a_link_and_keeps_its_rights(tmp_path):
    shared = tmp_path / "shared.csv"
    extend(shared, lock((A, "test", "x")))
    shared.chmod(0o640)
    path = tmp_path / split_lock.NAME
    path.symlink_to(shared)
    extend(path, lock((B, "train", "x")))
    assert path.is_symlink()
    assert read(shared).height == 2
    assert shared.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lock_with_other_line_ends_a_mark_and_blank_lines_is_read(tmp_path, end):
    path = written(
        tmp_path, "\ufeff" + HEADER, f"{A},test,x,2026-03-01,1", "", f"{B},train,y,2026-03-01,1", end=end
    )
    assert read(path).equals(lock((A, "test", "x"), (B, "train", "y")))


GOOD = f"{A},test,x,2026-03-01,1"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["group,split"], ":1: the header is not group,split,label,day,records. Take the file back"),
        ([GOOD], ":1: the header is not"),
        ([HEADER, GOOD, f"{B},holdback,x,2026-03-01,1"], ":3: there is no split 'holdback'. Splits: train, validation, test."),
        ([HEADER, GOOD, "", GOOD], f":4: the group {A} stands twice. Keep the row that was released"),
        ([HEADER, f"{A},test,x,2026-02-30,1"], ":2: the day is none. Write it as YYYY-MM-DD."),
        ([HEADER, f"{A},test,x,20260301,1"], ":2: the day is none."),
        ([HEADER, f"{A},test,x,2026-03-01,0"], ":2: records is no count."),
        ([HEADER, "group:C17,test,x,2026-03-01,1"], ":2: the group is not 32 hex digits."),
        ([HEADER, f"{A},test"], ":2: has 2 values, not 5."),
        ([HEADER, f'{A},test,"x,2026-03-01,1', f"{B},train,y,2026-03-01,1"], ":2: has 3 values, not 5."),
        ([HEADER, "x" * 200_000], ":2: has 0 values, not 5."),
        ([HEADER, "<<<<<<< HEAD", GOOD, "=======", f"{B},train,y,2026-03-01,1", ">>>>>>> theirs"],
         ":2: holds a merge conflict of git. Keep the rows of both sides without the marks"),
    ],
)  # fmt: skip
def test_lock_with_a_fault_names_line_and_remedy(tmp_path, lines, message):
    path = written(tmp_path, *lines)
    with pytest.raises(SpecError) as error:
        read(path)
    assert str(error.value).startswith(split_lock.NAME + message)
    assert error.value.exit_code == 2
    # A faulty lock is not written over.
    before = path.read_bytes()
    with pytest.raises(SpecError):
        extend(path, lock((C, "train", "x")))
    assert path.read_bytes() == before


def test_lock_with_many_faults_tells_them_at_once_but_not_all(tmp_path):
    with pytest.raises(SpecError) as error:
        read(written(tmp_path, HEADER, *["nonsense"] * 50))
    assert len(error.value.problems) == split_lock.MAX_PROBLEMS


@pytest.mark.parametrize(("data", "message"), [(b"\xff\xfe\x00", "is not UTF-8."), (None, "cannot be read:")])
def test_lock_that_is_no_text_or_no_file_is_told(tmp_path, data, message):
    path = tmp_path / split_lock.NAME
    path.write_bytes(data) if data else path.mkdir()
    with pytest.raises(SpecError, match=message):
        read(path)
