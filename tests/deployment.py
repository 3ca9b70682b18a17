"""What the tests' deployments share: environments, buckets, databases, models and workers."""

import itertools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis
from numpy.typing import NDArray
from pydantic import SecretStr

from fornada.settings import PREFIX, Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import Dtype, ImagePreprocessing
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import PASSED, draft_for_test

CLASSES = ["a", "b", "c"]
TILE_ITEMS = 64

_FOREIGN = (PREFIX, "AWS_")
#: Valkey is started with 64; the tests' `redis_url` is number 0.
_databases = itertools.cycle(range(1, 64))


def own_environ() -> dict[str, str]:
    """This process's environment without the developer's own deployment."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def environ_of(settings: Settings) -> dict[str, str]:
    """The environment of a command that runs with `settings`."""
    given = {
        f"{PREFIX}{name.upper()}": value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
        if value != Settings.model_fields[name].default
    }
    return {**own_environ(), **given}


def with_new_bucket(settings: Settings, **changed: object) -> Settings:
    """`settings` with a new, empty bucket, and with what is `changed`."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    fresh = settings.model_copy(update={"s3_bucket": bucket, **changed})
    S3ObjectStore.from_settings(fresh).create_bucket()
    return fresh


def unused_database(settings: Settings) -> SecretStr:
    """The URL of an empty Redis database, on the server of `settings`, that no other test uses."""
    server = settings.redis_url.get_secret_value().rpartition("/")[0]
    url = f"{server}/{next(_databases)}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return SecretStr(url)


def publish_unloadable(
    objects: ObjectStore,
    name: str,
    *,
    item_shape: list[int],
    item_dtype: Dtype = "uint8",
    classes: list[str],
) -> ModelManifest:
    """Publish a model that tests submit to and no worker loads."""
    draft = draft_for_test(name=name, item_shape=item_shape, item_dtype=item_dtype, classes=classes)
    return ModelStore(objects=objects).publish(
        draft,
        artifact=b"no model",
        golden_inputs=np.zeros((2, *item_shape), item_dtype),
        golden_outputs=np.full((2, len(classes)), 1 / len(classes), np.float32),
        check=lambda _artifact: None,
    )


@dataclass(frozen=True)
class TinyModel:
    """A Keras model of three classes, and what it predicts in this process."""

    item_shape: list[int]
    artifact: bytes
    #: uint8 [items, *item_shape] -> float32 [items, 3]
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]]

    @classmethod
    def build(
        cls, *, seed: int, item_shape: list[int], tile_items: int = TILE_ITEMS
    ) -> "TinyModel":
        """Build it; the same seed gives the same weights."""
        from model_store.engines import keras_file, keras_setup  # noqa: PLC0415 - seconds

        from . import arrays  # noqa: PLC0415 - as above

        keras = keras_setup.import_keras()
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input(item_shape, dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                keras.layers.Dense(16, activation="relu"),
                keras.layers.Dense(len(CLASSES), activation="softmax"),
            ]
        )
        compiled = arrays.compile_predict(
            model, tile_items=tile_items, item_shape=item_shape, item_dtype="uint8"
        )
        return cls(
            item_shape=item_shape,
            artifact=keras_file.dump_model(model),
            predict=lambda items: arrays.predict_items(compiled, items, tile_items=tile_items),
        )

    def publish(
        self, models: ModelStore, name: str, *, image: ImagePreprocessing | None = None
    ) -> None:
        """Publish it as version 1 of `name`, which makes items of image files so."""
        inputs = np.zeros((2, *self.item_shape), np.uint8)
        models.publish(
            draft_for_test(
                name=name,
                item_shape=self.item_shape,
                item_dtype="uint8",
                classes=CLASSES,
                image=image,
            ),
            artifact=self.artifact,
            golden_inputs=inputs,
            golden_outputs=self.predict(inputs),
            # A worker with the deployment's key needs no wall of its own, which takes seconds.
            check=lambda _artifact: PASSED,
        )


def start_worker(environ: dict[str, str], log_path: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `fornada worker --processes 1`; it is not up yet when this returns."""
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fornada", "worker", "--processes", "1", *options],
            env=environ,
            stdout=log,
            stderr=log,
        )


def worker_pids(cache_dir: Path) -> list[int]:
    """Worker processes that show life."""
    return [int(path.stem.rpartition("-")[2]) for path in (cache_dir / "workers").glob("*.json")]


def end_worker(supervisor: subprocess.Popen[bytes], pids: Callable[[], Iterable[int]]) -> None:
    """End a supervisor and its workers: in order if they can, else with SIGKILL."""
    supervisor.terminate()
    try:
        supervisor.wait(30)
    except subprocess.TimeoutExpired:
        for pid in pids():
            os.kill(pid, signal.SIGKILL)
        supervisor.kill()
        supervisor.wait()
