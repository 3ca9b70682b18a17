"""`Coordination` in memory, for tests (`fornada.testing`)."""

import copy
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from fornada.coordination.counters import Asker, JobCounters, Lease, QueueClocks, holder_of
from fornada.coordination.interface import (
    MOST_UNREADABLE,
    MOST_WHY_CHARACTERS,
    Admission,
    Beat,
    Claim,
    JobTask,
    Progress,
    ShardEnd,
    SmallJob,
    Triage,
)
from fornada.coordination.job_index.memory import InMemoryJobIndex
from fornada.coordination.notices.interface import Notice
from fornada.coordination.notices.memory import InMemoryNotices
from fornada.coordination.trace_links.memory import InMemoryTraceLinks
from fornada.coordination.worker_board.memory import InMemoryWorkerBoard
from fornada.keys import DEFAULT_QUEUE

#: Lifetime of a decision, as in Redis.
_DECIDED_S = 300.0
#: How long an ended job is remembered, as in Redis.
_ENDED_S = 600.0


class _Memory:
    """What is remembered, of all queues."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.bucket_id: bytes | None = None
        self.open_jobs: set[str] = set()
        #: Job → why it cannot be read.
        self.unreadable: dict[str, str] = {}
        self.submitted_s: dict[str, float] = {}
        self.owned: dict[str, dict[str, int]] = {}
        self.workers: dict[str, object] = {}
        self.complete = self.owners_complete = False
        self.ended: dict[str, str] = {}
        self.ended_until: dict[str, float] = {}
        self.decided: dict[str, tuple[bytes, float]] = {}
        self.jobs: dict[str, JobCounters] = defaultdict(JobCounters)
        self.held: dict[tuple[JobTask, str], Lease] = {}
        self.clocks = QueueClocks()
        #: Queue → the last beat of its leader.
        self.beats: dict[str, Beat] = {}


class InMemoryCoordination(
    InMemoryJobIndex, InMemoryNotices, InMemoryTraceLinks, InMemoryWorkerBoard
):
    """A `Coordination` in dictionaries; it passes the same tests as the one in Redis.

    Args:
        clock: Seconds since the epoch, by the server's clock.
        queue_length: Messages waiting in the queue.
        queue: The queue whose work is coordinated.
        lease_s: For how long a lease is taken to hold, at most.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        queue_length: Callable[[], int] = lambda: 0,
        queue: str = DEFAULT_QUEUE,
        lease_s: float = 3600.0,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._lease_s = lease_s
        self._queue_length = queue_length
        self._queue = queue
        self._memory: _Memory = _Memory()

    def for_queue(self, queue: str, *, queue_length: Callable[[], int] | None = None) -> Self:
        """The coordination of another queue on the same server."""
        other = copy.copy(self)
        other._queue = queue  # noqa: SLF001 - of this class
        other._queue_length = queue_length or self._queue_length  # noqa: SLF001 - as above
        return other

    def flush(self) -> None:
        """Forget everything, as a wiped Redis does."""
        with self._memory.lock:
            self._memory.clear()

    def elapse(self, seconds: float) -> None:
        """Move the queue's clock, as its leader does while time passes."""
        with self._memory.lock:
            clocks, it = self._memory.clocks, self._memory.clocks[self._queue]
            clocks[self._queue] = replace(it, clock_s=it.clock_s + seconds, moved_at=self._clock())

    def server_time(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def queue_length(self, queue: str) -> int:  # noqa: ARG002 - there is one queue here
        return self._queue_length()

    def stamped(self) -> bytes | None:
        return self._memory.bucket_id

    def stamp(self, bucket_id: bytes, *, replace: bool = False) -> bytes:
        with self._memory.lock:
            if replace or self._memory.bucket_id is None:
                self._memory.bucket_id = bucket_id
            return self._memory.bucket_id

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        with self._memory.lock:
            self._memory.open_jobs.add(job_id)
            counters, now_s = self._memory.jobs[job_id], self._clock()
            if new and counters.counted_at is not None and now_s - counters.counted_at < _ENDED_S:
                return
            is_first = not counters.is_known and not self._has_ended(job_id)
            self._memory.ended.pop(job_id, None)
            if new:
                self._memory.submitted_s[job_id] = now_s
                self._memory.jobs[job_id] = JobCounters(counted_at=now_s if is_first else None)

    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        with self._memory.lock:
            room = self.queue_length(queue) < window
            for job in jobs:
                self._memory.open_jobs.add(job.job_id)
                self.restore_small_job(job)
                counters = self._memory.jobs[job.job_id]
                counters.queue = queue
                counters.counted_at = self._memory.submitted_s[job.job_id] = self._clock()
                if room:
                    clock_s = self._memory.clocks[queue].clock_s
                    counters.enqueued.update(dict.fromkeys(range(job.shard_count), clock_s))
            return room

    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> bool:
        with self._memory.lock:
            is_open, clock = not self._has_ended(job_id), self._memory.clocks[self._queue]
            if is_open:
                self._memory.open_jobs.add(job_id)
                self._memory.jobs[job_id].enqueued |= dict.fromkeys(shards, clock.clock_s)
            return is_open

    def progress(self, job_id: str) -> Progress:
        with self._memory.lock:
            return self._memory.jobs[job_id].progress(self._asker())

    def open_jobs(self) -> set[str] | None:
        with self._memory.lock:
            return set(self._memory.open_jobs) if self._memory.complete else None

    def newest_jobs(self, count: int, *, skip: int = 0) -> list[str]:
        with self._memory.lock:
            times_s = self._memory.submitted_s
            found = sorted(times_s, key=lambda job_id: -times_s[job_id])
            return found[skip : skip + count] if self._memory.complete else []

    def held_up(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        with self._memory.lock:
            found = {job_id: self._memory.jobs[job_id].held_up(self._clock()) for job_id in job_ids}
        return {job_id: why for job_id, why in found.items() if why}

    def hold_up(self, job_id: str, process: str, why: str) -> None:
        with self._memory.lock:
            self._memory.jobs[job_id].hold_up(process, why, now_s=self._clock())

    def quarantine_job(self, job_id: str, why: str) -> bool:
        with self._memory.lock:
            self._memory.open_jobs.discard(job_id)
            if job_id in self._memory.unreadable or len(self._memory.unreadable) >= MOST_UNREADABLE:
                return False
            self._memory.unreadable[job_id] = why[:MOST_WHY_CHARACTERS]
            return True

    def unreadable_jobs(self) -> dict[str, str]:
        return dict(self._memory.unreadable)

    def drop_jobs(self, job_ids: Iterable[str]) -> None:
        with self._memory.lock:
            for job_id in job_ids:
                self._memory.unreadable.pop(job_id, None)
                self._memory.open_jobs.discard(job_id)
                self._memory.submitted_s.pop(job_id, None)

    def end_jobs(self, states: Mapping[str, str]) -> None:
        with self._memory.lock:
            for job_id, state in states.items():
                self._memory.ended[job_id] = state
                self._memory.ended_until[job_id] = self._clock() + _ENDED_S
                self._memory.open_jobs.discard(job_id)
                self._memory.jobs.pop(job_id, None)
        for job_id in states:
            self._tell(job_id, Notice.ENDED)

    def hold_job_lease(self, to: JobTask, job_id: str, holder: str, *, lease_s: float) -> bool:
        with self._memory.lock:
            end = self._memory.held.get((to, job_id))
            held = holder_of(end, self._memory.clocks, most_s=lease_s)
            if held not in {None, holder}:
                return False
            self._memory.held[to, job_id] = self._lease(holder, lease_s)
            return True

    def beat(self, holder: str, *, after: Beat | None, step_s: float) -> Beat:
        with self._memory.lock:
            last = self._memory.beats.get(self._queue)
            if last is not None and last != after:
                return last
            self.elapse(step_s)
            beat = Beat(holder, 1 if last is None else last.number + 1, self._lease_s)
            self._memory.beats[self._queue] = beat
            return beat

    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        with self._memory.lock:
            jobs = {job_id: self._memory.jobs[job_id] for job_id in job_ids}
            others = {j for j, job in jobs.items() if job.queue not in {None, self._queue}}
            asker = self._asker()
            found = {
                job_id: jobs[job_id].lost(asker, patience_s=patience_s)
                for job_id in jobs.keys() - others
            }
        return Triage(
            lost={job_id: shards for job_id, shards in found.items() if shards},
            seen={j: jobs[j].seen(shards or ()) for j, shards in found.items()},
            unclear={job_id for job_id, shards in found.items() if shards is None},
            others=others,
        )

    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        with self._memory.lock:
            self._memory.jobs[job_id].done.update(shards)

    def forget_done(self, job_id: str, shards: Iterable[int]) -> None:
        with self._memory.lock:
            counters = self._memory.jobs[job_id]
            for shard in shards:
                counters.done.discard(shard)
                counters.dead.discard(shard)
                counters.item_errors.pop(shard, None)

    def restore_small_job(self, job: SmallJob) -> None:
        with self._memory.lock:
            counters = self._memory.jobs[job.job_id]
            counters.shard_count, counters.deadline = job.shard_count, job.deadline
            counters.queue = self._queue

    def forget_small_job(self, job_id: str) -> None:
        with self._memory.lock:
            counters = self._memory.jobs[job_id]
            counters.shard_count = counters.deadline = counters.queue = None

    def rebuild_open_jobs(
        self, job_ids: Iterable[str], *, newest: Mapping[str, datetime] | None = None
    ) -> None:
        with self._memory.lock:
            self._memory.open_jobs.update(job_ids)
            for job_id, at in (newest or {}).items():
                self._memory.submitted_s.setdefault(job_id, at.timestamp())
            self._memory.complete = True

    def begin(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        with self._memory.lock:
            return [self._begin(claim, lease_s) for claim in claims]

    def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        with self._memory.lock:
            for claim in claims:
                lease = self._lease(claim.attempt, lease_s)
                self._memory.jobs[claim.job_id].renew(claim.shard, lease, self._memory.clocks)

    def forget_attempt(self, claim: Claim) -> None:
        with self._memory.lock:
            self._memory.jobs[claim.job_id].forget_attempt(claim)
            self._memory.jobs[claim.job_id].end_attempt(claim)

    def give_back(self, claims: Sequence[Claim], *, process: str, why: str) -> None:
        with self._memory.lock:
            for claim in claims:
                job = self._memory.jobs[claim.job_id]
                job.give_back(claim)
                job.hold_up(process, why, now_s=self._clock())

    def note_failure(self, claim: Claim, error: str) -> None:
        with self._memory.lock:
            self._memory.jobs[claim.job_id].errors[claim.shard] = error
            self._memory.jobs[claim.job_id].end_attempt(claim)

    def last_error(self, job_id: str, shard: int) -> str | None:
        return self._memory.jobs[job_id].errors.get(shard)

    def mark_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        with self._memory.lock:
            done_count = self._memory.jobs[job_id].mark_done(ends)
        self._tell_progress(job_id)
        return done_count

    def decide(self, question: str, answer: bytes) -> bytes:
        with self._memory.lock:
            first, until = self._memory.decided.get(question, (answer, 0.0))
            if until > self._clock():
                return first
            self._memory.decided[question] = (answer, self._clock() + _DECIDED_S)
            return answer

    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        with self._memory.lock:
            decided: dict[str, bytes] = {}
            for job_id, end in ends.items():
                job = self._memory.jobs[job_id]
                if only_counted and (self._has_ended(job_id) or not job.counted):
                    continue
                decided[job_id] = job.end = job.end or end
            return decided

    def _begin(self, claim: Claim, lease_s: float) -> Admission:
        job, at = self._memory.jobs[claim.job_id], self.server_time()
        if self._has_ended(claim.job_id):
            return Admission(status="ended", attempts=0, at=at, counted=job.counted)
        lease = self._lease(claim.attempt, lease_s)
        return job.begin(claim, lease=lease, at=at, clocks=self._memory.clocks)

    def _lease(self, holder: str, lease_s: float) -> Lease:
        since_s = self._memory.clocks[self._queue].clock_s
        return Lease(holder=holder, since_s=since_s, lease_s=lease_s, queue=self._queue)

    def _asker(self) -> Asker:
        clocks, at = self._memory.clocks, self.server_time()
        return Asker(at=at, queue=self._queue, lease_s=self._lease_s, clocks=clocks)

    def _has_ended(self, job_id: str) -> bool:
        memory = self._memory
        return job_id in memory.ended and memory.ended_until[job_id] > self._clock()
