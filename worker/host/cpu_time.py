"""CPU time of the process, shared among what is at work in it."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def process_cpu_s() -> float:
    """CPU seconds of this process, all its threads, and the processes it started that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


class CpuTime:
    """Divides CPU time equally among all that is at work at the same moment.

    Engines compute in threads of their own, and for several shards in one call, so no thread's
    clock tells them apart. Safe to share between threads.
    """

    def __init__(self, *, clock: Callable[[], float] = process_cpu_s) -> None:
        """Measure by `clock`, in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._at_work_count = 0
        self._seen_s = 0.0
        #: The share of one that was at work all the time.
        self._share_s = 0.0

    @contextmanager
    def at_work(self) -> Iterator[Callable[[], float]]:
        """Take a share while the block runs; yields a function that says the seconds so far."""
        began_s = self._advance(joining=1)
        try:
            yield lambda: self._advance() - began_s
        finally:
            self._advance(joining=-1)

    def _advance(self, *, joining: int = 0) -> float:
        with self._lock:
            now_s = self._clock()
            if self._at_work_count:
                self._share_s += (now_s - self._seen_s) / self._at_work_count
            self._seen_s = now_s
            self._at_work_count += joining
            return self._share_s
