"""Loaded models: each once, by digest, checked; and their artifacts on disk."""

import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    LocalDiskError,
    MissingExtraError,
    ModelNotFoundError,
    ModelRefusedError,
    StoreUnavailableError,
)
from fornada.messages import ModelPin
from worker.model_cache import ArtifactCache, LoadedModel, ModelCache

ROWS = np.ones((2, 3), np.float32)


@pytest.fixture
def disk(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def test_concurrent_first_uses_load_once(world: Any) -> None:
    # given eight threads that need a model at the same moment
    pin = world.publish().pin
    at_once = threading.Barrier(8)

    def use(_thread: int) -> np.ndarray:
        at_once.wait(10)
        with world.cache.use(pin) as model:
            return model.batcher.predict(ROWS)

    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(use, range(8)))

    assert ["m:1"] == world.engine.builds
    assert 8 == len(outputs)


def test_the_least_recently_used_model_is_dropped(world: Any) -> None:
    # given room for two models
    pins = [world.publish(artifact=b"%d" % n).pin for n in range(3)]

    # when the first is used again before a third comes
    for number in (0, 1, 0, 2, 0, 1):
        with world.cache.use(pins[number]):
            pass

    # then the second went, and the first stayed
    assert ["m:1", "m:2", "m:3", "m:2"] == world.engine.builds


def test_models_in_use_are_not_dropped(world: Any) -> None:
    pins = [world.publish(artifact=b"%d" % n).pin for n in range(4)]

    with world.cache.use(pins[0]) as first, world.cache.use(pins[1]), world.cache.use(pins[2]):
        with world.cache.use(pins[3]):
            pass
        outputs = first.batcher.predict(ROWS)

    np.testing.assert_array_equal(world.row_sums(ROWS), outputs)


class _Lock:
    """The cache's lock; calls `on_release` after it was released for the second time."""

    def __init__(self, on_release: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._on_release = on_release
        self._releases = 0

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()
        self._releases += 1
        if self._releases == 2:
            self._on_release()


def test_a_model_is_not_dropped_between_being_found_and_being_used(
    world: Any, tmp_path: Path
) -> None:
    # given room for one model, which is there, and another caller that wants another model in
    # the moment between the two
    first, other = (world.publish(artifact=b"%d" % n).pin for n in range(2))
    cache = _cache(world, ArtifactCache(tmp_path / "other"))
    with cache.use(first):
        pass

    def use_other() -> None:
        with cache.use(other):
            pass

    cache._lock = _Lock(use_other)

    # then the model that is handed out still predicts
    with cache.use(first) as model:
        np.testing.assert_array_equal(world.row_sums(ROWS), model.batcher.predict(ROWS))
    cache.close()


def test_models_with_the_same_artifact_are_loaded_once(world: Any) -> None:
    pins = [world.publish(name, b"same").pin for name in ("m", "n")]

    for pin in pins:
        with world.cache.use(pin):
            pass

    assert 1 == len(world.engine.builds)


def test_a_second_process_takes_the_artifact_from_disk(world: Any, disk: ArtifactCache) -> None:
    manifest = world.publish(artifact=b"weights")
    for _ in range(2):
        cache = _cache(world, disk)
        with cache.use(manifest.pin):
            pass
        cache.close()
        world.objects.delete(manifest.artifact.key)

    assert 2 == len(world.engine.builds)


def test_a_damaged_artifact_on_disk_is_fetched_again(world: Any, tmp_path: Path) -> None:
    # given a cached artifact whose bytes have changed on disk
    pin = world.publish(artifact=b"weights").pin
    with world.cache.use(pin):
        pass
    (cached,) = (tmp_path / "artifacts").iterdir()
    cached.write_bytes(b"weighty")

    # when another process needs it
    cache = _cache(world, ArtifactCache(tmp_path))
    with cache.use(pin):
        pass
    cache.close()

    # then the right bytes are there again
    assert b"weights" == cached.read_bytes()


def test_an_artifact_that_is_not_its_digest_is_refused(world: Any) -> None:
    manifest = world.publish()
    world.objects.put(manifest.artifact.key, b"evil")

    with (
        pytest.raises(ModelRefusedError, match="4 bytes and 7 were recorded"),
        _using(world, manifest.pin),
    ):
        pass


def test_a_pin_of_another_digest_is_refused(world: Any) -> None:
    pin = ModelPin(name="m", version=world.publish().version, sha256="0" * 64)

    with pytest.raises(ModelRefusedError, match="digest"), _using(world, pin):
        pass


def test_a_missing_artifact_is_refused(world: Any) -> None:
    manifest = world.publish()
    world.objects.delete(manifest.artifact.key)

    with pytest.raises(ModelRefusedError), _using(world, manifest.pin):
        pass


def test_a_manifest_that_cannot_be_read_is_refused(world: Any) -> None:
    pin = world.publish().pin
    world.objects.put(keys.model_manifest("m", 1), b"{}")

    with pytest.raises(ModelRefusedError, match="manifest"), _using(world, pin):
        pass


def test_a_manifest_without_a_digest_is_refused(world: Any) -> None:
    manifest = world.publish()
    bare = manifest.artifact.model_copy(update={"sha256": None})
    changed = manifest.model_copy(update={"artifact": bare})
    world.objects.put(keys.model_manifest("m", 1), changed.to_json())

    with pytest.raises(ModelRefusedError, match="no digest"), _using(world, manifest.pin):
        pass


def test_an_unknown_model_is_not_found(world: Any) -> None:
    pin = ModelPin(name="none", version=1, sha256="0" * 64)

    with pytest.raises(ModelNotFoundError), _using(world, pin):
        pass


def test_a_failed_load_is_tried_again_at_the_next_use(world: Any) -> None:
    pin = world.publish().pin
    world.engine.build_error = MissingExtraError("no engine")
    with pytest.raises(MissingExtraError), _using(world, pin):
        pass
    world.engine.build_error = None

    with world.cache.use(pin) as model:
        outputs = model.batcher.predict(ROWS)

    np.testing.assert_array_equal(world.row_sums(ROWS), outputs)


def test_a_store_that_fails_for_now_is_no_fault_of_the_model(world: Any) -> None:
    pin = world.publish().pin

    def fail(_operation: str, _key: str) -> None:
        raise StoreUnavailableError("away")

    world.objects.before = fail

    with pytest.raises(StoreUnavailableError), _using(world, pin):
        pass


def test_a_full_disk_is_a_local_disk_error_and_leaves_nothing(
    disk: ArtifactCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk cannot be filled here without harm to others.
    def full(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(LocalDiskError, match=r"No space left.*FORNADA_CACHE_DIR"):
        disk.put("0" * 64, b"weights")

    assert [] == list((tmp_path / "cache" / "artifacts").iterdir())


def test_a_folder_that_cannot_be_made_is_a_local_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(LocalDiskError, match="FORNADA_CACHE_DIR"):
        ArtifactCache(tmp_path / "file").put("0" * 64, b"weights")


def test_artifacts_are_for_their_owner_alone(disk: ArtifactCache, tmp_path: Path) -> None:
    disk.put("0" * 64, b"weights")

    (cached,) = (tmp_path / "cache" / "artifacts").iterdir()
    assert 0 == cached.stat().st_mode & 0o077


def test_what_was_never_put_is_not_there(disk: ArtifactCache) -> None:
    assert disk.get("0" * 64) is None


def _cache(world: Any, disk: ArtifactCache) -> ModelCache:
    return ModelCache(
        models=world.models,
        build=world.engine.build,
        disk=disk,
        max_models=1,
        max_batch_size=4,
        max_latency_s=0.0,
    )


def _using(world: Any, pin: ModelPin) -> AbstractContextManager[LoadedModel]:
    return world.cache.use(pin)
