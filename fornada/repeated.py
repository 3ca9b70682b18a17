"""Conditions that go on: each is said at once, then less and less often, with a count."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

#: Time until a condition that goes on is said again; doubles from the first to the last.
_FIRST_WAIT_S = 60.0
_LAST_WAIT_S = 600.0
#: A condition not met for this many times as long as it is silent is a new one.
_GONE_AFTER = 2
#: Most conditions remembered.
_KEPT = 1024


@dataclass(kw_only=True, slots=True)
class _Said:
    """A condition that was said."""

    at_s: float
    wait_s: float = _FIRST_WAIT_S
    last_met_s: float = 0.0
    more_count: int = 0


class Repeated:
    """Decides whether a condition that is met again is said again. Safe to share between threads.

    A store that is down, or a job that cannot be read, is met at every round and by every shard:
    a line each would be megabytes, and hide all others.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure time by `clock`, in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._said: OrderedDict[Hashable, _Said] = OrderedDict()

    def meet(self, *condition: Hashable) -> int | None:
        """Meet a condition.

        Returns:
            How often it was met since it was last said, if it is to be said now; else `None`.
        """
        with self._lock:
            now_s, said = self._clock(), self._said.get(condition)
            if said is None or now_s - said.last_met_s > _GONE_AFTER * said.wait_s:
                self._said[condition] = _Said(at_s=now_s, last_met_s=now_s)
                self._said.move_to_end(condition)
                if len(self._said) > _KEPT:
                    self._said.popitem(last=False)
                return 0
            said.last_met_s = now_s
            if now_s - said.at_s < said.wait_s:
                said.more_count += 1
                return None
            more_count, said.more_count = said.more_count, 0
            said.at_s, said.wait_s = now_s, min(2 * said.wait_s, _LAST_WAIT_S)
            return more_count

    def log(
        self, write: Callable[..., object], text: str, *, about: Hashable = None, **values: object
    ) -> None:
        """Write a log line, unless the same condition was logged of late.

        Args:
            write: `log.warning`, for example.
            text: The line; with `about`, the condition.
            about: What of: a job, a class of errors.
            **values: The line's values.
        """
        more_count = self.meet(text, about)
        if more_count is None:
            return
        if more_count:
            values["more_times_since"] = more_count
        write(text, **values)
