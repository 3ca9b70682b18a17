"""Committed outcomes of shards, and the data that they name."""

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar

from fornada import keys
from fornada.errors import (
    InputError,
    IntegrityError,
    LaterVersionError,
    MessageError,
    ObjectNotFoundError,
)
from fornada.formats.columns import from_columns_file, to_columns_file
from fornada.formats.tensor_file import Column
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.summary import OutcomesDigest
from fornada.parallel import in_parallel
from fornada.ranges import from_ranges, in_ranges
from fornada.records import MAX_INLINE_BYTES, MAX_JSON_BYTES, MAX_SHARDS, ObjectRef
from fornada.storage.checked_reads import read_bounded, read_checked
from fornada.storage.interface import ObjectStore
from fornada.tensors import OutputTensor

#: Threads that read outcomes, for which the end of a large job waits.
OUTCOME_READERS = 24
#: Bytes of the outcomes that a process keeps of those that it wrote; one has about 1 KB as JSON,
#: and several as an object.
_MOST_WRITTEN_BYTES = 1024 * 1024
#: Of more, one listing says first which of them there are.
_FEW_BLOCKS = 2

_RecordT = TypeVar("_RecordT", JobManifest, ShardOutcome, JobFinal)


class _WrittenOutcomes:
    """The outcomes that this process wrote last, for the ends of their jobs.

    Reading back what is at hand took most of the time between the last outcome of a job and its
    end. A listing shows by the ETag whether an object is still what was written; where a store's
    ETags are no MD5s, outcomes are read. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._kept_bytes = 0

    def add(self, outcome: ShardOutcome, data: bytes) -> None:
        """Keep an outcome that was written as `data`."""
        where = (outcome.job_id, outcome.shard)
        with self._lock:
            before = self._kept.pop(where, b"")
            self._kept[where] = data
            self._kept_bytes += len(data) - len(before)
            while self._kept_bytes > _MOST_WRITTEN_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest)

    def has(self, job_id: str, shard: int) -> bool:
        """Whether an outcome of the shard is kept."""
        return (job_id, shard) in self._kept

    def find(self, job_id: str, shard: int, etag: str) -> ShardOutcome | None:
        """The outcome of the shard, if the object of this ETag is what was written."""
        data = self._kept.get((job_id, shard))
        if data is None or hashlib.md5(data, usedforsecurity=False).hexdigest() != etag:
            return None
        return ShardOutcome.from_json(data, where=f"outcome {shard} of job {job_id}")


class OutcomeStore:
    """Reads and writes the outcomes of shards; each shard has one, which never changes."""

    def __init__(self, *, objects: ObjectStore) -> None:
        self.objects = objects
        self._written = _WrittenOutcomes()

    def put_outputs(
        self, manifest: JobManifest, shard: int, attempt: str, outputs: Sequence[Column]
    ) -> ObjectRef:
        """Store an attempt's outputs, a column for each of the job's, under its own key.

        Small results of a small job are inlined in the reference instead.
        """
        data, suffix = to_columns_file(outputs, manifest.gives)
        key = keys.JobKeys(manifest.job_id).data(shard, attempt, suffix)
        if manifest.is_small and len(data) <= MAX_INLINE_BYTES:
            return ObjectRef.of(key, data, inline=True)
        self.objects.put(key, data)
        return ObjectRef.of(key, data)

    def note_isolated(self, job_id: str, shard: int, attempt: str) -> None:
        """Note that an attempt begins in a process of its own, before it can take ours with it."""
        self.objects.put(keys.JobKeys(job_id).isolated(shard, attempt), b"{}")

    def isolated_count(self, job_id: str, shard: int) -> int:
        """How many attempts at the shard began in processes of their own."""
        return sum(1 for _ in self.objects.list(keys.JobKeys(job_id).isolated_prefix(shard)))

    def commit(self, outcome: ShardOutcome, *, no_other_writer: bool = False) -> ShardOutcome:
        """Write the shard's outcome unless it has one; return the one that holds.

        Where the store ignores conditions, `dead` is stored beside `ok`, and `ok` wins whichever
        comes last; two `ok` carry the same bytes.

        Args:
            outcome: The outcome.
            no_other_writer: This is the shard's first attempt, under a lease that still holds, so
                what is written is not read back where the store ignores conditions.
        """
        job_id, shard = outcome.job_id, outcome.shard
        key, data = keys.JobKeys(job_id).outcome(shard), outcome.to_json()
        if outcome.status == "dead" and not self.objects.conditional_writes:
            self.objects.put_if_absent(keys.JobKeys(job_id).dead(shard), data)
        elif no_other_writer and not self.objects.conditional_writes:
            # Redis counts attempts, and anyone may have written there that this is the first.
            if not self._exists(key):
                self.objects.put(key, data)
                self._written.add(outcome, data)
                return outcome
        elif self.objects.put_if_absent(key, data):
            self._written.add(outcome, data)
            return outcome
        return self.outcome(job_id, shard) or outcome

    def outcome(self, job_id: str, shard: int) -> ShardOutcome | None:
        """The shard's outcome, if it has one; of an ended job, `counted_outcome` is the one."""
        if shard == 0:
            # A job may have ended with an outcome inside its end, and others came later.
            final = self.final(job_id)
            if final is not None and final.outcome is not None:
                return final.outcome
        return self._stored_outcome(job_id, shard, dead_first=False)

    def counted_outcome(self, final: JobFinal, shard: int) -> ShardOutcome | None:
        """The outcome of the shard that the job's end counts; later ones do not count."""
        if final.outcome is not None:
            return final.outcome if shard == final.outcome.shard else None
        is_dead = in_ranges(shard, final.dead_ranges)
        return self._stored_outcome(final.job_id, shard, dead_first=is_dead)

    def check_outcomes(self, final: JobFinal) -> None:
        """Read the outcomes that the job ended with.

        Raises:
            IntegrityError: One is gone or was changed since.
        """
        shards = from_ranges(final.outcome_ranges)
        found = in_parallel(
            lambda shard: self.counted_outcome(final, shard), shards, threads=OUTCOME_READERS
        )
        OutcomesDigest(outcome for outcome in found if outcome is not None).check(final)

    def outcomes(
        self,
        job_id: str,
        shards: Iterable[int] | Mapping[int, str],
        *,
        on_unreadable: Callable[[MessageError], object] | None = None,
    ) -> Iterator[ShardOutcome]:
        """The outcomes of `shards`, in that order, without shards that have none.

        Args:
            job_id: The job.
            shards: Its shards; those of `outcome_etags` are not read if this process wrote them.
            on_unreadable: Called with the error for each that is no outcome, which is left out.

        Raises:
            LaterVersionError: One is of a later release.
            MessageError: One is no outcome, and nobody wants to know.
        """

        def found(shard: int) -> ShardOutcome | MessageError | None:
            try:
                return self.outcome(job_id, shard)
            except LaterVersionError:
                # A worker that was upgraded can read it.
                raise
            except MessageError as exc:
                if on_unreadable is None:
                    raise
                return exc

        etags = shards.items() if isinstance(shards, Mapping) else ()
        written = {shard: self._written.find(job_id, shard, etag) for shard, etag in etags}
        unread = [shard for shard in shards if written.get(shard) is None]
        read = in_parallel(found, unread, threads=OUTCOME_READERS)
        for shard in shards:
            outcome = written.get(shard) or next(read)
            if isinstance(outcome, ShardOutcome):
                yield outcome
            elif outcome is not None and on_unreadable is not None:
                on_unreadable(outcome)

    def outcome_shards(
        self,
        job_id: str,
        *,
        shard_count: int | None = None,
        known: AbstractSet[int] = frozenset(),
    ) -> set[int]:
        """The shards that have an outcome.

        Args:
            job_id: The job.
            shard_count: How many shards it has, if known: outcomes are then listed by block. For
                each page of one listing of all, rclone reads and hashes every object in it: of
                100,000 outcomes, each a hundred times.
            known: Shards that had one before. A block of which all are known is not listed again.
        """
        return set(self.outcome_etags(job_id, shard_count=shard_count, known=known)) | known

    def outcome_etags(
        self,
        job_id: str,
        *,
        shard_count: int | None = None,
        known: AbstractSet[int] = frozenset(),
    ) -> dict[int, str]:
        """The shards that have an outcome, in order, each with the ETag of its object.

        Only of those that this process wrote; of others, it is empty.

        Args:
            job_id: As in `outcome_shards`.
            shard_count: As in `outcome_shards`.
            known: As in `outcome_shards`; some of them may be left out.
        """
        if shard_count == 1:
            # A read is cheaper than a listing.
            try:
                return {} if self.outcome(job_id, 0) is None else {0: ""}
            except MessageError:
                # Whatever it is, it cannot be written again.
                return {0: ""}
        etags: dict[int, str] = {}
        listed = list(in_parallel(self.objects.list, self._blocks(job_id, shard_count, known)))
        if not self.objects.conditional_writes:
            # First, as an outcome beside it holds.
            listed.insert(0, self.objects.list(keys.JobKeys(job_id).dead_prefix))
        most = MAX_SHARDS if shard_count is None else shard_count
        for info in itertools.chain.from_iterable(listed):
            shard = keys.shard_of(info.key)
            # Consoles make objects for folders, and hosts leave files in them.
            if shard is not None and shard < most:
                etags[shard] = info.etag if self._written.has(job_id, shard) else ""
        return dict(sorted(etags.items()))

    def _blocks(
        self, job_id: str, shard_count: int | None, known: AbstractSet[int]
    ) -> Sequence[str]:
        """The prefixes to list."""
        above = keys.JobKeys(job_id).outcomes_prefix
        blocks = keys.JobKeys(job_id).outcome_blocks(shard_count, known=known)
        if len(blocks) <= _FEW_BLOCKS:
            return blocks
        there = {f"{above}{name}/" for name in self.objects.list_folders(above)}
        return [block for block in blocks if block in there]

    def final(self, job_id: str) -> JobFinal | None:
        """How the job ended, if it has."""
        return self._record(keys.JobKeys(job_id).final, JobFinal, job_id)

    def outputs(self, outcome: ShardOutcome, gives: Sequence[OutputTensor]) -> list[Column]:
        """The outputs of an ok outcome, a column for each of the job's.

        Raises:
            IntegrityError: The bytes are not those that were committed, or another job's, or hold
                something else.
        """
        if outcome.data is None or outcome.data.sha256 is None:
            raise IntegrityError(
                f"shard {outcome.shard} of job {outcome.job_id} is {outcome.status} and has no "
                f"{'data' if outcome.data is None else 'sha256 of its data'}; read its reason"
            )
        ref, own = outcome.data, keys.JobKeys(outcome.job_id).prefix
        if ref.inline is None and (ref.bucket is not None or not ref.key.startswith(own)):
            # Who may read this job's results may not read what else we can.
            raise IntegrityError(
                f"shard {outcome.shard} of job {outcome.job_id} has its data in {ref.key!r}, not "
                f"below {own}; submit it again"
            )
        where = f"the result of shard {outcome.shard} of job {outcome.job_id}"
        try:
            return from_columns_file(
                self.read_checked(ref), gives, item_count=outcome.item_count, where=where
            )
        except InputError as exc:
            raise IntegrityError(f"{exc}; submit the job again") from exc

    def read_checked(self, ref: ObjectRef) -> bytes:
        """The bytes that `ref` describes.

        Raises:
            IntegrityError: Size, digest or ETag differ, in two reads.
            ObjectNotFoundError: The object is gone.
        """
        return read_checked(self.objects, ref, remedy="submit it again")

    def _stored_outcome(self, job_id: str, shard: int, *, dead_first: bool) -> ShardOutcome | None:
        where = [keys.JobKeys(job_id).outcome(shard)]
        if not self.objects.conditional_writes:
            where.insert(0 if dead_first else 1, keys.JobKeys(job_id).dead(shard))
        found = (self._record(key, ShardOutcome, job_id) for key in where)
        outcome = next((outcome for outcome in found if outcome is not None), None)
        if outcome is not None and outcome.shard != shard:
            raise MessageError(f"the outcome under {where} is of shard {outcome.shard}; remove it")
        return outcome

    def _exists(self, key: str) -> bool:
        try:
            self.objects.get(key, max_bytes=1)
        except ObjectNotFoundError:
            return False
        return True

    def _record(self, key: str, record: type[_RecordT], job_id: str) -> _RecordT | None:
        """The record under the key, if there is one.

        Raises:
            MessageError: It is no such record, or that of another job.
        """
        try:
            data = read_bounded(self.objects, key, most_bytes=MAX_JSON_BYTES)
        except ObjectNotFoundError:
            return None
        found = record.from_json(data, where=key)
        if found.job_id != job_id:
            raise MessageError(f"{key} is of job {found.job_id!r}, not {job_id!r}; remove it")
        return found
