"""What the protected items and the release are asked, each open and shut on a real row."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from dataset_pipeline.assets import releasing
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.expectations.gate import Judgement, judge
from dataset_pipeline.expectations.undated import PROTECTED_SUITE, protected_frames
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, RELEASE
from dataset_pipeline.spec.params import ReleaseParams
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.releases import Writer
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


# --- release ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A release as written, not yet judged."""

    writer: Writer
    content: Any
    context: Context

    def judged(self, content: Any = None) -> dict[str, Judgement]:
        params = cast(ReleaseParams, self.context.params[RELEASE])
        return by_name(releasing._judge(self.writer, content or self.content, params, self.context))

    def rewritten(self, table: str, frame: pl.DataFrame) -> None:
        self.writer.parquet(f"{table}.parquet", frame)

    def table(self, table: str) -> pl.DataFrame:
        return pl.read_parquet(self.writer.folder / f"{table}.parquet")


@pytest.fixture
def written(published: Context) -> Iterator[Written]:
    """The sample's release in a folder of its own, so that a test may spoil it."""
    latest = published.warehouse.latest()
    days = sorted(day for step, day in latest if step == DAILY_STEPS[-1] and day)
    content = releasing._content(published, days, days, Undated(published, latest).erased)
    writer = Writer(published.project.releases_path)
    releasing._write(writer, content, cast(ReleaseParams, published.params[RELEASE]))
    yield Written(writer, content, published)
    writer.abandon()


def _released(written: Written, frame: pl.DataFrame) -> dict[str, Judgement]:
    return written.judged(replace(written.content, released=frame))


def _record_lost(written: Written) -> dict[str, Judgement]:
    return _released(written, written.content.released.head(-1))


def _unaccounted(written: Written) -> dict[str, Judgement]:
    written.rewritten("dropped", written.table("dropped").head(-1))
    return written.judged()


def _file_short(written: Written) -> dict[str, Judgement]:
    path = written.writer.folder / "chat" / "train.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return written.judged()


def _all_withheld(written: Written) -> dict[str, Judgement]:
    content = written.content
    everything = pl.concat([content.selection.withheld, content.released], how="diagonal")
    selection = replace(content.selection, withheld=everything)
    return written.judged(replace(content, released=content.released.clear(), selection=selection))


def _answer_lost(written: Written) -> dict[str, Judgement]:
    released = written.content.released
    first = pl.int_range(pl.len()) == 0
    cut = pl.when(first).then(pl.col("messages").list.head(1)).otherwise("messages")
    return _released(written, released.with_columns(messages=cut))


def _no_test_split(written: Written) -> dict[str, Judgement]:
    return _released(
        written, written.content.released.with_columns(split=pl.col("split").replace("test", "train"))
    )


def _released_twice(written: Written) -> dict[str, Judgement]:
    provenance = written.table("provenance")
    written.rewritten("provenance", pl.concat([provenance, provenance.head(1)]))
    return written.judged()


_RELEASE: dict[str, Callable[[Written], dict[str, Judgement]]] = {
    "records_conserved": _record_lost,
    "every_record_accounted": _unaccounted,
    "files_hold_all_rows": _file_short,
    "not_empty": _all_withheld,
    "roles_complete": _answer_lost,
    "splits_filled": _no_test_split,
    "ids_unique": _released_twice,
}
_IMPLIED = {"not_empty": {"splits_filled"}, "ids_unique": {"every_record_accounted"}}
"""What cannot but fail as well: an empty release has empty splits, a record told twice is one too many."""


def test_expectations_release_real_files_all_hold(written):
    assert failing(written.judged()) == set()


@pytest.mark.parametrize("name", _RELEASE)
def test_expectations_release_mutated_row_shuts_exactly_one(written, name):
    found = _RELEASE[name](written)
    assert failing(found) == {name} | _IMPLIED.get(name, set())
    assert found[name].blocks is (name != "splits_filled")


def test_expectations_release_record_replaced_by_another_is_unaccounted(written):
    """Equal numbers: one record is told of twice, another not at all."""
    provenance = written.table("provenance")
    written.rewritten("provenance", pl.concat([provenance.head(-1), provenance.head(1)]))
    assert failing(written.judged()) == {"ids_unique", "every_record_accounted"}


def test_expectations_release_empty_split_is_named(written):
    assert _no_test_split(written)["splits_filled"].culprits == ("test",)


MUTATIONS = {
    **{(PROTECTED, name): mutation for name, mutation in _PROTECTED.items()},
    **{(RELEASE, name): mutation for name, mutation in _RELEASE.items()},
}
