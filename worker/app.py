"""Celery around the worker: the app, the heartbeat of its event loop, and the consumer."""

from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps, signals
from celery.apps.worker import Worker
from celery.concurrency.thread import TaskPool
from celery.worker.consumer import Consumer

from fornada.events import SILENT, Events
from fornada.queue.celery_config import celery_config
from fornada.queue.guard import GUARD, Guard, GuardedTransport
from fornada.queue.quarantine import Quarantine
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

    def start(self) -> None:
        """Start; at no level does the log show a task's arguments, as Celery's own would."""
        super().start()
        self._does_debug = False


class GrowingConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """A consumer that can take more messages at a time."""

    def resize(self, threads: int) -> None:
        """Handle at least `threads` messages at a time; callable from any thread."""
        more = threads - self.pool.num_processes
        if more > 0:
            self.pool.grow(more)
            # The first is for later connections, the second for this one.
            self.initial_prefetch_count += more
            self.qos.increment_eventually(more)


def create_app(
    settings: Settings,
    *,
    on_message: Callable[[], None] = lambda: None,
    events: Events = SILENT,
) -> Celery:
    """The Celery app of a worker; nothing is contacted yet.

    Args:
        settings: Where the queue is.
        on_message: Called for whatever is taken from the queue.
        events: Hears what happens.
    """
    app = Celery("fornada", set_as_current=False)
    app.conf.update(celery_config(settings))
    app.conf.broker_transport = GuardedTransport
    app.conf.broker_transport_options[GUARD] = Guard(
        queue=settings.queue,
        quarantine=Quarantine.from_settings(settings),
        on_message=on_message,
        events=events,
    )
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
    *,
    name: str,
    threads: int,
) -> int:
    """Consume until a signal; return the exit code. SIGTERM finishes the shards at work."""
    # Celery would set the root's level.
    signals.setup_logging.connect(_logging_is_set_up, weak=False)
    worker = Worker(
        app=app,
        hostname=f"fornada@{name}",
        pool=GrowingPool,
        consumer_cls=GrowingConsumer,
        concurrency=threads,
        quiet=True,
        # Workers do not talk to each other.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _logging_is_set_up(**_: Any) -> None:
    """To Celery: it is."""
