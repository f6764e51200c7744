"""What the protected items are asked, each open and shut on a real row."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.expectations.gate import Judgement, judge
from dataset_pipeline.expectations.undated import PROTECTED_SUITE, protected_frames
from dataset_pipeline.records import PROTECTED
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import conftest
from dataset_pipeline_tests.test_expectations_common import failing

SETS = ["holdout"]


@pytest.fixture(scope="module")
def published(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A run sample project whose release folder may be written to."""
    root = tmp_path_factory.mktemp("undated") / "project"
    shutil.copytree(sample_root, root, symlinks=True)
    context = conftest.sample_context(root)
    yield context
    release_run_lock(context.warehouse.path)


def by_name(judgements: list[Judgement]) -> dict[str, Judgement]:
    return {j.expectation.name: j for j in judgements}


# --- protected ----------------------------------------------------------------------------


def judged_protected(
    items: pl.DataFrame, sets: list[str] | None = None, unreadable: tuple[str, ...] = ()
) -> dict[str, Judgement]:
    return by_name(judge(PROTECTED_SUITE, *protected_frames(items, sets or SETS, unreadable)))


def _nth(items: pl.DataFrame, n: int, **values: Any) -> pl.DataFrame:
    """The items with values changed in the n-th one of the holdout set."""
    place = pl.int_range(pl.len()).over("eval_set") == n
    wanted = (pl.col("eval_set") == "holdout") & place
    return items.with_columns(
        pl.when(wanted).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in values.items()
    )


def _id_twice(items: pl.DataFrame) -> dict[str, Judgement]:
    first = items.filter(pl.col("eval_set") == "holdout")["eval_item"][0]
    return judged_protected(_nth(items, 1, eval_item=first))


def _four_examples(items: pl.DataFrame) -> dict[str, Judgement]:
    examples = items.filter(pl.col("eval_set") == "examples").head(4)
    return judged_protected(pl.concat([examples, items.filter(pl.col("eval_set") != "examples")]))


_PROTECTED: dict[str, Callable[[pl.DataFrame], dict[str, Judgement]]] = {
    "items_unique": _id_twice,
    "items_have_text": lambda items: judged_protected(_nth(items, 0, text=" \n")),
    "sets_not_empty": lambda items: judged_protected(items, [*SETS, "second"]),
    "items_readable": lambda items: judged_protected(
        items, unreadable=("eval/holdout.jsonl:3 invalid_json",)
    ),
    "examples_enough": _four_examples,
}


def test_expectations_protected_real_items_all_hold(published):
    found = judged_protected(published.warehouse.table(PROTECTED))
    assert list(found) == [e.name for e in PROTECTED_SUITE]
    assert failing(found) == set()


@pytest.mark.parametrize("name", _PROTECTED)
def test_expectations_protected_mutated_item_shuts_exactly_one(published, name):
    found = _PROTECTED[name](published.warehouse.table(PROTECTED))
    assert failing(found) == {name}
    assert found[name].blocks is (name != "examples_enough")


def test_expectations_protected_names_set_and_item(published):
    items = published.warehouse.table(PROTECTED)
    assert judged_protected(items, [*SETS, "second"])["sets_not_empty"].culprits == ("second",)
    assert _id_twice(items)["items_unique"].record_ids[0].startswith("holdout:")


def test_protected_unreadable_row_closes_the_gate_and_publishes_nothing(sample_copy):
    path = sample_copy / "eval" / "holdout.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "{broken\n", encoding="utf-8")
    context = conftest.sample_context(sample_copy)
    with pytest.raises(GateClosed, match=r"protected\.items_readable: 1.*holdout\.jsonl:73 invalid_json"):
        run_inputs(context, "closed")
    assert context.warehouse.table(PROTECTED).height == 0
    assert (PROTECTED, None) not in context.warehouse.latest()


MUTATIONS = {(PROTECTED, name): mutation for name, mutation in _PROTECTED.items()}
