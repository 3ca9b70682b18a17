"""Two producers under one key, on a store that decides between them."""

import numpy as np
import pytest

from fornada.coordination.redis import RedisCoordination
from fornada.formats.npy import from_npy
from fornada.jobs.store import JobStore
from fornada.queue.memory import RecordingSender
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from producer.client import Client
from producer.job import Job

from ..deployment import publish_unloadable
from .rivals import check_one_job_each, submit_at_once

ROUNDS = 20
ITEM_SHAPE = [8, 8]


@pytest.fixture
def clients(moto_settings: Settings, settings: Settings) -> list[Client]:
    """Two producers with their own connections; no workers."""
    objects = S3ObjectStore.from_settings(moto_settings)
    publish_unloadable(objects, "m", item_shape=ITEM_SHAPE, classes=["a", "b"])
    return [
        Client(
            objects=S3ObjectStore.from_settings(moto_settings),
            coordination=RedisCoordination.from_settings(settings),
            sender=RecordingSender(),
            settings=settings,
        )
        for _ in range(2)
    ]


def test_one_of_two_with_different_images_wins_and_its_images_are_the_jobs(
    clients: list[Client], moto_objects: S3ObjectStore
) -> None:
    # given
    images = np.random.default_rng(1).integers(0, 256, (16, *ITEM_SHAPE), np.uint8)
    both = [images, 255 - images]

    # when
    answers = [submit_at_once(clients, both, key=f"job-{number}") for number in range(ROUNDS)]

    # then
    check_one_job_each(answers)
    jobs = JobStore(objects=moto_objects)
    for number, pair in enumerate(answers):
        stored = jobs.manifest(f"job-{number}")
        inputs = [from_npy(jobs.read_checked(s.objects[0]), where="input") for s in stored.shards]
        winner = 0 if isinstance(pair[0], Job) else 1
        assert both[winner].tobytes() == np.concatenate(inputs).tobytes()


def test_two_with_the_same_images_get_one_job(clients: list[Client]) -> None:
    # given
    images = np.random.default_rng(2).integers(0, 256, (16, *ITEM_SHAPE), np.uint8)
    for number in range(ROUNDS):
        # when
        answers = submit_at_once(clients, [images, images], key=f"job-{number}")

        # then
        first, second = answers
        assert isinstance(first, Job)
        assert isinstance(second, Job)
        assert first.manifest == second.manifest
