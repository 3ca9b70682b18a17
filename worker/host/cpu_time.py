"""CPU time of the process, shared among what is at work in it, and what its cores have left."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_STAT = Path("/proc/stat")
#: Where it has the time that cores idled, among the kinds of time.
_IDLE = 3


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


class IdleCores:
    """The share of its cores that idled: neither this process nor another had use for them."""

    def __init__(self, *, cores: int) -> None:
        """Measure from now on; the process may use `cores`."""
        self._cores = cores
        self._seen = self._read()

    def share(self) -> float:
        """From 0 to 1, since it was last asked."""
        before, self._seen = self._seen, self._read()
        passed_s, used_s, all_s, idle_s = (
            max(1e-9, now - then) for now, then in zip(self._seen, before, strict=True)
        )
        # A quota may hold the process back on an idle machine.
        return max(0.0, min(1 - used_s / (self._cores * passed_s), idle_s / all_s))

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        """Seconds passed and used, and of the machine's cores, all and idle."""
        try:
            # user, nice, system, idle, iowait, irq, softirq, steal
            spent = [float(each) for each in _STAT.read_text().split(maxsplit=9)[1:9]]
        except OSError:
            # Of other systems than Linux, only the process is known: equal shares of nothing.
            spent = [0.0] * 8
        idle = spent[_IDLE] + spent[_IDLE + 1]
        return time.monotonic(), process_cpu_s(), sum(spent), idle
