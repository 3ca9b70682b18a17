"""The rows of a model's calls: from its layers, and the same for all workers of a kind."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fornada.errors import LaterVersionError, ModelDeclinedError
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.wrapper import StoreWrapper
from fornada.testing import InMemoryCoordination
from model_store.engines.artifact.work import Work
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.tile_choice import TileChoice

_LIGHT = Work(multiplications=10**6, weight_bytes=10**6, output_bytes=1000, operation_count=5)
#: The benchmark's CNN: 8 % slower with 64 rows, and 2.6 times with 512.
_CNN = replace(_LIGHT, multiplications=4_500_000, output_bytes=115_200)
#: As of the trainer's recipe for 28x28 images.
_MLP = replace(_LIGHT, multiplications=203_264, output_bytes=3136)
#: The benchmark's: with 256 rows, a call costs twice what it computes.
_TABLE = replace(_LIGHT, multiplications=3680, output_bytes=256)
_TINY = replace(_LIGHT, multiplications=1000, output_bytes=100)
_RESNET50 = Work(
    multiplications=4 * 10**9, weight_bytes=10**8, output_bytes=3_211_264, operation_count=170
)


def _publish(objects: ObjectStore, artifact: bytes = b"weights") -> ModelManifest:
    return ModelStore(objects=objects).publish(
        draft_for_test(name="m", item_shape=[3], item_dtype="float32", classes=["a", "b"]),
        artifact=artifact,
        golden_inputs=np.zeros((1, 3), np.float32),
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _: None,
    )


def _tiles(
    objects: ObjectStore,
    *,
    engine: str = "fake 1",
    call_bytes: int | None = None,
    settings: Settings | None = None,
    **changed: Any,
) -> TileChoice:
    options: dict[str, Any] = {
        "objects": objects,
        "decide": InMemoryCoordination().decide,
        "engine": SimpleNamespace(name=engine, call_bytes=call_bytes),
        "machine": "abacus, 2 cores",
    }
    return TileChoice(settings or Settings(), **options | changed)


@pytest.mark.parametrize(
    ("work", "call_bytes", "expected"),
    [
        pytest.param(_LIGHT, None, 256, id="a small network"),
        pytest.param(_MLP, None, 256, id="a network of 28x28 images"),
        pytest.param(_TABLE, None, 2048, id="a network of the columns of a table"),
        pytest.param(_CNN, None, 32, id="a small CNN"),
        pytest.param(_RESNET50, None, 2, id="ResNet50"),
        pytest.param(_MLP, 2**30, 32_768, id="a small network on a device"),
        pytest.param(_MLP, 2**26, 16_384, id="a small network on a small device"),
        pytest.param(_TINY, 2**30, 65_536, id="a tiny network on a device"),
        pytest.param(_CNN, 2**30, 1024, id="a small CNN on a device"),
        pytest.param(_RESNET50, 2**30, 256, id="ResNet50 on a device"),
        pytest.param(_RESNET50, 1, 1, id="a device too small for one"),
    ],
)
def test_the_tile_follows_from_the_layers(
    work: Work, call_bytes: int | None, expected: int, memory_objects: InMemoryObjectStore
) -> None:
    tiles = _tiles(memory_objects, call_bytes=call_bytes)

    assert expected == tiles.choose(_publish(memory_objects), work)


def test_the_first_tile_holds_for_all_workers_of_a_kind(
    memory_objects: InMemoryObjectStore,
) -> None:
    manifest = _publish(memory_objects)
    assert 2 == _tiles(memory_objects).choose(manifest, _RESNET50)

    # also where another release would estimate otherwise, for another version of the artifact
    other = replace(_RESNET50, multiplications=10**8)
    assert 2 == _tiles(memory_objects).choose(_publish(memory_objects), other)
    for changed in ({"engine": "fake 2"}, {"machine": "abacus, 4 cores"}):
        assert 8 == _tiles(memory_objects, **changed).choose(manifest, other), changed
    others = _publish(memory_objects, b"others")
    assert 8 == _tiles(memory_objects).choose(others, other, keep=False)
    assert _tiles(memory_objects).known_items(others) is None


@pytest.mark.parametrize("conditional_writes", [True, False])
def test_two_workers_that_choose_at_once_keep_the_same_tile(*, conditional_writes: bool) -> None:
    # given two workers of different memory that both find nothing
    objects = InMemoryObjectStore(conditional_writes=conditional_writes)
    manifest, decide = _publish(objects), InMemoryCoordination().decide
    both_look = threading.Barrier(2, timeout=30)

    class Slow(StoreWrapper):
        def around(self, operation: str, key: str) -> AbstractContextManager[object]:
            if operation.startswith("put"):
                both_look.wait()
            return super().around(operation, key)

    def tile_items(most_items: int) -> int | None:
        tiles = _tiles(Slow(objects), decide=decide)
        try:
            return tiles.choose(manifest, _LIGHT, most_items=most_items)
        except ModelDeclinedError:
            return None

    # when both choose
    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(tile_items, (256, 64)))

    # then one choice holds for them and for later workers, or for those that may make such calls
    kept = _tiles(objects).known_items(manifest)
    assert {kept} == found - {None}
    assert kept in {64, 256}


@pytest.mark.parametrize("conditional_writes", [True, False])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # What an earlier release measured is believed.
        ({"tile_items": 4096, "trials": [{"tile_items": 64, "item_us": 9.76}]}, 4096),
        ({"tile_items": 8192}, 256),
        ({"tile_items": 1}, 256),
        ({"tile_items": 10**6}, 256),
        ({"engine": "fake 2"}, 256),
        ({"machine": "abacus, 4 cores"}, 256),
        ({"x" * 10**6: 1}, 256),
        (None, 256),
    ],
    ids=["measured", "too many", "too few", "huge", "engine", "machine", "long", "no record"],
)
def test_a_calibration_that_cannot_be_the_models_is_replaced(
    changes: dict[str, Any] | None, expected: int, *, conditional_writes: bool
) -> None:
    # given a record that anyone wrote, who may write there
    objects = InMemoryObjectStore(conditional_writes=conditional_writes)
    manifest = _publish(objects)
    workers = [_tiles(objects).choose for _ in range(2)]
    assert 256 == workers[0](manifest, _LIGHT)
    (key,) = [info.key for info in objects.list("calibrations/")]
    good = json.loads(objects.get(key).data)
    objects.put(key, b"\xff" if changes is None else json.dumps(good | changes).encode())

    # when
    assert [expected] * 2 == [worker(manifest, _LIGHT) for worker in workers]

    # then
    assert expected == json.loads(objects.get(key).data)["tile_items"]


def test_a_calibration_of_a_later_release_is_left_alone(
    memory_objects: InMemoryObjectStore,
) -> None:
    manifest, tiles = _publish(memory_objects), _tiles(memory_objects)
    tiles.choose(manifest, _LIGHT)
    (key,) = [info.key for info in memory_objects.list("calibrations/")]
    memory_objects.put(key, b'{"schema_version": 99}')

    with pytest.raises(LaterVersionError, match=key):
        tiles.choose(manifest, _LIGHT)


def test_a_setting_holds_without_a_choice(memory_objects: InMemoryObjectStore) -> None:
    manifest = _publish(memory_objects)
    tiles = _tiles(memory_objects, settings=Settings(max_batch_size=7))

    assert 7 == tiles.known_items(manifest)
    assert 7 == tiles.choose(manifest, _LIGHT, most_items=32)
    assert [] == list(memory_objects.list("calibrations/"))


@pytest.mark.parametrize(("most_items", "expected"), [(4096, 256), (32, 32)])
def test_no_call_has_more_rows_than_may_be_made_here(
    memory_objects: InMemoryObjectStore, most_items: int, expected: int
) -> None:
    manifest, tiles = _publish(memory_objects), _tiles(memory_objects)

    assert tiles.known_items(manifest) is None
    assert expected == tiles.choose(manifest, _LIGHT, most_items=most_items)
    assert expected == tiles.known_items(manifest)
    # and what another worker chose meanwhile is not taken untried
    with pytest.raises(ModelDeclinedError, match=f"called with {expected} rows, and 4 were tried"):
        tiles.choose(manifest, _LIGHT, most_items=4)
