"""`Coordination` in memory, for tests (`fornada.testing`)."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from fornada.coordination.interface import (
    Admission,
    Claim,
    Progress,
    ShardEnd,
    SmallJob,
    Triage,
)

#: Lifetime of a decision, as in Redis.
_DECIDED_S = 300.0
#: How long an ended job is remembered, as in Redis.
_ENDED_S = 600.0


class InMemoryCoordination:
    """A `Coordination` in dictionaries; it passes the same tests as the one in Redis.

    Args:
        clock: Seconds since the epoch, by the server's clock.
        queue_length: Messages waiting in the queue.
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
            self._submitted_s: dict[str, float] = {}
            self._complete = False
            self._ended: dict[str, str] = {}
            self._ended_until: dict[str, float] = {}
            self._decided: dict[str, tuple[bytes, float]] = {}
            self._jobs: dict[str, _Counters] = defaultdict(_Counters)
            #: Job whose outcomes are summed up, or `None` for the reconciler → holder, until when.
            self._held: dict[str | None, tuple[str, float]] = {}

    def server_time(self) -> datetime:
        """Now, by the clock that was given."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def queue_length(self, queue: str) -> int:  # noqa: ARG002 - there is one queue here
        """Messages waiting."""
        return self._queue_length()

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        """List the job as open, even if a job of that id has ended."""
        with self._lock:
            self._open_jobs.add(job_id)
            counters, now_s = self._jobs[job_id], self._clock()
            if new and counters.counted_at is not None and now_s - counters.counted_at < _ENDED_S:
                return
            is_first = not counters.is_known and not self._has_ended(job_id)
            self._ended.pop(job_id, None)
            if new:
                self._submitted_s[job_id] = now_s
                self._jobs[job_id] = _Counters(counted_at=now_s if is_first else None)

    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        """List new jobs as open; return whether the queue has room for them."""
        with self._lock:
            room = self.queue_length(queue) < window
            for job in jobs:
                self._open_jobs.add(job.job_id)
                self.restore_small_job(job)
                counters = self._jobs[job.job_id]
                counters.counted_at = self._submitted_s[job.job_id] = self._clock()
                if room:
                    at = dict.fromkeys(range(job.shard_count), self._clock())
                    counters.enqueued.update(at)
            return room

    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> None:
        """Note that shards are about to be enqueued; lists the job as open."""
        with self._lock:
            self._open_jobs.add(job_id)
            self._jobs[job_id].enqueued.update(dict.fromkeys(shards, self._clock()))

    def progress(self, job_id: str) -> Progress:
        """The job's progress."""
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

    def open_jobs(self) -> set[str] | None:
        """Ids of open jobs; `None` when the list was lost and not rebuilt yet."""
        with self._lock:
            return set(self._open_jobs) if self._complete else None

    def newest_jobs(self, count: int, *, skip: int = 0) -> list[str]:
        """Ids of the newest jobs, newest first, after the first `skip`; a few may not exist."""
        with self._lock:
            found = sorted(self._submitted_s, key=lambda job_id: -self._submitted_s[job_id])
            return found[skip : skip + count] if self._complete else []

    def drop_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove jobs that do not exist."""
        with self._lock:
            for job_id in job_ids:
                self._open_jobs.discard(job_id)
                self._submitted_s.pop(job_id, None)

    def end_jobs(self, states: Mapping[str, str]) -> None:
        """Forget the jobs' counters, and drop messages of theirs that are still queued."""
        with self._lock:
            for job_id, state in states.items():
                self._ended[job_id] = state
                self._ended_until[job_id] = self._clock() + _ENDED_S
                self._open_jobs.discard(job_id)
                self._jobs.pop(job_id, None)

    def hold_end_lease(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` alone may sum up the job's outcomes for the next `lease_s`."""
        return self._hold(job_id, holder, lease_s)

    def hold_reconciler_lease(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the leading reconciler for the next `lease_s`."""
        return self._hold(None, holder, lease_s)

    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        """Return jobs that need attention, with their lost shards."""
        with self._lock:
            found = {job_id: self._lost(job_id, patience_s) for job_id in job_ids}
        return Triage(
            lost={job_id: shards for job_id, shards in found.items() if shards},
            unclear={job_id for job_id, shards in found.items() if shards is None},
        )

    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Mark shards as done that have an outcome in the store."""
        with self._lock:
            self._jobs[job_id].done.update(shards)

    def restore_small_job(self, job: SmallJob) -> None:
        """Restore the facts of a small job; its counters remain incomplete."""
        with self._lock:
            counters = self._jobs[job.job_id]
            counters.shard_count, counters.deadline = job.shard_count, job.deadline

    def rebuild_open_jobs(
        self, job_ids: Iterable[str], *, newest: Mapping[str, datetime] | None = None
    ) -> None:
        """Add what the store knows, and declare the lists complete."""
        with self._lock:
            self._open_jobs.update(job_ids)
            for job_id, at in (newest or {}).items():
                self._submitted_s.setdefault(job_id, at.timestamp())
            self._complete = True

    def begin(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        """Count the attempts and take their leases, before input or model is read."""
        with self._lock:
            return [self._begin(claim, lease_s) for claim in claims]

    def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        """Extend leases, and take again those that were lost."""
        with self._lock:
            for claim in claims:
                if self._holder(claim.job_id, claim.shard) in {None, claim.attempt}:
                    until = self._clock() + lease_s
                    self._jobs[claim.job_id].leases[claim.shard] = (claim.attempt, until)

    def forget_attempt(self, claim: Claim) -> None:
        """Uncount an attempt that failed for no fault of the shard."""
        with self._lock:
            job = self._jobs[claim.job_id]
            if claim.attempt in job.attempts[claim.shard]:
                job.attempts[claim.shard].remove(claim.attempt)
                job.attempt_count -= 1

    def note_failure(self, claim: Claim, error: str) -> None:
        """Remember why an attempt ended without an outcome."""
        with self._lock:
            self._jobs[claim.job_id].errors[claim.shard] = error

    def last_error(self, job_id: str, shard: int) -> str | None:
        """The error last noted for the shard."""
        with self._lock:
            return self._jobs[job_id].errors.get(shard)

    def mark_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        """Count committed outcomes; return how many shards of the job have one."""
        with self._lock:
            job = self._jobs[job_id]
            for end in ends:
                job.done.add(end.shard)
                for known in (job.attempts, job.errors, job.leases, job.enqueued):
                    known.pop(end.shard, None)
                if end.dead:
                    job.dead.add(end.shard)
                elif end.item_errors:
                    job.item_errors[end.shard] = end.item_errors
            return len(job.done)

    def decide(self, question: str, answer: bytes) -> bytes:
        """The first answer proposed within the last minutes."""
        with self._lock:
            first, until = self._decided.get(question, (answer, 0.0))
            if until > self._clock():
                return first
            self._decided[question] = (answer, self._clock() + _DECIDED_S)
            return answer

    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        """The first end proposed for each job while it was open."""
        with self._lock:
            decided: dict[str, bytes] = {}
            for job_id, end in ends.items():
                job = self._jobs[job_id]
                if only_counted and (self._has_ended(job_id) or not job.counted):
                    continue
                decided[job_id] = job.end = job.end or end
            return decided

    def _begin(self, claim: Claim, lease_s: float) -> Admission:
        job, shard, at = self._jobs[claim.job_id], claim.shard, self.server_time()
        status: Literal["begun", "ended", "done", "leased"] = "begun"
        if self._has_ended(claim.job_id):
            status = "ended"
        elif shard in job.done:
            status = "done"
        elif self._holder(claim.job_id, shard) not in {None, claim.attempt}:
            status = "leased"
        if status != "begun":
            return Admission(status=status, attempts=0, at=at, counted=job.counted)
        if claim.attempt not in job.attempts[shard]:
            job.attempts[shard].append(claim.attempt)
            job.attempt_count += 1
            job.started_at = job.started_at or at
        job.leases[shard] = (claim.attempt, self._clock() + lease_s)
        job.enqueued.pop(shard, None)
        attempts = len(job.attempts[shard])
        return Admission(status="begun", attempts=attempts, at=at, counted=job.counted)

    def _lost(self, job_id: str, patience_s: float) -> list[int] | None:
        job = self._jobs[job_id]
        if job.shard_count is None or (job.deadline and self.server_time() > job.deadline):
            return None
        left = [shard for shard in range(job.shard_count) if shard not in job.done]
        oldest = self._clock() - patience_s
        waits = {shard for shard, at in job.enqueued.items() if at >= oldest}
        lost = [s for s in left if s not in waits and not self._holder(job_id, s)]
        return lost if left else None

    def _hold(self, what: str | None, holder: str, lease_s: float) -> bool:
        with self._lock:
            name, until = self._held.get(what, (holder, 0.0))
            if name != holder and until > self._clock():
                return False
            self._held[what] = (holder, self._clock() + lease_s)
            return True

    def _has_ended(self, job_id: str) -> bool:
        return job_id in self._ended and self._ended_until[job_id] > self._clock()

    def _holder(self, job_id: str, shard: int) -> str | None:
        attempt, until = self._jobs[job_id].leases.get(shard, (None, 0.0))
        return attempt if until > self._clock() else None


@dataclass
class _Counters:
    """What is counted of an open job."""

    counted_at: float | None = None
    attempt_count: int = 0
    started_at: datetime | None = None
    attempts: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[int, str] = field(default_factory=dict)
    leases: dict[int, tuple[str, float]] = field(default_factory=dict)
    enqueued: dict[int, float] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    item_errors: dict[int, int] = field(default_factory=dict)
    end: bytes | None = None
    shard_count: int | None = None
    deadline: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything was recorded of the job."""
        return self.counted or self.started_at is not None or self.shard_count is not None

    @property
    def counted(self) -> bool:
        """Whether nothing was lost since submission."""
        return self.counted_at is not None
