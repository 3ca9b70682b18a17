"""A submitted job: wait for it, cancel it, read what is in it."""

import math
import time
from collections.abc import Callable

from fornada.errors import (
    BrokerError,
    UsageError,
    WaitTimeoutError,
)
from fornada.logs import get_logger
from producer.following.waiting import Due, JobWatch
from producer.job_reader import JobReader
from producer.job_status import JobStatus, ended_status
from producer.options import check_seconds

log = get_logger(__name__)

#: Time between two looks for an end that is being written.
_END_POLL_S = 0.5


class Job(JobReader):
    """A submitted job. Cheap to create; every call asks the store."""

    def status(self) -> JobStatus:
        """The job's state now.

        Raises:
            StoreError: The store cannot be reached.
        """
        return self.looks().look().status

    def wait(
        self,
        timeout_s: float | None = None,
        *,
        on_progress: Callable[[JobStatus], None] | None = None,
    ) -> JobStatus:
        """Wait until the job ends, in whatever state; return its last status.

        Args:
            timeout_s: Give up waiting after this many seconds; `None` waits forever.
            on_progress: Called with the status at first, and when it may have changed.

        Raises:
            WaitTimeoutError: It did not end in time; it continues.
            UsageError: An argument is of another type.
            StoreError: The store cannot be reached.
        """
        if timeout_s is not None:
            check_seconds(timeout_s, "timeout_s")
        if on_progress is not None and not callable(on_progress):
            raise UsageError(f"on_progress is {on_progress!r}; give a function of a JobStatus")
        until = math.inf if timeout_s is None else time.monotonic() + float(timeout_s)
        looks = self.looks()
        glances = on_progress is not None
        with JobWatch(self.id, notices=self._coordination, glances=glances) as watch:
            watch.begin(until - time.monotonic())
            status = looks.look().status
            while True:
                if on_progress is not None:
                    on_progress(status)
                if status.ended:
                    return status
                left_s = until - time.monotonic()
                if left_s <= 0:
                    why = "" if status.reason is None else f" ({status.reason})"
                    raise WaitTimeoutError(
                        f"job {self.id} has {status.shards_done} of {status.shards} shards after "
                        f"{timeout_s:g} s{why}; it continues, so wait again"
                    )
                due = watch.wait(left_s)
                status = (looks.look() if due is Due.LOOK else looks.glance()).status

    def cancel(self, reason: str = "cancelled by its submitter") -> JobStatus:
        """Stop the job; finished shards stay readable. An ended job stays as it is.

        Returns:
            Its status now: CANCELLED, or the state in which it had ended.
        """
        self._jobs.request_cancel(self.id, reason)
        while True:
            final = self._jobs.finish_if_complete(self.manifest) or self._jobs.finish(
                self.manifest, "CANCELLED", reason
            )
            if final is not None:
                break
            # Another process is about to write it.
            time.sleep(_END_POLL_S)
        try:
            self._coordination.end_jobs({self.id: final.state})
        except BrokerError as exc:
            # The store knows; a worker's reconciler tells Redis.
            log.warning("job ended, queue informed later", job_id=self.id, error=str(exc))
        return ended_status(self.manifest, final)
