"""Celery around the worker: its app, its event loop's sign of life, and how it is started."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps, signals
from celery.apps.worker import Worker
from celery.concurrency.thread import TaskPool
from celery.worker.consumer import Consumer

from fornada.logs import get_logger
from fornada.queue.celery_config import celery_config
from fornada.settings import Settings
from worker.compute.thread_choice import Concurrency
from worker.host.health import BEAT_INTERVAL_S

log = get_logger(__name__)


class GrowingPool(TaskPool):  # type: ignore[misc]  # celery has no types
    """Threads, of which there can be more later; Celery's own pool of them cannot grow."""

    def grow(self, n: int = 1) -> None:
        """Have `n` more."""
        self.limit += n
        # An executor looks at it whenever a task comes and no thread is idle.
        self.executor._max_workers = self.limit  # noqa: SLF001 - it has no other way to grow


class TolerantConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Drops messages that Celery cannot take apart.

    Celery itself lets their errors end the worker, and gives the message back to the queue, where
    it ends the next worker, and so on.
    """

    def __init__(self, *args: Any, on_message: Callable[[], None], **kwargs: Any) -> None:
        self._on_message = on_message
        super().__init__(*args, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """What is called with each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_or_drop(message: Any) -> None:
            self._on_message()
            try:
                handle(message)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
                # Not on_decode_error: it fails once more where there is no body at all.
                log.error("message dropped", error=f"{type(exc).__name__}: {exc}")  # noqa: TRY400 - ours to explain, a stack says no more
                message.ack_log_error(logging.getLogger(__name__), self.connection_errors)

        return handle_or_drop

    def resize(self, threads: int) -> None:
        """Work on so many messages at a time, if that is more than now; from any thread."""
        more = threads - self.pool.num_processes
        if more > 0:
            self.pool.grow(more)
            # For the next connection, and for this one.
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
    """Have the consumer's event loop call `beat` while it turns, `expect_stop` before it ends."""

    class Heartbeat(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
        """Celery's way to hang something on the event loop."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            beat()
            consumer.timer.call_repeatedly(BEAT_INTERVAL_S, beat)

    app.steps["consumer"].add(Heartbeat)
    signals.worker_shutting_down.connect(lambda **_: expect_stop(), weak=False)


def add_growth(app: Celery, concurrency: Concurrency) -> None:
    """Have the consumer take as many messages at a time as `concurrency` says."""

    class Growth(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
        """Celery's way to know of a connection, the first and each that follows a broken one."""

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
) -> int:
    """Consume until a signal ends it; return the exit code. SIGTERM finishes what is at work.

    `on_message` is called with every message that comes, also with those that are dropped.
    """
    worker = Worker(
        app=app,
        hostname=f"fornada@{name}",
        pool=GrowingPool,
        consumer_cls=functools.partial(TolerantConsumer, on_message=on_message),
        concurrency=threads,
        loglevel=settings.log_level,
        quiet=True,
        # Workers have nothing to say to each other.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
