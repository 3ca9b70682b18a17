"""`JobIndex` in Redis or Valkey."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import redis

from fornada.coordination.interface import NEWEST_JOBS
from fornada.coordination.job_index.interface import Position
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.client import translated


class RedisJobIndex:
    """`JobIndex` in Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client

    @translated
    def note_owned(self, owner: str, submitted: Mapping[str, datetime]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            self._note(pipe, owner, submitted)
            pipe.execute()

    @translated
    def knows_owners(self) -> bool:
        return bool(self._redis.exists(redis_keys.OWNERS_COMPLETE))

    @translated
    def restore_owned(self, owned: Mapping[str, Mapping[str, datetime]]) -> None:
        with self._redis.pipeline() as pipe:
            for owner, submitted in owned.items():
                self._note(pipe, owner, submitted)
            pipe.set(redis_keys.OWNERS_COMPLETE, "1")
            pipe.execute()

    @translated
    def jobs_before(
        self, before: Position | None, *, owner: str | None, count: int
    ) -> list[Position] | None:
        complete = redis_keys.OPEN_JOBS_COMPLETE if owner is None else redis_keys.OWNERS_COMPLETE
        if not self._redis.exists(complete):
            return None
        key = redis_keys.NEWEST_JOBS if owner is None else redis_keys.owned_jobs(owner)
        newest: float | str = "+inf" if before is None else before.at_ms
        found: list[Position] = []
        skip = 0
        while len(found) < count:
            page = self._redis.zrevrangebyscore(
                key, newest, "-inf", start=skip, num=count, withscores=True
            )
            skip += len(page)
            each = (Position(int(at_ms), job_id) for job_id, at_ms in page)
            # Several may have been submitted in the same millisecond.
            found += [position for position in each if before is None or position < before]
            if len(page) < count:
                break
        return found[:count]

    @translated
    def forget_owned(self, owner: str, job_id: str) -> None:
        self._redis.zrem(redis_keys.owned_jobs(owner), job_id)

    def _note(self, pipe: Any, owner: str, submitted: Mapping[str, datetime]) -> None:
        key = redis_keys.owned_jobs(owner)
        places = (Position.of(job_id, at) for job_id, at in submitted.items())
        pipe.zadd(key, {place.job_id: place.at_ms for place in places}, nx=True)
        pipe.zremrangebyrank(key, 0, -NEWEST_JOBS - 1)
