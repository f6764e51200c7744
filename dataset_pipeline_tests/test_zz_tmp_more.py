"""Properties that every step's pure function shares, on small frames drawn by Hypothesis.

Lives here: conservation, row order, and days made one by one against one range, for all steps alike. Keep
out: what a single step decides (its own tests), whole runs (`test_properties`).
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.records import MESSAGES, PROTECTED, REASONS, RECORDS, TABLES, Step, sha256_text
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import params_of
from dataset_pipeline.transforms import dedup, split
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.filter import filter_records
from dataset_pipeline.transforms.label import label_records
from dataset_pipeline.transforms.normalize import normalize

DAYS = [dt.date(2026, 3, n) for n in (2, 3, 4)]
_STEM = "the export of the yearly invoice list stops at page {} and shows an empty sheet on my old tablet"
TEXTS = (
    _STEM.format("four"), _STEM.format("FOUR!"), _STEM.format("four") + " today", _STEM.format("nine"), "ok", "…", "",
    "Please write to jo@example.com about it", "Please write to al@example.org about it", "Ist das ein Satz auf Deutsch, den jemand sucht?",
)  # fmt: skip
"""Equal, nearly equal, near, far, too short, no word at all, equal once cleaned, foreign."""


def _params(task_type: str) -> dict[str, Any]:
    task: dict[str, Any] = {"behavior": "b", "type": task_type}
    if task_type == "classification":
        task["labels"] = ("bug", "wish")
    rights = {"license": "MIT", "holder": "h", "basis": "b", "uses": ("train",)}
    source = {
        "name": "s",
        "kind": "first_party",
        "path": "s/{date}.jsonl",
        "rights": rights,
        "fields": {"input": "t", "output": "l"},
    }
    ratios = {"train": 0.4, "validation": 0.3, "test": 0.3}
    return params_of(
        Spec.model_validate(
            {
                "name": "n",
                "task": task,
                "sources": (source,),
                "split": {"ratios": ratios},
                "normalize": {"languages": ("en",)},
            }
        )
    )


PARAMS = {kind: _params(kind) for kind in ("classification", "instruction")}

drawn_rows = st.lists(
    st.tuples(
        st.sampled_from(DAYS), st.integers(1, 2), st.sampled_from(TEXTS), st.sampled_from(["bug", "Wish", "other", None]),
        st.sampled_from([None, "g1", "g2", "g3"]), st.booleans(),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


def records_of(rows: list[tuple[Any, ...]], kind: str) -> pl.DataFrame:
    """RECORDS with collected_messages, one per drawn row; ids depend on content, not on place."""
    made, seen = [], dict[str, int]()
    for day, rank, text, label, group, may_evaluate in rows:
        key = sha256_text(str((day, rank, text, label, group, may_evaluate)))
        seen[key] = seen.get(key, 0) + 1
        answer = label if kind == "classification" else label or "nothing"
        messages = [
            {"role": "user", "content": text},
            *([{"role": "assistant", "content": answer}] if answer else []),
        ]
        made.append(
            {
                "record_id": sha256_text(key, str(seen[key]))[:32], "day": day, "source": f"s{rank}", "source_rank": rank,
                "messages": messages, "label": label if kind == "classification" else None, "group": group, "person_names": ["Jo"],
                "may_evaluate": may_evaluate, "content_sha": key, "collected_messages": messages,
            }
        )  # fmt: skip
    return pl.DataFrame(made, schema=RECORDS | {"collected_messages": MESSAGES})


def _dedup(records: pl.DataFrame, kind: str) -> pl.DataFrame:
    return dedup.dedup_all(records, PARAMS[kind][Step.DEDUP])


def _label(records: pl.DataFrame, kind: str, history: pl.DataFrame | None = None) -> pl.DataFrame:
    nothing = pl.DataFrame(schema={"prompt_key": pl.String, "answer_key": pl.String})
    return label_records(records, nothing if history is None else history, PARAMS[kind][Step.LABEL])


def _split(records: pl.DataFrame, kind: str) -> pl.DataFrame:
    return split.split_all(records, PARAMS[kind][Step.SPLIT])


def _decontaminate(records: pl.DataFrame, kind: str) -> pl.DataFrame:
    items = [
        ("set", "a", _STEM.format("nine"), None),
        ("set", "b", "Please write to jo@example.com about it", None),
    ]
    protected = pl.DataFrame(items, schema=TABLES[PROTECTED], orient="row")
    return decontaminate(records, protected, PARAMS[kind][Step.DECONTAMINATE])


STEPS: dict[Step, Callable[[pl.DataFrame, str], pl.DataFrame]] = {
    Step.DEDUP: _dedup,
    Step.FILTER: lambda records, kind: filter_records(records, PARAMS[kind][Step.FILTER]),
    Step.NORMALIZE: lambda records, kind: normalize(records, PARAMS[kind][Step.NORMALIZE]),
    Step.DECONTAMINATE: _decontaminate,
    Step.LABEL: _label,
    Step.SPLIT: _split,
}

drawn = settings(max_examples=600, deadline=None, derandomize=False, database=None)


@pytest.mark.parametrize("kind", PARAMS)
@pytest.mark.parametrize("step", STEPS)
@drawn
@given(rows=drawn_rows, seed=st.integers(0, 9))
def test_step_gives_every_record_one_verdict_whatever_the_row_order(
    step: Step, kind: str, rows: list[tuple[Any, ...]], seed: int
) -> None:
    records = records_of(rows, kind)
    table = STEPS[step](records, kind)
    assert table.schema == TABLES[step]
    assert sorted(table.select("record_id", "day").rows()) == sorted(
        records.select("record_id", "day").rows()
    )
    assert set(table["reason"].drop_nulls()) <= REASONS[step]
    for kept, reason, detail in table.select("kept", "reason", "detail").iter_rows():
        assert kept is (reason is None) is (detail is None)
        assert detail is None or "rule" in json.loads(detail)
    shuffled = records.sample(fraction=1.0, shuffle=True, seed=seed)
    assert STEPS[step](shuffled, kind).sort("record_id").equals(table.sort("record_id"))


def _dedup_by_day(parts: list[pl.DataFrame], kind: str, everything: pl.DataFrame) -> pl.DataFrame:
    params, history, done = PARAMS[kind][Step.DEDUP], pl.DataFrame(schema=dedup.FINGERPRINT), []
    for part in parts:
        prints = dedup.fingerprint(part, params)
        pairs = dedup.candidates(prints, history, params).pairs
        done.append(
            dedup.dedup(part, prints, history, pairs, everything.select("record_id", "messages"), params)
        )
        history = pl.concat([history, prints.join(done[-1].filter("kept"), on="record_id", how="semi")])
    return pl.concat(done)


def _split_by_day(parts: list[pl.DataFrame], kind: str, everything: pl.DataFrame) -> pl.DataFrame:
    params, history, done = PARAMS[kind][Step.SPLIT], pl.DataFrame(schema=split.FINGERPRINT), []
    for part in parts:
        prints = split.fingerprint(part, params)
        pairs = split.candidates(prints, history, params)
        done.append(
            split.split_records(
                part, prints, history, pairs, everything.select("record_id", "messages"), params
            )
        )
        history = pl.concat([history, prints.join(done[-1].filter("kept"), on="record_id", how="semi")])
    return pl.concat(done)


def _label_by_day(parts: list[pl.DataFrame], kind: str, everything: pl.DataFrame) -> pl.DataFrame:
    done: list[pl.DataFrame] = []
    for part in parts:
        history = (
            pl.concat([d.filter("kept").select("prompt_key", "answer_key") for d in done]) if done else None
        )
        done.append(_label(part, kind, history))
    return pl.concat(done)


BY_DAY = {Step.DEDUP: _dedup_by_day, Step.LABEL: _label_by_day, Step.SPLIT: _split_by_day}


@pytest.mark.parametrize("kind", PARAMS)
@pytest.mark.parametrize("step", BY_DAY)
@drawn
@given(rows=drawn_rows, order=st.randoms(use_true_random=False))
def test_look_back_step_day_by_day_gives_what_one_range_gives(
    step: Step, kind: str, rows: list[tuple[Any, ...]], order: random.Random
) -> None:
    records = records_of(rows, kind)
    parts = [records.filter(pl.col("day") == day) for day in DAYS]
    if order.random() < 0.5:
        parts = [parts[0], pl.concat(parts[1:])]
    one = STEPS[step](records, kind)
    assert BY_DAY[step](parts, kind, records).sort("record_id").equals(one.sort("record_id"))
