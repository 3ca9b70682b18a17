"""Read several things at a time, in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_K = TypeVar("_K")
_T = TypeVar("_T")

#: Small reads wait on the network, not on the processor.
READ_THREADS = 8


def in_parallel(read: Callable[[_K], _T], wanted: Sequence[_K]) -> Iterator[_T]:
    """`read` of each, in order, some reads at a time."""
    if len(wanted) <= 1:
        yield from map(read, wanted)
        return
    with ThreadPoolExecutor(max_workers=READ_THREADS) as pool:
        step = READ_THREADS * 4
        # In steps, so that results not yet taken never pile up.
        for start in range(0, len(wanted), step):
            yield from pool.map(read, wanted[start : start + step])
