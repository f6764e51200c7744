"""The gate: named expectations, judged by Great Expectations over two small frames, text-free.

Lives here: what an expectation is, how a suite is run, what a judgement says. Keep out: the
expectations of a step (one module each), staging and publishing. Great Expectations is imported
inside `judge`: it takes seconds.

Traps kept in check here (measured with Great Expectations 1.24): an exception is not a failed
result unless one looks; nulls pass value expectations; empty frames pass; results carry raw
values; `success` of the whole is false when only a warning failed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from dataset_pipeline.spec.models import Gate

Severity = Literal["critical", "warning"]
Kind = Literal["unique", "not_null", "in_set", "between"]
_NAN, _INFINITY = float("nan"), float("inf")
_KEYS: dict[str, tuple[str, ...]] = {"rows": ("record_id", "day"), "gauges": ("day",)}
MAX_NAMED = 20
"""Record ids named by a failed expectation, at most."""
_own = threading.local()


@dataclass(frozen=True)
class Expectation:
    """One thing that must hold.

    name: the word shown in Dagster, in errors and in `gates:` of the spec. fault: what it exists
    for. frame: `rows` (one per record) or `gauges` (one per requested day). For `between`, minimum
    and maximum are inclusive. min_sample: below this many records (gauge column `sample`) a failed
    ratio only warns. is_fixed: no spec changes it; why_fixed: why not, a main clause without its full stop.
    """

    name: str
    fault: str
    kind: Kind
    frame: Literal["rows", "gauges"]
    columns: tuple[str, ...]
    severity: Severity = "critical"
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    min_sample: int = 0
    sample: str = "n"
    is_fixed: bool = False
    why_fixed: str = ""


@dataclass(frozen=True)
class Judgement:
    """What an expectation found. `blocks` is what closes the gate."""

    expectation: Expectation
    passed: bool
    is_below_sample: bool
    observed: str
    days: tuple[str, ...]
    record_ids: tuple[str, ...]
    culprits: tuple[str, ...] = ()

    @property
    def blocks(self) -> bool:
        return not self.passed and self.expectation.severity == "critical" and not self.is_below_sample

    def message(self, step: str) -> str:
        """The sentence a person reads: expectation, observed value, limit, days, ids."""
        e = self.expectation
        limit = _limit_words(e)
        parts = [f"{step}.{e.name}: {self.observed}" + (f" (limit {limit})" if limit else "")]
        if self.culprits:
            parts.append(f"by {', '.join(self.culprits)}")
        if self.days:
            parts.append(f"on {', '.join(self.days[:10])}" + (" and more" if len(self.days) > 10 else ""))
        if self.record_ids:
            more = " and more" if len(self.record_ids) >= MAX_NAMED else ""
            parts.append(f"records {', '.join(self.record_ids)}{more}")
        return " ".join(parts) + f". {e.fault}"


def _limit_words(e: Expectation) -> str:
    if e.kind != "between":
        return ""
    if e.minimum is not None and e.minimum == e.maximum:
        return f"exactly {e.minimum:g}"
    words = []
    if e.minimum is not None:
        words.append(f"at least {e.minimum:g}")
    if e.maximum is not None:
        words.append(f"at most {e.maximum:g}")
    return ", ".join(words)


def adjusted(suite: Sequence[Expectation], gates: Mapping[str, Gate]) -> tuple[Expectation, ...]:
    """The suite with the limits and severities the spec gives; a fixed expectation stays as it is."""
    changed = []
    for expectation in suite:
        gate = gates.get(expectation.name)
        if gate is None or expectation.is_fixed:
            changed.append(expectation)
            continue
        changed.append(
            replace(
                expectation,
                severity=gate.severity or expectation.severity,
                minimum=expectation.minimum if gate.min is None else gate.min,
                maximum=expectation.maximum if gate.max is None else gate.max,
            )
        )
    return tuple(changed)


def judge(suite: Sequence[Expectation], rows: pl.DataFrame, gauges: pl.DataFrame) -> list[Judgement]:
    """Judge every expectation of `suite`, once each.

    rows: record_id, day (String) and the columns the suite names, never text. gauges: day (String),
    n, and the gauges. A missing column, a null gauge, no gauges at all and an error inside the check
    engine are failures: they say so in `observed`. Gauges may carry `<column>_culprit` (String) and
    `<column>_record_ids` (list of record ids) columns, which are named when the column fails.
    """
    gauges = gauges.with_columns(cs.float().fill_nan(None))
    try:
        results, trouble = _run_engine(suite, rows, gauges), ""
    except Exception as error:
        # Whatever the engine raises closes the gate. Its message may quote values: only its type is told.
        results, trouble = {}, f" ({type(error).__name__})"
    return [_judgement(e, results.get(e.name, []), rows, gauges, trouble) for e in suite]


def _run_engine(
    suite: Sequence[Expectation], rows: pl.DataFrame, gauges: pl.DataFrame
) -> dict[str, list[dict[str, Any]]]:
    """Great Expectations' verdicts by expectation name, stripped of values."""
    found: dict[str, list[dict[str, Any]]] = {}
    for frame_name, frame in (("rows", rows), ("gauges", gauges)):
        wanted = [e for e in suite if e.frame == frame_name]
        if not wanted:
            continue
        key = list(_KEYS[frame_name])
        columns = [
            c for c in dict.fromkeys([*key, *(c for e in wanted for c in e.columns)]) if c in frame.columns
        ]
        for result in _verdicts(frame_name, frame.select(columns), wanted, key):
            found.setdefault(_name(result), []).append(_stripped(result, key))
    return found


def _verdicts(frame_name: str, frame: pl.DataFrame, wanted: list[Expectation], key: list[str]) -> list[Any]:
    """What the engine says of a frame, one result an expectation and column; culprits by key where one failed.

    Listing culprits costs as much again as the verdict: the engine is asked again, and only about what failed.
    """
    engine = _engine()
    try:
        batch = engine.batches[frame_name].get_batch({"dataframe": _pandas_view(frame)})

        def ask(expectations: list[Expectation], result_format: str | dict[str, Any]) -> list[Any]:
            return list(
                batch.validate(_suite(frame_name, expectations, frame), result_format=result_format).results
            )

        results = ask(wanted, "BOOLEAN_ONLY")
        failed = {_name(r) for r in results if not r.success or _raised(r.exception_info)}
        if failed:
            again = ask(
                [e for e in wanted if e.name in failed],
                {
                    "result_format": "COMPLETE",
                    "unexpected_index_column_names": key,
                    "partial_unexpected_count": 0,
                },
            )
            results = [r for r in results if _name(r) not in failed] + again
        return results
    finally:
        engine.forget()


def _suite(frame_name: str, expectations: list[Expectation], frame: pl.DataFrame) -> Any:
    import great_expectations as gx
    import great_expectations.expectations as gxe

    return gx.ExpectationSuite(
        name=frame_name, expectations=[x for e in expectations for x in _built(gxe, e, frame)]
    )


def _name(result: Any) -> str:
    return str(result.expectation_config.meta["name"])


@dataclass(frozen=True)
class _Engine:
    """Great Expectations made ready: a data source and its batch definition of each frame, without data."""

    source: Any
    batches: dict[str, Any]

    def forget(self) -> None:
        """Let go of the frames that were judged: the engine would keep the last ones."""
        loaded = self.source.get_execution_engine().batch_manager
        loaded.reset_batch_cache()
        loaded.batch_data_cache.clear()


def _engine() -> _Engine:
    """The engine of this thread, made once: a context, with what is saved in it, costs 20 ms.

    A thread has its own, because a batch is known by the name of its frame.
    """
    kept: _Engine | None = getattr(_own, "engine", None)
    if kept is None:
        kept = _own.engine = _made_engine()
    return kept


def _made_engine() -> _Engine:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("staged")
    return _Engine(
        source,
        {
            name: source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
            for name in _KEYS
        },
    )


def _pandas_view(frame: pl.DataFrame) -> Any:
    """Pandas, with nullable integers kept whole instead of becoming floats."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, dtype in frame.schema.items():
        values = frame[name].to_list()
        if dtype.is_integer():
            columns[name] = pd.array(values, dtype="Int64")
        elif dtype == pl.Boolean:
            columns[name] = pd.array(values, dtype="boolean")
        elif dtype.is_float():
            # Not-a-number would count as null and pass; infinity is out of every range.
            columns[name] = pd.array(
                [_NAN if v is None else _INFINITY if v != v else v for v in values], dtype="float64"
            )
        else:
            columns[name] = pd.array(values, dtype=object)
    return pd.DataFrame(columns)


def _built(gxe: Any, e: Expectation, frame: pl.DataFrame) -> list[Any]:
    meta = {"name": e.name}
    common = {"severity": e.severity, "meta": meta}
    built: list[Any] = []
    for column in e.columns:
        if e.kind == "unique":
            built.append(gxe.ExpectColumnValuesToBeUnique(column=column, **common))
        elif e.kind == "not_null":
            built.append(gxe.ExpectColumnValuesToNotBeNull(column=column, **common))
        elif e.kind == "in_set":
            built.append(gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(e.values), **common))
        else:
            built.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=column, min_value=e.minimum, max_value=e.maximum, **common
                )
            )
        if _is_unmeasured(e, frame, column):
            # Value expectations skip nulls; a gauge that could not be measured is a failure.
            built.append(gxe.ExpectColumnValuesToNotBeNull(column=column, **common))
    return built


def _is_unmeasured(e: Expectation, frame: pl.DataFrame, column: str) -> bool:
    """Whether a gauge has nulls. The engine is asked about them only where there are some: each question costs 15 ms."""
    is_gauge = e.frame == "gauges" and e.kind != "not_null"
    return is_gauge and column in frame.columns and frame[column].null_count() > 0


def _expected_results(e: Expectation, frame: pl.DataFrame) -> int:
    """How many verdicts `_built` asks for: a check that the engine left out in silence is no pass."""
    return len(e.columns) + sum(_is_unmeasured(e, frame, column) for column in e.columns)


def _stripped(result: Any, key: list[str]) -> dict[str, Any]:
    """Success, culprits by key and whether the engine raised; never a value."""
    details = result.result or {}
    index = details.get("unexpected_index_list") or []
    raised = bool(_raised(result.exception_info))
    return {
        "success": bool(result.success) and not raised,
        "raised": raised,
        "keys": [{k: row[k] for k in key} for row in index],
        "count": int(details.get("unexpected_count") or 0),
    }


def _raised(info: Any) -> bool:
    if not isinstance(info, dict):
        return False
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(isinstance(v, dict) and v.get("raised_exception") for v in info.values())


def _judgement(
    e: Expectation, results: list[dict[str, Any]], rows: pl.DataFrame, gauges: pl.DataFrame, trouble: str
) -> Judgement:
    frame = rows if e.frame == "rows" else gauges
    needed = (*_KEYS[e.frame], *e.columns, *((e.sample,) if e.min_sample else ()))
    absent = [c for c in dict.fromkeys(needed) if c not in frame.columns]
    if absent or len(results) != _expected_results(e, frame) or any(r["raised"] for r in results):
        why = (
            f"the column {', '.join(absent)} is not there"
            if absent
            else f"the check could not be evaluated{trouble}"
        )
        return Judgement(e, False, False, why, (), ())
    failed = [r for r in results if not r["success"]]
    keys = [k for r in failed for k in r["keys"]]
    days = tuple(sorted({str(k["day"]) for k in keys if isinstance(k["day"], str)}))
    if e.frame == "rows":
        ids = tuple(sorted({str(k["record_id"]) for k in keys if isinstance(k["record_id"], str)}))
        count = len({(str(k["record_id"]), str(k["day"])) for k in keys}) or sum(r["count"] for r in failed)
        observed = f"{count} of {frame.height} records" if failed else f"all {frame.height} records"
        return Judgement(e, not failed, False, observed, days, ids[:MAX_NAMED])
    if gauges.height == 0:
        # An empty frame passes every value expectation; no gauge means nothing was looked at.
        return Judgement(e, False, False, "no gauge was measured", (), ())
    judged = gauges.filter(pl.col("day").is_in(days)) if failed and days else gauges
    sampled = judged.filter((pl.col(e.sample) >= e.min_sample).fill_null(True)) if e.min_sample else judged
    below = bool(failed) and e.min_sample > 0 and sampled.height == 0 and not _has_null(judged, e.columns)
    ids = _ids(judged, e) if failed else ()
    culprits = _culprits(judged, e) if failed else ()
    return Judgement(e, not failed, below, _observed(judged, e), days if failed else (), ids, culprits)


def _has_null(gauges: pl.DataFrame, columns: tuple[str, ...]) -> bool:
    return any(gauges[c].null_count() > 0 for c in columns)


def _observed(gauges: pl.DataFrame, e: Expectation) -> str:
    """The range of the gauge over the days that failed, or over all where none did."""
    words = []
    for column in e.columns:
        values = gauges[column].drop_nulls()
        if len(values) < gauges.height:
            words.append(f"{column} not measured on {gauges.height - len(values)} days")
        if len(values):
            low, high = values.min(), values.max()
            words.append(_number(low) if low == high else f"{_number(low)} to {_number(high)}")
    return ", ".join(words) or "not measured"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _culprits(gauges: pl.DataFrame, e: Expectation) -> tuple[str, ...]:
    names: list[str] = []
    for column in e.columns:
        if f"{column}_culprit" in gauges.columns:
            names += [str(v) for v in gauges[f"{column}_culprit"].drop_nulls().unique().sort()]
    return tuple(dict.fromkeys(names))[:MAX_NAMED]


def _ids(gauges: pl.DataFrame, e: Expectation) -> tuple[str, ...]:
    lists = [
        gauges[f"{c}_record_ids"].explode().drop_nulls().to_list()
        for c in e.columns
        if f"{c}_record_ids" in gauges.columns
    ]
    return tuple(sorted({str(v) for values in lists for v in values}))[:MAX_NAMED]


def observed_json(judgement: Judgement) -> str:
    """What is stored and shown in Dagster: observed value, limits, days, ids; no text of a record."""
    e = judgement.expectation
    return json.dumps(
        {
            "observed": judgement.observed,
            "limit": _limit_words(e),
            "culprits": list(judgement.culprits),
            "record_ids": list(judgement.record_ids),
            "is_below_sample": judgement.is_below_sample,
        },
        sort_keys=True,
    )
