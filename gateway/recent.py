"""Answers that several callers ask for at the same time, each found once."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_T = TypeVar("_T")

#: An answer is given again for this long, and ten times as long as it took to find.
_FRESH_S, _TIMES_AS_LONG = 0.5, 10.0
_KEPT = 64


class Recent(Generic[_T]):
    """Answers that several callers ask for at the same time. Safe to share between threads.

    Args:
        kept: Most answers.
        fresh_s: How long each is given again at least.
        most_s: How long at most; in between, ten times as long as it took to find.
    """

    def __init__(
        self, *, kept: int = _KEPT, fresh_s: float = _FRESH_S, most_s: float = math.inf
    ) -> None:
        self._found: OrderedDict[Hashable, tuple[_T, float]] = OrderedDict()
        self._looking: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._kept = kept
        self._fresh_s = fresh_s
        self._most_s = most_s

    def get(self, key: Hashable, find: Callable[[], _T], *, for_ever: bool = False) -> _T:
        """What `find` gives, now or a moment ago.

        Args:
            key: What is asked.
            find: Finds it; one thread at a time.
            for_ever: Whether it never changes.
        """
        with self._lock:
            looking = self._looking.setdefault(key, threading.Lock())
        with looking:
            with self._lock:
                found, until_s = self._found.get(key, (None, 0.0))
            if found is not None and time.monotonic() < until_s:
                return found
            began_s = time.monotonic()
            found = find()
            took_s = time.monotonic() - began_s
            fresh_s = min(self._most_s, max(self._fresh_s, _TIMES_AS_LONG * took_s))
            with self._lock:
                self._found[key] = (found, math.inf if for_ever else time.monotonic() + fresh_s)
                self._found.move_to_end(key)
                while len(self._found) > self._kept:
                    dropped, _ = self._found.popitem(last=False)
                    self._looking.pop(dropped, None)
        return found

    def forget(self, key: Hashable) -> None:
        """Find an answer anew the next time."""
        with self._lock:
            self._found.pop(key, None)
