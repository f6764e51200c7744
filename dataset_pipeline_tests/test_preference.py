"""Preference pairs in every step up to decontaminate, and their gates.

Lives here: a few pairs one can check by eye. Keep out: how pairs are read (`test_layouts_preference`), what two pairs
that contradict each other come to (`label`), a whole project (`test_preference_release`).
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from dataset_pipeline import records as model
from dataset_pipeline.expectations import decontaminate as decontaminate_suite
from dataset_pipeline.expectations import normalize as normalize_suite
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.filter import gauges as filter_gauges
from dataset_pipeline.expectations.ingest import pair_fault
from dataset_pipeline.records import MESSAGES, PROTECTED, RECORDS, TABLES, Step
from dataset_pipeline.spec.models import Near, Pii, PiiEntity, SideLimits
from dataset_pipeline.spec.params import DecontaminateParams, DedupParams, FilterParams, NormalizeParams
from dataset_pipeline.transforms import dedup
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.filter import decide, filter_records
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.signals import sides_similarity

DAY = dt.date(2026, 3, 2)
PROMPT = "Which plant do I put on a dark window sill, and how often does it want water?"
FERN = "A fern likes it dark; water it twice a week and keep the soil from drying out."
CACTUS = "Take a cactus and never water it, it will be fine wherever you leave it standing."


def turns(first: str, *contents: str) -> list[dict[str, str]]:
    other = {"user": "assistant", "assistant": "user"}
    roles = [first if n % 2 == 0 else other[first] for n in range(len(contents))]
    return [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]


def pair(
    record_id: str,
    chosen: str | list[str],
    rejected: str | list[str],
    prompt: str | list[str] = PROMPT,
    **more: Any,
) -> dict[str, Any]:
    """A row of RECORDS; a list is several turns."""
    asked, better, worse = ([s] if isinstance(s, str) else s for s in (prompt, chosen, rejected))
    return {
        "record_id": record_id, "day": DAY, "source": "pairs", "source_rank": 1, "person_names": [],
        "messages": turns("user", *asked, *better), "prompt_turns": len(asked), "rejected": turns("assistant", *worse),
        "may_evaluate": True, "content_sha": record_id,
    } | more  # fmt: skip


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    collected = {"collected_messages": MESSAGES, "collected_rejected": MESSAGES}
    schema = RECORDS | {name: dtype for name, dtype in collected.items() if any(name in row for row in rows)}
    return pl.DataFrame(list(rows), schema=schema)


# --- dedup --------------------------------------------------------------------------------

DEDUP = DedupParams(
    answers_are_labels=False, has_pairs=True, label_names={}, near=Near(threshold=0.8), ngram=3
)


def deduplicated(*rows: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    return dedup.dedup_all(frame(*rows), DEDUP).sort("record_id").select("reason", "twin").rows()


def test_preference_dedup_equal_up_to_punctuation_is_exact() -> None:
    shouted = pair("b", FERN.upper(), f"{CACTUS}!!", PROMPT.replace(",", " –"))
    assert deduplicated(pair("a", FERN, CACTUS), shouted) == [(None, None), ("exact", "a")]


def test_preference_dedup_reversed_pair_is_kept_and_has_the_same_comparison_key() -> None:
    given = frame(pair("a", FERN, CACTUS), pair("b", CACTUS, FERN))
    found = dedup.dedup_all(given, DEDUP)
    assert found["kept"].to_list() == [True, True]
    assert found["comparison_key"].n_unique() == 1 and found["answer_key"].n_unique() == 2


def test_preference_dedup_another_worse_answer_is_near() -> None:
    assert deduplicated(pair("a", FERN, CACTUS), pair("b", FERN, f"{CACTUS} Promised.")) == [
        (None, None), ("near", "a"),
    ]  # fmt: skip


def test_preference_dedup_chosen_side_that_differs_by_a_word_is_another_preference() -> None:
    assert deduplicated(pair("a", FERN, CACTUS), pair("b", f"{FERN} Promised.", CACTUS)) == [(None, None)] * 2


def test_preference_dedup_finds_a_near_pair_of_an_earlier_day() -> None:
    earlier = frame(pair("a", FERN, CACTUS))
    later = frame(pair("b", FERN, f"{CACTUS} Promised.", day=dt.date(2026, 3, 3)))
    history, new = dedup.fingerprint(earlier, DEDUP), dedup.fingerprint(later, DEDUP)
    found = dedup.candidates(new, history, DEDUP)
    judged = dedup.dedup(later, new, history, found.pairs, earlier, DEDUP)
    assert judged.select("reason", "twin").rows() == [("near", "a")]


def test_preference_compared_text_is_prompt_chosen_and_rejected() -> None:
    given = frame(pair("a", ["A", "Q2", "A2"], ["B"], "Q"))
    assert dedup.compared_texts(given, False).to_list() == ["Q\n\nA\n\nQ2\n\nA2\n\nB"]
    no_pair = given.with_columns(prompt_turns=pl.lit(None, pl.Int32), rejected=pl.lit(None, MESSAGES))
    assert dedup.compared_texts(no_pair, False).to_list() == ["Q\n\nA\n\nQ2\n\nA2"]
    assert dedup.compared_texts(no_pair.drop("prompt_turns", "rejected"), True).to_list() == ["Q\n\nA\n\nQ2"]


# --- filter -------------------------------------------------------------------------------

FILTER = FilterParams(
    answers_are_labels=False, prompt=SideLimits(), answer=SideLimits(), max_tokens=None, chars_per_token=4.0,
    drop_automatic_replies=False, max_profane_words=None, profane_add=(), profane_allow=(), examples=(),
    max_sides_similarity=0.9,
)  # fmt: skip


def filtered(params: FilterParams, *sides: str | list[str]) -> tuple[str | None, Any]:
    """reason and detail of one pair: chosen, rejected, prompt."""
    row = filter_records(frame(pair("a", *sides)), params).row(0, named=True)
    return row["reason"], None if row["detail"] is None else json.loads(row["detail"])


def changed(**limits: Any) -> FilterParams:
    return FILTER.model_copy(update=limits)


@pytest.mark.parametrize("empty", ["", " \n", "...", "?!"])
def test_preference_filter_empty_side_is_dropped_whichever_it_is(empty: str) -> None:
    assert filtered(FILTER, empty, "No.")[0] == "empty_answer"
    reason, detail = filtered(FILTER, "Yes.", empty)
    assert (reason, detail["side"], detail["value"]) == ("empty_answer", "rejected", 0)


@pytest.mark.parametrize("answer", ["4", "+", "👍", "数"])
def test_preference_filter_a_number_sign_or_emoji_is_a_worse_answer_too(answer: str) -> None:
    assert filtered(FILTER, "Yes, of course.", answer) == (None, None)


def test_preference_filter_length_limits_hold_for_both_sides() -> None:
    params = changed(answer=SideLimits(max_words=3))
    assert filtered(params, "one two three", "four five six") == (None, None)
    assert filtered(params, "one", "two three four five") == (
        "too_long", {"rule": "max_words", "side": "rejected", "threshold": 3, "value": 4},
    )  # fmt: skip


def test_preference_filter_tokens_are_those_of_the_prompt_and_the_longer_side() -> None:
    params = changed(max_tokens=4)
    assert filtered(params, "12345678", "1234", "abcdefgh") == (None, None)
    reason, detail = filtered(params, "1234", "123456789", "abcdefgh")
    assert (reason, detail["value"]) == ("too_many_tokens", 5)


def test_preference_filter_quality_is_asked_of_the_chosen_side_only() -> None:
    params = changed(answer=SideLimits(max_repetition_share=0.5, min_words=5, max_symbol_share=0.1))
    noise = "so so so so so so so so ### ### ###"
    assert filtered(params, FERN, noise) == (None, None)
    assert filtered(params, noise, FERN)[0] == "symbols"


def test_preference_filter_near_equal_sides_are_dropped_and_close_ones_wait() -> None:
    ten = "one two three four five six seven eight nine ten"
    assert filtered(FILTER, ten, ten.replace("ten", "Ten!!")) == (
        "sides_alike", {"rule": "max_sides_similarity", "side": "both", "threshold": 0.9, "value": 1.0},
    )  # fmt: skip
    assert filtered(FILTER, ten, ten.replace("ten", "zero")) == (None, None)  # 9 of 11
    assert filtered(changed(max_sides_similarity=None), ten, ten.upper()) == (None, None)
    waiting = changed(max_sides_similarity=0.8, review_margin=0.1)
    reason, detail = filtered(waiting, ten, ten.replace("ten", "zero"))
    assert (reason, detail["borderline"], detail["value"]) == ("in_review", True, 0.8182)
    assert filtered(waiting, ten, ten.upper())[0] == "sides_alike"


def test_preference_filter_measures_the_worse_side_of_pairs_alone() -> None:
    table = filter_records(frame(pair("a", "a b c", ["c b", "And?", "x"])), FILTER)
    measured = ("answer_words", "rejected_words", "rejected_chars", "rejected_tokens", "sides_similarity")
    assert table.select(measured).row(0) == (3, 4, 12, 3, pytest.approx(2 / 5))
    plain = frame(pair("a", "a b c", "x")).with_columns(
        prompt_turns=pl.lit(None, pl.Int32), rejected=pl.lit(None, MESSAGES)
    )
    assert filter_records(plain, FILTER).select(measured).row(0) == (3, None, None, None, None)


def test_preference_filter_new_threshold_needs_stored_measurements_only() -> None:
    given = frame(pair("a", FERN, CACTUS), pair("b", FERN, FERN.upper()))
    stored = filter_records(given, FILTER).drop("kept", "reason", "detail")
    assert decide(stored, changed(max_sides_similarity=0.1)).equals(
        filter_records(given, changed(max_sides_similarity=0.1))
    )


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("the red fox", "The fox, red!", 1.0),
        ("red red fox", "red fox fox", 0.5),
        ("red", "blue", 0.0),
        ("你好吗", "你好", 2 / 3),
        ("👍", "👎", 0.0),
        ("👍", " 👍 ", 1.0),
        (None, "red", None),
    ],
)
def test_preference_similarity_is_the_share_of_words_in_common(
    one: str | None, other: str, share: float | None
) -> None:
    found = sides_similarity(pl.Series([one], dtype=pl.String), pl.Series([other]))
    assert found.to_list() == [pytest.approx(share)]


# --- normalize ----------------------------------------------------------------------------

ENTITIES: tuple[PiiEntity, ...] = ("EMAIL_ADDRESS", "PERSON")
NORMALIZE = NormalizeParams(answers_are_labels=False, languages=(), pii=Pii(entities=ENTITIES))


def normalized(params: NormalizeParams, *rows: dict[str, Any]) -> dict[str, Any]:
    table = normalize(frame(*rows), params)
    assert table.schema == pl.Schema(TABLES[Step.NORMALIZE])
    return table.row(0, named=True)


def test_preference_normalize_cleans_and_scrubs_the_worse_side() -> None:
    worse = ["Ask Ada Byron​ at ada@corp.example.com.", "Why?", "Ada knows."]
    row = normalized(NORMALIZE, pair("a", FERN, worse, person_names=["Ada Byron"]))
    said = [turn["content"] for turn in row["rejected"]]
    assert said == ["Ask [PERSON] at [EMAIL_ADDRESS].", "Why?", "[PERSON] knows."]
    assert [turn["role"] for turn in row["rejected"]] == ["assistant", "user", "assistant"]
    assert row["pii_counts"] == [{"name": "EMAIL_ADDRESS", "count": 1}, {"name": "PERSON", "count": 2}]
    # Two messages come before the first of the worse side.
    assert sorted(span["message"] for span in row["pii_spans"]) == [2, 2, 4]
    assert row["changes"] and row["kept"]


def test_preference_normalize_hash_covers_the_worse_side() -> None:
    one, other = (
        normalized(NORMALIZE, pair("a", FERN, worse))["clean_sha"] for worse in (CACTUS, "Take a stone.")
    )
    assert one != other


def test_preference_normalize_hash_of_other_records_is_as_ever() -> None:
    row = normalized(NORMALIZE, pair("a", "Yes.", "", "Is it?") | {"prompt_turns": None, "rejected": None})
    said = '[{"content":"Is it?","role":"user"},{"content":"Yes.","role":"assistant"}]'
    parts = ("a", said, row["prompt_language"] or "", row["answer_language"] or "")
    assert row["clean_sha"] == model.sha256_text(*parts)
    assert row["rejected"] is None and row["rejected_language"] is None


GERMAN = (
    "Stellen Sie den Farn ans Fenster und gießen Sie ihn zweimal in der Woche mit Wasser aus der Leitung."
)


def test_preference_normalize_foreign_worse_side_drops_the_pair() -> None:
    english = NORMALIZE.model_copy(update={"languages": ("en",)})
    assert normalized(english, pair("a", FERN, CACTUS))["kept"]
    row = normalized(english, pair("a", FERN, GERMAN))
    assert row["reason"] == "language" and row["rejected_language"] == "de"
    assert json.loads(row["detail"])["side"] == "rejected"


def test_preference_normalize_sides_that_cleaning_makes_equal_are_dropped() -> None:
    row = normalized(NORMALIZE, pair("a", "Write to ada@corp.example.com.", "Write to bob@firm.example.org."))
    assert row["reason"] == "sides_alike" and not row["kept"]
    assert json.loads(row["detail"])["rule"] == "equal_after_cleaning"
    kept = NORMALIZE.model_copy(update={"pii": Pii(entities=ENTITIES, action="keep")})
    assert normalized(kept, pair("a", "Write to ada@corp.example.com.", "Write to bob@firm.example.org."))[
        "kept"
    ]


def test_preference_normalize_side_without_anything_left_is_dropped() -> None:
    row = normalized(NORMALIZE, pair("a", FERN, "​\x07"))
    assert row["reason"] == "empty_after_cleaning"
    assert json.loads(row["detail"])["side"] == "rejected"


# --- decontaminate ------------------------------------------------------------------------

SEARCH = DecontaminateParams(
    answers_are_labels=False, ngram=13, min_coverage=0.5, min_contained_words=5, suspects="review"
)
ITEM = "A cactus in a glass jar wants three spoons of cold rain water on every second Sunday of the month."


def searched(row: dict[str, Any], item: str = ITEM) -> tuple[str | None, str | None]:
    """match and the name of the text it was found in."""
    given = frame({"collected_messages": row["messages"], "collected_rejected": row["rejected"]} | row)
    protected = pl.DataFrame(
        [{"eval_set": "holdout", "eval_item": "h1", "text": item, "label": None}], schema=TABLES[PROTECTED]
    )
    found = decontaminate(given, protected, SEARCH).row(0, named=True)
    detail = json.loads(found["detail"]) if found["detail"] else {}
    return found["match"], detail.get("text")


@pytest.mark.parametrize(
    ("rejected", "expected"),
    [
        (CACTUS, (None, None)),
        (ITEM, ("equal", "rejected")),
        (f"Well. {ITEM} That is all.", ("coverage", "whole_rejected")),
        (["Well.", "Go on.", ITEM.upper()], ("equal", "message_4")),
    ],
)
def test_preference_decontaminate_item_in_the_worse_side_alone_is_found(
    rejected: str | list[str], expected: tuple[str | None, str | None]
) -> None:
    assert searched(pair("a", FERN, rejected)) == expected


def test_preference_decontaminate_prompt_and_worse_answer_together_are_an_item() -> None:
    assert searched(pair("a", FERN, CACTUS), f"{PROMPT}\n\n{CACTUS}") == ("equal", "whole_rejected")
    assert searched(pair("a", FERN, CACTUS), f"{PROMPT}\n\n{FERN}") == ("equal", "whole")


def test_preference_decontaminate_worse_side_as_collected_is_searched_too() -> None:
    row = pair("a", FERN, "Cleaned beyond recognition.")
    collected = {"collected_messages": row["messages"], "collected_rejected": turns("assistant", ITEM)}
    assert searched(row | collected) == ("equal", "collected_rejected")


# --- gates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "is_fault"),
    [
        ({}, False),
        ({"prompt_turns": None, "rejected": None}, False),
        ({"rejected": None}, True),
        ({"prompt_turns": None}, True),
        ({"prompt_turns": 0}, True),
        ({"prompt_turns": 2}, True),
        ({"rejected": []}, True),
        ({"rejected": turns("user", "Q")}, True),
        ({"rejected": turns("assistant", "A", "Q")}, True),
        ({"rejected": turns("assistant", "A", "Q", "A")}, False),
        ({"messages": turns("user", "Q", "A", "Q"), "prompt_turns": 1}, True),
    ],
)
def test_preference_gate_turns_of_both_sides_alternate_and_end_with_the_assistant(
    change: dict[str, Any], is_fault: bool
) -> None:
    given = frame(pair("a", FERN, CACTUS) | change)
    assert given.select(pair_fault()).to_series().to_list() == [is_fault]


NOTHING_STANDS = pl.DataFrame(schema={"record_id": pl.String})


def _audit(step: Step, staged: pl.DataFrame, records: pl.DataFrame, **extras: pl.DataFrame) -> Audit:
    return Audit(step, (DAY,), staged, {DAY: records.height}, records, extras)


@pytest.mark.parametrize(
    ("longer", "ties", "pairs", "expected"),
    [(80, 0, 100, 0.8), (10, 80, 100, 0.5), (0, 0, 50, 0.0), (49, 0, 49, 0.5)],
)
def test_preference_gate_length_bias_is_the_share_of_longer_chosen_sides(
    longer: int, ties: int, pairs: int, expected: float
) -> None:
    rows = [
        pair(f"r{n}", "long answer" if n < longer else "same" if n < longer + ties else "s", "same")
        for n in range(pairs)
    ]
    records = frame(*rows)
    staged = filter_records(records, changed(max_sides_similarity=None))
    examples = staged.clear().select("record_id", "reason")
    found = filter_gauges(_audit(Step.FILTER, staged, records, examples=examples))
    assert found["chosen_longer"].to_list() == [pytest.approx(expected)]


def test_preference_gate_personal_data_left_in_the_worse_side_is_seen() -> None:
    records = frame(pair("a", FERN, CACTUS), pair("b", CACTUS, FERN))
    staged = normalize(records, NORMALIZE)
    leaking = staged.with_columns(
        rejected=pl.when(pl.col("record_id") == "b")
        .then(
            pl.lit([turns("assistant", "jo.miller@example.com \x07")], dtype=pl.List(MESSAGES)).list.first()
        )
        .otherwise("rejected")
    )
    entities = pl.DataFrame({"entity": list(ENTITIES)})
    rows = normalize_suite.rows(
        _audit(Step.NORMALIZE, leaking, records, entities=entities, standing=NOTHING_STANDS)
    )
    assert rows["pii_left"].to_list() == ["none", "EMAIL_ADDRESS"]
    assert rows["has_control"].to_list() == ["no", "yes"]


def test_preference_gate_turns_lost_by_cleaning_are_counted() -> None:
    records = frame(pair("a", FERN, ["A", "Q", "A"]))
    staged = normalize(records, NORMALIZE)
    entities = pl.DataFrame({"entity": list(ENTITIES)})
    for rejected, faults in ((pl.col("rejected"), 0), (pl.col("rejected").list.head(2), 1)):
        cut = staged.with_columns(rejected)
        audit = _audit(Step.NORMALIZE, cut, records, entities=entities, standing=NOTHING_STANDS)
        assert normalize_suite.gauges(audit)["role_faults"].to_list() == [faults]


def test_preference_gate_item_left_in_the_worse_side_is_counted() -> None:
    protected = pl.DataFrame(
        [{"eval_set": "holdout", "eval_item": "h1", "text": ITEM, "label": None}], schema=TABLES[PROTECTED]
    )
    for rejected, left in ((CACTUS, 0), (f"Well. {ITEM}", 1)):
        row = pair("a", FERN, rejected)
        records = frame(row | {"collected_messages": row["messages"], "collected_rejected": row["rejected"]})
        staged = decontaminate(records, protected.clear(), SEARCH)
        held = decontaminate_suite.holding(records, protected, 13)
        audit = _audit(Step.DECONTAMINATE, staged, records, holding=held)
        assert decontaminate_suite.gauges(audit)["eval_items_left"].to_list() == [left]
