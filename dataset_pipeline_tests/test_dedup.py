"""Exact and near duplicates: who is compared with whom, who is named, and that days do not matter."""

from __future__ import annotations

import datetime as dt
import json
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.records import RECORDS, TABLES, Step
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms import dedup

LABELS = {"bug": "bug", "defect": "bug", "praise": "praise"}


def params(labels: bool = True, ngram: int = 3, **given_near) -> DedupParams:
    return DedupParams(
        answers_are_labels=labels, label_names=LABELS if labels else {}, near=Near(**given_near), ngram=ngram
    )


def record(
    record_id: str, text: str, answer: str | None = "bug", day: int = 1, rank: int = 1, system: str = ""
) -> dict:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {
        "record_id": record_id, "day": dt.date(2026, 11, day), "source": "s", "source_rank": rank,
        "messages": messages, "label": answer, "group": None, "person_names": [], "may_evaluate": True,
        "content_sha": record_id,
    }  # fmt: skip


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=RECORDS)


def verdicts(table: pl.DataFrame) -> dict[str, tuple[str | None, str | None]]:
    return {row["record_id"]: (row["reason"], row["twin"]) for row in table.iter_rows(named=True)}


def day_by_day(
    records: pl.DataFrame, given_params: DedupParams, stretches: list[list[dt.date]]
) -> pl.DataFrame:
    tables, history = [], pl.DataFrame(schema=dedup.FINGERPRINT)
    for days in stretches:
        new = records.filter(pl.col("day").is_in(days))
        prints = dedup.fingerprint(new, given_params)
        found = dedup.candidates(prints, history, given_params)
        fetched = records.join(found.pairs.select(record_id="other_id").unique(), on="record_id", how="semi")
        table = dedup.dedup(new, prints, history, found.pairs, fetched, given_params)
        tables.append(table)
        history = pl.concat([history, prints.join(table.filter("kept"), on="record_id", how="semi")])
    return pl.concat(tables).sort("record_id")


BASE = "my invoice for march shows the wrong amount and nobody answers my calls about it"
CLOSE = BASE + " now"
FAR = "please add a dark mode to the settings page of the mobile app"


def test_dedup_case_and_punctuation_are_exact():
    table = dedup.dedup_all(
        frame(record("a", "It crashes!"), record("b", "it  CRASHES"), record("c", FAR)), params()
    )
    assert verdicts(table) == {"a": (None, None), "b": ("exact", "a"), "c": (None, None)}
    assert table.schema == TABLES[Step.DEDUP]
    assert table["similarity"].to_list() == [None, 1.0, None]


def test_dedup_one_word_more_is_near_and_says_why():
    table = dedup.dedup_all(frame(record("a", BASE), record("b", CLOSE), record("c", FAR)), params())
    assert verdicts(table) == {"a": (None, None), "b": ("near", "a"), "c": (None, None)}
    assert table["detail"].to_list() == [
        None, '{"rule":"near","similarity":0.928571,"threshold":0.8,"twin":"a"}', None,
    ]  # fmt: skip
    assert table["similarity"][1] == pytest.approx(13 / 14)


def test_dedup_threshold_decides():
    rows = frame(record("a", BASE), record("b", CLOSE))
    assert dedup.dedup_all(rows, params(threshold=13 / 14))["kept"].to_list() == [True, False]
    assert dedup.dedup_all(rows, params(threshold=0.93))["kept"].to_list() == [True, True]


def test_dedup_other_answer_keeps_both():
    rows = frame(
        record("a", BASE, "bug"),
        record("b", BASE, "praise"),
        record("c", CLOSE, "praise"),
        record("d", BASE, None),
    )
    assert verdicts(dedup.dedup_all(rows, params())) == {
        "a": (None, None), "b": (None, None), "c": ("near", "b"), "d": (None, None),
    }  # fmt: skip


def test_dedup_two_names_of_one_label_are_equal_answers():
    table = dedup.dedup_all(
        frame(record("a", BASE, "Bug "), record("b", BASE, "DEFECT"), record("c", BASE, "Odd One")), params()
    )
    assert verdicts(table) == {"a": (None, None), "b": ("exact", "a"), "c": (None, None)}
    assert table["answer_key"].to_list() == ["bug", "bug", "odd one"]


def test_dedup_free_answers_are_part_of_the_text():
    rows = frame(
        record("a", "Say hello", "Hello."),
        record("b", "say hello", "hello"),
        record("c", "Say hello", "Good day"),
    )
    table = dedup.dedup_all(rows, params(labels=False))
    assert verdicts(table) == {"a": (None, None), "b": ("exact", "a"), "c": (None, None)}
    assert table["answer_key"].to_list() == ["", "", ""]


def test_dedup_system_prompts_are_never_compared():
    rows = frame(record("a", FAR, system="You label."), record("b", FAR, system="Be kind and label well."))
    assert verdicts(dedup.dedup_all(rows, params()))["b"] == ("exact", "a")


def test_dedup_rank_decides_within_a_day_and_age_before_it():
    rows = frame(
        record("a", FAR, day=2, rank=1), record("b", FAR, day=2, rank=2), record("c", FAR, day=1, rank=9)
    )
    assert verdicts(dedup.dedup_all(rows, params())) == {
        "a": ("exact", "c"),
        "b": ("exact", "c"),
        "c": (None, None),
    }
    assert verdicts(dedup.dedup_all(rows.filter(pl.col("day") == dt.date(2026, 11, 2)), params())) == {
        "a": (None, None), "b": ("exact", "a"),
    }  # fmt: skip


def test_dedup_no_transitive_chain_and_the_earliest_is_named():
    words = [f"w{i}" for i in range(30)]
    chain = [" ".join(words[shift : shift + 24]) for shift in range(0, 5, 2)]
    # Neighbours share 20 of 24 shingles (0.83), the ends 18 of 26 (0.69).
    table = dedup.dedup_all(
        frame(*(record(name, text) for name, text in zip("abc", chain, strict=True))), params()
    )
    assert verdicts(table) == {"a": (None, None), "b": ("near", "a"), "c": (None, None)}


def test_dedup_copy_of_a_near_dropped_record_is_near_with_the_same_twin():
    rows = frame(
        record("a", BASE),
        record("b", CLOSE, day=2),
        record("c", CLOSE.upper(), day=2),
        record("d", CLOSE + "!", day=3),
    )
    table = dedup.dedup_all(rows, params())
    assert {verdict for name, verdict in verdicts(table).items() if name != "a"} == {("near", "a")}
    assert table["similarity"].n_unique() == 2


def test_dedup_texts_too_short_to_shingle_take_the_exact_path_only():
    rows = frame(record("a", "two words"), record("b", "Two words."), record("c", "words two"))
    table = dedup.dedup_all(rows, params())
    assert verdicts(table) == {"a": (None, None), "b": ("exact", "a"), "c": (None, None)}
    assert table["shingles"].to_list() == [0, 0, 0] and table["bands"].null_count() == 3


def test_dedup_empty_equals_empty_but_symbols_only_themselves():
    rows = [record(f"e{i:05d}", "") for i in range(10_000)]
    rows += [record("x1", "👍"), record("x2", "👎"), record("x3", " 👍 "), record("x4", "?")]
    table = dedup.dedup_all(frame(*rows), params())
    assert table.filter("kept")["record_id"].to_list() == ["e00000", "x1", "x2", "x4"]
    assert verdicts(table)["x3"] == ("exact", "x1")


def test_dedup_long_template_collapses_nothing_and_planted_duplicates_are_found():
    draw = random.Random(1)
    template = " ".join(f"line{i}" for i in range(20))
    own = [" ".join(f"n{draw.randrange(3000)}" for _ in range(12)) for _ in range(10_000)]
    rows = [record(f"t{i:05d}", f"{template} {text}", day=1 + i // 5000) for i, text in enumerate(own)]
    planted = [record(f"z{i:03d}", f"{template} {own[50 * i]} again", day=2) for i in range(200)]
    table = dedup.dedup_all(frame(*rows, *planted), params())
    found = verdicts(table)
    assert table.filter(pl.col("record_id").str.starts_with("t"))["kept"].all()
    assert [found[f"z{i:03d}"] for i in range(200)] == [("near", f"t{50 * i:05d}") for i in range(200)]


def test_candidates_only_what_must_be_fetched_is_named():
    old = dedup.fingerprint(frame(record("a", BASE), record("b", FAR), record("c", BASE, "praise")), params())
    new = frame(record("n1", CLOSE, day=2), record("n2", FAR, day=2), record("n3", "short", day=2))
    found = dedup.candidates(dedup.fingerprint(new, params()), old, params())
    # n2 is a copy: its keys tell, no text is needed.
    assert found.pairs.rows() == [("n1", "a")]
    assert (found.capped_buckets, found.left_out) == (0, 0)


def test_candidates_a_bucket_over_the_cap_is_counted():
    texts = [f"{BASE} {i}" for i in range(6)]
    old = dedup.fingerprint(frame(*(record(f"o{i}", text) for i, text in enumerate(texts[:5]))), params())
    new = dedup.fingerprint(frame(record("n", texts[5], day=2)), params())
    found = dedup.candidates(new, old, params(bucket_cap=2))
    assert found.capped_buckets > 0 and found.left_out > 0


def test_dedup_text_of_a_candidate_not_handed_in_is_an_error():
    given_params = params()
    old = dedup.fingerprint(frame(record("a", BASE)), given_params)
    new = frame(record("n", CLOSE, day=2))
    prints = dedup.fingerprint(new, given_params)
    pairs = dedup.candidates(prints, old, given_params).pairs
    with pytest.raises(ValueError, match=r"history_records lacks 1 records, such as a"):
        dedup.dedup(new, prints, old, pairs, new.clear(), given_params)


def test_dedup_no_records_is_an_empty_table():
    assert dedup.dedup_all(frame(), params()).schema == TABLES[Step.DEDUP]


WORDS = st.lists(st.sampled_from(["a", "b", "c", "D"]), max_size=7).map(" ".join)
ROW = st.tuples(WORDS, st.sampled_from(["bug", "praise", None]), st.integers(1, 4), st.integers(1, 2))
# 64 bands of one row find any pair at 0.6 for certain, so that a plain loop can say what is right.
SURE = {"threshold": 0.6, "bands": 64, "rows": 1}


def frame_of(rows: list[tuple]) -> pl.DataFrame:
    ids = [f"r{(i * 7) % 31:02d}" for i in range(len(rows))]
    return frame(
        *(record(i, text, answer, day, rank) for i, (text, answer, day, rank) in zip(ids, rows, strict=True))
    )


def reference(
    records: pl.DataFrame, threshold: float, ngram: int
) -> dict[str, tuple[str | None, str | None]]:
    kept: list[tuple[str, list[str], set, str | None]] = []
    found = {}
    for row in records.sort("day", "source_rank", "record_id").iter_rows(named=True):
        words = row["messages"][0]["content"].lower().split()
        grams = {tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)}
        same = [k for k in kept if k[3] == row["label"]]
        exact = [k[0] for k in same if k[1] == words]
        close = [k[0] for k in same if grams and len(grams & k[2]) / len(grams | k[2]) >= threshold]
        verdict = ("exact", exact[0]) if exact else ("near", close[0]) if close else (None, None)
        found[row["record_id"]] = verdict
        if verdict == (None, None):
            kept.append((row["record_id"], words, grams, row["label"]))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=24))
def test_dedup_equals_a_plain_loop(rows):
    records = frame_of(rows)
    assert verdicts(dedup.dedup_all(records, params(ngram=2, **SURE))) == reference(records, 0.6, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ROW, min_size=1, max_size=24),
    st.sampled_from([2, 3, 200]),
    st.sets(st.integers(2, 4)),
    st.randoms(),
)
def test_dedup_days_stretches_and_row_order_change_nothing(rows, cap, cuts, draw):
    records, given_params = frame_of(rows), params(ngram=1, threshold=0.5, bands=8, rows=1, bucket_cap=cap)
    whole = dedup.dedup_all(records, given_params)
    stretches: list[list[dt.date]] = [[]]
    for day in range(1, 5):
        if day in cuts:
            stretches.append([])
        stretches[-1].append(dt.date(2026, 11, day))
    assert day_by_day(records, given_params, stretches).equals(whole)
    shuffled = records[draw.sample(range(records.height), records.height)]
    assert dedup.dedup_all(shuffled, given_params).equals(whole)
    for detail in whole["detail"].drop_nulls():
        assert list(json.loads(detail)) == ["rule", "similarity", "threshold", "twin"]


@pytest.mark.parametrize("seed", range(8))
def test_dedup_full_buckets_are_as_full_day_by_day_as_in_one_range(seed):
    # One band of one row: most near pairs meet in a full bucket only, so the count of who is in it decides.
    draw = random.Random(seed)
    texts = [" ".join(draw.sample("abcdefghij", draw.randrange(3, 6))) for _ in range(60)]
    rows = [record(f"r{i:02d}", text, day=1 + i // 15) for i, text in enumerate(texts)]
    given_params = params(ngram=1, threshold=0.7, bands=1, rows=1, seed=seed, bucket_cap=2)
    whole = dedup.dedup_all(frame(*rows), given_params)
    days = [[dt.date(2026, 11, day)] for day in range(1, 5)]
    assert day_by_day(frame(*rows), given_params, days).equals(whole)
    free = dedup.dedup_all(
        frame(*rows),
        given_params.model_copy(update={"near": Near(threshold=0.7, bands=1, rows=1, seed=seed)}),
    )
    assert whole["kept"].sum() > free["kept"].sum()


def test_dedup_copies_that_annotators_label_otherwise_are_both_kept():
    """The source has no label: what people said must not be settled by dropping one of two equal texts."""
    asked = frame(*(record(name, "Does it rain?", None) for name in "abcd"))
    decided = pl.DataFrame(
        {"record_id": ["a", "b", "c"], "label": ["yes", "no", None]},
        schema={"record_id": pl.String, "label": pl.String},
    )
    prints = dedup.fingerprint(asked, params(), consensus=decided)
    assert dict(prints.select("record_id", "answer_key").iter_rows()) == {
        "a": "yes", "b": "no", "c": dedup.DIVIDED, "d": "",
    }  # fmt: skip
