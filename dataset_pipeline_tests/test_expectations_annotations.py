"""What annotations are asked, each open and shut on a few answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import pytest

from dataset_pipeline.expectations.annotations import ANNOTATIONS_SUITE, annotation_frames, annotations_suite
from dataset_pipeline.expectations.gate import Judgement, adjusted, judge
from dataset_pipeline.records import ANNOTATIONS, empty
from dataset_pipeline.spec.models import Gate
from dataset_pipeline.transforms.agreement import agreement
from dataset_pipeline.transforms.annotations import Unusable, consensus, resolved
from dataset_pipeline_tests.test_annotations import LABELS, NO_RECORDS, OWN, params, read, records, row, said


def judged(
    made: pl.DataFrame,
    unusable: Sequence[Unusable] = (),
    gates: dict[str, Gate] | None = None,
    least: float = 0.75,
) -> dict[str, Judgement]:
    decided = consensus(made, params())
    frames = annotation_frames(made, decided, agreement(made, decided, params()), unusable)
    return {j.expectation.name: j for j in judge(adjusted(annotations_suite(least), gates or {}), *frames)}


def failing(found: dict[str, Judgement]) -> set[str]:
    return {name for name, judgement in found.items() if not judgement.passed}


def good(items: int = 60) -> list[str]:
    return [f"{n} {who} {LABELS[n % 3]}" for n in range(items) for who in ("ann", "bob", "cee")]


def bad_rows(reason: str, count: int) -> list[Unusable]:
    return [Unusable("a.csv", 1000 + n, reason) for n in range(count)]


def test_annotations_gate_good_answers_and_none_at_all_hold():
    assert failing(judged(said(*good()))) == set()
    found = judged(empty(ANNOTATIONS))
    assert failing(found) == set()
    assert list(found) == [e.name for e in ANNOTATIONS_SUITE]


def _by_chance(items: int) -> pl.DataFrame:
    return said(*(f"{n} {who} {LABELS[(n * k) % 3]}" for n in range(items) for k, who in enumerate("abc")))


def test_annotations_gate_disagreement_closes_it_and_a_reason_opens_it():
    found = judged(_by_chance(60))
    assert found["agreement"].blocks
    assert "annotations.agreement: " in found["agreement"].message("annotations")
    relaxed = judged(_by_chance(60), gates={"agreement": Gate(min=-1.0, reason="a first trial")})
    assert relaxed["agreement"].passed
    assert judged(_by_chance(60), least=-1.0)["agreement"].passed


def test_annotations_gate_few_items_only_warn():
    found = judged(_by_chance(49))["agreement"]
    assert (found.passed, found.blocks) == (False, False)


@pytest.mark.parametrize(
    ("count", "reason", "shut"),
    [
        (1, "item_form", set()),
        (2, "item_form", {"answers_readable"}),
        (2, "invalid_csv", {"answers_readable"}),
        (9, "missing_label", set()),
        (10, "missing_label", {"labels_given"}),
        (1, "bad_confidence", {"confidences_readable"}),
    ],
)
def test_annotations_gate_unusable_rows_are_told_by_place(count, reason, shut):
    found = judged(said(*good()), bad_rows(reason, count))
    assert failing(found) == shut
    for name in shut:
        assert found[name].blocks is (name == "answers_readable")
        assert "a.csv:1000" in found[name].culprits[0]


def test_annotations_gate_file_of_which_nothing_counts_closes_it_however_small():
    lost = judged(said(*good()), [Unusable("b.csv", 2, "item_form")])["files_counted"]
    assert (lost.blocks, lost.culprits) == (True, ("b.csv",))
    assert judged(said("1 ann bugg"))["files_counted"].blocks
    assert judged(said(*good()), [Unusable("b.csv", 2, "missing_label")])["files_counted"].passed


def test_annotations_gate_unknown_labels_warn_and_many_close_it():
    few = judged(said(*good(), "1 dee bugg"))
    assert failing(few) == {"every_label_known"}
    assert few["every_label_known"].culprits == ("a.csv:182 bugg",)
    many = judged(said(*good(), *(f"{n} dee bugg" for n in range(30))))
    assert failing(many) == {"every_label_known", "labels_known"}
    assert many["labels_known"].blocks


def test_annotations_gate_unknown_record_and_second_answer_warn_with_their_line():
    made, _ = read(*(row(*w.split()) for w in good()), row("nowhere"), row("1", "ann", "wish"), of=OWN)
    known = records(*((f"{n:032x}", "inbox", str(n)) for n in range(60)))
    found = judged(resolved(made, known))
    assert failing(found) == {"records_known", "one_answer_each"}
    assert found["records_known"].culprits == ("a.csv:182",)
    assert found["one_answer_each"].culprits == ("a.csv:5",)


def test_annotations_gate_annotator_who_differs_is_named_with_a_place():
    made = said(*good(), *(f"{n} dee {LABELS[(n + (n < 9)) % 3]}" for n in range(20)))
    found = judged(made)
    assert failing(found) == {"annotators_agree"}
    assert found["annotators_agree"].culprits[0].startswith("'dee' 0.55 (as in a.csv:182)")
    assert "annotators_agree" not in failing(judged(said(*good(), *(f"{n} dee praise" for n in range(19)))))


def test_annotations_gate_never_repeats_a_text_in_place_of_an_annotator():
    text = "Jo Doe, 12 High Street, 555 0123456"
    rows = [row(*w.split()) for w in good()] + [row(str(n), text, LABELS[(n + 1) % 3]) for n in range(20)]
    made = resolved(read(*rows, of=OWN)[0], NO_RECORDS)
    assert "High" not in " ".join(j.message("annotations") for j in judged(made).values())


def test_annotations_gate_ties_warn():
    found = judged(
        said(
            *(f"{n} {w} {LABELS[n % 3]}" for n in range(60) for w in "ab"),
            *(f"x{n} {w} {w}" for n in range(4) for w in ("bug", "wish")),
        )
    )
    assert failing(found) == {"no_ties"}


@pytest.mark.parametrize(
    "words",
    [[f"{n} a {LABELS[n % 3]}" for n in range(60)], [f"{n} {w} bug" for n in range(60) for w in "ab"]],
)
def test_annotations_gate_says_where_agreement_cannot_be_told(words):
    found = judged(said(*words))
    assert failing(found) == {"agreement_measured"}
    assert not found["agreement_measured"].blocks


def _broken(name: str) -> dict[str, Judgement]:
    made = said(*good())
    decided = consensus(made, params())
    measures = agreement(made, decided, params())
    frames = {
        "answers_conserved": (made, decided.head(-1), measures),
        "items_unique": (made, pl.concat([decided, decided.head(1)]), measures),
        "columns_exact": (made.drop("given"), decided, measures),
    }[name]
    return {j.expectation.name: j for j in judge(ANNOTATIONS_SUITE, *annotation_frames(*frames, ()))}


def _second_answer() -> dict[str, Judgement]:
    return judged(said(*good(), "1 ann wish"))


_TIED = [f"x{n} {word} {word}" for n in range(4) for word in ("bug", "wish")]

_SHUT: dict[str, Callable[[], dict[str, Judgement]]] = {
    "columns_exact": lambda: _broken("columns_exact"),
    "items_unique": lambda: _broken("items_unique"),
    "answers_conserved": lambda: _broken("answers_conserved"),
    "answers_readable": lambda: judged(said(*good()), bad_rows("item_form", 2)),
    "files_counted": lambda: judged(said(*good()), [Unusable("b.csv", 2, "item_form")]),
    "labels_known": lambda: judged(said(*good(), *(f"{n} dee bugg" for n in range(30)))),
    "every_label_known": lambda: judged(said(*good(), "1 dee bugg")),
    "labels_given": lambda: judged(said(*good()), bad_rows("missing_label", 10)),
    "confidences_readable": lambda: judged(said(*good()), bad_rows("bad_confidence", 1)),
    "records_known": lambda: judged(resolved(read(row("1"), row("1", "bob"), of=OWN)[0], NO_RECORDS)),
    "one_answer_each": _second_answer,
    "agreement": lambda: judged(_by_chance(60)),
    "agreement_measured": lambda: judged(said("1 ann bug", "2 ann wish")),
    "annotators_agree": lambda: judged(said(*good(), *(f"{n} dee {LABELS[(n + 1) % 3]}" for n in range(20)))),
    "no_ties": lambda: judged(said(*(f"{n} {w} {LABELS[n % 3]}" for n in range(60) for w in "ab"), *_TIED)),
}
_WARNINGS = {
    "every_label_known", "labels_given", "confidences_readable", "records_known", "one_answer_each",
    "agreement_measured", "annotators_agree", "no_ties",
}  # fmt: skip


@pytest.mark.parametrize("name", [e.name for e in ANNOTATIONS_SUITE])
def test_annotations_gate_every_expectation_is_shut_by_something(name):
    found = _SHUT[name]()
    assert not found[name].passed
    assert found[name].blocks is (name not in _WARNINGS)


MUTATIONS = {(ANNOTATIONS, name): shut for name, shut in _SHUT.items()}
