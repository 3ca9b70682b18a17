"""Reads in parallel, with the results in order."""

import contextvars
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_K = TypeVar("_K")
_T = TypeVar("_T")

#: Threads for small reads, which wait for the network.
READ_THREADS = 8
#: A request that takes less than this is not worth a thread.
_QUICK_S = 0.005
#: So many slow ones in a row mean that the store is slow; one alone may have waited for the
#: interpreter, in which other threads compute.
_SLOW_IN_A_ROW = 2


def in_context(work: Callable[[_K], _T]) -> Callable[[_K], _T]:
    """`work` for other threads, with what log lines and traces of this thread say.

    Threads of a pool do not have it by themselves.
    """
    context = contextvars.copy_context()
    # One context cannot be entered twice at a time.
    return lambda wanted: context.copy().run(work, wanted)


def in_parallel(
    read: Callable[[_K], _T], wanted: Sequence[_K], *, threads: int = READ_THREADS
) -> Iterator[_T]:
    """The results of `read` for each of `wanted`, in order, by so many threads."""
    if len(wanted) <= 1:
        yield from map(read, wanted)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        step = threads * 4
        # In steps, so that results that were not consumed do not pile up.
        for start in range(0, len(wanted), step):
            yield from pool.map(in_context(read), wanted[start : start + step])


def in_parallel_if_slow(
    ask: Callable[[_K], _T], wanted: Sequence[_K], *, threads: int = READ_THREADS
) -> Iterator[_T]:
    """The results of `ask` for each of `wanted`, in order, for requests with small answers.

    The caller's thread asks, until answers take long; then so many threads ask the rest. A near
    store answers in less time than threads take to be started and to wait for the interpreter.
    """
    slow_in_a_row = 0
    for number, each in enumerate(wanted, start=1):
        began_s = time.monotonic()
        found = ask(each)
        is_slow = time.monotonic() - began_s >= _QUICK_S
        slow_in_a_row = slow_in_a_row + 1 if is_slow else 0
        yield found
        if slow_in_a_row == _SLOW_IN_A_ROW:
            yield from in_parallel(ask, wanted[number:], threads=threads)
            return


def all_in_parallel(
    read: Callable[[_K], _T], wanted: Sequence[_K], *, threads: int = READ_THREADS
) -> list[_T]:
    """The results of `read` for all of `wanted`, in order, by so many threads.

    Each thread has one task: one for each result, which a caller waits for in turn, takes a tenth
    of a small read. Once one fails, no other is begun.
    """
    if len(wanted) <= 1:
        return [read(each) for each in wanted]
    found: dict[int, _T] = {}
    # Shared; a step of it is one step of the interpreter.
    left = iter(range(len(wanted)))

    def read_rest(_task: int) -> None:
        try:
            for number in left:
                found[number] = read(wanted[number])
        except BaseException:
            deque(left, maxlen=0)
            raise

    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(in_context(read_rest), range(min(threads, len(wanted)))))
    return [found[number] for number in range(len(wanted))]


def in_parallel_within(
    read: Callable[[_K], _T],
    wanted: Iterable[_K],
    *,
    size_bytes: Callable[[_K], int],
    most_bytes: int,
) -> Iterator[_T]:
    """The results of `read` for each of `wanted`, in order, for results that may be large.

    Args:
        read: Called in several threads.
        wanted: Taken as it is needed.
        size_bytes: Of a result.
        most_bytes: Most bytes of results that are read ahead; one of more is read by itself.
    """
    ahead: deque[tuple[int, Future[_T]]] = deque()
    with ThreadPoolExecutor(max_workers=READ_THREADS) as pool:
        held_bytes = 0
        for each in wanted:
            size = size_bytes(each)
            while ahead and (held_bytes + size > most_bytes or len(ahead) >= READ_THREADS * 4):
                held_bytes -= ahead[0][0]
                # Without a name, which would keep it until the next.
                yield ahead.popleft()[1].result()
            ahead.append((size, pool.submit(in_context(read), each)))
            held_bytes += size
        while ahead:
            yield ahead.popleft()[1].result()
