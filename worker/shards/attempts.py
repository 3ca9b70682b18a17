"""Begin attempts at shards: count them, take their leases, and see whether there is work."""

import time
from collections.abc import Sequence

from fornada.coordination.interface import Admission, Claim, Leases
from fornada.errors import JobNotFoundError
from fornada.jobs.ids import is_generated_id
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.logs import get_logger
from fornada.records import now
from fornada.repeated import Repeated
from worker.shards.commits import Commits
from worker.shards.ended_jobs import EndedJobs
from worker.shards.phases import Begun, Committed, Found, ShardResult
from worker.shards.steps import Settled, Steps

log = get_logger(__name__)


class Attempts:
    """Turns found shards into begun ones."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        manifests: Manifests,
        leases: Leases,
        endings: Endings,
        commits: Commits,
        lease_s: float,
    ) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._leases = leases
        self._endings = endings
        self._commits = commits
        self._lease_s = lease_s
        self._ended = EndedJobs(jobs=jobs)
        self._repeated = Repeated()

    def begin_all(self, found: Sequence[Found], steps: Steps) -> list[Begun]:
        """Count the attempts and take the leases, in one step of Redis."""
        began_s = time.monotonic()
        admissions: Sequence[Admission] = ()
        if found:
            with steps.attempt_step(*[each.run for each in found]):
                admissions = self._leases.begin([each.run for each in found], lease_s=self._lease_s)
        begun = []
        for each, admission in zip(found, admissions, strict=False):
            with steps.attempt_step(each.run):
                begun.append(self._begin(each, admission, began_s=began_s))
        return begun

    def _begin(self, found: Found, admission: Admission, *, began_s: float) -> Begun:
        """See whether there is anything to do, now that the lease is ours."""
        if admission.status == "ended":
            admission = self._begin_again(found.run)
        if admission.status != "begun":
            raise Settled(ShardResult(admission.status))
        run = found.run
        if not admission.counted:
            found = self._confirm(found)
        manifest = found.manifest
        if manifest.expires_at is not None and admission.at > manifest.expires_at:
            self._endings.expire(manifest)
            raise Settled(ShardResult.EXPIRED)
        # A second submitter of a caller's key may have made Redis count a finished job anew.
        is_sole_writer = admission.is_first and is_generated_id(run.job_id)
        attempt = Begun(
            run=run,
            manifest=manifest,
            number=admission.attempts,
            began_at=now(),
            # If this process stalled for longer, its lease has run out.
            sole_writer_until_s=began_s + self._lease_s if is_sole_writer else 0.0,
        )
        if attempt.number > 1:
            # The attempt before may have died between its commit and telling Redis.
            held = self._jobs.outcome(run.job_id, run.shard)
            if held is not None:
                self._commits.mark_done([Committed(attempt=attempt, outcome=held)])
                raise Settled(ShardResult.DONE)
        return attempt

    def _begin_again(self, run: Claim) -> Admission:
        """Begin an attempt at a shard of a job that has ended, as Redis says.

        Anyone may have said so there; the store decides.

        Raises:
            JobNotFoundError: There is no such job.
            Settled: The job has ended.
        """
        if self._ended.has_ended(run.job_id):
            raise Settled(ShardResult.ENDED)
        what = "job has not ended, whatever Redis says"
        self._repeated.log(log.warning, what, about=run.job_id, job_id=run.job_id)
        self._endings.reopen(run.job_id)
        return self._leases.begin([run], lease_s=self._lease_s)[0]

    def _confirm(self, found: Found) -> Found:
        """Ask the store about a job that Redis forgot, or never knew.

        Raises:
            JobNotFoundError: There is none.
            Settled: The job is over.
        """
        job_id = found.run.job_id
        try:
            # The manifest that came with the message may never have been stored, and that of a
            # purged job may still be kept here.
            self._jobs.require(job_id)
            manifest = self._manifests.get(job_id)
        except JobNotFoundError:
            # Otherwise Redis would keep what it just noted of this job for a month.
            self._endings.forget(job_id)
            raise
        # In other jobs the shard's own outcome says as much, at no extra cost.
        final = self._jobs.final(job_id) if manifest.can_end_with_its_outcome else None
        if final is not None:
            self._endings.forget(job_id, final.state)
            raise Settled(ShardResult.ENDED)
        return Found(run=found.run, manifest=manifest)
