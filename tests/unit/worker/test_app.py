"""Celery's consumer as a worker has it: every message counts, and none ends the worker."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from worker.app import TolerantConsumer


class _Message:
    """What kombu hands over; keeps what became of it."""

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


@pytest.mark.parametrize(
    ("headers", "fate"),
    [(None, "rejected"), ({"task": ["a", "list"]}, "acknowledged")],
    ids=["of another kind", "not to be taken apart"],
)
def test_a_message_that_is_dropped_is_one_that_was_taken(headers: object, fate: str) -> None:
    taken: list[int] = []
    consumer = TolerantConsumer(
        lambda _request: None,
        app=Celery("test", set_as_current=False, broker="memory://"),
        controller=SimpleNamespace(use_eventloop=False),
        on_message=lambda: taken.append(1),
    )
    message = _Message(headers)

    consumer.create_task_handler()(message)

    assert ([1], [fate]) == (taken, message.fates)
