"""What was read from the store lately: used for seconds, and read once for all who ask."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from fornada.errors import StoreError

Value = TypeVar("Value")


class Entry(NamedTuple, Generic[Value]):
    """A value, and until when it is used; `time.monotonic` in seconds."""

    value: Value
    renew_at: float
    until: float


class Known(Generic[Value]):
    """Values by name, none of them older than `for_s`. Safe to share between threads.

    From half that age on, one of those who ask reads the value anew, while the others go on with
    the old one; they wait for it once that is too old.

    Args:
        read: Reads a value.
        for_s: How long it is used, counted from when reading it began.
        most: How many are kept; then the one that was read longest ago goes.
    """

    def __init__(self, read: Callable[[str], Value], *, for_s: float, most: int) -> None:
        self._read = read
        self._for_s = for_s
        self._most = most
        self._entries: dict[str, Entry[Value]] = {}
        self._reading: dict[str, Future[Value]] = {}
        self._lock = threading.Lock()

    def at_hand(self, name: str) -> Entry[Value] | None:
        """The value if nothing has to be read for it; an event loop may call this."""
        entry = self._entries.get(name)
        now_s = time.monotonic()
        if entry is None or now_s >= entry.until:
            return None
        return entry if now_s < entry.renew_at or name in self._reading else None

    def get(self, name: str) -> Value:
        """The value.

        Raises:
            StoreError: It is too old, and cannot be read.
        """
        with self._lock:
            entry = self.at_hand(name)
            if entry is not None:
                return entry.value
            reading = self._reading.get(name)
            mine: Future[Value] = Future()
            if reading is None:
                self._reading[name] = mine
        return self._renewed(name, mine) if reading is None else reading.result()

    def forget(self, name: str) -> None:
        """Read the value anew for the next one who asks."""
        with self._lock:
            self._entries.pop(name, None)
            # What is being read may be old already.
            self._reading.pop(name, None)

    def _renewed(self, name: str, reading: "Future[Value]") -> Value:
        began_s = time.monotonic()
        try:
            value = self._read(name)
        except BaseException as exc:
            with self._lock:
                self._end(name, reading)
                entry = self._entries.get(name)
            reading.set_exception(exc)
            if isinstance(exc, StoreError) and entry and time.monotonic() < entry.until:
                return entry.value
            raise
        with self._lock:
            if self._end(name, reading):
                self._entries.pop(name, None)
                if len(self._entries) >= self._most:
                    del self._entries[next(iter(self._entries))]
                until = began_s + self._for_s
                self._entries[name] = Entry(value, began_s + self._for_s / 2, until)
        reading.set_result(value)
        return value

    def _end(self, name: str, reading: "Future[Value]") -> bool:
        """Note that `reading` is over; return whether it was not forgotten."""
        is_current = self._reading.get(name) is reading
        if is_current:
            del self._reading[name]
        return is_current
