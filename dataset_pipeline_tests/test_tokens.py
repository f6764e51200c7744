"""The tokens of released records: the estimate, what is cut, what an epoch costs.

Keep out: tokenizers and chat templates (`test_tokenizers`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Price, Spec, Task, Training
from dataset_pipeline.spec.params import FilterParams, params_of
from dataset_pipeline.transforms.signals import side_signals
from dataset_pipeline.transforms.tokens import (
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    TOKENS,
    Turns,
    counted_by,
    estimated_tokens,
    facts,
    measure,
)

TASK = Task(behavior="Answer.", type="chat")
KIND = Task(behavior="Answer.", type="chat", system_prompt="Be kind.")
NONE = Training()


def turns(*texts: str, first: str = "user") -> Turns:
    """Turns that alternate, from `first` on."""
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def records(*rows: tuple[str, Turns] | tuple[str, Turns, int, Turns], split: str = "train") -> pl.DataFrame:
    """record_id, messages and, of pairs, how many turns both sides share and the worse side."""
    return pl.DataFrame(
        [
            {"record_id": row[0], "messages": row[1], "split": split}
            | ({"prompt_turns": row[2], "rejected": row[3]} if len(row) == 4 else {})
            for row in rows
        ],
        schema={"record_id": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES,
                "split": pl.String},
    )  # fmt: skip


def spec(task: Task = TASK, training: Training = NONE) -> Spec:
    """A whole spec of one source."""
    source = {
        "name": "chats", "kind": "first_party", "path": "sources/{date}.jsonl", "layout": "chat",
        "rights": {"license": "MIT", "holder": "Us", "basis": "own", "uses": ["train"]},
    }  # fmt: skip
    whole = Spec.model_validate_json(
        json.dumps({"name": "small", "task": {"behavior": "Answer.", "type": "chat"}, "sources": [source]})
    )
    return whole.model_copy(update={"task": task, "training": training})


class Letters:
    """A counter to check by eye: one token a character, and an end where the answer ends with a full stop."""

    def count(
        self, prompts: Sequence[Turns], answers: Sequence[Turns], record_ids: Sequence[str]
    ) -> list[tuple[int, int, bool | None]]:
        def said(side: Turns) -> str:
            return "".join(turn["content"] for turn in side)

        return [
            (len(said(p)), len(said(a)), said(a).endswith(".")) for p, a in zip(prompts, answers, strict=True)
        ]


# --- the estimate --------------------------------------------------------------------------


def test_estimate_counts_four_characters_a_token_and_the_formats_own() -> None:
    frame = measure(records(("a", turns("12345678", "123"))), TASK, NONE, 4.0, None)
    assert dict(frame.schema) == TOKENS
    [row] = frame.rows(named=True)
    assert row["prompt_tokens"] == 2 + MESSAGE_TOKENS + REPLY_TOKENS
    assert row["answer_tokens"] == 1 + MESSAGE_TOKENS
    assert row["tokens"] == row["prompt_tokens"] + row["answer_tokens"] == 14
    assert row["rejected_tokens"] is None
    assert row["cut_tokens"] is None
    assert row["supervised_tokens"] == row["answer_tokens"]
    assert row["has_end"] is None


def test_estimate_of_several_turns_counts_each_message() -> None:
    frame = measure(records(("a", turns("1234", "1234", "12345", "12345678"))), TASK, NONE, 4.0, None)
    assert frame.select("prompt_tokens", "answer_tokens").row(0) == (
        1 + 1 + 2 + 3 * MESSAGE_TOKENS + REPLY_TOKENS,
        2 + MESSAGE_TOKENS,
    )


def test_estimate_system_prompt_of_the_task_stands_before_records_without_their_own() -> None:
    own = [{"role": "system", "content": "1234"}, *turns("1234", "1234")]
    rows = records(("a", turns("1234", "1234")), ("b", own))
    without = measure(rows, TASK, NONE, 4.0, None)["prompt_tokens"].to_list()
    with_prompt = measure(rows, KIND, NONE, 4.0, None)["prompt_tokens"].to_list()
    assert with_prompt == [without[0] + 2 + MESSAGE_TOKENS, without[1]]
    blank = TASK.model_copy(update={"system_prompt": "  "})
    assert measure(rows, blank, NONE, 4.0, None)["prompt_tokens"].to_list() == without


@pytest.mark.parametrize(
    "text",
    ["", "word", "two words", "日本語", "mixed 日本 text", "안녕하세요 you", "👍🏽👍🏽👍🏽", "a &amp; b &#26085;&#26412;", "שלום", "x" * 1001],
)  # fmt: skip
@pytest.mark.parametrize("chars_per_token", [4.0, 3.3])
def test_estimate_agrees_with_what_filter_measures(text: str, chars_per_token: float) -> None:
    params = params_of(spec())["filter"].model_copy(update={"chars_per_token": chars_per_token})
    assert isinstance(params, FilterParams)
    texts = pl.Series([text, None], dtype=pl.String)
    expected = side_signals(texts, params)["tokens"].to_list()
    assert estimated_tokens(texts, chars_per_token).to_list() == expected


def test_estimate_of_a_pair_is_the_longer_side() -> None:
    pair = ("a", turns("1234", "1234"), 1, turns("x" * 40, first="assistant"))
    [row] = measure(records(pair), TASK, NONE, 4.0, None).rows(named=True)
    assert (row["answer_tokens"], row["rejected_tokens"]) == (1 + MESSAGE_TOKENS, 10 + MESSAGE_TOKENS)
    assert row["tokens"] == row["prompt_tokens"] + row["rejected_tokens"]


def test_estimate_of_a_million_characters_is_quick_and_whole() -> None:
    frame = measure(records(("a", turns("x" * 1_000_000, "日" * 1000))), TASK, NONE, 4.0, None)
    assert frame.select("prompt_tokens", "answer_tokens").row(0) == (
        250_000 + MESSAGE_TOKENS + REPLY_TOKENS,
        1000 + MESSAGE_TOKENS,
    )


def test_estimate_of_no_records_is_an_empty_frame() -> None:
    for counter in (None, Letters()):
        frame = measure(records(), KIND, Training(max_length=5), 4.0, counter)
        assert (frame.height, dict(frame.schema)) == (0, TOKENS)


# --- what is cut ---------------------------------------------------------------------------


def test_cut_is_the_end_of_the_record_and_the_rest_of_the_answer_is_learned() -> None:
    rows = records(
        ("fits", turns("12345", "12345")),
        ("over", turns("12345", "1234567.")),
        ("lost", turns("x" * 12, "a.")),
    )
    frame = measure(rows, TASK, Training(max_length=10), 4.0, Letters())
    found = {
        row["record_id"]: (row["tokens"], row["cut_tokens"], row["supervised_tokens"])
        for row in frame.rows(named=True)
    }
    assert found == {"fits": (10, 0, 5), "over": (13, 3, 5), "lost": (14, 4, 0)}
    assert frame["record_id"].to_list() == ["fits", "lost", "over"]


def test_cut_of_a_pair_follows_its_longer_side() -> None:
    pair = ("a", turns("12345", "12."), 1, turns("x" * 20, first="assistant"))
    [row] = measure(records(pair), TASK, Training(max_length=10), 4.0, Letters()).rows(named=True)
    assert (row["tokens"], row["cut_tokens"], row["supervised_tokens"]) == (25, 15, 3)
    assert row["has_end"] is False


def test_measure_pairs_and_others_stand_together_in_any_order() -> None:
    rows = records(
        ("c", turns("1", "2", "3", "4.")),
        ("a", turns("1", "22."), 1, turns("333.", first="assistant")),
        ("b", turns("12", "3")),
    )
    expected = [(5, 1, 3, 4, True), (3, 2, 1, None, False), (5, 3, 2, None, True)]
    names = ["tokens", "prompt_tokens", "answer_tokens", "rejected_tokens", "has_end"]
    frame = measure(rows, TASK, NONE, 4.0, Letters())
    assert frame.select(names).rows() == expected
    for other in (rows.reverse(), rows.sort("record_id")):
        assert measure(other, TASK, NONE, 4.0, Letters()).equals(frame)
        assert measure(other, TASK, NONE, 4.0, None).equals(measure(rows, TASK, NONE, 4.0, None))


# --- facts ---------------------------------------------------------------------------------


def test_facts_add_up_splits_cuts_and_the_price() -> None:
    training = Training(max_length=10, epochs=3, price=Price(per_million_tokens=2.0, currency="EUR"))
    released = pl.concat(
        [
            records(("a", turns("12345", "1234.")), ("b", turns("12345", "12345678"))),
            records(("c", turns("x" * 12, "1.")), split="test"),
        ]
    )
    tokens = measure(released, TASK, training, 4.0, Letters())
    found = facts(tokens, released, training, counted_by(training, 4.0))
    assert found.by_split == {"train": 23, "validation": 0, "test": 14}
    assert (found.median, found.p95, found.longest) == (13, 14, 14)
    assert (found.max_length, found.over_length, found.cut) == (10, 2, 3 + 4)
    assert (found.unsupervised, found.without_end) == (1, 1)
    assert (found.epochs, found.train_tokens) == (3, 10 + 10)
    assert (found.cost, found.currency) == (20 * 3 * 2.0 / 1_000_000, "EUR")
    assert found.counted_by == "an estimate of 4 characters a token"


def test_facts_of_pairs_count_both_sides_with_the_prompt() -> None:
    released = records(("a", turns("12345", "12."), 1, turns("x" * 20, first="assistant")))
    training = Training(max_length=10)
    found = facts(measure(released, TASK, training, 4.0, Letters()), released, training, "")
    assert found.by_split["train"] == (5 + 3) + (5 + 20)
    assert found.train_tokens == 8 + 10


def test_facts_without_a_limit_price_or_tokenizer_say_so() -> None:
    released = records(("a", turns("12345678", "1234")))
    found = facts(measure(released, TASK, NONE, 4.0, None), released, NONE, "")
    assert (found.max_length, found.over_length, found.cut, found.unsupervised) == (None, 0, 0, 0)
    assert (found.without_end, found.cost, found.currency) == (None, None, None)
    assert found.train_tokens == found.by_split["train"] == found.longest == 14


def test_facts_of_an_empty_release_are_zero() -> None:
    found = facts(measure(records(), TASK, NONE, 4.0, None), records(), NONE, "")
    assert (found.by_split["train"], found.median, found.p95, found.longest, found.train_tokens) == (
        0,
        0,
        0,
        0,
        0,
    )


def test_counted_by_names_the_tokenizer_and_the_template() -> None:
    assert counted_by(Training(tokenizer="models/small"), 4.0) == "the tokenizer models/small"
    named = counted_by(Training(tokenizer="m", chat_template="t.jinja"), 4.0)
    assert named == "the tokenizer m with the chat template t.jinja"
    assert counted_by(NONE, 3.5) == "an estimate of 3.5 characters a token"


def test_example_of_the_documents_is_what_comes_out() -> None:
    task = TASK.model_copy(update={"system_prompt": "You label product feedback."})
    training = Training(max_length=64, epochs=3, price=Price(per_million_tokens=8.0, currency="EUR"))
    released = records(
        ("a1", turns("The export button does nothing.", "bug_report")),
        ("b2", turns("Please add a dark mode. " * 12, "feature_request")),
        ("c3", turns("Works well, thank you!", "praise")),
    )
    tokens = measure(released, task, training, 4.0, None)
    page = (Path(__file__).parent.parent / "docs" / "tokens.md").read_text(encoding="utf-8")
    names = ["record_id", "tokens", "prompt_tokens", "answer_tokens", "cut_tokens", "supervised_tokens"]
    for row in tokens.select(names).rows():
        assert f"| {' | '.join(map(str, row))} |\n" in page
    found = facts(tokens, released, training, "")
    assert (found.train_tokens, found.cost) == (127, 0.003048)
    assert all(f"`{name}`" in page for name in TOKENS if name != "record_id")
