"""The jobs of a deployment: found again, and kept going."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from fornada import keys
from fornada.calls.interface import CallChannel
from fornada.coordination.interface import Coordination
from fornada.coordination.job_index.interface import Position
from fornada.coordination.server_clock import ServerClock
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.errors import JobNotFinishedError, JobNotFoundError, MessageError, UsageError
from fornada.jobs.job_inputs import RETRY_OF, VERIFIES
from fornada.jobs.manifest import DEFAULT_TIME_TO_END, JobManifest
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from fornada.queue.interface import Sender
from producer.following.queues import Queues
from producer.job import Job
from producer.job_status import JobStatus, unreadable_status
from producer.listing.newest import list_jobs
from producer.listing.pages import JobFilter, JobPage, JobPages
from producer.options import check_count, check_seconds, check_text
from producer.submitting.creation import JobCreator
from producer.upkeep.backlog import (
    Backlog,
    BacklogCounter,
    open_job_ids,
    readable_manifests,
)
from producer.upkeep.retention import delete_job, purge
from producer.upkeep.retry import lost_shards, retry_id, retry_of
from producer.upkeep.verification import Verification, compare, verification_of


class Jobs:
    """The part of `Client` that finds, resumes, retries, verifies and deletes jobs."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        coordination: Coordination,
        sender: Sender,
        channel: CallChannel,
        creator: JobCreator,
    ) -> None:
        self._jobs = jobs
        self._channel = channel
        self._coordination = coordination
        self._sender = sender
        self._creator = creator
        self._clock = ServerClock(coordination)
        self._backlog = BacklogCounter(jobs=jobs, coordination=coordination, sender=sender)
        self._queues = Queues(coordination)

    @property
    def coordination(self) -> Coordination:
        """What Redis knows of the jobs, for a gateway."""
        return self._coordination

    def job(self, job_id: str) -> Job:
        """The job with this id, from any producer.

        Raises:
            JobNotFoundError: There is none.
            UsageError: `job_id` is not a job id.
        """
        check_text(job_id, "job_id")
        return self._as_job(self._jobs.manifest(keys.check_name("job id", job_id)))

    def job_of(self, manifest: JobManifest) -> Job:
        """The job of a manifest that was read before; nothing is read again."""
        return self._as_job(manifest)

    def jobs(self, *, limit: int | None = None) -> list[JobStatus]:
        """The statuses of all jobs, or of the newest `limit`, newest first.

        Raises:
            UsageError: `limit` is not a whole number.
        """
        if limit is not None:
            check_count(limit, "limit")
        return list_jobs(
            limit, jobs=self._jobs, open_jobs=self._coordination, status_of=self._status_of
        )

    def page(
        self,
        wanted: JobFilter,
        *,
        before: Position | None = None,
        limit: int = 50,
        manifest_of: Callable[[str], JobManifest] | None = None,
    ) -> JobPage:
        """The newest jobs that are wanted, at most `limit`, older than `before`.

        Args:
            wanted: Which.
            before: Where the page before ended.
            limit: How many.
            manifest_of: Reads manifests, for those who hold the last ones.
        """
        pages = JobPages(
            jobs=self._jobs,
            index=self._coordination,
            as_job=self._as_job,
            manifest_of=manifest_of or self._jobs.manifest,
        )
        return pages.page(wanted, before=before, limit=limit)

    def open_job_ids(self) -> set[str]:
        """The ids of the jobs that have not ended, and perhaps of some that never began."""
        return open_job_ids(self._jobs, coordination=self._coordination)

    def manifests(self, job_ids: Iterable[str]) -> Iterator[JobManifest]:
        """The manifests of those of the jobs that exist and can be read."""
        return readable_manifests(self._jobs, job_ids)

    def backlog(self) -> Backlog:
        """The unfinished work of all queues: shards, items, and calls that wait."""
        return sum(self.backlogs().values(), start=Backlog())

    def backlogs(self) -> dict[str, Backlog]:
        """The unfinished work of each queue with open jobs, and of the client's own."""
        found = self._backlog.count()
        found.setdefault(self._creator.settings.queue, Backlog())
        return {
            queue: replace(left, calls=self.waiting_calls(queue)) for queue, left in found.items()
        }

    def waiting_calls(self, queue: str) -> int:
        """The number of calls of `predict` that no worker of `queue` has taken yet."""
        return self._channel.waiting(queue)

    def last_errors(self, job_id: str, shards: Sequence[int]) -> dict[int, str]:
        """Shard of an open job -> why its last attempt ended without an outcome, as Redis knows."""
        errors = in_parallel(partial(self._coordination.last_error, job_id), shards)
        found = zip(shards, errors, strict=True)
        return {shard: error for shard, error in found if error is not None}

    def workers(self) -> Sequence[WorkerReport]:
        """What the worker processes said of themselves in the last minute."""
        return self._coordination.workers()

    def resume(self, job_id: str) -> Job:
        """Enqueue lost shards of a job now; the workers' reconciler would do so later.

        Raises:
            JobNotFoundError: There is no such job.
            UsageError: It has ended.
        """
        job = self.job(job_id)
        lost = lost_shards(job.manifest, jobs=self._jobs, coordination=self._coordination)
        self._creator.enqueue(job.manifest, lost)
        return job

    def retry_failed(self, job_id: str, *, admit: Callable[[int], None] | None = None) -> Job:
        """Run the failed items of an ended job again, and its missing shards, as a new job.

        Its id is the job's with `-retry` appended, so calling again returns the same job. Images
        are not copied; item ids and numbers are those of the first job. Items that could not be
        read when they were submitted are left out.

        Args:
            job_id: The ended job.
            admit: Called with the number of items before there is a new job; raises if there may
                be none.

        Raises:
            JobNotFoundError: There is no such job.
            UsageError: It has not ended, or nothing can be run again.
        """
        source = self.job(job_id).manifest
        existing = self._creator.existing(retry_id(job_id))
        if existing is not None and existing.tags.get(RETRY_OF) == job_id:
            # Perhaps of an older version, which would be written otherwise today.
            return self._as_job(existing)
        manifest = self._new_now(retry_of(source, jobs=self._jobs))
        if admit is not None:
            admit(manifest.item_count)
        return self._as_job(self._creator.create_and_enqueue(manifest, new=existing is None))

    def verify(
        self, job_id: str, *, sample: int = 16, timeout_s: float | None = None
    ) -> Verification:
        """Compute shards of an ended job again and compare the results, byte by byte.

        The same artifact, item, engine and tile give the same bytes on the same kind of machine,
        whatever the split, workers, threads and retries.

        Args:
            job_id: The job.
            sample: Shards to compute, at most; the same ones each time.
            timeout_s: Give up waiting after this many seconds.

        Raises:
            JobNotFoundError: There is no such job.
            UsageError: It has not ended, or has no shard to run again.
            WaitTimeoutError: They did not finish in time; they still run.
            JobFailedError: A shard could not be run again.
        """
        if timeout_s is not None:
            check_seconds(timeout_s, "timeout_s")
        again = self.begin_verification(job_id, sample=sample)
        again.wait(timeout_s)
        return self.verification(job_id, again.id)

    def begin_verification(self, job_id: str, *, sample: int = 16) -> Job:
        """As `verify`, which it begins: a job whose results `verification` compares.

        Raises:
            JobNotFoundError, UsageError: As `verify`.
        """
        check_count(sample, "sample")
        manifest = self.job(job_id).manifest
        again = self._new_now(verification_of(manifest, jobs=self._jobs, sample=sample))
        return self._as_job(self._creator.create_and_enqueue(again, new=True))

    def verification(self, job_id: str, verification_id: str) -> Verification:
        """What an ended verification found.

        Raises:
            JobNotFoundError: There is no such verification of the job.
            JobNotFinishedError: It still runs.
            JobFailedError: A shard could not be run again.
        """
        manifest, again = self.job(job_id).manifest, self.job(verification_id)
        if again.manifest.tags.get(VERIFIES) != job_id:
            raise JobNotFoundError(f"job {verification_id} does not verify job {job_id}")
        if not again.status().ended:
            raise JobNotFinishedError(f"verification {verification_id} still runs; ask again later")
        return compare(manifest, again.manifest, jobs=self._jobs)

    def delete(self, job_id: str) -> None:
        """Delete an ended job, with items and results; repeat it if it fails.

        Raises:
            JobNotFoundError: There is no such job.
            JobStateError: It is open, or another job reads its items.
        """
        delete_job(self.job(job_id).manifest, jobs=self._jobs, coordination=self._coordination)

    def purge(self, older_than: timedelta) -> list[str]:
        """Delete jobs that ended longer ago than `older_than`; return their ids.

        Open jobs are never deleted, nor a job that an open verification reads, or a retry that is
        kept. Uploads that never became a job are deleted too, after a day at the earliest. If it
        fails, call it again.

        Raises:
            UsageError: `older_than` is no `timedelta`.
        """
        if not isinstance(older_than, timedelta):
            raise UsageError(f"older_than is {older_than!r}; give a datetime.timedelta")
        return purge(self._jobs, self._coordination, older_than=older_than)

    def _new_now(self, manifest: JobManifest) -> JobManifest:
        """The manifest of a new job, with the times and the queue of one that begins now."""
        at = self._clock.asked()
        own = {"created_at": at, "deadline": at + DEFAULT_TIME_TO_END}
        queue = manifest.queue or self._creator.settings.queue
        return manifest.model_copy(update={**own, "queue": queue})

    def _status_of(self, job_id: str) -> JobStatus | None:
        try:
            return self._as_job(self._jobs.manifest(job_id)).status()
        except JobNotFoundError:
            # It was never submitted.
            return None
        except MessageError as exc:
            at = self._jobs.manifest_written_at(job_id)
            return None if at is None else unreadable_status(job_id, str(exc), created_at=at)

    def _as_job(self, manifest: JobManifest) -> Job:
        return Job(manifest, jobs=self._jobs, coordination=self._coordination, queues=self._queues)
