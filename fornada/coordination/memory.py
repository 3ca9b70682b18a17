"""`Coordination` in memory, for tests (`fornada.testing`)."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from fornada.coordination.counters import JobCounters
from fornada.coordination.interface import Admission, Claim, Progress, ShardEnd, SmallJob, Triage

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
            self._jobs: dict[str, JobCounters] = defaultdict(JobCounters)
            #: Job whose outcomes are summed up, or `None` for the reconciler → holder, until when.
            self._held: dict[str | None, tuple[str, float]] = {}

    def server_time(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def queue_length(self, queue: str) -> int:  # noqa: ARG002 - there is one queue here
        return self._queue_length()

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        with self._lock:
            self._open_jobs.add(job_id)
            counters, now_s = self._jobs[job_id], self._clock()
            if new and counters.counted_at is not None and now_s - counters.counted_at < _ENDED_S:
                return
            is_first = not counters.is_known and not self._has_ended(job_id)
            self._ended.pop(job_id, None)
            if new:
                self._submitted_s[job_id] = now_s
                self._jobs[job_id] = JobCounters(counted_at=now_s if is_first else None)

    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
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
        with self._lock:
            self._open_jobs.add(job_id)
            self._jobs[job_id].enqueued.update(dict.fromkeys(shards, self._clock()))

    def progress(self, job_id: str) -> Progress:
        with self._lock:
            return self._jobs[job_id].progress(self._clock())

    def open_jobs(self) -> set[str] | None:
        with self._lock:
            return set(self._open_jobs) if self._complete else None

    def newest_jobs(self, count: int, *, skip: int = 0) -> list[str]:
        with self._lock:
            found = sorted(self._submitted_s, key=lambda job_id: -self._submitted_s[job_id])
            return found[skip : skip + count] if self._complete else []

    def drop_jobs(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                self._open_jobs.discard(job_id)
                self._submitted_s.pop(job_id, None)

    def end_jobs(self, states: Mapping[str, str]) -> None:
        with self._lock:
            for job_id, state in states.items():
                self._ended[job_id] = state
                self._ended_until[job_id] = self._clock() + _ENDED_S
                self._open_jobs.discard(job_id)
                self._jobs.pop(job_id, None)

    def hold_end_lease(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        return self._hold(job_id, holder, lease_s)

    def hold_reconciler_lease(self, holder: str, *, lease_s: float) -> bool:
        return self._hold(None, holder, lease_s)

    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        with self._lock:
            now_s = self._clock()
            found = {j: self._jobs[j].lost(now_s, patience_s=patience_s) for j in job_ids}
        return Triage(
            lost={job_id: shards for job_id, shards in found.items() if shards},
            unclear={job_id for job_id, shards in found.items() if shards is None},
        )

    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        with self._lock:
            self._jobs[job_id].done.update(shards)

    def forget_done(self, job_id: str, shards: Iterable[int]) -> None:
        with self._lock:
            counters = self._jobs[job_id]
            for shard in shards:
                counters.done.discard(shard)
                counters.dead.discard(shard)
                counters.item_errors.pop(shard, None)

    def restore_small_job(self, job: SmallJob) -> None:
        with self._lock:
            counters = self._jobs[job.job_id]
            counters.shard_count, counters.deadline = job.shard_count, job.deadline

    def rebuild_open_jobs(
        self, job_ids: Iterable[str], *, newest: Mapping[str, datetime] | None = None
    ) -> None:
        with self._lock:
            self._open_jobs.update(job_ids)
            for job_id, at in (newest or {}).items():
                self._submitted_s.setdefault(job_id, at.timestamp())
            self._complete = True

    def begin(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        with self._lock:
            return [self._begin(claim, lease_s) for claim in claims]

    def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        with self._lock:
            now_s = self._clock()
            for claim in claims:
                job = self._jobs[claim.job_id]
                if job.holder(claim.shard, now_s) in {None, claim.attempt}:
                    job.leases[claim.shard] = (claim.attempt, now_s + lease_s)

    def forget_attempt(self, claim: Claim) -> None:
        with self._lock:
            self._jobs[claim.job_id].forget_attempt(claim)

    def note_failure(self, claim: Claim, error: str) -> None:
        with self._lock:
            self._jobs[claim.job_id].errors[claim.shard] = error

    def last_error(self, job_id: str, shard: int) -> str | None:
        with self._lock:
            return self._jobs[job_id].errors.get(shard)

    def mark_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        with self._lock:
            return self._jobs[job_id].mark_done(ends)

    def decide(self, question: str, answer: bytes) -> bytes:
        with self._lock:
            first, until = self._decided.get(question, (answer, 0.0))
            if until > self._clock():
                return first
            self._decided[question] = (answer, self._clock() + _DECIDED_S)
            return answer

    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        with self._lock:
            decided: dict[str, bytes] = {}
            for job_id, end in ends.items():
                job = self._jobs[job_id]
                if only_counted and (self._has_ended(job_id) or not job.counted):
                    continue
                decided[job_id] = job.end = job.end or end
            return decided

    def _begin(self, claim: Claim, lease_s: float) -> Admission:
        if self._has_ended(claim.job_id):
            counted = self._jobs[claim.job_id].counted
            return Admission(status="ended", attempts=0, at=self.server_time(), counted=counted)
        return self._jobs[claim.job_id].begin(claim, now_s=self._clock(), lease_s=lease_s)

    def _hold(self, what: str | None, holder: str, lease_s: float) -> bool:
        with self._lock:
            name, until = self._held.get(what, (holder, 0.0))
            if name != holder and until > self._clock():
                return False
            self._held[what] = (holder, self._clock() + lease_s)
            return True

    def _has_ended(self, job_id: str) -> bool:
        return job_id in self._ended and self._ended_until[job_id] > self._clock()
