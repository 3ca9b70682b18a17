"""Submitting: what is accepted, what is refused, and what is never half done."""

import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import ShardEnd
from fornada.errors import (
    BrokerError,
    InputError,
    JobConflictError,
    ModelNotFoundError,
    StoreUnavailableError,
    UsageError,
)
from fornada.formats.npy import to_npy
from fornada.formats.rows import Rows
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobState
from fornada.queue.message import ShardMessage
from fornada.records import MAX_INLINE_BYTES
from producer.client import Client
from producer.inputs.interface import ItemBlock, StoredImages

from .conftest import away

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


@pytest.fixture(params=[0, MAX_INLINE_BYTES], ids=["objects", "inline"])
def either(request: pytest.FixtureRequest, new_world: Any) -> Any:
    """Inputs become objects, or are small enough to be inlined."""
    return new_world(max_inline_bytes=request.param)


@pytest.fixture
def large(new_world: Any) -> Any:
    """Inputs become objects."""
    return new_world(max_inline_bytes=0)


# What is accepted.


def test_an_array_becomes_shards_and_messages(either: Any) -> None:
    job = either.client.submit(IMAGES, model="m@prod", items_per_shard=4, tags={"team": "vision"})

    assert [4, 4, 2] == [shard.item_count for shard in job.manifest.shards]
    np.testing.assert_array_equal(IMAGES, np.concatenate(either.stored_inputs(job.manifest)))
    assert [(job.id, 0), (job.id, 1), (job.id, 2)] == [
        (message.job_id, message.shard) for message in either.sender.messages
    ]
    assert ("m:1", [2, 2], "uint8", ["a", "b"], {"team": "vision"}) == (
        str(job.manifest.model),
        job.manifest.input.shape,
        job.manifest.input.dtype,
        job.manifest.output.classes,
        job.manifest.tags,
    )
    assert job.manifest == either.client.job(job.id).manifest


def test_ids_are_new_and_sort_by_time(world: Any) -> None:
    ids = [world.client.submit(IMAGES, model="m").id for _ in range(3)]

    assert 3 == len(set(ids))
    assert [job_id[:15] for job_id in ids] == sorted(job_id[:15] for job_id in ids)


def test_a_stream_gives_the_same_shards_however_it_comes(either: Any) -> None:
    whole = either.client.submit(IMAGES, model="m", items_per_shard=4).manifest

    for sizes in ([10], [1] * 10, [3, 3, 4], [7, 3], [2, 8]):
        blocks = iter(np.split(IMAGES, np.cumsum(sizes)[:-1]))
        streamed = either.client.submit(blocks, model="m", items_per_shard=4).manifest

        assert [shard.objects[0].sha256 for shard in whole.shards] == [
            shard.objects[0].sha256 for shard in streamed.shards
        ]


def test_a_stream_may_fill_the_same_array_again(either: Any) -> None:
    # given a stream that reads into one buffer, block after block
    def blocks() -> Iterator[np.ndarray]:
        buffer = np.empty((2, 2, 2), np.uint8)
        for start in range(0, 10, 2):
            buffer[:] = IMAGES[start : start + 2]
            yield buffer

    job = either.client.submit(blocks(), model="m", items_per_shard=2)

    np.testing.assert_array_equal(IMAGES, np.concatenate(either.stored_inputs(job.manifest)))


def test_a_stream_is_read_in_the_callers_thread_where_it_is_alone(world: Any) -> None:
    readers: set[str] = set()

    def blocks() -> Iterator[np.ndarray]:
        for _ in range(3):
            readers.add(threading.current_thread().name)
            yield np.zeros((30_000, 2, 2), np.uint8)

    world.client.submit(blocks(), model="m", items_per_shard=30_000)

    assert {threading.current_thread().name} == readers


def test_a_stream_is_never_held_whole(world: Any) -> None:
    # given a stream of 100 MB, and a store that keeps it elsewhere
    blocks = (np.full((4, 512, 512), number, np.uint8) for number in range(100))
    world.publish(item_shape=[512, 512])
    world.objects.put = lambda key, data: None

    # when it is submitted
    tracemalloc.start()
    try:
        job = world.client.submit(blocks, model="m", items_per_shard=4)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # then a few shards were in memory at a time, each in a few copies
    assert 100 == len(job.manifest.shards)
    assert peak_bytes < 25 * 2**20


def test_item_ids_are_kept_with_their_items(either: Any) -> None:
    ids = [f"photo-{n}" for n in range(10)]
    blocks = [
        ItemBlock(rows=Rows(IMAGES[n : n + 1]), item_ids=[f"p{n}"], where="x") for n in range(3)
    ]

    job = either.client.submit(IMAGES, model="m", item_ids=ids, items_per_shard=4)
    streamed = either.client.submit(blocks, model="m", items_per_shard=2)

    assert ids == [i for part in job.shard_results(partial=True) for i in part.item_ids]
    assert [["p0", "p1"], ["p2"]] == [p.item_ids for p in streamed.shard_results(partial=True)]


def test_stored_images_are_read_in_place(new_world: Any) -> None:
    world = new_world(input_prefixes="s3://theirs/in/")
    for number in range(3):
        world.objects.put(f"in/{number}.npy", to_npy(IMAGES), bucket="theirs")
    world.objects.puts.clear()

    job = world.client.submit(StoredImages.parse("s3://theirs/in/"), model="m")

    assert [10, 10, 10] == [shard.item_count for shard in job.manifest.shards]
    assert {"theirs"} == {shard.objects[0].bucket for shard in job.manifest.shards}
    assert [] == world.objects.puts


def test_a_jobs_times_are_the_brokers_and_it_ends_after_a_week_at_the_latest(either: Any) -> None:
    # given a broker whose clock is years behind this machine's
    at = datetime(2020, 1, 1, tzinfo=UTC)
    passed_s = 0.0
    either.coordination._clock = lambda: at.timestamp() + passed_s

    job = either.client.submit(IMAGES, model="m", items_per_shard=5)
    given = either.client.submit(IMAGES, model="m", deadline_s=60)
    given.cancel()
    retry = either.client.retry_failed(given.id)

    assert [(at, timedelta(days=7)), (at, timedelta(minutes=1)), (at, timedelta(days=7))] == [
        (j.manifest.created_at, j.manifest.deadline - at) for j in (job, given, retry)
    ]

    # and its rate is, too
    either.coordination.mark_done(job.id, [ShardEnd(0)])
    passed_s = 10.0
    assert 0.5 == job.status().items_per_s


def test_a_job_belongs_to_the_queue_of_its_client_or_of_the_job_that_it_retries(
    new_world: Any,
) -> None:
    # given two clients of one deployment
    world = new_world()
    other = world.new_client(queue="gpu")
    jobs = [client.submit(IMAGES, model="m") for client in (world.client, other)]
    world.sender.messages.clear()

    # when each retries the other's
    for job in jobs:
        job.cancel()
    jobs += [other.retry_failed(jobs[0].id), world.client.retry_failed(jobs[1].id)]

    assert ["fornada", "gpu", "fornada", "gpu"] == [job.manifest.queue for job in jobs]
    # Their queues' reconcilers enqueue them.
    assert [] == world.sender.messages


def test_a_key_of_a_job_that_names_no_queue_finds_it_again(large: Any) -> None:
    # given a job as a producer in another language writes it
    job = large.client.submit(IMAGES, model="m", idempotency_key="job")
    unnamed = job.manifest.model_copy(update={"queue": None})
    large.objects.put(keys.JobKeys("job").manifest, unnamed.to_json())

    again = large.client.submit(IMAGES, model="m", idempotency_key="job")

    assert unnamed == again.manifest


def test_attempts_and_the_size_of_shards_come_from_the_settings(new_world: Any) -> None:
    few = new_world(max_attempts=2, items_per_shard=3).client.submit(IMAGES, model="m").manifest
    images = np.zeros((600, 2, 2), np.uint8)
    small = new_world(max_shard_bytes=1024).client.submit(images, model="m").manifest

    assert (2, 4) == (few.max_attempts, len(few.shards))
    # Four bytes of pixels and two float32 of outputs an item.
    assert [128, 128, 128, 128, 88] == [shard.item_count for shard in small.shards]


# The window.


def test_no_more_messages_are_enqueued_than_the_window_has_room_for(new_world: Any) -> None:
    world = new_world(enqueue_window=3, max_inline_bytes=0)

    first = world.client.submit(IMAGES, model="m", items_per_shard=5)
    second = world.client.submit(IMAGES, model="m", items_per_shard=1)
    third = world.client.submit(IMAGES, model="m")

    sent = [(message.job_id, message.shard) for message in world.sender.messages]
    assert [(first.id, 0), (first.id, 1), (second.id, 0)] == sent
    assert JobState.QUEUED == third.status().state


def test_enqueued_shards_are_noted_before_their_messages_are_sent(world: Any) -> None:
    # given a worker that is quicker than the submitter
    noted: list[dict[int, float | None]] = []

    def look(messages: Iterable[ShardMessage], **_: object) -> None:
        noted.extend(dict(world.coordination.progress(m.job_id).enqueued) for m in messages)

    world.sender.enqueue = look

    world.client.submit(IMAGES, model="m", items_per_shard=5)

    assert [{0, 1}, {0, 1}] == [set(flying) for flying in noted]


def test_workers_begin_with_a_few_shards_before_the_others_are_noted(new_world: Any) -> None:
    # given
    world = new_world(max_inline_bytes=0)
    noted: list[set[int]] = []

    def look(messages: Iterable[ShardMessage], **_: object) -> None:
        noted.extend(set(world.coordination.progress(m.job_id).enqueued) for m in messages)

    world.sender.enqueue = look

    # when
    world.client.submit(IMAGES, model="m", items_per_shard=1)

    # then
    every = set(range(len(IMAGES)))
    assert len(every) > 4
    assert [{0, 1, 2, 3}] * 4 + [every] * (len(every) - 4) == noted


def test_a_job_that_ends_while_its_messages_are_sent_gets_no_more(new_world: Any) -> None:
    # given
    world = new_world(max_inline_bytes=0)
    sent: list[int] = []

    def end(messages: Iterable[ShardMessage], **_: object) -> None:
        for message in messages:
            sent.append(message.shard)
            world.coordination.end_jobs({message.job_id: "CANCELLED"})

    world.sender.enqueue = end

    # when
    world.client.submit(IMAGES, model="m", items_per_shard=1)

    # then
    assert [0, 1, 2, 3] == sent


# When the broker is away.


def test_without_a_broker_nothing_is_uploaded(large: Any) -> None:
    large.lose_broker("server_time")

    with pytest.raises(BrokerError):
        large.client.submit(IMAGES, model="m")

    assert [] == large.objects.puts
    assert [] == large.client.jobs()


def test_a_broker_lost_during_the_upload_leaves_no_job(either: Any) -> None:
    either.lose_broker("open_job", "register_small_jobs")

    with pytest.raises(BrokerError):
        either.client.submit(IMAGES, model="m")

    assert [] == either.client.jobs()


def test_a_broker_lost_after_the_manifest_still_leaves_the_job_accepted(large: Any) -> None:
    large.lose_broker("queue_length")

    job = large.client.submit(IMAGES, model="m")

    assert JobState.QUEUED == job.status().state
    assert [] == large.sender.messages
    assert job.id in large.coordination._memory.open_jobs


def test_a_sender_that_fails_still_leaves_the_job_accepted(either: Any) -> None:
    either.sender.enqueue = away

    assert JobState.QUEUED == either.client.submit(IMAGES, model="m").status().state


# Idempotency keys.


def test_the_key_is_the_jobs_id_and_repeating_gives_the_same_job(either: Any) -> None:
    first = either.client.submit(IMAGES, model="m@prod", idempotency_key="night-1")
    sent, puts = len(either.sender.messages), len(either.objects.puts)

    again = either.client.submit(IMAGES, model="m@prod", idempotency_key="night-1")

    assert "night-1" == first.id
    assert first.manifest == again.manifest
    # and nothing was stored or sent again
    assert (sent, puts) == (len(either.sender.messages), len(either.objects.puts))


def test_the_same_job_comes_back_after_its_alias_moved(world: Any) -> None:
    first = world.client.submit(IMAGES, model="m@prod", idempotency_key="night-1")
    world.publish()
    world.models.promote("m", 2, "prod")

    again = world.client.submit(IMAGES, model="m@prod", idempotency_key="night-1")
    bare = world.client.submit(IMAGES, model="m", idempotency_key="night-1")

    assert "m:1" == str(again.manifest.model)
    assert first.manifest == again.manifest == bare.manifest
    assert "m:2" == str(world.client.submit(IMAGES, model="m@prod").manifest.model)


def test_the_key_with_other_work_is_a_conflict_and_changes_nothing(either: Any) -> None:
    either.publish()
    first = either.client.submit(inputs=IMAGES, model="m:1", idempotency_key="night-1")
    puts = len(either.objects.puts)

    for change in (
        {"inputs": IMAGES + 1},
        {"inputs": IMAGES[:9]},
        {"model": "m:2"},
        {"items_per_shard": 3},
        {"tags": {"a": "b"}},
        {"item_ids": [str(n) for n in range(10)]},
    ):
        with pytest.raises(JobConflictError, match="'night-1' exists"):
            either.client.submit(
                **{"inputs": IMAGES, "model": "m:1", "idempotency_key": "night-1", **change}
            )

    assert first.manifest == either.client.job("night-1").manifest
    assert puts == len(either.objects.puts)


def test_many_that_submit_one_key_at_once_get_one_job(either: Any) -> None:
    at_once = threading.Barrier(6)
    manifests: list[JobManifest] = []

    def submit() -> None:
        at_once.wait(10)
        job = either.client.submit(IMAGES, model="m", idempotency_key="k", items_per_shard=5)
        manifests.append(job.manifest)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert [manifests[0]] * 6 == manifests
    assert [0, 1] == [message.shard for message in either.sender.messages]


def test_keys_and_ids_that_are_no_names_are_refused(world: Any) -> None:
    for name in ("", "a/b", "../x", "a b", "x" * 129):
        with pytest.raises(UsageError, match="idempotency key"):
            world.client.submit(IMAGES, model="m", idempotency_key=name)
        with pytest.raises(UsageError, match="job id"):
            world.client.job(name)


# What is refused.


def test_wrong_images_are_refused_and_no_job_is_left(world: Any) -> None:
    for images, why in (
        (np.zeros((0, 2, 2), np.uint8), "empty"),
        (np.array(3, np.uint8), "a single value"),
        (np.zeros((3, 2, 3), np.uint8), r"items of shape \(2, 3\), but m:1 takes \(2, 2\)"),
        (np.zeros((3, 2, 2), np.float32), "raw pixels as uint8"),
        (np.full((3, 2, 2), 300, np.int64), "300"),
        (np.full((3, 2, 2), "x"), "not numeric"),
        (None, "inputs is NoneType"),
        ([], "no items"),
        (iter([]), "no items"),
        ([np.zeros((1, 2, 2), np.uint8), np.zeros((1, 3, 3), np.uint8)], r"inputs\[1\]"),
        ("photo.png", "give pathlib.Path"),
    ):
        with pytest.raises(InputError, match=why) as caught:
            world.client.submit(images, model="m")
        assert 2 == caught.value.exit_code

    assert [] == world.client.jobs()
    assert [] == world.sender.messages
    assert set() == world.coordination._memory.open_jobs


def test_items_with_nan_or_null_are_accepted_unless_strict(world: Any) -> None:
    world.publish(item_dtype="float32")
    images = np.zeros((5, 2, 2), np.float32)
    images[3, 0, 0] = np.nan
    nulls = images.astype(object)
    nulls[3, 0, 0], nulls[4, 1, 1] = 0.0, None

    for given, index, why in ((images, 3, "NaN or infinity"), (nulls, 4, "null")):
        with pytest.raises(InputError, match=f"item {index}: {why} among its values"):
            world.client.submit(given, model="m", strict=True)
        world.client.submit(given, model="m")
    job = world.client.submit(nulls, model="m", items_per_shard=3)
    assert [1] == [error.index for error in job.manifest.shards[1].item_errors]


def test_item_ids_that_do_not_match_are_refused(world: Any) -> None:
    world.objects.put("in/0.npy", to_npy(IMAGES), bucket="theirs")
    for images, ids, kind, why in (
        (IMAGES, ["a"], InputError, "1 item ids for 10 items"),
        (IMAGES, list(range(11)), InputError, "11 item ids for 10 items"),
        (iter(IMAGES), list(range(11)), InputError, "11 item ids for 10 items"),
        (IMAGES[:3], ["a", "b", "a"], InputError, "items 0 and 2 have the same id, 'a'"),
        ([("a", IMAGES[0]), ("b", IMAGES[1]), ("a", IMAGES[2])], None, InputError, "0 and 2"),
        (IMAGES[:2], ["a", 1.5], InputError, r"item_ids\[1\] is '1.5' of type float"),
        (IMAGES[:2], ["a", "\ud800"], InputError, "UTF-8"),
        (IMAGES[:2], "ab", UsageError, "item_ids is str"),
        (IMAGES[:2], 7, UsageError, "item_ids is int"),
        ([("a", IMAGES[0])], ["b"], UsageError, "ids of their own"),
        (StoredImages(bucket="theirs", prefix="in/"), ["a"], UsageError, "named by their paths"),
    ):
        with pytest.raises(kind, match=why):
            world.client.submit(images, model="m", item_ids=ids)


def test_options_of_the_wrong_type_or_size_are_refused_by_their_names(world: Any) -> None:
    job = world.client.submit(IMAGES, model="m")
    for name, wrong in (
        ("model", (7, None, b"m")),
        ("items_per_shard", (0, -1, 2.0, "2", True)),
        ("deadline_s", (0, -1, float("nan"), float("inf"), 1e30, "x", True, timedelta(1))),
        ("max_failed", (-1, True, "5", "101%", "-1%", "%", 1.5, "5 %", [1])),
        ("strict", (None, "yes", 1)),
        ("tags", ({"n": 1}, {1: "n"}, ["n"], "n")),
        ("idempotency_key", (7, b"night")),
        ("image", ("large", {"resize": ["pad"]}, {"shape": "crop"})),
    ):
        for value in wrong:
            with pytest.raises(UsageError, match=name):
                world.client.submit(IMAGES, **{"model": "m", name: value})
    for submissions in (7, None, "m", {"inputs": IMAGES}):
        with pytest.raises(UsageError, match="submissions is"):
            world.client.submit_many(submissions, model="m")
    for name, wrong in (("timeout_s", ("1", [1], True)), ("on_progress", (3,))):
        for value in wrong:
            with pytest.raises(UsageError, match=name):
                job.wait(**{name: value})
    for call, name in (
        (lambda: world.client.job(7), "job_id"),
        (lambda: world.client.jobs(limit="1"), "limit"),
        (lambda: world.client.purge(5), "older_than"),
        (lambda: world.client.verify(job.id, sample="1"), "sample"),
    ):
        with pytest.raises(UsageError, match=name):
            call()


def test_an_unknown_model_is_named_with_those_there_are(large: Any) -> None:
    for model, kind, why in (
        ("other", ModelNotFoundError, "no model 'other'; there are: m"),
        ("m:9", ModelNotFoundError, "no version 9; it has: 1"),
        ("m@next", ModelNotFoundError, "no alias 'next'; it has: prod"),
        ("", UsageError, "not a model"),
        ("m:x", UsageError, "not a model"),
        ("a/b", UsageError, "model name"),
    ):
        # Asked for each time: what does not exist is not remembered.
        for _ in range(2):
            with pytest.raises(kind, match=why):
                large.client.submit(IMAGES, model=model)

    assert [] == large.objects.puts


def test_one_item_larger_than_a_shard_may_be_is_refused(new_world: Any) -> None:
    world = new_world(max_shard_bytes=1024)
    world.publish(item_shape=[64, 64])

    with pytest.raises(InputError, match="FORNADA_MAX_SHARD_BYTES"):
        world.client.submit(np.zeros((1, 64, 64), np.uint8), model="m")


def test_a_stream_that_fails_leaves_no_job(world: Any) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield IMAGES
        raise RuntimeError("camera unplugged")

    with pytest.raises(RuntimeError, match="camera unplugged"):
        world.client.submit(blocks(), model="m", items_per_shard=5)

    assert [] == world.client.jobs()


def test_a_store_that_fails_leaves_no_job(large: Any) -> None:
    def fail(_key: str, _data: bytes, **_: object) -> None:
        raise StoreUnavailableError("503")

    large.objects.put = fail

    with pytest.raises(StoreUnavailableError):
        large.client.submit(IMAGES, model="m")

    assert set() == large.coordination._memory.open_jobs


# Finding jobs.


def test_folders_that_hold_no_job_are_not_listed(world: Any) -> None:
    job = world.client.submit(IMAGES, model="m")
    world.objects.put("jobs/half/input/0.npy", b"x")

    assert [job.id] == [status.job_id for status in world.client.jobs()]


# From the environment.


def test_from_env_contacts_nothing() -> None:
    client = Client.from_env(
        {
            "FORNADA_REDIS_URL": "redis://192.0.2.1:6379/0",
            "FORNADA_S3_ENDPOINT_URL": "http://192.0.2.1:9000",
            "FORNADA_S3_ACCESS_KEY_ID": "id",
            "FORNADA_S3_SECRET_ACCESS_KEY": "secret",
        }
    )

    assert isinstance(client, Client)


def test_an_array_that_claims_more_items_than_a_job_has_is_refused_at_once(either: Any) -> None:
    endless = np.broadcast_to(IMAGES[:1], (10**12, *IMAGES.shape[1:]))

    with pytest.raises(InputError, match="1000000000000 items make more than 4000000 shards of 4"):
        either.client.submit(endless, model="m", items_per_shard=4)
