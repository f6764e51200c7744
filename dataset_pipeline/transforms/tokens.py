"""tokens: how long released records are for a trainer, what would be cut, and what an epoch costs.

Lives here: measuring with a counter that is handed in, or by an estimate, and summing up. Keep out: loading a
tokenizer (`storage.tokenizers`), judging (`expectations.release`).

**The estimate**, where no tokenizer is named. A text has as many tokens as filter's signal `tokens` says: each letter of
a script without spaces is one, the other characters are divided by chars_per_token and rounded up. A message has
MESSAGE_TOKENS more, and a prompt REPLY_TOKENS: the chat format's own, as OpenAI's cookbook counts them for fine-tuning
(Chat_finetuning_data_prep.ipynb, num_tokens_from_messages).

**What is cut** is the end of a record: TRL's SFTConfig keeps the start (truncation_mode keep_start, the only one that is
not deprecated in its 1.x). So of an answer what stands beyond training.max_length is not learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from dataset_pipeline.records import Split
from dataset_pipeline.spec.models import Task, Training
from dataset_pipeline.text import is_answered
from dataset_pipeline.transforms.formats import system_prompt_of, with_system_prompt
from dataset_pipeline.transforms.signals import UNSPACED_LETTER, unescaped

TOKENS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "tokens": pl.Int32,
    "prompt_tokens": pl.Int32,
    "answer_tokens": pl.Int32,
    "rejected_tokens": pl.Int32,
    "cut_tokens": pl.Int32,
    "supervised_tokens": pl.Int32,
    "has_end": pl.Boolean,
}
"""What is measured of a released record.

tokens: the whole record as a trainer reads it, with the template's own; of a preference pair its longer side.
prompt_tokens: what stands before the answer, the opening of the answer's turn included. answer_tokens: what is learned;
of a pair the chosen answer. rejected_tokens: the worse answer of a pair; null otherwise. cut_tokens: how many of
`tokens` lie beyond training.max_length; null without one. supervised_tokens: answer_tokens that are not cut; all of
them without a max_length. has_end: whether an end-of-turn or end-of-text token follows the answer (both answers of a
pair); null without a tokenizer or without a chat template."""


@dataclass(frozen=True)
class TokenFacts:
    """The tokens of a release in numbers. Both sides of a preference pair count, each with the prompt."""

    counted_by: str
    """`an estimate of 4 characters a token` or `the tokenizer models/small`."""
    by_split: Mapping[str, int]
    """Split to its tokens, nothing cut; splits without records are 0."""
    median: int
    """Of a record; the lower of two in the middle. 0 without records, as p95 and longest."""
    p95: int
    """95 of 100 records are no longer than this (nearest rank)."""
    longest: int
    max_length: int | None
    over_length: int
    """Records that are longer than max_length."""
    cut: int
    """Tokens that would be cut."""
    unsupervised: int
    """Records of which nothing is left to learn."""
    without_end: int | None
    """Records whose answer is not followed by an end token; None without a tokenizer or a chat template."""
    epochs: int
    train_tokens: int
    """Tokens of one epoch over train: what is cut is neither read nor paid for."""
    cost: float | None
    """Of all epochs, in `currency`; None where the spec gives no price."""
    currency: str | None


Turns = list[dict[str, str]]


class Counter(Protocol):
    """Counts the tokens of conversations. `storage.tokenizers` has them."""

    def count(
        self, prompts: Sequence[Turns], answers: Sequence[Turns], record_ids: Sequence[str]
    ) -> list[tuple[int, int, bool | None]]:
        """prompt_tokens, answer_tokens and has_end of each record, as TOKENS has them.

        record_ids name the culprit of an error. Raises SpecError where a conversation cannot be rendered.
        """
        ...


MESSAGE_TOKENS = 4
"""Of each message beside its text: three, and one for the word of its role."""
REPLY_TOKENS = 3
"""What primes the reply. They count to the prompt."""

_ROWS_AT_ONCE = 10_000
"""Records that are Python lists at one time."""


def estimated_tokens(texts: pl.Series, chars_per_token: float) -> pl.Series:
    """The estimate of the tokens of each text (Int32), as filter's signal `tokens` has it; null stays null."""
    frame = pl.DataFrame({"raw": texts, "shown": unescaped(texts)})
    wide = pl.col("shown").str.count_matches(rf"{UNSPACED_LETTER}|\p{{Hangul}}").cast(pl.Int64)
    spaced = (pl.col("raw").str.len_chars().cast(pl.Int64) - wide) / chars_per_token
    return frame.select((wide + spaced.ceil()).cast(pl.Int32).alias("tokens")).to_series()


def counted_by(training: Training, chars_per_token: float) -> str:
    """How tokens are counted, in words for people."""
    if training.tokenizer is None:
        return f"an estimate of {chars_per_token:g} characters a token"
    template = f" with the chat template {training.chat_template}" if training.chat_template else ""
    return f"the tokenizer {training.tokenizer}{template}"


def measure(
    released: pl.DataFrame, task: Task, training: Training, chars_per_token: float, counter: Counter | None
) -> pl.DataFrame:
    """The tokens of every released record: TOKENS, sorted by record_id.

    released: record_id, messages, prompt_turns, rejected (cleaned), in any order. The task's system prompt is put in
    front of a record that has none. Without a counter: the estimate. Raises SpecError as the counter does.
    """
    system_prompt = system_prompt_of(task)
    ordered = released.select("record_id", "messages", "prompt_turns", "rejected").sort("record_id")
    if counter is None:
        counted = _estimated(ordered, system_prompt, chars_per_token)
    else:
        counted = pl.concat(
            [_counted(part, system_prompt, counter) for part in ordered.iter_slices(_ROWS_AT_ONCE)]
            or [_counted(ordered, system_prompt, counter)]
        )
    answer = pl.max_horizontal("answer_tokens", "rejected_tokens")  # null is no number: it is passed over
    counted = counted.with_columns(tokens=pl.col("prompt_tokens") + answer)
    longest = pl.lit(training.max_length, dtype=pl.Int64)
    if training.max_length is None:
        cut, supervised = longest, pl.col("answer_tokens")
    else:
        cut = pl.max_horizontal(pl.col("tokens") - longest, 0)
        supervised = pl.min_horizontal(
            "answer_tokens", pl.max_horizontal(longest - pl.col("prompt_tokens"), 0)
        )
    return counted.with_columns(cut_tokens=cut, supervised_tokens=supervised).select(
        pl.col(name).cast(dtype) for name, dtype in TOKENS.items()
    )


def _prompt_turns() -> pl.Expr:
    """How many messages are the prompt: what a pair shares, else all but the final assistant message."""
    before = pl.col("messages").list.len().cast(pl.Int64) - is_answered().cast(pl.Int64)
    return pl.coalesce(pl.col("prompt_turns").cast(pl.Int64), before)


def _estimated(records: pl.DataFrame, system_prompt: str | None, chars_per_token: float) -> pl.DataFrame:
    """record_id, prompt_tokens, answer_tokens, rejected_tokens, has_end by the estimate."""
    sides = records.with_columns(shared=_prompt_turns(), own=_has_system_prompt())
    first = pl.col("messages").list
    split = sides.select(
        "record_id",
        "own",
        prompt=first.head(pl.col("shared")),
        answer=first.slice(pl.col("shared")),
        rejected="rejected",
    )
    in_front = 0
    if system_prompt is not None:
        in_front = MESSAGE_TOKENS + estimated_tokens(pl.Series([system_prompt]), chars_per_token).item()
    counts = {side: _said_tokens(split, side, chars_per_token) for side in ("prompt", "answer", "rejected")}
    front = pl.when("own").then(0).otherwise(in_front)
    return split.with_columns(
        prompt_tokens=counts["prompt"] + split.select(front.alias("front")).to_series() + REPLY_TOKENS,
        answer_tokens=counts["answer"],
        rejected_tokens=counts["rejected"],
        has_end=pl.lit(None, pl.Boolean),
    ).select("record_id", "prompt_tokens", "answer_tokens", "rejected_tokens", "has_end")


def _has_system_prompt() -> pl.Expr:
    return (pl.col("messages").list.first().struct.field("role") == "system").fill_null(False)


def _said_tokens(split: pl.DataFrame, side: str, chars_per_token: float) -> pl.Series:
    """The tokens of the messages of each list of a side (Int64), by the estimate; null where there is no list."""
    rows = split.select(side).with_row_index("row")
    said = rows.filter(pl.col(side).list.len() > 0).explode(side)
    texts = said[side].struct.field("content")
    estimated = said.select("row").with_columns(n=estimated_tokens(texts, chars_per_token) + MESSAGE_TOKENS)
    sums = estimated.group_by("row").agg(pl.col("n").cast(pl.Int64).sum())
    joined = rows.join(sums, on="row", how="left", maintain_order="left")
    return joined.select(pl.when(pl.col(side).is_not_null()).then(pl.col("n").fill_null(0))).to_series()


_COUNTED = {
    "record_id": pl.String,
    "prompt_tokens": pl.Int64,
    "answer_tokens": pl.Int64,
    "rejected_tokens": pl.Int64,
    "has_end": pl.Boolean,
}


def _counted(records: pl.DataFrame, system_prompt: str | None, counter: Counter) -> pl.DataFrame:
    """record_id, prompt_tokens, answer_tokens, rejected_tokens, has_end by the counter."""
    prompts: list[Turns] = []
    answers: list[Turns] = []
    pairs: list[int] = []
    rejected: list[Turns] = []
    ids = records["record_id"].to_list()
    columns = records.select("messages", _prompt_turns().alias("shared"), "rejected")
    for n, (messages, shared, other) in enumerate(columns.iter_rows()):
        prompts.append(with_system_prompt(messages[:shared], system_prompt))
        answers.append(messages[shared:])
        if other is not None:
            pairs.append(n)
            rejected.append(other)
    rows: list[list[Any]] = [
        [record_id, prompt, answer, None, has_end]
        for record_id, (prompt, answer, has_end) in zip(
            ids, counter.count(prompts, answers, ids), strict=True
        )
    ]
    others = counter.count([prompts[n] for n in pairs], rejected, [ids[n] for n in pairs])
    for n, (_, answer, has_end) in zip(pairs, others, strict=True):
        rows[n][3] = answer
        rows[n][4] = None if has_end is None else rows[n][4] and has_end
    return pl.DataFrame(rows, schema=_COUNTED, orient="row")


def facts(tokens: pl.DataFrame, released: pl.DataFrame, training: Training, counted_by: str) -> TokenFacts:
    """The numbers of a release. tokens: TOKENS; released: record_id and split; counted_by: `counted_by(…)`."""
    both = tokens.join(released.select("record_id", "split"), on="record_id", how="left").sort("record_id")
    sides = [
        pl.col("prompt_tokens").cast(pl.Int64) + pl.col(f"{side}_tokens") for side in ("answer", "rejected")
    ]
    kept = sides
    if training.max_length is not None:
        kept = [
            pl.when(side > training.max_length).then(training.max_length).otherwise(side) for side in sides
        ]
    # A record that is no pair has no other side: null, which a sum passes over.
    whole, read = pl.sum_horizontal(sides), pl.sum_horizontal(kept)
    sums = dict(both.group_by("split").agg(whole.sum()).iter_rows())
    train_tokens = int(both.filter(pl.col("split") == Split.TRAIN.value).select(read.sum()).item() or 0)
    lengths, price = tokens["tokens"], training.price
    cost = None
    if price is not None:
        cost = round(train_tokens * training.epochs * price.per_million_tokens / 1_000_000, 6)
    return TokenFacts(
        counted_by=counted_by,
        by_split={split.value: int(sums.get(split.value, 0)) for split in Split},
        median=int(lengths.quantile(0.5, "lower") or 0),
        p95=int(lengths.quantile(0.95, "nearest") or 0),
        longest=int(tokens.select(pl.col("tokens").max()).item() or 0),
        max_length=training.max_length,
        over_length=tokens.filter(pl.col("cut_tokens") > 0).height,
        cut=int(tokens["cut_tokens"].cast(pl.Int64).sum()),
        unsupervised=tokens.filter(pl.col("supervised_tokens") == 0).height,
        without_end=None
        if tokens["has_end"].null_count() == tokens.height
        else tokens.filter(pl.col("has_end").not_()).height,
        epochs=training.epochs,
        train_tokens=train_tokens,
        cost=cost,
        currency=price.currency if price is not None else None,
    )
