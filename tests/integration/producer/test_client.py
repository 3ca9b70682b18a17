"""The client on real servers: what it stores and enqueues, and what it says when it cannot."""

import base64
import functools
import json
from collections.abc import Iterator

import numpy as np
import pytest
import redis
from pydantic import SecretStr

from fornada import keys
from fornada.coordination.redis import RedisCoordination
from fornada.errors import (
    BrokerError,
    BucketNotFoundError,
    JobConflictError,
    StoreAccessError,
    StoreUnavailableError,
)
from fornada.formats.npy import to_npy
from fornada.jobs.ids import trusted_manifest
from fornada.jobs.outcome import JobState
from fornada.local.ports import free_port
from fornada.queue.celery_queue import CelerySender
from fornada.queue.message import ShardMessage
from fornada.records import MAX_INLINE_BYTES
from fornada.repeated import Repeated
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.s3.store import S3ObjectStore
from fornada.testing import TEST_KEYS
from producer.client import Client
from producer.inputs.interface import StoredImages
from producer.upkeep.backlog import Backlog, WorkCount

from ...deployment import publish_unloadable

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


def publish(objects: ObjectStore) -> None:
    publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])


@pytest.fixture
def client(settings: Settings, rclone_objects: S3ObjectStore) -> Client:
    publish(rclone_objects)
    return Client.from_settings(settings)


@pytest.fixture
def signing(settings: Settings, rclone_objects: S3ObjectStore) -> Client:
    """A client with a key, whose small jobs travel in their messages."""
    publish(rclone_objects)
    key = SecretStr("00" * 32)
    return Client.from_settings(settings.model_copy(update={"deployment_keys": key}))


@pytest.fixture
def large(settings: Settings, rclone_objects: S3ObjectStore) -> Client:
    """A client to which every job is large: its inputs become objects."""
    publish(rclone_objects)
    return Client.from_settings(settings.model_copy(update={"max_inline_bytes": 0}))


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as connection:
        yield connection


def queued(broker: redis.Redis) -> list[dict]:
    """What waits in the queue, the oldest first."""
    return [json.loads(entry) for entry in reversed(broker.lrange("fornada", 0, -1))]


def arguments(envelope: dict) -> list[dict]:
    """The messages in what waits in the queue."""
    body = json.loads(base64.b64decode(envelope["body"]))
    assert {} == body[1]
    return body[0]


def test_messages_are_ids_in_json_under_a_name_for_every_language(
    large: Client, client: Client, broker: redis.Redis
) -> None:
    job = large.submit(IMAGES, model="m", items_per_shard=4)

    envelopes = queued(broker)
    assert {"fornada.run_shard"} == {envelope["headers"]["task"] for envelope in envelopes}
    assert {"application/json"} == {envelope["content-type"] for envelope in envelopes}
    assert [[{"schema_version": 1, "job_id": job.id, "shard": shard}] for shard in range(3)] == [
        arguments(envelope) for envelope in envelopes
    ]
    assert all(len(envelope["body"]) < 1024 for envelope in envelopes)

    # and the shards of a small job are one message of the queue
    broker.delete("fornada")
    job = client.submit(IMAGES, model="m", items_per_shard=4)
    (envelope,) = queued(broker)
    assert [
        {"schema_version": 1, "job_id": job.id, "shard": shard} for shard in range(3)
    ] == arguments(envelope)


def test_small_jobs_travel_in_messages_of_bounded_size(
    signing: Client, broker: redis.Redis, rclone_objects: S3ObjectStore
) -> None:
    job = signing.submit(IMAGES, model="m")

    (envelope,) = queued(broker)
    (message,) = arguments(envelope)
    stored = rclone_objects.get(keys.JobKeys(job.id).manifest).data
    assert (job.id, 0, stored.decode()) == (
        message["job_id"],
        message["shard"],
        message["manifest"],
    )
    read = ShardMessage.from_plain(message, where="here")
    assert job.manifest == trusted_manifest(read, deployment_keys=TEST_KEYS, repeated=Repeated())
    # and Celery's own headers do not show the images once more
    assert len(json.dumps(envelope["headers"])) < 1024

    broker.delete("fornada")
    jobs = signing.submit_many([IMAGES[:1]] * 70, model="m")
    envelopes = queued(broker)
    carried = [message["job_id"] for envelope in envelopes for message in arguments(envelope)]
    assert [job.id for job in jobs] == carried
    assert [32, 32, 6] == [len(arguments(envelope)) for envelope in envelopes]
    assert all(len(json.dumps(envelope)) < 100_000 for envelope in envelopes)


def test_pixels_of_large_jobs_are_never_in_the_broker(client: Client, broker: redis.Redis) -> None:
    before = broker.info("memory")["used_memory"]

    client.submit(np.zeros((100_000, 2, 2), np.uint8), model="m", items_per_shard=50_000)

    assert broker.info("memory")["used_memory"] - before < 100_000


def test_the_window_holds_on_a_real_queue(
    settings: Settings, rclone_objects: S3ObjectStore, broker: redis.Redis
) -> None:
    publish(rclone_objects)
    coordination = RedisCoordination.from_settings(settings)
    for max_inline_bytes in (0, MAX_INLINE_BYTES):
        broker.delete("fornada")
        window = {"enqueue_window": 3, "max_inline_bytes": max_inline_bytes}
        client = Client.from_settings(settings.model_copy(update=window))

        jobs = [client.submit(IMAGES, model="m") for _ in range(5)]

        assert 3 == coordination.queue_length("fornada")
        assert {JobState.QUEUED} == {job.status().state for job in jobs}


def test_another_client_finds_a_job_and_how_it_ended(client: Client, settings: Settings) -> None:
    job = client.submit(IMAGES, model="m", tags={"team": "vision"})

    other = Client.from_settings(settings)
    assert job.manifest == other.job(job.id).manifest
    assert [(job.id, JobState.QUEUED)] == [(s.job_id, s.state) for s in other.jobs()]

    job.cancel("wrong images")
    status = other.job(job.id).status()
    assert (JobState.CANCELLED, "wrong images") == (status.state, status.reason)


@pytest.mark.parametrize("store", ["rclone", "moto"])
def test_an_idempotency_key_holds_between_clients(
    store: str, settings: Settings, moto_settings: Settings
) -> None:
    if store == "moto":
        settings = moto_settings.model_copy(update={"redis_url": settings.redis_url})
    publish(S3ObjectStore.from_settings(settings))
    one, other = Client.from_settings(settings), Client.from_settings(settings)

    first = one.submit(IMAGES, model="m", idempotency_key="night")
    again = other.submit(IMAGES, model="m", idempotency_key="night")

    assert first.manifest == again.manifest
    with pytest.raises(JobConflictError):
        other.submit(IMAGES + 1, model="m", idempotency_key="night")


def test_images_in_another_bucket_are_submitted_in_place(
    client: Client, settings: Settings, rclone_objects: S3ObjectStore
) -> None:
    bucket = f"{settings.s3_bucket}-in"
    theirs = S3ObjectStore.from_settings(settings.model_copy(update={"s3_bucket": bucket}))
    theirs.create_bucket()
    for number in range(3):
        theirs.put(f"2026/{number}.npy", to_npy(IMAGES[: number + 1]))

    prefixes = {"input_prefixes": f"s3://{bucket}/2026/"}
    client = Client.from_settings(settings.model_copy(update=prefixes))
    job = client.submit(StoredImages.parse(f"s3://{bucket}/2026/"), model="m")

    assert [1, 2, 3] == [shard.item_count for shard in job.manifest.shards]
    assert [] == list(rclone_objects.list(f"jobs/{job.id}/input/"))


# Broken deployments.


def unreachable(settings: Settings) -> list[Settings]:
    """The settings with a closed port, and with a wrong password."""
    host = settings.redis_url.get_secret_value().rpartition("@")[2]
    return [
        settings.model_copy(update={"redis_url": SecretStr(f"redis://:hunter2@{where}")})
        for where in (f"127.0.0.1:{free_port()}/0", host)
    ]


def test_without_a_store_nothing_is_enqueued(
    client: Client, settings: Settings, broker: redis.Redis
) -> None:
    for change, kind in (
        ({"s3_bucket": "nowhere-at-all"}, BucketNotFoundError),
        ({"s3_secret_access_key": SecretStr("hunter2hunter2")}, StoreAccessError),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, StoreUnavailableError),
    ):
        broken = Client.from_settings(settings.model_copy(update=change))

        with pytest.raises(kind):
            broken.submit(IMAGES, model="m")

    assert [] == queued(broker)


def test_a_queue_that_cannot_be_reached_is_a_broker_error(settings: Settings) -> None:
    for broken in unreachable(settings):
        sender = CelerySender.from_settings(broken)

        enqueue = functools.partial(sender.enqueue, [ShardMessage(job_id="job", shard=0)])
        for call in (enqueue, sender.reserved):
            with pytest.raises(BrokerError, match="FORNADA_REDIS_URL") as caught:
                call()
            assert "hunter2" not in str(caught.value)


def test_a_full_broker_is_a_broker_error(settings: Settings, broker: redis.Redis) -> None:
    sender = CelerySender.from_settings(settings)
    before = broker.config_get("maxmemory")["maxmemory"]
    broker.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerError):
            sender.enqueue([ShardMessage(job_id="job", shard=0)])
    finally:
        broker.config_set("maxmemory", before)


def test_the_backlog_tells_what_a_worker_holds(
    client: Client, large: Client, settings: Settings, broker: redis.Redis
) -> None:
    # given a bundle and a shard in a worker's hands, beside messages that are not ours
    for number, body in enumerate(("", "[]", "[{}, 1, 2]", '[{"body": "e30="}, "", ""]')):
        broker.hset("fornada:unacked", str(number), body)
    client.submit(IMAGES, model="m", items_per_shard=3)
    large.submit(IMAGES, model="m", items_per_shard=3)
    with client._sender._app.connection_for_read() as connection:
        consumer = connection.SimpleQueue(settings.queue)
        held = [consumer.get(timeout=10) for _ in range(2)]

        backlog = client.backlog()

        for message in held:
            message.ack()
        consumer.close()
    assert (
        Backlog(queued=WorkCount(shards=3, items=7), reserved=WorkCount(shards=5, items=13))
        == backlog
    )
