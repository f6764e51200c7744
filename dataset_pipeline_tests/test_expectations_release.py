"""What a release is asked before it is seen, each expectation open and shut.

Keep out: how files are loaded (`test_loading`), compared (`test_preflight`) and ruled (`test_format_rules`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from dataset_pipeline.assets import preflighting, releasing
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.release_content import content_of
from dataset_pipeline.assets.release_facts import Content, DataFiles, card_facts
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.expectations.gate import MAX_NAMED, Judgement, judge
from dataset_pipeline.expectations.release import RELEASE_SUITE
from dataset_pipeline.records import DAILY_STEPS, RELEASE
from dataset_pipeline.spec.models import Training
from dataset_pipeline.spec.params import ReleaseParams
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.releases import Writer
from dataset_pipeline.transforms.tokens import facts
from dataset_pipeline_tests import conftest
from dataset_pipeline_tests.test_expectations_common import failing
from dataset_pipeline_tests.test_expectations_undated import by_name
from dataset_pipeline_tests.test_preflight import LABELS, Release, released, said, tokens, write

# --- of the files against the tables ------------------------------------------------------


@pytest.fixture(scope="module")
def published(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A run sample project whose release folder may be written to."""
    root = tmp_path_factory.mktemp("release") / "project"
    shutil.copytree(sample_root, root, symlinks=True)
    context = conftest.sample_context(root)
    yield context
    release_run_lock(context.warehouse.path)


@dataclass(frozen=True)
class Written:
    """A release as written, not yet judged."""

    writer: Writer
    data_files: DataFiles
    content: Content
    context: Context

    @property
    def params(self) -> ReleaseParams:
        return cast(ReleaseParams, self.context.params[RELEASE])

    def judged(self, content: Content | None = None, **changed: Any) -> dict[str, Judgement]:
        """content: what the tables say now; the files are loaded back against what they said when they were written.
        changed: keys of `release` that the spec has now."""
        loaded = preflighting.run(self.writer.folder, self.data_files, self.content.released, self.params)
        content, params = content or self.content, self.params.model_copy(update=changed)
        return by_name(releasing._judge(self.writer, content, params, self.context, loaded))

    def rewritten(self, table: str, frame: pl.DataFrame) -> None:
        self.writer.parquet(f"{table}.parquet", frame)

    def table(self, table: str) -> pl.DataFrame:
        return pl.read_parquet(self.writer.folder / f"{table}.parquet")


@pytest.fixture
def written(published: Context) -> Iterator[Written]:
    """The sample's release, card and all, in a folder of its own, so that a test may spoil it."""
    latest = published.warehouse.latest()
    days = sorted(day for step, day in latest if step == DAILY_STEPS[-1] and day)
    content = content_of(published, days, days, Undated(published, latest).erased)
    params = cast(ReleaseParams, published.params[RELEASE])
    writer = Writer(published.project.releases_path)
    data_files = releasing._data_files(writer, content, params)
    lengths = facts(content.tokens, content.released, params.training, "an estimate")
    told = card_facts(published, content, params, status_of(published), days, data_files, lengths)
    releasing._write(writer, content, params, told)
    yield Written(writer, data_files, content, published)
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


_CONTENT: dict[str, Callable[[Written], dict[str, Judgement]]] = {
    "records_conserved": _record_lost,
    "every_record_accounted": _unaccounted,
    "files_hold_all_rows": _file_short,
    "not_empty": _all_withheld,
    "roles_complete": _answer_lost,
    "splits_filled": _no_test_split,
    "ids_unique": _released_twice,
}
_IMPLIED = {
    "files_hold_all_rows": {"rows_survive_loading"},
    "not_empty": {"splits_filled", "examples_enough_for_openai"},
    "ids_unique": {"every_record_accounted"},
}
"""What cannot but fail as well: a line that is lost is not loaded either, an empty release has empty splits and few
examples, a record told twice is one too many."""


def test_expectations_release_real_files_all_hold(written):
    assert failing(written.judged()) == set()


@pytest.mark.parametrize("name", _CONTENT)
def test_expectations_release_mutated_row_shuts_exactly_one(written, name):
    found = _CONTENT[name](written)
    assert failing(found) == {name} | _IMPLIED.get(name, set())
    assert found[name].blocks is (name != "splits_filled")


def test_expectations_release_record_replaced_by_another_is_unaccounted(written):
    """Equal numbers: one record is told of twice, another not at all."""
    provenance = written.table("provenance")
    written.rewritten("provenance", pl.concat([provenance.head(-1), provenance.head(1)]))
    assert failing(written.judged()) == {"ids_unique", "every_record_accounted"}


def test_expectations_release_empty_split_is_named(written):
    assert _no_test_split(written)["splits_filled"].culprits == ("test",)


def test_expectations_release_older_batch_under_a_stricter_licence_shuts_the_gate(written):
    """What a stale day is: the spec has a laxer licence now, its batch has the one of before."""
    batches = written.content.batches.with_columns(license=pl.lit("CC-BY-SA-4.0"))
    older = replace(written.content, batches=batches)
    assert failing(written.judged(older)) == set()  # without release.license the strictest is taken
    found = written.judged(older, license="CC-BY-4.0")
    assert failing(found) == {"license_holds_all"}
    message = found["license_holds_all"].message(RELEASE)
    assert "source support_inbox (" in message and "under CC-BY-SA-4.0, which asks for share-alike" in message
    assert found["license_holds_all"].blocks


# --- of the files as their readers load them, and of what they are for --------------------


@pytest.fixture
def release(tmp_path: Path) -> Release:
    rows = {"train": [said(f"Question {n}", "bug") for n in range(12)], "test": [said("Last", "wish")]}
    return write(tmp_path, released(rows, "bug"), LABELS, ("chat", "alpaca", "parquet"))


def judged(
    release: Release,
    uses: tuple[int, str | None] = (0, None),
    license: tuple[int, str | None] = (0, None),
    **measured: Any,
) -> dict[str, Judgement]:
    """The whole suite over a release whose content is sound.

    measured: columns of `tokens`; uses, license: as `uses_missing` and `license_laxer`.
    """
    frame = release.frame
    loaded = preflighting.gauges(release.preflight(), tokens(frame, **measured), frame, release.params)
    sound = pl.DataFrame(
        {"day": ["all"], "n": [frame.height], "records_lost": [0], "records_unaccounted": [0], "file_row_differences": [0],
         "role_faults": [0], "empty_splits": [0], "uses_missing": [uses[0]], "uses_missing_culprit": [uses[1]],
         "license_laxer": [license[0]], "license_laxer_culprit": [license[1]]},
        schema_overrides={"uses_missing_culprit": pl.String, "license_laxer_culprit": pl.String},
    )  # fmt: skip
    rows = frame.select("record_id", day=pl.lit("all"))
    return by_name(judge(RELEASE_SUITE, rows, pl.concat([sound, loaded], how="horizontal")))


def _cut_line(release: Release) -> dict[str, Judgement]:
    path = release.folder / "alpaca" / "test.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    return judged(release)


def _row_dropped(release: Release) -> dict[str, Judgement]:
    release.rewrite("chat", "train", lambda rows: rows[:-1])
    return judged(release)


def _character_changed(release: Release) -> dict[str, Judgement]:
    release.rewrite("alpaca", "train", lambda rows: [rows[0] | {"input": "Question  0"}, *rows[1:]])
    return judged(release)


def _answer_emptied(release: Release) -> dict[str, Judgement]:
    """In tables and files alike: they agree, and no reader can use it."""
    release.frame = released({"train": [said(f"Q {n}", "") for n in range(12)]})
    sound = write(release.folder.parent.parent / "empty", release.frame, LABELS, ("chat",))
    return judged(sound)


def _few(release: Release) -> dict[str, Judgement]:
    few = released({"train": [said("Q", "bug")]})
    return judged(write(release.folder.parent.parent / "few", few, LABELS, ("chat",)))


def _too_long(release: Release) -> dict[str, Judgement]:
    release.params = release.params.model_copy(update={"training": Training(max_length=8)})
    return judged(release, cut_tokens=2)


_LOADING: dict[str, Callable[[Release], dict[str, Judgement]]] = {
    "formats_load": _cut_line,
    "rows_survive_loading": _row_dropped,
    "text_survives_loading": _character_changed,
    "format_rules_hold": _answer_emptied,
    "examples_enough_for_openai": _few,
    "lengths_fit": _too_long,
    "answers_supervised": lambda release: judged(release, supervised_tokens=0),
    "ends_present": lambda release: judged(release, has_end=False),
    "rights_allow_uses": lambda release: judged(release, uses=(3, "commercial: source wiki (3 records)")),
    "license_holds_all": lambda release: judged(
        release, license=(3, "source wiki (3 records) under CC-BY-SA-4.0, which asks for share-alike")
    ),
}
_WARNINGS = {"examples_enough_for_openai", "lengths_fit"}


def test_expectations_release_loaded_back_all_hold(release: Release) -> None:
    assert failing(judged(release)) == set()


@pytest.mark.parametrize("name", _LOADING)
def test_expectations_release_spoiled_file_shuts_exactly_one(release: Release, name: str) -> None:
    found = _LOADING[name](release)
    assert failing(found) == {name}
    assert found[name].blocks is (name not in _WARNINGS)


def test_expectations_release_messages_name_format_reader_and_records(release: Release) -> None:
    def message(name: str) -> str:
        return _LOADING[name](release)[name].message(RELEASE)

    assert "by alpaca: ArrowInvalid: JSON parse error" in message("formats_load")
    assert "in alpaca/test.jsonl" in message("formats_load")
    rules = message("format_rules_hold")
    assert "contents_filled of chat, asked by OpenAI, axolotl: 12 rows" in rules
    assert "records train-0, train-1" in rules


def test_expectations_release_dropped_and_changed_rows_are_named(tmp_path: Path, release: Release) -> None:
    dropped = _row_dropped(release)["rows_survive_loading"]
    assert dropped.culprits == ("chat train: 11 rows for 12 records",)
    assert dropped.record_ids == ("train-11",)
    other = write(tmp_path / "other", release.frame, LABELS, ("chat", "alpaca"))
    changed = _character_changed(other)["text_survives_loading"]
    assert changed.culprits == ("alpaca train: 1 rows",)
    assert changed.record_ids == ("train-0",)


def test_expectations_release_names_twenty_records_at_most(tmp_path: Path) -> None:
    many = released({"train": [said(f"Q {n}", "") for n in range(50)]})
    found = judged(write(tmp_path, many, LABELS, ("chat",)))["format_rules_hold"]
    assert (found.observed, len(found.record_ids)) == ("50", MAX_NAMED)


MUTATIONS = {(RELEASE, name): mutation for name, mutation in (*_CONTENT.items(), *_LOADING.items())}
