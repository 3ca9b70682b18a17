"""The backlog: every shard without an outcome once, where it is, with its items."""

import numpy as np
import pytest

from fornada.coordination.interface import Claim, ShardEnd
from fornada.errors import BrokerError
from fornada.queue.message import ShardMessage
from producer.client import Client
from producer.testing import in_memory_client
from producer.upkeep.backlog import Backlog, WorkCount

IMAGES = np.zeros((11, 2, 2), np.uint8)


@pytest.fixture
def client() -> Client:
    return in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False)


def test_without_jobs_there_is_none(client: Client) -> None:
    assert Backlog() == client.backlog()
    assert WorkCount() == client.backlog().total


def test_each_shard_without_an_outcome_counts_once_where_it_is(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given six shards: one done, one running, one taken, and three enqueued, of which one is lost
    coordination = client._coordination
    job = client.submit(IMAGES, model="m", items_per_shard=2)
    coordination.mark_done(job.id, [ShardEnd(0)])
    coordination.begin([Claim(job.id, 1, "a")], lease_s=60)
    held = {ShardMessage(job_id=job.id, shard=s) for s in (0, 1, 2)}
    held.add(ShardMessage(job_id="other", shard=5))
    monkeypatch.setattr(client._sender, "reserved", lambda: held)
    del coordination._memory.jobs[job.id].enqueued[3]

    backlog = client.backlog()

    assert (
        Backlog(
            waiting=WorkCount(shards=1, items=2),
            queued=WorkCount(shards=2, items=3),
            reserved=WorkCount(shards=1, items=2),
            running=WorkCount(shards=1, items=2),
        )
        == backlog
    )
    assert WorkCount(shards=5, items=9) == backlog.total


def test_jobs_add_up_and_those_that_ended_count_for_nothing(client: Client) -> None:
    client.submit(IMAGES, model="m", items_per_shard=5)
    client.submit(IMAGES[:4], model="m")
    client.submit(IMAGES, model="m").cancel()

    assert Backlog(queued=WorkCount(shards=4, items=15)) == client.backlog()


def test_work_is_told_apart_by_queue_and_calls_are_part_of_it(client: Client) -> None:
    client.submit(IMAGES, model="m", items_per_shard=5)
    manifest = client.submit(IMAGES[:4], model="m").manifest
    other = manifest.model_copy(update={"job_id": "other", "queue": "gpu"})
    client._creator.create_and_enqueue(other, new=True)
    client._channel.ask("fornada", [b"call"])

    found = client.backlogs()

    assert {"fornada": 5, "gpu": 1} == {queue: left.work for queue, left in found.items()}
    assert WorkCount(shards=1, items=4) == found["gpu"].total
    assert 6 == client.backlog().work


def test_after_a_flush_the_store_tells_which_jobs_are_open(client: Client) -> None:
    client.submit(IMAGES, model="m", items_per_shard=5)
    client.submit(IMAGES, model="m").cancel()
    client._coordination.flush()

    assert Backlog(waiting=WorkCount(shards=3, items=11)) == client.backlog()


def test_a_job_that_is_being_submitted_is_not_there_yet(client: Client) -> None:
    client._coordination.rebuild_open_jobs(["soon"])

    assert Backlog() == client.backlog()


def test_jobs_that_were_made_up_in_redis_are_not_looked_at(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.submit(IMAGES, model="m")
    client._coordination.rebuild_open_jobs(f"made-up-{number}" for number in range(1000))
    asked: list[str] = []
    read = client._jobs.manifest
    monkeypatch.setattr(client._jobs, "manifest", lambda job: asked.append(job) or read(job))

    assert Backlog(queued=WorkCount(shards=1, items=11)) == client.backlog()
    assert 1 == len(asked)
    # The next count knows how large it is.
    assert 11 == client.backlog().total.items
    assert 1 == len(asked)


def test_without_the_queue_there_is_no_telling(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> set[ShardMessage]:
        raise BrokerError("away")

    monkeypatch.setattr(client._sender, "reserved", away)

    with pytest.raises(BrokerError):
        client.backlog()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_job_that_cannot_be_read_hides_the_work_of_no_other(
    client: Client, *, is_listed: bool
) -> None:
    client.submit(IMAGES, model="m")
    for name in ("manifest", "final"):
        job = client.submit(IMAGES, model="m")
        client._jobs.objects.put(f"jobs/{job.id}/{name}.json", b"{}")
    if is_listed:
        client._coordination.rebuild_open_jobs(client._jobs.job_ids())

    counted = client.backlog().total.shards

    # One whose end alone cannot be read has shards without an outcome, until Redis forgets it.
    assert (2 if is_listed else 1) == counted
