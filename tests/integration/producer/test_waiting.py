"""Waiting for jobs on real servers: what it costs the store, and how it hears of an end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import SecretStr

from benchmarks.measuring.s3_counter import S3Counter
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from producer import AsyncClient, Client, Job, JobStatus
from producer.following import waiting

from ...deployment import publish_unloadable
from ...redis_proxy import RedisProxy

IMAGES = np.zeros((3, 2, 2), np.uint8)
WaitUntil = Callable[..., None]


class _Waiter:
    """A client that waits for jobs, whose requests to the store are counted."""

    def __init__(self, settings: Settings, counter: S3Counter) -> None:
        self.settings = settings
        self.counter = counter
        publish_unloadable(
            S3ObjectStore.from_settings(settings), "m", item_shape=[2, 2], classes=["a", "b"]
        )
        self.others = Client.from_settings(settings)
        self._pool = ThreadPoolExecutor(8)

    def client(self, **changed: object) -> Client:
        """A client whose requests are counted."""
        return Client.from_settings(
            self.settings.model_copy(update={"s3_endpoint_url": self.counter.url, **changed})
        )

    def wait(self, job: Job) -> "Future[JobStatus]":
        """Wait for the job in a thread; returns once its first look is over."""
        looked = threading.Event()
        ended = self._pool.submit(job.wait, 60, on_progress=lambda _status: looked.set())
        assert looked.wait(30)
        return ended

    @property
    def looks(self) -> int:
        """How often the store was asked for a job's end."""
        return self.counter.counts["GET final.json"]


@pytest.fixture
def waiter(settings: Settings) -> Iterator[_Waiter]:
    with S3Counter(settings.s3_endpoint_url or "") as counter:
        yield _Waiter(settings, counter)


def test_waiting_costs_one_look_until_the_end_is_told(waiter: _Waiter) -> None:
    client = waiter.client()
    jobs = [client.submit(IMAGES, model="m") for _ in range(3)]
    waiting_for = [waiter.wait(job) for job in (*jobs, jobs[0])]
    assert 4 == waiter.looks

    for job in jobs:
        waiter.others.job(job.id).cancel()

    assert ["CANCELLED"] * 4 == [ended.result(30).state for ended in waiting_for]
    assert 8 == waiter.looks


def test_a_task_looks_once_and_again_when_the_end_is_told(waiter: _Waiter) -> None:
    job = waiter.client().submit(IMAGES, model="m")

    async def wait() -> JobStatus:
        looked = asyncio.Event()
        async with AsyncClient(waiter.client()) as client:
            found = await client.job(job.id)
            ended = asyncio.create_task(found.wait(60, on_progress=lambda _status: looked.set()))
            await looked.wait()
            await asyncio.to_thread(waiter.others.job(job.id).cancel)
            return await ended

    assert "CANCELLED" == asyncio.run(wait()).state
    assert 2 == waiter.looks


def test_an_end_that_nobody_tells_is_seen_by_a_look_now_and_then(
    waiter: _Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_EVERY_S", 0.2)
    job = waiter.client().submit(IMAGES, model="m")
    ended = waiter.wait(job)

    waiter.others._jobs.finish(job.manifest, "CANCELLED", "as a worker that dies after it")

    assert "CANCELLED" == ended.result(30).state


@pytest.mark.slow
def test_where_redis_is_away_the_store_is_polled(waiter: _Waiter, wait_until: WaitUntil) -> None:
    url = waiter.settings.redis_url.get_secret_value()
    with RedisProxy(url) as proxy:
        client = waiter.client(redis_url=SecretStr(proxy.url))
        job = client.submit(IMAGES, model="m")
        ended = waiter.wait(job)
        proxy.refuse()
        wait_until(lambda: waiter.looks >= 3)

        waiter.others.job(job.id).cancel()

        assert "CANCELLED" == ended.result(30).state
