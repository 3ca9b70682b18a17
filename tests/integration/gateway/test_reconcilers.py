"""A gateway keeps jobs going where no worker runs, in every queue with open jobs."""

from collections.abc import Callable

import numpy as np
import pytest
import redis

from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from gateway.reconcilers import HostedReconcilers
from producer.client import Client

from ...deployment import publish_unloadable

IMAGES = np.zeros((1000, 2, 2), np.uint8)
WaitUntil = Callable[..., None]


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings with which things are missed soon, and a model `m`."""
    quick = settings.model_copy(update={"reconcile_interval_s": 0.1, "requeue_after_s": 0.5})
    objects = S3ObjectStore.from_settings(quick)
    publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
    return quick


def test_jobs_of_every_queue_go_on_and_expire_without_a_worker(
    quick: Settings, wait_until: WaitUntil
) -> None:
    own = Client.from_settings(quick)
    other = Client.from_settings(quick.model_copy(update={"queue": "other"}))
    late = [client.submit(IMAGES, model="m", deadline_s=1) for client in (own, other)]
    objects = S3ObjectStore.from_settings(quick)
    hosted = HostedReconcilers.from_settings(
        quick, objects=objects, manifests=Manifests(jobs=JobStore(objects=objects))
    )
    hosted.start()
    try:
        assert ["EXPIRED", "EXPIRED"] == [job.wait(timeout_s=60).state for job in late]
        assert {"fornada", "other"} == hosted.queues
        lost = [client.submit(IMAGES, model="m", items_per_shard=500) for client in (own, other)]
        with redis.Redis.from_url(quick.redis_url.get_secret_value()) as server:
            server.delete("fornada", "other")
            wait_until(lambda: [2, 2] == [server.llen(queue) for queue in ("fornada", "other")])
    finally:
        hosted.stop()

    assert ["QUEUED", "QUEUED"] == [job.status().state for job in lost]
