"""A model is loaded behind the wall first: once a machine, unless a verdict is to be believed."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import ModelRefusedError, ModelWallError
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.trust.deployment_keys import DeploymentKeys
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from model_store.wall.limits import WallLimits
from model_store.wall.messages import CallCost, Check, Passed
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.first_load import FirstLoads

_CALL_BYTES = 1000
_CALL = CallCost(tile_items=32, peak_bytes=_CALL_BYTES, duration_s=0.1)
_LARGER = CallCost(tile_items=64, peak_bytes=_CALL_BYTES + 1, duration_s=0.1)
_KEYS, _OTHERS = DeploymentKeys([b"k" * 32]), DeploymentKeys([b"o" * 32])


class _Wall:
    """Passes every model, or raises."""

    def __init__(self) -> None:
        self.asked: list[Check] = []
        self.limits: list[WallLimits] = []
        self.error: Exception | None = None
        self.calls = [_CALL]

    def open(self, limits: WallLimits) -> Any:
        self.limits.append(limits)
        return nullcontext(self)

    def check(self, request: Check) -> Passed:
        self.asked.append(request)
        assert np.load(request.golden_inputs).shape == (1, 2)
        if self.error is not None:
            raise self.error
        return Passed(engine="fake 1", peak_bytes=1, calls=self.calls)


class _Machine:
    """Publishers and workers, each with a key or none, on one machine."""

    def __init__(self, folder: Path) -> None:
        self.objects = InMemoryObjectStore()
        self.folder = folder
        self.wall = _Wall()

    def models(self, keys: DeploymentKeys) -> ModelStore:
        trust = Trust(deployment_keys=keys)
        return ModelStore(objects=self.objects, trust=trust, open_wall=self.wall.open)

    def publish(self, keys: DeploymentKeys, **changed: Any) -> ModelManifest:
        draft = draft_for_test(item_shape=[2], classes=["a", "b"])
        return self.models(keys).publish(
            draft,
            artifact=b"artifact",
            golden_inputs=np.zeros((1, 2), np.uint8),
            golden_outputs=changed.get("outputs", np.zeros((1, 2), np.float32)),
            check=lambda _: Passed(
                engine="fake 1", peak_bytes=1, calls=changed.get("calls", [_CALL])
            ),
        )

    def load(
        self,
        manifest: ModelManifest,
        keys: DeploymentKeys,
        *,
        known_items: int | None = None,
        call_bytes: int | None = _CALL_BYTES,
        **settings: Any,
    ) -> int | None:
        (self.folder / "artifact").write_bytes(b"artifact")
        return FirstLoads(
            Settings(**settings),
            models=self.models(keys),
            disk=ArtifactCache(self.folder / "cache"),
            known_items=lambda _manifest: known_items,
            call_bytes=lambda _engine: call_bytes,
        ).check(manifest, self.folder / "artifact")


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    return _Machine(tmp_path)


def test_a_verdict_signed_with_a_key_of_the_deployment_is_believed(machine: _Machine) -> None:
    manifest = machine.publish(_KEYS)

    machine.load(manifest, DeploymentKeys([b"n" * 32, b"k" * 32]))

    assert [] == machine.wall.asked


@pytest.mark.parametrize(
    ("signed", "trusted"),
    [(_OTHERS, _KEYS), (DeploymentKeys(), _KEYS), (_KEYS, DeploymentKeys())],
    ids=["a key of others", "no verdict", "no key here"],
)
def test_no_other_verdict_is_believed(
    machine: _Machine, signed: DeploymentKeys, trusted: DeploymentKeys
) -> None:
    machine.load(machine.publish(signed), trusted)

    assert ["model m:1"] == [request.where for request in machine.wall.asked]


def test_the_verdict_on_one_golden_batch_is_none_on_another(machine: _Machine) -> None:
    # given the same artifact with other golden outputs, under a copied verdict
    first = machine.publish(_KEYS)
    second = machine.publish(DeploymentKeys(), outputs=np.ones((1, 2), np.float32))
    verdict = machine.objects.get(first.version_keys.verdict).data
    machine.objects.put(second.version_keys.verdict, verdict)

    machine.load(second, _KEYS)

    assert ["model m:2"] == [request.where for request in machine.wall.asked]


@pytest.mark.parametrize("change", [lambda d: d[:-2], lambda d: d.replace(b"fake 1", b"fake 2")])
def test_a_changed_verdict_is_none(machine: _Machine, change: Callable[[bytes], bytes]) -> None:
    manifest = machine.publish(_KEYS)
    key = manifest.version_keys.verdict
    machine.objects.put(key, change(machine.objects.get(key).data))

    machine.load(manifest, _KEYS)

    assert 1 == len(machine.wall.asked)


def test_a_machine_asks_once(machine: _Machine) -> None:
    manifest = machine.publish(DeploymentKeys())

    for _ in range(3):
        machine.load(manifest, DeploymentKeys())

    assert 1 == len(machine.wall.asked)


def test_a_wall_without_time_or_memory_is_not_asked_again_for_a_while(machine: _Machine) -> None:
    manifest = machine.publish(DeploymentKeys())
    machine.wall.error = ModelWallError("model m:1 takes more than 9 s to load")

    for _ in range(2):
        with pytest.raises(ModelWallError, match="9 s to load; its jobs go back to the queue"):
            machine.load(manifest, DeploymentKeys())

    assert 1 == len(machine.wall.asked)
    assert ("worker", "model") == (ModelWallError.fault, ModelRefusedError.fault)


def test_a_model_that_the_wall_refuses_is_asked_for_each_time(machine: _Machine) -> None:
    manifest = machine.publish(DeploymentKeys())
    machine.wall.error = ModelRefusedError("it differs")

    for _ in range(2):
        with pytest.raises(ModelRefusedError, match="it differs"):
            machine.load(manifest, DeploymentKeys())

    assert 2 == len(machine.wall.asked)


def test_the_wall_takes_no_longer_than_half_of_what_a_shard_may(machine: _Machine) -> None:
    machine.load(machine.publish(DeploymentKeys()), DeploymentKeys(), shard_deadline_s=20.0)

    assert [10.0] == [limits.time_s for limits in machine.wall.limits]


def test_models_that_are_only_data_need_no_wall(machine: _Machine) -> None:
    machine.load(machine.publish(DeploymentKeys()), DeploymentKeys(), engine="test")

    assert [] == machine.wall.asked


def test_a_call_has_no_more_rows_than_were_tried_or_fit_into_memory(machine: _Machine) -> None:
    believed = machine.publish(_KEYS, calls=[_CALL, _LARGER])
    assert 32 == machine.load(believed, _KEYS)

    machine.wall.calls = [_CALL, _LARGER.model_copy(update={"peak_bytes": _CALL_BYTES})]
    tried_here = machine.publish(DeploymentKeys())
    for _ in range(2):
        assert 64 == machine.load(tried_here, DeploymentKeys())
    # and a worker that has been told so, or by another worker, finds that it was tried
    assert 64 == machine.load(tried_here, DeploymentKeys(), known_items=64)

    assert [None] == [request.tile_items for request in machine.wall.asked]


def test_rows_that_were_never_tried_are_tried_here_first(machine: _Machine) -> None:
    manifest = machine.publish(_KEYS)
    machine.wall.calls = [_CALL.model_copy(update={"tile_items": 256})]

    for _ in range(2):
        assert 256 == machine.load(manifest, _KEYS, known_items=256)

    (request,) = machine.wall.asked
    assert (256, "model m:1 in calls of 256 items") == (request.tile_items, request.where)


def test_calls_of_a_gpu_are_not_tried_on_a_core(machine: _Machine) -> None:
    manifest = machine.publish(DeploymentKeys(), calls=[_LARGER])

    assert machine.load(manifest, _KEYS, known_items=65_536, call_bytes=None) is None

    # but the model has to pass the wall
    assert [None] == [request.tile_items for request in machine.wall.asked]


@pytest.mark.parametrize(
    ("changed", "known_items"),
    [
        ({"peak_bytes": _CALL_BYTES + 1}, None),
        ({"duration_s": 301.0}, None),
        ({"tile_items": 64, "peak_bytes": 2**30}, 64),
    ],
)
def test_a_model_whose_calls_are_too_much_for_this_machine_goes_back(
    machine: _Machine, changed: dict[str, Any], known_items: int | None
) -> None:
    call = _CALL.model_copy(update=changed)
    manifest = machine.publish(_KEYS, calls=[_CALL, call] if known_items else [call])

    with pytest.raises(ModelWallError, match=r"model m:1 takes .* s here; its jobs go back"):
        machine.load(manifest, _KEYS, known_items=known_items)
