"""Renew leases while the work under them runs, all in one thread."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fornada.errors import FornadaError
from fornada.logs import get_logger

log = get_logger(__name__)


@dataclass(kw_only=True, eq=False)
class _Lease:
    renew: Callable[[], object]
    #: Its name in the log.
    name: str
    due_at: float
    over: bool = False
    #: Held during a renewal.
    lock: threading.Lock = field(default_factory=threading.Lock)


class Renewals:
    """Renews leases while blocks run. Safe to share between threads.

    Most shards are done long before their lease is due, and starting a thread for each would cost
    as much as all calls to Redis for a small one.
    """

    def __init__(self, *, interval_s: float) -> None:
        """Renew each lease every `interval_s`."""
        self._interval_s = interval_s
        self._lock = threading.Lock()
        #: In the order in which they are due.
        self._leases: list[_Lease] = []
        self._thread: threading.Thread | None = None

    @contextmanager
    def renewed(self, renew: Callable[[], object], *, lease: str) -> Iterator[None]:
        """Call `renew` repeatedly while the block runs, and never after it.

        Args:
            renew: Renews the lease.
            lease: Its name in the log.
        """
        held = _Lease(renew=renew, name=lease, due_at=time.monotonic() + self._interval_s)
        with self._lock:
            self._leases.append(held)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="renewals", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with held.lock:
                held.over = True
            with self._lock:
                self._leases.remove(held)

    def _run(self) -> None:
        idle = False
        while True:
            with self._lock:
                if idle and not self._leases:
                    self._thread = None
                    return
                idle = not self._leases
                lease, wait_s = self._next()
            if lease is None:
                # A lease that is added meanwhile is due later.
                time.sleep(wait_s)
                continue
            with lease.lock:
                if not lease.over:
                    _renew(lease)

    def _next(self) -> tuple[_Lease | None, float]:
        """The lease that is due, or how long until one is."""
        now_s = time.monotonic()
        if not self._leases or self._leases[0].due_at > now_s:
            due_at = self._leases[0].due_at if self._leases else now_s + self._interval_s
            return None, due_at - now_s
        lease = self._leases.pop(0)
        lease.due_at = now_s + self._interval_s
        self._leases.append(lease)
        return lease, 0.0


def _renew(lease: _Lease) -> None:
    try:
        lease.renew()
    except FornadaError as exc:
        log.warning("lease not renewed", lease=lease.name, error=str(exc))
