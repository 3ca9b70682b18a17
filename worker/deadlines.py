"""End a process whose shard takes too long, even when no Python code runs any more."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Deadlines:
    """Deadlines of the shards at work; the earliest one is watched from outside the GIL.

    faulthandler's timer is a C thread: it prints all stacks and exits the process also when a
    native call hangs or holds the GIL. The supervisor then starts another process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: list[float] = []

    @contextmanager
    def within(self, timeout_s: float) -> Iterator[None]:
        """End the process unless the block is left within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        self._change(self._deadlines.append, deadline)
        try:
            yield
        finally:
            self._change(self._deadlines.remove, deadline)

    def _change(self, change: Callable[[float], None], deadline: float) -> None:
        with self._lock:
            change(deadline)
            faulthandler.cancel_dump_traceback_later()
            if self._deadlines:
                left_s = max(0.001, min(self._deadlines) - time.monotonic())
                # Not sys.stderr: Celery and test runners replace it by things without a descriptor.
                faulthandler.dump_traceback_later(left_s, exit=True, file=sys.__stderr__ or 2)
