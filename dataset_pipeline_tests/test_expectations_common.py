"""The expectations that every daily step shares, each open and shut for each step on real rows.

Lives here too: how a step's real result is mutated and judged, which the other tests of expectations use.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import Staging, staged_tables
from dataset_pipeline.assets.steps import work
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.gate import Judgement, judge
from dataset_pipeline.expectations.suites import SUITES
from dataset_pipeline.records import DAILY_STEPS, ERASED, REASONS, Step

DAYS = (dt.date(2026, 10, 28), dt.date(2026, 10, 29))
"""Two days of three sources, far enough into the sample that not even a warning is due."""
FOREIGN_DAY = dt.date(2026, 11, 15)
NOBODY = "f" * 32
WITH_REASONS = [step for step in DAILY_STEPS if REASONS[step] - {ERASED}]


@dataclass(frozen=True)
class Made:
    """A step's real result for DAYS: what was staged, and how its audit is made."""

    step: Step
    context: Context
    staged: pl.DataFrame
    extras: dict[str, pl.DataFrame]
    audit_of: Callable[[pl.DataFrame, dict[str, pl.DataFrame]], Audit]

    def audit(self, staged: pl.DataFrame | None = None, **extras: pl.DataFrame) -> Audit:
        """The audit of the staged frames, some of them replaced."""
        return self.audit_of(self.staged if staged is None else staged, self.extras | extras)

    def kept(self, day: dt.date | None = None) -> pl.DataFrame:
        return self.staged.filter("kept", pl.col("day") == day if day else pl.lit(True))

    def dropped(self) -> pl.DataFrame:
        """Rows whose loss or change moves nothing but themselves; ingest drops none, so there all rows."""
        return self.staged if self.step == Step.INGEST else self.staged.filter(~pl.col("kept"))


Mutation = Callable[[Made], Audit]


def made_of(context: Context, step: Step) -> Made:
    """Run `step` over DAYS as if for the first time, stage its rows and read them back."""
    latest = {key: p for key, p in context.warehouse.latest().items() if key[0] != step}
    claim = context.warehouse.claim(step, DAYS, "mutated")
    staging = Staging(context.warehouse, claim)
    done = work(context, Undated(context, latest), step, DAYS, staging)
    staging(done.tables)
    staged, extras = staged_tables(context.warehouse, claim)
    return Made(step, context, staged, extras, done.audit)


def judged(audit: Audit) -> dict[str, Judgement]:
    """The judgements of the step's whole suite, by name."""
    suite = SUITES[audit.step]
    return {j.expectation.name: j for j in judge(suite.expectations, suite.rows(audit), suite.gauges(audit))}


def failing(judgements: dict[str, Judgement]) -> set[str]:
    return {name for name, judgement in judgements.items() if not judgement.passed}


def assert_shuts(judgements: dict[str, Judgement], name: str) -> None:
    """Exactly `name` failed, and it closes the gate unless it is a warning."""
    assert failing(judgements) == {name}
    assert judgements[name].blocks is (judgements[name].expectation.severity == "critical")


def change(frame: pl.DataFrame, ids: str | Iterable[str], **values: Any) -> pl.DataFrame:
    """`frame` with `values` in the rows of these record ids; types stay, and so does the order."""
    wanted = pl.col("record_id").is_in([ids] if isinstance(ids, str) else list(ids))
    given = {
        name: value if isinstance(value, pl.Expr) else pl.lit(value, frame.schema[name])
        for name, value in values.items()
    }
    return frame.with_columns(
        pl.when(wanted).then(new).otherwise(pl.col(name)).alias(name) for name, new in given.items()
    )


def spare(made: Made) -> str:
    """The id of a real row that nothing else hangs on: the first dropped one."""
    return made.dropped()["record_id"].sort()[0]


def spare_pair(made: Made) -> tuple[str, str]:
    """Two such rows of one day."""
    rows = made.dropped().sort("record_id")
    day = rows.filter(pl.col("record_id").len().over("day") > 1)["day"].min()
    a, b = rows.filter(pl.col("day") == day)["record_id"].head(2)
    return a, b


# --- the mutations ------------------------------------------------------------------------

_UNUSED_COLUMN = {
    Step.INGEST: "byte_offset",
    Step.DEDUP: "shingles",
    Step.FILTER: "answer_lines",
    Step.NORMALIZE: "clean_sha",
    Step.DECONTAMINATE: "match",
    Step.LABEL: "label_origin",
    Step.SPLIT: "similarity",
}
"""A column that no other expectation looks at."""


def _column_lost(made: Made) -> Audit:
    return made.audit(made.staged.drop(_UNUSED_COLUMN[made.step]))


def _row_lost(made: Made) -> Audit:
    return made.audit(made.staged.filter(pl.col("record_id") != spare(made)))


def _id_twice(made: Made) -> Audit:
    a, b = spare_pair(made)
    return made.audit(change(made.staged, b, record_id=a))


def _id_missing(made: Made) -> Audit:
    return made.audit(change(made.staged, spare(made), record_id=None))


def _foreign_day(made: Made) -> Audit:
    row = made.staged.filter(pl.col("record_id") == spare(made))
    copy = row.with_columns(record_id=pl.lit(NOBODY), day=pl.lit(FOREIGN_DAY))
    return made.audit(pl.concat([made.staged, copy]))


def _never_arrived(made: Made) -> Audit:
    if made.step == Step.INGEST:
        return made.audit(change(made.staged, spare(made), uri="sources/support_inbox/2026-10-30.jsonl"))
    return made.audit(change(made.staged, spare(made), record_id=NOBODY))


def _no_detail(made: Made) -> Audit:
    return made.audit(change(made.staged, spare(made), kept=False, detail=None))


def _invented_reason(made: Made) -> Audit:
    return made.audit(change(made.staged, spare(made), kept=False, reason="whim", detail="{}"))


_COMMON: dict[str, Mutation] = {
    "columns_exact": _column_lost,
    "rows_conserved": _row_lost,
    "ids_unique": _id_twice,
    "keys_present": _id_missing,
    "days_requested": _foreign_day,
    "records_arrived": _never_arrived,
    "verdicts_complete": _no_detail,
    "reasons_allowed": _invented_reason,
}

_WORST = {
    Step.DEDUP: (0.9, 0.95),
    Step.FILTER: (0.3, 0.5),
    Step.NORMALIZE: (0.5, 0.8),
    Step.DECONTAMINATE: (0.3, 0.5),
    Step.LABEL: (0.5, 0.8),
    Step.SPLIT: (0.5, 0.8),
}
"""The largest share of a day that one rule, and one source, may lose."""


def drop(made: Made, share: float, reasons: list[str], source: str | None = None) -> Audit:
    """Drop rows of the first day, or of one source on it, until `share` of each source is gone, by `reasons` in turn."""
    audit = made.audit()
    day = made.staged.filter(pl.col("day") == DAYS[0])
    sourced = day.select("record_id", "kept").join(
        audit.records.select("record_id", "source"), on="record_id"
    )
    staged = made.staged
    for name in sorted(sourced["source"].unique()) if source is None else [source]:
        own = sourced.filter(pl.col("source") == name)
        wanted = int(share * own.height) - own.filter(~pl.col("kept")).height
        ids = own.filter("kept")["record_id"].sort().head(wanted).to_list()
        for n, reason in enumerate(reasons):
            staged = change(staged, ids[n :: len(reasons)], kept=False, reason=reason, detail="{}")
    return made.audit(_credible(made, staged, audit))


def _credible(made: Made, staged: pl.DataFrame, audit: Audit) -> pl.DataFrame:
    """What else a step says of a row that it drops, so that only the number of rows is odd."""
    if made.step == Step.DEDUP:
        twins = (
            audit.extras["history"]
            .sort("record_id")
            .unique("answer_key", keep="first")
            .select("answer_key", older="record_id")
        )
        named = staged.join(twins, on="answer_key", how="left", maintain_order="left").with_columns(
            twin=pl.when("kept").then(None).otherwise("older"),
            similarity=pl.when("kept").then(None).otherwise(1.0),
        )
        return named.drop("older")
    if made.step == Step.DECONTAMINATE:
        lost = ~pl.col("kept")
        return staged.with_columns(
            eval_set=pl.when(lost).then(pl.lit("holdout")).otherwise("eval_set"),
            eval_item=pl.when(lost).then(pl.lit("H-01")).otherwise("eval_item"),
        )
    return staged


def one_rule_drops(made: Made) -> Audit:
    rule, source = _WORST[made.step]
    return drop(made, rule + 0.8 * (source - rule), [sorted(REASONS[made.step])[0]])


def one_source_drops(made: Made) -> Audit:
    return drop(made, _WORST[made.step][1] + 0.04, sorted(REASONS[made.step])[:2], "paraphrases")


MUTATIONS: dict[tuple[str, str], Mutation] = {
    **{(step, name): mutation for step in Step for name, mutation in _COMMON.items()},
    **{(step, "drop_rate_per_rule"): one_rule_drops for step in WITH_REASONS},
    **{(step, "drop_rate_per_source"): one_source_drops for step in WITH_REASONS},
}


# --- the tests ----------------------------------------------------------------------------


@pytest.mark.parametrize("step", Step)
def test_expectations_real_rows_all_hold(made, step):
    judgements = judged(made(step).audit())
    assert list(judgements) == [e.name for e in SUITES[step].expectations]
    assert failing(judgements) == set()


@pytest.mark.parametrize(("step", "name"), MUTATIONS)
def test_expectations_common_mutated_row_shuts_exactly_one(made, step, name):
    assert_shuts(judged(MUTATIONS[step, name](made(step))), name)
