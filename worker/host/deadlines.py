"""End a process whose shard takes too long, even when no Python code runs any more."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: A process may be ended so much later, as a share of what its shard may take.
_LATE = 0.01


class Deadlines:
    """Deadlines of the shards at work; the earliest one is watched from outside the GIL.

    faulthandler's timer is a C thread: it prints all stacks and exits the process also when a
    native call hangs or holds the GIL. The supervisor then starts another process.

    Setting the timer waits, with the GIL held, until one thread has ended and another has begun:
    0.05 ms, and 2 ms beside two calls that compute. A timer that fires at about the right time is
    therefore left as it is; a worker with several shards at work seldom sets it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: From when on a block takes too long, and how late that may be noticed.
        self._deadlines: list[tuple[float, float]] = []
        self._fires_at_s = 0.0

    @contextmanager
    def within(self, timeout_s: float) -> Iterator[None]:
        """End the process unless the block is left within `timeout_s`, or 1 % more."""
        deadline_s = time.monotonic() + timeout_s
        deadline = (deadline_s, deadline_s + _LATE * timeout_s)
        self._change(self._deadlines.append, deadline)
        try:
            yield
        finally:
            self._change(self._deadlines.remove, deadline)

    def _change(
        self, change: Callable[[tuple[float, float]], None], deadline: tuple[float, float]
    ) -> None:
        with self._lock:
            change(deadline)
            if not self._deadlines:
                faulthandler.cancel_dump_traceback_later()
                self._fires_at_s = 0.0
                return
            earliest_s = min(deadline_s for deadline_s, _ in self._deadlines)
            latest_s = min(latest_s for _, latest_s in self._deadlines)
            if not earliest_s <= self._fires_at_s <= latest_s:
                self._set(latest_s)

    def _set(self, fires_at_s: float) -> None:
        left_s = max(0.001, fires_at_s - time.monotonic())
        # Not sys.stderr: Celery and test runners replace it by things without a descriptor.
        faulthandler.dump_traceback_later(left_s, exit=True, file=sys.__stderr__ or 2)
        self._fires_at_s = fires_at_s
