"""Preference pairs: the forms that are in use, and where two conversations part."""

from __future__ import annotations

from typing import Any

import pytest

from dataset_pipeline_tests.test_layouts import one, refusals, said, shape

PAIR = shape("preference")


def turns(text: str) -> list[dict[str, str]]:
    """`uQ aA` as messages."""
    names = {"u": "user", "a": "assistant", "s": "system"}
    return [{"role": names[part[0]], "content": part[1:]} for part in text.split()]


def pair(row: dict[str, Any], of: Any = PAIR) -> tuple[str, str, int | None]:
    """The chosen conversation, the rejected turns, and how many turns are shared, in the short form of `turns`."""
    found = one(of, row, "preference")
    short = [" ".join(r[0] + c for r, c in said(side)) for side in (found.messages, found.rejected)]
    return short[0], short[1], found.prompt_turns


def row(prompt: Any, chosen: Any, rejected: Any) -> dict[str, Any]:
    given = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {key: value for key, value in given.items() if value is not None}


HH = "\n\nHuman: Q\n\nAssistant: A"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("Q", "A", "B"), ("uQ aA", "aB", 1)),
        (row("Q", "Human: x", "B"), ("uQ aHuman: x", "aB", 1)),
        (row(turns("sS uQ"), turns("aA"), turns("aB")), ("sS uQ aA", "aB", 2)),
        (row(turns("uQ aR uT"), turns("aA uV aW"), turns("aB")), ("uQ aR uT aA uV aW", "aB", 3)),
        (row(turns("uQ"), "A", turns("aB")), ("uQ aA", "aB", 1)),
        (row("Q", turns("aA")[0], turns("aB")[0]), ("uQ aA", "aB", 1)),
        (row("Q", turns("uQ aA"), turns("uQ aB")), ("uQ aA", "aB", 1)),
        (row(None, turns("uQ aA"), turns("uQ aB")), ("uQ aA", "aB", 1)),
        (row(None, turns("sS uQ aR uT aA"), turns("sS uQ aR uT aB")), ("sS uQ aR uT aA", "aB", 4)),
        (row(None, turns("uQ aR uT aA"), turns("uQ aX uT aA")), ("uQ aR uT aA", "aX uT aA", 1)),
        (row(None, turns("uQ aA"), turns("uQ aA uR aB")), ("uQ aA", "aA uR aB", 1)),
        (row(None, HH, "\n\nHuman: Q\n\nAssistant: B"), ("uQ aA", "aB", 1)),
        (row("", HH, "\n\nHuman: Q\n\nAssistant: B"), ("uQ aA", "aB", 1)),
        (row(None, HH + "\n\nHuman: R\n\nAssistant: C", HH + "\n\nHuman: R\n\nAssistant: D"), ("uQ aA uR aC", "aD", 3)),
        (row("\n\nHuman: Q\n\nAssistant:", " A", " B\n\nHuman: R\n\nAssistant: C"), ("uQ aA", "aB uR aC", 1)),
        (row("Human: Q", "A", "Assistant: B"), ("uQ aA", "aB", 1)),
        (row("\n\nHuman: Q\n\nAssistant:", HH, "B"), ("uQ aA", "aB", 1)),
        (row("Human: Q", turns("aA"), turns("aB")), ("uQ aA", "aB", 1)),
        (row("x", HH, "\n\nHuman: Q\n\nAssistant: B"), ("uQ aA", "aB", 1)),
        (row(turns("sS ux"), HH, "Human: Q\n\nAssistant: B"), ("uQ aA", "aB", 1)),
        (row("Q", HH, turns("uQ aB")), ("uQ aA", "aB", 1)),
        (row("Q", "Human: x\n\nAssistant: y", "B"), ("uQ aHuman: x\n\nAssistant: y", "aB", 1)),
        (row("Q", "A", "Human: x\n\nAssistant: y"), ("uQ aA", "aHuman: x\n\nAssistant: y", 1)),
        (row(turns("uQ aR"), turns("uQ aA"), turns("uQ aB")), ("uQ aA", "aB", 1)),
        (row(turns("sS uQ aR"), turns("uQ aA"), turns("uQ aB")), ("uQ aA", "aB", 1)),
        (row(turns("uQ aR"), turns("uT aA"), turns("uT aB")), ("uQ aR uT aA", "aB", 3)),
    ],
)  # fmt: skip
def test_preference_forms_become_a_conversation_and_the_other_turns(
    given: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    assert pair(given) == expected


def test_preference_columns_are_mapped_and_a_system_prompt_is_counted() -> None:
    of = shape("preference", input=("q", "r"), chosen="best", rejected="worst", system="s", id="n")
    given = {"q": "Q", "r": "R", "best": "A", "worst": 3, "s": "S", "n": 1}
    assert pair(given, of) == ("sS uQ\n\nR aA", "a3", 2)
    assert one(of, given, "preference").source_id == "1"
    no_layout = shape(input="q", chosen="best", rejected="worst")
    assert pair(given, no_layout) == ("uQ aA", "a3", 1)


def test_preference_layout_in_another_task_gives_the_chosen_conversation() -> None:
    found = one(PAIR, row("Q", "A", None), "chat")
    assert (said(found.messages), found.rejected, found.prompt_turns) == ([("user", "Q"), ("assistant", "A")], None, None)  # fmt: skip
    assert said(one(PAIR, row(None, HH, "no transcript"), "chat").messages) == said(found.messages)
    assert said(one(PAIR, row("x", HH, None), "chat").messages) == said(found.messages)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("Q", None, "B"), ("missing_value", "chosen is missing or null")),
        (row("Q", "A", None), ("missing_value", "rejected is missing or null")),
        (row("Q", "A", " "), ("empty_message", "rejected holds no word")),
        (row(5, "A", "B"), ("wrong_type", "prompt is a number, not text")),
        (row(turns("uQ"), turns("uR"), "B"), ("no_answer", "chosen has no assistant turn")),
        (row(None, turns("uQ aA"), turns("uQ")), ("no_answer", "rejected has no assistant turn")),
        (row(None, turns("uQ aA"), turns("uR aA")), ("no_shared_prompt", "chosen and rejected have no first user turn in common")),
        (row(None, turns("uQ aA"), turns("uQ aA")), ("same_answers", "chosen and rejected are equal: such a pair prefers nothing")),
        (row("Q", "A", "A"), ("same_answers", "chosen and rejected are equal: such a pair prefers nothing")),
        (row(None, turns("uQ aA"), turns("uQ aA uR")), ("roles_out_of_order", "rejected: ends with user; turns alternate user, assistant and end with assistant")),
        (row(None, "A", "B"), ("bad_transcript", "chosen: no paragraph begins with Human: or Assistant:")),
        (row(None, turns("aA"), turns("aB")), ("roles_out_of_order", "chosen: begins with assistant")),
        (row("x", HH, "Human: Q"), ("no_answer", "rejected has no assistant turn")),
        (row(None, [], []), ("bad_messages", "chosen is not a list of messages")),
        (row(None, HH, HH + "\n\nAssistant: C"), ("roles_out_of_order", "rejected: two assistant turns in a row at turn 3")),
    ],
)  # fmt: skip
def test_preference_that_is_no_pair_is_refused(given: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusals(PAIR, given, "preference") == [expected]
