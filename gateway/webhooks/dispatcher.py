"""Attend to webhooks when their jobs end and when retries are due: a thread and a few callers."""

import heapq
import math
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from fornada.coordination.interface import FollowedJobs
from fornada.coordination.notices.interface import Notice
from fornada.errors import FornadaError
from fornada.logs import get_logger, shown
from fornada.records import now
from fornada.repeated import Repeated
from gateway.webhooks.deliveries import Deliveries, Left
from gateway.webhooks.outbox import Outbox

log = get_logger(__name__)

#: Time between two listings of what is pending: other gateways write there too, and may be killed.
SCAN_EVERY_S = 15.0
#: Calls at a time.
_CALLERS = 16
#: After an error of the store or of Redis.
_AGAIN_AFTER_S = 5.0
#: After a notice of an end that was none, how long another is not followed; doubles each time.
_FIRST_DOUBT_S, _LAST_DOUBT_S = 0.02, 15.0
#: Jobs that a scan looks at while Redis does not say which are open.
_MOST_LOOKS = 500
#: How long a settled webhook is kept, to be told again by hand; looked at every hour.
_KEPT = timedelta(days=30)
_SCANS_PER_CLEANING = 240


class _Watched:
    """A webhook that is pending, as far as this gateway knows."""

    def __init__(self) -> None:
        self.stop: Callable[[], None] = lambda: None
        self.known_at = time.monotonic()
        self.due_at = math.inf
        self.is_busy = False
        #: A retry is due then, and no look before.
        self.is_retried = False
        self.quiet_until = 0.0
        self.doubt_s = _FIRST_DOUBT_S


class WebhookDispatcher:
    """Attends to all pending webhooks, of whatever gateway.

    Args:
        outbox: Lists them.
        deliveries: Attends to one.
        jobs: Tell of ends, and which jobs are open.
    """

    def __init__(self, *, outbox: Outbox, deliveries: Deliveries, jobs: FollowedJobs) -> None:
        self._outbox = outbox
        self._deliveries = deliveries
        self._jobs = jobs
        self._repeated = Repeated()
        self._changed = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        #: When and which; entries that a job no longer means are passed over.
        self._due: list[tuple[float, str]] = []
        self._is_stopped = False
        self._scans = random.randrange(_SCANS_PER_CLEANING)  # noqa: S311 - no secret
        self._callers: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start."""
        callers = ThreadPoolExecutor(_CALLERS, thread_name_prefix="webhook")
        self._callers = callers
        self._thread = threading.Thread(
            target=lambda: self._run(callers), name="webhooks", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop once the calls at hand are over."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._callers is not None:
            self._callers.shutdown(cancel_futures=True)
        while self._watched:
            self._watched.popitem()[1].stop()

    def expect(self, job_id: str) -> None:
        """Tell the job's webhook as soon as the job ends, or after a redelivery was asked for."""
        with self._changed:
            known = self._watched.get(job_id)
            if known is not None:
                known.is_retried = False
                self._plan(job_id, time.monotonic())
                return
            watched = self._watched[job_id] = _Watched()
        stop = self._jobs.listen(job_id, lambda notice: self._hear(job_id, notice))
        with self._changed:
            if self._watched.get(job_id) is watched:
                watched.stop = stop
                return
        # It was told meanwhile.
        stop()

    def _hear(self, job_id: str, notice: Notice) -> None:
        if notice not in {Notice.LISTENING, Notice.ENDED}:
            # While notices do not arrive, scans look.
            return
        with self._changed:
            watched = self._watched.get(job_id)
            if watched is not None and not watched.is_retried:
                self._plan(job_id, max(time.monotonic(), watched.quiet_until))

    def _plan(self, job_id: str, at: float) -> None:
        """Attend to the webhook then, if not before. The caller holds the lock."""
        watched = self._watched[job_id]
        if at < watched.due_at:
            watched.due_at = at
            heapq.heappush(self._due, (at, job_id))
            self._changed.notify_all()

    def _run(self, callers: ThreadPoolExecutor) -> None:
        scan_at = time.monotonic()
        while not self._is_stopped:
            if time.monotonic() >= scan_at:
                scan_at = time.monotonic() + SCAN_EVERY_S
                self._try(self._scan)
            with self._changed:
                for job_id in self._take_due():
                    callers.submit(self._attend, job_id)
                next_at = min(scan_at, self._due[0][0] if self._due else math.inf)
                if not self._is_stopped:
                    self._changed.wait(max(0.0, next_at - time.monotonic()))

    def _take_due(self) -> Iterable[str]:
        taken = []
        while self._due and self._due[0][0] <= time.monotonic():
            at, job_id = heapq.heappop(self._due)
            watched = self._watched.get(job_id)
            if watched is None or watched.due_at != at or watched.is_busy:
                continue
            watched.due_at, watched.is_busy = math.inf, True
            taken.append(job_id)
        return taken

    def _attend(self, job_id: str) -> None:
        left: Left | datetime | None = None
        try:
            left = self._try(lambda: self._deliveries.attend(job_id))
        finally:
            with self._changed:
                self._leave(job_id, left)

    def _leave(self, job_id: str, left: Left | datetime | None) -> None:
        """Note what is left to do of a webhook; `None` after an error."""
        watched = self._watched[job_id]
        watched.is_busy = False
        planned_at, watched.due_at = watched.due_at, math.inf
        if left is Left.NOTHING and planned_at == math.inf:
            watched.stop()
            del self._watched[job_id]
            return
        now_s = time.monotonic()
        watched.is_retried = isinstance(left, datetime)
        if isinstance(left, datetime):
            planned_at = now_s + max(0.0, (left - now()).total_seconds())
        elif left is None:
            planned_at = min(planned_at, now_s + _AGAIN_AFTER_S)
        else:
            watched.quiet_until = now_s + watched.doubt_s
            watched.doubt_s = min(_LAST_DOUBT_S, 2 * watched.doubt_s)
        if planned_at < math.inf:
            self._plan(job_id, max(planned_at, watched.quiet_until))

    def _try(self, step: Callable[[], Left | datetime | None]) -> Left | datetime | None:
        """What the step returns; `None` if it fails, which is logged."""
        try:
            return step()
        except FornadaError as exc:
            what = "webhooks wait"
            self._repeated.log(log.warning, what, about=type(exc).__name__, error=str(exc))
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - others are to be told
            what = "webhook failed unexpectedly"
            self._repeated.log(log.exception, what, about=type(exc).__name__, error=shown(exc))
        return None

    def _scan(self) -> None:
        """Find what other gateways have left, and jobs whose end nobody told."""
        began_s = time.monotonic()
        pending = self._outbox.pending_jobs()
        with self._changed:
            known = dict(self._watched)
            for job_id, each in known.items():
                if job_id not in pending and each.known_at < began_s and not each.is_busy:
                    self._watched.pop(job_id).stop()
        for job_id in pending - known.keys():
            self.expect(job_id)
        self._scans += 1
        if self._scans % _SCANS_PER_CLEANING == 0:
            self._outbox.forget_told(now() - _KEPT)
        waiting = {job_id for job_id in pending & known.keys() if not known[job_id].is_retried}
        if not waiting:
            return
        with_no_end = self._open_jobs()
        with self._changed:
            for job_id in list(waiting - with_no_end)[:_MOST_LOOKS]:
                if job_id in self._watched:
                    self._plan(job_id, time.monotonic())

    def _open_jobs(self) -> set[str]:
        try:
            return self._jobs.open_jobs() or set()
        except FornadaError:
            return set()
