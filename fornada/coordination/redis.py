"""`Coordination` in Redis or Valkey."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import redis

from fornada import keys
from fornada.coordination import scripts
from fornada.coordination.interface import Admission, Claim, Progress, ShardEnd
from fornada.coordination.redis_jobs import FORGET_AFTER_MS, RedisOpenJobs
from fornada.redis_client import connected, translated
from fornada.settings import Settings


class RedisCoordination(RedisOpenJobs):
    """`Coordination` in Redis or Valkey; every write may be repeated without harm."""

    def __init__(self, *, client: "redis.Redis") -> None:
        super().__init__(client=client)
        self._begin: Any = client.register_script(scripts.BEGIN)
        self._mark_done: Any = client.register_script(scripts.MARK_DONE)
        self._renew: Any = client.register_script(scripts.RENEW)
        self._forget_attempt: Any = client.register_script(scripts.FORGET_ATTEMPT)

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

    def begin(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> Admission:
        """Count the attempt and take the lease, before input or model is touched."""
        claim = Claim(job_id=job_id, shard=shard, attempt=attempt)
        return self.begin_all([claim], lease_s=lease_s)[0]

    @translated
    def begin_all(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        """As `begin`, of several shards in one step."""
        jobs = [keys.JobStateKeys(claim.job_id) for claim in claims]
        named = [
            (job.job, job.attempts, job.leases, job.done, job.ended, job.enqueued) for job in jobs
        ]
        asked = [(claim.shard, claim.attempt) for claim in claims]
        at_ms, *told = self._begin(
            keys=[*itertools.chain.from_iterable(named)],
            args=[round(lease_s * 1000), FORGET_AFTER_MS, *itertools.chain.from_iterable(asked)],
        )
        at = datetime.fromtimestamp(at_ms / 1e3, UTC)
        return [
            Admission(status=status, attempts=attempts, at=at, counted=bool(counted))
            for status, attempts, counted in zip(told[::3], told[1::3], told[2::3], strict=True)
        ]

    @translated
    def renew(self, job_id: str, shard: int, attempt: str, *, lease_s: float) -> None:
        """Show life; also brings back a lease that was lost with Redis."""
        self._renew(
            keys=[keys.JobStateKeys(job_id).leases], args=[shard, attempt, round(lease_s * 1000)]
        )

    @translated
    def note_failure(self, job_id: str, shard: int, error: str) -> None:
        """Remember why an attempt ended without an outcome."""
        with self._redis.pipeline() as pipe:
            pipe.hset(keys.JobStateKeys(job_id).errors, str(shard), error[:500])
            pipe.pexpire(keys.JobStateKeys(job_id).errors, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def forget_attempt(self, job_id: str, shard: int, attempt: str) -> None:
        """Do not count an attempt that failed through nobody's fault."""
        self._forget_attempt(
            keys=[keys.JobStateKeys(job_id).job, keys.JobStateKeys(job_id).attempts],
            args=[shard, attempt],
        )

    @translated
    def last_error(self, job_id: str, shard: int) -> str | None:
        """What `note_failure` was last told of the shard."""
        error: str | None = self._redis.hget(keys.JobStateKeys(job_id).errors, str(shard))
        return error

    def mark_done(
        self, job_id: str, shard: int, *, dead: bool = False, item_errors: int = 0
    ) -> int:
        """Note that the shard has an outcome, and which; return how many of the job have one."""
        end = ShardEnd(shard=shard, dead=dead, item_errors=item_errors)
        return self.mark_all_done(job_id, [end])

    @translated
    def mark_all_done(self, job_id: str, ends: Sequence[ShardEnd]) -> int:
        """As `mark_done`, of several shards of a job in one step."""
        job = keys.JobStateKeys(job_id)
        found = [(end.shard, "dead" if end.dead else str(end.item_errors)) for end in ends]
        done_count: int = self._mark_done(
            keys=[job.done, job.failed, job.enqueued, job.attempts, job.errors, job.leases],
            args=[FORGET_AFTER_MS, *itertools.chain.from_iterable(found)],
        )
        return done_count

    @translated
    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        """Note what the store says has an outcome, where that was forgotten."""
        numbers = np.fromiter(shards, np.int64)
        if not len(numbers):
            return
        bits = np.zeros(int(numbers.max()) + 1, bool)
        bits[numbers] = True
        done, restored = (
            keys.JobStateKeys(job_id).done,
            f"{keys.JobStateKeys(job_id).done}:restored",
        )
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
                pipe.zadd(keys.JobStateKeys(job_id).enqueued, {str(shard): at_ms})
            pipe.pexpire(keys.JobStateKeys(job_id).enqueued, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def progress(self, job_id: str) -> Progress:
        """How far the job is."""
        # One transaction: a shard that moves on meanwhile is seen in one place.
        with self._redis.pipeline() as pipe:
            pipe.time()
            pipe.get(keys.JobStateKeys(job_id).done)
            pipe.hgetall(keys.JobStateKeys(job_id).leases)
            pipe.zrange(keys.JobStateKeys(job_id).enqueued, 0, -1, withscores=True)
            pipe.hgetall(keys.JobStateKeys(job_id).failed)
            pipe.hgetall(keys.JobStateKeys(job_id).job)
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
    def hold_reconciler_lease(self, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one reconciler, for the next `lease_s`."""
        return self._hold(keys.REDIS_RECONCILER_LEASE, holder, lease_s)

    @translated
    def hold_end_lease(self, job_id: str, holder: str, *, lease_s: float) -> bool:
        """Whether `holder` is the one who adds up the job's outcomes, for the next `lease_s`."""
        return self._hold(keys.JobStateKeys(job_id).end_lease, holder, lease_s)

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
