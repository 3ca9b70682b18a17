"""The simulated fleet where arithmetic says what it does."""

from dataclasses import fields, replace

import pytest

from benchmarks.fleet.costs import Costs
from benchmarks.fleet.simulation import Fleet, Store, simulate

NOTHING = Costs(**{field.name: 0.0 for field in fields(Costs)})
STORE = Store(request_s=0.0, servers=1)
FLEET = Fleet(workers=10, threads=1, shards=1000, shard_s=1.0, store=STORE)


def test_workers_that_wait_for_nothing_are_linear_and_the_same_each_time() -> None:
    run = simulate(FLEET, NOTHING)

    assert (100.0, 10.0, 1.0, 0.0) == (run.working_s, run.shards_per_s, run.efficiency, run.idle)
    assert run == simulate(FLEET, NOTHING)


def test_a_shard_asks_the_store_before_and_after_and_waits_its_turn() -> None:
    one_at_a_time = replace(STORE, request_s=0.01, before=1, after=2)
    alone = replace(FLEET, workers=1, shards=10, store=one_at_a_time)
    many = replace(FLEET, workers=1000, shards=3000, window=3000, store=one_at_a_time)

    assert pytest.approx(10 * 1.03) == simulate(alone, NOTHING).working_s
    # A hundred requests a second, of which a shard needs three.
    full = simulate(many, NOTHING)
    assert 33.0 < full.shards_per_s <= 100 / 3
    assert full.busy["store"] > 0.98


def test_a_window_that_is_too_small_starves_the_workers() -> None:
    run = simulate(replace(FLEET, workers=100, shards=500, window=50, shard_s=0.1), NOTHING)

    # The first window is there at once; each round of a second has one more.
    assert pytest.approx(9.1) == run.working_s
    assert run.idle > 0.9


def test_a_slow_leader_is_late_with_its_messages() -> None:
    slow = replace(NOTHING, message_leader_s=0.01)

    run = simulate(replace(FLEET, workers=1000, shards=1000, window=100, shard_s=0.1), slow)

    # A window takes a second to send, and then the leader sleeps for one.
    assert 19 < run.working_s < 20
    assert 0.45 < run.busy["leader"] < 0.5


def test_what_idle_workers_ask_slows_redis_for_all() -> None:
    costs = replace(NOTHING, shard_redis_s=0.001, idle_redis_s=0.0005)
    fleet = replace(FLEET, workers=1000, shards=5000, window=5000, shard_s=0.1)

    run = simulate(fleet, costs)

    # Half of its second is left, for a thousand shards if it were whole.
    assert run.shards_per_s == pytest.approx(500, rel=0.03)
    assert run.busy["Redis"] > 0.95
