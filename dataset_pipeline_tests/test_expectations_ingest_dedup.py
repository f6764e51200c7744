"""What only ingest and dedup are asked, each open and shut on a real row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.records import Step
from dataset_pipeline_tests.test_expectations_common import (
    DAYS,
    Made,
    Mutation,
    assert_shuts,
    change,
    failing,
    judged,
    spare,
)

# --- ingest -------------------------------------------------------------------------------


def _batch(made: Made, **values: Any) -> pl.DataFrame:
    """The batches, with values changed in the first one."""
    batches = made.extras["batches"].with_row_index("n")
    first = pl.col("n") == 0
    given = {
        name: v if isinstance(v, pl.Expr) else pl.lit(v, batches.schema[name]) for name, v in values.items()
    }
    return batches.with_columns(
        pl.when(first).then(new).otherwise(pl.col(name)).alias(name) for name, new in given.items()
    ).drop("n")


def _rejected(made: Made, number: int, reason: str, listed: int | None = None) -> Audit:
    """`number` further rows of the first batch could not be read; `listed` of them are among the rejects."""
    batches = _batch(
        made, rows_read=pl.col("rows_read") + number, rows_rejected=pl.col("rows_rejected") + number
    )
    real = made.extras["rejects"].filter(pl.col("day") == DAYS[0]).head(1)
    more = [real.with_columns(reason=pl.lit(reason))] * (number if listed is None else listed)
    return made.audit(batches=batches, rejects=pl.concat([made.extras["rejects"], *more]))


def _cut_off(made: Made) -> Audit:
    rejects = made.extras["rejects"].with_row_index("n")
    reason = pl.when(pl.col("n") == 0).then(pl.lit("truncated_file")).otherwise("reason")
    return made.audit(rejects=rejects.with_columns(reason=reason).drop("n"))


def _roles_turned(made: Made) -> Audit:
    return made.audit(change(made.staged, spare(made), messages=pl.col("messages").list.reverse()))


def _source_id_twice(made: Made) -> Audit:
    rows = made.staged.filter(pl.col("day") == DAYS[0], pl.col("source") == "support_inbox").sort("record_id")
    return made.audit(change(made.staged, rows["record_id"][1], source_id=rows["source_id"][0]))


def _empty_file(made: Made) -> Audit:
    one = made.extras["batches"].head(1).with_columns(
        uri=pl.lit("sources/support_inbox/empty.jsonl"),
        rows_read=pl.lit(0, pl.Int64), rows_ingested=pl.lit(0, pl.Int64), rows_rejected=pl.lit(0, pl.Int64),
    )  # fmt: skip
    return made.audit(batches=pl.concat([made.extras["batches"], one]))


def _silent_source(made: Made) -> Audit:
    audit = made.audit()
    silent = audit.extras["silent"].with_columns(
        silent_sources=pl.lit(1, pl.Int64), silent_sources_culprit=pl.lit("support_inbox")
    )
    return replace(audit, extras=audit.extras | {"silent": silent})


def _retyped_column(made: Made) -> Audit:
    audit = made.audit()
    drift = audit.extras["drift"].with_columns(
        retyped_columns=pl.lit(1, pl.Int64), retyped_columns_culprit=pl.lit("support_inbox: column 'text' …")
    )
    return replace(audit, extras=audit.extras | {"drift": drift})


# --- dedup --------------------------------------------------------------------------------


def _similarity_above_one(made: Made) -> Audit:
    return made.audit(change(made.staged, spare(made), similarity=1.5))


def _chain(made: Made) -> Audit:
    first, second = made.dropped()["record_id"].sort().head(2)
    return made.audit(change(made.staged, first, twin=second))


def _other_answer(made: Made) -> Audit:
    return made.audit(change(made.staged, spare(made), answer_key="another answer"))


def equal_kept(made: Made) -> tuple[str, str]:
    """Two kept records of one day with the same answer, of which nobody is a twin."""
    kept = made.kept(DAYS[0]).filter(~pl.col("record_id").is_in(made.staged["twin"].drop_nulls().implode()))
    alike = kept.filter(pl.col("answer_key") == kept.sort("record_id")["answer_key"][0])["record_id"].sort()
    return alike[0], alike[1]


def _copy_kept(made: Made) -> Audit:
    a, b = equal_kept(made)
    key = made.staged.filter(pl.col("record_id") == a)["comparison_key"].item()
    return made.audit(change(made.staged, b, comparison_key=key))


MUTATIONS: dict[tuple[str, str], Mutation] = {
    (Step.INGEST, "rights_present"): lambda made: made.audit(batches=_batch(made, license=None)),
    (Step.INGEST, "reject_rate"): lambda made: _rejected(made, 5, "not JSON"),
    (Step.INGEST, "rejects_conserved"): lambda made: _rejected(made, 1, "not JSON", listed=0),
    (Step.INGEST, "erased_texts_gone"): lambda made: made.audit(
        change(made.staged, spare(made), kept=False, reason="erased", detail="{}")
    ),
    (Step.INGEST, "files_whole"): _cut_off,
    (Step.INGEST, "roles_valid"): _roles_turned,
    (Step.INGEST, "columns_keep_type"): _retyped_column,
    (Step.INGEST, "files_not_empty"): _empty_file,
    (Step.INGEST, "sources_came"): _silent_source,
    (Step.INGEST, "source_ids_unique"): _source_id_twice,
    (Step.DEDUP, "twins_named"): _similarity_above_one,
    (Step.DEDUP, "twins_kept"): _chain,
    (Step.DEDUP, "answers_agree"): _other_answer,
    (Step.DEDUP, "kept_distinct"): _copy_kept,
}


@pytest.mark.parametrize(("step", "name"), MUTATIONS)
def test_expectations_ingest_dedup_mutated_row_shuts_exactly_one(made, step, name):
    assert_shuts(judged(MUTATIONS[step, name](made(step))), name)


@pytest.mark.parametrize(
    "values", [{"holder": "  "}, {"basis": None}, {"uses": []}], ids=["blank holder", "no basis", "no use"]
)
def test_expectations_ingest_any_right_missing_shuts(made, values):
    case = made(Step.INGEST)
    found = judged(case.audit(batches=_batch(case, **values)))
    assert_shuts(found, "rights_present")
    assert found["rights_present"].days == (str(DAYS[0]),)


def test_expectations_ingest_truncated_file_is_named(made):
    case = made(Step.INGEST)
    assert judged(_cut_off(case))["files_whole"].culprits == (case.extras["rejects"]["uri"][0],)


def test_expectations_ingest_reject_rate_of_few_rows_only_warns(made):
    # 58 rows read, two of them bad: over the limit, but too few to say so.
    case = made(Step.INGEST)
    is_small = pl.col("uri").str.contains("support_inbox/2026-10-28")
    batches, staged = case.extras["batches"].filter(is_small), case.staged.filter(is_small)
    rejects = case.extras["rejects"].filter(is_small)
    bad = batches.with_columns(rows_read=pl.col("rows_read") + 1, rows_rejected=pl.col("rows_rejected") + 1)
    found = judged(case.audit(staged, batches=bad, rejects=pl.concat([rejects, rejects.head(1)])))
    assert failing(found) == {"reject_rate"}
    assert found["reject_rate"].is_below_sample
    assert not found["reject_rate"].blocks


def test_expectations_ingest_ending_with_user_passes_only_unlabelled(made):
    case = made(Step.INGEST)
    alone = change(case.staged, spare(case), messages=pl.col("messages").list.head(1))
    assert failing(judged(case.audit(alone))) == {"roles_valid"}
    assert failing(judged(case.audit(change(alone, spare(case), label=None)))) == set()


@pytest.mark.parametrize("twin", [None, "itself"])
def test_expectations_dedup_twin_missing_or_itself_shuts(made, twin):
    case = made(Step.DEDUP)
    found = judged(case.audit(change(case.staged, spare(case), twin=spare(case) if twin else None)))
    assert "twins_named" in failing(found)
    assert found["twins_named"].record_ids == (spare(case),)


def test_expectations_dedup_equal_kept_are_both_named(made):
    case = made(Step.DEDUP)
    assert judged(_copy_kept(case))["kept_distinct"].record_ids == tuple(sorted(equal_kept(case)))


def test_expectations_dedup_kept_equal_to_older_record_shuts(made):
    case = made(Step.DEDUP)
    culprit = equal_kept(case)[0]
    row = case.staged.filter(pl.col("record_id") == culprit)
    older = case.audit().extras["history"].join(row, on="answer_key", how="semi").sort("record_id")
    found = judged(case.audit(change(case.staged, culprit, comparison_key=older["comparison_key"][0])))
    assert_shuts(found, "kept_distinct")
    assert found["kept_distinct"].record_ids == (culprit,)
