"""`Recovery` in Redis or Valkey: open jobs, their progress, and how it is restored."""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import redis

from fornada.coordination.interface import (
    HELD_UP_S,
    MOST_UNREADABLE,
    MOST_WHY_CHARACTERS,
    NEWEST_JOBS,
    Beat,
    JobTask,
    Progress,
    SmallJob,
    Triage,
)
from fornada.coordination.notices.interface import Notice
from fornada.coordination.scripts import FORGET_AFTER_MS, flat, script
from fornada.coordination.snapshot import lease_s_of, progress_in
from fornada.keys import is_name
from fornada.records import MAX_SHARDS
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.client import milliseconds, translated

#: A holder and a number, as in `beat.lua`.
_BEAT = re.compile(r"\S+ [0-9]{1,15}")
#: How long an ended job is remembered; later messages ask the store. 300,000 keys at 500 jobs/s.
_ENDED_MS = 10 * 60 * 1000
#: Jobs in one call of a script, which holds up all other clients.
_JOBS_PER_CALL = 500
#: What all jobs share, by key: its type.
_TYPES = {
    redis_keys.OPEN_JOBS: "set",
    redis_keys.NEWEST_JOBS: "zset",
    redis_keys.UNREADABLE_JOBS: "hash",
    redis_keys.BUCKET: "string",
}


class RedisOpenJobs:
    """`Recovery` in Redis or Valkey; every write may be repeated."""

    def __init__(self, *, client: "redis.Redis", queue: str, lease_s: float) -> None:
        self._redis: Any = client
        self._queue = queue
        self._lease_ms = round(lease_s * 1000)
        self._beat = script(client, "beat")
        self._hold = script(client, "hold")
        self._mark_enqueued = script(client, "mark_enqueued")
        self._progress = script(client, "progress")
        self._open_new = script(client, "open_new")
        self._register_small_jobs = script(client, "register_small_jobs")
        self._triage = script(client, "triage")

    @translated
    def server_time(self) -> datetime:
        return datetime.fromtimestamp(milliseconds(self._redis.time()) / 1e3, UTC)

    @translated
    def queue_length(self, queue: str) -> int:
        return int(self._redis.llen(queue))

    @translated
    def stamped(self) -> bytes | None:
        bucket_id: str | None = self._redis.get(redis_keys.BUCKET)
        return None if bucket_id is None else bucket_id.encode(errors="surrogateescape")

    @translated
    def stamp(self, bucket_id: bytes, *, replace: bool = False) -> bytes:
        first: str | None = self._redis.set(
            redis_keys.BUCKET, bucket_id, nx=not replace, get=not replace
        )
        return bucket_id if replace or first is None else first.encode(errors="surrogateescape")

    @translated
    def open_job(self, job_id: str, *, new: bool = False) -> None:
        job = redis_keys.JobStateKeys(job_id)
        if new:
            self._open_new(
                keys=[redis_keys.OPEN_JOBS, redis_keys.NEWEST_JOBS, job.ended, *job.counters],
                args=[job_id, _ENDED_MS, FORGET_AFTER_MS, NEWEST_JOBS],
            )
            return
        with self._redis.pipeline() as pipe:
            pipe.sadd(redis_keys.OPEN_JOBS, job_id)
            pipe.delete(job.ended)
            pipe.execute()

    @translated
    def register_small_jobs(self, jobs: Sequence[SmallJob], *, queue: str, window: int) -> bool:
        states = [redis_keys.JobStateKeys(job.job_id) for job in jobs]
        facts = [(job.job_id, job.shard_count, _deadline_ms(job.deadline)) for job in jobs]
        room = self._register_small_jobs(
            keys=[
                redis_keys.OPEN_JOBS,
                redis_keys.NEWEST_JOBS,
                queue,
                *flat((job.job, job.enqueued) for job in states),
            ],
            args=[window, FORGET_AFTER_MS, NEWEST_JOBS, *flat(facts)],
        )
        return bool(room)

    @translated
    def mark_enqueued(self, job_id: str, shards: Iterable[int]) -> bool:
        job = redis_keys.JobStateKeys(job_id)
        marked = self._mark_enqueued(
            keys=[redis_keys.OPEN_JOBS, job.enqueued, job.ended],
            args=[job_id, self._queue, FORGET_AFTER_MS, *shards],
        )
        return bool(marked)

    @translated
    def progress(self, job_id: str) -> Progress:
        state = redis_keys.JobStateKeys(job_id)
        # One step: a shard that moves on meanwhile is seen in one place.
        answer = self._progress(
            keys=[state.done, state.leases, state.enqueued, state.failed, state.job, state.held_up],
            args=[self._queue, self._lease_ms, MAX_SHARDS // 8 - 1],
        )
        return progress_in(answer)

    @translated
    def open_jobs(self) -> set[str] | None:
        with self._redis.pipeline() as pipe:
            pipe.exists(redis_keys.OPEN_JOBS_COMPLETE)
            pipe.smembers(redis_keys.OPEN_JOBS)
            complete, job_ids = pipe.execute()
        # Others may have put there what is no id.
        return {job_id for job_id in job_ids if is_name(job_id)} if complete else None

    @translated
    def newest_jobs(self, count: int, *, skip: int = 0) -> list[str]:
        with self._redis.pipeline() as pipe:
            pipe.exists(redis_keys.OPEN_JOBS_COMPLETE)
            pipe.zrevrange(redis_keys.NEWEST_JOBS, skip, skip + count - 1)
            complete, job_ids = pipe.execute()
        return cast("list[str]", job_ids) if complete else []

    @translated
    def held_up(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hgetall(redis_keys.JobStateKeys(job_id).held_up)
            return {j: why for j, why in zip(job_ids, pipe.execute(), strict=True) if why}

    @translated
    def hold_up(self, job_id: str, process: str, why: str) -> None:
        held_up = redis_keys.JobStateKeys(job_id).held_up
        with self._redis.pipeline() as pipe:
            pipe.hset(held_up, process, why[:MOST_WHY_CHARACTERS])
            pipe.pexpire(held_up, round(HELD_UP_S * 1000))
            pipe.execute()

    @translated
    def quarantine_job(self, job_id: str, why: str) -> bool:
        with self._redis.pipeline() as pipe:
            pipe.srem(redis_keys.OPEN_JOBS, job_id)
            pipe.hexists(redis_keys.UNREADABLE_JOBS, job_id)
            pipe.hlen(redis_keys.UNREADABLE_JOBS)
            _, known, count = pipe.execute()
        if known or count >= MOST_UNREADABLE:
            return False
        with self._redis.pipeline() as pipe:
            pipe.hset(redis_keys.UNREADABLE_JOBS, job_id, why[:MOST_WHY_CHARACTERS])
            pipe.pexpire(redis_keys.UNREADABLE_JOBS, FORGET_AFTER_MS)
            new, _ = pipe.execute()
        return bool(new)

    @translated
    def unreadable_jobs(self) -> dict[str, str]:
        return cast("dict[str, str]", self._redis.hgetall(redis_keys.UNREADABLE_JOBS))

    @translated
    def drop_jobs(self, job_ids: Iterable[str]) -> None:
        every = list(job_ids)
        for start in range(0, len(every), _JOBS_PER_CALL):
            some = every[start : start + _JOBS_PER_CALL]
            with self._redis.pipeline() as pipe:
                pipe.srem(redis_keys.OPEN_JOBS, *some)
                pipe.zrem(redis_keys.NEWEST_JOBS, *some)
                pipe.hdel(redis_keys.UNREADABLE_JOBS, *some)
                pipe.execute()

    @translated
    def end_jobs(self, states: Mapping[str, str]) -> None:
        if not states:
            return
        with self._redis.pipeline() as pipe:
            for job_id, state in states.items():
                pipe.set(redis_keys.JobStateKeys(job_id).ended, state, px=_ENDED_MS)
                pipe.publish(redis_keys.notices(job_id), Notice.ENDED)
            pipe.srem(redis_keys.OPEN_JOBS, *states)
            pipe.delete(
                *(key for job_id in states for key in redis_keys.JobStateKeys(job_id).counters)
            )
            pipe.execute()

    @translated
    def hold_job_lease(self, to: JobTask, job_id: str, holder: str, *, lease_s: float) -> bool:
        held = self._hold(
            keys=[redis_keys.JobStateKeys(job_id).lease_to(to)],
            args=[holder, self._queue, round(lease_s * 1000)],
        )
        return bool(held)

    @translated
    def beat(self, holder: str, *, after: Beat | None, step_s: float) -> Beat:
        if after is None:
            # Every host of a queue but one watches, each second: that costs one command.
            watched = self._last_beat()
            if watched is not None:
                return watched
        known = "" if after is None else f"{after.holder} {after.number}"
        last, lease_ms = self._beat(
            keys=[redis_keys.leader(self._queue), redis_keys.OPEN_JOBS_COMPLETE, *_TYPES],
            args=[
                self._queue,
                holder,
                known,
                round(step_s * 1000),
                FORGET_AFTER_MS,
                self._lease_ms,
                *_TYPES.values(),
            ],
        )
        name, _, beats = last.rpartition(" ")
        return Beat(name, int(beats), lease_s_of(lease_ms))

    def _last_beat(self) -> Beat | None:
        # What is of another type is for the script, which removes it.
        with contextlib.suppress(redis.ResponseError):
            last, lease_ms = self._redis.hmget(redis_keys.leader(self._queue), "beat", "lease_ms")
            if last is not None and _BEAT.fullmatch(last):
                name, _, beats = last.partition(" ")
                return Beat(name, int(beats), lease_s_of(lease_ms))
        return None

    @translated
    def triage(self, job_ids: Sequence[str], *, patience_s: float) -> Triage:
        lost: dict[str, Sequence[int]] = {}
        seen: dict[str, Sequence[int]] = {}
        states: dict[str, set[str]] = {"unclear": set(), "other": set()}
        for start in range(0, len(job_ids), _JOBS_PER_CALL):
            some = job_ids[start : start + _JOBS_PER_CALL]
            jobs = [redis_keys.JobStateKeys(job_id) for job_id in some]
            found = self._triage(
                keys=flat((job.job, job.done, job.leases, job.enqueued) for job in jobs),
                args=[self._queue, round(patience_s * 1000), self._lease_ms],
            )
            for place, state, shards, begun in found:
                if state == "lost":
                    lost[some[place]], seen[some[place]] = shards, begun
                else:
                    states[state].add(some[place])
        return Triage(lost=lost, seen=seen, unclear=states["unclear"], others=states["other"])

    @translated
    def restore_done(self, job_id: str, shards: Iterable[int]) -> None:
        numbers = np.fromiter(shards, np.int64)
        if not len(numbers):
            return
        bits = np.zeros(int(numbers.max()) + 1, bool)
        bits[numbers] = True
        done = redis_keys.JobStateKeys(job_id).done
        restored = f"{done}:restored"
        with self._redis.pipeline() as pipe:
            pipe.set(restored, np.packbits(bits).tobytes())
            pipe.bitop("OR", done, done, restored)
            pipe.delete(restored)
            pipe.pexpire(done, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def forget_done(self, job_id: str, shards: Iterable[int]) -> None:
        job = redis_keys.JobStateKeys(job_id)
        with self._redis.pipeline() as pipe:
            for shard in shards:
                pipe.setbit(job.done, shard, 0)
                pipe.hdel(job.failed, str(shard))
            pipe.execute()

    @translated
    def restore_small_job(self, job: SmallJob) -> None:
        key = redis_keys.JobStateKeys(job.job_id).job
        facts = {
            "shards": job.shard_count,
            "deadline_ms": _deadline_ms(job.deadline),
            "queue": self._queue,
        }
        with self._redis.pipeline() as pipe:
            pipe.hset(key, mapping=facts)
            pipe.pexpire(key, FORGET_AFTER_MS)
            pipe.execute()

    @translated
    def forget_small_job(self, job_id: str) -> None:
        self._redis.hdel(redis_keys.JobStateKeys(job_id).job, "shards", "deadline_ms", "queue")

    @translated
    def rebuild_open_jobs(
        self, job_ids: Iterable[str], *, newest: Mapping[str, datetime] | None = None
    ) -> None:
        with self._redis.pipeline() as pipe:
            for job_id in job_ids:
                pipe.sadd(redis_keys.OPEN_JOBS, job_id)
            if newest:
                # What Redis saw itself is exact.
                times_ms = {job_id: at.timestamp() * 1e3 for job_id, at in newest.items()}
                pipe.zadd(redis_keys.NEWEST_JOBS, times_ms, nx=True)
                pipe.zremrangebyrank(redis_keys.NEWEST_JOBS, 0, -NEWEST_JOBS - 1)
            pipe.set(redis_keys.OPEN_JOBS_COMPLETE, "1")
            pipe.execute()


def _deadline_ms(deadline: datetime | None) -> str:
    return "" if deadline is None else str(round(deadline.timestamp() * 1000))
