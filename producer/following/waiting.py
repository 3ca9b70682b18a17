"""Wait for a job: listen to notices of it, and say when it is time to look."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from fornada.coordination.notices.interface import TOLD_EVERY_S, Notice, Notices

#: Time between two looks at the store while notices arrive: one may have been lost.
LOOK_EVERY_S = 15.0
#: How long a first look waits until notices arrive.
_LISTENING_WITHIN_S = 5.0
#: Time between two looks while none arrive: grows from the first to the last.
_FIRST_POLL_S = 0.05
_LAST_POLL_S = 1.0
#: After a notice of progress, how long until the progress that was not told is asked for.
_REST_OF_PROGRESS_S = 0.25
#: After a notice of an end that was none, how long another is not followed; doubles each time.
_FIRST_DOUBT_S = 0.05


class Due(StrEnum):
    """What it is time for."""

    #: Look at the store.
    LOOK = "look"
    #: Ask Redis alone.
    GLANCE = "glance"


class LookTimes:
    """When to look at one job, as follows from notices of it.

    Notices are hints that anyone may have sent. One of an end costs a look at the store, and ever
    fewer looks if it was not true.
    """

    def __init__(self, *, glances: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin to wait.

        Args:
            glances: Redis is asked too when it has something new.
            monotonic: This machine's clock, in seconds.
        """
        self._glances = glances
        self._monotonic = monotonic
        #: `None` until the first notice.
        self.is_listening: bool | None = None
        self._has_ended = self._has_progress = self._missed_some = False
        self._poll_s = _FIRST_POLL_S
        self._looks_at: float | None = None
        #: Until then, and for how much longer after that, no notice of an end is followed.
        self._doubts_until = 0.0
        self._doubt_s = _FIRST_DOUBT_S
        self._glance_at = math.inf
        self._glanced_at = -math.inf

    def hear(self, notice: Notice) -> None:
        """Note what was heard."""
        if notice is Notice.LISTENING:
            self._missed_some = True
            self.is_listening = True
        elif notice is Notice.CUT_OFF:
            self._missed_some = self._missed_some or bool(self.is_listening)
            self.is_listening = False
        elif notice is Notice.ENDED:
            self._has_ended = True
        elif self._glances:
            self._has_progress = True
            # Others may send any number.
            self._glance_at = max(self._monotonic(), self._glanced_at + TOLD_EVERY_S)

    def due(self) -> Due | float:
        """What it is time for, which the caller does; or in how many seconds to ask again."""
        now = self._monotonic()
        if self._looks_at is None:
            self._looks_at = now + self._pause_s()
        looks_at = min(self._looks_at, self._doubts_until if self._has_ended else math.inf)
        if self._missed_some or now >= looks_at:
            self.looked()
            return Due.LOOK
        if now >= self._glance_at:
            self._glanced_at = now
            # Not all progress is told, and the last of it may be followed by silence.
            self._glance_at = now + _REST_OF_PROGRESS_S if self._has_progress else math.inf
            self._has_progress = False
            return Due.GLANCE
        return min(looks_at, self._glance_at) - now

    def looked(self) -> None:
        """Note that a look at the store begins."""
        if self._has_ended:
            self._doubts_until = self._monotonic() + self._doubt_s
            self._doubt_s = min(LOOK_EVERY_S, 2 * self._doubt_s)
        self._missed_some = self._has_ended = False
        self._looks_at = None

    def _pause_s(self) -> float:
        if self.is_listening:
            self._poll_s = _FIRST_POLL_S
            return LOOK_EVERY_S
        pause_s, self._poll_s = self._poll_s, min(_LAST_POLL_S, 1.5 * self._poll_s)
        return pause_s


class JobWatch:
    """Says when to look at one job, to a thread; a context manager."""

    def __init__(self, job_id: str, *, notices: Notices, glances: bool) -> None:
        self._job_id = job_id
        self._notices = notices
        self._times = LookTimes(glances=glances)
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._stop = self._notices.listen(self._job_id, self._hear)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def begin(self, timeout_s: float) -> None:
        """Return once notices arrive, or clearly do not, and it is time for the first look."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._times.is_listening is not None, min(timeout_s, _LISTENING_WITHIN_S)
            )
            self._times.looked()

    def wait(self, timeout_s: float) -> Due:
        """Wait until something is due; after `timeout_s` seconds, a look is."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while True:
                due = self._times.due()
                if isinstance(due, Due):
                    return due
                left_s = until - time.monotonic()
                if left_s <= 0:
                    self._times.looked()
                    return Due.LOOK
                self._changed.wait(min(due, left_s))

    def _hear(self, notice: Notice) -> None:
        with self._changed:
            self._times.hear(notice)
            self._changed.notify_all()


class AsyncJobWatch:
    """Says when to look at one job, to a task of the running event loop; a context manager."""

    def __init__(self, job_id: str, *, notices: Notices, glances: bool) -> None:
        self._job_id = job_id
        self._notices = notices
        self._times = LookTimes(glances=glances)
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stop: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        # It speaks to Redis, which may take its time.
        self._stop = await asyncio.to_thread(self._notices.listen, self._job_id, self._hear)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stop is not None:
            self._stop()

    async def begin(self, timeout_s: float = math.inf) -> None:
        """As `JobWatch.begin`."""
        until = time.monotonic() + min(timeout_s, _LISTENING_WITHIN_S)
        while self._times.is_listening is None and time.monotonic() < until:
            await self._sleep(until - time.monotonic())
        self._times.looked()

    async def wait(self, timeout_s: float = math.inf) -> Due:
        """As `JobWatch.wait`."""
        until = time.monotonic() + timeout_s
        while True:
            due = self._times.due()
            if isinstance(due, Due):
                return due
            left_s = until - time.monotonic()
            if left_s <= 0:
                self._times.looked()
                return Due.LOOK
            await self._sleep(min(due, left_s))

    async def _sleep(self, at_most_s: float) -> None:
        try:
            async with asyncio.timeout(at_most_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _hear(self, notice: Notice) -> None:
        # Closed, if nobody waits any more.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._heard, notice)

    def _heard(self, notice: Notice) -> None:
        self._times.hear(notice)
        self._changed.set()
