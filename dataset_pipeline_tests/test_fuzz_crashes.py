"""Inputs that once broke a reader or a layout, each replayed: `fuzzing/crashes/<target>-<word>.bin`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset_pipeline.storage.readers import RawRow, read_rows
from dataset_pipeline_tests.fuzzing import corpus, fuzz_readers
from dataset_pipeline_tests.fuzzing.__main__ import CRASHES, check

INPUTS = sorted(CRASHES.glob("*.bin")) + sorted(CRASHES.glob("*-crash-*"))


@pytest.mark.parametrize("path", INPUTS, ids=[path.name for path in INPUTS])
def test_fuzz_crash_input_is_read_as_promised(path: Path) -> None:
    check(path.name.split("-")[0])(path.read_bytes())


@pytest.mark.parametrize("target", [*fuzz_readers.TARGETS, "layouts"])
def test_fuzz_seed_of_every_target_is_read_as_promised(target: str) -> None:
    for seed in corpus.seeds(target):
        check(target)(seed)


def test_csv_record_across_a_block_after_a_wrong_cut_keeps_later_rows(tmp_path: Path) -> None:
    """Two stray quotes, the second on a line that runs over the end of a block: the rows after it once moved by one."""
    block, row = 2**20, b'"1"|"zebra567"\n'
    stray, across = b'x"|"\n', b'"2"|[b"' + b"c" * 17 + b"\n"
    body = b"a|b\n" + row * ((block - 100) // len(row))
    filler = block - 8 - len(stray) - len(body)
    body += b'"' + b"p" * (filler - 5) + b'"|b\n'
    after = [n % 9 + 1 for n in range(50)]
    path = tmp_path / "a.csv"
    path.write_bytes(body + stray + across + b"".join(b'"%d"|"b"\n' % n for n in after))
    values = [row.payload["a"] for row in read_rows(path) if isinstance(row, RawRow)]
    assert values[-len(after) :] == [str(n) for n in after]
