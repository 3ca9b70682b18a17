"""The queueing model against textbook results."""

import pytest

from benchmarks.capacity import Station, capacity, knee

_REDIS = Station(name="Redis", demand_s=0.001)
_STORE = Station(name="store", demand_s=0.004)


def test_a_single_worker_never_waits() -> None:
    # when
    point = capacity(1, own_s=0.095, stations=[_REDIS, _STORE])

    # then
    assert point.shards_per_s == pytest.approx(10.0)
    assert point.efficiency == pytest.approx(1.0)


def test_two_workers_at_one_station_match_the_textbook() -> None:
    # given: two customers, own time 1 s, one station of 1 s: X(2) = 2 / (1 + 1 * (1 + 1/2))
    point = capacity(2, own_s=1.0, stations=[Station(name="one", demand_s=1.0)])

    # then
    assert point.shards_per_s == pytest.approx(0.8)


def test_many_workers_reach_the_capacity_of_the_bottleneck() -> None:
    # when
    point = capacity(1000, own_s=0.095, stations=[_REDIS, _STORE])

    # then
    assert point.shards_per_s == pytest.approx(250.0, rel=1e-3)
    assert point.shards_per_s <= 250.0
    assert "store" == point.busiest
    assert point.busy["Redis"] == pytest.approx(0.25, rel=1e-3)


def test_knee_is_where_both_bounds_meet() -> None:
    assert knee(own_s=0.095, stations=[_REDIS, _STORE]) == pytest.approx(25.0)
