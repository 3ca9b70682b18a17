"""What submitting costs the store: counted, so that no round trip creeps in unseen."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from benchmarks.s3_counter import S3Counter
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer import Client, Job, Submission

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


class _Deployment:
    """A client whose requests are counted, and a model `m:1` that `m@prod` points to."""

    def __init__(self, settings: Settings, counter: S3Counter) -> None:
        models = ModelStore(objects=S3ObjectStore.from_settings(settings))
        models.publish(
            ModelDraft(name="m", item_shape=[2, 2], item_dtype="uint8", classes=["a", "b"]),
            artifact=b"weights",
            golden_inputs=IMAGES[:1],
            golden_outputs=np.zeros((1, 2), np.float32),
            check=lambda _artifact: None,
        )
        models.promote("m", 1, "prod")
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


@pytest.mark.parametrize(
    ("model", "resolving"),
    [
        # A version never changes, and was read before.
        ("m:1", {}),
        # Which is the newest may have changed.
        ("m", {"GET list": 1}),
        # So may an alias: the last of its moves, and where that goes.
        ("m@prod", {"GET list": 1, "GET model": 1}),
    ],
)
def test_a_small_job_is_one_put(
    deployment: _Deployment, model: str, resolving: dict[str, int]
) -> None:
    counts = deployment.requests(lambda: deployment.client.submit(IMAGES, model=model))

    assert {"PUT manifest.json": 1, **resolving} == counts


def test_of_many_small_jobs_each_is_one_put_and_their_model_is_resolved_once(
    deployment: _Deployment,
) -> None:
    counts = deployment.requests(
        lambda: deployment.client.submit_many([IMAGES] * 50, model="m@prod")
    )

    assert {"PUT manifest.json": 50, "GET list": 1, "GET model": 1} == counts


def test_a_small_job_of_the_callers_id_is_looked_for_first(deployment: _Deployment) -> None:
    counts = deployment.requests(
        lambda: deployment.client.submit(IMAGES, model="m:1", idempotency_key="night")
    )

    # Where conditions are ignored it is looked for before it is written, and read back.
    looks = 1 if deployment.is_conditional else 3
    assert {"PUT manifest.json": 1, "GET manifest.json": looks} == counts


def test_a_large_job_puts_its_shards_and_its_manifest(deployment: _Deployment) -> None:
    images = np.zeros((60_000, 2, 2), np.uint8)

    counts = deployment.requests(
        lambda: deployment.client.submit(images, model="m:1", items_per_shard=20_000)
    )

    assert {"PUT input": 3, "PUT manifest.json": 1} == counts


def test_waiting_asks_for_the_end_once_a_look(deployment: _Deployment) -> None:
    job: Job = deployment.client.submit(IMAGES, model="m:1")

    assert {"GET final.json": 1} == deployment.requests(job.status)


def test_submissions_with_keys_are_looked_for_each(deployment: _Deployment) -> None:
    submissions = [Submission(images=IMAGES, idempotency_key=f"night-{n}") for n in range(3)]

    counts = deployment.requests(lambda: deployment.client.submit_many(submissions, model="m:1"))

    looks = 1 if deployment.is_conditional else 3
    assert {"PUT manifest.json": 3, "GET manifest.json": 3 * looks} == counts
