"""Which jobs have ended, as the store says."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from fornada.errors import MessageError
from fornada.jobs.store import JobStore

#: Ended jobs that are remembered, and for how long: a caller's id may be submitted again.
_KEPT = 1024
_KNOWN_FOR_S = 60.0


class EndedJobs:
    """Ends that were seen in the store. Safe to share between threads.

    A job that was cancelled may have a thousand messages in the queue: the store is asked once a
    minute for all of them.

    Args:
        jobs: The store.
        monotonic: This machine's clock, in seconds.
    """

    def __init__(self, *, jobs: JobStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: Job that has ended → until when that is believed.
        self._until: OrderedDict[str, float] = OrderedDict()

    def has_ended(self, job_id: str) -> bool:
        """Whether the job has an end.

        Raises:
            JobNotFoundError: No job has this id.
            StoreError: The store cannot be reached.
        """
        with self._lock:
            if self._monotonic() < self._until.get(job_id, 0.0):
                return True
        if not self._has_end(job_id):
            self._jobs.require(job_id)
            return False
        with self._lock:
            self._until[job_id] = self._monotonic() + _KNOWN_FOR_S
            if len(self._until) > _KEPT:
                self._until.popitem(last=False)
        return True

    def _has_end(self, job_id: str) -> bool:
        try:
            return self._jobs.final(job_id) is not None
        except MessageError:
            # It ended, however.
            return True
