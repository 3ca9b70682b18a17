"""Shared state of running jobs: what is open, begun, enqueued and done. All of it may be lost."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from fornada.coordination.job_index.interface import JobIndex
from fornada.coordination.notices.interface import Notices
from fornada.coordination.trace_links.interface import TraceLinks
from fornada.coordination.worker_board.interface import WorkerBoard

#: Jobs that are kept by time of submission; older ones are found in the store.
NEWEST_JOBS = 10_000
#: Jobs that are listed as unreadable.
MOST_UNREADABLE = 1000
#: Processes of which a job notes why they cannot go on with it, and for how long it does.
MOST_HELD_UP = 16
HELD_UP_S = 600.0
MOST_WHY_CHARACTERS = 500


#: What one process at a time does with a job: sum up its outcomes, tell its webhook.
JobTask = Literal["end", "webhook"]


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt at a shard, under an id of its own."""

    job_id: str
    shard: int
    attempt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Whether an attempt may begin.

    `begun`: yes, as attempt number `attempts`. `ended`: the job is over. `done`: the shard has an
    outcome. `leased`: another attempt holds it.
    """

    status: Literal["begun", "ended", "done", "leased"]
    attempts: int
    #: The server's clock.
    at: datetime
    #: Nothing was lost since submission, so every other attempt is counted.
    counted: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is certainly the shard's first attempt."""
        return self.status == "begun" and self.attempts == 1 and self.counted


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """The committed outcome of a shard, as counted in a job's progress."""

    shard: int
    dead: bool = False
    item_errors: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of the reconciler that leads a queue."""

    holder: str
    #: Raised with every beat, whoever leads.
    number: int
    #: The leader's own `lease_s`; `None` if it says none.
    lease_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallJob:
    """The facts of a small job that decide whether it needs attention."""

    job_id: str
    shard_count: int
    deadline: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Triage:
    """Jobs that need attention."""

    #: Small job → its shards that are neither done, leased nor enqueued.
    lost: Mapping[str, Sequence[int]]
    #: Small job → those of them that were begun or enqueued once, and did not only wait for room.
    seen: Mapping[str, Sequence[int]] = field(default_factory=dict, compare=False)
    #: Jobs that are over, or that Redis knows too little about.
    unclear: AbstractSet[str]
    #: Jobs of other queues, as far as Redis knows.
    others: AbstractSet[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A snapshot of a job's progress; a shard that is not done, leased or enqueued is lost."""

    #: Shards that have an outcome.
    done: AbstractSet[int]
    #: Shards that no other attempt may begin.
    leased: AbstractSet[int] = frozenset()
    #: Those of them that are being computed, in a queue whose workers live.
    running: AbstractSet[int] = frozenset()
    #: Shards enqueued and not begun → seconds since then by the queue's clock; negative by another.
    enqueued: Mapping[int, float] = field(default_factory=dict)
    #: Shards whose outcome is dead.
    dead: AbstractSet[int] = frozenset()
    #: Failed items in shards that are not dead.
    item_errors: int = 0
    #: Attempts begun, without those taken back.
    attempts: int = 0
    #: When the first attempt began.
    started_at: datetime | None = None
    #: Nothing was lost since submission.
    counted: bool = False
    #: When, by the server's clock.
    at: datetime | None = field(default=None, compare=False)
    #: Process that could not go on with the job of late → why.
    held_up: Mapping[str, str] = field(default_factory=dict)

    def unfinished(self, shard_count: int, *, reserved: AbstractSet[int]) -> dict[str, set[int]]:
        """The shards without an outcome, each once, by where they are.

        Args:
            shard_count: Of the job.
            reserved: Shards whose messages workers have taken, begun or not.

        Returns:
            `waiting`: not enqueued, or their message was lost. `queued`. `reserved`: taken by a
            worker and not begun. `running`.
        """
        left = set(range(shard_count)) - self.done
        running = left & self.running
        held = left & reserved - running
        queued = left & self.enqueued.keys() - held
        waiting = left - running - held - queued
        return {"waiting": waiting, "queued": queued, "reserved": held, "running": running}


class OpenJobs(Protocol):
    """Jobs that have not ended. Producers and the reconciler ask."""

    def server_time(self) -> datetime:
        """Now, by the clock that all deadlines use."""

    def queue_length(self, queue: str) -> int:
        """Messages waiting in the queue."""

    def stamped(self) -> bytes | None:
        """Whose jobs these are, if that is known."""

    def stamp(self, bucket_id: bytes, *, replace: bool = False) -> bytes:
        """Note whose jobs these are, if nobody did or to `replace` it; return what is noted."""

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        """List the job as open, even if a job of that id has ended.

        Args:
            job_id: The job.
            new: No job of this id was found a moment ago, so its counters start from zero and
                are complete. If another producer listed it in the last minutes, its counters
                stay. If one of this id ended in the last minutes, they may be incomplete.
        """

    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        """List new jobs as open, in one step.

        Returns:
            Whether the queue holds fewer than `window` messages. If so, all shards of the jobs
            are marked as enqueued, and the caller enqueues them.
        """

    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> bool:
        """Note that shards are about to be enqueued; lists the job as open.

        Returns:
            Whether it is; of one that has ended nothing is noted.
        """

    def progress(self, job_id: str) -> Progress:
        """The job's progress."""

    def open_jobs(self) -> set[str] | None:
        """Ids of open jobs; `None` when the list was lost and not rebuilt yet."""

    def newest_jobs(self, count: int, *, skip: int = 0) -> list[str]:
        """Ids of the newest jobs, newest first, after the first `skip`; a few may not exist.

        Returns:
            Fewer than `count`, even none, when Redis has forgotten or never kept the rest.
        """

    def held_up(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Jobs with which a process could not go on of late → process → why."""

    def unreadable_jobs(self) -> dict[str, str]:
        """Jobs that cannot be read → why."""

    def drop_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove jobs that do not exist."""

    def end_jobs(self, states: Mapping[str, str]) -> None:
        """Forget the jobs' counters, drop messages of theirs that are queued, and tell listeners.

        Args:
            states: Job → the state it ended in.
        """

    def hold_job_lease(self, to: JobTask, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` alone may do this with the job for the next `lease_s`."""


class Recovery(OpenJobs, TraceLinks, Protocol):
    """How the reconciler of one queue finds lost work, and restores what was forgotten."""

    def beat(self, holder: str, *, after: Beat | None, step_s: float) -> Beat:
        """Lead the queue, if its last beat is still `after`.

        Args:
            holder: Who leads from now on.
            after: The last beat that the caller knows; `None` if there was none.
            step_s: By how much to move the queue's clock, which leases and waits go by.

        Returns:
            The last beat: the caller's own, or another that came since.
        """

    def hold_up(self, job_id: str, process: str, why: str) -> None:
        """Note why this process cannot go on with the job."""

    def quarantine_job(self, job_id: str, why: str) -> bool:
        """List a job as unreadable, and as open no more; return whether it was not before."""

    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        """Return jobs that need attention, with their lost shards, and those of other queues.

        A registered small job before its deadline needs none while each shard that is not done
        is leased, or was enqueued within `patience_s`.
        """

    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Mark shards as done that have an outcome in the store."""

    def forget_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Unmark shards that are marked as done and have no outcome in the store."""

    def restore_small_job(self, job: SmallJob) -> None:
        """Restore the facts of a small job; its counters remain incomplete."""

    def forget_small_job(self, job_id: str) -> None:
        """Forget the facts of a small job, of one that is none."""

    def rebuild_open_jobs(
        self, job_ids: Iterable[str], *, newest: Mapping[str, datetime] | None = None
    ) -> None:
        """Add what the store knows, and declare the lists of open and of newest jobs complete.

        Args:
            job_ids: Open jobs.
            newest: The newest jobs, open or not → when they were submitted.
        """


class Leases(Protocol):
    """Attempts at shards, each under a lease. Workers ask.

    A lease ends when its queue's clock has moved by `lease_s` since it was last renewed. That clock
    is moved by whoever leads the queue, so no clock of a server or a worker can end it early.

    Anyone may have written a lease for longer. Whoever asks takes it to hold for as long as one of
    its own, so a queue's workers have the same `lease_s`.
    """

    def begin(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        """Count the attempts and take their leases, before input or model is read."""

    def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        """Extend leases, and take again those that were lost."""

    def forget_attempt(self, claim: Claim) -> None:
        """Uncount an attempt that failed for no fault of the shard, which rests under its lease."""

    def give_back(self, claims: Sequence[Claim], *, process: str, why: str) -> None:
        """Leave shards to other processes: uncount the attempts, and release their leases.

        Args:
            claims: The attempts; they need not have begun.
            process: The process that cannot go on with the jobs.
            why: What keeps it from that, for the operator.
        """

    def note_failure(self, claim: Claim, error: str) -> None:
        """Remember why an attempt ended without an outcome; its shard rests under its lease."""

    def last_error(self, job_id: str, shard: int) -> str | None:
        """The error last noted for the shard."""

    def mark_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        """Count committed outcomes; return how many shards of the job have one."""


class Decisions(Protocol):
    """The first of several answers, where the store ignores conditional writes."""

    def decide(self, question: str, answer: bytes) -> bytes:
        """The first answer proposed within the last minutes."""

    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        """The first end proposed for each job while it was open.

        Args:
            ends: Job → the end proposed.
            only_counted: Leave out jobs that have ended, or whose counters are incomplete.
        """


class FollowedJobs(OpenJobs, Notices, Protocol):
    """Jobs that have not ended, and notices of them. Whoever waits for one asks."""


class Coordination(Recovery, Leases, Decisions, JobIndex, Notices, WorkerBoard, Protocol):
    """The whole interface, for the code that assembles a process."""
