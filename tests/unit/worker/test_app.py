"""Celery's pool and consumer as a worker has them: they grow."""

import threading
from types import SimpleNamespace
from typing import Any

from celery import Celery
from kombu.common import QoS

from worker.app import GrowingConsumer, GrowingPool


def _consumer(**options: Any) -> GrowingConsumer:
    return GrowingConsumer(
        lambda _request: None,
        app=Celery("test", set_as_current=False, broker="memory://"),
        controller=SimpleNamespace(use_eventloop=False),
        **options,
    )


def test_a_pool_that_has_grown_works_on_more_at_a_time() -> None:
    # given a pool of one that has two more
    pool = GrowingPool(1)
    pool.grow(2)
    together = threading.Barrier(3, timeout=30)

    # when three tasks each wait for the others
    tasks = [pool.apply_async(together.wait, callback=lambda _: None) for _ in range(3)]

    # then they meet
    for task in tasks:
        task.wait(30)
    assert (3, False) == (pool.num_processes, together.broken)
    pool.on_stop()


def test_a_consumer_takes_more_messages_and_never_fewer() -> None:
    pool = GrowingPool(4)
    consumer = _consumer(pool=pool, initial_prefetch_count=4)
    told: list[int] = []
    consumer.qos = QoS(lambda *, prefetch_count: told.append(prefetch_count), 4)

    for threads in (4, 9, 6):
        consumer.resize(threads)
    consumer.qos.update()

    assert [9] == told
    # and after a reconnect too
    assert (9, 9) == (consumer.initial_prefetch_count, consumer.max_prefetch_count)
