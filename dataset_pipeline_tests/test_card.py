"""The card: sections that a trainer, a reviewer and a lawyer look for.

Lives here: `transforms.card` and its parts on facts made by hand. Keep out: front matter and loading
(`test_card_front`), the facts of a run (`test_release_rows`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets import card_numbers
from dataset_pipeline.records import REASONS, TABLES, Step
from dataset_pipeline.spec.models import Decision, Task
from dataset_pipeline.transforms.card.markdown import cell, plain, table
from dataset_pipeline.transforms.card.whole import SourceFacts, card
from dataset_pipeline.transforms.card.words import REASON_WORDS
from dataset_pipeline_tests.card_scenario import HOSTILE, facts, grant, release_rights, section

SECTIONS = [
    "Behaviour", "How to load", "Contents", "Lengths and tokens", "Languages", "Sources and rights",
    "Rights of the release", "Intended and excluded uses", "What was done", "Thresholds", "Exclusions", "Personal data",
    "Agreement and reviews", "Decisions", "Known limits", "Files", "Versions and how to rebuild",
]  # fmt: skip


def tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of each table, by the rule that an escaped bar parts nothing."""
    for found in re.finditer(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        yield [re.split(r"(?<!\\)\|", line)[1:-1] for line in found[0].splitlines()]


# --- sections ------------------------------------------------------------------------------------


def test_card_has_every_section_once_and_in_order() -> None:
    assert re.findall(r"^## (.*)$", card(facts()), re.MULTILINE) == SECTIONS


def test_card_is_the_same_text_for_the_same_facts_and_holds_no_year_of_its_own() -> None:
    assert card(facts()) == card(facts())
    assert set(re.findall(r"20\d\d-\d\d-\d\d", card(facts()))) == {"2026-03-01", "2026-03-02", "2026-03-04"}


def test_contents_add_up() -> None:
    labels = next(tables(section(card(facts()), "Contents")))
    assert [c.strip() for c in labels[-1]] == ["all", "24", "0", "6", "30", "100.0%"]
    for column in (1, 2, 3, 4):
        assert sum(int(row[column]) for row in labels[2:-1]) == int(labels[-1][column])


def test_balance_names_the_ratio_and_labels_with_few_or_no_records() -> None:
    counts = {"a": {"train": 40}, "b": {"train": 7, "test": 1}, "c": {}}
    text = section(card(facts(labels=counts)), "Contents")
    assert "5.0 times" in text and "(40:8)" in text
    assert "fewer than 10 records: b 8." in text and "without any record: c." in text


def test_contents_of_a_task_without_labels_are_by_split() -> None:
    text = card(facts(labels={}, task=Task(behavior="Answer.", type="instruction")))
    assert [row[0].strip() for row in next(tables(section(text, "Contents")))[2:]] == [
        "train",
        "validation",
        "test",
        "all",
    ]
    assert "Agreement: not computed, for a task without labels." in text


def test_a_thousand_labels_are_cut_to_the_largest_and_77_are_not() -> None:
    many = {f"label{n:04}": {"train": n + 1} for n in range(1_000)}
    text = section(card(facts(labels=many, splits={"train": 500_500})), "Contents")
    assert "label0999" in text and "label0899" not in text.split("Balance")[0]
    assert "… and 900 more labels." in text and "| all | 500500 |" in text
    assert len(text) < 12_000
    some = section(card(facts(labels={f"l{n}": {"train": 20} for n in range(77)})), "Contents")
    assert all(f"| l{n} |" in some for n in range(77)) and "more labels" not in some


def test_lengths_say_how_tokens_were_counted_what_is_cut_and_what_it_costs() -> None:
    text = section(card(facts()), "Lengths and tokens")
    assert "Counted by an estimate of 4 characters a token." in text
    assert "2 records, of which 9 tokens would be cut; 1 record would have nothing left" in text
    assert "3 epochs at the spec's price cost about 0.50 EUR." in text
    assert "## Lengths" not in card(facts(tokens=None))


def test_sources_show_rights_shares_and_how_one_gets_at_them() -> None:
    rows = next(tables(section(card(facts()), "Sources and rights")))
    assert [c.strip() for c in rows[3]] == [
        "survey", "licensed", "CC-BY-4.0", "Example e.V.", "train, evaluate", "12", "10", "33.3%",
    ]  # fmt: skip
    assert "- inbox: nightly export; basis: agreement." in card(facts())


def test_sources_show_every_licence_that_a_source_had() -> None:
    own = release_rights(grant("survey"), grant("survey", license="CC-BY-SA-4.0", uses=("train",)))
    row = next(tables(section(card(facts(rights=own)), "Sources and rights")))[3]
    assert "CC-BY-4.0; CC-BY-SA-4.0" in row[2] and "train, evaluate; train" in row[4]


def test_rights_of_a_mixed_release_say_uses_obligations_and_unknown_terms() -> None:
    own = release_rights(
        grant("a", license="CC-BY-NC-SA-4.0"), grant("b", license="LicenseRef-x", uses=("train",))
    )
    text = section(card(facts(rights=own)), "Rights of the release")
    assert "- Released for: train" in text and "- Every record allows: train (training a model).\n" in text
    for words in (
        "- Share-alike:",
        "- Non-commercial use only:",
        "- Attribution:",
        "contract knows: LicenseRef-x.",
    ):
        assert words in text
    assert "CC-BY-NC-SA-4.0 AND LicenseRef-x" in text


def test_uses_follow_from_task_data_and_rights() -> None:
    intended, excluded = section(card(facts()), "Intended and excluded uses").split("Excluded:")
    assert "Say what kind of message it is." in intended and "Texts in: de, en." in intended
    assert "one of: bug, praise." in intended
    assert "Commercial use: not allowed by records of inbox 20, survey 10." in excluded
    assert "kept out: examples, holdout." in excluded


def test_uses_that_are_allowed_and_asked_for_are_intended() -> None:
    every = ("train", "evaluate", "commercial", "redistribute")
    own = release_rights(grant("a", uses=every))
    text = section(card(facts(rights=own)), "Intended and excluded uses")
    assert "Commercial use: allowed by the records, and not what this release is for." in text
    asked = section(
        card(facts(rights=type(own)(**{**vars(own), "asked": every}))), "Intended and excluded uses"
    )
    assert "Commercial use: allowed by every record and asked for." in asked.split("Excluded:")[0]


def test_funnel_and_exclusions_tell_every_reason_in_words() -> None:
    text = card(facts())
    assert "| dedup | 37 | 35 | exact 2 |" in section(text, "What was done")
    rows = next(tables(section(text, "Exclusions")))[2:]
    assert [(r[2].strip(), int(r[3])) for r in rows] == [
        ("rejected", 1),
        ("exact", 2),
        ("in_review", 1),
        ("contradiction", 4),
    ]
    assert {r for reasons in REASONS.values() for r in reasons} <= set(REASON_WORDS)


def test_agreement_gives_measures_and_no_names() -> None:
    text = section(card(facts()), "Agreement and reviews")
    assert "alpha: 0.80 (at least 0.75 is asked), over 40 items" in text and "by 3 annotators" in text
    assert "2 pairs of annotators: lowest 0.70, median 0.75, highest 0.80." in text
    assert (
        "| praise | not defined | 0 |" in text and "| label | relabel | 2 |" in text and "overruled 1" in text
    )
    assert "wait for a person: 1 (filter 1); withheld as sides of a contradiction: 4." in text


def test_agreement_is_not_computed_where_nobody_annotated() -> None:
    text = card(facts(agreement=None, reviews=None))
    assert "Agreement: not computed, nobody annotated." in text and "nobody reviewed" in text
    assert "how far people would agree" in section(text, "Known limits")


def test_decisions_stand_in_the_words_of_those_who_took_them() -> None:
    assert "- **Forum not used.** terms unclear (Jo)" in section(card(facts()), "Decisions")
    assert "None are recorded" in section(card(facts(decisions=[])), "Decisions")


def test_limits_are_those_of_the_method_and_of_these_numbers() -> None:
    text = section(card(facts(eval_sets={"examples": 5})), "Known limits")
    for words in (
        "Paraphrases of evaluation items", "Names of persons", "No evaluation set was named", "The split validation is empty",
        "fewer than 10 test records: bug 5, praise 1", "1 day of the calendar is missing", "Tokens are an estimate of 4 characters",
    ):  # fmt: skip
        assert words in text
    assert "No evaluation set" not in section(card(facts()), "Known limits")


# --- escaping ------------------------------------------------------------------------------------


def test_hostile_names_break_no_table_heading_or_html() -> None:
    hostile = {
        "labels": {HOSTILE: {"train": 24, "test": 6}, "=HYPERLINK(1)": {}, "../../etc/passwd": {}},
        "sources": [SourceFacts(HOSTILE, "licensed", 12, 10, access=HOSTILE, generator=HOSTILE)],
        "rights": release_rights(grant(HOSTILE, holder=HOSTILE, basis=HOSTILE, license="LicenseRef-x")),
        "decisions": [Decision(what=HOSTILE, why=HOSTILE, who=HOSTILE)],
        "settings": [(HOSTILE, HOSTILE)],
        "eval_sets": {HOSTILE: 3},
        "missing_days": [HOSTILE],
        "task": Task(behavior=HOSTILE, type="classification", labels={HOSTILE: HOSTILE, "b": "x"}),
    }
    text = card(facts(**hostile))
    body = text.split("---\n", 2)[2]
    assert re.findall(r"^## (.*)$", body, re.MULTILINE) == SECTIONS
    assert (
        "<script>" not in body
        and "[x](y)" not in body
        and "\u202e" not in body
        and "*z*" not in body.replace("\\*", "")
    )
    assert not re.search(r"^---", body, re.MULTILINE)
    for found in tables(body):
        assert {len(row) for row in found} == {len(found[0])}
    assert "| =HYPERLINK(1) |" in body and "| ../../etc/passwd |" in body


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a_b", "a_b"), ("_b_", "\\_b\\_"), ("a|b", "a\\|b"), ("a\nb", "a b"), ("<b>", "&lt;b&gt;"), ("# a", "\\# a"),
     ("1. a", "1\\. a"), ("- a", "\\- a"), ("\x00", "(U+0000)"), ("2026-01-01", "2026-01-01"), ("`x`", "\\`x\\`")],
)  # fmt: skip
def test_plain_text_reads_as_itself(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_cells_and_tables_are_cut() -> None:
    assert len(cell("x" * 10_000)) == 300
    lines = table(["n"], [[str(n)] for n in range(150)] + [["all"]], "numbers")
    assert lines[-1] == "… and 50 more numbers." and "| all |" in lines and "| 100 |" not in lines


# --- counting ------------------------------------------------------------------------------------


def frame(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{c: row.get(c) for c in TABLES[name]} for row in rows], schema=TABLES[name])


def test_numbers_of_sources_count_changes_of_released_and_drops_of_all_records() -> None:
    ids = [("1", "a"), ("2", "a"), ("3", "b")]
    kept = {"1": True, "2": False, "3": True}
    tables_ = {str(step): frame(step, []) for step in Step}
    tables_[Step.INGEST] = frame(
        "ingest", [{"record_id": i, "source": s, "label": "bug", "kept": True} for i, s in ids]
    )
    tables_[Step.DEDUP] = frame("dedup", [{"record_id": i, "kept": kept[i]} for i, _ in ids])
    tables_[Step.NORMALIZE] = frame(
        "normalize",
        [{"record_id": "1", "kept": True, "changes": [{"name": "mojibake", "count": 2}], "pii_counts": []},
         {"record_id": "3", "kept": True, "changes": [], "pii_counts": [{"name": "PERSON", "count": 1}]}],
    )  # fmt: skip
    tables_[Step.LABEL] = frame(
        "label", [{"record_id": "1", "label": "bug"}, {"record_id": "3", "label": "bug_report"}]
    )
    released = pl.DataFrame({"record_id": ["1", "3"], "source": ["a", "b"]})
    batches = frame("batches", [{"source": s, "kind": "licensed", "uri": s} for s in ("a", "b")])
    a, b = card_numbers.sources(tables_, released, batches, {"a": "by post"})
    assert (a.collected, a.released, a.cleaned, a.scrubbed, a.relabelled, a.access) == (
        2,
        1,
        1,
        0,
        0,
        "by post",
    )
    assert (b.collected, b.released, b.cleaned, b.scrubbed, b.relabelled, b.access) == (1, 1, 0, 1, 1, None)
    assert a.dropped == {"dedup": 1} and b.dropped == {}


def test_numbers_of_reviews_tell_acting_verdicts_from_idle_ones() -> None:
    rows = [
        {"step": "label", "verdict": "relabel", "state": "acts"},
        {"step": "label", "verdict": "keep", "state": "overruled"},
    ]
    found = card_numbers.reviews(frame("reviews", rows))
    assert (
        found is not None
        and list(found.acting) == [("label", "relabel", 1)]
        and found.idle == {"overruled": 1}
    )
    assert card_numbers.reviews(frame("reviews", [])) is None


def test_numbers_of_labels_name_those_without_records() -> None:
    released = pl.DataFrame({"label": ["b", "b"], "split": ["train", "test"]})
    assert card_numbers.labels(released, ["c", "b"]) == {"b": {"test": 1, "train": 1}, "c": {}}
