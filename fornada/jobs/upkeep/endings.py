"""End jobs with their last outcome, one process at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime

from fornada.coordination.interface import OpenJobs
from fornada.errors import FornadaError, JobNotFoundError, MessageError
from fornada.events import SILENT, Events, JobEnded, MessageDropped
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import EndState, JobFinal, ShardOutcome
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.renewals import Renewals
from fornada.logs import get_logger

log = get_logger(__name__)

#: The state that Redis notes of a job that the store does not have.
UNKNOWN = "unknown"
#: Jobs of which it is remembered that their end was told.
_KEPT_TOLD = 1024


class Endings:
    """Ends jobs in the store, then in Redis.

    Summing up a job reads every outcome, which takes minutes for 10^5 shards. Two processes at it
    would be right and wasteful, so it is done under a lease.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        open_jobs: OpenJobs,
        holder: str,
        lease_s: float,
        events: Events = SILENT,
    ) -> None:
        self._jobs = jobs
        self._open_jobs = open_jobs
        self._holder = holder
        self._lease_s = lease_s
        self._events = events
        self._renewals = Renewals(interval_s=lease_s / 3)
        self._lock = threading.Lock()
        #: Job of whose end the listeners were told → when it ended.
        self._told: OrderedDict[str, datetime] = OrderedDict()

    def end_if_complete(self, manifest: JobManifest) -> JobFinal | None:
        """End the job if every shard has an outcome and no other process is doing so."""
        return self._under_lease(manifest, lambda: self._jobs.finish_if_complete(manifest))

    def end(self, manifest: JobManifest, state: EndState, reason: str) -> JobFinal | None:
        """End the job as `state`, or as complete if it is, unless another process is doing so."""
        return self._under_lease(
            manifest,
            # A late message must not undo that every shard has its outcome.
            lambda: (
                self._jobs.finish_if_complete(manifest)
                or self._jobs.finish(manifest, state, reason)
            ),
        )

    def expire(self, manifest: JobManifest) -> JobFinal | None:
        """End a job whose deadline passed."""
        return self.end(manifest, "EXPIRED", f"the deadline {manifest.expires_at:%FT%TZ} passed")

    def forget(self, job_id: str, state: str = UNKNOWN) -> None:
        """Tell Redis that the job is over, as the store says."""
        self._open_jobs.end_jobs({job_id: state})

    def reopen(self, job_id: str) -> None:
        """Tell Redis that the job has not ended, as the store says."""
        self._open_jobs.open_job(job_id)

    def commit_all(
        self, computed: Sequence[tuple[JobManifest, ShardOutcome]]
    ) -> tuple[dict[str, str], FornadaError | OSError | None]:
        """Commit outcomes that each end their job.

        Args:
            computed: As for `JobStore.commit_ends`.

        Returns:
            Job → the state it ended in, UNKNOWN if the store has no such job; and the error that
            kept the rest from ending. Without an error, outcomes of the rest, such as those of jobs
            with damaged ends, are to be committed like any other.
        """
        states: dict[str, str] = {}
        error: FornadaError | OSError | None = None
        try:
            ends = self._jobs.commit_ends(computed)
            for (manifest, outcome), end in zip(computed, ends, strict=True):
                if isinstance(end, JobNotFoundError):
                    states[manifest.job_id] = UNKNOWN
                    self._events.tell(MessageDropped(error=str(end), job_id=manifest.job_id))
                elif isinstance(end, MessageError):
                    # Committed like any other, its outcome shows what is wrong.
                    continue
                elif end is not None:
                    states[end.job_id] = end.state
                    is_ours = end.outcome is not None and end.outcome.attempt == outcome.attempt
                    if not is_ours:
                        log.warning("job had ended, whatever Redis said", job_id=end.job_id)
                    self._tell_ended(end, with_shard=is_ours)
        except (FornadaError, OSError) as exc:
            error = exc
        try:
            self._open_jobs.end_jobs(states)
        except FornadaError as exc:
            # The store has the ends; the next attempt at one of these shards tells Redis.
            log.warning("jobs ended, Redis not told yet", jobs=len(states), error=str(exc))
        return states, error

    def _under_lease(
        self, manifest: JobManifest, finish: Callable[[], JobFinal | None]
    ) -> JobFinal | None:
        job_id = manifest.job_id

        def hold_lease() -> bool:
            return self._open_jobs.hold_job_lease(
                "end", job_id, self._holder, lease_s=self._lease_s
            )

        if not hold_lease():
            return None
        with self._renewals.renewed(hold_lease, lease=f"end-{job_id}"):
            final = finish()
        if final is not None:
            self._open_jobs.end_jobs({job_id: final.state})
            self._tell_ended(final)
        return final

    def _tell_ended(self, final: JobFinal, *, with_shard: bool = False) -> None:
        """Once for each end: shards that were begun before all find it."""
        with self._lock:
            if self._told.get(final.job_id) == final.ended_at:
                return
            self._told[final.job_id] = final.ended_at
            if len(self._told) > _KEPT_TOLD:
                self._told.popitem(last=False)
        self._events.tell(
            JobEnded(
                job_id=final.job_id,
                state=final.state,
                reason=final.reason,
                with_shard=with_shard,
            )
        )
