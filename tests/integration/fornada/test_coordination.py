"""What Redis knows of jobs, shown on a real Valkey and on the stand-in in memory alike."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import redis
from pydantic import SecretStr

from fornada import keys
from fornada.coordination import Coordination, RedisCoordination
from fornada.errors import BrokerError, ConfigError
from fornada.local.ports import free_port
from fornada.settings import Settings
from fornada.testing import InMemoryCoordination

LONG_S = 60.0
SHORT_S = 0.05


def _on_redis(url: str) -> RedisCoordination:
    return RedisCoordination.from_settings(Settings(redis_url=SecretStr(url)))


@pytest.fixture(params=["memory", "redis"])
def coordination(request: pytest.FixtureRequest) -> Coordination:
    if request.param == "memory":
        return InMemoryCoordination()
    return _on_redis(request.getfixturevalue("redis_url"))


# Time.


def test_the_time_is_now_in_utc(coordination: Coordination) -> None:
    away_s = abs((coordination.server_time() - datetime.now(UTC)).total_seconds())

    assert away_s < 5


def test_an_attempt_is_told_when_it_began(coordination: Coordination) -> None:
    before = coordination.server_time()

    at = coordination.begin("job", 0, "a", lease_s=LONG_S).at

    assert -0.002 <= (at - before).total_seconds() < 5


# Open jobs.


def test_open_jobs_are_unknown_until_the_list_is_complete(coordination: Coordination) -> None:
    coordination.open_job("a")
    assert coordination.open_jobs() is None

    coordination.rebuild_open_jobs(["b", "c"])
    coordination.open_job("d")

    assert {"a", "b", "c", "d"} == coordination.open_jobs()


def test_rebuilding_from_an_empty_store_is_complete_too(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs([])

    assert set() == coordination.open_jobs()


def test_ended_and_dropped_jobs_are_not_open(coordination: Coordination) -> None:
    coordination.rebuild_open_jobs(["a", "b", "c"])

    coordination.end_job("a", "SUCCEEDED")
    coordination.drop_job("b")
    coordination.drop_job("never there")

    assert {"c"} == coordination.open_jobs()


# Attempts and leases.


def test_attempts_are_counted(coordination: Coordination) -> None:
    counts = []
    for attempt in ("a", "b", "c"):
        begun = coordination.begin("job", 7, attempt, lease_s=0.001)
        counts.append((begun.status, begun.attempts))
        _let_pass(0.01)

    assert [("begun", 1), ("begun", 2), ("begun", 3)] == counts


def test_beginning_the_same_attempt_again_counts_once(coordination: Coordination) -> None:
    first = [coordination.begin("job", 0, "a", lease_s=LONG_S) for _ in range(3)]

    assert [("begun", 1)] * 3 == [(begun.status, begun.attempts) for begun in first]


def test_a_shard_under_lease_is_not_begun_by_another(coordination: Coordination) -> None:
    coordination.begin("job", 0, "a", lease_s=LONG_S)

    begun = coordination.begin("job", 0, "b", lease_s=LONG_S)

    assert ("leased", 0) == (begun.status, begun.attempts)
    # and that was no attempt
    assert 1 == coordination.begin("job", 0, "a", lease_s=LONG_S).attempts


def test_shards_and_jobs_do_not_share_leases(coordination: Coordination) -> None:
    coordination.begin("job", 0, "a", lease_s=LONG_S)

    assert "begun" == coordination.begin("job", 1, "b", lease_s=LONG_S).status
    assert "begun" == coordination.begin("other", 0, "c", lease_s=LONG_S).status


def test_a_lease_runs_out(coordination: Coordination, wait_until: Callable[..., None]) -> None:
    coordination.begin("job", 0, "a", lease_s=SHORT_S)

    wait_until(lambda: coordination.begin("job", 0, "b", lease_s=LONG_S).status == "begun")

    assert 2 == coordination.begin("job", 0, "b", lease_s=LONG_S).attempts


def test_a_renewed_lease_holds(coordination: Coordination) -> None:
    coordination.begin("job", 0, "a", lease_s=SHORT_S)

    coordination.renew("job", 0, "a", lease_s=LONG_S)
    _let_pass(2 * SHORT_S)

    assert "leased" == coordination.begin("job", 0, "b", lease_s=LONG_S).status


def test_renewing_brings_back_a_lease_that_was_lost(coordination: Coordination) -> None:
    coordination.renew("job", 0, "a", lease_s=LONG_S)

    assert "leased" == coordination.begin("job", 0, "b", lease_s=LONG_S).status


def test_renewing_does_not_take_a_lease_from_another(coordination: Coordination) -> None:
    coordination.begin("job", 0, "b", lease_s=LONG_S)

    coordination.renew("job", 0, "a", lease_s=LONG_S)

    assert "begun" == coordination.begin("job", 0, "b", lease_s=LONG_S).status
    assert "leased" == coordination.begin("job", 0, "a", lease_s=LONG_S).status


def test_failures_are_remembered_and_counted(coordination: Coordination) -> None:
    for attempt in ("a", "b", "c"):
        coordination.begin("job", 0, attempt, lease_s=0.001)
        _let_pass(0.01)
    coordination.note_failure("job", 0, "a", "ValueError: no")
    coordination.note_failure("job", 0, "b", "KeyError: ü")

    assert {"ValueError: no", "KeyError: ü"} == set(coordination.failures("job", 0))
    assert 4 == coordination.begin("job", 0, "d", lease_s=LONG_S).attempts


def test_no_failures_are_none(coordination: Coordination) -> None:
    assert [] == coordination.failures("job", 0)


def test_a_forgotten_attempt_does_not_count(coordination: Coordination) -> None:
    coordination.begin("job", 0, "a", lease_s=0.001)
    _let_pass(0.01)

    coordination.forget_attempt("job", 0, "a")
    coordination.forget_attempt("job", 0, "never there")

    assert 1 == coordination.begin("job", 0, "b", lease_s=LONG_S).attempts


# Done and ended.


def test_done_shards_are_counted_once_each(coordination: Coordination) -> None:
    counts = [coordination.mark_done("job", shard) for shard in (3, 0, 3, 100_000)]

    assert [1, 2, 2, 3] == counts
    assert 1 == coordination.mark_done("other", 3)


def test_a_done_shard_is_not_begun_and_its_counters_are_gone(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0])
    coordination.begin("job", 0, "a", lease_s=LONG_S)
    coordination.note_failure("job", 0, "a", "x")

    coordination.mark_done("job", 0)

    assert "done" == coordination.begin("job", 0, "b", lease_s=LONG_S).status
    assert [] == coordination.failures("job", 0)
    assert {} == dict(coordination.in_flight("job", [0]))


def test_nothing_of_an_ended_job_is_begun(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0, 1])
    coordination.mark_done("job", 0)

    coordination.end_job("job", "CANCELLED")
    coordination.end_job("job", "CANCELLED")

    for shard in (0, 1):
        assert "ended" == coordination.begin("job", shard, "a", lease_s=LONG_S).status
    assert {} == dict(coordination.in_flight("job", [0, 1]))
    assert "begun" == coordination.begin("other", 0, "a", lease_s=LONG_S).status


# In flight.


def test_enqueued_shards_have_an_age(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0, 5])
    _let_pass(0.05)

    flying = coordination.in_flight("job", [0, 1, 5])

    assert {0, 5} == set(flying)
    assert 0.04 <= flying[5] < 5


def test_enqueueing_again_makes_a_shard_young_again(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0])
    _let_pass(0.2)

    coordination.mark_enqueued("job", [0])

    assert coordination.in_flight("job", [0])[0] < 0.2


def test_enqueueing_nothing_is_no_error(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [])

    assert {} == dict(coordination.in_flight("job", []))


def test_shards_under_lease_have_no_age_and_stop_waiting(coordination: Coordination) -> None:
    coordination.mark_enqueued("job", [0, 1])
    coordination.begin("job", 0, "a", lease_s=LONG_S)

    flying = coordination.in_flight("job", [0, 1, 2])

    assert flying[0] is None
    assert flying[1] is not None
    assert 2 not in flying


def test_a_begun_shard_whose_lease_ran_out_is_not_in_flight(
    coordination: Coordination, wait_until: Callable[..., None]
) -> None:
    coordination.mark_enqueued("job", [0])
    coordination.begin("job", 0, "a", lease_s=SHORT_S)

    wait_until(lambda: {} == dict(coordination.in_flight("job", [0])))


# Leading.


def test_one_leads_and_goes_on_leading(coordination: Coordination) -> None:
    told = [coordination.lead(holder, lease_s=LONG_S) for holder in ("a", "b", "a", "b")]

    assert [True, False, True, False] == told


def test_another_leads_when_the_leader_is_silent(
    coordination: Coordination, wait_until: Callable[..., None]
) -> None:
    coordination.lead("a", lease_s=SHORT_S)

    wait_until(lambda: coordination.lead("b", lease_s=LONG_S))

    assert not coordination.lead("a", lease_s=LONG_S)


# Redis alone.


def test_the_queue_length_is_that_of_the_list(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("fornada", "a", "b", "c")

    assert 3 == _on_redis(redis_url).queue_length("fornada")
    assert 0 == _on_redis(redis_url).queue_length("other")


def test_every_key_runs_out_some_day_but_the_lists_of_jobs(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    coordination.rebuild_open_jobs(["job"])
    coordination.mark_enqueued("job", [0, 1])
    coordination.begin("job", 0, "a", lease_s=LONG_S)
    coordination.mark_done("job", 2)
    coordination.end_job("over", "FAILED")
    coordination.lead("a", lease_s=LONG_S)

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for_ever = {key for key in client.scan_iter() if client.ttl(key) < 0}

    assert {keys.REDIS_OPEN_JOBS, keys.REDIS_OPEN_JOBS_COMPLETE} == for_ever


def test_a_failure_text_is_kept_short(redis_url: str) -> None:
    coordination = _on_redis(redis_url)

    coordination.note_failure("job", 0, "a", "x" * 100_000)

    assert 500 == len(coordination.failures("job", 0)[0])


def test_the_server_says_what_it_is(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    assert coordination.leader() is None

    coordination.lead("worker-1", lease_s=LONG_S)

    facts = coordination.server_facts()
    assert "Valkey" == facts["name"]
    assert facts["version"][0].isdigit()
    assert {"maxmemory_policy", "append_only_file"} < set(facts)
    assert "worker-1" == coordination.leader()


def test_a_wiped_server_goes_on_with_the_same_client(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    coordination.begin("job", 0, "a", lease_s=LONG_S)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.script_flush()

    assert ("begun", 1) == (
        (begun := coordination.begin("job", 0, "b", lease_s=LONG_S)).status,
        begun.attempts,
    )


def test_a_connection_cut_by_the_server_is_made_again(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    coordination.server_time()
    with redis.Redis.from_url(redis_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)

    assert "begun" == coordination.begin("job", 0, "a", lease_s=LONG_S).status


def test_a_wrong_password_is_a_broker_error_without_it(redis_url: str) -> None:
    host = redis_url.rpartition("@")[2]

    with pytest.raises(BrokerError, match="FORNADA_REDIS_URL") as caught:
        _on_redis(f"redis://:hunter2@{host}").server_time()

    assert "refuses us" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_no_password_is_a_broker_error(redis_url: str) -> None:
    host = redis_url.rpartition("@")[2]

    with pytest.raises(BrokerError, match="password"):
        _on_redis(f"redis://{host}").server_time()


CALLS: dict[str, Callable[[Coordination], object]] = {
    "server_time": lambda c: c.server_time(),
    "server_facts": lambda c: c.server_facts(),
    "leader": lambda c: c.leader(),
    "open_job": lambda c: c.open_job("job"),
    "open_jobs": lambda c: c.open_jobs(),
    "rebuild_open_jobs": lambda c: c.rebuild_open_jobs(["job"]),
    "drop_job": lambda c: c.drop_job("job"),
    "end_job": lambda c: c.end_job("job", "FAILED"),
    "begin": lambda c: c.begin("job", 0, "a", lease_s=1),
    "renew": lambda c: c.renew("job", 0, "a", lease_s=1),
    "note_failure": lambda c: c.note_failure("job", 0, "a", "x"),
    "forget_attempt": lambda c: c.forget_attempt("job", 0, "a"),
    "failures": lambda c: c.failures("job", 0),
    "mark_done": lambda c: c.mark_done("job", 0),
    "mark_enqueued": lambda c: c.mark_enqueued("job", [0]),
    "in_flight": lambda c: c.in_flight("job", [0]),
    "queue_length": lambda c: c.queue_length("fornada"),
    "lead": lambda c: c.lead("a", lease_s=1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_port_is_a_broker_error_in_every_call(
    call: Callable[[Coordination], object],
) -> None:
    coordination = _on_redis(f"redis://:hunter2@127.0.0.1:{free_port()}/0")

    with pytest.raises(BrokerError, match="cannot be reached") as caught:
        call(coordination)

    assert "hunter2" not in str(caught.value)
    assert caught.value.retryable


def test_a_full_server_is_a_broker_error(redis_url: str) -> None:
    coordination = _on_redis(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(BrokerError, match="maxmemory"):
                coordination.begin("job", 0, "a", lease_s=LONG_S)
        finally:
            client.config_set("maxmemory", before)


def test_a_url_that_is_none_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="FORNADA_REDIS_URL"):
        _on_redis("redis://127.0.0.1:port/0")


def _let_pass(seconds: float) -> None:
    """Let the server's clock go on; nothing happens that could be waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass
