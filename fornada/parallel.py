"""Reads in parallel, with the results in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_K = TypeVar("_K")
_T = TypeVar("_T")

#: Threads for small reads, which wait for the network.
READ_THREADS = 8


def in_parallel(read: Callable[[_K], _T], wanted: Sequence[_K]) -> Iterator[_T]:
    """The results of `read` for each of `wanted`, in order."""
    if len(wanted) <= 1:
        yield from map(read, wanted)
        return
    with ThreadPoolExecutor(max_workers=READ_THREADS) as pool:
        step = READ_THREADS * 4
        # In steps, so that results that were not consumed do not pile up.
        for start in range(0, len(wanted), step):
            yield from pool.map(read, wanted[start : start + step])
