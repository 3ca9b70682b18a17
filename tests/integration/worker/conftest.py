"""Deployments with a published model and real workers, on the session's servers."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from fornada.jobs.outcome import JobState
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer.client import Client
from producer.job import Job
from worker.host.supervisor import _MALLOC

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
from ...walls import no_wall

ITEM_SHAPE = [6, 6]
#: A worker's start and a job, on a busy machine.
START_S = 90.0


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (300, *ITEM_SHAPE), np.uint8)


@pytest.fixture(scope="session")
def keras_model() -> TinyModel:
    """Built once: importing TensorFlow takes seconds."""
    return TinyModel.build(seed=7, item_shape=ITEM_SHAPE)


class _Model(Protocol):
    """A model to publish, and what it predicts in this process."""

    def publish(self, models: ModelStore, name: str) -> None:
        """Publish it."""

    def predict(self, items: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a worker predicts, to the byte."""


class _FastModel:
    """A model of the engine `test`, which starts in a second; a predict call takes `delay_s`."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    def publish(self, models: ModelStore, name: str) -> None:
        self.predict = publish_for_test(
            models,
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
        trust = Trust.from_settings(self.settings)
        self.models = ModelStore(objects=self.objects, trust=trust, open_wall=no_wall)
        model.publish(self.models, "m")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command on this deployment."""
        return environ_of(self.settings)

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """`fornada worker --processes 1`, which is not up yet when this returns."""
        return start_worker(self.environ, self.folder / "worker.log", *options)

    def start_program(self, name: str, *arguments: object) -> subprocess.Popen[bytes]:
        """A program of `programs/`, started as the supervisor starts a worker process."""
        program = Path(__file__).with_name("programs") / name
        command = [sys.executable, str(program), *map(str, arguments)]
        with (self.folder / "worker.log").open("wb") as log:
            return subprocess.Popen(
                command, env={**_MALLOC, **self.environ}, stdout=log, stderr=log
            )

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`fornada` with these arguments, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "fornada", *arguments],
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=START_S,
        )

    def redis(self) -> redis.Redis:
        url = self.settings.redis_url.get_secret_value()
        return redis.Redis.from_url(url, decode_responses=True)

    def probabilities(self, job: Job) -> NDArray[np.float32]:
        """What the job gives, which must succeed."""
        assert JobState.SUCCEEDED == job.wait(timeout_s=START_S).state, self.log()
        return job.results().probabilities

    def is_right(self, job: Job, images: NDArray[np.uint8]) -> bool:
        """Whether the job gives the bytes that the model gives in this process."""
        return self.probabilities(job).tobytes() == self.model.predict(images).tobytes()

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
