"""End a job with its last outcome: one worker at a time adds them up."""

from collections.abc import Callable, Sequence

from fornada.coordination.interface import Coordination
from fornada.errors import FornadaError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.renewals import Renewals
from fornada.jobs.store import JobStore
from fornada.jobs.summary import EndState
from fornada.logs import get_logger

log = get_logger(__name__)


class Ending:
    """Ends jobs in the store, and tells Redis.

    Adding up reads every outcome, which takes minutes for 10^5 shards; that two do it would be
    right and wasteful, so it is done under a lease.
    """

    def __init__(
        self, *, jobs: JobStore, coordination: Coordination, worker: str, lease_s: float
    ) -> None:
        self._jobs = jobs
        self._coordination = coordination
        self._worker = worker
        self._lease_s = lease_s
        self._renewals = Renewals(interval_s=lease_s / 3)

    def end_if_complete(self, manifest: JobManifest) -> JobFinal | None:
        """End the job if every shard has an outcome and nobody else is at it; return how."""
        return self._led(manifest, lambda: self._jobs.finish_if_complete(manifest))

    def end(self, manifest: JobManifest, state: EndState, reason: str) -> JobFinal | None:
        """End the job as it is, or as complete if it is, unless somebody else is at it."""
        return self._led(
            manifest,
            # A late message must not undo that every shard has its outcome.
            lambda: (
                self._jobs.finish_if_complete(manifest)
                or self._jobs.finish(manifest, state, reason)
            ),
        )

    def commit_all(
        self, computed: Sequence[tuple[JobManifest, ShardOutcome]]
    ) -> tuple[dict[str, str], FornadaError | OSError | None]:
        """Commit outcomes that each are all of their job, which ends with that.

        Args:
            computed: As `JobStore.commit_ends` takes them.

        Returns:
            How jobs have ended, by id, and the error that kept others from it. Without an error,
            outcomes of the others are to be committed as any are.
        """
        states: dict[str, str] = {}
        error: FornadaError | OSError | None = None
        try:
            for final in self._jobs.commit_ends(computed):
                if final is not None:
                    states[final.job_id] = final.state
                    log.info("job ended", job_id=final.job_id, state=final.state)
        except (FornadaError, OSError) as exc:
            error = exc
        try:
            self._coordination.end_jobs(states)
        except FornadaError as exc:
            # The store has it; who comes to one of these shards next tells Redis.
            log.warning("jobs ended, Redis is told later", jobs=len(states), error=str(exc))
        return states, error

    def _led(self, manifest: JobManifest, finish: Callable[[], JobFinal | None]) -> JobFinal | None:
        job_id = manifest.job_id

        def hold_lease() -> bool:
            return self._coordination.hold_end_lease(job_id, self._worker, lease_s=self._lease_s)

        if not hold_lease():
            return None
        with self._renewals.renewed(hold_lease, lease=f"end-{job_id}"):
            final = finish()
        if final is not None:
            self._coordination.end_job(job_id, final.state)
            log.info("job ended", job_id=job_id, state=final.state, reason=final.reason)
        return final
