"""Committed outcomes of shards, and the data that they name."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from fornada import keys
from fornada.errors import IntegrityError, ObjectNotFoundError
from fornada.formats.items import Array
from fornada.formats.npy import from_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.parallel import in_parallel
from fornada.records import MAX_INLINE_BYTES, ObjectRef, Record
from fornada.storage.checked_reads import read_checked
from fornada.storage.interface import ObjectStore

_RecordT = TypeVar("_RecordT", bound=Record)


class OutcomeStore:
    """Reads and writes the outcomes of shards; each shard has one, which never changes."""

    def __init__(self, *, objects: ObjectStore) -> None:
        self.objects = objects

    def put_data(self, manifest: JobManifest, shard: int, attempt: str, data: bytes) -> ObjectRef:
        """Store an attempt's results, float32 [items, classes] as `.npy`, under its own key.

        Small results of a small job are inlined in the reference instead.
        """
        key = keys.JobKeys(manifest.job_id).data(shard, attempt)
        if manifest.is_small and len(data) <= MAX_INLINE_BYTES:
            return ObjectRef.of(key, data, inline=True)
        self.objects.put(key, data)
        return ObjectRef.of(key, data)

    def commit(self, outcome: ShardOutcome, *, no_other_writer: bool = False) -> ShardOutcome:
        """Write the shard's outcome unless it has one; return the one that holds.

        Where the store ignores conditions, `dead` is stored beside `ok`, and `ok` wins whichever
        comes last; two `ok` carry the same bytes.

        Args:
            outcome: The outcome.
            no_other_writer: This is the shard's first attempt, under a lease that still holds, so
                no other outcome is looked for where the store ignores conditions.
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
            dead: The job ended with this shard dead, so an `ok` that came later does not count.
        """
        where = [keys.JobKeys(job_id).outcome(shard)]
        if not self.objects.conditional_writes:
            where.insert(0 if dead else 1, keys.JobKeys(job_id).dead(shard))
        found = (self._record(key, ShardOutcome) for key in where)
        outcome = next((outcome for outcome in found if outcome is not None), None)
        if shard == 0 and (outcome is None or outcome.status == "dead"):
            # A job may have ended with an outcome inside its end, beside a stored one that is dead.
            final = self.final(job_id)
            return outcome if final is None else final.outcome or outcome
        return outcome

    def outcomes(self, job_id: str, shards: Iterable[int]) -> Iterator[ShardOutcome]:
        """The outcomes of `shards`, in that order, without shards that have none."""
        found = in_parallel(lambda shard: self.outcome(job_id, shard), list(shards))
        return (outcome for outcome in found if outcome is not None)

    def outcome_shards(self, job_id: str, *, shard_count: int | None = None) -> set[int]:
        """The shards that have an outcome.

        Args:
            job_id: The job.
            shard_count: How many shards it has, if known: outcomes are then listed by block. For
                each page of one listing of all, rclone reads and hashes every object in it: of
                100,000 outcomes, each a hundred times.
        """
        if shard_count == 1:
            # A read is cheaper than a listing.
            return set() if self.outcome(job_id, 0) is None else {0}
        blocks = keys.JobKeys(job_id).outcome_blocks(shard_count)
        listed = list(in_parallel(self.objects.list, blocks))
        if not self.objects.conditional_writes:
            listed.append(self.objects.list(keys.JobKeys(job_id).dead_prefix))
        return {keys.shard_of(found.key) for block in listed for found in block}

    def final(self, job_id: str) -> JobFinal | None:
        """How the job ended, if it has."""
        return self._record(keys.JobKeys(job_id).final, JobFinal)

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
        """The bytes that `ref` describes.

        Raises:
            IntegrityError: Size, digest or ETag differ, in two reads.
            ObjectNotFoundError: The object is gone.
        """
        return read_checked(self.objects, ref, remedy="submit it again")

    def _put_if_absent(self, key: str, data: bytes, *, no_other_writer: bool) -> bool:
        """Write, and return whether `key` was free; `no_other_writer`: it certainly is.

        A store that honours conditions is asked anyway, at no cost.
        """
        if no_other_writer and not self.objects.conditional_writes:
            self.objects.put(key, data)
            return True
        return self.objects.put_if_absent(key, data)

    def _record(self, key: str, record: type[_RecordT]) -> _RecordT | None:
        try:
            data = self.objects.get(key).data
        except ObjectNotFoundError:
            return None
        return record.from_json(data, where=key)
