"""The counters of one open job, in memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from fornada.coordination.interface import (
    HELD_UP_S,
    MOST_HELD_UP,
    MOST_WHY_CHARACTERS,
    Admission,
    Claim,
    Progress,
    ShardEnd,
)


@dataclass(frozen=True, kw_only=True)
class QueueClock:
    """The clock of a queue, in seconds, and when it was last moved by the server's clock."""

    queue: str
    clock_s: float = 0.0
    moved_at: float | None = None

    def is_led(self, at: datetime, *, within_s: float) -> bool:
        """Whether somebody moves it; the server's clock may have been set back since."""
        return self.moved_at is None or abs(at.timestamp() - self.moved_at) < within_s


class QueueClocks(dict[str, QueueClock]):
    """The clocks of queues, which begin at zero."""

    def __missing__(self, queue: str) -> QueueClock:
        return QueueClock(queue=queue)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """An attempt's claim on a shard, or a process's on the end of a job."""

    holder: str
    #: By the clock of its queue.
    since_s: float
    lease_s: float
    queue: str
    #: The attempt ended without an outcome, and its shard rests.
    is_over: bool = False

    def holds(self, clocks: Mapping[str, QueueClock], *, most_s: float) -> bool:
        """Whether it has not run out; `most_s` is the asker's own lease."""
        # One from the future is of a clock that was lost.
        age_s = clocks[self.queue].clock_s - self.since_s
        return 0 <= age_s < min(self.lease_s, most_s)


def holder_of(
    lease: Lease | None, clocks: Mapping[str, QueueClock], *, most_s: float
) -> str | None:
    """Who holds the lease; `most_s` is the asker's own."""
    return lease.holder if lease is not None and lease.holds(clocks, most_s=most_s) else None


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Who looks at a job, and when."""

    at: datetime
    queue: str
    #: For how long a lease is taken to hold, at most.
    lease_s: float
    clocks: Mapping[str, QueueClock]

    @property
    def clock_s(self) -> float:
        """Now, by the clock of the queue."""
        return self.clocks[self.queue].clock_s


@dataclass
class JobCounters:
    """Attempts, leases and outcomes of a job's shards."""

    counted_at: float | None = None
    attempt_count: int = 0
    started_at: datetime | None = None
    attempts: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[int, str] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    enqueued: dict[int, float] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    item_errors: dict[int, int] = field(default_factory=dict)
    end: bytes | None = None
    #: Process that cannot go on with the job → why, and until when that is noted.
    held_up_by: dict[str, str] = field(default_factory=dict)
    held_up_until_s: float = 0.0
    shard_count: int | None = None
    deadline: datetime | None = None
    #: Of a small job.
    queue: str | None = None
    #: What submitted it.
    traceparent: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything was recorded of the job."""
        return self.counted or self.started_at is not None or self.shard_count is not None

    @property
    def counted(self) -> bool:
        """Whether nothing was lost since submission."""
        return self.counted_at is not None

    def begin(
        self, claim: Claim, *, lease: Lease, at: datetime, clocks: Mapping[str, QueueClock]
    ) -> Admission:
        """Count the attempt and take its lease, unless the shard is done or leased."""
        shard = claim.shard
        status: Literal["begun", "done", "leased"] = "begun"
        if shard in self.done:
            status = "done"
        elif self._holder(shard, clocks, lease) not in {None, claim.attempt}:
            status = "leased"
        if status == "leased":
            # Its message is gone too: the shard is lost as soon as that lease runs out.
            self.enqueued.pop(shard, None)
        if status != "begun":
            return Admission(status=status, attempts=0, at=at, counted=self.counted)
        if claim.attempt not in self.attempts[shard]:
            self.attempts[shard].append(claim.attempt)
            self.attempt_count += 1
            self.started_at = self.started_at or at
        self.leases[shard] = lease
        self.enqueued.pop(shard, None)
        attempts = len(self.attempts[shard])
        return Admission(status="begun", attempts=attempts, at=at, counted=self.counted)

    def renew(self, shard: int, lease: Lease, clocks: Mapping[str, QueueClock]) -> None:
        """Extend the lease, or take it again, unless another attempt holds it or this one ended."""
        held = self.leases.get(shard)
        holder = self._holder(shard, clocks, lease)
        if holder is None or (holder == lease.holder and held is not None and not held.is_over):
            self.leases[shard] = lease

    def _holder(self, shard: int, clocks: Mapping[str, QueueClock], own: Lease) -> str | None:
        return holder_of(self.leases.get(shard), clocks, most_s=own.lease_s)

    def end_attempt(self, claim: Claim) -> None:
        """Let the shard rest until the attempt's lease runs out."""
        held = self.leases.get(claim.shard)
        if held is not None and held.holder == claim.attempt:
            self.leases[claim.shard] = replace(held, is_over=True)

    def forget_attempt(self, claim: Claim) -> None:
        """Uncount an attempt."""
        if claim.attempt in self.attempts[claim.shard]:
            self.attempts[claim.shard].remove(claim.attempt)
            self.attempt_count -= 1

    def give_back(self, claim: Claim) -> None:
        """Uncount an attempt, and release its lease."""
        self.forget_attempt(claim)
        self.enqueued.pop(claim.shard, None)
        held = self.leases.get(claim.shard)
        if held is not None and held.holder == claim.attempt:
            del self.leases[claim.shard]

    def hold_up(self, process: str, why: str, *, now_s: float) -> None:
        """Note why a process cannot go on with the job."""
        self.held_up_by = self.held_up(now_s)
        if process in self.held_up_by or len(self.held_up_by) < MOST_HELD_UP:
            self.held_up_by[process] = why[:MOST_WHY_CHARACTERS]
        self.held_up_until_s = now_s + HELD_UP_S

    def held_up(self, now_s: float) -> dict[str, str]:
        """Process that could not go on with the job of late → why."""
        return dict(self.held_up_by) if now_s < self.held_up_until_s else {}

    def mark_done(self, ends: Sequence[ShardEnd]) -> int:
        """Count committed outcomes; return how many shards have one."""
        for end in ends:
            self.done.add(end.shard)
            for known in (self.attempts, self.errors, self.leases, self.enqueued):
                known.pop(end.shard, None)
            if end.dead:
                self.dead.add(end.shard)
            elif end.item_errors:
                self.item_errors[end.shard] = end.item_errors
        return len(self.done)

    def progress(self, asker: Asker) -> Progress:
        """The job's progress."""
        held = self._held(asker)
        running = {
            shard
            for shard, lease in held.items()
            if not lease.is_over
            and asker.clocks[lease.queue].is_led(
                asker.at, within_s=min(lease.lease_s, asker.lease_s)
            )
        }
        return Progress(
            done=set(self.done),
            leased=held.keys(),
            running=running,
            enqueued={shard: asker.clock_s - at_s for shard, at_s in self.enqueued.items()},
            dead=set(self.dead),
            item_errors=sum(self.item_errors.values()),
            attempts=self.attempt_count,
            started_at=self.started_at,
            counted=self.counted,
            at=asker.at,
            held_up=self.held_up(asker.at.timestamp()),
        )

    def lost(self, asker: Asker, *, patience_s: float) -> list[int] | None:
        """A small job's lost shards; `None` if it is over, or not known to be small."""
        if self.shard_count is None or (self.deadline and asker.at > self.deadline):
            return None
        left = [shard for shard in range(self.shard_count) if shard not in self.done]
        clock_s = asker.clock_s
        # By another clock: it waits from now on.
        self.enqueued = {shard: min(at_s, clock_s) for shard, at_s in self.enqueued.items()}
        waits = {shard for shard, at_s in self.enqueued.items() if at_s >= clock_s - patience_s}
        lost = [shard for shard in left if shard not in waits | self._held(asker).keys()]
        return lost if left else None

    def seen(self, shards: Iterable[int]) -> list[int]:
        """Those of the shards that were begun or enqueued once."""
        return [shard for shard in shards if shard in self.leases or shard in self.enqueued]

    def _held(self, asker: Asker) -> dict[int, Lease]:
        return {
            shard: lease
            for shard, lease in self.leases.items()
            if lease.holds(asker.clocks, most_s=asker.lease_s)
        }
