"""Texts that say the same in other words: vectors, the search, and verdicts that days do not change."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.records import RECORDS
from dataset_pipeline.spec.models import Near, Semantic
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.storage.cache import Cache
from dataset_pipeline.transforms import dedup, semantic, tfidf_svd
from dataset_pipeline.transforms.semantic_verdicts import dedup_semantic, would_drop


class Letters:
    """An encoder one can check by eye: how often each letter from a to h stands in the text."""

    identity = "letters a to h"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: pl.Series) -> semantic.Matrix:
        self.encoded += texts.to_list()
        rows = [[text.count(letter) for letter in "abcdefgh"] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(-1, 8)


def cosine(a: str, b: str) -> float:
    u, v = ([text.count(letter) for letter in "abcdefgh"] for text in (a, b))
    whole = [[round(127 * n / (max(x) or 1)) for n in x] for x in (u, v)]
    lengths = [sum(n * n for n in x) ** 0.5 for x in whole]
    dots = sum(m * n for m, n in zip(*whole, strict=True))
    return dots / (lengths[0] * lengths[1]) if all(lengths) else 0.0


def params(labels: bool = True, ngram: int = 2, near: float = 0.6, **given_semantic) -> DedupParams:
    # 64 bands of one row find any pair at 0.6 for certain, so that a plain loop can say what is right.
    return DedupParams(
        answers_are_labels=labels, label_names={}, near=Near(threshold=near, bands=64, rows=1), ngram=ngram,
        semantic=Semantic(**given_semantic),
    )  # fmt: skip


def record(record_id: str, text: str | None, answer: str = "x", day: int = 1, rank: int = 1) -> dict:
    said = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {
        "record_id": record_id, "day": dt.date(2026, 11, day), "source": "s", "source_rank": rank,
        "messages": said if text is not None else None, "label": answer, "may_evaluate": True,
    }  # fmt: skip


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=RECORDS)


def judged(
    records: pl.DataFrame, given_params: DedupParams, encoder: semantic.Encoder | None = None, stretches=None
) -> pl.DataFrame:
    """dedup_semantic of the whole range at once, or of one stretch of days after the other."""
    tables, history = [], pl.DataFrame(schema=dedup.FINGERPRINT)
    for days in stretches or [records["day"].unique().to_list()]:
        new = dedup.fingerprint(records.filter(pl.col("day").is_in(days)), given_params)
        table = dedup_semantic(new, history, records, given_params, encoder)
        tables.append(table)
        history = pl.concat([history, new.join(table.filter("kept"), on="record_id", how="semi")])
    return pl.concat(tables).sort("record_id")


def verdicts(table: pl.DataFrame) -> dict[str, tuple[str | None, str | None]]:
    return {row["record_id"]: (row["reason"], row["twin"]) for row in table.iter_rows(named=True)}


def reference(records: pl.DataFrame, threshold: float) -> dict[str, tuple[str | None, str | None]]:
    kept: list[tuple[str, list[str], set, str | None]] = []
    found = {}
    for row in records.sort("day", "source_rank", "record_id").iter_rows(named=True):
        words = row["messages"][0]["content"].lower().split()
        grams = {tuple(words[i : i + 2]) for i in range(len(words) - 1)}
        same = [k for k in kept if k[3] == row["label"]]
        exact = [k[0] for k in same if k[1] == words]
        close = [k[0] for k in same if grams and len(grams & k[2]) / len(grams | k[2]) >= 0.6]
        alike = [k[0] for k in same if cosine(" ".join(words), " ".join(k[1])) >= threshold]
        verdict = next(
            ((r, ids[0]) for r, ids in (("exact", exact), ("near", close), ("semantic", alike)) if ids),
            (None, None),
        )
        found[row["record_id"]] = verdict
        if verdict == (None, None):
            kept.append((row["record_id"], words, grams, row["label"]))
    return found


def test_semantic_same_meaning_is_dropped_and_says_why():
    rows = frame(record("a", "abc abd"), record("b", "dba cba"), record("c", "fgh"))
    table = judged(rows, params(), Letters())
    assert verdicts(table) == {"a": (None, None), "b": ("semantic", "a"), "c": (None, None)}
    detail = json.loads(table["detail"].drop_nulls().item())
    assert detail == {"rule": "semantic", "similarity": 1.0, "threshold": 0.95, "twin": "a"}
    assert table["similarity"].to_list() == [None, pytest.approx(1.0), None]


def test_semantic_other_answers_and_other_numbers_are_kept():
    rows = [record("a", "abc 3"), record("b", "cab 3", "y"), record("c", "bca 4"), record("d", "acb 3")]
    assert verdicts(judged(frame(*rows), params(), Letters())) == {
        "a": (None, None), "b": (None, None), "c": (None, None), "d": ("semantic", "a"),
    }  # fmt: skip
    loose = judged(frame(*rows), params(same_numbers=False), Letters())
    assert verdicts(loose)["c"] == ("semantic", "a")


def test_semantic_a_dropped_record_drops_nobody():
    # b is like a, c is like b but not like a: b is gone, so c stays.
    rows = frame(record("a", "aab"), record("b", "aabb"), record("c", "aabbb"))
    table = judged(rows, params(threshold=0.94), Letters())
    assert verdicts(table) == {"a": (None, None), "b": ("semantic", "a"), "c": (None, None)}


def test_semantic_near_of_a_dropped_record_is_asked_itself():
    # n is near b word for word, and b says what a says; n itself is like nobody who is kept.
    rows = frame(
        record("a", "ab ab ab"),
        record("b", "ba ba a b"),
        record("n", "ba ba a b hhhh"),
        record("o", "ba ba a b"),
    )
    table = judged(rows, params(near=0.7), Letters())
    assert verdicts(table) == {
        "a": (None, None), "b": ("semantic", "a"), "n": (None, None), "o": ("near", "n"),
    }  # fmt: skip


def test_semantic_a_text_that_is_gone_or_unknown_is_like_no_other():
    rows = frame(record("a", None), record("b", "xyz"), record("c", "zyx"), record("d", None, day=2))
    prints = dedup.fingerprint(rows.with_columns(pl.lit(None).alias("rejected")), params())
    prints = prints.with_columns(comparison_key=pl.col("record_id"))
    table = dedup_semantic(prints, prints.clear(), rows, params(), Letters())
    assert table["kept"].all()


TEXTS = st.lists(st.sampled_from(["a", "b", "ab", "abc", "d"]), min_size=1, max_size=5).map(" ".join)
ROW = st.tuples(TEXTS, st.sampled_from(["x", "y"]), st.integers(1, 4), st.integers(1, 2))


def frame_of(rows: list[tuple]) -> pl.DataFrame:
    ids = [f"r{(i * 7) % 31:02d}" for i in range(len(rows))]
    return frame(*(record(i, *row) for i, row in zip(ids, rows, strict=True)))


@settings(max_examples=120, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=24))
@pytest.mark.faults
def test_semantic_equals_a_plain_loop(rows):
    records = frame_of(rows)
    assert verdicts(judged(records, params(threshold=0.9), Letters())) == reference(records, 0.9)


@settings(max_examples=25, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=16), st.sets(st.integers(2, 4)), st.booleans(), st.randoms())
def test_semantic_days_stretches_and_row_order_change_nothing(rows, cuts, is_default, draw):
    records, encoder = frame_of(rows), None if is_default else Letters()
    given_params = params(threshold=0.9, fit_records=5)
    whole = judged(records, given_params, encoder)
    stretches: list[list[dt.date]] = [[]]
    for day in range(1, 5):
        if day in cuts:
            stretches.append([])
        stretches[-1].append(dt.date(2026, 11, day))
    assert judged(records, given_params, encoder, stretches).equals(whole)
    shuffled = records[draw.sample(range(records.height), records.height)]
    assert judged(shuffled, given_params, encoder).equals(whole)


@pytest.mark.parametrize("dimensions", [24, 1200])
def test_semantic_search_in_blocks_equals_a_plain_loop(dimensions, monkeypatch):
    monkeypatch.setattr(semantic, "_BLOCK", 7)
    monkeypatch.setattr(semantic, "_KEPT_AT_ONCE", 16)
    monkeypatch.setattr(semantic, "_SMALL", 8)
    draw = np.random.default_rng(3)
    centres = draw.normal(size=(20, dimensions))
    matrix = centres[draw.integers(0, 20, 200)] + 0.25 * draw.normal(size=(200, dimensions))
    values = semantic.quantized(matrix.astype(np.float32), "test")
    held = semantic.Vectors(values, np.sqrt((values.astype(np.float64) ** 2).sum(axis=1)))
    groups = pl.Series(draw.choice([1, 1, 1, 2, 3, 4, 5], 200))
    found = semantic.first_kept(held, groups, 30, 0.94)
    kept, twins = list(range(30)), [-1] * 30
    for item in range(30, 200):
        near = [k for k in kept if groups[k] == groups[item]
                and values[k].astype(int) @ values[item].astype(int) / (held.lengths[k] * held.lengths[item]) >= 0.94]  # fmt: skip
        twins.append(near[0] if near else -1)
        kept += [] if near else [item]
    assert found.twin.tolist() == twins
    assert sum(t >= 0 for t in twins) > 20


def test_semantic_vectors_are_remembered_by_text_and_encoder(tmp_path):
    memo, encoder = Cache(tmp_path / "cache.duckdb", {}), Letters()
    texts = pl.Series(["abc", None, "fgh", "abc"])
    first = semantic.vectors(texts, encoder, memo)
    again = semantic.vectors(pl.Series(["fgh", "abc"]), encoder, memo)
    assert sorted(encoder.encoded) == ["abc", "fgh"]
    assert (again.values == first.values[[2, 0]]).all()
    assert first.lengths[1] == 0
    assert first.values[0].tolist() == [127, 127, 127, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("matrix", [[[1.0, float("nan")]], [[1.0, float("inf")]], [1.0, 2.0]])
def test_semantic_vectors_that_are_none_are_refused(matrix):
    with pytest.raises(ValueError, match=r"^my-encoder: gives "):
        semantic.quantized(np.array(matrix, dtype=np.float32), "my-encoder")


FEEDBACK = [
    "The invoice export stops at half of the rows since the update.",
    "Since the update, the export of invoices stops at half of the rows.",
    "Please add a dark mode to the settings page of the app.",
    "I love how quickly your support answers, thank you!",
]


def test_semantic_default_encoder_finds_words_in_another_order():
    rows = frame(*(record(f"r{i}", text, "x") for i, text in enumerate(FEEDBACK)))
    table = judged(rows, params(threshold=0.85))
    assert [reason for reason, _ in verdicts(table).values()] == [None, "semantic", None, None]


def test_semantic_default_encoder_knows_nothing_of_a_script_that_comes_later():
    encoder = tfidf_svd.fit(semantic.compared(pl.Series(FEEDBACK)))
    other = semantic.compared(pl.Series(["Как дела 7?", "Где мой счёт 7?", FEEDBACK[0]]))
    assert semantic.vectors(other, encoder).lengths.astype(bool).tolist() == [False, False, True]


@pytest.mark.parametrize("texts", [[], [None], ["!!"], ["a"], ["a", "a"], ["ab cd", "!!", None]])
def test_semantic_default_encoder_takes_any_texts(texts):
    given_texts = semantic.compared(pl.Series(texts, dtype=pl.String))
    encoder = tfidf_svd.fit(given_texts)
    assert len(semantic.vectors(given_texts, encoder)) == len(texts)


PRINT = """
import hashlib, polars as pl
from dataset_pipeline.transforms import semantic, tfidf_svd
words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
texts = pl.Series([" ".join(words[(i * k + k * k) % 10] + str(i % 7) for k in range(1, 9)) for i in range(400)])
held = semantic.vectors(texts, tfidf_svd.fit(texts))
found = semantic.first_kept(held, pl.Series([1] * 400), 0, 0.9)
print(hashlib.sha256(held.values.tobytes() + found.twin.tobytes() + found.similarity.tobytes()).hexdigest())
"""


def test_semantic_threads_change_nothing():
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINT], capture_output=True, text=True, check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1


def test_semantic_report_counts_what_would_be_dropped():
    rows = frame(
        *(
            record(f"r{i}", text)
            for i, text in enumerate([*FEEDBACK, "Export invoice: stops, half the rows!"])
        )
    )
    rows = rows.with_columns(answer_key=pl.lit("x"))
    off = would_drop(rows, params(), Semantic(threshold=0.85))
    assert (off.looked_at, off.records, off.clusters, off.threshold) == (5, 1, 1, 0.85)
    assert [(record_id, twin) for record_id, twin, _ in off.pairs] == [("r1", "r0")]
    none = would_drop(rows.clear(), params())
    assert (none.looked_at, none.records, none.pairs) == (0, 0, ())


def test_semantic_table_has_the_columns_of_dedup():
    empty = dedup.fingerprint(frame(), params())
    table = dedup_semantic(empty, empty, frame(), params(), None)
    assert table.schema == dedup.dedup_all(frame(), params()).schema


def word_problems() -> list[tuple[str, str]]:
    """Questions of MAWPS, ASDiv-A and SVAMP with their numbers filled in, and what they come to."""
    folder = Path(os.environ["DATASET_PIPELINE_REAL_DATA"]) / "svamp_mawps"
    found = []
    for name in ("mawps-asdiv-a_svamp", "cv_svamp_augmented/fold0"):
        for part in ("train", "dev"):
            with gzip.open(folder / name / f"{part}.csv.gz", "rt", encoding="utf-8", newline="") as lines:
                for row in csv.DictReader(lines):
                    question = row["Question"]
                    for place, number in reversed(list(enumerate(row["Numbers"].split()))):
                        question = question.replace(f"number{place}", number.removesuffix(".0"))
                    found.append((question, row["Answer"]))
    return list(dict.fromkeys(found))


@pytest.mark.real_data
def test_semantic_real_word_problems_of_one_template_are_kept_and_reworded_ones_come_to_the_same():
    """4,000 problems of few templates, answers hidden: what is dropped says the same with the same numbers, nearly always."""
    problems = word_problems()
    told = frame(*(record(f"{n:05d}", question, day=1 + n % 5) for n, (question, _) in enumerate(problems)))
    given_params = DedupParams(
        answers_are_labels=True, label_names={}, near=Near(), ngram=3, semantic=Semantic()
    )
    table = judged(told, given_params)
    dropped = table.filter(pl.col("reason") == "semantic").select("record_id", "twin").rows()
    pairs = [(problems[int(one)], problems[int(other)]) for one, other in dropped]
    assert len(pairs) >= 35
    assert all(semantic.numbers(pl.Series([a, b])).n_unique() == 1 for (a, _), (b, _) in pairs)
    assert sum(a == b for (_, a), (_, b) in pairs) >= 0.95 * len(pairs)
    stretches = [[dt.date(2026, 11, day)] for day in range(1, 6)]
    assert verdicts(judged(told, given_params, stretches=stretches)) == verdicts(table)
