"""release: what is released, what is withheld, and the rows of each format.

Lives here: frames in, frames and rows out. Keep out: writing files (`storage.releases`), the
card's words (`card`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, RELEASE, Split, Step
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms.card import PairFacts
from dataset_pipeline.transforms.comparing import TEXT_SHA, text_sha

ORIGIN = ["record_id", "source", "source_id", "day", "uri", "line"]
"""Where a record is from: the first columns of provenance and of dropped."""


def with_system_prompt(messages: list[dict[str, str]], system_prompt: str | None) -> list[dict[str, str]]:
    """The turns with the task's system prompt in front, unless the record has its own."""
    if system_prompt is None or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system_prompt}, *messages]


def _sides(messages: list[dict[str, str]]) -> tuple[str | None, str, str]:
    """system, prompt, answer of a single exchange."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    spoken = [m for m in messages if m["role"] != "system"]
    return system, "\n\n".join(m["content"] for m in spoken[:-1]), spoken[-1]["content"]


def chat_row(messages: list[dict[str, str]], task: Task) -> dict[str, Any]:
    """OpenAI's fine-tuning form: {"messages": [{"role", "content"}, …]}."""
    return {"messages": with_system_prompt(messages, task.system_prompt)}


def alpaca_row(messages: list[dict[str, str]], task: Task) -> dict[str, Any]:
    """{"instruction", "input", "output"}; for classification the instruction is the task's own."""
    system, prompt, answer = _sides(messages)
    if task.answers_are_labels:
        return {"instruction": task.system_prompt or task.behavior, "input": prompt, "output": answer}
    row = {"instruction": prompt, "input": "", "output": answer}
    system = system or task.system_prompt
    return row | ({"system": system} if system else {})


def completion_row(messages: list[dict[str, str]], task: Task) -> dict[str, Any]:
    """{"prompt", "completion"}; a system prompt stands before the prompt."""
    system, prompt, answer = _sides(messages)
    system = system or task.system_prompt
    return {"prompt": f"{system}\n\n{prompt}" if system else prompt, "completion": answer}


JSONL_FORMATS = {"chat": chat_row, "alpaca": alpaca_row, "completion": completion_row}
"""Format to the function that makes one row of it. To add a format, add a function here."""

PREFERENCE = "preference"
"""The format of preference pairs, which are more than messages: `preference_row`."""


def preference_row(
    messages: list[dict[str, str]], prompt_turns: int, rejected: list[dict[str, str]], task: Task
) -> dict[str, list[dict[str, str]]]:
    """TRL's conversational form with an explicit prompt: {"prompt", "chosen", "rejected"}, each a list of messages.

    The task's system prompt begins the prompt, unless the record has its own.
    """
    prompt = with_system_prompt(messages[:prompt_turns], task.system_prompt)
    return {"prompt": prompt, "chosen": messages[prompt_turns:], "rejected": rejected}


def _preference_rows(part: pl.DataFrame, task: Task) -> list[dict[str, list[dict[str, str]]]]:
    pairs = part.select("messages", "prompt_turns", "rejected").iter_rows()
    return [preference_row(messages, shared, rejected, task) for messages, shared, rejected in pairs]


def jsonl_rows(released: pl.DataFrame, split: Split, name: str, task: Task) -> Iterator[bytes]:
    """The lines of one split in one format, in record_id order, each with its newline.

    released: split and messages; for `preference` also prompt_turns and rejected (cleaned).
    """
    part = released.filter(pl.col("split") == split.value)
    if name == PREFERENCE:
        for slice_ in part.select("messages", "prompt_turns", "rejected").iter_slices(_ROWS_AT_ONCE):
            for row in _preference_rows(slice_, task):
                yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        return
    shape = JSONL_FORMATS[name]
    for messages in part["messages"].to_list():
        yield orjson.dumps(shape(messages, task), option=orjson.OPT_APPEND_NEWLINE)


_ROWS_AT_ONCE = 10_000
"""Pairs that are Python lists at one time."""


def parquet_rows(released: pl.DataFrame, split: Split, task: Task) -> pl.DataFrame:
    """record_id, messages (with the system prompt), label, source, day; one schema in every split.

    Of preference pairs record_id, prompt (with the system prompt), chosen, rejected, source, day.
    """
    part = released.filter(pl.col("split") == split.value)
    if task.type == PREFERENCE:
        rows = _preference_rows(part, task)
        return part.select(
            "record_id",
            *(
                pl.Series(side, [row[side] for row in rows], dtype=MESSAGES)
                for side in ("prompt", "chosen", "rejected")
            ),
            "source",
            pl.col("day").dt.to_string("%Y-%m-%d"),
        )
    messages = [with_system_prompt(turns, task.system_prompt) for turns in part["messages"].to_list()]
    return part.select(
        "record_id",
        pl.Series("messages", messages, dtype=MESSAGES),
        "label",
        "source",
        pl.col("day").dt.to_string("%Y-%m-%d"),
    )


def pair_facts(measured: pl.DataFrame) -> PairFacts | None:
    """What the card says of preference pairs; None where there are none.

    measured: answer_chars, rejected_chars and sides_similarity (TABLES['filter']) of the released records.
    """
    pairs = measured.filter(pl.col("rejected_chars").is_not_null())
    if pairs.height == 0:
        return None
    chosen, rejected = pl.col("answer_chars"), pl.col("rejected_chars")
    longer = ((chosen > rejected).cast(pl.Float64) + (chosen == rejected).cast(pl.Float64) / 2).mean()
    similarity = pl.col("sides_similarity")
    row = pairs.select(
        pairs=pl.len(),
        chosen_longer=longer,
        chosen_chars=chosen.median(),
        rejected_chars=rejected.median(),
        similarity=similarity.median(),
        similarity_high=similarity.quantile(0.95, "nearest"),
    ).row(0, named=True)
    return PairFacts(**row)


def with_row_numbers(released: pl.DataFrame) -> pl.DataFrame:
    """Adds row: the 0-based line of a record in its split's files."""
    return released.sort("record_id").with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("split"))


def provenance(
    released: pl.DataFrame, tables: Mapping[str, pl.DataFrame], batches: pl.DataFrame
) -> pl.DataFrame:
    """One row per released record: origin, rights, split, row, and what each step measured.

    tables: the daily tables. Measured columns carry their step as a prefix (`filter_prompt_words`);
    texts, keys, bands and verdicts stay out.
    """
    origin = (
        tables[Step.INGEST]
        .select(*ORIGIN, "label", "created_at", "content_sha")
        .rename({"label": "collected_label"})
    )
    rights = batches.select("source", "day", "uri", "license", "holder", "uses").unique(
        ["source", "day", "uri"], keep="any"
    )
    frame = (
        released.with_columns(text_sha(released))
        .select("record_id", "split", "row", "label", TEXT_SHA)
        .join(origin, on="record_id", how="left")
        .join(rights, on=["source", "day", "uri"], how="left")
        .with_columns(uses=pl.col("uses").list.sort().list.join(","))
    )
    for step in DAILY_STEPS[1:]:
        table = tables[step]
        measured = [c for c in table.columns if c not in _NOT_MEASURED]
        renamed = table.select("record_id", *(pl.col(c).alias(f"{step}_{c}") for c in measured))
        frame = frame.join(renamed, on="record_id", how="left")
    names = ["record_id", "split", "row", *ORIGIN[1:], "license", "holder", "uses", "label"]
    return frame.select(*names, *(c for c in frame.columns if c not in names)).sort("record_id")


_NOT_MEASURED = frozenset(
    {"record_id", "day", "messages", "rejected", "kept", "reason", "detail", "bands", "comparison_key", "prompt_key", "answer_key",
     "clean_sha", "label", "split", "twin", "similarity", "content_sha"}
)  # fmt: skip


def dropped(tables: Mapping[str, pl.DataFrame], withheld: pl.DataFrame) -> pl.DataFrame:
    """One row per collected record that is not released: origin, step, reason, detail; no text."""
    verdicts = [
        tables[step]
        .filter(~pl.col("kept"))
        .select("record_id", pl.lit(str(step)).alias("step"), "reason", "detail")
        for step in DAILY_STEPS
    ]
    held = withheld.select("record_id", pl.lit(RELEASE).alias("step"), "reason", "detail")
    origin = tables[Step.INGEST].select(ORIGIN)
    return (
        pl.concat([*verdicts, held])
        .join(origin, on="record_id", how="left")
        .select(*ORIGIN, "step", "reason", "detail")
        .sort("record_id")
    )
