"""Why an open job waits, as its queue and the workers' reports say."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from fornada.coordination.interface import FollowedJobs, Progress
from fornada.coordination.worker_board.interface import WorkerBoard, WorkerReport
from fornada.errors import BrokerError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobState
from fornada.keys import DEFAULT_QUEUE
from producer.job_status import JobStatus, open_status

#: How long what was asked is used for all jobs.
_FRESH_S = 1.0


class JobsAndWorkers(FollowedJobs, WorkerBoard, Protocol):
    """What Redis says of jobs, of queues and of workers."""


class Queues:
    """What the queues of open jobs are waiting for. Safe to share between threads.

    Args:
        coordination: Redis, which is asked at most once a second.
        clock: In seconds.
    """

    def __init__(
        self, coordination: JobsAndWorkers, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._coordination = coordination
        self._clock = clock
        self._workers: tuple[float, Sequence[WorkerReport]] | None = None
        self._lengths: dict[str, tuple[float, int]] = {}

    def status(self, manifest: JobManifest, progress: Progress) -> JobStatus:
        """The status of an open job, which says why it waits."""
        status = open_status(manifest, progress)
        if status.reason or status.shards_running or status.shards_done == status.shards:
            return status
        try:
            return replace(status, reason=self._why(manifest.queue_name, status))
        except BrokerError:
            # Redis is not needed to see a job.
            return status

    def _why(self, queue: str, status: JobStatus) -> str | None:
        workers = sum(report.queue == queue for report in self._reports())
        if not workers:
            setting = "" if queue == DEFAULT_QUEUE else f" with FORNADA_QUEUE={queue}"
            return f"no worker of queue {queue!r} runs; start one{setting}: `fornada worker`"
        messages = self._length(queue) if status.state is JobState.QUEUED else 0
        if messages and status.shards_waiting == status.shards:
            return f"waits for room in queue {queue!r}, which is full with {messages} messages"
        if messages > status.shards:
            serving = "1 worker takes" if workers == 1 else f"{workers} workers take"
            return f"waits its turn: {serving} {messages} messages of queue {queue!r}"
        return None

    def _reports(self) -> Sequence[WorkerReport]:
        now_s = self._clock()
        if self._workers is None or now_s - self._workers[0] > _FRESH_S:
            self._workers = (now_s, self._coordination.workers())
        return self._workers[1]

    def _length(self, queue: str) -> int:
        now_s = self._clock()
        asked_at_s, length = self._lengths.get(queue, (0.0, 0))
        if queue not in self._lengths or now_s - asked_at_s > _FRESH_S:
            length = self._coordination.queue_length(queue)
            self._lengths[queue] = (now_s, length)
        return length
