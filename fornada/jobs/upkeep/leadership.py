"""Which reconciler leads a queue, judged by each observer's own clock."""

import time
from collections.abc import Callable

from fornada.coordination.interface import Beat, Recovery
from fornada.errors import FornadaError
from fornada.events import SILENT, Events
from fornada.events.queues import LeadershipNoted
from fornada.logs import get_logger
from fornada.repeated import Repeated

log = get_logger(__name__)


class Leadership:
    """Leads a queue, or watches who does and succeeds a leader that shows no life.

    The leader raises a number in Redis. Whoever saw it unmoved for `lead_s` by the monotonic clock
    of its own machine takes over, unless the number has moved since. No clock is compared with
    another, so Redis's may be set forward or back.

    The leader also moves its queue's clock, by the time since its last beat. A step is cut at a
    quarter of a lease: a leader that slept must not end the leases of workers that slept too, which
    are renewed every third.

    Args:
        recovery: Redis, for one queue.
        queue: The queue.
        holder: The name under which this process leads.
        lead_s: How long a leader may show no life.
        lease_s: This process's lease; one that differs from the leader's is logged.
        events: Hears who leads, when that changes.
        monotonic: This machine's clock, in seconds.
    """

    def __init__(
        self,
        *,
        recovery: Recovery,
        queue: str,
        holder: str,
        lead_s: float,
        lease_s: float,
        events: Events = SILENT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recovery = recovery
        self._queue = queue
        self._events = events
        #: Whether this process led when last it could say; `None` before.
        self.is_leading: bool | None = None
        self._holder = holder
        self._lead_s = lead_s
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._repeated = Repeated(clock=monotonic)
        self._last: Beat | None = None
        #: When the last beat was first seen.
        self._seen_at = monotonic()

    def leads(self) -> bool:
        """Beat if this process leads or may take over; return whether it leads.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        try:
            leads = self._beat()
        except FornadaError:
            self._note(leads=False)
            raise
        self._note(leads=leads)
        return leads

    def end(self) -> None:
        """Note that this process leads no more, nor stands by."""
        self._note(leads=None)

    def _note(self, *, leads: bool | None) -> None:
        if leads is not self.is_leading:
            self.is_leading = leads
            self._events.tell(LeadershipNoted(queue=self._queue, leads=leads))

    def _beat(self) -> bool:
        unmoved_s = self._monotonic() - self._seen_at
        led = self._last is not None and self._last.holder == self._holder
        last = self._recovery.beat(
            self._holder,
            after=self._last if led or unmoved_s >= self._lead_s else None,
            step_s=min(unmoved_s, self._lease_s / 4),
        )
        if last != self._last:
            # After the call: nothing shows that it had moved before.
            self._last, self._seen_at = last, self._monotonic()
        self._compare(last)
        return last.holder == self._holder

    def _compare(self, leader: Beat) -> None:
        """Say that the leases of a queue's workers differ."""
        if leader.lease_s in {None, self._lease_s}:
            return
        self._repeated.log(
            log.warning,
            "FORNADA_LEASE_S differs from the leader's, so that shards may run twice; set the same "
            "for all workers of a queue",
            about=leader.lease_s,
            lease_s=self._lease_s,
            leader=leader.holder,
            leader_lease_s=leader.lease_s,
        )
