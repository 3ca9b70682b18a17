"""The rows of a model's calls: measured once per kind of machine, and the same for all."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fornada.errors import MessageError
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination
from model_store.manifest import ModelDraft, ModelManifest
from model_store.store import ModelStore
from worker.compute import tile_choice
from worker.compute.tile_choice import Calibrations


class _Model:
    """Predict calls that take given times on a fake clock."""

    def __init__(self, *, call_us: float, item_us: float, busy_cores: float = 1.0) -> None:
        self.compiled: list[int] = []
        self.now_s = self.cpu_s = 0.0
        #: Extra seconds of the clock in a call, by its number: another process runs.
        self.disturbed: dict[int, float] = {}
        self._call_us, self._item_us, self._busy_cores = call_us, item_us, busy_cores
        self._calls = 0

    def compile_for(self, tile_items: int) -> Callable:
        self.compiled.append(tile_items)

        def predict(rows: np.ndarray) -> np.ndarray:
            assert (tile_items, 3) == rows.shape
            took_s = (self._call_us + tile_items * self._item_us) / 1e6
            self.now_s += took_s + self.disturbed.get(self._calls, 0.0)
            self.cpu_s += took_s * self._busy_cores
            self._calls += 1
            return rows

        return predict


@pytest.fixture
def manifest(memory_objects: InMemoryObjectStore) -> ModelManifest:
    return _publish(memory_objects, b"weights")


def _publish(objects: InMemoryObjectStore, artifact: bytes) -> ModelManifest:
    return ModelStore(objects=objects).publish(
        ModelDraft(name="m", item_shape=[3], item_dtype="float32", classes=["a", "b"]),
        artifact=artifact,
        golden_inputs=np.zeros((1, 3), np.float32),
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _: None,
    )


def _calibrations(model: _Model, objects: InMemoryObjectStore, **changed: object) -> Calibrations:
    options = {
        "objects": objects,
        "decide": InMemoryCoordination().decide,
        "engine": "fake 1",
        "machine": "abacus, 2 cores",
        "stopwatch": lambda: (model.now_s, model.cpu_s),
    }
    return Calibrations(**options | changed)


@pytest.mark.parametrize(
    ("call_us", "item_us", "expected"),
    [
        pytest.param(0, 40, 64, id="a call costs nothing"),
        pytest.param(100, 5, 256, id="a call costs as much as 20 items"),
        pytest.param(250, 5, 1024, id="a call costs as much as 50 items"),
        pytest.param(2000, 1, 4096, id="a call costs as much as 2,000 items"),
        pytest.param(200, 80, 256, id="64 items are slow"),
        pytest.param(100, 400, 64, id="64 items are slower"),
        pytest.param(100, 1000, 32, id="64 items would keep others waiting"),
        pytest.param(100, 30_000, 16, id="an item is slow"),
    ],
)
def test_the_tile_grows_while_an_item_gets_cheaper(
    call_us: float,
    item_us: float,
    expected: int,
    manifest: ModelManifest,
    memory_objects: InMemoryObjectStore,
) -> None:
    model = _Model(call_us=call_us, item_us=item_us)

    found = _calibrations(model, memory_objects).tile_items(manifest, model.compile_for)

    assert expected == found


def test_no_call_is_made_so_long_that_others_wait(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    # given a model that would take 62 ms for 4096
    model = _Model(call_us=550, item_us=15)

    found = _calibrations(model, memory_objects).tile_items(manifest, model.compile_for)

    assert 1024 == found
    assert 1024 == max(model.compiled)


def test_a_tile_that_promises_nothing_is_not_measured(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    # given a model whose call of 4096, mostly padding, would not pay
    model = _Model(call_us=250, item_us=5)

    _calibrations(model, memory_objects).tile_items(manifest, model.compile_for)

    assert [64, 256, 1024] == model.compiled


def test_the_clock_counts_when_a_gpu_computes(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    # given a processor that idles in expensive calls
    model = _Model(call_us=400, item_us=2, busy_cores=0.02)

    found = _calibrations(model, memory_objects).tile_items(manifest, model.compile_for)

    assert 1024 == found


def test_another_process_on_the_cores_changes_nothing(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    model = _Model(call_us=250, item_us=5)
    model.disturbed = dict.fromkeys(range(0, 500, 3), 0.02)

    found = _calibrations(model, memory_objects).tile_items(manifest, model.compile_for)

    assert 1024 == found


def test_a_model_is_measured_once_for_all_workers_of_a_kind(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    # given a worker that has measured
    first = _Model(call_us=250, item_us=5)
    found = _calibrations(first, memory_objects).tile_items(manifest, first.compile_for)

    # when another, which would measure otherwise, asks
    other = _Model(call_us=2000, item_us=1)
    again = _calibrations(other, memory_objects).tile_items(manifest, other.compile_for)

    assert (1024, 1024) == (found, again)
    assert [] == other.compiled


@pytest.mark.parametrize("changed", [{"engine": "fake 2"}, {"machine": "abacus, 4 cores"}])
def test_another_engine_or_machine_measures_again(
    changed: dict[str, object], manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    first, other = _Model(call_us=250, item_us=5), _Model(call_us=2000, item_us=1)
    _calibrations(first, memory_objects).tile_items(manifest, first.compile_for)

    found = _calibrations(other, memory_objects, **changed).tile_items(manifest, other.compile_for)

    assert 4096 == found


def test_versions_of_one_artifact_share_a_calibration(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    first, other = _Model(call_us=250, item_us=5), _Model(call_us=2000, item_us=1)
    _calibrations(first, memory_objects).tile_items(manifest, first.compile_for)
    same, different = (_publish(memory_objects, data) for data in (b"weights", b"others"))

    found = [
        _calibrations(other, memory_objects).tile_items(version, other.compile_for)
        for version in (same, different)
    ]

    assert [1024, 4096] == found


@pytest.mark.parametrize("conditional_writes", [True, False])
def test_two_workers_that_measure_at_once_keep_the_same_tile(*, conditional_writes: bool) -> None:
    # given two workers that both found nothing
    objects = InMemoryObjectStore(conditional_writes=conditional_writes)
    manifest, decide = _publish(objects, b"weights"), InMemoryCoordination().decide
    both_look = threading.Barrier(2, timeout=30)

    def ask(model: _Model) -> int:
        def compile_for(tile_items: int) -> Callable:
            if not model.compiled:
                both_look.wait()
            return model.compile_for(tile_items)

        return _calibrations(model, objects, decide=decide).tile_items(manifest, compile_for)

    # when both measure, with different results
    models = [_Model(call_us=250, item_us=5), _Model(call_us=2000, item_us=1)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, models))

    # then one result holds for them and for later workers
    kept = _calibrations(models[0], objects).find(manifest)
    assert kept is not None
    assert {kept.tile_items} == set(found)
    assert kept.tile_items in {1024, 4096}


@pytest.mark.parametrize(
    "stored", [b"{}", b'{"schema_version": 1, "tile_items": 1000000}', b"\xff"]
)
def test_a_malformed_calibration_is_refused(
    stored: bytes, manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    model = _Model(call_us=250, item_us=5)
    calibrations = _calibrations(model, memory_objects)
    calibrations.tile_items(manifest, model.compile_for)
    (key,) = [info.key for info in memory_objects.list("calibrations/")]
    memory_objects.put(key, stored)

    with pytest.raises(MessageError, match=key):
        calibrations.tile_items(manifest, model.compile_for)


def test_the_measurements_are_told(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    model = _Model(call_us=250, item_us=5)

    tried = _calibrations(model, memory_objects).measure(manifest, model.compile_for)

    assert "64: 9.76 us, 256: 6.37 us, 1024: 5.96 us an item" == tried.summary
    assert [] == list(memory_objects.list("calibrations/"))


def test_a_setting_holds_without_measuring(
    manifest: ModelManifest, memory_objects: InMemoryObjectStore
) -> None:
    class Engine:
        name, tolerance = "fake 1", 0.0

        def load(self, *_: object, **__: object) -> Callable:
            raise AssertionError

    model = _Model(call_us=250, item_us=5)
    choose = tile_choice.tile_chooser(
        Settings(max_batch_size=7),
        objects=memory_objects,
        decide=lambda _, data: data,
        engine=Engine(),
    )

    assert 7 == choose(manifest, model.compile_for)
    assert [] == model.compiled
