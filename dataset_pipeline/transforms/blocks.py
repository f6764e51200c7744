"""Texts cut into blocks, worked on by all cores, results in order.

Lives here: cutting and the threads. Keep out: what is done with a block.

NumPy lets go of the interpreter's lock while it computes, so threads are enough where its calls are long; their number changes
no result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
import polars as pl

T = TypeVar("T")
Part = TypeVar("Part")

BYTES_AT_ONCE = 1 << 20
"""Bytes of a block of texts; a longer text is a block by itself."""
_NAME = "blocks"
_AHEAD = 4
"""Blocks per thread that are begun before the first result is taken: bounds memory."""


def blocks(texts: pl.Series, size: int = BYTES_AT_ONCE) -> list[pl.Series]:
    """The texts in order, in runs of about `size` bytes."""
    if not len(texts):
        return []
    # A text without a byte costs work too; so many of them are a block as well.
    ends = (texts.str.len_bytes().fill_null(0).cast(pl.Int64) + 8).cum_sum().to_numpy()
    numbers = (ends - 1) // size
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    return [
        texts.slice(start, stop - start)
        for start, stop in zip(starts, [*starts[1:], len(texts)], strict=True)
    ]


def in_order(function: Callable[[Part], T], parts: list[Part]) -> Iterator[T]:
    """`function` of each part, in the order of the parts, computed by as many threads as there are cores."""
    if _cores() < 2 or len(parts) < 2 or threading.current_thread().name.startswith(_NAME):
        yield from map(function, parts)
        return
    begun: list[Future[T]] = []
    try:
        for part in parts:
            begun.append(_pool().submit(function, part))
            if len(begun) > _cores() * _AHEAD:
                yield begun.pop(0).result()
        while begun:
            yield begun.pop(0).result()
    finally:
        for future in begun:
            future.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that stay: what each remembers of words is made once in the life of a process."""
    return ThreadPoolExecutor(_cores(), _NAME)


if hasattr(os, "register_at_fork"):
    # Threads do not live on in a forked process.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _cores() -> int:
    """Cores that this process may use: fewer than the machine has where it is held to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
