"""`WorkerBoard` in Redis or Valkey."""

from collections.abc import Sequence
from typing import Any

import redis

from fornada.coordination.worker_board.interface import GONE_AFTER_S, WorkerReport
from fornada.errors import MessageError
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.client import milliseconds, translated

_MOST_WORKERS = 10_000


class RedisWorkerBoard:
    """`WorkerBoard` in Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client

    @translated
    def report(self, report: WorkerReport) -> None:
        # Alone with the time of the server, whose clock all readers share.
        at_ms = milliseconds(self._redis.time())
        self._redis.hset(redis_keys.WORKERS, report.name, f"{at_ms} {report.to_json().decode()}")

    @translated
    def workers(self) -> Sequence[WorkerReport]:
        with self._redis.pipeline() as pipe:
            pipe.time()
            pipe.hgetall(redis_keys.WORKERS)
            time, found = pipe.execute()
        now_ms, gone = milliseconds(time), []
        reports: list[WorkerReport] = []
        for name, said in list(found.items())[:_MOST_WORKERS]:
            report = _recent(said, now_ms)
            if report is None:
                gone.append(name)
            else:
                reports.append(report)
        if gone:
            self._redis.hdel(redis_keys.WORKERS, *gone)
        return sorted(reports, key=lambda report: report.name)

    @translated
    def forget_worker(self, name: str) -> None:
        self._redis.hdel(redis_keys.WORKERS, name)


def _recent(said: str, now_ms: int) -> WorkerReport | None:
    """What a worker said, if that was lately, and is a report."""
    at_ms, _, text = said.partition(" ")
    if not at_ms.isdecimal() or abs(now_ms - int(at_ms)) > GONE_AFTER_S * 1e3:
        return None
    try:
        return WorkerReport.from_json(text.encode(errors="surrogateescape"), where="a worker")
    except MessageError:
        return None
