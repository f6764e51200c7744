"""Protected texts in records: equal, covered, contained; what is measured and which match is named."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.records import MESSAGES, PROTECTED, TABLES, Step
from dataset_pipeline.spec.params import DecontaminateParams
from dataset_pipeline.transforms import decontaminate as step
from dataset_pipeline.transforms import overlap

Turn = tuple[str, str]


def params(labels: bool = True, **changes) -> DecontaminateParams:
    defaults = {"ngram": 13, "min_coverage": 0.5, "min_contained_words": 5, "suspects": "review"}
    return DecontaminateParams(answers_are_labels=labels, **{**defaults, **changes})


def record(record_id: str, *turns: Turn, collected: list[Turn] | None = None) -> dict:
    def messages(pairs):
        return [{"role": role, "content": content} for role, content in pairs]

    return {
        "record_id": record_id, "day": dt.date(2026, 11, 1), "messages": messages(turns),
        "collected_messages": messages(turns if collected is None else collected),
    }  # fmt: skip


def ask(record_id: str, text: str, answer: str = "bug") -> dict:
    return record(record_id, ("user", text), ("assistant", answer))


def frame(*rows: dict) -> pl.DataFrame:
    schema = {"record_id": pl.String, "day": pl.Date, "messages": MESSAGES, "collected_messages": MESSAGES}
    return pl.DataFrame(list(rows), schema=schema)


def protected(**items: str | None) -> pl.DataFrame:
    rows = [
        {"eval_set": "holdout", "eval_item": name, "text": text, "label": None}
        for name, text in items.items()
    ]
    return pl.DataFrame(rows, schema=TABLES[PROTECTED])


def judge(row: dict, items: pl.DataFrame, **changes) -> dict:
    return step.decontaminate(frame(row), items, params(**changes)).row(0, named=True)


def words(first: int, last: int, letter: str = "w") -> str:
    return " ".join(f"{letter}{i}" for i in range(first, last))


def test_decontaminate_equal_text_is_contaminated_and_names_the_item():
    table = step.decontaminate(
        frame(ask("a", "The APP, crashes..."), ask("b", "The app sings")),
        protected(q1="the app crashes"),
        params(),
    )
    assert table.schema == TABLES[Step.DECONTAMINATE]
    assert table.drop("record_id", "day", "review", "kept", "reason", "detail").rows() == [
        ("equal", "holdout", "q1", 1.0, 0, 3), (None, None, None, 0.0, None, None),
    ]  # fmt: skip
    assert table["reason"].to_list() == ["contaminated", None]
    assert table["detail"].to_list() == [
        '{"item":"q1","rule":"equal","set":"holdout","span":[0,3],"text":"prompt","threshold":1.0,"value":1.0}',
        None,
    ]


def test_decontaminate_half_of_the_item_is_coverage_with_its_span():
    found = judge(ask("a", f"so {words(0, 15)} and on"), protected(q1=words(0, 30)))
    assert (found["match"], found["overlap_fraction"], found["reason"]) == ("coverage", 0.5, "contaminated")
    assert (found["span_start"], found["span_end"]) == (1, 16)
    assert json.loads(found["detail"]) == {
        "rule": "coverage", "set": "holdout", "item": "q1", "value": 0.5,
        "threshold": 0.5, "span": [1, 16], "text": "prompt",
    }  # fmt: skip


def test_decontaminate_less_than_half_is_measured_and_kept():
    found = judge(ask("a", f"so {words(0, 14)} and on"), protected(q1=words(0, 30)))
    assert (found["kept"], found["match"], found["reason"], found["detail"]) == (True, None, None, None)
    assert (found["eval_item"], found["span_start"], found["span_end"]) == ("q1", 1, 15)
    assert found["overlap_fraction"] == pytest.approx(14 / 30)
    assert (
        judge(ask("a", words(0, 14)), protected(q1=words(0, 30)), min_coverage=0.4)["reason"]
        == "contaminated"
    )


def test_decontaminate_twelve_words_in_a_row_are_no_overlap():
    assert (
        judge(ask("a", f"{words(0, 12)} x {words(12, 24)}"), protected(q1=words(0, 24)))["overlap_fraction"]
        == 0.0
    )


def test_decontaminate_two_stretches_add_up():
    found = judge(ask("a", f"{words(0, 13)} x {words(17, 30)}"), protected(q1=words(0, 30)))
    assert (found["overlap_fraction"], found["span_start"], found["span_end"]) == (
        pytest.approx(26 / 30),
        0,
        27,
    )


def test_decontaminate_item_longer_than_the_record_is_judged_by_the_items_words():
    found = judge(ask("a", words(0, 20)), protected(q1=words(0, 100)))
    assert (found["kept"], found["overlap_fraction"]) == (True, 0.2)


def test_decontaminate_repeated_ngrams_count_each_word_of_the_item_once():
    chant = " ".join(["na"] * 40)
    found = judge(ask("a", " ".join(["na"] * 500)), protected(q1=chant + " " + words(0, 40)))
    assert (found["match"], found["overlap_fraction"]) == ("coverage", 0.5)
    assert (found["span_start"], found["span_end"]) == (0, 500)


@pytest.mark.parametrize(
    ("suspects", "kept", "reason"),
    [("review", False, "in_review"), ("drop", False, "suspect"), ("keep", True, None)],
)
def test_decontaminate_short_item_whole_in_a_longer_record_is_suspect(suspects, kept, reason):
    row = ask("a", "Hello, where is my new card please")
    found = judge(row, protected(q1="where is my new card"), suspects=suspects)
    assert (found["match"], found["kept"], found["reason"]) == ("contained", kept, reason)
    assert (found["span_start"], found["span_end"]) == (1, 6)
    assert (found["detail"] is None) == kept
    if not kept:
        assert json.loads(found["detail"])["value"] == 5 and json.loads(found["detail"])["threshold"] == 5


def test_decontaminate_short_idiom_is_only_looked_for_as_equal():
    items = protected(q1="where is my card")
    assert judge(ask("a", "hello where is my card"), items)["match"] is None
    assert judge(ask("a", "Where is my card?"), items)["match"] == "equal"


def test_decontaminate_short_item_with_a_word_between_is_not_contained():
    assert (
        judge(ask("a", "where is my brand new card"), protected(q1="where is my new card"))["match"] is None
    )


def test_decontaminate_strongest_match_is_named():
    text = words(0, 40)
    items = {"short": words(0, 6), "longer": words(0, 8), "half": words(0, 20) + " " + words(0, 20, "x")}
    assert (
        judge(ask("a", text), protected(short=items["short"], longer=items["longer"]))["eval_item"]
        == "longer"
    )
    assert judge(ask("a", text), protected(**items))["eval_item"] == "half"
    assert judge(ask("a", text), protected(**items, most=words(5, 30)))["eval_item"] == "most"
    assert judge(ask("a", text), protected(**items, most=words(5, 30), z=text, y=text))["eval_item"] == "y"


def test_decontaminate_contained_outweighs_coverage_below_the_threshold():
    found = judge(ask("a", words(0, 14)), protected(q1=words(0, 40), q2=words(2, 8)))
    assert (found["match"], found["eval_item"]) == ("contained", "q2")


def test_decontaminate_answer_side_counts_unless_it_is_a_label():
    row = ask("a", "A quite different question", "bug")
    assert judge(row, protected(q1="Bug"))["match"] is None
    assert judge(row, protected(q1="Bug"), labels=False)["match"] == "equal"
    leaked = ask("a", "Write a test", "Sure: " + words(0, 20))
    assert judge(leaked, protected(q1=words(0, 20)), labels=False)["match"] == "coverage"
    assert judge(leaked, protected(q1=words(0, 20)))["match"] is None


def test_decontaminate_prompt_and_answer_together_and_prompt_alone_are_equal_to_items():
    row = ask("a", "How many apples?", "Three.")
    for item, view in (
        ("How many apples? Three.", "whole"),
        ("how many apples", "prompt"),
        ("three", "answer"),
    ):
        found = judge(row, protected(q1=item), labels=False)
        assert (found["match"], json.loads(found["detail"])["text"]) == ("equal", view)


def test_decontaminate_one_message_of_a_chat_is_enough():
    turns = [
        ("user", "Hi"),
        ("assistant", "Yes?"),
        ("user", "Where is my card"),
        ("assistant", "On its way."),
    ]
    found = judge(record("a", *turns), protected(q1="where is my card"), labels=False)
    assert (found["match"], json.loads(found["detail"])["text"]) == ("equal", "message_2")


def test_decontaminate_collected_text_is_matched_where_cleaning_hid_the_item():
    clean = [("user", "Mail [EMAIL_ADDRESS] about it"), ("assistant", "bug")]
    row = record("a", *clean, collected=[("user", "Mail jo@example.org about it"), ("assistant", "bug")])
    found = judge(row, protected(q1="mail jo@example.org about it"))
    assert (found["match"], json.loads(found["detail"])["text"]) == ("equal", "collected_prompt")
    found = judge(row, protected(q1="mail [EMAIL_ADDRESS] about it"))
    assert (found["match"], json.loads(found["detail"])["text"]) == ("equal", "prompt")


def test_decontaminate_empty_texts_match_nothing_and_symbols_only_themselves():
    rows = frame(ask("a", ""), record("b"), ask("c", "🙂"), ask("d", "🙃"))
    table = step.decontaminate(rows, protected(q1="", q2="  ", q3=None, q4="🙂"), params())
    assert table["match"].to_list() == [None, None, "equal", None]
    assert table.row(2)[3:8] == ("holdout", "q4", 1.0, 0, 0)


def test_decontaminate_no_protected_rows_keep_everything():
    table = step.decontaminate(frame(ask("a", "x"), ask("b", "y")), protected(), params())
    assert table["kept"].to_list() == [True, True] and table["match"].null_count() == 2


def test_decontaminate_no_records_are_an_empty_table():
    table = step.decontaminate(frame(), protected(q1="x"), params())
    assert table.is_empty() and table.schema == TABLES[Step.DECONTAMINATE]


def test_decontaminate_shared_template_is_measured_not_matched():
    template = words(0, 18, "t")
    rows = frame(*(ask(f"r{i:04d}", f"{template} {words(100 * i, 100 * i + 30)}") for i in range(2000)))
    items = protected(**{f"q{i:04d}": f"{template} {words(100 * i, 100 * i + 30, 'e')}" for i in range(2000)})
    table = step.decontaminate(rows, items, params())
    assert table["kept"].all()
    assert table["overlap_fraction"].unique().to_list() == [18 / 48]
    assert table["eval_item"].unique().to_list() == ["q0000"]


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map(" ".join)


def reference(text: str, items: list[str]) -> tuple[str | None, int | None, float]:
    """The meaning of the step for n-grams of three words and one word at least, spelled out."""
    own, best = text.split(), (0.0, 0)
    if own and any(item.split() == own for item in items):
        return "equal", next(i for i, item in enumerate(items) if item.split() == own), 1.0
    grams = {tuple(own[i : i + 3]) for i in range(len(own) - 2)}
    for number, item in enumerate(items):
        parts = item.split()
        covered = {i + k for i in range(len(parts) - 2) if tuple(parts[i : i + 3]) in grams for k in range(3)}
        share = len(covered) / len(parts) if parts else 0.0
        best = max(best, (share, -number))
    inside = [
        (len(item.split()), -number)
        for number, item in enumerate(items)
        if 0 < len(item.split()) < min(3, len(own)) and f" {item} " in f" {text} "
    ]
    if best[0] >= 0.5:
        return "coverage", -best[1], best[0]
    if inside:
        return "contained", -max(inside)[1], 1.0
    return None, -best[1] if best[0] else None, best[0]


@settings(max_examples=80, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, min_size=1, max_size=6), st.randoms())
def test_decontaminate_equals_a_plain_loop_in_any_order_and_chunk(texts, items, draw):
    rows = frame(*(ask(f"r{i}", text) for i, text in enumerate(texts)))
    held = protected(**{f"q{i}": item for i, item in enumerate(items)})
    changes = params(ngram=3, min_contained_words=1)
    table = step.decontaminate(rows, held, changes)
    found = [
        (match, int(item[1:]) if item else None, share)
        for match, item, share in table.select("match", "eval_item", "overlap_fraction").rows()
    ]
    assert found == [reference(text, items) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "CHARS_AT_ONCE", 10)
        patch.setattr(overlap, "OCCURRENCES_AT_ONCE", 2)
        mixed = rows[draw.sample(range(rows.height), rows.height)]
        assert step.decontaminate(mixed, held[draw.sample(range(held.height), held.height)], changes).equals(
            table
        )
