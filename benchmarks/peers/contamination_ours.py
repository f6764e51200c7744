"""Ours: `decontaminate` on a frame of records, the protected texts handed in as they are; its index is built in the time."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import common
import polars as pl

from dataset_pipeline.records import MESSAGES, PROTECTED, TABLES
from dataset_pipeline.spec.models import Decontaminate
from dataset_pipeline.spec.params import DecontaminateParams
from dataset_pipeline.transforms.decontaminate import decontaminate

DAY = dt.date(2026, 10, 1)
KINDS = {"contaminated": "contaminated", "suspect": "suspect", "in_review": "suspect"}


def records(path: str) -> pl.DataFrame:
    turns = []
    with Path(path).open(encoding="utf-8", newline="\n") as lines:
        for row in map(json.loads, lines):
            named = (("user", row["prompt"]), ("assistant", row["answer"]))
            turns.append([{"role": role, "content": content} for role, content in named if content])
    frame = pl.DataFrame({"messages": turns}, schema={"messages": MESSAGES})
    return frame.with_row_index("number").select(
        record_id=pl.col("number").cast(pl.String).str.zfill(8),
        day=pl.lit(DAY),
        messages="messages",
        collected_messages="messages",
    )


def work(task: dict[str, Any], watch: common.Watch) -> dict[str, Any]:
    corpus = records(task["texts"])
    columns = ("set", "item", "text", "answer")
    items = pl.read_ndjson(task["items"], schema=dict.fromkeys(columns, pl.String))
    protected = items.select(eval_set="set", eval_item="item", text="text", label="answer").select(
        TABLES[PROTECTED].keys()
    )
    # By name, so that settings which come in later are the defaults of a spec here too.
    defaults = Decontaminate()
    shared = DecontaminateParams.model_fields.keys() & Decontaminate.model_fields.keys()
    own = {name: getattr(defaults, name) for name in shared}
    if task["copies_only"]:
        own["paraphrase"] = None
    params = DecontaminateParams(answers_are_labels=False, **own)
    with watch:
        table = decontaminate(corpus, protected, params)
    marked = table.filter(pl.col("reason").is_not_null())
    items_named = [json.loads(detail)["item"] for detail in marked["detail"]]
    verdicts = [
        (int(name), KINDS[reason], item)
        for name, reason, item in zip(marked["record_id"], marked["reason"], items_named, strict=True)
    ]
    return {"verdicts": verdicts}


if __name__ == "__main__":
    common.run(work)
