"""How many shards a worker has in hand, by how long one waits and computes."""

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest

from fornada.errors import StoreUnavailableError
from fornada.formats.rows import Rows
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.wrapper import StoreWrapper
from model_store.engines.artifact.work import Work
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.thread_choice import Concurrency, ShardCost, shard_cost

_KIB, _MIB = 1024, 1024**2


class _World(StoreWrapper):
    """A store and a model that take given times on a fake clock."""

    engine, streams, calls_ahead, tile_items, part_items = "fake 1", 2, 0, 64, None
    work = Work(multiplications=10**6, weight_bytes=10**6, output_bytes=1000, operation_count=5)

    def __init__(self) -> None:
        super().__init__(InMemoryObjectStore())
        self.now_s = self.cpu_s = 0.0
        self.get_s = self.put_s = self.request_cpu_s = self.tile_s = 0.0
        #: Extra seconds of a call, by its number.
        self.disturbed: dict[int, float] = {}
        self.calls = 0
        self.put_error: StoreUnavailableError | None = None

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:
        if operation in {"get", "put"}:
            self._pass(self.get_s if operation == "get" else self.put_s, self.request_cpu_s)
            if operation == "put" and self.put_error is not None:
                raise self.put_error
        return super().around(operation, key)

    def predict_tile(self, tile: Rows) -> Rows:
        assert (64, 32, 32) == tile.only.shape
        self._pass(self.tile_s, self.tile_s)
        return Rows(np.zeros((64, 2), np.float32))

    def stopwatch(self) -> tuple[float, float]:
        return self.now_s, self.cpu_s

    def _pass(self, seconds: float, cpu_s: float) -> None:
        self.now_s += seconds + self.disturbed.get(self.calls, 0.0)
        self.cpu_s += cpu_s
        self.calls += 1


@pytest.fixture
def world() -> _World:
    return _World()


@pytest.fixture
def manifest(world: _World) -> ModelManifest:
    return ModelStore(objects=world).publish(
        draft_for_test(name="m", item_shape=[32, 32], item_dtype="uint8", classes=["a", "b"]),
        artifact=b"weights",
        golden_inputs=np.zeros((1, 32, 32), np.uint8),
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _: None,
    )


def _concurrency(world: _World, **settings: object) -> Concurrency:
    return Concurrency(Settings(**settings), objects=world, streams=2, stopwatch=world.stopwatch)


def _cost(world: _World, manifest: ModelManifest, **settings: object) -> ShardCost:
    given = Settings(**settings)
    return shard_cost(manifest, world, objects=world, settings=given, stopwatch=world.stopwatch)


@pytest.mark.parametrize(
    ("wait_s", "busy_s", "streams", "size_bytes", "expected"),
    [
        pytest.param(0.0, 0.03, 2, _MIB, 4, id="a store that takes no time"),
        pytest.param(0.03, 0.03, 2, _MIB, 4, id="as long as it computes"),
        pytest.param(0.09, 0.03, 2, _MIB, 8, id="three times as long"),
        pytest.param(0.09, 0.03, 4, _MIB, 16, id="and on twice the cores"),
        pytest.param(0.10, 0.03, 2, _MIB, 9, id="not whole times: rather one more"),
        pytest.param(9.0, 0.03, 2, _MIB, 32, id="a store that takes very long"),
        pytest.param(0.0, 0.03, 64, _MIB, 32, id="a large machine"),
        pytest.param(9.0, 0.03, 2, 128 * _MIB, 8, id="shards half as large as may be"),
        pytest.param(9.0, 0.03, 2, 256 * _MIB, 4, id="shards as large as may be"),
    ],
)
def test_the_engine_has_work_while_shards_wait(
    wait_s: float, busy_s: float, streams: int, size_bytes: int, expected: int
) -> None:
    cost = ShardCost(wait_s=wait_s, busy_s=busy_s, size_bytes=size_bytes)

    assert expected == cost.threads(Settings(), streams=streams)


def test_a_shard_waits_for_its_input_its_data_and_its_outcome(
    world: _World, manifest: ModelManifest
) -> None:
    # given inputs of 4 MiB, of which 1 MiB is measured
    world.get_s, world.put_s, world.tile_s = 0.005, 0.020, 0.001
    world.request_cpu_s = 0.0005
    before = [info.key for info in world.list("")]

    cost = _cost(world, manifest)

    # then the requests' own processor time does not count as waiting
    assert pytest.approx(4 * 0.005 + 2 * 0.020 - 6 * 0.0005) == cost.wait_s
    assert pytest.approx(64 * 0.001 + 6 * 0.0005) == cost.busy_s
    assert 4 * _MIB == cost.size_bytes
    # and fewer large items than items_per_shard fit into a shard
    assert 16 * _KIB == _cost(world, manifest, max_shard_bytes=16 * _KIB).size_bytes
    # and no probe is left
    assert before == [info.key for info in world.list("")]


def test_a_call_of_a_heavy_model_is_not_made_to_time_it(
    world: _World, manifest: ModelManifest
) -> None:
    world.get_s, world.put_s, world.tile_s = 0.005, 0.020, 2.0
    world.work = replace(world.work, multiplications=10**9)

    cost = _cost(world, manifest)

    # 4,096 items at 100 billion multiplications a second
    assert (40.96, 4) == (round(cost.busy_s, 2), cost.threads(Settings(), streams=2))
    assert 2.0 > world.now_s


def test_a_disturbed_measurement_does_not_count(world: _World, manifest: ModelManifest) -> None:
    world.get_s, world.put_s, world.tile_s = 0.005, 0.020, 0.001
    calm = _cost(world, manifest)
    world.disturbed = {world.calls + n: 0.01 for n in (0, 2, 5)}

    disturbed = _cost(world, manifest)

    assert pytest.approx((calm.wait_s, calm.busy_s)) == (disturbed.wait_s, disturbed.busy_s)


def test_a_long_call_is_measured_once(world: _World, manifest: ModelManifest) -> None:
    world.tile_s = world.get_s = world.put_s = 1.0
    before = world.calls

    _cost(world, manifest)

    # one call of the model, two writes (the second is what is read), one read
    assert 4 == world.calls - before


def test_the_number_rises_when_a_model_needs_more_and_never_falls(
    world: _World, manifest: ModelManifest
) -> None:
    # given a process that follows
    told: list[int] = []
    concurrency = _concurrency(world)
    concurrency.follow(told.append)

    # when it loads models whose shards find the store fast, then slow, then fast again
    world.tile_s = 0.001
    for world.put_s in (0.001, 0.100, 0.001):
        concurrency.fit(manifest, world)

    assert [4, 9] == told
    assert 9 == concurrency.threads
    # and a late follower gets the current number
    concurrency.follow(told.append)
    assert [4, 9, 9] == told


def test_a_setting_holds_and_nothing_is_measured(world: _World, manifest: ModelManifest) -> None:
    told: list[int] = []
    concurrency = _concurrency(world, worker_threads=1)
    concurrency.follow(told.append)
    before = world.calls

    concurrency.fit(manifest, world)

    assert ([1], before) == (told, world.calls)


def test_a_failing_store_leaves_the_threads_unchanged(
    world: _World, manifest: ModelManifest
) -> None:
    world.put_error = StoreUnavailableError("the store is away")
    concurrency = _concurrency(world)

    concurrency.fit(manifest, world)

    assert 4 == concurrency.threads
