"""`TraceLinks` in Redis or Valkey."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis

from fornada.coordination.scripts import FORGET_AFTER_MS
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.client import translated
from fornada.tracing.traceparent import HEADER, checked_traceparent


class RedisTraceLinks:
    """`TraceLinks` in the jobs' hashes, which are dropped with the jobs' ends."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client

    @translated
    def note_trace(self, job_ids: Iterable[str], traceparent: str) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                job = redis_keys.JobStateKeys(job_id).job
                pipe.hset(job, HEADER, traceparent)
                pipe.pexpire(job, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def traces_of(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(redis_keys.JobStateKeys(job_id).job, HEADER)
            found = zip(job_ids, map(checked_traceparent, pipe.execute()), strict=True)
        # Anyone may have put something else there.
        return {job_id: traceparent for job_id, traceparent in found if traceparent}
