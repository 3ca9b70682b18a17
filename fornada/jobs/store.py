"""The objects of jobs: manifests, requests to cancel, outcomes and ends."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from fornada import keys
from fornada.coordination.interface import Decisions
from fornada.errors import JobNotFoundError
from fornada.jobs.creation import conflict, first_created, work_of
from fornada.jobs.ids import ContentAddressedManifest, is_generated_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import CancelRequest, EndState, JobFinal, ShardOutcome
from fornada.jobs.outcome_store import OutcomeStore
from fornada.jobs.summary import summarise
from fornada.parallel import in_parallel
from fornada.records import now
from fornada.storage.interface import ObjectStore

#: Ends decided in one step: few, so that each is written soon after the time that it states.
_ENDS_PER_STEP = 8


class JobStore(OutcomeStore):
    """Reads and writes the objects under `jobs/`; the store is the truth about every job."""

    def __init__(self, *, objects: ObjectStore, decisions: Decisions | None = None) -> None:
        """Read and write through `objects`.

        Args:
            objects: The store.
            decisions: Needed to create or end jobs: a store that ignores conditions
                cannot tell which of two writers came first.
        """
        super().__init__(objects=objects)
        self._decisions = decisions

    def create(self, manifest: JobManifest) -> JobManifest:
        """Write the manifest if its id is new; otherwise return the existing one.

        Raises:
            JobConflictError: The id is taken by a job with other content.
        """
        key = keys.JobKeys(manifest.job_id).manifest
        no_other_writer = is_generated_id(manifest.job_id)
        if not (no_other_writer or self._decisions is None or self.objects.conditional_writes):
            manifest = first_created(manifest, decide=self._decisions.decide)
        if self._put_if_absent(key, manifest.to_json(), no_other_writer=no_other_writer):
            return manifest
        existing = self.manifest(manifest.job_id)
        if work_of(existing) != work_of(manifest):
            raise conflict(manifest)
        return existing

    def create_named(self, named: ContentAddressedManifest) -> None:
        """Write a manifest under its content's id, which is new.

        Raises:
            JobConflictError: The id is taken after all.
        """
        job_id = named.manifest.job_id
        if not self._put_if_absent(keys.JobKeys(job_id).manifest, named.text, no_other_writer=True):
            raise conflict(named.manifest)

    def manifest(self, job_id: str) -> JobManifest:
        """The job's manifest.

        Raises:
            JobNotFoundError: No job has this id.
        """
        manifest = self._record(keys.JobKeys(job_id).manifest, JobManifest)
        if manifest is None:
            raise JobNotFoundError(f"no job {job_id!r}; `fornada jobs list` shows those that exist")
        return manifest

    def manifest_written_at(self, job_id: str) -> datetime | None:
        """When the job's manifest was written, by the store's clock, if there is one."""
        key = keys.JobKeys(job_id).manifest
        return next((info.modified_at for info in self.objects.list(key) if info.key == key), None)

    def job_ids(self) -> list[str]:
        """The ids of all jobs, sorted."""
        return sorted(self.objects.list_folders(keys.JOBS_PREFIX))

    def missing_shards(self, manifest: JobManifest) -> list[int]:
        """The shards of the job that have no outcome, in order."""
        done = self._done(manifest)
        return [shard for shard in range(len(manifest.shards)) if shard not in done]

    def request_cancel(self, job_id: str, reason: str) -> None:
        """Record that the job is to be cancelled; the first request is kept."""
        request = CancelRequest(requested_at=now(), reason=reason)
        self.objects.put_if_absent(keys.JobKeys(job_id).control, request.to_json())

    def cancel_request(self, job_id: str) -> CancelRequest | None:
        """The request to cancel, if there is one."""
        return self._record(keys.JobKeys(job_id).control, CancelRequest)

    def finish_if_complete(self, manifest: JobManifest) -> JobFinal | None:
        """End the job if every shard has an outcome; return its end, if it has one."""
        known = self.final(manifest.job_id)
        if known is not None:
            return known
        shards = self._done(manifest)
        if shards != set(range(len(manifest.shards))):
            return None
        return self._finish(manifest, None, None, shards)

    def finish(
        self, manifest: JobManifest, state: EndState | None, reason: str | None = None
    ) -> JobFinal:
        """End the job with the outcomes it has; return its end, which may be an earlier one.

        Args:
            manifest: The job's manifest.
            state: `None` for SUCCEEDED, PARTIAL or FAILED, as the outcomes say.
            reason: Why, unless it is SUCCEEDED.
        """
        known = self.final(manifest.job_id)
        if known is not None:
            return known
        return self._finish(manifest, state, reason, self._done(manifest))

    def commit_ends(
        self, computed: Sequence[tuple[JobManifest, ShardOutcome]]
    ) -> Iterator[JobFinal | None]:
        """Commit the outcomes of jobs of one shard each, each as part of its job's end.

        Args:
            computed: By first attempts, as Redis knew when they began.

        Yields:
            How each job ended, perhaps by another process; `None` where Redis has forgotten the
            job meanwhile, so that its outcome is to be committed like any other.
        """
        for start in range(0, len(computed), _ENDS_PER_STEP):
            some = computed[start : start + _ENDS_PER_STEP]
            finals = [_end_with(manifest, outcome) for manifest, outcome in some]
            proposed = {final.job_id: final.to_json() for final in finals}
            decided = proposed
            if self._decisions is not None and not self.objects.conditional_writes:
                # While a job is open and counted, each of its ends is decided there.
                decided = self._decisions.decide_ends(proposed, only_counted=True)
            for final in finals:
                data = decided.get(final.job_id)
                is_ours = data == proposed[final.job_id]
                yield None if data is None else self._put_end(final, data, is_ours=is_ours)

    def delete(self, job_id: str) -> None:
        """Delete everything of the job; after an interruption, call again."""
        manifest, final = keys.JobKeys(job_id).manifest, keys.JobKeys(job_id).final
        below = [info.key for info in self.objects.list(keys.JobKeys(job_id).prefix)]
        for _ in in_parallel(self.objects.delete, [k for k in below if k not in {manifest, final}]):
            pass
        # The manifest last: without it, the job could not be found again.
        self.objects.delete(final)
        self.objects.delete(manifest)

    def _done(self, manifest: JobManifest) -> set[int]:
        return self.outcome_shards(manifest.job_id, shard_count=len(manifest.shards))

    def _finish(
        self, manifest: JobManifest, state: EndState | None, reason: str | None, shards: set[int]
    ) -> JobFinal:
        job_id, key = manifest.job_id, keys.JobKeys(manifest.job_id).final
        final = summarise(manifest, self.outcomes(job_id, sorted(shards)), state, reason)
        if self._decisions is not None and not self.objects.conditional_writes:
            # Every writer from now on writes the same.
            decided = self._decisions.decide_ends({job_id: final.to_json()})
            final = JobFinal.from_json(decided[job_id], where=key)
        if self.objects.put_if_absent(key, final.to_json()):
            return final
        return self.final(job_id) or final

    def _put_end(self, final: JobFinal, data: bytes, *, is_ours: bool) -> JobFinal | None:
        key = keys.JobKeys(final.job_id).final
        if not self._put_if_absent(key, data, no_other_writer=True):
            return self.final(final.job_id)
        return final if is_ours else JobFinal.from_json(data, where=key)


def _end_with(manifest: JobManifest, outcome: ShardOutcome) -> JobFinal:
    outcome = outcome.model_copy(update={"committed_at": now()})
    return summarise(manifest, [outcome], None, None).model_copy(update={"outcome": outcome})
