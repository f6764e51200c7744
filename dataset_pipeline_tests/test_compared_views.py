"""The words of a record's views are those of their texts, though each part of them is read once."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.transforms.compared_views import all_views, words_of
from dataset_pipeline.transforms.shingles import tokens

TEXTS = st.one_of(
    st.just(""), st.text(alphabet="ab \n\u0301é1", max_size=12), st.sampled_from(["1,000", "000 b", "a.5"])
)
TURNS = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant"]),
        TEXTS,
    ),
    max_size=4,
)


@given(st.lists(st.tuples(TURNS, TURNS), max_size=6), st.booleans())
def test_words_of_views_are_those_of_their_texts(records: list[tuple[list, list]], is_label: bool) -> None:
    frame = pl.DataFrame(
        {
            "messages": [clean for clean, _ in records],
            "collected_messages": [collected for _, collected in records],
            "prompt_turns": [None] * len(records),
            "rejected": [None] * len(records),
            "collected_rejected": [None] * len(records),
        },
        schema={
            "messages": MESSAGES, "collected_messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES,
            "collected_rejected": MESSAGES,
        },
    ).with_row_index("number")  # fmt: skip
    views = all_views(frame, is_label)
    found, expected = words_of(views, tokens), tokens(views["text"])
    assert found.offsets.tolist() == expected.offsets.tolist()
    assert found.values.tolist() == expected.values.tolist()
