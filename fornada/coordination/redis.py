"""`Coordination` in Redis or Valkey."""

from collections.abc import Mapping
from typing import Any

import redis

from fornada import keys
from fornada.coordination.redis_jobs import RedisOpenJobs
from fornada.coordination.redis_leases import RedisLeases
from fornada.coordination.scripts import FORGET_AFTER_MS, flat, script
from fornada.redis_client import connected, translated
from fornada.settings import Settings

#: Lifetime of a decision: longer than any write to the store takes; then the store has the answer.
_DECIDED_MS = 5 * 60 * 1000


class RedisDecisions:
    """`Decisions` in Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client
        self._decide_ends = script(client, "decide_ends")

    @translated
    def decide(self, question: str, answer: bytes) -> bytes:
        key = keys.redis_decision(question)
        first: str | None = self._redis.set(key, answer, nx=True, get=True, px=_DECIDED_MS)
        return answer if first is None else first.encode(errors="surrogateescape")

    @translated
    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        jobs = [keys.JobStateKeys(job_id) for job_id in ends]
        decided: list[str] = self._decide_ends(
            keys=flat((job.job, job.ended, job.end) for job in jobs),
            args=[FORGET_AFTER_MS, int(only_counted), *ends.values()],
        )
        # Anyone may have put bytes there that are no text.
        found = zip(ends, decided, strict=True)
        return {job_id: end.encode(errors="surrogateescape") for job_id, end in found if end}


class RedisCoordination(RedisOpenJobs, RedisLeases, RedisDecisions):
    """`Coordination` in Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis") -> None:
        RedisOpenJobs.__init__(self, client=client)
        RedisLeases.__init__(self, client=client)
        RedisDecisions.__init__(self, client=client)

    @classmethod
    def from_settings(cls, settings: Settings) -> "RedisCoordination":
        """Coordination on the server that the settings name; connects on first use.

        Raises:
            ConfigError: FORNADA_REDIS_URL is not a URL.
        """
        return cls(client=connected(settings))

    @translated
    def server_facts(self) -> dict[str, str]:
        """The server's name, version and configuration; a hosted one may withhold some."""
        info = self._redis.info()
        policy = info.get("maxmemory_policy", "unknown")
        persistence = "on" if info.get("aof_enabled") else "off"
        # Valkey calls itself 7.2.4 for clients that ask for a Redis version.
        name, version = "Redis", info.get("redis_version", "unknown")
        if "valkey_version" in info:
            name, version = "Valkey", info["valkey_version"]
        return {
            "name": name,
            "version": str(version),
            "maxmemory_policy": str(policy),
            "append_only_file": persistence,
        }

    @translated
    def leader(self) -> str | None:
        """The holder of the reconciler's lease; `None` when no worker runs."""
        holder: str | None = self._redis.get(keys.REDIS_RECONCILER_LEASE)
        return holder
