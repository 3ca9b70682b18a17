"""Make small new jobs exist, several at a time, with the fewest round trips."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fornada.coordination.interface import OpenJobs
from fornada.errors import BrokerError, FornadaError
from fornada.jobs.ids import ContentAddressedManifest, message_for
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.queue.interface import Sender
from fornada.queue.message import MAX_BUNDLE

log = get_logger(__name__)

_WRITING_THREADS = 4
#: Jobs that are made between two calls of Redis: workers are at the first while others are made.
_JOBS_AT_A_TIME = 4 * MAX_BUNDLE


class SmallJobs:
    """Makes jobs exist whose inputs are in their manifests, and whose ids nobody else can have.

    Redis is told of them first, for from the manifest on the reconciler must know of a job; and
    in the same step that their messages are on the way. If they never come there, as when the
    process dies, the reconciler takes them for lost after a while.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        coordination: OpenJobs,
        sender: Sender,
        queue: str,
        enqueue_window: int,
    ) -> None:
        self._jobs = jobs
        self._coordination = coordination
        self._sender = sender
        self._queue = queue
        self._enqueue_window = enqueue_window

    def accept(self, small: Sequence[ContentAddressedManifest]) -> dict[str, FornadaError]:
        """Make the jobs exist and enqueue them; what failed, by the job's id.

        A job that failed may exist nevertheless, if the store's answer was lost.
        """
        failed: dict[str, FornadaError] = {}
        for start in range(0, len(small), _JOBS_AT_A_TIME):
            some = small[start : start + _JOBS_AT_A_TIME]
            try:
                failed |= self._accept(some)
            except BrokerError as exc:
                failed |= {job.manifest.job_id: exc for job in some}
        return failed

    def _accept(self, some: Sequence[ContentAddressedManifest]) -> dict[str, FornadaError]:
        has_room = self._coordination.register_small_jobs(
            [job.manifest.small_job() for job in some],
            queue=self._queue,
            window=self._enqueue_window,
        )
        failed = self._create(some)
        accepted = [job for job in some if job.manifest.job_id not in failed]
        if has_room:
            self._enqueue(accepted)
        return failed

    def _create(self, some: Sequence[ContentAddressedManifest]) -> dict[str, FornadaError]:
        if len(some) == 1:
            errors = [self._create_one(some[0])]
        else:
            with ThreadPoolExecutor(_WRITING_THREADS) as pool:
                errors = list(pool.map(self._create_one, some))
        found = zip(some, errors, strict=True)
        return {job.manifest.job_id: error for job, error in found if error is not None}

    def _create_one(self, job: ContentAddressedManifest) -> FornadaError | None:
        try:
            self._jobs.create_named(job)
        except FornadaError as exc:
            return exc
        return None

    def _enqueue(self, accepted: Sequence[ContentAddressedManifest]) -> None:
        messages = (
            message_for(job.manifest, shard)
            for job in accepted
            for shard in range(len(job.manifest.shards))
        )
        try:
            self._sender.enqueue(messages, together=MAX_BUNDLE)
        except BrokerError as exc:
            # They are accepted: their manifests are stored, and the reconciler enqueues them.
            log.warning("jobs accepted, enqueued later", jobs=len(accepted), error=str(exc))
