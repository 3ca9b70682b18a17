"""A published Keras model, and deployments with real workers on the session's servers."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from producer.client import Client

from ...deployment import (
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


class _Deployment:
    """A bucket and a Redis database of its own, model `m` published, workers on demand."""

    def __init__(self, stack: Stack, model: TinyModel, folder: Path, **settings: object) -> None:
        self.model = model
        self.settings = with_new_bucket(
            stack.settings,
            **{
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
def shared(
    servers: Stack, keras_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Deployment]:
    """A deployment with one worker that the tests of a file share."""
    deployment = _Deployment(servers, keras_model, tmp_path_factory.mktemp("shared"))
    process = deployment.start_worker()
    yield deployment
    _end(process, deployment)


@pytest.fixture
def deploy(
    servers: Stack, keras_model: TinyModel, tmp_path: Path
) -> Iterator[Callable[..., tuple[_Deployment, Callable[..., subprocess.Popen[bytes]]]]]:
    """`deploy(**settings)`: a deployment with these settings, and a function to start workers."""
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
