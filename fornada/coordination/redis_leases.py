"""`Leases` in Redis or Valkey: attempts at shards."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from fornada.coordination.interface import (
    HELD_UP_S,
    MOST_HELD_UP,
    MOST_WHY_CHARACTERS,
    Admission,
    Claim,
    ShardEnd,
)
from fornada.coordination.scripts import FORGET_AFTER_MS, flat, script
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.client import translated


class RedisLeases:
    """`Leases` in Redis or Valkey; every write may be repeated."""

    def __init__(self, *, client: "redis.Redis", queue: str) -> None:
        self._redis: Any = client
        self._queue = queue
        self._begin = script(client, "begin")
        self._renew = script(client, "renew")
        self._forget_attempt = script(client, "forget_attempt")
        self._end_attempt = script(client, "end_attempt")
        self._give_back = script(client, "give_back")
        self._mark_done = script(client, "mark_done")

    @translated
    def begin(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        jobs = [redis_keys.JobStateKeys(claim.job_id) for claim in claims]
        at_ms, *told = self._begin(
            keys=flat((j.job, j.attempts, j.leases, j.done, j.ended, j.enqueued) for j in jobs),
            args=[
                self._queue,
                round(lease_s * 1000),
                FORGET_AFTER_MS,
                *flat((c.shard, c.attempt) for c in claims),
            ],
        )
        at = datetime.fromtimestamp(at_ms / 1e3, UTC)
        return [
            Admission(status=status, attempts=attempts, at=at, counted=bool(counted))
            for status, attempts, counted in zip(told[::3], told[1::3], told[2::3], strict=True)
        ]

    @translated
    def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        self._renew(
            keys=[redis_keys.JobStateKeys(claim.job_id).leases for claim in claims],
            args=[
                self._queue,
                round(lease_s * 1000),
                *flat((c.shard, c.attempt) for c in claims),
            ],
        )

    @translated
    def forget_attempt(self, claim: Claim) -> None:
        job = redis_keys.JobStateKeys(claim.job_id)
        self._forget_attempt(keys=[job.job, job.attempts], args=[claim.shard, claim.attempt])
        self._end_attempt(keys=[job.leases], args=[claim.shard, claim.attempt])

    @translated
    def give_back(self, claims: Sequence[Claim], *, process: str, why: str) -> None:
        jobs = [redis_keys.JobStateKeys(claim.job_id) for claim in claims]
        self._give_back(
            keys=flat((j.job, j.attempts, j.leases, j.enqueued, j.held_up) for j in jobs),
            args=[
                process,
                why[:MOST_WHY_CHARACTERS],
                round(HELD_UP_S * 1000),
                MOST_HELD_UP,
                *flat((c.shard, c.attempt) for c in claims),
            ],
        )

    @translated
    def note_failure(self, claim: Claim, error: str) -> None:
        job = redis_keys.JobStateKeys(claim.job_id)
        with self._redis.pipeline() as pipe:
            pipe.hset(job.errors, str(claim.shard), error[:500])
            pipe.pexpire(job.errors, FORGET_AFTER_MS)
            pipe.execute()
        self._end_attempt(keys=[job.leases], args=[claim.shard, claim.attempt])

    @translated
    def last_error(self, job_id: str, shard: int) -> str | None:
        error: str | None = self._redis.hget(redis_keys.JobStateKeys(job_id).errors, str(shard))
        return error

    @translated
    def mark_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        job = redis_keys.JobStateKeys(job_id)
        found = ((end.shard, "dead" if end.dead else str(end.item_errors)) for end in ends)
        done_count: int = self._mark_done(
            keys=[
                job.done,
                job.failed,
                job.enqueued,
                job.attempts,
                job.errors,
                job.leases,
                job.job,
            ],
            args=[FORGET_AFTER_MS, *flat(found)],
        )
        return done_count
