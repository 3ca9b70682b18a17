"""`Coordination` in Redis or Valkey."""

from collections.abc import Mapping
from typing import Any

import redis

from fornada.coordination.interface import Beat
from fornada.coordination.job_index.redis import RedisJobIndex
from fornada.coordination.notices.redis import MOST_NOTICE_BYTES, RedisNotices
from fornada.coordination.redis_jobs import RedisOpenJobs
from fornada.coordination.redis_leases import RedisLeases
from fornada.coordination.scripts import FORGET_AFTER_MS, flat, script
from fornada.coordination.snapshot import lease_s_of, number
from fornada.coordination.trace_links.redis import RedisTraceLinks
from fornada.coordination.worker_board.redis import RedisWorkerBoard
from fornada.logs import get_logger
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.address import redis_address
from fornada.redis_server.client import connected, milliseconds, translated
from fornada.redis_server.facts import ServerFacts, missing_rights, read_facts, refuse_cluster
from fornada.redis_server.url import UNVERIFIED
from fornada.settings import Settings

log = get_logger(__name__)

#: Lifetime of a decision: longer than any write to the store takes; then the store has the answer.
_DECIDED_MS = 5 * 60 * 1000
#: A leader that was not seen for this long is gone, for those who only ask who leads.
_SEEN_MS = 60 * 1000


class RedisDecisions:
    """`Decisions` in Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client
        self._decide_ends = script(client, "decide_ends")

    @translated
    def decide(self, question: str, answer: bytes) -> bytes:
        key = redis_keys.decision(question)

        def first_answer() -> str | None:
            found: str | None = self._redis.set(key, answer, nx=True, get=True, px=_DECIDED_MS)
            return found

        try:
            first = first_answer()
        except redis.ResponseError as exc:
            if "WRONGTYPE" not in str(exc):
                raise
            # Put there by somebody else.
            self._redis.delete(key)
            first = first_answer()
        return answer if first is None else first.encode(errors="surrogateescape")

    @translated
    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        jobs = [redis_keys.JobStateKeys(job_id) for job_id in ends]
        decided: list[str] = self._decide_ends(
            keys=flat((job.job, job.ended, job.end) for job in jobs),
            args=[FORGET_AFTER_MS, int(only_counted), *ends.values()],
        )
        # Anyone may have put bytes there that are no text.
        found = zip(ends, decided, strict=True)
        return {job_id: end.encode(errors="surrogateescape") for job_id, end in found if end}


class RedisCoordination(
    RedisOpenJobs,
    RedisLeases,
    RedisDecisions,
    RedisJobIndex,
    RedisNotices,
    RedisTraceLinks,
    RedisWorkerBoard,
):
    """`Coordination` in Redis or Valkey."""

    def __init__(
        self,
        *,
        client: "redis.Redis",
        queue: str,
        lease_s: float,
        listening: "redis.Redis | None" = None,
    ) -> None:
        """Coordinate the work of `queue` on the server that `client` speaks to.

        Args:
            client: Speaks to the server.
            queue: The queue.
            lease_s: For how long a lease is taken to hold, whatever stands in Redis.
            listening: Hears notices, as `RedisNotices`.
        """
        RedisOpenJobs.__init__(self, client=client, queue=queue, lease_s=lease_s)
        RedisLeases.__init__(self, client=client, queue=queue)
        RedisDecisions.__init__(self, client=client)
        RedisJobIndex.__init__(self, client=client)
        RedisTraceLinks.__init__(self, client=client)
        RedisWorkerBoard.__init__(self, client=client)
        RedisNotices.__init__(self, client=client, listening=listening or client)

    @classmethod
    def from_settings(cls, settings: Settings) -> "RedisCoordination":
        """Coordination on the server that the settings name; connects on first use.

        Raises:
            ConfigError: As `redis_address`.
        """
        address = redis_address(settings)
        if address.is_unverified:
            log.warning(UNVERIFIED, server=address.label)
        return cls(
            client=connected(address),
            queue=settings.queue,
            lease_s=settings.lease_s,
            listening=connected(address, most_bytes=MOST_NOTICE_BYTES),
        )

    @translated
    def refuse_cluster(self) -> None:
        """Check that the server is no node of Redis Cluster.

        Raises:
            ConfigError: It is one.
            BrokerError: It cannot be reached.
        """
        refuse_cluster(self._redis)

    @translated
    def missing_rights(self) -> list[str]:
        """The rules of `ACL SETUSER` that our user lacks."""
        return missing_rights(self._redis)

    @translated
    def server_facts(self) -> ServerFacts:
        """What the server is and how it is configured.

        Raises:
            ConfigError: It is a node of Redis Cluster.
            BrokerError: It cannot be reached, or refuses us.
        """
        return read_facts(self._redis)

    @translated
    def leader(self) -> Beat | None:
        """The last beat of who leads the queue; `None` if there was none in the last minute."""
        with self._redis.pipeline() as pipe:
            pipe.time()
            pipe.hmget(redis_keys.leader(self._queue), "beat", "at_ms", "lease_ms")
            time, (beat, at_ms, lease_ms) = pipe.execute()
        # The server's clock may have been set back since.
        seen_ms = number(at_ms) or 0
        if beat is None or abs(milliseconds(time) - seen_ms) > _SEEN_MS:
            return None
        holder, _, beats = beat.rpartition(" ")
        return Beat(holder, number(beats) or 0, lease_s_of(lease_ms))
