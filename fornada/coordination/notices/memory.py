"""`Notices` in memory, for tests (`fornada.testing`)."""

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from fornada.coordination.notices.interface import TOLD_EVERY_S, Hear, Notice


class InMemoryNotices:
    """`Notices` of what this process tells.

    Args:
        monotonic: This machine's clock, in seconds.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._hearers: defaultdict[str, tuple[Hear, ...]] = defaultdict(tuple)
        #: Job → when its progress was told.
        self._told_s: dict[str, float] = {}

    def listen(self, job_id: str, hear: Hear) -> Callable[[], None]:
        """As `Notices`."""
        self._hearers[job_id] += (hear,)
        hear(Notice.LISTENING)
        return partial(self._stop, job_id, hear)

    def _stop(self, job_id: str, hear: Hear) -> None:
        left = [each for each in self._hearers[job_id] if each is not hear]
        self._hearers[job_id] = tuple(left)

    def _tell(self, job_id: str, notice: Notice) -> None:
        for hear in self._hearers[job_id]:
            hear(notice)

    def _tell_progress(self, job_id: str) -> None:
        now_s = self._monotonic()
        if now_s - self._told_s.get(job_id, -TOLD_EVERY_S) >= TOLD_EVERY_S:
            self._told_s[job_id] = now_s
            self._tell(job_id, Notice.PROGRESS)
