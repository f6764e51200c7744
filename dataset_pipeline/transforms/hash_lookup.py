"""Which of some known hashes a value is: a table over their first bits, then a step or two.

Lives here: the look-up alone. Keep out: what the hashes mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataset_pipeline.transforms.words import Hashes, Indices

_LAST = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class HashLookup:
    """hashes: distinct, ascending, evenly spread over 64 bits (others are found too, slowly).

    starts: the place of the first one with each value of the leading bits, about as many as there are hashes. A binary
    search of as many misses the cache at each of its steps.
    """

    hashes: Hashes
    starts: npt.NDArray[np.int32]
    shift: np.uint64

    @classmethod
    def of(cls, hashes: Hashes) -> HashLookup:
        bits = max(len(hashes).bit_length(), 1)
        shift = np.uint64(64 - bits)
        starts = np.searchsorted(hashes, np.arange(1 << bits, dtype=np.uint64) << shift)
        return cls(np.append(hashes, _LAST), starts.astype(np.int32), shift)

    def __len__(self) -> int:
        return len(self.hashes) - 1

    def find(self, values: Hashes) -> Indices:
        """The place of each value among the hashes, -1 for one that is not among them."""
        places: Indices = self.starts[values >> self.shift].astype(np.int64)
        found = self.hashes[places]
        behind = np.flatnonzero(found < values)
        while len(behind):
            places[behind] += 1
            found[behind] = step = self.hashes[places[behind]]
            behind = behind[step < values[behind]]
        places[(found != values) | (places == len(self))] = -1
        return places
