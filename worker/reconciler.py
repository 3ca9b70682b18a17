"""Enqueue what Redis lost, end what is over: a thread in every worker, one of them leading."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from fornada.coordination import Coordination
from fornada.errors import (
    BrokerError,
    FornadaError,
    JobNotFoundError,
    MessageError,
    StoreError,
)
from fornada.job_store import JobStore, in_parallel
from fornada.logs import get_logger
from fornada.messages import JobFinal, JobManifest, ShardMessage

log = get_logger(__name__)

#: Rounds between two looks through the whole store for jobs that Redis does not know of.
_ROUNDS_PER_SCAN = 120
#: A queue that is never empty hides lost messages; this many times longer, and they count as lost.
_PATIENCE = 10
#: A job listed as open whose manifest does not appear for so long was never submitted.
_MANIFEST_GRACE = timedelta(hours=1)


class Reconciler:
    """Brings every open job to its end, whatever was lost on the way.

    Redis loses messages (a worker that dies between BRPOP and its record of it, a full or wiped
    server), and so does a producer that dies between manifest and queue. The store does not, so
    a shard with neither an outcome, nor a lease, nor a message on its way is enqueued again.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        coordination: Coordination,
        enqueue: Callable[[Sequence[ShardMessage]], None],
        holder: str,
        queue: str,
        interval_s: float,
        requeue_after_s: float,
        enqueue_window: int,
    ) -> None:
        self._jobs = jobs
        self._coordination = coordination
        self._enqueue = enqueue
        self._holder = holder
        self._queue = queue
        self._interval_s = interval_s
        self._requeue_after_s = requeue_after_s
        self._enqueue_window = enqueue_window
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._rounds = 0
        self._manifests: dict[str, JobManifest] = {}
        self._first_missed: dict[str, float] = {}

    def start(self) -> None:
        """Begin the rounds in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the round that it is in."""
        self._stop.set()
        self._thread.join()

    def round(self) -> None:
        """One round, if this is the reconciler that leads."""
        if not self._coordination.lead(self._holder, lease_s=max(15.0, 3 * self._interval_s)):
            self._manifests.clear()
            return
        open_jobs = self._open_jobs()
        self._manifests = {j: m for j, m in self._manifests.items() if j in open_jobs}
        for job_id in sorted(open_jobs):
            if self._stop.is_set():
                return
            try:
                self._reconcile(job_id)
            except (StoreError, BrokerError):
                raise
            except Exception as exc:  # noqa: BLE001 - one job's broken objects must not hold up the others
                log.error("job cannot be reconciled", job_id=job_id, error=str(exc))  # noqa: TRY400 - every round again

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.round()
            except FornadaError as exc:
                log.warning("reconciler round failed, trying again", error=str(exc))
            except Exception:
                log.exception("reconciler round failed unexpectedly")

    def _open_jobs(self) -> set[str]:
        known = self._coordination.open_jobs()
        self._rounds += 1
        if known is not None and self._rounds % _ROUNDS_PER_SCAN:
            return known
        job_ids = self._jobs.job_ids()
        ended = in_parallel(self._has_ended, job_ids)
        found = {job_id for job_id, over in zip(job_ids, ended, strict=True) if not over}
        self._coordination.rebuild_open_jobs(found)
        return found | (known or set())

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._jobs.final(job_id) is not None
        except MessageError as exc:
            log.error("job's end cannot be read", job_id=job_id, error=str(exc))  # noqa: TRY400 - ours to explain, a stack says no more
            return True

    def _reconcile(self, job_id: str) -> None:
        try:
            manifest = self._manifests.get(job_id) or self._jobs.manifest(job_id)
        except JobNotFoundError:
            self._give_up_later(job_id)
            return
        self._manifests[job_id] = manifest
        self._first_missed.pop(job_id, None)
        final = self._jobs.final(job_id)
        missing: list[int] = []
        if final is None:
            missing = self._jobs.missing_shards(manifest)
            final = self._end_if_over(manifest, missing)
        if final is not None:
            self._coordination.end_job(job_id, final.state)
            log.info("job ended", job_id=job_id, state=final.state)
        else:
            self._enqueue_lost(job_id, missing)

    def _end_if_over(self, manifest: JobManifest, missing: list[int]) -> JobFinal | None:
        if not missing:
            return self._jobs.finish_if_complete(manifest)
        request = self._jobs.cancel_request(manifest.job_id)
        if request is not None:
            return self._jobs.finish(manifest, "CANCELLED", request.reason)
        if self._is_expired(manifest):
            reason = f"the deadline {manifest.deadline:%FT%TZ} passed"
            return self._jobs.finish(manifest, "EXPIRED", reason)
        return None

    def _is_expired(self, manifest: JobManifest) -> bool:
        deadline = manifest.deadline
        return deadline is not None and self._coordination.server_time() > deadline

    def _enqueue_lost(self, job_id: str, missing: list[int]) -> None:
        queued = self._coordination.queue_length(self._queue)
        room = self._enqueue_window - queued
        if room <= 0:
            return
        flying = self._coordination.in_flight(job_id, missing)
        patience_s = self._requeue_after_s * (_PATIENCE if queued else 1)
        lost = [
            shard
            for shard in missing
            if shard not in flying or ((age_s := flying[shard]) is not None and age_s > patience_s)
        ]
        if lost:
            # What was finished since `missing` was listed has no lease any more either.
            done = self._jobs.outcome_shards(job_id)
            lost = [shard for shard in lost if shard not in done][:room]
        if lost:
            log.info("enqueueing shards", job_id=job_id, shards=len(lost), missing=len(missing))
            self._coordination.mark_enqueued(job_id, lost)
            self._enqueue([ShardMessage(job_id=job_id, shard=shard) for shard in lost])

    def _give_up_later(self, job_id: str) -> None:
        """A producer lists a job before it writes the manifest; some never come to that."""
        now_s = self._coordination.server_time().timestamp()
        first_s = self._first_missed.setdefault(job_id, now_s)
        if now_s - first_s > _MANIFEST_GRACE.total_seconds():
            self._coordination.drop_job(job_id)
            del self._first_missed[job_id]
