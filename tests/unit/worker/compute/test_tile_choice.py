"""The rows of a model's calls: from its layers, and the same for all workers of a kind."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fornada.errors import LaterVersionError, ModelDeclinedError
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination
from model_store.engines.artifact.work import Work
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.tile_choice import Calibration, Calibrations, TileChoice

_LIGHT = Work(multiplications=10**6, weight_bytes=10**6, output_bytes=1000, operation_count=5)
#: As of ResNet50.
_HEAVY = Work(
    multiplications=4 * 10**9, weight_bytes=10**8, output_bytes=3 * 10**6, operation_count=170
)


def _publish(objects: InMemoryObjectStore, artifact: bytes) -> ModelManifest:
    return ModelStore(objects=objects).publish(
        draft_for_test(name="m", item_shape=[3], item_dtype="float32", classes=["a", "b"]),
        artifact=artifact,
        golden_inputs=np.zeros((1, 3), np.float32),
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _: None,
    )


def _calibrations(objects: InMemoryObjectStore, **changed: object) -> Calibrations:
    options = {
        "objects": objects,
        "decide": InMemoryCoordination().decide,
        "engine": "fake 1",
        "machine": "abacus, 2 cores",
    }
    return Calibrations(**options | changed)


@pytest.fixture
def ask(memory_objects: InMemoryObjectStore) -> Callable[..., int]:
    """The tile of a new version of an artifact, on an engine and machine."""

    def ask(work: Work, artifact: bytes = b"weights", **changed: object) -> int:
        manifest = _publish(memory_objects, artifact)
        return _calibrations(memory_objects, **changed).tile_items(manifest, work)

    return ask


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        pytest.param(_LIGHT, 256, id="a small network"),
        # The benchmark's CNN is 8 % slower with 64, and 2.6 times with 512.
        pytest.param(
            replace(_LIGHT, multiplications=4_500_000, output_bytes=115_200), 32, id="a small CNN"
        ),
        pytest.param(_HEAVY, 2, id="ResNet50"),
    ],
)
def test_the_tile_follows_from_the_layers(
    work: Work, expected: int, ask: Callable[..., int]
) -> None:
    assert expected == ask(work)


def test_the_first_tile_holds_for_all_workers_of_a_kind(ask: Callable[..., int]) -> None:
    assert 2 == ask(_HEAVY)

    # also where another release would estimate otherwise, for another version of the artifact
    other = replace(_HEAVY, multiplications=10**8)
    assert 2 == ask(other)
    for changed in (
        {"engine": "fake 2"},
        {"machine": "abacus, 4 cores"},
        {"artifact": b"others"},
    ):
        assert 8 == ask(other, **changed), changed


@pytest.mark.parametrize("conditional_writes", [True, False])
def test_two_workers_that_choose_at_once_keep_the_same_tile(*, conditional_writes: bool) -> None:
    # given two workers of different memory that both find nothing
    objects = InMemoryObjectStore(conditional_writes=conditional_writes)
    manifest, decide = _publish(objects, b"weights"), InMemoryCoordination().decide
    both_look = threading.Barrier(2, timeout=30)

    class Slow(Calibrations):
        def choose(self, work: Work, most_items: int | None = None) -> Calibration:
            both_look.wait()
            return super().choose(work, most_items)

    def tile_items(most_items: int) -> int | None:
        choosing = Slow(objects=objects, decide=decide, engine="fake 1", machine="abacus")
        try:
            return choosing.tile_items(manifest, _LIGHT, most_items=most_items)
        except ModelDeclinedError:
            return None

    # when both choose
    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(tile_items, (256, 64)))

    # then one choice holds for them and for later workers, or for those that may make such calls
    kept = _calibrations(objects, machine="abacus").find(manifest, _LIGHT)
    assert kept is not None
    assert {kept.tile_items} == found - {None}
    assert kept.tile_items in {64, 256}


@pytest.mark.parametrize("tile_items", [1024, 4096])
def test_what_an_earlier_release_measured_is_believed(
    tile_items: int, memory_objects: InMemoryObjectStore
) -> None:
    # given a record with its trials
    manifest, calibrations = _publish(memory_objects, b"weights"), _calibrations(memory_objects)
    calibrations.tile_items(manifest, _LIGHT)
    (key,) = [info.key for info in memory_objects.list("calibrations/")]
    trials = [{"tile_items": 64, "item_us": 9.76}]
    kept = json.loads(memory_objects.get(key).data) | {"tile_items": tile_items, "trials": trials}
    memory_objects.put(key, json.dumps(kept).encode())

    assert tile_items == calibrations.tile_items(manifest, _LIGHT)


@pytest.mark.parametrize("conditional_writes", [True, False])
@pytest.mark.parametrize(
    ("changes", "work", "own"),
    [
        pytest.param({"tile_items": 65536}, _LIGHT, 256, id="huge"),
        pytest.param({"tile_items": 1}, _LIGHT, 256, id="tiny"),
        pytest.param({"tile_items": 64}, _HEAVY, 2, id="too large for a heavy model"),
        pytest.param(
            {"tile_items": 1024}, replace(_LIGHT, output_bytes=2**20), 4, id="more than fits"
        ),
        pytest.param({"tile_items": 10**6}, _LIGHT, 256, id="beyond any"),
        pytest.param({"engine": "fake 2"}, _LIGHT, 256, id="another engine"),
        pytest.param({"machine": "abacus, 4 cores"}, _LIGHT, 256, id="another machine"),
        pytest.param({"trials": [{"tile_items": 1, "item_us": 1}] * 99}, _LIGHT, 256, id="long"),
        pytest.param({"x" * 10**6: 1}, _LIGHT, 256, id="not read whole"),
        pytest.param(None, _LIGHT, 256, id="no record"),
    ],
)
def test_a_calibration_that_cannot_be_the_models_is_replaced(
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any] | None,
    work: Work,
    own: int,
    *,
    conditional_writes: bool,
) -> None:
    # given a record that anyone wrote, who may write there
    objects = InMemoryObjectStore(conditional_writes=conditional_writes)
    manifest = _publish(objects, b"weights")
    workers = [_calibrations(objects) for _ in range(2)]
    assert own == workers[0].tile_items(manifest, work)
    (key,) = [info.key for info in objects.list("calibrations/")]
    good = json.loads(objects.get(key).data)
    objects.put(key, b"\xff" if changes is None else json.dumps(good | changes).encode())

    # when
    assert [own] * 2 == [worker.tile_items(manifest, work) for worker in workers]

    # then
    assert "calibration not believed" in caplog.messages
    assert own == json.loads(objects.get(key).data)["tile_items"]


def test_a_calibration_of_a_later_release_is_left_alone(
    ask: Callable[..., int], memory_objects: InMemoryObjectStore
) -> None:
    ask(_LIGHT)
    (key,) = [info.key for info in memory_objects.list("calibrations/")]
    memory_objects.put(key, b'{"schema_version": 99}')

    with pytest.raises(LaterVersionError, match=key):
        ask(_LIGHT)


def test_a_setting_holds_without_a_choice(memory_objects: InMemoryObjectStore) -> None:
    manifest = _publish(memory_objects, b"weights")
    choice = TileChoice(Settings(max_batch_size=7), kept=_calibrations(memory_objects))

    assert 7 == choice.known_items(manifest)
    assert 7 == choice.chooser(32)(manifest, _LIGHT)
    assert [] == list(memory_objects.list("calibrations/"))


@pytest.mark.parametrize(("most_items", "expected"), [(4096, 256), (256, 256), (32, 32), (8, 8)])
def test_no_call_has_more_rows_than_may_be_made_here(
    memory_objects: InMemoryObjectStore, most_items: int, expected: int
) -> None:
    manifest = _publish(memory_objects, b"weights")
    choice = TileChoice(Settings(), kept=_calibrations(memory_objects))

    assert choice.known_items(manifest) is None
    assert expected == choice.chooser(most_items)(manifest, _LIGHT)
    assert expected == choice.known_items(manifest)
    # and what another worker chose meanwhile is not taken untried
    with pytest.raises(ModelDeclinedError, match=f"called with {expected} rows, and 4 were tried"):
        choice.chooser(4)(manifest, _LIGHT)
