"""Celery's consumer as a worker has it: every message counts, and none ends the worker."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.common import QoS

from worker.app import GrowingPool, TolerantConsumer


class _Message:
    """A message from kombu that records what became of it."""

    content_type = content_encoding = "utf-8"
    body = b""
    payload: Any = None

    def __init__(self, headers: object) -> None:
        self.headers = headers
        self.delivery_info: dict[str, str] = {}
        self.fates: list[str] = []

    def ack_log_error(self, *_: object) -> None:
        self.fates.append("acknowledged")

    def reject_log_error(self, *_: object) -> None:
        self.fates.append("rejected")


def _consumer(**options: Any) -> TolerantConsumer:
    return TolerantConsumer(
        lambda _request: None,
        app=Celery("test", set_as_current=False, broker="memory://"),
        controller=SimpleNamespace(use_eventloop=False),
        **options,
    )


@pytest.mark.parametrize(
    ("headers", "fate"),
    [(None, "rejected"), ({"task": ["a", "list"]}, "acknowledged")],
    ids=["of another kind", "not to be taken apart"],
)
def test_a_message_that_is_dropped_is_one_that_was_taken(headers: object, fate: str) -> None:
    taken: list[int] = []
    message = _Message(headers)

    consumer = _consumer(on_message=lambda: taken.append(1))
    consumer.create_task_handler()(message)

    assert ([1], [fate]) == (taken, message.fates)


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
    consumer = _consumer(on_message=lambda: None, pool=pool, initial_prefetch_count=4)
    told: list[int] = []
    consumer.qos = QoS(lambda *, prefetch_count: told.append(prefetch_count), 4)

    for threads in (4, 9, 6):
        consumer.resize(threads)
    consumer.qos.update()

    assert [9] == told
    # and after a reconnect too
    assert (9, 9) == (consumer.initial_prefetch_count, consumer.max_prefetch_count)
