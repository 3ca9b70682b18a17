"""A published Keras model, deployments of their own on the session's servers, and real workers."""

import itertools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client

TILE_ITEMS = 64
#: A deployment has a database to itself; number 0 is that of the other tests.
_DATABASES = itertools.count(1)
ITEM_SHAPE = [6, 6]
CLASSES = ["a", "b", "c"]


@dataclass(frozen=True)
class _Model:
    """A tiny model: its artifact, and what it predicts in this process."""

    artifact: bytes
    predict: Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def keras_model() -> _Model:
    """Built once: importing TensorFlow takes seconds."""
    from model_store.engines import golden, keras_file, keras_predict, keras_setup  # noqa: PLC0415 - seconds

    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input(ITEM_SHAPE, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    compiled = keras_predict.compile_predict(
        model, tile_items=TILE_ITEMS, item_shape=ITEM_SHAPE, item_dtype="uint8"
    )
    return _Model(
        artifact=keras_file.dump_model(model),
        predict=lambda rows: golden.predict_items(compiled, rows, tile_items=TILE_ITEMS),
    )


class _Deployment:
    """A bucket and a Redis database of its own, the model published, workers when asked for."""

    def __init__(self, stack: Stack, model: _Model, folder: Path, **settings: object) -> None:
        self.model = model
        server = stack.settings.redis_url.get_secret_value().rpartition("/")[0]
        self.settings = stack.settings.model_copy(
            update={
                "redis_url": SecretStr(f"{server}/{next(_DATABASES)}"),
                "s3_bucket": f"test-{uuid.uuid4().hex[:12]}",
                "cache_dir": folder,
                "max_batch_size": TILE_ITEMS,
                **settings,
            }
        )
        self.objects = S3ObjectStore.from_settings(self.settings)
        self.objects.create_bucket()
        self.client = Client.from_settings(self.settings)
        self.folder = folder
        self._publish()

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command on this deployment."""
        given = {
            f"FORNADA_{name.upper()}": value.get_secret_value()
            if isinstance(value, SecretStr)
            else str(value)
            for name, value in self.settings.model_dump(exclude_none=True).items()
            if value != Settings.model_fields[name].default
        }
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("FORNADA_", "AWS_"))}
        return {**kept, **given}

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """`fornada worker --processes 1`, which is not up yet when this returns."""
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "fornada", "worker", "--processes", "1", *options],
                env=self.environ,
                stdout=log,
                stderr=log,
            )

    def worker_pids(self) -> list[int]:
        """Processes that show life."""
        return [
            int(path.stem.rpartition("-")[2]) for path in (self.folder / "workers").glob("*.json")
        ]

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def _publish(self) -> None:
        golden = np.zeros((2, *ITEM_SHAPE), np.uint8)
        ModelStore(objects=self.objects).publish(
            ModelDraft(name="m", item_shape=ITEM_SHAPE, item_dtype="uint8", classes=CLASSES),
            artifact=self.model.artifact,
            golden_inputs=golden,
            golden_outputs=self.model.predict(golden),
            check=lambda _artifact: None,
        )


def _end(process: subprocess.Popen[bytes], deployment: _Deployment) -> None:
    deployment.client.close()
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        for pid in deployment.worker_pids():
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def shared(
    servers: Stack, keras_model: _Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Deployment]:
    """A deployment with one worker that many tests share."""
    deployment = _Deployment(servers, keras_model, tmp_path_factory.mktemp("shared"))
    process = deployment.start_worker()
    yield deployment
    _end(process, deployment)


@pytest.fixture
def deploy(
    servers: Stack, keras_model: _Model, tmp_path: Path
) -> Iterator[Callable[..., tuple[_Deployment, Callable[..., subprocess.Popen[bytes]]]]]:
    """Make a deployment with the settings given; returns it, and how to start a worker on it."""
    begun: list[tuple[subprocess.Popen[bytes], _Deployment]] = []

    def make(**settings: object) -> tuple[_Deployment, Callable[..., subprocess.Popen[bytes]]]:
        deployment = _Deployment(servers, keras_model, tmp_path, **settings)

        def start(*options: str) -> subprocess.Popen[bytes]:
            begun.append((deployment.start_worker(*options), deployment))
            return begun[-1][0]

        return deployment, start

    yield make
    for process, deployment in begun:
        if process.poll() is None:
            _end(process, deployment)
