"""Wait for a job: listen to notices of it, and say when it is time to look."""

import math
import threading
import time
from types import TracebackType
from typing import Self

from fornada.coordination.notices import TOLD_EVERY_S, Notice, Notices

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


class JobWatch:
    """When to look at one job; a context manager.

    Notices are hints that anyone may have sent. One of an end costs a look at the store, and ever
    fewer looks if it was not true.
    """

    def __init__(self, job_id: str, *, notices: Notices) -> None:
        self._job_id = job_id
        self._notices = notices
        self._changed = threading.Condition()
        #: `None` until the first notice.
        self._is_listening: bool | None = None
        self._has_ended = self._has_progress = self._missed_some = False
        self._poll_s = _FIRST_POLL_S
        self._looks_at: float | None = None
        #: Until then, and for how much longer after that, no notice of an end is followed.
        self._doubts_until = 0.0
        self._doubt_s = _FIRST_DOUBT_S
        self._glance_at: float | None = None
        self._glanced_at = -math.inf

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

    def wait_until_listening(self, timeout_s: float) -> None:
        """Return once notices arrive, or it is clear that they do not."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_listening is not None, min(timeout_s, _LISTENING_WITHIN_S)
            )
            self._missed_some = False

    def wait(self, timeout_s: float, *, glances: bool) -> bool:
        """Wait until it is time to look at the store again, for `timeout_s` at most.

        Args:
            timeout_s: How long to wait.
            glances: Return also when Redis alone has something new.

        Returns:
            Whether to look at the store, and not just at what Redis says.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            if self._looks_at is None:
                self._looks_at = time.monotonic() + self._pause_s()
            while True:
                now = time.monotonic()
                looks_at = min(
                    until, self._looks_at, self._doubts_until if self._has_ended else until
                )
                if self._missed_some or now >= looks_at:
                    self._begin_look(now)
                    return True
                glance_at = self._glance_at if glances and self._glance_at is not None else looks_at
                if now >= glance_at:
                    self._begin_glance(now)
                    return False
                self._changed.wait(min(looks_at, glance_at) - now)

    def _pause_s(self) -> float:
        if self._is_listening:
            self._poll_s = _FIRST_POLL_S
            return LOOK_EVERY_S
        pause_s, self._poll_s = self._poll_s, min(_LAST_POLL_S, 1.5 * self._poll_s)
        return pause_s

    def _begin_look(self, now: float) -> None:
        if self._has_ended:
            self._doubts_until = now + self._doubt_s
            self._doubt_s = min(LOOK_EVERY_S, 2 * self._doubt_s)
        self._missed_some = self._has_ended = False
        self._looks_at = None

    def _begin_glance(self, now: float) -> None:
        self._glanced_at = now
        # Not all progress is told, but the last of it is soon followed by silence.
        self._glance_at = now + _REST_OF_PROGRESS_S if self._has_progress else None
        self._has_progress = False

    def _hear(self, notice: Notice) -> None:
        with self._changed:
            if notice is Notice.LISTENING:
                self._missed_some = True
                self._is_listening = True
            elif notice is Notice.CUT_OFF:
                self._missed_some = self._missed_some or bool(self._is_listening)
                self._is_listening = False
            elif notice is Notice.ENDED:
                self._has_ended = True
            else:
                self._has_progress = True
                # Others may send any number.
                self._glance_at = max(time.monotonic(), self._glanced_at + TOLD_EVERY_S)
            self._changed.notify_all()
