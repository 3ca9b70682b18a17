"""Resuming a job, retrying what failed of it, and deleting old ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim
from fornada.errors import InputNotAllowedError, JobNotFoundError, UsageError
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.queue.memory import RecordingSender
from fornada.queue.message import ShardMessage
from fornada.records import now
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination
from producer.client import Client
from producer.inputs.interface import StoredImages
from producer.job import Job
from producer.testing import in_memory_client
from producer.upkeep.retention import parse_age, purge
from producer.upkeep.retry import retry_of

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


@pytest.fixture
def client() -> Client:
    """A client whose messages are recorded, without a worker."""
    return in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False)


@pytest.fixture
def job(client: Client) -> Job:
    """Ten images in shards of four, four and two."""
    return client.submit(IMAGES, model="m", items_per_shard=4, tags={"team": "x"})


def _jobs(client: Client) -> JobStore:
    return client._jobs


def _queue(client: Client) -> list[ShardMessage]:
    sender = client._sender
    assert isinstance(sender, RecordingSender)
    return sender.messages


def _commit(client: Client, job: Job, shard: int, *, dead: bool = False) -> None:
    at = now()
    _jobs(client).commit(
        ShardOutcome(
            job_id=job.id,
            shard=shard,
            status="dead" if dead else "ok",
            attempt="a",
            item_count=job.manifest.shards[shard].item_count,
            reason="crash-loop" if dead else None,
            detail="died" if dead else None,
            model_sha256=job.manifest.model.sha256,
            worker="w",
            began_at=at,
            committed_at=at,
        )
    )


def test_resume_enqueues_what_is_neither_done_nor_on_its_way(client: Client, job: Job) -> None:
    # given shard 0 done, shard 1 lost with Redis, shard 2 running
    _commit(client, job, 0)
    coordination = client._coordination
    assert isinstance(coordination, InMemoryCoordination)
    coordination.flush()
    coordination.begin([Claim(job.id, 2, "a")], lease_s=30)
    _queue(client).clear()

    client.resume(job.id)

    assert [ShardMessage(job_id=job.id, shard=1)] == _queue(client)


def test_an_ended_job_is_not_resumed(client: Client, job: Job) -> None:
    job.cancel()

    with pytest.raises(UsageError, match="has ended CANCELLED, which never changes"):
        client.resume(job.id)


def test_a_retry_holds_the_dead_and_the_missing_shards_with_their_numbers(
    client: Client, job: Job
) -> None:
    # given a job of which shard 1 is dead and shard 2 was never done
    _commit(client, job, 0)
    _commit(client, job, 1, dead=True)
    job.cancel()
    _queue(client).clear()

    retry = client.retry_failed(job.id)

    assert f"{job.id}-retry" == retry.id
    assert [job.manifest.shards[1].objects, job.manifest.shards[2].objects] == [
        spec.objects for spec in retry.manifest.shards
    ]
    assert {"team": "x", "retry_of": job.id} == retry.manifest.tags
    assert [0, 1] == [message.shard for message in _queue(client)]
    parts = list(retry.shard_results(partial=True))
    assert [["4", "5", "6", "7"], ["8", "9"]] == [part.item_ids for part in parts]
    assert [0, 4] == [part.first_item for part in parts]


def test_retrying_twice_finds_the_same_job(client: Client, job: Job) -> None:
    job.cancel()
    first = client.retry_failed(job.id)
    _queue(client).clear()

    again = client.retry_failed(job.id)

    assert first.manifest == again.manifest
    assert [] == _queue(client)


def test_a_retry_of_a_retry_counts_from_the_first_job(client: Client, job: Job) -> None:
    for shard in (0, 1):
        _commit(client, job, shard)
    job.cancel()
    retry = client.retry_failed(job.id)
    retry.cancel()

    second = client.retry_failed(retry.id)

    assert ["8", "9"] == next(second.shard_results(partial=True)).item_ids
    # The first job holds the inputs of both.
    assert [job.id, job.id] == [each.manifest.source_job for each in (retry, second)]
    assert retry.id == second.manifest.tags["retry_of"]


def test_a_retry_holds_the_failed_items_alone_with_their_ids_and_numbers() -> None:
    # given items of which the model gives NaN for some, and one that could not be read
    def predict(rows: np.ndarray) -> np.ndarray:
        outputs = rows.reshape(len(rows), -1)[:, :2].astype(np.float32)
        outputs[rows[:, 0, 0] >= 100] = np.nan
        return outputs

    client = in_memory_client(
        model="m", item_shape=[2, 2], classes=["a", "b"], predict=predict, item_dtype="float32"
    )
    images = np.zeros((10, 2, 2), object)
    images[[1, 6, 7], 0, 0] = 100
    images[8, 0, 0] = None
    job = client.submit(images, model="m", items_per_shard=5, max_failed=5)
    assert ("PARTIAL", 6, 4) == (
        job.status().state,
        job.status().items_ok,
        job.status().items_failed,
    )

    # when they are retried, and the retry is, too
    retry = client.retry_failed(job.id)
    again = client.retry_failed(retry.id)

    # then the one that could not be read is left out
    for each in (retry, again):
        assert [[[1, 1]], [[1, 2]]] == [spec.selected for spec in each.manifest.shards]
        assert ["1", "6", "7"] == [item.item_id for item in each.item_errors()]
        assert "FAILED" == each.status().state


def test_neither_an_open_job_nor_one_that_succeeded_is_retried(client: Client, job: Job) -> None:
    with pytest.raises(UsageError, match="has not ended"):
        client.retry_failed(job.id)

    for shard in range(3):
        _commit(client, job, shard)
    _jobs(client).finish_if_complete(job.manifest)

    with pytest.raises(UsageError, match="nothing that can be run again"):
        client.retry_failed(job.id)


def test_purge_deletes_old_ended_jobs_and_nothing_else(client: Client, job: Job) -> None:
    # given an ended job and an open one
    ended = client.submit(IMAGES, model="m", idempotency_key="ended")
    ended.cancel()

    too_young = client.purge(timedelta(hours=1))
    purged = client.purge(timedelta(0))

    assert ([], ["ended"]) == (too_young, purged)
    assert [] == list(_jobs(client).objects.list(keys.JobKeys("ended").prefix))
    assert [job.id] == [status.job_id for status in client.jobs()]
    with pytest.raises(JobNotFoundError):
        client.job("ended")


def test_images_that_an_open_retry_reads_are_not_purged(client: Client, job: Job) -> None:
    job.cancel()
    retry = client.retry_failed(job.id)

    assert [] == client.purge(timedelta(0))
    retry.cancel()
    assert [job.id, retry.id] == client.purge(timedelta(0))


def test_the_first_job_stays_as_long_as_a_retry_of_its_retry(job: Job) -> None:
    # given a job, a retry of it, and one of the retry, which ends a day later
    at_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    objects = InMemoryObjectStore(clock=lambda: at_s)
    jobs, first = JobStore(objects=objects), job.manifest
    retry = retry_of_ended(first, jobs)
    second = retry_of_ended(retry, jobs)
    jobs.create(second)

    def purged(older_than: timedelta) -> list[str]:
        return purge(jobs, InMemoryCoordination(), older_than=older_than)

    at_s += timedelta(days=1).total_seconds()
    assert [retry.job_id] == purged(timedelta(0))
    jobs.finish(second, "CANCELLED", "enough")
    at_s += 60
    assert [] == purged(timedelta(hours=1)), "its ids are those of the first job"
    assert [first.job_id, second.job_id] == purged(timedelta(0))


def retry_of_ended(manifest: JobManifest, jobs: JobStore) -> JobManifest:
    jobs.create(manifest)
    jobs.finish(manifest, "CANCELLED", "enough")
    return retry_of(manifest, jobs=jobs)


def test_a_retry_or_verification_of_what_jobs_may_not_read_now_is_refused(
    new_world: Any,
) -> None:
    world = new_world(input_prefixes="s3://theirs/in/")
    for number in range(3):
        world.objects.put(f"in/{number}.npy", to_npy(IMAGES), bucket="theirs")
    job = world.client.submit(StoredImages.parse("s3://theirs/in/"), model="m")
    _commit(world.client, job, 0)
    job.cancel()
    # The operator narrows what jobs read.
    later = world.new_client(input_prefixes="s3://theirs/in/2026/")

    with pytest.raises(InputNotAllowedError) as retried:
        later.retry_failed(job.id)
    with pytest.raises(InputNotAllowedError) as verified:
        later.verify(job.id)

    assert "'s3://theirs/in/1.npy'; 's3://theirs/in/2.npy'; allow it" in str(retried.value)
    assert "'s3://theirs/in/0.npy'; allow it" in str(verified.value)
    assert [job.id] == [status.job_id for status in later.jobs()]


def test_a_purge_goes_by_the_stores_clock_alone(job: Job) -> None:
    # given a job that ended a moment ago by a store whose clock is years behind all others
    at_s = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    objects = InMemoryObjectStore(clock=lambda: at_s)
    jobs = JobStore(objects=objects)
    jobs.create(job.manifest)
    jobs.finish(job.manifest, "CANCELLED", "enough")

    purged = []
    for minutes in (5, 1):
        at_s += 60 * minutes
        purged.append(purge(jobs, InMemoryCoordination(), older_than=timedelta(minutes=5)))

    assert [[], [job.id]] == purged


def test_an_upload_that_became_no_job_is_purged_after_a_day() -> None:
    for last_put, older_than, goes in (
        (timedelta(hours=25), timedelta(0), True),
        (timedelta(hours=23), timedelta(0), False),
        (timedelta(hours=25), timedelta(days=2), False),
        (timedelta(hours=49), timedelta(days=2), True),
    ):
        # given images, the last of them put at that time, and no manifest
        at = now()
        times = iter([at - timedelta(days=3), at - last_put, at])
        objects = InMemoryObjectStore(clock=lambda times=times: next(times).timestamp())
        objects.put(keys.JobKeys("broken").input(0, "a" * 64), b"1")
        objects.put(keys.JobKeys("broken").input(1, "a" * 64), b"1")

        purged = purge(JobStore(objects=objects), InMemoryCoordination(), older_than=older_than)

        assert (["broken"] if goes else []) == purged
        assert (0 if goes else 2) == len(list(objects.list("jobs/")))


def test_the_id_of_a_purged_job_can_be_used_again(client: Client) -> None:
    client.submit(IMAGES, model="m", idempotency_key="nightly").cancel()
    client.purge(timedelta(0))

    client.submit(IMAGES, model="m", idempotency_key="nightly")

    begun = client._coordination.begin([Claim("nightly", 0, "a")], lease_s=30)[0]
    assert "begun" == begun.status


def test_ages_are_read_with_their_unit() -> None:
    assert [
        timedelta(minutes=90),
        timedelta(hours=12),
        timedelta(days=30),
        timedelta(weeks=2),
    ] == [parse_age(text) for text in ("90m", "12h", "30d", "2w")]
    for text in ("", "30", "d", "-1d", "1.5d", "30 d", "30y"):
        with pytest.raises(UsageError, match="is not an age"):
            parse_age(text)
