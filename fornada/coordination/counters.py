"""The counters of one open job, in memory."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
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


@dataclass
class JobCounters:
    """Attempts, leases and outcomes of a job's shards; times are seconds by the server's clock."""

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
    #: Process that cannot go on with the job → why, and until when that is noted.
    held_up_by: dict[str, str] = field(default_factory=dict)
    held_up_until_s: float = 0.0
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

    def holder(self, shard: int, now_s: float) -> str | None:
        """The attempt that holds the shard's lease."""
        attempt, until_s = self.leases.get(shard, (None, 0.0))
        return attempt if until_s > now_s else None

    def begin(self, claim: Claim, *, now_s: float, lease_s: float) -> Admission:
        """Count the attempt and take its lease, unless the shard is done or leased."""
        shard, at = claim.shard, datetime.fromtimestamp(now_s, UTC)
        status: Literal["begun", "done", "leased"] = "begun"
        if shard in self.done:
            status = "done"
        elif self.holder(shard, now_s) not in {None, claim.attempt}:
            status = "leased"
        if status != "begun":
            return Admission(status=status, attempts=0, at=at, counted=self.counted)
        if claim.attempt not in self.attempts[shard]:
            self.attempts[shard].append(claim.attempt)
            self.attempt_count += 1
            self.started_at = self.started_at or at
        self.leases[shard] = (claim.attempt, now_s + lease_s)
        self.enqueued.pop(shard, None)
        attempts = len(self.attempts[shard])
        return Admission(status="begun", attempts=attempts, at=at, counted=self.counted)

    def forget_attempt(self, claim: Claim) -> None:
        """Uncount an attempt."""
        if claim.attempt in self.attempts[claim.shard]:
            self.attempts[claim.shard].remove(claim.attempt)
            self.attempt_count -= 1

    def give_back(self, claim: Claim) -> None:
        """Uncount an attempt, and release its lease."""
        self.forget_attempt(claim)
        self.enqueued.pop(claim.shard, None)
        if self.leases.get(claim.shard, ("", 0.0))[0] == claim.attempt:
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

    def progress(self, now_s: float) -> Progress:
        """The job's progress."""
        return Progress(
            done=set(self.done),
            running={shard for shard in self.leases if self.holder(shard, now_s)},
            enqueued={shard: now_s - at_s for shard, at_s in self.enqueued.items()},
            dead=set(self.dead),
            item_errors=sum(self.item_errors.values()),
            attempts=self.attempt_count,
            started_at=self.started_at,
            counted=self.counted,
            held_up=self.held_up(now_s),
        )

    def lost(self, now_s: float, *, patience_s: float) -> list[int] | None:
        """A small job's lost shards; `None` if it is over, or not known to be small."""
        if self.shard_count is None or (self.deadline and now_s > self.deadline.timestamp()):
            return None
        left = [shard for shard in range(self.shard_count) if shard not in self.done]
        waits = {shard for shard, at_s in self.enqueued.items() if at_s >= now_s - patience_s}
        lost = [s for s in left if s not in waits and not self.holder(s, now_s)]
        return lost if left else None
