"""Loaded models: each once, by digest, checked; and their artifacts on disk."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    LocalDiskError,
    MissingExtraError,
    ModelDeclinedError,
    ModelNotFoundError,
    ModelRefusedError,
    ModelWallError,
    StoreUnavailableError,
)
from fornada.events import ModelDeclined
from fornada.formats.rows import Rows
from fornada.records import ModelPin, sha256_hex
from fornada.settings import Settings
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.model_cache import ModelCache

ROWS = np.ones((2, 3), np.float32)
_DIGEST = sha256_hex(b"weights")


@pytest.fixture
def disk(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def test_concurrent_first_uses_load_once(world: Any) -> None:
    # given eight threads that need a model at once
    pin = world.publish().pin
    at_once = threading.Barrier(8)

    def use(_thread: int) -> np.ndarray:
        at_once.wait(10)
        with world.cache.use(pin) as model:
            return model.batcher.predict(Rows(ROWS)).outputs.only

    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(use, range(8)))

    assert ["m:1"] == world.engine.builds
    assert 8 == len(outputs)


@pytest.mark.parametrize("room", [{"max_models": 2}, {"max_models": 9, "max_bytes": 10}])
def test_the_least_recently_used_model_is_dropped(
    world: Any, disk: ArtifactCache, room: dict[str, int]
) -> None:
    # given room for two models of 4, 4 and 3 bytes
    pins = [world.publish(artifact=artifact).pin for artifact in (b"aaaa", b"bbbb", b"ccc")]
    cache = _cache(world, disk, **room)

    # when the first is used again before a third comes
    for number in (0, 1, 0, 2, 0, 1):
        with cache.use(pins[number]):
            pass
    cache.close()

    # then the second went, and the first stayed
    assert ["m:1", "m:2", "m:3", "m:2"] == world.engine.builds


def test_two_versions_of_one_artifact_each_say_what_their_own_manifest_says(world: Any) -> None:
    first = world.publish(artifact=b"same")
    renamed = first.output.model_copy(update={"classes": ["c", "d"]})
    second = world.publish(artifact=b"same", gives=renamed)

    with world.cache.use(first.pin) as one, world.cache.use(second.pin) as other:
        assert [first, second] == [one.manifest, other.manifest]
        assert one.batcher is other.batcher


def test_models_in_use_are_not_dropped(world: Any) -> None:
    pins = [world.publish(artifact=b"%d" % n).pin for n in range(4)]

    with world.cache.use(pins[0]) as first, world.cache.use(pins[1]), world.cache.use(pins[2]):
        with world.cache.use(pins[3]):
            pass
        outputs = first.batcher.predict(Rows(ROWS)).outputs.only

    np.testing.assert_array_equal(world.row_sums(ROWS), outputs)


def test_room_is_made_before_a_model_is_built(world: Any, disk: ArtifactCache) -> None:
    pins = [world.publish(artifact=b"%d" % n).pin for n in range(2)]
    cache = _cache(world, disk)
    with cache.use(pins[0]) as first:
        pass

    world.engine.on_build = lambda: gone.append(not first.batcher._threads[0].is_alive())
    gone: list[bool] = []
    with cache.use(pins[1]):
        pass
    cache.close()

    assert [True] == gone


def test_no_model_is_built_before_its_first_load_was_allowed(
    world: Any, disk: ArtifactCache
) -> None:
    pin = world.publish().pin

    def refuse(manifest: ModelManifest, artifact: Path) -> None:
        assert (pin, b"weights") == (manifest.pin, artifact.read_bytes())
        raise ModelWallError("m:1 takes more than 90 s to load")

    cache = ModelCache(
        world.settings, models=world.models, build=world.engine.build, disk=disk, first_load=refuse
    )

    # then it goes back, and nothing was built here
    with pytest.raises(ModelDeclinedError, match="90 s to load"), cache.use(pin):
        pass
    assert [] == world.engine.builds


def test_a_model_larger_than_the_budget_is_loaded_alone(world: Any, disk: ArtifactCache) -> None:
    pin = world.publish(artifact=b"far too large").pin
    cache = _cache(world, disk, max_bytes=1)

    with cache.use(pin) as model:
        np.testing.assert_array_equal(
            world.row_sums(ROWS), model.batcher.predict(Rows(ROWS)).outputs.only
        )

    cache.close()


def test_loading_a_model_does_not_block_a_loaded_one(world: Any) -> None:
    # given a version at work, and the next one being built
    first, second = (world.publish(artifact=b"%d" % n).pin for n in range(2))
    with world.cache.use(first):
        pass
    building, go_on = threading.Event(), threading.Event()

    def build_slowly() -> None:
        building.set()
        assert go_on.wait(30)

    world.engine.on_build = build_slowly
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(lambda: world.cache.use(second).__enter__())
        assert building.wait(30)

        # when
        with world.cache.use(first) as model:
            outputs = model.batcher.predict(Rows(ROWS)).outputs.only
        go_on.set()

        # then
        np.testing.assert_array_equal(world.row_sums(ROWS), outputs)
        assert "m:2" == str(loading.result(30).manifest)


def test_models_are_warmed_up_by_alias_version_and_name(world: Any) -> None:
    pins = [world.publish(name, name.encode()).pin for name in ("m", "n")]
    world.models.promote("m", 1, "prod")

    # when two are warmed up, with a missing one in between
    world.cache.warm(["m@prod", "absent", "n"])
    built = list(world.engine.builds)

    # then nothing is loaded when they are used
    for pin in pins:
        with world.cache.use(pin):
            pass
    assert ["m:1", "n:1"] == built == world.engine.builds


def test_a_refused_version_is_not_used_though_its_artifact_is_loaded(
    world: Any, disk: ArtifactCache
) -> None:
    # given two versions of one artifact, one of which is accepted
    accepted, other = (world.publish(name, b"same").pin for name in ("m", "n"))
    world.models = ModelStore(objects=world.objects, trust=Trust(accepted_models=("m",)))
    cache = _cache(world, disk)

    def refused() -> list[str]:
        with pytest.raises(ModelRefusedError, match="'n' is not one that this process accepts"):
            cache.use(other).__enter__()
        return list(world.engine.builds)

    assert [] == refused()
    with cache.use(accepted):
        assert ["m:1"] == refused()
    cache.close()


def test_a_checked_version_is_not_read_again(world: Any) -> None:
    pin = world.publish().pin
    with world.cache.use(pin):
        pass
    asked: list[str] = []
    world.objects.before = lambda _operation, key: asked.append(key)

    with world.cache.use(pin):
        pass

    assert [] == asked


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
    # given room for the one model that is loaded, and a caller of another model between the two
    # steps
    first, other = (world.publish(artifact=b"%d" % n).pin for n in range(2))
    cache = _cache(world, ArtifactCache(tmp_path / "other"))
    with cache.use(first):
        pass

    def use_other() -> None:
        with cache.use(other):
            pass

    cache._lock = _Lock(use_other)

    # then the returned model still predicts
    with cache.use(first) as model:
        np.testing.assert_array_equal(
            world.row_sums(ROWS), model.batcher.predict(Rows(ROWS)).outputs.only
        )
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

    # then the right bytes are back
    assert b"weights" == cached.read_bytes()


def test_a_model_that_is_not_what_its_pin_says_is_refused(world: Any) -> None:
    manifest = world.publish()
    artifact, manifest_key = manifest.artifact, keys.ModelKeys("m").version(1).manifest
    bare = artifact.model_copy(update={"sha256": None})
    for key, data, why in (
        (artifact.key, b"evil", "4 bytes and 7 were recorded"),
        (artifact.key, None, "no object"),
        (manifest_key, b"{}", "manifest"),
        (manifest_key, manifest.model_copy(update={"artifact": bare}).to_json(), "no digest"),
    ):
        stored = world.objects.get(key).data
        world.objects.delete(key) if data is None else world.objects.put(key, data)
        # A process tries again only now and then.
        world.advance(300)
        with pytest.raises(ModelRefusedError, match=why), world.cache.use(manifest.pin):
            pass
        world.objects.put(key, stored)

    pin = ModelPin(name="m", version=1, sha256="0" * 64)
    with pytest.raises(ModelRefusedError, match="digest"), world.cache.use(pin):
        pass


def test_an_unknown_model_is_not_found(world: Any) -> None:
    pin = ModelPin(name="none", version=1, sha256="0" * 64)

    with pytest.raises(ModelNotFoundError), world.cache.use(pin):
        pass


def test_a_model_that_cannot_be_loaded_here_is_tried_again_later_and_later(world: Any) -> None:
    pin = world.publish().pin
    world.engine.build_error = MissingExtraError("no engine")
    began_s, tries = world.now_s, []
    while world.now_s < began_s + 1000:
        count = len(world.engine.builds)
        with pytest.raises(ModelDeclinedError, match="no engine"), world.cache.use(pin):
            pass
        if len(world.engine.builds) > count:
            tries.append(world.now_s - began_s)
        world.advance(5)
    assert [0, 5, 15, 35, 75, 155, 315, 615, 915] == tries
    waits_s = [event.retry_in_s for event in world.heard if isinstance(event, ModelDeclined)]
    assert [5, 10, 20, 40, 80, 160, 300, 300, 300] == waits_s

    # when what was missing is there
    world.engine.build_error = None
    world.advance(300)

    with world.cache.use(pin) as model:
        outputs = model.batcher.predict(Rows(ROWS)).outputs.only

    np.testing.assert_array_equal(world.row_sums(ROWS), outputs)


def test_a_failing_store_does_not_blame_the_model(world: Any) -> None:
    pin = world.publish().pin

    def fail(_operation: str, _key: str) -> None:
        raise StoreUnavailableError("away")

    world.objects.before = fail

    with pytest.raises(StoreUnavailableError), world.cache.use(pin):
        pass


def test_a_full_disk_is_a_local_disk_error(disk: ArtifactCache) -> None:
    # Filling a real disk would harm others.
    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(LocalDiskError, match=r"No space left.*FORNADA_CACHE_DIR"):
        disk.get_or_fetch(_DIGEST, full)


def test_artifacts_are_for_their_owner_alone(disk: ArtifactCache, tmp_path: Path) -> None:
    disk.get_or_fetch(_DIGEST, _write)

    (cached,) = (tmp_path / "cache" / "artifacts").iterdir()
    assert 0 == cached.stat().st_mode & 0o077


def test_one_process_fetches_an_artifact_that_several_need(tmp_path: Path) -> None:
    # given caches that share a folder, as those of processes do
    fetched: list[int] = []
    at_once = threading.Barrier(4)

    def need(number: int) -> bytes:
        def fetch(path: Path) -> None:
            fetched.append(number)
            _write(path)

        cache = ArtifactCache(tmp_path)
        at_once.wait(10)
        return cache.get_or_fetch(_DIGEST, fetch).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(need, range(4)))

    assert [b"weights"] * 4 == found
    assert 1 == len(fetched)


def test_a_process_that_dies_while_fetching_blocks_no_other(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, worker.compute.model_cache as m\n"
        "def fetch(_path):\n"
        "    print('fetching', flush=True)\n"
        "    sys.stdin.read()\n"
        f"m.ArtifactCache(pathlib.Path(sys.argv[1])).get_or_fetch({_DIGEST!r}, fetch)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        assert process.stdout is not None
        assert "fetching\n" == process.stdout.readline()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ArtifactCache(tmp_path).get_or_fetch, _DIGEST, _write)

            process.kill()

            assert b"weights" == waiting.result(timeout=60).read_bytes()


def test_a_fetch_that_fails_is_tried_by_the_next(disk: ArtifactCache) -> None:
    def fail(_path: Path) -> None:
        raise StoreUnavailableError("away")

    with pytest.raises(StoreUnavailableError):
        disk.get_or_fetch(_DIGEST, fail)

    assert b"weights" == disk.get_or_fetch(_DIGEST, _write).read_bytes()


def test_a_folder_that_cannot_be_made_is_a_local_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    disk = ArtifactCache(tmp_path / "file")

    with pytest.raises(LocalDiskError, match=r"cannot be made .*FORNADA_CACHE_DIR"):
        disk.get_or_fetch(_DIGEST, _write)


def _write(path: Path) -> None:
    path.write_bytes(b"weights")


def _cache(
    world: Any, disk: ArtifactCache, *, max_models: int = 1, max_bytes: int = 10**9
) -> ModelCache:
    limits = {"max_loaded_models": max_models, "model_memory_bytes": max_bytes}
    settings = Settings(max_latency_s=0.0).model_copy(update=limits)
    return ModelCache(settings, models=world.models, build=world.engine.build, disk=disk)
