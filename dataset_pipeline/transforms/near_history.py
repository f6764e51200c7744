"""Which earlier records a day must look at: those it shares a key or a band key with.

Lives here: turning all others away, at the cost of a look at each key. Keep out: what becomes of those that met (`near`,
`dedup`, `split`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.transforms.blocks import in_order
from dataset_pipeline.transforms.shingles import Hashes, Indices, ascending

_TABLE_BITS = 22
_KEYS_AT_ONCE = 1 << 18


def met(history: pl.DataFrame, new: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The rows of `history` that equal a new one in `keys` or share a band key with one, in their order.

    Both frames have `keys` and bands. Whoever shares a bucket with a new record is there, so that buckets are whole.
    """
    same = history.lazy().select(keys).with_row_index("row").join(new.lazy(), on=keys, how="semi").collect()
    is_met = touching(history["bands"], new["bands"])
    is_met[same["row"].to_numpy()] = True
    return history.filter(pl.Series(is_met, dtype=pl.Boolean))


def touching(bands: pl.Series, asked: pl.Series) -> npt.NDArray[np.bool_]:
    """Whether each text of `bands` shares a band key with any of `asked`. Both List(UInt64); false where null.

    A table of bits turns most of them away, so that a day against years of history costs a look at each key.
    """
    wanted = ascending(_flat(asked.rechunk()))
    table = np.zeros(1 << _TABLE_BITS, dtype=bool)
    table[wanted & np.uint64(len(table) - 1)] = True
    found = np.zeros(len(bands), dtype=bool)
    start = 0
    for chunk in bands.get_chunks() if len(wanted) else []:
        ends = np.cumsum(chunk.list.len().fill_null(0).to_numpy().astype(np.int64))
        for at in _known(_flat(chunk), wanted, table):
            found[start + np.searchsorted(ends, at, side="right")] = True
        start += len(chunk)
    return found


def _known(flat: Hashes, wanted: Hashes, table: npt.NDArray[np.bool_]) -> Iterator[Indices]:
    """Where in `flat` wanted keys stand."""

    def look(start: int) -> Indices:
        keys = flat[start : start + _KEYS_AT_ONCE]
        at = np.flatnonzero(table[keys & np.uint64(len(table) - 1)])
        places = np.searchsorted(wanted, keys[at])
        places[places == len(wanted)] = 0
        found_at: Indices = at[wanted[places] == keys[at]] + start
        return found_at

    return in_order(look, list(range(0, len(flat), _KEYS_AT_ONCE)))


def _flat(bands: pl.Series) -> Hashes:
    """All keys, end to end, without a copy where they already lie so: in one chunk."""
    flat: Hashes = bands.drop_nulls().explode(empty_as_null=False).to_numpy()
    return flat
