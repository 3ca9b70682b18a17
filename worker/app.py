"""Celery around the worker: the app, the heartbeat of its event loop, and the consumer."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps, signals
from celery.apps.worker import Worker
from celery.concurrency.thread import TaskPool
from celery.worker.consumer import Consumer

from fornada.events import SILENT, Events, MessageDropped
from fornada.queue.celery_config import celery_config
from fornada.settings import Settings
from worker.compute.thread_choice import Concurrency
from worker.host.health import BEAT_INTERVAL_S


class GrowingPool(TaskPool):  # type: ignore[misc]  # celery has no types
    """A pool of threads that can grow; Celery's own cannot."""

    def grow(self, n: int = 1) -> None:
        """Add `n` threads."""
        self.limit += n
        # The executor reads it whenever a task comes and no thread is idle.
        self.executor._max_workers = self.limit  # noqa: SLF001 - the only way to grow


class TolerantConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Drops messages that Celery cannot parse.

    Celery lets their errors end the worker and requeues the message, which then ends the next
    worker.
    """

    def __init__(
        self, *args: Any, on_message: Callable[[], None], events: Events, **kwargs: Any
    ) -> None:
        self._on_message = on_message
        self._events = events
        super().__init__(*args, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """The function that handles each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_or_drop(message: Any) -> None:
            self._on_message()
            try:
                handle(message)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
                # Not on_decode_error, which itself fails on a message without a body.
                self._events.tell(MessageDropped(error=f"{type(exc).__name__}: {exc}"))
                message.ack_log_error(logging.getLogger(__name__), self.connection_errors)

        return handle_or_drop

    def resize(self, threads: int) -> None:
        """Handle at least `threads` messages at a time; callable from any thread."""
        more = threads - self.pool.num_processes
        if more > 0:
            self.pool.grow(more)
            # The first is for later connections, the second for this one.
            self.initial_prefetch_count += more
            self.qos.increment_eventually(more)


def create_app(settings: Settings) -> Celery:
    """The Celery app of a worker; nothing is contacted yet."""
    app = Celery("fornada", set_as_current=False)
    app.conf.update(celery_config(settings))
    return app


def add_heartbeat(
    app: Celery, *, beat: Callable[[], None], expect_stop: Callable[[], None]
) -> None:
    """Have the consumer's event loop call `beat` while it runs, and `expect_stop` as it ends."""

    class Heartbeat(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
        """Celery's hook into the event loop."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            beat()
            consumer.timer.call_repeatedly(BEAT_INTERVAL_S, beat)

    app.steps["consumer"].add(Heartbeat)
    signals.worker_shutting_down.connect(lambda **_: expect_stop(), weak=False)


def add_growth(app: Celery, concurrency: Concurrency) -> None:
    """Have the consumer handle as many messages at a time as `concurrency` says."""

    class Growth(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
        """Celery's hook into each new connection."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            concurrency.follow(consumer.resize)

    app.steps["consumer"].add(Growth)


def consume(
    app: Celery,
    settings: Settings,
    *,
    name: str,
    threads: int,
    on_message: Callable[[], None],
    events: Events = SILENT,
) -> int:
    """Consume until a signal; return the exit code. SIGTERM finishes the shards at work.

    `on_message` is called for every message, dropped ones too.
    """
    worker = Worker(
        app=app,
        hostname=f"fornada@{name}",
        pool=GrowingPool,
        consumer_cls=functools.partial(TolerantConsumer, on_message=on_message, events=events),
        concurrency=threads,
        loglevel=settings.log_level,
        quiet=True,
        # Workers do not talk to each other.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
