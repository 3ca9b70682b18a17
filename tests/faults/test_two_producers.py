"""Two producers that submit under one key at the same moment, on both kinds of store."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from fornada.coordination.redis import RedisCoordination
from fornada.errors import JobConflictError
from fornada.formats.npy import from_npy
from fornada.jobs.store import JobStore
from fornada.queue.memory import RecordingSender
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from producer.client import Client
from producer.job import Job

from ..deployment import publish_unloadable

ROUNDS = 10
ITEM_SHAPE = [8, 8]

Answer = Job | JobConflictError


@pytest.fixture(params=["moto", "rclone"])
def objects(request: pytest.FixtureRequest) -> S3ObjectStore:
    """A bucket with a model: on a store that decides between two writers, and on another."""
    objects: S3ObjectStore = request.getfixturevalue(f"{request.param}_objects")
    publish_unloadable(objects, "m", item_shape=ITEM_SHAPE, classes=["a", "b"])
    return objects


@pytest.fixture
def clients(objects: S3ObjectStore, settings: Settings) -> list[Client]:
    """Two producers with their own connections to Redis; no workers."""
    return [
        Client(
            objects=objects,
            coordination=RedisCoordination.from_settings(settings),
            sender=RecordingSender(),
            settings=settings,
        )
        for _ in range(2)
    ]


def _submit_at_once(
    clients: list[Client], images: list[NDArray[np.uint8]], *, key: str
) -> list[Answer]:
    """Submit each client's images under the key, all at once; return what each got."""
    start = threading.Barrier(len(clients))

    def submit(client: Client, own: NDArray[np.uint8]) -> Answer:
        start.wait()
        try:
            return client.submit(own, model="m:1", idempotency_key=key)
        except JobConflictError as exc:
            return exc

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(submit, clients, images))


def test_one_of_two_with_different_images_wins_and_its_images_are_the_jobs(
    clients: list[Client], objects: S3ObjectStore
) -> None:
    # given
    images = np.random.default_rng(1).integers(0, 256, (16, *ITEM_SHAPE), np.uint8)
    both = [images, 255 - images]
    jobs = JobStore(objects=objects)

    for number in range(ROUNDS):
        # when
        pair = _submit_at_once(clients, both, key=f"job-{number}")

        # then
        (winner,) = [place for place, answer in enumerate(pair) if isinstance(answer, Job)]
        assert "use another idempotency key" in str(pair[1 - winner])
        stored = jobs.manifest(f"job-{number}")
        inputs = [from_npy(jobs.read_checked(s.objects[0]), where="input") for s in stored.shards]
        assert both[winner].tobytes() == np.concatenate(inputs).tobytes()


def test_two_with_the_same_images_get_one_job(clients: list[Client]) -> None:
    # given
    images = np.random.default_rng(2).integers(0, 256, (16, *ITEM_SHAPE), np.uint8)
    for number in range(ROUNDS):
        # when
        first, second = _submit_at_once(clients, [images, images], key=f"job-{number}")

        # then
        assert isinstance(first, Job)
        assert isinstance(second, Job)
        assert first.manifest == second.manifest
