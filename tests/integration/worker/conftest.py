"""Deployments with a published model and real workers, on the session's servers."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from fornada.local.stack import Stack
from fornada.storage.interface import ObjectStore
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer.client import Client

from ...deployment import (
    CLASSES,
    TILE_ITEMS,
    TinyModel,
    end_worker,
    environ_of,
    start_worker,
    unused_database,
    with_new_bucket,
    worker_pids,
)

ITEM_SHAPE = [6, 6]


@pytest.fixture(scope="session")
def keras_model() -> TinyModel:
    """Built once: importing TensorFlow takes seconds."""
    return TinyModel.build(seed=7, item_shape=ITEM_SHAPE)


class _Model(Protocol):
    """A model to publish, and what it predicts in this process."""

    def publish(self, objects: ObjectStore, name: str) -> None:
        """Publish it."""

    def predict(self, items: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a worker predicts, to the byte."""


class _FastModel:
    """A model of the engine `test`, which starts in a second; a predict call takes `delay_s`."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    def publish(self, objects: ObjectStore, name: str) -> None:
        self.predict = publish_for_test(
            ModelStore(objects=objects),
            name=name,
            item_shape=ITEM_SHAPE,
            classes=CLASSES,
            delay_s=self._delay_s,
        )


class _Deployment:
    """A bucket and a Redis database of its own, model `m` published, workers on demand."""

    def __init__(self, stack: Stack, model: _Model, folder: Path, **settings: object) -> None:
        self.model = model
        self.settings = with_new_bucket(
            stack.settings,
            **{
                "engine": "test",
                "redis_url": unused_database(stack.settings),
                "cache_dir": folder,
                "max_batch_size": TILE_ITEMS,
                **settings,
            },
        )
        self.objects = S3ObjectStore.from_settings(self.settings)
        self.client = Client.from_settings(self.settings)
        self.folder = folder
        model.publish(self.objects, "m")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command on this deployment."""
        return environ_of(self.settings)

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """`fornada worker --processes 1`, which is not up yet when this returns."""
        return start_worker(self.environ, self.folder / "worker.log", *options)

    def worker_pids(self) -> list[int]:
        """Worker processes that show life."""
        return worker_pids(self.folder)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()


def _end(process: subprocess.Popen[bytes], deployment: _Deployment) -> None:
    deployment.client.close()
    end_worker(process, deployment.worker_pids)


@pytest.fixture(scope="module")
def shared(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Deployment]:
    """A deployment with one worker that the tests of a file share."""
    deployment = _Deployment(servers, _FastModel(), tmp_path_factory.mktemp("shared"))
    process = deployment.start_worker()
    yield deployment
    _end(process, deployment)


@pytest.fixture
def deploy(
    servers: Stack, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., tuple[_Deployment, Callable[..., subprocess.Popen[bytes]]]]]:
    """`deploy(**settings)`: a deployment with these settings, and a function to start workers."""
    begun: list[tuple[subprocess.Popen[bytes], _Deployment]] = []

    def make(
        *, delay_s: float = 0.0, **settings: object
    ) -> tuple[_Deployment, Callable[..., subprocess.Popen[bytes]]]:
        fast = settings.get("engine", "test") == "test"
        model = _FastModel(delay_s=delay_s) if fast else request.getfixturevalue("keras_model")
        deployment = _Deployment(servers, model, tmp_path, **settings)

        def start(*options: str) -> subprocess.Popen[bytes]:
            begun.append((deployment.start_worker(*options), deployment))
            return begun[-1][0]

        return deployment, start

    yield make
    for process, deployment in begun:
        if process.poll() is None:
            _end(process, deployment)
