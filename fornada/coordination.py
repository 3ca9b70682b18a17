"""What Redis knows of jobs: attempts, leases, what is enqueued, what is done. All may be lost."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from fornada import keys
from fornada.errors import BrokerError, ConfigError
from fornada.settings import Settings

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Counters of a job that nobody touches for so long are dropped.
FORGET_AFTER_MS = 30 * 24 * 3600 * 1000

# Keyed by the attempt's id, so that a client's retry of the script counts once.
_BEGIN = """
if redis.call('EXISTS', KEYS[4]) == 1 then return {'ended', 0, 0} end
if redis.call('GETBIT', KEYS[3], ARGV[2]) == 1 then return {'done', 0, 0} end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {'leased', 0, 0} end
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSETNX', KEYS[1], ARGV[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
redis.call('ZREM', KEYS[5], ARGV[2])
return {'begun', redis.call('HLEN', KEYS[1]), now_ms}
"""
_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """Whether work on a shard may begin.

    `ended`: the job is over. `done`: the shard has an outcome. `leased`: another attempt is at
    work. `begun`: go on; this is attempt number `attempts`.
    """

    status: Literal["begun", "ended", "done", "leased"]
    attempts: int
    #: The server's clock.
    at: datetime


class Coordination(Protocol):
    """Shared counters and leases. Losing them loses no result; some work may repeat."""

    def server_time(self) -> datetime:
        """Now, by the one clock that deadlines are measured with."""

    def open_job(self, job_id: str) -> None:
        """List the job among those that have not ended, also if one of that id had ended."""

    def open_jobs(self) -> set[str] | None:
        """Jobs that have not ended; `None` when the list was lost and must be rebuilt."""

    def rebuild_open_jobs(self, job_ids: Iterable[str]) -> None:
        """Add what the store knows, and declare the list complete."""

    def drop_job(self, job_id: str) -> None:
        """Take the job from that list; it was never submitted."""

    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""

    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Begun:
        """Count the attempt and take the lease, before input or model is touched."""

    def renew(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> None:
        """Show life; also brings back a lease that was lost with Redis."""

    def note_failure(self, job_id: str, shard: int, attempt: str, error: str) -> None:
        """Remember why an attempt ended without an outcome."""

    def forget_attempt(self, job_id: str, shard: int, attempt: str) -> None:
        """Do not count an attempt that failed through nobody's fault."""

    def failures(self, job_id: str, shard: int) -> list[str]:
        """What `note_failure` was told of the shard."""

    def mark_done(self, job_id: str, shard: int) -> int:
        """Note that the shard has an outcome; return how many of the job have."""

    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> None:
        """Note that messages for the shards are about to be enqueued."""

    def in_flight(self, job_id: str, shards: Iterable[int]) -> Mapping[int, float | None]:
        """Shards enqueued and not begun → for how many seconds; shards under lease → `None`."""

    def queue_length(self, queue: str) -> int:
        """Messages that wait in the queue."""

    def lead(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except redis.RedisError as exc:
            raise explain(exc) from exc

    return call


def explain(exc: Exception) -> BrokerError:
    """Our error for one of Redis, with its remedy; never with the URL, which has the password."""
    if isinstance(exc, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return BrokerError(f"Redis refuses us ({exc}); check the password in FORNADA_REDIS_URL")
    return BrokerError(
        f"Redis cannot be reached or failed ({type(exc).__name__}: {exc}); check FORNADA_REDIS_URL "
        "and that the server runs (`fornada up` starts one)"
    )


class RedisCoordination:
    """`Coordination` in Redis or Valkey; every write may be repeated without harm."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client
        self._begin = client.register_script(_BEGIN)
        self._renew = client.register_script(_RENEW)

    @classmethod
    def from_settings(cls, settings: Settings) -> "RedisCoordination":
        """The server that the settings name; nothing is contacted yet.

        Raises:
            ConfigError: FORNADA_REDIS_URL is not a URL.
        """
        try:
            client = redis.Redis.from_url(
                settings.redis_url.get_secret_value(),
                socket_timeout=5,
                socket_connect_timeout=5,
                # A few tries over a second; who waits longer does so in a loop of his own. A server
                # that keeps silent is asked once: redis-py nests its tries, to a minute and a half.
                retry=Retry(
                    ExponentialWithJitterBackoff(base=0.05, cap=0.5),
                    3,
                    supported_errors=(redis.ConnectionError,),
                ),
                health_check_interval=15,
                decode_responses=True,
            )
        except ValueError as exc:
            raise ConfigError(
                "FORNADA_REDIS_URL is not a URL; give e.g. redis://127.0.0.1:6379/0, and write "
                "'/', '#', '?' and '@' in a password as %2F, %23, %3F and %40"
            ) from exc
        return cls(client=client)

    @_translated
    def server_facts(self) -> dict[str, str]:
        """What the server says of itself that matters here; a hosted one may keep some back."""
        info = self._redis.info()
        policy = info.get("maxmemory_policy", "unknown")
        persistence = "on" if info.get("aof_enabled") else "off"
        # Valkey calls itself 7.2.4 for the sake of clients that ask for a Redis version.
        name, version = "Redis", info.get("redis_version", "unknown")
        if "valkey_version" in info:
            name, version = "Valkey", info["valkey_version"]
        return {
            "name": name,
            "version": str(version),
            "maxmemory_policy": str(policy),
            "append_only_file": persistence,
        }

    @_translated
    def leader(self) -> str | None:
        """The worker whose reconciler leads; none when no worker runs."""
        holder: str | None = self._redis.get(keys.REDIS_RECONCILER_LEASE)
        return holder

    @_translated
    def server_time(self) -> datetime:
        """Now, by the one clock that deadlines are measured with."""
        seconds, microseconds = self._redis.time()
        return datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)

    @_translated
    def open_job(self, job_id: str) -> None:
        """List the job among those that have not ended, also if one of that id had ended."""
        with self._redis.pipeline() as pipe:
            pipe.sadd(keys.REDIS_OPEN_JOBS, job_id)
            # Of a job that was purged: messages of the new one would count for nothing.
            pipe.delete(keys.redis_ended(job_id))
            pipe.execute()

    @_translated
    def open_jobs(self) -> set[str] | None:
        """Jobs that have not ended; `None` when the list was lost and must be rebuilt."""
        with self._redis.pipeline() as pipe:
            pipe.exists(keys.REDIS_OPEN_JOBS_COMPLETE)
            pipe.smembers(keys.REDIS_OPEN_JOBS)
            complete, job_ids = pipe.execute()
        return cast("set[str]", job_ids) if complete else None

    @_translated
    def rebuild_open_jobs(self, job_ids: Iterable[str]) -> None:
        """Add what the store knows, and declare the list complete."""
        with self._redis.pipeline() as pipe:
            for job_id in job_ids:
                pipe.sadd(keys.REDIS_OPEN_JOBS, job_id)
            pipe.set(keys.REDIS_OPEN_JOBS_COMPLETE, "1")
            pipe.execute()

    @_translated
    def drop_job(self, job_id: str) -> None:
        """Take the job from that list; it was never submitted."""
        self._redis.srem(keys.REDIS_OPEN_JOBS, job_id)

    @_translated
    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""
        with self._redis.pipeline() as pipe:
            pipe.set(keys.redis_ended(job_id), state, px=FORGET_AFTER_MS)
            pipe.srem(keys.REDIS_OPEN_JOBS, job_id)
            pipe.delete(keys.redis_done(job_id), keys.redis_enqueued(job_id))
            pipe.execute()

    @_translated
    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Begun:
        """Count the attempt and take the lease, before input or model is touched."""
        status, attempts, at_ms = self._begin(
            keys=[
                keys.redis_attempts(job_id, shard),
                keys.redis_lease(job_id, shard),
                keys.redis_done(job_id),
                keys.redis_ended(job_id),
                keys.redis_enqueued(job_id),
            ],
            args=[attempt, shard, round(lease_s * 1000), FORGET_AFTER_MS],
        )
        return Begun(status=status, attempts=attempts, at=datetime.fromtimestamp(at_ms / 1e3, UTC))

    @_translated
    def renew(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> None:
        """Show life; also brings back a lease that was lost with Redis."""
        self._renew(keys=[keys.redis_lease(job_id, shard)], args=[attempt, round(lease_s * 1000)])

    @_translated
    def note_failure(self, job_id: str, shard: int, attempt: str, error: str) -> None:
        """Remember why an attempt ended without an outcome."""
        self._redis.hset(keys.redis_attempts(job_id, shard), attempt, error[:500])

    @_translated
    def forget_attempt(self, job_id: str, shard: int, attempt: str) -> None:
        """Do not count an attempt that failed through nobody's fault."""
        self._redis.hdel(keys.redis_attempts(job_id, shard), attempt)

    @_translated
    def failures(self, job_id: str, shard: int) -> list[str]:
        """What `note_failure` was told of the shard."""
        return [error for error in self._redis.hvals(keys.redis_attempts(job_id, shard)) if error]

    @_translated
    def mark_done(self, job_id: str, shard: int) -> int:
        """Note that the shard has an outcome; return how many of the job have."""
        with self._redis.pipeline() as pipe:
            pipe.setbit(keys.redis_done(job_id), shard, 1)
            pipe.pexpire(keys.redis_done(job_id), FORGET_AFTER_MS)
            pipe.bitcount(keys.redis_done(job_id))
            pipe.delete(keys.redis_attempts(job_id, shard), keys.redis_lease(job_id, shard))
            pipe.zrem(keys.redis_enqueued(job_id), shard)
            return int(pipe.execute()[2])

    @_translated
    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> None:
        """Note that messages for the shards are about to be enqueued."""
        at_ms = self.server_time().timestamp() * 1e3
        with self._redis.pipeline() as pipe:
            for shard in shards:
                pipe.zadd(keys.redis_enqueued(job_id), {str(shard): at_ms})
            pipe.pexpire(keys.redis_enqueued(job_id), FORGET_AFTER_MS)
            pipe.execute()

    @_translated
    def in_flight(self, job_id: str, shards: Iterable[int]) -> Mapping[int, float | None]:
        """Shards enqueued and not begun → for how many seconds; shards under lease → `None`."""
        wanted = list(shards)
        at_ms = self.server_time().timestamp() * 1e3
        with self._redis.pipeline(transaction=False) as pipe:
            # First what is enqueued: a shard goes from there to its lease, and is not missed.
            pipe.zrange(keys.redis_enqueued(job_id), 0, -1, withscores=True)
            for shard in wanted:
                pipe.exists(keys.redis_lease(job_id, shard))
            enqueued, *leased = pipe.execute()
        flying: dict[int, float | None] = {int(s): (at_ms - ms) / 1e3 for s, ms in enqueued}
        flying.update({shard: None for shard, held in zip(wanted, leased, strict=True) if held})
        return flying

    @_translated
    def queue_length(self, queue: str) -> int:
        """Messages that wait in the queue."""
        return int(self._redis.llen(queue))

    @_translated
    def lead(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""
        key, ttl_ms = keys.REDIS_RECONCILER_LEASE, round(lease_s * 1000)
        if self._redis.set(key, holder, nx=True, px=ttl_ms):
            return True
        if self._redis.get(key) != holder:
            return False
        self._redis.pexpire(key, ttl_ms)
        return True
