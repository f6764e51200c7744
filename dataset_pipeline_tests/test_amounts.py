"""Guidance on amounts: the usual number for an aim, beside what there is, in words."""

from __future__ import annotations

from typing import get_args

import pytest

from dataset_pipeline.spec.models import TaskType, Training
from dataset_pipeline.transforms.amounts import AIM_BY_TASK, FEW_RECORDS, USUAL, Aim, advice


@pytest.mark.parametrize(
    ("aim", "usual"),
    [("style", "100 to 500"), ("format", "200 to 1,000"), ("domain", "1,000 to 10,000"), ("ability", "10,000 and more")],
)  # fmt: skip
def test_amounts_of_an_aim_are_said_as_guidance(aim: Aim, usual: str) -> None:
    told = advice("chat", aim, 300)
    assert (told.aim, told.is_guessed, told.usual) == (aim, False, usual)
    assert usual in told.sentences[0] and "guidance, not a rule" in told.sentences[0]
    assert "guessed" not in told.sentences[0]


@pytest.mark.parametrize(
    ("task", "aim"),
    [("classification", "format"), ("preference", "style"), ("chat", "style"), ("instruction", "domain"),
     ("completion", "domain")],
)  # fmt: skip
def test_amounts_guess_the_aim_from_the_task_and_say_so(task: TaskType, aim: Aim) -> None:
    told = advice(task, None, 300)
    assert (told.aim, told.is_guessed) == (aim, True)
    assert f"guessed from the task type, {task}" in told.sentences[0] and "training.aim" in told.sentences[0]


@pytest.mark.parametrize(
    ("have", "said"),
    [(0, "There are 0: fewer"), (1, "There is 1: fewer"), (199, "fewer than usual"), (200, "within"), (1_000, "within"),
     (1_001, "There are 1,001: more than usual")],
)  # fmt: skip
def test_amounts_compare_with_what_there_is(have: int, said: str) -> None:
    assert said in advice("classification", None, have).sentences[1]


def test_amounts_without_an_upper_end_are_never_too_many() -> None:
    told = advice("instruction", "ability", 5_000_000)
    assert (told.low, told.high) == (10_000, None)
    assert "within" in told.sentences[1]


def test_amounts_name_labels_with_few_records_fewest_first_and_ten_at_most() -> None:
    by_label = {"many": FEW_RECORDS, **{f"rare{n:02d}": 9 - n % 2 for n in range(12)}, "none": 0}
    told = advice("classification", None, 400, by_label)
    assert told.few[:2] == (("none", 0), ("rare01", 8))
    assert len(told.few) == 13
    assert "none (0), rare01 (8)" in told.sentences[2] and "and 3 more" in told.sentences[2]
    assert told.sentences[2].count("(") == 10 and "many (" not in told.sentences[2]


def test_amounts_say_nothing_of_labels_where_each_has_enough() -> None:
    assert len(advice("classification", None, 400, {"a": 200, "b": 200}).sentences) == 2
    assert len(advice("chat", None, 400).sentences) == 2


def test_amounts_know_every_aim_and_task_type_of_a_spec() -> None:
    aims = {aim for choice in get_args(Training.model_fields["aim"].annotation) for aim in get_args(choice)}
    assert aims == set(USUAL)
    assert set(AIM_BY_TASK) == set(get_args(TaskType))
