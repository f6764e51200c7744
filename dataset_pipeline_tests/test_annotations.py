"""Answers of annotators: what a row says, whom it means, consensus, agreement."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import polars as pl
import pytest

from dataset_pipeline.records import ANNOTATIONS, TABLES, content_hash, empty
from dataset_pipeline.spec.models import AnnotationFields, AnnotationSet
from dataset_pipeline.spec.params import AnnotationsParams
from dataset_pipeline.transforms.agreement import agreement
from dataset_pipeline.transforms.annotations import (
    STATES,
    UNUSABLE_REASONS,
    Unusable,
    answers,
    consensus,
    missing_columns,
    resolved,
)

LABELS = ("bug", "praise", "wish")
NAMES = {"bug": "bug", "praise": "praise", "wish": "wish", "feature request": "wish", "1": "bug"}
SOURCES = frozenset({"inbox", "forum"})
LONG = AnnotationSet(path="annotations/a.csv")
WIDE = AnnotationSet(path="annotations/a.csv", source="inbox", annotators=("ann", "bob"))
OWN = AnnotationSet(path="annotations/a.csv", source="inbox")
R1, R2, R3 = "1" * 32, "2" * 32, "a" * 32
NO_RECORDS = pl.DataFrame(schema={"record_id": pl.String, "source": pl.String, "source_id": pl.String})


def params(aggregate: Literal["majority", "dawid_skene"] = "majority") -> AnnotationsParams:
    return AnnotationsParams(
        sets=(), labels=LABELS, label_names=NAMES, aggregate=aggregate, min_agreement=0.75
    )


def read(
    *rows: dict[str, Any], of: AnnotationSet = LONG, uri: str = "a.csv"
) -> tuple[pl.DataFrame, list[Unusable]]:
    return answers([(uri, n, row) for n, row in enumerate(rows, 2)], of, params(), SOURCES)


def row(item: Any, annotator: Any = "ann", label: Any = "bug", **more: Any) -> dict[str, Any]:
    return {"item": item, "annotator": annotator, "label": label, **more}


def records(*known: tuple[str, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(known), schema=NO_RECORDS.schema, orient="row")


def said(*words: str, of: AnnotationSet = OWN) -> pl.DataFrame:
    """Resolved answers of words such as `1 ann bug`, on records that are all known."""
    rows = [row(*word.split()) for word in words]
    ids = sorted({r["item"] for r in rows})
    known = records(*((f"{n:032x}", "inbox", item) for n, item in enumerate(ids)))
    return resolved(read(*rows, of=of)[0], known)


def labels_of(decided: pl.DataFrame) -> dict[str, str | None]:
    return dict(decided.select("source_id", "label").sort("source_id").iter_rows())


def measured(made: pl.DataFrame, measure: str, aggregate: Any = "majority") -> dict[Any, tuple[Any, int]]:
    """name, or (name, other), to value and n."""
    decided = consensus(made, params(aggregate))
    found = agreement(made, decided, params(aggregate)).filter(pl.col("measure") == measure)
    return {(n if o is None else (n, o)): (v, k) for n, o, v, k in found.drop("measure").iter_rows()}


# --- rows -----------------------------------------------------------------------------------


def test_answers_long_form_is_told_whole():
    found, unusable = read(
        row(R3.upper(), " ann ", " BUG ", confidence="0.8", notes=" hm ", secondary="Wish"),
        row("inbox: 17", "bob", "feature request"),
    )
    assert unusable == []
    assert found.rows() == [
        (R3, None, None, "ann", "bug", "BUG", 0.8, "wish", "hm", "a.csv", 2, None),
        (None, "inbox", "17", "bob", "wish", None, None, None, None, "a.csv", 3, None),
    ]
    assert found.schema == empty(ANNOTATIONS).schema


def test_answers_wide_form_every_filled_cell_is_an_answer():
    found, unusable = read(
        {"item": "1", "ann": "bug", "bob": " "},
        {"item": "2", "ann": "wish", "bob": "praise"},
        {"item": "3", "ann": None, "bob": ""},
        of=WIDE,
    )
    assert found.select("source", "source_id", "annotator", "label", "line").rows() == [
        ("inbox", "1", "ann", "bug", 2),
        ("inbox", "2", "ann", "wish", 3),
        ("inbox", "2", "bob", "praise", 3),
    ]
    assert unusable == [Unusable("a.csv", 4, "missing_label")]


def test_answers_of_a_source_take_its_ids_at_their_word():
    """An MD5 sum has as many digits as our ids, and an id may hold a colon."""
    found, _ = read(row(R1), row("forum:9"), of=OWN)
    assert found.select("record", "source", "source_id").rows() == [
        (None, "inbox", R1),
        (None, "inbox", "forum:9"),
    ]


def test_answers_item_is_split_at_the_first_colon():
    found, _ = read(row("forum:a:b"))
    assert found.select("source", "source_id").row(0) == ("forum", "a:b")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (row(None), "missing_item"),
        (row("  "), "missing_item"),
        ({"annotator": "ann", "label": "bug"}, "missing_item"),
        (row("17"), "item_form"),
        (row("mail:17"), "item_form"),
        (row("inbox:"), "item_form"),
        (row(R1, annotator=""), "missing_annotator"),
        (row(R1, label=None), "missing_label"),
        (row(R1, annotator=None, label=None), "missing_label"),
        (row([R1]), "wrong_type"),
        (row(R1, label={"name": "bug"}), "wrong_type"),
    ],
)
def test_answers_unusable_row_is_told_with_its_place(payload, reason):
    found, unusable = read(payload)
    assert (found.height, unusable) == (0, [Unusable("a.csv", 2, reason)])
    assert reason in UNUSABLE_REASONS


def test_answers_numbers_and_booleans_are_their_text():
    found, unusable = read(row(7, 12, 1), row(True, False, 2), of=OWN)
    assert unusable == []
    assert found.select("source_id", "annotator", "label", "given").rows() == [
        ("7", "12", "bug", "1"),
        ("true", "false", None, "2"),
    ]


def test_answers_unknown_label_shows_a_short_word_and_nothing_longer():
    found, unusable = read(
        row(R1, label="Bugg"), row(R1, label="I am Jo, call 0123"), row(R1, label="0123456")
    )
    assert unusable == []
    assert found.select("label", "given", "state").rows() == [
        (None, "Bugg", "unknown_label"),
        (None, None, "unknown_label"),
        (None, None, "unknown_label"),
    ]


@pytest.mark.parametrize(
    ("value", "number", "bad"),
    [
        (None, None, False),
        ("", None, False),
        ("0.25", 0.25, False),
        ("1", 1.0, False),
        (0, 0.0, False),
        ("80%", None, True),
        ("0,8", None, True),
        (1.01, None, True),
        ("-0.1", None, True),
        (True, None, True),
        ("nan", None, True),
        (float("nan"), None, True),
        ("0_1", None, True),
        (10**400, None, True),
        ([0.5], None, True),
    ],
)
def test_answers_confidence_is_a_share_or_reported_and_the_answer_counts(value, number, bad):
    found, unusable = read(row(R1, confidence=value))
    assert found["confidence"].to_list() == [number]
    assert unusable == ([Unusable("a.csv", 2, "bad_confidence")] if bad else [])


def test_answers_columns_may_lead_into_objects():
    nested = AnnotationSet(path="a.jsonl", source="inbox", fields=AnnotationFields(annotator="by.name"))
    found, _ = read({"item": 1, "by": {"name": "ann"}, "label": "bug", "notes": {"b": 1, "a": []}}, of=nested)
    assert found.select("annotator", "notes").row(0) == ("ann", '{"a":[],"b":1}')


def test_missing_columns_names_required_ones_alone():
    assert missing_columns(["item", "label"], LONG) == ["annotator"]
    assert missing_columns(["item", "annotator", "label"], LONG) == []
    assert missing_columns(["bob"], WIDE) == ["item", "ann"]


# --- whom the answers mean ------------------------------------------------------------------


def test_resolved_item_named_in_both_ways_is_one():
    made, _ = read(row(R1, "ann", "bug"), row("inbox:17", "bob", "bug"))
    found = resolved(made, records((R1, "inbox", "17"), (R2, "inbox", "18")))
    assert (
        found.select("record", "source", "source_id", "state").rows() == [(R1, "inbox", "17", "counted")] * 2
    )
    assert consensus(found, params()).select("record", "answers").rows() == [(R1, 2)]


def test_resolved_source_id_sent_again_is_one_item_without_a_record():
    known = records((R1, "inbox", "17"), (R2, "inbox", "17"))
    made, _ = read(row(R1, "ann", "bug"), row("inbox:17", "bob", "bug"))
    found = resolved(made, known)
    assert found.select("record", "source_id", "state").rows() == [(None, "17", "counted")] * 2
    assert consensus(found, params()).select("record", "source_id", "answers").rows() == [(None, "17", 2)]


def test_resolved_records_of_one_source_id_named_one_by_one_stay_apart():
    """Parts of an exploded row share its id: each has a label of its own."""
    known = records((R1, "inbox", "17"), (R2, "inbox", "17"))
    made, _ = read(row(R1, "ann", "bug"), row(R2, "ann", "wish"))
    found = consensus(resolved(made, known), params())
    assert found.select("record", "label").rows() == [(R1, "bug"), (R2, "wish")]


def test_resolved_nothing_known_is_said_and_the_answers_count():
    made, _ = read(row(R1, "ann"), row("inbox:17", "ann"), row(R1, "bob"))
    found = resolved(made, NO_RECORDS)
    assert found["state"].to_list() == ["unknown_record"] * 3
    assert consensus(found, params()).select("record", "source_id", "answers").rows() == [
        (R1, None, 2),
        (None, "17", 1),
    ]


def test_resolved_last_answer_of_an_annotator_counts_by_file_and_line():
    later, _ = read(row("inbox:17", "ann", "wish"), uri="b.csv")
    first, _ = read(row(R1, "ann", "praise"), row(R1, "ann", "bug"), row(R1, "bob", "bug"), uri="a.csv")
    found = resolved(pl.concat([later, first]), records((R1, "inbox", "17")))
    assert found.select("uri", "line", "state").rows() == [
        ("a.csv", 2, "overruled"),
        ("a.csv", 3, "overruled"),
        ("a.csv", 4, "counted"),
        ("b.csv", 2, "counted"),
    ]
    assert consensus(found, params())["votes"].to_list() == [
        [{"name": "bug", "count": 1}, {"name": "wish", "count": 1}]
    ]


def test_resolved_unknown_label_overrules_nothing():
    found = said("1 ann bug", "1 ann bugg")
    assert found["state"].to_list() == ["counted", "unknown_label"]
    assert set(found["state"]) <= set(STATES)


def test_resolved_is_the_same_in_any_order():
    made, _ = read(
        row(R1, "ann", "bug"), row("inbox:17", "ann", "wish"), row(R2, "bob", "wish"), row(R1, "bob", "x")
    )
    known = records((R1, "inbox", "17"), (R2, "forum", None))
    hashes = {content_hash(resolved(made[list(order)], known)) for order in itertools.permutations(range(4))}
    assert len(hashes) == 1


# --- consensus ------------------------------------------------------------------------------


def test_consensus_majority_decides_and_a_tie_stays_open():
    found = consensus(said("1 a bug", "1 b bug", "1 c wish", "2 a bug", "2 b wish"), params())
    assert found.select("source_id", "label", "answers", "agreement", "probability").rows() == [
        ("1", "bug", 3, 2 / 3, None),
        ("2", None, 2, 0.5, None),
    ]
    assert found["votes"][0].to_list() == [{"name": "bug", "count": 2}, {"name": "wish", "count": 1}]
    assert found.schema == empty("consensus").schema


def test_consensus_dawid_skene_trusts_those_who_agree_elsewhere():
    """a and b agree throughout, c answers at random: where a and c stand alone, a is believed."""
    careful = [f"{n} {who} {('bug', 'wish')[n % 2]}" for n in range(1, 9) for who in ("a", "b")]
    careless = [f"{n} c {('bug', 'wish')[n // 2 % 2]}" for n in range(1, 9)]
    made = said(*careful, *careless, "x a bug", "x c wish")
    assert labels_of(consensus(made, params("majority")))["x"] is None
    found = consensus(made, params("dawid_skene")).row(-1, named=True)
    assert (found["source_id"], found["label"], found["agreement"]) == ("x", "bug", 0.5)
    assert 0.99 < found["probability"] <= 1


def test_consensus_dawid_skene_equal_annotators_tie():
    """Two annotators, mirror images of each other: nothing speaks for either, in whatever order."""
    made = said("1 a bug", "1 b wish", "2 a wish", "2 b bug", "3 a bug", "3 b bug", "4 a wish", "4 b wish")
    found = labels_of(consensus(made, params("dawid_skene")))
    assert found == {"1": None, "2": None, "3": "bug", "4": "wish"}


@pytest.mark.parametrize("aggregate", ["majority", "dawid_skene"])
@pytest.mark.parametrize(
    "words",
    [
        ("1 a bug",),
        ("1 a bug", "2 a bug", "3 a bug"),
        ("1 a bug", "2 a wish", "3 a praise"),
        ("1 a bug", "1 b bug", "2 a bug", "2 b bug"),
    ],
)
def test_consensus_one_annotator_or_one_label_says_what_was_said(aggregate, words):
    found = consensus(said(*words), params(aggregate))
    assert labels_of(found) == {w.split()[0]: w.split()[2] for w in words}
    assert found["agreement"].to_list() == [1.0] * found.height


@pytest.mark.parametrize("seed", range(30))
def test_consensus_dawid_skene_never_gives_a_label_nobody_said(seed):
    import random

    rng = random.Random(seed)
    made = said(*(f"{n} {w} {rng.choice(LABELS)}" for n in range(12) for w in "abcd" if rng.random() < 0.5))
    for label, votes in consensus(made, params("dawid_skene")).select("label", "votes").iter_rows():
        assert label is None or label in {vote["name"] for vote in votes}


def test_consensus_does_not_depend_on_the_order_of_answers():
    words = [f"{n} {w} {LABELS[(n * k) % 3]}" for n in range(20) for k, w in enumerate("abcde")]
    tables = {content_hash(consensus(said(*order), params("dawid_skene"))) for order in (words, words[::-1])}
    assert len(tables) == 1


# --- agreement ------------------------------------------------------------------------------


def test_agreement_alpha_of_three_items_by_hand():
    """Pairs bug-bug, wish-wish, bug-wish: 2 of 6 differ, 18 of 30 would by chance: 1 - (2/6) / (18/30)."""
    made = said("1 a bug", "1 b bug", "2 a wish", "2 b wish", "3 a bug", "3 b wish")
    assert measured(made, "alpha") == {"all": (pytest.approx(1 - (2 / 6) / (18 / 30)), 3)}


@pytest.mark.parametrize("seed", range(5))
def test_agreement_alpha_equals_that_of_crowd_kit(seed):
    import random

    import pandas as pd
    from crowdkit.metrics.data import alpha_krippendorff

    rng = random.Random(seed)
    words = [
        f"{n} {w} {rng.choice([LABELS[n % 3], *LABELS])}"
        for n in range(40)
        for w in "abcde"
        if rng.random() < 0.6
    ]
    frame = pd.DataFrame([w.split() for w in words], columns=["task", "worker", "label"])
    # Items with one answer tell nothing of agreement: crowd-kit's own function leaves them out as well.
    assert measured(said(*words), "alpha")["all"][0] == pytest.approx(alpha_krippendorff(frame), abs=1e-12)
    for label in LABELS:
        rest = frame.assign(label=frame["label"] == label)
        assert measured(said(*words), "alpha_label")[label][0] == pytest.approx(
            alpha_krippendorff(rest), abs=1e-12
        )


@pytest.mark.parametrize(
    "words", [("1 a bug", "1 b bug", "2 a bug", "2 b bug"), ("1 a bug", "2 a wish", "3 b wish"), ("1 a bug",)]
)
def test_agreement_alpha_without_variety_or_pairs_is_null(words):
    made = said(*words)
    assert measured(made, "alpha")["all"][0] is None
    assert {value for value, _ in measured(made, "alpha_label").values()} == {None}


def test_agreement_counts_items_with_two_answers():
    made = said("1 a bug", "1 b bug", "2 a wish", "2 b bug", "3 a wish")
    assert measured(made, "alpha")["all"][1] == 2
    assert {name: n for name, (_, n) in measured(made, "alpha_label").items()} == {
        "bug": 2,
        "praise": 0,
        "wish": 1,
    }


def test_agreement_kappa_equals_that_of_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    given = {who: {n: LABELS[(n * k + n // 4) % 3] for n in range(k, 24)} for k, who in enumerate("abcd", 1)}
    made = said(*(f"{n} {who} {label}" for who, of in given.items() for n, label in of.items()))
    found = measured(made, "kappa")
    assert sorted(found) == list(itertools.combinations("abcd", 2))
    for (one, other), (value, n) in found.items():
        common = sorted(set(given[one]) & set(given[other]))
        expected = cohen_kappa_score([given[one][i] for i in common], [given[other][i] for i in common])
        assert (value, n) == (pytest.approx(expected, abs=1e-12), len(common))


def test_agreement_kappa_of_few_common_items_is_left_out_and_of_one_label_null():
    nine = [f"{n} {w} {LABELS[n % 3]}" for n in range(9) for w in "ab"]
    assert measured(said(*nine, "9 a bug", "x b bug"), "kappa") == {}
    ten = [f"{n} {w} bug" for n in range(10) for w in "ab"]
    assert measured(said(*ten), "kappa") == {("a", "b"): (None, 10)}


def test_agreement_annotator_is_judged_where_another_one_answered():
    made = said("1 a bug", "1 b bug", "1 c wish", "2 a wish", "3 a bug", "3 b wish", "4 d bug")
    assert measured(made, "annotator") == {"a": (1.0, 1), "b": (1.0, 1), "c": (0.0, 1), "d": (None, 0)}


def test_agreement_of_nothing_is_empty():
    nothing = empty(ANNOTATIONS)
    assert consensus(resolved(nothing, NO_RECORDS), params("dawid_skene")).equals(empty("consensus"))
    assert agreement(nothing, empty("consensus"), params()).schema == pl.Schema(TABLES["agreement"])
