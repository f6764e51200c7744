"""A file in parts is the same file: ids, rejects and columns do not depend on how its rows come."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline.storage.readers import RawRow, RowBlock
from dataset_pipeline.transforms import ingest as module
from dataset_pipeline.transforms.ingest import Batch, canonical, ingest, ingest_parts
from dataset_pipeline.transforms.occurrences import Occurrences
from dataset_pipeline_tests.test_ingest import DAY, Unread, made

ROWS = [{"id": str(n), "text": f"words {n % 7}", "label": "bug"} for n in range(40)] + [{"id": "same", "text": "twice", "label": "wish"}] * 5  # fmt: skip


def params(task: str = "classification") -> Any:
    """The params of one source, as `made` builds them."""
    import json

    from dataset_pipeline.records import Step
    from dataset_pipeline.spec.models import Spec
    from dataset_pipeline.spec.params import params_of
    from dataset_pipeline_tests.scenario import LABELS, source

    content = {
        "name": "t",
        "task": {"behavior": "x", "type": task, "labels": list(LABELS)},
        "sources": [source()],
    }
    return params_of(Spec.model_validate_json(json.dumps(content)))[Step.INGEST]


def read(items: list[Any]) -> list[Batch]:
    given = params()
    return list(ingest_parts(items, given.sources[0], given, DAY, "sources/a.jsonl"))


def test_ingest_parts_together_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [RawRow(n, n, row) for n, row in enumerate(ROWS, 1)] + [Unread(line=99)]
    given = params()
    whole = ingest(items, given.sources[0], given, DAY, "sources/a.jsonl")
    monkeypatch.setattr(module, "PART_ROWS", 4)
    parts = read(items)
    assert len(parts) > 10
    assert pl.concat([p.records for p in parts]).equals(whole.records)
    assert pl.concat([p.rejects for p in parts]).equals(whole.rejects)
    assert sum(p.rows_read for p in parts) == whole.rows_read == len(items)


def test_ingest_blocks_give_what_their_rows_give() -> None:
    rows = [RawRow(n, 10 * n, row) for n, row in enumerate(ROWS, 1)]
    columns = {name: [row[name] for row in ROWS] for name in ("id", "text", "label")}
    lists = RowBlock(range(1, len(ROWS) + 1), [r.byte_offset for r in rows], columns)
    series = RowBlock(lists.lines, lists.byte_offsets, {n: pl.Series(v) for n, v in columns.items()})
    [one], [two], [three] = read(rows), read([lists]), read([series])
    assert one.records.equals(two.records) and one.records.equals(three.records)
    assert one.columns == two.columns == three.columns == {n: frozenset({"text"}) for n in columns}


def test_ingest_columns_name_every_kind_of_value_seen() -> None:
    batch = made(
        [
            {"id": 1, "text": "a", "label": None},
            {"id": "x", "text": "b", "label": "bug", "tags": [1]},
            {"id": True, "text": "c", "label": "bug", "meta": {}},
        ]
    )
    assert {name: set(kinds) for name, kinds in batch.columns.items()} == {
        "id": {"number", "text", "boolean"}, "text": {"text"}, "label": {"text"}, "tags": {"list"}, "meta": {"object"},
    }  # fmt: skip


def test_ingest_id_of_a_row_with_a_large_integer_does_not_depend_on_key_order() -> None:
    one, two = (
        {"id": 10**30, "text": "a", "n": {"y": 1, "x": 2}},
        {"n": {"x": 2, "y": 1}, "text": "a", "id": 10**30},
    )
    assert (
        canonical(one)
        == canonical(two)
        == b'{"id":1000000000000000000000000000000,"n":{"x":2,"y":1},"text":"a"}'
    )
    assert made([one | {"label": "bug"}]).records["source_id"].to_list() == [str(10**30)]


@given(
    keys=st.lists(st.sampled_from([bytes([n]) * 16 for n in range(6)]), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_occurrences_count_as_a_counter_does(keys: list[bytes], cuts: list[int]) -> None:
    seen: Counter[bytes] = Counter()
    expected = []
    for key in keys:
        expected.append(seen[key])
        seen[key] += 1
    counted, occurrences, start = [], Occurrences(), 0
    for cut in [*sorted(cuts), len(keys)]:
        counted += occurrences.count(keys[start:cut])
        start = max(start, cut)
    assert counted == expected


def test_occurrences_of_many_keys_stay_few_runs() -> None:
    occurrences, draw = Occurrences(), random.Random(1)
    for _ in range(200):
        occurrences.count([draw.randbytes(16) for _ in range(50)])
    assert len(occurrences._sorted) < 20
