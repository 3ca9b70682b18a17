"""Which jobs are open, and how they end, in Redis or Valkey."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import redis

from fornada import keys
from fornada.coordination import scripts
from fornada.coordination.interface import SmallJob, Triage
from fornada.redis_client import translated

#: Counters of a job that nobody touches for so long are dropped.
FORGET_AFTER_MS = 30 * 24 * 3600 * 1000
#: Longer than any write to the store takes; from then on the store tells what was decided.
_DECIDED_MS = 5 * 60 * 1000
#: Messages that come later ask the store for the job's end. At 500 jobs/s it is 300,000 keys.
_ENDED_MS = 10 * 60 * 1000
#: Jobs in one call of a script, which holds up everybody else.
_JOBS_AT_A_TIME = 500


class RedisOpenJobs:
    """The part of `Coordination` that knows jobs as a whole."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client
        # Of several in one: redis-py types keys and arguments more narrowly than it takes them.
        self._open_new: Any = client.register_script(scripts.OPEN_NEW)
        self._admit: Any = client.register_script(scripts.ADMIT)
        self._triage: Any = client.register_script(scripts.TRIAGE)
        self._decide_ends: Any = client.register_script(scripts.DECIDE_ENDS)

    @translated
    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        """List new jobs among those that have not ended; whether the queue has room for them."""
        states = [keys.JobStateKeys(job.job_id) for job in jobs]
        names = [key for state in states for key in (state.job, state.enqueued)]
        facts = [(job.job_id, job.shard_count, _deadline_ms(job.deadline)) for job in jobs]
        room = self._admit(
            keys=[keys.REDIS_OPEN_JOBS, queue, *names],
            args=[window, FORGET_AFTER_MS, *itertools.chain.from_iterable(facts)],
        )
        return bool(room)

    @translated
    def open_job(self, job_id: str, *, new: bool = False) -> None:
        """List the job among those that have not ended, also if one of that id had ended."""
        ended = keys.JobStateKeys(job_id).ended
        if new:
            self._open_new(
                keys=[keys.REDIS_OPEN_JOBS, ended, *keys.JobStateKeys(job_id).counters],
                args=[job_id, _ENDED_MS, FORGET_AFTER_MS],
            )
            return
        with self._redis.pipeline() as pipe:
            pipe.sadd(keys.REDIS_OPEN_JOBS, job_id)
            pipe.delete(ended)
            pipe.execute()

    @translated
    def remember(self, job: SmallJob) -> None:
        """Tell again what was forgotten of a small job, but not that nothing was."""
        key = keys.JobStateKeys(job.job_id).job
        facts = {"shards": job.shard_count, "deadline_ms": _deadline_ms(job.deadline)}
        with self._redis.pipeline() as pipe:
            pipe.hset(key, mapping=facts)
            pipe.pexpire(key, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def open_jobs(self) -> set[str] | None:
        """Jobs that have not ended; `None` when the list was lost and must be rebuilt."""
        with self._redis.pipeline() as pipe:
            pipe.exists(keys.REDIS_OPEN_JOBS_COMPLETE)
            pipe.smembers(keys.REDIS_OPEN_JOBS)
            complete, job_ids = pipe.execute()
        return cast("set[str]", job_ids) if complete else None

    @translated
    def rebuild_open_jobs(self, job_ids: Iterable[str]) -> None:
        """Add what the store knows, and declare the list complete."""
        with self._redis.pipeline() as pipe:
            for job_id in job_ids:
                pipe.sadd(keys.REDIS_OPEN_JOBS, job_id)
            pipe.set(keys.REDIS_OPEN_JOBS_COMPLETE, "1")
            pipe.execute()

    @translated
    def drop_job(self, job_id: str) -> None:
        """Take the job from that list; it was never submitted."""
        self._redis.srem(keys.REDIS_OPEN_JOBS, job_id)

    @translated
    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        """Which of the jobs there is something to be done about."""
        lost: dict[str, Sequence[int]] = {}
        unclear: set[str] = set()
        for start in range(0, len(job_ids), _JOBS_AT_A_TIME):
            some = job_ids[start : start + _JOBS_AT_A_TIME]
            jobs = [keys.JobStateKeys(job_id) for job_id in some]
            named = [(job.job, job.done, job.leases, job.enqueued) for job in jobs]
            found = self._triage(
                keys=[*itertools.chain.from_iterable(named)],
                args=[round(patience_s * 1000)],
            )
            lost |= {some[place]: shards for place, shards in found if shards}
            unclear.update(some[place] for place, shards in found if not shards)
        return Triage(lost=lost, unclear=unclear)

    @translated
    def decide(self, question: str, answer: bytes) -> bytes:
        """Of all answers that were proposed within the last minutes, the first."""
        key = keys.redis_decision(question)
        first: str | None = self._redis.set(key, answer, nx=True, get=True, px=_DECIDED_MS)
        return answer if first is None else first.encode()

    @translated
    def decide_end(self, job_id: str, end: bytes) -> bytes:
        """Of all ends that were proposed for the job while it was open, the first."""
        key = keys.JobStateKeys(job_id).end
        first: str | None = self._redis.set(key, end, nx=True, get=True, px=FORGET_AFTER_MS)
        return end if first is None else first.encode()

    @translated
    def decide_ends(self, ends: Mapping[str, bytes]) -> dict[str, bytes]:
        """As `decide_end`, of several jobs, and only of those that are open and counted."""
        jobs = [keys.JobStateKeys(job_id) for job_id in ends]
        named = [(job.job, job.ended, job.end) for job in jobs]
        decided: list[str] = self._decide_ends(
            keys=[*itertools.chain.from_iterable(named)],
            args=[FORGET_AFTER_MS, *ends.values()],
        )
        return {
            job_id: end.encode() for job_id, end in zip(ends, decided, strict=True) if end != ""
        }

    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""
        self.end_jobs({job_id: state})

    @translated
    def end_jobs(self, states: Mapping[str, str]) -> None:
        """As `end_job`, of several."""
        if not states:
            return
        with self._redis.pipeline() as pipe:
            for job_id, state in states.items():
                pipe.set(keys.JobStateKeys(job_id).ended, state, px=_ENDED_MS)
            pipe.srem(keys.REDIS_OPEN_JOBS, *states)
            pipe.delete(*(key for job_id in states for key in keys.JobStateKeys(job_id).counters))
            pipe.execute()


def _deadline_ms(deadline: datetime | None) -> str:
    return "" if deadline is None else str(round(deadline.timestamp() * 1000))
