"""Looks at open jobs in the store, which end those that are over and remind Redis of the rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fornada.coordination.interface import Progress, Recovery
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.logs import get_logger

log = get_logger(__name__)

#: Rounds between two looks at a job in the store; in between, Redis tells of its progress.
ROUNDS_PER_LOOK = 30
#: Largest share of the time that looks at one job may take.
_LOOKING_SHARE = 0.05


@dataclass(kw_only=True)
class OpenJob:
    """What the leader remembers of an open job."""

    manifest: JobManifest
    rounds_to_look: int = 0
    look_due_at: float = 0.0
    #: Shards that had an outcome at the last look.
    stored: set[int] = field(default_factory=set)
    #: Its lost shards were enqueued before, without a look at the store.
    was_lost: bool = False
    #: Shards that were seen enqueued or leased, or that the leader enqueued.
    seen: set[int] = field(default_factory=set)


class Looks:
    """Looks at jobs in the store: when Redis says that one is over, and now and then."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        recovery: Recovery,
        endings: Endings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._recovery = recovery
        self._endings = endings
        self._monotonic = monotonic

    def is_due(self, job: OpenJob, progress: Progress) -> bool:
        """Count a round; whether the job has to be looked at in it."""
        job.rounds_to_look -= 1
        if len(progress.done) >= len(job.manifest.shards) or self._is_expired(job.manifest):
            return True
        return job.rounds_to_look < 0 and self._monotonic() >= job.look_due_at

    def look(self, job: OpenJob, progress: Progress) -> bool:
        """Read the job's progress from the store, and correct `progress`, that in Redis.

        Returns:
            Whether the job is over: ended, or being ended by another process.
        """
        began_at = self._monotonic()
        manifest, job_id = job.manifest, job.manifest.job_id
        final = self._jobs.final(job_id)
        if final is not None:
            self._recovery.end_jobs({job_id: final.state})
            return True
        count = len(manifest.shards)
        done = self._jobs.outcome_shards(job_id, shard_count=count, known=job.stored)
        # Where an outcome is gone by the time that it is read, the next look lists all.
        job.stored = done if len(done) < count else set()
        self._recovery.restore_done(job_id, done)
        # Outcomes come first, so what Redis said before this look was not said by a worker.
        invented = progress.done - done
        if invented:
            log.warning("shards without outcome were marked done", job_id=job_id, n=len(invented))
            self._recovery.forget_done(job_id, sorted(invented))
        # It may be noted there as ended, too.
        self._recovery.open_job(job_id)
        if manifest.is_small:
            self._recovery.restore_small_job(manifest.small_job())
        else:
            self._recovery.forget_small_job(job_id)
        is_over = self._end_if_over(manifest, done)
        job.rounds_to_look = ROUNDS_PER_LOOK
        job.look_due_at = began_at + (self._monotonic() - began_at) / _LOOKING_SHARE
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
        expires_at = manifest.expires_at
        return expires_at is not None and self._recovery.server_time() > expires_at
