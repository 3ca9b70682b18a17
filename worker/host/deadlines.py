"""End a process whose shard takes too long, even if native code holds the interpreter."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Tolerated lateness, as a fraction of the deadline.
_LATE = 0.01


class Deadlines:
    """Deadlines of the shards at work; the earliest is watched from outside the GIL.

    faulthandler's timer is a C thread: it prints all stacks and exits the process even if a native
    call hangs or holds the GIL. The supervisor then starts another process.

    Setting the timer stops one thread and starts another with the GIL held: 0.05 ms, and 2 ms
    beside two busy predict calls. So a timer that fires at about the right time stays as it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: For each block, its deadline and the latest moment at which the timer may fire for it.
        self._deadlines: list[tuple[float, float]] = []
        self._fires_at_s = 0.0

    @contextmanager
    def within(self, timeout_s: float) -> Iterator[None]:
        """End the process unless the block ends within `timeout_s`, or up to 1 % later."""
        deadline_s = time.monotonic() + timeout_s
        deadline = (deadline_s, deadline_s + _LATE * timeout_s)
        self._change(self._deadlines.append, deadline)
        try:
            yield
        finally:
            self._change(self._deadlines.remove, deadline)

    @property
    def are_running(self) -> bool:
        """Whether a block is at work."""
        return bool(self._deadlines)

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
        # Celery and test runners replace sys.stderr with objects that have no descriptor.
        faulthandler.dump_traceback_later(left_s, exit=True, file=sys.__stderr__ or 2)
        self._fires_at_s = fires_at_s
