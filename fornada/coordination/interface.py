"""What is shared while jobs run: attempts, leases, what is enqueued, what is done. May be lost."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Whether work on a shard may begin.

    `ended`: the job is over. `done`: the shard has an outcome. `leased`: another attempt is at
    work. `begun`: go on; this is attempt number `attempts`.
    """

    status: Literal["begun", "ended", "done", "leased"]
    attempts: int
    #: The server's clock.
    at: datetime
    #: Whether nothing was forgotten since the job was submitted: other attempts are counted.
    counted: bool = False

    @property
    def is_first(self) -> bool:
        """Whether there was no attempt at the shard before this one."""
        return self.status == "begun" and self.attempts == 1 and self.counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An attempt that asks whether it may begin."""

    job_id: str
    shard: int
    attempt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallJob:
    """What Redis is told of a small job."""

    job_id: str
    shard_count: int
    deadline: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEnd:
    """A shard of a job that has an outcome, and which."""

    shard: int
    dead: bool = False
    item_errors: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Triage:
    """Jobs that something is to be done about."""

    #: Small job -> its shards that are neither done, nor at work, nor in the queue.
    lost: Mapping[str, Sequence[int]]
    #: Those that are over, and those that more must be asked of.
    unclear: AbstractSet[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job is, all of one moment; a shard in none of the three sets is on no way."""

    #: Shards that have an outcome.
    done: AbstractSet[int]
    #: Shards under lease.
    running: AbstractSet[int] = frozenset()
    #: Shards enqueued and not begun → for how many seconds.
    enqueued: Mapping[int, float] = field(default_factory=dict)
    #: Shards that are dead.
    dead: AbstractSet[int] = frozenset()
    #: Failed items in shards that are not dead.
    item_errors: int = 0
    #: How many times a shard was begun, save those that were given back.
    attempts: int = 0
    #: When the first shard was begun.
    started_at: datetime | None = None
    #: Whether nothing was forgotten since the job was submitted.
    counted: bool = False


class Coordination(Protocol):
    """Shared counters and leases. Losing them loses no result; some work may repeat."""

    def server_time(self) -> datetime:
        """Now, by the one clock that deadlines are measured with."""

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        """List the job among those that have not ended, also if one of that id had ended.

        Args:
            job_id: The job.
            new: It did not exist a moment ago: counters of an earlier job of that id are
                forgotten, and what is counted from here on is all there is. Nothing is, where
                another producer has listed it in the last minutes; and where one of that id ended
                in these, it may be this one, and what is counted may not be all.
        """

    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        """List jobs of ids that are new among those that have not ended, in one step.

        Returns:
            Whether the queue has fewer than `window` messages; then all shards of the jobs are
            noted as enqueued, and whoever calls enqueues them.
        """

    def remember(self, job: SmallJob) -> None:
        """Tell again what was forgotten of a small job, but not that nothing was."""

    def open_jobs(self) -> set[str] | None:
        """Jobs that have not ended; `None` when the list was lost and must be rebuilt."""

    def rebuild_open_jobs(self, job_ids: Iterable[str]) -> None:
        """Add what the store knows, and declare the list complete."""

    def drop_job(self, job_id: str) -> None:
        """Take the job from that list; it was never submitted."""

    def decide(self, question: str, answer: bytes) -> bytes:
        """Of all answers that were proposed within the last minutes, the first."""

    def decide_end(self, job_id: str, end: bytes) -> bytes:
        """Of all ends that were proposed for the job while it was open, the first."""

    def decide_ends(self, ends: Mapping[str, bytes]) -> dict[str, bytes]:
        """As `decide_end`, of several jobs, and only of those that are open and counted."""

    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""

    def end_jobs(self, states: Mapping[str, str]) -> None:
        """As `end_job`, of several."""

    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Admission:
        """Count the attempt and take the lease, before input or model is touched."""

    def begin_all(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        """As `begin`, of several shards in one step."""

    def renew(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> None:
        """Show life; also brings back a lease that was lost with Redis."""

    def note_failure(self, job_id: str, shard: int, error: str) -> None:
        """Remember why an attempt ended without an outcome."""

    def forget_attempt(self, job_id: str, shard: int, attempt: str) -> None:
        """Do not count an attempt that failed through nobody's fault."""

    def last_error(self, job_id: str, shard: int) -> str | None:
        """What `note_failure` was last told of the shard."""

    def mark_done(
        self, job_id: str, shard: int, *, dead: bool = False, item_errors: int = 0
    ) -> int:
        """Note that the shard has an outcome, and which; return how many of the job have one."""

    def mark_all_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        """As `mark_done`, of several shards of a job in one step."""

    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Note what the store says has an outcome, where that was forgotten."""

    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> None:
        """Note that messages for the shards are about to be enqueued; the job is open, then."""

    def progress(self, job_id: str) -> Progress:
        """How far the job is."""

    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        """Which of the jobs there is something to be done about.

        Not about a small one that came by `admit`, is not past its deadline, and has a shard that
        is not done, if each such shard is at work, or was enqueued within `patience_s`.
        """

    def queue_length(self, queue: str) -> int:
        """Messages that wait in the queue."""

    def hold_reconciler_lease(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""

    def hold_end_lease(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one who adds up the job's outcomes, for the next `lease_s`."""
