"""Jobs that no process can go on with: few messages, ever more rarely, until one can."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fornada.coordination.interface import Recovery
from fornada.errors import FornadaError, MessageError
from fornada.events import Events, JobHeldUp, JobUnreadable
from fornada.logs import shown
from fornada.repeated import Repeated

#: Rounds between two tries at a job; double up to this many.
_LONGEST_WAIT_ROUNDS = 64
#: Of the shards that were taken and not given back, how many times as many are enqueued next.
_GROWTH = 4


@dataclass(kw_only=True, slots=True)
class _Pace:
    """What was tried of a job, and when it is tried again."""

    sent: AbstractSet[int] = field(default_factory=frozenset)
    wait_rounds: int = 1
    due_round: int = 0

    def wait(self, round_number: int) -> None:
        """Try again later, and after twice as long the next time."""
        self.due_round = round_number + self.wait_rounds
        self.wait_rounds = min(2 * self.wait_rounds, _LONGEST_WAIT_ROUNDS)


class HeldUpJobs:
    """Paces jobs that workers give back, or that the store keeps the reconciler from.

    Workers that cannot load a model give its shards back at once. Enqueued as usual, they would go
    round and round, and be taken from those that can.
    """

    def __init__(self, *, recovery: Recovery, process: str, events: Events) -> None:
        """Pace jobs.

        Args:
            recovery: Redis, which knows who gave what back.
            process: The reconciler's own name.
            events: Hears of jobs that are held up.
        """
        self._recovery = recovery
        self._process = process
        self._events = events
        self._repeated = Repeated()
        self._round = 0
        self._given_back: dict[str, _Pace] = {}
        self._left: dict[str, _Pace] = {}

    def begin_round(self, open_jobs: AbstractSet[str]) -> None:
        """Begin a round, in which these jobs are open."""
        self._round += 1
        for known in (self._given_back, self._left):
            for job_id in known.keys() - open_jobs:
                del known[job_id]

    def paced(self, lost: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        """Of these lost shards, by job, those to enqueue now.

        Of a job that was given back: one at first, and more as long as some are taken.
        """
        paced = {job_id: list(shards) for job_id, shards in lost.items() if shards}
        held_up = self._recovery.held_up(sorted(paced)) if paced else {}
        for job_id, why in held_up.items():
            paced[job_id] = self._next(job_id, sorted(paced[job_id]), why)
        return paced

    def _next(self, job_id: str, lost: list[int], why: Mapping[str, str]) -> list[int]:
        pace = self._given_back.setdefault(job_id, _Pace())
        taken = pace.sent - set(lost)
        if taken:
            pace.wait_rounds = 1
            count = _GROWTH * len(taken)
        elif self._round < pace.due_round:
            return []
        else:
            if pace.sent:
                self._tell(job_id, why)
            pace.wait(self._round)
            count = 1
        pace.sent = frozenset(lost[:count])
        return lost[:count]

    def may_look(self, job_id: str) -> bool:
        """Whether it is time to look at a job again that was left."""
        pace = self._left.get(job_id)
        return pace is None or self._round >= pace.due_round

    def leave(self, job_id: str, exc: Exception) -> None:
        """Leave a job that cannot be reconciled, and look at it again later and later.

        Raises:
            FornadaError: `exc`, if Redis or the store fails for now, and for all jobs.
        """
        if isinstance(exc, FornadaError) and exc.fault == "transient":
            raise exc
        if isinstance(exc, MessageError):
            # The bytes do not change. The next census looks again.
            if self._recovery.quarantine_job(job_id, str(exc)):
                self._events.tell(JobUnreadable(job_id=job_id, why=str(exc)))
            return
        self._left.setdefault(job_id, _Pace()).wait(self._round)
        why = str(exc) if isinstance(exc, FornadaError) else shown(exc)
        self._tell(job_id, {self._process: why})
        public = exc.public_text if isinstance(exc, FornadaError) else why
        self._recovery.hold_up(job_id, self._process, public)

    def _tell(self, job_id: str, why: Mapping[str, str]) -> None:
        more_count = self._repeated.meet(job_id)
        if more_count is not None:
            reasons = sorted(set(why.values()))
            self._events.tell(
                JobHeldUp(
                    job_id=job_id,
                    processes=", ".join(sorted(why)),
                    why="; ".join(reasons),
                    more_times_since=more_count or None,
                )
            )
