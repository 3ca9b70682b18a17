"""Submitting what is small: in the manifest, in the message, many at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    BrokerError,
    InputError,
    JobConflictError,
    ModelNotFoundError,
    PartlySubmittedError,
    StoreUnavailableError,
    UsageError,
)
from fornada.jobs.ids import is_content_id, trusted_manifest
from fornada.jobs.store import JobStore
from fornada.queue.celery_queue import bundles_of
from fornada.queue.memory import RecordingSender
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.records import MAX_INLINE_BYTES, MAX_MESSAGE_BYTES
from fornada.settings import Settings
from fornada.testing import HookedObjectStore, InMemoryCoordination
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer import Client, Submission
from producer.submitting.sharding import Shard
from producer.submitting.upload import try_inline
from producer.testing import in_memory_client

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


class _World:
    """A client, and all that it reaches."""

    def __init__(self, **settings: object) -> None:
        self.objects = HookedObjectStore()
        self.sender = RecordingSender()
        self.coordination = InMemoryCoordination(queue_length=lambda: len(self.sender.messages))
        self.models = ModelStore(objects=self.objects)
        for _ in range(2):
            self.models.publish(
                ModelDraft(name="m", item_shape=[2, 2], item_dtype="uint8", classes=["a", "b"]),
                artifact=b"weights",
                golden_inputs=IMAGES[:1],
                golden_outputs=np.zeros((1, 2), np.float32),
                check=lambda _artifact: None,
            )
        self.models.promote("m", 1, "prod")
        self.coordination.rebuild_open_jobs([])
        self.jobs = JobStore(objects=self.objects)
        self.client = self.new_client(**settings)

    def new_client(self, **settings: object) -> Client:
        return Client(
            objects=self.objects,
            coordination=self.coordination,
            sender=self.sender,
            settings=Settings(**settings),
        )

    def requests(self, call: Callable[[], object]) -> Counter[str]:
        """What the call asks of the store."""
        asked: Counter[str] = Counter()
        self.objects.before = lambda operation, key: asked.update(
            [f"{operation} {key.split('/')[0]}"]
        )
        call()
        self.objects.before = lambda _operation, _key: None
        return asked


@pytest.fixture
def world() -> _World:
    return _World()


# What is small.


def test_a_small_jobs_inputs_are_in_its_manifest_alone(world: _World) -> None:
    job = world.client.submit(IMAGES, model="m@prod", item_ids=list("abcdefghij"))

    assert is_content_id(job.id)
    assert job.manifest.is_small
    assert [keys.JobKeys(job.id).manifest] == [
        info.key for info in world.objects.list(keys.JobKeys(job.id).prefix)
    ]
    assert job.manifest == world.jobs.manifest(job.id)
    assert list("abcdefghij") == [i for p in job.shard_results(partial=True) for i in p.item_ids]


@pytest.mark.parametrize(
    ("items", "small"),
    [((MAX_INLINE_BYTES - 128) // 4, True), ((MAX_INLINE_BYTES - 128) // 4 + 1, False)],
)
def test_all_bytes_of_a_job_count(world: _World, items: int, small: bool) -> None:  # noqa: FBT001 - a parameter of the test
    job = world.client.submit(np.zeros((items, 2, 2), np.uint8), model="m", items_per_shard=10**6)

    assert small == job.manifest.is_small
    assert small == is_content_id(job.id)


def test_item_ids_count_too(world: _World) -> None:
    job = world.client.submit(IMAGES, model="m", item_ids=["x" * 10_000] * 10)

    assert not job.manifest.is_small


def test_several_shards_count_together(world: _World) -> None:
    images = np.zeros((8000, 2, 2), np.uint8)

    assert world.client.submit(images, model="m", items_per_shard=1000).manifest.is_small
    # each has a header, too
    assert not world.client.submit(images, model="m", items_per_shard=20).manifest.is_small


def test_the_setting_makes_all_jobs_objects() -> None:
    world = _World(max_inline_bytes=0)

    job = world.client.submit(IMAGES, model="m")

    assert (1, False) == (job.manifest.schema_version, job.manifest.is_small)
    assert [job.manifest.shards[0].objects[0].key] == [
        info.key for info in world.objects.list(f"{keys.JobKeys(job.id).prefix}input/")
    ]


def test_a_stream_is_looked_at_no_further_than_it_takes() -> None:
    taken: list[int] = []

    def shards() -> Iterator[Shard]:
        for number in range(100):
            taken.append(number)
            yield Shard(images=np.zeros((10, 100), np.uint8), item_ids=None)

    inline, all_of_them = try_inline(shards(), max_bytes=2500)

    assert inline is None
    assert [0, 1, 2] == taken
    assert 100 == len(list(all_of_them))


def test_a_large_shard_is_not_copied_to_be_looked_at() -> None:
    images = np.broadcast_to(np.uint8(0), (10**6, 10**6))

    inline, shards = try_inline(iter([Shard(images=images, item_ids=None)]), max_bytes=1000)

    assert inline is None
    assert next(shards).images is images


def test_two_jobs_of_the_same_images_are_two(world: _World) -> None:
    one, other = (world.client.submit(IMAGES, model="m") for _ in range(2))

    assert one.id != other.id
    assert one.manifest.shards == other.manifest.shards


def test_a_deadline_goes_along(world: _World) -> None:
    before = world.coordination.server_time()

    job = world.client.submit(IMAGES, model="m", deadline_s=60)

    assert 60 <= (job.manifest.deadline - before).total_seconds() < 70
    assert job.manifest == trusted_manifest(world.sender.messages[0])


def test_an_id_that_was_given_is_no_key(world: _World) -> None:
    job = world.client.submit(IMAGES, model="m")

    with pytest.raises(UsageError, match="looks like an id that Fornada gave"):
        world.client.submit(IMAGES, model="m", idempotency_key=job.id)


def test_a_key_of_a_job_in_objects_finds_it_whatever_is_small_now(world: _World) -> None:
    # given a job that a client submitted to which nothing was small
    first = world.new_client(max_inline_bytes=0).submit(
        IMAGES, model="m:1", idempotency_key="night"
    )

    again = world.client.submit(IMAGES, model="m:1", idempotency_key="night")

    assert first.manifest == again.manifest
    with pytest.raises(JobConflictError):
        world.client.submit(IMAGES + 1, model="m:1", idempotency_key="night")


def test_a_small_job_with_a_key_comes_back_too(world: _World) -> None:
    first = world.client.submit(IMAGES, model="m:1", idempotency_key="night")

    again = world.client.submit(IMAGES, model="m:1", idempotency_key="night")

    assert first.manifest.is_small
    assert first.manifest == again.manifest
    assert [ShardMessage(job_id="night", shard=0)] == world.sender.messages


# Models are resolved with the fewest reads.


def test_a_version_is_read_once(world: _World) -> None:
    counts = [
        world.requests(lambda: world.client.submit(IMAGES, model="m:1"))["get models"]
        for _ in range(3)
    ]

    assert [1, 0, 0] == counts


def test_a_promotion_is_followed_at_once(world: _World) -> None:
    assert "m:1" == str(world.client.submit(IMAGES, model="m@prod").manifest.model)

    world.models.promote("m", 2, "prod")

    assert "m:2" == str(world.client.submit(IMAGES, model="m@prod").manifest.model)
    assert "m:2" == str(world.client.submit(IMAGES, model="m").manifest.model)


@pytest.mark.parametrize("model", ["m:9", "m@next", "other"])
def test_what_is_not_there_is_asked_for_each_time(world: _World, model: str) -> None:
    for _ in range(2):
        with pytest.raises(ModelNotFoundError):
            world.client.submit(IMAGES, model=model)


# Many at once.


def test_many_jobs_are_submitted_in_order(world: _World) -> None:
    jobs = world.client.submit_many([IMAGES[n : n + 1] for n in range(10)], model="m@prod")

    assert 10 == len({job.id for job in jobs})
    for number, job in enumerate(jobs):
        assert job.manifest == world.jobs.manifest(job.id)
        data = world.jobs.read_checked(job.manifest.shards[0].objects[0])
        assert IMAGES[number].tobytes() == data[-4:]
    assert [job.id for job in jobs] == [message.job_id for message in world.sender.messages]
    assert {job.id for job in jobs} == world.coordination.open_jobs()


def test_submissions_keep_what_is_their_own(world: _World) -> None:
    large = np.zeros((30_000, 2, 2), np.uint8)
    jobs = world.client.submit_many(
        [
            Submission(images=IMAGES[:2], item_ids=["x", "y"], tags={"n": "0"}),
            Submission(images=IMAGES[:1], idempotency_key="mine"),
            large,
            Submission(images=iter([IMAGES[:1], IMAGES[1:3]]), tags={"n": "3"}),
        ],
        model="m:2",
        deadline_s=60,
    )

    assert [2, 1, 30_000, 3] == [job.manifest.item_count for job in jobs]
    assert [{"n": "0"}, {}, {}, {"n": "3"}] == [job.manifest.tags for job in jobs]
    assert "mine" == jobs[1].id
    assert [True, True, False, True] == [job.manifest.is_small for job in jobs]
    assert ["x", "y"] == next(jobs[0].shard_results(partial=True)).item_ids
    assert {"m:2"} == {str(job.manifest.model) for job in jobs}
    assert 1 == len({job.manifest.deadline for job in (jobs[0], jobs[3])})
    assert all(job.manifest.deadline is not None for job in jobs)


def test_the_same_keys_again_give_the_same_jobs(world: _World) -> None:
    submissions = [Submission(images=IMAGES, idempotency_key=f"night-{n}") for n in range(3)]
    first = world.client.submit_many(submissions, model="m:1")
    sent = len(world.sender.messages)

    again = world.client.submit_many(submissions, model="m:1")

    assert [job.manifest for job in first] == [job.manifest for job in again]
    assert sent == len(world.sender.messages)


def test_no_submissions_are_no_jobs(world: _World) -> None:
    assert [] == world.client.submit_many([], model="m")


def test_one_that_does_not_fit_is_named_and_none_is_submitted(world: _World) -> None:
    wrong = np.zeros((1, 3, 3), np.uint8)

    with pytest.raises(InputError, match=r"submissions\[2\]: images: items of shape \(3, 3\)"):
        world.client.submit_many([IMAGES, IMAGES, wrong], model="m")

    assert ([], set()) == (world.sender.messages, world.coordination.open_jobs())
    assert [] == list(world.objects.list(keys.JOBS_PREFIX))


def test_one_key_for_two_submissions_is_refused(world: _World) -> None:
    twice = [Submission(images=IMAGES, idempotency_key="night")] * 2

    with pytest.raises(UsageError, match="'night' is given to 2 submissions"):
        world.client.submit_many(twice, model="m")


def test_jobs_that_the_store_refuses_are_told_from_those_that_it_took(world: _World) -> None:
    refused: list[str] = []

    def refuse(operation: str, key: str) -> None:
        if operation == "put_if_absent" and len(refused) < 2:
            refused.append(key)
            raise StoreUnavailableError("503")

    world.objects.before = refuse

    with pytest.raises(PartlySubmittedError, match="2 of 10 submissions failed") as caught:
        world.client.submit_many([IMAGES] * 10, model="m:1")

    failed = set(caught.value.errors)
    assert 2 == len(failed)
    assert failed == {n for n, job in enumerate(caught.value.jobs) if job is None}
    taken = [job for job in caught.value.jobs if job is not None]
    assert [job.id for job in taken] == [message.job_id for message in world.sender.messages]
    assert all(job.manifest == world.jobs.manifest(job.id) for job in taken)


def test_a_key_that_was_used_for_other_work_is_one_failure_of_many(world: _World) -> None:
    world.client.submit(IMAGES + 1, model="m:1", idempotency_key="taken")

    with pytest.raises(PartlySubmittedError, match=r"submissions\[1\]: job 'taken' exists") as told:
        world.client.submit_many(
            [IMAGES, Submission(images=IMAGES, idempotency_key="taken")], model="m:1"
        )

    assert isinstance(told.value.errors[1], JobConflictError)
    assert told.value.jobs[0] is not None


def test_without_a_broker_none_of_many_is_submitted(world: _World) -> None:
    def away(*_: object, **__: object) -> bool:
        raise BrokerError("away")

    world.coordination.register_small_jobs = away

    with pytest.raises(BrokerError, match="away"):
        world.client.submit_many([IMAGES] * 3, model="m:1")

    assert [] == list(world.objects.list(keys.JOBS_PREFIX))


def test_a_queue_that_fails_unsays_none_of_many(world: _World) -> None:
    def fail(_messages: object, *, together: int) -> None:
        raise BrokerError("away")

    world.sender.enqueue = fail

    assert 3 == len(world.client.submit_many([IMAGES] * 3, model="m:1"))


def test_many_jobs_are_admitted_some_at_a_time(world: _World) -> None:
    sizes: list[int] = []
    real = world.coordination.register_small_jobs

    def register_small_jobs(jobs, **more):  # noqa: ANN001, ANN003, ANN202 - as the base
        sizes.append(len(jobs))
        return real(jobs, **more)

    world.coordination.register_small_jobs = register_small_jobs

    world.client.submit_many([IMAGES[:1]] * 300, model="m:1")

    assert [128, 128, 44] == sizes


# Bundles.


def message(number: int, size: int = 0) -> ShardMessage:
    if not size:
        return ShardMessage(job_id="job", shard=number)
    return ShardMessage(schema_version=2, job_id="job", shard=number, manifest="x" * size)


def _numbers(bundles: Iterator[list[ShardMessage]]) -> list[list[int]]:
    return [[message.shard for message in bundle] for bundle in bundles]


def test_messages_are_bundled_by_number_and_by_size() -> None:
    small, large = [message(n) for n in range(5)], [message(n, 30_000) for n in range(5)]

    assert [[0], [1], [2], [3], [4]] == _numbers(bundles_of(small, together=1))
    assert [[0, 1], [2, 3], [4]] == _numbers(bundles_of(small, together=2))
    assert [[0, 1], [2, 3], [4]] == _numbers(bundles_of(large, together=MAX_BUNDLE))
    assert [] == list(bundles_of([], together=MAX_BUNDLE))


def test_a_message_of_its_full_size_goes_alone() -> None:
    mixed = [message(0, 1), message(1, MAX_MESSAGE_BYTES), message(2, 1)]

    assert [[0], [1], [2]] == _numbers(bundles_of(mixed, together=MAX_BUNDLE))


# As every other job.


def test_a_small_job_is_read_verified_and_purged_as_any() -> None:
    def predict(images: np.ndarray) -> np.ndarray:
        sums = images.reshape(len(images), -1).sum(axis=1, dtype=np.float32)
        return np.stack([sums, -sums], axis=1)

    client = in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], predict=predict)
    job = client.submit(IMAGES, model="m", item_ids=list("abcdefghij"), items_per_shard=4)
    (one,) = client.submit_many([IMAGES[:3]], model="m")

    for each, images in ((job, IMAGES), (one, IMAGES[:3])):
        assert "SUCCEEDED" == each.wait(timeout_s=1).state
        np.testing.assert_array_equal(predict(images), each.results().probabilities)
        assert client.verify(each.id, timeout_s=1).same
    assert list("abcdefghij") == job.results().item_ids
    assert {job.id, one.id} <= {status.job_id for status in client.jobs()}
    assert {job.id, one.id} <= set(client.purge(timedelta(0)))


def test_a_retry_of_a_small_job_has_the_images_itself() -> None:
    client = in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False)
    job = client.submit(IMAGES, model="m", items_per_shard=4, item_ids=list("abcdefghij"))
    job.cancel()

    again = client.retry_failed(job.id)
    client.purge(timedelta(0))

    assert again.manifest.is_small
    store = client._jobs
    images = [store.read_checked(spec.objects[0])[-4:] for spec in again.manifest.shards]
    assert [IMAGES[3].tobytes(), IMAGES[7].tobytes(), IMAGES[9].tobytes()] == images
    again.cancel()
    assert list("abcdefghij") == again.results(partial=True).item_ids
