"""Stand-ins for tests: object store and coordination in memory, kept to the real ones' tests."""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from fornada.coordination import Begun, Progress
from fornada.errors import ObjectNotFoundError
from fornada.object_store import ObjectInfo, StoredObject

#: As in Redis.
_DECIDED_S = 300.0


class InMemoryObjectStore:
    """An `ObjectStore` in a dictionary; the same tests hold for it and for S3.

    Args:
        conditional_writes: `False` to behave like a store that ignores `If-None-Match`.
        clock: Seconds since the epoch, as the store would count them.
    """

    def __init__(
        self, *, conditional_writes: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._conditional_writes = conditional_writes
        self._clock = clock
        self._objects: dict[tuple[str | None, str], bytes] = {}
        self._modified_at: dict[tuple[str | None, str], datetime] = {}
        self._lock = threading.RLock()

    @property
    def conditional_writes(self) -> bool:
        """Whether `put_if_absent` is decided by the store itself."""
        return self._conditional_writes

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`; at most its first `max_bytes`."""
        with self._lock:
            data = self._objects.get((bucket, key))
        if data is None:
            raise ObjectNotFoundError(f"no object {key!r}")
        return StoredObject(data=data[:max_bytes], etag=_etag(data))

    def put(self, key: str, data: bytes, *, bucket: str | None = None) -> None:
        """Write `data`, replacing what was there."""
        self._write((bucket, key), data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now."""
        with self._lock:
            if (None, key) not in self._objects:
                self._write((None, key), data)
            return self._objects[None, key] == data

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, in key order."""
        with self._lock:
            found = sorted(
                (key, data, self._modified_at[in_bucket, key])
                for (in_bucket, key), data in self._objects.items()
                if in_bucket == bucket and key.startswith(prefix)
            )
        return (
            ObjectInfo(key=key, size_bytes=len(data), etag=_etag(data), modified_at=modified_at)
            for key, data, modified_at in found
        )

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix` (which ends in `/`) that hold objects."""
        names = {
            info.key.removeprefix(prefix).split("/")[0]
            for info in self.list(prefix)
            if "/" in info.key.removeprefix(prefix)
        }
        return iter(sorted(names))

    def delete(self, key: str) -> None:
        """Delete the object; it need not exist."""
        with self._lock:
            self._objects.pop((None, key), None)

    def _write(self, where: tuple[str | None, str], data: bytes) -> None:
        with self._lock:
            self._objects[where] = bytes(data)
            self._modified_at[where] = datetime.fromtimestamp(self._clock(), UTC)


class InMemoryCoordination:
    """A `Coordination` in dictionaries; the same tests hold for it and for Redis.

    Args:
        clock: Seconds since the epoch, as the server would count them.
        queue_length: Messages that wait.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        queue_length: Callable[[], int] = lambda: 0,
    ) -> None:
        self._clock = clock
        self._queue_length = queue_length
        self._lock = threading.RLock()
        self.flush()

    def flush(self) -> None:
        """Forget everything, as a wiped Redis does."""
        with self._lock:
            self._open_jobs: set[str] = set()
            self._open_jobs_complete = False
            self._ended: dict[str, str] = {}
            self._decided: dict[str, tuple[bytes, float]] = {}
            self._jobs: dict[str, _Counters] = defaultdict(_Counters)
            #: Of jobs' ends, and under `None` the reconciler.
            self._leaders: dict[str | None, tuple[str, float]] = {}

    def server_time(self) -> datetime:
        """Now, by the clock that was given."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        """List the job among those that have not ended, also if one of that id had ended."""
        with self._lock:
            self._open_jobs.add(job_id)
            self._ended.pop(job_id, None)
            if new:
                self._jobs[job_id] = _Counters(counted=True)

    def open_jobs(self) -> set[str] | None:
        """Jobs that have not ended; `None` when the list was lost and must be rebuilt."""
        with self._lock:
            return set(self._open_jobs) if self._open_jobs_complete else None

    def rebuild_open_jobs(self, job_ids: Iterable[str]) -> None:
        """Add what the store knows, and declare the list complete."""
        with self._lock:
            self._open_jobs.update(job_ids)
            self._open_jobs_complete = True

    def drop_job(self, job_id: str) -> None:
        """Take the job from that list; it was never submitted."""
        with self._lock:
            self._open_jobs.discard(job_id)

    def decide(self, question: str, answer: bytes) -> bytes:
        """Of all answers that were proposed within the last minutes, the first."""
        with self._lock:
            first, until = self._decided.get(question, (answer, 0.0))
            if until > self._clock():
                return first
            self._decided[question] = (answer, self._clock() + _DECIDED_S)
            return answer

    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""
        with self._lock:
            self._ended[job_id] = state
            self._open_jobs.discard(job_id)
            self._jobs.pop(job_id, None)

    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Begun:
        """Count the attempt and take the lease, before input or model is touched."""
        at = self.server_time()
        with self._lock:
            job = self._jobs[job_id]
            if job_id in self._ended:
                return Begun(status="ended", attempts=0, at=at)
            if shard in job.done:
                return Begun(status="done", attempts=0, at=at)
            if self._holder(job_id, shard) not in {None, attempt}:
                return Begun(status="leased", attempts=0, at=at)
            if attempt not in job.attempts[shard]:
                job.attempts[shard].append(attempt)
                job.attempt_count += 1
                job.started_at = job.started_at or at
            job.leases[shard] = (attempt, self._clock() + lease_s)
            job.enqueued.pop(shard, None)
            return Begun(status="begun", attempts=len(job.attempts[shard]), at=at)

    def renew(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> None:
        """Show life; also brings back a lease that was lost."""
        with self._lock:
            if self._holder(job_id, shard) in {None, attempt}:
                self._jobs[job_id].leases[shard] = (attempt, self._clock() + lease_s)

    def note_failure(self, job_id: str, shard: int, error: str) -> None:
        """Remember why an attempt ended without an outcome."""
        with self._lock:
            self._jobs[job_id].errors[shard] = error

    def forget_attempt(self, job_id: str, shard: int, attempt: str) -> None:
        """Do not count an attempt that failed through nobody's fault."""
        with self._lock:
            job = self._jobs[job_id]
            if attempt in job.attempts[shard]:
                job.attempts[shard].remove(attempt)
                job.attempt_count -= 1

    def last_error(self, job_id: str, shard: int) -> str | None:
        """What `note_failure` was last told of the shard."""
        with self._lock:
            return self._jobs[job_id].errors.get(shard)

    def mark_done(
        self, job_id: str, shard: int, *, dead: bool = False, item_errors: int = 0
    ) -> int:
        """Note that the shard has an outcome, and which; return how many of the job have one."""
        with self._lock:
            job = self._jobs[job_id]
            job.done.add(shard)
            for known in (job.attempts, job.errors, job.leases, job.enqueued):
                known.pop(shard, None)
            if dead:
                job.dead.add(shard)
            elif item_errors:
                job.item_errors[shard] = item_errors
            return len(job.done)

    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Note what the store says has an outcome, where that was forgotten."""
        with self._lock:
            self._jobs[job_id].done.update(shards)

    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> None:
        """Note that messages for the shards are about to be enqueued; the job is open, then."""
        with self._lock:
            self._open_jobs.add(job_id)
            self._jobs[job_id].enqueued.update(dict.fromkeys(shards, self._clock()))

    def progress(self, job_id: str) -> Progress:
        """How far the job is."""
        with self._lock:
            job = self._jobs[job_id]
            return Progress(
                done=set(job.done),
                running={shard for shard in job.leases if self._holder(job_id, shard)},
                enqueued={shard: self._clock() - at for shard, at in job.enqueued.items()},
                dead=set(job.dead),
                item_errors=sum(job.item_errors.values()),
                attempts=job.attempt_count,
                started_at=job.started_at,
                counted=job.counted,
            )

    def queue_length(self, queue: str) -> int:  # noqa: ARG002 - there is one queue here
        """Messages that wait."""
        return self._queue_length()

    def lead(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""
        return self._hold(None, holder, lease_s)

    def lead_end(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one who adds up the job's outcomes, for the next `lease_s`."""
        return self._hold(job_id, holder, lease_s)

    def _hold(self, what: str | None, holder: str, lease_s: float) -> bool:
        with self._lock:
            name, until = self._leaders.get(what, (holder, 0.0))
            if name != holder and until > self._clock():
                return False
            self._leaders[what] = (holder, self._clock() + lease_s)
            return True

    def _holder(self, job_id: str, shard: int) -> str | None:
        attempt, until = self._jobs[job_id].leases.get(shard, (None, 0.0))
        return attempt if until > self._clock() else None


class _Counters:
    """What is kept of an open job."""

    def __init__(self, *, counted: bool = False) -> None:
        self.counted = counted
        self.attempt_count = 0
        self.started_at: datetime | None = None
        self.attempts: dict[int, list[str]] = defaultdict(list)
        self.errors: dict[int, str] = {}
        self.leases: dict[int, tuple[str, float]] = {}
        self.enqueued: dict[int, float] = {}
        self.done: set[int] = set()
        self.dead: set[int] = set()
        self.item_errors: dict[int, int] = {}


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
