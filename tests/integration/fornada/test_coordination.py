"""Coordination on a real Valkey and in memory: both pass the same tests."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis
from pydantic import SecretStr

from fornada.coordination import redis_jobs
from fornada.coordination.interface import Beat, Claim, Coordination, Progress, ShardEnd, SmallJob
from fornada.coordination.redis import RedisCoordination
from fornada.errors import BrokerError
from fornada.local.ports import free_port
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings

from ...traced import TRACEPARENT
from .coordinating import LONG_S, begin, let_pass

SHORT_S = 0.05
SMALL = SmallJob(job_id="job", shard_count=1)


def _on_redis(url: str) -> RedisCoordination:
    return RedisCoordination.from_settings(Settings(redis_url=SecretStr(url)))


# Time.


def test_the_time_is_now_in_utc(coordination: Coordination) -> None:
    before = datetime.now(UTC)

    at = coordination.server_time()

    # Redis counts in microseconds, and rounds down.
    assert before - timedelta(milliseconds=2) <= at <= datetime.now(UTC)


def test_an_admission_says_when(coordination: Coordination) -> None:
    before = coordination.server_time()

    at = begin(coordination, "job", 0, "a").at

    assert before - timedelta(milliseconds=2) <= at <= coordination.server_time()


# Open jobs.


def test_open_jobs_are_unknown_until_the_list_is_complete(coordination: Coordination) -> None:
    coordination.open_job("a")
    assert coordination.open_jobs() is None

    coordination.rebuild_open_jobs(["b", "c"])
    coordination.open_job("d")

    assert {"a", "b", "c", "d"} == coordination.open_jobs()


def test_ended_and_dropped_jobs_are_not_open(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs(["a", "b", "c", "d"])

    coordination.end_jobs({"a": "SUCCEEDED", "d": "FAILED"})
    coordination.end_jobs({})
    coordination.drop_jobs(["b"])
    coordination.drop_jobs(["never there"])

    assert {"c"} == coordination.open_jobs()
    assert ["ended", "ended", "begun"] == [
        begin(coordination, job_id, 0, "x").status for job_id in ("a", "d", "c")
    ]


def test_what_submitted_a_job_is_known_until_it_ends_or_redis_forgets(
    coordination: Coordination,
) -> None:
    coordination.open_job("a", new=True)
    coordination.register_small_jobs([SMALL], queue="q", window=1)

    coordination.note_trace(["a", "job"], TRACEPARENT)
    begin(coordination, "a", 0, "x")

    assert {"a": TRACEPARENT, "job": TRACEPARENT} == coordination.traces_of(["job", "b", "a"])
    assert coordination.progress("a").counted
    coordination.end_jobs({"a": "SUCCEEDED"})
    assert {"job": TRACEPARENT} == coordination.traces_of(["a", "job"])


# Newest jobs.


def test_submitted_jobs_are_listed_newest_first(
    coordination: Coordination, wait_until: Callable[..., None]
) -> None:
    coordination.rebuild_open_jobs([])
    for job_id in ("b", "a", "c"):
        before = coordination.server_time()
        coordination.open_job(job_id, new=True)
        wait_until(lambda at=before: coordination.server_time() - at > timedelta(milliseconds=2))
    coordination.register_small_jobs([SMALL], queue="fornada", window=1)
    # Neither is a submission.
    coordination.open_job("a")
    coordination.mark_enqueued("b", [0])

    coordination.end_jobs({"c": "SUCCEEDED"})
    coordination.drop_jobs(["a"])

    assert ["job", "c", "b"] == coordination.newest_jobs(5)
    assert ["c"] == coordination.newest_jobs(1, skip=1)


def test_newest_jobs_are_unknown_until_the_list_is_complete(coordination: Coordination) -> None:
    coordination.open_job("new", new=True)
    assert [] == coordination.newest_jobs(5)

    # An earlier job, and a less exact time of the new one
    at = coordination.server_time()
    earlier = {"old": at - timedelta(days=1), "new": at - timedelta(days=2)}
    coordination.rebuild_open_jobs(["new"], newest=earlier)

    assert ["new", "old"] == coordination.newest_jobs(5)


# Attempts and leases.


def test_attempts_are_counted(coordination: Coordination) -> None:
    counts = []
    for attempt in ("a", "b", "c"):
        begun = begin(coordination, "job", 7, attempt, lease_s=0.001)
        counts.append((begun.status, begun.attempts))
        let_pass(coordination, 0.01)

    assert [("begun", 1), ("begun", 2), ("begun", 3)] == counts


def test_a_shard_under_lease_is_not_begun_by_another(coordination: Coordination) -> None:
    begin(coordination, "job", 0, "a")

    begun = begin(coordination, "job", 0, "b")

    assert ("leased", 0) == (begun.status, begun.attempts)
    # and the refusal does not count
    assert 1 == begin(coordination, "job", 0, "a").attempts


def test_a_message_that_a_lease_turned_away_is_not_waited_for(coordination: Coordination) -> None:
    coordination.register_small_jobs(
        [SmallJob(job_id="job", shard_count=1)], queue="fornada", window=9
    )
    coordination.renew([Claim("job", 0, "forged")], lease_s=30)

    assert "leased" == begin(coordination, "job", 0, "a", lease_s=30).status

    assert {} == coordination.triage(["job"], patience_s=60).lost
    let_pass(coordination, 30)
    assert {"job": [0]} == coordination.triage(["job"], patience_s=60).lost


def test_shards_and_jobs_do_not_share_leases(coordination: Coordination) -> None:
    begin(coordination, "job", 0, "a")

    assert "begun" == begin(coordination, "job", 1, "b").status
    assert "begun" == begin(coordination, "other", 0, "c").status


def test_a_renewed_lease_holds(coordination: Coordination) -> None:
    begin(coordination, "job", 0, "a", lease_s=SHORT_S)

    coordination.renew([Claim("job", 0, "a")], lease_s=LONG_S)
    let_pass(coordination, 2 * SHORT_S)

    assert "leased" == begin(coordination, "job", 0, "b").status


def test_renewing_brings_back_a_lease_that_was_lost(coordination: Coordination) -> None:
    coordination.renew([Claim("job", 0, "a")], lease_s=LONG_S)

    assert "leased" == begin(coordination, "job", 0, "b").status


def test_renewing_does_not_take_a_lease_from_another(coordination: Coordination) -> None:
    begin(coordination, "job", 0, "b")

    coordination.renew([Claim("job", 0, "a")], lease_s=LONG_S)

    assert "begun" == begin(coordination, "job", 0, "b").status
    assert "leased" == begin(coordination, "job", 0, "a").status


def test_the_last_error_is_remembered_beside_the_count(coordination: Coordination) -> None:
    for attempt in ("a", "b", "c"):
        begin(coordination, "job", 0, attempt, lease_s=0.001)
        let_pass(coordination, 0.01)
    assert coordination.last_error("job", 0) is None
    coordination.note_failure(Claim("job", 0, "a"), "ValueError: no")
    coordination.note_failure(Claim("job", 0, "a"), "KeyError: ü")

    assert "KeyError: ü" == coordination.last_error("job", 0)
    assert 4 == begin(coordination, "job", 0, "d").attempts


def test_an_attempt_whose_id_is_part_of_anothers_counts_too(coordination: Coordination) -> None:
    for attempt in ("aa", "a", "ba"):
        begun = begin(coordination, "job", 0, attempt, lease_s=0.001)
        let_pass(coordination, 0.01)
    assert 3 == begun.attempts

    coordination.forget_attempt(Claim("job", 0, "a"))
    coordination.forget_attempt(Claim("job", 0, "never there"))

    assert 3 == begin(coordination, "job", 0, "c").attempts
    assert 3 == begin(coordination, "job", 0, "c").attempts


def test_shards_given_back_are_free_uncounted_and_say_why(coordination: Coordination) -> None:
    coordination.open_job("job", new=True)
    coordination.mark_enqueued("job", [0, 1, 2])
    begin(coordination, "job", 0, "a")
    begin(coordination, "job", 1, "theirs")

    # when a worker gives back a shard it began, one that another holds, and one it never began
    claims = [Claim("job", shard, "a") for shard in (0, 1, 2)]
    for _ in range(2):
        coordination.give_back(claims, process="worker-1", why="no key")

    # then the first is free, as if it had never been begun, and the other's is untouched
    progress = coordination.progress("job")
    assert ({1}, {}, 1) == (progress.running, dict(progress.enqueued), progress.attempts)
    assert progress.counted
    assert 1 == begin(coordination, "job", 0, "b").attempts
    assert "leased" == begin(coordination, "job", 1, "c").status

    # and all know why, of each of a few processes, until the job ends
    coordination.hold_up("job", "worker-2", "no disk" * 1000)
    for number in range(20):
        coordination.give_back(claims[:1], process=f"w{number}", why="no key")
    held_up = coordination.held_up(["other", "job"])
    assert ["job"] == list(held_up)
    assert dict(coordination.progress("job").held_up) == held_up["job"]
    assert (16, "no key") == (len(held_up["job"]), held_up["job"]["worker-1"])
    assert 500 == len(held_up["job"]["worker-2"])
    coordination.end_jobs({"job": "EXPIRED"})
    assert {} == coordination.held_up(["job"])


def test_a_job_that_cannot_be_read_is_listed_as_such_and_not_as_open(
    coordination: Coordination,
) -> None:
    coordination.rebuild_open_jobs(["a", "b"])

    assert [True, False] == [coordination.quarantine_job("a", "no manifest") for _ in range(2)]

    assert {"b"} == coordination.open_jobs()
    assert {"a": "no manifest"} == coordination.unreadable_jobs()
    coordination.drop_jobs(["a"])
    assert {} == coordination.unreadable_jobs()


# Done and ended.


def test_done_shards_are_counted_once_each(coordination: Coordination) -> None:
    counts = [coordination.mark_done("job", [ShardEnd(shard)]) for shard in (3, 0, 3, 100_000)]

    assert [1, 2, 2, 3] == counts
    assert 1 == coordination.mark_done("other", [ShardEnd(3)])


def test_a_done_shard_is_not_begun_and_its_counters_are_gone(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0])
    begin(coordination, "job", 0, "a")
    coordination.note_failure(Claim("job", 0, "a"), "x")

    coordination.mark_done("job", [ShardEnd(0)])

    assert "done" == begin(coordination, "job", 0, "b").status
    assert coordination.last_error("job", 0) is None
    progress = coordination.progress("job")
    assert ({0}, set(), {}) == (progress.done, progress.running, progress.enqueued)


def test_nothing_of_an_ended_job_is_begun(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0, 1])
    coordination.mark_done("job", [ShardEnd(0)])

    coordination.end_jobs({"job": "CANCELLED"})
    coordination.end_jobs({"job": "CANCELLED"})

    for shard in (0, 1):
        assert "ended" == begin(coordination, "job", shard, "a").status
    assert Progress(done=set(), running=set(), dead=set()) == coordination.progress("job")
    assert "begun" == begin(coordination, "other", 0, "a").status


# Decisions.


def test_of_two_answers_the_first_holds(coordination: Coordination) -> None:
    told = [coordination.decide("end of job", a) for a in (b'{"a": "\xc3\xbc"}', b"{}")]

    assert [b'{"a": "\xc3\xbc"}'] * 2 == told
    assert b"{}" == coordination.decide("end of other", b"{}")


# Progress.


def test_a_shard_goes_from_enqueued_to_running_to_done(coordination: Coordination) -> None:
    seen = []
    for step in (
        lambda: coordination.mark_enqueued("job", [5]),
        lambda: begin(coordination, "job", 5, "a"),
        lambda: coordination.mark_done("job", [ShardEnd(5)]),
    ):
        step()
        progress = coordination.progress("job")
        seen.append((set(progress.enqueued), progress.running, progress.done))

    assert [({5}, set(), set()), (set(), {5}, set()), (set(), set(), {5})] == seen


def test_many_done_shards_are_those_that_were_marked(coordination: Coordination) -> None:
    shards = {0, 1, 7, 8, 100, 4095, 4096, 65_535, 100_000}
    for shard in shards:
        coordination.mark_done("job", [ShardEnd(shard)])

    assert shards == coordination.progress("job").done


def test_outcomes_in_the_store_are_added_to_those_counted(
    coordination: Coordination,
) -> None:
    coordination.mark_done("job", [ShardEnd(3)])
    coordination.mark_done("job", [ShardEnd(1000)])

    coordination.restore_done("job", [0, 9, 17])
    coordination.restore_done("job", [])

    assert {0, 3, 9, 17, 1000} == coordination.progress("job").done
    assert 6 == coordination.mark_done("job", [ShardEnd(4)])


def test_marks_without_an_outcome_are_taken_back(coordination: Coordination) -> None:
    ends = [ShardEnd(0), ShardEnd(3, dead=True), ShardEnd(1000, item_errors=2)]
    coordination.mark_done("job", ends)

    coordination.forget_done("job", [3, 1000])
    coordination.forget_done("job", [])

    assert Progress(done={0}) == coordination.progress("job")
    assert 2 == coordination.mark_done("job", [ShardEnd(3)])


def test_what_others_put_into_redis_takes_no_memory_and_decides_nothing(redis_url: str) -> None:
    # given a mark of a shard that no job can have, leases for ever, and ends that are no text
    coordination = _on_redis(redis_url)
    job = redis_keys.JobStateKeys("job")
    begin(coordination, "job", 0, "a")
    with redis.Redis.from_url(redis_url) as client:
        client.setbit(job.done, 2**28, 1)
        client.hset(job.leases, "0", f"nobody fornada 0 {10**15}")
        client.hset(redis_keys.leader("fornada"), "clock_ms", 3600 * 1000)
        # by the clock of a queue that nobody leads
        client.hset(job.leases, "1", "nobody other 0 3600000")
        client.set(job.lease_to("end"), "nobody other 0 3600000")
        client.lpush(job.end, "x")
        client.set(redis_keys.JobStateKeys("other").end, b"\xff\xfe")

    progress = coordination.progress("job")
    assert set() == progress.done == progress.leased
    assert "begun" == begin(coordination, "job", 1, "b").status
    assert coordination.hold_job_lease("end", "job", "a", lease_s=LONG_S)
    proposed = {"job": b"mine", "other": b"mine"}
    assert {"job": b"mine", "other": b"\xff\xfe"} == coordination.decide_ends(proposed)


@pytest.mark.parametrize("name", ["counters", "shared"])
def test_what_has_another_type_in_redis_is_as_good_as_lost(redis_url: str, name: str) -> None:
    """Whoever puts it there ends no round, no submission and no attempt."""
    # given a key of ours, of which the wrong type lies there
    coordination = _on_redis(redis_url)
    job = redis_keys.JobStateKeys("job")
    shared = [
        redis_keys.OPEN_JOBS,
        redis_keys.NEWEST_JOBS,
        redis_keys.UNREADABLE_JOBS,
        redis_keys.BUCKET,
        redis_keys.leader("fornada"),
    ]
    for key in [*job.counters, job.lease_to("end")] if name == "counters" else shared:
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
            for kind in ("lpush", "set"):
                client.delete(key)
                getattr(client, kind)(key, "x")

                # when a reconciler leads, and everything is done with a job
                last = coordination.beat("a", after=None, step_s=0)
                coordination.beat("a", after=last, step_s=0)
                coordination.rebuild_open_jobs(["job"])
                coordination.open_job("job", new=True)
                coordination.stamp(b"bucket")
                assert [0] == list(coordination.triage(["job"], patience_s=1).lost.get("job", [0]))
                coordination.mark_enqueued("job", [0])
                claim = Claim("job", 0, "a")
                assert "begun" == begin(coordination, "job", 0, "a").status
                coordination.renew([claim], lease_s=LONG_S)
                coordination.give_back([claim], process="w", why="x")
                assert coordination.progress("job").held_up == {"w": "x"}
                coordination.mark_done("job", [ShardEnd(0)])
                coordination.decide_ends({"job": b"{}"})
                client.lpush(redis_keys.decision("q"), "x")
                assert coordination.decide("q", b"{}") == b"{}"
                client.delete(redis_keys.decision("q"))
                assert coordination.hold_job_lease("end", "job", "a", lease_s=LONG_S)

                # then all of it is as in an empty Redis
                assert {0} == coordination.progress("job").done
                coordination.end_jobs({"job": "SUCCEEDED"})
                assert set() == coordination.open_jobs()


def test_what_is_no_id_is_no_open_job(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    coordination.rebuild_open_jobs(["job"])
    with redis.Redis.from_url(redis_url) as client:
        client.sadd(redis_keys.OPEN_JOBS, "../x", "a b", "\x1b[31m", b"\xff", "", "x" * 129)

    assert {"job"} == coordination.open_jobs()


def test_text_where_redis_counts_is_passed_over(redis_url: str) -> None:
    # given a job in whose tables others wrote
    coordination = _on_redis(redis_url)
    coordination.rebuild_open_jobs(["job"])
    coordination.register_small_jobs(
        [SmallJob(job_id="job", shard_count=2)], queue="fornada", window=1
    )
    begin(coordination, "job", 0, "a")
    job = redis_keys.JobStateKeys("job")
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(job.enqueued, {"x": 1, "-1": 1, "7": math.inf})
        client.hset(job.failed, mapping={"x": "dead", "1": "x", "2": "²", "3": "4"})
        client.hset(job.leases, "x", "a fornada 0 1000")
        for counted in ("x", "9" * 30, "-1e308", "9223372036854775807"):
            client.hset(job.job, mapping={"attempts": counted, "started_ms": counted})
            client.hset(redis_keys.leader("fornada"), mapping={"beat": "a 1", "at_ms": "²"})

            # when it is read, and counted on
            progress = coordination.progress("job")
            begin(coordination, "job", 1, f"b{counted}")

            # then what is no number counts as nothing
            assert ({0}, set(), 4) == (progress.running, progress.dead, progress.item_errors)
            assert {7} == progress.enqueued.keys() - {1}
            assert (0, None) == (progress.attempts, progress.started_at)
            assert coordination.leader() is None
            assert 1 == coordination.progress("job").attempts
            coordination.give_back([Claim("job", 1, f"b{counted}")], process="w", why="x")
        for count in ("inf", "nan", "1e12", "-1", "x"):
            client.hset(job.job, "shards", count)
            assert {"job"} == coordination.triage(["job"], patience_s=1).unclear


def test_enqueued_shards_have_an_age(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0, 5])
    let_pass(coordination, 0.1)
    # Enqueueing again restarts the age.
    coordination.mark_enqueued("job", [0])
    let_pass(coordination, 10)

    assert {0: 10, 5: 10.1} == coordination.progress("job").enqueued


def test_a_job_is_open_once_something_of_it_is_enqueued(coordination: Coordination) -> None:
    # given a list of open jobs that was lost after the job was added
    coordination.rebuild_open_jobs([])

    coordination.mark_enqueued("job", [])

    assert {"job"} == coordination.open_jobs()
    assert {} == coordination.progress("job").enqueued


def test_nothing_of_a_job_that_has_ended_is_enqueued(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])
    assert coordination.mark_enqueued("job", [0])
    coordination.end_jobs({"job": "SUCCEEDED"})

    assert not coordination.mark_enqueued("job", [0])
    assert (set(), {}) == (coordination.open_jobs(), coordination.progress("job").enqueued)
    # unless it was submitted again
    coordination.open_job("job")
    assert coordination.mark_enqueued("job", [0])


def test_a_begun_shard_whose_lease_ran_out_is_lost(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0])
    begin(coordination, "job", 0, "a", lease_s=30)
    for passed_s, leased in ((29.9, {0}), (0.1, set())):
        let_pass(coordination, passed_s)

        progress = coordination.progress("job")
        assert (leased, {}) == (progress.leased, progress.enqueued)


def test_a_lease_for_longer_than_ones_own_holds_as_long_as_ones_own(redis_url: str) -> None:
    # given leases that anyone wrote, on shards and on the job's end, one by another queue's clock
    coordination = _on_redis(redis_url)
    small = SmallJob(job_id="job", shard_count=2)
    coordination.register_small_jobs([small], queue="fornada", window=0)
    job = redis_keys.JobStateKeys("job")
    with redis.Redis.from_url(redis_url) as client:
        led_ms = round(coordination.server_time().timestamp() * 1000) - 30_000
        client.hset(redis_keys.leader("other"), "at_ms", led_ms)
        leases = {"0": f"nobody fornada 0 {10**15}", "1": "nobody other 0 3600000"}
        client.hset(job.leases, mapping=leases)
        client.set(job.lease_to("end"), "nobody fornada 0 3600000")

    let_pass(coordination, 29)
    assert {0} == coordination.progress("job").leased
    assert {"job": [1]} == coordination.triage(["job"], patience_s=0).lost
    assert "leased" == begin(coordination, "job", 0, "a", lease_s=30).status
    assert not coordination.hold_job_lease("end", "job", "a", lease_s=30)

    let_pass(coordination, 1)
    assert set() == coordination.progress("job").leased
    assert {"job": [0, 1]} == coordination.triage(["job"], patience_s=0).lost
    assert "begun" == begin(coordination, "job", 0, "a", lease_s=30).status
    assert coordination.hold_job_lease("end", "job", "a", lease_s=30)


def test_a_lease_from_a_clock_that_was_lost_is_nobodys(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    let_pass(coordination, 1000)
    begin(coordination, "job", 0, "a")
    with redis.Redis.from_url(redis_url) as client:
        client.delete(redis_keys.leader("fornada"))
        # Nor is what is no lease.
        client.hset(redis_keys.JobStateKeys("job").leases, mapping={"1": "x", "2": "a b c d"})
        client.hset(redis_keys.leader("fornada"), mapping={"beat": "\xff", "clock_ms": "x"})

    assert ["begun"] * 3 == [begin(coordination, "job", n, "b").status for n in range(3)]
    let_pass(coordination, 1)
    assert {0, 1, 2} == coordination.progress("job").leased


def test_a_shard_whose_attempt_failed_rests_and_does_not_run(coordination: Coordination) -> None:
    for shard in range(3):
        begin(coordination, "job", shard, "a", lease_s=30)
    let_pass(coordination, 20)
    coordination.note_failure(Claim("job", 0, "a"), "ValueError: no")
    coordination.forget_attempt(Claim("job", 1, "a"))
    # Both are still renewed with the rest of their bundle.
    coordination.renew([Claim("job", shard, "a") for shard in range(3)], lease_s=30)

    for passed_s, leased in ((0, {0, 1, 2}), (15, {2})):
        let_pass(coordination, passed_s)
        progress = coordination.progress("job")
        assert (leased, {2}) == (progress.leased, progress.running)


def test_nothing_runs_where_nobody_leads(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    begin(coordination, "job", 0, "a", lease_s=30)
    for ago_ms, running in ((1000, {0}), (31_000, set()), (-31_000, set())):
        let_pass(coordination, 0)
        with redis.Redis.from_url(redis_url) as client:
            # When it was last seen, by a clock that was perhaps set back since.
            at_ms = round(coordination.server_time().timestamp() * 1000) - ago_ms
            client.hset(redis_keys.leader("fornada"), "at_ms", at_ms)

        progress = coordination.progress("job")
        assert ({0}, running) == (progress.leased, progress.running)


def test_attempts_and_the_first_beginning_are_counted_for_the_job(
    coordination: Coordination,
) -> None:
    before = coordination.server_time()
    for shard, attempt in ((0, "a"), (1, "b"), (1, "b"), (2, "c")):
        begin(coordination, "job", shard, attempt)
    coordination.mark_done("job", [ShardEnd(0)])
    coordination.forget_attempt(Claim("job", 2, "c"))

    progress = coordination.progress("job")

    assert 2 == progress.attempts
    assert progress.started_at is not None
    assert before - timedelta(milliseconds=2) <= progress.started_at <= coordination.server_time()


def test_dead_shards_and_failed_items_are_counted_once_each(coordination: Coordination) -> None:
    ends = [ShardEnd(0, dead=True), *(ShardEnd(n, item_errors=n) for n in (1, 3)), ShardEnd(2)]
    for _ in range(2):
        assert 4 == coordination.mark_done("job", ends)

    progress = coordination.progress("job")

    assert ({0}, 4, {0, 1, 2, 3}) == (progress.dead, progress.item_errors, progress.done)


def test_only_a_new_job_is_fully_counted(coordination: Coordination) -> None:
    coordination.open_job("new", new=True)
    coordination.open_job("new")
    coordination.open_job("old")

    assert coordination.progress("new").counted
    assert not coordination.progress("old").counted


def test_a_new_job_inherits_nothing_from_one_of_the_same_id(coordination: Coordination) -> None:
    coordination.mark_done("job", [ShardEnd(0)])
    begin(coordination, "job", 1, "a")

    coordination.open_job("job", new=True)

    begun = [begin(coordination, "job", shard, "b") for shard in (0, 1)]
    assert [("begun", 1)] * 2 == [(b.status, b.attempts) for b in begun]


def test_another_producer_of_the_same_new_job_makes_nothing_forgotten(
    coordination: Coordination,
) -> None:
    # given a job that is running, and about to end
    coordination.open_job("job", new=True)
    begin(coordination, "job", 0, "a")
    coordination.decide_ends({"job": b"first"})

    # when a producer that looked before it existed lists it too
    coordination.open_job("job", new=True)

    assert "leased" == begin(coordination, "job", 0, "b").status
    assert b"first" == coordination.decide_ends({"job": b"second"})["job"]
    assert coordination.progress("job").counted


def test_a_job_of_an_id_that_just_ended_begins_and_is_not_fully_counted(
    coordination: Coordination,
) -> None:
    coordination.open_job("job", new=True)
    coordination.end_jobs({"job": "SUCCEEDED"})

    coordination.open_job("job", new=True)

    assert "begun" == begin(coordination, "job", 0, "a").status
    assert not coordination.progress("job").counted


# Leading.


def test_who_knows_the_last_beat_leads(coordination: Coordination) -> None:
    first = coordination.beat("a", after=None, step_s=0)
    assert Beat("a", 1) == first
    assert first == coordination.beat("b", after=None, step_s=0)

    # when the leader beats, then who saw the beat before does not succeed it
    second = coordination.beat("a", after=first, step_s=1)
    assert Beat("a", 2) == second
    assert second == coordination.beat("b", after=first, step_s=1)

    # and who saw that one does
    third = coordination.beat("b", after=second, step_s=1)
    assert Beat("b", 3) == third
    assert third == coordination.beat("a", after=second, step_s=1)


def test_the_queues_clock_moves_with_its_leader_alone(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0])
    first = coordination.beat("a", after=None, step_s=5)
    for holder, after, age_s in (("b", None, 5), ("a", first, 10), ("a", first, 10)):
        coordination.beat(holder, after=after, step_s=5)

        assert {0: age_s} == coordination.progress("job").enqueued


def test_each_jobs_end_is_summed_up_by_one(coordination: Coordination) -> None:
    told = [
        coordination.hold_job_lease("end", job_id, holder, lease_s=LONG_S)
        for job_id, holder in (("job", "b"), ("job", "c"), ("job", "b"), ("other", "c"))
    ]
    assert [True, False, True, True] == told

    let_pass(coordination, LONG_S)
    assert coordination.hold_job_lease("end", "job", "c", lease_s=LONG_S)


def test_beats_and_clocks_that_others_wrote_are_passed_over(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    for beat, clock_ms in (
        ("x", "x"),
        ("x -1", "-1"),
        ("x " + "9" * 30, "1e300"),
        ("x 1 1", "nan"),
    ):
        with redis.Redis.from_url(redis_url) as client:
            client.hset(redis_keys.leader("fornada"), mapping={"beat": beat, "clock_ms": clock_ms})
        begin(coordination, "job", 0, beat.replace(" ", "-"), lease_s=30)

        first = coordination.beat("a", after=None, step_s=10)
        second = coordination.beat("a", after=first, step_s=20)

        assert (Beat("a", 1), Beat("a", 2)) == (first, second)
        assert set() == coordination.progress("job").leased
    with redis.Redis.from_url(redis_url) as client:
        client.hset(redis_keys.leader("fornada"), "lease_ms", "nan")
    assert coordination.beat("b", after=None, step_s=0).lease_s is None


# Redis alone.


def test_the_queue_length_is_that_of_the_list(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("fornada", "a", "b", "c")

    assert 3 == _on_redis(redis_url).queue_length("fornada")
    assert 0 == _on_redis(redis_url).queue_length("other")


def test_every_key_expires_except_the_lists_of_jobs(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    coordination.rebuild_open_jobs(["job"])
    coordination.mark_enqueued("job", [0, 1])
    begin(coordination, "job", 0, "a")
    coordination.note_failure(Claim("job", 0, "a"), "x")
    coordination.mark_done("job", [ShardEnd(2, item_errors=1)])
    coordination.restore_done("job", [3])
    coordination.open_job("new", new=True)
    coordination.decide("manifest of over", b"{}")
    coordination.decide_ends({"open": b"{}"})
    coordination.register_small_jobs(
        [SmallJob(job_id="small", shard_count=2)], queue="fornada", window=1
    )
    coordination.decide_ends({"small": b"{}"})
    coordination.restore_small_job(SmallJob(job_id="known", shard_count=2))
    coordination.end_jobs({"over": "FAILED"})
    coordination.beat("a", after=None, step_s=0)

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for_ever = {key for key in client.scan_iter() if client.ttl(key) < 0}

    lists = {redis_keys.OPEN_JOBS, redis_keys.NEWEST_JOBS, redis_keys.OPEN_JOBS_COMPLETE}
    assert lists == for_ever


def test_only_so_many_newest_jobs_are_kept(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_jobs, "NEWEST_JOBS", 3)
    coordination = _on_redis(redis_url)
    at = coordination.server_time() - timedelta(days=1)
    old = {f"old-{n}": at + timedelta(seconds=n) for n in range(5)}
    coordination.rebuild_open_jobs([], newest=old)
    assert ["old-4", "old-3", "old-2"] == coordination.newest_jobs(9)

    coordination.open_job("new", new=True)
    coordination.register_small_jobs([SMALL], queue="fornada", window=1)

    assert {"new", "job", "old-4"} == {*coordination.newest_jobs(9)}


def test_a_failure_text_is_cut(redis_url: str) -> None:
    coordination = _on_redis(redis_url)

    coordination.note_failure(Claim("job", 0, "a"), "x" * 100_000)

    assert "x" * 500 == coordination.last_error("job", 0)


def test_the_server_says_what_it_is(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    assert coordination.leader() is None

    coordination.beat("worker-1", after=None, step_s=0)

    facts = coordination.server_facts()
    assert ("Valkey", "noeviction", True) == (
        facts.name,
        facts.maxmemory_policy,
        facts.append_only_file,
    )
    assert facts.version[0].isdigit()
    assert "worker-1" == coordination.leader().holder


def test_a_wiped_server_goes_on_with_the_same_client(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    begin(coordination, "job", 0, "a")
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.script_flush()

    begun = begin(coordination, "job", 0, "b")
    assert ("begun", 1) == (begun.status, begun.attempts)


def test_a_connection_cut_by_the_server_is_made_again(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    coordination.server_time()
    with redis.Redis.from_url(redis_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)

    assert "begun" == begin(coordination, "job", 0, "a").status


def test_a_server_that_is_away_or_refuses_us_is_a_broker_error_without_the_password(
    redis_url: str,
) -> None:
    host = redis_url.rpartition("@")[2]
    for url, fact in (
        (f"redis://:hunter2@127.0.0.1:{free_port()}/0", "cannot be reached.*FORNADA_REDIS_URL"),
        (f"redis://:hunter2@{host}", "refuses us.*FORNADA_REDIS_URL"),
        (f"redis://{host}", "refuses us.*password"),
    ):
        with pytest.raises(BrokerError, match=fact) as caught:
            _on_redis(url).server_time()

        assert "hunter2" not in str(caught.value)
        assert caught.value.may_pass_later


def test_every_call_translates_redis_errors() -> None:
    calls = {name for name in dir(RedisCoordination) if not name.startswith("_")}
    bare = {name for name in calls if not hasattr(getattr(RedisCoordination, name), "__wrapped__")}

    # A listener hears of them.
    assert {"from_settings", "listen"} == bare


def test_a_full_server_is_a_broker_error(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(BrokerError, match="maxmemory"):
                begin(coordination, "job", 0, "a")
        finally:
            client.config_set("maxmemory", before)
