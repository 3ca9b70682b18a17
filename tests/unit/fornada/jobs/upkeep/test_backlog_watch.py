"""The leader counts its queue's work: each shard once where it is, and samples of many jobs."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from fornada.coordination.interface import Claim, ShardEnd
from fornada.events import Event, Events
from fornada.events.queues import BacklogCounted
from fornada.jobs.upkeep import backlog_watch
from fornada.jobs.upkeep.backlog_watch import BacklogWatch
from fornada.queue.message import ShardMessage
from producer.client import Client
from producer.testing import in_memory_client

IMAGES = np.zeros((11, 2, 2), np.uint8)

Count = Callable[[], BacklogCounted]


@pytest.fixture
def client() -> Client:
    made = in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False)
    made._coordination.rebuild_open_jobs([])
    return made


def counting(client: Client, *, queue: str = "fornada") -> Count:
    """Counts once, and gives what is told."""
    told: list[Event] = []
    watch = BacklogWatch(
        queue=queue,
        is_leading=lambda: True,
        jobs=client._jobs,
        open_jobs=client._coordination,
        sender=client._sender,
        events=Events(told.append),
    )

    def once() -> BacklogCounted:
        watch.count()
        (event,) = told
        told.clear()
        assert isinstance(event, BacklogCounted)
        return event

    return once


def test_each_shard_without_an_outcome_counts_once_where_it_is(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given six shards: one done, one running, one taken, and three enqueued, of which one is lost
    coordination = client._coordination
    job = client.submit(IMAGES, model="m", items_per_shard=2)
    coordination.mark_done(job.id, [ShardEnd(0)])
    coordination.begin([Claim(job.id, 1, "a")], lease_s=60)
    held = {ShardMessage(job_id=job.id, shard=s) for s in (0, 1, 2)}
    monkeypatch.setattr(client._sender, "reserved", lambda: held)
    del coordination._memory.jobs[job.id].enqueued[3]

    found = counting(client)()

    shards = {"waiting": 1, "queued": 2, "reserved": 1, "running": 1}
    assert (1, shards) == (found.open_job_count, found.shard_counts)
    assert {"waiting": 2, "queued": 3, "reserved": 2, "running": 2} == found.item_counts
    age = coordination.server_time() - client._jobs.manifest(job.id).created_at
    assert timedelta(0) <= timedelta(seconds=found.oldest_s) <= age


def test_jobs_that_ended_or_are_of_other_queues_count_for_nothing(client: Client) -> None:
    client.submit(IMAGES, model="m").cancel()
    client.submit(IMAGES, model="m")

    counts = [counting(client)().open_job_count, counting(client, queue="gpu")().open_job_count]
    nothing = counting(client, queue="gpu")()

    assert [1, 0] == counts
    assert {0} == {*nothing.shard_counts.values(), *nothing.item_counts.values(), nothing.oldest_s}


def test_of_many_small_jobs_some_stand_for_all(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_watch, "MOST_LOOKS", 4)
    for number in range(10):
        client.submit(IMAGES, model="m", idempotency_key=f"job-{number}")

    count = counting(client)
    counts = [count() for _ in range(3)]

    # The first count has read four of them, the last one all.
    for found in counts:
        assert (10, 10) == (found.open_job_count, found.shard_counts["queued"])
        assert 110 == found.item_counts["queued"]
