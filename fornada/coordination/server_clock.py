"""The server's clock, as seen from this machine without a question each time."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

#: A server's clock may be set; after this long it is asked again.
_KNOWN_FOR_S = 60.0


class Server(Protocol):
    """Redis, or the store."""

    def server_time(self) -> datetime:
        """The time by its clock."""


class ServerClock:
    """Tells the server's time from this machine's monotonic clock. Safe to share between threads.

    Args:
        server: Whose clock it is.
        monotonic: This machine's clock, in seconds.
    """

    def __init__(self, server: Server, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: What it said last, and when.
        self._told: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The server's time; asks at most once a minute.

        Raises:
            BrokerError, StoreError: It cannot be reached.
        """
        with self._lock:
            told, asked_at = self._told or (None, 0.0)
            since_s = self._monotonic() - asked_at
            if told is not None and since_s < _KNOWN_FOR_S:
                return told + timedelta(seconds=since_s)
        return self.asked()

    def asked(self) -> datetime:
        """The server's time, by asking it.

        Raises:
            BrokerError, StoreError: It cannot be reached.
        """
        told = self._server.server_time()
        with self._lock:
            self._told = (told, self._monotonic())
        return told
