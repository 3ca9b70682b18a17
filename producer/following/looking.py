"""Look at a job: in the store, or at what Redis alone says of it."""

from dataclasses import replace
from typing import NamedTuple

from fornada.coordination.interface import OpenJobs, Progress
from fornada.errors import BrokerError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from producer.following.queues import Queues
from producer.job_status import JobStatus, ended_status

log = get_logger(__name__)


class Look(NamedTuple):
    """What was seen of a job."""

    status: JobStatus
    #: What Redis and the store know of an open job, or how it ended.
    seen: Progress | JobFinal


class JobLooks:
    """Looks at one job."""

    def __init__(
        self, manifest: JobManifest, *, jobs: JobStore, open_jobs: OpenJobs, queues: Queues
    ) -> None:
        self._manifest = manifest
        self._queues = queues
        self._jobs = jobs
        self._open_jobs = open_jobs
        #: Shards that had an outcome when the store was last looked at.
        self._done: set[int] = set()

    def look(self) -> Look:
        """The job now.

        Raises:
            StoreError: The store cannot be reached.
        """
        final = self._jobs.end_of(self._manifest)
        if final is not None:
            return Look(ended_status(self._manifest, final), final)
        return self._open(self.progress())

    def glance(self) -> Look:
        """The job as Redis alone has it, never ended; without Redis, as `look`.

        Raises:
            StoreError: Neither can be reached.
        """
        try:
            progress = self._open_jobs.progress(self._manifest.job_id)
        except BrokerError:
            return self.look()
        if not progress.counted:
            # What Redis has lost was seen before, for the most part.
            progress = replace(progress, done=self._done | progress.done)
        return self._open(progress)

    def progress(self) -> Progress:
        """The open job's progress: as counted by Redis, otherwise from a listing of the store.

        Raises:
            StoreError: The store cannot be reached.
        """
        job_id = self._manifest.job_id
        try:
            progress = self._open_jobs.progress(job_id)
        except BrokerError as exc:
            log.warning("progress is read from the store", job_id=job_id, error=str(exc))
            progress = Progress(done=frozenset())
        if progress.counted:
            return progress
        self._done = self._jobs.outcome_shards(
            job_id, shard_count=len(self._manifest.shards), known=self._done
        )
        return replace(progress, done=self._done)

    def status(self, progress: Progress) -> JobStatus:
        """The status of the open job with this progress."""
        return self._queues.status(self._manifest, progress)

    def _open(self, progress: Progress) -> Look:
        return Look(self.status(progress), progress)
