"""What the benchmark of cleaning counts as right."""

from __future__ import annotations

from benchmarks.texts import right, table
from benchmarks.texts_cases import Case, plain


def test_right_counts_cases_and_runs_of_columns_up_to_white_space_and_controls() -> None:
    cases = [Case("a", frozenset({"x", "y"})), Case("b", frozenset({"z z"}))]
    assert right(cases, ["y", " z\u00a0 z\x00 "]) == (2, 2)
    assert right(cases, ["z", "z z"]) == (1, 2)
    assert right(cases, ["z", "z z"], columns=2) == (0, 1)


def test_plain_leaves_what_is_seen() -> None:
    assert plain("\u200ba\u0301 \x07\tb\n") == "\u200ba\u0301 b"


def test_table_has_a_row_for_each_contender_and_ratios_to_ours() -> None:
    one = {"right": {"pairs": (1, 2)}, "unchanged": [3, 4]}
    found = table({"ours": one | {"rate": 2_000.0}, "other": one | {"rate": 1_000.0}})
    assert found.splitlines()[2:] == [
        "| ours | 1 of 2 | 3 of 4 | 2,000 | 1.0 |",
        "| other | 1 of 2 | 3 of 4 | 1,000 | 2.0 |",
    ]
