"""How many shards a worker has in hand, by how long those before waited and computed."""

from types import SimpleNamespace
from typing import Any

import pytest

from fornada.events import Event, Events, ShardFinished, ThreadsRaised
from fornada.records import ModelPin
from fornada.settings import Settings
from worker.compute.thread_choice import Concurrency, threads_for

_MIB = 1024**2
_CORES = SimpleNamespace(streams=2, calls_ahead=2, call_bytes=None)
_DEVICE = SimpleNamespace(streams=1, calls_ahead=3, call_bytes=2**30)


def _shard(**changed: Any) -> ShardFinished:
    told = {
        "job_id": "j",
        "shard": 0,
        "model": ModelPin(name="m", version=1, sha256="0" * 64),
        "status": "ok",
        "item_count": 1000,
        "failed_count": 0,
        "predict_s": 0.1,
        "ends_job": False,
        "tile_items": 256,
        "store_s": 0.0,
        "cpu_s": 0.03,
        "bytes_in": _MIB,
    }
    return ShardFinished(**told | changed)


@pytest.mark.parametrize(
    ("engine", "told", "expected"),
    [
        pytest.param(_CORES, {"store_s": 0.09}, 8, id="waits three times as long"),
        pytest.param(_CORES, {"store_s": 0.1}, 9, id="not whole times: rather one more"),
        pytest.param(_CORES, {"store_s": 9.0}, 32, id="waits very long"),
        pytest.param(_CORES, {"store_s": 9.0, "bytes_in": 128 * _MIB}, 8, id="large"),
        pytest.param(_CORES, {"store_s": None}, None, id="had nothing to fetch"),
        pytest.param(_CORES, {"cpu_s": None}, None, id="dead"),
        pytest.param(_DEVICE, {"tile_items": 1000}, 4, id="a device"),
        pytest.param(_DEVICE, {"tile_items": 8192}, 36, id="a device whose calls take nine"),
        pytest.param(_DEVICE, {"tile_items": 65536}, 64, id="a device whose calls take many"),
    ],
)
def test_the_engine_has_work_while_shards_wait(
    engine: Any, told: dict[str, Any], expected: int | None
) -> None:
    assert expected == threads_for(_shard(**told), engine=engine, settings=Settings())


def test_the_number_rises_when_most_shards_wait_longer_and_never_falls() -> None:
    # given a process that follows
    told: list[int] = []
    heard: list[Event] = []
    idle: list[float] = []
    concurrency = Concurrency(
        Settings(), engine=_CORES, idle_share=idle.pop, events=Events(heard.append)
    )
    concurrency.follow(told.append)

    # when two of eight are disturbed, then six wait: for a core, for the store; and then none
    most = [0.01] * 2 + [0.09] * 6
    for share, waits in (
        (0.5, [0.01] * 6 + [9.0] * 2),
        (0.05, most),
        (0.5, most),
        (0.5, [0.01] * 8),
    ):
        # What idled before the first shard does not count.
        idle += [share, 1.0]
        for store_s in waits:
            concurrency.hear(_shard(store_s=store_s))

    # then
    assert [4, 8] == told
    assert 8 == concurrency.threads
    (raised,) = heard
    assert isinstance(raised, ThreadsRaised)
    assert (8, 0.09, 0.03) == (raised.threads, raised.wait_s, raised.busy_s)
    # and a late follower gets the current number
    concurrency.follow(told.append)
    assert [4, 8, 8] == told


def test_a_setting_holds() -> None:
    told: list[int] = []
    concurrency = Concurrency(Settings(worker_threads=1), engine=_CORES, idle_share=lambda: 1.0)
    concurrency.follow(told.append)

    for _ in range(20):
        concurrency.hear(_shard(store_s=9.0))

    assert [1] == told
