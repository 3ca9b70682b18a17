"""Submitting what is small: in the manifest, in the message, many at a time."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    BrokerError,
    InputError,
    JobConflictError,
    PartlySubmittedError,
    StoreUnavailableError,
    UsageError,
)
from fornada.jobs.ids import is_content_id, trusted_manifest
from fornada.records import MAX_INLINE_BYTES
from fornada.repeated import Repeated
from fornada.testing import TEST_KEYS
from producer import Submission
from producer.submitting.shards import ArrayShard
from producer.submitting.upload import try_inline
from producer.testing import in_memory_client

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


# What is small.


def test_a_small_jobs_inputs_are_in_its_manifest_alone(world: Any) -> None:
    job = world.client.submit(IMAGES, model="m@prod", item_ids=list("abcdefghij"))

    assert is_content_id(job.id)
    assert job.manifest.is_small
    assert [keys.JobKeys(job.id).manifest] == [
        info.key for info in world.objects.list(keys.JobKeys(job.id).prefix)
    ]
    assert job.manifest == world.jobs.manifest(job.id)
    assert list("abcdefghij") == [i for p in job.shard_results(partial=True) for i in p.item_ids]


def test_all_bytes_of_a_job_count(world: Any, new_world: Any) -> None:
    most = (MAX_INLINE_BYTES - 128) // 4
    for items, items_per_shard, small in (
        (most, 10**6, True),
        (most + 1, 10**6, False),
        # Each shard has a header.
        (8000, 1000, True),
        (8000, 20, False),
    ):
        images = np.zeros((items, 2, 2), np.uint8)
        job = world.client.submit(images, model="m", items_per_shard=items_per_shard)
        assert (small, small) == (job.manifest.is_small, is_content_id(job.id))
    long_ids = world.client.submit(IMAGES, model="m", item_ids=[c * 10_000 for c in "abcdefghij"])
    assert not long_ids.manifest.is_small
    assert not new_world(max_inline_bytes=0).client.submit(IMAGES, model="m").manifest.is_small


def test_a_stream_is_looked_at_no_further_than_it_takes() -> None:
    taken: list[int] = []

    def shards() -> Iterator[ArrayShard]:
        for number in range(100):
            taken.append(number)
            yield ArrayShard(images=np.zeros((10, 100), np.uint8), item_ids=None)

    inline, all_of_them = try_inline(shards(), max_bytes=2500)

    assert inline is None
    assert [0, 1, 2] == taken
    assert 100 == len(list(all_of_them))


def test_a_large_shard_is_not_copied_to_be_looked_at() -> None:
    images = np.broadcast_to(np.uint8(0), (10**6, 10**6))

    inline, shards = try_inline(iter([ArrayShard(images=images, item_ids=None)]), max_bytes=1000)

    assert inline is None
    assert next(shards).images is images


def test_two_jobs_of_the_same_images_are_two_and_travel_in_their_messages(new_world: Any) -> None:
    world = new_world(deployment_keys="00" * 32)
    one, other = (world.client.submit(IMAGES, model="m") for _ in range(2))

    assert one.id != other.id
    assert one.manifest.shards == other.manifest.shards
    assert [one.manifest, other.manifest] == [
        trusted_manifest(m, deployment_keys=TEST_KEYS, repeated=Repeated())
        for m in world.sender.messages
    ]


def test_a_generated_id_is_no_key(world: Any) -> None:
    job = world.client.submit(IMAGES, model="m")

    with pytest.raises(UsageError, match="has the form of a generated job id"):
        world.client.submit(IMAGES, model="m", idempotency_key=job.id)


def test_a_key_of_a_job_in_objects_finds_it_whatever_is_small_now(world: Any) -> None:
    # given a job that a client submitted to which nothing was small
    first = world.new_client(max_inline_bytes=0).submit(
        IMAGES, model="m:1", idempotency_key="night"
    )

    again = world.client.submit(IMAGES, model="m:1", idempotency_key="night")

    assert first.manifest == again.manifest
    with pytest.raises(JobConflictError):
        world.client.submit(IMAGES + 1, model="m:1", idempotency_key="night")


# Many at once.


def test_many_jobs_are_submitted_in_order(world: Any) -> None:
    jobs = world.client.submit_many([IMAGES[n : n + 1] for n in range(10)], model="m@prod")

    assert 10 == len({job.id for job in jobs})
    for number, job in enumerate(jobs):
        assert job.manifest == world.jobs.manifest(job.id)
        data = world.jobs.read_checked(job.manifest.shards[0].objects[0])
        assert IMAGES[number].tobytes() == data[-4:]
    assert [job.id for job in jobs] == [message.job_id for message in world.sender.messages]
    assert {job.id for job in jobs} == world.coordination.open_jobs()
    assert [] == world.client.submit_many([], model="m")


def test_submissions_keep_their_own_ids_keys_and_tags_and_share_a_deadline(world: Any) -> None:
    large = np.zeros((30_000, 2, 2), np.uint8)
    jobs = world.client.submit_many(
        [
            Submission(inputs=IMAGES[:2], item_ids=["x", "y"], tags={"n": "0"}),
            Submission(inputs=IMAGES[:1], idempotency_key="mine"),
            large,
            Submission(inputs=iter([IMAGES[:1], IMAGES[1:3]]), tags={"n": "3"}),
        ],
        model="m:1",
        deadline_s=60,
    )

    assert [2, 1, 30_000, 3] == [job.manifest.item_count for job in jobs]
    assert [{"n": "0"}, {}, {}, {"n": "3"}] == [job.manifest.tags for job in jobs]
    assert "mine" == jobs[1].id
    assert [True, True, False, True] == [job.manifest.is_small for job in jobs]
    assert ["x", "y"] == next(jobs[0].shard_results(partial=True)).item_ids
    assert {"m:1"} == {str(job.manifest.model) for job in jobs}
    (deadline,) = {job.manifest.deadline for job in jobs}
    assert deadline is not None


def test_one_that_does_not_fit_is_named_and_none_is_submitted(world: Any) -> None:
    wrong = np.zeros((1, 3, 3), np.uint8)

    with pytest.raises(InputError, match=r"submissions\[2\]: inputs: items of shape \(3, 3\)"):
        world.client.submit_many([IMAGES, IMAGES, wrong], model="m")

    assert ([], set()) == (world.sender.messages, world.coordination.open_jobs())
    assert [] == list(world.objects.list(keys.JOBS_PREFIX))


def test_one_key_for_two_submissions_is_refused(world: Any) -> None:
    twice = [Submission(inputs=IMAGES, idempotency_key="night")] * 2

    with pytest.raises(UsageError, match="'night' is given to 2 submissions"):
        world.client.submit_many(twice, model="m")


def test_the_error_tells_jobs_that_the_store_took_from_those_that_it_refused(world: Any) -> None:
    refused: list[str] = []

    def refuse(operation: str, key: str) -> None:
        if operation == "put_if_absent" and key != keys.BUCKET_ID and len(refused) < 2:
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


def test_a_key_that_was_used_for_other_work_is_one_failure_of_many(world: Any) -> None:
    world.client.submit(IMAGES + 1, model="m:1", idempotency_key="taken")

    with pytest.raises(PartlySubmittedError, match=r"submissions\[1\]: job 'taken' exists") as told:
        world.client.submit_many(
            [IMAGES, Submission(inputs=IMAGES, idempotency_key="taken")], model="m:1"
        )

    assert isinstance(told.value.errors[1], JobConflictError)
    assert told.value.jobs[0] is not None


def test_without_a_broker_none_of_many_is_submitted(world: Any) -> None:
    world.lose_broker("register_small_jobs")

    with pytest.raises(BrokerError, match="away"):
        world.client.submit_many([IMAGES] * 3, model="m:1")

    assert [] == list(world.objects.list_folders(keys.JOBS_PREFIX))


# As every other job.


def test_a_small_job_is_read_verified_and_purged_as_any() -> None:
    def predict(images: np.ndarray) -> np.ndarray:
        sums = images.reshape(len(images), -1).sum(axis=1, dtype=np.float32)
        return np.stack([sums, -sums], axis=1)

    client = in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], predict=predict)
    job = client.submit(IMAGES, model="m", item_ids=list("abcdefghij"), items_per_shard=4)
    (one,) = client.submit_many([IMAGES[:3]], model="m")

    for each, images in ((job, IMAGES), (one, IMAGES[:3])):
        assert "SUCCEEDED" == each.wait(timeout_s=60).state
        np.testing.assert_array_equal(predict(images), each.results().probabilities)
        assert client.verify(each.id, timeout_s=60).same
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
