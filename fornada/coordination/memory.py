"""A stand-in for tests: what is shared while jobs run, in memory (`fornada.testing`)."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from fornada.coordination.interface import Admission, Claim, Progress, ShardEnd, SmallJob, Triage

#: As in Redis.
_DECIDED_S = 300.0
_ENDED_S = 600.0


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
            self._ended_until: dict[str, float] = {}
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
            counters, now_s = self._jobs[job_id], self._clock()
            if new and counters.counted_at is not None and now_s - counters.counted_at < _ENDED_S:
                return
            is_first = not counters.is_known and not self._has_ended(job_id)
            self._ended.pop(job_id, None)
            if new:
                self._jobs[job_id] = _Counters(counted_at=now_s if is_first else None)

    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        """List new jobs among those that have not ended; whether the queue has room for them."""
        with self._lock:
            room = self.queue_length(queue) < window
            for job in jobs:
                self._open_jobs.add(job.job_id)
                counters = self._jobs[job.job_id]
                counters.counted_at = self._clock()
                counters.shard_count, counters.deadline = job.shard_count, job.deadline
                if room:
                    at = dict.fromkeys(range(job.shard_count), self._clock())
                    counters.enqueued.update(at)
            return room

    def remember(self, job: SmallJob) -> None:
        """Tell again what was forgotten of a small job, but not that nothing was."""
        with self._lock:
            counters = self._jobs[job.job_id]
            counters.shard_count, counters.deadline = job.shard_count, job.deadline

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

    def decide_end(self, job_id: str, end: bytes) -> bytes:
        """Of all ends that were proposed for the job while it was open, the first."""
        with self._lock:
            job = self._jobs[job_id]
            job.end = job.end or end
            return job.end

    def decide_ends(self, ends: Mapping[str, bytes]) -> dict[str, bytes]:
        """As `decide_end`, of several jobs, and only of those that are open and counted."""
        with self._lock:
            return {
                job_id: self.decide_end(job_id, end)
                for job_id, end in ends.items()
                if self._jobs[job_id].counted and not self._has_ended(job_id)
            }

    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""
        with self._lock:
            self._ended[job_id] = state
            self._ended_until[job_id] = self._clock() + _ENDED_S
            self._open_jobs.discard(job_id)
            self._jobs.pop(job_id, None)

    def end_jobs(self, states: Mapping[str, str]) -> None:
        """As `end_job`, of several."""
        with self._lock:
            for job_id, state in states.items():
                self.end_job(job_id, state)

    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Admission:
        """Count the attempt and take the lease, before input or model is touched."""
        at = self.server_time()
        with self._lock:
            job = self._jobs[job_id]
            status: Literal["begun", "ended", "done", "leased"] = "begun"
            if self._has_ended(job_id):
                status = "ended"
            elif shard in job.done:
                status = "done"
            elif self._holder(job_id, shard) not in {None, attempt}:
                status = "leased"
            if status != "begun":
                return Admission(status=status, attempts=0, at=at, counted=job.counted)
            if attempt not in job.attempts[shard]:
                job.attempts[shard].append(attempt)
                job.attempt_count += 1
                job.started_at = job.started_at or at
            job.leases[shard] = (attempt, self._clock() + lease_s)
            job.enqueued.pop(shard, None)
            attempts = len(job.attempts[shard])
            return Admission(status="begun", attempts=attempts, at=at, counted=job.counted)

    def begin_all(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        """As `begin`, of several shards in one step."""
        with self._lock:
            return [self.begin(c.job_id, c.shard, c.attempt, lease_s=lease_s) for c in claims]

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

    def mark_all_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        """As `mark_done`, of several shards of a job in one step."""
        with self._lock:
            return max(
                self.mark_done(job_id, end.shard, dead=end.dead, item_errors=end.item_errors)
                for end in ends
            )

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

    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        """Which of the jobs there is something to be done about."""
        with self._lock:
            found = {job_id: self._lost(job_id, patience_s) for job_id in job_ids}
        return Triage(
            lost={job_id: shards for job_id, shards in found.items() if shards},
            unclear={job_id for job_id, shards in found.items() if shards is None},
        )

    def _lost(self, job_id: str, patience_s: float) -> list[int] | None:
        job = self._jobs[job_id]
        if job.shard_count is None or (job.deadline and self.server_time() > job.deadline):
            return None
        left = [shard for shard in range(job.shard_count) if shard not in job.done]
        oldest = self._clock() - patience_s
        waits = {shard for shard, at in job.enqueued.items() if at >= oldest}
        lost = [s for s in left if s not in waits and not self._holder(job_id, s)]
        return lost if left else None

    def queue_length(self, queue: str) -> int:  # noqa: ARG002 - there is one queue here
        """Messages that wait."""
        return self._queue_length()

    def hold_reconciler_lease(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""
        return self._hold(None, holder, lease_s)

    def hold_end_lease(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one who adds up the job's outcomes, for the next `lease_s`."""
        return self._hold(job_id, holder, lease_s)

    def _hold(self, what: str | None, holder: str, lease_s: float) -> bool:
        with self._lock:
            name, until = self._leaders.get(what, (holder, 0.0))
            if name != holder and until > self._clock():
                return False
            self._leaders[what] = (holder, self._clock() + lease_s)
            return True

    def _has_ended(self, job_id: str) -> bool:
        return job_id in self._ended and self._ended_until[job_id] > self._clock()

    def _holder(self, job_id: str, shard: int) -> str | None:
        attempt, until = self._jobs[job_id].leases.get(shard, (None, 0.0))
        return attempt if until > self._clock() else None


class _Counters:
    """What is kept of an open job."""

    def __init__(self, *, counted_at: float | None = None) -> None:
        self.counted_at = counted_at
        self.attempt_count = 0
        self.started_at: datetime | None = None
        self.attempts: dict[int, list[str]] = defaultdict(list)
        self.errors: dict[int, str] = {}
        self.leases: dict[int, tuple[str, float]] = {}
        self.enqueued: dict[int, float] = {}
        self.done: set[int] = set()
        self.dead: set[int] = set()
        self.item_errors: dict[int, int] = {}
        self.end: bytes | None = None
        self.shard_count: int | None = None
        self.deadline: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything was told of the job."""
        return self.counted or self.started_at is not None or self.shard_count is not None

    @property
    def counted(self) -> bool:
        """Whether nothing was forgotten since the job was submitted."""
        return self.counted_at is not None
