"""The objects of jobs: what is submitted, what has come out, and how it ended."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import AwareDatetime

from fornada import keys
from fornada.arrays import Array, from_npy, sha256_hex
from fornada.checked_reads import read_checked
from fornada.errors import (
    IntegrityError,
    JobConflictError,
    JobNotFoundError,
    ObjectNotFoundError,
)
from fornada.job_manifest import JobManifest
from fornada.job_summary import EndState, summarise
from fornada.messages import CancelRequest, JobFinal, ObjectRef, Record, Sha256, ShardOutcome, now
from fornada.object_store import ObjectStore

_RecordT = TypeVar("_RecordT", bound=Record)
_K = TypeVar("_K")
_T = TypeVar("_T")

_NO_TIME = datetime.fromtimestamp(0, UTC)
#: Small reads wait on the network, not on the processor.
READ_THREADS = 8

#: A question, the answer proposed → the answer that was proposed first.
Decide = Callable[[str, bytes], bytes]


class JobStore:
    """Reads and writes the objects under `jobs/`; the store is the truth about every job."""

    def __init__(self, *, objects: ObjectStore, decide: Decide | None = None) -> None:
        """Read and write through `objects`.

        Args:
            objects: The store.
            decide: `Coordination.decide`, of whoever may create or end jobs: where the store
                ignores conditions it cannot tell which of two writers came first.
        """
        self.objects = objects
        self._decide = decide

    def create(self, manifest: JobManifest) -> JobManifest:
        """Write the manifest if its id is new; else return the one that is there.

        Raises:
            JobConflictError: The id is taken by a job with other content.
        """
        manifest = self._first_created(manifest)
        if self.objects.put_if_absent(keys.job_manifest(manifest.job_id), manifest.to_json()):
            return manifest
        existing = self.manifest(manifest.job_id)
        if work_of(existing) != work_of(manifest):
            raise _conflict(manifest)
        return existing

    def _first_created(self, manifest: JobManifest) -> JobManifest:
        """The manifest as the first who creates the job writes it, who may be another.

        Raises:
            JobConflictError: The first one writes other content.
        """
        if self._decide is None or self.objects.conditional_writes:
            return manifest
        job_id = manifest.job_id
        proposed = _Created(
            work_sha256=work_of(manifest),
            created_at=manifest.created_at,
            deadline=manifest.deadline,
        )
        decided = self._decide(f"manifest of {job_id}", proposed.to_json())
        first = _Created.from_json(decided, where=f"decision on {job_id}")
        if first == proposed:
            return manifest
        if first.work_sha256 != proposed.work_sha256:
            raise _conflict(manifest)
        return manifest.model_copy(
            update={"created_at": first.created_at, "deadline": first.deadline}
        )

    def manifest(self, job_id: str) -> JobManifest:
        """The job's manifest.

        Raises:
            JobNotFoundError: No job has this id.
        """
        manifest = self._record(keys.job_manifest(job_id), JobManifest)
        if manifest is None:
            raise JobNotFoundError(f"no job {job_id!r}; `fornada jobs list` shows those that exist")
        return manifest

    def job_ids(self) -> list[str]:
        """All jobs, in the order of their ids."""
        return sorted(self.objects.list_folders(keys.JOBS_PREFIX))

    def commit(self, outcome: ShardOutcome) -> ShardOutcome:
        """Write the shard's outcome unless it has one; return the one that holds.

        Where the store ignores conditions, `dead` lies beside `ok`, and `ok` wins whoever comes
        last; two `ok` carry the same bytes.
        """
        job_id, shard = outcome.job_id, outcome.shard
        if outcome.status == "dead" and not self.objects.conditional_writes:
            self.objects.put_if_absent(keys.job_dead(job_id, shard), outcome.to_json())
        elif self.objects.put_if_absent(keys.job_outcome(job_id, shard), outcome.to_json()):
            return outcome
        return self.outcome(job_id, shard) or outcome

    def outcome(self, job_id: str, shard: int, *, dead: bool = False) -> ShardOutcome | None:
        """The shard's outcome, if it has one.

        Args:
            job_id: The job.
            shard: The shard.
            dead: The job ended with this shard dead; an ok that came later does not count.
        """
        where = [keys.job_outcome(job_id, shard)]
        if not self.objects.conditional_writes:
            where.insert(0 if dead else 1, keys.job_dead(job_id, shard))
        found = (self._record(key, ShardOutcome) for key in where)
        return next((outcome for outcome in found if outcome is not None), None)

    def outcome_shards(self, job_id: str, *, shard_count: int | None = None) -> set[int]:
        """The shards that have an outcome.

        Args:
            job_id: The job.
            shard_count: How many it has, if that is known: they are listed folder by folder, some
                at a time. For each page of one listing of all, rclone reads and hashes every
                object that is there: of 100,000 outcomes, each a hundred times.
        """
        blocks = keys.job_outcome_blocks(job_id, shard_count)
        listed = list(in_parallel(self.objects.list, blocks))
        if not self.objects.conditional_writes:
            listed.append(self.objects.list(keys.job_dead_prefix(job_id)))
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
        self.objects.put_if_absent(keys.job_control(job_id), request.to_json())

    def cancel_request(self, job_id: str) -> CancelRequest | None:
        """The request to cancel, if there is one."""
        return self._record(keys.job_control(job_id), CancelRequest)

    def final(self, job_id: str) -> JobFinal | None:
        """How the job ended, if it has."""
        return self._record(keys.job_final(job_id), JobFinal)

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
        job_id, key = manifest.job_id, keys.job_final(manifest.job_id)
        final = summarise(manifest, self.outcomes(job_id, sorted(shards)), state, reason)
        if self._decide is not None and not self.objects.conditional_writes:
            # Whoever writes now writes the same. A job of that id may have been purged before.
            question = f"end of {job_id} of {manifest.created_at:%FT%T.%f}"
            decided = self._decide(question, final.to_json())
            final = JobFinal.from_json(decided, where=key)
        if self.objects.put_if_absent(key, final.to_json()):
            return final
        return self.final(job_id) or final

    def delete(self, job_id: str) -> None:
        """Delete everything of the job; broken off, it is still there to be deleted again."""
        manifest, final = keys.job_manifest(job_id), keys.job_final(job_id)
        below = [info.key for info in self.objects.list(keys.job_prefix(job_id))]
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


class _Created(Record):
    """What is decided when a job is created: what it asks for, and since when."""

    work_sha256: Sha256
    created_at: AwareDatetime
    deadline: AwareDatetime | None = None


def work_of(manifest: JobManifest) -> Sha256:
    """sha256 of what the manifest asks for: of all but the moment of submission."""
    work = manifest.model_copy(update={"created_at": _NO_TIME, "deadline": None})
    return sha256_hex(work.to_json())


def _conflict(manifest: JobManifest) -> JobConflictError:
    return JobConflictError(
        f"job {manifest.job_id!r} exists with other images, model or options; "
        "use another idempotency key, or the images that it was first used with"
    )


def in_parallel(read: Callable[[_K], _T], wanted: Sequence[_K]) -> Iterator[_T]:
    """`read` of each, in order, some reads at a time."""
    if len(wanted) <= 1:
        yield from map(read, wanted)
        return
    with ThreadPoolExecutor(max_workers=READ_THREADS) as pool:
        step = READ_THREADS * 4
        # In steps, so that results not yet taken never pile up.
        for start in range(0, len(wanted), step):
            yield from pool.map(read, wanted[start : start + step])
