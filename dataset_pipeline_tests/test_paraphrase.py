"""Items told in other words: terms, candidates, the score; on a few texts one can read."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from dataset_pipeline.records import MESSAGES, PROTECTED, TABLES
from dataset_pipeline.spec.models import Paraphrase
from dataset_pipeline.spec.params import DecontaminateParams
from dataset_pipeline.transforms import paraphrase
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.paraphrase import Paraphrases
from dataset_pipeline.transforms.paraphrase_terms import BACKGROUND, Terms, share, spelled, stem, term

FERRY = (
    "A ferry carries 48 cars and 17 lorries to the island each morning. On Sunday it carries twice as many cars but "
    "no lorries. How many vehicles does the ferry carry to the island in one week?"
)
FERRY_REWORDED = (
    "Every morning forty lighthouse keepers watch the ferry bring 48 cars plus 17 lorries over to an island. Sundays "
    "are different: the number of cars is doubled, and lorries stay away. What is the week's total of vehicles ferried?"
)
BAKERY = (
    "Mrs. Okafor bakes 12 trays of rolls with 24 rolls on each tray. She sells 230 rolls before noon and gives the "
    "remaining rolls to a shelter. How many rolls does the shelter receive from the bakery?"
)
ORCHARD = (
    "An orchard has 35 rows of apple trees with 18 trees in every row. A storm knocks over 7 trees and the owner "
    "plants 20 new saplings. How many trees stand in the orchard after the planting?"
)
TANK = (
    "A water tank holds 900 litres and a pump fills it at 15 litres per minute, while a leak drains 3 litres per "
    "minute. After how many minutes is the empty tank full when the pump runs without a pause?"
)
SAME_SUBJECT = (
    "A ferry leaves the harbour at 9 and needs 35 minutes to cross the bay. It waits 20 minutes before it returns. "
    "At what time is the ferry back in the harbour after two crossings?"
)
CODE = (
    "def count_vowel_groups(text_line: str) -> int:\n"
    '    """Count how many groups of neighbouring vowels the line holds.\n'
    "    >>> count_vowel_groups('queue rain')\n    2\n"
    "    >>> count_vowel_groups('rhythm 1,250')\n    0\n"
    '    """\n'
)
CODE_REWORDED = (
    "/** Returns the number of vowel groups, that is runs of neighbouring vowels, found in a line of text.\n"
    " * countVowelGroups('queue rain') === 2\n * countVowelGroups('rhythm 1250') === 0 */\n"
    "function countVowelGroups(textLine) { let count = 0; return count; }"
)
ITEMS = {"bakery": BAKERY, "code": CODE, "ferry": FERRY, "orchard": ORCHARD, "tank": TANK}


WANTED = Paraphrase()


def search(among: Paraphrases, texts: pl.Series, min_words: int, threshold: float) -> pl.DataFrame:
    return among.search(among.read(texts), min_words, threshold)


def index(**items: str) -> Paraphrases:
    frame = pl.DataFrame(
        {"item": range(len(items)), "text": list(items.values()), "label": [None] * len(items)},
        schema={"item": pl.Int64, "text": pl.String, "label": pl.String},
    )
    found = Paraphrases.of(frame, 20)
    assert found is not None
    return found


def told(*texts: str, threshold: float = 0.5) -> list[tuple[int, str]]:
    found = search(index(**ITEMS), pl.Series(texts, dtype=pl.String), 20, threshold)
    return [(row, list(ITEMS)[item]) for row, item, _ in found.rows()]


def judge(text: str, suspects: str = "review", wanted: Paraphrase | None = WANTED, **items: str) -> dict:
    turns = [{"role": "user", "content": text}]
    row = {"record_id": "a", "day": dt.date(2026, 11, 1), "messages": turns, "collected_messages": turns}
    schema = {"record_id": pl.String, "day": pl.Date, "messages": MESSAGES, "collected_messages": MESSAGES}
    held = pl.DataFrame(
        [("held", name, item, None) for name, item in (items or ITEMS).items()],
        schema=TABLES[PROTECTED], orient="row",
    )  # fmt: skip
    params = DecontaminateParams(
        answers_are_labels=False,
        ngram=13,
        min_coverage=0.5,
        min_contained_words=5,
        suspects=suspects,
        paraphrase=wanted,
    )
    return decontaminate(pl.DataFrame([row], schema=schema), held, params).row(0, named=True)


# --- terms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("ferries", "ferr"), ("ferry", "ferr"), ("carries", "carr"), ("carried", "carr"), ("cars", "car"), ("bus", "bus"),
        ("three", "#3"), ("03", "#3"), ("twice", "#2"), ("dozen", "#12"), ("0", "#0"),
    ],
)  # fmt: skip
def test_paraphrase_term_is_the_stem_or_the_number(word, named):
    assert term(word) == named


def test_paraphrase_stem_leaves_three_letters():
    assert [stem(word) for word in ("use", "using", "sing", "does")] == ["use", "using", "sing", "doe"]


def test_paraphrase_spelled_parts_identifiers_and_joins_numbers():
    texts = pl.Series(["parenGroups", "1,250 and 3.0", "2.5", "[1, 250]", "paren_groups", None])
    assert spelled(texts).to_list() == ["paren Groups", "1250 and 3", "2p5", "[1, 250]", "paren_groups", None]


def test_paraphrase_share_frequent_words_and_small_numbers_are_everywhere():
    assert share("the") > share("car") and share("#2") > share("#40") > share("#4711")
    assert share("lighthous") == share("#1p5") == 0.0005


def test_paraphrase_weight_falls_with_items_that_hold_the_term_and_forms_are_one():
    texts = pl.Series(["the ferry", "ferries cross", "a tank"])
    terms = Terms.of(texts, pl.Series([0, 1, 2]).to_numpy(), 3)
    words = terms.read(pl.Series(["ferry ferries tank the xyzzy"])).values
    ferry, ferries, tank, the, unknown = terms.find(words).tolist()
    assert ferry == ferries != tank and unknown == -1
    assert terms.unknown > terms.weights[tank] > terms.weights[ferry] > terms.weights[the] > 0
    assert round(float(terms.weights[tank]), 6) == round(
        float(pl.Series([(3 + BACKGROUND + 1) / (1 + 0.5 + 0.5)]).log()[0]), 6
    )


# --- what is found ------------------------------------------------------------------------


def test_paraphrase_reworded_items_are_found_and_others_are_not():
    assert told(FERRY_REWORDED, SAME_SUBJECT, CODE_REWORDED) == [(0, "ferry"), (2, "code")]


def test_paraphrase_items_themselves_are_found_with_the_highest_scores():
    found = search(index(**ITEMS), pl.Series(list(ITEMS.values())), 20, 0.5)
    assert found["item"].to_list() == found["row"].to_list() == [0, 1, 2, 3, 4]
    assert found["score"].min() > 0.99


def test_paraphrase_other_numbers_score_lower():
    other = FERRY_REWORDED.replace("48", "61").replace("17", "33").replace("doubled", "tripled")
    searched = search(index(**ITEMS), pl.Series([FERRY_REWORDED, other]), 20, 0.01)
    scores = dict(searched.select("row", "score").rows())
    assert scores.get(1, 0.0) < scores[0]


def test_paraphrase_short_texts_and_short_items_are_not_looked_for():
    short = " ".join(FERRY.split()[:19])
    assert told(short) == []
    assert Paraphrases.of(pl.DataFrame({"item": [0], "text": [short], "label": [None]}), 20) is None


def test_paraphrase_text_many_times_as_long_is_no_rewording():
    filler = " ".join(f"filler{i} word{i} other{i}" for i in range(150))
    assert told(FERRY_REWORDED + " " + filler) == []


def test_paraphrase_an_item_counts_with_its_answer():
    items = pl.DataFrame({"item": [0], "text": ["Explain the tank."], "label": [TANK]})
    found = Paraphrases.of(items, 20)
    assert found is not None
    assert search(found, pl.Series(["Explain the tank.\n\n" + TANK]), 20, 0.5)["item"].to_list() == [0]


def test_paraphrase_same_in_any_order_and_chunk(monkeypatch):
    texts = pl.Series([SAME_SUBJECT, FERRY_REWORDED, "", None, BAKERY, "x " * 50, CODE_REWORDED])
    whole = search(index(**ITEMS), texts, 20, 0.2)
    monkeypatch.setattr(paraphrase, "ROWS_AT_ONCE", 2)
    assert search(index(**ITEMS), texts, 20, 0.2).equals(whole)
    turned = search(index(**ITEMS), texts.reverse(), 20, 0.2).with_columns(row=6 - pl.col("row")).sort("row")
    assert turned.equals(whole)


def test_paraphrase_threshold_prunes_nothing_that_passes():
    texts = pl.Series([*ITEMS.values(), FERRY_REWORDED, SAME_SUBJECT, CODE_REWORDED])
    every = search(index(**ITEMS), texts, 20, 1e-9)
    for threshold in (0.1, 0.5, 0.9):
        kept = every.filter(pl.col("score") >= threshold)
        assert search(index(**ITEMS), texts, 20, threshold).equals(kept)


# --- the step -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suspects", "kept", "reason"),
    [("review", False, "in_review"), ("drop", False, "suspect"), ("keep", True, None)],
)
def test_paraphrase_record_is_a_suspect(suspects, kept, reason):
    found = judge(FERRY_REWORDED, suspects)
    assert (found["match"], found["eval_item"]) == ("paraphrase", "ferry")
    assert (found["kept"], found["reason"]) == (kept, reason)
    assert (found["span_start"], found["span_end"]) == (0, 40)
    if not kept:
        assert json.loads(found["detail"]) == {
            "item": "ferry", "rule": "paraphrase", "set": "held", "span": [0, 40], "text": "whole",
            "threshold": 0.5, "value": found["overlap_fraction"],
        }  # fmt: skip


def test_paraphrase_switched_off_or_above_the_threshold_is_kept():
    assert judge(FERRY_REWORDED, wanted=None)["match"] is None
    score = judge(FERRY_REWORDED)["overlap_fraction"]
    assert 0.5 <= score < 1.0
    assert judge(FERRY_REWORDED, wanted=Paraphrase(threshold=1.0))["kept"]
    assert judge(FERRY_REWORDED, wanted=Paraphrase(min_words=60))["kept"]


def test_paraphrase_stronger_matches_are_named_first():
    assert judge(FERRY)["match"] == "equal"
    assert judge("Please solve: " + FERRY)["match"] == "coverage"
    short = "bring 48 cars plus 17 lorries"
    assert judge(FERRY_REWORDED, ferry=FERRY, short=short)["match"] == "contained"


def test_paraphrase_stock_sentence_of_the_item_makes_no_suspect():
    stock = "I have restarted the app signed out and in again and read the help page before sending this form"
    item = f"{FERRY} {BAKERY} {stock}"
    text = f"{stock} {FERRY_REWORDED}"
    assert judge(text, item=item)["match"] is None
    assert judge(FERRY_REWORDED, item=FERRY)["match"] == "paraphrase"


def test_decontaminate_template_with_other_numbers_is_measured_not_contaminated():
    item = "A plane travels 1200 miles in 3 hours and at the same rate how many more hours does it take for 2000 miles"
    twin = item.replace("1200", "360").replace("2000", "240").replace("plane", "train")
    found = judge(twin, wanted=None, q=item)
    assert (found["kept"], found["match"]) == (True, None)
    assert found["overlap_fraction"] > 0.5
    assert judge("So " + item, wanted=None, q=item)["match"] == "coverage"
    assert judge(" ".join(item.split()[:17]), wanted=None, q=item)["match"] == "coverage"
