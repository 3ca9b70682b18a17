"""The reconciler enqueues what was lost, ends what is over, and does nothing else."""

import math
from collections import Counter
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim, SmallJob
from fornada.errors import BrokerError, ForeignBucketError, StoreAccessError, StoreUnavailableError
from fornada.events import JobHeldUp, JobUnreadable, ShardsReenqueued
from fornada.events.queues import LeadershipNoted
from fornada.jobs.upkeep import looks
from fornada.jobs.upkeep.looks import ROUNDS_PER_LOOK
from fornada.jobs.upkeep.reconciler import _ROUNDS_PER_CENSUS
from fornada.queue.message import ShardMessage
from fornada.testing import InMemoryCoordination

ONE = np.ones((1, 3), np.float32)


def _queued(world: Any, job_id: str = "job") -> list[int]:
    return [message.shard for message in world.queue if message.job_id == job_id]


def _take_all(world: Any) -> list[ShardMessage]:
    taken = list(world.queue)
    world.queue.clear()
    return taken


# What is enqueued.


def test_shards_that_were_never_enqueued_are_enqueued_once(world: Any) -> None:
    world.submit([ONE] * 3)
    reconciler = world.new_reconciler()

    for _ in range(2):
        reconciler.round()

        assert [0, 1, 2] == _queued(world)


def test_no_more_are_enqueued_than_the_window_has_room_for(world: Any) -> None:
    # given a job of more shards than the window
    world.submit([ONE] * 7)
    reconciler = world.new_reconciler(enqueue_window=3)

    # when it goes round while workers take what is queued
    rounds = []
    for _ in range(4):
        reconciler.round()
        rounds.append(_queued(world))
        for message in _take_all(world):
            world.service.run(message)

    assert [[0, 1, 2], [3, 4, 5], [6], []] == rounds
    assert "SUCCEEDED" == world.jobs.final("job").state


def test_the_window_counts_what_others_have_queued(world: Any) -> None:
    world.submit([ONE] * 7)
    world.queue.extend(ShardMessage(job_id="other", shard=shard) for shard in range(2))

    world.new_reconciler(enqueue_window=3).round()

    assert [0] == _queued(world)


def test_jobs_share_the_window_evenly_and_small_ones_leave_the_rest(world: Any) -> None:
    world.submit([ONE] * 30, job_id="a")
    world.submit([ONE] * 30, job_id="b")
    world.submit([ONE], job_id="c")

    world.new_reconciler(enqueue_window=10).round()

    assert [4, 5, 1] == [len(_queued(world, job_id)) for job_id in "abc"]


@pytest.mark.parametrize(("others", "lost_after_s"), [(0, 60), (1, 600)])
def test_a_message_that_no_worker_began_counts_as_lost_and_later_in_a_long_queue(
    world: Any, others: int, lost_after_s: float
) -> None:
    # given messages that left the queue and never reached a worker
    world.submit([ONE] * 2)
    reconciler = world.new_reconciler(requeue_after_s=60)
    reconciler.round()
    _take_all(world)
    world.queue.extend([ShardMessage(job_id="other", shard=0)] * others)

    # when too little time has passed, then nothing is enqueued
    world.advance(lost_after_s)
    reconciler.round()
    assert [] == _queued(world)

    # when enough has passed, then they are
    world.advance(1)
    reconciler.round()
    assert [0, 1] == _queued(world)


def test_a_shard_under_lease_is_left_alone_and_enqueued_once_it_ran_out(world: Any) -> None:
    world.submit([ONE])
    world.coordination.begin([Claim("job", 0, "attempt")], lease_s=world.lease_s)
    reconciler = world.new_reconciler()

    reconciler.round()
    assert [] == _queued(world)

    world.advance(world.lease_s + 1)
    reconciler.round()
    assert [0] == _queued(world)


@pytest.mark.parametrize("is_small", [True, False])
def test_listeners_hear_which_shards_were_lost(
    world: Any,
    is_small: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    # given three shards: one at work, one enqueued, and one that waits for room
    job = (world.submit_small if is_small else world.submit)([ONE] * 3)
    if is_small:
        del world.coordination._memory.jobs[job.job_id].enqueued[2]
    else:
        world.coordination.mark_enqueued(job.job_id, [1])
    world.coordination.begin([Claim(job.job_id, 0, "attempt")], lease_s=world.lease_s)
    reconciler = world.new_reconciler()

    # when nothing of them is heard for a minute
    for _ in range(2):
        reconciler.round()
        world.queue.clear()
        world.advance(61)

    told = [event for event in world.heard if isinstance(event, ShardsReenqueued)]
    assert [(1, 0), (3, 3)] == [(event.shard_count, event.lost_count) for event in told]


def test_shards_with_an_outcome_are_not_enqueued(world: Any) -> None:
    world.submit([ONE] * 3)
    world.commit(1)

    world.new_reconciler().round()

    assert [0, 2] == _queued(world)


# Who leads.


def test_only_the_leader_enqueues_and_another_leads_once_it_shows_no_life(world: Any) -> None:
    # given a leader, which goes round five times, and a watcher whose machine slept meanwhile
    leader, other = world.new_reconciler("leader"), world.new_reconciler("other")
    leader.round()
    other.round()
    for _ in range(5):
        world.monotonic_s += 5
        leader.round()
    world.submit([ONE] * 2)
    other.round()
    assert [] == _queued(world)

    # when the leader is gone, then the watcher waits for 15 s by its own clock, whatever Redis's is
    for seconds, expected in ((14.9, []), (0.2, [0, 1])):
        world.now_s += 3600
        world.monotonic_s += seconds
        other.round()
        assert expected == _queued(world)


def test_listeners_hear_who_leads_when_that_changes(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, other = world.new_reconciler("leader"), world.new_reconciler("other")
    for _ in range(2):
        leader.round()
        other.round()
    away = BrokerError("Redis is away; try again")
    monkeypatch.setattr(InMemoryCoordination, "beat", Mock(side_effect=away))
    with pytest.raises(BrokerError):
        leader.round()

    told = [event.leads for event in world.heard if isinstance(event, LeadershipNoted)]

    assert [True, False, False] == told
    assert not leader.is_leading


def test_leases_run_out_as_the_leader_watches_and_not_by_redis_clock(world: Any) -> None:
    world.submit([ONE])
    world.coordination.begin([Claim("job", 0, "attempt")], lease_s=world.lease_s)
    reconciler = world.new_reconciler()
    reconciler.round()

    # when Redis's clock is set forward, and the leader sleeps for an hour
    world.now_s += 3600
    world.monotonic_s += 3600
    reconciler.round()

    # then the lease ends no sooner than one third of it is left for a worker to renew it
    assert [] == _queued(world)

    # and Redis's clock may be set back
    world.now_s -= 7200
    watched_s = world.lease_s / 4
    while not _queued(world):
        world.monotonic_s += 1
        watched_s += 1
        reconciler.round()
    assert world.lease_s == pytest.approx(watched_s, abs=1)


def test_a_lease_that_differs_from_the_leaders_is_told(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    leader, same = world.new_reconciler("leader"), world.new_reconciler("same")
    other = world.new_reconciler("other", lease_s=10 * world.lease_s)

    for each in (leader, same, other, other):
        each.round()

    told = [line.getMessage() for line in caplog.records]
    assert [True] == ["FORNADA_LEASE_S differs from the leader's" in line for line in told]


def test_two_leaders_enqueue_a_shard_once(world: Any) -> None:
    # given a Redis that forgets who leads, but not what was enqueued
    world.submit([ONE] * 2)
    for holder in ("one", "other"):
        world.new_reconciler(holder).round()
        world.coordination._memory.beats.clear()

    assert [0, 1] == _queued(world)


def test_a_job_of_another_queue_is_left_alone_however_it_stands(world: Any) -> None:
    # given jobs of another queue: lost, small and lost, expired, complete, and cancelled
    for job_id in ("lost", "expired", "complete", "cancelled"):
        deadline_s = -1 if job_id == "expired" else 1000
        world.submit([ONE], job_id=job_id, queue="gpu", deadline_s=deadline_s)
    small = world.submit_small([ONE], queue="gpu")
    world.commit(0, job_id="complete")
    world.jobs.request_cancel("cancelled", "enough")
    job_ids = {"lost", "expired", "complete", "cancelled", small.job_id}

    # when the default queue's reconciler goes round, also after Redis was wiped
    reconciler = world.new_reconciler(requeue_after_s=1)
    for disturb in (lambda: None, lambda: world.advance(100), world.coordination.flush):
        disturb()
        reconciler.round()

        # then it touches none, and reads each once
        assert [] == world.queue
        assert [None] * 5 == [world.jobs.final(job_id) for job_id in job_ids]
        assert {} == world.requests(reconciler.round)

    # and their own ends them
    world.new_reconciler(queue="gpu").round()
    assert {"lost", small.job_id} == {message.job_id for message in world.queue}
    assert ["EXPIRED", "SUCCEEDED", "CANCELLED"] == [
        world.jobs.final(job_id).state for job_id in ("expired", "complete", "cancelled")
    ]


# What Redis forgot.


def test_open_jobs_and_what_is_done_are_found_again_after_redis_was_wiped(world: Any) -> None:
    # given an open job and one that has ended
    world.submit([ONE] * 3)
    world.submit([ONE], job_id="over")
    world.jobs.finish(world.jobs.manifest("over"), "CANCELLED", "enough")
    reconciler = world.new_reconciler()
    reconciler.round()
    for shard in (0, 2):
        world.run(shard)
    _take_all(world)

    # when Redis is wiped
    world.coordination.flush()
    reconciler.round()

    # then the open one continues, and the other stays ended
    assert [1] == _queued(world)
    assert {0, 2} == world.coordination.progress("job").done
    assert [] == _queued(world, "over")
    assert {"job"} == world.coordination.open_jobs()


def test_a_job_that_redis_does_not_know_is_found_by_the_census(world: Any) -> None:
    # given a complete list of open jobs, and a job that is missing from it
    reconciler = world.new_reconciler()
    reconciler.round()
    world.submit([ONE])
    world.coordination.drop_jobs(["job"])

    # when it does enough rounds for a census of the store
    for _ in range(_ROUNDS_PER_CENSUS - 1):
        reconciler.round()

    assert [0] == _queued(world)


# What is over.


@pytest.mark.parametrize(
    ("status", "expected"), [("ok", ("SUCCEEDED", 2, 0)), ("dead", ("PARTIAL", 1, 1))]
)
def test_a_job_whose_outcomes_are_all_there_is_ended(
    world: Any, status: str, expected: tuple[object, ...]
) -> None:
    world.submit([ONE] * 2)
    world.commit(0)
    world.commit(1, status=status)

    world.new_reconciler().round()

    final = world.jobs.final("job")
    assert expected == (final.state, final.shards_ok, final.shards_dead)
    assert set() == world.coordination.open_jobs()
    assert "ended" == world.run()


def test_an_interrupted_cancel_is_finished_with_its_reason(world: Any) -> None:
    # given a producer that died between its request and the job's end
    world.submit([ONE] * 2)
    world.commit(1)
    world.jobs.request_cancel("job", "wrong images")

    world.new_reconciler().round()

    final = world.jobs.final("job")
    assert final is not None
    assert ("CANCELLED", "wrong images", [[1, 1]]) == (
        final.state,
        final.reason,
        final.outcome_ranges,
    )
    assert [] == _queued(world)


def test_a_cancel_that_comes_after_the_last_outcome_is_too_late(world: Any) -> None:
    world.submit([ONE])
    world.commit(0)
    world.jobs.request_cancel("job", "wrong images")

    world.new_reconciler().round()

    assert "SUCCEEDED" == world.jobs.final("job").state


def test_a_job_past_its_deadline_is_ended(world: Any) -> None:
    world.submit([ONE] * 2, deadline_s=60)
    reconciler = world.new_reconciler()
    world.advance(60)
    reconciler.round()
    assert world.jobs.final("job") is None

    world.advance(1)
    reconciler.round()

    assert "EXPIRED" == world.jobs.final("job").state


def test_a_job_of_a_queue_without_workers_is_whole_after_an_hour_and_over_after_a_week(
    world: Any,
) -> None:
    # given a job that was enqueued by the last of its queue's workers
    world.submit([ONE])
    world.new_reconciler("gone").round()
    found = []
    for hours in (1, 7 * 24):
        world.now_s += 3600 * hours

        # when others come, of which one leads as soon as it saw nobody lead
        reconciler = world.new_reconciler(f"after {hours}")
        for _ in range(4):
            world.monotonic_s += 5
            reconciler.round()
        final = world.jobs.final("job")
        found.append((_queued(world), final and final.state))

    assert [([0], None), ([0], "EXPIRED")] == found


def test_redis_is_told_of_an_end_that_it_missed(world: Any) -> None:
    # given a producer that died after it wrote the end
    reconciler = world.new_reconciler()
    reconciler.round()
    manifest = world.submit([ONE])
    world.jobs.finish(manifest, "CANCELLED", "enough")

    reconciler.round()

    assert set() == world.coordination.open_jobs()
    assert "ended" == world.run()
    assert [] == _queued(world)


def test_a_job_that_is_not_submitted_within_ten_minutes_is_forgotten(world: Any) -> None:
    # given producers that have not written their manifests
    reconciler = world.new_reconciler()
    reconciler.round()
    for job_id in ("ghost", "job"):
        world.coordination.open_job(job_id)
    reconciler.round()

    world.now_s += 7200
    world.monotonic_s += 600
    reconciler.round()
    assert {"ghost", "job"} == world.coordination.open_jobs()

    # when it is looked at again, after two rounds
    world.submit([ONE])
    world.monotonic_s += 1
    reconciler.round()
    reconciler.round()
    assert {"job"} == world.coordination.open_jobs()
    assert [0] == _queued(world)


@pytest.mark.parametrize("small", [False, True])
def test_jobs_that_were_made_up_in_redis_cost_a_listing(
    world: Any, caplog: pytest.LogCaptureFixture, *, small: bool
) -> None:
    # given a thousand jobs that nobody submitted, and one whose messages were lost
    made_up = [SmallJob(job_id=f"a-{number:04}", shard_count=1) for number in range(1000)]
    world.coordination.rebuild_open_jobs(each.job_id for each in made_up)
    if small:
        world.coordination.register_small_jobs(made_up, queue="fornada", window=0)
    world.submit([ONE])
    reconciler = world.new_reconciler()

    asked = Counter[str]()
    for _ in range(10):
        asked += world.requests(reconciler.round)
        assert [0] == _queued(world)

    assert asked["get manifest.json"] < 20
    assert 1 == caplog.messages.count("jobs listed as open are not in the store")


# What is broken.


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("b/manifest.json", b"{}"),
        ("b/final.json", b"{}"),
        ("b/outcome/00000/00000000.json", b"no outcome"),
        ("b/outcome/notes.txt", b"somebody's"),
        ("b/control.json", b'{"schema_version": 2}'),
        (".DS Store/manifest.json", b"Bud1"),
    ],
)
@pytest.mark.parametrize("wiped", [True, False])
def test_a_job_that_cannot_be_read_does_not_hold_up_the_others(
    world: Any, key: str, data: bytes, *, wiped: bool
) -> None:
    # given a broken job between two others
    for job_id in ("a", "b", "c"):
        world.submit([ONE], job_id=job_id)
    world.objects.put(f"jobs/{key}", data)
    if wiped:
        world.coordination.flush()

    world.new_reconciler().round()

    assert [0] == _queued(world, "a")
    assert [0] == _queued(world, "c")


@pytest.mark.parametrize("error", [StoreUnavailableError("503"), BrokerError("away")])
def test_after_a_failed_round_the_next_does_the_work(world: Any, error: Exception) -> None:
    world.submit([ONE])
    reconciler = world.new_reconciler()

    def fail(_operation: str, _key: str) -> None:
        raise error

    world.objects.before = fail
    with pytest.raises(type(error)):
        reconciler.round()
    world.objects.before = lambda _operation, _key: None

    reconciler.round()

    assert [0] == _queued(world)


def test_a_round_asks_the_store_nothing_while_redis_knows(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine a look takes long; the next one is due by rounds nevertheless.
    monkeypatch.setattr(looks, "_LOOKING_SHARE", math.inf)
    # given a job with shards that are done, leased and enqueued
    world.submit([ONE] * 4)
    reconciler = world.new_reconciler()
    reconciler.round()
    world.run(0)
    world.coordination.begin([Claim("job", 1, "attempt")], lease_s=10_000)
    reads: list[str] = []
    world.objects.before = lambda operation, key: reads.append(f"{operation} {key}")

    for _ in range(ROUNDS_PER_LOOK):
        reconciler.round()
    assert [] == reads

    # when a look is due, then it sees what Redis was not told
    world.commit(2)
    world.jobs.request_cancel("job", "enough")
    reconciler.round()
    assert "CANCELLED" == world.jobs.final("job").state


def test_the_thread_does_rounds_until_it_is_stopped(world: Any, wait_until: Any) -> None:
    world.submit([ONE])
    failures = [StoreUnavailableError("once"), ValueError("unexpected")]

    def fail_at_first(_operation: str, _key: str) -> None:
        if failures:
            raise failures.pop()

    world.objects.before = fail_at_first
    reconciler = world.new_reconciler(reconcile_interval_s=0.1)

    reconciler.start()
    wait_until(lambda: _queued(world))
    reconciler.stop()

    assert not reconciler._thread.is_alive()


# Jobs that no process can go on with.


def test_a_job_that_workers_give_back_is_tried_ever_more_rarely_until_one_takes_it(
    world: Any,
) -> None:
    # given a job of many shards, and workers of its queue that cannot load its model
    world.submit([np.ones((1, 3), np.float32)] * 200)
    reconciler = world.new_reconciler()
    sent: list[int] = []

    def rounds(count: int, *, gives_back: bool) -> None:
        for _ in range(count):
            reconciler.round()
            sent.append(len(world.queue))
            for message in world.queue:
                claim = Claim("job", message.shard, "x")
                if gives_back:
                    world.coordination.give_back([claim], process="w", why="no key")
                else:
                    world.coordination.begin([claim], lease_s=1e6)
            world.queue.clear()
            world.advance(1)

    rounds(200, gives_back=True)

    # then all are tried once, and then one after 1, 2, 4, 8, … rounds
    assert 200 == sent[0]
    tried = [number for number, count in enumerate(sent) if count]
    assert [0, 1, 2, 4, 8, 16, 32, 64, 128, 192] == tried
    assert 209 == sum(sent)
    # and one event says so, with the reason
    (event,) = [event for event in world.heard if isinstance(event, JobHeldUp)]
    assert ("job", "w", "no key") == (event.job_id, event.processes, event.why)

    # when a worker can, then it soon has as much as it takes
    sent.clear()
    rounds(64, gives_back=False)
    taken = [count for count in sent if count]
    assert [1, 4, 16, 64, 115] == taken


def test_a_job_that_cannot_be_read_is_listed_as_such_once_and_not_looked_at_again(
    world: Any,
) -> None:
    # given a manifest and an end that somebody else wrote, and a sound job
    for job_id in ("manifest", "end", "sound"):
        world.submit(job_id=job_id)
    job = keys.JobKeys
    for key in (job("manifest").manifest, job("end").final):
        world.objects.put(key, b"{}")
    reconciler = world.new_reconciler()

    # when the reconciler has looked at each
    for _ in range(2):
        reconciler.round()
    broken = {"manifest", "end"}
    asked = world.requests(lambda: [reconciler.round() for _ in range(100)])

    # then it did so once, said so once, and the sound one goes on
    told = [event.job_id for event in world.heard if isinstance(event, JobUnreadable)]
    assert sorted(broken) == sorted(told)
    assert broken == world.coordination.unreadable_jobs().keys()
    assert {"sound"} == world.coordination.open_jobs()
    assert {"sound"} == {message.job_id for message in world.queue}
    assert 0 == asked["get manifest.json"]

    # and not even a census says it again
    for _ in range(_ROUNDS_PER_CENSUS):
        reconciler.round()
    assert 2 == len([event for event in world.heard if isinstance(event, JobUnreadable)])


def test_a_store_that_refuses_one_job_holds_up_no_other(world: Any) -> None:
    for job_id in ("a", "b", "c"):
        world.submit(job_id=job_id)
    refused: list[str] = []

    def refuse(_operation: str, key: str) -> None:
        if "/b/" in key:
            refused.append(key)
            raise StoreAccessError("not for you")

    world.objects.before = refuse
    reconciler = world.new_reconciler()

    for _ in range(130):
        reconciler.round()

    # then the others are enqueued, and the one is looked at ever more rarely
    assert {"a", "c"} == {message.job_id for message in world.queue}
    assert 12 >= len(refused) >= 8
    assert {"b": {"worker-1": "not for you"}} == world.coordination.held_up(["a", "b", "c"])
    assert ["b"] == [event.job_id for event in world.heard if isinstance(event, JobHeldUp)]

    # and it goes on once the store lets it
    world.objects.before = lambda _operation, _key: None
    for _ in range(64):
        reconciler.round()
    assert {"a", "b", "c"} == {message.job_id for message in world.queue}


def test_a_reconciler_of_another_bucket_does_nothing_even_after_redis_has_forgotten(
    world: Any,
) -> None:
    world.submit()
    asked: list[int] = []

    def foreign() -> None:
        asked.append(1)
        raise ForeignBucketError("another's")

    reconciler = world.new_reconciler(check_bucket=foreign)
    for _ in range(2):
        with pytest.raises(ForeignBucketError):
            reconciler.round()
    assert [] == world.queue

    # when the bucket is the right one, then it is asked once, and again once Redis has forgotten
    reconciler = world.new_reconciler(check_bucket=lambda: asked.append(1))
    asked.clear()
    for count in (1, 2):
        for _ in range(3):
            reconciler.round()
        assert count == len(asked)
        world.coordination.flush()
    assert {"job"} == {message.job_id for message in world.queue}
