"""The rows of a model's calls: measured once per kind of machine, and the same for all."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fornada.errors import LaterVersionError, ModelDeclinedError
from fornada.formats.rows import Rows
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination
from model_store.engines.artifact.work import Work
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.tile_choice import Calibrations, TileChoice

_LIGHT = Work(multiplications=10**6, weight_bytes=10**6, output_bytes=1000, operation_count=5)
#: As of ResNet50.
_HEAVY = Work(
    multiplications=4 * 10**9, weight_bytes=10**8, output_bytes=3 * 10**6, operation_count=170
)


class _Model:
    """Predict calls that take given times on a fake clock."""

    def __init__(
        self, *, call_us: float, item_us: float, busy_cores: float = 1.0, disturbed_s: float = 0.0
    ) -> None:
        self.compiled: list[int] = []
        self.now_s = self.cpu_s = 0.0
        #: Extra seconds of the clock in each third call: another process runs.
        self._disturbed_s = disturbed_s
        self._call_us, self._item_us, self._busy_cores = call_us, item_us, busy_cores
        self._calls = 0

    def compile_for(self, tile_items: int) -> Callable:
        self.compiled.append(tile_items)

        def predict(rows: Rows) -> Rows:
            assert (tile_items, 3) == rows.only.shape
            took_s = (self._call_us + tile_items * self._item_us) / 1e6
            self.now_s += took_s + (0.0 if self._calls % 3 else self._disturbed_s)
            self.cpu_s += took_s * self._busy_cores
            self._calls += 1
            return rows

        return predict


def _publish(objects: InMemoryObjectStore, artifact: bytes) -> ModelManifest:
    return ModelStore(objects=objects).publish(
        draft_for_test(name="m", item_shape=[3], item_dtype="float32", classes=["a", "b"]),
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


@pytest.fixture
def ask(memory_objects: InMemoryObjectStore) -> Callable[..., int]:
    """The tile of a new version of an artifact, on an engine and machine."""

    def ask(
        model: _Model, artifact: bytes = b"weights", work: Work = _LIGHT, **changed: object
    ) -> int:
        manifest = _publish(memory_objects, artifact)
        found = _calibrations(model, memory_objects, **changed)
        return found.tile_items(manifest, model.compile_for, work)

    return ask


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        pytest.param({"call_us": 0, "item_us": 40}, 64, id="a call costs nothing"),
        pytest.param({"call_us": 100, "item_us": 5}, 256, id="a call costs as much as 20 items"),
        pytest.param({"call_us": 250, "item_us": 5}, 1024, id="a call costs as much as 50 items"),
        pytest.param({"call_us": 2000, "item_us": 1}, 4096, id="as much as 2,000 items"),
        pytest.param({"call_us": 200, "item_us": 80}, 256, id="64 items are slow"),
        pytest.param({"call_us": 100, "item_us": 400}, 64, id="64 items are slower"),
        pytest.param({"call_us": 100, "item_us": 1000}, 32, id="64 items keep others waiting"),
        pytest.param({"call_us": 100, "item_us": 30_000}, 16, id="an item is slow"),
        pytest.param(
            {"call_us": 400, "item_us": 2, "busy_cores": 0.02}, 1024, id="a GPU computes: the clock"
        ),
        pytest.param(
            {"call_us": 250, "item_us": 5, "disturbed_s": 0.02}, 1024, id="beside another process"
        ),
    ],
)
def test_the_tile_grows_while_an_item_gets_cheaper(
    costs: dict[str, float], expected: int, ask: Callable[..., int]
) -> None:
    assert expected == ask(_Model(**costs))


@pytest.mark.parametrize(
    ("call_us", "item_us"), [(550, 15), (250, 5)], ids=["62 ms", "mostly padding"]
)
def test_a_tile_that_takes_too_long_or_promises_nothing_is_not_measured(
    call_us: float, item_us: float, ask: Callable[..., int]
) -> None:
    # given a model whose call of 4096 would not pay
    model = _Model(call_us=call_us, item_us=item_us)

    assert 1024 == ask(model)
    assert 1024 == max(model.compiled)


def test_a_model_is_measured_once_for_all_workers_of_a_kind(ask: Callable[..., int]) -> None:
    # given a worker that has measured
    assert 1024 == ask(_Model(call_us=250, item_us=5))

    # when another asks, also of another version of the artifact, then it measures nothing
    other = _Model(call_us=2000, item_us=1)
    assert (1024, []) == (ask(other), other.compiled)

    # and it would measure otherwise
    for changed in (
        {"engine": "fake 2"},
        {"machine": "abacus, 4 cores"},
        {"artifact": b"others"},
    ):
        assert 4096 == ask(other, **changed), changed


def test_no_tile_of_a_heavy_model_is_compiled_to_choose_one(
    ask: Callable[..., int], memory_objects: InMemoryObjectStore
) -> None:
    model = _Model(call_us=100, item_us=40_000)

    assert (2, []) == (ask(model, work=_HEAVY), model.compiled)

    # and it is kept, for workers that would estimate otherwise
    assert 2 == ask(model, work=replace(_HEAVY, multiplications=10**8))
    manifest = _publish(memory_objects, b"weights")
    kept = _calibrations(model, memory_objects).find(manifest, _HEAVY)
    assert kept is not None
    assert "estimated from its layers" == kept.summary


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

        return _calibrations(model, objects, decide=decide).tile_items(
            manifest, compile_for, _LIGHT
        )

    # when both measure, with different results
    models = [_Model(call_us=250, item_us=5), _Model(call_us=2000, item_us=1)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, models))

    # then one result holds for them and for later workers
    kept = _calibrations(models[0], objects).find(manifest, _LIGHT)
    assert kept is not None
    assert {kept.tile_items} == set(found)
    assert kept.tile_items in {1024, 4096}


@pytest.mark.parametrize("conditional_writes", [True, False])
@pytest.mark.parametrize(
    ("changes", "work", "own"),
    [
        pytest.param({"tile_items": 65536}, _LIGHT, 1024, id="huge"),
        pytest.param({"tile_items": 1}, _LIGHT, 1024, id="tiny"),
        pytest.param({"tile_items": 64}, _HEAVY, 2, id="too large for a heavy model"),
        pytest.param(
            {"tile_items": 1024}, replace(_LIGHT, output_bytes=2**20), 256, id="more than fits"
        ),
        pytest.param({"tile_items": 10**6}, _LIGHT, 1024, id="beyond any"),
        pytest.param({"engine": "fake 2"}, _LIGHT, 1024, id="another engine"),
        pytest.param({"machine": "abacus, 4 cores"}, _LIGHT, 1024, id="another machine"),
        pytest.param({"trials": [{"tile_items": 1, "item_us": 1}] * 99}, _LIGHT, 1024, id="long"),
        pytest.param({"x" * 10**6: 1}, _LIGHT, 1024, id="not read whole"),
        pytest.param(None, _LIGHT, 1024, id="no record"),
    ],
)
def test_a_calibration_that_cannot_be_the_models_is_measured_again(
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any] | None,
    work: Work,
    own: int,
    *,
    conditional_writes: bool,
) -> None:
    # given a record that anyone wrote, who may write there
    objects = InMemoryObjectStore(conditional_writes=conditional_writes)
    manifest, model = _publish(objects, b"weights"), _Model(call_us=250, item_us=5)
    workers = [_calibrations(model, objects) for _ in range(2)]
    assert own == workers[0].tile_items(manifest, model.compile_for, work)
    (key,) = [info.key for info in objects.list("calibrations/")]
    good = json.loads(objects.get(key).data)
    objects.put(key, b"\xff" if changes is None else json.dumps(good | changes).encode())

    # when
    assert [own] * 2 == [w.tile_items(manifest, model.compile_for, work) for w in workers]

    # then it is replaced
    assert "calibration not believed" in caplog.messages
    assert own == json.loads(objects.get(key).data)["tile_items"]


def test_a_calibration_of_a_later_release_is_left_alone(
    ask: Callable[..., int], memory_objects: InMemoryObjectStore
) -> None:
    model = _Model(call_us=250, item_us=5)
    ask(model)
    (key,) = [info.key for info in memory_objects.list("calibrations/")]
    memory_objects.put(key, b'{"schema_version": 99}')

    with pytest.raises(LaterVersionError, match=key):
        ask(model)


def test_the_measurements_are_told(memory_objects: InMemoryObjectStore) -> None:
    model = _Model(call_us=250, item_us=5)
    manifest = _publish(memory_objects, b"weights")

    tried = _calibrations(model, memory_objects).choose(manifest, model.compile_for, _LIGHT)

    assert "64: 9.76 us, 256: 6.37 us, 1024: 5.96 us an item" == tried.summary
    assert [] == list(memory_objects.list("calibrations/"))


def test_a_setting_holds_without_measuring(memory_objects: InMemoryObjectStore) -> None:
    model = _Model(call_us=250, item_us=5)
    manifest = _publish(memory_objects, b"weights")
    choice = TileChoice(Settings(max_batch_size=7), kept=_calibrations(model, memory_objects))

    assert 7 == choice.known_items(manifest)
    assert 7 == choice.chooser(32)(manifest, model.compile_for, _LIGHT)
    assert [] == model.compiled


@pytest.mark.parametrize(("most_items", "expected"), [(4096, 1024), (256, 256), (32, 32), (8, 8)])
def test_no_call_has_more_rows_than_may_be_made_here(
    memory_objects: InMemoryObjectStore, most_items: int, expected: int
) -> None:
    model = _Model(call_us=250, item_us=5)
    manifest = _publish(memory_objects, b"weights")
    choice = TileChoice(Settings(), kept=_calibrations(model, memory_objects))

    assert choice.known_items(manifest) is None
    assert expected == choice.chooser(most_items)(manifest, model.compile_for, _LIGHT)
    assert expected == choice.known_items(manifest)
    assert all(tile <= most_items for tile in model.compiled)
    # and what another worker chose meanwhile is not taken untried
    with pytest.raises(ModelDeclinedError, match=f"called with {expected} rows, and 4 were tried"):
        choice.chooser(4)(manifest, model.compile_for, _LIGHT)
