"""`Coordination` in Redis or Valkey."""

import functools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from fornada import keys, redis_scripts
from fornada.coordination import Begun, Progress
from fornada.errors import BrokerError, ConfigError
from fornada.settings import Settings

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Counters of a job that nobody touches for so long are dropped.
FORGET_AFTER_MS = 30 * 24 * 3600 * 1000
#: Longer than any write to the store takes; from then on the store tells what was decided.
_DECIDED_MS = 5 * 60 * 1000


def translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have `method` raise our errors in place of those of Redis."""

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


def connected(settings: Settings, *, decode_responses: bool = True) -> "redis.Redis":
    """A client of the server that the settings name; nothing is contacted yet.

    Raises:
        ConfigError: FORNADA_REDIS_URL is not a URL.
    """
    try:
        return redis.Redis.from_url(
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
            decode_responses=decode_responses,
            # A bitmap is no text, and comes through decoding and back unharmed by this.
            encoding_errors="surrogateescape",
        )
    except ValueError as exc:
        raise ConfigError(
            "FORNADA_REDIS_URL is not a URL; give e.g. redis://127.0.0.1:6379/0, and write "
            "'/', '#', '?' and '@' in a password as %2F, %23, %3F and %40"
        ) from exc


class RedisCoordination:
    """`Coordination` in Redis or Valkey; every write may be repeated without harm."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client
        self._begin = client.register_script(redis_scripts.BEGIN)
        self._renew = client.register_script(redis_scripts.RENEW)
        self._forget_attempt = client.register_script(redis_scripts.FORGET_ATTEMPT)

    @classmethod
    def from_settings(cls, settings: Settings) -> "RedisCoordination":
        """The server that the settings name; nothing is contacted yet.

        Raises:
            ConfigError: FORNADA_REDIS_URL is not a URL.
        """
        return cls(client=connected(settings))

    @translated
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

    @translated
    def leader(self) -> str | None:
        """The worker whose reconciler leads; none when no worker runs."""
        holder: str | None = self._redis.get(keys.REDIS_RECONCILER_LEASE)
        return holder

    @translated
    def server_time(self) -> datetime:
        """Now, by the one clock that deadlines are measured with."""
        return datetime.fromtimestamp(_milliseconds(self._redis.time()) / 1e3, UTC)

    @translated
    def open_job(self, job_id: str, *, new: bool = False) -> None:
        """List the job among those that have not ended, also if one of that id had ended."""
        with self._redis.pipeline() as pipe:
            pipe.sadd(keys.REDIS_OPEN_JOBS, job_id)
            # Of a job that was purged: messages of the new one would count for nothing.
            pipe.delete(keys.redis_ended(job_id))
            if new:
                pipe.delete(*keys.redis_counters(job_id))
                pipe.hset(keys.redis_job(job_id), "counted", "1")
                pipe.pexpire(keys.redis_job(job_id), FORGET_AFTER_MS)
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
    def decide(self, question: str, answer: bytes) -> bytes:
        """Of all answers that were proposed within the last minutes, the first."""
        key = keys.redis_decision(question)
        first: str | None = self._redis.set(key, answer, nx=True, get=True, px=_DECIDED_MS)
        return answer if first is None else first.encode()

    @translated
    def end_job(self, job_id: str, state: str) -> None:
        """Let messages of the job that are still queued cost nothing; forget its counters."""
        with self._redis.pipeline() as pipe:
            pipe.set(keys.redis_ended(job_id), state, px=FORGET_AFTER_MS)
            pipe.srem(keys.REDIS_OPEN_JOBS, job_id)
            pipe.delete(*keys.redis_counters(job_id))
            pipe.execute()

    @translated
    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Begun:
        """Count the attempt and take the lease, before input or model is touched."""
        status, attempts, at_ms = self._begin(
            keys=[
                keys.redis_job(job_id),
                keys.redis_attempts(job_id),
                keys.redis_leases(job_id),
                keys.redis_done(job_id),
                keys.redis_ended(job_id),
                keys.redis_enqueued(job_id),
            ],
            args=[shard, attempt, round(lease_s * 1000), FORGET_AFTER_MS],
        )
        return Begun(status=status, attempts=attempts, at=datetime.fromtimestamp(at_ms / 1e3, UTC))

    @translated
    def renew(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> None:
        """Show life; also brings back a lease that was lost with Redis."""
        self._renew(keys=[keys.redis_leases(job_id)], args=[shard, attempt, round(lease_s * 1000)])

    @translated
    def note_failure(self, job_id: str, shard: int, error: str) -> None:
        """Remember why an attempt ended without an outcome."""
        with self._redis.pipeline() as pipe:
            pipe.hset(keys.redis_errors(job_id), str(shard), error[:500])
            pipe.pexpire(keys.redis_errors(job_id), FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def forget_attempt(self, job_id: str, shard: int, attempt: str) -> None:
        """Do not count an attempt that failed through nobody's fault."""
        self._forget_attempt(
            keys=[keys.redis_job(job_id), keys.redis_attempts(job_id)], args=[shard, attempt]
        )

    @translated
    def last_error(self, job_id: str, shard: int) -> str | None:
        """What `note_failure` was last told of the shard."""
        error: str | None = self._redis.hget(keys.redis_errors(job_id), str(shard))
        return error

    @translated
    def mark_done(
        self, job_id: str, shard: int, *, dead: bool = False, item_errors: int = 0
    ) -> int:
        """Note that the shard has an outcome, and which; return how many of the job have one."""
        done = keys.redis_done(job_id)
        with self._redis.pipeline() as pipe:
            pipe.setbit(done, shard, 1)
            pipe.bitcount(done)
            for key in (keys.redis_attempts, keys.redis_errors, keys.redis_leases):
                pipe.hdel(key(job_id), str(shard))
            pipe.zrem(keys.redis_enqueued(job_id), shard)
            if dead or item_errors:
                failed = keys.redis_failed(job_id)
                pipe.hset(failed, str(shard), "dead" if dead else str(item_errors))
                pipe.pexpire(failed, FORGET_AFTER_MS)
            pipe.pexpire(done, FORGET_AFTER_MS)
            return int(pipe.execute()[1])

    @translated
    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Note what the store says has an outcome, where that was forgotten."""
        numbers = np.fromiter(shards, np.int64)
        if not len(numbers):
            return
        bits = np.zeros(int(numbers.max()) + 1, bool)
        bits[numbers] = True
        done, restored = keys.redis_done(job_id), f"{keys.redis_done(job_id)}:restored"
        with self._redis.pipeline() as pipe:
            pipe.set(restored, np.packbits(bits).tobytes())
            pipe.bitop("OR", done, done, restored)
            pipe.delete(restored)
            pipe.pexpire(done, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> None:
        """Note that messages for the shards are about to be enqueued; the job is open, then."""
        at_ms = _milliseconds(self._redis.time())
        with self._redis.pipeline() as pipe:
            pipe.sadd(keys.REDIS_OPEN_JOBS, job_id)
            for shard in shards:
                pipe.zadd(keys.redis_enqueued(job_id), {str(shard): at_ms})
            pipe.pexpire(keys.redis_enqueued(job_id), FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def progress(self, job_id: str) -> Progress:
        """How far the job is."""
        # One transaction: a shard that moves on meanwhile is seen in one place.
        with self._redis.pipeline() as pipe:
            pipe.time()
            pipe.get(keys.redis_done(job_id))
            pipe.hgetall(keys.redis_leases(job_id))
            pipe.zrange(keys.redis_enqueued(job_id), 0, -1, withscores=True)
            pipe.hgetall(keys.redis_failed(job_id))
            pipe.hgetall(keys.redis_job(job_id))
            time, done, leases, enqueued, failed, job = pipe.execute()
        now_ms = _milliseconds(time)
        bits = np.frombuffer((done or "").encode(errors="surrogateescape"), np.uint8)
        started_ms = job.get("started_ms")
        return Progress(
            done=set(np.flatnonzero(np.unpackbits(bits)).tolist()),
            running={int(s) for s, lease in leases.items() if int(lease.split()[1]) > now_ms},
            enqueued={int(shard): (now_ms - at_ms) / 1e3 for shard, at_ms in enqueued},
            dead={int(shard) for shard, what in failed.items() if what == "dead"},
            item_errors=sum(int(what) for what in failed.values() if what != "dead"),
            attempts=int(job.get("attempts", 0)),
            started_at=started_ms and datetime.fromtimestamp(int(started_ms) / 1e3, UTC),
            counted="counted" in job,
        )

    @translated
    def queue_length(self, queue: str) -> int:
        """Messages that wait in the queue."""
        return int(self._redis.llen(queue))

    @translated
    def lead(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""
        return self._hold(keys.REDIS_RECONCILER_LEASE, holder, lease_s)

    @translated
    def lead_end(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one who adds up the job's outcomes, for the next `lease_s`."""
        return self._hold(keys.redis_end_lease(job_id), holder, lease_s)

    def _hold(self, key: str, holder: str, lease_s: float) -> bool:
        ttl_ms = round(lease_s * 1000)
        if self._redis.set(key, holder, nx=True, px=ttl_ms):
            return True
        if self._redis.get(key) != holder:
            return False
        self._redis.pexpire(key, ttl_ms)
        return True


def _milliseconds(time: tuple[int, int]) -> float:
    """What TIME answers, in ms since the epoch."""
    seconds, microseconds = time
    return float(seconds * 1000 + microseconds // 1000)
