"""The client on real servers: what it stores and enqueues, and what it says when it cannot."""

import base64
import json
from collections.abc import Iterator

import numpy as np
import pytest
import redis
from pydantic import SecretStr

from fornada import keys
from fornada.coordination.interface import Claim
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
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client
from producer.inputs.interface import StoredImages
from producer.upkeep.backlog import Backlog, WorkCount

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


def publish(objects: ObjectStore) -> None:
    ModelStore(objects=objects).publish(
        ModelDraft(name="m", item_shape=[2, 2], item_dtype="uint8", classes=["a", "b"]),
        artifact=b"weights",
        golden_inputs=IMAGES[:1],
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _artifact: None,
    )


@pytest.fixture
def client(settings: Settings, rclone_objects: S3ObjectStore) -> Client:
    publish(rclone_objects)
    return Client.from_settings(settings)


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
    large: Client, broker: redis.Redis
) -> None:
    job = large.submit(IMAGES, model="m", items_per_shard=4)

    envelopes = queued(broker)
    assert {"fornada.run_shard"} == {envelope["headers"]["task"] for envelope in envelopes}
    assert {"application/json"} == {envelope["content-type"] for envelope in envelopes}
    assert [[{"schema_version": 1, "job_id": job.id, "shard": shard}] for shard in range(3)] == [
        arguments(envelope) for envelope in envelopes
    ]
    assert all(len(envelope["body"]) < 1024 for envelope in envelopes)


def test_a_small_job_of_one_shard_travels_in_its_message(
    client: Client, broker: redis.Redis, rclone_objects: S3ObjectStore
) -> None:
    job = client.submit(IMAGES, model="m")

    (envelope,) = queued(broker)
    (message,) = arguments(envelope)
    stored = rclone_objects.get(keys.JobKeys(job.id).manifest).data
    assert (job.id, 0, stored.decode()) == (
        message["job_id"],
        message["shard"],
        message["manifest"],
    )
    assert trusted_manifest(ShardMessage.from_plain(message, where="here")) == job.manifest
    # and Celery's own headers do not show the images once more
    assert len(json.dumps(envelope["headers"])) < 1024


def test_shards_of_a_small_job_are_one_message_of_the_queue(
    client: Client, broker: redis.Redis
) -> None:
    job = client.submit(IMAGES, model="m", items_per_shard=4)

    (envelope,) = queued(broker)
    assert [
        {"schema_version": 1, "job_id": job.id, "shard": shard} for shard in range(3)
    ] == arguments(envelope)


def test_many_small_jobs_share_messages_of_bounded_size(
    client: Client, broker: redis.Redis
) -> None:
    jobs = client.submit_many([IMAGES[:1]] * 70, model="m")

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
    settings: Settings, rclone_objects: S3ObjectStore
) -> None:
    publish(rclone_objects)
    client = Client.from_settings(
        settings.model_copy(update={"enqueue_window": 3, "max_inline_bytes": 0})
    )

    for _ in range(2):
        client.submit(IMAGES, model="m", items_per_shard=5)

    assert 3 == RedisCoordination.from_settings(settings).queue_length("fornada")


def test_the_window_holds_for_small_jobs_too(
    settings: Settings, rclone_objects: S3ObjectStore
) -> None:
    publish(rclone_objects)
    client = Client.from_settings(settings.model_copy(update={"enqueue_window": 3}))

    jobs = [client.submit(IMAGES, model="m") for _ in range(5)]

    assert 3 == RedisCoordination.from_settings(settings).queue_length("fornada")
    assert {JobState.QUEUED} == {job.status().state for job in jobs}


def test_jobs_are_found_again_by_another_client(client: Client, settings: Settings) -> None:
    job = client.submit(IMAGES, model="m", tags={"team": "vision"})

    other = Client.from_settings(settings)

    assert job.manifest == other.job(job.id).manifest
    assert [(job.id, JobState.QUEUED)] == [(s.job_id, s.state) for s in other.jobs()]


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


def test_images_in_another_bucket_are_submitted_where_they_lie(
    client: Client, settings: Settings, rclone_objects: S3ObjectStore
) -> None:
    bucket = f"{settings.s3_bucket}-in"
    theirs = S3ObjectStore.from_settings(settings.model_copy(update={"s3_bucket": bucket}))
    theirs.create_bucket()
    for number in range(3):
        theirs.put(f"2026/{number}.npy", to_npy(IMAGES[: number + 1]))

    job = client.submit(StoredImages.parse(f"s3://{bucket}/2026/"), model="m")

    assert [1, 2, 3] == [shard.item_count for shard in job.manifest.shards]
    assert [] == list(rclone_objects.list(f"jobs/{job.id}/input/"))


def test_a_cancelled_job_says_so_to_every_client(client: Client, settings: Settings) -> None:
    job = client.submit(IMAGES, model="m")

    job.cancel("wrong images")

    status = Client.from_settings(settings).job(job.id).status()
    assert (JobState.CANCELLED, "wrong images") == (status.state, status.reason)


# Broken deployments.


@pytest.mark.parametrize("wrong", ["closed port", "password"])
def test_without_a_broker_nothing_is_uploaded(
    wrong: str, settings: Settings, rclone_objects: S3ObjectStore
) -> None:
    publish(rclone_objects)
    before = [info.key for info in rclone_objects.list("")]
    host = settings.redis_url.get_secret_value().rpartition("@")[2]
    url = (
        f"redis://:hunter2@127.0.0.1:{free_port()}/0"
        if wrong == "closed port"
        else f"redis://:hunter2@{host}"
    )
    client = Client.from_settings(settings.model_copy(update={"redis_url": SecretStr(url)}))

    with pytest.raises(BrokerError, match="FORNADA_REDIS_URL") as caught:
        client.submit(IMAGES, model="m")

    assert "hunter2" not in str(caught.value)
    assert before == [info.key for info in rclone_objects.list("")]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"s3_bucket": "nowhere-at-all"}, BucketNotFoundError),
        ({"s3_secret_access_key": SecretStr("hunter2hunter2")}, StoreAccessError),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, StoreUnavailableError),
    ],
)
def test_without_a_store_nothing_is_enqueued(
    client: Client,
    settings: Settings,
    broker: redis.Redis,
    change: dict[str, object],
    kind: type[Exception],
) -> None:
    broken = Client.from_settings(settings.model_copy(update=change))

    with pytest.raises(kind):
        broken.submit(IMAGES, model="m")

    assert [] == queued(broker)


@pytest.mark.parametrize("wrong", ["closed port", "password"])
def test_a_queue_that_cannot_be_reached_is_a_broker_error(wrong: str, settings: Settings) -> None:
    host = settings.redis_url.get_secret_value().rpartition("@")[2]
    url = f"redis://:hunter2@{host if wrong == 'password' else f'127.0.0.1:{free_port()}/0'}"
    sender = CelerySender.from_settings(settings.model_copy(update={"redis_url": SecretStr(url)}))

    with pytest.raises(BrokerError, match="FORNADA_REDIS_URL") as caught:
        sender.enqueue([ShardMessage(job_id="job", shard=0)])

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


def test_the_backlog_tells_what_waits_is_queued_and_is_held(
    settings: Settings, rclone_objects: S3ObjectStore
) -> None:
    # given a window of three for four shards, and a worker that has taken one and begun another
    publish(rclone_objects)
    client = Client.from_settings(
        settings.model_copy(update={"enqueue_window": 3, "max_inline_bytes": 0})
    )
    job = client.submit(IMAGES, model="m", items_per_shard=3)
    coordination = RedisCoordination.from_settings(settings)
    with client._sender._app.connection_for_read() as connection:
        consumer = connection.SimpleQueue(settings.queue)
        taken = [consumer.get(timeout=10) for _ in range(2)]
        coordination.begin([Claim(job.id, 1, "a")], lease_s=60)

        backlog = client.backlog()

        for message in taken:
            message.ack()
        consumer.close()
    assert (
        Backlog(
            waiting=WorkCount(shards=1, items=1),
            queued=WorkCount(shards=1, items=3),
            reserved=WorkCount(shards=1, items=3),
            running=WorkCount(shards=1, items=3),
        )
        == backlog
    )


def test_the_backlog_tells_what_a_worker_holds_of_a_bundle(
    client: Client, settings: Settings
) -> None:
    client.submit(IMAGES, model="m", items_per_shard=3)
    with client._sender._app.connection_for_read() as connection:
        consumer = connection.SimpleQueue(settings.queue)
        message = consumer.get(timeout=10)

        backlog = client.backlog()

        message.ack()
        consumer.close()
    assert Backlog(reserved=WorkCount(shards=4, items=10)) == backlog


def test_what_others_leave_in_the_queues_books_is_no_backlog(
    client: Client, broker: redis.Redis
) -> None:
    for number, body in enumerate(("", "[]", "[{}, 1, 2]", '[{"body": "e30="}, "", ""]')):
        broker.hset("unacked", str(number), body)

    assert Backlog() == client.backlog()


def test_a_queue_that_is_away_is_a_broker_error(settings: Settings) -> None:
    url = SecretStr(f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    sender = CelerySender.from_settings(settings.model_copy(update={"redis_url": url}))

    with pytest.raises(BrokerError, match="cannot be reached") as caught:
        sender.reserved()

    assert "hunter2" not in str(caught.value)
