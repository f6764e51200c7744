"""Which of several identical rows of a batch a row is: the number that tells their ids apart.

Lives here: counting identical keys over all files of a batch in some 9 bytes a row. Keep out: what a key is made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Occurrences:
    """Counts how often each key came before, key by key, in the order given.

    Keys are the first 8 bytes of a hash. Two different rows of a batch meet in one key with a probability
    of 3 in 100,000 at a billion rows; the later of them then gets an id like that of a copy, which is as unique.
    """

    def __init__(self) -> None:
        self._sorted: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
        self._repeats: dict[int, int] = {}

    def count(self, keys: Sequence[bytes]) -> list[int]:
        """For each key how often it came before, in earlier calls and in this one."""
        if not keys:
            return []
        array = np.frombuffer(b"".join(key[:8] for key in keys), dtype="<u8")
        unique, first, inverse = np.unique(array, return_index=True, return_inverse=True)
        is_known = np.zeros(len(unique), bool)
        for known in self._sorted:
            places = np.minimum(np.searchsorted(known, unique), len(known) - 1)
            is_known |= known[places] == unique
        numbers = np.zeros(len(keys), np.int64)
        is_first = np.zeros(len(keys), bool)
        is_first[first] = True
        for place in np.flatnonzero(~is_first | is_known[inverse]).tolist():
            key = int(array[place])
            self._repeats[key] = self._repeats.get(key, 0) + 1
            numbers[place] = self._repeats[key]
        self._remember(unique[~is_known])
        counted: list[int] = numbers.tolist()
        return counted

    def _remember(self, keys: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> None:
        """Keep sorted keys; runs of like size are merged, so that there are few and each key moves seldom."""
        if not len(keys):
            return
        self._sorted.append(keys)
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            self._sorted.append(np.sort(np.concatenate((self._sorted.pop(), self._sorted.pop()))))
