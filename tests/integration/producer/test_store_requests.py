"""Store requests of each way to submit, counted so that none creeps in."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from benchmarks.measuring.s3_counter import S3Counter
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from producer import Client, Submission

from ...deployment import publish_unloadable

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


class _Deployment:
    """A client whose requests are counted, and a model `m:1` that `m@prod` points to."""

    def __init__(self, settings: Settings, counter: S3Counter) -> None:
        objects = S3ObjectStore.from_settings(settings)
        publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
        ModelStore(objects=objects).promote("m", 1, "prod")
        counted = settings.model_copy(update={"s3_endpoint_url": counter.url})
        self.client = Client.from_settings(counted)
        self._counter = counter
        # Whether the store honours conditions is asked once by each process.
        self.client.submit(IMAGES, model="m:1")

    @property
    def is_conditional(self) -> bool:
        return self.client._jobs.objects.conditional_writes

    def requests(self, call: Callable[[], object]) -> Counter[str]:
        """The requests that the call makes."""
        self._counter.counts.clear()
        call()
        return self._counter.counts.copy()


@pytest.fixture(params=["rclone", "moto"])
def deployment(
    request: pytest.FixtureRequest, settings: Settings, moto_settings: Settings
) -> Iterator[_Deployment]:
    """On a store that ignores conditions, and on one that honours them."""
    if request.param == "moto":
        settings = moto_settings.model_copy(update={"redis_url": settings.redis_url})
    with S3Counter(settings.s3_endpoint_url or "") as counter:
        yield _Deployment(settings, counter)


def test_each_way_to_submit_costs_the_store_its_fewest_requests(deployment: _Deployment) -> None:
    client = deployment.client
    large = np.zeros((60_000, 2, 2), np.uint8)
    with_keys = [Submission(inputs=IMAGES, idempotency_key=f"night-{n}") for n in range(3)]
    # Where conditions are ignored, a manifest of the caller's id is looked for before it is
    # written, and read back.
    looks = 1 if deployment.is_conditional else 3
    submitted = client.submit(IMAGES, model="m:1")
    manifest, alias = {"PUT manifest.json": 1}, {"GET list": 1, "GET model": 1}

    for what, call, expected in (
        # A version never changes, and was read before.
        ("a version", lambda: client.submit(IMAGES, model="m:1"), manifest),
        # Which version is the newest may have changed.
        ("the newest", lambda: client.submit(IMAGES, model="m"), {**manifest, "GET list": 1}),
        # So may an alias: its last move, and the version that it names.
        ("an alias", lambda: client.submit(IMAGES, model="m@prod"), {**manifest, **alias}),
        (
            "many small jobs",
            lambda: client.submit_many([IMAGES] * 50, model="m@prod"),
            {"PUT manifest.json": 50, **alias},
        ),
        (
            "an id of the caller's",
            lambda: client.submit(IMAGES, model="m:1", idempotency_key="night"),
            {**manifest, "GET manifest.json": looks},
        ),
        (
            "many ids of the caller's",
            lambda: client.submit_many(with_keys, model="m:1"),
            {"PUT manifest.json": 3, "GET manifest.json": 3 * looks},
        ),
        (
            "a large job",
            lambda: client.submit(large, model="m:1", items_per_shard=20_000),
            {**manifest, "PUT input": 3},
        ),
        ("a status", submitted.status, {"GET final.json": 1}),
    ):
        assert (what, expected) == (what, deployment.requests(call))
