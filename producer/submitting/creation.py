"""Create jobs and enqueue their shards; from its manifest on, a job ends whatever crashes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fornada.coordination.interface import OpenJobs
from fornada.coordination.job_index.interface import JobIndex
from fornada.coordination.trace_links.interface import TraceLinks
from fornada.errors import BrokerError, FornadaError, JobNotFoundError
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.ids import ContentAddressedManifest, message_for
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.parallel import in_context
from fornada.queue.interface import Sender
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.settings import Settings
from fornada.tracing.interface import NO_TRACES, Traces
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys

log = get_logger(__name__)


class SubmittedJobs(OpenJobs, JobIndex, TraceLinks, Protocol):
    """What a new job is noted in."""


#: Manifests of small jobs that are written concurrently.
_WRITING_THREADS = 4
#: Messages for workers to begin with while the others, which may be a thousand, are noted.
_MESSAGES_AHEAD = 4
#: Small jobs a round: workers compute the first ones while the others are being created.
_JOBS_PER_ROUND = 4 * MAX_BUNDLE


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCreator:
    """Creates jobs and enqueues their shards.

    Redis lists a job before its manifest is written: from the manifest on, the reconciler must know
    the job. Messages that never reach the queue, as when this process dies, are enqueued by the
    reconciler.
    """

    jobs: JobStore
    coordination: SubmittedJobs
    sender: Sender
    settings: Settings
    bucket: BucketCheck
    deployment_keys: DeploymentKeys = NO_KEYS
    traces: Traces = NO_TRACES

    def existing(self, job_id: str) -> JobManifest | None:
        """The manifest of the job with this id, if there is one."""
        try:
            return self.jobs.manifest(job_id)
        except JobNotFoundError:
            return None

    def create_and_enqueue(self, manifest: JobManifest, *, new: bool) -> JobManifest:
        """Create the job and enqueue its shards; return the existing job if there is one.

        Args:
            manifest: The job.
            new: No job with this id is known.

        Raises:
            JobConflictError: The id is taken by other work.
            ForeignBucketError: Redis belongs to another bucket.
        """
        self.bucket.check_once()
        self.coordination.open_job(manifest.job_id, new=new)
        self._note_owners([manifest])
        self._note_trace([manifest.job_id])
        created = self.jobs.create(manifest)
        if created is manifest:
            self.enqueue(manifest, range(len(manifest.shards)))
        return created

    def enqueue(self, manifest: JobManifest, shards: Sequence[int]) -> None:
        """Enqueue as many shards as the window has room for; the reconciler enqueues the rest."""
        job_id = manifest.job_id
        if manifest.queue_name != self.settings.queue:
            # Its own queue's reconciler has it on its list.
            return
        try:
            queued = self.coordination.queue_length(self.settings.queue)
            first = shards[: max(0, self.settings.enqueue_window - queued)]
            together = MAX_BUNDLE if manifest.is_small else 1
            ahead = _MESSAGES_AHEAD * together
            for some in (first[:ahead], first[ahead:]) if first[ahead:] else (first,):
                if not self.coordination.mark_enqueued(job_id, some):
                    return
                self.sender.enqueue(
                    (ShardMessage(job_id=job_id, shard=shard) for shard in some),
                    together=together,
                    traces=self._traces_of([job_id]),
                )
        except BrokerError as exc:
            # The manifest is stored, so the job is accepted; the reconciler enqueues it.
            log.warning("job accepted, enqueued later", job_id=job_id, error=str(exc))

    def create_and_enqueue_small(
        self, jobs: Sequence[ContentAddressedManifest]
    ) -> dict[str, FornadaError]:
        """Create new small jobs and enqueue them, sharing round trips.

        Returns:
            Id of a job that failed -> why. It may exist nevertheless, if the store's answer was
            lost.
        """
        failed: dict[str, FornadaError] = {}
        for start in range(0, len(jobs), _JOBS_PER_ROUND):
            some = jobs[start : start + _JOBS_PER_ROUND]
            try:
                failed |= self._create_round(some)
            except BrokerError as exc:
                failed |= {job.manifest.job_id: exc for job in some}
        return failed

    def _create_round(self, jobs: Sequence[ContentAddressedManifest]) -> dict[str, FornadaError]:
        # Listed, and noted as enqueued, in one step.
        has_room = self.coordination.register_small_jobs(
            [job.manifest.small_job() for job in jobs],
            queue=self.settings.queue,
            window=self.settings.enqueue_window,
        )
        self._note_owners([job.manifest for job in jobs])
        self._note_trace([job.manifest.job_id for job in jobs])
        failed = self._write(jobs)
        if has_room:
            self._enqueue_small([job for job in jobs if job.manifest.job_id not in failed])
        return failed

    def _note_owners(self, manifests: Sequence[JobManifest]) -> None:
        """List jobs by their owners, before they exist: else one could be left out for ever."""
        owned: dict[str, dict[str, datetime]] = {}
        for manifest in manifests:
            if manifest.owner is not None:
                owned.setdefault(manifest.owner, {})[manifest.job_id] = manifest.created_at
        for owner, submitted in owned.items():
            self.coordination.note_owned(owner, submitted)

    def _note_trace(self, job_ids: Sequence[str]) -> None:
        """Note what submits the jobs, for whoever enqueues the rest of them."""
        traceparent = self.traces.traceparent()
        if traceparent is not None:
            self.coordination.note_trace(job_ids, traceparent)

    def _traces_of(self, job_ids: Sequence[str]) -> dict[str, str]:
        traceparent = self.traces.traceparent()
        return {} if traceparent is None else dict.fromkeys(job_ids, traceparent)

    def _write(self, jobs: Sequence[ContentAddressedManifest]) -> dict[str, FornadaError]:
        if len(jobs) == 1:
            errors = [self._write_one(jobs[0])]
        else:
            with ThreadPoolExecutor(_WRITING_THREADS) as pool:
                errors = list(pool.map(in_context(self._write_one), jobs))
        written = zip(jobs, errors, strict=True)
        return {job.manifest.job_id: error for job, error in written if error is not None}

    def _write_one(self, job: ContentAddressedManifest) -> FornadaError | None:
        try:
            self.jobs.create_named(job)
        except FornadaError as exc:
            return exc
        return None

    def _enqueue_small(self, created: Sequence[ContentAddressedManifest]) -> None:
        messages = (
            message_for(job.manifest, shard, deployment_keys=self.deployment_keys)
            for job in created
            for shard in range(len(job.manifest.shards))
        )
        try:
            traces = self._traces_of([job.manifest.job_id for job in created])
            self.sender.enqueue(messages, together=MAX_BUNDLE, traces=traces)
        except BrokerError as exc:
            log.warning("jobs accepted, enqueued later", jobs=len(created), error=str(exc))
