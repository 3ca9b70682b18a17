"""The objects of jobs: what is submitted, what has come out, and how it ended."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from fornada import keys
from fornada.coordination.interface import Decisions
from fornada.errors import IntegrityError, JobNotFoundError, ObjectNotFoundError
from fornada.formats.items import Array
from fornada.formats.npy import from_npy
from fornada.jobs.creation import conflict, first_created, work_of
from fornada.jobs.ids import ContentAddressedManifest, is_generated_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import CancelRequest, JobFinal, ShardOutcome
from fornada.jobs.summary import EndState, summarise
from fornada.parallel import in_parallel
from fornada.records import INLINE_VERSION, MAX_INLINE_BYTES, ObjectRef, Record, now
from fornada.storage.checked_reads import read_checked
from fornada.storage.interface import ObjectStore

_RecordT = TypeVar("_RecordT", bound=Record)

#: Few, so that the time that is said of an end is soon followed by it.
_ENDS_AT_A_TIME = 8


class JobStore:
    """Reads and writes the objects under `jobs/`; the store is the truth about every job."""

    def __init__(self, *, objects: ObjectStore, decisions: Decisions | None = None) -> None:
        """Read and write through `objects`.

        Args:
            objects: The store.
            decisions: The `Coordination`, of whoever may create or end jobs: where the store
                ignores conditions it cannot tell which of two writers came first.
        """
        self.objects = objects
        self._decisions = decisions

    def create(self, manifest: JobManifest) -> JobManifest:
        """Write the manifest if its id is new; else return the one that is there.

        Raises:
            JobConflictError: The id is taken by a job with other content.
        """
        key, no_other_writer = (
            keys.JobKeys(manifest.job_id).manifest,
            is_generated_id(manifest.job_id),
        )
        if not (no_other_writer or self._decisions is None or self.objects.conditional_writes):
            manifest = first_created(manifest, decide=self._decisions.decide)
        if self._put_if_absent(key, manifest.to_json(), no_other_writer=no_other_writer):
            return manifest
        existing = self.manifest(manifest.job_id)
        if work_of(existing) != work_of(manifest):
            raise conflict(manifest)
        return existing

    def create_named(self, named: ContentAddressedManifest) -> None:
        """Write a manifest whose id is new, for nobody else's content has it."""
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

    def job_ids(self) -> list[str]:
        """All jobs, in the order of their ids."""
        return sorted(self.objects.list_folders(keys.JOBS_PREFIX))

    def put_data(self, manifest: JobManifest, shard: int, attempt: str, data: bytes) -> ObjectRef:
        """Put what an attempt computed, float32 [items, classes] as `.npy`, under its own key.

        Of a small job it needs no object.
        """
        key = keys.JobKeys(manifest.job_id).data(shard, attempt)
        if manifest.is_small and len(data) <= MAX_INLINE_BYTES:
            return ObjectRef.of(key, data, inline=True)
        self.objects.put(key, data)
        return ObjectRef.of(key, data)

    def commit(self, outcome: ShardOutcome, *, no_other_writer: bool = False) -> ShardOutcome:
        """Write the shard's outcome unless it has one; return the one that holds.

        Where the store ignores conditions, `dead` lies beside `ok`, and `ok` wins whoever comes
        last; two `ok` carry the same bytes.

        Args:
            outcome: The outcome.
            no_other_writer: This attempt is the shard's first and began a moment ago, so no other
                outcome need be looked for where the store ignores conditions.
        """
        job_id, shard = outcome.job_id, outcome.shard
        if outcome.status == "dead" and not self.objects.conditional_writes:
            self.objects.put_if_absent(keys.JobKeys(job_id).dead(shard), outcome.to_json())
        elif self._put_if_absent(
            keys.JobKeys(job_id).outcome(shard), outcome.to_json(), no_other_writer=no_other_writer
        ):
            return outcome
        return self.outcome(job_id, shard) or outcome

    def outcome(self, job_id: str, shard: int, *, dead: bool = False) -> ShardOutcome | None:
        """The shard's outcome, if it has one.

        Args:
            job_id: The job.
            shard: The shard.
            dead: The job ended with this shard dead; an ok that came later does not count.
        """
        where = [keys.JobKeys(job_id).outcome(shard)]
        if not self.objects.conditional_writes:
            where.insert(0 if dead else 1, keys.JobKeys(job_id).dead(shard))
        found = (self._record(key, ShardOutcome) for key in where)
        outcome = next((outcome for outcome in found if outcome is not None), None)
        if shard == 0 and (outcome is None or outcome.status == "dead"):
            # With an outcome of its own a job may end beside one that says dead.
            final = self.final(job_id)
            return outcome if final is None else final.outcome or outcome
        return outcome

    def outcome_shards(self, job_id: str, *, shard_count: int | None = None) -> set[int]:
        """The shards that have an outcome.

        Args:
            job_id: The job.
            shard_count: How many it has, if that is known: they are listed folder by folder, some
                at a time. For each page of one listing of all, rclone reads and hashes every
                object that is there: of 100,000 outcomes, each a hundred times.
        """
        if shard_count == 1:
            # A read costs less than a listing.
            return set() if self.outcome(job_id, 0) is None else {0}
        blocks = keys.JobKeys(job_id).outcome_blocks(shard_count)
        listed = list(in_parallel(self.objects.list, blocks))
        if not self.objects.conditional_writes:
            listed.append(self.objects.list(keys.JobKeys(job_id).dead_prefix))
        return {keys.shard_of(found.key) for block in listed for found in block}

    def missing_shards(self, manifest: JobManifest) -> list[int]:
        """The shards of the job that have no outcome, in order."""
        done = self.outcome_shards(manifest.job_id, shard_count=len(manifest.shards))
        return [shard for shard in range(len(manifest.shards)) if shard not in done]

    def outcomes(self, job_id: str, shards: Iterable[int]) -> Iterator[ShardOutcome]:
        """The outcomes of `shards`, in that order; those without one are left out."""
        found = in_parallel(lambda shard: self.outcome(job_id, shard), list(shards))
        return (outcome for outcome in found if outcome is not None)

    def request_cancel(self, job_id: str, reason: str) -> None:
        """Record that the job is to be cancelled; the first request is kept."""
        request = CancelRequest(requested_at=now(), reason=reason)
        self.objects.put_if_absent(keys.JobKeys(job_id).control, request.to_json())

    def cancel_request(self, job_id: str) -> CancelRequest | None:
        """The request to cancel, if there is one."""
        return self._record(keys.JobKeys(job_id).control, CancelRequest)

    def final(self, job_id: str) -> JobFinal | None:
        """How the job ended, if it has."""
        return self._record(keys.JobKeys(job_id).final, JobFinal)

    def finish_if_complete(self, manifest: JobManifest) -> JobFinal | None:
        """End the job if every shard has an outcome; return how it ended, if it has."""
        known = self.final(manifest.job_id)
        if known is not None:
            return known
        shards = self.outcome_shards(manifest.job_id, shard_count=len(manifest.shards))
        if shards != set(range(len(manifest.shards))):
            return None
        return self._finish(manifest, None, None, shards)

    def finish(
        self, manifest: JobManifest, state: EndState | None, reason: str | None = None
    ) -> JobFinal:
        """End the job with what it has; return how it ended, which an earlier call may have set.

        Args:
            manifest: The job's manifest.
            state: `None` for SUCCEEDED or FAILED, as the outcomes say.
            reason: Why, when it is not SUCCEEDED.
        """
        known = self.final(manifest.job_id)
        if known is not None:
            return known
        shards = self.outcome_shards(manifest.job_id, shard_count=len(manifest.shards))
        return self._finish(manifest, state, reason, shards)

    def _finish(
        self, manifest: JobManifest, state: EndState | None, reason: str | None, shards: set[int]
    ) -> JobFinal:
        job_id, key = manifest.job_id, keys.JobKeys(manifest.job_id).final
        final = summarise(manifest, self.outcomes(job_id, sorted(shards)), state, reason)
        if self._decisions is not None and not self.objects.conditional_writes:
            # Whoever writes now writes the same.
            decided = self._decisions.decide_ends({job_id: final.to_json()})
            final = JobFinal.from_json(decided[job_id], where=key)
        if self.objects.put_if_absent(key, final.to_json()):
            return final
        return self.final(job_id) or final

    def commit_ends(
        self, computed: Sequence[tuple[JobManifest, ShardOutcome]]
    ) -> Iterator[JobFinal | None]:
        """Commit the outcomes of jobs of one shard each, and with that end the jobs.

        Args:
            computed: Of the first attempt at each, as Redis knew when it began.

        Yields:
            How each job ended, which may be by another; nothing where Redis has forgotten of it
            meanwhile: then its outcome is to be committed as others are.
        """
        for start in range(0, len(computed), _ENDS_AT_A_TIME):
            some = computed[start : start + _ENDS_AT_A_TIME]
            finals = [_end_with(manifest, outcome) for manifest, outcome in some]
            proposed = {final.job_id: final.to_json() for final in finals}
            decided = proposed
            if self._decisions is not None and not self.objects.conditional_writes:
                # Of an open job that is counted, all ends there are were decided there.
                decided = self._decisions.decide_ends(proposed, only_counted=True)
            for final in finals:
                data = decided.get(final.job_id)
                is_ours = data == proposed[final.job_id]
                yield None if data is None else self._put_end(final, data, is_ours=is_ours)

    def _put_end(self, final: JobFinal, data: bytes, *, is_ours: bool) -> JobFinal | None:
        key = keys.JobKeys(final.job_id).final
        if not self._put_if_absent(key, data, no_other_writer=True):
            return self.final(final.job_id)
        return final if is_ours else JobFinal.from_json(data, where=key)

    def _put_if_absent(self, key: str, data: bytes, *, no_other_writer: bool) -> bool:
        """As the store's; `alone`: nobody else can have written there, so none need be looked for.

        Where the store itself decides, it is asked nevertheless: that costs nothing.
        """
        if no_other_writer and not self.objects.conditional_writes:
            self.objects.put(key, data)
            return True
        return self.objects.put_if_absent(key, data)

    def delete(self, job_id: str) -> None:
        """Delete everything of the job; broken off, it is still there to be deleted again."""
        manifest, final = keys.JobKeys(job_id).manifest, keys.JobKeys(job_id).final
        below = [info.key for info in self.objects.list(keys.JobKeys(job_id).prefix)]
        for _ in in_parallel(self.objects.delete, [k for k in below if k not in {manifest, final}]):
            pass
        # The manifest last: without it the job would not be found again.
        self.objects.delete(final)
        self.objects.delete(manifest)

    def data(self, outcome: ShardOutcome) -> Array:
        """The probabilities of an ok outcome: float32 [items, classes].

        Raises:
            IntegrityError: The bytes are not those that were committed.
        """
        if outcome.data is None:
            raise IntegrityError(
                f"shard {outcome.shard} of job {outcome.job_id} is {outcome.status} and has no "
                "data; read its reason"
            )
        return from_npy(self.read_checked(outcome.data), where=outcome.data.key)

    def read_checked(self, ref: ObjectRef) -> bytes:
        """The bytes of `ref`, which are those that were meant when it was written down.

        Raises:
            IntegrityError: Size, digest or ETag differ, in two reads.
            ObjectNotFoundError: The object is gone.
        """
        return read_checked(self.objects, ref, remedy="submit it again")

    def _record(self, key: str, record: type[_RecordT]) -> _RecordT | None:
        try:
            data = self.objects.get(key).data
        except ObjectNotFoundError:
            return None
        return record.from_json(data, where=key)


def _end_with(manifest: JobManifest, outcome: ShardOutcome) -> JobFinal:
    outcome = outcome.model_copy(update={"committed_at": now()})
    final = summarise(manifest, [outcome], None, None)
    return final.model_copy(update={"schema_version": INLINE_VERSION, "outcome": outcome})
