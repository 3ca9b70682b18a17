"""What Redis knows of small jobs, many at a time: on a real Valkey and in memory alike."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import SecretStr

from fornada.coordination.interface import Claim, Coordination, ShardEnd, SmallJob, Triage
from fornada.coordination.redis import RedisCoordination
from fornada.settings import Settings
from fornada.testing import InMemoryCoordination

LONG_S = 60.0
SHORT_S = 0.05


@pytest.fixture(params=["memory", "redis"])
def coordination(request: pytest.FixtureRequest) -> Coordination:
    if request.param == "memory":
        return InMemoryCoordination()
    url = request.getfixturevalue("redis_url")
    return RedisCoordination.from_settings(Settings(redis_url=SecretStr(url)))


def admit(coordination: Coordination, *jobs: SmallJob, window: int = 1000) -> bool:
    return coordination.register_small_jobs(jobs, queue="fornada", window=window)


def job(job_id: str = "job", *, shards: int = 1, **more: object) -> SmallJob:
    return SmallJob(job_id=job_id, shard_count=shards, **more)


# Admission.


def test_admitted_jobs_are_open_counted_and_enqueued(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])

    assert admit(coordination, job("a"), job("b", shards=3))

    assert {"a", "b"} == coordination.open_jobs()
    progress = coordination.progress("b")
    assert progress.counted
    assert {0, 1, 2} == set(progress.enqueued)


def test_without_room_they_are_open_and_not_enqueued(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])

    assert not admit(coordination, job("a"), window=0)

    assert {"a"} == coordination.open_jobs()
    assert coordination.progress("a").counted
    assert {} == coordination.progress("a").enqueued


def test_many_jobs_are_admitted_at_once(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])

    assert admit(coordination, *(job(f"job-{n}") for n in range(500)))

    assert 500 == len(coordination.open_jobs() or ())


# Many shards in one step.


def test_attempts_at_several_shards_begin_each_by_itself(coordination: Coordination) -> None:
    admit(coordination, job("new"), job("done"), job("leased"), job("ended"))
    coordination.mark_done("done", [ShardEnd(0)])
    coordination.begin([Claim("leased", 0, "other")], lease_s=LONG_S)
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
    admit(coordination, job())
    coordination.begin([Claim("job", 0, "a")], lease_s=0.001)
    _let_pass(0.01)

    begun = coordination.begin([Claim("job", 0, "b")], lease_s=LONG_S)[0]

    assert ("begun", 2, True, False) == (
        begun.status,
        begun.attempts,
        begun.counted,
        begun.is_first,
    )


def test_several_shards_are_marked_as_done_at_once(coordination: Coordination) -> None:
    admit(coordination, job(shards=5))
    for shard in range(3):
        coordination.begin([Claim("job", shard, "a")], lease_s=LONG_S)

    ends = [ShardEnd(shard=0), ShardEnd(shard=2, item_errors=3), ShardEnd(shard=1, dead=True)]
    assert 3 == coordination.mark_done("job", ends)

    progress = coordination.progress("job")
    assert ({0, 1, 2}, {1}, 3) == (progress.done, progress.dead, progress.item_errors)
    assert (set(), {3, 4}) == (progress.running, set(progress.enqueued))


# Ends.


def test_the_first_end_that_is_proposed_holds(coordination: Coordination) -> None:
    assert b"first" == coordination.decide_ends({"job": b"first"})["job"]
    assert b"first" == coordination.decide_ends({"job": b"second"})["job"]
    assert b"other" == coordination.decide_ends({"another": b"other"})["another"]


def test_several_ends_are_decided_at_once(coordination: Coordination) -> None:
    admit(coordination, job("a"), job("b"))
    coordination.decide_ends({"b": b"earlier"})

    assert {"a": b"{}", "b": b"earlier"} == coordination.decide_ends(
        {"a": b"{}", "b": b"later"}, only_counted=True
    )
    assert {"a": b"{}"} == coordination.decide_ends({"a": b"later"})


def test_no_end_is_decided_of_a_job_that_ended_or_was_forgotten(
    coordination: Coordination,
) -> None:
    # given one that ended, one that Redis never knew, and one that it only partly remembers
    admit(coordination, job("ended"))
    coordination.end_jobs({"ended": "CANCELLED"})
    coordination.restore_small_job(job("remembered"))

    proposed = dict.fromkeys(("ended", "unknown", "remembered"), b"{}")
    assert {} == coordination.decide_ends(proposed, only_counted=True)


def test_a_job_of_the_same_id_has_an_end_of_its_own(coordination: Coordination) -> None:
    coordination.decide_ends({"job": b"of the first"})
    coordination.end_jobs({"job": "FAILED"})

    coordination.open_job("job", new=True)

    assert b"of the second" == coordination.decide_ends({"job": b"of the second"})["job"]


def test_several_jobs_are_ended_at_once(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])
    admit(coordination, job("a"), job("b"), job("c"))

    coordination.end_jobs({"a": "SUCCEEDED", "b": "FAILED"})

    assert {"c"} == coordination.open_jobs()
    assert ["ended", "ended", "begun"] == [
        coordination.begin([Claim(name, 0, "x")], lease_s=LONG_S)[0].status
        for name in ("a", "b", "c")
    ]


def test_to_end_no_job_is_nothing(coordination: Coordination) -> None:
    coordination.end_jobs({})


# Triage.


def triage(coordination: Coordination, *job_ids: str, patience_s: float = LONG_S) -> Triage:
    return coordination.triage(job_ids, patience_s=patience_s)


NOTHING = Triage(lost={}, unclear=set())


def test_nothing_is_to_be_done_about_jobs_that_wait_or_are_at_work(
    coordination: Coordination,
) -> None:
    admit(coordination, job("waits"), job("works"), job("both", shards=3))
    coordination.begin([Claim("works", 0, "a")], lease_s=LONG_S)
    coordination.begin([Claim("both", 1, "b")], lease_s=LONG_S)
    coordination.mark_done("both", [ShardEnd(2)])

    assert NOTHING == triage(coordination, "waits", "works", "both")


def test_shards_whose_lease_or_message_ran_out_are_lost(
    coordination: Coordination, wait_until: Callable[..., None]
) -> None:
    admit(coordination, job("died"), job("waits", shards=2))
    coordination.begin([Claim("died", 0, "a")], lease_s=SHORT_S)
    coordination.mark_done("waits", [ShardEnd(0)])

    wait_until(
        lambda: (
            triage(coordination, "died", "waits", patience_s=SHORT_S)
            == Triage(lost={"died": [0], "waits": [1]}, unclear=set())
        )
    )


def test_jobs_that_found_no_room_are_lost_at_once(coordination: Coordination) -> None:
    admit(coordination, job(shards=2), window=0)

    assert Triage(lost={"job": [0, 1]}, unclear=set()) == triage(coordination, "job")


def test_more_is_to_be_asked_of_jobs_that_are_done_or_expired_or_not_known_to_be_small(
    coordination: Coordination,
) -> None:
    past = coordination.server_time() - timedelta(seconds=1)
    admit(coordination, job("done"), job("expired", deadline=past))
    coordination.mark_done("done", [ShardEnd(0)])
    coordination.open_job("large", new=True)

    assert Triage(lost={}, unclear={"done", "expired", "large", "unknown"}) == triage(
        coordination, "done", "expired", "large", "unknown"
    )


def test_a_deadline_to_come_is_no_matter(coordination: Coordination) -> None:
    admit(coordination, job(deadline=coordination.server_time() + timedelta(seconds=60)))

    assert NOTHING == triage(coordination, "job")


def test_what_is_told_again_of_a_forgotten_job_is_not_that_it_was_counted(
    coordination: Coordination,
) -> None:
    coordination.restore_small_job(job(shards=2))

    assert Triage(lost={"job": [0, 1]}, unclear=set()) == triage(coordination, "job")
    assert not coordination.progress("job").counted
    assert not coordination.begin([Claim("job", 0, "a")], lease_s=LONG_S)[0].is_first


def test_thousands_of_jobs_are_looked_through(coordination: Coordination) -> None:
    names = [f"job-{n}" for n in range(1200)]
    for start in range(0, 1200, 400):
        admit(coordination, *(job(name) for name in names[start : start + 400]))
    coordination.mark_done(names[7], [ShardEnd(0)])
    coordination.mark_done(names[1100], [ShardEnd(0)])

    assert Triage(lost={}, unclear={names[7], names[1100]}) == triage(coordination, *names)


def _let_pass(seconds: float) -> None:
    """Let the server's clock go on; nothing happens that could be waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass
