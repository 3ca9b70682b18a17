"""Enqueue what Redis lost, and end what is over: a thread in every worker, one of which leads."""

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta

from fornada.coordination.interface import Progress, Recovery
from fornada.errors import BrokerError, FornadaError, JobNotFoundError, StoreError
from fornada.events import SILENT, Events, ShardsReenqueued
from fornada.jobs.census import Census
from fornada.jobs.ids import message_for
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.renewals import Renewals
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.queue.interface import Sender
from fornada.settings import Settings

log = get_logger(__name__)

#: Rounds between two looks at a job in the store; in between, Redis tells of its progress.
_ROUNDS_PER_LOOK = 30
#: Rounds between two censuses of the store, for jobs that Redis does not know.
_ROUNDS_PER_CENSUS = 600
#: Largest share of the time that looks at one job may take.
_LOOKING_SHARE = 0.05
#: While the queue is not empty, a message counts as lost after this many times as long.
_PATIENCE = 10
#: A job listed as open without a manifest for this long was never submitted.
_MANIFEST_GRACE = timedelta(hours=1)


@dataclass(kw_only=True)
class _OpenJob:
    """What the leader remembers of an open job."""

    manifest: JobManifest
    rounds_to_look: int = 0
    look_due_at: float = 0.0


class Reconciler:
    """Brings every open job to its end, whatever was lost on the way.

    Redis loses messages (when a worker dies between BRPOP and its record of it, when a server is
    full or wiped), and so does a producer that dies between manifest and queue. The store does
    not, so a shard without outcome, lease or queued message is enqueued again.

    A round asks Redis alone. The store is asked when Redis says that a job is over, after Redis
    has forgotten, and every `_ROUNDS_PER_LOOK` rounds.

    Args:
        jobs: The store.
        manifests: Shared with whatever else the process does with jobs.
        recovery: Redis.
        sender: Where lost shards are enqueued.
        settings: The deployment's.
        holder: The name under which this process leads.
        events: Hears of shards enqueued again, and of jobs that ended.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        manifests: Manifests,
        recovery: Recovery,
        sender: Sender,
        settings: Settings,
        holder: str,
        events: Events = SILENT,
    ) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._recovery = recovery
        self._sender = sender
        self._settings = settings
        self._holder = holder
        self._events = events
        self._lead_s = max(5.0, 3 * settings.reconcile_interval_s)
        self._renewals = Renewals(interval_s=self._lead_s / 3)
        self._endings = Endings(
            jobs=jobs,
            open_jobs=recovery,
            # Not the host's own name: a shard of the host may be ending the same job.
            holder=f"{holder}-reconciler",
            lease_s=settings.lease_s,
            events=events,
        )
        self._census = Census(jobs=jobs, manifests=manifests)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._rounds = 0
        self._open: dict[str, _OpenJob] = {}
        #: Job without a manifest → when it was first missed, in seconds by the server's clock.
        self._first_missed: dict[str, float] = {}
        #: Small job with nothing wrong → for how many rounds.
        self._waited: dict[str, int] = {}

    def start(self) -> None:
        """Start the rounds in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current round."""
        self._stop.set()
        self._thread.join()

    def round(self) -> None:
        """One round, if this reconciler leads."""
        if not self._leads():
            self._open.clear()
            return
        # Listing a large job's outcomes takes longer than the lease; without renewal, a second
        # leader would do the same work beside this one.
        with self._renewals.renewed(self._leads, lease="reconciler"):
            self._reconcile_all()

    def _reconcile_all(self) -> None:
        open_jobs = self._open_jobs()
        self._open = {job_id: job for job_id, job in self._open.items() if job_id in open_jobs}
        queued = self._recovery.queue_length(self._settings.queue)
        triage = self._recovery.triage(sorted(open_jobs), patience_s=self._patience_s(queued))
        room = max(0, self._settings.enqueue_window - queued)
        # Of thousands of lost small jobs, read no more than there is room for.
        small = dict(itertools.islice(sorted(triage.lost.items()), room))
        unclear = triage.unclear | self._cancelled(open_jobs - triage.unclear)
        lost: dict[str, list[int]] = {}
        for job_id in sorted(unclear | small.keys()):
            if self._stop.is_set():
                return
            known = None if job_id in unclear else small[job_id]
            try:
                lost[job_id] = self._reconcile(job_id, queued, known)
            except MemoryError:
                raise
            except Exception as exc:
                if isinstance(exc, StoreError | BrokerError) and exc.fault != "item":
                    raise
                # One job's broken objects must not hold up the others.
                log.error("job cannot be reconciled", job_id=job_id, error=str(exc))  # noqa: TRY400 - every round again
        self._enqueue_fairly(lost, room=room)

    def _patience_s(self, queued: int) -> float:
        """How long a message may wait before it counts as lost."""
        return self._settings.requeue_after_s * (_PATIENCE if queued else 1)

    def _cancelled(self, waiting: AbstractSet[str]) -> set[str]:
        """Small jobs with a request to cancel, which is looked for now and then."""
        self._waited = {job_id: self._waited.get(job_id, 0) + 1 for job_id in waiting}
        due = [job_id for job_id, n in self._waited.items() if n % _ROUNDS_PER_LOOK == 0]
        requests = zip(due, in_parallel(self._jobs.cancel_request, due), strict=True)
        return {job_id for job_id, request in requests if request is not None}

    def _leads(self) -> bool:
        return self._recovery.hold_reconciler_lease(self._holder, lease_s=self._lead_s)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.reconcile_interval_s):
            try:
                self.round()
            except FornadaError as exc:
                log.warning("reconciler round failed, trying again", error=str(exc))
            except MemoryError:
                raise
            except Exception:
                log.exception("reconciler round failed unexpectedly")

    def _open_jobs(self) -> set[str]:
        known = self._recovery.open_jobs()
        self._rounds += 1
        if known is None:
            # The jobs' progress is lost too.
            self._open.clear()
        elif self._rounds % _ROUNDS_PER_CENSUS:
            return known
        self._census.take()
        found = self._census.open_jobs
        self._recovery.rebuild_open_jobs(found, newest=self._census.newest_jobs)
        return found | (known or set())

    def _reconcile(self, job_id: str, queued: int, lost: Sequence[int] | None) -> list[int]:
        """End the job if it is over; otherwise return its lost shards, if there is room for any.

        `lost`: what Redis knows of these, where that is all there is to know.
        """
        job = self._open.get(job_id)
        if job is None:
            try:
                job = self._open[job_id] = _OpenJob(manifest=self._manifests.get(job_id))
            except JobNotFoundError:
                self._give_up_later(job_id)
                return []
            # A producer in another language lists it as open, and no more.
            self._recovery.rebuild_open_jobs([], newest={job_id: job.manifest.created_at})
        self._first_missed.pop(job_id, None)
        if lost is not None:
            return list(lost)
        progress = self._recovery.progress(job_id)
        if self._is_look_due(job, progress):
            if self._look(job):
                return []
            progress = self._recovery.progress(job_id)
        if queued >= self._settings.enqueue_window:
            return []
        patience_s = self._patience_s(queued)
        enqueued = {shard for shard, age_s in progress.enqueued.items() if age_s <= patience_s}
        shards = range(len(job.manifest.shards))
        return list(set(shards) - progress.done - progress.running - enqueued)

    def _is_look_due(self, job: _OpenJob, progress: Progress) -> bool:
        job.rounds_to_look -= 1
        if len(progress.done) >= len(job.manifest.shards) or self._is_expired(job.manifest):
            return True
        return job.rounds_to_look < 0 and time.monotonic() >= job.look_due_at

    def _look(self, job: _OpenJob) -> bool:
        """Read the job's progress from the store, and restore it in Redis.

        Returns:
            Whether the job is over: ended, or being ended by another process.
        """
        began_at = time.monotonic()
        manifest, job_id = job.manifest, job.manifest.job_id
        final = self._jobs.final(job_id)
        if final is not None:
            self._recovery.end_jobs({job_id: final.state})
            return True
        done = self._jobs.outcome_shards(job_id, shard_count=len(manifest.shards))
        self._recovery.restore_done(job_id, done)
        if manifest.is_small:
            self._recovery.restore_small_job(manifest.small_job())
        is_over = self._end_if_over(manifest, done)
        job.rounds_to_look = _ROUNDS_PER_LOOK
        job.look_due_at = began_at + (time.monotonic() - began_at) / _LOOKING_SHARE
        return is_over

    def _end_if_over(self, manifest: JobManifest, done: set[int]) -> bool:
        if len(done) == len(manifest.shards):
            self._endings.end_if_complete(manifest)
            return True
        request = self._jobs.cancel_request(manifest.job_id)
        if request is not None:
            self._endings.end(manifest, "CANCELLED", request.reason)
        elif self._is_expired(manifest):
            self._endings.expire(manifest)
        else:
            return False
        return True

    def _is_expired(self, manifest: JobManifest) -> bool:
        deadline = manifest.deadline
        return deadline is not None and self._recovery.server_time() > deadline

    def _enqueue_fairly(self, lost: Mapping[str, list[int]], *, room: int) -> None:
        """Share the window's room evenly: a small job does not wait for a large one."""
        waiting = sorted((job_id for job_id in lost if lost[job_id]), key=lambda j: len(lost[j]))
        for position, job_id in enumerate(waiting):
            shards = sorted(lost[job_id])[: room // (len(waiting) - position)]
            if not shards:
                continue
            room -= len(shards)
            self._events.tell(
                ShardsReenqueued(
                    job_id=job_id, shard_count=len(shards), waiting_count=len(lost[job_id])
                )
            )
            self._recovery.mark_enqueued(job_id, shards)
            manifest = self._open[job_id].manifest
            self._sender.enqueue(message_for(manifest, shard) for shard in shards)

    def _give_up_later(self, job_id: str) -> None:
        """Drop a job that was listed and never submitted, once the grace is over."""
        now_s = self._recovery.server_time().timestamp()
        first_s = self._first_missed.setdefault(job_id, now_s)
        if now_s - first_s > _MANIFEST_GRACE.total_seconds():
            self._recovery.drop_jobs([job_id])
            del self._first_missed[job_id]
