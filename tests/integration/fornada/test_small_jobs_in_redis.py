"""Small jobs, many at a time, on a real Valkey and in memory: both pass the same tests."""

import time
from datetime import timedelta

import redis
from pydantic import SecretStr

from fornada.coordination.interface import Claim, Coordination, ShardEnd, SmallJob, Triage
from fornada.coordination.redis import RedisCoordination
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings

from .coordinating import LONG_S, begin, let_pass

SHORT_S = 0.05


def register(coordination: Coordination, *jobs: SmallJob, window: int = 1000) -> bool:
    return coordination.register_small_jobs(jobs, queue="fornada", window=window)


def job(job_id: str = "job", *, shards: int = 1, **more: object) -> SmallJob:
    return SmallJob(job_id=job_id, shard_count=shards, **more)


# Registration.


def test_registered_jobs_are_open_counted_and_enqueued(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])

    assert register(coordination, job("a"), job("b", shards=3))

    assert {"a", "b"} == coordination.open_jobs()
    progress = coordination.progress("b")
    assert progress.counted
    assert {0, 1, 2} == set(progress.enqueued)


def test_without_room_they_are_open_and_not_enqueued(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])

    assert not register(coordination, job("a"), window=0)

    assert {"a"} == coordination.open_jobs()
    assert coordination.progress("a").counted
    assert {} == coordination.progress("a").enqueued
    found = triage(coordination, "a")
    assert Triage(lost={"a": [0]}, unclear=set()) == found
    assert {"a": []} == found.seen


# Many shards in one step.


def test_attempts_at_several_shards_are_admitted_one_by_one(coordination: Coordination) -> None:
    register(coordination, job("new"), job("done"), job("leased"), job("ended"))
    coordination.mark_done("done", [ShardEnd(0)])
    begin(coordination, "leased", 0, "other")
    coordination.end_jobs({"ended": "CANCELLED"})
    names = ("new", "done", "leased", "ended", "unknown")

    begun = coordination.begin(
        [Claim(job_id=name, shard=0, attempt=f"at-{name}") for name in names], lease_s=LONG_S
    )

    assert ["begun", "done", "leased", "ended", "begun"] == [one.status for one in begun]
    assert [True, True, True, False, False] == [one.counted for one in begun]
    assert [True, False, False, False, False] == [one.is_first for one in begun]
    assert {0} == coordination.progress("new").running


def test_a_second_attempt_is_not_the_first(coordination: Coordination) -> None:
    register(coordination, job())
    begin(coordination, "job", 0, "a", lease_s=0.001)
    let_pass(coordination, 0.01)

    begun = begin(coordination, "job", 0, "b")

    assert ("begun", 2, True, False) == (
        begun.status,
        begun.attempts,
        begun.counted,
        begun.is_first,
    )


# Ends.


def test_several_ends_are_decided_at_once(coordination: Coordination) -> None:
    register(coordination, job("a"), job("b"))
    coordination.decide_ends({"b": b"earlier"})

    assert {"a": b"{}", "b": b"earlier"} == coordination.decide_ends(
        {"a": b"{}", "b": b"later"}, only_counted=True
    )
    assert {"a": b"{}"} == coordination.decide_ends({"a": b"later"})


def test_no_end_is_decided_of_a_job_that_ended_or_was_forgotten(
    coordination: Coordination,
) -> None:
    # given one that ended, one that Redis never knew, and one that was restored
    register(coordination, job("ended"))
    coordination.end_jobs({"ended": "CANCELLED"})
    coordination.restore_small_job(job("remembered"))

    proposed = dict.fromkeys(("ended", "unknown", "remembered"), b"{}")
    assert {} == coordination.decide_ends(proposed, only_counted=True)


def test_a_job_of_the_same_id_has_an_end_of_its_own(coordination: Coordination) -> None:
    coordination.decide_ends({"job": b"of the first"})
    coordination.end_jobs({"job": "FAILED"})

    coordination.open_job("job", new=True)

    assert b"of the second" == coordination.decide_ends({"job": b"of the second"})["job"]


# Triage.


def triage(coordination: Coordination, *job_ids: str, patience_s: float = LONG_S) -> Triage:
    return coordination.triage(job_ids, patience_s=patience_s)


def test_jobs_that_are_enqueued_or_leased_need_no_attention(
    coordination: Coordination,
) -> None:
    deadline = coordination.server_time() + timedelta(seconds=60)
    register(coordination, job("waits", deadline=deadline), job("works"), job("both", shards=3))
    begin(coordination, "works", 0, "a")
    begin(coordination, "both", 1, "b")
    coordination.mark_done("both", [ShardEnd(2)])

    assert Triage(lost={}, unclear=set()) == triage(coordination, "waits", "works", "both")


def test_shards_whose_lease_or_message_ran_out_are_lost(coordination: Coordination) -> None:
    register(coordination, job("died"), job("waits", shards=2))
    begin(coordination, "died", 0, "a", lease_s=SHORT_S)
    coordination.mark_done("waits", [ShardEnd(0)])
    let_pass(coordination, 2 * SHORT_S)

    found = triage(coordination, "died", "waits", patience_s=SHORT_S)
    assert Triage(lost={"died": [0], "waits": [1]}, unclear=set()) == found
    assert {"died": [0], "waits": [1]} == found.seen


def test_a_message_by_another_clock_waits_from_the_first_look(redis_url: str) -> None:
    coordination = RedisCoordination.from_settings(Settings(redis_url=SecretStr(redis_url)))
    coordination.restore_small_job(job())
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(redis_keys.JobStateKeys("job").enqueued, {"0": time.time() * 1000})

    lost = []
    for passed_s in (0, SHORT_S, SHORT_S):
        let_pass(coordination, passed_s)
        lost.append(triage(coordination, "job", patience_s=SHORT_S).lost)

    assert [{}, {}, {"job": [0]}] == lost


def test_jobs_of_other_queues_are_told_apart(coordination: Coordination) -> None:
    coordination.register_small_jobs([job("gpu"), job("done")], queue="gpu", window=0)
    coordination.mark_done("done", [ShardEnd(0)])

    assert Triage(lost={}, unclear=set(), others={"gpu", "done"}) == triage(
        coordination, "gpu", "done"
    )


def test_jobs_that_are_done_or_expired_or_not_known_to_be_small_are_unclear(
    coordination: Coordination,
) -> None:
    past = coordination.server_time() - timedelta(seconds=1)
    register(coordination, job("done"), job("expired", deadline=past))
    coordination.mark_done("done", [ShardEnd(0)])
    coordination.open_job("large", new=True)

    assert Triage(lost={}, unclear={"done", "expired", "large", "unknown"}) == triage(
        coordination, "done", "expired", "large", "unknown"
    )


def test_a_job_whose_shards_cannot_be_counted_is_unclear(redis_url: str) -> None:
    # given what others wrote into Redis, which would count for ever, or find nothing wrong
    coordination = RedisCoordination.from_settings(Settings(redis_url=SecretStr(redis_url)))
    counts = {f"job-{count}": count for count in ("1e15", "inf", "nan", "-1", "0", "1.5", "x")}
    with redis.Redis.from_url(redis_url) as client:
        for job_id, count in counts.items():
            register(coordination, job(job_id))
            client.hset(redis_keys.JobStateKeys(job_id).job, "shards", count)

    assert Triage(lost={}, unclear=set(counts)) == triage(coordination, *counts)


def test_a_restored_job_is_triaged_and_not_counted(
    coordination: Coordination,
) -> None:
    coordination.restore_small_job(job(shards=2))

    assert Triage(lost={"job": [0, 1]}, unclear=set()) == triage(coordination, "job")
    assert not coordination.progress("job").counted
    assert not begin(coordination, "job", 0, "a").is_first


def test_thousands_of_jobs_are_triaged(coordination: Coordination) -> None:
    names = [f"job-{n}" for n in range(1200)]
    for start in range(0, 1200, 400):
        register(coordination, *(job(name) for name in names[start : start + 400]))
    coordination.mark_done(names[7], [ShardEnd(0)])
    coordination.mark_done(names[1100], [ShardEnd(0)])

    assert Triage(lost={}, unclear={names[7], names[1100]}) == triage(coordination, *names)
